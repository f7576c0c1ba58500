//! The audit trail, the attempts to log in and the tokens that came of them, for those who watch over a site
//! (contract section 22).
//!
//! Law: who asks sees the rows of the own site and no others. Lists are read by number from where the last
//! page ended, so that a page deep in the past costs what the first one costs; nothing counts what nobody
//! will read.

mod attempts;
mod entry;
pub mod export;
mod filter;
mod logs;
mod people;
mod query;
mod tokens;
mod turned;

use crate::http::Row;

pub use entry::{Cell, Record};
pub use filter::codes;
pub use logs::{grounds, taken};
pub use people::Names;
pub use turned::{Page, turned};

/// Endpoints for those who watch.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = logs::rows();
    rows.extend(attempts::rows());
    rows.extend(tokens::rows());
    rows
}
