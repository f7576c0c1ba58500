//! The SQL of seeds and backup codes.
//! Law: whatever must hold is a condition of the write, and the row count says whether it held.

use crate::base::{Id, Timestamp};
use crate::store::{Error, FromRow, Source, Tx, sql};

/// A seed as stored.
#[derive(FromRow)]
pub(super) struct TotpRow {
    pub(super) sealed_seed: Vec<u8>,
    pub(super) confirmed_at: Option<Timestamp>,
}

pub(super) async fn totp(mut src: impl Source, account: Id) -> Result<Option<TotpRow>, Error> {
    let stmt = sql("SELECT sealed_seed, confirmed_at FROM totp WHERE account_id = ?");
    src.optional(stmt.bind(account)).await
}

pub(super) async fn forget_unconfirmed(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let stmt = sql("DELETE FROM totp WHERE account_id = ? AND confirmed_at IS NULL");
    tx.execute(stmt.bind(account)).await.map(drop)
}

/// Inserts a seed that counts for nothing yet.
pub(super) async fn insert(
    tx: &mut Tx,
    account: Id,
    sealed_seed: Vec<u8>,
    now: Timestamp,
) -> Result<(), Error> {
    let stmt = sql("INSERT INTO totp (account_id, sealed_seed, last_step, created_at) VALUES (?, ?, 0, ?)");
    tx.execute(stmt.bind(account).bind(sealed_seed).bind(now)).await.map(drop)
}

/// Makes the seed count, from the step after this one; 0 where it does already.
pub(super) async fn confirm(tx: &mut Tx, account: Id, step: i64, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE totp SET confirmed_at = ?, last_step = ? \
                    WHERE account_id = ? AND confirmed_at IS NULL AND last_step < ?");
    tx.execute(stmt.bind(now).bind(step).bind(account).bind(step)).await
}

/// Uses a time step up; 0 where it or a later one was used before.
pub(super) async fn take_step(tx: &mut Tx, account: Id, step: i64) -> Result<u64, Error> {
    let stmt = sql("UPDATE totp SET last_step = ? \
                    WHERE account_id = ? AND confirmed_at IS NOT NULL AND last_step < ?");
    tx.execute(stmt.bind(step).bind(account).bind(step)).await
}

/// Forgets a seed that counts; 0 where there is none.
pub(super) async fn forget(tx: &mut Tx, account: Id) -> Result<u64, Error> {
    let stmt = sql("DELETE FROM totp WHERE account_id = ? AND confirmed_at IS NOT NULL");
    tx.execute(stmt.bind(account)).await
}

pub(super) async fn forget_backup_codes(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM backup_code WHERE account_id = ?").bind(account)).await.map(drop)
}

pub(super) async fn insert_backup_code(tx: &mut Tx, account: Id, digest: &str) -> Result<(), Error> {
    let stmt = sql("INSERT INTO backup_code (account_id, digest) VALUES (?, ?)");
    tx.execute(stmt.bind(account).bind(digest)).await.map(drop)
}

/// Uses a backup code up, where the seed counts that it stands in for; 0 where it was used.
pub(super) async fn use_backup_code(
    tx: &mut Tx,
    account: Id,
    digest: &str,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE backup_code SET used_at = ? \
                    WHERE account_id = ? AND digest = ? AND used_at IS NULL AND EXISTS \
                    (SELECT 1 FROM totp WHERE totp.account_id = backup_code.account_id AND confirmed_at IS NOT NULL)");
    tx.execute(stmt.bind(now).bind(account).bind(digest)).await
}

pub(super) async fn backup_codes_left(mut src: impl Source, account: Id) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*) FROM backup_code WHERE account_id = ? AND used_at IS NULL");
    let (left,): (i64,) = src.one(stmt.bind(account)).await?;
    Ok(left)
}

/// Everything about second factors as it is at rest.
#[cfg(test)]
pub(super) async fn dump(mut src: impl Source) -> Result<(Vec<Vec<u8>>, Vec<String>), Error> {
    let seeds: Vec<(Vec<u8>,)> = src.all(sql("SELECT sealed_seed FROM totp ORDER BY account_id")).await?;
    let codes: Vec<(String,)> = src.all(sql("SELECT digest FROM backup_code ORDER BY digest")).await?;
    Ok((seeds.into_iter().map(|row| row.0).collect(), codes.into_iter().map(|row| row.0).collect()))
}

/// Gives one account the seed of another, as somebody with the database might.
#[cfg(test)]
pub(super) async fn move_seed(tx: &mut Tx, from: Id, to: Id) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM totp WHERE account_id = ?").bind(to)).await?;
    tx.execute(sql("UPDATE totp SET account_id = ? WHERE account_id = ?").bind(to).bind(from)).await
}
