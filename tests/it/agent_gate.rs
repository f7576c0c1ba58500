//! Agents on proxied routes, on the running gateway (T8, T9, T11, T13 to T18; security bar 2.I).
//! Law: the recording upstream never sees a request that was refused.

use std::sync::Arc;
use std::time::Duration;

use portcullis::account;
use portcullis::audit::{self, Row};
use portcullis::crypto::digest::unbase64url;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_total::Storm;
use crate::on_one_and_on_two;
use crate::support::people::permission;
use crate::support::raw::{Answer, get};
use crate::support::replica::{in_time, until, within};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Upstream, times};

const SECOND: Duration = Duration::from_secs(1);

pub fn routes(upstream: &Upstream) -> String {
    format!(
        "upstreams: {{ up: {{ servers: ['{}'], assertion: identity, breaker: 'off' }}, gone: {{ servers: ['127.0.0.1:1'], breaker: 'off' }} }}
routes:
  - {{ name: reports, match: {{ path: '/reports/**' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read }} }}
  - {{ name: priced, match: {{ path: '/priced/**' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ flat_usd: 0.10 }} }} }}
  - {{ name: dear, match: {{ path: '/dear' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ flat_usd: 0.35 }} }} }}
  - {{ name: gone, match: {{ path: '/gone' }}, upstream: gone, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ flat_usd: 0.10 }} }} }}
  - {{ name: invoices, match: {{ path: '/invoices' }}, upstream: up, allow: {{ org: member }}, agents: {{ permission: 'write:invoices' }} }}
  - {{ name: people, match: {{ path: '/people' }}, upstream: up, allow: signed_in }}
  - {{ name: public, match: {{ path: '/public' }}, upstream: up, allow: anyone, forward_authorization: true }}
",
        upstream.address
    )
}

pub async fn with_upstream() -> (Upstream, Scene) {
    let upstream = Upstream::echo().await;
    let scene = scene(&routes(&upstream)).await;
    (upstream, scene)
}

impl Scene {
    pub async fn ask(&self, path: &str, token: &str, more: &[&str]) -> Answer {
        let mut lines = vec![bearer(token)];
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        self.gateway.send("GET", path, &lines).await
    }

    pub async fn state(&self, id: i64) -> (String, Value) {
        let shown = self.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
        (shown["status"].as_str().unwrap().to_owned(), shown["suspended_reason"].clone())
    }

    pub async fn rows(&self, code: &str) -> Vec<Row> {
        let rows = audit::tail(&self.gateway.running.app.db, 0, 10_000).await.unwrap();
        rows.into_iter().filter(|row| row.code == code).collect()
    }
}

pub fn told(answer: &Answer) -> (u16, String) {
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

pub fn reader(more: &Value) -> Value {
    let mut body = json!({"agent_id": "robot one", "permissions": ["reports.read"]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn an_agent_passes_where_it_and_its_human_may_and_the_upstream_learns_who_acts() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({}))).await;
    let answer = scene.ask("/reports/7", &token, &["X-Prompt-Trace-ID: t-1", "X-Agent-Id: forged"]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.last();
    assert_eq!(seen.header("x-agent-id"), Some("robot%20one"));
    assert_eq!(seen.header("x-agent-token-id"), Some(id.to_string().as_str()));
    assert_eq!(
        (seen.header("x-auth-method"), seen.header("x-prompt-trace-id")),
        (Some("agent"), Some("t-1"))
    );
    assert_eq!(seen.header("x-user-id"), Some(scene.ada.id.to_string().as_str()));
    assert!(seen.header("authorization").is_none(), "our token goes no further");
    let assertion = seen.header("x-portcullis-assertion").unwrap().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&unbase64url(&assertion).unwrap()).unwrap();
    assert_eq!(
        (&claims["act"], &claims["sub"]),
        (&json!({"sub": "robot one", "token": id}), &json!(scene.ada.id))
    );
    assert!(claims.get("sid").is_none());
    let count = upstream.count();
    for (path, code) in [
        ("/people", "AGENT_NOT_ALLOWED"),
        ("/public", "AGENT_NOT_ALLOWED"),
        ("/invoices", "AGENT_PERMISSION_DENIED"),
    ] {
        let answer = scene.ask(path, &token, &[]).await;
        assert_eq!(told(&answer), (403, code.to_owned()), "{path}");
    }
    assert_eq!(
        told(&scene.ask("/reports/7", &token, &["X-Org-Slug: acme-corp"]).await),
        (403, "ORG_MISMATCH".to_owned())
    );
    assert_eq!(scene.ask("/nowhere", &token, &[]).await.status, 404);
    assert_eq!(upstream.count(), count);
    let invoices = json!({"permissions": ["write:invoices"], "organization": "acme-corp"});
    let (_, token) = scene.mint(&invoices).await;
    assert_eq!(scene.ask("/invoices", &token, &[]).await.status, 200);
    assert_eq!(upstream.last().header("x-org-slug"), Some("acme-corp"));
}

#[tokio::test]
async fn what_the_human_loses_is_gone_for_the_agent_at_its_next_request() {
    let (_upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    let refused = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&refused), (403, "AGENT_PERMISSION_DENIED".to_owned()));
    assert_eq!(refused.json()["failed"], "human_permission");
    assert_eq!(refused.json()["missing"], json!(["reports.read"]));
    scene.gateway.grant(scene.ada.id, permission("reports")).await;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
}

