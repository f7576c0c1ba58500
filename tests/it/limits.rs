//! What a client cannot use up (security bar 2.P).
//!
//! Law: every limit holds at its own number, and the gateway serves others meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::gateway::open_to;
use crate::support::raw::{PATIENCE, get};
use crate::support::replica::{at_best, in_time, until};
use crate::support::tls::Pair;
use crate::support::{Act, Client, Gateway, Upstream, exchange};

/// The shortest waits that a configuration may set.
const QUICK: &str = "limits: { head: { within: 1s }, body: { pause: 1s }, connections: { idle_for: 5s } }\n";

/// Who closes does so long before a head would have had to be whole.
const PATIENT: &str = "limits: { head: { within: 5m } }\n";

async fn quick(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!("{QUICK}{}", open_to(upstream.address))).await
}

#[tokio::test]
async fn a_head_must_arrive_whole_in_time() {
    let upstream = Upstream::echo().await;
    let gateway = quick(&upstream).await;
    cuts_slow_heads(gateway.public()).await;
    assert_eq!(upstream.count(), 0);
}

/// A gateway with a listener that only sends browsers to https.
async fn redirecting(limits: &str, upstream: &Upstream) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    Pair::for_name("gw.test").write(folder.path(), "gw");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let yaml = format!(
        "{limits}public_url: 'https://gw.test'
listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', tls: {{ cert_file: '{}', key_file: '{}', redirect: '127.0.0.1:0' }} }}
{}",
        path("gw.crt"),
        path("gw.key"),
        open_to(upstream.address)
    );
    Gateway::start_in(folder, &yaml).await.unwrap()
}

#[tokio::test]
async fn listeners_that_only_answer_wait_no_longer_for_a_head() {
    let upstream = Upstream::echo().await;
    let gateway = redirecting(QUICK, &upstream).await;
    let (admin, redirect) = (gateway.admin(), gateway.running.redirect.expect("a listener"));
    tokio::join!(cuts_slow_heads(admin), cuts_slow_heads(redirect));
    assert_eq!(exchange(admin, get("/livez", &[])).await.unwrap().status, 200);
    assert_eq!(exchange(redirect, get("/x", &[])).await.unwrap().status, 301);
}

#[tokio::test]
async fn listeners_that_only_answer_have_caps_too() {
    let upstream = Upstream::echo().await;
    let caps = "limits: { connections: { total: 20, per_address: 3 } }\n";
    let gateway = redirecting(caps, &upstream).await;
    let (admin, redirect) = (gateway.admin(), gateway.running.redirect.expect("a listener"));
    // The operator has a number of their own, which clients of the gateway do not use up.
    for (listener, path, status, most) in [(redirect, "/x", 301, 3), (admin, "/livez", 200, 64)] {
        let mut open = Vec::new();
        for _ in 0..most {
            let mut client = Client::connect(listener).await;
            client.send(get(path, &[])).await;
            assert_eq!(client.answer().await.expect("there is room").status, status, "{path}");
            open.push(client);
        }
        let mut late = Client::connect(listener).await;
        late.send(get(path, &[])).await;
        assert_eq!(late.answer().await, None, "{path}: one too many");
        open.pop();
        until(Duration::from_secs(5), "the place came back", async || {
            exchange(listener, get(path, &[])).await.is_some_and(|answer| answer.status == status)
        })
        .await;
    }
}

/// That a listener cuts heads off which never come, or in drops.
async fn cuts_slow_heads(listener: SocketAddr) {
    for begin in ["", "GET /x HTTP/1.1\r\n", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX-Slow:"] {
        let start = Instant::now();
        let mut client = Client::connect(listener).await;
        client.send(begin).await;
        // One byte now and then does not buy more time.
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if !begin.is_empty() {
                    client.send("x").await;
                }
                if client.closes_within(Duration::from_millis(1)).await {
                    break;
                }
            }
        };
        in_time(Duration::from_secs(4), drip).await.unwrap_or_else(|| panic!("{begin:?} stays open"));
        assert!(start.elapsed() >= Duration::from_millis(900), "{begin:?} was cut early");
    }
}

#[tokio::test]
async fn the_second_head_on_a_connection_must_arrive_in_time_too() {
    let upstream = Upstream::echo().await;
    let gateway = quick(&upstream).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/x", &[])).await;
    client.answer().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    client.send(get("/y", &[])).await;
    assert_eq!(client.answer().await.unwrap().status, 200, "an idle connection may wait longer than a head");
    at_best(Duration::from_secs(2), "the second head is cut", async || {
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/x", &[])).await;
        client.answer().await.unwrap();
        let start = Instant::now();
        client.send("GET /z HTTP/1.1\r\nHo").await;
        assert!(client.closes().await);
        start.elapsed()
    })
    .await;
    let start = Instant::now();
    let mut idle = Client::connect(gateway.public()).await;
    idle.send(get("/x", &[])).await;
    idle.answer().await.unwrap();
    let is_closed = in_time(Duration::from_secs(8), idle.closes_within(PATIENCE)).await;
    assert_eq!(is_closed, Some(true), "an idle connection is closed");
    assert!(start.elapsed() >= Duration::from_millis(4900));
}

