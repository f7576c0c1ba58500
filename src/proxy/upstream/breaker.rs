//! The breaker of one upstream: after too many failures, stop asking for a while.
//!
//! Law: while it is open nobody waits for a dead backend; when the pause is over exactly one
//! request tries, and only its success closes the breaker. Who learnt nothing, because its client left, says nothing,
//! and the next one may try. Metrics show each state while its lock is held, so that the last one shown is the one
//! it is in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config;
use crate::metrics::{self, UpstreamMetrics};

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

/// The one attempt that an open breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try(Instant);

/// That a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    AsMany,
    As(Try),
}

#[derive(Debug)]
pub(super) struct Breaker {
    after: usize,
    within: Duration,
    open_for: Duration,
    state: Mutex<State>,
    metrics: Arc<UpstreamMetrics>,
}

impl Breaker {
    pub(super) fn new(rule: &config::Breaker, metrics: Arc<UpstreamMetrics>) -> Self {
        let after = usize::try_from(rule.after).unwrap_or(usize::MAX);
        let state = Mutex::new(State::Closed { failures: VecDeque::new() });
        Self { after, within: rule.within, open_for: rule.open_for, state, metrics }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and shows it.
    fn enter(&self, state: &mut State, next: State) -> metrics::Breaker {
        let shown = match next {
            State::Closed { .. } => metrics::Breaker::Closed,
            State::Open { .. } => metrics::Breaker::Open,
            State::Trying { .. } => metrics::Breaker::HalfOpen,
        };
        *state = next;
        self.metrics.breaker(shown);
        shown
    }

    /// Whether a request may be sent now.
    pub(super) fn lets_through(&self, now: Instant) -> Option<Pass> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Some(Pass::AsMany),
            State::Open { until } | State::Trying { until } if now < until => None,
            State::Open { .. } | State::Trying { .. } => {
                let until = now + self.open_for;
                self.enter(&mut state, State::Trying { until });
                Some(Pass::As(Try(until)))
            }
        }
    }

    /// The attempt ended and told nothing: another request may make it, now.
    pub(super) fn gives_back(&self, Try(own): Try, now: Instant) {
        let mut state = self.state();
        // Another one may be trying by now.
        if matches!(*state, State::Trying { until } if until == own) {
            self.enter(&mut state, State::Open { until: now });
        }
    }

    /// Whether a request would be let through now, for one that is not sent yet.
    pub(super) fn would_let_through(&self, now: Instant) -> bool {
        let state = self.state();
        !matches!(*state, State::Open { until } | State::Trying { until } if now < until)
    }

    /// Takes note of an outcome; returns the new state if it changed.
    pub(super) fn note(&self, outcome: Outcome, now: Instant) -> Option<metrics::Breaker> {
        let mut state = self.state();
        let opens = match (&mut *state, outcome) {
            (State::Open { .. }, _) | (State::Closed { .. }, Outcome::Answered) => false,
            (State::Trying { .. }, Outcome::Answered) => {
                return Some(self.enter(&mut state, State::Closed { failures: VecDeque::new() }));
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
        Some(self.enter(&mut state, State::Open { until: now + self.open_for }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        let rule = config::Breaker { after: 2, within: Duration::from_secs(10), open_for: PAUSE };
        Breaker::new(&rule, metrics::Metrics::new("0").upstream("up"))
    }

    #[test]
    fn an_open_breaker_lets_one_try_after_its_pause() {
        let breaker = breaker();
        let start = Instant::now();
        assert_eq!(breaker.note(Outcome::Failed, start), None);
        assert_eq!(breaker.lets_through(start), Some(Pass::AsMany));
        assert_eq!(breaker.note(Outcome::Failed, start), Some(metrics::Breaker::Open));
        assert_eq!(breaker.lets_through(start + PAUSE / 2), None);
        assert!(!breaker.would_let_through(start + PAUSE / 2));
        let later = start + PAUSE;
        assert_eq!(breaker.lets_through(later), Some(Pass::As(Try(later + PAUSE))));
        assert_eq!(breaker.lets_through(later), None, "only one tries");
        assert_eq!(breaker.note(Outcome::Failed, later), Some(metrics::Breaker::Open));
        assert!(breaker.lets_through(later + PAUSE).is_some());
        assert_eq!(breaker.note(Outcome::Answered, later + PAUSE), Some(metrics::Breaker::Closed));
        for _ in 0..2 {
            assert_eq!(breaker.lets_through(later + PAUSE), Some(Pass::AsMany));
        }
    }

    #[test]
    fn a_try_that_told_nothing_leaves_the_breaker_open_and_the_next_may_try() {
        let breaker = breaker();
        let start = Instant::now();
        for _ in 0..2 {
            breaker.note(Outcome::Failed, start);
        }
        let later = start + PAUSE;
        let Some(Pass::As(first)) = breaker.lets_through(later) else { panic!("it tries") };
        breaker.gives_back(first, later);
        let Some(Pass::As(second)) = breaker.lets_through(later + PAUSE / 5) else {
            panic!("the next tries")
        };
        assert_eq!(breaker.lets_through(later + PAUSE / 5), None);
        // Only who has the attempt can give it back.
        breaker.gives_back(first, later + PAUSE / 5);
        assert_eq!(breaker.lets_through(later + PAUSE / 5), None);
        assert_eq!(breaker.note(Outcome::Answered, later + PAUSE), Some(metrics::Breaker::Closed));
        breaker.gives_back(second, later + PAUSE);
        assert_eq!(breaker.lets_through(later + PAUSE), Some(Pass::AsMany), "it was closed by then");
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let breaker = breaker();
        let start = Instant::now();
        assert_eq!(breaker.note(Outcome::Failed, start), None);
        assert_eq!(breaker.note(Outcome::Failed, start + Duration::from_secs(11)), None);
        assert_eq!(breaker.lets_through(start + Duration::from_secs(11)), Some(Pass::AsMany));
    }
}
