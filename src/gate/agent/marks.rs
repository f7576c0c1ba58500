//! What one token did lately in this process, whichever reading of it is in force.
//!
//! Law: how a token's requests ended is told to what counts it one after the other, in the order in
//! which they ended, so that a success forgives the failures before it and none after it. What is
//! refused leaves so many rows a minute of each kind, each kind by its own clock: one clock for all
//! would let what matters hide behind what does not.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cache::Grant;
use crate::base::Timestamp;

/// What kind of refusal leaves so few rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gate) enum Kind {
    /// The token, or its human, may not act.
    State,
    /// It asked too often.
    Pace,
    /// It was refused before it was counted against its rate.
    Early,
    /// It tried what is for people.
    Stray,
}

impl Kind {
    /// How many rows a minute of this kind.
    const fn rows(self) -> i64 {
        match self {
            Self::State => 1,
            Self::Pace | Self::Early | Self::Stray => 30,
        }
    }
}

/// How a request ended, as far as it says something about its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Success,
    Failure,
}

/// What is kept of a token.
#[derive(Debug, Default)]
pub(in crate::gate) struct Marks {
    /// For each kind of refusal the minute of its last row, and how many there were in it.
    rows: [AtomicI64; 4],
    /// A failure was seen here, and no success since.
    has_failed: AtomicBool,
    signs: Mutex<Signs>,
}

#[derive(Debug, Default)]
struct Signs {
    waiting: VecDeque<(Arc<Grant>, Sign)>,
    /// Somebody tells them.
    is_told: bool,
}

impl Marks {
    /// Whether a refusal of this kind leaves a row of its own.
    pub fn may_leave_row(&self, kind: Kind, now: Timestamp) -> bool {
        let minute = now.as_millis() / 60_000;
        let count = |was: i64| match (was >> 8 == minute, was & 0xff) {
            (false, _) => Some(minute << 8 | 1),
            (true, rows) if rows < kind.rows() => Some(was + 1),
            (true, _) => None,
        };
        let [state, pace, early, stray] = &self.rows;
        let rows = match kind {
            Kind::State => state,
            Kind::Pace => pace,
            Kind::Early => early,
            Kind::Stray => stray,
        };
        rows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }

    /// Whether a failure was seen here that no success has forgiven.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Takes up how a request ended; by what the caller is to tell it, and all that come meanwhile.
    #[must_use]
    pub(super) fn take_up(self: &Arc<Self>, grant: &Arc<Grant>, sign: Sign) -> Option<Teller> {
        self.has_failed.store(sign == Sign::Failure, Ordering::Release);
        let mut signs = self.signs();
        let is_said = sign == Sign::Success
            && signs
                .waiting
                .back()
                .is_some_and(|(last, before)| *before == Sign::Success && last.fault_key == grant.fault_key);
        if !is_said {
            signs.waiting.push_back((Arc::clone(grant), sign));
        }
        drop(signs);
        self.teller()
    }

    /// The only one who tells; `None` while there is one.
    fn teller(self: &Arc<Self>) -> Option<Teller> {
        let is_told = std::mem::replace(&mut self.signs().is_told, true);
        (!is_told).then(|| Teller { marks: Arc::clone(self), is_over: false })
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells how requests ended until all was told. One that is lost before that (its task panicked, or was
/// never run) makes room: what waits is told by whoever comes next.
#[derive(Debug)]
pub(super) struct Teller {
    marks: Arc<Marks>,
    is_over: bool,
}

impl Teller {
    /// What is to be told next; `None`: all was told.
    pub fn next(&mut self) -> Option<(Arc<Grant>, Sign)> {
        let mut signs = self.marks.signs();
        let next = signs.waiting.pop_front();
        signs.is_told = next.is_some();
        self.is_over = next.is_none();
        next
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if !self.is_over {
            self.marks.signs().is_told = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teller_that_is_lost_makes_room_and_one_that_is_done_is_not_missed() {
        let marks = Arc::new(Marks::default());
        let lost = marks.teller().expect("the first");
        assert!(marks.teller().is_none(), "there is one");
        drop(lost);
        let mut done = marks.teller().expect("the lost one's place");
        assert!(done.next().is_none());
        let next = marks.teller().expect("the place of who was done");
        drop(done);
        assert!(marks.teller().is_none(), "who was done takes nobody's place along");
        drop(next);
        let mut panicking = marks.teller();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _teller = panicking.take();
            panic!("as a task may");
        }));
        assert!(panicked.is_err() && marks.teller().is_some());
    }

    #[test]
    fn each_kind_of_refusal_leaves_its_rows_each_minute() {
        let marks = Marks::default();
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let rows = |kind, secs| (0..100).filter(|_| marks.may_leave_row(kind, at(secs))).count();
        assert_eq!((rows(Kind::State, 60), rows(Kind::Pace, 61), rows(Kind::Early, 62)), (1, 30, 30));
        assert_eq!((rows(Kind::Pace, 119), rows(Kind::Stray, 119)), (0, 30));
        assert_eq!((rows(Kind::State, 120), rows(Kind::Pace, 120)), (1, 30));
    }
}
