//! The audit tables: the chain, and what lies beside it.
//!
//! Law: rows are inserted and read; nothing here changes one. Rows leave by age only, oldest first; what
//! lies beside them leaves with its person.

use serde::Serialize;
use serde_json::Value;

use super::chain::Head;
use crate::base::{Id, Timestamp};
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// How many rows one INSERT carries: SQLite's and PostgreSQL's caps on parameters are far off.
const BATCH: usize = 100;
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
pub(super) struct Link {
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

/// Takes the counter row and the next `count` numbers; the last of them, and the hash so far.
pub(super) async fn take_numbers(tx: &mut Tx, count: i64) -> Result<Head, Error> {
    tx.execute(sql("UPDATE change_counter SET last_seq = last_seq + ? WHERE id = 1").bind(count)).await?;
    head(tx).await
}

pub(super) async fn set_head(tx: &mut Tx, hash: &str) -> Result<(), Error> {
    tx.execute(sql("UPDATE change_counter SET last_hash = ? WHERE id = 1").bind(hash)).await.map(drop)
}

/// Where the chain ends.
pub async fn head(mut source: impl Source) -> Result<Head, Error> {
    let counter: Counter =
        source.one(sql("SELECT last_seq, last_hash FROM change_counter WHERE id = 1")).await?;
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

fn select() -> Stmt {
    sql("SELECT a.seq, a.happened_at, a.code, a.site_id, a.actor_kind, a.actor_id, a.account_id, \
         a.organization_id, a.application_id, a.request_id, a.digest, a.prev_hash, a.hash, p.salt, p.content, \
         p.address, p.trace, (SELECT deleted_at FROM account WHERE account.id = a.account_id) AS erased_at \
         FROM audit a LEFT JOIN audit_personal p ON p.seq = a.seq")
}

pub(super) async fn links(mut source: impl Source, after: i64, limit: u32) -> Result<Vec<Link>, Error> {
    source.all(select().push("WHERE a.seq > ? ORDER BY a.seq LIMIT ?").bind(after).bind(limit)).await
}

/// Which rows somebody looks for; what is `None` may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    pub code: Option<String>,
    /// The account that a row is about.
    pub account: Option<Id>,
    pub request_id: Option<String>,
    /// The prompt that caused it, as an agent named it.
    pub trace: Option<String>,
}

impl Sought {
    fn after(&self, seq: i64) -> Stmt {
        self.narrow(select().push("WHERE a.seq > ?").bind(seq))
    }

    fn narrow(&self, stmt: Stmt) -> Stmt {
        stmt.and_if(self.code.as_deref(), "a.code = ?")
            .and_if(self.account, "a.account_id = ?")
            .and_if(self.request_id.as_deref(), "a.request_id = ?")
            .and_if(self.trace.as_deref(), "p.trace = ?")
    }
}

/// What those who watch over a site look for; what is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Any of these.
    pub codes: Vec<String>,
    /// The account that a row is about.
    pub account: Option<Id>,
    /// Whom a row is about, or who did it.
    pub concerning: Option<Id>,
    pub about: Option<About>,
    /// The agent token that did it.
    pub agent: Option<Id>,
    pub organization: Option<Id>,
    pub application: Option<Id>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub trace: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only rows before this number.
    pub before: Option<i64>,
}

impl Search {
    fn narrow(&self, stmt: Stmt, site: Id) -> Stmt {
        let mut stmt = stmt.push("WHERE a.site_id = ?").bind(site);
        if !self.codes.is_empty() {
            stmt = stmt.push("AND a.code IN").list(self.codes.iter().map(String::as_str));
        }
        if self.agent.is_some() {
            stmt = stmt.push("AND a.actor_kind = 'agent'");
        }
        if let Some(id) = self.concerning {
            stmt = stmt.push("AND (a.account_id = ?").bind(id).push("OR a.actor_id = ?)").bind(id);
        }
        if let Some(about) = self.about {
            stmt = stmt.push(about.piece());
        }
        stmt.and_if(self.account, "a.account_id = ?")
            .and_if(self.agent, "a.actor_id = ?")
            .and_if(self.organization, "a.organization_id = ?")
            .and_if(self.application, "a.application_id = ?")
            .and_if(self.address.as_deref(), "p.address = ?")
            .and_if(self.request_id.as_deref(), "a.request_id = ?")
            .and_if(self.trace.as_deref(), "p.trace = ?")
            .and_if(self.since, "a.happened_at >= ?")
            .and_if(self.until, "a.happened_at < ?")
            .and_if(self.before, "a.seq < ?")
    }

    /// How many there are on a site, or `most` where there are so many or more.
    pub async fn count(&self, mut source: impl Source, site: Id, most: u32) -> Result<u32, Error> {
        let stmt = sql(
            "SELECT COUNT(*) FROM (SELECT a.seq FROM audit a LEFT JOIN audit_personal p ON p.seq = a.seq",
        );
        let stmt =
            self.narrow(stmt, site).push("ORDER BY a.seq DESC LIMIT ?").bind(most).push(") AS counted");
        let (found,): (i64,) = source.one(stmt).await?;
        Ok(u32::try_from(found).unwrap_or(most))
    }

