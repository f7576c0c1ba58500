//! What tokens used, by day, as people read it.
//!
//! Law: it tells what happened and decides nothing; what counts against a budget is in the ledger.

use std::collections::BTreeMap;

use super::store;
use crate::app::App;
use crate::base::{Id, MicroUsd};
use crate::store::Error;

/// How many rows one statement writes: thousands of agents may have been at work. Few texts, because
/// a database remembers each.
const AT_ONCE: [usize; 3] = [100, 10, 1];

/// What a token did on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that were dispatched.
    pub requests: u32,
    /// What they cost.
    pub spent: MicroUsd,
    /// What the agent itself says that it spent elsewhere.
    pub reported: MicroUsd,
}

impl Usage {
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            spent: self.spent.plus(other.spent),
            reported: self.reported.plus(other.reported),
        }
    }
}

/// Adds what tokens used, each on a day (since 1970).
pub async fn note_usage(app: &App, used: &BTreeMap<(Id, i64), Usage>) -> Result<(), Error> {
    let mut tx = app.db.begin().await?;
    // In their order, so that two who write at once do not wait for each other in a circle.
    let used: Vec<((Id, i64), Usage)> = used.iter().map(|(key, usage)| (*key, *usage)).collect();
    let mut rest = used.as_slice();
    for size in AT_ONCE {
        while let Some((now, later)) = rest.split_at_checked(size) {
            store::add_usage(&mut tx, now).await?;
            rest = later;
        }
    }
    tx.commit().await
}

/// What tokens used on each day from `first` on, by token and day.
pub(in crate::agent) async fn used_since(
    app: &App,
    tokens: &[Id],
    first: i64,
) -> Result<BTreeMap<(Id, i64), Usage>, Error> {
    let mut all = BTreeMap::new();
    for tokens in tokens.chunks(200) {
        all.extend(store::usage(&app.db, tokens, first).await?);
    }
    Ok(all)
}