#[tokio::test]
async fn a_head_without_an_end_is_closed_when_it_is_longer_than_a_head_may_be() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!("{PATIENT}{}", open_to(upstream.address))).await;
    ends_endless_heads(gateway.public()).await;
    assert_eq!(upstream.count(), 0);
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}

/// That a listener reads no more of a head than a head may be, and says so.
async fn ends_endless_heads(listener: SocketAddr) {
    let begun = "GET /x HTTP/1.1\r\nHost: gw.test\r\n";
    for (name, piece) in [("one header", "a".repeat(1024)), ("no lines", "\r\n\r\n".repeat(256))] {
        let start = if name == "one header" { format!("{begun}X-Big: ") } else { String::new() };
        let mut open = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(listener).await;
            client.send(&start).await;
            client.send(piece.repeat(16)).await;
            open.push(client);
        }
        for client in &mut open {
            assert!(!client.closes_within(Duration::from_millis(5)).await, "{name}: half a head may go on");
            client.send(piece.repeat(24)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        for client in &mut open {
            // Its reads need not be our writes.
            for _ in 0..4 {
                client.send(piece.repeat(4)).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let told = client.answer().await.expect("it is told");
            assert_eq!((told.status, told.code()), (431, "HEADERS_TOO_LARGE".to_owned()), "{name}");
            assert!(client.closes().await, "{name}");
        }
    }
}

#[tokio::test]
async fn listeners_that_only_answer_let_a_head_be_no_longer() {
    let upstream = Upstream::echo().await;
    let gateway = redirecting(PATIENT, &upstream).await;
    let (admin, redirect) = (gateway.admin(), gateway.running.redirect.expect("a listener"));
    for (listener, path, status) in [(admin, "/livez", 200), (redirect, "/x", 301)] {
        ends_endless_heads(listener).await;
        let ask = |kib: usize| get(path, &[&format!("X-Big: {}", "a".repeat(kib << 10))]);
        // More than one head may be, in many.
        let mut client = Client::connect(listener).await;
        for _ in 0..4 {
            client.send(ask(30)).await;
            assert_eq!(client.answer().await.expect("an answer").status, status, "{path}");
        }
        client.send(ask(33)).await;
        let told = client.answer().await.expect("it is told");
        assert_eq!((told.status, told.code()), (431, "HEADERS_TOO_LARGE".to_owned()), "{path}");
        assert!(client.closes().await, "{path}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_not_a_slow_head() {
    let upstream = Upstream::start(|_| {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        Act::Pieces(vec![(Duration::from_millis(1800), whole)])
    })
    .await;
    let gateway = quick(&upstream).await;
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().text(), "ok");
}

#[tokio::test]
async fn a_body_that_stops_is_a_408() {
    let upstream = Upstream::echo().await;
    let gateway = quick(&upstream).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut client = Client::connect(gateway.public()).await;
        client.send(format!("POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10\r\n{expect}\r\n")).await;
        let mut answer = client.answer().await.unwrap();
        if answer.status == 100 {
            answer = client.answer().await.unwrap();
        }
        assert_eq!((answer.status, answer.code().as_str()), (408, "REQUEST_TIMEOUT"), "{expect}");
        assert!(client.closes().await);
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_exactly_one() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client
        .send("POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.unwrap().status, 100);
    client.send("hello").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(upstream.last().body, b"hello");
    assert_eq!(upstream.last().header("expect"), None);
}

#[tokio::test]
async fn heads_and_targets_have_their_sizes() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let long = format!("/{}", "a".repeat(8 * 1024));
    let answer = exchange(gateway.public(), get(&long, &[])).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (414, "URI_TOO_LONG"));
    let big = format!("X-Big: {}", "b".repeat(33 * 1024));
    let answer = exchange(gateway.public(), get("/x", &[&big])).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (431, "HEADERS_TOO_LARGE"));
    let many: Vec<String> = (0..101).map(|n| format!("X-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(exchange(gateway.public(), get("/x", &many)).await.unwrap().status, 431);
    assert_eq!(upstream.count(), 0);
    let fits = format!("X-Big: {}", "b".repeat(30 * 1024));
    assert_eq!(exchange(gateway.public(), get("/x", &[&fits])).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_has_its_size_whether_announced_or_not() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone, body: 100B }} ]\n",
        upstream.address
    ))
    .await;
    let announced = "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 101\r\n\r\n";
    let answer = exchange(gateway.public(), announced).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "BODY_TOO_LARGE"));
    assert_eq!(upstream.connections(), 0, "refused before anyone was asked");
    let chunk = "a".repeat(0x65);
    let chunked = format!(
        "POST /x HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{chunk}\r\n0\r\n\r\n"
    );
    let answer = exchange(gateway.public(), chunked).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "BODY_TOO_LARGE"));
    assert_eq!(upstream.count(), 0, "the upstream never had a whole request");
    let fits = format!("POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100\r\n\r\n{}", "a".repeat(100));
    assert_eq!(exchange(gateway.public(), fits).await.unwrap().status, 200);
}

