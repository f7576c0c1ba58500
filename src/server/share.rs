//! How many of what the gateway sends by itself may be under way for one upstream and for one human.
//!
//! Law: whoever is slow keeps their own waiting and nobody else's. A place is given back when it is
//! dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::approval::{Approval, Crowd};
use crate::base::Id;
use crate::config::Config;

/// Fewer than may be under way altogether, so that nobody has all.
const PER_UPSTREAM: usize = 8;
const PER_ACCOUNT: usize = 16;

/// Who has how many places.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    upstreams: HashMap<String, usize>,
    accounts: HashMap<Id, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    upstream: String,
    account: Id,
}

impl Shares {
    /// Who has as many as they may.
    pub(super) fn crowd(&self, config: &Config) -> Crowd {
        let counts = self.counts();
        let is_full = |upstream| counts.upstreams.get(upstream).is_some_and(|count| *count >= PER_UPSTREAM);
        let routes = config.routes.iter().filter(|route| is_full(&route.upstream));
        let accounts = counts.accounts.iter().filter(|(_, count)| **count >= PER_ACCOUNT);
        Crowd {
            routes: routes.map(|route| route.name.clone()).collect(),
            accounts: accounts.map(|(account, _)| *account).collect(),
        }
    }

    /// A place for this one, if there is one.
    pub(super) fn enter(&self, config: &Config, approval: &Approval) -> Option<Share> {
        let route = config.routes.iter().find(|route| route.name == approval.route);
        // What has no route any more is ended, and asks nobody.
        let upstream = route.map_or_else(String::new, |route| route.upstream.clone());
        self.take(upstream, approval.account)
    }

    fn take(&self, upstream: String, account: Id) -> Option<Share> {
        let mut counts = self.counts();
        let Counts { upstreams, accounts } = &mut *counts;
        if upstreams.get(&upstream).is_some_and(|count| *count >= PER_UPSTREAM)
            || accounts.get(&account).is_some_and(|count| *count >= PER_ACCOUNT)
        {
            return None;
        }
        *upstreams.entry(upstream.clone()).or_default() += 1;
        *accounts.entry(account).or_default() += 1;
        Some(Share { shares: self.clone(), upstream, account })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        give_back(&mut counts.upstreams, &self.upstream);
        give_back(&mut counts.accounts, &self.account);
    }
}

fn give_back<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::base::random::SeededRandom;
    use crate::config::load_text;

    const YAML: &str = "
preset: medium
upstreams: { slow: { servers: ['127.0.0.1:9'] }, other: { servers: ['127.0.0.1:9'] } }
routes:
  - { name: a, match: { path: '/a' }, upstream: slow, allow: signed_in }
  - { name: b, match: { path: '/b' }, upstream: slow, allow: signed_in }
  - { name: c, match: { path: '/c' }, upstream: other, allow: signed_in }
";

    #[test]
    fn one_slow_upstream_does_not_take_all_places() {
        let config = load_text(YAML).unwrap().config;
        let (shares, random) = (Shares::default(), SeededRandom::new(1));
        let ids = [1, 2].map(|at| Id::new(Timestamp::from_millis(at), &random));
        let enter = |upstream: &str, account: usize| shares.take(upstream.to_owned(), ids[account]);
        let slow: Vec<_> = (0..PER_UPSTREAM).map(|_| enter("slow", 0).unwrap()).collect();
        assert!(enter("slow", 1).is_none());
        let crowd = shares.crowd(&config);
        assert_eq!((crowd.routes, crowd.accounts), (vec!["a".to_owned(), "b".to_owned()], vec![]));
        let other: Vec<_> = (PER_UPSTREAM..PER_ACCOUNT).map(|_| enter("other", 0).unwrap()).collect();
        assert!(enter("third", 0).is_none(), "one human has not all either");
        assert_eq!(shares.crowd(&config).accounts, [ids[0]]);
        assert!(enter("third", 1).is_some());
        drop((slow, other));
        let crowd = shares.crowd(&config);
        assert!(crowd.routes.is_empty() && crowd.accounts.is_empty());
        assert!(shares.counts().upstreams.is_empty(), "nothing is left of those who are gone");
    }
}
