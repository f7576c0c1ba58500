//! The SQL of API keys.
//!
//! Law: a key is ended by one conditional write, and the row count says by whom.

use std::collections::HashMap;

use super::ApiKey;
use crate::base::{Id, Number, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::policy::Code;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

#[derive(FromRow)]
struct Row {
    id: Id,
    number: Number,
    account_id: Id,
    name: String,
    hint: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl Row {
    /// Databases sort by their own language's rules.
    fn with(self, mut scopes: Vec<Code>) -> ApiKey {
        scopes.sort_unstable();
        ApiKey {
            id: self.id,
            number: self.number,
            account: self.account_id,
            name: self.name,
            hint: self.hint,
            scopes,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
        }
    }
}

fn select() -> Stmt {
    sql(
        "SELECT id, number, account_id, name, hint, created_at, expires_at, revoked_at, last_used_at FROM api_key",
    )
}

pub(super) async fn insert(tx: &mut Tx, key: &ApiKey, digest: &TokenDigest) -> Result<(), Error> {
    let stmt =
        sql("INSERT INTO api_key (id, number, account_id, name, hint, digest, created_at, expires_at) \
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(key.id)
        .bind(key.number)
        .bind(key.account)
        .bind(&key.name)
        .bind(&key.hint)
        .bind(digest.as_str())
        .bind(key.created_at)
        .bind(key.expires_at);
    tx.execute(stmt).await?;
    for code in &key.scopes {
        let stmt = sql("INSERT INTO api_key_scope (key_id, code) VALUES (?, ?)").bind(key.id).bind(code);
        tx.execute(stmt).await?;
    }
    Ok(())
}

/// How many keys of an account are alive.
pub(super) async fn alive(tx: &mut Tx, account: Id, now: Timestamp) -> Result<usize, Error> {
    let stmt = sql("SELECT COUNT(*) FROM api_key WHERE account_id = ? AND revoked_at IS NULL \
                    AND expires_at > ?");
    let (count,): (i64,) = tx.one(stmt.bind(account).bind(now)).await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

pub(super) async fn revoke(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL AND expires_at > ?");
    tx.execute(stmt.bind(now).bind(id).bind(now)).await
}

pub(super) async fn by_id(mut src: impl Source, id: Id) -> Result<Option<ApiKey>, Error> {
    let row: Option<Row> = src.optional(select().push("WHERE id = ?").bind(id)).await?;
    let Some(row) = row else { return Ok(None) };
    let stmt = sql("SELECT code FROM api_key_scope WHERE key_id = ?").bind(id);
    let scopes: Vec<(Code,)> = src.all(stmt).await?;
    Ok(Some(row.with(scopes.into_iter().map(|(code,)| code).collect())))
}

pub(super) async fn by_number(mut src: impl Source, number: Number) -> Result<Option<ApiKey>, Error> {
    let id: Option<(Id,)> = src.optional(sql("SELECT id FROM api_key WHERE number = ?").bind(number)).await?;
    match id {
        Some((id,)) => by_id(src, id).await,
        None => Ok(None),
    }
}

/// The newest ones of all accounts.
pub(super) async fn list(mut src: impl Source, limit: u32) -> Result<Vec<ApiKey>, Error> {
    let rows: Vec<Row> = src.all(select().push("ORDER BY number DESC, id LIMIT ?").bind(limit)).await?;
    let stmt = sql("SELECT key_id, code FROM api_key_scope WHERE key_id IN");
    let scopes = src.all::<(Id, Code)>(stmt.list(rows.iter().map(|row| row.id))).await?;
    Ok(with_scopes(rows, scopes))
}

pub(super) async fn by_digest(mut src: impl Source, digest: &str) -> Result<Option<(Id, Id)>, Error> {
    src.optional(sql("SELECT id, account_id FROM api_key WHERE digest = ?").bind(digest)).await
}

pub(super) async fn of_account(mut src: impl Source, account: Id) -> Result<Vec<ApiKey>, Error> {
    let stmt = select().push("WHERE account_id = ? ORDER BY number DESC, id").bind(account);
    let rows: Vec<Row> = src.all(stmt).await?;
    let stmt = sql("SELECT key_id, code FROM api_key_scope WHERE key_id IN \
                    (SELECT id FROM api_key WHERE account_id = ?)");
    let scopes = src.all::<(Id, Code)>(stmt.bind(account)).await?;
    Ok(with_scopes(rows, scopes))
}

fn with_scopes(rows: Vec<Row>, all: Vec<(Id, Code)>) -> Vec<ApiKey> {
    let mut scopes: HashMap<Id, Vec<Code>> = HashMap::new();
    for (key, code) in all {
        scopes.entry(key).or_default().push(code);
    }
    let with = |row: Row| {
        let own = scopes.remove(&row.id);
        row.with(own.unwrap_or_default())
    };
    rows.into_iter().map(with).collect()
}

pub(super) async fn note_use(tx: &mut Tx, id: Id, at: Timestamp) -> Result<(), Error> {
    let stmt = sql("UPDATE api_key SET last_used_at = ? WHERE id = ? \
                    AND (last_used_at IS NULL OR last_used_at < ?)");
    tx.execute(stmt.bind(at).bind(id).bind(at)).await.map(drop)
}

/// The keys that name a permission.
pub(super) async fn naming(mut src: impl Source, code: &Code) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT key_id FROM api_key_scope WHERE code = ? ORDER BY key_id").bind(code);
    Ok(src.all::<(Id,)>(rows).await?.into_iter().map(|(id,)| id).collect())
}

/// Takes a permission from what these keys name.
pub(super) async fn unname(tx: &mut Tx, keys: &[Id], code: &Code) -> Result<(), Error> {
    let delete = sql("DELETE FROM api_key_scope WHERE code = ? AND key_id IN").bind(code);
    tx.execute(delete.list(keys.iter().copied())).await.map(drop)
}

pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let scopes = sql("DELETE FROM api_key_scope WHERE key_id IN \
                      (SELECT id FROM api_key WHERE account_id = ?)");
    tx.execute(scopes.bind(account)).await?;
    tx.execute(sql("DELETE FROM api_key WHERE account_id = ?").bind(account)).await.map(drop)
}

/// Removes some of what was over before a moment; how many keys went.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM api_key WHERE expires_at < ? OR revoked_at < ? LIMIT ?");
    let over: Vec<(Id,)> = tx.all(over.bind(before).bind(before).bind(most)).await?;
    let over = || over.iter().map(|(id,)| *id);
    tx.execute(sql("DELETE FROM api_key_scope WHERE key_id IN").list(over())).await?;
    tx.execute(sql("DELETE FROM api_key WHERE id IN").list(over())).await
}
