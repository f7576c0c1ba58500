//! Calls of language models whose price is known only when they are answered: many at once on one
//! budget, and the answers of Anthropic (agents.md section 4; security bar 2.K).
//! Law: what is reserved and what is spent are never more than the limit together, and what an answer
//! did not cost can be spent again.

use std::sync::Arc;
use std::time::Duration;

use portcullis::agent::{self, Reference};
use portcullis::base::{MicroUsd, Number};
use portcullis::store::Dialect;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::agent::{Scene, YAML, bearer, scene};
use crate::agent_gate::{reader, told};
use crate::on_one_and_on_two;
use crate::support::people::{permission, request};
use crate::support::raw::Answer;
use crate::support::replica::{Replicas, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

fn route(style: &str, upstream: &Upstream) -> String {
    format!(
        "upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes: [ {{ name: models, match: {{ path: '/v1/**' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ llm: {style}, prices: {{ m: {{ input: 1, output: 100 }} }}, output_max: 500 }} }} }} ]
",
        upstream.address
    )
}

fn ask(token: &str, path: &str, body: &str) -> String {
    request("POST", path, &[bearer(token)], body)
}

/// What a call of [`PROMPT`] reserves: its 41 bytes as it is sent, and 500 tokens of 100 millionths.
const RESERVED: i64 = 41 + 50_000;
const PROMPT: &str = r#"{"model":"m"}"#;
/// What it costs then.
const COST: i64 = 3_000;
/// The limit: eight calls, and what the agent reports.
const LIMIT: i64 = 8 * RESERVED + 1;

/// Two gateways with an agent, and an upstream that answers when it is told to.
struct Crowd {
    upstream: Upstream,
    go: watch::Sender<bool>,
    replicas: Arc<Replicas>,
    lines: Vec<String>,
    id: i64,
    token: String,
}

impl Crowd {
    async fn on(dialect: Dialect) -> Self {
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":20}}"#;
        let Act::Answer(answer) = Act::with("Content-Type: application/json\r\n", usage) else {
            panic!("an answer")
        };
        let (go, gone) = watch::channel(false);
        let upstream = Upstream::start(move |_| Act::When(gone.clone(), answer.clone())).await;
        let yaml = format!("{YAML}{}", route("openai", &upstream));
        let replicas = Arc::new(Replicas::on(dialect, &yaml).await);
        let here = &replicas.here;
        let keys = here.application("web", &[]).await;
        let ada = here.user("ada", &keys).await;
        here.grant(ada.id, permission("reports")).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        let much = json!({"max_requests_per_minute": 1_000_000, "max_requests_total": 1_000_000});
        let dollars = f64::from(i32::try_from(LIMIT).unwrap()) / 1e6;
        let mint = reader(&json!({"budget_limit_usd": dollars, "circuit_breaker": much}));
        let minted = here.call("POST", "/ai/tokens/", &lines, &mint).await.json();
        let (id, token) = (minted["id"].as_i64().unwrap(), minted["token"].as_str().unwrap().to_owned());
        Self { upstream, go, replicas, lines, id, token }
    }

    /// What people see on each gateway: millionths that are spent. The token is never suspended.
    async fn looked_at(&self) -> i64 {
        let mut most = 0;
        for number in 0..2 {
            let path = format!("/ai/tokens/{}/", self.id);
            let shown = self.replicas.nth(number).call("GET", &path, &self.lines, &Value::Null).await.json();
            assert_eq!(shown["status"], "ACTIVE", "{shown}");
            let spent = MicroUsd::parse(&shown["current_spend_usd"].to_string()).unwrap().as_micros();
            assert!(spent <= LIMIT, "{spent} of {LIMIT}");
            most = most.max(spent);
        }
        most
    }

    /// So many calls at once, of which `room` are sent before any of them is answered.
    async fn wave(&self, calls: usize, room: usize, meanwhile: impl AsyncFnOnce(&Self)) {
        let before = self.upstream.count();
        let all: Vec<_> = (0..calls)
            .map(|number| {
                let (address, text) =
                    (self.replicas.nth(number).public(), ask(&self.token, "/v1/json", PROMPT));
                spawn(async move { exchange(address, text).await.expect("an answer") })
            })
            .collect();
        let is_told = async || {
            self.looked_at().await;
            all.iter().filter(|one| one.is_finished()).count() >= calls - room
        };
        until(20 * SECOND, "what does not fit is refused", is_told).await;
        meanwhile(self).await;
        assert_eq!(self.upstream.count() - before, room, "all that fits, and nothing more");
        self.go.send_replace(true);
        let mut passed = 0;
        for one in all {
            let answer = one.await.unwrap();
            match answer.status {
                200 => passed += 1,
                _ => assert_eq!(told(&answer), (403, "BUDGET_EXCEEDED".to_owned()), "{}", answer.text()),
            }
        }
        self.go.send_replace(false);
        assert_eq!((passed, self.upstream.count() - before), (room, room));
    }

    async fn spends(&self, micros: i64) {
        until(5 * SECOND, &format!("{micros} are spent"), async || self.looked_at().await == micros).await;
    }

    /// The agent says that it spent a millionth elsewhere.
    async fn reports(&self) -> Answer {
        let path = format!("/ai/tokens/{}/report-usage/", self.id);
        let body = json!({"cost_usd": 0.000_001});
        self.replicas.nth(1).call("POST", &path, &[bearer(&self.token)], &body).await
    }
}

on_one_and_on_two! {
    async fn of_many_calls_at_once_those_are_sent_that_fit_and_what_comes_back_is_spent_again(dialect: Dialect) {
        let crowd = Crowd::on(dialect).await;
        crowd.wave(64, 8, async |crowd| {
            assert_eq!(crowd.looked_at().await, 8 * RESERVED, "what is reserved counts as spent");
            let reported = crowd.reports().await;
            assert_eq!(reported.status, 200, "most of it comes back: {}", reported.text());
            assert_eq!(crowd.looked_at().await, LIMIT);
        }).await;
        crowd.spends(8 * COST + 1).await;
        // What came back is room for seven, twice.
        crowd.wave(64, 7, async |_| {}).await;
        crowd.spends(15 * COST + 1).await;
        crowd.wave(64, 7, async |_| {}).await;
        crowd.spends(22 * COST + 1).await;
        let app = &crowd.replicas.here.running.app;
        let found = agent::find(&app.db, Reference::Number(Number(crowd.id))).await.unwrap().unwrap();
        let purse = app.shared.empty(&agent::purse_key(found.id)).await.unwrap();
        assert_eq!(purse.pending, MicroUsd::ZERO, "nothing stays reserved");
    }
}

const BEGIN: &str = r#"{"type":"message_start","message":{"usage":{"input_tokens":1000,"output_tokens":1}}}"#;
const TEXT: &str = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"hello"}}"#;
const END: &str = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":20}}"#;

