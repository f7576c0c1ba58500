//! May this caller use this route, in the organization that the request names?
//!
//! Law: the policy is asked with everything known, once; three values come out, and only a yes makes
//! a [`Permit`]. Unknown is told by its reason: who are you, in which organization, or cannot tell.
//! An organization that does not exist and one that the caller has nothing to do with are alike.

use std::borrow::Cow;
use std::sync::Arc;

use super::Gate;
use super::agent::{self, Grant};
use super::permit::{Found, Organization, Permit};
use super::person::{Narrow, Snapshot};
use super::rejection::{Rejection, Silent};
use super::route::Route;
use super::world::World;
use crate::base::{Slug, Timestamp};
use crate::organization::{Inherit, OrgContext, context};
use crate::policy::Judgement;
use crate::policy::judge::{Caller, Facts, Organization as Standing, Why};
use crate::policy::table::Params;
use crate::principal::ApplicationFacts;

/// What a request asks to do, and what is known about who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub route: &'a Arc<Route>,
    pub params: &'a Params<'a, 'a>,
    pub caller: Option<&'a Arc<Snapshot>>,
    pub organization: Option<&'a Organization>,
    pub application: Option<&'a Arc<ApplicationFacts>>,
    pub now: Timestamp,
    /// Set where an agent asks.
    pub agent: Option<OfAgent<'a>>,
}

/// What an agent asks with.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfAgent<'a> {
    pub grant: &'a Grant,
    pub standing: agent::Standing,
}

/// Decides.
pub(super) fn authorize(world: &Arc<World>, asked: &Asked<'_>) -> Result<Permit, Rejection> {
    let policy = asked.judge();
    if let (Some(OfAgent { grant, standing }), Some(caller)) = (asked.agent, asked.caller) {
        agent::check(asked.route, caller, grant, asked.organization, standing, &policy)?;
        return Ok(Permit::grant(world, asked.route, asked.found()));
    }
    match policy {
        Judgement::Yes => Ok(Permit::grant(world, asked.route, asked.found())),
        Judgement::No(failure) if failure.condition == "application" && asked.application.is_none() => {
            Err(Rejection::ApplicationMissing)
        }
        Judgement::No(failure) => asked.tolerated(world, Rejection::Denied(failure)),
        Judgement::Unknown(Why::NotSignedIn) => Err(Rejection::CredentialMissing),
        Judgement::Unknown(Why::NoOrganization) => Err(Rejection::OrganizationMissing),
        Judgement::Unknown(Why::StoreSilent) => Err(Rejection::Unavailable(Silent::Store)),
    }
}

