//! What calls of language models cost an agent (agents.md section 4; LiteLLM's streams that cost
//! nothing are why each is a test).
//! Law: the most that a call can cost is reserved before it is sent; what it did cost is charged,
//! whether the answer streams, the agent hangs up or nobody says.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use portcullis::agent;
use portcullis::base::{MicroUsd, Number};
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{reader, told};
use crate::agent_hold::{PENDING, confirmed};
use crate::support::people::request;
use crate::support::raw::Answer;
use crate::support::replica::{Place, redis_url, until};
use crate::support::{Act, Client, Upstream, exchange, times};

const SECOND: Duration = Duration::from_secs(1);
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":20}}"#;
/// What that costs: 1000 tokens of 1 and 20 of 100 millionths.
const COST: f64 = 0.003;

/// A model that answers in JSON, in a stream, or without a word about its usage.
async fn model() -> (Upstream, Scene) {
    model_at("").await
}

async fn model_at(place: &str) -> (Upstream, Scene) {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/v1/json" | "/hidden/json" | "/held" => Act::with("Content-Type: application/json\r\n", USAGE),
        "/hidden/long" => {
            let body = format!("{{\"text\":\"{}\",{}", "x".repeat(4000), &USAGE[1..]);
            Act::with("Content-Type: application/json\r\n", &body)
        }
        "/v1/silent" => Act::with("Content-Type: application/json\r\n", "{}"),
        path => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let event = |text: &str| format!("{:x}\r\n{text}\r\n", text.len()).into_bytes();
            let pause = if path == "/v1/slow" { SECOND * 2 } else { SECOND / 2 };
            let before = if path == "/v1/late" { SECOND / 2 } else { Duration::ZERO };
            Act::Pieces(vec![
                (before, head.as_bytes().to_vec()),
                (Duration::ZERO, event("data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n")),
                (pause, event(&format!("data: {USAGE}\n\n"))),
                (Duration::ZERO, event("data: [DONE]\n\n")),
                (Duration::ZERO, b"0\r\n\r\n".to_vec()),
            ])
        }
    })
    .await;
    let scene = scene(&format!("{place}{}", routes(upstream.address))).await;
    (upstream, scene)
}

/// The routes to a model at this address.
pub fn routes(model: SocketAddr) -> String {
    format!(
        "upstreams: {{ up: {{ servers: ['{model}'], breaker: 'off' }} }}
routes:
  - name: models
    match: {{ path: '/v1/**' }}
    upstream: up
    allow: {{ permission: reports.read }}
    agents:
      permission: reports.read
      cost: {{ llm: openai, prices: {{ m: {{ input: 1, output: 100 }} }}, output_max: 500 }}
  - name: hidden
    match: {{ path: '/hidden/**' }}
    upstream: up
    allow: {{ permission: reports.read }}
    agents:
      permission: reports.read
      cost: {{ llm: openai, prices: {{ m: {{ input: 1, output: 100 }} }}, output_max: 500 }}
      redact: {{ keys: [usage, choices], buffer: 1KiB }}
  - name: held
    match: {{ path: '/held' }}
    upstream: up
    allow: {{ permission: reports.read }}
    agents:
      permission: reports.read
      hold: always
      cost: {{ llm: openai, prices: {{ m: {{ input: 1, output: 100 }} }}, output_max: 500 }}
"
    )
}

impl Scene {
    async fn prompt(&self, path: &str, token: &str, body: &str) -> Answer {
        exchange(self.gateway.public(), prompt(path, token, body)).await.expect("an answer")
    }

    pub async fn spends(&self, id: i64, dollars: f64) {
        let path = format!("/ai/tokens/{id}/");
        let mut last = Value::Null;
        until(SECOND * 3, &format!("{dollars} are spent"), async || {
            last = self.call("GET", &path, &Value::Null).await.json()["current_spend_usd"].clone();
            last == json!(dollars)
        })
        .await;
    }

    pub async fn rich(&self, dollars: f64) -> (i64, String) {
        self.mint(&reader(&json!({"budget_limit_usd": dollars}))).await
    }
}

pub fn prompt(path: &str, token: &str, body: &str) -> String {
    request("POST", path, &[bearer(token), "Accept-Encoding: gzip".to_owned()], body)
}

