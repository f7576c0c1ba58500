//! Connections to upstreams between two requests: whose they are, and when they end.
//!
//! Law: one exchange leaves nothing that a later one could take for its own.

use std::time::Duration;

use crate::support::gateway::open_to;
use crate::support::raw::get;
use crate::support::replica::until;
use crate::support::{Act, Client, Gateway, Upstream, exchange};

const ONE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
const SOON: Duration = Duration::from_secs(5);
const EVIL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

async fn pause() {
    tokio::time::sleep(Duration::from_millis(250)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_used_again_and_again() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    for _ in 0..200 {
        client.send(get("/x", &[])).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn what_a_server_says_unasked_answers_nobody() {
    let late = vec![(Duration::ZERO, ONE.to_vec()), (Duration::from_millis(30), EVIL.to_vec())];
    for act in [Act::Pieces(late), Act::Answer([ONE, EVIL].concat())] {
        let upstream = Upstream::start(move |_| act.clone()).await;
        let gateway = Gateway::open_to(upstream.address).await;
        for _ in 0..5 {
            assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().text(), "one");
            pause().await;
        }
        assert_eq!(upstream.connections(), 5, "none was used again");
    }
}

#[tokio::test]
async fn a_connection_that_its_server_closed_is_not_tried_again() {
    let upstream = Upstream::start(|_| Act::AnswerAndClose(ONE.to_vec())).await;
    let gateway = Gateway::open_to(upstream.address).await;
    for _ in 0..5 {
        // Not to be repeated, so a closed connection would show.
        let post = "POST /x HTTP/1.1\r\nHost: gw.test\r\n\r\n";
        assert_eq!(exchange(gateway.public(), post).await.unwrap().text(), "one");
        pause().await;
    }
    assert_eq!(upstream.count(), 5);
}

#[tokio::test]
async fn a_connection_waits_only_so_long() {
    let upstream = Upstream::echo().await;
    let brief = open_to(upstream.address).replace("'] }", "'], timeouts: { idle: 2s } }");
    let gateway = Gateway::start(&brief).await;
    for wait in [100, 100, 4000, 100] {
        exchange(gateway.public(), get("/x", &[])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn an_upstream_waits_no_longer_for_a_client_that_left() {
    let upstream = Upstream::start(|_| Act::Hang).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/x", &[])).await;
    let inflight = || gateway.metric("portcullis_inflight ");
    until(SOON, "it waits", async || (upstream.count(), inflight()) == (1, 1)).await;
    drop(client);
    until(SOON, "nobody waits", async || inflight() == 0).await;
}
