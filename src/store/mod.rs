//! The storage kernel: one SQL text per question, for SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! Law: this is the only module that names sqlx. SQL is `&'static str` with `?`; values are bound,
//! never written into it. Writes happen in a [`Tx`]; a [`Tx`] that is dropped leaves nothing.
//!
//! What slices keep to, so that one text serves all three: ids are made by us; no RETURNING; no
//! last insert id; moments are BIGINT milliseconds; JSON is text; something is consumed once by a
//! conditional UPDATE whose row count decides; lists end their ORDER BY with the id; unique
//! constraints are `CREATE UNIQUE INDEX name`, and `name` is what [`Error::Conflict`] carries.

mod backup;
mod column;
mod db;
mod dialect;
mod error;
pub mod lease;
pub mod migrate;
mod number;
mod stmt;
pub mod testing;

pub use backup::{Unfit, backup_to, check_backup};
pub use column::{Bind, Value};
pub use db::{Db, Options, Record, Source, Tx};
pub use dialect::Dialect;
pub use error::{Error, FOREIGN_KEY, PRIMARY_KEY};
pub use number::Numbers;
pub use sqlx::FromRow;
pub use stmt::{Stmt, sql};

use crate::base::Id;

/// The site that always exists, seeded by the first migration.
pub const DEFAULT_SITE: Id = Id::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

#[cfg(test)]
mod tests;
