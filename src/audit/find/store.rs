//! The SQL of finding rows: one question, asked of each stream.
//! Law: a stream is a range of numbers, so each question reads the indexes that end with the number, and no page
//! costs more than its rows of both.

use std::collections::HashMap;

use super::{About, Found, Search, latest_first};
use crate::audit::store::{Link, Row, select};
use crate::audit::stream::Stream;
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Stmt, sql};

/// Only a stream's rows, and of those only what comes before a number. A bound on one side where one is enough: SQLite
/// takes two for a narrow range, and reads all of the stream where days would have been few.
fn within(stmt: Stmt, stream: Stream, before: Option<i64>) -> Stmt {
    match stream {
        Stream::Changes => {
            let before = before.map_or(stream.ceiling(), |before| before.min(stream.ceiling()));
            stmt.push("AND a.seq < ?").bind(before)
        }
        Stream::DataPlane => stmt.push("AND a.seq > ?").bind(stream.floor()).and_if(before, "a.seq < ?"),
    }
}

/// The rows of a site that are sought, the latest first.
pub async fn search(mut source: impl Source, site: Id, search: &Search, limit: u32) -> Result<Found, Error> {
    let mut parts: [Vec<Row>; 2] = Default::default();
    for (part, stream) in parts.iter_mut().zip(Stream::ALL) {
        let Some(stmt) = search.of_stream(select(), site, stream) else { continue };
        let rows: Vec<Link> = source.all(stmt.push("ORDER BY a.seq DESC LIMIT ?").bind(limit)).await?;
        part.extend(rows.into_iter().map(Row::from));
    }
    Ok(Found::of(search, parts, limit))
}

impl Search {
    fn narrowed(&self, stmt: Stmt, site: Id) -> Stmt {
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
    }

    /// What is found of one of the streams that are asked for, as `select` asks for it; nothing of one that is not.
    fn of_stream(&self, select: Stmt, site: Id, stream: Stream) -> Option<Stmt> {
        let is_asked = self.stream.is_none_or(|one| one == stream);
        is_asked.then(|| within(self.narrowed(select, site), stream, self.before.of(stream)))
    }

    /// How many there are on a site, or `most` where there are so many or more.
    pub async fn count(&self, mut source: impl Source, site: Id, most: u32) -> Result<u32, Error> {
        let mut count = 0;
        for stream in Stream::ALL {
            let select = sql("SELECT COUNT(*) FROM (SELECT a.seq FROM audit a \
                 LEFT JOIN audit_personal p ON p.seq = a.seq");
            let Some(stmt) = self.of_stream(select, site, stream) else { continue };
            let stmt = stmt.push("ORDER BY a.seq DESC LIMIT ?").bind(most).push(") AS counted");
            let (found,): (i64,) = source.one(stmt).await?;
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
        let mut parts: [Vec<(i64, Timestamp)>; 2] = Default::default();
        for (part, stream) in parts.iter_mut().zip(Stream::ALL) {
            let select = sql("SELECT a.seq, a.happened_at FROM audit a \
                 LEFT JOIN audit_personal p ON p.seq = a.seq");
            let Some(stmt) = self.of_stream(select, site, stream) else { continue };
            *part = source.all(stmt.push("ORDER BY a.seq DESC LIMIT ?").bind(most)).await?;
        }
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let all = latest_first(parts, |(_, at)| *at).into_iter().map(|(seq, _)| seq);
        let page: Vec<i64> = all.skip(size(passed)).take(size(limit)).collect();
        let stmt = select().push("WHERE a.site_id = ?").bind(site);
        let rows: Vec<Link> = source.all(stmt.push("AND a.seq IN").list(page.iter().copied())).await?;
        let mut rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.seq, Row::from(row))).collect();
        // One that was pruned meanwhile is not there any more.
        Ok(page.iter().filter_map(|seq| rows.remove(seq)).collect())
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

/// One row of a site.
pub async fn one(mut source: impl Source, site: Id, seq: i64) -> Result<Option<Row>, Error> {
    let stmt = select().push("WHERE a.site_id = ? AND a.seq = ?").bind(site).bind(seq);
    let row: Option<Link> = source.optional(stmt).await?;
    Ok(row.map(Row::from))
}
