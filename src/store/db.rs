//! `Db`: a database and its pools of connections.
//!
//! Law: SQLite has one writer and several readers that cannot write; a transaction begins as a
//! writer (`BEGIN IMMEDIATE`), so that none has to become one half-way and fail. All databases
//! show committed rows only.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::held::Held;
use super::life::{Life, SILENT_FOR};
use super::tx::Inner;
use super::{Dialect, Error, Tx};
use crate::config::{self, Database};

/// How many connections a [`Db`] may hold, and how long one waits for one (on SQLite also for a
/// writer in another process): for less long where the database answers nobody.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub connections: u32,
    pub acquire_for: Duration,
    pub silent_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self::patient(10, SILENT_FOR)
    }
}

impl Options {
    /// A crowd is waited in for some times as long as a silence: four seconds by default.
    #[must_use]
    pub fn patient(connections: u32, silent_for: Duration) -> Self {
        Self { connections, acquire_for: silent_for * 8 / 3, silent_for }
    }
}

/// The connections of a [`Db`] that are open at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// In use.
    pub active: u32,
    pub idle: u32,
}

/// A handle on one database; clones share its pools.
#[derive(Clone)]
pub struct Db {
    pools: Pools,
    life: Arc<Life>,
}

#[derive(Clone)]
pub(super) enum Pools {
    Sqlite { writer: sqlx::SqlitePool, readers: sqlx::SqlitePool },
    Postgres(sqlx::PgPool),
    MySql(sqlx::MySqlPool),
}

/// Whether a pool's database answers at all.
macro_rules! answers {
    ($pool:expr, $life:expr) => {
        match Held::acquire($pool, $life).await {
            Ok(mut held) => {
                let done = match held.ask() {
                    Ok(connection) => sqlx::query("SELECT 1").execute(connection).await,
                    Err(error) => Err(error),
                };
                held.answered();
                done.map(drop)
            }
            Err(error) => Err(error),
        }
    };
}

impl Db {
    /// Opens the store that the configuration names and proves that it answers. A SQLite file that
    /// does not exist is created, readable by its owner alone. Tables are [`super::migrate::run`]'s
    /// business.
    pub async fn open(store: &config::Store) -> Result<Self, Error> {
        Self::open_with(&store.database, Options::patient(store.connections, store.timeout)).await
    }

    /// Opens a database with other waits than the usual ones.
    pub async fn open_with(database: &Database, options: Options) -> Result<Self, Error> {
        // A URL may hold a password: it is never part of an error.
        let pools = match database {
            Database::Sqlite { path } => open_sqlite(path, options).await?,
            Database::Postgres { url } => open_postgres(url.expose(), options)?,
            Database::Mysql { url } => open_mysql(url.expose(), options)?,
        };
        let db = Self::over(pools, options.silent_for);
        db.ping().await?;
        Ok(db)
    }

