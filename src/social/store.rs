//! The SQL of connections, and of what was used.
//! Law: an identity belongs to one account, and what was used is used, by constraint.

use super::{Connection, Identity};
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Stmt, Tx, sql};

fn connections() -> Stmt {
    sql("SELECT id, account_id AS account, provider, issuer, subject, email, created_at, used_at \
         FROM social_connection")
}

pub(super) async fn of_identity(
    mut src: impl Source,
    site: Id,
    issuer: &str,
    subject: &str,
) -> Result<Option<Connection>, Error> {
    let stmt = connections().push("WHERE site_id = ? AND issuer = ? AND subject = ?");
    src.optional(stmt.bind(site).bind(issuer).bind(subject)).await
}

/// Those of an account, the oldest first.
pub(super) async fn of_account(mut src: impl Source, account: Id) -> Result<Vec<Connection>, Error> {
    let stmt = connections().push("WHERE account_id = ? ORDER BY created_at, id");
    src.all(stmt.bind(account)).await
}

pub(super) async fn insert(
    tx: &mut Tx,
    id: Id,
    (site, account, provider): (Id, Id, &str),
    identity: &Identity,
    now: Timestamp,
) -> Result<(), Error> {
    let stmt = sql("INSERT INTO social_connection \
                    (id, site_id, account_id, provider, issuer, subject, email, created_at, used_at) \
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    let stmt = stmt.bind(id).bind(site).bind(account).bind(provider).bind(identity.issuer.as_str());
    let stmt = stmt.bind(identity.subject.as_str()).bind(identity.address.email());
    tx.execute(stmt.bind(now).bind(now)).await.map(drop)
}

/// Notes a login; 0 where the identity is not this account's any more.
pub(super) async fn note_use(
    tx: &mut Tx,
    (site, account): (Id, Id),
    (issuer, subject): (&str, &str),
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE social_connection SET used_at = ? \
                    WHERE site_id = ? AND issuer = ? AND subject = ? AND account_id = ?");
    tx.execute(stmt.bind(now).bind(site).bind(issuer).bind(subject).bind(account)).await
}

pub(super) async fn delete(tx: &mut Tx, account: Id, id: Id) -> Result<u64, Error> {
    let stmt = sql("DELETE FROM social_connection WHERE id = ? AND account_id = ?");
    tx.execute(stmt.bind(id).bind(account)).await
}

pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM social_connection WHERE account_id = ?").bind(account)).await.map(drop)
}

/// # Errors
/// [`Error::Conflict`] where it was used before.
pub(super) async fn insert_use(tx: &mut Tx, digest: &str, forget_at: Timestamp) -> Result<(), Error> {
    let stmt = sql("INSERT INTO social_use (digest, forget_at) VALUES (?, ?)");
    tx.execute(stmt.bind(digest).bind(forget_at)).await.map(drop)
}

pub(super) async fn forget_uses(tx: &mut Tx, now: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT digest FROM social_use WHERE forget_at <= ? LIMIT ?").bind(now).bind(most);
    let over: Vec<(String,)> = tx.all(over).await?;
    let digests = over.iter().map(|(digest,)| digest.as_str());
    tx.execute(sql("DELETE FROM social_use WHERE digest IN").list(digests)).await
}
