//! Waiting until people have decided.
//!
//! Law: the store says what was decided. A signal, sent where a change is made or followed, only makes
//! that known sooner; where none comes the store is asked now and then.

use std::time::Duration;

use tokio::time::Instant;

use super::{Approval, State, store};
use crate::app::App;
use crate::store::Error;

/// How often the store is asked although nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The approval as soon as it does not wait for people any more, at the latest after `span`; `None`
/// where it is gone.
pub async fn wait(app: &App, approval: Approval, span: Duration) -> Result<Option<Approval>, Error> {
    if span.is_zero() {
        return Ok(Some(approval));
    }
    let until = Instant::now() + span;
    let id = approval.id;
    // Before it is read again: what is decided in between is then heard.
    let mut decided = app.stops.register(id, approval.account);
    let mut known = store::by_id(&app.db, id).await?;
    while let Some(approval) = &known
        && approval.state_at(app.now()) == State::Pending
        && Instant::now() < until
    {
        let look = LOOK_EVERY.min(approval.decide_by.since(app.now()));
        tokio::select! {
            _ = decided.next() => {}
            () = tokio::time::sleep_until(until.min(Instant::now() + look)) => {}
        }
        known = store::by_id(&app.db, id).await?;
    }
    Ok(known)
}
