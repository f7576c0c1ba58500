//! How many connections are open, or requests at upstreams, in all and from one address.
//!
//! Law: what is above either cap is refused before anything is done for it. One address counts
//! as in [`ip::counted_as`]; a place is given back when the guard is dropped, whatever happened. Every request
//! passes here, so addresses are counted apart from each other: few threads wait for the same lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::ip;

/// Counts what is open: client connections, or requests at upstreams.
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: AtomicUsize,
    by_address: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

const SHARDS: usize = 16;

/// The most of them, in all and from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub total: usize,
    pub per_address: usize,
}

/// A place that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

/// Which cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Address,
}

impl Admission {
    /// A place, unless a cap is reached. What has no address counts only in all.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>, caps: Caps) -> Result<Place, Full> {
        let address = address.map(ip::counted_as);
        if self.total.fetch_add(1, Ordering::Relaxed) >= caps.total {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::All);
        }
        if let Some(address) = address {
            let mut by_address = self.beside(address);
            let count = by_address.entry(address).or_insert(0);
            if *count >= caps.per_address {
                self.total.fetch_sub(1, Ordering::Relaxed);
                return Err(Full::Address);
            }
            *count += 1;
        }
        Ok(Place { admission: Arc::clone(self), address })
    }

    /// Where an address is counted, with a sixteenth of all others.
    fn beside(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // The last byte that tells addresses apart: of IPv6 a whole /64 counts as one.
        let byte = match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        self.by_address[usize::from(byte) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.admission.beside(address);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_caps_hold_and_places_come_back() {
        let admission = Arc::new(Admission::default());
        let caps = Caps { total: 3, per_address: 2 };
        let admit = |text: &str| admission.admit(Some(text.parse().unwrap()), caps);
        let (a, b) = (admit("10.0.0.1").unwrap(), admit("10.0.0.1").unwrap());
        assert_eq!(admit("10.0.0.1").err(), Some(Full::Address));
        let c = admit("10.0.0.2").unwrap();
        assert_eq!(admit("10.0.0.3").err(), Some(Full::All));
        drop(a);
        assert!(admit("10.0.0.3").is_ok() && admission.admit(None, caps).is_ok());
        drop((b, c));
        assert_eq!(admission.total.load(Ordering::Relaxed), 0);
        assert!(is_empty(&admission));
    }

    fn is_empty(admission: &Admission) -> bool {
        admission.by_address.iter().all(|some| some.lock().unwrap().is_empty())
    }

    #[test]
    fn every_address_is_counted_where_it_is_given_back() {
        let admission = Arc::new(Admission::default());
        let caps = Caps { total: usize::MAX, per_address: 1 };
        let v4 = (0..=255).map(|last| IpAddr::from([10, 0, 0, last]));
        let v6 = (0..=255).map(|last| IpAddr::from([0x2001, 0xdb8, 0, last, 0, 0, 0, 1]));
        let all: Vec<IpAddr> = v4.chain(v6).collect();
        let places: Vec<_> = all.iter().map(|one| admission.admit(Some(*one), caps).unwrap()).collect();
        assert!(all.iter().all(|one| admission.admit(Some(*one), caps).is_err()));
        drop(places);
        assert!(is_empty(&admission));
    }
}
