//! The configuration: one YAML file, read once, checked whole, then passed around as a value.
//!
//! Law: raw text becomes a tree that knows its lines, the tree conforms to the schema, and only a
//! file without a single problem becomes a [`Config`]. This module alone reads files and the
//! environment; nothing that runs ever sees a half-checked setting.

mod account;
mod agent;
mod allow;
mod compare;
mod conform;
mod effective;
pub mod environment;
pub mod file;
mod held;
mod hold;
mod insecure;
mod ldap;
mod listen;
mod load;
mod login;
mod mail;
mod notice;
mod operation;
mod overlap;
mod place;
mod preset;
mod problem;
mod profile;
mod raw;
mod redact;
mod retention;
mod rewrite;
mod rights;
mod route;
mod scalar;
mod schema;
mod seal;
mod sms;
mod social;
mod storage;
mod template;
mod token;
mod tree;
pub mod upstream;

use std::collections::{BTreeMap, BTreeSet};

pub use tree::read as read_yaml;

pub use account::{
    Accounts, Api, Applications, Argon2, BreachCheck, CharacterClass, Deletion, Docs, Hash,
    KEY_MAX as API_KEY_LONGEST, Lockout, OnUnavailable, Password, PasswordRules, Registration, Required,
    StaffSecondFactor,
};
pub use agent::{AgentDefaults, Agents, Llm, RouteAgents, RouteCost, TokenPrices};
pub use compare::{Comparison, Scalar, Test, Threshold};
pub use effective::{Setting, Source};
pub use hold::{Hold, HoldMode, HoldWhen, HoldWord, RouteApprover, RouteApprovers, RouteGroup};
pub use insecure::Insecure;
pub use ldap::{Emails, Ldap, Newcomers, Search, Server as LdapServer, USERNAME};
pub use listen::{Listen, PublicUrl, Tls};
pub use load::{Loaded, load, load_text};
pub use login::{Login, Otp, Passkeys, Reset};
pub use mail::{Mail, MailProvider, MailTls, MailVia, MailWire, Smtp};
pub use notice::{Notice, Webhook};
pub use operation::{
    Audit, BodyLimits, Connections, Cors, Drain, Hashing, HeadLimits, Limits, LogForm, LogLevel, Telemetry,
};
pub use overlap::own_paths;
pub use preset::Preset;
pub use problem::{Problem, Problems, nearest};
pub use profile::{Profile, Wire};
pub use redact::{OnOther, Redact, Redacting, RouteRedact, RouteRedacting};
pub use retention::Retention;
pub use rewrite::Rewrite;
pub use rights::Organizations;
pub use route::{Identity, Limit, LimitBy, Route, RouteAudit, RouteTimeouts, TargetRules};
pub use schema::schema;
pub use seal::{NoSealKey, SEAL_KEY_LEN, make_seal_key, seal_key};
pub use sms::{Sms, SmsVia, Twilio};
pub use social::{Link, Provider, ProviderKind};
pub use storage::{Database, Keys, Shared, Store, store_in};
pub use template::{CODES as CODE_TEMPLATES, Template, fill};
pub use token::{Algorithm, Claim, Claims, Sessions, Tokens, WhenFull};
pub use upstream::{
    Assertion, Balance, Breaker, Health, Server, Timeouts, Upstream, UpstreamHost, UpstreamTls,
};

use crate::policy::Definitions;

/// A configuration without problems.
#[derive(Clone, Debug)]
pub struct Config {
    pub preset: Preset,
    pub public_url: PublicUrl,
    pub listen: Listen,
    pub store: Store,
    pub shared: Shared,
    pub keys: Keys,
    pub tokens: Tokens,
    pub sessions: Sessions,
    pub accounts: Accounts,
    pub login: Login,
    pub applications: Applications,
    pub api: Api,
    pub organizations: Organizations,
    pub agents: Agents,
    pub mail: Option<Mail>,
    pub sms: Option<Sms>,
    pub webhooks: Vec<Webhook>,
    /// Words in place of the gateway's own, by notice.
    pub templates: BTreeMap<String, Template>,
    /// What the file declares, by itself: the layer above the seeds and the store.
    pub definitions: Definitions,
    pub upstreams: BTreeMap<String, Upstream>,
    pub routes: Vec<Route>,
    pub audit: Audit,
    pub retention: Retention,
    pub limits: Limits,
    pub cors: Cors,
    pub security_headers: bool,
    pub telemetry: Telemetry,
    pub drain: Drain,
    /// The risks that this file really takes.
    pub insecure: BTreeSet<Insecure>,
    pub watch: bool,
    effective: Vec<Setting>,
}

impl Config {
    /// Every value in effect, where it came from, secrets left out.
    #[must_use]
    pub fn effective(&self) -> &[Setting] {
        &self.effective
    }
}

#[cfg(test)]
mod tests;