#[tokio::test]
async fn t8_a_burst_suspends_once_and_a_human_resumes() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({"circuit_breaker": {"max_requests_per_minute": 2}}))).await;
    let scene = Arc::new(scene);
    let burst: Vec<_> = (0..40)
        .map(|_| {
            let (scene, token) = (Arc::clone(&scene), token.clone());
            spawn(async move { told(&scene.ask("/reports/7", &token, &[]).await) })
        })
        .collect();
    let mut passed = 0;
    for one in burst {
        let (status, code) = one.await.unwrap();
        passed += usize::from(status == 200);
        let is_known = ["AGENT_TOKEN_SUSPENDED", "AGENT_TOKEN_STATUS_SUSPENDED", ""].contains(&code.as_str());
        assert!(status == 200 || (status == 403 && is_known), "{status} {code}");
    }
    assert_eq!((passed, upstream.count()), (2, 2));
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("RATE_LIMIT")));
    assert_eq!(scene.rows("agent_token_suspended").await.len(), 1, "one event, one row");
    assert_eq!(scene.gateway.metric("portcullis_agent_suspensions_total{reason=\"RATE_LIMIT\"}"), 1);
    assert_eq!(
        told(&scene.ask("/reports/7", &token, &[]).await),
        (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned())
    );
    scene.clock.advance(Duration::from_secs(61));
    scene.call("POST", &format!("/ai/tokens/{id}/resume/"), &Value::Null).await;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
}

