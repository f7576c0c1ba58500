//! What is removed because its time is over: followed changes, and audit rows past their age.
//!
//! Law: removing audit rows itself leaves an audit row, the tombstone, in the stream that they are of, which is written
//! before the first of them goes and signed: it names the last one and its hash, so that the chain that is left can be
//! tied to what it followed.

use std::time::Duration;

use super::{App, store};
use crate::audit::{self, Actor, Broken, Noted, Sought, Stream, SystemEvent, Tombstone, Whole};
use crate::base::Timestamp;
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

/// What was removed from a stream of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    pub stream: Stream,
    /// The number of the row that holds the tombstone.
    pub seq: i64,
    pub tombstone: Tombstone,
}

/// Puts a signed tombstone in the place of the audit rows older than `kept_for`, one in each stream that has any. For
/// whoever owns the tables: a gateway never does this.
///
/// The tombstone is written first and the rows go in pieces after it, so that nobody waits for long, and that
/// what was cut off goes on with the next call. At no moment is a chain anything but whole.
///
/// # Errors
/// The store's; or one of the chains is not what was written: then nothing is signed, for a tombstone would hide it.
pub async fn prune_audit(app: &App, actor: Actor, kept_for: Duration) -> Result<Vec<Pruned>, Broken> {
    let mut tx = app.db.begin().await?;
    audit::may_remove(&mut tx).await?;
    tx.rollback().await?;
    let before = app.now().minus(kept_for);
    // Both before anything goes: who wrote into one of them may have written into the other.
    let mut all = Vec::new();
    for stream in Stream::ALL {
        all.push(audit::verify(&app.db, &app.seal, stream).await?);
    }
    let mut pruned = Vec::new();
    for whole in all {
        pruned.extend(prune_stream(app, &actor, whole, before).await?);
    }
    Ok(pruned)
}

async fn prune_stream(
    app: &App,
    actor: &Actor,
    whole: Whole,
    before: Timestamp,
) -> Result<Option<Pruned>, Broken> {
    let Whole { stream, first, tombstone, .. } = whole;
    let Some(to) = audit::last_before(&app.db, stream, before).await? else { return Ok(None) };
    // What was cut off goes on. A gateway could sign a tombstone too: what goes is old by its own time as well.
    if let Some(buried) = &tombstone {
        remove(app, buried.tombstone.to.seq.min(to.seq)).await?;
    }
    let from = tombstone.map_or(first, |buried| first.max(buried.tombstone.to.seq + 1));
    if from > to.seq {
        return Ok(None);
    }
    let tombstone = Tombstone::new(&app.seal, from, to.clone(), before);
    let event = SystemEvent::AuditPruned {
        from_seq: from,
        to_seq: to.seq,
        hash: to.hash,
        before,
        signed: tombstone.to_string(),
    };
    match stream {
        Stream::Changes => {
            let mut change = app.change(actor.clone()).await?;
            change.record(event).await?;
            change.commit().await?;
        }
        Stream::DataPlane => {
            let noted = Noted { actor: actor.clone(), at: app.now(), event: event.into() };
            app.write_data_plane(&[noted]).await?;
        }
    }
    remove(app, to.seq).await?;
    let sought = Sought { stream: Some(stream), code: Some("audit_pruned".to_owned()), ..Sought::default() };
    let seq = audit::latest_of(&app.db, &sought, 1).await?.first().map_or(stream.floor(), |row| row.seq);
    Ok(Some(Pruned { stream, seq, tombstone }))
}

/// Removes the rows up to a number that a tombstone stands for.
async fn remove(app: &App, to: i64) -> Result<(), Error> {
    loop {
        let mut tx = app.db.begin().await?;
        let is_left = audit::remove_some(&mut tx, to).await?;
        tx.commit().await?;
        if !is_left {
            return Ok(());
        }
    }
}

/// How much older than `kept_for` the oldest audit row is: what waits for a prune.
pub async fn overdue_audit(app: &App, kept_for: Duration) -> Result<Duration, Error> {
    let oldest = audit::oldest(&app.db).await?;
    let due = app.now().minus(kept_for);
    Ok(oldest.map_or(Duration::ZERO, |oldest| due.since(oldest)))
}
