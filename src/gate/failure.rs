//! How many bad credentials an address may send before they are no longer looked at.
//!
//! Law: in this process only and bounded; it protects the processor from garbage, not accounts
//! from guessing, which is counted elsewhere. Only failures count, so an address whose callers
//! behave is never slowed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::base::{Timestamp, ip};

const ADDRESSES_MAX: usize = 50_000;
/// Failures that may come at once.
pub const BURST: u32 = 100;
/// How long until all of them are forgiven.
pub const FORGIVEN_WITHIN: Duration = Duration::from_secs(10);
/// Milliseconds in which one failure is forgiven.
const FORGIVEN_AFTER: i64 = 100;

/// A leaky bucket per address: the moment at which all its failures are forgiven.
#[derive(Debug)]
pub struct Failures(Cache<IpAddr, Arc<AtomicI64>>);

impl Failures {
    pub fn new() -> Self {
        Self(Cache::new(ADDRESSES_MAX))
    }

    /// How long to wait when the bucket of this address is full.
    pub fn check(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let Some(bucket) = self.0.get(&ip::counted_as(client)) else { return Ok(()) };
        let over = bucket.load(Ordering::Relaxed) - now.as_millis() - i64::from(BURST) * FORGIVEN_AFTER;
        match u64::try_from(over) {
            Ok(wait) if wait > 0 => Err(Duration::from_millis(wait)),
            _ => Ok(()),
        }
    }

    /// Counts one failure.
    pub fn count(&self, client: IpAddr, now: Timestamp) {
        let key = ip::counted_as(client);
        let bucket = self.0.get(&key).unwrap_or_else(|| {
            let bucket = Arc::new(AtomicI64::new(0));
            self.0.insert(key, Arc::clone(&bucket));
            bucket
        });
        let pour = |forgiven_at: i64| Some(forgiven_at.max(now.as_millis()) + FORGIVEN_AFTER);
        let _previous = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_forgiven_one_by_one() {
        let failures = Failures::new();
        let client = IpAddr::from([192, 0, 2, 1]);
        let at = Timestamp::from_millis;
        for _ in 0..BURST {
            failures.count(client, at(1_000));
        }
        assert_eq!(failures.check(client, at(1_000)), Ok(()));
        failures.count(client, at(1_000));
        assert_eq!(failures.check(client, at(1_000)), Err(Duration::from_millis(100)));
        assert_eq!(failures.check(client, at(1_100)), Ok(()));
    }

    #[test]
    fn one_ipv6_subscriber_has_one_bucket() {
        let failures = Failures::new();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..=BURST {
            failures.count(address("2001:db8::1"), Timestamp::from_millis(0));
        }
        assert!(failures.check(address("2001:db8::ffff"), Timestamp::from_millis(0)).is_err());
        assert!(failures.check(address("2001:db8:0:1::1"), Timestamp::from_millis(0)).is_ok());
    }
}
