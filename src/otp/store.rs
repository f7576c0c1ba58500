//! The SQL of one-time codes.
//!
//! Law: sending, trying and using are one conditional write each, and the row count decides.

use super::{COOL_DOWN, FORGOTTEN_AFTER, Proof, Purpose, SENDS, Sent, Stored, TRIES, Which};
use crate::audit::Contact;
use crate::base::{Id, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};
use crate::text_column;

text_column!(Contact, |text| [Contact::Email, Contact::Phone].into_iter().find(|one| one.name() == text));

/// A code to be written.
pub(super) struct New<'a> {
    pub sent: Sent,
    pub code_digest: &'a str,
    pub link_digest: Option<&'a str>,
    pub application: Option<Id>,
    pub target: &'a str,
    pub now: Timestamp,
}

/// The condition that names a row.
fn at(stmt: Stmt, which: Which) -> Stmt {
    stmt.push("WHERE account_id = ? AND purpose = ? AND channel = ?")
        .bind(which.account)
        .bind(which.purpose.name())
        .bind(which.channel.name())
}

/// Puts a code in the place of the one before; 0 where it is too soon, or there were enough. [`may_send`] comes
/// before it.
///
/// `forget_at` is written last because MySQL, unlike the others, reads what it has written already.
pub(super) async fn replace(tx: &mut Tx, which: Which, new: &New<'_>) -> Result<u64, Error> {
    let (now, forget_at) = (new.now, new.now.plus(FORGOTTEN_AFTER));
    let stmt = sql(
        "UPDATE one_time_code SET id = ?, code_digest = ?, link_digest = ?, application_id = ?, target = ?, \
                    sent_at = ?, expires_at = ?, used_at = NULL,",
    )
    .bind(new.sent.id)
    .bind(new.code_digest)
    .bind(new.link_digest)
    .bind(new.application)
    .bind(new.target)
    .bind(now)
    .bind(new.sent.expires_at)
    .push("tries = CASE WHEN forget_at <= ? THEN 0 ELSE tries END,")
    .bind(now)
    .push("sends = CASE WHEN forget_at <= ? THEN 1 ELSE sends + 1 END,")
    .bind(now)
    .push("forget_at = CASE WHEN forget_at <= ? THEN ? ELSE forget_at END")
    .bind(now)
    .bind(forget_at);
    let stmt = at(stmt, which).push("AND (forget_at <= ? OR (sends < ? AND sent_at <= ?))").bind(now);
    tx.execute(stmt.bind(SENDS).bind(now.minus(COOL_DOWN))).await
}

/// Whether a code may be sent in the place of the one before, and nobody else sends one until the change ends.
pub(super) async fn may_send(tx: &mut Tx, which: Which, new: &New<'_>) -> Result<bool, Error> {
    prepare(tx, which, new).await?;
    let stmt = at(sql("UPDATE one_time_code SET sends = sends"), which);
    let stmt = stmt.push("AND (forget_at <= ? OR (sends < ? AND sent_at <= ?))").bind(new.now).bind(SENDS);
    Ok(tx.execute(stmt.bind(new.now.minus(COOL_DOWN))).await? > 0)
}

/// Counts what is sent to one address or number for whomever; 0 where it is too soon, or there was enough.
pub(super) async fn note_target(tx: &mut Tx, digest: &str, now: Timestamp) -> Result<u64, Error> {
    let never = Timestamp::from_millis(0);
    let begin = sql("INSERT INTO code_target (digest, sends, sent_at, forget_at) VALUES (?, 0, ?, ?)")
        .bind(digest)
        .bind(never)
        .bind(never);
    tx.execute(begin.upsert(&["digest"], &[])).await?;
    let stmt = sql("UPDATE code_target SET sent_at = ?,")
        .bind(now)
        .push("sends = CASE WHEN forget_at <= ? THEN 1 ELSE sends + 1 END,")
        .bind(now)
        .push("forget_at = CASE WHEN forget_at <= ? THEN ? ELSE forget_at END")
        .bind(now)
        .bind(now.plus(FORGOTTEN_AFTER))
        .push("WHERE digest = ? AND (forget_at <= ? OR (sends < ? AND sent_at <= ?))")
        .bind(digest)
        .bind(now)
        .bind(SENDS)
        .bind(now.minus(COOL_DOWN));
    tx.execute(stmt).await
}

