//! What a client cannot make an upstream believe, and an upstream a client (security bar 2.B).
//!
//! Law: under every spelling that a backend could fold into one of the gateway's names, the
//! upstream sees exactly the gateway's value or nothing.

use std::time::Duration;

use crate::support::raw::get;
use crate::support::{Act, Client, Gateway, Upstream, exchange, times};

const OURS: [&str; 22] = [
    "X-User-Id",
    "X-User-Email",
    "X-User-Roles",
    "X-User-Permissions",
    "X-Org-Id",
    "X-Org-Slug",
    "X-Org-Role",
    "X-Agent-Id",
    "X-Auth-Method",
    "X-Portcullis-Assertion",
    "X-Portcullis-Anything",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "Forwarded",
    "X-Real-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-Roles",
];

fn spellings(name: &str) -> Vec<String> {
    let odd: String = name
        .chars()
        .enumerate()
        .map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect();
    vec![
        name.to_owned(),
        odd,
        name.replace('-', "_"),
        name.replacen('-', "_", 1),
        name.replace('-', "."),
        name.to_uppercase().replace('-', "_"),
    ]
}

#[tokio::test]
async fn no_spelling_of_our_names_reaches_the_upstream_with_a_clients_value() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    for name in OURS {
        for spelling in spellings(name) {
            client.send(get("/x", &[&format!("{spelling}: spoofed")])).await;
            let Some(answer) = client.answer().await else { panic!("{spelling}: no answer") };
            assert_eq!(answer.status, 200, "{spelling}");
            let seen = upstream.last();
            assert!(!seen.head.contains("spoofed"), "{spelling} reached the upstream: {}", seen.head);
            let folded = name.to_ascii_lowercase();
            let count = seen.folded_names().iter().filter(|n| **n == folded).count();
            assert!(count <= 1, "{spelling}: {}", seen.head);
        }
    }
}

#[tokio::test]
async fn a_name_that_was_sent_twice_is_still_ours_alone() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let twice = get(
        "/x",
        &[
            "X-User-Id: 1",
            "x_user_id: 2",
            "X-User-Id: 3",
            "X-Forwarded-For: 9.9.9.9",
            "X-Forwarded-For: 8.8.8.8",
        ],
    );
    assert_eq!(exchange(gateway.public(), twice).await.unwrap().status, 200);
    let seen = upstream.last();
    assert!(seen.all("x-user-id").is_empty());
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn other_headers_of_the_client_pass_untouched() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let lines =
        ["X-Username: ada", "X-Custom_Name: 1", "X-Api-Key: theirs", "Cookie: a=1; b=2", "Accept: a/b"];
    exchange(gateway.public(), get("/x", &lines)).await.unwrap();
    let seen = upstream.last();
    for (name, value) in lines.iter().filter_map(|line| line.split_once(": ")) {
        assert_eq!(seen.header(&name.to_lowercase()), Some(value), "{name} in {}", seen.head);
    }
}

#[tokio::test]
async fn a_connection_header_cannot_take_off_what_the_gateway_writes() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let nominating = get(
        "/x",
        &["Connection: x-request-id, x-user-id, x-org-slug, authorization, cookie, x-mine", "X-Mine: 1"],
    );
    assert_eq!(exchange(gateway.public(), nominating).await.unwrap().status, 200);
    let seen = upstream.last();
    assert!(seen.header("x-request-id").is_some() && seen.header("x-forwarded-for").is_some());
    assert_eq!(seen.header("x-mine"), None, "what is only for the next hop stays there");
    let many = get("/x", &["Connection: a1, a2, a3, a4, a5, a6, a7, a8, a9, a10"]);
    assert_eq!(exchange(gateway.public(), many).await.unwrap().status, 400);
    let protected = get("/x", &["Connection: x-forwarded-for"]);
    assert_eq!(exchange(gateway.public(), protected).await.unwrap().status, 400);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
    let upstream = Upstream::echo().await;
    let route = crate::support::gateway::open_to(upstream.address);
    let trusting = Gateway::start(&format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8'] }}\n{route}"
    ))
    .await;
    let lines = ["X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1", "X-Forwarded-Proto: https"];
    exchange(trusting.public(), get("/x", &lines)).await.unwrap();
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("1.2.3.4"));
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
    let long: Vec<String> = (0..10_000).map(|n| format!("{}.1.1.1", n % 200)).collect();
    let long = format!("X-Forwarded-For: {}", long.join(","));
    assert_eq!(exchange(trusting.public(), get("/x", &[&long])).await.unwrap().status, 431);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn our_credentials_and_cookies_never_reach_an_upstream() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let lines = [
        "Authorization: Bearer sesame",
        "Cookie: mine=1; __Host-portcullis_session=sesame; portcullis_refresh=sesame; __Secure-portcullis_refresh=sesame",
    ];
    exchange(gateway.public(), get("/x", &lines)).await.unwrap();
    let seen = upstream.last();
    assert!(!seen.head.contains("sesame"), "{}", seen.head);
    assert_eq!(seen.header("cookie"), Some("mine=1"));
    let keys = get("/x", &["X-Access-Key: nobodys", "X-Access-Secret: sesame"]);
    let answer = exchange(gateway.public(), keys).await.unwrap();
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (401, "APP_AUTH_INVALID"),
        "keys that are sent must be right"
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn an_upstream_cannot_speak_in_our_name_or_steer_what_stands_before_us() {
    let lines = "X-User-Id: evil\r\nX_Portcullis_X: evil\r\nX-Accel-Redirect: /evil\r\nX-Accel-Buffering: no\r\n\
                 Set-Cookie: __Host-portcullis_session=evil; Secure\r\nSet-Cookie: portcullis_refresh=evil\r\n\
                 Set-Cookie: theirs=1\r\nConnection: X-Secret\r\nX-Secret: evil\r\nKeep-Alive: timeout=9\r\n\
                 X-Request-ID: evil\r\nX-Mine: 1\r\n";
    let upstream = Upstream::start(move |_| Act::with(lines, "x")).await;
    let hard = format!("security_headers: true\n{}", crate::support::gateway::open_to(upstream.address));
    let gateway = Gateway::start(&hard).await;
    let answer = exchange(gateway.public(), get("/x", &["X-Request-ID: mine-1"])).await.unwrap();
    let text = format!("{answer:?}");
    assert!(!text.contains("evil"), "{text}");
    assert_eq!(answer.header("set-cookie"), Some("theirs=1"));
    assert_eq!(answer.header("x-mine"), Some("1"));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn an_answer_with_a_broken_head_is_a_502() {
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: a\0b\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |_| Act::AnswerAndClose(broken.as_bytes().to_vec())).await;
        let gateway = Gateway::open_to(upstream.address).await;
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_FAILED"), "{broken:?}");
    }
}

