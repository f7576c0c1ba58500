//! `Permit`: the proof, as a type, that a request may be forwarded.
//!
//! Law: private fields and one constructor, which only the judge calls; what was not permitted
//! cannot be forwarded, because it cannot be built.

use std::sync::Arc;

use ::http::HeaderValue;

use super::Gate;
use super::agent::{Spent, Watch};
use super::person::{Key, Snapshot};
use super::redact::Redaction;
use super::route::Route;
use super::stamp;
use super::world::World;
use crate::approval::Claim;
use crate::base::{Id, Timestamp};
use crate::config::Assertion;
use crate::organization::OrgContext;
use crate::policy::Code;
use crate::principal::{ApplicationFacts, Principal};

/// A request may pass, as this caller, in this organization, on this route.
#[derive(Debug, Clone)]
pub struct Permit {
    world: Arc<World>,
    route: Arc<Route>,
    caller: Option<Arc<Snapshot>>,
    organization: Option<Organization>,
    application: Option<Arc<ApplicationFacts>>,
    cookie_until: Option<Timestamp>,
    /// Why the policy says no, where its route only counts that.
    shadow: Option<&'static str>,
}

/// The organization that the caller acts in, with what is written about it.
#[derive(Debug, Clone)]
pub(super) struct Organization {
    pub context: OrgContext,
    pub id: HeaderValue,
    pub slug: HeaderValue,
    pub role: Option<Code>,
}

/// What a judge found about a request.
#[derive(Debug)]
pub(super) struct Found {
    pub caller: Option<Arc<Snapshot>>,
    pub organization: Option<Organization>,
    pub application: Option<Arc<ApplicationFacts>>,
}

impl Organization {
    pub fn new(context: OrgContext, world: &World) -> Self {
        Self {
            id: HeaderValue::from(context.number.0),
            slug: stamp::one(context.slug.as_str()),
            role: context.role(&world.catalogue.definitions().org_roles).cloned(),
            context,
        }
    }
}

impl Permit {
    /// The one constructor. Whoever calls it has a yes in hand.
    pub(super) fn grant(world: &Arc<World>, route: &Arc<Route>, found: Found) -> Self {
        let Found { caller, organization, application } = found;
        let (world, route) = (Arc::clone(world), Arc::clone(route));
        Self { world, route, caller, organization, application, cookie_until: None, shadow: None }
    }

    /// The same where a policy in shadow mode says no for this reason, if there is one.
    pub(super) fn in_shadow(self, reason: Option<&'static str>) -> Self {
        Self { shadow: self.shadow.or(reason), ..self }
    }

    /// Why it would have been refused, were its route not in shadow mode.
    #[must_use]
    pub const fn shadow(&self) -> Option<&'static str> {
        self.shadow
    }

    /// The same where it was given to who showed a cookie, which is good until then.
    pub(super) fn shown_by_cookie(self, cookie_until: Option<Timestamp>) -> Self {
        Self { cookie_until, ..self }
    }

    /// Until when the cookie is good that was shown.
    pub(super) const fn cookie_until(&self) -> Option<Timestamp> {
        self.cookie_until
    }

    /// For a question that is nobody's: a preflight that the route leaves to its upstream.
    pub(super) fn of_nobody(world: &Arc<World>, route: &Arc<Route>) -> Self {
        Self::grant(world, route, Found { caller: None, organization: None, application: None })
    }

    /// Whether what is written about the caller covers the whole body.
    pub fn binds_body(&self) -> bool {
        self.caller.is_some() && self.route.rule.assertion == Assertion::Request
    }

    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The world in which it was granted.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.caller.as_ref().map(|caller| &caller.principal)
    }

    pub fn application(&self) -> Option<&Arc<ApplicationFacts>> {
        self.application.as_ref()
    }

    /// The session that calls, for signals that end it.
    pub fn session(&self) -> Option<Key> {
        self.caller.as_ref().map(|caller| caller.key)
    }

    /// Who waits for the end of the request, where an agent's asked for it.
    pub fn watch(
        &self,
        gate: &Arc<Gate>,
        has_failures: bool,
        spent: Option<Spent>,
        claim: Option<Claim>,
    ) -> Option<Watch> {
        let grant = self.caller.as_ref()?.agent.as_ref()?;
        Some(Watch::new(Arc::clone(gate), Arc::clone(grant), has_failures, spent, claim))
    }

    /// What the answer must not show whoever asked.
    pub fn redaction(&self) -> Option<&Arc<Redaction>> {
        self.route.redaction.as_ref().filter(|_| self.agent().is_some())
    }

    /// The agent token that asked for it.
    pub fn agent(&self) -> Option<Id> {
        self.caller.as_ref()?.agent.as_ref().map(|grant| grant.token.id)
    }

    pub(super) fn caller(&self) -> Option<&Arc<Snapshot>> {
        self.caller.as_ref()
    }

    pub(super) fn organization(&self) -> Option<&Organization> {
        self.organization.as_ref()
    }
}
