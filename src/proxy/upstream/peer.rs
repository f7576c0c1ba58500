//! How to reach one server: the framework's description of a connection.
//!
//! Law: an address only, never a name (the framework would resolve it blockingly and panic on
//! failure), and never without timeouts. Connections are shared only between requests that agree
//! on everything about them: what the framework's own key leaves out is in the group key.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pingora::protocols::TcpKeepalive;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::websocket;
use crate::config::{self, Server};
use crate::crypto::digest::{SHA256_LEN, sha256};
use crate::proxy::tls::Unusable;

const H2_STREAMS: usize = 100;

/// How the connection to an upstream is encrypted.
#[derive(Clone)]
pub struct Tls {
    /// The name that every certificate must carry; without it each server's own.
    sni: Option<String>,
    verify: bool,
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
    /// Of everything that was read: a file replaced in its place is another one.
    digest: [u8; SHA256_LEN],
}

impl Tls {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// [`Unusable`] when a file does not hold what it should.
    pub fn load(rule: &config::UpstreamTls) -> Result<Self, Unusable> {
        let mut seen = Vec::new();
        let mut read = |path: &Path| {
            let bytes = config::file::read(path).map_err(|_| Unusable::Chain)?;
            seen.extend_from_slice(&sha256(&bytes));
            Ok(bytes)
        };
        let authorities = match &rule.ca_file {
            None => None,
            Some(path) => {
                let pem = &read(path)?;
                let wrap = |der: Vec<u8>| WrappedX509::new(der, parse_x509);
                Some(chain(pem)?.into_iter().map(wrap).collect::<Arc<CaType>>())
            }
        };
        let client = match (&rule.client_cert_file, &rule.client_key_file) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|cause| Unusable::Key { cause: cause.to_string() })?;
                Some(Arc::new(CertKey::new(chain(&read(cert)?)?, key.secret_der().to_vec())))
            }
            _ => None,
        };
        Ok(Self { sni: rule.sni.clone(), verify: rule.verify, authorities, client, digest: sha256(&seen) })
    }

    /// Whether the same was read for both.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Reads a PEM chain. The framework panics on what it cannot parse, so that is found out here.
fn chain(pem: &[u8]) -> Result<Vec<Vec<u8>>, Unusable> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = parsed.map_err(|_| Unusable::Chain)?;
    let is_usable = |der: &CertificateDer<'_>| rustls::RootCertStore::empty().add(der.clone()).is_ok();
    if chain.is_empty() || !chain.iter().all(is_usable) {
        return Err(Unusable::Chain);
    }
    Ok(chain.into_iter().map(|der| der.to_vec()).collect())
}

/// What tells connections apart that must not be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Shared,
    /// Own connector, own connection.
    WebSocket,
    /// A body where the upstream may not expect one: what it leaves unread must not be taken for
    /// the next request of somebody else.
    Alone,
}

static GROUPS: AtomicU64 = AtomicU64::new(1);

/// A number that no other upstream, request or generation uses.
pub(super) fn fresh_group() -> u64 {
    GROUPS.fetch_add(1, Ordering::Relaxed)
}

/// The description that every connection to this server starts from.
pub(super) fn describe(
    address: SocketAddr,
    server: &Server,
    tls: Option<&Tls>,
    upstream: &config::Upstream,
    group: u64,
) -> HttpPeer {
    let own_name = || match server {
        Server::Address(address) => address.ip().to_string(),
        Server::Name { host, .. } => host.clone(),
    };
    let sni = tls.map_or(String::new(), |tls| tls.sni.clone().unwrap_or_else(own_name));
    let timeouts = &upstream.timeouts;
    let mut peer = HttpPeer::new(address, tls.is_some(), sni);
    peer.group_key = group;
    peer.client_cert_key = tls.and_then(|tls| tls.client.clone());
    let options = &mut peer.options;
    options.ca = tls.and_then(|tls| tls.authorities.clone());
    options.verify_cert = tls.is_none_or(|tls| tls.verify);
    options.verify_hostname = options.verify_cert;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
    options.read_timeout = Some(timeouts.read);
    options.write_timeout = Some(timeouts.write);
    options.idle_timeout = Some(timeouts.idle);
    if upstream.http2 {
        options.set_http_version(2, 2);
        options.max_h2_streams = H2_STREAMS;
    }
    peer
}

/// The description for one request.
pub(super) fn for_use(template: &HttpPeer, usage: Use, own: config::RouteTimeouts) -> Box<HttpPeer> {
    let mut peer = Box::new(template.clone());
    let options = &mut peer.options;
    options.connection_timeout = own.connect.or(options.connection_timeout);
    options.total_connection_timeout = own.connect.or(options.total_connection_timeout);
    options.read_timeout = own.read.or(options.read_timeout);
    options.write_timeout = own.write.or(options.write_timeout);
    match usage {
        Use::Shared => {}
        Use::Alone => {
            peer.group_key = fresh_group();
            // The framework remembers an HTTP/2 connection that has room for more, for good if its
            // request breaks off, and nobody asks for this one again.
            peer.options.max_h2_streams = 1;
            peer.options.idle_timeout = Some(Duration::from_millis(1));
        }
        Use::WebSocket => {
            peer.group_key = fresh_group();
            peer.options.set_http_version(1, 1);
            peer.options.custom_l4 = Some(Arc::new(websocket::Connect));
            peer.options.idle_timeout = Some(Duration::from_millis(1));
            // A silent socket is fine; a dead one is found out by the kernel.
            peer.options.read_timeout = None;
            peer.options.tcp_keepalive = Some(TcpKeepalive {
                idle: Duration::from_mins(1),
                interval: Duration::from_secs(15),
                count: 4,
                #[cfg(target_os = "linux")]
                user_timeout: Duration::ZERO,
            });
        }
    }
    peer
}
