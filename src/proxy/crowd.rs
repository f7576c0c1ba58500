//! How many requests are at upstreams, in all and from one client address.
//!
//! Law: requests count, not connections: over HTTP/2 one connection brings many, and each may hold a socket of its
//! own. A place is taken where a server is chosen and given back when the request is recorded, whatever ended it.

use std::net::IpAddr;
use std::sync::Arc;

use super::admission::{Admission, Caps, Full, Place};
use crate::gate::Rejection;

/// The requests of this process that are at upstreams.
pub(super) struct Crowd {
    admission: Arc<Admission>,
    caps: Caps,
}

impl Crowd {
    pub(super) fn new(caps: Caps) -> Self {
        Self { admission: Arc::default(), caps }
    }

    /// A place for a request of this client; what is sent without one is nobody's share.
    pub(super) fn place(&self, client: Option<IpAddr>) -> Result<Place, Rejection> {
        self.admission.admit(client, self.caps).map_err(|full| match full {
            Full::All => Rejection::GatewayBusy,
            Full::Address => Rejection::TooManyAtOnce,
        })
    }
}
