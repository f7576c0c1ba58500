//! The public side of the gateway: one proxy, and the listeners that lead to it.
//!
//! Law: all listeners share the pool of upstream connections, the caps and the drain.

use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::admission::{Admission, Caps};
use super::connection::{Behind, Cleartext, Door};
use super::decide::Decide;
use super::listen::{Listener, Phase};
use super::service::{Edge, Patience};
use super::small::{Small, SmallApp};
use super::tls::Certificate;
use crate::metrics::Metrics;

/// More than any upstream's `retries` allow: they are counted per request.
const ATTEMPTS: usize = 8;
/// Idle upstream connections per worker thread.
const POOL: usize = 256;

/// What a public socket speaks.
pub enum Speech {
    /// HTTP/1.1, and HTTP/2 with prior knowledge only where the configuration says so.
    Plain {
        h2c: bool,
    },
    Tls(Arc<Certificate>),
}

/// The proxy, ready for listeners.
pub struct Public {
    proxy: Arc<HttpProxy<Edge>>,
    decide: Arc<dyn Decide>,
    admission: Arc<Admission>,
    caps: Caps,
    metrics: Arc<Metrics>,
    phase: watch::Receiver<Phase>,
}

impl Public {
    /// `threads` is the number of worker threads of the runtime.
    pub fn new(edge: Edge, caps: Caps, threads: usize, phase: watch::Receiver<Phase>) -> Self {
        let conf = ServerConf {
            threads,
            max_retries: ATTEMPTS,
            upstream_keepalive_pool_size: POOL,
            ..ServerConf::default()
        };
        let metrics = Arc::clone(edge.recorder.metrics());
        let decide = Arc::clone(&edge.decide);
        let proxy = Arc::new(http_proxy(&Arc::new(conf), edge));
        Self { proxy, decide, admission: Arc::default(), caps, metrics, phase }
    }

    /// Serves `socket` until the drain has ended. The future ends with its last connection.
    ///
    /// # Errors
    /// When rustls cannot be set up.
    pub fn listen(
        &self,
        socket: TcpListener,
        speech: &Speech,
        patience: Patience,
    ) -> Result<impl Future<Output = ()> + Send + 'static, rustls::Error> {
        let (tls, cleartext) = match speech {
            Speech::Plain { h2c: true } => (None, Cleartext::Http1Or2),
            Speech::Plain { h2c: false } => (None, Cleartext::Http1),
            Speech::Tls(certificate) => (Some(Arc::new(certificate.acceptor()?)), Cleartext::Http1),
        };
        let behind = Behind::Proxy { proxy: Arc::clone(&self.proxy), decide: Arc::clone(&self.decide) };
        Ok(self.listener(socket, tls, Arc::new(Door::new(behind, cleartext, patience))).run())
    }

    /// The same proxy with other caps, counted apart, and a drain of its own.
    #[must_use]
    pub fn beside(&self, caps: Caps, phase: watch::Receiver<Phase>) -> Self {
        Self {
            proxy: Arc::clone(&self.proxy),
            decide: Arc::clone(&self.decide),
            admission: Arc::default(),
            caps,
            metrics: Arc::clone(&self.metrics),
            phase,
        }
    }

    /// Serves `socket` with what only answers, in plain HTTP/1.1.
    pub fn listen_small(
        &self,
        socket: TcpListener,
        small: Arc<dyn Small>,
        patience: Patience,
    ) -> impl Future<Output = ()> + Send + 'static {
        let behind = Behind::Small(Arc::new(SmallApp { small, decide: Arc::clone(&self.decide) }));
        self.listener(socket, None, Arc::new(Door::new(behind, Cleartext::Http1, patience))).run()
    }

    fn listener(&self, socket: TcpListener, tls: Option<Arc<Acceptor>>, door: Arc<Door>) -> Listener {
        Listener {
            socket,
            tls,
            door,
            admission: Arc::clone(&self.admission),
            caps: self.caps,
            metrics: Arc::clone(&self.metrics),
            phase: self.phase.clone(),
        }
    }
}
