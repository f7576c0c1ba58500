//! The SQL of failed logins.
//!
//! Law: an attempt is counted and judged against the limit in one statement.

use super::lockout::Door;
use crate::base::Timestamp;
use crate::store::{Error, Source, Tx, sql};

/// The figures of one attempt, in milliseconds where they are spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) now: Timestamp,
    /// How many attempts there are before a lock.
    pub(super) after: i64,
    pub(super) first_lock_for: i64,
    pub(super) longest_lock_for: i64,
    /// What the length of a lock is multiplied with for the next one.
    pub(super) growth: i64,
    pub(super) forget_at: Timestamp,
}

/// Makes sure that there is a row to count in.
pub(super) async fn prepare(tx: &mut Tx, door: &Door, figures: &Figures) -> Result<(), Error> {
    let stmt =
        sql("INSERT INTO login_failure (site_id, identifier_digest, attempts, forget_at, next_lock_for) \
                    VALUES (?, ?, 0, ?, ?)")
        .bind(door.site())
        .bind(door.digest())
        .bind(figures.forget_at)
        .bind(figures.first_lock_for);
    tx.execute(stmt.upsert(&["site_id", "identifier_digest"], &[])).await.map(drop)
}

/// Takes one attempt, and locks with the last one there is; 0 where it is locked.
///
/// The columns are written in this order because MySQL, unlike the others, reads what it has
/// written already: none is read after it was set.
pub(super) async fn take(tx: &mut Tx, door: &Door, figures: &Figures) -> Result<u64, Error> {
    let Figures { now, after, longest_lock_for, growth, forget_at, .. } = *figures;
    let stmt = sql("UPDATE login_failure SET")
        .push("locked_until = CASE WHEN (CASE WHEN forget_at <= ? THEN 0 ELSE attempts END) + 1 >= ?")
        .bind(now)
        .bind(after)
        .push("THEN next_lock_for + ? ELSE NULL END,")
        .bind(now)
        .push("next_lock_for = CASE WHEN (CASE WHEN forget_at <= ? THEN 0 ELSE attempts END) + 1 < ?")
        .bind(now)
        .bind(after)
        .push("THEN next_lock_for WHEN next_lock_for * ? > ? THEN ? ELSE next_lock_for * ? END,")
        .bind(growth)
        .bind(longest_lock_for)
        .bind(longest_lock_for)
        .bind(growth)
        .push("attempts = CASE WHEN (CASE WHEN forget_at <= ? THEN 0 ELSE attempts END) + 1 >= ? THEN 0")
        .bind(now)
        .bind(after)
        .push("WHEN forget_at <= ? THEN 1 ELSE attempts + 1 END, forget_at = ?")
        .bind(now)
        .bind(forget_at)
        .push("WHERE site_id = ? AND identifier_digest = ? AND (locked_until IS NULL OR locked_until <= ?)")
        .bind(door.site())
        .bind(door.digest())
        .bind(now);
    tx.execute(stmt).await
}

pub(super) async fn locked_until(mut src: impl Source, door: &Door) -> Result<Option<Timestamp>, Error> {
    let stmt = sql("SELECT locked_until FROM login_failure WHERE site_id = ? AND identifier_digest = ?");
    let row: Option<(Option<Timestamp>,)> = src.optional(stmt.bind(door.site()).bind(door.digest())).await?;
    Ok(row.and_then(|(until,)| until))
}

/// Gives an attempt back that was not judged.
pub(super) async fn give_back(tx: &mut Tx, door: &Door) -> Result<(), Error> {
    let stmt = sql("UPDATE login_failure SET attempts = attempts - 1 \
                    WHERE site_id = ? AND identifier_digest = ? AND attempts > 0");
    tx.execute(stmt.bind(door.site()).bind(door.digest())).await.map(drop)
}

/// Gives the attempt back that locked the door: it is open for one more.
pub(super) async fn reopen(
    tx: &mut Tx,
    door: &Door,
    attempts: i64,
    next_lock_for: i64,
    until: Timestamp,
) -> Result<(), Error> {
    let stmt = sql("UPDATE login_failure SET locked_until = NULL, next_lock_for = ?, attempts = ? \
                    WHERE site_id = ? AND identifier_digest = ? AND locked_until = ?");
    let stmt = stmt.bind(next_lock_for).bind(attempts).bind(door.site()).bind(door.digest()).bind(until);
    tx.execute(stmt).await.map(drop)
}

/// Forgets what was counted at a door; 0 where nothing was.
pub(super) async fn clear(tx: &mut Tx, door: &Door) -> Result<u64, Error> {
    let stmt = sql("DELETE FROM login_failure WHERE site_id = ? AND identifier_digest = ?");
    tx.execute(stmt.bind(door.site()).bind(door.digest())).await
}

/// Forgets some of the doors at which nobody knocked for long; how many.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT identifier_digest FROM login_failure \
                    WHERE forget_at < ? AND (locked_until IS NULL OR locked_until < ?) LIMIT ?");
    let over: Vec<(String,)> = tx.all(over.bind(before).bind(before).bind(most)).await?;
    // Somebody may have knocked meanwhile.
    let stmt = sql("DELETE FROM login_failure \
                    WHERE forget_at < ? AND (locked_until IS NULL OR locked_until < ?) AND identifier_digest IN");
    tx.execute(stmt.bind(before).bind(before).list(over.iter().map(|(digest,)| digest.as_str()))).await
}
