//! `Source` and `Tx`: the three ways to read, and transactions.
//!
//! Law: every write happens in a [`Tx`]; dropped without [`Tx::commit`], it leaves nothing. Each
//! statement goes through [`Held`], so that one that is cut off ends with its connection.

use std::future::Future;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, FromRow, MySql, Postgres, Sqlite};

use super::column::Value;
use super::db::Pools;
use super::held::{Held, WRITE_WITHIN, within};
use super::life::Life;
use super::{Db, Dialect, Error, Stmt};

/// A row type that can be read on every database: `#[derive(FromRow)]`, or a tuple of columns.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin
{
}
impl<R> Record for R where
    R: for<'r> FromRow<'r, SqliteRow>
        + for<'r> FromRow<'r, PgRow>
        + for<'r> FromRow<'r, MySqlRow>
        + Send
        + Unpin
{
}

/// Where rows are read from: `&Db` (what is committed) or `&mut Tx` (its own writes too).
pub trait Source: Send {
    /// Every row.
    fn all<R: Record>(&mut self, stmt: Stmt) -> impl Future<Output = Result<Vec<R>, Error>> + Send;

    /// The first row, if there is one.
    fn optional<R: Record>(&mut self, stmt: Stmt) -> impl Future<Output = Result<Option<R>, Error>> + Send;

    /// The row that must be there; none is [`Error::Broken`].
    fn one<R: Record>(&mut self, stmt: Stmt) -> impl Future<Output = Result<R, Error>> + Send {
        async move { self.optional(stmt).await?.ok_or_else(|| Error::broken("a row that must exist is missing")) }
    }
}

impl<S: Source> Source for &mut S {
    fn all<R: Record>(&mut self, stmt: Stmt) -> impl Future<Output = Result<Vec<R>, Error>> + Send {
        (**self).all(stmt)
    }
    fn optional<R: Record>(&mut self, stmt: Stmt) -> impl Future<Output = Result<Option<R>, Error>> + Send {
        (**self).optional(stmt)
    }
}

/// A transaction.
pub struct Tx {
    inner: Inner,
}

pub(super) enum Inner {
    Sqlite(Held<Sqlite>),
    Postgres(Held<Postgres>),
    MySql(Held<MySql>),
}

macro_rules! arguments {
    ($arguments:ident, $values:expr) => {{
        let mut arguments = $arguments::default();
        for value in $values {
            match value {
                Value::Int(v) => arguments.add(v),
                Value::Text(v) => arguments.add(v),
                Value::Bytes(v) => arguments.add(v),
                Value::Flag(v) => arguments.add(v),
            }
            .map_err(|e| Error::broken(e.to_string()))?;
        }
        arguments
    }};
}

/// Sends a statement with one of sqlx's `fetch` methods.
macro_rules! fetch {
    ($database:ident, $arguments:ident, $held:expr, $stmt:expr, $method:ident) => {{
        let (text, values) = $stmt.render(Dialect::$database)?;
        let arguments = arguments!($arguments, values);
        let query = sqlx::query_as_with::<$database, R, _>(AssertSqlSafe(text), arguments);
        let asked = async {
            let answer = query.$method($held.ask()?).await;
            $held.answered();
            answer
        };
        within(WRITE_WITHIN, asked).await.map_err(|e| Error::from_driver(Dialect::$database, &e))
    }};
}

/// The same through a connection that a pool lends for this one statement.
macro_rules! fetch_once {
    ($database:ident, $arguments:ident, $db:expr, $pool:expr, $stmt:expr, $method:ident) => {{
        let held = Held::acquire($pool, $db.life()).await;
        let mut held = held.map_err(|e| Error::from_driver(Dialect::$database, &e))?;
        fetch!($database, $arguments, held, $stmt, $method)
    }};
}

/// A server that says nothing is no answer; what was asked of it is dropped, its connection with it.
async fn soon<T>(life: &Life, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silent = |_| Err(Error::unavailable("no answer in time"));
    tokio::time::timeout(life.read_within(), read).await.unwrap_or_else(silent)
}

