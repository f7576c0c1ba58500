//! Agents at the gate: who calls on whose behalf, how often, and may both of them.
//!
//! Law: one order of checks, and nothing of a later one is told to who fails an earlier one: the
//! state of token and human, expiry, sign of life; the rate, which everything counts against; then
//! the route, the delegation, the human, the organization. What holds a request or costs something
//! comes after all of these.

mod cache;
mod count;
mod judge;
mod llm;
mod marks;
mod meter;
mod refusal;
mod trail;
mod usage;
mod watch;
mod withheld;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::authenticate::{VIEW_MAX, slow_down};
use super::authorize::organization_of;
use super::credential::Credential;
use super::head::RequestHead;
use super::permit::Organization;
use super::person::Snapshot;
use super::rejection::{Flaw, Pace, Rejection, Silent};
use super::route::{AgentRule, Route};
use super::world::World;
use super::{Gate, application};
use crate::agent::{self as delegation, Fault};
use crate::audit::{Actor, AgentEvent, Suspension};
use crate::base::{Id, Timestamp};
use crate::crypto::digest::{sha256, unhex};
use crate::metrics::Limiter;
use crate::policy::Judgement;
use crate::principal::ApplicationFacts;
use crate::shared::{Bought, Purchase, Rate, Rated};
use crate::store::{Error, again};

pub(super) use cache::{Agents, Digest, Found, Grant, Sources, session_of};
pub use count::Spent;
pub(super) use count::{Charge, Paid, Queues, purchase, spend, spend_on_call};
pub(super) use judge::Standing;
pub(super) use llm::Tariff;
pub(super) use refusal::budget_left;
pub use refusal::{AgentRefusal, Conjunct, Denial, Shortage, Trip};
pub(super) use trail::{Trail, actor_of};
pub(super) use usage::Used;
pub use watch::{Ended, Watch};
pub(super) use withheld::Withheld;

/// How often a token's use is noted.
const NOTED_EVERY: Duration = Duration::from_secs(30);

/// An agent whose token may act now.
pub(super) struct Caller {
    pub snapshot: Arc<Snapshot>,
    pub grant: Arc<Grant>,
    /// The application whose keys came along, or that the token stands for; or why it may not come
    /// through that one, which is told when the request was counted.
    pub application: Result<Option<Arc<ApplicationFacts>>, Rejection>,
}

/// Who calls, if the token may act at this moment. What is known of it goes into `trail` as soon as
/// it is known, also where the request is refused for what it is (`fits`), whoever sends it.
pub(super) async fn authenticate(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    route: &Route,
    fits: Result<(), Rejection>,
    trail: &mut Trail,
) -> Result<Caller, Rejection> {
    if !world.config.agents.is_enabled {
        return Err(fits.err().unwrap_or(Rejection::Agent(AgentRefusal::Disabled)));
    }
    let found = found(gate, world, head).await;
    if let Ok(found) = &found {
        trail.know(found);
    }
    fits?;
    if head.presented.api_key.is_some() {
        return Err(Rejection::Malformed(Flaw::Credentials));
    }
    // Keys that are sent must be right, whoever calls.
    let application = application::of_agent(gate, head).await?;
    acting(gate, world, head, route, found?.acting()?, application).await
}

/// Whose the token is that the request presents.
async fn found(gate: &Gate, world: &World, head: &RequestHead) -> Result<Found, Rejection> {
    let Credential::Agent(text) = Credential::of(head.presented.authorization.as_ref()) else {
        return Err(Rejection::AgentTokenUnreadable);
    };
    if gate.app.view_age() > VIEW_MAX {
        return Err(Rejection::Unavailable(Silent::View));
    }
    presented(gate, world, head, text).await
}

/// Whose this token is. An address that presents many that nobody minted is refused before the next
/// one is looked up; a token that was found to be somebody's never is, whoever else calls from there.
pub(super) async fn presented(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    text: &str,
) -> Result<Found, Rejection> {
    let (digest, failures) = (sha256(text.as_bytes()), gate.tokens.failures());
    let is_new = gate.agents.is_new(&digest, head.at);
    if is_new {
        failures.check(head.client, head.at).map_err(|wait| slow_down(head, wait))?;
    }
    let found = gate.agents.of_digest(digest, sources(gate, world, head.at)).await?;
    if is_new && matches!(found, Found::Nobody) {
        failures.count(head.client, head.at);
    }
    Ok(found)
}

/// Whether somebody minted the token that an endpoint for agents is called with. Whether it may act is
/// the endpoint's to say.
pub(super) async fn vouch(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    text: &str,
) -> Result<(), Rejection> {
    if !world.config.agents.is_enabled {
        return Ok(());
    }
    match presented(gate, world, head, text).await? {
        Found::Acting(_) | Found::Halted(_) => Ok(()),
        Found::Nobody => Err(Rejection::Agent(AgentRefusal::Unknown)),
    }
}

