//! What can go wrong with a store, in the four ways that a caller can act on.
//!
//! Law: no variant carries a value that was bound. Causes are for the log, never for an answer.

use std::fmt;

use super::{Dialect, migrate};

/// The name that [`Error::Conflict`] carries for every primary key: MySQL does not tell which.
pub const PRIMARY_KEY: &str = "primary_key";
/// The name that [`Error::Conflict`] carries for every foreign key: SQLite does not tell which.
pub const FOREIGN_KEY: &str = "foreign_key";

/// Why a statement had no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A constraint said no: the name of the unique index or check, [`PRIMARY_KEY`] or
    /// [`FOREIGN_KEY`]. The transaction is over on PostgreSQL: roll back, do not go on with it.
    Conflict(String),
    /// Another transaction was in the way for longer than we wait, or a deadlock was resolved
    /// against this one. Nothing was changed.
    Busy,
    /// The database cannot be reached or cannot write.
    Unavailable { cause: String },
    /// A mistake in the program or a damaged database.
    Broken { cause: String },
}

impl Error {
    /// Whether the constraint of this name said no.
    pub fn is_conflict(&self, name: &str) -> bool {
        matches!(self, Self::Conflict(constraint) if constraint == name)
    }

    pub(super) fn broken(cause: impl Into<String>) -> Self {
        Self::Broken { cause: cause.into() }
    }

    pub(super) fn unavailable(cause: impl Into<String>) -> Self {
        Self::Unavailable { cause: cause.into() }
    }

    pub(super) fn from_driver(dialect: Dialect, error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(inner) => from_database(dialect, inner.as_ref()),
            // The one writer of a SQLite file is taken; elsewhere the pool could not connect.
            E::PoolTimedOut if dialect == Dialect::Sqlite => Self::Busy,
            // Broken protocol is what a connection looks like that ended in the middle of an answer.
            E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::Io(_)
            | E::Tls(_)
            | E::BeginFailed
            | E::Protocol(_) => Self::unavailable(error.to_string()),
            _ => Self::broken(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(name) => write!(f, "the constraint {name} does not allow it"),
            Self::Busy => f.write_str("the store is busy with another transaction"),
            Self::Unavailable { cause } => write!(f, "the store is not available: {cause}"),
            Self::Broken { cause } => write!(f, "the store gave no sense: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

fn from_database(dialect: Dialect, error: &dyn sqlx::error::DatabaseError) -> Error {
    use sqlx::error::ErrorKind;
    match error.kind() {
        ErrorKind::UniqueViolation => Error::Conflict(unique_name(dialect, error)),
        ErrorKind::ForeignKeyViolation => Error::Conflict(FOREIGN_KEY.to_owned()),
        ErrorKind::CheckViolation => Error::Conflict(check_name(dialect, error)),
        _ => match trouble(dialect, error) {
            Trouble::Busy => Error::Busy,
            Trouble::Unavailable => Error::unavailable(error.message()),
            Trouble::Broken => Error::broken(error.message()),
        },
    }
}

enum Trouble {
    Busy,
    Unavailable,
    Broken,
}

fn trouble(dialect: Dialect, error: &dyn sqlx::error::DatabaseError) -> Trouble {
    match dialect {
        Dialect::Sqlite => {
            let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
            // Extended codes keep the primary one in their low byte.
            match code & 0xff {
                5 | 6 => Trouble::Busy,                   // BUSY, LOCKED
                8 | 10 | 13 | 14 => Trouble::Unavailable, // READONLY, IOERR, FULL, CANTOPEN
                _ => Trouble::Broken,
            }
        }
        Dialect::Postgres => match error.code().as_deref().unwrap_or("") {
            // Serialization failure, deadlock, lock timeout, statement timeout.
            "40001" | "40P01" | "55P03" | "57014" => Trouble::Busy,
            // Connection trouble, out of resources, operator intervention, read only.
            code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
                Trouble::Unavailable
            }
            "25006" => Trouble::Unavailable,
            _ => Trouble::Broken,
        },
        Dialect::MySql => {
            let number = error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .map_or(0, sqlx::mysql::MySqlDatabaseError::number);
            match number {
                1205 | 1213 => Trouble::Busy, // lock wait timeout, deadlock
                // Disk full, too many connections, shutdown, read only, killed, record file full.
                1021 | 1040 | 1053 | 1114 | 1203 | 1290 | 1317 | 1792 | 1836 | 1927 => Trouble::Unavailable,
                _ => Trouble::Broken,
            }
        }
    }
}

fn unique_name(dialect: Dialect, error: &dyn sqlx::error::DatabaseError) -> String {
    let message = error.message();
    match dialect {
        // "UNIQUE constraint failed: account.site_id, account.email": columns, no name.
        Dialect::Sqlite => message
            .split_once("failed: ")
            .and_then(|(_, columns)| migrate::unique_index_on(columns))
            .unwrap_or(PRIMARY_KEY)
            .to_owned(),
        Dialect::Postgres => match error.constraint() {
            Some(name) if !name.ends_with("_pkey") => name.to_owned(),
            _ => PRIMARY_KEY.to_owned(),
        },
        // "Duplicate entry '…' for key 'account_email_key'"; MySQL 8 puts the table in front.
        Dialect::MySql => {
            let key = message.trim_end_matches('\'').rsplit('\'').next().unwrap_or("");
            match key.rsplit('.').next().unwrap_or("") {
                "" | "PRIMARY" => PRIMARY_KEY.to_owned(),
                name => name.to_owned(),
            }
        }
    }
}

fn check_name(dialect: Dialect, error: &dyn sqlx::error::DatabaseError) -> String {
    let message = error.message();
    let name = match dialect {
        Dialect::Sqlite => message.split_once("failed: ").map(|(_, name)| name),
        Dialect::Postgres => error.constraint(),
        Dialect::MySql => {
            message.split(['`', '\'']).nth(1).map(|name| name.rsplit('.').next().unwrap_or(name))
        }
    };
    name.unwrap_or("check").to_owned()
}
