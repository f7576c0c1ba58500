//! `tokens`, `sessions`: how long people stay logged in, and what their tokens say.
//! Law: lifetimes that contradict each other are refused, and claims of ours cannot be written over.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::insecure::{Insecure, Permitted};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};

/// Access tokens and the rotation of refresh tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// What new access tokens are signed with.
    pub algorithm: Algorithm,
    /// How long an access token is valid.
    #[serde(with = "As::<Span>")]
    pub access_for: Duration,
    /// The claim `iss`.
    #[schemars(length(min = 1))]
    pub issuer: String,
    /// The claim `aud`: required and checked if and only if it is set.
    pub audience: Option<String>,
    /// Whether a refresh gives a new refresh token and ends the old one.
    pub rotation: bool,
    /// How long the same used refresh token still gets the same answer: a client that retries is
    /// not a thief.
    #[serde(with = "As::<Span>")]
    pub refresh_grace: Duration,
    /// What access tokens say beyond who, where and until when.
    pub claims: Claims,
}

/// How access tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
pub enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "HS256")]
    Hs256,
}

/// Additional claims. Decisions never trust them: rights are looked up as they are now.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Facts about the account that a token repeats.
    pub include: Vec<Claim>,
    /// Claims with the same text in every token.
    pub fixed: BTreeMap<String, String>,
}

/// A fact that an access token may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    Email,
    Role,
    Permissions,
    AccountId,
}

/// Sessions and devices.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// How long a session lives without a refresh.
    #[serde(with = "As::<Span>")]
    pub idle_for: Duration,
    /// How long a session lives at all.
    #[serde(with = "As::<Span>")]
    pub end_after: Duration,
    /// How many sessions an account may have; `null`: any number.
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    pub when_full: WhenFull,
    /// How many devices an account may be logged in on; `null`: any number.
    #[schemars(range(min = 1))]
    pub devices: Option<u32>,
    pub when_devices_full: WhenFull,
    /// Whether the API's refresh token travels in a cookie instead of the body.
    pub refresh_cookie: bool,
}

/// What happens to a login above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest session ends.
    RevokeOldest,
    /// The login is refused.
    Deny,
}

/// Claims that the gateway itself writes or that carry meaning for verifiers.
const RESERVED: [&str; 22] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "sid",
    "scope",
    "type",
    "user_id",
    "app_id",
    "email",
    "role",
    "permissions",
    "account_id",
    "act",
    "azp",
    "client_id",
    "cnf",
    "auth_time",
    "amr",
];

const DAY: Duration = Duration::from_hours(24);

impl Tokens {
    pub(super) fn check(&self, report: &mut Report, permitted: &mut Permitted) {
        let place = Place::root().key("tokens");
        if self.access_for < Duration::from_secs(10) {
            report
                .problem(&place.key("access_for"), "too short to be used even once")
                .hint("write `5m` or more");
        }
        if self.access_for > DAY && !permitted.has(Insecure::LongTokens) {
            report
                .problem(&place.key("access_for"), "longer than a day")
                .hint("sessions live long, tokens should not; `insecure: [long_tokens]` accepts the risk");
        }
        if self.refresh_grace > Duration::from_mins(1) {
            report
                .problem(&place.key("refresh_grace"), "at most `1m`: in that time a stolen token works too");
        }
        for name in self.claims.fixed.keys().filter(|name| RESERVED.contains(&name.as_str())) {
            report.problem(
                &place.key("claims").key("fixed").key(name),
                format!("the claim `{name}` is written by the gateway"),
            );
        }
    }
}

impl Sessions {
    pub(super) fn check(&self, tokens: &Tokens, report: &mut Report) {
        let place = Place::root().key("sessions");
        if self.idle_for > self.end_after {
            report
                .problem(&place.key("idle_for"), "longer than `end_after`, so it would never act")
                .hint("make `end_after` at least as long");
        }
        if self.idle_for < tokens.access_for {
            report
                .problem(
                    &place.key("idle_for"),
                    "shorter than `tokens.access_for`: no token could be refreshed",
                )
                .hint("make `tokens.access_for` the shorter one");
        }
    }
}
