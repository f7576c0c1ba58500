//! The table of signing keys.
//!
//! Law: a private key is written sealed, and never read into anything that shows it.

use crate::base::Timestamp;
use crate::crypto::keyring::Purpose;
use crate::store::{Error, FromRow, Source, Tx, sql};

/// The constraint that lets one of two processes add a key.
pub(super) const GENERATION_KEY: &str = "signing_key_generation_key";

#[derive(FromRow)]
pub(super) struct KeyRow {
    pub kid: String,
    pub purpose: String,
    pub algorithm: String,
    pub sealed: Vec<u8>,
    pub created_at: Timestamp,
    pub active_from: Timestamp,
    pub published_until: Option<Timestamp>,
}

/// Keys that are not over, the oldest first.
pub(super) async fn published(mut source: impl Source, now: Timestamp) -> Result<Vec<KeyRow>, Error> {
    source
        .all(
            sql("SELECT kid, purpose, algorithm, sealed, created_at, active_from, published_until \
                 FROM signing_key WHERE published_until IS NULL OR published_until > ? \
                 ORDER BY active_from, generation, kid")
            .bind(now),
        )
        .await
}

/// The keys of a purpose that are not retired, and the generation that a new one will have.
pub(super) struct Current {
    pub kids: Vec<String>,
    pub next_generation: i64,
}

/// Both in one statement, so that they were true at the same moment.
pub(super) async fn current(tx: &mut Tx, purpose: Purpose) -> Result<Current, Error> {
    let rows: Vec<(String, i64, Option<Timestamp>)> = tx
        .all(
            sql("SELECT kid, generation, published_until FROM signing_key WHERE purpose = ? ORDER BY kid")
                .bind(purpose.name()),
        )
        .await?;
    let next_generation = rows.iter().map(|(_, generation, _)| *generation).max().unwrap_or(0) + 1;
    let unretired = rows.into_iter().filter(|(_, _, until)| until.is_none());
    Ok(Current { kids: unretired.map(|(kid, _, _)| kid).collect(), next_generation })
}

/// Adds a key: a conflict on [`GENERATION_KEY`] where another process has added one meanwhile.
pub(super) async fn insert(tx: &mut Tx, row: &KeyRow, generation: i64) -> Result<(), Error> {
    let insert = sql("INSERT INTO signing_key (kid, purpose, generation, algorithm, sealed, created_at, \
                      active_from, published_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(&row.kid)
    .bind(&row.purpose)
    .bind(generation)
    .bind(&row.algorithm)
    .bind(&row.sealed)
    .bind(row.created_at)
    .bind(row.active_from)
    .bind(row.published_until);
    tx.execute(insert).await.map(drop)
}

pub(super) async fn retire(tx: &mut Tx, kid: &str, published_until: Timestamp) -> Result<(), Error> {
    let update = sql("UPDATE signing_key SET published_until = ? WHERE kid = ? AND published_until IS NULL");
    tx.execute(update.bind(published_until).bind(kid)).await.map(drop)
}

pub(super) async fn remove_over(tx: &mut Tx, now: Timestamp) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM signing_key WHERE published_until <= ?").bind(now)).await
}
