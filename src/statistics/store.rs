//! The SQL of statistics: counters, the cursor, and addresses.
//! Law: a cursor moves only from where its reader found it; whoever moved it holds its row until the end of
//! the transaction, and only then adds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::audit::Stream;
use crate::base::{Id, Timestamp};
use crate::store::{Db, Error, FromRow, Source, Tx, sql};

/// How many rows one INSERT carries.
const BATCH: usize = 100;

/// How long a counter counts, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    /// Of a site.
    Day,
    /// Of a site.
    Hour,
    /// The day of an organization.
    Organization,
}

impl Span {
    const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Organization => "org",
        }
    }
}

/// What a counter counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub site: Id,
    pub organization: Option<Id>,
    pub span: Span,
    pub starts_at: Timestamp,
    pub kind: String,
    pub detail: String,
}

/// A counter as it is read.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Counter {
    pub starts_at: Timestamp,
    pub kind: String,
    pub detail: String,
    pub amount: i64,
}

/// Of which site or organization.
fn whose(organization: Option<Id>) -> String {
    organization.map_or_else(String::new, |id| id.to_string())
}

/// Which row is the cursor of a stream.
const fn row_of(stream: Stream) -> i64 {
    match stream {
        Stream::Changes => 1,
        Stream::DataPlane => 2,
    }
}

/// The number of the last entry of a stream that was counted.
pub(super) async fn cursor(mut src: impl Source, stream: Stream) -> Result<i64, Error> {
    let stmt = sql("SELECT last_seq FROM statistic_cursor WHERE id = ?").bind(row_of(stream));
    let (seq,): (i64,) = src.one(stmt).await?;
    Ok(seq)
}

/// Moves the cursor of the stream that both numbers are of; 0 where it is not where it was.
pub(super) async fn advance(tx: &mut Tx, from: i64, to: i64) -> Result<u64, Error> {
    let stmt = sql("UPDATE statistic_cursor SET last_seq = ? WHERE id = ? AND last_seq = ?");
    tx.execute(stmt.bind(to).bind(row_of(Stream::of(from))).bind(from)).await
}

/// Adds to counters.
pub(super) async fn add(tx: &mut Tx, amounts: &BTreeMap<Key, i64>) -> Result<(), Error> {
    let all: Vec<(&Key, &i64)> = amounts.iter().collect();
    for batch in all.chunks(BATCH) {
        let mut stmt = sql(
            "INSERT INTO statistic (site_id, organization_id, span, starts_at, kind, detail, amount) VALUES",
        );
        for (at, (key, amount)) in batch.iter().enumerate() {
            let next = if at > 0 {
                stmt.push(", (?, ?, ?, ?, ?, ?, ?)")
            } else {
                stmt.push("(?, ?, ?, ?, ?, ?, ?)")
            };
            let next = next.bind(key.site).bind(whose(key.organization)).bind(key.span.name());
            let next = next.bind(key.starts_at).bind(key.kind.as_str()).bind(key.detail.as_str());
            stmt = next.bind(**amount);
        }
        let keys = &["site_id", "organization_id", "span", "starts_at", "kind", "detail"];
        tx.execute(stmt.upsert_adding(keys, "statistic", &["amount"])).await?;
    }
    Ok(())
}

/// The counters of a site or an organization between two moments, of these kinds, or of all.
pub(super) async fn amounts(
    mut src: impl Source,
    (site, organization): (Id, Option<Id>),
    (span, when): (Span, Range<Timestamp>),
    kinds: &[&'static str],
) -> Result<Vec<Counter>, Error> {
    let mut stmt = sql("SELECT starts_at, kind, detail, amount FROM statistic WHERE site_id = ? AND \
                        organization_id = ? AND span = ? AND starts_at >= ? AND starts_at < ?")
    .bind(site)
    .bind(whose(organization))
    .bind(span.name())
    .bind(when.start)
    .bind(when.end);
    if !kinds.is_empty() {
        stmt = stmt.push("AND kind IN").list(kinds.iter().copied());
    }
    src.all(stmt.push("ORDER BY starts_at, kind, detail")).await
}

/// The addresses that are counted on a day.
pub(super) async fn known_addresses(
    mut src: impl Source,
    site: Id,
    day: Timestamp,
) -> Result<BTreeSet<String>, Error> {
    let stmt = sql("SELECT address FROM statistic_address WHERE site_id = ? AND starts_at = ?");
    let all: Vec<(String,)> = src.all(stmt.bind(site).bind(day)).await?;
    Ok(all.into_iter().map(|(address,)| address).collect())
}

/// Adds to what came from an address.
pub(super) async fn add_address(
    tx: &mut Tx,
    site: Id,
    day: Timestamp,
    address: &str,
    amount: i64,
) -> Result<(), Error> {
    let stmt = sql("INSERT INTO statistic_address (site_id, starts_at, address, amount) VALUES (?, ?, ?, ?)");
    let stmt = stmt.bind(site).bind(day).bind(address).bind(amount);
    let keys = &["site_id", "starts_at", "address"];
    tx.execute(stmt.upsert_adding(keys, "statistic_address", &["amount"])).await.map(drop)
}

/// How much came from which address, on each day from a moment on.
pub(super) async fn addresses(
    mut src: impl Source,
    site: Id,
    since: Timestamp,
) -> Result<Vec<(String, i64)>, Error> {
    let stmt = sql("SELECT address, amount FROM statistic_address WHERE site_id = ? AND starts_at >= ?");
    src.all(stmt.bind(site).bind(since)).await
}

/// What was last counted of those who are there, and when.
pub(super) async fn kept_census(
    mut src: impl Source,
    site: Id,
) -> Result<Option<(Timestamp, String)>, Error> {
    src.optional(sql("SELECT counted_at, counts FROM statistic_census WHERE site_id = ?").bind(site)).await
}

/// Keeps what was counted, in the place of what was before.
pub(super) async fn keep_census(db: &Db, site: Id, at: Timestamp, counts: &str) -> Result<(), Error> {
    let stmt = sql("INSERT INTO statistic_census (site_id, counted_at, counts) VALUES (?, ?, ?)");
    let stmt = stmt.bind(site).bind(at).bind(counts);
    let mut tx = db.begin().await?;
    tx.execute(stmt.upsert(&["site_id"], &["counted_at", "counts"])).await?;
    tx.commit().await
}

/// Forgets the counters of a span before a moment.
pub(super) async fn forget(tx: &mut Tx, span: Span, before: Timestamp) -> Result<u64, Error> {
    let stmt = sql("DELETE FROM statistic WHERE span = ? AND starts_at < ?");
    tx.execute(stmt.bind(span.name()).bind(before)).await
}

/// Forgets the addresses of days before a moment.
pub(super) async fn forget_addresses(tx: &mut Tx, before: Timestamp) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM statistic_address WHERE starts_at < ?").bind(before)).await
}
