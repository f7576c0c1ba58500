//! The accept loop of one public listener.
//!
//! Law: the socket is ours from `bind` to `close`: a port that is taken is an error at once, and
//! closing is a step of the drain, not a side effect. An accept that fails never ends the loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admission::{Admission, Caps, Place};
use super::connection::{Connection, Door};
use super::slot::Pulse;
use super::tap::{Tap, Tapped};
use super::wire::Wire;
use crate::gate::head::Scheme;
use crate::metrics::{Limiter, Metrics};

/// How long to leave the kernel alone after it could not accept, as when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A silent client is asked whether it is there after so long.
const PROBE_AFTER: Duration = Duration::from_mins(1);

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Still accepting, but telling clients to go elsewhere.
    Announcing,
    /// No new connections; those that are open finish.
    Closing,
    /// What is still open is cut.
    Cut,
}

/// One listener and what its connections go to.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) tls: Option<Arc<Acceptor>>,
    pub(super) door: Arc<Door>,
    pub(super) admission: Arc<Admission>,
    pub(super) caps: Caps,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Listener {
    /// Accepts until the process closes, then waits for the open connections, and cuts them when
    /// told to.
    pub(super) async fn run(self) {
        let (mut announcing, mut closing, mut cutting) =
            (self.phase.clone(), self.phase.clone(), self.phase.clone());
        let leaving = watch::Sender::new(false);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = reached(&mut closing, Phase::Closing) => break,
                Some(_) = connections.join_next() => {}
                () = announced(&mut announcing, &leaving) => { leaving.send_replace(true); }
                accepted = self.socket.accept() => match accepted {
                    Ok((tcp, peer)) => self.welcome(tcp, peer, &leaving, &mut connections),
                    Err(error) => pause(&error).await,
                },
            }
        }
        let Self { socket, door, .. } = self;
        drop(socket);
        leaving.send_replace(true);
        door.close_idle().await;
        tokio::select! {
            () = async { while connections.join_next().await.is_some() {} } => {}
            () = reached(&mut cutting, Phase::Cut) => connections.shutdown().await,
        }
    }

    fn welcome(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        leaving: &watch::Sender<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let Ok(place) = self.admission.admit(Some(peer.ip()), self.caps) else {
            self.metrics.rate_limited(Limiter::Connection);
            return;
        };
        let visit = Visit {
            place,
            door: Arc::clone(&self.door),
            tls: self.tls.clone(),
            // A receiver made now takes the value of now as seen: a connection that arrives while
            // we announce is served, and told to leave only when we close.
            leaving: leaving.subscribe(),
        };
        let counted = self.metrics.connection();
        connections.spawn(async move {
            visit.serve(tcp, peer).await;
            drop(counted);
        });
    }
}

/// One connection and what it holds while it is open.
struct Visit {
    place: Place,
    door: Arc<Door>,
    tls: Option<Arc<Acceptor>>,
    leaving: watch::Receiver<bool>,
}

impl Visit {
    async fn serve(self, tcp: TcpStream, peer: SocketAddr) {
        // Without it small answers wait for acknowledgements; a socket that refuses is broken.
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        // A client that vanished is found out by the kernel, even in the middle of a WebSocket.
        let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER / 4);
        drop(SockRef::from(&tcp).set_tcp_keepalive(&keepalive));
        let (pulse, tap) = (Arc::new(Pulse::default()), Arc::new(Tap::default()));
        let wire = Wire::new(tcp, peer, Arc::clone(&pulse), self.door.write_within());
        let (stream, scheme): (Stream, _) = match &self.tls {
            None => (Box::new(Tapped::new(wire, Arc::clone(&tap))), Scheme::Http),
            Some(acceptor) => {
                // Boxed, so that the connections that need none have no room for it.
                let handshake = Box::pin(acceptor.tls_handshake(wire));
                match tokio::time::timeout(self.door.head_within(), handshake).await {
                    Ok(Ok(stream)) => (Box::new(Tapped::new(stream, Arc::clone(&tap))), Scheme::Https),
                    // Scanners and clients that do not trust us: nothing to tell anyone.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        };
        Arc::new(Connection::new(self.door, peer, scheme, (pulse, tap))).serve(stream, &self.leaving).await;
        drop(self.place);
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Returns once `phase` is `wanted` or later; at once when nobody can change it any more.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    drop(phase.wait_for(|now| *now >= wanted).await);
}

/// Returns when announcing has begun and `leaving` does not say so yet.
async fn announced(phase: &mut watch::Receiver<Phase>, leaving: &watch::Sender<bool>) {
    if *leaving.borrow() {
        std::future::pending::<()>().await;
    }
    reached(phase, Phase::Announcing).await;
}
