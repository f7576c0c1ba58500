//! Numbers: the integers that some wires show as ids, unique and ascending within a series.
//!
//! Law: a number is given once. A block of 100 is leased in a transaction of its own, committed
//! before the first number of it is given, so that a change that is rolled back leaves a gap and
//! never a number that another process gives again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Db, Error, Source as _, Tx, sql};
use crate::base::Number;

const BLOCK: i64 = 100;
/// Below this many a block is renewed before the next change begins.
const LOW: i64 = 20;

/// The blocks that this process holds.
#[derive(Debug, Default)]
pub struct Numbers {
    blocks: Mutex<HashMap<&'static str, Range<i64>>>,
}

impl Numbers {
    /// The next number of `series`. Where the block is used up (or this process has none yet) the
    /// number is taken inside `tx`, which then holds the series' row until it ends.
    pub async fn next(&self, tx: &mut Tx, series: &'static str) -> Result<Number, Error> {
        if let Some(number) = self.blocks().entry(series).or_default().next() {
            return Ok(Number(number));
        }
        take(tx, series, 1).await.map(Number)
    }

    /// Leases new blocks for the series of this process that run low. To be called while the
    /// caller holds no transaction: SQLite has one writer.
    pub async fn replenish(&self, db: &Db) -> Result<(), Error> {
        let low: Vec<_> = {
            let blocks = self.blocks();
            let is_low = |block: &Range<i64>| block.end - block.start < LOW;
            blocks.iter().filter(|(_, block)| is_low(block)).map(|(series, _)| *series).collect()
        };
        for series in low {
            let mut tx = db.begin().await?;
            let first = take(&mut tx, series, BLOCK).await?;
            tx.commit().await?;
            self.blocks().insert(series, first..first + BLOCK);
        }
        Ok(())
    }

    fn blocks(&self) -> MutexGuard<'_, HashMap<&'static str, Range<i64>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes `count` numbers of a series; the first of them.
async fn take(tx: &mut Tx, series: &str, count: i64) -> Result<i64, Error> {
    let known = sql("INSERT INTO number_series (name, next_number) VALUES (?, 1)")
        .bind(series)
        .upsert(&["name"], &[]);
    tx.execute(known).await?;
    let update = sql("UPDATE number_series SET next_number = next_number + ? WHERE name = ?");
    tx.execute(update.bind(count).bind(series)).await?;
    let (next,): (i64,) =
        tx.one(sql("SELECT next_number FROM number_series WHERE name = ?").bind(series)).await?;
    Ok(next - count)
}