async fn of_one_path(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: one, match: {{ path: /one }}, upstream: up, allow: anyone }} ]\n",
        upstream.address
    ))
    .await
}

#[tokio::test]
async fn a_large_body_refused_early_still_gets_its_answer() {
    let upstream = Upstream::echo().await;
    let gateway = of_one_path(&upstream).await;
    for size in [1_000, 100_000, 200_000] {
        let request = format!(
            "POST /two HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {size}\r\n\r\n{}",
            "a".repeat(size)
        );
        assert_eq!(exchange(gateway.public(), request).await.unwrap().status, 404, "{size}");
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_when_it_is_refused_is_not_reset() {
    let upstream = Upstream::echo().await;
    let gateway = of_one_path(&upstream).await;
    let head = "POST /two HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 900000\r\n\r\n";
    let sending = async || {
        let mut stream = tokio::net::TcpStream::connect(gateway.public()).await?;
        stream.write_all(head.as_bytes()).await?;
        // All that was sent is read and refused; what follows is on its way, and nobody closes on that.
        stream.readable().await?;
        for _ in 0..5 {
            stream.write_all(&[b'x'; 1000]).await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
        std::io::Result::Ok(())
    };
    // It is read for half a second, which a busy machine may take from one client, but not from each.
    let mut ended = Vec::new();
    while ended.len() < 5 && ended.last().is_none_or(std::io::Result::is_err) {
        ended.push(sending().await);
    }
    assert!(ended.iter().any(std::io::Result::is_ok), "an end, not a reset: {ended:?}");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn connections_have_caps_and_places_come_back() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "limits: {{ connections: {{ total: 20, per_address: 3 }} }}\n{}",
        open_to(upstream.address)
    ))
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/x", &[])).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        open.push(client);
    }
    let mut fourth = Client::connect(gateway.public()).await;
    fourth.send(get("/x", &[])).await;
    assert_eq!(fourth.answer().await, None);
    assert!(gateway.metric("portcullis_ratelimited_total{limiter=\"connection\"}") >= 1);
    assert_eq!(exchange(gateway.admin(), get("/livez", &[])).await.unwrap().status, 200);
    open.pop();
    until(Duration::from_secs(5), "the place came back", async || {
        exchange(gateway.public(), get("/x", &[])).await.is_some_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn a_large_upload_to_a_slow_upstream_waits_instead_of_piling_up() {
    // The upstream reads nothing until its answer: what the gateway takes in meanwhile is bounded.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let held = crate::support::upstream::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(stream);
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{address}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone, body: 1GiB }} ]\n"
    ))
    .await;
    let mut client = Client::connect(gateway.public()).await;
    client.send("POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 500000000\r\n\r\n").await;
    let mut stream = client.into_inner();
    let piece = vec![b'a'; 1 << 20];
    let mut taken = 0;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&piece)).await {
        taken += piece.len();
        assert!(taken < 40 << 20, "the gateway took in {taken} bytes that nobody read");
    }
    drop(stream);
    held.await.unwrap();
}

#[tokio::test]
async fn a_request_that_breaks_off_is_recorded() {
    let upstream = Upstream::start(|_| Act::Hang).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/gone", &[])).await;
    until(Duration::from_secs(5), "it is on its way", async || upstream.count() == 1).await;
    drop(client);
    let log = gateway.access_log().await;
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["path"], "/gone");
    assert_eq!(log[0]["status"], 0);
    assert_eq!(gateway.metric("portcullis_inflight "), 0);
}

#[tokio::test]
async fn the_cap_on_all_connections_holds_however_many_addresses_they_come_from() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "limits: {{ connections: {{ total: 8, per_address: 3 }} }}\n{}",
        open_to(upstream.address)
    ))
    .await;
    let from = async |number: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, number], 0))).unwrap();
        let mut client = Client::over(socket.connect(gateway.public()).await.unwrap());
        client.send(get("/x", &[])).await;
        client.answer().await.map(|answer| (answer.status, client))
    };
    let mut open = Vec::new();
    for number in 2..=9 {
        let (status, client) = from(number).await.expect("there is room");
        assert_eq!(status, 200, "127.0.0.{number}");
        open.push(client);
    }
    for number in [2, 10, 11] {
        assert!(from(number).await.is_none(), "127.0.0.{number} is one too many");
    }
    assert_eq!(upstream.count(), 8);
    assert_eq!(gateway.metric("portcullis_ratelimited_total{limiter=\"connection\"}"), 3);
    assert_eq!(exchange(gateway.admin(), get("/livez", &[])).await.unwrap().status, 200);
    for client in &mut open {
        client.send(get("/x", &[])).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "who is in stays in");
    }
    open.pop();
    until(Duration::from_secs(5), "the place came back", async || from(10).await.is_some()).await;
}
