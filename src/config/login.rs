//! `login`: the ways to prove who one is, beside the password.
//!
//! Law: what is sent to a person is good for minutes, not for days.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::insecure::{Insecure, Permitted};
use super::notice::is_here;
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};

/// Ways to prove who one is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub otp: Otp,
    pub magic_link: MagicLink,
    pub reset: Reset,
}

/// One-time codes, by mail and by text message.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otp {
    /// How long a code is good for.
    #[serde(with = "As::<Span>")]
    pub valid_for: Duration,
    /// Whether a code by text message stands for the password at logins.
    pub log_in: bool,
}

/// Links in mail that log in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MagicLink {
    /// The pages that links may lead to, which get `token`; empty: nobody logs in by a link.
    pub targets: Vec<String>,
    /// How long a link is good for.
    #[serde(with = "As::<Span>")]
    pub valid_for: Duration,
}

/// Forgotten passwords.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The page that links in mail lead to, which gets `token` and sets the new password; `null`:
    /// mail holds the code alone.
    pub link: Option<String>,
}

/// The longest that somebody may take to type six digits (six digits can be guessed).
const CODE_MAX: Duration = Duration::from_mins(15);
/// The longest that a mail with a link may wait to be read.
const LINK_MAX: Duration = Duration::from_hours(1);

impl Login {
    pub(super) fn check(&self, report: &mut Report, permitted: &mut Permitted) {
        let place = Place::root().key("login");
        if let Some(link) = &self.reset.link {
            check_link(link, &place.key("reset").key("link"), report, permitted);
        }
        if self.otp.valid_for < Duration::from_mins(1) || self.otp.valid_for > CODE_MAX {
            report.problem(&place.key("otp").key("valid_for"), "between 1m and 15m");
        }
        let place = place.key("magic_link");
        for (at, target) in self.magic_link.targets.iter().enumerate() {
            check_link(target, &place.key("targets").item(at), report, permitted);
        }
        if self.magic_link.valid_for < Duration::from_mins(1) || self.magic_link.valid_for > LINK_MAX {
            report.problem(&place.key("valid_for"), "between 1m and 1h");
        }
    }
}

/// A link in a mail is opened by whoever reads it, over whatever network they are in.
fn check_link(link: &str, place: &Place, report: &mut Report, permitted: &mut Permitted) {
    let parsed = link.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
    let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
    let (Some(host), Some(scheme @ ("https" | "http"))) = (host, scheme) else {
        report.problem(place, "not a URL").hint("write `https://app.example.com/reset`");
        return;
    };
    if link.contains(['#', '@', ' ']) {
        report.problem(place, "a link has neither a user nor a fragment");
    }
    if scheme == "http" && !is_here(host) && !permitted.has(Insecure::UnencryptedNotices) {
        report
            .problem(place, "what opens an account would cross the network for everyone to read")
            .hint("write `https://…`; `insecure: [unencrypted_notices]` accepts the risk");
    }
}
