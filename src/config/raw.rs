//! The file's top level, as written: one field per section.
//!
//! Law: a field here is a key that acts. Types that need no more than their own check are the
//! checked ones already; the others have a `Raw` form in their section's file.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::account::{Accounts, Api, Applications};
use super::agent::Agents;
use super::file::Files;
use super::insecure::{Insecure, Permitted};
use super::listen::{Listen, PublicUrl};
use super::login::{Login, check_link};
use super::mail::RawMail;
use super::notice::{RawWebhook, webhooks};
use super::operation::{Audit, Cors, Drain, Limits, Telemetry};
use super::place::Place;
use super::preset::Preset;
use super::problem::Report;
use super::retention::Retention;
use super::rights::{Organizations, RawGroup, RawOrganizations, RawPermission, RawRights, RawRole};
use super::route::{RawRoute, Route, Surroundings};
use super::sms::RawSms;
use super::storage::{Keys, RawShared, RawStore};
use super::template::{self, Template};
use super::token::{Sessions, Tokens};
use super::upstream::{RawUpstream, Upstream};
use super::{Config, held, overlap, storage};
use crate::policy::seed;

/// The configuration of a Portcullis gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Values for everything below that is not set.
    preset: Preset,
    /// Scheme, host and port by which clients reach the gateway: the only source of absolute links.
    /// Defaults to the listener if that is on loopback.
    public_url: Option<String>,
    listen: Listen,
    /// Accounts, sessions and rights: `sqlite://PATH`, `postgres://…`, `mysql://…`, or a map.
    store: RawStore,
    /// What replicas share: `memory`, `redis://…`, or a map.
    shared: RawShared,
    keys: Keys,
    tokens: Tokens,
    sessions: Sessions,
    accounts: Accounts,
    login: Login,
    applications: Applications,
    api: Api,
    organizations: RawOrganizations,
    agents: Agents,
    /// How mail is sent; `null`: none is.
    mail: Option<RawMail>,
    /// How text messages are sent; `null`: none is.
    sms: Option<RawSms>,
    /// Programs that are told what happened.
    webhooks: Vec<RawWebhook>,
    /// What mail and text messages say in place of the gateway's own words, by notice.
    templates: BTreeMap<String, Template>,
    /// Permissions beside the seeded ones.
    permissions: Vec<RawPermission>,
    /// Roles beside the seeded ones.
    roles: Vec<RawRole>,
    /// Named sets of roles and permissions.
    groups: Vec<RawGroup>,
    /// The backends, by name.
    upstreams: BTreeMap<String, RawUpstream>,
    /// Which requests go where. What no route allows is 404.
    routes: Vec<RawRoute>,
    audit: Audit,
    retention: Retention,
    limits: Limits,
    cors: Cors,
    /// Whether answers get headers that keep browsers from guessing, framing and leaking.
    security_headers: bool,
    telemetry: Telemetry,
    drain: Drain,
    /// Risks that are taken knowingly.
    insecure: Vec<Insecure>,
    /// Whether the file is read again by itself once it has been stable for two seconds.
    watch: bool,
}

impl Raw {
    /// The checked configuration; whether it may be used is for the report to say.
    pub fn check(mut self, files: &Files<'_>, report: &mut Report) -> Option<Config> {
        let mut permitted = Permitted::new(&self.insecure);
        self.check_sections(files, report, &mut permitted);
        let public_url = self.public_url(report, &mut permitted);
        let store = self.store.check(files, report, &mut permitted);
        let shared = self.shared.check(files, report, &mut permitted);
        storage::fit(store.as_ref(), shared.as_ref(), report);
        let definitions = RawRights {
            permissions: self.permissions,
            roles: self.roles,
            groups: self.groups,
            org_roles: self.organizations.roles,
        }
        .check(report);
        let known = seed::definitions().under(&definitions);
        self.agents.check(&known, report);
        let upstreams = upstreams(self.upstreams, files, &self.listen, report, &mut permitted);
        let around = Surroundings {
            listen: &self.listen,
            public_url: public_url.as_ref(),
            upstreams: &upstreams,
            definitions: &known,
            confirm: &self.agents.confirm,
            cors: &self.cors,
            body: self.limits.body.bytes,
        };
        let mail = self.mail.and_then(|raw| raw.check(files, report, &mut permitted));
        let sms = self.sms.and_then(|raw| raw.check(files, report, &mut permitted));
        let webhooks = webhooks(self.webhooks, files, report, &mut permitted);
        let routes = routes(self.routes, &around, report, &mut permitted);
        overlap::check(&routes, &self.api, report);
        unused(&upstreams, &routes, report);
        if let Some(link) = &self.organizations.invitation_link {
            let place = Place::root().key("organizations").key("invitation_link");
            check_link(link, &place, report, &mut permitted);
        }
        let organizations = Organizations {
            is_enabled: self.organizations.enabled,
            inherit_roles: self.organizations.inherit_roles,
            max_depth: self.organizations.max_depth,
            invitation_link: self.organizations.invitation_link,
        };
        held::check(&routes, &self.agents, &organizations, report);
        let insecure = permitted.finish(report);
        Some(Config {
            preset: self.preset,
            public_url: public_url?,
            listen: self.listen,
            store: store?,
            shared: shared?,
            keys: self.keys,
            tokens: self.tokens,
            sessions: self.sessions,
            accounts: self.accounts,
            login: self.login,
            applications: self.applications,
            api: self.api,
            organizations,
            agents: self.agents,
            mail,
            sms,
            webhooks,
            templates: self.templates,
            definitions,
            upstreams,
            routes,
            audit: self.audit,
            retention: self.retention,
            limits: self.limits,
            cors: self.cors,
            security_headers: self.security_headers,
            telemetry: self.telemetry,
            drain: self.drain,
            insecure,
            watch: self.watch,
            effective: Vec::new(),
        })
    }

