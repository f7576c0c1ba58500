//! Limits in the memory of one process: windows by a log of hits, quotas by governor's GCRA.
//!
//! Law: it stays small. Every entry says when it is worth nothing any more, a sweep drops those,
//! and where a flood of keys fills a shard before the sweep comes, the entries closest to their
//! end go first: theirs is the least to lose. What agents may still spend, and how often they asked, is
//! never dropped for others: where there is no room, whoever comes anew is refused.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use super::purse::{Allowance, Bought, Filling, Kept, Purchase, Purse};
use super::rate::{Counted, Faults, Log, Rate, Standing};
use super::{Quota, Unreachable, Weighed, Window, millis, step_micros};
use crate::base::Timestamp;

const SHARDS: usize = 16;
/// Entries per shard: 131,072 in all, some 20 MB when full.
const SHARD_MAX: usize = 8_192;

/// What agent tokens have here may not be dropped, and there is no room for another one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl From<Full> for Unreachable {
    fn from(Full: Full) -> Self {
        Self { cause: "more agent tokens are at work than one process keeps count of".into() }
    }
}

/// The limits of one process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    logs: Table<Logs>,
    buckets: Table<Bucket>,
    /// Agent tokens: only those that exist come here, so no flood does.
    rates: Table<Log>,
    faults: Table<Faults>,
    purses: Table<Purse>,
}

/// The moments of the hits still counted, oldest first, by the length of their window.
type Logs = Vec<(i64, Vec<i64>)>;

/// When the bucket will be full again, in microseconds (the "theoretical arrival time" of GCRA).
type Bucket = u64;

impl Memory {
    pub(super) fn hit(&self, key: &str, windows: &[Window], now: Timestamp) -> Vec<Weighed> {
        let now = now.as_millis();
        self.logs.with(key, now, |logs| {
            let weighed: Vec<Weighed> = windows.iter().map(|window| weigh(logs, *window, now)).collect();
            let last = weighed.iter().map(|one| one.full_in).max().unwrap_or(0);
            (weighed, now + last)
        })
    }

    /// A limiter of governor has one quota and keeps its own state for good. So one is made for each
    /// question, which is a few numbers, and asked over our state, which is bounded over all quotas.
    pub(super) fn meter(&self, key: &str, quota: Quota, now: Timestamp) -> Weighed {
        let step = step_micros(quota);
        let rate = governor::Quota::with_period(Duration::from_micros(step));
        let (Some(requests), Some(rate)) = (NonZeroU32::new(quota.requests), rate) else {
            return nothing_of(quota, step);
        };
        let whole = step * u64::from(quota.requests);
        let state = Buckets { table: &self.buckets, now, whole, full_in: Cell::new(0) };
        let limiter = Limiter::new(rate.allow_burst(requests), state, Frozen(now));
        let is_allowed = limiter.check_key(&key).is_ok();
        let full_in = limiter.into_state_store().full_in.get();
        let room = whole - full_in;
        Weighed {
            is_allowed,
            limit: quota.requests,
            remaining: u32::try_from(room / step).unwrap_or(u32::MAX),
            per: quota.per,
            wait_for: up_to_millis(step.saturating_sub(room)),
            full_in: up_to_millis(full_in),
        }
    }

    pub(super) fn rate(
        &self,
        key: &str,
        fault_key: &str,
        rate: Rate,
        now: Timestamp,
    ) -> Result<Counted, Full> {
        let weighed = self.rates.with_kept(key, now.as_millis(), |log| log.count(rate.per_minute, now))?;
        if weighed.is_allowed {
            let failures = self.faults.peek(fault_key, |faults| faults.failures(now)).unwrap_or(0);
            return Ok(Counted { weighed, standing: Standing { failures, ..Standing::default() } });
        }
        let (breaches, failures) = self.faults.with(fault_key, now.as_millis(), |faults| {
            let breaches = faults.breach(rate.breaches_max, now);
            ((breaches, faults.failures(now)), faults.ends_at())
        });
        Ok(Counted { weighed, standing: Standing { breaches, failures, ..Standing::default() } })
    }

    pub(super) fn fail(&self, key: &str, now: Timestamp) -> u32 {
        self.faults.with(key, now.as_millis(), |faults| (faults.fail(now), faults.ends_at()))
    }

    pub(super) fn succeed(&self, key: &str, now: Timestamp) {
        self.faults.with(key, now.as_millis(), |faults| (faults.succeed(), faults.ends_at()));
    }

    pub(super) fn buy(&self, key: &str, purchase: &Purchase, now: Timestamp) -> Result<Bought, Full> {
        let act = |purse: &mut Purse| (purse.buy(purchase, now), purse.ends_at());
        self.purses.with_kept(key, now.as_millis(), act)
    }

