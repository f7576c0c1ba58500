//! The way down and the change of configuration on the way (security bar 2.R).
//!
//! Law: what was begun is finished or properly cut; a configuration is taken over whole or not at
//! all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::support::gateway::open_to;
use crate::support::raw::get;
use crate::support::replica::{at_best, in_time, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Gateway, Upstream, exchange};

fn slow(millis: u64) -> impl Fn(&crate::support::Seen) -> Act + Send + Sync {
    move |_| {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec();
        Act::Pieces(vec![(Duration::from_millis(millis), whole)])
    }
}

async fn refuses(address: std::net::SocketAddr) -> bool {
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(Duration::from_secs(3), refused).await.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_announces_itself_then_closes_and_lets_requests_finish() {
    let upstream = Upstream::start(slow(5000)).await;
    let gateway =
        Gateway::start(&format!("drain: {{ announce: 4s, grace: 60s }}\n{}", open_to(upstream.address)))
            .await;
    let gateway = Arc::new(gateway);
    let (public, admin) = (gateway.public(), gateway.admin());
    let mut idle = Client::connect(public).await;
    let health = async || exchange(public, get("/api/v1/health/", &[])).await.unwrap();
    assert_eq!((health().await.status, health().await.json()["status"].as_str()), (200, Some("ok")));
    let stopping = Arc::clone(&gateway);
    let start = Instant::now();
    let stopped = spawn(async move { stopping.running.shutdown().await });
    until(Duration::from_secs(1), "announced", async || health().await.status == 503).await;
    assert_eq!((health().await.status, health().await.code().as_str()), (503, "SERVICE_UNAVAILABLE"));
    let ready = exchange(admin, get("/readyz", &[])).await.unwrap();
    assert_eq!((ready.status, ready.json()["reasons"]["drain"].is_string()), (503, true));
    let late = exchange(public, get("/x", &[])).await.unwrap();
    assert_eq!(late.text(), "slow", "still accepted while announcing, and finished after closing");
    assert!(start.elapsed() >= Duration::from_secs(5));
    assert!(refuses(public).await, "the door is closed");
    assert!(idle.closes().await);
    in_time(Duration::from_secs(3), stopped).await.expect("no grace is slept through").unwrap();
    assert!(refuses(admin).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_during_the_announcement_end_their_connections() {
    let upstream = Upstream::echo().await;
    let gateway =
        Gateway::start(&format!("drain: {{ announce: 5s, grace: 5s }}\n{}", open_to(upstream.address))).await;
    let gateway = Arc::new(gateway);
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/before", &[])).await;
    assert_eq!(client.answer().await.unwrap().header("connection"), Some("keep-alive"));
    let stopping = Arc::clone(&gateway);
    let stopped = spawn(async move { stopping.running.shutdown().await });
    until(Duration::from_secs(1), "announced", async || {
        exchange(gateway.admin(), get("/readyz", &[])).await.unwrap().status == 503
    })
    .await;
    client.send(get("/during", &[])).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    stopped.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_finish_in_time_is_cut_and_never_looks_whole() {
    let upstream = Upstream::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
        Act::Pieces(vec![(Duration::ZERO, head), (Duration::from_mins(1), b"0\r\n\r\n".to_vec())])
    })
    .await;
    let yaml = format!("drain: {{ announce: 0s, grace: 1s }}\n{}", open_to(upstream.address));
    at_best(Duration::from_secs(4), "it stops", async || {
        let gateway = Gateway::start(&yaml).await;
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/endless", &[])).await;
        client.until(b"hello").await.unwrap();
        let start = Instant::now();
        gateway.running.shutdown().await;
        let took = start.elapsed();
        let rest = client.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"));
        let log = gateway.access_log().await;
        assert_eq!((&log[0]["path"], &log[0]["status"]), (&"/endless".into(), &0.into()), "{log:?}");
        took
    })
    .await;
}

#[tokio::test]
async fn a_reload_changes_what_the_next_request_gets() {
    let (one, two) = (Upstream::start(|_| Act::ok("one")).await, Upstream::start(|_| Act::ok("two")).await);
    let gateway = Gateway::open_to(one.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/x", &[])).await;
    assert_eq!(client.answer().await.unwrap().text(), "one");
    gateway.running.reload(&gateway.load(&open_to(two.address))).await.unwrap();
    client.send(get("/x", &[])).await;
    assert_eq!(client.answer().await.unwrap().text(), "two", "on the same connection");
    assert_eq!(gateway.metric("portcullis_config_last_reload_success "), 1);
    let closed = "upstreams: { up: { servers: ['127.0.0.1:9'] } }\nroutes: [ { name: a, match: { path: /a }, upstream: up, allow: signed_in } ]\n";
    gateway.running.reload(&gateway.load(closed)).await.unwrap();
    client.send(get("/x", &[])).await;
    assert_eq!(client.answer().await.unwrap().status, 404);
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_refused_and_the_old_stays() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let moved =
        format!("listen: {{ public: '127.0.0.1:1', admin: '127.0.0.1:0' }}\n{}", open_to(upstream.address));
    assert!(gateway.running.reload(&gateway.load(&moved)).await.is_err());
    assert_eq!(gateway.metric("portcullis_config_last_reload_success "), 0);
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_request() {
    let upstream = Upstream::echo().await;
    let gateway = Arc::new(Gateway::open_to(upstream.address).await);
    let address = gateway.public();
    let load = spawn(async move {
        let mut client = Client::connect(address).await;
        for round in 0..400 {
            client.send(get(&format!("/{round}"), &[])).await;
            let answer = client.answer().await.expect("an answer");
            assert_eq!(answer.status, 200, "{round}");
        }
    });
    let loaded = gateway.load(&open_to(upstream.address));
    for _ in 0..50 {
        gateway.running.reload(&loaded).await.unwrap();
    }
    load.await.unwrap();
    assert_eq!(upstream.connections(), 1, "an upstream that did not change keeps its connections");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_at_once() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let yaml = format!("listen: {{ public: '{address}', admin: '127.0.0.1:0' }}\n");
    let error = Gateway::try_start(&yaml).await.err().expect("no start");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn an_upstream_that_a_reload_removes_is_let_go() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let left = spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut chunk = [0; 4096];
        assert!(stream.read(&mut chunk).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await.unwrap();
        // Ends when the pooled connection is closed.
        stream.read(&mut chunk).await
    });
    let gateway = Gateway::open_to(address).await;
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().text(), "old");
    let new = Upstream::start(|_| Act::ok("new")).await;
    gateway.running.reload(&gateway.load(&open_to(new.address))).await.unwrap();
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().text(), "new");
    let closed = in_time(Duration::from_secs(5), left).await.expect("closed in time").unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_ends_well_though_its_upstream_was_removed() {
    let (over, is_over) = watch::channel(false);
    let old = Upstream::start(move |_| {
        Act::When(is_over.clone(), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold".to_vec())
    })
    .await;
    let new = Upstream::start(|_| Act::ok("new")).await;
    let gateway = Gateway::open_to(old.address).await;
    let post = "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi";
    let mut waiting = Vec::new();
    for asked in [&*get("/x", &[]), post] {
        let mut client = Client::connect(gateway.public()).await;
        client.send(asked).await;
        waiting.push(client);
    }
    until(Duration::from_secs(5), "under way", async || old.count() == 2).await;
    gateway.running.reload(&gateway.load(&open_to(new.address))).await.unwrap();
    for asked in [&*get("/x", &[]), post] {
        assert_eq!(exchange(gateway.public(), asked).await.unwrap().text(), "new");
    }
    over.send(true).unwrap();
    for client in &mut waiting {
        let answer = client.answer().await.expect("what was begun is finished");
        assert_eq!((answer.status, answer.text().as_str()), (200, "old"));
        // The connection lives on, and its next request goes where the others go.
        client.send(get("/x", &[])).await;
        assert_eq!(client.answer().await.unwrap().text(), "new");
    }
    assert_eq!(old.count(), 2, "nobody else was sent there");
}

/// One request sees one configuration: never the old one's permission and the new one's upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_through_between_an_open_route_and_a_closed_one() {
    let (open, closed) = (Upstream::start(|_| Act::ok("open")).await, Upstream::echo().await);
    let yaml = |upstream: &Upstream, allow: &str| {
        format!(
            "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
             routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: {allow} }} ]\n",
            upstream.address
        )
    };
    let (first, second) = (yaml(&open, "anyone"), yaml(&closed, "signed_in"));
    let gateway = Arc::new(Gateway::start(&first).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let (address, is_over) = (gateway.public(), Arc::clone(&is_over));
            spawn(async move {
                let (mut client, mut seen) = (Client::connect(address).await, [0, 0]);
                while !is_over.load(Ordering::Relaxed) {
                    client.send(get("/x", &[])).await;
                    let answer = client.answer().await.expect("an answer");
                    match answer.status {
                        200 => assert_eq!(answer.text(), "open"),
                        status => assert_eq!(status, 401, "{answer:?}"),
                    }
                    seen[usize::from(answer.status == 401)] += 1;
                    // After so many requests a connection has served its time.
                    if answer.header("connection") == Some("close") {
                        client = Client::connect(address).await;
                    }
                }
                seen
            })
        })
        .collect();
    let (first, second) = (gateway.load(&first), gateway.load(&second));
    for _ in 0..100 {
        gateway.running.reload(&second).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        gateway.running.reload(&first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for one in asking {
        let [passed, refused] = one.await.unwrap();
        assert!(passed > 50 && refused > 50, "both were met: {passed} and {refused}");
    }
    assert_eq!(closed.count(), 0, "nobody was signed in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_stream_that_is_open_finishes_and_its_connection_ends_gracefully() {
    let upstream = Upstream::start(slow(3000)).await;
    let gateway = Gateway::start(&format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}\ndrain: {{ announce: 200ms, grace: 60s }}\n{}",
        open_to(upstream.address)
    ))
    .await;
    let gateway = Arc::new(gateway);
    let tcp = tokio::net::TcpStream::connect(gateway.public()).await.unwrap();
    let (send, connection) = h2::client::handshake(tcp).await.unwrap();
    let ended = spawn(connection);
    let ask = async || {
        let request = http::Request::builder().uri("http://gw.test/x").body(()).unwrap();
        let (answer, _) = send.clone().ready().await?.send_request(request, true)?;
        let (head, mut body) = answer.await?.into_parts();
        let mut whole = Vec::new();
        while let Some(piece) = body.data().await {
            whole.extend_from_slice(&piece?);
        }
        Ok::<_, h2::Error>((head.status.as_u16(), whole))
    };
    let stop = async {
        until(Duration::from_secs(5), "on its way", async || upstream.count() == 1).await;
        let stopping = Arc::clone(&gateway);
        let stopped = spawn(async move { stopping.running.shutdown().await });
        assert!(refuses(gateway.public()).await, "the door is closed");
        tokio::time::sleep(Duration::from_millis(600)).await;
        let late: Result<(u16, Vec<u8>), h2::Error> = ask().await;
        (stopped, late)
    };
    let (first, (stopped, late)) = futures::join!(ask(), stop);
    assert_eq!(first.unwrap(), (200, b"slow".to_vec()));
    assert!(late.is_err(), "the door is closed: {late:?}");
    drop(send);
    let ended = in_time(Duration::from_secs(3), ended).await.expect("the connection ends");
    assert!(ended.unwrap().is_ok(), "and gracefully");
    in_time(Duration::from_secs(3), stopped).await.expect("no grace is slept through").unwrap();
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_on_its_way_may_arrive_until_the_grace_is_over() {
    let upstream = Upstream::start(|_| Act::ok("whole")).await;
    let drain = "drain: { announce: 200ms, grace: 8s }\n";
    let gateway = Arc::new(Gateway::start(&format!("{drain}{}", open_to(upstream.address))).await);
    let begin = async |path: &str| {
        let mut client = Client::connect(gateway.public()).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10\r\n\r\nhello");
        client.send(head).await;
        client
    };
    let (mut finishing, mut stuck) = (begin("/finishing").await, begin("/stuck").await);
    until(Duration::from_secs(5), "both are on their way", async || upstream.connections() == 2).await;
    let start = Instant::now();
    let stopping = Arc::clone(&gateway);
    let stopped = spawn(async move { stopping.running.shutdown().await });
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(refuses(gateway.public()).await, "the door is closed");
    finishing.send("world").await;
    let answer = finishing.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "whole"));
    let rest = in_time(Duration::from_secs(11), stuck.rest()).await.expect("the grace ends");
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(!rest.contains(" 200 "), "{rest}");
    assert!(start.elapsed() >= Duration::from_millis(8_100), "cut early: {:?}", start.elapsed());
    in_time(Duration::from_secs(3), stopped).await.expect("it stops").unwrap();
    let targets: Vec<_> = upstream.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(targets, ["/finishing"], "half a body is no request");
}

