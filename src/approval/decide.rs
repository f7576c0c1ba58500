//! People decide.
//!
//! Law: who asks to decide is looked at before anything is written, and a stranger learns and
//! changes nothing. What could not be done any more cannot be approved. Of those who decide at the
//! same time one conditional write decides.

use std::fmt;

use super::rule::{capacity_of, capacity_of_voter, context, standing};
use super::{Approval, Reference, State, policy_digest, store};
use crate::account::{self, Standing};
use crate::agent::{self, Status};
use crate::app::{App, Change};
use crate::audit::{Actor, Step, Voided};
use crate::base::{Id, Timestamp};
use crate::principal::Principal;
use crate::store::Error;

/// How often a database that gave up is asked again.
const TRIES: usize = 5;
/// Characters of a reason that are kept.
pub(super) const REASON_MAX: usize = 500;

/// What somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Deny { reason: Option<String> },
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    Approved {
        execute_by: Timestamp,
    },
    /// The yes counts; so many people more must say it.
    Counted {
        missing: usize,
    },
    Denied,
}

/// Why nothing was decided.
#[derive(Debug)]
pub enum DecideError {
    /// There is nothing, or nothing that this person decides about. Not told apart.
    Stranger,
    /// It does not wait for people any more.
    Over(State),
    /// What was asked for cannot be had any more.
    Void(Voided),
    /// The person's own login is not what the route asks for.
    Session(SessionNeed),
    Store(Error),
}

/// What a route asks of the session in which somebody approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionNeed {
    SecondFactor,
    /// A newer login.
    Recent,
}

impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("there is no such approval"),
            Self::Over(state) => write!(f, "it is {} already", state.name()),
            Self::Void(_) => f.write_str("what was asked for cannot be had any more"),
            Self::Session(SessionNeed::SecondFactor) => f.write_str("a second factor is required"),
            Self::Session(SessionNeed::Recent) => f.write_str("the login is too old for this"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for DecideError {}

impl From<Error> for DecideError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Decides for this person.
///
/// # Errors
/// [`DecideError`]; it then waits as before, unless it is void.
pub async fn decide(
    app: &App,
    actor: &Actor,
    person: &Principal,
    reference: &Reference,
    decision: Decision,
) -> Result<Decided, DecideError> {
    let approval = super::find(&app.db, reference).await?.ok_or(DecideError::Stranger)?;
    if !approval.rules.approvers.admit(&capacity_of(app, &approval, person).await?) {
        return Err(DecideError::Stranger);
    }
    let state = approval.state_at(app.now());
    if state != State::Pending {
        return Err(DecideError::Over(state));
    }
    if decision == Decision::Approve {
        check_session(app, &approval, person)?;
        if let Some(why) = lost(app, &approval).await? {
            void(app, actor, &approval, why).await?;
            return Err(DecideError::Void(why));
        }
    }
    for _ in 1..TRIES {
        match write(app, actor, person, &approval, &decision).await {
            Err(DecideError::Store(Error::Busy)) => {}
            done => return done,
        }
    }
    write(app, actor, person, &approval, &decision).await
}

fn check_session(app: &App, approval: &Approval, person: &Principal) -> Result<(), DecideError> {
    let rules = &approval.rules;
    if rules.mfa && person.session.second_factor_at.is_none() {
        return Err(DecideError::Session(SessionNeed::SecondFactor));
    }
    let age = app.now().since(person.session.authenticated_at);
    if rules.max_age.is_some_and(|most| age > most) {
        return Err(DecideError::Session(SessionNeed::Recent));
    }
    Ok(())
}

/// Why what was asked for cannot be had any more, if so.
pub(super) async fn lost(app: &App, approval: &Approval) -> Result<Option<Voided>, Error> {
    let config = app.config();
    let route = config.routes.iter().find(|route| route.name == approval.route);
    if route.is_none_or(|route| policy_digest(&config, route) != approval.policy) {
        return Ok(Some(Voided::PolicyChanged));
    }
    let token = agent::find(&app.db, agent::Reference::Id(approval.agent_token)).await?;
    if token.is_none_or(|token| token.status != Status::Active || token.expires_at <= app.now()) {
        return Ok(Some(Voided::AgentStopped));
    }
    let account = account::by_id(&app.db, approval.account).await?;
    if account.is_none_or(|account| account.standing(app.now()) != Standing::Good) {
        return Ok(Some(Voided::RightLost));
    }
    let (rights, memberships) = standing(app, &app.db, approval.account).await?;
    let is_held = match approval.organization {
        None => rights.holds_code(&approval.permission),
        Some(id) => {
            let catalogue = app.catalogue();
            let there = context(app, &app.db, id, &memberships).await?;
            there.is_some_and(|there| there.may(&approval.permission, &catalogue.definitions().org_roles))
        }
    };
    Ok(if is_held { None } else { Some(Voided::RightLost) })
}

async fn write(
    app: &App,
    actor: &Actor,
    person: &Principal,
    approval: &Approval,
    decision: &Decision,
) -> Result<Decided, DecideError> {
    let mut change = app.change(actor.clone()).await?;
    let now = change.now();
    if store::hold_pending(change.tx(), approval.id, now).await? == 0 {
        drop(change);
        let known = store::by_id(&app.db, approval.id).await?.ok_or(DecideError::Stranger)?;
        return Err(DecideError::Over(known.state_at(app.now())));
    }
    let decided = match decision {
        Decision::Approve => approve(change, person, approval).await?,
        Decision::Deny { reason } => deny(change, person, approval, reason.as_deref()).await?,
    };
    match decided {
        Decided::Approved { .. } => app.metrics.approved_after(now.since(approval.created_at)),
        Decided::Denied => app.metrics.approval(State::Denied.into()),
        Decided::Counted { .. } => {}
    }
    Ok(decided)
}

async fn approve(
    mut change: Change<'_>,
    person: &Principal,
    approval: &Approval,
) -> Result<Decided, DecideError> {
    let (app, now, by) = (change.app(), change.now(), person.account.id);
    let mut voters = store::votes(change.tx(), approval.id).await?;
    let is_new = !voters.contains(&by);
    if is_new {
        store::vote(change.tx(), approval.id, by, now).await?;
        voters.push(by);
    }
    let missing = missing(app, &mut change, approval, &voters).await?;
    if missing > 0 {
        if is_new {
            change.record(approval.event(Step::Voted)).await?;
            change.commit().await?;
        }
        return Ok(Decided::Counted { missing });
    }
    let execute_by = now.plus(approval.execute_within);
    if store::approve(change.tx(), approval, by, execute_by, now).await? == 0 {
        return Err(DecideError::Over(State::Expired));
    }
    change.record(approval.event(Step::Approved { execute_by })).await?;
    change.commit().await?;
    Ok(Decided::Approved { execute_by })
}

/// How many must still say yes, counting those voters who may decide now.
pub(super) async fn missing(
    app: &App,
    change: &mut Change<'_>,
    approval: &Approval,
    voters: &[Id],
) -> Result<usize, Error> {
    let mut capacities = Vec::with_capacity(voters.len());
    for voter in voters {
        capacities.push(capacity_of_voter(app, change.tx(), approval.matter(), *voter).await?);
    }
    Ok(approval.rules.approvers.missing(&capacities))
}

async fn deny(
    mut change: Change<'_>,
    person: &Principal,
    approval: &Approval,
    reason: Option<&str>,
) -> Result<Decided, DecideError> {
    let (now, by) = (change.now(), person.account.id);
    let reason: Option<String> = reason.map(|reason| reason.chars().take(REASON_MAX).collect());
    if store::deny(change.tx(), approval.id, by, reason.as_deref(), now).await? == 0 {
        return Err(DecideError::Over(State::Expired));
    }
    change.record(approval.event(Step::Denied { reason })).await?;
    change.commit().await?;
    Ok(Decided::Denied)
}

/// Ends what cannot be had any more. `false` where it did not wait; what may have been done then
/// keeps its state, and is not done again.
pub async fn void(app: &App, actor: &Actor, approval: &Approval, why: Voided) -> Result<bool, Error> {
    let mut change = app.change(actor.clone()).await?;
    let now = change.now();
    if store::void(change.tx(), approval.id, now).await? == 0 {
        drop(change);
        // No change of a state, so no event.
        let mut tx = app.db.begin().await?;
        store::forget_request(&mut tx, approval.id).await?;
        tx.commit().await?;
        return Ok(false);
    }
    change.record(approval.event(Step::Voided { why })).await?;
    change.commit().await?;
    app.metrics.approval(State::Void.into());
    Ok(true)
}
