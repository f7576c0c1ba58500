//! `retention`: how long what is over is kept, kind by kind.
//! Law: nothing that may still be needed is removed, whatever is set here: these spans begin where a thing is
//! over. The audit trail has its own (`audit.keep_for`).

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TEN_YEARS: Duration = Duration::from_hours(3650 * 24);

/// How long what is over is kept, and how it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// How often it is looked for what is to be removed, by one of all replicas.
    #[serde(with = "As::<Span>")]
    pub every: Duration,
    /// How many things one transaction removes at most, with what belongs to them.
    #[schemars(range(min = 10, max = 10000))]
    pub batch: u32,
    /// Counts of failed logins, after the last lock could have ended.
    #[serde(with = "As::<Span>")]
    pub login_attempts: Duration,
    /// Sessions that have ended: until then a login on the same device is no new one.
    #[serde(with = "As::<Span>")]
    pub sessions: Duration,
    /// One-time codes, and links to log in or to reset a password.
    #[serde(with = "As::<Span>")]
    pub otp_codes: Duration,
    /// Notices that were delivered or given up.
    #[serde(with = "As::<Span>")]
    pub outbox: Duration,
    /// What agents asked and people decided, after it was over.
    #[serde(with = "As::<Span>")]
    pub approvals: Duration,
    /// Agent tokens, with what they used, after their end.
    #[serde(with = "As::<Span>")]
    pub agent_tokens: Duration,
    /// API keys after their end.
    #[serde(with = "As::<Span>")]
    pub api_keys: Duration,
    /// That an account was to be deleted, or was, after that was done or called off.
    #[serde(with = "As::<Span>")]
    pub deletions: Duration,
}

impl Retention {
    pub(super) fn check(&self, report: &mut Report) {
        let place = Place::root().key("retention");
        if !(Duration::from_mins(1)..=DAY).contains(&self.every) {
            report.problem(&place.key("every"), "between 1m and 24h");
        }
        // The outbox also tells what was sent before, and what is over of agents is read by their people.
        for (key, span, least) in [
            ("login_attempts", self.login_attempts, HOUR),
            ("sessions", self.sessions, DAY),
            ("otp_codes", self.otp_codes, HOUR),
            ("outbox", self.outbox, DAY),
            ("approvals", self.approvals, DAY),
            ("agent_tokens", self.agent_tokens, DAY),
            ("api_keys", self.api_keys, DAY),
            ("deletions", self.deletions, DAY),
        ] {
            if !(least..=TEN_YEARS).contains(&span) {
                let text = if least == DAY { "between 1d and 3650d" } else { "between 1h and 3650d" };
                report.problem(&place.key(key), text);
            }
        }
    }
}
