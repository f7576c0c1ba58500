//! The breaker of one upstream: after too many failures, stop asking for a while.
//!
//! Law: while it is open nobody waits for a dead backend; when the pause is over one request tries, and only
//! its success closes the breaker, as soon as its answer begins. A try whose client left, or does not send what
//! it began, says nothing and stands in nobody's way: for each such one more may try at once, so that nobody
//! keeps a breaker open by leaving. Metrics show each state while its lock is held, so that the last one shown is the one it is in,
//! and only those of the upstream that is in force.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    Trying(Round),
}

impl State {
    const fn as_metrics_have_it(&self) -> metrics::Breaker {
        match self {
            Self::Closed { .. } => metrics::Breaker::Closed,
            Self::Open { .. } => metrics::Breaker::Open,
            Self::Trying(_) => metrics::Breaker::HalfOpen,
        }
    }
}

/// Requests that try at once: one, unless some told nothing.
#[derive(Debug, Clone, Copy)]
struct Round {
    number: u64,
    /// Who has told nothing by then is not waited for.
    until: Instant,
    /// How many tries were given out, and how many more may be at once.
    given: u32,
    left: u32,
    /// How many of them the upstream has the whole of: from these it owes an answer.
    whole: u32,
}

impl Round {
    /// The longest that a client is waited for which still has to send something.
    const PATIENCE: Duration = Duration::from_secs(1);

    fn is_closed(&self, now: Instant) -> bool {
        self.left == 0 && now < self.until
    }

    /// Where the upstream owes an answer, one request tries as at first; where only clients kept it
    /// waiting, twice as many.
    const fn tries_of_next(&self) -> u32 {
        if self.whole > 0 { 1 } else { self.given.saturating_mul(2) }
    }

    fn give(&mut self, brings: Brings, now: Instant, open_for: Duration) -> Try {
        if self.given == 0 {
            self.until = now + open_for.min(Self::PATIENCE);
        }
        self.given = self.given.saturating_add(1);
        self.left = self.left.saturating_sub(1);
        if brings == Brings::All {
            self.has_whole(now, open_for);
        }
        Try(self.number)
    }

    fn has_whole(&mut self, now: Instant, open_for: Duration) {
        if self.whole == 0 {
            self.until = now + open_for;
        }
        self.whole = self.whole.saturating_add(1);
    }

    fn take_back(&mut self, brings: Brings, now: Instant) {
        // Its own place, and one more.
        self.left = self.left.saturating_add(2);
        if brings == Brings::All {
            self.whole = self.whole.saturating_sub(1);
        }
        if self.whole == 0 {
            self.until = self.until.min(now + Self::PATIENCE);
        }
    }
}

/// How much of a request the upstream has, or will have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brings {
    All,
    /// Its client still sends.
    Part,
}

/// What came of an attempt, as far as the upstream is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// No connection, a broken answer, or none in time.
    Failed,
}

/// An attempt that an open breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try(u64);

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
    rounds: AtomicU64,
    /// Changed while the state is locked.
    is_shown: AtomicBool,
    metrics: Arc<UpstreamMetrics>,
}

