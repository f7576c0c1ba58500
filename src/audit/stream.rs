//! The two streams of the trail: what was changed, and what the data plane decided about requests.
//!
//! Law: each is a chain of its own, with its own counter row, and a number belongs to one stream for good. The
//! number is hashed, and stands in signed heads and tombstones, so nothing of one stream passes for anything of the
//! other. What was written before there were two stays in the first one, as it was hashed.

use std::fmt;

use serde::Serialize;

/// Where the numbers of the data plane begin: more changes than any store ever sees, and few enough digits for
/// JSON and for every spreadsheet.
const DATA_PLANE: i64 = 10_000_000_000_000;

/// One of the two chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What changed, each row in the transaction of its change.
    Changes,
    /// Decisions about requests, many rows in one transaction.
    DataPlane,
}

impl Stream {
    pub const ALL: [Self; 2] = [Self::Changes, Self::DataPlane];

    /// The stream that a number belongs to.
    #[must_use]
    pub const fn of(seq: i64) -> Self {
        if seq < DATA_PLANE { Self::Changes } else { Self::DataPlane }
    }

    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::DataPlane => "data_plane",
        }
    }

    /// The stream of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    /// This one, or both where none is named.
    pub fn chosen(one: Option<Self>) -> impl Iterator<Item = Self> + Send {
        Self::ALL.into_iter().filter(move |stream| one.is_none_or(|one| one == *stream))
    }

    /// The number of the row before the first: where a stream without rows ends.
    #[must_use]
    pub const fn floor(self) -> i64 {
        match self {
            Self::Changes => 0,
            Self::DataPlane => DATA_PLANE,
        }
    }

    /// The number of its first row.
    #[must_use]
    pub const fn first(self) -> i64 {
        self.floor() + 1
    }

    /// Greater than any of its numbers.
    pub(super) const fn ceiling(self) -> i64 {
        match self {
            Self::Changes => DATA_PLANE,
            Self::DataPlane => i64::MAX,
        }
    }

    /// Which row of the counters is its own.
    pub(super) const fn counter(self) -> i64 {
        match self {
            Self::Changes => 1,
            Self::DataPlane => 2,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changes => "changes",
            Self::DataPlane => "data plane",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_one_stream_and_every_reader_holds_it() {
        for stream in Stream::ALL {
            assert_eq!(Stream::named(stream.name()), Some(stream));
            assert_eq!((Stream::of(stream.floor()), Stream::of(stream.first())), (stream, stream));
            assert_eq!(Stream::of(stream.ceiling() - 1), stream);
        }
        assert_eq!(Stream::named("data plane"), None);
        // What JSON keeps exactly is 53 bits, and what a sheet keeps is 15 digits.
        assert!(2 * DATA_PLANE < 1 << 53 && DATA_PLANE.to_string().len() <= 15);
        assert_ne!(Stream::Changes.counter(), Stream::DataPlane.counter());
        assert_eq!(Stream::chosen(None).count(), 2);
        assert_eq!(Stream::chosen(Some(Stream::DataPlane)).collect::<Vec<_>>(), [Stream::DataPlane]);
    }

    #[test]
    fn the_migration_begins_where_the_numbers_do() {
        let file = include_str!("../../migrations/0038_audit_stream.sql");
        assert_eq!(file.matches(&format!("(2, {DATA_PLANE}")).count(), 2, "the counter and the cursor");
    }
}
