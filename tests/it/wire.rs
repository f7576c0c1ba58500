//! A request passes the gateway, and what belongs to the wire stays as it was.
//!
//! Law: each test looks at both ends: what the client got and what the upstream saw.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::open_to;
use crate::support::people::{TRUSTING, elsewhere};
use crate::support::raw::get;
use crate::support::replica::until;
use crate::support::{Client, Gateway, Replicas, Upstream, exchange, times};

#[tokio::test]
async fn a_request_passes_and_the_answer_comes_back() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let answer = exchange(gateway.public(), get("/a/b?c=d", &["X-Mine: 1"])).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = upstream.last();
    assert_eq!(seen.line(), "GET /a/b?c=d HTTP/1.1");
    assert_eq!(seen.header("host"), Some("gw.test"));
    assert_eq!(seen.header("x-mine"), Some("1"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("gw.test"));
    assert_eq!(seen.header("x-request-id"), answer.header("x-request-id"));
    let line = &gateway.access_log().await[0];
    assert_eq!(line["status"], 200);
    assert_eq!(line["path"], "/a/b");
    assert_eq!(line["route"], "all");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    for number in 0..5 {
        client.send(get(&format!("/{number}"), &[])).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        assert_eq!(upstream.last().target(), format!("/{number}"));
    }
    assert_eq!(upstream.connections(), 1, "the upstream connection is used again");
}

#[tokio::test]
async fn a_body_passes_with_its_length_and_in_chunks() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    client.send("POST /l HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(upstream.last().body, b"hello");
    client.send("POST /c HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(upstream.last().body, b"abcde");
}

#[tokio::test]
async fn a_body_in_very_many_chunks_is_one_body() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let count = 10_000;
    let mut client = Client::connect(gateway.public()).await;
    client.send("POST /c HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("1\r\nx\r\n".repeat(count)).await;
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(upstream.last().body, b"x".repeat(count));
}

#[tokio::test]
async fn a_body_that_is_almost_nothing_but_frame_is_refused() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let count = times(100_000, 1_000_000);
    let mut client = Client::connect(gateway.public()).await;
    client.send("POST /c HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("1\r\nx\r\n".repeat(count)).await;
    let answer = client.answer().await;
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{answer:?}");
    assert!(client.closes().await);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_compressed_body_is_opened_by_nobody() {
    // `{"email": "ada@example.com", "password": "x"}`
    const COMPRESSED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\xcd\x4d\xcc\xcc\x51\xb2\x52\x50\x4a\x4c\x49\x74\x48\xad\x48\xcc\x2d\xc8\x49\xd5\x4b\xce\xcf\x55\xd2\x51\x50\x2a\x48\x2c\x2e\x2e\xcf\x2f\x4a\x01\x49\x57\x28\xd5\x02\x00\xe5\x16\x61\xd2\x2d\x00\x00\x00";
    let upstream = Upstream::echo().await;
    let gateway =
        Gateway::start(&format!("applications: {{ required: nowhere }}\n{}", open_to(upstream.address)))
            .await;
    let send = async |path: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\
             Content-Length: {}\r\n\r\n",
            COMPRESSED.len()
        );
        exchange(gateway.public(), [head.as_bytes(), COMPRESSED].concat()).await.unwrap()
    };
    assert_eq!(send("/x").await.status, 200);
    let seen = upstream.last();
    assert_eq!((seen.header("content-encoding"), seen.body.as_slice()), (Some("gzip"), COMPRESSED));
    let refused = send("/api/v1/auth/login/email/").await;
    assert!(matches!(refused.status, 400 | 415), "{refused:?}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn what_no_route_knows_is_refused_in_json_and_recorded() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: one, match: {{ path: /one, methods: [GET] }}, upstream: up, allow: anyone }} ]\n",
        upstream.address
    ))
    .await;
    let answer = exchange(gateway.public(), get("/two", &[])).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"));
    assert_eq!(answer.json()["request_id"].as_str(), answer.header("x-request-id"));
    let answer = exchange(gateway.public(), "POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let page = exchange(gateway.public(), get("/two", &["Accept: text/html", "Sec-Fetch-Mode: navigate"]))
        .await
        .unwrap();
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert_eq!(upstream.count(), 0);
    let log = gateway.access_log().await;
    assert_eq!(
        log.iter().map(|line| line["reason"].as_str().unwrap()).collect::<Vec<_>>(),
        ["no_route", "method", "no_route"]
    );
}

