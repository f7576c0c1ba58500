//! The rate and the failures of one agent token, in memory.
//!
//! Law: never more than the limit within any rolling minute. Up to 600 it is a log of moments;
//! above, one-second cells that are counted until all of the second is a minute old. What was
//! refused is not in the log; it is remembered as a breach for an hour.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Hit, Weighed};
use crate::base::Timestamp;

/// Up to this limit every request is a moment of its own.
pub(super) const EXACT_MAX: u32 = 600;
pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 3_600_000;
/// How long failures are remembered after the last one.
pub(super) const DAY: i64 = 86_400_000;

/// What is counted against a token, under which name, and since when there can have been anything.
#[derive(Clone, Copy, Debug)]
pub struct Blame<'a> {
    pub key: &'a str,
    /// Since when it may ask at all.
    pub there_since: Timestamp,
    /// Since when anything is held against it: a human who resumed it has forgiven what was before.
    pub since: Timestamp,
}

/// What one token may do in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: u32,
    /// How many breaches of the last hour are told apart at most.
    pub breaches_max: u32,
}

/// What was said about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rated {
    pub hit: Hit,
    pub standing: Standing,
}

/// The same before the wall clock comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub weighed: Weighed,
    pub standing: Standing,
}

/// How the token of a request stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Refused requests within the hour, this one included; of a request that passed: 0.
    pub breaches: u32,
    /// Failures one after the other, as far as they are told.
    pub failures: u32,
    /// There may have been more failures, which are forgotten.
    pub is_unsure: bool,
    /// What this token asked for within the last minute may be forgotten: nothing of it passes for so
    /// long, and nothing was counted.
    pub closed_for: Option<Duration>,
}

/// Requests that still count: until when, and how many.
#[derive(Debug, Default)]
pub(super) struct Log {
    counted: VecDeque<(i64, u32)>,
    total: u32,
}

/// What went wrong since a human looked last.
#[derive(Debug, Default)]
pub(super) struct Faults {
    breaches: VecDeque<i64>,
    failures: u32,
    failures_end: i64,
}

impl Log {
    /// Counts one request; the answer, and from when this log is worth nothing.
    pub(super) fn count(&mut self, limit: u32, now: Timestamp) -> (Weighed, i64) {
        let now = now.as_millis();
        self.forget(now);
        let is_allowed = self.total < limit;
        if is_allowed {
            self.total += 1;
            let until = counts_until(limit, now);
            match self.counted.back_mut() {
                Some((last, count)) if *last == until && limit > EXACT_MAX => *count += 1,
                _ => self.counted.push_back((until, 1)),
            }
        }
        let first = self.counted.front().map_or(now + MINUTE, |(until, _)| *until);
        let full_at = self.counted.back().map_or(now, |(until, _)| *until);
        let weighed = Weighed {
            is_allowed,
            limit,
            remaining: limit.saturating_sub(self.total),
            per: Duration::from_mins(1),
            wait_for: if self.total < limit { 0 } else { first - now },
            full_in: full_at - now,
        };
        (weighed, full_at)
    }

    fn forget(&mut self, now: i64) {
        // A clock that went back must neither forget requests nor keep them for longer.
        let latest = now + MINUTE + 1000;
        if self.counted.back().is_some_and(|(until, _)| *until > latest) {
            for (until, _) in &mut self.counted {
                *until = latest.min(*until);
            }
        }
        while let Some((until, count)) = self.counted.front().copied()
            && until <= now
        {
            self.counted.pop_front();
            self.total -= count;
        }
    }
}

/// Until when a request counts that comes now.
fn counts_until(limit: u32, now: i64) -> i64 {
    if limit <= EXACT_MAX { now + MINUTE } else { (now.div_euclid(1000) + 1) * 1000 + MINUTE }
}

impl Faults {
    /// Notes a refused request; how many there were within the hour.
    pub(super) fn breach(&mut self, most: u32, now: Timestamp) -> u32 {
        let now = now.as_millis();
        // A clock that went back must neither forget breaches nor keep them for longer.
        for at in &mut self.breaches {
            *at = now.min(*at);
        }
        self.breaches.retain(|at| *at > now - HOUR);
        if most > 0 {
            self.breaches.push_back(now);
        }
        while self.breaches.len() > usize::try_from(most).unwrap_or(usize::MAX) {
            self.breaches.pop_front();
        }
        u32::try_from(self.breaches.len()).unwrap_or(u32::MAX)
    }

