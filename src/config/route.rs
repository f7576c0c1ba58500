//! `routes`: which requests go where, and who may send them.
//!
//! Law: closed by default. A request that no route fits is 404, a route without `allow` does not
//! load, and two routes that could both win are an error; the order of the list means nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::agent::RouteAgents;
use super::allow::{Known, RawAllow};
use super::insecure::Permitted;
use super::listen::{Listen, PublicUrl};
use super::operation::Cors;
use super::place::Place;
use super::problem::Report;
use super::redact::RouteRedact;
use super::rewrite::{RawRewrite, Rewrite};
use super::scalar::{As, HostName, Maybe, PathPattern, Size, Span};
use super::upstream::{Assertion, Upstream};
use crate::policy::{Allow, Code, Definitions, Host, Methods, Pattern};

/// One route of the file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub(super) struct RawRoute {
    /// What logs, metrics and refusals call it.
    pub name: String,
    #[serde(rename = "match")]
    pub matches: RawMatch,
    /// The name of an upstream.
    pub upstream: String,
    /// Who may pass.
    pub allow: RawAllow,
    /// What agents need to pass; absent: none passes.
    pub agents: Option<RouteAgents>,
    /// How many requests one caller may send.
    pub limit: Option<Limit>,
    /// The largest body; `limits.body.bytes` if absent.
    #[serde(default, with = "Maybe::<Size>")]
    pub body: Option<u64>,
    /// Other times than the upstream's.
    pub timeouts: Option<RouteTimeouts>,
    /// `on` (the global settings), `off` (the upstream answers preflights itself) or other settings.
    pub cors: RawCors,
    /// What kind of signed statement the backend gets; the upstream's if absent.
    pub assertion: Option<Assertion>,
    /// What becomes of credentials where `allow: anyone` needs none.
    pub identity: Identity,
    /// Whether the backend sees an `Authorization` header that is not ours.
    pub forward_authorization: bool,
    /// Changes to the path and the host on the way.
    pub rewrite: Option<RawRewrite>,
    /// Spellings of the path that are otherwise refused.
    pub target: TargetRules,
    /// Whether WebSocket handshakes pass.
    pub websocket: bool,
    /// Whether people pass by the cookie of the gateway's pages, and browsers that come without one are led
    /// to the page to log in.
    pub browser: bool,
    /// Whether each request must be in the audit trail before it passes.
    pub audit: RouteAudit,
    /// Whether people whom `allow` refuses pass all the same, and are only counted.
    pub shadow: bool,
}

/// What a route is for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMatch {
    /// A host, or `*.` and a name for one label before it. Absent: any host.
    #[serde(default, with = "Maybe::<HostName>")]
    pub host: Option<Host>,
    /// `/a`, `/a/{id}`, `/a/**`.
    #[serde(with = "As::<PathPattern>")]
    pub path: Pattern,
    /// Absent: all. `GET` brings `HEAD`.
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<MethodName>>,
}

/// A method that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum MethodName {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// How many requests in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// In which time, from 1s to 1d.
    #[serde(with = "As::<Span>")]
    pub per: Duration,
    /// Who is counted.
    pub by: LimitBy,
}

/// Who is counted by a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitBy {
    /// The account, or without one the address.
    Principal,
    /// The address, IPv6 by its /64.
    Address,
}

/// Times that differ from the upstream's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// The connection, TLS included.
    #[serde(default, with = "Maybe::<Span>")]
    pub connect: Option<Duration>,
    /// The longest pause in an answer, and until it begins.
    #[serde(default, with = "Maybe::<Span>")]
    pub read: Option<Duration>,
    /// The longest pause while the request is sent; an early answer is then waited for as `read` says.
    #[serde(default, with = "Maybe::<Span>")]
    pub write: Option<Duration>,
}

/// `cors` of a route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawCors {
    Word(CorsWord),
    Map(RouteCors),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CorsWord {
    On,
    Off,
}

/// Settings instead of the global ones; what is absent stays global.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteCors {
    /// As in the global `cors`.
    pub origins: Option<Vec<String>>,
    /// As in the global `cors`.
    pub methods: Option<Vec<String>>,
    /// As in the global `cors`.
    pub headers: Option<Vec<String>>,
    /// As in the global `cors`.
    pub expose: Option<Vec<String>>,
    /// As in the global `cors`.
    pub credentials: Option<bool>,
    /// As in the global `cors`.
    #[serde(default, with = "Maybe::<Span>")]
    pub max_age: Option<Duration>,
}

