//! Leases: a name that one process holds until a moment, renewed while it lives.
//!
//! Law: one conditional UPDATE decides who holds a lease. Moments come from the caller's clock, so
//! a lease must be long against the skew between replicas.

use std::time::Duration;

use super::{Db, Error, Source as _, sql};
use crate::base::Timestamp;

/// Takes or renews the lease `name` for `holder`; false where another holds it.
pub async fn take(
    db: &Db,
    name: &str,
    holder: &str,
    now: Timestamp,
    hold_for: Duration,
) -> Result<bool, Error> {
    let mut tx = db.begin().await?;
    let known =
        sql("INSERT INTO lease (name, holder, ends_at) VALUES (?, '', 0)").bind(name).upsert(&["name"], &[]);
    tx.execute(known).await?;
    let update =
        sql("UPDATE lease SET holder = ?, ends_at = ? WHERE name = ? AND (holder = ? OR ends_at <= ?)")
            .bind(holder)
            .bind(now.plus(hold_for))
            .bind(name)
            .bind(holder)
            .bind(now);
    let rows = tx.execute(update).await?;
    tx.commit().await?;
    Ok(rows == 1)
}

/// Gives the lease back, if `holder` still has it.
pub async fn release(db: &Db, name: &str, holder: &str) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    tx.execute(sql("DELETE FROM lease WHERE name = ? AND holder = ?").bind(name).bind(holder)).await?;
    tx.commit().await
}

/// Who holds the lease at `now`.
pub async fn holder(mut db: &Db, name: &str, now: Timestamp) -> Result<Option<String>, Error> {
    let held = sql("SELECT holder FROM lease WHERE name = ? AND ends_at > ?").bind(name).bind(now);
    Ok(db.optional::<(String,)>(held).await?.map(|(holder,)| holder))
}
