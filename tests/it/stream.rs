//! Exchanges that last, and the other protocols: WebSocket, server-sent events, HTTP/2, gRPC.
//!
//! Law: nothing is held back on the way, and the same refusals hold whatever the protocol.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::support::gateway::open_to;
use crate::support::h2::{H2Client, H2Upstream};
use crate::support::raw::{PATIENCE, get};
use crate::support::replica::{at_best, in_time};
use crate::support::tls::{Pair, in_front_of};
use crate::support::upstream::{Seen, spawn, websocket_echo};
use crate::support::{Act, Client, Gateway, Upstream, exchange, times};

async fn talks(address: std::net::SocketAddr, word: &str) -> Result<String, String> {
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{address}/chat")).await.map_err(|e| e.to_string())?;
    socket.send(Message::text(word)).await.map_err(|e| e.to_string())?;
    match tokio::time::timeout(PATIENCE, socket.next()).await {
        Ok(Some(Ok(message))) => Ok(message.to_string()),
        other => Err(format!("{other:?}")),
    }
}

/// The upgrade that the framework cuts off under load, many times over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_opens_every_time() {
    let upstream = websocket_echo().await;
    let gateway = Gateway::open_to(upstream).await;
    let rounds = times(40, 150);
    let address = gateway.public();
    let talkers: Vec<_> = (0..4)
        .map(|talker| {
            spawn(async move {
                for round in 0..rounds {
                    let word = format!("{talker}-{round}");
                    assert_eq!(talks(address, &word).await.as_deref(), Ok(word.as_str()));
                }
            })
        })
        .collect();
    for talker in talkers {
        talker.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_opens_every_time_behind_tls() {
    let own = Pair::for_name("up.test");
    let secure = in_front_of(websocket_echo().await, &own, None).await;
    let folder = tempfile::tempdir().unwrap();
    own.write(folder.path(), "up");
    let yaml = format!(
        "upstreams: {{ up: {{ servers: ['{secure}'], tls: {{ ca_file: '{}', sni: up.test }} }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone, websocket: true }} ]\n",
        folder.path().join("up.crt").display()
    );
    let gateway = Gateway::start_in(folder, &yaml).await.unwrap();
    for round in 0..40 {
        let word = format!("tls-{round}");
        assert_eq!(talks(gateway.public(), &word).await.as_deref(), Ok(word.as_str()));
    }
}

#[tokio::test]
async fn a_websocket_passes_only_where_the_route_says_so() {
    let upstream = websocket_echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{upstream}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n"
    ))
    .await;
    assert!(talks(gateway.public(), "x").await.unwrap_err().contains("40"));
}

#[tokio::test]
async fn what_an_upgraded_connection_sends_first_is_not_lost() {
    // The upstream speaks first, in one packet with its 101.
    let hello = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05hello";
    let upstream = Upstream::start(move |_| Act::Tunnel(hello.to_vec())).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for _ in 0..20 {
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/ws", &upgrade)).await;
        assert_eq!(client.answer().await.unwrap().status, 101);
        assert_eq!(client.exactly(7).await.unwrap(), b"\x81\x05hello");
        client.send(b"\x81\x02hi").await;
        assert_eq!(client.exactly(4).await.unwrap(), b"\x81\x02hi");
    }
}

