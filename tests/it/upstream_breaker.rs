//! The breaker of an upstream: who opens it, who tries, and who closes it.
//!
//! Law: nobody waits for a dead backend, and no client keeps others from one that is back.

use std::time::Duration;

use tokio::sync::watch;

use crate::support::raw::get;
use crate::support::replica::until;
use crate::support::{Act, Client, Gateway, Upstream, exchange};
use crate::upstream::{config, nobody};

#[tokio::test]
async fn a_dead_upstream_is_a_502_and_then_left_alone_for_a_while() {
    let dead = nobody().await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{dead}'], retries: 0, breaker: {{ after: 3, within: 60s, open_for: 4s }}"
    )))
    .await;
    for _ in 0..3 {
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_FAILED"));
    }
    for _ in 0..5 {
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "UPSTREAM_UNAVAILABLE"));
        assert!(answer.header("retry-after").is_some());
    }
    let state = || gateway.metric("portcullis_breaker_state{upstream=\"up\"}");
    assert_eq!(state(), 2, "open");
    let (well, is_well) = watch::channel(false);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback".to_vec();
    let back = Upstream::on(tokio::net::TcpListener::bind(dead).await.unwrap(), move |_| {
        Act::When(is_well.clone(), answer.clone())
    });
    tokio::time::sleep(Duration::from_millis(4100)).await;
    let mut trying = Client::connect(gateway.public()).await;
    trying.send(get("/x", &[])).await;
    until(Duration::from_secs(5), "it is asked", async || back.count() == 1).await;
    assert_eq!(state(), 1, "one tries");
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().code(), "UPSTREAM_UNAVAILABLE");
    well.send(true).unwrap();
    assert_eq!(trying.answer().await.unwrap().text(), "back");
    until(Duration::from_secs(5), "it is closed", async || state() == 0).await;
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().text(), "back");
    assert_eq!(back.count(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_closes_no_open_breaker() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/broken" => Act::Close,
        "/silent" => Act::Hang,
        _ => Act::ok("well"),
    })
    .await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}'], retries: 0, breaker: {{ after: 2, within: 60s, open_for: 4s }}",
        upstream.address
    )))
    .await;
    let ask = async |path: &str| exchange(gateway.public(), get(path, &[])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask("/broken").await.status, 502);
    }
    assert_eq!(ask("/well").await.code(), "UPSTREAM_UNAVAILABLE");
    tokio::time::sleep(Duration::from_millis(4100)).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/silent", &[])).await;
    until(Duration::from_secs(5), "it is tried", async || upstream.count() == 3).await;
    assert_eq!(ask("/well").await.code(), "UPSTREAM_UNAVAILABLE", "only one tries");
    drop(client);
    let state = "portcullis_breaker_state{upstream=\"up\"}";
    until(Duration::from_secs(5), "it is gone", async || gateway.metric("portcullis_inflight ") == 0).await;
    assert!(gateway.metric(state) >= 1, "still open");
    assert_eq!(ask("/well").await.text(), "well");
    until(Duration::from_secs(5), "it is closed", async || gateway.metric(state) == 0).await;
}