#[tokio::test]
async fn the_operator_sees_liveness_readiness_and_metrics() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    exchange(gateway.public(), get("/x", &[])).await.unwrap();
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/nothing", 404)] {
        assert_eq!(exchange(gateway.admin(), get(path, &[])).await.unwrap().status, status, "{path}");
    }
    // What is answered is counted a moment later.
    gateway.access_log().await;
    let metrics = exchange(gateway.admin(), get("/metrics", &[])).await.unwrap().text();
    assert!(
        metrics.contains("portcullis_requests_total{method=\"GET\",route=\"all\",status=\"2xx\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_the_operator_sees_is_on_no_public_listener() {
    let upstream = Upstream::echo().await;
    let one = format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: one, match: {{ path: /one }}, upstream: up, allow: anyone }} ]\n",
        upstream.address
    );
    let closed = Gateway::start(&one).await;
    let paths = ["/metrics", "/livez", "/readyz", "/readyz?verbose", "/metrics/"];
    for path in paths {
        let answer = exchange(closed.public(), get(path, &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{path}");
    }
    // However it is named: the listener decides, not the host.
    let named = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", closed.admin());
    assert_eq!(exchange(closed.public(), named).await.unwrap().status, 404);
    assert_eq!(upstream.count(), 0);
    // Who routes everything routes these, and still shows nothing of the gateway's own.
    let open = Gateway::open_to(upstream.address).await;
    for path in paths {
        let answer = exchange(open.public(), get(path, &[])).await.unwrap();
        assert_eq!((answer.status, upstream.last().target().to_owned()), (200, path.to_owned()));
        assert!(!answer.text().contains("portcullis_requests_total"), "{path}: {}", answer.text());
    }
    assert_eq!(upstream.count(), paths.len());
}

#[tokio::test]
async fn a_risk_that_the_configuration_takes_is_told_until_it_is_gone() {
    let upstream = Upstream::echo().await;
    let yaml = open_to(upstream.address);
    let risky = format!("{yaml}insecure: [long_tokens]\ntokens: {{ access_for: 2d }}\n");
    let gateway = Gateway::start(&risky).await;
    let line = "portcullis_insecure_setting{name=\"long_tokens\"}";
    assert_eq!(gateway.metric(line), 1);
    gateway.running.reload(&gateway.load(&yaml)).await.unwrap();
    assert_eq!(gateway.metric(line), 0);
}

/// Two upstreams of which nobody is there: one that is asked, and one that is known to be away.
fn watched(upstream: &Upstream) -> String {
    let health =
        "health: { path: /healthz, every: 100ms, timeout: 1s, healthy_after: 1, unhealthy_after: 1 }";
    format!(
        "{TRUSTING}tokens: {{ rotation: true }}
upstreams:
  up: {{ servers: ['{}'], assertion: identity, {health} }}
  gone: {{ servers: ['127.0.0.1:1'], retries: 0, breaker: 'off' }}
  ill: {{ servers: ['127.0.0.1:1'], {health} }}
routes:
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in, limit: {{ requests: 1000, per: 1m }} }}
  - {{ name: gone, match: {{ path: '/gone' }}, upstream: gone, allow: anyone }}
  - {{ name: ill, match: {{ path: '/ill' }}, upstream: ill, allow: anyone }}
",
        upstream.address
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_moves_with_what_it_counts() {
    const SOON: Duration = Duration::from_secs(5);
    // Of the requests on one thread, one in 16 has its steps timed.
    const ASKED: i64 = 64;
    let upstream = Upstream::echo().await;
    let replicas = Replicas::start(&watched(&upstream)).await;
    let (here, there) = (&replicas.here, &replicas.there);
    let keys = here.application("web", &[]).await;
    let (ada, bob) = (here.user("ada", &keys).await, here.user("bob", &keys).await);
    assert_eq!(there.get_as(&bob, "/mine", &[]).await.status, 200);
    for _ in 0..ASKED {
        assert_eq!(here.get_as(&ada, "/mine", &[]).await.status, 200);
    }
    let metric = |line: &str| here.metric(&format!("portcullis_{line}"));
    for stage in ["route", "authenticate", "authorize", "limit", "identity"] {
        let line = format!("auth_duration_seconds_count{{stage=\"{stage}\"}}");
        assert!((1..ASKED).contains(&metric(&line)), "{line}: {}", metric(&line));
    }
    let cached = |hit: &str| metric(&format!("token_cache_total{{hit=\"{hit}\"}}"));
    assert_eq!((cached("false"), cached("true")), (1, ASKED - 1));
    let answered = "upstream_duration_seconds_count{upstream=\"up\"}";
    until(SOON, answered, async || metric(answered) == ASKED).await;
    assert_eq!(metric("logins_total{method=\"email\",result=\"success\"}"), 2);

    assert_eq!(here.send("GET", "/gone", &[]).await.status, 502);
    assert_eq!(metric("upstream_connect_failures_total{upstream=\"gone\"}"), 1);
    until(SOON, "known to be away", async || here.send("GET", "/ill", &[]).await.status == 503).await;
    let health = here.running.app.metrics.render();
    let up = format!("portcullis_upstream_health{{server=\"{}\",upstream=\"up\"}} 1\n", upstream.address);
    let ill = "portcullis_upstream_health{server=\"127.0.0.1:1\",upstream=\"ill\"} 0\n";
    assert!(health.contains(&up) && health.contains(ill), "{health}");

    let refresh = async |token: &str| {
        let lines = [&keys.lines()[..], &[elsewhere()]].concat();
        let answer = here.call("POST", "/refresh/", &lines, &json!({"refresh_token": token})).await;
        (answer.status == 200).then(|| answer.json()["refresh_token"].as_str().unwrap().to_owned())
    };
    let child = refresh(&ada.refresh).await.expect("the first use");
    assert_eq!(refresh(&ada.refresh).await.as_ref(), Some(&child), "an honest retry");
    assert!(refresh(&child).await.is_some());
    assert_eq!((refresh(&ada.refresh).await, refresh("nobody's").await), (None, None));
    let refreshed = |result: &str| metric(&format!("refresh_total{{result=\"{result}\"}}"));
    assert_eq!(["rotated", "grace", "reused", "unknown"].map(refreshed), [2, 1, 1, 1]);
    assert_eq!(metric("refresh_reuse_detected_total"), 1);

    let lag = "revocation_lag_seconds_count";
    let before = metric(lag);
    let lines = [&keys.lines()[..], &[bob.bearer()]].concat();
    assert_eq!(there.call("POST", "/logout/all/", &lines, &json!({})).await.status, 200);
    until(SOON, "what the other did is obeyed", async || metric(lag) > before).await;
}

#[tokio::test]
async fn no_person_and_nothing_that_was_asked_for_stands_in_the_access_log() {
    let upstream = Upstream::echo().await;
    let routes = "routes: [ { name: mine, match: { path: '/mine' }, upstream: up, allow: signed_in } ]\n";
    let gateway = Gateway::start(&format!(
        "{TRUSTING}upstreams: {{ up: {{ servers: ['{}'] }} }}\n{routes}",
        upstream.address
    ))
    .await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let from = "X-Forwarded-For: 203.0.113.77";
    assert_eq!(gateway.get_as(&ada, "/mine?name=hopper", &[from]).await.status, 200);
    let [key, secret] = keys.lines();
    let login = json!({"email": "ada@example.com", "password": "not-her-password"});
    let lines = [key, secret, from.to_owned()];
    assert_eq!(gateway.call("POST", "/login/email/?next=hopper", &lines, &login).await.status, 401);
    assert_eq!(gateway.send("GET", "/nowhere?name=hopper", &[from.to_owned()]).await.status, 404);
    let log = gateway.access_log().await;
    assert_eq!(log.len(), 4, "with the login before: {log:?}");
    assert_eq!((&log[1]["path"], &log[1]["account"]), (&json!("/mine"), &json!(ada.id.to_string())));
    let text = format!("{log:?}");
    for secret in
        ["@", "example.com", "203.0.113.77", "hopper", "not-her-password", &*ada.access, &*keys.secret]
    {
        assert!(!text.contains(secret), "{secret} stands in {text}");
    }
}