    fn check_sections(&mut self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) {
        let root = Place::root();
        self.listen.check(report, permitted);
        if let Some(tls) = &mut self.listen.tls {
            let place = root.key("listen").key("tls");
            files.readable(&mut tls.cert_file, &place.key("cert_file"), report);
            files.private(&mut tls.key_file, &place.key("key_file"), report, permitted);
        }
        self.keys.seal_file = files.resolve(&self.keys.seal_file);
        Files::check_mode(&self.keys.seal_file, &root.key("keys").key("seal_file"), report, permitted);
        self.tokens.check(report, permitted);
        self.sessions.check(&self.tokens, report);
        self.accounts.check(files, report, permitted);
        if self.accounts.registration.workspace && !self.organizations.enabled {
            report
                .problem(
                    &root.key("accounts").key("registration").key("workspace"),
                    "there are no organizations",
                )
                .hint("write `organizations: { enabled: true }`");
        }
        self.login.check(files, report, permitted);
        self.api.check(report);
        template::check(&self.templates, report);
        self.audit.check(report);
        self.retention.check(report);
        self.limits.check(report);
        self.cors.check(&root.key("cors"), report, permitted);
    }

    fn public_url(&self, report: &mut Report, permitted: &mut Permitted) -> Option<PublicUrl> {
        let place = Place::root().key("public_url");
        let Some(text) = &self.public_url else {
            let derived = PublicUrl::of_listener(&self.listen);
            if derived.is_none() && report.is_whole("") {
                report
                    .problem(&place, "missing: clients reach this listener by a name that only you know")
                    .hint("write `public_url: https://gw.example.com`");
            }
            return derived;
        };
        match PublicUrl::parse(text) {
            Ok(url) => {
                url.check(&self.listen, report, permitted);
                Some(url)
            }
            Err(why) => {
                report.problem(&place, why).hint("write `https://gw.example.com`");
                None
            }
        }
    }
}

fn upstreams(
    raw: BTreeMap<String, RawUpstream>,
    files: &Files<'_>,
    listen: &Listen,
    report: &mut Report,
    permitted: &mut Permitted,
) -> BTreeMap<String, Upstream> {
    let mut upstreams = BTreeMap::new();
    for (name, raw) in raw {
        let mut upstream = raw.check(&name, listen, report, permitted);
        if let Some(tls) = &mut upstream.tls {
            let place = Place::root().key("upstreams").key(&name).key("tls");
            if let Some(file) = &mut tls.ca_file {
                files.readable(file, &place.key("ca_file"), report);
            }
            if let Some(file) = &mut tls.client_cert_file {
                files.readable(file, &place.key("client_cert_file"), report);
            }
            if let Some(file) = &mut tls.client_key_file {
                files.private(file, &place.key("client_key_file"), report, permitted);
            }
        }
        upstreams.insert(name, upstream);
    }
    upstreams
}

fn routes(
    raw: Vec<RawRoute>,
    around: &Surroundings<'_>,
    report: &mut Report,
    permitted: &mut Permitted,
) -> Vec<Route> {
    let mut names = BTreeSet::new();
    let mut routes = Vec::with_capacity(raw.len());
    for (at, raw) in raw.into_iter().enumerate() {
        let place = Place::root().key("routes").item(at);
        let route = raw.check(&place, around, report, permitted);
        if !names.insert(route.name.clone()) {
            report.problem(&place.key("name"), format!("another route is called `{}`", route.name));
        }
        routes.push(route);
    }
    routes
}

fn unused(upstreams: &BTreeMap<String, Upstream>, routes: &[Route], report: &mut Report) {
    let used: BTreeSet<&str> = routes.iter().map(|route| route.upstream.as_str()).collect();
    for name in upstreams.keys().filter(|name| !used.contains(name.as_str())) {
        if report.is_whole("routes") {
            let place = Place::root().key("upstreams").key(name);
            report
                .problem(&place, format!("no route leads to the upstream `{name}`"))
                .hint("remove it or add a route");
        }
    }
    if routes.is_empty() && report.is_whole("routes") {
        report.warning(&Place::root().key("routes"), "no routes: every path but the gateway's own is 404");
    }
}
