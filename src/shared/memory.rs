//! Limits in the memory of one process.
//!
//! Law: it stays small. Every entry says when it is worth nothing any more, a sweep drops those,
//! and where a flood of keys fills a shard before the sweep comes, the entries closest to their
//! end go first: theirs is the least to lose.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::{Quota, Weighed, Window, millis, step_micros};
use crate::base::Timestamp;

const SHARDS: usize = 16;
/// Entries per shard: 131,072 in all, some 20 MB when full.
const SHARD_MAX: usize = 8_192;

/// The limits of one process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    logs: Table<Logs>,
    buckets: Table<Bucket>,
}

/// The moments of the hits still counted, oldest first, by the length of their window.
type Logs = Vec<(i64, Vec<i64>)>;

/// When the bucket will be full again, in microseconds (the "theoretical arrival time" of GCRA).
type Bucket = i64;

impl Memory {
    pub(super) fn hit(&self, key: &str, windows: &[Window], now: Timestamp) -> Vec<Weighed> {
        let now = now.as_millis();
        self.logs.with(key, now, |logs| {
            let weighed: Vec<Weighed> = windows.iter().map(|window| weigh(logs, *window, now)).collect();
            let last = weighed.iter().map(|one| one.full_in).max().unwrap_or(0);
            (weighed, now + last)
        })
    }

    pub(super) fn meter(&self, key: &str, quota: Quota, now: Timestamp) -> Weighed {
        let now = now.as_millis().saturating_mul(1000);
        self.buckets.with(key, now / 1000, |full_at| {
            let (weighed, next) = pour(*full_at, quota, now);
            *full_at = next;
            (weighed, now / 1000 + weighed.full_in)
        })
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        self.logs.sweep(now.as_millis());
        self.buckets.sweep(now.as_millis());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.logs.len() + self.buckets.len()
    }
}

/// One hit against one window.
fn weigh(logs: &mut Logs, window: Window, now: i64) -> Weighed {
    let per = millis(window.per);
    let place = logs.iter().position(|(length, _)| *length == per).unwrap_or_else(|| {
        logs.push((per, Vec::new()));
        logs.len() - 1
    });
    let log = &mut logs[place].1;
    // A clock that went back must neither forget hits nor keep them for longer than their window.
    for at in log.iter_mut() {
        *at = now.min(*at);
    }
    log.retain(|at| *at > now - per);
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let is_allowed = log.len() < limit;
    if is_allowed {
        log.push(now);
    }
    let frees_at = if log.len() < limit { now } else { log.first().map_or(now + per, |oldest| oldest + per) };
    Weighed {
        is_allowed,
        limit: window.limit,
        remaining: u32::try_from(limit - log.len().min(limit)).unwrap_or(u32::MAX),
        per: window.per,
        wait_for: frees_at - now,
        full_in: log.last().map_or(0, |newest| newest + per - now),
    }
}

/// One request against one bucket: what came of it, and when the bucket will be full again.
fn pour(full_at: Bucket, quota: Quota, now: i64) -> (Weighed, Bucket) {
    let step = step_micros(quota);
    let whole = step.saturating_mul(i64::from(quota.requests));
    // Never in the past, and after a clock that went back never further ahead than a whole bucket.
    let full_at = full_at.clamp(now, now.saturating_add(whole));
    let is_allowed = full_at.saturating_add(step) <= now.saturating_add(whole);
    let next = if is_allowed { full_at.saturating_add(step) } else { full_at };
    let room = now.saturating_add(whole) - next;
    let weighed = Weighed {
        is_allowed,
        limit: quota.requests,
        remaining: u32::try_from(room / step).unwrap_or(0),
        per: quota.per,
        wait_for: up_to_millis(step - room),
        full_in: up_to_millis(next - now),
    };
    (weighed, next)
}

/// Microseconds as milliseconds, rounded up, never below zero.
fn up_to_millis(micros: i64) -> i64 {
    micros.max(0).saturating_add(999) / 1000
}

/// Values by key, each with the moment from which it is worth nothing.
#[derive(Debug)]
struct Table<V> {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<Box<str>, Slot<V>>>>,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    expires_at: i64,
}

impl<V: Default> Default for Table<V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl<V: Default> Table<V> {
    /// Lets `act` change the value of `key`; it returns its answer and when the value expires.
    fn with<R>(&self, key: &str, now: i64, act: impl FnOnce(&mut V) -> (R, i64)) -> R {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        let mut entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = entries.get_mut(key) {
            let (answer, expires_at) = act(&mut slot.value);
            slot.expires_at = expires_at;
            return answer;
        }
        if entries.len() >= SHARD_MAX {
            make_room(&mut entries, now);
        }
        let mut value = V::default();
        let (answer, expires_at) = act(&mut value);
        entries.insert(key.into(), Slot { value, expires_at });
        answer
    }

    fn sweep(&self, now: i64) {
        for shard in &self.shards {
            let mut entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
            entries.retain(|_, slot| slot.expires_at > now);
            if entries.capacity() > 4 * entries.len().max(64) {
                entries.shrink_to_fit();
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Drops what has expired, and if that is not enough the eighth that would expire next.
fn make_room<V>(entries: &mut HashMap<Box<str>, Slot<V>>, now: i64) {
    entries.retain(|_, slot| slot.expires_at > now);
    if entries.len() < SHARD_MAX {
        return;
    }
    let mut ends: Vec<i64> = entries.values().map(|slot| slot.expires_at).collect();
    let (_, pivot, _) = ends.select_nth_unstable(SHARD_MAX / 8);
    let pivot = *pivot;
    // Of many with the same end only as many go as must.
    let mut spare = SHARD_MAX / 8;
    entries.retain(|_, slot| {
        let goes = slot.expires_at <= pivot && spare > 0;
        spare -= usize::from(goes);
        !goes
    });
}
