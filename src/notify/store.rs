//! The SQL of the outbox.
//!
//! Law: a try begins with a write that names how many tries there were, and ends with one that
//! names it again. So one process tries a row at a time, and one that was too slow writes nothing.

use super::Channel;
use crate::base::{Id, Timestamp};
use crate::store::{Error, FromRow, Source, Tx, sql};
use crate::text_column;

text_column!(Channel, Channel::from_name);

/// A row to be written.
pub(super) struct New<'a> {
    pub id: Id,
    pub site: Id,
    pub account: Option<Id>,
    pub channel: Channel,
    pub target: &'a str,
    pub notice: &'static str,
    pub dedup_key: &'a str,
    pub content: Vec<u8>,
    pub ends_at: Timestamp,
    pub now: Timestamp,
}

/// A row that waits.
#[derive(FromRow)]
pub(super) struct Waiting {
    pub id: Id,
    pub channel: Channel,
    pub target: String,
    pub notice: String,
    pub content: Vec<u8>,
    pub tries: i64,
    pub ends_at: Timestamp,
    pub created_at: Timestamp,
}

/// Writes a row, unless there is one with its key.
pub(super) async fn insert(tx: &mut Tx, row: New<'_>) -> Result<(), Error> {
    let stmt =
        sql("INSERT INTO outbox (id, site_id, account_id, channel, target, notice, dedup_key, content, \
         state, tries, due_at, ends_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'WAITING', 0, ?, ?, ?)")
        .bind(row.id)
        .bind(row.site)
        .bind(row.account)
        .bind(row.channel.name())
        .bind(row.target)
        .bind(row.notice)
        .bind(row.dedup_key)
        .bind(row.content)
        .bind(row.now)
        .bind(row.ends_at)
        .bind(row.now)
        .upsert(&["dedup_key"], &[]);
    tx.execute(stmt).await.map(drop)
}

/// How many mails of a kind there are for a person since then.
pub(super) async fn mailed_since(
    mut src: impl Source,
    account: Id,
    notice: &str,
    since: Timestamp,
) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*) FROM outbox WHERE account_id = ? AND notice = ? AND created_at >= ? \
                    AND channel = 'mail'");
    let (count,): (i64,) = src.one(stmt.bind(account).bind(notice).bind(since)).await?;
    Ok(count)
}

/// Where something is due.
pub(super) async fn destinations(
    mut src: impl Source,
    now: Timestamp,
) -> Result<Vec<(Channel, String)>, Error> {
    let stmt = sql("SELECT DISTINCT channel, target FROM outbox WHERE state = 'WAITING' AND due_at <= ?");
    src.all(stmt.bind(now)).await
}

/// What is due there, the longest waiting first.
pub(super) async fn due(
    mut src: impl Source,
    (channel, target): (Channel, &str),
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Waiting>, Error> {
    let stmt = sql("SELECT id, channel, target, notice, content, tries, ends_at, created_at FROM outbox \
                    WHERE state = 'WAITING' AND channel = ? AND target = ? AND due_at <= ? \
                    ORDER BY due_at, id LIMIT ?");
    src.all(stmt.bind(channel.name()).bind(target).bind(now).bind(limit)).await
}

/// How many rows wait, and since when the oldest does.
pub(super) async fn backlog(mut src: impl Source) -> Result<(i64, Option<Timestamp>), Error> {
    src.one(sql("SELECT COUNT(*), MIN(created_at) FROM outbox WHERE state = 'WAITING'")).await
}

/// Begins a try; nobody else begins one before `until`. 0 where somebody did, or it is over.
pub(super) async fn claim(
    tx: &mut Tx,
    row: &Waiting,
    now: Timestamp,
    until: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE outbox SET tries = tries + 1, due_at = ? \
                    WHERE id = ? AND state = 'WAITING' AND tries = ? AND due_at <= ?");
    tx.execute(stmt.bind(until).bind(row.id).bind(row.tries).bind(now)).await
}

/// Ends the try with this number, and the row with it: nothing of what it said is kept.
pub(super) async fn finish(
    tx: &mut Tx,
    (id, tries): (Id, i64),
    state: &'static str,
    problem: Option<&str>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE outbox SET state = ?, content = ?, problem = ?, finished_at = ? \
                    WHERE id = ? AND state = 'WAITING' AND tries = ?");
    let stmt = stmt.bind(state).bind(Vec::<u8>::new()).bind(problem.map(str::to_owned)).bind(now);
    tx.execute(stmt.bind(id).bind(tries)).await
}

/// Ends the try with this number; the next one is due at `due_at`.
pub(super) async fn put_off(
    tx: &mut Tx,
    (id, tries): (Id, i64),
    problem: &str,
    due_at: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE outbox SET due_at = ?, problem = ? \
                    WHERE id = ? AND state = 'WAITING' AND tries = ?");
    tx.execute(stmt.bind(due_at).bind(problem).bind(id).bind(tries)).await
}

pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM outbox WHERE account_id = ?").bind(account)).await.map(drop)
}

pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM outbox WHERE finished_at < ? LIMIT ?").bind(before).bind(most);
    let over: Vec<(Id,)> = tx.all(over).await?;
    tx.execute(sql("DELETE FROM outbox WHERE id IN").list(over.into_iter().map(|(id,)| id))).await
}