#[tokio::test]
async fn what_a_model_answers_in_json_is_what_its_call_costs() {
    let (upstream, scene) = model().await;
    let (id, token) = scene.rich(1.0).await;
    let answer = scene.prompt("/v1/json", &token, r#"{"model":"m"}"#).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, USAGE));
    let sent = r#"{"max_completion_tokens":500,"model":"m"}"#;
    let left = format!("0.{}", 1_000_000 - sent.len() - 50_000);
    assert_eq!(answer.header("x-budget-remaining"), Some(left.as_str()), "all of it is reserved first");
    scene.spends(id, COST).await;
    let seen = upstream.last();
    assert_eq!((String::from_utf8_lossy(&seen.body).as_ref(), seen.header("accept-encoding")), (sent, None));
    for body in ["", "[]", r#"{"model":"other"}"#, r#"{"model":"m","n":0.5}"#] {
        assert_eq!(told(&scene.prompt("/v1/json", &token, body).await), (403, "COST_UNKNOWN".to_owned()));
    }
    scene.spends(id, COST).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_stream_passes_as_it_comes_and_is_charged_what_it_says() {
    let (upstream, scene) = model().await;
    let (id, token) = scene.rich(1.0).await;
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(prompt("/v1/stream", &token, r#"{"model":"m","stream":true}"#)).await;
    let head = client.until(b"delta").await.expect("nothing waits for the usage");
    assert!(client.until(b"[DONE]").await.is_some());
    scene.spends(id, COST).await;
    let body = upstream.last().body;
    let left = format!("x-budget-remaining: 0.{}\r\n", 1_000_000 - body.len() - 50_000);
    assert!(head.to_ascii_lowercase().contains(&left), "no {left} in {head}");
    let sent: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn who_hangs_up_pays_what_the_rest_of_the_stream_says() {
    let (_upstream, scene) = model().await;
    let (id, token) = scene.rich(1.0).await;
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(prompt("/v1/stream", &token, r#"{"model":"m","stream":true}"#)).await;
    assert!(client.until(b"delta").await.is_some());
    drop(client);
    scene.spends(id, COST).await;
}

#[tokio::test]
async fn what_nobody_says_costs_what_was_reserved_and_what_does_not_fit_is_refused() {
    let (upstream, scene) = model().await;
    let (id, token) = scene.rich(0.06).await;
    let body = r#"{"model":"m","max_tokens":500}"#;
    assert_eq!(scene.prompt("/v1/silent", &token, body).await.status, 200);
    scene.spends(id, 0.050_03).await;
    let over = scene.prompt("/v1/json", &token, body).await;
    assert_eq!(told(&over), (403, "BUDGET_EXCEEDED".to_owned()));
    assert_eq!(scene.state(id).await.0, "ACTIVE", "a smaller call may pass");
    assert_eq!(scene.prompt("/v1/json", &token, r#"{"model":"m","max_tokens":50}"#).await.status, 200);
    scene.spends(id, 0.053_03).await;
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn what_agents_may_not_read_of_an_answer_tells_what_it_cost_all_the_same() {
    let (_upstream, scene) = model().await;
    let (id, token) = scene.rich(1.0).await;
    let answer = scene.prompt("/hidden/json", &token, r#"{"model":"m"}"#).await;
    assert_eq!((answer.status, &answer.json()["usage"]), (200, &json!("***REDACTED***")));
    scene.spends(id, COST).await;
    let answer = scene.prompt("/hidden/long", &token, r#"{"model":"m"}"#).await;
    assert_eq!((answer.status, &answer.json()["usage"]), (200, &json!("***REDACTED***")));
    scene.spends(id, 2.0 * COST).await;
}

#[tokio::test]
async fn what_a_call_has_cost_stands_in_the_trail_beside_what_was_reserved() {
    let (_upstream, scene) = model().await;
    let (_, token) = scene.rich(1.0).await;
    let body = r#"{"model":"m","max_tokens":500}"#;
    for (path, cost, basis) in [("/v1/json", COST, "answer"), ("/v1/silent", 0.050_03, "reservation")] {
        assert_eq!(scene.prompt(path, &token, body).await.status, 200);
        let last = async |code: &str| scene.rows(code).await.pop();
        let is_settled = async || {
            let row = last("agent_cost_settled").await;
            row.is_some_and(|row| row.personal["detail"]["basis"] == basis)
        };
        until(SECOND * 3, basis, is_settled).await;
        let (asked, settled) =
            (last("agent_action").await.unwrap(), last("agent_cost_settled").await.unwrap());
        assert_eq!(asked.personal["detail"]["reserved_usd"], json!(0.050_03));
        assert_eq!(asked.personal["detail"].get("cost_usd"), None, "it is not known yet");
        assert_eq!(settled.personal["detail"]["cost_usd"], json!(cost));
        assert!(asked.request_id.is_some() && asked.request_id == settled.request_id);
    }
}

#[tokio::test]
async fn a_call_that_people_approve_is_shown_with_its_cap_and_paid_for_when_it_is_sent() {
    let (upstream, scene) = model().await;
    let (id, token) = scene.rich(0.06).await;
    let body = r#"{"model":"m"}"#;
    let unpriced = scene.prompt("/held", &token, r#"{"model":"other"}"#).await;
    assert_eq!(told(&unpriced), (403, "COST_UNKNOWN".to_owned()), "before anybody is asked");
    let held = scene.prompt("/held", &token, body).await;
    assert_eq!(held.status, 202, "{}", held.text());
    let named = held.json()["confirmation_token"].as_str().unwrap().to_owned();
    let shown = scene.call("GET", &format!("{PENDING}{named}/"), &Value::Null).await.json();
    assert_eq!(shown["payload"], json!({"max_completion_tokens": 500, "model": "m"}));
    scene.spends(id, 0.0).await;
    scene.approve(&named).await;
    let again = async || {
        let text = request("POST", "/held", &[bearer(&token), confirmed(&named)], body);
        exchange(scene.gateway.public(), text).await.expect("an answer")
    };
    let answer = again().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, USAGE));
    assert!(answer.header("x-budget-remaining").is_some_and(|left| left.starts_with("0.009")));
    assert_eq!(upstream.last().body, br#"{"max_completion_tokens":500,"model":"m"}"#);
    scene.spends(id, COST).await;
    assert_eq!(told(&again().await), (409, "APPROVAL_USED".to_owned()));
    scene.spends(id, COST).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_call_that_is_approved_and_does_not_fit_the_budget_is_refused_and_stays_approved() {
    let (upstream, scene) = model().await;
    let (_, token) = scene.rich(0.02).await;
    let held = scene.prompt("/held", &token, r#"{"model":"m"}"#).await;
    let named = held.json()["confirmation_token"].as_str().unwrap().to_owned();
    scene.approve(&named).await;
    let text = request("POST", "/held", &[bearer(&token), confirmed(&named)], r#"{"model":"m"}"#);
    let refused = exchange(scene.gateway.public(), text).await.expect("an answer");
    assert_eq!(told(&refused), (403, "BUDGET_EXCEEDED".to_owned()));
    assert_eq!((scene.standing(&named).await.as_str(), upstream.count()), ("approved", 0));
}

/// Reserve much, narrow, and let the refund arrive: what lies in a purse then is what the store knows of.
async fn narrowed_while_a_call_is_reserved(place: &str) {
    let (_upstream, scene) = model_at(place).await;
    let limits = json!({"max_requests_per_minute": 600, "max_requests_total": 400});
    let (id, token) = scene.mint(&reader(&json!({"budget_limit_usd": 100, "circuit_breaker": limits}))).await;
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(prompt("/v1/slow", &token, r#"{"model":"m","stream":true,"max_tokens":500000}"#)).await;
    assert!(client.until(b"delta").await.is_some(), "fifty dollars are reserved");
    let less = json!({"budget_limit_usd": 1, "circuit_breaker": {"max_requests_total": 3}});
    let narrowed = scene.call("PUT", &format!("/ai/tokens/{id}/"), &less).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text());
    // The purse learns of the new limits before the refund comes.
    let body = r#"{"model":"m","max_tokens":9000}"#;
    assert_eq!(told(&scene.prompt("/v1/silent", &token, body).await), (403, "BUDGET_EXCEEDED".to_owned()));
    assert!(client.until(b"[DONE]").await.is_some());
    scene.spends(id, COST).await;
    assert_eq!(scene.prompt("/v1/silent", &token, body).await.status, 200);
    for _ in 0..3 {
        assert_eq!(
            told(&scene.prompt("/v1/silent", &token, body).await),
            (403, "BUDGET_EXCEEDED".to_owned())
        );
    }
    scene.spends(id, 0.903_031).await;
    assert_eq!(scene.prompt("/v1/json", &token, r#"{"model":"m","max_tokens":9}"#).await.status, 200);
    let over = scene.prompt("/v1/json", &token, r#"{"model":"m","max_tokens":9}"#).await;
    assert_eq!(told(&over), (403, "AGENT_TOKEN_SUSPENDED".to_owned()), "three requests were three");
}

#[tokio::test]
async fn h5_a_refund_does_not_undo_a_narrower_budget_in_memory() {
    narrowed_while_a_call_is_reserved("").await;
}

#[tokio::test]
async fn h5_a_refund_does_not_undo_a_narrower_budget_in_redis() {
    let place = Place::new().await;
    narrowed_while_a_call_is_reserved(&place.yaml(&place.store.address(), &redis_url())).await;
}

/// Reserve most of it, report as much, and let the refund arrive: both together are the limit.
async fn reported_while_a_call_is_reserved(place: &str) {
    let (upstream, scene) = model_at(place).await;
    let (id, token) = scene.rich(5.0).await;
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(prompt("/v1/slow", &token, r#"{"model":"m","stream":true,"max_tokens":40000}"#)).await;
    assert!(client.until(b"delta").await.is_some(), "four dollars are reserved");
    let reported = scene.report(id, &token, r#"{"cost_usd": 4}"#, &[]).await;
    assert_eq!(reported.status, 200, "some may come back: {}", reported.text());
    // The purse is asked before the refund comes.
    let cheap = r#"{"model":"m","max_tokens":1000}"#;
    assert_eq!(told(&scene.prompt("/v1/silent", &token, cheap).await), (403, "BUDGET_EXCEEDED".to_owned()));
    assert!(client.until(b"[DONE]").await.is_some());
    scene.spends(id, 4.0 + COST).await;
    let dear = r#"{"model":"m","max_tokens":10000}"#;
    assert_eq!(told(&scene.prompt("/v1/silent", &token, dear).await), (403, "BUDGET_EXCEEDED".to_owned()));
    assert_eq!(upstream.count(), 1);
    assert_eq!(scene.prompt("/v1/silent", &token, r#"{"model":"m","max_tokens":9900}"#).await.status, 200);
}

#[tokio::test]
async fn a_refund_after_a_report_is_no_money_beside_it_in_memory() {
    reported_while_a_call_is_reserved("").await;
}

#[tokio::test]
async fn a_refund_after_a_report_is_no_money_beside_it_in_redis() {
    let place = Place::new().await;
    reported_while_a_call_is_reserved(&place.yaml(&place.store.address(), &redis_url())).await;
}

#[tokio::test]
async fn h3_who_hangs_up_before_the_answer_begins_pays_what_it_says() {
    let (upstream, scene) = model().await;
    let (id, token) = scene.rich(1.0).await;
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(prompt("/v1/late", &token, r#"{"model":"m","stream":true}"#)).await;
    until(SECOND * 3, "it is asked", async || upstream.count() == 1).await;
    drop(client);
    scene.spends(id, COST).await;
}

#[tokio::test]
async fn h3_what_has_no_bound_is_refused_by_name_and_not_sent() {
    let (upstream, scene) = model().await;
    let (id, token) = scene.rich(1.0).await;
    let content = json!([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]}).to_string();
    let refused = scene.prompt("/v1/json", &token, &body).await;
    assert_eq!(told(&refused), (403, "COST_UNKNOWN".to_owned()));
    assert_eq!(refused.json()["unpriced"], "image_url");
    let twice = scene.prompt("/v1/json", &token, r#"{"model":"m","Model":"dear"}"#).await;
    assert_eq!((told(&twice).0, &twice.json()["unpriced"]), (403, &json!("Model")));
    scene.spends(id, 0.0).await;
    assert_eq!(upstream.count(), 0);
}

/// Security bar 2.K 147.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_hang_up_nothing_stays_reserved() {
    let (upstream, scene) = model().await;
    let much = json!({"max_requests_per_minute": 1_000_000, "max_requests_total": 1_000_000, "max_failed_requests": 1_000_000});
    let (id, token) = scene.mint(&reader(&json!({"budget_limit_usd": 1000, "circuit_breaker": much}))).await;
    let text = prompt("/v1/stream", &token, r#"{"model":"m","stream":true}"#);
    let hang_up = async |n: usize| {
        let mut client = Client::connect(scene.gateway.public()).await;
        client.send(&text).await;
        match n % 3 {
            0 => drop(client.until(b"delta").await),
            // Somewhere before the answer begins.
            _ => tokio::time::sleep(Duration::from_millis(u64::try_from(n % 16).unwrap())).await,
        }
    };
    futures::stream::iter(0..times(200, 10_000)).for_each_concurrent(64, hang_up).await;
    let cost = |count: usize| json!(f64::from(u32::try_from(count * 3000).unwrap()) / 1e6);
    let path = format!("/ai/tokens/{id}/");
    let spent = async || scene.call("GET", &path, &Value::Null).await.json()["current_spend_usd"].clone();
    until(SECOND * 35, "each costs what its answer says", async || spent().await == cost(upstream.count()))
        .await;
    assert!(upstream.count() >= times(200, 10_000) / 3);
    let app = &scene.gateway.running.app;
    let found = agent::find(&app.db, agent::Reference::Number(Number(id))).await.unwrap().unwrap();
    let purse = app.shared.empty(&agent::purse_key(found.id)).await.unwrap();
    assert_eq!(purse.pending, MicroUsd::ZERO);
}
