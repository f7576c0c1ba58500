//! Routes as a request meets them: compiled, with everything that a decision needs beside them.
//!
//! Law: the gateway's own paths come first and belong to it whole; what no route has is nothing.

use std::sync::Arc;

use super::agent::{Charge, Tariff};
use super::cors::Cors;
use super::hold::Holding;
use super::redact::Redaction;
use super::target::{Doubtful, TargetRules};
use super::world::World;
use crate::config::{self, Config};
use crate::metrics::RouteMetrics;
use crate::organization::OrgContext;
use crate::policy::{Allow, Catalogue, Code, CompiledAllow, Pattern};
use crate::shared::Price;

/// One route of the configuration, ready to be judged.
#[derive(Debug)]
pub struct Route {
    pub rule: config::Route,
    /// The upstream's name, to be kept without a copy.
    pub(super) upstream: Arc<str>,
    pub allow: CompiledAllow,
    /// What agents need to pass; `None`: none passes.
    pub(super) agents: Option<AgentRule>,
    /// How what agents ask waits for people; `None`: it does not.
    pub(super) hold: Option<Holding>,
    /// What agents do not get to read.
    pub(super) redaction: Option<Arc<Redaction>>,
    /// What each of their requests takes from a budget.
    pub(super) charge: Option<Charge>,
    /// How their calls of a language model are priced.
    pub(super) tariff: Option<Tariff>,
    /// Which part of what agents read here is written into the trail.
    pub(super) audited_reads: f64,
    pub credential: CredentialUse,
    pub application: ApplicationUse,
    pub cors: Option<Cors>,
    pub metrics: Arc<RouteMetrics>,
    /// Some paths that fit are the gateway's own.
    pub(super) is_beside_own_paths: bool,
}

/// What agents need to pass, looked up in a catalogue.
#[derive(Debug)]
pub(super) struct AgentRule {
    pub code: Code,
    /// Its index, unless nothing defines it: then nobody holds it globally.
    pub permission: Option<usize>,
    /// The org roles that grant it, sorted.
    org_roles: Vec<Code>,
}

impl AgentRule {
    fn new(code: &Code, catalogue: &Catalogue) -> Self {
        let (permission, org_roles) = (catalogue.permission(code), catalogue.org_roles_granting(code));
        Self { code: code.clone(), permission, org_roles }
    }

    /// Whether someone with this standing holds it in the organization, by the tree.
    pub fn is_held_there(&self, there: &OrgContext) -> bool {
        there.here.iter().chain(&there.above).any(|role| self.org_roles.binary_search(role).is_ok())
    }
}

/// What becomes of a credential on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialUse {
    /// Not looked at.
    Ignored,
    /// A good one gives an identity, a bad one is nothing.
    Optional,
    /// A bad one is an answer.
    Judged,
}

/// Whether a request must carry an application's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationUse {
    Optional,
    Required,
}

impl Route {
    pub(super) fn new(
        rule: &config::Route,
        config: &Config,
        catalogue: &Catalogue,
        own: &[Pattern],
        metrics: Arc<RouteMetrics>,
    ) -> Self {
        let application = match config.applications.required {
            config::Required::Everywhere => ApplicationUse::Required,
            config::Required::Api | config::Required::Nowhere => ApplicationUse::Optional,
        };
        Self {
            allow: rule.allow.compile(catalogue),
            agents: rule.agents.as_ref().map(|agents| AgentRule::new(&agents.permission, catalogue)),
            redaction: rule
                .agents
                .as_ref()
                .and_then(|own| Redaction::of(own.redact.as_ref(), &config.agents)),
            hold: Holding::of(rule, config),
            charge: cost_of(rule).and_then(charge),
            tariff: cost_of(rule).and_then(tariff),
            audited_reads: config.audit.reads,
            credential: credential_use(rule),
            application,
            cors: rule.cors.as_ref().map(Cors::new),
            is_beside_own_paths: own.iter().any(|own| own.meet(&rule.path).is_some()),
            metrics,
            upstream: rule.upstream.as_str().into(),
            rule: rule.clone(),
        }
    }

    /// How much of a body is read at most.
    pub(super) fn body_max(&self) -> usize {
        usize::try_from(self.rule.body).unwrap_or(usize::MAX)
    }

    /// Whether an agent's request that is permitted is dispatched, if only its rate and its budget
    /// let it.
    pub(super) fn pays_at_once(&self) -> bool {
        let is_plain = self.rule.limit.is_none() && self.rule.audit == config::RouteAudit::Off;
        is_plain && self.hold.is_none() && self.tariff.is_none()
    }

    /// Which doubtful spellings of a path it takes.
    pub(super) fn target_rules(&self, world: &World) -> TargetRules {
        let doubtful = |is_kept| if is_kept { Doubtful::Keep } else { Doubtful::Refuse };
        let rules = self.rule.target;
        let max = usize::try_from(world.config.limits.head.target).unwrap_or(usize::MAX);
        TargetRules { encoded_slash: doubtful(rules.encoded_slash), params: doubtful(rules.params), max }
    }
}

fn cost_of(rule: &config::Route) -> Option<&config::RouteCost> {
    rule.agents.as_ref()?.cost.as_ref()
}

fn charge(cost: &config::RouteCost) -> Option<Charge> {
    Some(Charge { money: cost.flat_usd?, price: Price::Final })
}

fn tariff(cost: &config::RouteCost) -> Option<Tariff> {
    Some(Tariff {
        style: cost.llm?,
        prices: cost.prices.clone(),
        output_max: cost.output_max,
        cap: cost.cap.clone(),
        allow: cost.allow.clone(),
    })
}

fn credential_use(rule: &config::Route) -> CredentialUse {
    match (&rule.allow, rule.identity) {
        (Allow::When(_), _) => CredentialUse::Judged,
        (Allow::Anyone, config::Identity::Optional) => CredentialUse::Optional,
        (Allow::Anyone, config::Identity::Auto | config::Identity::Off) => CredentialUse::Ignored,
    }
}
