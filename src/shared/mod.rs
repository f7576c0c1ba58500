//! State that replicas share: limits, leases and hints, in memory or in Redis.
//!
//! Law: nothing here is the only copy of a promise. What is lost with it is how often someone
//! called lately; revocations, lockouts and everything used once live in the store. A Redis that
//! does not answer is [`Unreachable`] within its patience, and callers then refuse.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::base::{Clock, Id, Secret, Timestamp};

pub mod alone;
mod memory;
mod purse;
mod rate;
mod redis;
#[cfg(test)]
mod tests;

use memory::Memory;
pub use purse::{Allowance, Bought, Emptied, Era, Filling, Kept, Price, Purchase, Returned, Short};
pub use rate::{Blame, Rate, Rated, Standing};
use redis::Redis;

/// At most `limit` hits within any span of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub limit: u32,
    pub per: Duration,
}

/// A quota over more is counted over this: so far its numbers are exact, also in a script of Redis.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);
/// The policy of a Redis that refuses to write rather than forget.
const KEEPING: &str = "noeviction";

/// `requests` at once, and then as many again spread evenly over `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    pub per: Duration,
}

/// What a limit said. Of several windows this tells of the one that refused for longest, or, if
/// none refused, of the one with the least left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub is_allowed: bool,
    pub limit: u32,
    pub remaining: u32,
    pub per: Duration,
    /// When the whole limit is free again if nothing more comes.
    pub reset_at: Timestamp,
    /// How long until the next hit can be allowed; zero where there is room now.
    pub retry_after: Duration,
}

/// Who does a job that only one replica should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    Here,
    Elsewhere,
}

/// The shared state did not answer in time, or answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// For the log, not for whoever asked.
    pub cause: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shared state does not answer: {}", self.cause)
    }
}

impl std::error::Error for Unreachable {}

/// The shared state. Clones share it.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    clock: Arc<dyn Clock>,
    hints: Hints,
    /// Another process counts in its own memory, so nobody does rightly.
    is_elsewhere: AtomicBool,
}

#[derive(Debug)]
enum Place {
    Memory(Memory),
    Redis(Box<Redis>),
}

/// The highest change number that was announced here, and the highest heard of from elsewhere.
#[derive(Debug)]
struct Hints {
    announced: watch::Sender<i64>,
    heard: watch::Sender<i64>,
}

/// What a limit said in milliseconds from now, before the wall clock comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weighed {
    is_allowed: bool,
    limit: u32,
    remaining: u32,
    per: Duration,
    wait_for: i64,
    full_in: i64,
}

