//! HTTP/1 connections to one server that wait for their next request.
//!
//! Law: a connection serves one request at a time, and one that the server has closed, or on which
//! it spoke unasked, serves no more. They belong to their server: what a reload removes keeps none.
//! The framework's pool starts a task and a timer for every wait, asks the kernel before every use
//! who is at the other end, and now and then loses a connection between two threads; it serves what
//! the framework itself sends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;

/// More than wait at one server when its requests have ended.
const MOST: usize = 256;

/// The connections of one server, the one that waits longest first.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Waiting>>);

struct Waiting {
    stream: Stream,
    since: Instant,
}

impl Idle {
    /// The connection that was used last, if there is one that can be used again.
    pub(super) fn take(&self, longest: Duration) -> Option<Stream> {
        loop {
            let mut waiting = self.lock().pop()?;
            if waiting.is_fit(longest) {
                return Some(waiting.stream);
            }
        }
    }

    /// Keeps a connection whose last exchange is complete on both sides.
    pub(super) fn keep(&self, stream: Stream) {
        let mut waiting = Waiting { stream, since: Instant::now() };
        if !waiting.is_quiet() {
            return;
        }
        let mut all = self.lock();
        let oldest = (all.len() >= MOST).then(|| all.remove(0));
        all.push(waiting);
        drop(all);
        // Closed without holding up others.
        drop(oldest);
    }

    /// Closes what has waited for too long, and what the server has closed.
    pub(super) fn sweep(&self, longest: Duration) {
        let mut all = std::mem::take(&mut *self.lock());
        all.retain_mut(|waiting| waiting.is_fit(longest));
        let mut new = self.lock();
        // What came meanwhile is younger.
        all.append(&mut new);
        *new = all;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_fit(&mut self, longest: Duration) -> bool {
        self.since.elapsed() < longest && self.is_quiet()
    }

    /// Whether the server has neither closed the connection nor said anything.
    fn is_quiet(&mut self) -> bool {
        let mut unasked = [0; 1];
        // Unconstrained: a task that has used up its turn would be told that nothing is there.
        let read = tokio::task::unconstrained(self.stream.read(&mut unasked));
        read.now_or_never().is_none()
    }
}
