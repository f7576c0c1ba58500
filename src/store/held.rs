//! A connection while it is in use, and what becomes of it when its user goes away.
//!
//! Law: a connection whose statement was cut off (its future was dropped half-way, as when a client
//! hangs up) is closed and never used again: what it read next could be the rest of the answer to
//! that statement, and sqlx's MySQL driver may wait for such a rest without end. An open
//! transaction is rolled back either way.

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, SqlSafeStr};
use sqlx_core::transaction::TransactionManager as _;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A connection of a pool, with at most one transaction open.
pub(super) struct Held<DB: Database> {
    connection: PoolConnection<DB>,
    /// Between sending a statement and having its whole answer.
    is_busy: bool,
    is_open: bool,
}

impl<DB: Database> Held<DB> {
    pub async fn acquire(pool: &Pool<DB>) -> Result<Self> {
        Ok(Self { connection: pool.acquire().await?, is_busy: false, is_open: false })
    }

    /// Acquires and begins a transaction with `statement`.
    pub async fn begin(pool: &Pool<DB>, statement: Option<&'static str>) -> Result<Self> {
        let mut held = Self::acquire(pool).await?;
        let statement = statement.map(SqlSafeStr::into_sql_str);
        let begun = DB::TransactionManager::begin(held.ask(), statement).await;
        held.answered();
        held.is_open = begun.is_ok();
        begun.map(|()| held)
    }

    /// The connection, for one statement: until [`Held::answered`] it counts as cut off.
    pub fn ask(&mut self) -> &mut DB::Connection {
        self.is_busy = true;
        &mut self.connection
    }

    /// The whole answer was read, or the connection said that there is none.
    pub const fn answered(&mut self) {
        self.is_busy = false;
    }

    pub async fn commit(mut self) -> Result<()> {
        let ended = DB::TransactionManager::commit(self.ask()).await;
        self.answered();
        self.is_open = ended.is_err();
        ended
    }

    pub async fn rollback(mut self) -> Result<()> {
        let ended = DB::TransactionManager::rollback(self.ask()).await;
        self.answered();
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
