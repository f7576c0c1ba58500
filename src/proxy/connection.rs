//! One client connection, between the accept loop and the proxy.
//!
//! Law: every HTTP/1 request and every HTTP/2 stream passes `process_new_http` here, in a slot of
//! its own; a connection on which no request arrives in time is closed, whatever its protocol
//! waits for (an HTTP/2 preface, a TLS client that says nothing). What a request needs is made
//! when its first byte is there: an idle connection is little more than its socket.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use ::http::HeaderValue;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;

use super::decide::Decide;
use super::service::{Edge, Patience};
use super::slot::{Alarm, Pulse, Slot, watched};
use super::small::SmallApp;
use super::tap::{Tap, Tapped};
use super::wire::Wire;
use crate::gate::head::{Scheme, text_of};

/// A connection is closed after so many requests, which frees what it gathered.
const REQUESTS_PER_CONNECTION: u32 = 1000;
/// An HTTP/2 connection without a request; what only pings or sends settings is idle.
const H2_IDLE_FOR: Duration = Duration::from_secs(30);

/// Whether HTTP/2 is understood on a connection without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleartext {
    Http1,
    Http1Or2,
}

/// What is behind a door.
pub(super) enum Behind {
    Proxy {
        proxy: Arc<HttpProxy<Edge>>,
        /// Who says how long a head may be.
        decide: Arc<dyn Decide>,
    },
    Small(Arc<SmallApp>),
}

impl Behind {
    fn decide(&self) -> &Arc<dyn Decide> {
        match self {
            Self::Proxy { decide, .. } => decide,
            Self::Small(app) => &app.decide,
        }
    }
}

/// What every connection of a listener shares.
pub(super) struct Door {
    behind: Behind,
    options: HttpServerOptions,
    head_within: Duration,
    idle_for: Duration,
    write_within: Duration,
    closing: Closing,
}

/// Tells those who wait for a client's next request that it is too late for one.
#[derive(Default)]
struct Closing {
    has_begun: AtomicBool,
    begins: Notify,
}

impl Closing {
    fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
        self.begins.notify_waiters();
    }

    async fn begun(&self) {
        // Made before the look, so that what begins in between is not missed.
        let begins = self.begins.notified();
        if !self.has_begun.load(Ordering::Acquire) {
            begins.await;
        }
    }
}

impl Door {
    pub(super) fn new(behind: Behind, cleartext: Cleartext, patience: Patience) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = cleartext == Cleartext::Http1Or2;
        options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
        options.h2_idle_timeout = Some(H2_IDLE_FOR);
        Self {
            behind,
            options,
            head_within: patience.head,
            idle_for: patience.idle,
            write_within: patience.write,
            closing: Closing::default(),
        }
    }

    pub(super) const fn head_within(&self) -> Duration {
        self.head_within
    }

    pub(super) const fn write_within(&self) -> Duration {
        self.write_within
    }

    /// Idle connections end here; those with a request end after it.
    pub(super) async fn close_idle(&self) {
        self.closing.begin();
        if let Behind::Proxy { proxy, .. } = &self.behind {
            proxy.http_cleanup().await;
        }
    }
}

/// Which of a connection's requests is meant.
#[derive(Clone, Copy)]
enum Turn {
    First,
    Later,
}

/// One accepted connection.
pub(super) struct Connection {
    door: Arc<Door>,
    peer: SocketAddr,
    peer_text: HeaderValue,
    scheme: Scheme,
    pulse: Arc<Pulse>,
    tap: Arc<Tap>,
    alarm: Alarm,
    has_served: AtomicBool,
    /// Between two requests.
    is_idle: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        door: Arc<Door>,
        peer: SocketAddr,
        scheme: Scheme,
        (pulse, tap): (Arc<Pulse>, Arc<Tap>),
    ) -> Self {
        Self {
            door,
            peer,
            peer_text: text_of(peer.ip()),
            scheme,
            pulse,
            tap,
            alarm: Alarm::default(),
            has_served: AtomicBool::new(false),
            is_idle: AtomicBool::new(false),
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn serve(self: Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) {
        tokio::select! {
            // In this order: whether the connection is idle is known after it was served.
            biased;
            // Nothing is ever given back: what can be reused is reused inside.
            _ = self.process_new(stream, shutdown) => {}
            () = self.closes_idle() => {}
            () = self.stays_silent() => {}
        }
    }

    /// Waits for the first byte of a request, where the connection can tell. `false`: none comes.
    async fn has_request(&self, session: &ServerSession, turn: Turn) -> bool {
        let Some(stream) = session.stream() else { return true };
        let Some(wire) = Tapped::<Wire>::below(&**stream) else { return true };
        if self.door.closing.has_begun.load(Ordering::Acquire) {
            return false;
        }
        self.is_idle.store(true, Ordering::Relaxed);
        let is_open = match turn {
            Turn::First => wire.has_begun().await,
            Turn::Later => wire.has_more().await,
        };
        self.is_idle.store(false, Ordering::Relaxed);
        is_open
    }

    /// Ends when the gateway closes while the connection is idle. It waits once for the whole
    /// connection: to ask for every request anew would take a lock that all connections share.
    async fn closes_idle(&self) {
        let mut begun = pin!(self.door.closing.begun());
        let mut is_waiting = false;
        poll_fn(|cx| {
            let is_idle = self.is_idle.load(Ordering::Relaxed);
            if !is_idle || (is_waiting && !self.door.closing.has_begun.load(Ordering::Acquire)) {
                return Poll::Pending;
            }
            is_waiting = true;
            begun.as_mut().poll(cx)
        })
        .await;
    }

    /// Ends when the protocol below has not come as far as a request in time. From there on the
    /// request's slot watches.
    async fn stays_silent(&self) {
        tokio::time::sleep(self.door.head_within).await;
        if self.has_served.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl HttpServerApp for Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let turn = if self.has_served.swap(true, Ordering::Relaxed) { Turn::Later } else { Turn::First };
        let first_within = match turn {
            Turn::First => self.door.head_within,
            Turn::Later => self.door.idle_for,
        };
        let peer = (self.peer, self.peer_text.clone());
        let watchers = (Arc::clone(&self.pulse), Arc::clone(&self.tap));
        let slot = Slot::new(peer, self.scheme, watchers, first_within, self.door.head_within);
        if !session.is_http2() {
            self.tap.begins(self.door.behind.decide().rules().head_max);
        }
        let request = async {
            if !self.has_request(&session, turn).await {
                return None;
            }
            match &self.door.behind {
                Behind::Proxy { proxy, .. } => proxy.process_new_http(session, shutdown).await,
                Behind::Small(app) => app.process_new_http(session, shutdown).await,
            }
        };
        watched(slot, &self.alarm, request).await.flatten()
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(default_h2_options())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.door.options)
    }
}
