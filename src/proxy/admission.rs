//! How many connections are open, in all and from one address.
//!
//! Law: a connection above either cap is closed before a byte of it is read. One address counts
//! as in [`ip::counted_as`]; a place is given back when the guard is dropped, whatever happened.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::ip;

/// Counts open client connections.
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The most connections, in all and from one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub(super) total: usize,
    pub(super) per_address: usize,
}

/// A place that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// A place for one connection, unless a cap is reached.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, caps: Caps) -> Option<Place> {
        let address = ip::counted_as(address);
        if self.total.fetch_add(1, Ordering::Relaxed) >= caps.total {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_insert(0);
        if *count >= caps.per_address {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(Place { admission: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
        let mut by_address = self.admission.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
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
        let admit = |text: &str| admission.admit(text.parse().unwrap(), caps);
        let (a, b) = (admit("10.0.0.1").unwrap(), admit("10.0.0.1").unwrap());
        assert!(admit("10.0.0.1").is_none());
        let c = admit("10.0.0.2").unwrap();
        assert!(admit("10.0.0.3").is_none());
        drop(a);
        assert!(admit("10.0.0.3").is_some());
        drop((b, c));
        assert_eq!(admission.total.load(Ordering::Relaxed), 0);
        assert!(admission.by_address.lock().unwrap().is_empty());
    }
}