/// What becomes of credentials on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// As `allow` needs it: none for `anyone`, required for all else.
    Auto,
    /// Credentials are removed unread.
    Off,
    /// A valid one gives identity headers, an invalid one is removed and the request goes on.
    Optional,
}

/// Spellings that are refused unless a route says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetRules {
    /// `%2F` inside a segment. It stays as it is and never separates.
    pub encoded_slash: bool,
    /// `;` inside a segment.
    pub params: bool,
}

/// Whether requests must be in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteAudit {
    Off,
    /// A row is written before the request passes; without it, it does not.
    Required,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct Route {
    pub name: String,
    pub host: Option<Host>,
    pub path: Pattern,
    pub methods: Methods,
    /// A name that `Config::upstreams` has.
    pub upstream: String,
    pub allow: Allow,
    /// `None`: no agent passes.
    pub agents: Option<RouteAgents>,
    pub limit: Option<Limit>,
    /// The largest body, in bytes.
    pub body: u64,
    /// The same of a request that waits for people.
    pub held_body: u64,
    pub timeouts: RouteTimeouts,
    /// `None`: the upstream answers preflights itself.
    pub cors: Option<Cors>,
    /// The route's own, or the upstream's.
    pub assertion: Assertion,
    pub identity: Identity,
    pub forward_authorization: bool,
    pub rewrite: Option<Rewrite>,
    pub target: TargetRules,
    pub websocket: bool,
    pub browser: bool,
    pub audit: RouteAudit,
    /// People whom the policy refuses are counted, and pass.
    pub shadow: bool,
}

/// What routes are checked against.
pub(super) struct Surroundings<'a> {
    pub listen: &'a Listen,
    /// `None`: there is something wrong with it.
    pub public_url: Option<&'a PublicUrl>,
    pub upstreams: &'a BTreeMap<String, Upstream>,
    /// Seeds with the file's overlay on top.
    pub definitions: &'a Definitions,
    pub cors: &'a Cors,
    pub body: u64,
    /// Permissions whose use always waits for people.
    pub confirm: &'a [Code],
}

/// The largest body that waits for people where the route does not say.
const HELD_BODY: u64 = 1 << 20;
/// The largest that may: it is kept in the store.
const HELD_BODY_MAX: u64 = 8 << 20;

