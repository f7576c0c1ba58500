//! Requests about whose end or target two parsers could disagree (security bar 2.A and 2.C).
//!
//! Law: every refusal is also checked from the other side: the upstream saw nothing, and whoever
//! comes next gets their own answer.

use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::support::raw::{self, get};
use crate::support::{Act, Client, Gateway, Upstream, exchange, times};

/// Sends each request on a connection of its own and expects a refusal, nothing at the upstream,
/// and a gateway that serves the next client as if nothing had happened.
async fn all_refused(cases: &[(&str, &str)]) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    for (name, request) in cases {
        let mut client = Client::connect(gateway.public()).await;
        client.send(request).await;
        let answer = client.answer().await;
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        // What the frame cannot even parse it refuses itself, in few words: an empty 400 or 405.
        let told = answer.as_ref().filter(|answer| !answer.body.is_empty()).map(raw::Answer::code);
        let is_told = matches!(
            (status, told.as_deref()),
            (400, None | Some("BAD_REQUEST"))
                | (405, None | Some("METHOD_NOT_ALLOWED"))
                | (414, Some("URI_TOO_LONG"))
                | (417, Some("EXPECTATION_FAILED"))
                | (431, Some("HEADERS_TOO_LARGE"))
        );
        assert!(is_told, "{name}: {answer:?}");
        assert!(client.closes().await, "{name} leaves the connection open");
        let reached: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.target() != "/canary").collect();
        assert!(reached.is_empty(), "{name} reached the upstream: {reached:?}");
        let canary = exchange(gateway.public(), get("/canary", &[])).await.unwrap();
        assert!(canary.text().starts_with("GET /canary "), "{name} spoiled the next answer: {canary:?}");
    }
}

fn post(lines: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n{body}")
}

