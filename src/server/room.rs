//! How many connections the gateway takes at once.
//!
//! Law: each may need a second descriptor, towards an upstream, and what the gateway must keep open has its
//! own: the store, Redis, the listeners, and the one of `/livez`, by which an orchestrator tells a busy gateway from
//! a dead one. What the system does not allow is not promised: it is said at the start.

use std::num::NonZeroU32;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::proxy::Caps;

/// What may be open beside the connections of clients and those that they need: listeners and who asks the
/// admin one, logs, messages that are being sent. The least and the most.
const OWN: (u64, u64) = (32, 128);
/// A SQLite store opens so many files for each of its connections.
const OF_THE_STORE: u64 = 3;

/// The most connections, as far as the system lets them be.
pub(super) fn connections(config: &Config) -> Caps {
    let connections = &config.limits.connections;
    Caps { total: count(connections.total).min(most(config)), per_address: count(connections.per_address) }
}

/// How many requests may be at upstreams: each may hold the second descriptor of a connection, and over
/// HTTP/2 one connection brings many. No address has more than half of them, so that others get through.
pub(super) fn requests(config: &Config) -> Caps {
    let connections = &config.limits.connections;
    let total = most(config);
    let share = connections.requests_per_address.map_or(connections.per_address, NonZeroU32::get);
    Caps { total, per_address: count(share).min((total / 2).max(1)) }
}

/// For how many connections the system allows enough descriptors.
fn most(config: &Config) -> usize {
    let store = OF_THE_STORE * u64::from(config.store.connections);
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |allowed| room(allowed, store))
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
    let (wanted, most) = (config.limits.connections.total, connections(config).total);
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
        assert!(connections(&crate::config::load_text("preset: medium").unwrap().config).total > 0);
    }

    #[test]
    fn one_address_has_a_share_of_the_requests_at_upstreams() {
        let with = |own: &str| {
            let text = format!("preset: medium\nlimits: {{ connections: {{ {own} }} }}");
            requests(&crate::config::load_text(&text).unwrap().config)
        };
        assert_eq!(with("requests_per_address: 7").per_address, 7);
        assert_eq!(with("per_address: 9").per_address, 9);
        let wide = with("requests_per_address: 4000000000");
        assert_eq!(wide.per_address, (wide.total / 2).clamp(1, 4_000_000_000));
    }
}
