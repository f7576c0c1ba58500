//! The requests of a token's whole life, handed out in chunks.
//!
//! Law: what is handed out counts as spent until it is given back, and is never more than the
//! limit: one conditional write decides. A process that dies takes what it had not spent with it;
//! it never makes a request more of it.

use super::store;
use crate::app::App;
use crate::base::Id;
use crate::store::Error;

/// Hands out `wanted` requests of a token; where so many are not left, one, or none.
pub async fn take(app: &App, token: Id, wanted: u32) -> Result<u32, Error> {
    let mut tx = app.db.begin().await?;
    for count in [wanted, 1] {
        if store::grant(&mut tx, token, count).await? == 1 {
            tx.commit().await?;
            return Ok(count);
        }
    }
    Ok(0)
}

/// Takes back what was handed out and not spent.
pub async fn give_back(app: &App, token: Id, count: u32) -> Result<(), Error> {
    let mut tx = app.db.begin().await?;
    store::ungrant(&mut tx, token, count).await?;
    tx.commit().await
}