impl RawRoute {
    pub fn check(
        self,
        place: &Place,
        around: &Surroundings<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Route {
        let name_ok = !self.name.is_empty()
            && self.name.len() <= 64
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !name_ok {
            report.problem(
                &place.key("name"),
                "a route's name has letters, digits, `-`, `_` and `.`, at most 64",
            );
        }
        let upstream = around.upstreams.get(&self.upstream);
        if upstream.is_none() && report.is_whole("upstreams") {
            report
                .problem(&place.key("upstream"), format!("there is no upstream `{}`", self.upstream))
                .suggest(&self.upstream, around.upstreams.keys().map(String::as_str));
        }
        if let Some(host) = &self.matches.host
            && !around.listen.hosts.is_empty()
            && !around.listen.hosts.iter().any(|own| own.contains(host))
        {
            report
                .problem(&place.key("match").key("host"), format!("{host} is not one of `listen.hosts`"))
                .hint(format!("add `{host}` to `listen.hosts`"));
        }
        self.check_browser(place, around, report);
        let known = Known { definitions: around.definitions, path: &self.matches.path };
        let allow = self.allow.check(&place.key("allow"), &known, report);
        if let Some(agents) = &self.agents {
            agents.check(&place.key("agents"), around.definitions, report);
            self.check_held(agents, place, around, report);
        }
        let assertion = self.assertion.or(upstream.map(|u| u.assertion)).unwrap_or(Assertion::Off);
        self.check_details(place, &allow, assertion, report);
        let cors = self.cors(place, around, report, permitted);
        Route {
            name: self.name,
            host: self.matches.host,
            methods: self.matches.methods.map_or(Methods::ALL, |names| {
                names.into_iter().fold(Methods::NONE, |all, name| all.with(name.methods()))
            }),
            upstream: self.upstream,
            allow,
            agents: self.agents,
            limit: self.limit,
            body: self.body.unwrap_or(around.body),
            held_body: self.body.unwrap_or(HELD_BODY.min(around.body)),
            timeouts: self.timeouts.unwrap_or_default(),
            cors,
            assertion,
            identity: self.identity,
            forward_authorization: self.forward_authorization,
            rewrite: self.rewrite.map(|raw| raw.check(&self.matches.path, &place.key("rewrite"), report)),
            path: self.matches.path,
            target: self.target,
            websocket: self.websocket,
            browser: self.browser,
            audit: self.audit,
            shadow: self.shadow,
        }
    }

    /// A browser keeps the cookie for the host that set it.
    fn check_browser(&self, place: &Place, around: &Surroundings<'_>, report: &mut Report) {
        let (Some(host), Some(own)) = (&self.matches.host, around.public_url) else { return };
        if self.browser && !host.contains(&Host::Exact(own.host.as_str().into())) {
            report
                .problem(
                    &place.key("browser"),
                    format!("the cookie is for {}, which {host} is not", own.host),
                )
                .hint("route the backend under the host of `public_url`");
        }
    }

    fn check_held(
        &self,
        agents: &RouteAgents,
        place: &Place,
        around: &Surroundings<'_>,
        report: &mut Report,
    ) {
        if !agents.hold.holds_any() && !around.confirm.contains(&agents.permission) {
            return;
        }
        if self.websocket {
            report.problem(&place.key("websocket"), "what waits for people has an end, a WebSocket has none");
        }
        if self.body.is_some_and(|bytes| bytes > HELD_BODY_MAX) {
            report
                .problem(&place.key("body"), "more than 8MiB, and what waits for people is kept in the store")
                .hint("a route of its own for what agents send");
        }
    }

    fn check_details(&self, place: &Place, allow: &Allow, assertion: Assertion, report: &mut Report) {
        if self.identity != Identity::Auto && *allow != Allow::Anyone {
            report
                .problem(&place.key("identity"), "only where `allow: anyone` needs no credential")
                .hint("remove `identity`: these conditions need one");
        }
        if self.websocket && assertion == Assertion::Request {
            report
                .problem(
                    &place.key("websocket"),
                    "`assertion: request` covers a whole body, a WebSocket has none",
                )
                .hint("use `assertion: identity` on this route");
        }
        if self.shadow && *allow == Allow::Anyone {
            report
                .problem(&place.key("shadow"), "`allow: anyone` refuses nobody")
                .hint("remove `shadow`, or write the policy that is to be tried");
        } else if self.shadow {
            report
                .warning(
                    &place.key("shadow"),
                    "the policy of this route refuses no person: it only counts them",
                )
                .hint("remove `shadow` when the counts are as they should be");
        }
        let redact = self.agents.as_ref().and_then(|agents| agents.redact.as_ref());
        if self.websocket && redact.is_some_and(RouteRedact::is_asked_for) {
            report
                .problem(&place.key("websocket"), "what passes through a WebSocket cannot be redacted")
                .hint("give agents a route of their own without `websocket`, or say `redact: off`");
        }
        if self
            .limit
            .is_some_and(|limit| limit.per < Duration::from_secs(1) || limit.per > Duration::from_hours(24))
        {
            report.problem(&place.key("limit").key("per"), "between 1s and 1d");
        }
        if let Some(timeouts) = &self.timeouts {
            for (key, span) in
                [("connect", timeouts.connect), ("read", timeouts.read), ("write", timeouts.write)]
            {
                if span.is_some_and(|span| span.is_zero()) {
                    report.problem(&place.key("timeouts").key(key), "no time at all").hint("remove it");
                }
            }
        }
    }

    fn cors(
        &self,
        place: &Place,
        around: &Surroundings<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Option<Cors> {
        let global = around.cors;
        let own = match &self.cors {
            RawCors::Word(CorsWord::Off) => return None,
            RawCors::Word(CorsWord::On) => return Some(global.clone()),
            RawCors::Map(own) => own.clone(),
        };
        let cors = Cors {
            origins: own.origins.unwrap_or_else(|| global.origins.clone()),
            methods: own.methods.unwrap_or_else(|| global.methods.clone()),
            headers: own.headers.unwrap_or_else(|| global.headers.clone()),
            expose: own.expose.unwrap_or_else(|| global.expose.clone()),
            credentials: own.credentials.unwrap_or(global.credentials),
            max_age: own.max_age.unwrap_or(global.max_age),
        };
        cors.check(&place.key("cors"), report, permitted);
        Some(cors)
    }
}

impl MethodName {
    fn methods(self) -> Methods {
        let name = match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        };
        Methods::named(name).unwrap_or(Methods::NONE)
    }
}
