//! Bodies in chunks: what has more than one reading ends its connection (security bar 2.C 37).
//!
//! Law: the same on every way in: however the bytes come in pieces, over TLS, on routes and on the
//! gateway's own endpoints.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::raw::get;
use crate::support::tls::connect;
use crate::support::{Client, Gateway, Upstream};
use crate::tls::with_tls;

fn post(lines: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n{body}")
}

/// Bodies in chunks about whose end two parsers could disagree.
fn doubtful_chunks() -> Vec<String> {
    let mut bodies: Vec<_> = [
        "0x1",
        "0_1",
        "+1",
        "-1",
        "11111111111111111",
        "1 ",
        "g",
        "1\na",
        "1;a\rb",
        "1;a\nb",
        "1;\n",
        "1;\"\n\"",
        "1;a\0b",
        "1;",
        "",
        ";a",
        " ",
    ]
    .iter()
    .map(|line| format!("{line}\r\na\r\n0\r\n\r\n"))
    .collect();
    bodies.push(format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(16 * 1024)));
    for body in ["1\r\naX0\r\n\r\n", "0;x\ny\r\n\r\n", "1\r\na\n0\r\n\r\n", "1\r\na\r\n0\n\r\n"] {
        bodies.push(body.to_owned());
    }
    for trailer in ["X", "\0: x", "Content-Length : 5", " folded: x", "X: a\nb", "X: a\rb"] {
        bodies.push(format!("1\r\na\r\n0\r\n{trailer}\r\n\r\n"));
    }
    bodies
}

/// Sends a doubtful body, and what it may hide when the first answer is there, the two-step way.
async fn refused_in<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>, pieces: &[&str], body: &str) {
    for piece in pieces {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let body = &body[..body.len().min(40)];
    let answer = client.answer().await;
    assert!(answer.as_ref().is_some_and(|answer| answer.status == 400), "{body:?}: {answer:?}");
    assert!(client.closes().await, "{body:?}");
}

#[tokio::test]
async fn a_chunk_that_is_not_exact_ends_the_connection_before_the_upstream_has_a_request() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let head = post("Transfer-Encoding: chunked\r\n", "");
    for body in doubtful_chunks() {
        // With the head, after it, and after a chunk that is already on its way to the upstream.
        let whole = format!("{head}{body}");
        let begun = format!("{head}2\r\nxx\r\n");
        for pieces in [&[&whole[..]][..], &[&head, &body], &[&begun, &body]] {
            refused_in(Client::connect(gateway.public()).await, pieces, &body).await;
            assert_eq!(upstream.count(), 0, "{body:?} made a request of it");
        }
    }
}

#[tokio::test]
async fn a_chunk_that_is_not_exact_is_refused_over_tls_too() {
    let upstream = Upstream::echo().await;
    let (gateway, own) = with_tls("", upstream.address).await;
    for body in doubtful_chunks() {
        let stream = connect(gateway.public(), "gw.test", &own, &[b"http/1.1"]).await.unwrap();
        let head = post("Transfer-Encoding: chunked\r\n", "");
        refused_in(Client::over(stream), &[&head, &body], &body).await;
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn what_a_front_takes_for_one_request_is_never_two() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let hidden = get("/smuggled", &[]);
    let inner = format!("0\r\n\r\n{hidden}");
    // Who ends a chunk line at the line feed reads the hidden request as part of the body.
    for line in ["2;", "2;a"] {
        let body = format!("{line}\nxx\r\n{:02x}\r\n0\r\n\r\n", inner.len());
        let mut client = Client::connect(gateway.public()).await;
        client.send(post("Transfer-Encoding: chunked\r\n", &body)).await;
        assert_eq!(client.answer().await.unwrap().status, 400, "{line}");
        // What follows is sent only when the first answer is there.
        client.send(format!("{hidden}\r\n0\r\n\r\n")).await;
        assert!(client.answer().await.is_none(), "{line}: a second answer");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_built_in_endpoint_reads_chunks_as_strictly() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    for body in doubtful_chunks() {
        let head = "POST /api/v1/auth/login/email/ HTTP/1.1\r\nHost: gw.test\r\n\
                    Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = Client::connect(gateway.public()).await;
        client.send(format!("{head}{body}")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
        assert!(client.closes().await, "{body:?}");
    }
}

#[tokio::test]
async fn what_stands_beside_chunks_goes_no_further() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    for body in [
        "1;name=value\r\na\r\n0\r\n\r\n",
        "01;name=\"a value\"\r\na\r\n00;last\r\n\r\n",
        "1\r\na\r\n0\r\nX-Trailer: yes\r\n\r\n",
    ] {
        client.send(post("Transfer-Encoding: chunked\r\n", body)).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "{body:?}");
        // Its reader knows digits and the end only.
        assert_eq!(upstream.last().body, b"a");
        client.send(get("/canary", &[])).await;
        assert!(client.answer().await.unwrap().text().starts_with("GET /canary HTTP/1.1\r\n"));
    }
    assert_eq!(upstream.count(), 6);
}
