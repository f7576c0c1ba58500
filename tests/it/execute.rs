//! Requests whose whole body is read before they are sent, because a header is bound to it; and
//! requests that end when their caller may no longer make them.
//!
//! Law: the upstream sees the same request as on every other route, and the statement beside it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::h2::{H2Client, H2Upstream};
use crate::support::raw::{Answer, get};
use crate::support::replica::in_time;
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Gateway, Upstream, exchange, free_port};

const OPEN: &str =
    "applications: { required: nowhere }\naccounts: { registration: { open: true, log_in_at_once: true } }\n";
const PASSWORD: &str = "Correct-Horse-7-Battery";

async fn api(gateway: &Gateway, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let body = body.to_string();
    let bearer = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "POST /api/v1/auth{path} HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\n{bearer}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(gateway.public(), request).await.unwrap()
}

/// A person who just registered: the access token.
async fn person(gateway: &Gateway, email: &str) -> String {
    let answer =
        api(gateway, "/register/", None, &json!({"email": email, "password": PASSWORD, "login": true})).await;
    let body = answer.json();
    body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer:?}")).to_owned()
}

fn binding(upstream: &str) -> String {
    format!(
        "{OPEN}upstreams: {{ up: {{ {upstream}, assertion: request }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: signed_in, body: 1MiB }} ]\n"
    )
}

fn claims(assertion: &str) -> Value {
    let part = assertion.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_bound_request_reaches_the_upstream_whole_with_its_statement() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&binding(&format!("servers: ['{}']", upstream.address))).await;
    let token = person(&gateway, "ada@example.com").await;
    let mut client = Client::connect(gateway.public()).await;
    for size in [0, 1, 70_000, 300_000] {
        let body = "b".repeat(size);
        for chunked in [false, true] {
            let frame = if chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {size}")
            };
            client.send(format!("POST /pay?x=1 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\nConnection: x-mine\r\nX-Mine: 1\r\n{frame}\r\n\r\n")).await;
            if chunked && size > 0 {
                client.send(format!("{size:x}\r\n{body}\r\n0\r\n\r\n")).await;
            } else if chunked {
                client.send("0\r\n\r\n").await;
            } else {
                client.send(&body).await;
            }
            let answer = client.answer().await.unwrap();
            assert_eq!(answer.status, 200, "{size} {chunked}");
            let seen = upstream.last();
            assert_eq!((seen.target(), seen.body.len()), ("/pay?x=1", size));
            assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
            assert!(seen.all("transfer-encoding").is_empty() && seen.all("x-mine").is_empty());
            assert!(!seen.head.contains(&token));
            let said = claims(seen.header("x-portcullis-assertion").expect("an assertion"));
            assert_eq!(said["aud"], "up");
            assert_eq!(said["sub"].as_str(), seen.header("x-user-id"));
        }
    }
    assert_eq!(upstream.connections(), 1, "its connections are used again");
    let log = gateway.access_log().await;
    let last = log.last().unwrap();
    assert_eq!(
        (&last["status"], &last["route"], &last["upstream"]),
        (&json!(200), &json!("all"), &json!("up"))
    );
    assert_eq!(last["in"], 300_000);
}

