//! What agents used, by token and day, until it is written down.
//!
//! Law: for people to read. Nothing is decided by it, and a process that is killed may lose its last
//! second; what was spent is in the ledger all the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::Gate;
use crate::agent::{self as delegation, Usage};
use crate::base::{Id, MicroUsd};
use crate::store::Error;

/// What was used since it was written down last.
#[derive(Debug, Default)]
pub(in crate::gate) struct Used(Mutex<BTreeMap<(Id, i64), Usage>>);

impl Used {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(Id, i64), Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Notes one request of a token that was dispatched, and what it cost.
    pub(super) fn note_usage(&self, token: Id, cost: MicroUsd) {
        let mut waiting = self.used.waiting();
        let usage = waiting.entry((token, self.app.now().days())).or_default();
        usage.requests += 1;
        usage.spent = usage.spent.plus(cost);
    }

    /// Writes down what was used.
    ///
    /// # Errors
    /// The store's; then it waits on.
    pub async fn write_usage(&self) -> Result<(), Error> {
        let used = std::mem::take(&mut *self.used.waiting());
        if used.is_empty() {
            return Ok(());
        }
        let written = delegation::note_usage(&self.app, &used).await;
        if written.is_err() {
            let mut waiting = self.used.waiting();
            for (key, usage) in used {
                let total = waiting.entry(key).or_default();
                *total = total.plus(usage);
            }
        }
        written
    }
}
