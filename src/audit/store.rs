//! The audit tables: the chain, and what lies beside it.
//!
//! Law: rows are inserted and read; nothing here changes one. Rows leave by age only, oldest first; what
//! lies beside them leaves with its person.

use serde::Serialize;
use serde_json::Value;

use super::chain::Head;
use super::find::latest_first;
use super::stream::Stream;
use crate::base::{Id, Timestamp};
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// How many rows one INSERT carries: SQLite's and PostgreSQL's caps on parameters are far off.
const BATCH: usize = 100;
/// Every row, with what lies beside it where that is there.
pub(super) const WITH_PERSONAL: &str = "FROM audit a LEFT JOIN audit_personal p ON p.seq = a.seq";
/// Rows that are looked at or removed at once.
const PIECE: u32 = 2000;

pub(super) struct NewRow {
    pub seq: i64,
    pub happened_at: Timestamp,
    pub code: String,
    pub site_id: Id,
    pub actor_kind: String,
    pub actor_id: Option<Id>,
    pub account_id: Option<Id>,
    pub organization_id: Option<Id>,
    pub application_id: Option<Id>,
    pub request_id: Option<String>,
    pub digest: String,
    pub prev_hash: String,
    pub hash: String,
    pub salt: String,
    pub content: String,
    pub address: Option<String>,
    pub trace: Option<String>,
}

/// A row of the chain with what lies beside it, for checking.
#[derive(FromRow)]
pub(in crate::audit) struct Link {
    pub seq: i64,
    pub happened_at: Timestamp,
    pub code: String,
    site_id: Id,
    actor_kind: String,
    actor_id: Option<Id>,
    account_id: Option<Id>,
    organization_id: Option<Id>,
    application_id: Option<Id>,
    request_id: Option<String>,
    pub digest: String,
    pub prev_hash: String,
    pub hash: String,
    pub salt: Option<String>,
    pub content: Option<String>,
    pub address: Option<String>,
    pub trace: Option<String>,
    /// Of the account that the row is about.
    erased_at: Option<Timestamp>,
}

impl Link {
    /// Whether what lay beside it may be gone: with the person, never before.
    pub(super) const fn may_be_bare(&self) -> bool {
        self.erased_at.is_some()
    }

    pub(super) fn as_new(&self) -> NewRow {
        NewRow {
            seq: self.seq,
            happened_at: self.happened_at,
            code: self.code.clone(),
            site_id: self.site_id,
            actor_kind: self.actor_kind.clone(),
            actor_id: self.actor_id,
            account_id: self.account_id,
            organization_id: self.organization_id,
            application_id: self.application_id,
            request_id: self.request_id.clone(),
            digest: self.digest.clone(),
            prev_hash: self.prev_hash.clone(),
            hash: String::new(),
            salt: String::new(),
            content: String::new(),
            address: None,
            trace: None,
        }
    }
}

/// One audit row as people read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub seq: i64,
    pub stream: Stream,
    pub happened_at: Timestamp,
    pub code: String,
    pub site: Id,
    pub actor_kind: String,
    pub actor: Option<Id>,
    pub account: Option<Id>,
    pub organization: Option<Id>,
    pub application: Option<Id>,
    pub request_id: Option<String>,
    /// The prompt that caused it, as an agent named it.
    pub trace: Option<String>,
    /// `address`, `user_agent` and `detail`; null once erased.
    pub personal: Value,
}

impl From<Link> for Row {
    fn from(link: Link) -> Self {
        let personal = link.content.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self {
            seq: link.seq,
            stream: Stream::of(link.seq),
            happened_at: link.happened_at,
            code: link.code,
            site: link.site_id,
            actor_kind: link.actor_kind,
            actor: link.actor_id,
            account: link.account_id,
            organization: link.organization_id,
            application: link.application_id,
            request_id: link.request_id,
            trace: link.trace,
            personal: personal.unwrap_or(Value::Null),
        }
    }
}

#[derive(FromRow)]
struct Counter {
    last_seq: i64,
    last_hash: String,
}

/// Takes the counter row of a stream and the next `count` numbers; the last of them, and the hash so far.
pub(super) async fn take_numbers(tx: &mut Tx, stream: Stream, count: i64) -> Result<Head, Error> {
    let take = sql("UPDATE change_counter SET last_seq = last_seq + ? WHERE id = ?");
    tx.execute(take.bind(count).bind(stream.counter())).await?;
    head(tx, stream).await
}

