//! The SQL of finding rows: one question, asked of each stream, about one range of one index.
//! Law: only the column of the filter that leads stands bare. The others are veiled by `COALESCE`, which changes
//! nothing of what they say and keeps a database from reading their index, as nought that is added keeps it from
//! reading the one of moments and then sorting. A lower and an upper bound for the number stand there once each.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::lead::{Lead, Stretch};
use super::{About, Found, Search, latest_first};
use crate::audit::store::{Link, Row, WITH_PERSONAL, columns, head, select};
use crate::audit::stream::Stream;
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Stmt, sql};

/// Rows of which something is known that lies beside them: there the index is.
const FROM_PERSONAL: &str = "FROM audit_personal p JOIN audit a ON a.seq = p.seq";

/// The rows of a site that are sought, the latest first.
pub async fn search(mut source: impl Source, site: Id, search: &Search, limit: u32) -> Result<Found, Error> {
    let codes = search.each_code();
    let mut parts: [Vec<Row>; 2] = Default::default();
    for (part, stream) in parts.iter_mut().zip(Stream::ALL) {
        if search.stream.is_none_or(|one| one == stream) {
            let stretch = search.whole(&mut source, site, stream, &codes).await?;
            let rows = latest(&mut source, stretch, limit).await?;
            part.extend(rows.into_iter().map(Row::from));
        }
    }
    Ok(Found::of(search, parts, limit))
}

/// The latest rows of a stretch.
async fn latest(mut source: impl Source, mut stretch: Stretch<'_>, limit: u32) -> Result<Vec<Link>, Error> {
    let codes = stretch.codes;
    if stretch.lead != Lead::Code || codes.len() < 2 {
        return source.all(stretch.page(limit)).await;
    }
    // Each of several codes is a range of its own, read to where the page is full without it. What is written
    // meanwhile is in none of them, or a page could have a row and lack one from before it.
    let end = head(&mut source, stretch.stream).await?.seq + 1;
    stretch.below = Some(stretch.below.map_or(end, |below| below.min(end)));
    let size = size(limit);
    let mut found: Vec<Link> = Vec::new();
    for code in codes.chunks(1) {
        stretch.codes = code;
        found.extend(source.all::<Link>(stretch.page(limit)).await?);
        found.sort_unstable_by_key(|row| Reverse(row.seq));
        found.truncate(size);
        if found.len() == size {
            stretch.above = found.last().map(|row| row.seq).or(stretch.above);
        }
    }
    Ok(found)
}

impl Search {
    /// How many there are on a site, or `most` where there are so many or more.
    pub async fn count(&self, mut source: impl Source, site: Id, most: u32) -> Result<u32, Error> {
        let codes = self.each_code();
        let mut count = 0;
        for stream in Stream::chosen(self.stream) {
            let stretch = self.whole(&mut source, site, stream, &codes).await?;
            let (found,): (i64,) = source.one(stretch.count(most)).await?;
            count += found;
        }
        Ok(u32::try_from(count).map_or(most, |count| count.min(most)))
    }

