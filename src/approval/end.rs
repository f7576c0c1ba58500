//! What ends approvals that nobody ends: time, and whatever stops their agent.
//!
//! Law: what has ended by its clock counts as ended before this has written it down; writing it
//! down leaves the audit row. An agent that is stopped has nothing waiting, from the same moment.

mod store;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Approval, State, answer, store as rows};
use crate::app::{App, Change};
use crate::audit::{Actor, AgentEvent, Event, Step, Voided};
use crate::base::Id;
use crate::store::Error;

/// How many approvals one transaction of a chore ends.
const AT_ONCE: u32 = 100;

/// Ends what is over by its clock; how many.
pub async fn end_overdue(app: &App) -> Result<u64, Error> {
    let mut ended = 0;
    loop {
        let overdue = rows::overdue(&app.db, app.now(), AT_ONCE).await?;
        if overdue.is_empty() {
            return Ok(ended);
        }
        let mut change = app.change(Actor::system()).await?;
        let mut written = Vec::new();
        for approval in &overdue {
            written.extend(end(&mut change, approval).await?);
        }
        // Another replica may have done it all in between.
        if written.is_empty() {
            return Ok(ended);
        }
        change.commit().await?;
        for state in &written {
            app.metrics.approval((*state).into());
        }
        ended += written.len() as u64;
    }
}

async fn end(change: &mut Change<'_>, approval: &Approval) -> Result<Option<State>, Error> {
    let (id, now) = (approval.id, change.now());
    let (rows, state, step) = match approval.state {
        State::Pending => (rows::expire(change.tx(), id, now).await?, State::Expired, Step::Expired),
        State::Approved => (rows::lapse(change.tx(), id, now).await?, State::Lapsed, Step::Lapsed),
        _ => (rows::abandon(change.tx(), approval, now).await?, State::Indeterminate, Step::Indeterminate),
    };
    if rows == 0 {
        return Ok(None);
    }
    change.record(approval.event(step)).await?;
    Ok(Some(state))
}

/// Ends what waits for an agent that is stopped, in the transaction that stops it.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    async move {
        let (token, account) = match event {
            Event::Agent(
                AgentEvent::Suspended { of, .. } | AgentEvent::Revoked { of } | AgentEvent::Expired { of },
            ) => (Some(of.token), None),
            Event::Agent(AgentEvent::AllRevoked { account, .. }) => (None, Some(*account)),
            _ => return Ok(()),
        };
        let now = change.now();
        for approval in rows::open_of(change.tx(), token, account).await? {
            if rows::void(change.tx(), approval.id, now).await? > 0 {
                change.record(approval.event(Step::Voided { why: Voided::AgentStopped })).await?;
                change.app().metrics.approval(State::Void.into());
            } else {
                // It may have been done, and is not done again.
                rows::forget_request(change.tx(), approval.id).await?;
            }
        }
        Ok(())
    }
    .boxed()
}

/// Takes the words from what was held for an account that is gone. Who decided what, and when, stays for as
/// long as it does of others.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// Drops what is kept of approvals and has had its time: answers, and requests that cannot be sent
/// again any more, some at once; how many.
pub async fn forget(app: &App) -> Result<u64, Error> {
    let (now, most) = (app.now(), app.config().retention.batch);
    let mut tx = app.db.begin().await?;
    let answers = answer::forget(&mut tx, now, most).await?;
    let requests = rows::forget_requests(&mut tx, now, most).await?;
    tx.commit().await?;
    Ok(answers + requests)
}

/// Removes some of the approvals that have been over for `retention.approvals`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.approvals), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