impl Breaker {
    pub(super) fn new(rule: &config::Breaker, metrics: Arc<UpstreamMetrics>) -> Self {
        let after = usize::try_from(rule.after).unwrap_or(usize::MAX);
        let state = Mutex::new(State::Closed { failures: VecDeque::new() });
        Self {
            after,
            within: rule.within,
            open_for: rule.open_for,
            state,
            rounds: AtomicU64::new(0),
            is_shown: AtomicBool::new(false),
            metrics,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on metrics show it, or no more: another one has its name.
    pub(super) fn shows(&self, is_shown: bool) {
        let state = self.state();
        self.is_shown.store(is_shown, Ordering::Relaxed);
        if is_shown {
            self.metrics.breaker(state.as_metrics_have_it());
        }
    }

    /// Changes the state, and shows it.
    fn enter(&self, state: &mut State, next: State) -> metrics::Breaker {
        *state = next;
        let shown = state.as_metrics_have_it();
        if self.is_shown.load(Ordering::Relaxed) {
            self.metrics.breaker(shown);
        }
        shown
    }

    /// Whether a request may be sent now.
    pub(super) fn lets_through(&self, brings: Brings, now: Instant) -> Option<Pass> {
        let mut state = self.state();
        let mut round = match *state {
            State::Closed { .. } => return Some(Pass::AsMany),
            State::Open { until } if now < until => return None,
            State::Open { .. } => self.round(now, 1),
            State::Trying(round) if round.is_closed(now) => return None,
            State::Trying(round) if round.left > 0 => round,
            State::Trying(round) => self.round(now, round.tries_of_next()),
        };
        let attempt = round.give(brings, now, self.open_for);
        self.enter(&mut state, State::Trying(round));
        Some(Pass::As(attempt))
    }

    fn round(&self, now: Instant, left: u32) -> Round {
        let number = self.rounds.fetch_add(1, Ordering::Relaxed);
        Round { number, until: now, given: 0, left, whole: 0 }
    }

    /// The upstream has the whole of what tries, and owes an answer from now on.
    pub(super) fn is_whole(&self, Try(number): Try, now: Instant) {
        if let State::Trying(round) = &mut *self.state()
            && round.number == number
        {
            round.has_whole(now, self.open_for);
        }
    }

    /// The attempt ended and told nothing: others may make it, now.
    pub(super) fn gives_back(&self, Try(number): Try, brings: Brings, now: Instant) {
        // A later round may be under way.
        if let State::Trying(round) = &mut *self.state()
            && round.number == number
        {
            round.take_back(brings, now);
        }
    }

    /// Whether a request would be let through now, for one that is not sent yet.
    pub(super) fn would_let_through(&self, now: Instant) -> bool {
        match &*self.state() {
            State::Closed { .. } => true,
            State::Open { until } => now >= *until,
            State::Trying(round) => !round.is_closed(now),
        }
    }

    /// Takes note of an outcome; returns the new state if it changed. While some try, only what they found
    /// counts: what others are told comes from before. An answer counts from whoever tried since it opened,
    /// or a server slower than the pause would never be back.
    pub(super) fn note(
        &self,
        outcome: Outcome,
        tries: Option<Try>,
        now: Instant,
    ) -> Option<metrics::Breaker> {
        let mut state = self.state();
        let opens = match (&mut *state, outcome) {
            (State::Trying(_), _) if tries.is_none() => false,
            (State::Open { .. }, _) | (State::Closed { .. }, Outcome::Answered) => false,
            (State::Trying(_), Outcome::Answered) => {
                return Some(self.enter(&mut state, State::Closed { failures: VecDeque::new() }));
            }
            (State::Trying(round), Outcome::Failed) => tries == Some(Try(round.number)),
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

    /// One that was opened, and when its pause is over.
    fn opened() -> (Breaker, Instant) {
        let (breaker, start) = (breaker(), Instant::now());
        for _ in 0..2 {
            other(&breaker, Outcome::Failed, start);
        }
        (breaker, start + PAUSE)
    }

    /// One that does not try.
    fn other(breaker: &Breaker, outcome: Outcome, now: Instant) -> Option<metrics::Breaker> {
        breaker.note(outcome, None, now)
    }

    fn tries(breaker: &Breaker, brings: Brings, now: Instant) -> Try {
        match breaker.lets_through(brings, now) {
            Some(Pass::As(attempt)) => attempt,
            other => panic!("it tries: {other:?}"),
        }
    }

    #[test]
    fn an_open_breaker_lets_one_try_after_its_pause() {
        let breaker = breaker();
        let start = Instant::now();
        let asks = |now| breaker.lets_through(Brings::All, now);
        assert_eq!(other(&breaker, Outcome::Failed, start), None);
        assert_eq!(asks(start), Some(Pass::AsMany));
        assert_eq!(other(&breaker, Outcome::Failed, start), Some(metrics::Breaker::Open));
        assert_eq!(asks(start + PAUSE / 2), None);
        assert!(!breaker.would_let_through(start + PAUSE / 2));
        let later = start + PAUSE;
        let first = tries(&breaker, Brings::All, later);
        for moment in [later, later + PAUSE / 2] {
            assert_eq!(asks(moment), None, "only one tries");
            assert!(!breaker.would_let_through(moment));
        }
        assert_eq!(breaker.note(Outcome::Failed, Some(first), later), Some(metrics::Breaker::Open));
        tries(&breaker, Brings::All, later + PAUSE);
        // It never tells: another one may, alone again.
        let last = tries(&breaker, Brings::All, later + 2 * PAUSE);
        assert_eq!(asks(later + 2 * PAUSE), None);
        for outcome in [Outcome::Answered, Outcome::Failed] {
            assert_eq!(other(&breaker, outcome, later + 2 * PAUSE), None, "what began before tells nothing");
        }
        let closed = breaker.note(Outcome::Answered, Some(last), later + 2 * PAUSE);
        assert_eq!(closed, Some(metrics::Breaker::Closed));
        for _ in 0..2 {
            assert_eq!(asks(later + 2 * PAUSE), Some(Pass::AsMany));
        }
    }

    #[test]
    fn for_each_try_whose_client_left_one_more_may_try_at_once() {
        let (breaker, now) = opened();
        let mut leaver = tries(&breaker, Brings::All, now);
        for _ in 0..3 {
            assert_eq!(breaker.lets_through(Brings::All, now), None);
            assert!(!breaker.would_let_through(now));
            breaker.gives_back(leaver, Brings::All, now);
            tries(&breaker, Brings::All, now);
            leaver = tries(&breaker, Brings::All, now);
        }
        breaker.gives_back(leaver, Brings::All, now);
        assert!(breaker.would_let_through(now));
        let failed = breaker.note(Outcome::Failed, Some(leaver), now);
        assert_eq!(failed, Some(metrics::Breaker::Open), "one failure is enough");
        assert_eq!(breaker.lets_through(Brings::All, now), None);
        let first = tries(&breaker, Brings::All, now + PAUSE);
        assert_eq!(breaker.lets_through(Brings::All, now + PAUSE), None, "one, as at first");
        let closed = breaker.note(Outcome::Answered, Some(first), now + PAUSE);
        assert_eq!(closed, Some(metrics::Breaker::Closed));
        breaker.gives_back(first, Brings::All, now + PAUSE);
        assert_eq!(
            breaker.lets_through(Brings::All, now + PAUSE),
            Some(Pass::AsMany),
            "it was closed by then"
        );
    }

    #[test]
    fn who_sends_no_body_is_not_waited_for() {
        let (breaker, mut now) = opened();
        for at_once in [1, 2, 4, 8] {
            for _ in 0..at_once {
                tries(&breaker, Brings::Part, now);
            }
            assert_eq!(breaker.lets_through(Brings::All, now), None);
            now += Round::PATIENCE;
        }
        let honest = tries(&breaker, Brings::Part, now);
        breaker.is_whole(honest, now);
        for _ in 1..16 {
            tries(&breaker, Brings::Part, now);
        }
        let later = now + 2 * Round::PATIENCE;
        assert_eq!(breaker.lets_through(Brings::All, later), None, "the upstream owes an answer");
        breaker.gives_back(honest, Brings::All, later);
        tries(&breaker, Brings::All, later);
    }

    #[test]
    fn only_who_tries_now_changes_anything() {
        let (breaker, now) = opened();
        let first = tries(&breaker, Brings::All, now);
        let second = tries(&breaker, Brings::All, now + PAUSE);
        breaker.gives_back(first, Brings::All, now + PAUSE);
        breaker.is_whole(first, now + 2 * PAUSE);
        assert_eq!(breaker.note(Outcome::Failed, Some(first), now + PAUSE), None, "that was a round ago");
        assert_eq!(breaker.lets_through(Brings::All, now + PAUSE), None);
        breaker.gives_back(second, Brings::All, now + PAUSE);
        tries(&breaker, Brings::All, now + PAUSE);
        let slow = breaker.note(Outcome::Answered, Some(first), now + PAUSE);
        assert_eq!(slow, Some(metrics::Breaker::Closed), "a slow server is back, too");
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let breaker = breaker();
        let start = Instant::now();
        assert_eq!(other(&breaker, Outcome::Failed, start), None);
        assert_eq!(other(&breaker, Outcome::Failed, start + Duration::from_secs(11)), None);
        assert_eq!(breaker.lets_through(Brings::All, start + Duration::from_secs(11)), Some(Pass::AsMany));
    }
}