    /// At most `limit` of them behind the first `passed`, the latest first.
    pub async fn turned(
        &self,
        mut source: impl Source,
        site: Id,
        passed: u32,
        limit: u32,
    ) -> Result<Vec<Row>, Error> {
        let most = passed.saturating_add(limit);
        let codes = self.each_code();
        let mut parts: [Vec<(i64, Timestamp)>; 2] = Default::default();
        for (part, stream) in parts.iter_mut().zip(Stream::ALL) {
            if self.stream.is_none_or(|one| one == stream) {
                let stretch = self.whole(&mut source, site, stream, &codes).await?;
                *part = source.all(stretch.latest(sql("SELECT a.seq, a.happened_at"), most)).await?;
            }
        }
        let all = latest_first(parts, |(_, at)| *at).into_iter().map(|(seq, _)| seq);
        let page: Vec<i64> = all.skip(size(passed)).take(size(limit)).collect();
        let stmt = select().push("WHERE a.site_id = ?").bind(site);
        let rows: Vec<Link> = source.all(stmt.push("AND a.seq IN").list(page.iter().copied())).await?;
        let mut rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.seq, Row::from(row))).collect();
        // One that was pruned meanwhile is not there any more.
        Ok(page.iter().filter_map(|seq| rows.remove(seq)).collect())
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Stretch<'_> {
    /// The latest of them.
    pub(super) fn page(&self, most: u32) -> Stmt {
        self.latest(columns(), most)
    }

    fn count(&self, most: u32) -> Stmt {
        self.latest(sql("SELECT COUNT(*) FROM (SELECT a.seq"), most).push(") AS counted")
    }

    /// What `select` says of the latest of them.
    fn latest(&self, select: Stmt, most: u32) -> Stmt {
        let stmt = select.push(self.by_place(WITH_PERSONAL, FROM_PERSONAL));
        let stmt = self.judged(stmt.push("WHERE a.site_id = ?").bind(self.site));
        let stmt = stmt
            .and_if(self.above, self.by_place("a.seq > ?", "p.seq > ?"))
            .and_if(self.below, self.by_place("a.seq < ?", "p.seq < ?"));
        stmt.push(self.by_place("ORDER BY a.seq DESC LIMIT ?", "ORDER BY p.seq DESC LIMIT ?")).bind(most)
    }

    /// Where the index of the filter that leads is: with the rows, or with what lies beside them.
    const fn by_place(&self, rows: &'static str, personal: &'static str) -> &'static str {
        if matches!(self.lead, Lead::Trace | Lead::Address) { personal } else { rows }
    }

    fn judged(&self, stmt: Stmt) -> Stmt {
        let Search { account, agent, organization, application, address, request_id, trace, .. } =
            self.search;
        let as_led = |lead: Lead, bare: &'static str, veiled: &'static str| {
            if self.lead == lead { bare } else { veiled }
        };
        let mut stmt = self.by_code(stmt);
        if let Some(id) = self.search.concerning {
            stmt = stmt.push("AND (a.account_id = ?").bind(id).push("OR a.actor_id = ?)").bind(id);
        }
        if agent.is_some() {
            stmt = stmt.push("AND a.actor_kind = 'agent'");
        }
        if let Some(about) = self.search.about {
            stmt = stmt.push(about.piece());
        }
        stmt.and_if(*account, as_led(Lead::Account, "a.account_id = ?", "COALESCE(a.account_id, '') = ?"))
            .and_if(*agent, as_led(Lead::Agent, "a.actor_id = ?", "COALESCE(a.actor_id, '') = ?"))
            .and_if(
                *organization,
                as_led(Lead::Organization, "a.organization_id = ?", "COALESCE(a.organization_id, '') = ?"),
            )
            .and_if(
                *application,
                as_led(Lead::Application, "a.application_id = ?", "COALESCE(a.application_id, '') = ?"),
            )
            .and_if(address.as_deref(), as_led(Lead::Address, "p.address = ?", "COALESCE(p.address, '') = ?"))
            .and_if(
                request_id.as_deref(),
                as_led(Lead::Request, "a.request_id = ?", "COALESCE(a.request_id, '') = ?"),
            )
            .and_if(trace.as_deref(), as_led(Lead::Trace, "p.trace = ?", "COALESCE(p.trace, '') = ?"))
            .and_if(self.search.since, "a.happened_at + 0 >= ?")
            .and_if(self.search.until, "a.happened_at + 0 < ?")
    }

    fn by_code(&self, stmt: Stmt) -> Stmt {
        match (self.codes, self.lead) {
            ([], _) => stmt,
            ([code], Lead::Code) => stmt.push("AND a.code = ?").bind(*code),
            (codes, Lead::Code) => stmt.push("AND a.code IN").list(codes.iter().copied()),
            (codes, _) => stmt.push("AND COALESCE(a.code, '') IN").list(codes.iter().copied()),
        }
    }
}

impl About {
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

/// How far behind the latest moment so far any row of a stream was written.
pub(super) fn set_back(stream: Stream) -> Stmt {
    sql("SELECT set_back FROM change_counter WHERE id = ?").bind(stream.counter())
}

/// When the rows of these numbers were written, as far as they are there.
pub(super) fn numbered(seqs: impl Iterator<Item = i64>) -> Stmt {
    sql("SELECT seq, happened_at FROM audit WHERE seq IN").list(seqs).push("ORDER BY seq")
}

/// One row of a site.
pub async fn one(mut source: impl Source, site: Id, seq: i64) -> Result<Option<Row>, Error> {
    let stmt = select().push("WHERE a.site_id = ? AND a.seq = ?").bind(site).bind(seq);
    let row: Option<Link> = source.optional(stmt).await?;
    Ok(row.map(Row::from))
}
