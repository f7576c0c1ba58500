//! A connection while it is in use, and what becomes of it when its user goes away.
//!
//! Law: a connection whose statement was cut off (its future was dropped half-way, as when a client
//! hangs up) is closed and never used again: what it read next could be the rest of the answer to
//! that statement, and sqlx's MySQL driver may wait for such a rest without end. An open
//! transaction is rolled back either way. A server that says nothing is not waited for without end.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, SqlSafeStr};
use sqlx_core::transaction::TransactionManager as _;

use super::life::Life;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// How long a statement of a transaction may take: longer than the server's own time-out for one.
pub(super) const WRITE_WITHIN: Duration = Duration::from_secs(35);

/// What was asked, or an error where it takes too long: then it counts as cut off.
pub(super) async fn within<T>(span: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    let silent = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(span, asked).await.unwrap_or_else(silent)
}

/// A connection of a pool, with at most one transaction open.
pub(super) struct Held<DB: Database> {
    connection: PoolConnection<DB>,
    /// Between sending a statement and having its whole answer.
    is_busy: bool,
    is_open: bool,
    life: Arc<Life>,
}

impl<DB: Database> Held<DB> {
    pub async fn acquire(pool: &Pool<DB>, life: &Arc<Life>) -> Result<Self> {
        // Boxed: it is large, and would stand three times in the future of every operation.
        let connection = life.lets(Box::pin(pool.acquire())).await?;
        Ok(Self { connection, is_busy: false, is_open: false, life: Arc::clone(life) })
    }

    /// Acquires and begins a transaction with `statement`.
    pub async fn begin(pool: &Pool<DB>, life: &Arc<Life>, statement: Option<&'static str>) -> Result<Self> {
        let mut held = Self::acquire(pool, life).await?;
        let statement = statement.map(SqlSafeStr::into_sql_str);
        let begun = within(WRITE_WITHIN, async {
            let begun = DB::TransactionManager::begin(held.ask()?, statement).await;
            held.answered();
            begun
        })
        .await;
        held.is_open = begun.is_ok();
        begun.map(|()| held)
    }

    /// The connection, for one statement: until [`Held::answered`] it counts as cut off, and one
    /// that is cut off is asked nothing more.
    pub fn ask(&mut self) -> Result<&mut DB::Connection> {
        if self.is_busy {
            return Err(sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()));
        }
        self.is_busy = true;
        Ok(&mut self.connection)
    }

    /// The whole answer was read, or the connection said that there is none.
    pub fn answered(&mut self) {
        self.is_busy = false;
        self.life.heard();
    }

    pub async fn commit(mut self) -> Result<()> {
        let ended = within(WRITE_WITHIN, async {
            let ended = DB::TransactionManager::commit(self.ask()?).await;
            self.answered();
            ended
        })
        .await;
        self.is_open = ended.is_err();
        ended
    }

    pub async fn rollback(mut self) -> Result<()> {
        let ended = within(WRITE_WITHIN, async {
            let ended = DB::TransactionManager::rollback(self.ask()?).await;
            self.answered();
            ended
        })
        .await;
        self.is_open = ended.is_err();
        ended
    }
}

impl<DB: Database> Drop for Held<DB> {
    fn drop(&mut self) {
        if self.is_busy {
            self.connection.close_on_drop();
        } else if self.is_open {
            // Queued: the pool sends it before anybody else gets the connection.
            DB::TransactionManager::start_rollback(&mut self.connection);
        }
    }
}
