//! Asks every server, every few seconds, whether it is well.
//!
//! Law: the check takes the same road as a request (TLS, protocol, timeouts). One success brings
//! a server back, a few failures in a row take it out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use pingora::Result;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;

use super::{Target, Upstream, Use};
use crate::config::{self, RouteTimeouts, UpstreamHost};
use crate::metrics::Health;

pub(super) struct Checker {
    rule: config::Health,
    connector: Connector,
    streaks: Mutex<HashMap<SocketAddr, Streak>>,
}

/// Answers of one kind in a row.
#[derive(Clone, Copy)]
struct Streak {
    health: Health,
    /// What the last answers were, and how many of them in a row.
    latest: Health,
    length: u32,
}

impl Checker {
    pub(super) fn new(rule: config::Health) -> Self {
        Self { rule, connector: Connector::new(None), streaks: Mutex::default() }
    }

    /// Asks all servers at once.
    pub(super) async fn look(&self, upstream: &Upstream) {
        let targets = upstream.targets.load_full();
        let host = match &upstream.plan.host {
            UpstreamHost::Name(name) => Some(name.as_str()),
            UpstreamHost::Keep | UpstreamHost::Server => None,
        };
        let looks = targets.iter().map(|target| async {
            let answer = tokio::time::timeout(self.rule.timeout, self.ask(target, host)).await;
            let is_well = matches!(answer, Ok(Ok(status)) if status < 400);
            let latest = if is_well { Health::Up } else { Health::Down };
            let health = self.judge(target.address, latest);
            upstream.found(target, health);
        });
        futures::future::join_all(looks).await;
    }

    /// What is believed of a server after its latest answer.
    fn judge(&self, address: SocketAddr, latest: Health) -> Health {
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Streak { health: Health::Up, latest, length: 0 };
        let streak = streaks.entry(address).or_insert(start);
        streak.length = if streak.latest == latest { streak.length.saturating_add(1) } else { 1 };
        streak.latest = latest;
        let enough = match latest {
            Health::Up => self.rule.healthy_after,
            Health::Down => self.rule.unhealthy_after,
        };
        if streak.length >= enough {
            streak.health = latest;
        }
        streak.health
    }

    /// The status of the answer.
    async fn ask(&self, target: &Target, host: Option<&str>) -> Result<u16> {
        let peer = super::peer::for_use(&target.template, Use::Alone, RouteTimeouts::default());
        let (mut session, _) = self.connector.get_http_session(&*peer).await?;
        let mut request = RequestHeader::build("GET", self.rule.path.as_bytes(), Some(3))?;
        let own = target.server.to_string();
        let host = host.unwrap_or(&own);
        request.insert_header("host", host)?;
        request.insert_header("user-agent", "portcullis-health")?;
        if matches!(session, HttpSession::H2(_)) {
            let scheme = if peer.is_tls() { "https" } else { "http" };
            let uri =
                http::Uri::builder().scheme(scheme).authority(host).path_and_query(&*self.rule.path).build();
            if let Ok(uri) = uri {
                request.set_uri(uri);
            }
        }
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        session.shutdown().await;
        Ok(status)
    }
}