    pub(super) fn fill(&self, key: &str, filling: &Filling, now: Timestamp) -> Result<Kept, Full> {
        let act = |purse: &mut Purse| (purse.fill(filling), purse.ends_at());
        self.purses.with_kept(key, now.as_millis(), act)
    }

    /// Lets `act` change a purse, if there is one.
    pub(super) fn in_known<R>(&self, key: &str, act: impl FnOnce(&mut Purse) -> R) -> Option<R> {
        self.purses.with_known(key, |purse| (act(purse), purse.ends_at()))
    }

    pub(super) fn in_purse(&self, key: &str) -> Allowance {
        self.purses.peek(key, Purse::left).unwrap_or_default()
    }

    pub(super) fn purse_keys(&self) -> Vec<String> {
        self.purses.keys()
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        self.purses.sweep(now.as_millis());
        self.rates.sweep(now.as_millis());
        self.faults.sweep(now.as_millis());
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

/// What a quota of no requests says.
fn nothing_of(Quota { requests: limit, per }: Quota, step: u64) -> Weighed {
    Weighed { is_allowed: false, limit, remaining: 0, per, wait_for: up_to_millis(step), full_in: 0 }
}

type Limiter<'a> = RateLimiter<&'a str, Buckets<'a>, Frozen, NoOpMiddleware<Nanos>>;

/// Our clock, read once: a limiter counts from when it is made, so to it now is always zero.
struct Frozen(Timestamp);

impl Clock for Frozen {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(micros(self.0).saturating_mul(1000))
    }
}

/// The buckets as governor sees them in one question.
struct Buckets<'a> {
    table: &'a Table<Bucket>,
    now: Timestamp,
    /// How long an empty bucket takes to fill, in microseconds.
    whole: u64,
    /// What the question left: in how many microseconds the bucket will be full again.
    full_in: Cell<u64>,
}

impl<'a> StateStore for Buckets<'a> {
    type Key = &'a str;

    fn measure_and_replace<T, F, E>(&self, key: &&'a str, weigh: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let now = micros(self.now);
        self.table.with(key, self.now.as_millis(), |full_at| {
            // After a clock that went back never further ahead than a whole bucket.
            let before = full_at.saturating_sub(now).min(self.whole);
            let (answer, full_in) = match weigh(Some(Nanos::new(before * 1000))) {
                Ok((allowed, next)) => (Ok(allowed), next.as_u64() / 1000),
                Err(refused) => (Err(refused), before),
            };
            *full_at = now.saturating_add(full_in);
            self.full_in.set(full_in);
            (answer, self.now.as_millis().saturating_add(up_to_millis(full_in)))
        })
    }
}

fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0).saturating_mul(1000)
}

/// Microseconds as milliseconds, rounded up.
fn up_to_millis(micros: u64) -> i64 {
    i64::try_from(micros.div_ceil(1000)).unwrap_or(i64::MAX)
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
        let mut entries = self.shard_of(key);
        if !entries.contains_key(key) && entries.len() >= SHARD_MAX {
            make_room(&mut entries, now);
        }
        change(&mut entries, key, act)
    }

    /// The same where nothing is dropped before it has expired.
    fn with_kept<R>(&self, key: &str, now: i64, act: impl FnOnce(&mut V) -> (R, i64)) -> Result<R, Full> {
        let mut entries = self.shard_of(key);
        if !entries.contains_key(key) && entries.len() >= SHARD_MAX {
            entries.retain(|_, slot| slot.expires_at > now);
            if entries.len() >= SHARD_MAX {
                return Err(Full);
            }
        }
        Ok(change(&mut entries, key, act))
    }

    /// The same where there is such a value.
    fn with_known<R>(&self, key: &str, act: impl FnOnce(&mut V) -> (R, i64)) -> Option<R> {
        let mut entries = self.shard_of(key);
        entries.contains_key(key).then(|| change(&mut entries, key, act))
    }

    fn shard_of(&self, key: &str) -> MutexGuard<'_, HashMap<Box<str>, Slot<V>>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `ask` reads of the value of `key`, if there is one.
    fn peek<R>(&self, key: &str, ask: impl FnOnce(&V) -> R) -> Option<R> {
        self.shard_of(key).get(key).map(|slot| ask(&slot.value))
    }

    fn keys(&self) -> Vec<String> {
        let of = |shard: &Mutex<HashMap<Box<str>, Slot<V>>>| {
            let entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
            entries.keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
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

fn change<V: Default, R>(
    entries: &mut HashMap<Box<str>, Slot<V>>,
    key: &str,
    act: impl FnOnce(&mut V) -> (R, i64),
) -> R {
    if let Some(slot) = entries.get_mut(key) {
        let (answer, expires_at) = act(&mut slot.value);
        slot.expires_at = expires_at;
        return answer;
    }
    let mut value = V::default();
    let (answer, expires_at) = act(&mut value);
    entries.insert(key.into(), Slot { value, expires_at });
    answer
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
