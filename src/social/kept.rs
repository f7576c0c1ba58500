//! What a provider publishes, kept for a while.
//!
//! Law: one asks. Whoever can do with what is held does not wait; everybody else waits for what it learns.
//! Nobody is asked more often than the pause between two questions allows, whatever people send; what could
//! not be had is not asked for again at once either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Failed;
use crate::base::Timestamp;

/// How long it is believed.
const KEPT_FOR: Duration = Duration::from_hours(1);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(30);
/// The pause after a question without an answer.
const PAUSE_FAILED: Duration = Duration::from_secs(5);

/// Something that was read at a provider.
pub(super) struct Kept<T> {
    held: Mutex<Held<T>>,
    /// Who asks has it.
    asking: tokio::sync::Mutex<()>,
}

struct Held<T> {
    /// And when it was read.
    value: Option<(Arc<T>, Timestamp)>,
    /// When it was asked for last, and how long not again.
    asked: Option<(Timestamp, Duration)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { held: Mutex::new(Held { value: None, asked: None }), asking: tokio::sync::Mutex::default() }
    }
}

/// Whether what is held will do.
pub(super) enum Want<'a, T> {
    Any,
    /// Not this one: something is missing in it.
    Newer(&'a Arc<T>),
}

impl<T> Kept<T> {
    /// What is held, or what `ask` learns. Where something newer is wanted and it is too early to ask,
    /// what is held.
    pub(super) async fn get(
        &self,
        now: Timestamp,
        want: Want<'_, T>,
        ask: impl AsyncFnOnce() -> Result<T, Failed>,
    ) -> Result<Arc<T>, Failed> {
        // Whoever asks may wait for long: nobody else does for whom this will do.
        if let (Want::Any, Some(value)) = (&want, self.held().present(now)) {
            return Ok(value);
        }
        let _turn = self.asking.lock().await;
        let (present, is_early) = {
            let held = self.held();
            (held.present(now), held.asked.is_some_and(|(at, pause)| now.since(at) < pause))
        };
        match (&present, want) {
            (Some(value), Want::Any) => return Ok(Arc::clone(value)),
            (Some(value), Want::Newer(than)) if is_early || !Arc::ptr_eq(value, than) => {
                return Ok(Arc::clone(value));
            }
            (None, _) if is_early => return Err(Failed::Unavailable("it did not answer a moment ago")),
            _ => {}
        }
        if present.is_some() {
            // Also where whoever asks goes away meanwhile. Without anything to go by the next one asks.
            self.held().asked = Some((now, PAUSE_FAILED));
        }
        let answer = ask().await;
        let mut held = self.held();
        match (answer, present) {
            (Ok(value), _) => {
                let value = Arc::new(value);
                *held = Held { value: Some((Arc::clone(&value), now)), asked: Some((now, PAUSE)) };
                Ok(value)
            }
            (Err(_), Some(present)) => Ok(present),
            (Err(failed), None) => {
                held.asked = Some((now, PAUSE_FAILED));
                Err(failed)
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    /// What is held and not too old.
    fn present(&self, now: Timestamp) -> Option<Arc<T>> {
        let present = self.value.as_ref().filter(|(_, read_at)| now.since(*read_at) < KEPT_FOR);
        present.map(|(value, _)| Arc::clone(value))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    use futures::future::join_all;
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn one_asks_and_nobody_asks_too_often() {
        let (kept, asked) = (Kept::default(), AtomicU32::new(0));
        let ask = async || {
            tokio::task::yield_now().await;
            Ok(asked.fetch_add(1, Ordering::Relaxed))
        };
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let all = join_all((0..64).map(|_| kept.get(at(0), Want::Any, ask))).await;
        assert!(all.iter().all(|one| **one.as_ref().unwrap() == 0));
        let first = Arc::clone(all[0].as_ref().unwrap());
        let newer =
            async |now: i64, than: &Arc<u32>| *kept.get(at(now), Want::Newer(than), ask).await.unwrap();
        assert_eq!(newer(29, &first).await, 0, "too early");
        assert_eq!(newer(30, &first).await, 1);
        assert_eq!(newer(31, &first).await, 1, "somebody was quicker");
        assert_eq!(*kept.get(at(3629), Want::Any, ask).await.unwrap(), 1);
        let down = async || Err(Failed::Unavailable("down"));
        let same = kept.get(at(3629), Want::Any, down).await.unwrap();
        assert_eq!(*kept.get(at(3629), Want::Newer(&same), down).await.unwrap(), 1, "it has what it has");
        assert_eq!(*kept.get(at(3634), Want::Any, ask).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn whom_that_will_do_which_is_held_does_not_wait_for_a_question_that_hangs() {
        let kept = Kept::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let first = kept.get(at(0), Want::Any, async || Ok(1)).await.unwrap();
        let mut hanging =
            Box::pin(kept.get(at(60), Want::Newer(&first), async || std::future::pending().await));
        assert!(poll!(&mut hanging).is_pending());
        let mut other =
            Box::pin(kept.get(at(61), Want::Any, async || Err(Failed::Unavailable("asked again"))));
        assert!(matches!(poll!(&mut other), Poll::Ready(Ok(value)) if *value == 1));
        let mut newer = Box::pin(kept.get(at(61), Want::Newer(&first), async || Ok(2)));
        assert!(poll!(&mut newer).is_pending(), "who needs another one waits for who asks");
        drop(hanging);
        assert!(matches!(poll!(&mut newer), Poll::Ready(Ok(value)) if *value == 1), "it is early");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_left_alone_for_a_moment() {
        let (kept, asked) = (Kept::<u32>::default(), AtomicU32::new(0));
        let fail = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(Failed::Unavailable("down"))
        };
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        for (now, count) in [(0, 1), (4, 1), (5, 2), (9, 2), (10, 3)] {
            assert!(kept.get(at(now), Want::Any, fail).await.is_err());
            assert_eq!(asked.load(Ordering::Relaxed), count, "{now}");
        }
        let gone = kept.get(at(15), Want::Any, async || std::future::pending().await);
        assert!(tokio::time::timeout(Duration::from_millis(5), gone).await.is_err(), "who asked went away");
        assert_eq!(*kept.get(at(15), Want::Any, async || Ok(7)).await.unwrap(), 7);
    }
}
