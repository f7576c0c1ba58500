//! From approved to executed, once.
//!
//! Law: whoever executes an approval takes it first, by one conditional write, and gives it back
//! only where nothing was sent. A process that dies in between leaves a lease that ends: then nobody
//! knows what was done, and it is never done again.

use std::sync::Arc;
use std::time::Duration;

use super::decide::missing;
use super::{Answered, Approval, Copying, State, answer, store};
use crate::agent;
use crate::app::App;
use crate::audit::{Actor, Step, Voided};
use crate::base::Timestamp;
use crate::store::Error;

/// How long whoever executes is believed alive after its last word.
const LEASE: Duration = Duration::from_secs(15);
/// How often a database that gave up is asked again.
const TRIES: usize = 5;
/// How long to wait before the end of an execution is written again, at first and at most.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// How long a known end is held on to where the database does not take it.
const HELD_FOR: Duration = Duration::from_mins(5);

/// What became of what was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered with this status.
    Answered(u16),
    /// No byte was sent to an upstream.
    Unsent,
    /// Something was sent, and there was no answer.
    Unknown,
}

/// Why an approval was not taken.
#[derive(Debug)]
pub enum ClaimError {
    /// It is this now, and does not wait to be executed.
    Over(State),
    Void(Voided),
    Store(Error),
}

impl From<Error> for ClaimError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// The right to send what was approved, held by one. Dropped, it says that nothing was sent.
#[derive(Debug)]
pub struct Claim {
    held: Option<Held>,
    /// The answer, where it is kept.
    copying: Option<Box<Copying>>,
}

#[derive(Debug)]
struct Held {
    app: Arc<App>,
    approval: Box<Approval>,
    actor: Actor,
    /// It may have been sent before: whatever becomes of this try, nobody knows that.
    is_repeat: bool,
    /// Its end ends the renewals.
    _renewing: tokio::sync::oneshot::Sender<()>,
}

/// Takes an approval to be executed.
///
/// # Errors
/// [`ClaimError`]; nothing may then be sent.
pub async fn claim(app: &Arc<App>, actor: &Actor, approval: &Approval) -> Result<Claim, ClaimError> {
    let mut tries = 1;
    let voided = loop {
        match write(app, actor, approval).await {
            Err(ClaimError::Store(Error::Busy)) if tries < TRIES => tries += 1,
            Err(ClaimError::Void(why)) => break why,
            Err(other) => return Err(other),
            Ok(claims) => {
                let is_repeat = approval.state != State::Approved;
                let approval = Box::new(Approval { claims, state: State::Executing, ..approval.clone() });
                let (stop, stopped) = tokio::sync::oneshot::channel();
                app.tasks.spawn(
                    "renew the lease of an approval",
                    renew(Arc::clone(app), approval.clone(), stopped),
                );
                let (app, actor) = (Arc::clone(app), actor.clone());
                let held = Held { app, approval, actor, is_repeat, _renewing: stop };
                held.app.metrics.approval(State::Executing.into());
                return Ok(Claim { held: Some(held), copying: None });
            }
        }
    };
    super::void(app, actor, approval, voided).await?;
    Err(ClaimError::Void(voided))
}

/// The number of this claim.
async fn write(app: &App, actor: &Actor, approval: &Approval) -> Result<i64, ClaimError> {
    let mut change = app.change(actor.clone()).await?;
    let now = change.now();
    // The token's row first, as everywhere: what stops the agent holds it too.
    if !agent::hold_active(&mut change, approval.agent_token).await? {
        return Err(ClaimError::Void(Voided::AgentStopped));
    }
    let voters = store::votes(change.tx(), approval.id).await?;
    if missing(app, &mut change, approval, &voters).await? > 0 {
        return Err(ClaimError::Void(Voided::ApproversLost));
    }
    if store::claim(change.tx(), approval, now.plus(LEASE), now).await? == 0 {
        drop(change);
        let known = store::by_id(&app.db, approval.id).await?;
        return Err(ClaimError::Over(known.map_or(State::Void, |known| known.state_at(app.now()))));
    }
    change.record(approval.event(Step::Claimed)).await?;
    change.commit().await?;
    Ok(approval.claims + 1)
}

