//! What ends agent tokens that nobody ends: time, silence, and that their human is gone.
//!
//! Law: what is over by its clock counts as over before this has written it down; no sign of life
//! revives it.

use super::{Fault, store};
use crate::app::{App, Change};
use crate::audit::{Actor, AgentEvent, Delegation, Suspension};
use crate::base::Id;
use crate::metrics::AgentTrip;
use crate::store::{Error, again};

/// How many tokens one transaction of a chore ends.
const AT_ONCE: u32 = 100;

/// Takes the labels from what a human delegated who is gone. The tokens are over, and stay for as long
/// as others do that are.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// Ends a token whose time is over. `false` where its state says so already.
pub async fn expire(change: &mut Change<'_>, of: Delegation) -> Result<bool, Error> {
    let now = change.now();
    if store::expire(change.tx(), of.token, now).await? == 0 {
        return Ok(false);
    }
    change.record(AgentEvent::Expired { of }).await?;
    Ok(true)
}

/// Suspends a token whose sign of life is overdue. `false` where one came after all.
pub async fn silence(change: &mut Change<'_>, of: Delegation) -> Result<bool, Error> {
    let now = change.now();
    if store::silence(change.tx(), of.token, now).await? == 0 {
        return Ok(false);
    }
    change.record(AgentEvent::Suspended { of, reason: Suspension::HeartbeatMissing }).await?;
    change.app().metrics.agent_suspended(AgentTrip::HeartbeatMissing);
    Ok(true)
}

/// Writes into the store what time has done to a token.
pub async fn settle(app: &App, of: Delegation, fault: Fault) -> Result<(), Error> {
    let settle = || async {
        let mut change = app.change(Actor::system()).await?;
        let is_settled = match fault {
            Fault::Overdue => expire(&mut change, of).await?,
            Fault::Silent => silence(&mut change, of).await?,
            Fault::Status(_) => false,
        };
        if is_settled { change.commit().await } else { Ok(()) }
    };
    again(settle).await
}

/// Notes a sign of life. `false` where it came too late or the token may not act; it never revives.
pub async fn beat(app: &App, token: Id) -> Result<bool, Error> {
    // No change of anybody's rights: its absence is what leaves an event.
    let now = app.now();
    let mut tx = app.db.begin().await?;
    let is_in_time = store::beat(&mut tx, token, now).await? > 0;
    tx.commit().await?;
    Ok(is_in_time)
}

/// Ends what is over and suspends what is silent, also when nobody calls; how many tokens.
pub async fn stop_overdue(app: &App) -> Result<u64, Error> {
    let mut stopped = 0;
    loop {
        let now = app.now();
        let overdue = store::overdue(&app.db, now, AT_ONCE).await?;
        let silent = store::silent(&app.db, now, AT_ONCE).await?;
        if overdue.is_empty() && silent.is_empty() {
            return Ok(stopped);
        }
        let mut change = app.change(Actor::system()).await?;
        let mut count = 0;
        for id in &overdue {
            if let Some(token) = store::by_id(change.tx(), *id).await? {
                count += u64::from(expire(&mut change, token.delegation()).await?);
            }
        }
        for id in &silent {
            if let Some(token) = store::by_id(change.tx(), *id).await? {
                count += u64::from(silence(&mut change, token.delegation()).await?);
            }
        }
        // Another replica may have done it all in between.
        if count == 0 {
            return Ok(stopped);
        }
        change.commit().await?;
        stopped += count;
    }
}

/// Removes some of the tokens that have been over for `retention.agent_tokens`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.agent_tokens), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