#[tokio::test]
async fn a_handshake_sets_no_cookie_and_says_nothing_in_our_name() {
    let upstream = Upstream::start(|_| {
        Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Set-Cookie: portcullis_refresh=evil\r\nSet-Cookie: a=b\r\nX-User-Id: 7\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/ws", &["Connection: Upgrade", "Upgrade: websocket"])).await;
    let head = client.until(b"\r\n\r\n").await.unwrap().to_ascii_lowercase();
    assert!(head.contains(" 101 ") && head.contains("set-cookie: a=b"), "{head}");
    assert!(head.contains("connection: upgrade") && head.contains("upgrade: websocket"), "{head}");
    assert!(!head.contains("portcullis_refresh") && !head.contains("x-user-id"), "{head}");
}

#[tokio::test]
async fn a_websocket_ends_when_the_time_of_its_session_is_over() {
    let upstream = Upstream::start(|_| {
        Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec(),
        )
    })
    .await;
    let address = upstream.address;
    // The shortest that a configuration may say.
    let gateway = Gateway::start(&format!(
        "tokens: {{ access_for: 10s }}\nsessions: {{ idle_for: 10s }}\n\
         upstreams: {{ up: {{ servers: ['{address}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: signed_in, websocket: true }} ]\n"
    ))
    .await;
    let keys = gateway.application("shop", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let bearer = ada.bearer();
    let upgrade = [bearer.as_str(), "Connection: Upgrade", "Upgrade: websocket"];
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/ws", &upgrade)).await;
    assert_eq!(client.answer().await.unwrap().status, 101);
    client.send(b"\x81\x02hi").await;
    assert_eq!(client.exactly(4).await.unwrap(), b"\x81\x02hi");
    let ended = in_time(Duration::from_secs(15), client.exactly(1)).await;
    assert_eq!(ended.expect("it ends with the session"), None);
}

#[tokio::test]
async fn events_arrive_one_by_one_as_they_are_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::open_to(listener.local_addr().unwrap()).await;
    let (sends, mut next) = mpsc::unbounded_channel::<u8>();
    spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while let Some(n) = next.recv().await {
            stream.write_all(format!("d\r\ndata: event{n}\n\r\n").as_bytes()).await.unwrap();
        }
    });
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/events", &["Accept: text/event-stream"])).await;
    // None is held back until the next one comes.
    for number in 1..=3 {
        sends.send(number).unwrap();
        client.until(format!("event{number}").as_bytes()).await.unwrap();
    }
}

const H2C: &str = "listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }\n";

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://gw.test{path}"))
}

#[tokio::test]
async fn http2_reaches_an_http1_upstream_as_one_clean_request() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream.address))).await;
    let client = H2Client::cleartext(gateway.public()).await;
    let sent =
        request("GET", "/a?b=c").header("cookie", "a=1").header("cookie", "b=2").header("x_user_id", "1");
    let answer = client.send(sent.body(()).unwrap(), None).await.unwrap();
    assert_eq!(answer.head.status(), 200);
    let seen = upstream.last();
    assert_eq!(seen.line(), "GET /a?b=c HTTP/1.1");
    assert_eq!(seen.header("host"), Some("gw.test"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"), "crumbs are joined");
    assert!(!seen.head.to_lowercase().contains("user_id"));
    let answer = client.send(request("POST", "/p").body(()).unwrap(), Some(b"hello")).await.unwrap();
    assert_eq!(answer.head.status(), 200);
    assert_eq!(upstream.last().body, b"hello");
}

#[tokio::test]
async fn http2_requests_meet_the_same_refusals() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream.address))).await;
    let client = H2Client::cleartext(gateway.public()).await;
    for path in ["/pub/../admin", "/pub/%2e%2e/admin", "//admin", "/a%2fb", "/a;b", "/a%00", "/a%zz"] {
        let answer = client.send(request("GET", path).body(()).unwrap(), None).await;
        assert!(answer.as_ref().is_ok_and(|a| a.head.status() == 400), "{path}: {answer:?}");
    }
    for (name, value, status) in
        [("expect", "y 100-continue", 417), ("authorization", "a", 400), ("content-length", "5", 400)]
    {
        let twice = request("GET", "/x").header(name, value).header(name, value);
        let answer = client.send(twice.body(()).unwrap(), None).await;
        assert!(
            answer.as_ref().is_err() || answer.as_ref().is_ok_and(|a| a.head.status() == status),
            "{name}: {answer:?}"
        );
    }
    let answer = client.send(request("TRACE", "/x").body(()).unwrap(), None).await;
    assert!(answer.is_err() || answer.is_ok_and(|a| a.head.status() == 405));
    let big = "v".repeat(33 * 1024);
    let answer = client.send(request("GET", "/x").header("x-big", &big).body(()).unwrap(), None).await;
    assert!(answer.is_ok_and(|a| a.head.status() == 431));
    let other = Request::builder().uri("http://gw.test/x").header("host", "evil.test").body(()).unwrap();
    let answer = client.send(other, None).await;
    assert!(answer.is_err() || answer.is_ok_and(|a| a.head.status() == 400));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn an_http2_client_that_says_nothing_is_let_go() {
    let upstream = Upstream::echo().await;
    let gateway =
        Gateway::start(&format!("{H2C}limits: {{ head: {{ within: 1s }} }}\n{}", open_to(upstream.address)))
            .await;
    for begin in ["", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        at_best(Duration::from_secs(4), &format!("{begin:?}"), async || {
            let start = Instant::now();
            let mut client = Client::connect(gateway.public()).await;
            client.send(begin).await;
            // The preface is answered with settings before anything else.
            client.rest().await;
            assert!(start.elapsed() >= Duration::from_millis(800), "{begin:?}");
            start.elapsed()
        })
        .await;
    }
}

