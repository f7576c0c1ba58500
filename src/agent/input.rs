//! What minting and narrowing take (contract section 26.1).
//!
//! Law: whole numbers are JSON integers, money is read from its text, and a name that is not
//! offered is refused at every depth: who mints must not believe in a limit that was never set.

use std::time::Duration;

use schemars::JsonSchema;
use serde_json::Value;

use crate::base::visible::is_hidden;
use crate::base::{MicroUsd, Slug};
use crate::http::{Fields, FromFields, Unknown};
use crate::policy::Code;

const AGENT_MAX: usize = 100;
const PERMISSIONS_MAX: usize = 200;
/// The highest limit that a token can have.
const MOST: u64 = 1_000_000_000;
const SUSPEND_AFTER_MAX: u64 = 1000;

/// What a human delegates. What is left out gets the configured default.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AgentTokenRequest")]
pub(super) struct MintBody {
    /// A label for the agent.
    pub(super) agent_id: Option<String>,
    /// Seconds; more than the configured maximum becomes the maximum.
    #[schemars(with = "Option<u64>", range(min = 1))]
    #[schemars(rename = "expires_in")]
    pub(super) lifetime: Option<Duration>,
    /// Codes that the caller holds now. None at all is refused.
    pub(super) permissions: Option<Vec<Code>>,
    /// The slug of the organization that it is for; that of `X-Org-Slug` if absent.
    #[schemars(with = "Option<String>")]
    pub(super) organization: Option<Slug>,
    /// Dollars. 0: nothing that costs.
    #[schemars(rename = "budget_limit_usd")]
    pub(super) budget: Option<MicroUsd>,
    pub(super) circuit_breaker: Option<Breaker>,
    pub(super) dead_mans_switch: Option<Switch>,
}

/// How much it may do. 0: nothing at all.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "AgentCircuitBreaker")]
pub(super) struct Breaker {
    /// Within any minute.
    #[schemars(rename = "max_requests_per_minute")]
    pub(super) per_minute: Option<u32>,
    /// In its whole life.
    #[schemars(rename = "max_requests_total")]
    pub(super) total: Option<u32>,
    /// Failures of upstreams one after the other; one more suspends it.
    #[schemars(rename = "max_failed_requests")]
    pub(super) failures: Option<u32>,
    /// How many breaches of the rate within an hour suspend it; 0: none does.
    pub(super) suspend_after: Option<u32>,
}

/// What it must do to stay alive.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "AgentDeadMansSwitch")]
pub(super) struct Switch {
    /// Seconds between two heartbeats.
    #[schemars(rename = "heartbeat_required_every", range(min = 1))]
    pub(super) every: Option<u32>,
}

/// What is taken away from a token: each value is at most what it was.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AgentTokenNarrowing")]
pub(super) struct NarrowBody {
    /// Seconds from now.
    #[schemars(with = "Option<u64>", range(min = 1))]
    #[schemars(rename = "expires_in")]
    pub(super) lifetime: Option<Duration>,
    /// Some of those that it has.
    pub(super) permissions: Option<Vec<Code>>,
    #[schemars(rename = "budget_limit_usd")]
    pub(super) budget: Option<MicroUsd>,
    pub(super) circuit_breaker: Option<Narrower>,
    pub(super) dead_mans_switch: Option<Switch>,
}

/// Lower limits.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "AgentCircuitBreakerNarrowing")]
pub(super) struct Narrower {
    #[schemars(rename = "max_requests_per_minute")]
    pub(super) per_minute: Option<u32>,
    #[schemars(rename = "max_requests_total")]
    pub(super) total: Option<u32>,
    #[schemars(rename = "max_failed_requests")]
    pub(super) failures: Option<u32>,
}

impl FromFields for MintBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            agent_id: fields.optional("agent_id").max(AGENT_MAX).or_null().parsed(label),
            lifetime: lifetime(fields),
            permissions: permissions(fields),
            organization: fields.optional("organization").or_null().parsed(Slug::parse),
            budget: fields.optional("budget_limit_usd").or_null().amount(),
            circuit_breaker: inner(fields, "circuit_breaker", |fields| Breaker {
                per_minute: limit(fields, "max_requests_per_minute"),
                total: limit(fields, "max_requests_total"),
                failures: limit(fields, "max_failed_requests"),
                suspend_after: whole(fields, "suspend_after", 0, SUSPEND_AFTER_MAX),
            }),
            dead_mans_switch: switch(fields),
        })
    }
}

impl FromFields for NarrowBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            lifetime: lifetime(fields),
            permissions: permissions(fields),
            budget: fields.optional("budget_limit_usd").or_null().amount(),
            circuit_breaker: inner(fields, "circuit_breaker", |fields| Narrower {
                per_minute: limit(fields, "max_requests_per_minute"),
                total: limit(fields, "max_requests_total"),
                failures: limit(fields, "max_failed_requests"),
            }),
            dead_mans_switch: switch(fields),
        })
    }
}

/// A name that looks alike in a terminal, a mail and a page: people decide by it.
fn label(text: &str) -> Result<String, &'static str> {
    if text.contains(|c| is_hidden(c) || c.is_whitespace() && c != ' ') {
        return Err("Only characters that can be seen are allowed.");
    }
    Ok(text.to_owned())
}

fn lifetime(fields: &mut Fields) -> Option<Duration> {
    fields.optional("expires_in").or_null().whole(1, u64::MAX).map(Duration::from_secs)
}

fn switch(fields: &mut Fields) -> Option<Switch> {
    inner(fields, "dead_mans_switch", |fields| Switch {
        every: whole(fields, "heartbeat_required_every", 1, MOST),
    })
}

fn limit(fields: &mut Fields, name: &'static str) -> Option<u32> {
    whole(fields, name, 0, MOST)
}

fn whole(fields: &mut Fields, name: &'static str, least: u64, most: u64) -> Option<u32> {
    let number = fields.optional(name).or_null().whole(least, most)?;
    u32::try_from(number).ok()
}

/// An object within the object, whose names are judged as strictly.
fn inner<T>(fields: &mut Fields, name: &'static str, read: impl FnOnce(&mut Fields) -> T) -> Option<T> {
    let Value::Object(given) = fields.optional(name).or_null().json()? else {
        fields.problem(name, "Invalid data. Expected an object.");
        return None;
    };
    let mut own = Fields::new(given);
    let value = read(&mut own);
    fields.absorb(name, own, Unknown::Refused);
    Some(value)
}

/// Codes exactly as written: nothing is trimmed, folded or taken for a pattern.
fn permissions(fields: &mut Fields) -> Option<Vec<Code>> {
    let Value::Array(items) = fields.optional("permissions").or_null().json()? else {
        fields.problem("permissions", "Expected a list of codes.");
        return None;
    };
    if items.len() > PERMISSIONS_MAX {
        fields.problem("permissions", format!("Ensure this list has no more than {PERMISSIONS_MAX} items."));
        return None;
    }
    let mut codes = Vec::with_capacity(items.len());
    for item in &items {
        match item.as_str().map(Code::parse) {
            Some(Ok(code)) => codes.push(code),
            Some(Err(no)) => fields.problem("permissions", no.to_string()),
            None => fields.problem("permissions", "Not a valid string."),
        }
    }
    Some(codes)
}
