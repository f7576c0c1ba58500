//! What the gate's permission means for the wire.
//!
//! Law: everything that is sent to the upstream is decided here, once, before the first attempt;
//! a retry sends the same. Nothing of it comes from the client's headers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::upstream::Upstream;
use crate::config::RouteTimeouts;
use crate::gate::redact::Redaction;
use crate::gate::{Authorization, CanonicalTarget, Watch};

/// How one permitted request is carried out.
pub struct Forward {
    pub upstream: Arc<Upstream>,
    pub target: CanonicalTarget,
    /// `None`: the chosen server's own.
    pub host: Option<HeaderValue>,
    /// Written last, replacing whatever stands under these names.
    pub stamps: Vec<(HeaderName, HeaderValue)>,
    pub authorization: Authorization,
    /// The client's cookies without ours.
    pub cookie: Option<HeaderValue>,
    /// What is sent instead of the client's headers and body.
    pub held: Option<Held>,
    /// Bytes of the request body.
    pub body_max: u64,
    /// What the answer must not show.
    pub redaction: Option<Arc<Redaction>>,
    /// Instead of the upstream's.
    pub timeouts: RouteTimeouts,
    /// Ends the request when it is done: its session is over, or it would no longer be permitted.
    pub until: Until,
    /// Why it would have been refused, were its route not in shadow mode.
    pub shadow: Option<&'static str>,
    /// For the access log: whose request it is.
    pub subject: Option<Subject>,
    /// Who waits for the end of the request: told once, however it ends.
    pub watch: Option<Watch>,
}

impl Forward {
    /// Whether it must not be sent again once a server may have seen some of it, whatever its
    /// method: people approved it once, or it was counted and paid for once.
    pub fn is_once(&self) -> bool {
        self.held.is_some() || self.watch.is_some()
    }
}

/// A request that is sent exactly as it was kept, once.
pub struct Held {
    /// All of its headers beside what the gateway writes.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// What a request outlives only by being cut: a future, taken once.
#[derive(Default)]
pub struct Until {
    /// What is over sooner need not be watched at all.
    after: Duration,
    future: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Until {
    /// Nobody asks `future` for the first `after` of the request.
    pub fn new(after: Duration, future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { after, future: Mutex::new(Some(Box::pin(future))) }
    }

    pub(super) fn take(&self) -> Option<(Duration, BoxFuture<'static, ()>)> {
        let future = self.future.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((self.after, future))
    }
}

/// Ids only, never an address of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub account: crate::base::Id,
    pub session: Option<crate::base::Id>,
    /// The agent token that acted for the account.
    pub agent: Option<crate::base::Id>,
}