/// Ends the chain of a stream here, with rows that were written between these moments; keeps account of how far
/// behind the latest moment so far any row was.
pub(super) async fn set_head(
    tx: &mut Tx,
    stream: Stream,
    hash: &str,
    written: Option<(Timestamp, Timestamp)>,
) -> Result<(), Error> {
    let mut stmt = sql("UPDATE change_counter SET last_hash = ?").bind(hash);
    if let Some((earliest, latest)) = written {
        // Of one change too, whose notes may be of earlier moments.
        let apart = latest.as_millis() - earliest.as_millis();
        // The moment comes last: MySQL takes what was set before it for what is there.
        stmt = stmt
            .push(
                ", set_back = CASE WHEN latest_at - ? > set_back AND latest_at - ? > ? THEN latest_at - ? \
                 WHEN ? > set_back THEN ? ELSE set_back END, \
                 latest_at = CASE WHEN ? > latest_at THEN ? ELSE latest_at END",
            )
            .bind(earliest)
            .bind(earliest)
            .bind(apart)
            .bind(earliest)
            .bind(apart)
            .bind(apart)
            .bind(latest)
            .bind(latest);
    }
    tx.execute(stmt.push("WHERE id = ?").bind(stream.counter())).await.map(drop)
}

/// Where a chain ends.
pub async fn head(mut source: impl Source, stream: Stream) -> Result<Head, Error> {
    let counter = sql("SELECT last_seq, last_hash FROM change_counter WHERE id = ?");
    let counter: Counter = source.one(counter.bind(stream.counter())).await?;
    Ok(Head { seq: counter.last_seq, hash: counter.last_hash })
}

pub(super) async fn insert(tx: &mut Tx, rows: &[NewRow]) -> Result<(), Error> {
    for batch in rows.chunks(BATCH) {
        let mut chain =
            sql("INSERT INTO audit (seq, happened_at, code, site_id, actor_kind, actor_id, account_id, \
             organization_id, application_id, request_id, digest, prev_hash, hash) VALUES");
        let mut beside =
            sql("INSERT INTO audit_personal (seq, account_id, salt, content, address, trace) VALUES");
        for (i, row) in batch.iter().enumerate() {
            if i > 0 {
                chain = chain.push(",");
                beside = beside.push(",");
            }
            chain = values(chain, row);
            let personal = beside.push("(?, ?, ?, ?, ?, ?)").bind(row.seq).bind(row.account_id);
            beside = personal.bind(&row.salt).bind(&row.content).bind(&row.address).bind(&row.trace);
        }
        tx.execute(chain).await?;
        tx.execute(beside).await?;
    }
    Ok(())
}

fn values(stmt: Stmt, row: &NewRow) -> Stmt {
    stmt.push("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(row.seq)
        .bind(row.happened_at)
        .bind(&row.code)
        .bind(row.site_id)
        .bind(&row.actor_kind)
        .bind(row.actor_id)
        .bind(row.account_id)
        .bind(row.organization_id)
        .bind(row.application_id)
        .bind(&row.request_id)
        .bind(&row.digest)
        .bind(&row.prev_hash)
        .bind(&row.hash)
}

/// The hash of one row.
pub(super) async fn hash_of(mut source: impl Source, seq: i64) -> Result<Option<String>, Error> {
    let row: Option<(String,)> =
        source.optional(sql("SELECT hash FROM audit WHERE seq = ?").bind(seq)).await?;
    Ok(row.map(|(hash,)| hash))
}

/// The columns of [`Link`], ready for a `FROM`.
pub(in crate::audit) fn columns() -> Stmt {
    sql("SELECT a.seq, a.happened_at, a.code, a.site_id, a.actor_kind, a.actor_id, a.account_id, \
         a.organization_id, a.application_id, a.request_id, a.digest, a.prev_hash, a.hash, p.salt, p.content, \
         p.address, p.trace, (SELECT deleted_at FROM account WHERE account.id = a.account_id) AS erased_at")
}

pub(in crate::audit) fn select() -> Stmt {
    columns().push(WITH_PERSONAL)
}

/// The next rows of a stream after one of its numbers.
pub(super) async fn links(
    mut source: impl Source,
    stream: Stream,
    after: i64,
    limit: u32,
) -> Result<Vec<Link>, Error> {
    let stmt = select().push("WHERE a.seq > ? AND a.seq < ?").bind(after).bind(stream.ceiling());
    source.all(stmt.push("ORDER BY a.seq LIMIT ?").bind(limit)).await
}

/// Which rows somebody looks for; what is `None` may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    pub stream: Option<Stream>,
    pub code: Option<String>,
    /// The account that a row is about.
    pub account: Option<Id>,
    pub request_id: Option<String>,
    /// The prompt that caused it, as an agent named it.
    pub trace: Option<String>,
}

impl Sought {
    fn after(&self, stmt: Stmt, seq: i64) -> Stmt {
        let floor = self.stream.map_or(0, Stream::floor);
        stmt.push("WHERE a.seq > ?")
            .bind(seq.max(floor))
            .and_if(self.stream.map(Stream::ceiling), "a.seq < ?")
            .and_if(self.code.as_deref(), "a.code = ?")
            .and_if(self.account, "a.account_id = ?")
            .and_if(self.request_id.as_deref(), "a.request_id = ?")
            .and_if(self.trace.as_deref(), "p.trace = ?")
    }
}

/// The rows after number `after`, by number: those of the data plane behind the changes.
pub async fn tail(source: impl Source, after: i64, limit: u32) -> Result<Vec<Row>, Error> {
    tail_of(source, &Sought::default(), after, limit).await
}

