//! The yardstick: a Pingora proxy that passes everything through and does nothing else.
//! Law: same frame, same profile, same allocator, same thread count as the gateway beside it.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::upstreams::peer::HttpPeer;

struct PassThrough(SocketAddr);

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Proxies to `upstream` for ever; prints its address first.
pub async fn serve(upstream: SocketAddr) {
    let address = free_address();
    let mut service = http_proxy_service(&Arc::new(ServerConf::default()), PassThrough(upstream));
    service.add_tcp(&address.to_string());
    let (_keep_open, shutdown) = tokio::sync::watch::channel(false);
    println!("ready {address}");
    service.start_service(None, shutdown, 1).await;
}

/// A port that was free a moment ago: nothing else in a benchmark takes it in between.
fn free_address() -> SocketAddr {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    probe.expect("loopback has a free port")
}