    /// A SQLite file as it is, which nobody writes to: neither do we, not even a log beside it.
    pub(super) async fn inspect(path: &Path) -> Result<Self, Error> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .immutable(true)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(connect).await;
        let pool = pool.map_err(|e| Error::from_driver(Dialect::Sqlite, &e))?;
        Ok(Self::over(Pools::Sqlite { writer: pool.clone(), readers: pool }, SILENT_FOR))
    }

    /// A database of another program, which is only read: nothing is made where there is none.
    ///
    /// # Errors
    /// It cannot be opened, or does not answer.
    pub async fn foreign(database: &Database) -> Result<Self, Error> {
        let Database::Sqlite { path } = database else {
            return Self::open_with(database, Options { connections: 1, ..Options::default() }).await;
        };
        let connect = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(connect).await;
        let pool = pool.map_err(|e| Error::from_driver(Dialect::Sqlite, &e))?;
        Ok(Self::over(Pools::Sqlite { writer: pool.clone(), readers: pool }, SILENT_FOR))
    }

    /// A SQLite file that nobody else has open; [`Error::Busy`] where somebody has.
    pub(super) async fn alone(path: &Path) -> Result<Self, Error> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .locking_mode(SqliteLockingMode::Exclusive)
            .busy_timeout(Duration::ZERO)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(connect).await;
        let pool = pool.map_err(|e| Error::from_driver(Dialect::Sqlite, &e))?;
        Ok(Self::over(Pools::Sqlite { writer: pool.clone(), readers: pool }, SILENT_FOR))
    }

    /// The same server through one connection that no pool keeps.
    pub(super) async fn separate(&self) -> Result<Self, Error> {
        let Pools::MySql(pool) = &self.pools else { return Ok(self.clone()) };
        let connect = pool.connect_options().as_ref().clone();
        let options =
            MySqlPoolOptions::new().max_connections(1).acquire_timeout(pool.options().get_acquire_timeout());
        let alone = options.connect_with(connect).await;
        let silent_for = self.life.silent_for();
        alone
            .map(|pool| Self::over(Pools::MySql(pool), silent_for))
            .map_err(|e| Error::from_driver(Dialect::MySql, &e))
    }

    /// Begins a transaction that may write.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let inner = match &self.pools {
            Pools::Sqlite { writer, .. } => {
                Held::begin(writer, &self.life, Some("BEGIN IMMEDIATE")).await.map(Inner::Sqlite)
            }
            Pools::Postgres(pool) => Held::begin(pool, &self.life, None).await.map(Inner::Postgres),
            Pools::MySql(pool) => Held::begin(pool, &self.life, None).await.map(Inner::MySql),
        };
        inner.map(Tx::new).map_err(|e| Error::from_driver(self.dialect(), &e))
    }

    /// Whether the database answers, within two seconds by default.
    pub async fn ping(&self) -> Result<(), Error> {
        // The time-out cuts the question off, so it needs a connection that may be lost.
        let asked = async {
            match &self.pools {
                Pools::Sqlite { readers, .. } => answers!(readers, &self.life),
                Pools::Postgres(pool) => answers!(pool, &self.life),
                Pools::MySql(pool) => answers!(pool, &self.life),
            }
        };
        let within = self.life.ping_within();
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer.map_err(|e| Error::from_driver(self.dialect(), &e)),
            Err(_) => Err(Error::unavailable(format!("no answer within {within:?}"))),
        }
    }

    /// Which connections are open, and how many of them are in use. On SQLite the writer is one of them.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let of = |size: u32, idle: usize| {
            let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(size);
            Connections { active: size - idle, idle }
        };
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                let writer = of(writer.size(), writer.num_idle());
                let readers = of(readers.size(), readers.num_idle());
                Connections { active: writer.active + readers.active, idle: writer.idle + readers.idle }
            }
            Pools::Postgres(pool) => of(pool.size(), pool.num_idle()),
            Pools::MySql(pool) => of(pool.size(), pool.num_idle()),
        }
    }

    fn over(pools: Pools, silent_for: Duration) -> Self {
        Self { pools, life: Arc::new(Life::of(silent_for)) }
    }

    pub(super) const fn life(&self) -> &Arc<Life> {
        &self.life
    }

    pub(super) const fn pools(&self) -> &Pools {
        &self.pools
    }

    pub fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
            Pools::MySql(_) => Dialect::MySql,
        }
    }

    /// SQLite only: a consistent copy, written by a reader while others go on.
    pub(super) async fn vacuum_into(&self, target: &Path) -> Result<(), Error> {
        let Pools::Sqlite { writer, .. } = &self.pools else {
            return Err(Error::broken("VACUUM INTO is SQLite's"));
        };
        create_private(target).map_err(|e| Error::unavailable(format!("{}: {e}", target.display())))?;
        sqlx::query("VACUUM INTO ?")
            .bind(target.display().to_string())
            .execute(writer)
            .await
            .map(drop)
            .map_err(|e| Error::from_driver(Dialect::Sqlite, &e))
    }

    /// Sends a statement outside of any transaction, as CREATE DATABASE asks.
    pub(super) async fn administer(&self, statement: String) -> Result<(), Error> {
        let text = AssertSqlSafe(statement);
        match &self.pools {
            Pools::Sqlite { writer, .. } => sqlx::raw_sql(text).execute(writer).await.map(drop),
            Pools::Postgres(pool) => sqlx::raw_sql(text).execute(pool).await.map(drop),
            Pools::MySql(pool) => sqlx::raw_sql(text).execute(pool).await.map(drop),
        }
        .map_err(|e| Error::from_driver(self.dialect(), &e))
    }

    /// Ends every connection and waits for it.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
            Pools::MySql(pool) => pool.close().await,
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db({:?})", self.dialect())
    }
}

