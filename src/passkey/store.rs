//! The SQL of passkeys.
//! Law: whatever must hold is a condition of the write, and the row count says whether it held.

use crate::base::{Id, Number, Timestamp};
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// A passkey as stored.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) number: Number,
    pub(super) account_id: Id,
    pub(super) name: String,
    pub(super) credential: String,
    pub(super) transports: String,
    pub(super) created_at: Timestamp,
    pub(super) last_used_at: Option<Timestamp>,
}

fn select() -> Stmt {
    sql("SELECT id, number, account_id, name, credential, transports, created_at, last_used_at FROM passkey")
}

/// A new passkey.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) id: Id,
    pub(super) number: Number,
    pub(super) site: Id,
    pub(super) account: Id,
    pub(super) digest: &'a str,
    pub(super) name: &'a str,
    pub(super) credential: &'a str,
    pub(super) counter: u32,
    pub(super) transports: &'a str,
    pub(super) now: Timestamp,
}

/// Inserts a passkey; a conflict where the site has it already.
pub(super) async fn insert(tx: &mut Tx, new: &New<'_>) -> Result<(), Error> {
    let stmt = sql("INSERT INTO passkey \
                    (id, number, site_id, account_id, credential_digest, name, credential, counter, transports, \
                    created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(new.id)
    .bind(new.number)
    .bind(new.site)
    .bind(new.account)
    .bind(new.digest)
    .bind(new.name)
    .bind(new.credential)
    .bind(i64::from(new.counter))
    .bind(new.transports)
    .bind(new.now);
    tx.execute(stmt).await.map(drop)
}

/// The passkeys of an account, the oldest first.
pub(super) async fn list_of(mut src: impl Source, account: Id) -> Result<Vec<Row>, Error> {
    src.all(select().push("WHERE account_id = ?").bind(account).push("ORDER BY number, id")).await
}

pub(super) async fn count_of(mut src: impl Source, account: Id) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*) FROM passkey WHERE account_id = ?");
    let (count,): (i64,) = src.one(stmt.bind(account)).await?;
    Ok(count)
}

pub(super) async fn of_account(
    mut src: impl Source,
    account: Id,
    number: Number,
) -> Result<Option<Row>, Error> {
    let stmt = select().push("WHERE account_id = ?").bind(account).push("AND number = ?").bind(number);
    src.optional(stmt).await
}

pub(super) async fn by_digest(mut src: impl Source, site: Id, digest: &str) -> Result<Option<Row>, Error> {
    let stmt = select().push("WHERE site_id = ?").bind(site);
    src.optional(stmt.push("AND credential_digest = ?").bind(digest)).await
}

/// Whether it is there still.
pub(super) async fn is_there(mut src: impl Source, id: Id) -> Result<bool, Error> {
    let row: Option<(Id,)> = src.optional(sql("SELECT id FROM passkey WHERE id = ?").bind(id)).await?;
    Ok(row.is_some())
}

/// Notes a use; 0 where the passkey is gone, or had counted as far before.
pub(super) async fn note_use(
    tx: &mut Tx,
    id: Id,
    credential: &str,
    counter: u32,
    now: Timestamp,
) -> Result<u64, Error> {
    let counter = i64::from(counter);
    let stmt = sql("UPDATE passkey SET credential = ?, counter = ?, last_used_at = ? \
                    WHERE id = ? AND (counter < ? OR (counter = 0 AND ? = 0))");
    let stmt = stmt.bind(credential).bind(counter).bind(now).bind(id).bind(counter);
    tx.execute(stmt.bind(counter)).await
}

/// Calls it something else; 0 where it is gone.
pub(super) async fn rename(tx: &mut Tx, id: Id, name: &str) -> Result<u64, Error> {
    tx.execute(sql("UPDATE passkey SET name = ? WHERE id = ?").bind(name).bind(id)).await
}

/// Removes it; 0 where it is gone.
pub(super) async fn remove(tx: &mut Tx, id: Id) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM passkey WHERE id = ?").bind(id)).await
}

/// Removes all of an account.
pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM passkey WHERE account_id = ?").bind(account)).await.map(drop)
}
