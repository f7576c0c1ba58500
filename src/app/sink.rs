//! What requests leave in the audit trail without waiting for it.
//!
//! Law: written within a second, many rows in one transaction; a process that is killed may lose
//! that second. It is bounded: where the store does not keep up, rows are lost and counted, and no
//! request is held up by it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::App;
use crate::audit::{Actor, Event, Noted};
use crate::base::Timestamp;
use crate::store::Error;

/// How often what waits is written.
pub const WRITTEN_EVERY: Duration = Duration::from_millis(500);
/// Rows that wait at most.
const MOST: usize = 100_000;
/// Rows of one transaction.
const BATCH: usize = 1000;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub struct Sink(Mutex<VecDeque<Noted>>);

impl App {
    /// Notes what a request did. Never waits.
    pub fn note(&self, actor: Actor, at: Timestamp, event: impl Into<Event>) {
        let mut waiting = self.sink.waiting();
        if waiting.len() >= MOST {
            self.metrics.audit_row_lost();
            return;
        }
        waiting.push_back(Noted { actor, at, event: event.into() });
        self.metrics.audit_backlog(waiting.len());
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// The store's; what was not written waits on.
    pub async fn write_notes(&self) -> Result<(), Error> {
        loop {
            let batch: Vec<Noted> = {
                let mut waiting = self.sink.waiting();
                let count = waiting.len().min(BATCH);
                waiting.drain(..count).collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            let written = self.write(batch.clone()).await;
            let mut waiting = self.sink.waiting();
            if written.is_err() {
                for noted in batch.into_iter().rev() {
                    waiting.push_front(noted);
                }
            }
            self.metrics.audit_backlog(waiting.len());
            drop(waiting);
            written?;
        }
    }

    async fn write(&self, batch: Vec<Noted>) -> Result<(), Error> {
        let mut change = self.change(Actor::system()).await?;
        change.note(batch);
        change.commit().await
    }
}

impl Sink {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