#[tokio::test]
async fn a_bound_request_that_is_too_large_or_too_slow_is_refused_before_anyone_is_asked() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "limits: {{ body: {{ pause: 1s }} }}\n{}",
        binding(&format!("servers: ['{}']", upstream.address))
    ))
    .await;
    let token = person(&gateway, "ada@example.com").await;
    let head = |frame: &str| {
        format!("POST /x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\n{frame}\r\n\r\n")
    };
    let answer = exchange(gateway.public(), head("Content-Length: 1048577")).await.unwrap();
    assert_eq!(answer.status, 413);
    let chunk = "a".repeat(0x10_0001);
    let mut client = Client::connect(gateway.public()).await;
    client.send(head("Transfer-Encoding: chunked") + "100001\r\n" + &chunk + "\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 413);
    let answer = exchange(gateway.public(), head("Content-Length: 5") + "ab").await.unwrap();
    assert_eq!(answer.status, 408);
    let mut waiting = Client::connect(gateway.public()).await;
    waiting.send(head("Content-Length: 2\r\nExpect: 100-continue")).await;
    assert_eq!(waiting.answer().await.unwrap().status, 100);
    waiting.send("ok").await;
    assert_eq!(waiting.answer().await.unwrap().status, 200);
    assert_eq!(upstream.count(), 1);
    assert_eq!(
        exchange(gateway.public(), "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap()
            .status,
        401
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_bound_request_is_tried_again_only_where_nothing_was_sent() {
    let dead = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let closing = Upstream::start(|_| Act::Close).await;
    let alive = Upstream::echo().await;
    let gateway = Gateway::start(&binding(&format!("servers: ['{dead}', '{}']", alive.address))).await;
    let token = person(&gateway, "ada@example.com").await;
    let post = |token: &str| {
        format!(
            "POST /x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\nok"
        )
    };
    for _ in 0..4 {
        assert_eq!(exchange(gateway.public(), post(&token)).await.unwrap().status, 200);
    }
    let gateway = Gateway::start(&binding(&format!("servers: ['{}']", closing.address))).await;
    let token = person(&gateway, "ada@example.com").await;
    let answer = exchange(gateway.public(), post(&token)).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_FAILED"));
    assert_eq!(closing.count(), 1);
}

#[tokio::test]
async fn a_bound_request_passes_over_http2_on_both_sides() {
    let upstream = H2Upstream::start().await;
    let gateway = Gateway::start(&format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}\n{}",
        binding(&format!("servers: ['{}'], http2: true", upstream.address))
    ))
    .await;
    let token = person(&gateway, "ada@example.com").await;
    let client = H2Client::cleartext(gateway.public()).await;
    let request = http::Request::builder()
        .method("POST")
        .uri("http://gw.test/pkg.S/Call")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let answer = client.send(request, Some(b"\0\0\0\0\x02hi")).await.unwrap();
    assert_eq!((answer.head.status().as_u16(), answer.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    let seen = upstream.last();
    assert_eq!((seen.path.as_str(), seen.authority.as_str()), ("/pkg.S/Call", "gw.test"));
    assert!(seen.headers.contains_key("x-portcullis-assertion"));
    // A client of HTTP/1 gets its answer in its own words.
    let lines = format!("Authorization: Bearer {token}\r\nContent-Length: 2");
    let answer =
        exchange(gateway.public(), format!("POST /x HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n\r\nhi"));
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
}

#[tokio::test]
async fn a_websocket_ends_soon_after_its_session() {
    let upstream = Upstream::start(|_| {
        Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let gateway = Gateway::start(&format!(
        "{OPEN}upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: signed_in, websocket: true }} ]\n",
        upstream.address
    ))
    .await;
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    assert_eq!(
        exchange(gateway.public(), get("/ws", &upgrade)).await.unwrap().status,
        401,
        "no 101 without a token"
    );
    let (ada, bob) = (person(&gateway, "ada@example.com").await, person(&gateway, "bob@example.com").await);
    let mut sockets = Vec::new();
    for token in [&ada, &bob] {
        let bearer = format!("Authorization: Bearer {token}");
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/ws", &[&upgrade[..], &[bearer.as_str()]].concat())).await;
        assert_eq!(client.answer().await.unwrap().status, 101);
        client.send(b"\x81\x02hi").await;
        assert_eq!(client.exactly(4).await.unwrap(), b"\x81\x02hi");
        sockets.push(client);
    }
    assert_eq!(api(&gateway, "/logout/all/", Some(&ada), &json!({})).await.status, 200);
    let is_closed = in_time(Duration::from_secs(5), sockets[0].closes()).await;
    assert_eq!(is_closed, Some(true), "the socket outlives its session");
    sockets[1].send(b"\x81\x02ok").await;
    assert_eq!(sockets[1].exactly(4).await.unwrap(), b"\x81\x02ok", "nobody else's is touched");
}

#[tokio::test]
async fn a_long_answer_ends_when_its_caller_may_no_longer_read_it() {
    let upstream = Upstream::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let mut pieces = vec![(Duration::ZERO, head.to_vec())];
        pieces.extend((0..100).map(|_| (Duration::from_millis(200), b"4\r\ntick\r\n".to_vec())));
        Act::Pieces(pieces)
    })
    .await;
    let gateway = Gateway::start(&format!(
        "{OPEN}upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: signed_in }} ]\n",
        upstream.address
    ))
    .await;
    let token = person(&gateway, "ada@example.com").await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/events", &[&format!("Authorization: Bearer {token}")])).await;
    client.until(b"hello").await.unwrap();
    assert_eq!(api(&gateway, "/logout/all/", Some(&token), &json!({})).await.status, 200);
    let rest = in_time(Duration::from_secs(5), client.rest()).await.expect("it ends");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "cut, and it shows");
    let again = exchange(gateway.public(), get("/events", &[&format!("Authorization: Bearer {token}")]))
        .await
        .unwrap();
    assert_eq!(again.status, 401);
}

#[tokio::test]
async fn a_browser_opens_a_websocket_with_a_ticket_that_the_upstream_never_sees() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut targets) = tokio::sync::mpsc::unbounded_channel();
    spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
            let told = move |request: &http::Request<()>, response| {
                sender.send(request.uri().to_string()).unwrap();
                Ok(response)
            };
            let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(tcp, told).await else { continue };
            spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
        }
    });
    let gateway = Gateway::start(&format!(
        "{OPEN}upstreams: {{ up: {{ servers: ['{address}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: signed_in, websocket: true }} ]\n"
    ))
    .await;
    let token = person(&gateway, "ada@example.com").await;
    let answer = api(&gateway, "/ws-ticket/", Some(&token), &json!({})).await;
    let ticket = answer.json()["ticket"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let open = |ticket: &str| {
        format!("ws://{}/chat?room=1&ticket={ticket}", gateway.public()).into_client_request().unwrap()
    };
    let (socket, _) = tokio_tungstenite::connect_async(open(&ticket)).await.expect("the ticket opens");
    let target = targets.recv().await.unwrap();
    assert!(target.contains("room=1") && !target.contains("ticket"), "{target}");
    assert!(tokio_tungstenite::connect_async(open(&ticket)).await.is_err(), "it opens once");
    drop(socket);
}