#[tokio::test]
async fn two_lengths_in_one_request_are_refused() {
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let cl_te = post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG");
    let te_cl = post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", smuggled);
    all_refused(&[("CL.TE", &cl_te), ("TE.CL", &te_cl)]).await;
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_alone_is_refused() {
    let mut cases = Vec::new();
    for value in [
        "xchunked",
        "chunked, identity",
        "identity",
        "gzip, chunked",
        ",chunked",
        "\x0bchunked",
        "chunked\0",
        "chunked, chunked",
        "\tchunked",
        "chunked;q=1",
    ] {
        cases.push((value.to_owned(), post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n")));
    }
    for lines in [
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\n chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ] {
        cases.push((lines.to_owned(), post(lines, "0\r\n\r\n")));
    }
    let http10 =
        "POST /x HTTP/1.0\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned();
    cases.push(("on HTTP/1.0".to_owned(), http10));
    let cases: Vec<_> = cases.iter().map(|(name, request)| (name.as_str(), request.as_str())).collect();
    all_refused(&cases).await;
}

#[tokio::test]
async fn a_content_length_that_is_not_one_plain_decimal_is_refused() {
    let mut cases = Vec::new();
    for value in
        ["3, 3", "+3", "-1", "0x3", "3_0", "003", "3 3", "", "18446744073709551616", "  3", "3\t", "\x0b3"]
    {
        cases.push((value.to_owned(), post(&format!("Content-Length: {value}\r\n"), "abc")));
    }
    for lines in [
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length : 3\r\n",
        "Content-Length:\r\n 36\r\n",
    ] {
        cases.push((lines.to_owned(), post(lines, "abc")));
    }
    let cases: Vec<_> = cases.iter().map(|(name, request)| (name.as_str(), request.as_str())).collect();
    all_refused(&cases).await;
}

#[tokio::test]
async fn a_head_that_is_folded_bare_or_broken_is_refused() {
    all_refused(&[
        ("bare LF", "GET /x HTTP/1.1\nHost: gw.test\n\n"),
        ("one bare LF", "GET /x HTTP/1.1\r\nHost: gw.test\nX: y\r\n\r\n"),
        ("leading CRLF", "\r\nGET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"),
        ("CR in a value", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX: a\rb\r\n\r\n"),
        ("NUL in a value", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX: a\0b\r\n\r\n"),
        ("no colon", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX\r\n\r\n"),
        ("empty name", "GET /x HTTP/1.1\r\nHost: gw.test\r\n: x\r\n\r\n"),
        ("blank before colon", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX : y\r\n\r\n"),
        ("folded", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX: a\r\n b\r\n\r\n"),
        ("blank first header", "GET /x HTTP/1.1\r\n Host: gw.test\r\n\r\n"),
        ("no host", "GET /x HTTP/1.1\r\nX: y\r\n\r\n"),
        ("blank after version", "GET /x HTTP/1.1 \r\nHost: gw.test\r\n\r\n"),
        ("version 01.1", "GET /x HTTP/01.1\r\nHost: gw.test\r\n\r\n"),
        ("version 1.10", "GET /x HTTP/1.10\r\nHost: gw.test\r\n\r\n"),
        ("version 1.2", "GET /x HTTP/1.2\r\nHost: gw.test\r\n\r\n"),
        ("PROXY protocol", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"),
        ("two hosts", "GET /x HTTP/1.1\r\nHost: gw.test\r\nHost: gw.test\r\n\r\n"),
        ("trailer in disguise", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX:\x0by\r\n\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn a_target_with_more_than_one_reading_is_refused() {
    let mut cases = Vec::new();
    for target in [
        "/pub/../admin/x",
        "/pub/%2e%2e/admin/x",
        "/pub/.%2e/admin/x",
        "/pub/%2e%2e%2fadmin/x",
        "/pub/..%2fadmin/x",
        "/pub/..;/admin/x",
        "/pub/..;a=b/admin/x",
        "/pub/%2e%2e;x/admin",
        "/pub/.;/x",
        "/pub\\..\\admin",
        "/pub%5c..%5cadmin",
        "//admin/x",
        "/pub//../admin",
        "/./admin/x",
        "/%2fadmin/x",
        "/api/%",
        "/api/%zz",
        "/api/%00",
        "/api/%0d%0aX:1",
        "/%c0%ae%c0%ae/x",
        "/pub#/../admin",
        "/admin#/pub",
        "admin",
        "@b/x",
        "http://other.test/p",
        "ftp://gw.test/p",
        "?x=1",
        "/a\tb",
    ] {
        cases.push((
            target.to_owned(),
            format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"),
        ));
    }
    let star = "OPTIONS * HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n".to_owned();
    cases.push(("*".to_owned(), star));
    let cases: Vec<_> = cases.iter().map(|(name, request)| (name.as_str(), request.as_str())).collect();
    all_refused(&cases).await;
}

#[tokio::test]
async fn a_host_that_is_doubtful_is_refused() {
    let mut cases = Vec::new();
    for host in ["", "a/b", "a, b", "a:99999", "a:", "gw.test.", "[::1", "a b", "u@gw.test", "a\\b", "a%2e"] {
        cases
            .push((host.to_owned(), format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")));
    }
    let cases: Vec<_> = cases.iter().map(|(name, request)| (name.as_str(), request.as_str())).collect();
    all_refused(&cases).await;
}

#[tokio::test]
async fn methods_that_nobody_judged_are_refused() {
    let mut cases = Vec::new();
    for method in ["TRACE", "TRACK", "get", "PROPFIND", "G@T", "FOO"] {
        cases.push((
            method.to_owned(),
            format!("{method} /x HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"),
        ));
    }
    let connect = "CONNECT gw.test:80 HTTP/1.1\r\nHost: gw.test:80\r\n\r\n".to_owned();
    cases.push(("CONNECT".to_owned(), connect));
    let cases: Vec<_> = cases.iter().map(|(name, request)| (name.as_str(), request.as_str())).collect();
    all_refused(&cases).await;
}

#[tokio::test]
async fn an_expectation_that_is_not_exact_is_refused() {
    let mut cases = Vec::new();
    for value in ["y 100-continue", "", "100-continue, x", "200-ok"] {
        let request = post(&format!("Expect: {value}\r\nContent-Length: 3\r\nConnection: close\r\n"), "abc");
        cases.push((value.to_owned(), request));
    }
    let cases: Vec<_> = cases.iter().map(|(name, request)| (name.as_str(), request.as_str())).collect();
    all_refused(&cases).await;
}

#[tokio::test]
async fn a_request_that_expects_to_be_told_is_one_request() {
    let upstream = Upstream::start(|seen| Act::ok(seen.line())).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    for method in ["POST", "GET", "DELETE"] {
        let length = format!("Content-Length: {}\r\n", hidden.len());
        let chunks = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        for (lines, body) in [(&*length, hidden), ("Transfer-Encoding: chunked\r\n", &*chunks)] {
            for is_patient in [false, true] {
                let before = upstream.count();
                let mut client = Client::connect(gateway.public()).await;
                let head = format!(
                    "{method} /x HTTP/1.1\r\nHost: gw.test\r\nExpect: 100-continue\r\nConnection: close\r\n{lines}\r\n"
                );
                if is_patient {
                    client.send(&head).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    client.send(body).await;
                } else {
                    client.send(format!("{head}{body}")).await;
                }
                let said = String::from_utf8_lossy(&client.rest().await).into_owned();
                let case = format!("{method}, {lines:?}, patient: {is_patient}: {said}");
                assert!(said.matches("HTTP/1.1 100").count() <= 1, "{case}");
                assert_eq!(said.matches("HTTP/1.1 200").count(), 1, "{case}");
                let seen = upstream.last();
                assert_eq!(
                    (upstream.count() - before, seen.body.as_slice()),
                    (1, hidden.as_bytes()),
                    "{case}"
                );
                assert_eq!(seen.target(), "/x", "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_old_client_that_keeps_its_connection_sends_one_request() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    for (method, length) in [("POST", ""), ("GET", ""), ("POST", "Content-Length: 0\r\n")] {
        let before = upstream.count();
        let mut client = Client::connect(gateway.public()).await;
        let head = format!("{method} /x HTTP/1.0\r\nHost: gw.test\r\nConnection: keep-alive\r\n{length}\r\n");
        client.send(format!("{head}{}", get("/hidden", &[]))).await;
        let answer = client.answer_to(method).await.unwrap();
        assert_eq!(answer.status, 200, "{method}");
        assert!(client.answer().await.is_none(), "{method}: a second answer");
        assert!(client.closes().await, "{method}");
        assert_eq!(upstream.count() - before, 1, "{method}");
        assert_eq!(upstream.last().target(), "/x");
    }
}

#[tokio::test]
async fn trailers_never_become_headers() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    let trailers =
        "Content-Length: 9\r\nX-User-Id: 1\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\n";
    client.send(post("Transfer-Encoding: chunked\r\n", &format!("1\r\na\r\n0\r\n{trailers}\r\n"))).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let seen = upstream.last();
    assert_eq!(seen.body, b"a");
    assert!(!seen.head.to_lowercase().contains("x-user-id") && !seen.head.contains("Bearer"));
    let canary = exchange(gateway.public(), get("/canary", &[])).await.unwrap();
    assert!(canary.text().starts_with("GET /canary "));
}

#[tokio::test]
async fn a_body_where_none_is_expected_is_never_the_next_request() {
    // An upstream that ignores the body of these methods: what it leaves unread stands first on
    // its connection.
    let upstream = Upstream::start(|seen| Act::with("", seen.line())).await;
    let gateway = Gateway::open_to(upstream.address).await;
    let smuggled = "GET /admin HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let head =
            format!("{method} /body HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {}\r\n", smuggled.len());
        let mut client = Client::connect(gateway.public()).await;
        client.send(format!("{head}\r\n{smuggled}")).await;
        assert_eq!(client.answer_to(method).await.unwrap().status, 200, "{method}");
        let body_on = upstream.last().connection;
        let canary = exchange(gateway.public(), get("/canary", &[])).await.unwrap();
        assert_eq!(canary.text(), "GET /canary HTTP/1.1", "after {method}");
        assert_ne!(upstream.last().connection, body_on, "the connection of {method} is not used again");
    }
    assert!(upstream.seen().iter().all(|seen| seen.target() != "/admin"));
}

#[tokio::test]
async fn a_refused_request_with_a_body_does_not_leave_it_behind() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: one, match: {{ path: /one, methods: [GET] }}, upstream: up, allow: anyone }} ]\n",
        upstream.address
    ))
    .await;
    let smuggled = "GET /one HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let mut client = Client::connect(gateway.public()).await;
    let head =
        format!("POST /nowhere HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {}\r\n\r\n", smuggled.len());
    client.send(format!("{head}{smuggled}")).await;
    assert_eq!(client.answer().await.unwrap().status, 404);
    client.send(get("/one", &[])).await;
    assert!(client.answer().await.is_none_or(|answer| answer.status == 200));
    assert!(upstream.count() <= 1, "the body was taken for a request");
}

#[tokio::test]
async fn bytes_after_an_upgrade_request_wait_for_the_upgrade() {
    let upstream = Upstream::start(|_| Act::ok("no upgrade here")).await;
    let gateway = Gateway::open_to(upstream.address).await;
    for token in ["websocket", "h2c", "foo"] {
        let before = upstream.count();
        let mut client = Client::connect(gateway.public()).await;
        let upgrade = format!(
            "GET /ws HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: {token}\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        client.send(upgrade + &get("/admin", &[])).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "{token}");
        client.rest().await;
        let targets: Vec<_> = upstream.seen()[before..].iter().map(|seen| seen.target().to_owned()).collect();
        assert_eq!(targets, ["/ws"], "{token}");
        if token != "websocket" {
            assert_eq!(upstream.last().header("upgrade"), None, "{token} is not passed on");
        }
    }
}

#[tokio::test]
async fn of_pipelined_requests_the_first_is_answered_and_the_others_reach_nobody() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    let many: String = (0..100).map(|number| get(&format!("/{number}"), &[])).collect();
    client.send(many).await;
    let mut answered = Vec::new();
    while let Some(answer) = client.answer().await {
        answered.push(answer.text().split(' ').nth(1).unwrap_or_default().to_owned());
    }
    assert_eq!(answered, ["/0"], "then the connection is closed");
    let seen: Vec<_> = upstream.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(seen, ["/0"]);
}

#[tokio::test]
async fn what_the_policy_saw_is_what_the_upstream_gets() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let count = times(1_000, 10_000);
    let paths = r"/([a-zA-Z0-9._~!$&'()*+,=:@-]|%2e|%2E|%2f|%5c|%25|%3b|%61|%7E|%c3%a9|%00|;|/|\\){0,16}(\?[a-z=&%./]{0,8})?";
    let strategy = proptest::string::string_regex(paths).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut client = Client::connect(gateway.public()).await;
    let mut passed = Vec::new();
    for _ in 0..count {
        let path = strategy.new_tree(&mut runner).unwrap().current();
        client.send(get(&path, &[])).await;
        let Some(answer) = client.answer().await else {
            client = Client::connect(gateway.public()).await;
            continue;
        };
        if answer.status == 200 {
            passed.push(upstream.last().target().split('?').next().unwrap_or_default().to_owned());
        }
        if answer.header("connection") == Some("close") {
            client = Client::connect(gateway.public()).await;
        }
    }
    assert!(passed.len() > count / 20, "only {} of {count} passed", passed.len());
    let log = gateway.access_log().await;
    let judged: Vec<_> = log
        .iter()
        .filter(|line| line["status"] == 200)
        .map(|line| line["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(judged, passed);
}
