//! Following the changes of other processes, and applying every change to this one.
//!
//! Law: changes are read from the store, in the order of their commits; hints only make it sooner.
//! What cannot be applied (a reload that fails) is tried again with every poll and keeps the view
//! old until it succeeds, so that a process that cannot obey a change stops deciding.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::store::{self, Changed};
use super::{App, Applier};
use crate::audit::Subject;
use crate::store::Error;
use crate::tasks::Stopping;

/// How often the store is asked.
pub const POLL: Duration = Duration::from_millis(250);
/// A backlog longer than this costs more to apply than to forget everything.
const MOST_BEHIND: i64 = 10_000;
/// From when a view that cannot be refreshed makes the process not ready.
const OLD: Duration = Duration::from_secs(10);
const HEALTH: &str = "changes";

/// How far this process has followed.
#[derive(Debug)]
pub(super) struct View {
    seen: tokio::sync::Mutex<i64>,
    /// Committed, but not yet applied here.
    unapplied: Mutex<BTreeSet<Subject>>,
    began: Instant,
    /// Milliseconds from `began` to the beginning of the last complete poll.
    fresh_at: AtomicU64,
}

impl From<i64> for View {
    fn from(seen: i64) -> Self {
        Self {
            seen: tokio::sync::Mutex::new(seen),
            unapplied: Mutex::default(),
            began: Instant::now(),
            fresh_at: AtomicU64::new(0),
        }
    }
}

impl App {
    /// How old our view of other processes' changes may be. Where it is older than ten seconds
    /// and [`App::catch_up`] does not help, nothing may be decided by it.
    pub fn view_age(&self) -> Duration {
        let fresh_at = Duration::from_millis(self.view.fresh_at.load(Ordering::Acquire));
        self.view.began.elapsed().saturating_sub(fresh_at)
    }

    /// Follows until the process ends: at every poll, and sooner where a hint comes.
    pub async fn follow(self: Arc<Self>, mut stopping: Stopping) {
        let mut hints = self.shared.heard();
        while !stopping.is_stopping() {
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, age = ?self.view_age(), "changes of other processes cannot be read");
            }
            if self.view_age() > OLD {
                self.health.fail(HEALTH, "changes of other processes cannot be read from the store");
            } else {
                self.health.clear(HEALTH);
            }
            tokio::select! {
                () = stopping.wait() => {}
                () = tokio::time::sleep(POLL) => {}
                Ok(()) = hints.changed() => {}
            }
        }
    }

    /// Reads and applies what other processes committed since the last time.
    pub async fn catch_up(&self) -> Result<(), Error> {
        // One at a time; whoever waits here finds little left to do.
        let mut seen = self.view.seen.lock().await;
        let began = self.view.began.elapsed();
        let last = store::counter(&self.db).await?.last_seq;
        if last < *seen {
            tracing::error!(
                last,
                seen = *seen,
                "the store has gone back, as after a restore: forgetting all"
            );
            self.epochs.begin_anew();
            self.apply_unknown(last).await;
            *seen = last;
        } else if last > *seen {
            let changes = if last - *seen > MOST_BEHIND {
                None
            } else {
                let changes = store::changes_after(&self.db, *seen).await?;
                // After reading: what was pruned before then may be missing from what we read.
                let is_whole = store::counter(&self.db).await?.pruned_to <= *seen;
                is_whole.then_some(changes)
            };
            match changes.as_deref().and_then(known) {
                Some(changes) => self.apply_elsewhere(&changes).await,
                None => self.apply_unknown(last).await,
            }
            *seen = last;
        }
        self.retry_unapplied().await?;
        let fresh_at = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
        self.view.fresh_at.fetch_max(fresh_at, Ordering::AcqRel);
        Ok(())
    }

    /// Puts a committed change in force here.
    pub(super) async fn apply(&self, subjects: &[Subject], seq: i64) {
        let risen: Vec<Subject> =
            subjects.iter().copied().filter(|subject| self.epochs.raise_to(*subject, seq)).collect();
        self.obey(&risen).await;
    }

    async fn apply_elsewhere(&self, changes: &[(Subject, &Changed)]) {
        let now = self.now();
        let mut risen = Vec::new();
        for (subject, change) in changes {
            if self.epochs.raise_to(*subject, change.seq) {
                self.metrics.revocation_lag(now.since(change.happened_at));
                risen.push(*subject);
            }
        }
        self.obey(&risen).await;
    }

    /// Something changed and we cannot know what: forget everything.
    async fn apply_unknown(&self, seq: i64) {
        self.epochs.flush(seq);
        self.stops.doubt_all();
        self.reload(&[Subject::Catalogue, Subject::Keys]).await;
    }

    async fn obey(&self, risen: &[Subject]) {
        if risen.is_empty() {
            return;
        }
        for subject in risen {
            self.stops.stop(*subject);
        }
        self.reload(risen).await;
    }

    async fn reload(&self, subjects: &[Subject]) {
        // First: if whoever made the change goes away while it is applied, the next poll finds it here.
        self.unapplied().extend(subjects);
        match run(&self.appliers, self, subjects).await {
            Ok(()) => self.unapplied().retain(|subject| !subjects.contains(subject)),
            Err(error) => {
                tracing::error!(%error, ?subjects, "a change was committed and could not be applied here yet");
            }
        }
    }

    async fn retry_unapplied(&self) -> Result<(), Error> {
        let subjects: Vec<Subject> = self.unapplied().iter().copied().collect();
        if subjects.is_empty() {
            return Ok(());
        }
        run(&self.appliers, self, &subjects).await?;
        // What failed meanwhile stays for the next time.
        self.unapplied().retain(|subject| !subjects.contains(subject));
        Ok(())
    }

    fn unapplied(&self) -> std::sync::MutexGuard<'_, BTreeSet<Subject>> {
        self.view.unapplied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(appliers: &[Applier], app: &App, subjects: &[Subject]) -> Result<(), Error> {
    for applier in appliers {
        applier(app, subjects).await?;
    }
    Ok(())
}

/// The changes with their subjects; `None` where one is a word of a newer version.
fn known(changes: &[Changed]) -> Option<Vec<(Subject, &Changed)>> {
    changes.iter().map(|change| Some((Subject::parse(&change.subject)?, change))).collect()
}
