//! `login`: the ways to prove who one is, beside the password.
//!
//! Law: what is sent to a person is good for minutes, not for days.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};

/// Ways to prove who one is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub otp: Otp,
}

/// One-time codes, by mail and by text message.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otp {
    /// How long a code is good for.
    #[serde(with = "As::<Span>")]
    pub valid_for: Duration,
}

/// The longest that somebody may take to type six digits (six digits can be guessed).
const CODE_MAX: Duration = Duration::from_mins(15);

impl Login {
    pub(super) fn check(&self, report: &mut Report) {
        let place = Place::root().key("login");
        if self.otp.valid_for < Duration::from_mins(1) || self.otp.valid_for > CODE_MAX {
            report.problem(&place.key("otp").key("valid_for"), "between 1m and 15m");
        }
    }
}