async fn open_sqlite(path: &Path, options: Options) -> Result<Pools, Error> {
    create_private(path)?;
    let base = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.acquire_for)
        // After a burst the log shrinks to this again.
        .pragma("journal_size_limit", "67108864")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging();
    let pool = || {
        SqlitePoolOptions::new().acquire_timeout(options.acquire_for).idle_timeout(None).max_lifetime(None)
    };
    let failed = |e| Error::from_driver(Dialect::Sqlite, &e);
    // The writer first: it turns the file to WAL, which a reader may not.
    let writer = pool().max_connections(1).connect_with(base.clone()).await.map_err(failed)?;
    let readers = pool()
        .max_connections(options.connections.max(1))
        .connect_with(base.pragma("query_only", "ON"))
        .await
        .map_err(failed)?;
    Ok(Pools::Sqlite { writer, readers })
}

/// The folder of a first configuration's store, which is made with it.
const OWN_FOLDER: &str = "data";

/// Creates the file with mode 0600, because SQLite would use what the umask leaves; its log files
/// copy the mode. Of folders only our own is made: any other that is missing is likely misspelt.
fn create_private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| Error::unavailable(format!("{}: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        if folder.file_name().is_none_or(|name| name != OWN_FOLDER) {
            let text = format!("there is no folder {}: make it, or mend `store`", folder.display());
            return Err(Error::unavailable(text));
        }
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => tracing::warn!(path = %path.display(), "made a new store: nobody has an account in it"),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

fn open_postgres(url: &str, options: Options) -> Result<Pools, Error> {
    let connect = PgConnectOptions::from_str(url)
        .map_err(|_| Error::broken("not a PostgreSQL address"))?
        .application_name("portcullis")
        .disable_statement_logging();
    // Set after connecting, because poolers such as PgBouncer refuse start-up options.
    let pool = PgPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.acquire_for)
        .after_connect(|connection, _| {
            Box::pin(async move {
                use sqlx::Executor as _;
                let settings = "SET lock_timeout = '5s'; SET statement_timeout = '30s'; \
                    SET idle_in_transaction_session_timeout = '60s'; \
                    SET default_transaction_isolation = 'read committed'";
                connection.execute(sqlx::raw_sql(settings)).await.map(drop)
            })
        })
        .connect_lazy_with(connect);
    Ok(Pools::Postgres(pool))
}

fn open_mysql(url: &str, options: Options) -> Result<Pools, Error> {
    let connect = MySqlConnectOptions::from_str(url)
        .map_err(|_| Error::broken("not a MySQL address"))?
        .charset("utf8mb4")
        .collation("utf8mb4_bin")
        .disable_statement_logging();
    let pool = MySqlPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.acquire_for)
        .after_connect(|connection, _| {
            Box::pin(async move {
                use sqlx::Executor as _;
                // Strict, or a text that is too long would be cut instead of refused.
                let strict = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
                    SESSION innodb_lock_wait_timeout = 5";
                connection.execute(strict).await?;
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map(drop)
            })
        })
        .connect_lazy_with(connect);
    Ok(Pools::MySql(pool))
}
