//! How long a route waits for its upstream: `timeouts` of the route beat those of the upstream.
//!
//! Law: who waits in vain is told in time, whatever others are allowed to wait; and what may have
//! reached the upstream is not sent to it once more.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::raw::get;
use crate::support::replica::at_best;
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Gateway, Seen, Upstream, exchange};

/// Two routes to one upstream, which waits for long itself: `/brief` allows a second of what is
/// named, `/patient` ten.
fn routes(upstream: SocketAddr, what: &[&str]) -> String {
    let long = "connect: 30s, read: 30s, write: 30s, idle: 60s";
    let route = |name: &str, span: &str| {
        let timeouts: Vec<_> = what.iter().map(|what| format!("{what}: {span}")).collect();
        format!(
            "  - {{ name: {name}, match: {{ path: '/{name}/**' }}, upstream: up, allow: anyone, body: 64MiB, timeouts: {{ {} }} }}\n",
            timeouts.join(", ")
        )
    };
    format!(
        "upstreams: {{ up: {{ servers: ['{upstream}'], breaker: off, timeouts: {{ {long} }} }} }}\nroutes:\n{}{}",
        route("brief", "1s"),
        route("patient", "10s")
    )
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi")
}

/// The refusal that comes about a second after the request, or two where a second try is allowed. How often
/// it was asked for.
async fn is_told_in_time(gateway: &Gateway, request: String) -> usize {
    at_best(Duration::from_millis(2_800), &request, async || {
        let start = Instant::now();
        let answer = exchange(gateway.public(), &request).await.unwrap();
        let took = start.elapsed();
        assert_eq!((answer.status, answer.code().as_str()), (504, "UPSTREAM_TIMEOUT"), "{request}");
        assert!(took >= Duration::from_millis(900), "{took:?}: {request}");
        took
    })
    .await
}

/// Answers `/patient` late, and nothing else ever.
fn late(seen: &Seen) -> Act {
    if !seen.target().starts_with("/patient") {
        return Act::Hang;
    }
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate".to_vec();
    Act::Pieces(vec![(Duration::from_secs(3), whole)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_begin_is_given_up_by_whoever_waits_least() {
    let upstream = Upstream::start(late).await;
    let gateway = Gateway::start(&routes(upstream.address, &["read"])).await;
    let start = Instant::now();
    let mut patient = Vec::new();
    for request in [get("/patient/x", &[]), post("/patient/x")] {
        let mut client = Client::connect(gateway.public()).await;
        client.send(&request).await;
        patient.push(client);
    }
    let asked = tokio::join!(
        is_told_in_time(&gateway, get("/brief/x", &[])),
        is_told_in_time(&gateway, post("/brief/x")),
        is_told_in_time(&gateway, post("/brief/x").replace("POST", "PUT")),
    );
    for mut client in patient {
        assert_eq!(client.answer().await.unwrap().text(), "late");
    }
    assert!(start.elapsed() >= Duration::from_secs(3));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2 + asked.0 + asked.1 + asked.2, "nothing twice: {seen:?}");
    assert!(seen.iter().filter(|one| one.line().starts_with("GET")).all(|one| one.body.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_within_an_answer_is_the_routes_to_allow() {
    let upstream = Upstream::start(|_| {
        let begin = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
        let end = b"5\r\nagain\r\n0\r\n\r\n".to_vec();
        Act::Pieces(vec![(Duration::ZERO, begin), (Duration::from_secs(3), end)])
    })
    .await;
    let gateway = Gateway::start(&routes(upstream.address, &["read"])).await;
    let mut asked = 1;
    for request in [get("/brief/x", &[]), post("/brief/x")] {
        asked += at_best(Duration::from_millis(2_500), &request, async || {
            let mut client = Client::connect(gateway.public()).await;
            client.send(&request).await;
            client.until(b"hello").await.unwrap();
            let start = Instant::now();
            let rest = client.rest().await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "cut, and it shows: {request}");
            start.elapsed()
        })
        .await;
    }
    let patient = exchange(gateway.public(), get("/patient/x", &[])).await.unwrap();
    assert_eq!(patient.text(), "helloagain");
    assert_eq!(upstream.count(), asked);
}

/// A port where connections are neither taken nor refused, because too many wait already.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    loop {
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        match tokio::time::timeout(Duration::from_secs(2), connecting).await {
            Ok(connected) => waiting.push(connected.unwrap()),
            Err(_) => return (listener, waiting),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_come_about_is_given_up_by_whoever_waits_least() {
    let (listener, waiting) = full().await;
    let gateway = Gateway::start(&routes(listener.local_addr().unwrap(), &["connect"])).await;
    let mut patient = Client::connect(gateway.public()).await;
    patient.send(get("/patient/x", &[])).await;
    tokio::join!(
        is_told_in_time(&gateway, get("/brief/x", &[])),
        is_told_in_time(&gateway, post("/brief/x")),
    );
    // Now there is room, and who still waits gets through.
    drop(waiting);
    let there = Upstream::on(listener, |_| Act::ok("there"));
    assert_eq!(patient.answer().await.unwrap().text(), "there");
    assert_eq!(there.count(), 1, "what was given up is not sent later");
}

/// Takes connections and reads nothing.
fn deaf() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    address
}

/// The first line that comes back while a long body is sent.
async fn told_while_sending(address: SocketAddr, path: &str, within: Duration) -> Option<String> {
    let size = 32 * 1024 * 1024;
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let head = format!("POST {path} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {size}\r\n\r\n");
    let sending = spawn(async move {
        let _ = to.write_all(head.as_bytes()).await;
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..size / piece.len() {
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    });
    let mut bytes = [0; 256];
    let told = tokio::time::timeout(within, from.read(&mut bytes)).await;
    sending.abort();
    let text = String::from_utf8_lossy(&bytes[..told.ok()?.ok()?]).into_owned();
    text.split("\r\n").next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_takes_nothing_is_given_up_by_whoever_waits_least() {
    let upstream = deaf();
    // What it may have answered already is waited for, as `read` says.
    let gateway = Gateway::start(&routes(upstream, &["write", "read"])).await;
    // Sooner than whoever waits as long as the upstream's own rule says.
    let (brief, patient) = tokio::join!(
        told_while_sending(gateway.public(), "/brief/x", Duration::from_secs(20)),
        told_while_sending(gateway.public(), "/patient/x", Duration::from_secs(5)),
    );
    assert_eq!(brief.as_deref(), Some("HTTP/1.1 504 Gateway Timeout"));
    assert_eq!(patient, None, "it still waits");
}
