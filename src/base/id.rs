//! Identifiers: `Id` (UUIDv7, made by us) and `Number` (the integer some wires show).
//!
//! Law: an id is made from the injected clock and random source, never by the database, so that
//! one SQL text serves every database and tests can predict it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Random, Timestamp};

/// The identity of a row: a UUIDv7, written in lower-case hyphenated form everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Uuid);

impl Id {
    /// A new id that sorts after every id made in an earlier millisecond.
    #[must_use]
    pub fn new(now: Timestamp, random: &dyn Random) -> Self {
        let mut tail = [0u8; 10];
        random.fill(&mut tail);
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
    }

    /// The length of an id's text.
    pub const LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

    /// The text of the id, without the machinery of formatting.
    pub fn encode(self, buffer: &mut [u8; Self::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The id as 128 bits, for maps and digests.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The inverse of [`Id::as_u128`].
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

/// The text was not a UUID in hyphenated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id: expected a UUID such as 0190b8a2-7c1e-7f00-8000-000000000000")
    }
}

impl std::error::Error for NotAnId {}

impl FromStr for Id {
    type Err = NotAnId;

    /// Accepts only the one spelling that we write: one id, one text, so that text can be a key.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Self(Uuid::try_parse(text).map_err(|_| NotAnId)?);
        let mut buffer = Uuid::encode_buffer();
        if &*id.0.hyphenated().encode_lower(&mut buffer) == text { Ok(id) } else { Err(NotAnId) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The integer that some wires show as an id. Leased from a counter row in blocks, so it is
/// unique and roughly ascending, but has gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(pub i64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn ids_sort_by_the_moment_they_were_made() {
        let random = SeededRandom::new(1);
        let early = Id::new(Timestamp::from_millis(1_000), &random);
        let late = Id::new(Timestamp::from_millis(2_000), &random);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn an_id_has_exactly_one_spelling() {
        let text = "0190b8a2-7c1e-7f00-8000-00000000000a";
        assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
        for other in [&text.to_uppercase(), &text.replace('-', ""), &format!("{{{text}}}"), "", "7"] {
            assert_eq!(other.parse::<Id>(), Err(NotAnId), "{other}");
        }
    }
}