impl Shared {
    /// State of this process alone.
    #[must_use]
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        Self::new(Place::Memory(Memory::default()), clock)
    }

    /// State in the Redis at `url`, under keys that no other `installation` uses. `replica` tells
    /// this process from the others; `patience` is how long a question may take, reconnecting included.
    ///
    /// A Redis that is not there yet is no error: it is tried again whenever it is needed.
    ///
    /// # Errors
    /// [`Unreachable`] if `url` names no Redis at all.
    pub async fn redis(
        url: &Secret<String>,
        patience: Duration,
        installation: &str,
        replica: Id,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unreachable> {
        let redis = Redis::open(url, patience, installation, replica)?;
        redis.greet().await;
        Ok(Self::new(Place::Redis(Box::new(redis)), clock))
    }

    fn new(place: Place, clock: Arc<dyn Clock>) -> Self {
        let hints = Hints { announced: watch::Sender::new(0), heard: watch::Sender::new(0) };
        Self(Arc::new(Inner { place, clock, hints, is_elsewhere: AtomicBool::new(false) }))
    }

    /// What is counted in memory is the truth: no other process counts beside this one.
    pub fn count_here(&self) {
        self.0.is_elsewhere.store(false, Ordering::Release);
    }

    /// Another process counts in its own memory: from now on every question is [`Unreachable`].
    pub fn count_elsewhere(&self) {
        self.0.is_elsewhere.store(true, Ordering::Release);
    }

    fn memory_in_force<'a>(&self, memory: &'a Memory) -> Result<&'a Memory, Unreachable> {
        if self.0.is_elsewhere.load(Ordering::Acquire) {
            return Err(Unreachable { cause: "another process counts in a memory of its own".into() });
        }
        Ok(memory)
    }

    /// Counts one hit of `key` against every window: exact, a log of moments for each. A window
    /// that refuses does not count the hit; the others do. A key is always used with the same
    /// windows.
    pub async fn hit(&self, key: &str, windows: &[Window]) -> Result<Hit, Unreachable> {
        let weighed = match &self.0.place {
            Place::Memory(memory) => self.memory_in_force(memory)?.hit(key, windows, self.0.clock.now()),
            Place::Redis(redis) => redis.hit(key, windows).await?,
        };
        let refused = weighed.iter().filter(|one| !one.is_allowed).max_by_key(|one| one.wait_for);
        let tightest = refused.or_else(|| weighed.iter().min_by_key(|one| one.remaining));
        tightest
            .map(|one| self.told(*one))
            .ok_or_else(|| Unreachable { cause: "a limit without windows".into() })
    }

    /// Counts one request of `key` against `quota`: a bucket that refills evenly (GCRA).
    pub async fn meter(&self, key: &str, quota: Quota) -> Result<Hit, Unreachable> {
        let weighed = match &self.0.place {
            Place::Memory(memory) => self.memory_in_force(memory)?.meter(key, quota, self.0.clock.now()),
            Place::Redis(redis) => redis.meter(key, quota).await?,
        };
        Ok(self.told(weighed))
    }

    /// Counts one request of an agent token, and buys for it what it needs if it may pass. `key`
    /// names the token; `blame` what is counted against it, which begins anew under another name.
    pub async fn rate(
        &self,
        key: &str,
        blame: Blame<'_>,
        rate: Rate,
        purchase: Option<&Purchase>,
    ) -> Result<(Rated, Option<Bought>), Unreachable> {
        let now = self.0.clock.now();
        let (counted, bought) = match &self.0.place {
            Place::Memory(memory) => {
                let memory = self.memory_in_force(memory)?;
                let counted = memory.rate(key, blame.key, rate, now)?;
                let purchase = purchase.filter(|_| counted.weighed.is_allowed);
                (counted, purchase.map(|purchase| memory.buy(key, purchase, now)).transpose()?)
            }
            Place::Redis(redis) => {
                redis.rate(key, blame, rate, purchase.map(|purchase| (purchase, now))).await?
            }
        };
        let rate::Counted { weighed, standing } = counted;
        Ok((Rated { hit: self.told(weighed), standing }, bought))
    }

    /// Notes a failure of what an agent token asked for; how many there were one after the other.
    /// Where that is forgotten: more than anybody tolerates.
    pub async fn fail(&self, blame: Blame<'_>) -> Result<u32, Unreachable> {
        match &self.0.place {
            Place::Memory(memory) => Ok(self.memory_in_force(memory)?.fail(blame.key, self.0.clock.now())),
            Place::Redis(redis) => redis.fail(blame).await,
        }
    }

    /// Notes a success: failures count from nothing again.
    pub async fn succeed(&self, fault_key: &str) -> Result<(), Unreachable> {
        match &self.0.place {
            Place::Memory(memory) => {
                self.memory_in_force(memory)?.succeed(fault_key, self.0.clock.now());
                Ok(())
            }
            Place::Redis(redis) => redis.succeed(fault_key).await,
        }
    }

    /// Takes or keeps the right to do the job `name` for `span`. In memory there is nobody else.
    pub async fn lease(&self, name: &str, span: Duration) -> Result<Leased, Unreachable> {
        match &self.0.place {
            Place::Memory(_) => Ok(Leased::Here),
            Place::Redis(redis) => redis.lease(name, span).await,
        }
    }

    /// Asks for a sign of life.
    pub async fn ping(&self) -> Result<(), Unreachable> {
        match &self.0.place {
            Place::Memory(_) => Ok(()),
            Place::Redis(redis) => redis.ping().await,
        }
    }

    /// The policy by which Redis may drop what is counted when its memory is full; `None` where it never
    /// does, or does not tell.
    pub async fn may_forget(&self) -> Option<String> {
        match &self.0.place {
            Place::Memory(_) => None,
            Place::Redis(redis) => redis.policy().await.filter(|policy| policy != KEEPING),
        }
    }

    /// Hints to other replicas that change `seq` was committed. Never waits and never fails: the
    /// truth is in the store, which they read anyway.
    pub fn announce(&self, seq: i64) {
        raise(&self.0.hints.announced, seq);
    }

    /// The highest change number that another replica hinted at.
    #[must_use]
    pub fn heard(&self) -> watch::Receiver<i64> {
        self.0.hints.heard.subscribe()
    }

    /// Carries hints to and from the other replicas. Never ends; a task runs it and drops it.
    pub async fn carry_hints(&self) {
        match &self.0.place {
            Place::Memory(_) => std::future::pending().await,
            Place::Redis(redis) => redis.carry(&self.0.hints).await,
        }
    }

    /// Forgets what has expired. A task calls it once in a while; Redis does it by itself.
    pub fn sweep(&self) {
        if let Place::Memory(memory) = &self.0.place {
            memory.sweep(self.0.clock.now());
        }
    }

    fn told(&self, weighed: Weighed) -> Hit {
        let Weighed { is_allowed, limit, remaining, per, wait_for, full_in } = weighed;
        let span = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        let reset_at = self.0.clock.now().plus(span(full_in));
        Hit { is_allowed, limit, remaining, per, reset_at, retry_after: span(wait_for) }
    }
}

/// Raises a hint; waiters wake only if it rose.
fn raise(hint: &watch::Sender<i64>, seq: i64) {
    hint.send_if_modified(|known| {
        let is_higher = seq > *known;
        *known = seq.max(*known);
        is_higher
    });
}

/// A duration in whole milliseconds, at least one.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4).max(1)
}

/// A bucket's step in microseconds: what one request adds. Rounded up, so that the rate is never
/// above the quota; the whole bucket is `requests` steps, so that the burst is exact.
fn step_micros(quota: Quota) -> u64 {
    let per = u64::try_from(quota.per.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
    per.div_ceil(u64::from(quota.requests.max(1))).max(1)
}