#[tokio::test]
async fn clients_that_leave_or_stall_keep_no_breaker_open_for_others() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/broken" => Act::Close,
        "/silent" => Act::Hang,
        _ => Act::ok("well"),
    })
    .await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}'], retries: 0, breaker: {{ after: 2, within: 60s, open_for: 4s }}",
        upstream.address
    )))
    .await;
    let ask = async |path: &str| exchange(gateway.public(), get(path, &[])).await.unwrap();
    let open = async || {
        for _ in 0..2 {
            assert_eq!(ask("/broken").await.status, 502);
        }
        assert_eq!(ask("/well").await.code(), "UPSTREAM_UNAVAILABLE");
        tokio::time::sleep(Duration::from_millis(4100)).await;
    };
    let inflight = || gateway.metric("portcullis_inflight ");
    let tries = async |request: String, at_once: i64| {
        let mut client = Client::connect(gateway.public()).await;
        client.send(request).await;
        until(Duration::from_secs(5), "it tries", async || inflight() == at_once).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        client
    };
    // Whoever leaves makes room for two: one of them leaves again, the other one is honest.
    open().await;
    for _ in 0..5 {
        drop(tries(get("/silent", &[]), 1).await);
        until(Duration::from_secs(5), "it is gone", async || inflight() == 0).await;
    }
    let held = tries(get("/silent", &[]), 1).await;
    assert_eq!(ask("/well").await.text(), "well", "the next request is not kept out by who only holds");
    drop(held);
    // Who begins to send and does not go on has the try to itself for a second only.
    open().await;
    let stalls = || "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 9\r\n\r\n1".to_owned();
    let first = tries(stalls(), 1).await;
    assert_eq!(ask("/well").await.code(), "UPSTREAM_UNAVAILABLE", "only one tries");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = tries(stalls(), 2).await;
    assert_eq!(ask("/well").await.text(), "well");
    drop((first, second));
}

#[tokio::test]
async fn an_answer_without_an_end_closes_an_open_breaker_and_one_from_before_does_not() {
    let stream = || {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n".to_vec();
        Act::Pieces(vec![(Duration::ZERO, head), (Duration::from_mins(5), b"0\r\n\r\n".to_vec())])
    };
    let upstream = Upstream::start(move |seen| match seen.target() {
        "/broken" => Act::Close,
        "/silent" => Act::Hang,
        "/stream" => stream(),
        _ => Act::ok("well"),
    })
    .await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}'], retries: 0, breaker: {{ after: 2, within: 60s, open_for: 3s }}",
        upstream.address
    )))
    .await;
    let ask = async |path: &str| exchange(gateway.public(), get(path, &[])).await.unwrap();
    let begins = async |path: &str| {
        let mut client = Client::connect(gateway.public()).await;
        client.send(get(path, &[])).await;
        client
    };
    let open = async || {
        for _ in 0..2 {
            assert_eq!(ask("/broken").await.status, 502);
        }
        tokio::time::sleep(Duration::from_millis(3100)).await;
    };
    let inflight = || gateway.metric("portcullis_inflight ");
    let state = || gateway.metric("portcullis_breaker_state{upstream=\"up\"}");
    let mut before = begins("/stream").await;
    assert!(before.until(b"hi").await.is_some());
    open().await;
    let tries = begins("/silent").await;
    until(Duration::from_secs(5), "it tries", async || state() == 1).await;
    drop(before);
    until(Duration::from_secs(5), "it is gone", async || inflight() == 1).await;
    assert_eq!((state(), ask("/well").await.code().as_str()), (1, "UPSTREAM_UNAVAILABLE"));
    drop(tries);
    until(Duration::from_secs(5), "it is gone", async || inflight() == 0).await;
    assert_eq!(ask("/well").await.text(), "well");
    open().await;
    let mut tries = begins("/stream").await;
    assert!(tries.until(b"hi").await.is_some());
    assert_eq!((state(), ask("/well").await.text().as_str()), (0, "well"), "it answers, if without an end");
}

#[tokio::test]
async fn clients_that_stall_do_not_open_the_breaker_for_others() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&config(&format!(
        "servers: ['{}'], timeouts: {{ connect: 1s, read: 1s, write: 1s, idle: 60s }}, \
         breaker: {{ after: 2, within: 10s, open_for: 60s }}",
        upstream.address
    )))
    .await;
    let stall = async |head: &str| {
        let mut client = Client::connect(gateway.public()).await;
        client.send(format!("POST /x HTTP/1.1\r\nHost: gw.test\r\n{head}\r\n1")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (408, "REQUEST_TIMEOUT"));
    };
    tokio::join!(
        stall("Content-Length: 9\r\n"),
        stall("Content-Length: 9\r\n"),
        stall("Transfer-Encoding: chunked\r\n"),
    );
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}
