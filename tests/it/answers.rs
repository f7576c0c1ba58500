//! What upstreams answer, and answer wrongly: where an answer ends has one reading, or it is a 502.
//!
//! Law: whatever a server says, the next client gets its own answer.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::gateway::open_to;
use crate::support::h2::H2Upstream;
use crate::support::raw::{Answer, get};
use crate::support::replica::{at_best, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Gateway, Upstream, exchange};

const POST: &str = "POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi";
const CANARY: &str = "/canary";
const SOON: Duration = Duration::from_secs(5);

/// An upstream that answers so, and a canary rightly.
async fn answering(act: Act) -> (Upstream, Gateway) {
    let upstream = Upstream::start(move |seen| match seen.target() {
        CANARY => Act::ok("canary"),
        _ => act.clone(),
    })
    .await;
    let gateway = Gateway::open_to(upstream.address).await;
    (upstream, gateway)
}

fn raw(text: &str) -> Act {
    Act::Answer(text.as_bytes().to_vec())
}

async fn canary(gateway: &Gateway) -> String {
    exchange(gateway.public(), get(CANARY, &[])).await.expect("an answer").text()
}

/// Which connection each request came on.
fn connections(upstream: &Upstream) -> Vec<usize> {
    upstream.seen().iter().map(|seen| seen.connection).collect()
}

fn is_failed(answer: &Answer) -> bool {
    (answer.status, answer.code().as_str()) == (502, "UPSTREAM_FAILED")
}

