//! Gateways behind a load balancer, one of which goes away (security bar 204).
//!
//! Law: who comes through the load balancer notices nothing, and nothing is tried twice for it; WebSockets last
//! as long as the drain lets them, and whoever opens one finds a gateway.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use http::Request;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::h2::H2Client;
use crate::support::raw::{PATIENCE, get};
use crate::support::replica::until;
use crate::support::upstream::{spawn, websocket_echo};
use crate::support::{Client, Foreign, Gateway, Upstream, times};

/// What clients saw.
#[derive(Default)]
struct Seen {
    good: AtomicUsize,
    failed: AtomicUsize,
    is_over: AtomicBool,
    /// WebSockets that were opened, and when those ended whose client did not end them.
    opened: AtomicUsize,
    ended: Mutex<Vec<Instant>>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Seen {
    async fn opens(&self, address: SocketAddr) -> Option<Socket> {
        let opened = connect_async(format!("ws://{address}/ws")).await;
        let counter = if opened.is_ok() { &self.opened } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        opened.ok().map(|(socket, _)| socket)
    }
}

/// Whether what is said comes back.
async fn is_heard(socket: &mut Socket) -> bool {
    let said = socket.send(Message::text("there?")).await;
    let heard = tokio::time::timeout(PATIENCE, socket.next()).await;
    said.is_ok() && matches!(heard, Ok(Some(Ok(message))) if message.is_text())
}

/// Holds a WebSocket, and opens the next one when it is ended.
async fn hold(address: SocketAddr, seen: Arc<Seen>) {
    while !seen.is_over.load(Ordering::Relaxed) {
        let Some(mut socket) = seen.opens(address).await else { continue };
        while is_heard(&mut socket).await {
            if seen.is_over.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen.ended.lock().unwrap().push(Instant::now());
    }
}

/// Opens one after the other, each for a few words.
async fn talk(address: SocketAddr, seen: Arc<Seen>) {
    while !seen.is_over.load(Ordering::Relaxed) {
        if let Some(mut socket) = seen.opens(address).await {
            let heard = is_heard(&mut socket).await && is_heard(&mut socket).await;
            seen.failed.fetch_add(usize::from(!heard), Ordering::Relaxed);
            let _ = socket.close(None).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks again and again, on one connection as long as it lives.
async fn ask(address: SocketAddr, seen: Arc<Seen>, number: usize) {
    let mut client = Client::connect(address).await;
    while !seen.is_over.load(Ordering::Relaxed) {
        client.send(get(&format!("/{number}"), &[])).await;
        let answer = client.answer().await;
        let is_good = answer.as_ref().is_some_and(|answer| {
            answer.status == 200 && answer.text().starts_with(&format!("GET /{number} "))
        });
        let counter = if is_good { &seen.good } else { &seen.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        if answer.is_none_or(|answer| answer.header("connection") == Some("close")) {
            client = Client::connect(address).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same over HTTP/2, all requests of a client on one connection.
async fn ask_h2(address: SocketAddr, seen: Arc<Seen>, number: usize) {
    let client = H2Client::cleartext(address).await;
    while !seen.is_over.load(Ordering::Relaxed) {
        let request = Request::builder().uri(format!("http://gw.test/{number}")).body(()).unwrap();
        let answer = client.send(request, None).await;
        let is_good = answer.is_ok_and(|answer| {
            answer.head.status() == 200 && answer.body.starts_with(format!("GET /{number} ").as_bytes())
        });
        let counter = if is_good { &seen.good } else { &seen.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many hold a WebSocket all the while.
const HOLDERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_nobody_notices_that_a_gateway_is_replaced() {
    let upstream = Upstream::echo().await;
    let yaml = format!(
        "drain: {{ announce: 4s, grace: 5s }}
upstreams: {{ up: {{ servers: ['{}'] }}, sockets: {{ servers: ['{}'] }} }}
routes:
  - {{ name: ws, match: {{ path: /ws }}, upstream: sockets, allow: anyone, websocket: true }}
  - {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }}
",
        upstream.address,
        websocket_echo().await
    );
    let (one, two) = (Gateway::start(&yaml).await, Gateway::start(&yaml).await);
    let server = |name: &str, gateway: &Gateway| {
        format!(
            "server {name} {} check port {} inter 200ms fall 1 rise 1\n",
            gateway.public(),
            gateway.admin().port()
        )
    };
    let backend = format!(
        "option httpchk GET /readyz\nhttp-check expect status 200\n{}{}",
        server("one", &one),
        server("two", &two)
    );
    let haproxy = Foreign::haproxy(&backend).await;
    let seen = Arc::new(Seen::default());
    // One after the other, so that each gateway has half of them.
    let mut clients = Vec::new();
    for opened in 1..=HOLDERS {
        clients.push(spawn(hold(haproxy.address, Arc::clone(&seen))));
        let is_open = async || seen.opened.load(Ordering::Relaxed) == opened;
        until(Duration::from_secs(5), "it is open", is_open).await;
    }
    clients.extend((0..2).map(|_| spawn(talk(haproxy.address, Arc::clone(&seen)))));
    clients.extend((0..10).map(|number| spawn(ask(haproxy.address, Arc::clone(&seen), number))));
    clients.extend((10..15).map(|number| spawn(ask_h2(haproxy.address, Arc::clone(&seen), number))));
    let rest = Duration::from_secs(times(1, 15) as u64);
    tokio::time::sleep(rest).await;
    let begun = Instant::now();
    one.running.shutdown().await;
    tokio::time::sleep(rest).await;
    seen.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (good, failed) = (seen.good.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
    assert!(good > 200, "only {good} requests");
    assert_eq!(failed, 0, "of {good}");
    assert_eq!(upstream.count(), good, "each was sent once");
    // Half of those that were held lasted as long as the drain lets them, the others to the end.
    let ended: Vec<_> = seen.ended.lock().unwrap().iter().map(|at| at.duration_since(begun)).collect();
    assert_eq!(ended.len(), HOLDERS / 2, "{ended:?}");
    assert!(ended.iter().all(|after| *after > Duration::from_secs(8)), "{ended:?}");
    assert!(seen.opened.load(Ordering::Relaxed) > 50 + HOLDERS, "WebSockets were opened all the while");
}