#[tokio::test]
async fn resets_in_a_row_end_the_connection_before_the_upstream_notices() {
    let upstream = Upstream::start(|_| Act::Hang).await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream.address))).await;
    let tcp = tokio::net::TcpStream::connect(gateway.public()).await.unwrap();
    let (send, connection) = h2::client::handshake(tcp).await.unwrap();
    let ended = spawn(connection);
    let mut opened = 0;
    for _ in 0..5_000 {
        let Ok(mut ready) = send.clone().ready().await else { break };
        let Ok((answer, mut stream)) = ready.send_request(request("POST", "/x").body(()).unwrap(), false)
        else {
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        opened += 1;
        tokio::task::yield_now().await;
    }
    assert!(opened < 5_000, "{opened} resets were taken");
    drop(send);
    assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok());
    assert!(upstream.count() <= 250, "{} of them reached the upstream", upstream.count());
}

#[tokio::test]
async fn a_body_that_a_backend_may_not_read_travels_alone_from_http2_too() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream.address))).await;
    let client = H2Client::cleartext(gateway.public()).await;
    let call = |path: &str| request("GET", path).body(()).unwrap();
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    client.send(call("/with"), Some(smuggled)).await.unwrap();
    client.send(call("/one"), None).await.unwrap();
    client.send(call("/two"), None).await.unwrap();
    let seen = upstream.seen();
    assert_eq!(seen.iter().map(Seen::target).collect::<Vec<_>>(), ["/with", "/one", "/two"]);
    assert_ne!(seen[0].connection, seen[1].connection, "what is left unread there is nobody's request");
    assert_eq!(seen[1].connection, seen[2].connection, "others share as ever");
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_and_is_refused_in_headers_alone() {
    let upstream = H2Upstream::start().await;
    let gateway = Gateway::start(&format!(
        "{H2C}upstreams: {{ up: {{ servers: ['{}'], http2: true }} }}\n\
         routes:\n\
         - {{ name: open, match: {{ path: '/pkg.Open/**' }}, upstream: up, allow: anyone }}\n\
         - {{ name: closed, match: {{ path: '/pkg.Closed/**' }}, upstream: up, allow: signed_in }}\n",
        upstream.address
    ))
    .await;
    let client = H2Client::cleartext(gateway.public()).await;
    let call = |path: &str| {
        request("POST", path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap()
    };
    let answer = client.send(call("/pkg.Open/Call"), Some(b"\0\0\0\0\x02hi")).await.unwrap();
    assert_eq!((answer.head.status().as_u16(), answer.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    let seen = upstream.last();
    assert_eq!((seen.path.as_str(), seen.authority.as_str()), ("/pkg.Open/Call", "gw.test"));
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    let refused = client.send(call("/pkg.Closed/Call"), Some(b"\0\0\0\0\x02hi")).await.unwrap();
    assert_eq!(refused.head.status(), 200);
    assert_eq!(refused.head.headers()["grpc-status"], "16");
    assert_eq!(refused.head.headers()["content-type"], "application/grpc");
    assert!(refused.body.is_empty() && refused.trailers.is_none());
    let nowhere = client.send(call("/pkg.None/Call"), Some(b"")).await.unwrap();
    assert_eq!(nowhere.head.headers()["grpc-status"], "5");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn http1_reaches_an_http2_upstream() {
    let upstream = H2Upstream::start().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'], http2: true, host: up.test }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n",
        upstream.address
    ))
    .await;
    let request = "POST /x?y HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let answer = exchange(gateway.public(), request).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
    let seen = upstream.last();
    assert_eq!(
        (seen.path.as_str(), seen.authority.as_str(), seen.body.as_slice()),
        ("/x?y", "up.test", &b"hi"[..])
    );
    assert!(!seen.headers.contains_key("transfer-encoding") && !seen.headers.contains_key("connection"));
}
