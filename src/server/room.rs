//! How many connections the gateway takes at once.
//!
//! Law: each may need a second descriptor, towards an upstream, and what the gateway must keep open has its
//! own: the store, Redis, the listeners, and the one of `/livez`, by which an orchestrator tells a busy gateway from
//! a dead one. What the system does not allow is not promised: it is said at the start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::proxy::Limits;

/// What may be open beside the connections of clients and those that they need: listeners and who asks the
/// admin one, logs, messages that are being sent. The least and the most.
const OWN: (u64, u64) = (32, 128);
/// A SQLite store opens so many files for each of its connections.
const OF_THE_STORE: u64 = 3;

/// The limits of the configuration, as far as the system lets them be.
pub(super) fn limits(config: &Config) -> Limits {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let connections = &config.limits.connections;
    let store = OF_THE_STORE * u64::from(config.store.connections);
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |allowed| room(allowed, store));
    Limits {
        connections: count(connections.total).min(most),
        connections_per_address: count(connections.per_address),
    }
}

/// Asks the system for as many descriptors as it gives without asking anybody, and says where they
/// are too few for what the configuration wants.
pub(super) fn make(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "the system gives no more descriptors");
    }
    let (wanted, most) = (config.limits.connections.total, limits(config).connections);
    if u32::try_from(most).is_ok_and(|most| most < wanted) {
        tracing::warn!(
            connections = most,
            wanted,
            "the system allows too few open files for limits.connections.total: raise them (ulimit -n, LimitNOFILE)"
        );
    }
}

/// For how many connections so many descriptors are enough; always for one.
fn room(allowed: u64, store: u64) -> usize {
    let own = (allowed / 4).clamp(OWN.0, OWN.1) + store;
    usize::try_from((allowed.saturating_sub(own) / 2).max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_is_for_clients() {
        assert_eq!((room(1024, 30), room(120, 12)), (433, 38));
        assert_eq!((room(32, 30), room(0, 30)), (1, 1));
        assert!(limits(&crate::config::load_text("preset: medium").unwrap().config).connections > 0);
    }
}