    /// At most `limit` of them behind the first `passed`, the latest first.
    pub async fn turned(
        &self,
        mut source: impl Source,
        site: Id,
        passed: u32,
        limit: u32,
    ) -> Result<Vec<Row>, Error> {
        let stmt = self.narrow(select(), site).push("ORDER BY a.seq DESC LIMIT ?").bind(limit);
        let rows: Vec<Link> = source.all(stmt.push("OFFSET ?").bind(passed)).await?;
        Ok(rows.into_iter().map(Row::from).collect())
    }
}

/// The rows of a site that are sought, the latest first.
pub async fn search(
    mut source: impl Source,
    site: Id,
    search: &Search,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let stmt = search.narrow(select(), site).push("ORDER BY a.seq DESC LIMIT ?").bind(limit);
    let rows: Vec<Link> = source.all(stmt).await?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// What kind of thing a row is about: the first that it names, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Account,
    Organization,
    Application,
    Nothing,
}

impl About {
    /// Its name in the trail's own entries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Organization => "organization",
            Self::Application => "application",
            Self::Nothing => "nothing",
        }
    }

    const fn piece(self) -> &'static str {
        match self {
            Self::Account => "AND a.account_id IS NOT NULL",
            Self::Organization => "AND a.account_id IS NULL AND a.organization_id IS NOT NULL",
            Self::Application => {
                "AND a.account_id IS NULL AND a.organization_id IS NULL AND a.application_id IS NOT NULL"
            }
            Self::Nothing => {
                "AND a.account_id IS NULL AND a.organization_id IS NULL AND a.application_id IS NULL"
            }
        }
    }
}

/// One row of a site.
pub async fn one(mut source: impl Source, site: Id, seq: i64) -> Result<Option<Row>, Error> {
    let stmt = select().push("WHERE a.site_id = ? AND a.seq = ?").bind(site).bind(seq);
    let row: Option<Link> = source.optional(stmt).await?;
    Ok(row.map(Row::from))
}

/// The rows after number `after`, oldest first.
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
    let rows: Vec<Link> = source.all(sought.after(after).push("ORDER BY a.seq LIMIT ?").bind(limit)).await?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// The last `count` rows, oldest first.
pub async fn latest(source: impl Source, count: u32) -> Result<Vec<Row>, Error> {
    latest_of(source, &Sought::default(), count).await
}

/// The last `count` of those that are sought, oldest first.
pub async fn latest_of(mut source: impl Source, sought: &Sought, count: u32) -> Result<Vec<Row>, Error> {
    let stmt = sought.after(0).push("ORDER BY a.seq DESC LIMIT ?").bind(count);
    let mut rows: Vec<Link> = source.all(stmt).await?;
    rows.reverse();
    Ok(rows.into_iter().map(Row::from).collect())
}

/// How many rows there are of those that are sought.
pub async fn count_of(mut source: impl Source, sought: &Sought) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*) FROM audit a LEFT JOIN audit_personal p ON p.seq = a.seq");
    let (count,): (i64,) = source.one(sought.narrow(stmt.push("WHERE a.seq > 0"))).await?;
    Ok(count)
}

/// Erases what lies beside the rows about an account; the chain holds what it held. What the person did
/// to others stays with the rows about those.
pub async fn erase(tx: &mut Tx, account: Id) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM audit_personal WHERE account_id = ?").bind(account)).await
}

/// When the oldest row was written.
pub async fn oldest(mut source: impl Source) -> Result<Option<Timestamp>, Error> {
    let row: Option<(Timestamp,)> =
        source.optional(sql("SELECT happened_at FROM audit ORDER BY seq LIMIT 1")).await?;
    Ok(row.map(|(at,)| at))
}

/// The last row of those that the chain begins with and that were all written before `before`.
pub async fn last_before(mut source: impl Source, before: Timestamp) -> Result<Option<Head>, Error> {
    let mut last: Option<Head> = None;
    loop {
        // By number and not by time: a clock that was set back must not tear a hole into the chain.
        let after = last.as_ref().map_or(0, |last| last.seq);
        let some = sql("SELECT seq, happened_at, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?");
        let some: Vec<(i64, Timestamp, String)> = source.all(some.bind(after).bind(PIECE)).await?;
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

/// Where the chain begins.
pub(super) async fn first(mut source: impl Source) -> Result<Option<i64>, Error> {
    source.one(sql("SELECT MIN(seq) FROM audit")).await.map(|(first,): (Option<i64>,)| first)
}

/// Asks the database whether it lets us remove rows, and removes none.
pub async fn may_remove(tx: &mut Tx) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM audit_personal WHERE seq < 0")).await?;
    tx.execute(sql("DELETE FROM audit WHERE seq < 0")).await.map(drop)
}

/// Removes some of the rows up to number `to`, the oldest first; whether any are left.
pub async fn remove_some(tx: &mut Tx, to: i64) -> Result<bool, Error> {
    let Some(first) = first(&mut *tx).await?.filter(|first| *first <= to) else { return Ok(false) };
    let bound = to.min(first + i64::from(PIECE) - 1);
    tx.execute(sql("DELETE FROM audit_personal WHERE seq <= ?").bind(bound)).await?;
    tx.execute(sql("DELETE FROM audit WHERE seq <= ?").bind(bound)).await?;
    Ok(bound < to)
}
