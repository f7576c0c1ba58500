//! `audit`, `limits`, `cors`, `telemetry`, `drain`: how the gateway behaves while it runs.
//! Law: a limit that cannot work, or that contradicts another, is refused.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::insecure::{Insecure, Permitted};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Size, Span};
use crate::policy::Methods;

/// The audit trail. It is always on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// How long rows are kept.
    #[serde(with = "As::<Span>")]
    pub keep_for: Duration,
    /// Which part of what agents read successfully is written down, from 0 to 1. Everything else
    /// that agents do always is.
    #[schemars(range(min = 0, max = 1))]
    pub reads: f64,
}

/// What one client, and all together, may use up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub connections: Connections,
    pub head: HeadLimits,
    pub body: BodyLimits,
    pub hashing: Hashing,
}

/// Connections of clients.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// All at once; fewer where the system allows too few open files, of which each needs two.
    #[schemars(range(min = 1))]
    pub total: u32,
    /// From one address, IPv6 counted by its /64.
    #[schemars(range(min = 1))]
    pub per_address: u32,
    /// How many requests of one address may be at upstreams at once, over however many connections; one more is
    /// answered 503. `null`: as many as it may have connections. Never more than half of what the system has open
    /// files for.
    #[schemars(range(min = 1))]
    pub requests_per_address: Option<NonZeroU32>,
    /// How long a connection may wait for its next request.
    #[serde(with = "As::<Span>")]
    pub idle_for: Duration,
}

/// The request line and the headers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadLimits {
    /// In which time the whole head must have arrived.
    #[serde(with = "As::<Span>")]
    pub within: Duration,
    /// All headers together.
    #[serde(with = "As::<Size>")]
    pub bytes: u64,
    /// How many headers.
    #[schemars(range(min = 10, max = 256))]
    pub fields: u32,
    /// Path and query.
    #[serde(with = "As::<Size>")]
    pub target: u64,
}

/// Request bodies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyLimits {
    /// The longest pause between two parts of a body, and until a client takes more of an answer.
    #[serde(with = "As::<Span>")]
    pub pause: Duration,
    /// The largest body on a route that does not say otherwise.
    #[serde(with = "As::<Size>")]
    pub bytes: u64,
    /// The largest body that a built-in endpoint reads.
    #[serde(with = "As::<Size>")]
    pub api_bytes: u64,
}

/// The pool that hashes passwords, apart from everything else.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hashing {
    /// `null`: half of the processors, at least one.
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<usize>,
    /// How many hashes may wait; the next one is answered 503.
    #[schemars(range(min = 1, max = 10000))]
    pub queue: usize,
}

/// Which pages in browsers may call, and what they may send and see.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Allowed origins beside those of the applications: `https://app.example.com`, or `*`.
    pub origins: Vec<String>,
    /// Methods that a preflight allows.
    pub methods: Vec<String>,
    /// Request headers that a preflight allows.
    pub headers: Vec<String>,
    /// Response headers that a page may read.
    pub expose: Vec<String>,
    /// Whether cookies may come along.
    pub credentials: bool,
    /// How long a browser may remember a preflight.
    #[serde(with = "As::<Span>")]
    pub max_age: Duration,
}

/// What is told about requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The form of log lines.
    pub log: LogForm,
    /// The least important lines that are still written.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    Json,
    Text,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// What happens between the signal to end and the end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long readiness is already off while connections are still accepted.
    #[serde(with = "As::<Span>")]
    pub announce: Duration,
    /// How long requests may take to finish.
    #[serde(with = "As::<Span>")]
    pub grace: Duration,
}

impl Audit {
    pub(super) fn check(&self, report: &mut Report) {
        if self.keep_for < Duration::from_hours(24) {
            report.problem(&Place::root().key("audit").key("keep_for"), "shorter than a day");
        }
        if !(0.0..=1.0).contains(&self.reads) {
            report.problem(&Place::root().key("audit").key("reads"), "from 0 to 1");
        }
    }
}

impl Limits {
    pub(super) fn check(&self, report: &mut Report) {
        let place = Place::root().key("limits");
        if self.connections.per_address > self.connections.total {
            report.problem(&place.key("connections").key("per_address"), "more than `total`");
        }
        for (key, span) in [("head", self.head.within), ("body", self.body.pause)] {
            if span < Duration::from_secs(1) {
                let key = place.key(key).key(if key == "head" { "within" } else { "pause" });
                report.problem(&key, "shorter than a second").hint("slow networks need more");
            }
        }
        for (key, bytes, most) in
            [("bytes", self.head.bytes, 256 << 10), ("target", self.head.target, 64 << 10)]
        {
            if !(1024..=most).contains(&bytes) {
                report.problem(&place.key("head").key(key), format!("between 1KiB and {}KiB", most >> 10));
            }
        }
        if self.body.api_bytes < 16 << 10 || self.body.api_bytes > 16 << 20 {
            report.problem(&place.key("body").key("api_bytes"), "between 16KiB and 16MiB");
        }
    }
}

impl Cors {
    /// Whether pages of every origin may call.
    #[must_use]
    pub fn allows_any(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    pub(super) fn check(&self, place: &Place, report: &mut Report, permitted: &mut Permitted) {
        for (at, origin) in self.origins.iter().enumerate() {
            let place = place.key("origins").item(at);
            if origin == "*" {
                if !permitted.has(Insecure::CorsAnyOrigin) {
                    report
                        .problem(&place, "every page of the web could call")
                        .hint("list the origins; `insecure: [cors_any_origin]` accepts the risk");
                }
                if self.credentials {
                    report
                        .problem(&place, "`*` with `credentials: true` hands every page the user's cookies")
                        .hint("list the origins or set `credentials: false`");
                }
            } else if !is_origin(origin) {
                report
                    .problem(&place, format!("`{origin}` is not an origin"))
                    .hint("scheme, host and port in lower case, no path: `https://app.example.com`");
            }
        }
        for (at, method) in self.methods.iter().enumerate() {
            if Methods::named(method).is_none() {
                report
                    .problem(
                        &place.key("methods").item(at),
                        format!("`{method}` is not a method that passes"),
                    )
                    .suggest(method, Methods::ALL.names());
            }
        }
        for (key, names) in [("headers", &self.headers), ("expose", &self.expose)] {
            for (at, name) in names.iter().enumerate() {
                if http::HeaderName::try_from(name.as_str()).is_err() {
                    report.problem(&place.key(key).item(at), format!("`{name}` is not a header's name"));
                }
            }
        }
    }
}

/// `scheme://host[:port]` exactly as browsers send it. Schemes of apps (`capacitor://`) are origins too.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_ok =
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b"+-.0123456789".contains(&b));
    let host_ok = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b));
    scheme_ok && host_ok
}
