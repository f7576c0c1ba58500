//! The change counter and the list of changes that other processes follow.
//!
//! Law: `changes` holds whose rights changed, for as long as a process may lag behind; what was
//! removed from it is told by `pruned_to`, so that a process that lagged longer knows.

use crate::audit::Subject;
use crate::base::Timestamp;
use crate::store::{Error, FromRow, Source, Tx, sql};

/// Subjects per INSERT.
const BATCH: usize = 200;

#[derive(FromRow, Debug, Clone, Copy)]
pub(super) struct Counter {
    pub last_seq: i64,
    pub pruned_to: i64,
}

#[derive(FromRow)]
pub(super) struct Changed {
    pub seq: i64,
    pub subject: String,
    pub happened_at: Timestamp,
}

pub(super) async fn counter(mut source: impl Source) -> Result<Counter, Error> {
    source.one(sql("SELECT last_seq, pruned_to FROM change_counter WHERE id = 1")).await
}

/// Every change after `seq`, in the order of their commits.
pub(super) async fn changes_after(mut source: impl Source, seq: i64) -> Result<Vec<Changed>, Error> {
    source
        .all(
            sql("SELECT seq, subject, happened_at FROM changes WHERE seq > ? ORDER BY seq, subject")
                .bind(seq),
        )
        .await
}

/// Writes whom change `seq` touched. Called with the counter row held.
pub(super) async fn record(tx: &mut Tx, seq: i64, subjects: &[Subject], now: Timestamp) -> Result<(), Error> {
    for batch in subjects.chunks(BATCH) {
        let mut insert = sql("INSERT INTO changes (seq, subject, happened_at) VALUES");
        for (i, subject) in batch.iter().enumerate() {
            if i > 0 {
                insert = insert.push(",");
            }
            insert = insert.push("(?, ?, ?)").bind(seq).bind(subject.to_string()).bind(now);
        }
        tx.execute(insert).await?;
    }
    Ok(())
}

/// Removes some of what changed before `before`, `most` changes at most; how many rows went.
pub(super) async fn prune(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let ends = sql("SELECT MIN(seq), MAX(seq) FROM changes WHERE happened_at < ?").bind(before);
    let (Some(first), Some(last)): (Option<i64>, Option<i64>) = tx.one(ends).await? else { return Ok(0) };
    let to = last.min(first + i64::from(most) - 1);
    let removed = tx.execute(sql("DELETE FROM changes WHERE seq <= ?").bind(to)).await?;
    // The counter row last, as in every change.
    tx.execute(
        sql("UPDATE change_counter SET pruned_to = ? WHERE id = 1 AND pruned_to < ?").bind(to).bind(to),
    )
    .await?;
    Ok(removed)
}
