//! The requests of an agent token's whole life (agents.md section 4; T7).
//! Law: exactly as many reach the upstream as were delegated, whoever counts and however many ask
//! at once.

use std::sync::Arc;

use portcullis::audit::{self, Row};
use portcullis::base::Id;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{bearer, scene};
use crate::agent_gate::{reader, routes, told, with_upstream};
use crate::on_one_and_on_two;
use crate::support::people::{TRUSTING, permission};
use crate::support::upstream::spawn;
use crate::support::{Act, Replicas, Upstream, times};

/// Many requests of one agent at once, on one gateway or on two.
pub struct Storm {
    pub replicas: Arc<Replicas>,
    pub upstream: Upstream,
    /// The account behind the agent, and the number of its token.
    pub account: Id,
    pub token: i64,
    /// How many got through.
    pub passed: usize,
    pub secret: String,
    lines: Vec<String>,
}

impl Storm {
    pub async fn of(dialect: Dialect, calls: usize, breaker: &Value) -> Self {
        Self::at("/reports/7", dialect, calls, &json!({"circuit_breaker": breaker})).await
    }

    /// The same at some path, with what else is asked of the token.
    pub async fn at(path: &'static str, dialect: Dialect, calls: usize, more: &Value) -> Self {
        let upstream = Upstream::echo().await;
        let definitions = "permissions: [ { code: reports }, { code: reports.read, parent: reports } ]\n\
                           organizations: { roles: [ { code: finance, permissions: ['write:invoices'] } ] }";
        let yaml = format!("{TRUSTING}{definitions}\n{}", routes(&upstream));
        let replicas = Arc::new(Replicas::on(dialect, &yaml).await);
        let keys = replicas.here.application("web", &[]).await;
        let ada = replicas.here.user("ada", &keys).await;
        replicas.here.grant(ada.id, permission("reports")).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        let body = reader(more);
        let minted = replicas.here.call("POST", "/ai/tokens/", &lines, &body).await.json();
        let secret = minted["token"].as_str().unwrap();
        let all: Vec<_> = (0..calls)
            .map(|number| {
                let (replicas, secret) = (Arc::clone(&replicas), bearer(secret));
                spawn(async move { replicas.nth(number).send("GET", path, &[secret]).await.status })
            })
            .collect();
        let mut passed = 0;
        for one in all {
            passed += usize::from(one.await.unwrap() == 200);
        }
        let token = minted["id"].as_i64().unwrap();
        Self { replicas, upstream, account: ada.id, token, passed, lines, secret: secret.to_owned() }
    }

    /// The token as its human sees it.
    pub async fn shown(&self) -> Value {
        let path = format!("/ai/tokens/{}/", self.token);
        self.replicas.here.call("GET", &path, &self.lines, &Value::Null).await.json()
    }

    /// How often the token was suspended, by the rows of the trail.
    pub async fn suspensions(&self) -> usize {
        let rows = audit::tail(&self.replicas.here.running.app.db, 0, 10_000).await.unwrap();
        let is_one = |row: &&Row| row.code == "agent_token_suspended" && row.account == Some(self.account);
        rows.iter().filter(is_one).count()
    }
}

on_one_and_on_two! {
    async fn t7_of_many_at_once_exactly_as_many_pass_as_are_left(dialect: Dialect) {
        // Not a multiple of the chunk, which is two here.
        let breaker = json!({"max_requests_per_minute": 600, "max_requests_total": 41});
        for round in 0..times(1, 20) {
            let storm = Storm::of(dialect, 100, &breaker).await;
            let seen = (storm.passed, storm.upstream.count(), storm.suspensions().await);
            assert_eq!(seen, (41, 41, 1), "round {round}");
            let shown = storm.shown().await;
            let told = (&shown["current_request_count"], &shown["suspended_reason"]);
            assert_eq!(told, (&json!(41), &json!("RATE_LIMIT")), "round {round}");
        }
    }
}

#[tokio::test]
async fn t7_what_a_server_broke_off_is_not_sent_a_second_time_for_one_count() {
    let upstream = Upstream::start(|_| Act::Close).await;
    let scene = scene(&routes(&upstream)).await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 502);
    assert_eq!(upstream.count(), 1, "a person's request may be repeated, an agent's is counted once");
}

#[tokio::test]
async fn t7_the_last_request_passes_and_the_next_one_suspends() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({"circuit_breaker": {"max_requests_total": 2}}))).await;
    for _ in 0..2 {
        assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    }
    let over = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&over), (403, "AGENT_TOKEN_SUSPENDED".to_owned()));
    assert_eq!(over.json()["reason"], "MAX_REQUESTS_TOTAL_EXCEEDED");
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("RATE_LIMIT")));
    // A resume makes no new requests.
    scene.call("POST", &format!("/ai/tokens/{id}/resume/"), &Value::Null).await;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 403);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn t7_refused_requests_spend_nothing_of_the_total_and_none_means_none() {
    let (upstream, scene) = with_upstream().await;
    let (_, token) = scene.mint(&reader(&json!({"circuit_breaker": {"max_requests_total": 1}}))).await;
    for path in ["/people", "/invoices", "/people"] {
        assert_eq!(scene.ask(path, &token, &[]).await.status, 403);
    }
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    let (_, token) = scene.mint(&reader(&json!({"circuit_breaker": {"max_requests_total": 0}}))).await;
    assert_eq!(told(&scene.ask("/reports/7", &token, &[]).await), (403, "AGENT_TOKEN_SUSPENDED".to_owned()));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn t7_a_lower_total_binds_although_a_chunk_of_the_higher_one_was_handed_out() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({"circuit_breaker": {"max_requests_total": 200}}))).await;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    let narrowed = scene
        .call("PUT", &format!("/ai/tokens/{id}/"), &json!({"circuit_breaker": {"max_requests_total": 3}}))
        .await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text());
    let mut passed = 1;
    for _ in 0..5 {
        passed += usize::from(scene.ask("/reports/7", &token, &[]).await.status == 200);
    }
    assert_eq!((passed, upstream.count()), (3, 3));
}