#[tokio::test]
async fn metrics_show_the_upstream_that_a_reload_put_in_the_place_of_another() {
    let (good, own) = (Upstream::echo().await, Upstream::echo().await);
    let broken = Upstream::start(|_| Act::Close).await;
    let yaml = |server: std::net::SocketAddr| {
        format!(
            "upstreams:
  up: {{ servers: ['{server}'], retries: 0, breaker: {{ after: 1, within: 60s, open_for: 1h }} }}
  own: {{ servers: ['{}'] }}
routes:
  - {{ name: own, match: {{ path: '/own/**' }}, upstream: own, allow: anyone }}
  - {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }}
",
            own.address
        )
    };
    let gateway = Gateway::start(&yaml(broken.address)).await;
    let ask = async |path: &str| exchange(gateway.public(), get(path, &[])).await.unwrap().status;
    let state = || gateway.metric("portcullis_breaker_state{upstream=\"up\"}");
    let health = || {
        let server = own.address;
        gateway.metric(&format!("portcullis_upstream_health{{server=\"{server}\",upstream=\"own\"}}"))
    };
    assert_eq!((ask("/x").await, state(), health()), (502, 2, 1));
    // What does not change stays as it is, and shown.
    let same = yaml(broken.address).replace("name: all", "name: rest");
    gateway.running.reload(&gateway.load(&same)).await.unwrap();
    assert_eq!((ask("/x").await, state(), health()), (503, 2, 1));
    gateway.running.reload(&gateway.load(&yaml(good.address))).await.unwrap();
    assert_eq!((state(), ask("/x").await, health()), (0, 200, 1), "a new upstream begins anew");
}
