//! What agents leave in the trail when they are refused, and what others can do to them (T11, T14).
//! Law: each of these was once wrong: a refusal without a row, a trail that one agent could fill, and
//! an agent that a stranger at its address could silence.

use std::time::Duration;

use portcullis::account;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{reader, routes, told, with_upstream};
use crate::agent_hold::{self, PENDING, confirmed};
use crate::support::people::permission;
use crate::support::raw::get;
use crate::support::replica::{until, within};
use crate::support::{Act, Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

impl Scene {
    /// What was written about agents' requests with this verdict.
    async fn decided(&self, verdict: &str) -> Vec<Value> {
        let rows = self.rows("agent_action").await.into_iter();
        let details = rows.map(|row| row.personal["detail"].clone());
        details.filter(|detail| detail["verdict"] == verdict).collect()
    }
}

/// How many decisions rows stand for.
fn times(rows: &[Value]) -> u64 {
    rows.iter().map(|row| row["times"].as_u64().unwrap_or(1)).sum()
}

#[tokio::test]
async fn t15_an_agent_whose_human_is_locked_is_refused_and_in_the_trail() {
    let (upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    scene
        .gateway
        .change(async |change| assert!(account::lock(change, scene.ada.id, None).await.unwrap()))
        .await;
    let asked = async || told(&scene.ask("/reports/7", &token, &["X-Prompt-Trace-ID: t-3"]).await);
    let refused = (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned());
    assert_eq!([asked().await, asked().await, asked().await], [refused.clone(), refused.clone(), refused]);
    until(SECOND, "a row", async || !scene.decided("deny").await.is_empty()).await;
    let row = scene.decided("deny").await.remove(0);
    assert_eq!((&row["reason"], &row["trace"]), (&json!("agent_suspended"), &json!("t-3")));
    scene.as_agent("POST", "/ai/tokens/", &token).await;
    until(10 * SECOND, "all of them", async || times(&scene.decided("deny").await) == 4).await;
    let rows = scene.decided("deny").await;
    assert_eq!(rows.len(), 3, "one for its state, the rest of these together, and one for the API: {rows:?}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn t11_what_is_refused_before_anybody_asks_who_calls_is_in_the_trail() {
    let (upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    let bearer = bearer(&token);
    let send = async |request: String| exchange(scene.gateway.public(), request).await.expect("an answer");
    assert_eq!(send(get("/reports/7", &[&bearer, "Content-Length: 99999999999"])).await.status, 413);
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let refused = send(get("/reports/7", &[&bearer, upgrade[0], upgrade[1], upgrade[2], key])).await;
    assert_eq!(refused.code(), "UPGRADE_REFUSED");
    let keys = scene.keys.lines();
    let wrong = scene.ask("/reports/7", &token, &[&keys[0], "X-Access-Secret: wrong"]).await;
    assert_eq!(told(&wrong), (401, "APP_AUTH_INVALID".to_owned()));
    until(SECOND, "three rows", async || scene.decided("deny").await.len() == 3).await;
    let rows = scene.decided("deny").await;
    assert!(rows.iter().all(|row| row["agent"] == "robot one" && row["reason"].is_string()), "{rows:?}");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn t11_what_is_refused_while_its_body_is_read_is_not_in_the_trail_as_allowed() {
    let upstream = Upstream::echo().await;
    let route = "  - { name: hidden, match: { path: /hidden }, upstream: up, allow: { permission: reports.read }, body: 1KiB, \
                 agents: { permission: reports.read, cost: { flat_usd: 0.10 }, redact: { keys: [email] } } }\n";
    let scene = scene(&format!("{}{route}", routes(&upstream))).await;
    let (id, token) = scene.mint(&reader(&json!({"budget_limit_usd": 1}))).await;
    let lines = [bearer(&token), "Transfer-Encoding: chunked".to_owned()];
    let head = get("/hidden", &[&lines[0], &lines[1]]).replacen("GET", "POST", 1);
    let request = format!("{head}800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800));
    let refused = exchange(scene.gateway.public(), request).await.expect("an answer");
    assert_eq!(refused.status, 413, "{}", refused.text());
    until(SECOND, "a row", async || scene.decided("deny").await.len() == 1).await;
    assert!(scene.decided("allow").await.is_empty() && scene.rows("agent_cost_settled").await.is_empty());
    let shown = scene.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
    assert_eq!(shown["current_spend_usd"].as_f64(), Some(0.0), "nor has it cost anything");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn t11_an_agent_that_is_told_to_slow_down_fills_no_trail_and_is_counted_in_it() {
    let (_upstream, scene) = with_upstream().await;
    let breaker = json!({"circuit_breaker": {"max_requests_per_minute": 1, "suspend_after": 0}});
    let token = scene.mint(&reader(&breaker)).await.1;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    let agent = format!("User-Agent: {}", "x".repeat(2000));
    for _ in 0..80 {
        assert_eq!(scene.ask("/reports/7", &token, &[&agent]).await.status, 429);
    }
    until(10 * SECOND, "all of them", async || times(&scene.decided("limit").await) == 80).await;
    let rows = scene.decided("limit").await;
    assert!((31..=35).contains(&rows.len()), "{} rows", rows.len());
    let named: Vec<usize> = scene
        .rows("agent_action")
        .await
        .iter()
        .filter_map(|row| row.personal["user_agent"].as_str().map(str::len))
        .collect();
    assert_eq!(named, vec![500; rows.len()], "no more of a name than the trail has room for, in any of them");
}

#[tokio::test]
async fn keys_of_another_application_count_against_the_rate() {
    let (upstream, scene) = with_upstream().await;
    let breaker = json!({"circuit_breaker": {"max_requests_per_minute": 2, "suspend_after": 0}});
    let token = scene.mint(&reader(&breaker)).await.1;
    let other = scene.gateway.application("other", &[]).await.lines();
    let ask = async || scene.ask("/reports/7", &token, &[&other[0], &other[1]]).await.status;
    assert_eq!([ask().await, ask().await, ask().await], [401, 401, 429]);
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 429);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_stranger_at_the_same_address_silences_no_agent() {
    let (_upstream, scene) = with_upstream().await;
    let alive = json!({"dead_mans_switch": {"heartbeat_required_every": 60}});
    let (id, token) = scene.mint(&reader(&alive)).await;
    let beat = format!("/ai/tokens/{id}/heartbeat/");
    assert_eq!(scene.as_agent("POST", &beat, &token).await.status, 200);
    let mut last = 0;
    for number in 0..150 {
        last = scene.as_agent("POST", &beat, &format!("{number:048}")).await.status;
    }
    assert_eq!(last, 429, "who guesses is slowed");
    assert_eq!(scene.ask("/reports/7", &format!("{:048}", 200), &[]).await.status, 429);
    assert_eq!(scene.as_agent("POST", &beat, &token).await.status, 200);
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    let named = scene.as_agent("GET", &format!("{PENDING}nothing/"), &token).await;
    assert_eq!(told(&named), (409, "APPROVAL_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn t14_a_success_that_began_before_a_failure_forgives_it() {
    let slow = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec();
    let (over, is_over) = watch::channel(false);
    let upstream = Upstream::start(move |seen| match seen.target() {
        "/reports/bad" => Act::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/reports/slow" => Act::When(is_over.clone(), slow.clone()),
        _ => Act::ok("fine"),
    })
    .await;
    let scene = scene(&routes(&upstream)).await;
    let breaker = json!({"circuit_breaker": {"max_failed_requests": 1, "max_requests_per_minute": 500}});
    let (id, token) = scene.mint(&reader(&breaker)).await;
    let ask = async |path: &str| scene.ask(path, &token, &[]).await.status;
    let (slow, bad) = tokio::join!(ask("/reports/slow"), async {
        until(SECOND, "it has begun", async || upstream.count() == 1).await;
        let bad = ask("/reports/bad").await;
        tokio::time::sleep(SECOND / 5).await;
        over.send(true).unwrap();
        bad
    });
    assert_eq!((slow, bad, ask("/reports/bad").await), (200, 500, 500));
    // Nobody waits for what is counted after an answer.
    for _ in 0..50 {
        assert_eq!((ask("/reports/fine").await, ask("/reports/bad").await), (200, 500));
    }
    tokio::time::sleep(SECOND / 5).await;
    assert_eq!(scene.state(id).await.0, "ACTIVE");
    assert_eq!(ask("/reports/bad").await, 500);
    within(SECOND, "suspended", async || scene.state(id).await == ("SUSPENDED".to_owned(), json!("ANOMALY")))
        .await;
}

#[tokio::test]
async fn a_route_is_closed_to_agents_where_there_are_none() {
    let upstream = Upstream::echo().await;
    let scene = scene(&format!("agents: {{ enabled: false }}\n{}", routes(&upstream))).await;
    let refused = scene.ask("/reports/7", &"x".repeat(48), &[]).await;
    assert_eq!(told(&refused), (403, "AIRS_DISABLED".to_owned()));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn rows_that_wait_to_be_written_are_counted() {
    let (_upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    let waiting = || scene.gateway.metric("portcullis_audit_backlog");
    until(10 * SECOND, "a row waits", async || {
        let answer = scene.gateway.send("POST", "/reports/7", &[bearer(&token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        waiting() > 0
    })
    .await;
    until(10 * SECOND, "all are written", async || waiting() == 0).await;
    assert!(!scene.decided("allow").await.is_empty());
}

#[tokio::test]
async fn every_row_of_a_request_that_waited_leads_to_its_approval() {
    let (_upstream, scene, token) = agent_hold::with_upstream().await;
    let held = scene.post("/reports/7", &token, &[], "{}").await.json();
    let (id, named) = (held["approval_id"].clone(), held["confirmation_token"].as_str().unwrap());
    scene.approve(named).await;
    assert_eq!(scene.post("/reports/7", &token, &[&confirmed(named)], "{}").await.status, 200);
    scene.comes_to(named, "executed").await;
    let other = scene.post("/reports/8", &token, &[], "{}").await.json()["approval_id"].clone();
    assert!(id.is_string() && other.is_string() && id != other, "{id} {other}");
    scene.gateway.grant(scene.ada.id, permission("security.view")).await;
    let rows = async |action: &str| -> Vec<Value> {
        let path = format!("/admin/audit-logs/?page_size=100&action={action}");
        let answer = scene.call("GET", &path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["results"].as_array().unwrap().clone()
    };
    // What was decided is written a moment later; the latest comes first.
    until(10 * SECOND, "three decisions", async || rows("agent_action").await.len() == 3).await;
    let all = rows("agent_action").await;
    let decided: Vec<_> = all.iter().map(|row| (&row["details"]["verdict"], &row["approval"])).collect();
    let (hold, allow) = (json!("hold"), json!("allow"));
    assert_eq!(decided, [(&hold, &other), (&allow, &id), (&hold, &id)]);
    for (action, approvals) in [
        ("approval_requested", vec![&other, &id]),
        ("approval_approved", vec![&id]),
        ("approval_claimed", vec![&id]),
        ("approval_executed", vec![&id]),
        ("login", vec![&Value::Null]),
    ] {
        let all = rows(action).await;
        assert_eq!(all.iter().map(|row| &row["approval"]).collect::<Vec<_>>(), approvals, "{action}");
    }
    let path = "/admin/audit-logs/export/?format=csv&action=approval_requested";
    let file = scene.call("GET", path, &Value::Null).await;
    assert_eq!(file.status, 200, "{}", file.text());
    let mut table = csv::Reader::from_reader(&file.body[..]);
    let at = table.headers().unwrap().iter().position(|name| name == "approval").unwrap();
    let cells: Vec<String> = table.records().map(|row| row.unwrap()[at].to_owned()).collect();
    assert_eq!(json!(cells), json!([other, id]), "in a cell of its own");
}
