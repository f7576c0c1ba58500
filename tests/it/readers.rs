//! Clients that ask and do not read.
//!
//! Law: what waits for a client waits no longer than `limits.body.pause`, and then everything that
//! was held for it is given back.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::frame::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame};
use crate::support::gateway::open_to;
use crate::support::raw::{PATIENCE, get};
use crate::support::replica::{until, within};
use crate::support::{Act, Client, Gateway, Upstream, exchange};

/// A client with little room for what it does not read.
async fn narrow(gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(gateway.public()).await.unwrap()
}

async fn impatient(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}\n\
         limits: {{ body: {{ pause: 3s }} }}\n{}",
        open_to(upstream.address)
    ))
    .await
}

/// Whether a gauge is zero in time: three seconds after the pause begins, and what closing takes.
async fn falls(gateway: &Gateway, gauge: &str) {
    within(Duration::from_secs(8), gauge, async || gateway.metric(gauge) == 0).await;
}

/// Whether a request hangs, as one does whose answer is not taken.
async fn hangs(gateway: &Gateway) -> bool {
    for _ in 0..20 {
        if gateway.metric("portcullis_inflight ") == 0 {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_of_a_long_answer_is_let_go() {
    let upstream = Upstream::start(|_| Act::ok(vec![b'a'; 32 << 20])).await;
    let gateway = impatient(&upstream).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = narrow(&gateway).await;
        client.write_all(get("/long", &[]).as_bytes()).await.unwrap();
        clients.push(client);
    }
    let inflight = || gateway.metric("portcullis_inflight ");
    until(Duration::from_secs(1), "they are waited for at first", async || inflight() == 4).await;
    falls(&gateway, "portcullis_inflight ").await;
    falls(&gateway, "portcullis_connections ").await;
    drop(clients);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_short_answer_is_let_go_too() {
    let upstream = Upstream::start(|_| Act::ok(vec![b'a'; 8000])).await;
    let gateway = impatient(&upstream).await;
    let mut client = narrow(&gateway).await;
    let start = Instant::now();
    // One by one: each is small enough to be gathered, and at last one is not taken.
    while !hangs(&gateway).await {
        if client.write_all(get("/short", &[]).as_bytes()).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(start.elapsed() < PATIENCE, "the kernel takes everything");
    }
    falls(&gateway, "portcullis_connections ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_without_a_window_are_let_go() {
    let upstream = Upstream::start(|_| Act::ok(vec![b'a'; 100_000])).await;
    let gateway = impatient(&upstream).await;
    let mut client = TcpStream::connect(gateway.public()).await.unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0: no stream may send a byte of a body.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let head =
        block(&[(":method", "GET"), (":scheme", "http"), (":authority", "gw.test"), (":path", "/wide")]);
    for stream in 0..100 {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream * 2 + 1, &head));
    }
    client.write_all(&bytes).await.unwrap();
    let inflight = || gateway.metric("portcullis_inflight ");
    until(Duration::from_secs(1), "they wait for a window", async || inflight() >= 50).await;
    falls(&gateway, "portcullis_inflight ").await;
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_reads_is_served() {
    let upstream = Upstream::start(|_| Act::ok(vec![b'a'; 300_000])).await;
    let gateway = impatient(&upstream).await;
    let mut client = Client::over(narrow(&gateway).await);
    client.send(get("/slow", &[])).await;
    client.until(b"\r\n\r\n").await.unwrap();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(client.exactly(10_000).await.is_some(), "cut while it was reading");
    }
}
