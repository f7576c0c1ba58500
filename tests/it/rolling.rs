//! Gateways behind a load balancer, one of which goes away (security bar 204).
//!
//! Law: who comes through the load balancer notices nothing, and nothing is tried twice for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;

use crate::support::gateway::open_to;
use crate::support::h2::H2Client;
use crate::support::raw::get;
use crate::support::upstream::spawn;
use crate::support::{Client, Foreign, Gateway, Upstream, times};

/// What clients saw.
#[derive(Default)]
struct Seen {
    good: AtomicUsize,
    failed: AtomicUsize,
    is_over: AtomicBool,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_nobody_notices_that_a_gateway_is_replaced() {
    let upstream = Upstream::echo().await;
    let yaml = format!("drain: {{ announce: 2s, grace: 5s }}\n{}", open_to(upstream.address));
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
    let mut clients: Vec<_> =
        (0..10).map(|number| spawn(ask(haproxy.address, Arc::clone(&seen), number))).collect();
    clients.extend((10..15).map(|number| spawn(ask_h2(haproxy.address, Arc::clone(&seen), number))));
    let rest = Duration::from_secs(times(1, 15) as u64);
    tokio::time::sleep(rest).await;
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
}