/// Writes down that an agent tried what no agent may, approving its own requests say, at this endpoint.
/// Of a stranger there is nothing to write, and the request is refused whatever is known of it.
pub(super) async fn strayed(gate: &Gate, world: &World, head: &RequestHead, endpoint: &str) {
    let Credential::Agent(text) = Credential::of(head.presented.authorization.as_ref()) else { return };
    if let Ok(found) = presented(gate, world, head, text).await
        && let Some(grant) = found.grant()
    {
        trail::strayed(gate, head, grant, endpoint);
    }
}

/// The same of a token that the gateway acts for by itself.
pub(super) async fn known(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    route: &Route,
    token: Id,
    trail: &mut Trail,
) -> Result<Caller, Rejection> {
    if !world.config.agents.is_enabled {
        return Err(Rejection::Agent(AgentRefusal::Disabled));
    }
    if gate.app.view_age() > VIEW_MAX {
        return Err(Rejection::Unavailable(Silent::View));
    }
    let digest = delegation::digest_of(&gate.app.db, token).await.map_err(|error| silent(&error))?;
    let digest: Option<Digest> = digest.and_then(|digest| unhex(&digest)?.try_into().ok());
    let digest = digest.ok_or(Rejection::Agent(AgentRefusal::Unknown))?;
    let found = gate.agents.of_digest(digest, sources(gate, world, head.at)).await?;
    trail.know(&found);
    acting(gate, world, head, route, found.acting()?, None).await
}

/// An agent that is known, if its token may act at this moment.
async fn acting(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    route: &Route,
    mut snapshot: Arc<Snapshot>,
    application: Option<Arc<ApplicationFacts>>,
) -> Result<Caller, Rejection> {
    let mut grant = granted(&snapshot)?;
    if grant.check(head.at) == Err(Fault::Silent) {
        // Signs of life are not told to caches: ask the store before believing it.
        gate.agents.forget(&grant.digest);
        snapshot = gate.agents.of_digest(grant.digest, sources(gate, world, head.at)).await?.acting()?;
        grant = granted(&snapshot)?;
    }
    if let Err(fault) = grant.check(head.at) {
        return Err(faulty(gate, &grant, fault).await);
    }
    let is_matched = application::check_match(&snapshot, application.as_deref());
    let application = match (application, grant.token.application) {
        (Some(known), _) => Some(known),
        (None, Some(id)) => gate.records.application_of(id).await.map_err(|error| silent(&error))?,
        (None, None) => None,
    };
    let is_right = is_matched.and_then(|()| application::check_required(route, application.as_deref()));
    Ok(Caller { snapshot, grant, application: is_right.map(|()| application) })
}

fn granted(snapshot: &Snapshot) -> Result<Arc<Grant>, Rejection> {
    snapshot.agent.clone().ok_or(Rejection::Internal)
}

pub(super) fn sources<'a>(gate: &'a Gate, world: &'a World, now: Timestamp) -> Sources<'a> {
    let (epochs, records) = (&gate.app.epochs, gate.records.as_ref());
    Sources { epochs, catalogue: &world.catalogue, records, now }
}

fn silent(error: &Error) -> Rejection {
    tracing::warn!(%error, "what an agent stands for cannot be read");
    Rejection::Unavailable(Silent::Store)
}

/// Writes down what time did to a token, and says so.
async fn faulty(gate: &Gate, grant: &Grant, fault: Fault) -> Rejection {
    if let Err(error) = delegation::settle(&gate.app, grant.token.delegation(), fault).await {
        // It is refused all the same, and the timer tries again.
        tracing::warn!(%error, "the end of an agent token was not written");
    }
    Rejection::Agent(match fault {
        Fault::Status(status) => AgentRefusal::of_state(status, grant.token.suspended_reason),
        Fault::Overdue => AgentRefusal::Overdue,
        Fault::Silent => AgentRefusal::Silent,
    })
}

/// Counts a request against the token's rate, looks at its failures, and buys what it needs if it
/// may pass.
pub(super) async fn rate(
    gate: &Gate,
    grant: &Arc<Grant>,
    purchase: Option<&Purchase>,
) -> Result<(Rated, Option<Bought>), Rejection> {
    let limits = &grant.token.limits;
    let rate = Rate { per_minute: limits.per_minute, breaches_max: limits.suspend_after };
    let rated = gate.app.shared.rate(&grant.rate_key, grant.blame(), rate, purchase).await;
    let (rated, bought) = rated.map_err(|error| count::unreachable(&error))?;
    if let Some(wait) = rated.standing.closed_for {
        return Err(Rejection::Unavailable(Silent::Forgetful(wait)));
    }
    if rated.standing.failures > limits.failures {
        if let Some((purchase, bought)) = purchase.zip(bought) {
            count::abandon(gate, grant, purchase, bought).await;
        }
        return Err(trip(gate, grant, Trip::Failures).await);
    }
    if rated.hit.is_allowed {
        return Ok((rated, bought));
    }
    gate.app.metrics.rate_limited(Limiter::Agent);
    if limits.suspend_after > 0 && rated.standing.breaches >= limits.suspend_after {
        return Err(trip(gate, grant, Trip::Rate).await);
    }
    let hit = rated.hit;
    Err(Rejection::Limited(Pace {
        limit: hit.limit,
        remaining: hit.remaining,
        window: hit.per,
        reset_at: hit.reset_at,
        retry_after: hit.retry_after,
    }))
}