/// A model of Anthropic: in JSON, as a stream, and as one that breaks off before it says its usage.
async fn claude() -> (Upstream, Scene, i64, String) {
    let upstream = Upstream::start(|seen| {
        let usage = r#"{"type":"message","content":[],"usage":{"input_tokens":1000,"output_tokens":20}}"#;
        if seen.target() == "/v1/json" {
            return Act::with("Content-Type: application/json\r\n", usage);
        }
        let event = |name: &str, data: &str| {
            let text = format!("event: {name}\ndata: {data}\n\n");
            format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut pieces = vec![
            (Duration::ZERO, head.as_bytes().to_vec()),
            (Duration::ZERO, event("message_start", BEGIN)),
            (Duration::ZERO, event("content_block_delta", TEXT)),
        ];
        if seen.target() == "/v1/stream" {
            pieces.extend([
                (SECOND / 2, event("message_delta", END)),
                (Duration::ZERO, event("message_stop", r#"{"type":"message_stop"}"#)),
            ]);
        }
        pieces.push((Duration::ZERO, b"0\r\n\r\n".to_vec()));
        Act::Pieces(pieces)
    })
    .await;
    let scene = scene(&route("anthropic", &upstream)).await;
    let (id, token) = scene.mint(&reader(&json!({"budget_limit_usd": 1}))).await;
    (upstream, scene, id, token)
}

impl Scene {
    /// In millionths.
    async fn has_spent(&self, id: i64, micros: i64) {
        let path = format!("/ai/tokens/{id}/");
        let spent = async || {
            let shown = self.call("GET", &path, &Value::Null).await.json();
            MicroUsd::parse(&shown["current_spend_usd"].to_string()).unwrap().as_micros()
        };
        until(3 * SECOND, &format!("{micros} are spent"), async || spent().await == micros).await;
    }
}

#[tokio::test]
async fn what_claude_answers_in_json_is_what_its_call_costs() {
    let (upstream, scene, id, token) = claude().await;
    let body = r#"{"model":"m","max_tokens":500}"#;
    let answer = exchange(scene.gateway.public(), ask(&token, "/v1/json", body)).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = i64::try_from(upstream.last().body.len()).unwrap();
    let left = format!("0.{}", 1_000_000 - sent - 50_000);
    assert_eq!(answer.header("x-budget-remaining"), Some(left.as_str()), "all of it is reserved first");
    scene.has_spent(id, COST).await;
}

#[tokio::test]
async fn a_stream_of_claude_is_charged_by_its_beginning_and_its_end() {
    let (_upstream, scene, id, token) = claude().await;
    let text = ask(&token, "/v1/stream", r#"{"model":"m","max_tokens":500,"stream":true}"#);
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(&text).await;
    assert!(client.until(b"text_delta").await.is_some(), "nothing waits for the usage");
    assert!(client.until(b"message_stop").await.is_some());
    scene.has_spent(id, COST).await;
    let mut leaving = Client::connect(scene.gateway.public()).await;
    leaving.send(&text).await;
    assert!(leaving.until(b"text_delta").await.is_some());
    drop(leaving);
    scene.has_spent(id, 2 * COST).await;
}

#[tokio::test]
async fn a_stream_of_claude_that_never_says_how_it_ended_costs_what_was_reserved() {
    let (upstream, scene, id, token) = claude().await;
    let text = ask(&token, "/v1/broken", r#"{"model":"m","max_tokens":500,"stream":true}"#);
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(&text).await;
    assert!(client.until(b"0\r\n\r\n").await.is_some(), "the stream itself is whole");
    scene.has_spent(id, i64::try_from(upstream.last().body.len()).unwrap() + 50_000).await;
}
