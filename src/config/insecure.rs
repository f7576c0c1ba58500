//! `insecure`: the settings that weaken the gateway, each accepted by name or refused.
//!
//! Law: there is no way to weaken a check but to name it here; a name that nothing needs is
//! reported, so that an old exception does not outlive its reason.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;

/// A risk that the operator takes knowingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Insecure {
    /// A public URL with plain http that is not on loopback.
    HttpCookies,
    /// `listen.trusted_proxies` with `0.0.0.0/0` or another network wider than a /8.
    TrustAllProxies,
    /// Passwords shorter than 8 characters.
    WeakPasswords,
    /// Argon2 with less memory or fewer passes than are recommended.
    WeakHash,
    /// `*` among the allowed origins.
    CorsAnyOrigin,
    /// Upstream certificates are not verified.
    UnverifiedUpstream,
    /// Files with secrets that others on this machine can read.
    ReadableSecrets,
    /// Access tokens that live longer than a day.
    LongTokens,
    /// Mail or webhooks that go unencrypted to another machine.
    UnencryptedNotices,
}

impl Insecure {
    pub const ALL: [Self; 9] = [
        Self::HttpCookies,
        Self::TrustAllProxies,
        Self::WeakPasswords,
        Self::WeakHash,
        Self::CorsAnyOrigin,
        Self::UnverifiedUpstream,
        Self::ReadableSecrets,
        Self::LongTokens,
        Self::UnencryptedNotices,
    ];

    /// The word that the file uses, and the metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpCookies => "http_cookies",
            Self::TrustAllProxies => "trust_all_proxies",
            Self::WeakPasswords => "weak_passwords",
            Self::WeakHash => "weak_hash",
            Self::CorsAnyOrigin => "cors_any_origin",
            Self::UnverifiedUpstream => "unverified_upstream",
            Self::ReadableSecrets => "readable_secrets",
            Self::LongTokens => "long_tokens",
            Self::UnencryptedNotices => "unencrypted_notices",
        }
    }
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The risks that the file accepts, and which of them were really taken.
#[derive(Debug)]
pub(super) struct Permitted {
    named: Vec<Insecure>,
    used: BTreeSet<Insecure>,
}

impl Permitted {
    pub fn new(named: &[Insecure]) -> Self {
        Self { named: named.to_vec(), used: BTreeSet::new() }
    }

    /// Whether the file accepts a risk that some setting takes.
    pub fn has(&mut self, risk: Insecure) -> bool {
        let has = self.named.contains(&risk);
        if has {
            self.used.insert(risk);
        }
        has
    }

    /// The risks in effect; the others that were named are reported.
    pub fn finish(self, report: &mut Report) -> BTreeSet<Insecure> {
        let place = Place::root().key("insecure");
        for (at, risk) in self.named.iter().enumerate() {
            if !self.used.contains(risk) {
                report.warning(&place.item(at), format!("nothing needs `{risk}`")).hint("remove it");
            }
        }
        self.used
    }
}
