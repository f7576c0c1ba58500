//! The trail by page number, with how many rows there are, for whoever shows it so.
//! Law: as everywhere, who asks sees the own site; nothing is counted or passed over beyond [`COUNTED`].

use super::people::Names;
use crate::audit::{Row, Search};
use crate::http::{ApiError, Call};

/// How many rows are counted, and how far pages are turned.
pub const COUNTED: u32 = 10_000;

/// A page of the trail.
#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Row>,
    pub total: u32,
    pub names: Names,
}

/// The page of `size` rows behind the first `before`; nothing where that is too far back.
///
/// # Errors
/// The store's.
pub async fn turned(call: &Call, wanted: &Search, before: u32, size: u32) -> Result<Option<Page>, ApiError> {
    if before.saturating_add(size) > COUNTED {
        return Ok(None);
    }
    let (db, site) = (&call.app.db, call.person()?.account.site);
    let total = wanted.count(db, site, COUNTED).await?;
    let rows = wanted.turned(db, site, before, size).await?;
    let names = Names::of(&call.app, site, &rows).await?;
    Ok(Some(Page { rows, total, names }))
}
