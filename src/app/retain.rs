//! What is removed because its time is over: followed changes, and audit rows past their age.
//!
//! Law: removing audit rows is itself a change with an audit row, which holds the hash of the last
//! row that went, so that the chain that is left can be tied to what it followed.

use std::time::Duration;

use super::{App, store};
use crate::audit::{self, Actor, SystemEvent};
use crate::store::Error;

/// Longer than any process stays silent and is then believed.
pub const CHANGES_KEPT_FOR: Duration = Duration::from_hours(24);

/// Removes some of the changes that every process has followed long ago; how many rows.
pub async fn prune_changes(app: &App) -> Result<u64, Error> {
    let before = app.now().minus(CHANGES_KEPT_FOR);
    let mut tx = app.db.begin().await?;
    let removed = store::prune(&mut tx, before, app.config().retention.batch).await?;
    tx.commit().await?;
    Ok(removed)
}

/// Removes audit rows older than `kept_for`; the number of the last one that went.
pub async fn prune_audit(app: &App, kept_for: Duration) -> Result<Option<i64>, Error> {
    let before = app.now().minus(kept_for);
    let mut change = app.change(Actor::system()).await?;
    let Some(head) = audit::prune(change.tx(), before).await? else { return Ok(None) };
    change.record(SystemEvent::AuditPruned { to_seq: head.seq, hash: head.hash }).await?;
    change.commit().await?;
    Ok(Some(head.seq))
}