#[tokio::test]
async fn an_answer_whose_end_has_two_readings_is_a_502() {
    for lines in [
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "Content-Length: 2, 2\r\n\r\nok",
        "Content-Length: 02\r\n\r\nok",
        "Content-Length: +2\r\n\r\nok",
        "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\nok",
        "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\nok",
    ] {
        for request in [get("/x", &[]), POST.to_owned()] {
            let (upstream, gateway) = answering(raw(&format!("HTTP/1.1 200 OK\r\n{lines}"))).await;
            let answer = exchange(gateway.public(), &request).await.unwrap();
            assert!(is_failed(&answer), "{lines:?}: {answer:?}");
            assert_eq!(canary(&gateway).await, "canary", "{lines:?}");
            let used = connections(&upstream);
            assert_ne!(used.first(), used.last(), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_with_both_lengths_is_a_502() {
    let both =
        "HTTP/1.1 200 OK\r\nContent-Length : 30\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (upstream, gateway) = answering(raw(both)).await;
    let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
    assert!(is_failed(&answer), "{answer:?}");
    assert_eq!(canary(&gateway).await, "canary");
    assert_ne!(connections(&upstream).first(), connections(&upstream).last());
}

#[tokio::test]
async fn a_body_where_none_can_be_reaches_nobody_however_late_it_comes() {
    let body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec();
    for (status, method) in [("204 No Content", "GET"), ("304 Not Modified", "GET"), ("200 OK", "HEAD")] {
        for late in [0, 40] {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let act = Act::Pieces(vec![
                (Duration::ZERO, head.into_bytes()),
                (Duration::from_millis(late), body.clone()),
            ]);
            let (_upstream, gateway) = answering(act).await;
            let mut client = Client::connect(gateway.public()).await;
            client.send(format!("{method} /x HTTP/1.1\r\nHost: gw.test\r\n\r\n")).await;
            let answer = client.answer_to(method).await.unwrap();
            assert_eq!(answer.header("content-length").is_none(), status.starts_with("204"), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
            client.send(get(CANARY, &[])).await;
            assert_eq!(client.answer().await.unwrap().text(), "canary", "{status} {method} {late}");
            assert_eq!(canary(&gateway).await, "canary");
        }
    }
}

#[tokio::test]
async fn a_folded_line_of_an_answer_makes_no_header() {
    let folded = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Mine: a\r\n Set-Cookie: evil=1\r\n\r\nok";
    let (_upstream, gateway) = answering(raw(folded)).await;
    let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
    assert!(answer.header("set-cookie").is_none(), "{answer:?}");
    assert!(answer.status == 502 || answer.text() == "ok", "{answer:?}");
}

#[tokio::test]
async fn an_old_server_is_read_by_its_own_rules() {
    // Without a length the end of its connection is the end; a connection stays open only if it says so.
    let cases = [
        (Act::AnswerAndClose(b"HTTP/1.0 200 OK\r\n\r\nold".to_vec()), false),
        (raw("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"), false),
        (raw("HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold"), true),
        (
            raw(
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n3\r\nold\r\n0\r\n\r\n",
            ),
            false,
        ),
    ];
    for (act, is_kept) in cases {
        let (upstream, gateway) = answering(act.clone()).await;
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert_eq!(answer.text(), "old", "{act:?}");
        assert_eq!(canary(&gateway).await, "canary", "{act:?}");
        let used = connections(&upstream);
        assert_eq!(used[0] == used[1], is_kept, "{act:?}");
    }
}

#[tokio::test]
async fn trailers_of_an_answer_become_nobodys_headers() {
    let trailers = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
                    Set-Cookie: evil=1\r\nContent-Length: 9\r\nX-User-Id: evil\r\n\r\n";
    let (_upstream, gateway) = answering(raw(trailers)).await;
    let mut client = Client::connect(gateway.public()).await;
    for _ in 0..3 {
        client.send(get("/x", &[])).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.text(), "ok");
        assert!(!format!("{answer:?}").contains("evil"));
        client.send(get(CANARY, &[])).await;
        assert_eq!(client.answer().await.unwrap().text(), "canary");
    }
}

#[tokio::test]
async fn a_thousand_informational_answers_are_a_502_and_a_few_are_not() {
    for (count, status) in [(3, 200), (1000, 502)] {
        let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count)
            + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let (_upstream, gateway) = answering(raw(&flood)).await;
        let mut client = Client::connect(gateway.public()).await;
        client.send(get("/x", &[])).await;
        let mut before = 0;
        let last = loop {
            let answer = client.answer().await.unwrap();
            if answer.status != 103 {
                break answer;
            }
            assert_eq!(answer.header("link"), Some("</a>"));
            before += 1;
        };
        assert_eq!((last.status, before), (status, count.min(8)));
        assert_eq!(canary(&gateway).await, "canary");
    }
}

#[tokio::test]
async fn a_head_of_an_answer_is_there_whole_in_time_or_it_is_none() {
    let drip: Vec<_> = (0..200).map(|_| (Duration::from_millis(200), b"a".to_vec())).collect();
    let start = vec![(Duration::ZERO, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Drip: ".to_vec())];
    let upstream = Upstream::start(move |_| Act::Pieces([start.clone(), drip.clone()].concat())).await;
    let quick = open_to(upstream.address)
        .replace("'] }", "'], timeouts: { connect: 1s, read: 1s, write: 1s, idle: 60s } }");
    let gateway = Gateway::start(&quick).await;
    at_best(Duration::from_secs(3), "it is given up", async || {
        let begun = Instant::now();
        let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
        begun.elapsed()
    })
    .await;
    // With a body the framework reads the answer, and a dripping one is cut.
    at_best(Duration::from_secs(6), "it is cut", async || {
        let begun = Instant::now();
        assert!(exchange(gateway.public(), POST).await.is_none_or(|answer| answer.status == 504));
        begun.elapsed()
    })
    .await;
    until(SOON, "nothing is left", async || gateway.metric("portcullis_inflight ") == 0).await;
}

#[tokio::test]
async fn a_slow_answer_to_a_body_is_no_dripping_head() {
    let pieces = vec![
        (Duration::from_millis(1500), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()),
        (Duration::from_millis(1500), b"he".to_vec()),
        (Duration::from_millis(1500), b"ll".to_vec()),
        (Duration::from_millis(1500), b"o".to_vec()),
        (Duration::from_millis(1500), b"".to_vec()),
    ];
    let upstream = Upstream::start(move |_| Act::Pieces(pieces.clone())).await;
    let quick = open_to(upstream.address)
        .replace("'] }", "'], timeouts: { connect: 1s, read: 4s, write: 1s, idle: 60s } }");
    let gateway = Gateway::start(&quick).await;
    assert_eq!(exchange(gateway.public(), POST).await.unwrap().text(), "hello");
}

#[tokio::test]
async fn a_head_without_end_is_a_502() {
    for lines in [format!("X-Long: {}\r\n", "a".repeat(70_000)), "X-Many: 12345678\r\n".repeat(257)] {
        let (_upstream, gateway) =
            answering(raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok"))).await;
        for request in [get("/x", &[]), POST.to_owned()] {
            assert!(is_failed(&exchange(gateway.public(), &request).await.unwrap()));
        }
        assert_eq!(canary(&gateway).await, "canary");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_for_the_next() {
    let slow = Act::Pieces(vec![
        (Duration::ZERO, b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nmine".to_vec()),
        (Duration::from_millis(150), b" and only".to_vec()),
    ]);
    let (upstream, gateway) = answering(slow).await;
    for request in [get("/x", &[]), POST.to_owned()] {
        let mut client = Client::connect(gateway.public()).await;
        client.send(&request).await;
        client.until(b"mine").await.unwrap();
        drop(client);
        for _ in 0..4 {
            assert_eq!(canary(&gateway).await, "canary");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    let abandoned: Vec<_> =
        upstream.seen().iter().filter(|s| s.target() == "/x").map(|s| s.connection).collect();
    let again =
        upstream.seen().iter().filter(|s| s.target() == CANARY && abandoned.contains(&s.connection)).count();
    assert_eq!(again, 0, "a connection with half an answer on it was used again");
}

#[tokio::test]
async fn a_client_that_asks_again_too_early_gets_its_answer_and_is_told_to_ask_anew() {
    let slow = Act::Pieces(vec![(
        Duration::from_millis(1500),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst".to_vec(),
    )]);
    let (upstream, gateway) = answering(slow).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send(get("/x", &[])).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(get("/second", &[])).await;
    let answer = client.answer().await.expect("the first is answered");
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("first", Some("close")));
    assert!(client.closes().await);
    assert_eq!(upstream.count(), 1, "what was sent too early is nobody's request");
}

#[tokio::test]
async fn a_server_that_says_how_long_it_waits_is_left_before() {
    let brief = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=3, max=9\r\n\r\nok";
    for request in [get("/x", &[]), POST.to_owned()] {
        let (upstream, gateway) = answering(raw(brief)).await;
        // The framework learns of it with the first answer, and heeds it from the second on.
        for wait in [0, 100, 2500, 0] {
            let answer = exchange(gateway.public(), &request).await.unwrap();
            assert_eq!((answer.text().as_str(), answer.header("keep-alive")), ("ok", None));
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        assert_eq!(connections(&upstream), [0, 0, 0, 1], "{request:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_closes_its_half_is_not_asked_again_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::open_to(listener.local_addr().unwrap()).await;
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let mut scratch = [0; 4096];
                let _ = stream.read(&mut scratch).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
                // It would read more, and answer nothing.
                while matches!(stream.read(&mut scratch).await, Ok(1..)) {}
            });
        }
    });
    let post = "POST /x HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    for _ in 0..5 {
        assert_eq!(exchange(gateway.public(), post).await.unwrap().text(), "ok");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_that_break_off_leave_no_connection_of_http2_open() {
    let upstream = H2Upstream::start().await;
    let gateway = Gateway::start(&open_to(upstream.address).replace("'] }", "'], http2: true }")).await;
    for round in 0..4 {
        for (line, body) in [("GET", "hi"), ("GET", ""), ("POST", "hi")] {
            let mut client = Client::connect(gateway.public()).await;
            let length = body.len();
            client
                .send(format!(
                    "{line} /never HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {length}\r\n\r\n{body}"
                ))
                .await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200, "{round}");
    }
    // One of each of the two pools.
    until(SOON, "the others are closed", async || upstream.open() <= 2).await;
}

#[tokio::test]
async fn checks_over_http2_leave_no_connection_open() {
    let upstream = H2Upstream::start().await;
    let checked = "'], http2: true, health: { path: /well, every: 1s, timeout: 1s } }";
    let gateway = Gateway::start(&open_to(upstream.address).replace("'] }", checked)).await;
    until(SOON, "three checks", async || upstream.count() >= 3).await;
    until(SOON, "one connection at most", async || upstream.open() <= 1).await;
    drop(gateway);
}

#[tokio::test]
async fn a_header_with_a_bare_cr_or_a_nul_is_a_502() {
    for value in ["a\rSet-Cookie: evil=1", "a\r", "\rb", "a\0b"] {
        for request in [get("/x", &[]), POST.to_owned()] {
            let head = format!("HTTP/1.1 200 OK\r\nX-Mine: {value}\r\nContent-Length: 2\r\n\r\nok");
            let (upstream, gateway) = answering(raw(&head)).await;
            let answer = exchange(gateway.public(), &request).await.unwrap();
            assert!(is_failed(&answer) && answer.header("set-cookie").is_none(), "{value:?}: {answer:?}");
            assert_eq!(canary(&gateway).await, "canary", "{value:?}");
            let used = connections(&upstream);
            assert_ne!(used.first(), used.last(), "{value:?}");
        }
    }
}
