//! The breaker of one upstream: after too many failures, stop asking for a while.
//!
//! Law: while it is open nobody waits for a dead backend; when the pause is over exactly one
//! request tries, and only its success closes the breaker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config;
use crate::metrics;

#[derive(Debug)]
enum State {
    /// When the last failures were, oldest first; never more than open the breaker.
    Closed {
        failures: VecDeque<Instant>,
    },
    Open {
        until: Instant,
    },
    /// One request is trying; if it never reports, the next may try at `until`.
    Trying {
        until: Instant,
    },
}

/// What came of an attempt, as far as the upstream is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// No connection, a broken answer, or none in time.
    Failed,
}

#[derive(Debug)]
pub(super) struct Breaker {
    after: usize,
    within: Duration,
    open_for: Duration,
    state: Mutex<State>,
}

impl Breaker {
    pub(super) fn new(rule: &config::Breaker) -> Self {
        let after = usize::try_from(rule.after).unwrap_or(usize::MAX);
        let state = Mutex::new(State::Closed { failures: VecDeque::new() });
        Self { after, within: rule.within, open_for: rule.open_for, state }
    }

    /// Whether a request may be sent now. A `true` while trying is the one attempt.
    pub(super) fn lets_through(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => true,
            State::Open { until } | State::Trying { until } if now < until => false,
            State::Open { .. } | State::Trying { .. } => {
                *state = State::Trying { until: now + self.open_for };
                true
            }
        }
    }

    /// Whether a request would be let through now, for one that is not sent yet.
    pub(super) fn would_let_through(&self, now: Instant) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(*state, State::Open { until } | State::Trying { until } if now < until)
    }

    /// Takes note of an outcome; returns the state that metrics show if it changed.
    pub(super) fn note(&self, outcome: Outcome, now: Instant) -> Option<metrics::Breaker> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let opens = match (&mut *state, outcome) {
            (State::Open { .. }, _) | (State::Closed { .. }, Outcome::Answered) => false,
            (State::Trying { .. }, Outcome::Answered) => {
                *state = State::Closed { failures: VecDeque::new() };
                return Some(metrics::Breaker::Closed);
            }
            (State::Trying { .. }, Outcome::Failed) => true,
            (State::Closed { failures }, Outcome::Failed) => {
                failures.retain(|at| now.saturating_duration_since(*at) < self.within);
                failures.push_back(now);
                failures.len() >= self.after
            }
        };
        if !opens {
            return None;
        }
        *state = State::Open { until: now + self.open_for };
        Some(metrics::Breaker::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(&config::Breaker { after: 2, within: Duration::from_secs(10), open_for: PAUSE })
    }

    #[test]
    fn an_open_breaker_lets_one_try_after_its_pause() {
        let breaker = breaker();
        let start = Instant::now();
        assert_eq!(breaker.note(Outcome::Failed, start), None);
        assert!(breaker.lets_through(start));
        assert_eq!(breaker.note(Outcome::Failed, start), Some(metrics::Breaker::Open));
        assert!(!breaker.lets_through(start + PAUSE / 2));
        assert!(!breaker.would_let_through(start + PAUSE / 2));
        let later = start + PAUSE;
        assert!(breaker.lets_through(later));
        assert!(!breaker.lets_through(later), "only one tries");
        assert_eq!(breaker.note(Outcome::Failed, later), Some(metrics::Breaker::Open));
        assert!(breaker.lets_through(later + PAUSE));
        assert_eq!(breaker.note(Outcome::Answered, later + PAUSE), Some(metrics::Breaker::Closed));
        assert!(breaker.lets_through(later + PAUSE) && breaker.lets_through(later + PAUSE));
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let breaker = breaker();
        let start = Instant::now();
        assert_eq!(breaker.note(Outcome::Failed, start), None);
        assert_eq!(breaker.note(Outcome::Failed, start + Duration::from_secs(11)), None);
        assert!(breaker.lets_through(start + Duration::from_secs(11)));
    }
}
