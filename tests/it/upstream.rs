//! Which server is asked, when a request is tried again, and when nobody is asked at all.
//!
//! Law: a request is sent again only where the first server cannot have acted on it, or where
//! acting twice is the same as once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::raw::get;
use crate::support::replica::{at_best, until};
use crate::support::{Act, Client, Gateway, Upstream, exchange, free_port};

pub fn config(upstream: &str) -> String {
    format!(
        "upstreams: {{ up: {{ {upstream} }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n"
    )
}

/// An address on which nobody listens.
pub async fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[tokio::test]
async fn servers_take_turns() {
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = Gateway::start(&config(&format!("servers: ['{}', '{}']", one.address, two.address))).await;
    for _ in 0..6 {
        exchange(gateway.public(), get("/x", &[])).await.unwrap();
    }
    assert_eq!((one.count(), two.count()), (3, 3));
}

#[tokio::test]
async fn the_least_busy_server_is_asked() {
    let slow = Upstream::start(|_| Act::Hang).await;
    let fast = Upstream::echo().await;
    let servers = format!("servers: ['{}', '{}'], balance: least_connections", slow.address, fast.address);
    let gateway = Gateway::start(&config(&servers)).await;
    let mut held = Client::connect(gateway.public()).await;
    held.send(get("/held", &[])).await;
    until(Duration::from_secs(5), "it is held", async || slow.count() == 1).await;
    for _ in 0..4 {
        assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
    }
    assert_eq!((slow.count(), fast.count()), (1, 4));
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_replaced_by_the_next_for_any_method() {
    let alive = Upstream::echo().await;
    let dead = nobody().await;
    let gateway = Gateway::start(&config(&format!("servers: ['{dead}', '{}']", alive.address))).await;
    for _ in 0..4 {
        let post = "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(exchange(gateway.public(), post).await.unwrap().status, 200);
    }
    assert_eq!(alive.count(), 4);
    assert!(alive.seen().iter().all(|seen| seen.body == b"hi"));
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    // The server takes the request and closes without an answer.
    let closing = Upstream::start(|_| Act::Close).await;
    let gateway = Gateway::start(&config(&format!("servers: ['{}']", closing.address))).await;
    let post = "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi";
    let answer = exchange(gateway.public(), post).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_FAILED"));
    assert_eq!(closing.count(), 1, "a POST is sent once");
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 502);
    assert_eq!(closing.count(), 3, "a GET is sent twice");
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_a_get_nothing() {
    let upstream =
        Upstream::start(|_| Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()))
            .await;
    let gateway = Gateway::start(&config(&format!("servers: ['{}']", upstream.address))).await;
    for _ in 0..10 {
        assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_hardly_asked_more_often_than_clients_ask() {
    let broken = Upstream::start(|_| Act::Close).await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}'], retries: 5, breaker: {{ after: 5, within: 10s, open_for: 60s }}",
        broken.address
    )))
    .await;
    for _ in 0..100 {
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    }
    assert!(broken.connections() <= 110, "{} tries", broken.connections());
}

#[tokio::test]
async fn an_upstream_that_hangs_holds_no_more_requests_than_it_may() {
    let hanging = Upstream::start(|_| Act::Hang).await;
    let gateway = Gateway::start(&config(&format!("servers: ['{}'], in_flight: 3", hanging.address))).await;
    let mut waiting = Vec::new();
    for verb in ["GET", "POST", "PUT"] {
        let mut client = Client::connect(gateway.public()).await;
        client.send(format!("{verb} /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 0\r\n\r\n")).await;
        waiting.push(client);
    }
    until(Duration::from_secs(5), "three are there", async || hanging.count() == 3).await;
    let refused = exchange(gateway.public(), get("/x", &[])).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "UPSTREAM_BUSY"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let body = "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1\r\n\r\na";
    assert_eq!(exchange(gateway.public(), body).await.unwrap().code(), "UPSTREAM_BUSY");
    assert_eq!(hanging.count(), 3);
    // A client that leaves gives its place back.
    waiting.pop();
    until(Duration::from_secs(5), "there is a place again", async || {
        let mut next = Client::connect(gateway.public()).await;
        next.send(get("/x", &[])).await;
        if tokio::time::timeout(Duration::from_millis(200), next.answer()).await.is_err() {
            waiting.push(next);
        }
        hanging.count() == 4
    })
    .await;
    assert_eq!(hanging.count(), 4);
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_a_504() {
    let silent = Upstream::start(|_| Act::Hang).await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}'], timeouts: {{ connect: 1s, read: 1s, write: 1s, idle: 60s }}",
        silent.address
    )))
    .await;
    let asked = at_best(Duration::from_secs(3), "it is given up", async || {
        let start = Instant::now();
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
        start.elapsed()
    })
    .await;
    assert_eq!(silent.count(), asked, "what may still be at work is not asked again");
}