/// Those of them that are sought.
pub async fn tail_of(
    mut source: impl Source,
    sought: &Sought,
    after: i64,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let stmt = sought.after(select(), after).push("ORDER BY a.seq LIMIT ?").bind(limit);
    let rows: Vec<Link> = source.all(stmt).await?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// The last `count` rows of both streams, oldest first.
pub async fn latest(source: impl Source, count: u32) -> Result<Vec<Row>, Error> {
    latest_of(source, &Sought::default(), count).await
}

/// The last `count` of those that are sought, oldest first.
pub async fn latest_of(mut source: impl Source, sought: &Sought, count: u32) -> Result<Vec<Row>, Error> {
    let mut parts: [Vec<Row>; 2] = Default::default();
    for (part, stream) in parts.iter_mut().zip(Stream::ALL) {
        if sought.stream.is_none_or(|one| one == stream) {
            let sought = Sought { stream: Some(stream), ..sought.clone() };
            let stmt = sought.after(select(), 0).push("ORDER BY a.seq DESC LIMIT ?").bind(count);
            let rows: Vec<Link> = source.all(stmt).await?;
            part.extend(rows.into_iter().map(Row::from));
        }
    }
    let mut rows = latest_first(parts, |row| row.happened_at);
    rows.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    rows.reverse();
    Ok(rows)
}

/// How many rows there are of those that are sought.
pub async fn count_of(mut source: impl Source, sought: &Sought) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*)").push(WITH_PERSONAL);
    let (count,): (i64,) = source.one(sought.after(stmt, 0)).await?;
    Ok(count)
}

/// Erases what lies beside the rows about an account; the chain holds what it held. What the person did
/// to others stays with the rows about those.
pub async fn erase(tx: &mut Tx, account: Id) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM audit_personal WHERE account_id = ?").bind(account)).await
}

/// When the oldest row of either stream was written.
pub async fn oldest(mut source: impl Source) -> Result<Option<Timestamp>, Error> {
    let mut oldest: Option<Timestamp> = None;
    for stream in Stream::ALL {
        let first = sql("SELECT happened_at FROM audit WHERE seq > ? AND seq < ? ORDER BY seq LIMIT 1");
        let first = first.bind(stream.floor()).bind(stream.ceiling());
        let first: Option<(Timestamp,)> = source.optional(first).await?;
        oldest = oldest.into_iter().chain(first.map(|(at,)| at)).min();
    }
    Ok(oldest)
}

/// The last row of those that a stream begins with and that were all written before `before`.
pub async fn last_before(
    mut source: impl Source,
    stream: Stream,
    before: Timestamp,
) -> Result<Option<Head>, Error> {
    let mut last: Option<Head> = None;
    loop {
        // By number and not by time: a clock that was set back must not tear a hole into the chain.
        let after = last.as_ref().map_or(stream.floor(), |last| last.seq);
        let some =
            sql("SELECT seq, happened_at, hash FROM audit WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?");
        let some = some.bind(after).bind(stream.ceiling()).bind(PIECE);
        let some: Vec<(i64, Timestamp, String)> = source.all(some).await?;
        let (count, old) = (some.len(), some.into_iter().take_while(|(_, at, _)| *at < before));
        let old: Vec<_> = old.collect();
        let is_end = old.len() < count || count == 0;
        if let Some((seq, _, hash)) = old.into_iter().next_back() {
            last = Some(Head { seq, hash });
        }
        if is_end {
            return Ok(last);
        }
    }
}

/// Where the chain of a stream begins.
pub(super) async fn first(mut source: impl Source, stream: Stream) -> Result<Option<i64>, Error> {
    let least = sql("SELECT MIN(seq) FROM audit WHERE seq > ? AND seq < ?");
    let least = least.bind(stream.floor()).bind(stream.ceiling());
    source.one(least).await.map(|(first,): (Option<i64>,)| first)
}

/// Asks the database whether it lets us remove rows, and removes none.
pub async fn may_remove(tx: &mut Tx) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM audit_personal WHERE seq < 0")).await?;
    tx.execute(sql("DELETE FROM audit WHERE seq < 0")).await.map(drop)
}

/// Removes some of the rows of a stream up to its number `to`, the oldest first; whether any are left.
pub async fn remove_some(tx: &mut Tx, to: i64) -> Result<bool, Error> {
    let first = first(&mut *tx, Stream::of(to)).await?;
    let Some(first) = first.filter(|first| *first <= to) else { return Ok(false) };
    let floor = Stream::of(to).floor();
    let bound = to.min(first + i64::from(PIECE) - 1);
    for delete in [
        "DELETE FROM audit_personal WHERE seq > ? AND seq <= ?",
        "DELETE FROM audit WHERE seq > ? AND seq <= ?",
    ] {
        tx.execute(sql(delete).bind(floor).bind(bound)).await?;
    }
    Ok(bound < to)
}
