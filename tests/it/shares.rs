//! What one client address cannot take from the others: the requests at upstreams (security bar 2.P).
//!
//! Law: the requests of an address count, over however many streams they come; and what they held is given back
//! when their client resets them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use h2::client::{ResponseFuture, SendRequest};
use http::{Method, Request};
use tokio::net::TcpSocket;

use crate::support::raw::get;
use crate::support::replica::{in_time, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Gateway, Upstream, exchange};

const PATIENT: Duration = Duration::from_secs(20);
/// What is not refused by then is at the upstream.
const MOMENT: Duration = Duration::from_millis(100);

async fn gateway(upstream: &Upstream, more: &str, pause: &str) -> Gateway {
    Gateway::start(&format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}
limits: {{ connections: {{ requests_per_address: 4 }}, body: {{ pause: {pause} }} }}
upstreams: {{ up: {{ servers: ['{}']{more} }} }}
routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]
",
        upstream.address
    ))
    .await
}

/// A connection from this address of the machine.
async fn from(address: &str, gateway: &Gateway) -> SendRequest<Bytes> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(gateway.public()).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    spawn(async move {
        // It ends with the test.
        let _ = connection.await;
    });
    send
}

/// A request without an answer, and the stream of its body.
type Held = (ResponseFuture, h2::SendStream<Bytes>);

/// A request that is held open: with its own stream for a body that never comes, or without a body.
async fn open(send: &SendRequest<Bytes>, method: Method) -> Held {
    let request = Request::builder().method(&method).uri("http://gw.test/x").body(()).unwrap();
    send.clone().ready().await.unwrap().send_request(request, method == Method::GET).unwrap()
}

/// What a request that is answered at once is answered.
async fn asked(send: &SendRequest<Bytes>) -> (u16, String) {
    let (answer, _) = open(send, Method::GET).await;
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut whole = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        whole.extend_from_slice(&piece);
    }
    (head.status.as_u16(), String::from_utf8(whole).unwrap())
}

/// Holds so many requests open, once as many places are free. What was refused is tried again.
async fn hold<const MANY: usize>(sends: [&SendRequest<Bytes>; MANY], method: Method) -> Vec<Held> {
    let start = Instant::now();
    loop {
        let mut held = Vec::new();
        for send in sends {
            let (mut answer, body) = open(send, method.clone()).await;
            if tokio::time::timeout(MOMENT, &mut answer).await.is_err() {
                held.push((answer, body));
            }
        }
        // A refusal of a busy machine takes more than a moment.
        tokio::time::sleep(5 * MOMENT).await;
        held.retain_mut(|(answer, _)| answer.now_or_never().is_none());
        if held.len() == MANY {
            return held;
        }
        assert!(start.elapsed() < PATIENT, "only {} of {MANY} places are free", held.len());
    }
}

#[tokio::test]
async fn one_address_fills_its_share_of_the_upstreams_and_another_still_gets_through() {
    let hanging = Upstream::start(|_| Act::Hang).await;
    let gateway = gateway(&hanging, "", "10s").await;
    let (one, two) = (from("127.0.0.1", &gateway).await, from("127.0.0.1", &gateway).await);
    // What their client resets is given back, each time, whoever carries it out.
    for method in [Method::GET, Method::POST, Method::GET, Method::POST] {
        let held = hold([&one, &two, &one, &two], method.clone()).await;
        let (status, text) = asked(&one).await;
        assert_eq!(status, 503, "{method}: {text}");
        assert!(text.contains("TOO_MANY_AT_ONCE"), "{text}");
        drop(held);
    }
    let held = hold([&one, &two, &one, &two], Method::GET).await;
    let elsewhere = from("127.0.0.2", &gateway).await;
    let (before, passed) = (hanging.count(), open(&elsewhere, Method::GET).await);
    until(PATIENT, "another address gets through", async || hanging.count() == before + 1).await;
    // Over HTTP/1 the same address has no other share.
    let refused = exchange(gateway.public(), get("/x", &[])).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "TOO_MANY_AT_ONCE"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop((held, passed));
}

#[tokio::test]
async fn a_body_without_a_length_that_never_comes_holds_no_upstream_over_http2() {
    let hanging = Upstream::start(|_| Act::Hang).await;
    let gateway = gateway(&hanging, ", in_flight: 1", "1s").await;
    let send = from("127.0.0.1", &gateway).await;
    let (answer, _body) = open(&send, Method::POST).await;
    let ended = in_time(PATIENT / 2, answer).await.expect("it is let go");
    assert!(ended.is_err() || ended.is_ok_and(|answer| answer.status() == 408));
    drop(hold([&send], Method::GET).await);
}
