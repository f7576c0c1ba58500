//! The clock of a gateway: it never goes back.
//!
//! Law: what was over stays over, and a deadline comes when its time has passed, whatever somebody does
//! to the clock of the machine. Where that is set back, this one goes on from the latest moment that it
//! told, at the pace of the monotonic clock; where it is ahead, it is believed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::{Clock, Timestamp};

/// Less than this is how clocks are kept right, and is told to nobody.
const TOLD_FROM: Duration = Duration::from_secs(2);

/// A clock over another one, which may be set back.
#[derive(Debug)]
pub(super) struct SteadyClock {
    below: Arc<dyn Clock>,
    /// The latest moment that was told, in milliseconds.
    latest: AtomicI64,
    /// The same, and when it was.
    anchor: Mutex<(i64, Instant)>,
    is_told: AtomicBool,
}

impl SteadyClock {
    pub(super) fn over(below: Arc<dyn Clock>) -> Self {
        let now = below.now().as_millis();
        Self {
            below,
            latest: AtomicI64::new(now),
            anchor: Mutex::new((now, Instant::now())),
            is_told: AtomicBool::new(false),
        }
    }

    /// Moves on to this moment, or as far as time itself has come.
    fn move_on(&self, below: i64) -> i64 {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let (latest, since) = *anchor;
        if below >= latest {
            *anchor = (below, Instant::now());
        } else {
            // Whole milliseconds: what is left over counts the next time.
            let passed = i64::try_from(since.elapsed().as_millis()).unwrap_or(0);
            let whole = Duration::from_millis(passed.unsigned_abs());
            *anchor = (latest.saturating_add(passed), since + whole);
        }
        self.latest.store(anchor.0, Ordering::Release);
        anchor.0
    }

    fn tell(&self, behind: i64) {
        let is_far = behind >= i64::try_from(TOLD_FROM.as_millis()).unwrap_or(i64::MAX);
        if is_far && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                millis = behind,
                "the clock of this machine was set back; the gateway goes on from the time that it was. \
                 Restart it if the new time is the right one"
            );
        }
        if behind <= 0 {
            self.is_told.store(false, Ordering::Relaxed);
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let below = self.below.now().as_millis();
        if below == self.latest.load(Ordering::Acquire) {
            return Timestamp::from_millis(below);
        }
        let now = self.move_on(below);
        self.tell(now - below);
        Timestamp::from_millis(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TestClock;

    const HOUR: Duration = Duration::from_hours(1);

    fn pair() -> (Arc<TestClock>, SteadyClock) {
        let below = Arc::new(TestClock::at(Timestamp::from_millis(1_795_170_097_123)));
        (Arc::clone(&below), SteadyClock::over(below))
    }

    #[test]
    fn it_tells_what_the_clock_below_tells_while_that_goes_on() {
        let (below, clock) = pair();
        for step in [0, 1, 999, 3_600_000] {
            below.advance(Duration::from_millis(step));
            assert_eq!(clock.now(), below.now());
        }
    }

    #[test]
    fn set_back_it_goes_on_at_the_pace_of_time() {
        let (below, clock) = pair();
        let before = clock.now();
        below.set(before.minus(HOUR));
        let start = Instant::now();
        let mut last = before;
        // Asked again and again, it neither stands still nor runs ahead.
        while start.elapsed() < Duration::from_millis(50) {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        let told = clock.now().since(before);
        assert!(told >= Duration::from_millis(49) && told <= start.elapsed(), "{told:?}");
    }

    #[test]
    fn it_follows_the_clock_below_again_once_that_is_ahead() {
        let (below, clock) = pair();
        let before = clock.now();
        below.set(before.minus(HOUR));
        assert!(clock.now() >= before);
        below.advance(Duration::from_secs(3599));
        assert!(clock.now() >= before, "a second behind");
        below.set(before.plus(HOUR));
        assert_eq!(clock.now(), below.now());
    }
}
