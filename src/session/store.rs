//! The SQL of sessions and refresh tokens.
//!
//! Law: ending a session and using a token are conditional writes; whoever meets no row came second.
//! Law: whatever must hold is a condition of the write, and the row count says whether it held.

use super::{Acquaintance, Method, RefreshToken, Session};
use crate::audit::EndReason;
use crate::base::{Id, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::principal::Scope;
use crate::store::{Error, Source, Stmt, Tx, sql};
use crate::text_column;

text_column!(Method, Method::from_name);
text_column!(Scope, Scope::named);

fn select() -> Stmt {
    sql("SELECT id, account_id AS account, application_id AS application, method, scope, device_info, \
         device_key, address, started_at, authenticated_at, second_factor_at, refreshed_at, idle_ends_at, \
         ends_at, ended_at \
         FROM session")
}

pub(super) async fn by_id(mut src: impl Source, id: Id) -> Result<Option<Session>, Error> {
    src.optional(select().push("WHERE id = ?").bind(id)).await
}

/// The live sessions of an account, the oldest first.
pub(super) async fn live_of(
    mut src: impl Source,
    account: Id,
    now: Timestamp,
) -> Result<Vec<Session>, Error> {
    let stmt =
        select().push("WHERE account_id = ? AND ended_at IS NULL AND ends_at > ? AND idle_ends_at > ?");
    src.all(stmt.bind(account).bind(now).bind(now).push("ORDER BY started_at, id")).await
}

pub(super) async fn all_of(mut src: impl Source, account: Id) -> Result<Vec<Session>, Error> {
    src.all(select().push("WHERE account_id = ? ORDER BY started_at, id").bind(account)).await
}

pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let tokens = sql("DELETE FROM refresh_token WHERE session_id IN \
                      (SELECT id FROM session WHERE account_id = ?)");
    tx.execute(tokens.bind(account)).await?;
    tx.execute(sql("DELETE FROM session WHERE account_id = ?").bind(account)).await.map(drop)
}