#[tokio::test]
async fn an_upstream_connection_with_doubtful_bytes_is_not_used_again() {
    for answer in [
        // More than announced, both lengths, a body where there is none.
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let upstream = Upstream::start(move |seen| {
            if seen.target() == "/canary" {
                Act::ok("canary")
            } else {
                Act::Answer(answer.as_bytes().to_vec())
            }
        })
        .await;
        let gateway = Gateway::open_to(upstream.address).await;
        let first = exchange(gateway.public(), get("/x", &[])).await;
        assert!(first.is_none_or(|first| !first.text().contains("evil")), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let canary = exchange(gateway.public(), get("/canary", &[])).await.unwrap();
        assert_eq!(canary.text(), "canary", "{answer:?}");
        let connections: Vec<_> = upstream.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 1], "{answer:?}");
    }
}

#[tokio::test]
async fn a_chunked_answer_that_breaks_off_never_looks_whole() {
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    let upstream = Upstream::start(move |_| Act::AnswerAndClose(cut.as_bytes().to_vec())).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/x", &[])).await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(!all.ends_with("0\r\n\r\n"), "{all:?}");
}

#[tokio::test]
async fn informational_answers_do_not_pile_up() {
    let mut flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(200).into_bytes();
    flood.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let upstream = Upstream::start(move |_| Act::Answer(flood.clone())).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/x", &[])).await;
    let mut last = None;
    while let Some(answer) = client.answer().await {
        let is_final = answer.status >= 200;
        last = Some(answer.status);
        if is_final {
            break;
        }
    }
    assert!(matches!(last, Some(200 | 502)), "{last:?}");
}

/// Many clients over few upstream connections, some of them malformed or gone in the middle:
/// nobody ever gets another's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ever_gets_another_clients_answer() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let rounds = times(500, 10_000);
    let address = gateway.public();
    let clients: Vec<_> =
        (0..4).map(|number| crate::support::upstream::spawn(canary(address, number, rounds))).collect();
    for client in clients {
        let answered = client.await.unwrap();
        // Two of twenty go away before their answer.
        assert!(answered * 10 >= rounds * 8, "only {answered} of {rounds} were answered");
    }
}

/// How many of its requests were answered, each with what it asked for.
async fn canary(address: std::net::SocketAddr, number: usize, rounds: usize) -> usize {
    let (mut client, mut answered) = (Client::connect(address).await, 0);
    for round in 0..rounds {
        let tag = format!("tag-{number}-{round}-");
        match round % 20 {
            3 => {
                client
                    .send(format!("GET /{tag} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1, 1\r\n\r\n"))
                    .await;
                client = Client::connect(address).await;
                continue;
            }
            7 => {
                client
                    .send(format!("POST /{tag} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 90\r\n\r\nhalf"))
                    .await;
                client = Client::connect(address).await;
                continue;
            }
            11 => {
                let body = format!("GET /smuggled-{tag} HTTP/1.1\r\nHost: gw.test\r\n\r\n");
                client
                    .send(format!(
                        "GET /{tag} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ))
                    .await;
            }
            13 => {
                let size = tag.len();
                client.send(format!("POST /{tag} HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{tag}\r\n0\r\n\r\n")).await;
            }
            _ => client.send(get(&format!("/{tag}"), &[])).await,
        }
        let answer = client.answer().await;
        let Some(answer) = answer else {
            client = Client::connect(address).await;
            continue;
        };
        let line = answer.text();
        let line = line.split("\r\n").next().unwrap_or_default().to_owned();
        assert!(line.contains(&format!("/{tag} ")), "{tag} got {line}");
        answered += 1;
        if answer.header("connection") == Some("close") {
            client = Client::connect(address).await;
        }
    }
    answered
}