/// Says again and again that somebody is at it.
async fn renew(app: Arc<App>, approval: Box<Approval>, mut stopped: tokio::sync::oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(LEASE / 3) => {}
        }
        let until = app.now().plus(LEASE);
        match prolong(&app, &approval, until).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "the lease of an approval was not renewed"),
        }
    }
}

async fn prolong(app: &App, approval: &Approval, until: Timestamp) -> Result<bool, Error> {
    // No change of a state: only its end would leave an event.
    let mut tx = app.db.begin().await?;
    let rows = store::renew(&mut tx, approval.id, approval.claims, until).await?;
    tx.commit().await?;
    Ok(rows > 0)
}

impl Claim {
    /// The same, and the answer is kept.
    #[must_use]
    pub fn copying(mut self) -> Self {
        self.copying = Some(Box::default());
        self
    }

    /// The copy of the answer, where it is kept.
    pub fn copy(&mut self) -> Option<&mut Copying> {
        self.copying.as_deref_mut()
    }

    /// Writes down what came of it, in the background.
    pub fn settle(mut self, outcome: Outcome) {
        if let Some(held) = self.held.take() {
            held.settle_soon(outcome, self.copying.take());
        }
    }

    /// Writes down what came of it before anything else happens.
    pub async fn settled(mut self, outcome: Outcome) {
        if let Some(held) = self.held.take() {
            held.settle(outcome, self.copying.take()).await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.settle_soon(Outcome::Unsent, None);
        }
    }
}

impl Held {
    fn settle_soon(self, outcome: Outcome, copying: Option<Box<Copying>>) {
        let tasks = self.app.tasks.clone();
        tasks.spawn("write the end of an approval", async move { self.settle(outcome, copying).await });
    }

    async fn settle(self, outcome: Outcome, copying: Option<Box<Copying>>) {
        let answered = copying.and_then(|copying| copying.answered());
        let answered = answered.filter(|_| matches!(outcome, Outcome::Answered(_)));
        let (mut pause, mut waited) = (AGAIN, Duration::ZERO);
        while let Err(error) = self.write(outcome, answered.as_ref()).await {
            if waited >= HELD_FOR {
                // Its lease ends, and then it is indeterminate.
                tracing::error!(%error, "the end of an approval was not written");
                return;
            }
            tracing::warn!(%error, "the end of an approval was not written; trying again");
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    async fn write(&self, outcome: Outcome, answered: Option<&Answered>) -> Result<(), Error> {
        let (approval, id, claim) = (&self.approval, self.approval.id, self.approval.claims);
        let mut change = self.app.change(self.actor.clone()).await?;
        let now = change.now();
        let (state, status, step) = match outcome {
            Outcome::Answered(status) if status < 500 => {
                (State::Executed, Some(status), Step::Executed { status })
            }
            Outcome::Answered(status) => (State::Failed, Some(status), Step::Failed { status }),
            Outcome::Unsent if self.is_repeat => (State::Indeterminate, None, Step::Indeterminate),
            Outcome::Unknown => (State::Indeterminate, None, Step::Indeterminate),
            // The token's row first, as everywhere.
            Outcome::Unsent if !agent::hold_active(&mut change, approval.agent_token).await? => {
                (State::Void, None, Step::Voided { why: Voided::AgentStopped })
            }
            Outcome::Unsent => {
                if store::rearm(change.tx(), id, claim, now).await? > 0 {
                    change.record(approval.event(Step::Rearmed)).await?;
                    return change.commit().await;
                }
                if approval.execute_by.is_some_and(|limit| limit > now) {
                    // It was taken away meanwhile.
                    (State::Void, None, Step::Voided { why: Voided::AgentStopped })
                } else {
                    (State::Lapsed, None, Step::Lapsed)
                }
            }
        };
        let rows = match state {
            State::Indeterminate => store::give_up(change.tx(), approval, now).await?,
            _ => store::finish(change.tx(), id, claim, state, status, now).await?,
        };
        if rows > 0 {
            if let Some(answered) = answered {
                answer::keep(&mut change, id, answered).await?;
            }
            change.record(approval.event(step)).await?;
            change.commit().await?;
            self.app.metrics.approval(state.into());
        }
        Ok(())
    }
}