#[tokio::test]
async fn a_client_that_knows_no_chunks_gets_none() {
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let upstream = Upstream::start(move |_| Act::AnswerAndClose(chunks.to_vec())).await;
    let gateway = Gateway::start(&config(&format!("servers: ['{}']", upstream.address))).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send("GET /x HTTP/1.0\r\nHost: gw.test\r\n\r\n").await;
    let head = client.until(b"\r\n\r\n").await.unwrap();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(client.exactly(5).await.unwrap(), b"hello");
    assert_eq!(client.exactly(1).await, None, "and then the connection ends");
}

#[tokio::test]
async fn a_server_that_fails_its_checks_gets_no_requests_until_it_is_well() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_well = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&is_well);
    let moody = Upstream::start(move |seen| match seen.target() {
        "/healthz" if !state.load(Ordering::SeqCst) => {
            Act::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        _ => Act::ok("moody"),
    })
    .await;
    let steady = Upstream::start(|_| Act::ok("steady")).await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}', '{}'], health: {{ path: /healthz, every: 100ms, timeout: 1s, healthy_after: 1, unhealthy_after: 2 }}",
        moody.address, steady.address
    )))
    .await;
    let who = async || exchange(gateway.public(), get("/x", &[])).await.unwrap().text();
    let is_left_alone = async || (who().await, who().await) == ("steady".to_owned(), "steady".to_owned());
    until(Duration::from_secs(5), "it is left alone", is_left_alone).await;
    for _ in 0..4 {
        assert_eq!(who().await, "steady");
    }
    is_well.store(true, Ordering::SeqCst);
    until(Duration::from_secs(5), "it is asked again", async || who().await == "moody").await;
}

#[tokio::test]
async fn a_server_is_found_by_its_name() {
    let upstream = Upstream::echo().await;
    let gateway =
        Gateway::start(&config(&format!("servers: ['localhost:{}']", upstream.address.port()))).await;
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_rewrite_changes_what_the_upstream_sees_and_nothing_else() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{0}'], host: server }}, named: {{ servers: ['{0}'], host: backend.test }} }}\n\
         routes:\n\
         - {{ name: cut, match: {{ path: '/api/**' }}, upstream: up, allow: anyone, rewrite: {{ strip_prefix: /api, add_prefix: /v1 }} }}\n\
         - {{ name: host, match: {{ path: '/host/**' }}, upstream: up, allow: anyone, rewrite: {{ host: other.test }} }}\n\
         - {{ name: named, match: {{ path: '/named' }}, upstream: named, allow: anyone }}\n",
        upstream.address
    ))
    .await;
    for (path, target, host) in [
        ("/api/a%2Db?q=1", "/v1/a-b?q=1", upstream.address.to_string()),
        ("/api", "/v1", upstream.address.to_string()),
        ("/host/x", "/host/x", "other.test".to_owned()),
        ("/named", "/named", "backend.test".to_owned()),
    ] {
        assert_eq!(exchange(gateway.public(), get(path, &[])).await.unwrap().status, 200, "{path}");
        let seen = upstream.last();
        assert_eq!((seen.target(), seen.header("host")), (target, Some(host.as_str())), "{path}");
        assert_eq!(seen.header("x-forwarded-host"), Some("gw.test"));
    }
}

#[tokio::test]
async fn an_absolute_target_reaches_the_upstream_as_a_path() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let request = "GET http://gw.test/p?q=1 HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    assert_eq!(exchange(gateway.public(), request).await.unwrap().status, 200);
    assert_eq!(upstream.last().line(), "GET /p?q=1 HTTP/1.1");
}

#[tokio::test]
async fn an_unknown_host_is_misdirected() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "public_url: 'http://127.0.0.1:1'\nlisten: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', hosts: [gw.test, '127.0.0.1'] }}\n{}",
        crate::support::gateway::open_to(upstream.address)
    ))
    .await;
    let host = |host: &str| format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(exchange(gateway.public(), host("GW.test:80")).await.unwrap().status, 200);
    let answer = exchange(gateway.public(), host("other.test")).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (421, "MISDIRECTED_REQUEST"));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn spellings_that_a_route_asks_for_pass_there_and_nowhere_else() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes:\n\
         - {{ name: lax, match: {{ path: '/lax/**' }}, upstream: up, allow: anyone, target: {{ encoded_slash: true, params: true }} }}\n\
         - {{ name: strict, match: {{ path: '/strict/**' }}, upstream: up, allow: anyone }}\n",
        upstream.address
    ))
    .await;
    for path in ["/lax/a%2Fb", "/lax/a;v=1"] {
        assert_eq!(exchange(gateway.public(), get(path, &[])).await.unwrap().status, 200, "{path}");
        assert_eq!(upstream.last().target(), path);
    }
    for path in ["/strict/a%2Fb", "/strict/a;v=1", "/lax/..%2fb", "/lax/..;/b"] {
        assert_eq!(exchange(gateway.public(), get(path, &[])).await.unwrap().status, 400, "{path}");
    }
    assert_eq!(upstream.count(), 2);
}