/// Suspends a token. Of many requests that would, one does: one event, one row.
async fn trip(gate: &Gate, grant: &Grant, trip: Trip) -> Rejection {
    let reason = match trip {
        Trip::Rate | Trip::Total => Suspension::RateLimit,
        Trip::Failures => Suspension::Anomaly,
        Trip::Budget(_) => Suspension::BudgetExceeded,
    };
    if !grant.is_tripping.swap(true, Ordering::AcqRel)
        && let Err(error) = suspend(&gate.app, grant, reason).await
    {
        grant.is_tripping.store(false, Ordering::Release);
        tracing::error!(%error, "an agent token could not be suspended");
        return Rejection::Unavailable(Silent::Store);
    }
    Rejection::Agent(AgentRefusal::Tripped(trip))
}

async fn suspend(app: &crate::app::App, grant: &Grant, reason: Suspension) -> Result<(), Error> {
    let suspend = || async {
        let mut change = app.change(Actor::system()).await?;
        let is_done = delegation::suspend(&mut change, grant.token.delegation(), reason).await?;
        if is_done { change.commit().await } else { Ok(()) }
    };
    again(suspend).await
}

/// The organization that the token is for, and how it stands.
pub(super) async fn organization(
    gate: &Gate,
    world: &World,
    head_slug: Option<&str>,
    snapshot: &Snapshot,
    grant: &Grant,
) -> Result<(Option<Organization>, Standing), Rejection> {
    let Some(id) = grant.token.organization else {
        let standing = if head_slug.is_some() { Standing::Other } else { Standing::Good };
        return Ok((None, standing));
    };
    let Some(slug) = &grant.slug else { return Ok((None, Standing::Gone)) };
    let found = match organization_of(gate, world, snapshot, Some(slug.as_str())).await {
        Ok(found) => found.filter(|organization| organization.context.id == id),
        Err(Rejection::OrganizationUnknown { .. }) => None,
        Err(other) => return Err(other),
    };
    let standing = match (&found, head_slug) {
        (None, _) => Standing::Gone,
        (Some(_), Some(named)) if named != slug.as_str() => Standing::Other,
        (Some(_), _) => Standing::Good,
    };
    Ok((found, standing))
}

/// Whether the human holds what the route asks of agents, now and where the token is for.
pub(super) fn is_held(rule: &AgentRule, human: &Snapshot, organization: Option<&Organization>) -> bool {
    match organization {
        Some(organization) => rule.is_held_there(&organization.context),
        None => rule.permission.is_some_and(|index| human.principal.rights.holds(index)),
    }
}

/// Whether the double check says yes, given what the route's policy says about the human.
pub(super) fn check(
    route: &Route,
    snapshot: &Snapshot,
    grant: &Grant,
    organization: Option<&Organization>,
    standing: Standing,
    policy: &Judgement,
) -> Result<(), Rejection> {
    if *policy == Judgement::Unknown(crate::policy::judge::Why::StoreSilent) {
        return Err(Rejection::Unavailable(Silent::Store));
    }
    let rule = route.agents.as_ref();
    let is_held = rule.is_some_and(|rule| is_held(rule, snapshot, organization));
    let case = judge::Case {
        asked: rule.map(|rule| &rule.code),
        delegated: &grant.token.permissions,
        is_held,
        organization: standing,
        policy,
    };
    judge::judge(&case).map_or(Ok(()), |refusal| Err(Rejection::Agent(refusal)))
}

impl Gate {
    /// Notes that a token is in use, once in a while.
    pub(super) fn note_use(&self, grant: &Grant, now: Timestamp) {
        let known = grant.used_at.load(Ordering::Relaxed);
        let is_due = now.since(Timestamp::from_millis(known)) >= NOTED_EVERY;
        let take = |at| grant.used_at.compare_exchange(known, at, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && take(now.as_millis()).is_ok() {
            self.uses.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((grant.token.id, now));
        }
    }

    /// Has the refusals written that left no row of their own.
    pub fn note_withheld(&self) {
        for noted in self.withheld.take() {
            self.app.note(noted.actor, noted.at, AgentEvent::Acted(Box::new(noted.decided)));
        }
        self.note_refusals();
    }

    /// Writes down which tokens were used lately, and which refusals left no row of their own.
    ///
    /// # Errors
    /// The store's; these uses are then not noted.
    pub async fn write_uses(&self) -> Result<(), Error> {
        self.note_withheld();
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if uses.is_empty() { Ok(()) } else { delegation::note_uses(&self.app, &uses).await }
    }
}
