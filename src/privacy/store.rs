//! The SQL of deletions.
//!
//! Law: a state is left only by a write that names it in its condition, and the row count says whether
//! it was left.

use super::{Deletion, Status};
use crate::base::{Id, Number, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::store::{Error, Source, Stmt, Tx, sql};
use crate::text_column;

text_column!(Status, Status::from_name);

fn select() -> Stmt {
    sql("SELECT id, number, site_id AS site, account_id AS account, application_id AS application, status, \
         reason, is_ordered, requested_at, confirmed_at, due_at, held_back_at, completed_at, cancelled_at, \
         address, processed_by, notes \
         FROM account_deletion")
}

pub(super) async fn insert(
    tx: &mut Tx,
    new: &Deletion,
    (digest, ends_at): (Option<&TokenDigest>, Option<Timestamp>),
) -> Result<(), Error> {
    let stmt = sql(
        "INSERT INTO account_deletion (id, number, site_id, account_id, application_id, status, token_digest, \
         token_ends_at, reason, is_ordered, requested_at, confirmed_at, due_at, try_at, address, notes) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')",
    )
    .bind(new.id)
    .bind(new.number)
    .bind(new.site)
    .bind(new.account)
    .bind(new.application)
    .bind(new.status.name())
    .bind(digest.map(TokenDigest::as_str))
    .bind(ends_at)
    .bind(new.reason.as_str())
    .bind(new.is_ordered)
    .bind(new.requested_at)
    .bind(new.confirmed_at)
    .bind(new.due_at)
    .bind(new.due_at)
    .bind(new.address.as_deref());
    tx.execute(stmt).await.map(drop)
}

/// Those of an account, the newest first.
pub(super) async fn of_account(mut src: impl Source, account: Id) -> Result<Vec<Deletion>, Error> {
    src.all(select().push("WHERE account_id = ? ORDER BY number DESC, id").bind(account)).await
}

/// Those of an account that are neither done nor called off.
pub(super) async fn open_of(mut src: impl Source, account: Id) -> Result<Vec<Deletion>, Error> {
    let stmt = select().push("WHERE account_id = ? AND status IN ('confirmation_sent', 'confirmed')");
    src.all(stmt.bind(account).push("ORDER BY number, id")).await
}

/// What somebody looks for who watches over the deletions of a site.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sought {
    pub account: Option<Id>,
    pub status: Option<Status>,
    /// Asked for at this moment or later.
    pub since: Option<Timestamp>,
    /// Asked for before this one.
    pub until: Option<Timestamp>,
}

impl Sought {
    fn narrow(self, stmt: Stmt, site: Id) -> Stmt {
        stmt.push("WHERE site_id = ?")
            .bind(site)
            .and_if(self.account, "account_id = ?")
            .and_if(self.status.map(Status::name), "status = ?")
            .and_if(self.since, "requested_at >= ?")
            .and_if(self.until, "requested_at < ?")
    }
}

/// How many there are.
pub(super) async fn count(mut src: impl Source, site: Id, sought: Sought) -> Result<i64, Error> {
    let (count,): (i64,) = src.one(sought.narrow(sql("SELECT COUNT(*) FROM account_deletion"), site)).await?;
    Ok(count)
}

