//! `redact`: what agents do not get to read in the answers of backends.
//!
//! Law: a route completes what it says by `agents.redact`; without a word of its own it follows
//! `agents.redact_pii`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Agents;
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Maybe, Size};

/// The longest name of a key.
const KEY_MAX: usize = 64;
/// The most that is read of an answer before it is passed on.
const BUFFER_MAX: u64 = 16 << 20;

/// `agents.redact`: what is hidden where something is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redacting {
    /// The keys whose values are hidden at any depth. Case, `_`, `-` and blanks do not count.
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// How much of an answer is read before any of it is passed on; a longer one is rewritten as it streams.
    #[serde(with = "As::<Size>")]
    pub buffer: u64,
    /// What becomes of an answer that is not JSON.
    pub on_other: OnOther,
}

/// What becomes of an answer that cannot be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnOther {
    /// 502.
    Refuse,
    /// It passes as it is.
    Pass,
}

/// `redact` of a route's `agents`: a word, or settings instead of those of `agents.redact`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RouteRedact {
    Word(Redact),
    Map(RouteRedacting),
}

/// Whether anything is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Redact {
    On,
    Off,
}

/// What is absent is as in `agents.redact`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteRedacting {
    /// As in `agents.redact`; the list is taken whole.
    #[schemars(length(min = 1))]
    pub keys: Option<Vec<String>>,
    /// As in `agents.redact`.
    #[serde(default, with = "Maybe::<Size>")]
    pub buffer: Option<u64>,
    /// As in `agents.redact`.
    pub on_other: Option<OnOther>,
}

impl OnOther {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Pass => "pass",
        }
    }
}

impl Redacting {
    pub(super) fn check(&self, place: &Place, report: &mut Report) {
        check_keys(&self.keys, &place.key("keys"), report);
        check_buffer(self.buffer, &place.key("buffer"), report);
    }
}

impl Agents {
    /// What is hidden on a route that says `own` of it; `None` where nothing is.
    #[must_use]
    pub fn redacting(&self, own: Option<&RouteRedact>) -> Option<Redacting> {
        let own = match own {
            Some(RouteRedact::Word(Redact::Off)) => return None,
            None if !self.redact_pii => return None,
            Some(RouteRedact::Map(own)) => Some(own),
            Some(RouteRedact::Word(Redact::On)) | None => None,
        };
        let keys = own.and_then(|own| own.keys.as_ref()).unwrap_or(&self.redact.keys).clone();
        let buffer = own.and_then(|own| own.buffer).unwrap_or(self.redact.buffer);
        let on_other = own.and_then(|own| own.on_other).unwrap_or(self.redact.on_other);
        Some(Redacting { keys, buffer, on_other })
    }
}

impl RouteRedact {
    pub(super) fn check(&self, place: &Place, report: &mut Report) {
        let Self::Map(own) = self else { return };
        if let Some(keys) = &own.keys {
            check_keys(keys, &place.key("keys"), report);
        }
        if let Some(buffer) = own.buffer {
            check_buffer(buffer, &place.key("buffer"), report);
        }
    }

    /// Whether something is hidden here, whatever is said for all.
    pub(super) const fn is_asked_for(&self) -> bool {
        !matches!(self, Self::Word(Redact::Off))
    }
}

fn check_keys(keys: &[String], place: &Place, report: &mut Report) {
    for (at, key) in keys.iter().enumerate() {
        let is_name = key.chars().any(char::is_alphanumeric) && key.chars().count() <= KEY_MAX;
        if !is_name {
            report.problem(&place.item(at), format!("the name of a key, at most {KEY_MAX} characters"));
        }
    }
}

fn check_buffer(buffer: u64, place: &Place, report: &mut Report) {
    if buffer > BUFFER_MAX {
        report
            .problem(place, "this much would be kept in memory for each answer")
            .hint("at most 16MiB; longer answers are rewritten as they stream");
    }
}