/// How often something was sent there, when last, and when that is forgotten.
pub(super) async fn target(
    mut src: impl Source,
    digest: &str,
) -> Result<Option<(i64, Timestamp, Timestamp)>, Error> {
    src.optional(sql("SELECT sends, sent_at, forget_at FROM code_target WHERE digest = ?").bind(digest)).await
}

/// Removes some of the counts that were forgotten before a moment; how many.
pub(super) async fn sweep_targets(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT digest FROM code_target WHERE forget_at < ? LIMIT ?").bind(before).bind(most);
    let over: Vec<(String,)> = tx.all(over).await?;
    let over = over.iter().map(|(digest,)| digest.as_str());
    // One that counts again in the meantime stays.
    tx.execute(
        sql("DELETE FROM code_target WHERE forget_at < ?").bind(before).push("AND digest IN").list(over),
    )
    .await
}

/// Makes sure that there is a row to write into. One that was just made holds no code and counts
/// nothing.
async fn prepare(tx: &mut Tx, which: Which, new: &New<'_>) -> Result<(), Error> {
    let never = Timestamp::from_millis(0);
    let stmt = sql("INSERT INTO one_time_code (account_id, purpose, channel, id, code_digest, target, \
                    sent_at, expires_at, tries, sends, forget_at) VALUES (?, ?, ?, ?, '', '', ?, ?, 0, 0, ?)")
    .bind(which.account)
    .bind(which.purpose.name())
    .bind(which.channel.name())
    .bind(new.sent.id)
    .bind(never)
    .bind(never)
    .bind(never);
    tx.execute(stmt.upsert(&["account_id", "purpose", "channel"], &[])).await.map(drop)
}

pub(super) async fn find(mut src: impl Source, which: Which) -> Result<Option<Stored>, Error> {
    let stmt = sql("SELECT id, code_digest, target, used_at, tries, sent_at, sends, forget_at \
                    FROM one_time_code");
    src.optional(at(stmt, which)).await
}

/// Takes a try of a code that is in force; 0 where none is, or no try is left.
pub(super) async fn take_try(tx: &mut Tx, which: Which, now: Timestamp) -> Result<u64, Error> {
    let stmt = at(sql("UPDATE one_time_code SET tries = tries + 1"), which);
    let stmt = stmt.push("AND used_at IS NULL AND expires_at > ? AND tries < ?").bind(now).bind(TRIES);
    tx.execute(stmt).await
}

/// Uses the code with this id; 0 where it is used, replaced or over.
pub(super) async fn spend(tx: &mut Tx, which: Which, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = at(sql("UPDATE one_time_code SET used_at = ?").bind(now), which);
    tx.execute(stmt.push("AND id = ? AND used_at IS NULL AND expires_at > ?").bind(id).bind(now)).await
}

/// What a link was sent for, as the store has it.
#[derive(FromRow)]
struct Linked {
    account: Id,
    channel: Contact,
    id: Id,
    target: String,
    application: Option<Id>,
}

/// What a link proves that is in force.
pub(super) async fn by_link(
    mut src: impl Source,
    purpose: Purpose,
    digest: &TokenDigest,
    now: Timestamp,
) -> Result<Option<Proof>, Error> {
    let stmt = sql("SELECT account_id AS account, channel, id, target, application_id AS application \
                    FROM one_time_code \
                    WHERE link_digest = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?");
    let found: Option<Linked> =
        src.optional(stmt.bind(digest.as_str()).bind(purpose.name()).bind(now)).await?;
    Ok(found.map(|Linked { account, channel, id, target, application }| {
        let which = Which { account, purpose, channel };
        Proof { which, id, target, application }
    }))
}

/// Uses up every code of an account for this purpose.
pub(super) async fn end_all(
    tx: &mut Tx,
    account: Id,
    purpose: Purpose,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE one_time_code SET used_at = ? WHERE account_id = ? AND purpose = ? AND used_at IS NULL");
    tx.execute(stmt.bind(now).bind(account).bind(purpose.name())).await
}

pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM one_time_code WHERE account_id = ?").bind(account)).await.map(drop)
}

pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM one_time_code WHERE forget_at < ? AND expires_at < ? LIMIT ?");
    let over: Vec<(Id,)> = tx.all(over.bind(before).bind(before).bind(most)).await?;
    // A new code in the same place has another id.
    tx.execute(sql("DELETE FROM one_time_code WHERE id IN").list(over.into_iter().map(|(id,)| id))).await
}