impl Asked<'_> {
    /// What the route's policy says. Of a credential that reaches only so far both must say yes: the human
    /// as such, so that nothing opens because something is left out of sight, and the human within reach.
    fn judge(&self) -> Judgement {
        let allow = &self.route.allow;
        let as_human = self.with_facts(|facts| allow.judge(facts));
        match self.caller.and_then(|caller| caller.narrow.as_deref()) {
            Some(narrow) if as_human == Judgement::Yes => {
                self.with_facts_within(Some(narrow), |facts| allow.judge(facts))
            }
            _ => as_human,
        }
    }

    /// A refusal by the policy, unless its route only counts those. What a credential lacks is never
    /// tolerated: somebody must be signed in, and freshly or twice where that is asked for, and a key reaches
    /// as far as it reaches. Nor is what the policy could not be asked about, whatever else it says no to.
    fn tolerated(&self, world: &Arc<World>, refusal: Rejection) -> Result<Permit, Rejection> {
        let allow = &self.route.allow;
        let is_person = self.caller.is_some_and(|caller| caller.narrow.is_none());
        if !(self.route.rule.shadow && is_person && self.agent.is_none()) {
            return Err(refusal);
        }
        if allow.asks_application() && self.application.is_none() {
            return Err(Rejection::ApplicationMissing);
        }
        if allow.asks_organization() && self.organization.is_none() {
            return Err(Rejection::OrganizationMissing);
        }
        if self.with_facts(|facts| allow.is_login_too_weak(facts)) {
            return Err(refusal);
        }
        Ok(Permit::grant(world, self.route, self.found()).in_shadow(Some(refusal.label())))
    }

    fn found(&self) -> Found {
        let is_narrow = self.caller.is_some_and(|caller| caller.narrow.is_some());
        let mut organization = self.organization.cloned();
        if let Some(organization) = organization.as_mut().filter(|_| is_narrow) {
            // A role says more than the key reaches.
            organization.role = None;
        }
        Found { caller: self.caller.cloned(), organization, application: self.application.cloned() }
    }

    /// Calls `ask` with everything that the policy may ask about.
    pub(super) fn with_facts<T>(&self, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        self.with_facts_within(None, ask)
    }

    /// The same, where `narrow` is set of the caller as far as the credential reaches.
    fn with_facts_within<T>(&self, narrow: Option<&Narrow>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let param = |name: &str| self.params.get(name).map(decoded);
        let caller = self.caller.map(|snapshot| {
            let principal = &snapshot.principal;
            Caller {
                id: principal.account.id,
                rights: match (narrow, &snapshot.narrow) {
                    (None, Some(own)) => &own.whole,
                    _ => &principal.rights,
                },
                reach: narrow.map(|narrow| &narrow.reach),
                authenticated_at: principal.session.authenticated_at,
                second_factor_at: principal.session.second_factor_at,
                is_staff: principal.account.is_staff && narrow.is_none(),
                is_email_verified: principal.account.is_email_verified,
                is_phone_verified: principal.account.is_phone_verified,
            }
        });
        let organization = match self.organization {
            None => Standing::NotNamed,
            Some(Organization { context, .. }) => {
                let OrgContext { here, above, plan, status, .. } = context;
                Standing::Named { here: here.as_ref(), above, plan, status }
            }
        };
        let application = self.application.map(|application| &*application.name);
        ask(&Facts { now: self.now, caller, organization, application, param: &param })
    }
}

/// The organization that a signed-in caller asks to act in.
pub(super) async fn organization_of(
    gate: &Gate,
    world: &World,
    caller: &Snapshot,
    wish: Option<&str>,
) -> Result<Option<Organization>, Rejection> {
    let Some(wish) = wish.filter(|_| world.config.organizations.is_enabled) else { return Ok(None) };
    let unknown = || Rejection::OrganizationUnknown { slug: wish.chars().take(SLUG_SHOWN).collect() };
    let slug = Slug::parse(wish).map_err(|_| unknown())?;
    let principal = &caller.principal;
    let place = gate.records.place(principal.account.site, &slug).await.map_err(|error| {
        tracing::warn!(%error, "an organization cannot be read");
        Rejection::Unavailable(Silent::Store)
    })?;
    let inherit =
        if world.config.organizations.inherit_roles { Inherit::FromAbove } else { Inherit::Nothing };
    let context = place.and_then(|place| context(&principal.memberships, &place, inherit).ok());
    context.map(|context| Some(Organization::new(context, world))).ok_or_else(unknown)
}

/// How much of an unknown slug the answer repeats.
const SLUG_SHOWN: usize = 100;

/// A path segment as the caller meant it. What is not UTF-8 once decoded stays as it is, and then
/// equals nobody's id.
pub(super) fn decoded(segment: &str) -> Cow<'_, str> {
    let Some(first) = segment.find('%') else { return Cow::Borrowed(segment) };
    let mut bytes = segment.as_bytes()[..first].to_vec();
    let mut rest = &segment.as_bytes()[first..];
    while let Some((&byte, after)) = rest.split_first() {
        let value = if byte == b'%' { after.get(..2).and_then(hex_pair) } else { None };
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(segment), Cow::Owned)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}
