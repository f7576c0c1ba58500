//! The storage kernel: one SQL text per question, for SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! Law: this is the only module that names sqlx. SQL is `&'static str` with `?`; values are bound,
//! never written into it. Writes happen in a [`Tx`]; a [`Tx`] that is dropped leaves nothing.
//!
//! One text serves all three because slices keep to this: ids are made by us; no RETURNING; moments
//! are BIGINT milliseconds; JSON is text; what is consumed once is a conditional UPDATE whose row
//! count decides; unique constraints are `CREATE UNIQUE INDEX name`, which [`Error::Conflict`] names.

mod again;
mod backup;
mod column;
mod db;
mod dialect;
mod error;
pub mod grant;
mod held;
mod life;
pub mod lease;
pub mod machine;
pub mod migrate;
mod number;
#[cfg(test)]
pub(crate) mod plan;
mod stmt;
pub mod testing;
mod tx;

pub use again::{GivenUp, again};
pub use backup::{Unfit, backup_to, check_backup, check_unused};
pub use column::{Bind, Value};
pub use db::{Connections, Db, Options};
pub use dialect::Dialect;
pub use error::{Error, FOREIGN_KEY, PRIMARY_KEY};
pub use number::Numbers;
pub use sqlx::FromRow;
pub use stmt::{Stmt, sql};
pub use tx::{Record, Source, Tx};

use crate::base::Id;

/// The site that always exists, seeded by the first migration.
pub const DEFAULT_SITE: Id = Id::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

#[cfg(test)]
mod tests;
