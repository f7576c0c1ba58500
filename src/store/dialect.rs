//! The places where the three databases differ: placeholders, upsert, and words for types.
//!
//! Law: nothing outside `store` asks which database it talks to.

use std::fmt::Write as _;

/// Which database a [`super::Db`] talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// Writes the `number`th placeholder, counted from 1.
    pub(super) fn placeholder(self, out: &mut String, number: usize) {
        match self {
            Self::Sqlite | Self::MySql => out.push('?'),
            Self::Postgres => {
                let _ = write!(out, "${number}");
            }
        }
    }

    /// What follows an `INSERT … VALUES (…)` so that a row with the same key is updated instead.
    pub(super) fn on_conflict(self, keys: &[&str]) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("ON CONFLICT ({}) DO UPDATE SET", keys.join(", ")),
            Self::MySql => "ON DUPLICATE KEY UPDATE".to_owned(),
        }
    }

    /// `column = the value that was to be inserted`.
    pub(super) fn take_new(self, column: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("{column} = excluded.{column}"),
            Self::MySql => format!("{column} = VALUES({column})"),
        }
    }

    /// `column = what it was + the value that was to be inserted`.
    pub(super) fn add_new(self, table: &str, column: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("{column} = {table}.{column} + excluded.{column}"),
            Self::MySql => format!("{column} = {table}.{column} + VALUES({column})"),
        }
    }

    /// The type that a capital word of a migration file stands for; `None` for any other word.
    pub(super) fn type_word(self, word: &str) -> Option<&'static str> {
        Some(match (word, self) {
            ("ID", _) => "VARCHAR(36)",
            ("MOMENT", _) => "BIGINT",
            ("FLAG", _) => "BOOLEAN",
            ("TEXT", Self::MySql) => "MEDIUMTEXT",
            ("TEXT", _) => "TEXT",
            ("BYTES", Self::MySql) => "MEDIUMBLOB",
            ("BYTES", Self::Postgres) => "BYTEA",
            ("BYTES", Self::Sqlite) => "BLOB",
            // In the order of its bytes; on MySQL every column of ours is.
            ("WORD", Self::Postgres) => "VARCHAR(254) COLLATE \"C\"",
            ("WORD", Self::MySql | Self::Sqlite) => "VARCHAR(254)",
            _ => return None,
        })
    }
}
