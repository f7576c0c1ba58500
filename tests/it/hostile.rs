//! Callers that lie about themselves, say nothing, or take without reading (security bar 2.A, 2.B, 2.P).
//!
//! Law: each test also shows that somebody honest is served as before.

use std::time::{Duration, Instant};

use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::gateway::open_to;
use crate::support::h2::H2Client;
use crate::support::people::TRUSTING;
use crate::support::raw::get;
use crate::support::replica::{at_best, until};
use crate::support::tls::Pair;
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Gateway, Upstream, exchange};

#[tokio::test]
async fn a_list_of_proxies_without_end_is_refused() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!("{TRUSTING}{}", open_to(upstream.address))).await;
    let many = format!("X-Forwarded-For: {}", vec!["10.0.0.1"; 10_000].join(", "));
    let answer = exchange(gateway.public(), get("/x", &[&many])).await.unwrap();
    assert!(matches!(answer.status, 400 | 431), "{}", answer.status);
    let lines = vec!["X-Forwarded-For: 10.0.0.1"; 500];
    let answer = exchange(gateway.public(), get("/x", &lines)).await.unwrap();
    assert!(matches!(answer.status, 400 | 431), "{}", answer.status);
    assert_eq!(upstream.count(), 0);
    let some = "X-Forwarded-For: 203.0.113.9, 198.51.100.7";
    assert_eq!(exchange(gateway.public(), get("/x", &[some])).await.unwrap().status, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("198.51.100.7"), "the one that the proxy saw");
}

#[tokio::test]
async fn head_is_judged_as_get_and_options_as_itself() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: /mine, methods: [GET] }}, upstream: up, allow: signed_in }}
  - {{ name: open, match: {{ path: /open, methods: [GET] }}, upstream: up, allow: anyone }}
",
        upstream.address
    ))
    .await;
    let status = async |method: &str, path: &str| gateway.send(method, path, &[]).await.status;
    assert_eq!(status("HEAD", "/mine").await, 401);
    for method in ["OPTIONS", "DELETE", "PUT"] {
        for path in ["/mine", "/open"] {
            assert_eq!(status(method, path).await, 405, "{method} {path}");
        }
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(status("HEAD", "/open").await, 200);
    assert!(upstream.last().line().starts_with("HEAD /open "));
}

#[tokio::test]
async fn over_http2_too_nobody_speaks_in_our_name() {
    let upstream = Upstream::echo().await;
    let h2c = "listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }\n";
    let gateway = Gateway::start(&format!("{h2c}{}", open_to(upstream.address))).await;
    let client = H2Client::cleartext(gateway.public()).await;
    for name in [
        "user-id",
        "user-email",
        "user-roles",
        "org-id",
        "org-role",
        "agent-id",
        "auth-method",
        "portcullis-assertion",
    ] {
        let spellings = [
            format!("x-{name}"),
            format!("x_{}", name.replace('-', "_")),
            format!("x.{}", name.replace('-', ".")),
        ];
        for spelling in spellings {
            let twice = Request::builder()
                .uri("http://gw.test/x")
                .header(&spelling, "spoofed")
                .header(&spelling, "spoofed2");
            let answer = client.send(twice.body(()).unwrap(), None).await.unwrap();
            assert_eq!(answer.head.status(), 200, "{spelling}");
            assert!(!upstream.last().head.contains("spoofed"), "{spelling}: {}", upstream.last().head);
        }
    }
    for name in ["x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip", "x-original-url"] {
        let sent = Request::builder().uri("http://gw.test/x").header(name, "203.0.113.66");
        client.send(sent.body(()).unwrap(), None).await.unwrap();
        assert!(!upstream.last().head.contains("203.0.113.66"), "{name}");
    }
}

#[tokio::test]
async fn a_tls_client_that_says_nothing_is_let_go() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    Pair::for_name("gw.test").write(folder.path(), "gw");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let yaml = format!(
        "public_url: 'https://gw.test'\nlimits: {{ head: {{ within: 1s }} }}\n\
         listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', tls: {{ cert_file: '{}', key_file: '{}' }} }}\n{}",
        path("gw.crt"),
        path("gw.key"),
        open_to(upstream.address)
    );
    let gateway = Gateway::start_in(folder, &yaml).await.unwrap();
    // Nothing; a record that begins and does not go on; plain text.
    for begin in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        at_best(Duration::from_secs(3), &format!("{begin:?} ends"), async || {
            let start = Instant::now();
            let mut client = Client::connect(gateway.public()).await;
            client.send(begin).await;
            client.rest().await;
            start.elapsed()
        })
        .await;
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_is_not_gathered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
        let (piece, mut sent) = (vec![b'a'; 1 << 20], 0);
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_millis(700), stream.write_all(&piece)).await
        {
            sent += piece.len();
            assert!(sent < 40 << 20, "the gateway took in {sent} bytes that nobody read");
        }
        sent
    });
    let gateway = Gateway::open_to(address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/large", &[])).await;
    let sent = sent.await.unwrap();
    assert!(sent > 0, "it began");
    assert!(client.exactly(1 << 16).await.is_some(), "and goes on when somebody reads");
}

#[tokio::test]
async fn words_of_the_proxy_protocol_are_no_request() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x50\0\x50";
    for words in [&b"PROXY TCP4 10.0.0.1 10.0.0.2 80 80\r\n"[..], &signature[..]] {
        let mut client = Client::connect(gateway.public()).await;
        client.send([words, get("/x", &[]).as_bytes()].concat()).await;
        let said = client.rest().await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&said));
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn over_ipv6_everything_is_the_same() {
    let upstream = Upstream::start_at("[::1]:0", |_| Act::ok("six")).await.expect("this machine speaks IPv6");
    let start = async |more: &str| {
        Gateway::start(&format!(
            "listen: {{ public: '[::1]:0', admin: '[::1]:0'{more} }}
limits: {{ connections: {{ total: 20, per_address: 3 }} }}
{}",
            open_to(upstream.address)
        ))
        .await
    };
    let (gateway, trusting) = (start("").await, start(", trusted_proxies: ['::1/128']").await);
    let ask = async |gateway: &Gateway, host: &str, from: &str| {
        let asked = format!("GET /x HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {from}\r\n\r\n");
        exchange(gateway.public(), asked).await.unwrap()
    };
    let host = gateway.public().to_string();
    assert_eq!(ask(&gateway, &host, "2001:db8::7").await.text(), "six");
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("::1"), "who it says it is counts for nothing");
    assert_eq!(seen.header("host"), Some(&*host));
    assert_eq!(seen.header("x-forwarded-host"), Some(&*host));
    assert_eq!(ask(&trusting, &host, "2001:db8::66, 2001:db8::7").await.status, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("2001:db8::7"), "whom the proxy saw");
    assert_eq!(ask(&gateway, "[::1", "::1").await.status, 400, "a host that is none");
    assert_eq!(exchange(gateway.admin(), get("/readyz", &[])).await.unwrap().status, 200);

    let mut open = Vec::new();
    until(Duration::from_secs(5), "three are in", async || {
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/x", &[])).await;
        // Those before may have to be let go first.
        if let Some(answer) = client.answer().await {
            assert_eq!(answer.status, 200);
            open.push(client);
        }
        open.len() == 3
    })
    .await;
    let mut fourth = Client::connect(gateway.public()).await;
    fourth.send(get("/x", &[])).await;
    assert_eq!(fourth.answer().await, None, "one too many from one address");
}