    /// Notes a failure; how many there were one after the other.
    pub(super) fn fail(&mut self, now: Timestamp) -> u32 {
        self.failures = self.failures(now).saturating_add(1);
        self.failures_end = now.as_millis() + DAY;
        self.failures
    }

    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.failures_end = 0;
    }

    pub(super) fn failures(&self, now: Timestamp) -> u32 {
        if now.as_millis() < self.failures_end { self.failures } else { 0 }
    }

    /// From when nothing of it is worth anything.
    pub(super) fn ends_at(&self) -> i64 {
        self.breaches.back().map_or(0, |at| at + HOUR).max(self.failures_end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + millis)
    }

    proptest! {
        /// T13: the window that hurts is the one that no calendar minute shows.
        #[test]
        fn t13_no_rolling_minute_holds_more_than_the_limit(
            limit in prop_oneof![1..=20_u32, 601..=640_u32],
            gaps in prop::collection::vec(0..=900_i64, 1500),
        ) {
            let mut log = Log::default();
            let mut passed = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += if limit > EXACT_MAX { gap / 15 } else { gap };
                if log.count(limit, at(now)).0.is_allowed {
                    passed.push(now);
                }
            }
            let most = usize::try_from(limit).unwrap();
            for window in passed.windows(most + 1) {
                prop_assert!(window[most] - window[0] >= MINUTE, "{} to {}", window[0], window[most]);
            }
            prop_assert!(passed.len() >= most.min(1500));
        }
    }

    #[test]
    fn a_clock_that_goes_back_forgives_no_breach() {
        let (mut faults, at) = (Faults::default(), |seconds: i64| Timestamp::from_millis(seconds * 1000));
        assert_eq!((faults.breach(3, at(7200)), faults.breach(3, at(7201))), (1, 2));
        assert_eq!(faults.breach(3, at(3600)), 3, "they were within the hour, whatever the clock says now");
        assert_eq!(faults.breach(3, at(7200)), 1, "and are kept for no longer than that");
    }

    #[test]
    fn t13_the_edge_of_a_minute_lets_nothing_twice() {
        let mut log = Log::default();
        let mut ask = |millis| log.count(30, at(millis)).0.is_allowed;
        assert_eq!((0..200).filter(|_| ask(59_900)).count(), 30);
        assert_eq!((0..200).filter(|_| ask(60_100)).count(), 0);
        assert_eq!((0..200).filter(|_| ask(119_899)).count(), 0);
        assert_eq!((0..200).filter(|_| ask(119_900)).count(), 30);
    }

    #[test]
    fn a_limit_of_zero_and_a_clock_that_went_back() {
        let mut log = Log::default();
        assert!(!log.count(0, at(0)).0.is_allowed);
        assert!(log.count(1, at(3_600_000)).0.is_allowed);
        let (weighed, _) = log.count(1, at(0));
        assert!(!weighed.is_allowed && weighed.wait_for <= MINUTE + 1000);
        assert!(log.count(1, at(MINUTE + 1000)).0.is_allowed);
    }

    #[test]
    fn breaches_count_for_an_hour_and_failures_one_after_the_other() {
        let mut faults = Faults::default();
        let counts: Vec<_> = [0, 1, 2, HOUR + 1].into_iter().map(|t| faults.breach(3, at(t))).collect();
        assert_eq!(counts, [1, 2, 3, 2]);
        assert_eq!(faults.breach(0, at(HOUR + 2)), 0);
        assert_eq!((faults.fail(at(0)), faults.fail(at(1))), (1, 2));
        assert_eq!(faults.ends_at(), at(1).as_millis() + DAY);
        faults.succeed();
        assert_eq!((faults.failures(at(2)), faults.fail(at(2))), (0, 1));
        assert_eq!(
            (faults.failures(at(1 + DAY)), faults.failures(at(2 + DAY))),
            (1, 0),
            "a day after the last"
        );
    }
}
