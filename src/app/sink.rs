//! What the data plane leaves in the audit trail: its own stream, many rows in one transaction.
//!
//! Law: a note is written within a second, nobody waits for it, and a process that is killed may lose that second. It is
//! bounded: where the store does not keep up, rows are lost and counted. A row that a request waits for is committed
//! before its caller goes on, together with those of everybody who waits; where it cannot be, each of them hears so. One
//! transaction of a process writes at a time, and none of them takes the changes' counter.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::App;
use crate::audit::{self, Actor, Event, Noted, Stream};
use crate::base::Timestamp;
use crate::store::{Error, again};

/// How often what waits is written.
pub const WRITTEN_EVERY: Duration = Duration::from_millis(500);
/// Rows that wait at most; of those that hold up a request fewer, since each is one.
const MOST: usize = 100_000;
const MOST_HELD_UP: usize = 10_000;
/// Rows of one transaction.
const BATCH: usize = 1000;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub struct Sink {
    notes: Queue<Noted>,
    held_up: Queue<HeldUp>,
    /// Whose turn it is to write.
    turn: tokio::sync::Mutex<()>,
}

/// A row, and the request that waits for it.
#[derive(Debug)]
struct HeldUp {
    noted: Noted,
    told: oneshot::Sender<Result<(), Error>>,
}

impl App {
    /// Notes what a request did. Never waits.
    pub fn note(&self, actor: Actor, at: Timestamp, event: impl Into<Event>) {
        let noted = Noted { actor, at, event: event.into() };
        match self.sink.notes.push(noted, MOST) {
            Some(waiting) => self.metrics.audit_backlog(waiting),
            None => self.metrics.audit_row_lost(),
        }
    }

    /// Writes down what a request is to do, and returns when that is committed.
    ///
    /// # Errors
    /// The store's. Then it is not written, and must not be done.
    pub async fn write_down(&self, actor: Actor, event: impl Into<Event>) -> Result<(), Error> {
        let noted = Noted { actor, at: self.now(), event: event.into() };
        let (told, mut hears) = oneshot::channel();
        if self.sink.held_up.push(HeldUp { noted, told }, MOST_HELD_UP).is_none() {
            return Err(Error::Busy);
        }
        loop {
            tokio::select! {
                biased;
                said = &mut hears => {
                    let lost = |_| Err(Error::Broken { cause: "a row was lost before it was written".to_owned() });
                    return said.unwrap_or_else(lost);
                }
                // Nobody else writes now, so this one does, for everybody who waits.
                _turn = self.sink.turn.lock() => self.write_held_up().await,
            }
        }
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// The store's; what was not written waits on.
    pub async fn write_notes(&self) -> Result<(), Error> {
        loop {
            let _turn = self.sink.turn.lock().await;
            self.write_held_up().await;
            let mut batch = self.sink.notes.take(|_| true);
            if batch.rows.is_empty() {
                return Ok(());
            }
            let written = self.write_data_plane(&batch.rows).await;
            if written.is_ok() {
                batch.rows.clear();
            }
            drop(batch);
            self.metrics.audit_backlog(self.sink.notes.waiting().len());
            written?;
        }
    }

    /// Writes some of what requests wait for, and tells them. Called by whose turn it is.
    async fn write_held_up(&self) {
        // Whose client is gone does not pass, so nothing is to be said of it.
        let mut batch = self.sink.held_up.take(|row| !row.told.is_closed());
        if batch.rows.is_empty() {
            return;
        }
        let rows: Vec<Noted> = batch.rows.iter().map(|row| row.noted.clone()).collect();
        let written = self.write_data_plane(&rows).await.map(drop);
        for row in batch.rows.drain(..) {
            // Who is gone by now hears nothing.
            drop(row.told.send(written.clone()));
        }
    }

    /// Writes rows of the data plane, all or none. Which numbers they get is read anew with every try.
    pub(super) async fn write_data_plane(&self, rows: &[Noted]) -> Result<i64, Error> {
        again(|| async {
            let mut tx = self.db.begin().await?;
            let last = audit::append(&mut tx, Stream::DataPlane, rows, self.random.as_ref()).await?;
            tx.commit().await?;
            Ok::<i64, Error>(last)
        })
        .await
    }
}

#[derive(Debug)]
struct Queue<T>(Mutex<VecDeque<T>>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Queue<T> {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait with it; `None` where there are `most` already.
    fn push(&self, row: T, most: usize) -> Option<usize> {
        let mut waiting = self.waiting();
        if waiting.len() >= most {
            return None;
        }
        waiting.push_back(row);
        Some(waiting.len())
    }

    /// Takes the next rows that are still wanted.
    fn take(&self, is_wanted: impl Fn(&T) -> bool) -> Taken<'_, T> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH);
        let rows = waiting.drain(..count).filter(is_wanted).collect();
        Taken { queue: self, rows }
    }
}

/// Rows that somebody writes. What is left in here goes back to where it came from: whoever wrote was cut off, or
/// could not, and the next one does it. Cut off while it was committed, a row may be there twice, but never not at all.
struct Taken<'a, T> {
    queue: &'a Queue<T>,
    rows: Vec<T>,
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        for row in self.rows.drain(..).rev() {
            waiting.push_front(row);
        }
    }
}