#[tokio::test]
async fn t8_the_first_breaches_are_told_to_slow_down_where_the_token_says_so() {
    let (_upstream, scene) = with_upstream().await;
    let breaker = json!({"circuit_breaker": {"max_requests_per_minute": 1, "suspend_after": 3}});
    let (id, token) = scene.mint(&reader(&breaker)).await;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    for _ in 0..2 {
        let slow = scene.ask("/reports/7", &token, &[]).await;
        assert_eq!(told(&slow), (429, "RATE_LIMITED".to_owned()));
        assert!(
            slow.header("retry-after")
                .is_some_and(|seconds| (1..=60).contains(&seconds.parse::<u32>().unwrap()))
        );
    }
    let third = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&third), (403, "AGENT_TOKEN_SUSPENDED".to_owned()));
    assert_eq!(third.json()["reason"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(scene.state(id).await.0, "SUSPENDED");
    let never = json!({"circuit_breaker": {"max_requests_per_minute": 0, "suspend_after": 0}});
    let (id, token) = scene.mint(&reader(&never)).await;
    for _ in 0..5 {
        assert_eq!(
            scene.ask("/reports/7", &token, &[]).await.status,
            429,
            "zero is none, and 0 never suspends"
        );
    }
    assert_eq!(scene.state(id).await.0, "ACTIVE");
}

#[tokio::test]
async fn t13_refused_requests_count_too_and_a_minute_has_no_edge() {
    let (upstream, scene) = with_upstream().await;
    let breaker = json!({"circuit_breaker": {"max_requests_per_minute": 3, "suspend_after": 0}});
    let token = scene.mint(&reader(&breaker)).await.1;
    assert_eq!(scene.ask("/people", &token, &[]).await.status, 403);
    scene.clock.advance(Duration::from_secs(59));
    assert_eq!(scene.ask("/reports/1", &token, &[]).await.status, 200);
    assert_eq!(scene.ask("/reports/2", &token, &[]).await.status, 200);
    assert_eq!(scene.ask("/reports/3", &token, &[]).await.status, 429);
    scene.clock.advance(Duration::from_secs(2));
    assert_eq!(scene.ask("/reports/4", &token, &[]).await.status, 200, "the first one is a minute old");
    assert_eq!(scene.ask("/reports/5", &token, &[]).await.status, 429);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn t14_failures_one_after_the_other_suspend_and_a_success_forgives() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/reports/bad" => Act::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/reports/gone" => Act::Close,
        "/reports/missing" => Act::Answer(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => Act::ok("fine"),
    })
    .await;
    let scene = scene(&routes(&upstream)).await;
    let breaker = json!({"circuit_breaker": {"max_failed_requests": 2}});
    let (id, token) = scene.mint(&reader(&breaker)).await;
    let ask = async |path: &str| scene.ask(path, &token, &[]).await.status;
    assert_eq!((ask("/reports/bad").await, ask("/reports/gone").await), (500, 502));
    assert_eq!(ask("/reports/missing").await, 404, "an answer is no failure, and forgives");
    assert_eq!((ask("/reports/bad").await, ask("/reports/bad").await), (500, 500));
    // What is counted after an answer is counted soon after it.
    tokio::time::sleep(SECOND).await;
    assert_eq!(scene.state(id).await.0, "ACTIVE");
    assert_eq!(ask("/reports/fine").await, 200);
    for _ in 0..3 {
        assert_eq!(ask("/reports/bad").await, 500);
    }
    within(SECOND, "suspended", async || scene.state(id).await == ("SUSPENDED".to_owned(), json!("ANOMALY")))
        .await;
    assert_eq!(ask("/reports/fine").await, 403);
    scene.call("POST", &format!("/ai/tokens/{id}/resume/"), &Value::Null).await;
    assert_eq!(ask("/reports/bad").await, 500, "the count begins anew");
    assert_eq!(ask("/reports/fine").await, 200);
    let strict = json!({"circuit_breaker": {"max_failed_requests": 0}});
    let (id, token) = scene.mint(&reader(&strict)).await;
    assert_eq!(scene.ask("/reports/bad", &token, &[]).await.status, 500);
    within(SECOND, "zero is none", async || scene.state(id).await.0 == "SUSPENDED").await;
}

/// An answer that goes on until somebody cuts it.
pub fn endless() -> Act {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut pieces = vec![(Duration::ZERO, head.to_vec())];
    pieces.extend((0..300).map(|_| (Duration::from_millis(100), b"6\r\ndata\n\n\r\n".to_vec())));
    Act::Pieces(pieces)
}

pub async fn streaming() -> Upstream {
    let stream = endless();
    Upstream::start(move |_| stream.clone()).await
}

/// A stream that has begun just now.
pub async fn begin_stream(scene: &Scene, token: &str) -> Client<tokio::net::TcpStream> {
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(get("/reports/live", &[&bearer(token)])).await;
    assert!(client.until(b"data").await.is_some(), "the stream has begun");
    client
}

pub async fn open_stream(scene: &Scene, token: &str) -> Client<tokio::net::TcpStream> {
    let client = begin_stream(scene, token).await;
    // Longer than the gateway waits before it watches.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    client
}