/// Some of them, sorted by these fields.
pub(super) async fn sought(
    mut src: impl Source,
    site: Id,
    sought: Sought,
    by: &[(&'static str, bool)],
    (offset, limit): (u32, u32),
) -> Result<Vec<Deletion>, Error> {
    let mut stmt = sought.narrow(select(), site).push("ORDER BY");
    for field in by {
        stmt = stmt.push(match field {
            // What has no such moment yet comes last on every database.
            ("confirmed_at", false) => "CASE WHEN confirmed_at IS NULL THEN 1 ELSE 0 END, confirmed_at,",
            ("confirmed_at", true) => "CASE WHEN confirmed_at IS NULL THEN 1 ELSE 0 END, confirmed_at DESC,",
            ("grace_period_ends_at", false) => "CASE WHEN due_at IS NULL THEN 1 ELSE 0 END, due_at,",
            ("grace_period_ends_at", true) => "CASE WHEN due_at IS NULL THEN 1 ELSE 0 END, due_at DESC,",
            (_, false) => "requested_at, number,",
            (_, true) => "requested_at DESC, number DESC,",
        });
    }
    src.all(stmt.push("number, id LIMIT ? OFFSET ?").bind(limit).bind(offset)).await
}

/// The one of a site with this number.
pub(super) async fn by_number(
    mut src: impl Source,
    site: Id,
    number: Number,
) -> Result<Option<Deletion>, Error> {
    src.optional(select().push("WHERE site_id = ? AND number = ?").bind(site).bind(number)).await
}

/// Notes who carries it out, and why; 0 where nobody confirmed it, or it is over.
pub(super) async fn process(tx: &mut Tx, id: Id, by: Id, notes: &str) -> Result<u64, Error> {
    let stmt = sql("UPDATE account_deletion SET processed_by = ?, notes = ? \
                    WHERE id = ? AND status = 'confirmed'");
    tx.execute(stmt.bind(by).bind(notes).bind(id)).await
}

pub(super) async fn by_id(mut src: impl Source, id: Id) -> Result<Option<Deletion>, Error> {
    src.optional(select().push("WHERE id = ?").bind(id)).await
}

/// The one that a token confirms whose time is not over.
pub(super) async fn by_token(
    mut src: impl Source,
    digest: &TokenDigest,
    now: Timestamp,
) -> Result<Option<Deletion>, Error> {
    let stmt = select().push("WHERE token_digest = ? AND status = 'confirmation_sent' AND token_ends_at > ?");
    src.optional(stmt.bind(digest.as_str()).bind(now)).await
}

/// Uses its token up; 0 where somebody did, or its time is over.
pub(super) async fn confirm(tx: &mut Tx, id: Id, now: Timestamp, due_at: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE account_deletion SET status = 'confirmed', token_digest = NULL, confirmed_at = ?, \
                    due_at = ?, try_at = ? \
                    WHERE id = ? AND status = 'confirmation_sent' AND token_ends_at > ?");
    tx.execute(stmt.bind(now).bind(due_at).bind(due_at).bind(id).bind(now)).await
}

/// Calls it off; 0 where it is over. What its person wrote goes with it.
pub(super) async fn cancel(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE account_deletion SET status = 'cancelled', token_digest = NULL, cancelled_at = ?, \
                    try_at = NULL WHERE id = ? AND status IN ('confirmation_sent', 'confirmed')");
    tx.execute(stmt.bind(now).bind(id)).await
}

/// Notes that the account is gone, and when to look for what was written of it meanwhile; 0 where it is over,
/// or is not due by `due_by`.
pub(super) async fn complete(
    tx: &mut Tx,
    id: Id,
    now: Timestamp,
    look_at: Timestamp,
    due_by: Option<Timestamp>,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE account_deletion SET status = 'completed', completed_at = ?, try_at = ? \
                    WHERE id = ? AND status = 'confirmed'");
    tx.execute(stmt.bind(now).bind(look_at).bind(id).and_if(due_by, "due_at <= ?")).await
}

/// Forgets why anybody of this account wanted to go.
pub(super) async fn forget_reasons(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let stmt = sql("UPDATE account_deletion SET reason = '', token_digest = NULL, address = NULL \
                    WHERE account_id = ?");
    tx.execute(stmt.bind(account)).await.map(drop)
}

/// Puts it off until `try_at`; 0 where it is over.
pub(super) async fn hold_back(
    tx: &mut Tx,
    deletion: &Deletion,
    now: Timestamp,
    try_at: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE account_deletion SET try_at = ?, held_back_at = ? \
                    WHERE id = ? AND status = 'confirmed' AND try_at <= ?");
    let since = deletion.held_back_at.unwrap_or(now);
    tx.execute(stmt.bind(try_at).bind(since).bind(deletion.id).bind(now)).await
}

/// Lets it be due later, if it is its person's wish and would be due before; 0 where not.
pub(super) async fn put_off(tx: &mut Tx, id: Id, due_at: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE account_deletion SET due_at = ?, try_at = ?, held_back_at = NULL \
                    WHERE id = ? AND status = 'confirmed' AND is_ordered = ? AND due_at < ?");
    tx.execute(stmt.bind(due_at).bind(due_at).bind(id).bind(false).bind(due_at)).await
}

/// Those that are to be looked at: confirmed ones that are due, and completed ones whose accounts may
/// have been written about since.
pub(super) async fn due(
    mut src: impl Source,
    site: Option<Id>,
    status: Status,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Deletion>, Error> {
    let stmt = select().push("WHERE status = ? AND try_at <= ?").bind(status.name()).bind(now);
    src.all(stmt.and_if(site, "site_id = ?").push("ORDER BY try_at, id LIMIT ?").bind(limit)).await
}

/// It needs no looking at any more.
pub(super) async fn close(tx: &mut Tx, id: Id) -> Result<u64, Error> {
    tx.execute(
        sql("UPDATE account_deletion SET try_at = NULL WHERE id = ? AND status = 'completed'").bind(id),
    )
    .await
}

/// Removes some of what was over before a moment; how much.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM account_deletion WHERE (completed_at < ? OR cancelled_at < ?) \
                    AND try_at IS NULL LIMIT ?");
    let over: Vec<(Id,)> = tx.all(over.bind(before).bind(before).bind(most)).await?;
    tx.execute(sql("DELETE FROM account_deletion WHERE id IN").list(over.into_iter().map(|(id,)| id))).await
}

/// How many deletions of a site there are, and how they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    pub by_status: Vec<(Status, i64)>,
    /// Confirmed, and due before the moment that was asked for.
    pub due: i64,
}

/// How many deletions of a site there are, and how many are due before a moment.
pub async fn census(mut src: impl Source, site: Id, before: Timestamp) -> Result<Census, Error> {
    let all = sql("SELECT status, COUNT(*) FROM account_deletion WHERE site_id = ? GROUP BY status");
    let by_status = src.all(all.bind(site).push("ORDER BY status")).await?;
    let due = sql(
        "SELECT COUNT(*) FROM account_deletion WHERE site_id = ? AND status = 'confirmed' AND due_at < ?",
    );
    let (due,): (i64,) = src.one(due.bind(site).bind(before)).await?;
    Ok(Census { by_status, due })
}