pub(super) async fn insert(tx: &mut Tx, session: &Session) -> Result<(), Error> {
    let stmt = sql("INSERT INTO session (id, account_id, application_id, method, scope, device_info, \
         device_key, address, started_at, authenticated_at, refreshed_at, idle_ends_at, ends_at) VALUES \
         (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(session.id)
    .bind(session.account)
    .bind(session.application)
    .bind(session.method.name())
    .bind(session.scope.map(Scope::as_str))
    .bind(session.device_info.as_str())
    .bind(session.device_key.as_str())
    .bind(session.address.as_deref())
    .bind(session.started_at)
    .bind(session.authenticated_at)
    .bind(session.refreshed_at)
    .bind(session.idle_ends_at)
    .bind(session.ends_at);
    tx.execute(stmt).await.map(drop)
}

/// Notes a refresh of a session that is still alive; 0 where it is not.
pub(super) async fn extend(
    tx: &mut Tx,
    id: Id,
    now: Timestamp,
    idle_ends_at: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE session SET refreshed_at = ?, idle_ends_at = ? WHERE id = ? AND ended_at IS NULL");
    tx.execute(stmt.bind(now).bind(idle_ends_at).bind(id)).await
}

/// Whether the account had a session on this device, or any.
pub(super) async fn acquaintance(mut src: impl Source, new: &Session) -> Result<Acquaintance, Error> {
    let stmt = sql("SELECT COUNT(*), COUNT(CASE WHEN device_key = ? THEN 1 END) \
                    FROM session WHERE account_id = ?");
    let stmt = stmt.bind(new.device_key.as_str()).bind(new.account);
    let (all, on_it): (i64, i64) = src.one(stmt).await?;
    Ok(match (all, on_it) {
        (0, _) => Acquaintance::First,
        (_, 0) => Acquaintance::New,
        _ => Acquaintance::Known,
    })
}

/// Ends a session that is not ended; 0 where it is.
pub(super) async fn end(tx: &mut Tx, id: Id, reason: &'static str, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE session SET ended_at = ?, end_reason = ? WHERE id = ? AND ended_at IS NULL");
    tx.execute(stmt.bind(now).bind(reason).bind(id)).await
}

/// Notes that a second factor was proved in a session that is still alive; 0 where it is not.
pub(super) async fn prove(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE session SET second_factor_at = ?, authenticated_at = ? \
                    WHERE id = ? AND ended_at IS NULL AND ends_at > ? AND idle_ends_at > ?");
    tx.execute(stmt.bind(now).bind(now).bind(id).bind(now).bind(now)).await
}

/// Forgets that a second factor was ever proved in any session of an account.
pub(super) async fn unprove(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let stmt = sql("UPDATE session SET second_factor_at = NULL WHERE account_id = ?");
    tx.execute(stmt.bind(account)).await.map(drop)
}

/// The same in sessions that began by one method.
pub(super) async fn unprove_by(tx: &mut Tx, account: Id, method: Method) -> Result<(), Error> {
    let stmt = sql("UPDATE session SET second_factor_at = NULL WHERE account_id = ? AND method = ?");
    tx.execute(stmt.bind(account).bind(method.name())).await.map(drop)
}

/// Ends every session that came through an application.
pub(super) async fn end_of_application(tx: &mut Tx, application: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE session SET ended_at = ?, end_reason = ? WHERE application_id = ? AND ended_at IS NULL");
    tx.execute(stmt.bind(now).bind(EndReason::ApplicationDisabled.name()).bind(application)).await
}

pub(super) async fn token(mut src: impl Source, digest: &TokenDigest) -> Result<Option<RefreshToken>, Error> {
    let stmt = sql("SELECT session_id AS session, generation, expires_at, used_at, successor \
                    FROM refresh_token WHERE digest = ?");
    src.optional(stmt.bind(digest.as_str())).await
}

/// Whether the token of this place in a family was used.
pub(super) async fn is_used(mut src: impl Source, session: Id, generation: i64) -> Result<bool, Error> {
    let stmt = sql("SELECT used_at FROM refresh_token WHERE session_id = ? AND generation = ?");
    let row: Option<(Option<Timestamp>,)> = src.optional(stmt.bind(session).bind(generation)).await?;
    Ok(row.is_some_and(|(used_at,)| used_at.is_some()))
}

pub(super) async fn insert_token(
    tx: &mut Tx,
    digest: &TokenDigest,
    session: Id,
    generation: i64,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Error> {
    let stmt = sql("INSERT INTO refresh_token (digest, session_id, generation, issued_at, expires_at) \
                    VALUES (?, ?, ?, ?, ?)");
    let stmt = stmt.bind(digest.as_str()).bind(session).bind(generation).bind(now).bind(expires_at);
    tx.execute(stmt).await.map(drop)
}

/// Uses a token up. 0 where somebody else did first.
pub(super) async fn use_token(
    tx: &mut Tx,
    digest: &TokenDigest,
    successor: Vec<u8>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE refresh_token SET used_at = ?, successor = ? WHERE digest = ? AND used_at IS NULL");
    tx.execute(stmt.bind(now).bind(successor).bind(digest.as_str())).await
}

/// A token that nobody has seen gets another text.
pub(super) async fn rename_token(tx: &mut Tx, from: &TokenDigest, to: &TokenDigest) -> Result<(), Error> {
    let stmt = sql("UPDATE refresh_token SET digest = ? WHERE digest = ? AND used_at IS NULL");
    tx.execute(stmt.bind(to.as_str()).bind(from.as_str())).await.map(drop)
}

/// Without rotation: the same token lives on.
pub(super) async fn prolong_token(
    tx: &mut Tx,
    digest: &TokenDigest,
    expires_at: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE refresh_token SET expires_at = ? WHERE digest = ? AND used_at IS NULL");
    tx.execute(stmt.bind(expires_at).bind(digest.as_str())).await
}

/// Forgets the sealed successor of one place in a family.
pub(super) async fn forget_successor(tx: &mut Tx, session: Id, generation: i64) -> Result<(), Error> {
    let stmt = sql("UPDATE refresh_token SET successor = NULL WHERE session_id = ? AND generation = ?");
    tx.execute(stmt.bind(session).bind(generation)).await.map(drop)
}

/// Removes some of the sessions that were over before a moment, and before them their tokens; how many rows
/// of the kind that was removed.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM session WHERE ended_at < ? OR ends_at < ? OR idle_ends_at < ? LIMIT ?");
    let over: Vec<(Id,)> = tx.all(over.bind(before).bind(before).bind(before).bind(most)).await?;
    if over.is_empty() {
        return Ok(0);
    }
    let over = || over.iter().map(|(id,)| *id);
    let tokens = sql("SELECT digest FROM refresh_token WHERE session_id IN").list(over());
    let gone = sweep_tokens(tx, tokens.push("LIMIT ?").bind(most)).await?;
    if gone >= u64::from(most) {
        return Ok(gone);
    }
    let sessions =
        sql("DELETE FROM session WHERE (ended_at < ? OR ends_at < ? OR idle_ends_at < ?) AND id IN");
    tx.execute(sessions.bind(before).bind(before).bind(before).list(over())).await
}

async fn sweep_tokens(tx: &mut Tx, chosen: Stmt) -> Result<u64, Error> {
    let tokens: Vec<(String,)> = tx.all(chosen).await?;
    let digests = tokens.iter().map(|(digest,)| digest.as_str());
    tx.execute(sql("DELETE FROM refresh_token WHERE digest IN").list(digests)).await
}

/// Writes down that a ticket was used; a conflict where that stands already.
pub(super) async fn use_ticket(tx: &mut Tx, ticket: Id, forget_at: Timestamp) -> Result<(), Error> {
    let stmt = sql("INSERT INTO used_ticket (id, forget_at) VALUES (?, ?)");
    tx.execute(stmt.bind(ticket).bind(forget_at)).await.map(drop)
}

pub(super) async fn forget_tickets(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM used_ticket WHERE forget_at < ? LIMIT ?").bind(before).bind(most);
    let over: Vec<(Id,)> = tx.all(over).await?;
    tx.execute(sql("DELETE FROM used_ticket WHERE id IN").list(over.into_iter().map(|(id,)| id))).await
}

/// Every refresh token as it is at rest: digest and sealed successor.
#[cfg(test)]
pub(super) async fn dump(mut src: impl Source) -> Result<Vec<(String, Option<Vec<u8>>)>, Error> {
    src.all(sql("SELECT digest, successor FROM refresh_token ORDER BY issued_at, digest")).await
}