/// Whether the stream ends within a second, whatever else of it comes.
pub async fn is_cut(stream: &mut Client<tokio::net::TcpStream>) -> bool {
    in_time(SECOND, stream.rest()).await.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t9_t15_the_streams_of_a_stopped_agent_are_cut_within_a_second() {
    let upstream = streaming().await;
    let scene = scene(&routes(&upstream)).await;
    let (id, token) = scene.mint(&reader(&json!({}))).await;
    let mut suspended = open_stream(&scene, &token).await;
    scene.call("POST", &format!("/ai/tokens/{id}/suspend/"), &Value::Null).await;
    assert!(is_cut(&mut suspended).await, "suspended");
    let token = scene.mint(&reader(&json!({}))).await.1;
    let mut killed = open_stream(&scene, &token).await;
    scene.call("POST", "/ai/tokens/revoke-all/", &Value::Null).await;
    assert!(is_cut(&mut killed).await, "killed");
    let (id, token) = scene.mint(&reader(&json!({}))).await;
    let mut locked = open_stream(&scene, &token).await;
    scene
        .gateway
        .change(async |change| assert!(account::lock(change, scene.ada.id, None).await.unwrap()))
        .await;
    assert!(is_cut(&mut locked).await, "its human is locked");
    let refused = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&refused), (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned()));
    let refused = scene.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), &token).await;
    assert_eq!(told(&refused), (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned()), "nor is it kept alive");
    scene.gateway.change(async |change| assert!(account::unlock(change, scene.ada.id).await.unwrap())).await;
    let mut again = Client::connect(scene.gateway.public()).await;
    again.send(get("/reports/live", &[&bearer(&token)])).await;
    assert!(again.until(b"data").await.is_some(), "the token itself was never suspended");
}

#[tokio::test]
async fn t17_the_heartbeat_is_asked_at_every_request_and_counts_as_none() {
    let (_upstream, scene) = with_upstream().await;
    let body = reader(
        &json!({"dead_mans_switch": {"heartbeat_required_every": 60}, "circuit_breaker": {"max_requests_per_minute": 2}}),
    );
    let (id, token) = scene.mint(&body).await;
    assert_eq!(scene.ask("/reports/1", &token, &[]).await.status, 200);
    scene.clock.advance(Duration::from_secs(50));
    for _ in 0..3 {
        assert_eq!(scene.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), &token).await.status, 200);
    }
    scene.clock.advance(Duration::from_secs(50));
    assert_eq!(scene.ask("/reports/2", &token, &[]).await.status, 200, "no cache was told of the heartbeat");
    scene.clock.advance(Duration::from_secs(11));
    let missing = scene.ask("/reports/3", &token, &[]).await;
    assert_eq!(told(&missing), (403, "AGENT_TOKEN_HEARTBEAT_MISSING".to_owned()));
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("HEARTBEAT_MISSING")));
    assert_eq!(
        told(&scene.ask("/reports/3", &token, &[]).await),
        (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned())
    );
    let brief = scene.mint(&reader(&json!({"expires_in": 5}))).await.1;
    assert_eq!(scene.ask("/reports/1", &brief, &[]).await.status, 200);
    scene.clock.advance(Duration::from_secs(5));
    assert_eq!(told(&scene.ask("/reports/1", &brief, &[]).await), (403, "AGENT_TOKEN_EXPIRED".to_owned()));
    assert_eq!(
        told(&scene.ask("/reports/1", &brief, &[]).await),
        (403, "AGENT_TOKEN_STATUS_EXPIRED".to_owned())
    );
}

#[tokio::test]
async fn t18_an_agent_stands_for_its_application_and_for_no_other() {
    let upstream = Upstream::echo().await;
    let scene = scene(&format!("applications: {{ required: everywhere }}\n{}", routes(&upstream))).await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200, "no keys needed");
    let keys = scene.keys.lines();
    assert_eq!(scene.ask("/reports/7", &token, &[&keys[0], &keys[1]]).await.status, 200);
    let other = scene.gateway.application("other", &[]).await.lines();
    let refused = scene.ask("/reports/7", &token, &[&other[0], &other[1]]).await;
    assert_eq!(told(&refused), (401, "TOKEN_APP_MISMATCH".to_owned()));
    let wrong = scene.ask("/reports/7", &token, &[&keys[0], "X-Access-Secret: wrong"]).await;
    assert_eq!(told(&wrong), (401, "APP_AUTH_INVALID".to_owned()));
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn t11_every_decision_is_in_the_trail_within_a_second() {
    let upstream = Upstream::echo().await;
    let scene = scene(&format!("audit: {{ reads: 1 }}\n{}", routes(&upstream))).await;
    let breaker = json!({"circuit_breaker": {"max_requests_per_minute": 2, "suspend_after": 0}});
    let (_, token) = scene.mint(&reader(&breaker)).await;
    scene.ask("/reports/7", &token, &["X-Prompt-Trace-ID: t-9"]).await;
    scene.ask("/people", &token, &[]).await;
    scene.ask("/reports/8", &token, &[]).await;
    until(SECOND, "three rows", async || scene.rows("agent_action").await.len() == 3).await;
    let rows = scene.rows("agent_action").await;
    let detail: Vec<&Value> = rows.iter().map(|row| &row.personal["detail"]).collect();
    assert!(rows.iter().all(|row| row.actor_kind == "agent" && row.account == Some(scene.ada.id)));
    assert_eq!(
        (&detail[0]["verdict"], &detail[0]["route"], &detail[0]["trace"], &detail[0]["permission"]),
        (&json!("allow"), &json!("reports"), &json!("t-9"), &json!("reports.read"))
    );
    assert_eq!((&detail[1]["verdict"], &detail[1]["reason"]), (&json!("deny"), &json!("agent")));
    assert_eq!(detail[2]["verdict"], "limit");
    let app = &scene.gateway.running.app;
    for stream in audit::Stream::ALL {
        let whole = audit::verify(&app.db, &app.seal, stream).await;
        assert!(whole.is_ok(), "the chain of the {stream} is whole: {whole:?}");
    }
}

