//! Background work: named, ended at shutdown, and heard of when it panics.
//!
//! Law: this is the one place that spawns. What is spawned here ends when [`Tasks::shutdown`]
//! says so, by itself within the deadline or cut off after it; a panic is logged with the task's
//! name and counted, and a repeated task runs again at its next turn.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::base::Random;
use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// The background work of one process. Clones share it.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running: Mutex<Running>,
    count: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
    random: Arc<dyn Random>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    /// Without a handle for the moment between the entry and the spawn.
    tasks: HashMap<u64, (&'static str, Option<AbortHandle>)>,
    is_cut_off: bool,
}

/// How a task learns that the process is ending.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns once the process is ending; at once if it already is.
    pub async fn wait(&mut self) {
        // An error means that every `Tasks` is gone, which is an end too.
        drop(self.0.wait_for(|is_stopping| *is_stopping).await);
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }
}

impl Tasks {
    #[must_use]
    pub fn new(random: Arc<dyn Random>, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            running: Mutex::default(),
            count: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            random,
            metrics,
        }))
    }

    /// Runs `future` in the background. It should end soon after [`Tasks::stopping`] says so.
    /// Once the process is ending nothing new is started: `future` is dropped.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let Some(leave) = self.enter(name) else { return };
        let (inner, id) = (Arc::clone(&self.0), leave.id);
        // Not under the lock: on a runtime that is going down this drops the future, and with it
        // `leave`, which takes the lock.
        let task = tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                leave.inner.report(name, &*panic);
            }
        });
        let mut running = inner.running();
        if running.is_cut_off {
            task.abort();
        } else if let Some((_, handle)) = running.tasks.get_mut(&id) {
            *handle = Some(task.abort_handle());
        }
    }

    /// Puts a task on the list, unless the process is ending.
    fn enter(&self, name: &'static str) -> Option<Leave> {
        let mut running = self.0.running();
        if *self.0.stopping.borrow() {
            return None;
        }
        let id = running.next;
        running.next += 1;
        running.tasks.insert(id, (name, None));
        self.0.count.send_replace(running.tasks.len());
        Some(Leave { inner: Arc::clone(&self.0), id })
    }

    /// Calls `work` again and again: first after a random part of `jitter`, then `interval` and
    /// another random part of `jitter` after each end. A run is never cut short by the end of
    /// the process, the wait between runs is.
    pub fn every<F, W>(&self, name: &'static str, interval: Duration, jitter: Duration, mut work: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let mut stopping = self.stopping();
        let inner = Arc::clone(&self.0);
        self.spawn(name, async move {
            let mut pause = inner.part_of(jitter);
            loop {
                tokio::select! {
                    biased;
                    () = stopping.wait() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                let run = AssertUnwindSafe(async { work().await });
                if let Err(panic) = run.catch_unwind().await {
                    inner.report(name, &*panic);
                }
                pause = interval + inner.part_of(jitter);
            }
        });
    }

    /// The signal that the process is ending.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.0.stopping.subscribe())
    }

    /// The names of the tasks that run now, sorted.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.running().tasks.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }

    /// Tells every task to end, waits until all have or `deadline` has passed, and cuts off the
    /// rest, whose names it returns. Starts nothing from then on.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<&'static str> {
        {
            // Under the lock, so that no task is being started past this line.
            let _running = self.0.running();
            self.0.stopping.send_replace(true);
        }
        let mut count = self.0.count.subscribe();
        if tokio::time::timeout(deadline, count.wait_for(|left| *left == 0)).await.is_ok() {
            return Vec::new();
        }
        let late = self.running();
        let mut running = self.0.running();
        running.is_cut_off = true;
        running.tasks.values().filter_map(|(_, task)| task.as_ref()).for_each(AbortHandle::abort);
        late
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, name: &'static str, panic: &(dyn std::any::Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(task = name, panic = text.unwrap_or("not a text"), "a background task panicked");
        self.metrics.task_panicked(name);
    }

    /// A random duration from zero up to `whole`.
    fn part_of(&self, whole: Duration) -> Duration {
        let mut bytes = [0u8; 4];
        self.random.fill(&mut bytes);
        whole.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    }
}

/// Takes a task off the list when its future ends, however it ends.
struct Leave {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut running = self.inner.running();
        running.tasks.remove(&self.id);
        self.inner.count.send_replace(running.tasks.len());
    }
}
