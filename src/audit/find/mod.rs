//! Finding rows of both streams, and reading them as one list, the latest first.
//!
//! Law: within a stream the order is that of its numbers, between the streams that of the time. A list goes on from
//! where each of them was left, so that nothing is told twice and nothing is left out, whatever is written meanwhile.

mod lead;
mod moments;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;

use super::store::Row;
use super::stream::Stream;
use crate::base::{Id, Timestamp};

pub use store::{one, search};

/// What those who watch over a site look for; what is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    pub stream: Option<Stream>,
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
    /// Only rows before these numbers.
    pub before: Before,
}

/// How far somebody has read back: only what comes before these numbers, one of each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
pub struct Before {
    changes: Option<i64>,
    data_plane: Option<i64>,
}

impl Before {
    /// The number of a stream, where one is named.
    #[must_use]
    pub const fn of(self, stream: Stream) -> Option<i64> {
        match stream {
            Stream::Changes => self.changes,
            Stream::DataPlane => self.data_plane,
        }
    }

    /// The same, with this number in its stream.
    #[must_use]
    pub const fn with(self, seq: i64) -> Self {
        match Stream::of(seq) {
            Stream::Changes => Self { changes: Some(seq), ..self },
            Stream::DataPlane => Self { data_plane: Some(seq), ..self },
        }
    }

    /// Reads the text of one: a number, or one of each stream with `-` between them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut read = Self::default();
        for number in text.split('-') {
            let seq = number.parse::<i64>().ok().filter(|seq| *seq > 0)?;
            if read.of(Stream::of(seq)).is_some() {
                return None;
            }
            read = read.with(seq);
        }
        Some(read)
    }
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = Stream::ALL.into_iter().filter_map(|stream| self.of(stream));
        for (at, seq) in numbers.enumerate() {
            let between = if at > 0 { "-" } else { "" };
            write!(f, "{between}{seq}")?;
        }
        Ok(())
    }
}

/// Rows that were found, the latest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub rows: Vec<Row>,
    /// For each of them where whoever read it has come to.
    pub ends: Vec<Before>,
}

impl Found {
    /// What each stream has, as one list of so many.
    fn of(search: &Search, parts: [Vec<Row>; 2], limit: u32) -> Self {
        let mut end = search.before;
        for (part, stream) in parts.iter().zip(Stream::ALL) {
            let is_asked = search.stream.is_none_or(|one| one == stream);
            if is_asked && end.of(stream).is_none() {
                // What is written from now on is newer than all of it, also where nothing of this stream is told yet.
                end = end.with(part.first().map_or(stream.floor(), |row| row.seq) + 1);
            }
        }
        let mut rows = latest_first(parts, |row| row.happened_at);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let mut ends = Vec::with_capacity(rows.len());
        for row in &rows {
            end = end.with(row.seq);
            ends.push(end);
        }
        Self { rows, ends }
    }
}

/// The rows of both streams, each with the latest first, as one such list.
pub(super) fn latest_first<T>(parts: [Vec<T>; 2], at: impl Fn(&T) -> Timestamp) -> Vec<T> {
    let [changes, decisions] = parts;
    let mut all = Vec::with_capacity(changes.len() + decisions.len());
    let (mut changes, mut decisions) = (changes.into_iter().peekable(), decisions.into_iter().peekable());
    loop {
        let is_change = match (changes.peek(), decisions.peek()) {
            (Some(change), Some(decision)) => at(change) > at(decision),
            (change, _) => change.is_some(),
        };
        let next = if is_change { changes.next() } else { decisions.next() };
        let Some(next) = next else { return all };
        all.push(next);
    }
}

/// The rows of both streams, each with the oldest first, as one such list.
#[must_use]
pub fn oldest_first(mut parts: [Vec<Row>; 2]) -> Vec<Row> {
    for part in &mut parts {
        part.reverse();
    }
    let mut all = latest_first(parts, |row| row.happened_at);
    all.reverse();
    all
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
}
