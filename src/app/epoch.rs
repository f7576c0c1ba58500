//! Epochs: the number of the last change that touched a subject, as far as this process has seen.
//!
//! Law: the epoch of a subject never falls. Entries may be dropped to stay bounded: an absent one
//! reads as the floor, which is at least as high as everything dropped. So a cache entry that was
//! invalid stays invalid, and dropping costs refills, never a right that was taken away.

use std::sync::atomic::{AtomicI64, Ordering};

use papaya::{Compute, HashMap, Operation};

use crate::audit::Subject;

/// With more entries than this the older half goes.
const MOST: usize = 100_000;
/// More changes than any store ever sees.
const AGE: i64 = 1 << 40;

/// What caches compare with.
#[derive(Debug)]
pub struct Epochs {
    raised: HashMap<Subject, i64>,
    floor: AtomicI64,
    /// What is added to the number of a change, because the store once gave it to another.
    lift: AtomicI64,
}

impl From<i64> for Epochs {
    fn from(floor: i64) -> Self {
        Self { raised: HashMap::new(), floor: AtomicI64::new(floor), lift: AtomicI64::new(0) }
    }
}

impl Epochs {
    /// The epoch of `subject` now. An entry of a cache counts only while this is what it was when
    /// its facts were read: ask before reading them, and again before inserting them.
    pub fn of(&self, subject: Subject) -> i64 {
        let raised = self.raised.pin().get(&subject).copied();
        // After the map: an entry is dropped only once the floor has reached it.
        raised.unwrap_or_else(|| self.floor.load(Ordering::Acquire))
    }

    /// Raises the epoch of `subject` to `seq`; whether it rose. The second time it does not,
    /// except where the entry is gone: what was dropped counts as new rather than as known.
    pub fn raise_to(&self, subject: Subject, seq: i64) -> bool {
        let seq = self.lifted(seq);
        if seq <= self.floor.load(Ordering::Acquire) {
            return true;
        }
        let raised = self.raised.pin();
        let outcome = raised.compute(subject, |known| match known {
            Some((_, known)) if *known >= seq => Operation::Abort(()),
            _ => Operation::Insert(seq),
        });
        let has_risen = matches!(outcome, Compute::Inserted(..) | Compute::Updated { .. });
        if raised.len() > MOST {
            self.halve();
        }
        has_risen
    }

    /// Raises every epoch there can be to `seq`: what happened in between is not known.
    pub fn flush(&self, seq: i64) {
        self.flush_to(self.lifted(seq));
    }

    /// The store has gone back: numbers that were seen already come again and mean other changes.
    /// From here on each counts as higher than all before.
    pub fn begin_anew(&self) {
        self.lift.fetch_add(AGE, Ordering::AcqRel);
    }

    fn lifted(&self, seq: i64) -> i64 {
        seq.saturating_add(self.lift.load(Ordering::Acquire))
    }

    fn flush_to(&self, floor: i64) {
        self.floor.fetch_max(floor, Ordering::AcqRel);
        self.drop_below_floor();
    }

    fn halve(&self) {
        let mut seqs: Vec<i64> = self.raised.pin().values().copied().collect();
        let middle = seqs.len() / 2;
        let (_, median, _) = seqs.select_nth_unstable(middle);
        self.flush_to(*median);
    }

    fn drop_below_floor(&self) {
        let floor = self.floor.load(Ordering::Acquire);
        self.raised.pin().retain(|_, seq| *seq > floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    fn account(number: u128) -> Subject {
        Subject::Account(Id::from_u128(number))
    }

    #[test]
    fn an_epoch_rises_once_per_change_and_never_falls() {
        let epochs = Epochs::from(10);
        assert_eq!(epochs.of(account(1)), 10);
        assert!(epochs.raise_to(account(1), 12));
        assert!(!epochs.raise_to(account(1), 12));
        assert!(!epochs.raise_to(account(1), 11));
        assert!(epochs.raise_to(account(2), 9), "below the floor nobody knows any more");
        assert_eq!((epochs.of(account(1)), epochs.of(account(2))), (12, 10));
    }

    #[test]
    fn dropping_entries_never_makes_an_old_view_valid_again() {
        let epochs = Epochs::from(0);
        let seen_before: Vec<i64> = (0..300).map(|n| epochs.of(account(n))).collect();
        for n in 0..300 {
            epochs.raise_to(account(n), i64::try_from(n).unwrap() + 1);
        }
        let seen_raised: Vec<i64> = (0..300).map(|n| epochs.of(account(n))).collect();
        epochs.halve();
        for n in 0..300_usize {
            let now = epochs.of(account(n as u128));
            assert!(now >= seen_raised[n] && now > seen_before[n], "{n}");
        }
        assert!(epochs.raised.pin().len() < 200);
    }

    #[test]
    fn a_number_that_comes_again_is_another_epoch() {
        let epochs = Epochs::from(10);
        epochs.raise_to(account(1), 12);
        let (one, two) = (epochs.of(account(1)), epochs.of(account(2)));
        epochs.begin_anew();
        epochs.flush(11);
        assert!(epochs.of(account(1)) > one && epochs.of(account(2)) > one.max(two));
        let flushed = epochs.of(account(1));
        assert!(epochs.raise_to(account(1), 12));
        assert!(epochs.of(account(1)) > flushed);
    }

    #[test]
    fn the_map_stays_bounded() {
        let epochs = Epochs::from(0);
        for n in 0..(MOST as u128 + 1000) {
            epochs.raise_to(account(n), i64::try_from(n).unwrap() + 1);
        }
        assert!(epochs.raised.pin().len() <= MOST);
    }
}
