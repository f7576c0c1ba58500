//! A copy of a SQLite store while it is in use, and the check that a copy is fit to be restored.
//!
//! Law: servers are backed up with their own tools; a copy of a live file made in any other way
//! than here may miss what is still in the log beside it.

use std::fmt;
use std::path::Path;

use super::{Db, Dialect, Error, Source as _, migrate, sql};

/// Why a file was not written or cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The store is a server: use `pg_dump` or `mariadb-dump`.
    NotSqlite,
    /// The target exists already.
    Exists,
    /// SQLite's own check found this.
    Damaged {
        finding: String,
    },
    /// It is a database, but not one of ours, or of a newer version.
    NotOurs {
        cause: String,
    },
    /// Another process has it open.
    InUse,
    Store(Error),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSqlite => {
                f.write_str("the store is a database server: back it up with pg_dump or mariadb-dump")
            }
            Self::Exists => f.write_str("the file exists already; nothing is overwritten"),
            Self::Damaged { finding } => write!(f, "the file is damaged: {finding}"),
            Self::NotOurs { cause } => write!(f, "not a store of this version of portcullis: {cause}"),
            Self::InUse => f.write_str("the store is in use: stop the gateway first"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Unfit {}

impl From<Error> for Unfit {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Writes a consistent copy of a SQLite store to `target`, which must not exist.
pub async fn backup_to(db: &Db, target: &Path) -> Result<(), Unfit> {
    if db.dialect() != Dialect::Sqlite {
        return Err(Unfit::NotSqlite);
    }
    if target.exists() {
        return Err(Unfit::Exists);
    }
    db.vacuum_into(target).await?;
    Ok(())
}

/// Whether the SQLite file at `path` is sound and one that this version can open.
pub async fn check_backup(path: &Path) -> Result<(), Unfit> {
    if !path.is_file() {
        return Err(Unfit::Store(Error::unavailable("there is no such file")));
    }
    let db = Db::inspect(path).await?;
    let checked = check(&db).await;
    db.close().await;
    checked
}

/// Refuses where another process has the SQLite file at `path` open: it would go on writing to a file
/// that has been put aside. What cannot be read at all is in nobody's use.
pub async fn check_unused(path: &Path) -> Result<(), Unfit> {
    if !path.exists() {
        return Ok(());
    }
    let looked = async {
        let db = Db::alone(path).await?;
        let read = (&db).one::<(i64,)>(sql("SELECT COUNT(*) FROM sqlite_master")).await;
        db.close().await;
        read
    };
    if looked.await == Err(Error::Busy) { Err(Unfit::InUse) } else { Ok(()) }
}

async fn check(mut db: &Db) -> Result<(), Unfit> {
    let (finding,): (String,) = db.one(sql("PRAGMA integrity_check")).await?;
    if finding != "ok" {
        return Err(Unfit::Damaged { finding });
    }
    let files = migrate::status(db).await.map_err(|e| Unfit::NotOurs { cause: e.to_string() })?;
    match files.iter().find(|(_, state)| *state == migrate::State::Unknown) {
        Some((file, _)) => Err(Unfit::NotOurs { cause: format!("it has the migration {file}") }),
        None if files.first().is_some_and(|(_, state)| *state == migrate::State::Applied) => Ok(()),
        None => Err(Unfit::NotOurs { cause: "it has none of our tables".to_owned() }),
    }
}
