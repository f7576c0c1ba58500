//! Connections to servers, for what is sent from here.
//!
//! Law: a connection is shared only by requests of which the server has read everything, and waits
//! only if both sides of its last exchange are complete.

use std::time::Duration;

use pingora::Result;
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::upstreams::peer::HttpPeer;

use super::admission::Caps;
use super::crowd::Crowd;
use super::upstream::Chosen;

/// How servers are reached. The framework keeps its own for what it sends.
pub(super) struct Connectors {
    /// For HTTP/2, and connections that are not shared.
    framework: Connector,
    /// For HTTP/1: what it opens waits at its server afterwards.
    plain: TransportConnector,
    /// Who is there already, whichever way it went.
    pub(super) crowd: Crowd,
}

impl Connectors {
    pub(super) fn new(most: Caps) -> Self {
        Self {
            framework: Connector::new(None),
            plain: TransportConnector::new(None),
            crowd: Crowd::new(most),
        }
    }

    /// A connection that waits there, or a new one.
    pub(super) async fn connect(&self, peer: &HttpPeer, chosen: Option<&Chosen>) -> Result<HttpSession> {
        let Some((chosen, longest)) = waits_at(peer, chosen) else {
            return Ok(self.framework.get_http_session(peer).await?.0);
        };
        let stream = match chosen.waiting(longest) {
            Some(stream) => stream,
            None => self.plain.new_stream(peer).await?,
        };
        Ok(HttpSession::H1(Http1::new_with_options(stream, peer)))
    }

    /// Ends an exchange that is not complete. Over HTTP/2 its connection goes on without it.
    pub(super) async fn abandon(&self, mut session: HttpSession, peer: &HttpPeer) {
        session.shutdown().await;
        if let HttpSession::H2(_) = session {
            self.framework.release_http_session(session, peer, peer.options.idle_timeout).await;
        }
    }

    /// Keeps the connection of an exchange that is complete on both sides.
    pub(super) async fn keep(&self, session: HttpSession, peer: &HttpPeer, chosen: Option<&Chosen>) {
        match (session, waits_at(peer, chosen)) {
            (HttpSession::H1(mut session), Some((chosen, _))) => {
                session.respect_keepalive();
                if let Some(stream) = session.reuse().await {
                    chosen.keep(stream);
                }
            }
            (session, _) => {
                self.framework.release_http_session(session, peer, peer.options.idle_timeout).await;
            }
        }
    }
}

/// Where connections like this one wait, and how long, if they may serve others.
fn waits_at<'a>(peer: &HttpPeer, chosen: Option<&'a Chosen>) -> Option<(&'a Chosen, Duration)> {
    let is_http1 = peer.options.alpn.get_max_http_version() == 1;
    let chosen = chosen.filter(|chosen| is_http1 && chosen.is_shared(peer))?;
    Some((chosen, peer.options.idle_timeout?))
}