#[tokio::test]
async fn t11_reads_that_pass_leave_no_row_unless_they_are_sampled() {
    let (_upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    scene.ask("/reports/7", &token, &[]).await;
    scene.gateway.send("POST", "/reports/7", &[bearer(&token)]).await;
    until(SECOND, "one row", async || !scene.rows("agent_action").await.is_empty()).await;
    let rows = scene.rows("agent_action").await;
    assert_eq!((rows.len(), &rows[0].personal["detail"]["method"]), (1, &json!("POST")));
}

on_one_and_on_two! {
    async fn t13_of_many_at_once_the_rate_passes_and_one_event_suspends(dialect: Dialect) {
        for round in 0..times(1, 20) {
            let storm = Storm::of(dialect, 64, &json!({"max_requests_per_minute": 20})).await;
            let seen = (storm.passed, storm.upstream.count(), storm.suspensions().await);
            assert_eq!(seen, (20, 20, 1), "round {round}");
        }
    }
}

#[tokio::test]
async fn what_a_connection_header_names_away_is_decided_and_forwarded_alike() {
    let upstream = Upstream::echo().await;
    let scene = scene(&format!("audit: {{ reads: 1 }}\n{}", routes(&upstream))).await;
    let (_, token) = scene.mint(&reader(&json!({}))).await;
    let named_away = ["X-Prompt-Trace-ID: t-9", "Connection: x-prompt-trace-id"];
    assert_eq!(scene.ask("/reports/7", &token, &named_away).await.status, 200);
    let forwarded = upstream.last().header("x-prompt-trace-id").map(str::to_owned);
    until(SECOND, "a row", async || scene.rows("agent_action").await.len() == 1).await;
    let recorded = scene.rows("agent_action").await[0].personal["detail"]["trace"].clone();
    assert_eq!(json!(forwarded), recorded);
    for name in ["x-agent-id", "x-agent-token-id", "x-user-id"] {
        let lines = [&*format!("{name}: forged"), &format!("Connection: {name}")];
        assert_eq!(scene.ask("/reports/7", &token, &lines).await.status, 200, "{name}");
        let seen = upstream.last();
        assert!(seen.all(name).len() == 1 && seen.header(name) != Some("forged"), "{name}");
    }
}

#[tokio::test]
async fn everything_that_is_missing_is_told_the_agents_and_the_humans() {
    let upstream = Upstream::echo().await;
    let both = "  - { name: both, match: { path: /both }, upstream: up, allow: { permission: pay }, agents: { permission: reports.read } }\n";
    let scene = scene(&format!("{}{both}", routes(&upstream))).await;
    let token = scene.mint(&json!({"permissions": ["reports"]})).await.1;
    let refused = scene.ask("/both", &token, &[]).await;
    assert_eq!(
        (refused.status, &refused.json()["failed"]),
        (403, &json!("agent_scope")),
        "{}",
        refused.text()
    );
    assert_eq!(refused.json()["missing"], json!(["pay", "reports.read"]));
    assert_eq!(upstream.count(), 0);
}