impl Source for &Db {
    async fn all<R: Record>(&mut self, stmt: Stmt) -> Result<Vec<R>, Error> {
        soon(self.life(), async {
            match self.pools() {
                Pools::Sqlite { readers, .. } => {
                    fetch_once!(Sqlite, SqliteArguments, self, readers, stmt, fetch_all)
                }
                Pools::Postgres(pool) => fetch_once!(Postgres, PgArguments, self, pool, stmt, fetch_all),
                Pools::MySql(pool) => fetch_once!(MySql, MySqlArguments, self, pool, stmt, fetch_all),
            }
        })
        .await
    }
    async fn optional<R: Record>(&mut self, stmt: Stmt) -> Result<Option<R>, Error> {
        soon(self.life(), async {
            match self.pools() {
                Pools::Sqlite { readers, .. } => {
                    fetch_once!(Sqlite, SqliteArguments, self, readers, stmt, fetch_optional)
                }
                Pools::Postgres(pool) => fetch_once!(Postgres, PgArguments, self, pool, stmt, fetch_optional),
                Pools::MySql(pool) => fetch_once!(MySql, MySqlArguments, self, pool, stmt, fetch_optional),
            }
        })
        .await
    }
}

impl Source for Tx {
    async fn all<R: Record>(&mut self, stmt: Stmt) -> Result<Vec<R>, Error> {
        match &mut self.inner {
            Inner::Sqlite(held) => fetch!(Sqlite, SqliteArguments, held, stmt, fetch_all),
            Inner::Postgres(held) => fetch!(Postgres, PgArguments, held, stmt, fetch_all),
            Inner::MySql(held) => fetch!(MySql, MySqlArguments, held, stmt, fetch_all),
        }
    }
    async fn optional<R: Record>(&mut self, stmt: Stmt) -> Result<Option<R>, Error> {
        match &mut self.inner {
            Inner::Sqlite(held) => fetch!(Sqlite, SqliteArguments, held, stmt, fetch_optional),
            Inner::Postgres(held) => fetch!(Postgres, PgArguments, held, stmt, fetch_optional),
            Inner::MySql(held) => fetch!(MySql, MySqlArguments, held, stmt, fetch_optional),
        }
    }
}

impl Tx {
    pub(super) const fn new(inner: Inner) -> Self {
        Self { inner }
    }

    /// Sends a write; the number of rows it met. A conditional UPDATE that meets no row counts 0;
    /// one that meets a row counts it even where nothing changes in it, on every database.
    pub async fn execute(&mut self, stmt: Stmt) -> Result<u64, Error> {
        macro_rules! execute {
            ($database:ident, $arguments:ident, $held:expr) => {{
                let (text, values) = stmt.render(Dialect::$database)?;
                let arguments = arguments!($arguments, values);
                let query = sqlx::query_with::<$database, _>(AssertSqlSafe(text), arguments);
                let asked = async {
                    let done = query.execute($held.ask()?).await;
                    $held.answered();
                    done.map(|done| done.rows_affected())
                };
                within(WRITE_WITHIN, asked).await.map_err(|e| Error::from_driver(Dialect::$database, &e))
            }};
        }
        match &mut self.inner {
            Inner::Sqlite(held) => execute!(Sqlite, SqliteArguments, held),
            Inner::Postgres(held) => execute!(Postgres, PgArguments, held),
            Inner::MySql(held) => execute!(MySql, MySqlArguments, held),
        }
    }

    /// Sends text that is not a statement with values (DDL, locks), which may take its time. For
    /// `store` alone.
    pub(super) async fn raw(&mut self, text: String) -> Result<(), Error> {
        macro_rules! raw {
            ($held:expr) => {{
                let asked = async {
                    let done = sqlx::raw_sql(AssertSqlSafe(text)).execute($held.ask()?).await;
                    $held.answered();
                    done.map(drop)
                };
                asked.await
            }};
        }
        match &mut self.inner {
            Inner::Sqlite(held) => raw!(held),
            Inner::Postgres(held) => raw!(held),
            Inner::MySql(held) => raw!(held),
        }
        .map_err(|e| Error::from_driver(self.dialect(), &e))
    }

    /// Makes everything written here durable and visible, at once.
    pub async fn commit(self) -> Result<(), Error> {
        let dialect = self.dialect();
        match self.inner {
            Inner::Sqlite(held) => held.commit().await,
            Inner::Postgres(held) => held.commit().await,
            Inner::MySql(held) => held.commit().await,
        }
        .map_err(|e| Error::from_driver(dialect, &e))
    }

    /// Undoes everything, now rather than when it is dropped.
    pub async fn rollback(self) -> Result<(), Error> {
        let dialect = self.dialect();
        match self.inner {
            Inner::Sqlite(held) => held.rollback().await,
            Inner::Postgres(held) => held.rollback().await,
            Inner::MySql(held) => held.rollback().await,
        }
        .map_err(|e| Error::from_driver(dialect, &e))
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
            Inner::MySql(_) => Dialect::MySql,
        }
    }
}
