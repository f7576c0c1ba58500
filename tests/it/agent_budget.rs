//! The budget of agent tokens (agents.md section 4; T7; security bar 2.K).
//! Law: committed and reserved money together are never more than the limit, whoever counts,
//! however many ask at once, and whatever dies in between.

use std::sync::Arc;
use std::time::Duration;

use portcullis::agent;
use portcullis::base::Number;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{reader, routes, told, with_upstream};
use crate::agent_total::Storm;
use crate::on_one_and_on_two;
use crate::support::people::request;
use crate::support::raw::Answer;
use crate::support::replica::{Place, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Upstream, exchange, times};

const SECOND: Duration = Duration::from_secs(1);

fn budget(dollars: &Value) -> Value {
    reader(&json!({"budget_limit_usd": dollars}))
}

impl Scene {
    async fn spend_of(&self, id: i64) -> Value {
        let shown = self.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
        shown["current_spend_usd"].clone()
    }
}

on_one_and_on_two! {
    async fn t7_of_many_at_once_exactly_five_dollars_of_five_are_spent(dialect: Dialect) {
        let more = json!({"budget_limit_usd": 5.00, "circuit_breaker": {"max_requests_per_minute": 600}});
        for round in 0..times(1, 20) {
            let storm = Storm::at("/priced/7", dialect, 64, &more).await;
            assert_eq!((storm.passed, storm.upstream.count()), (50, 50), "round {round}");
            let refused = storm.replicas.there.send("GET", "/priced/7", &[bearer(&storm.secret)]).await;
            assert_eq!(refused.status, 403, "{}", refused.text());
            let shown = storm.shown().await;
            let spent = (&shown["current_spend_usd"], &shown["current_request_count"]);
            assert_eq!(spent, (&json!(5.0), &json!(50)), "round {round}");
            let state = (&shown["status"], &shown["suspended_reason"]);
            assert_eq!(state, (&json!("SUSPENDED"), &json!("BUDGET_EXCEEDED")), "round {round}");
            assert_eq!(storm.suspensions().await, 1, "one event, one row");
        }
    }

    async fn t7_a_budget_that_is_no_multiple_of_the_price_is_never_passed(dialect: Dialect) {
        let more = json!({"budget_limit_usd": 1.2, "circuit_breaker": {"max_requests_per_minute": 600}});
        for round in 0..times(1, 20) {
            let storm = Storm::at("/dear", dialect, 32, &more).await;
            assert_eq!((storm.passed, storm.upstream.count()), (3, 3), "round {round}");
            let shown = storm.shown().await;
            assert_eq!((&shown["current_spend_usd"], &shown["status"]), (&json!(1.05), &json!("ACTIVE")));
            let cheaper = storm.replicas.here.send("GET", "/priced/7", &[bearer(&storm.secret)]).await;
            assert_eq!((cheaper.status, cheaper.header("x-budget-remaining")), (200, Some("0.050000")));
        }
    }

    async fn t7_reports_at_once_beside_requests_are_all_counted_and_a_key_once(dialect: Dialect) {
        let more = json!({"budget_limit_usd": 5.00, "circuit_breaker": {"max_requests_per_minute": 600}});
        let storm = Storm::at("/priced/7", dialect, 0, &more).await;
        let all: Vec<_> = (0..64)
            .map(|number| {
                let (replicas, agent) = (Arc::clone(&storm.replicas), bearer(&storm.secret));
                let path = format!("/ai/tokens/{}/report-usage/", storm.token);
                spawn(async move {
                    // Every other pair of them on another gateway, so that each does everything.
                    let gateway = replicas.nth(number / 4);
                    let keyed = [agent.clone(), "Idempotency-Key: run-1".to_owned()];
                    let done = match number % 4 {
                        0 | 1 => gateway.call("POST", &path, &[agent], &json!({"cost_usd": 0.007})).await,
                        2 => gateway.call("POST", &path, &keyed, &json!({"cost_usd": 0.03})).await,
                        _ => gateway.send("GET", "/priced/7", &[agent]).await,
                    };
                    (done.status, done.text())
                })
            })
            .collect();
        for (number, one) in all.into_iter().enumerate() {
            let (status, text) = one.await.unwrap();
            assert_eq!(status, 200, "{number}: {text}");
        }
        // 32 reports, one with a key, 16 requests.
        let shown = storm.shown().await;
        assert_eq!((&shown["current_spend_usd"], &shown["status"]), (&json!(1.854), &json!("ACTIVE")));
        assert_eq!(storm.upstream.count(), 16);
        let next = storm.replicas.there.send("GET", "/priced/7", &[bearer(&storm.secret)]).await;
        assert_eq!(next.status, 200, "{}", next.text());
        assert_eq!(storm.shown().await["current_spend_usd"], json!(1.954));
    }
}

#[tokio::test]
async fn an_answer_of_a_server_that_failed_says_what_is_left_too() {
    let failing = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::start(|_| Act::Answer(failing.as_bytes().to_vec())).await;
    let scene = scene(&routes(&upstream)).await;
    let (id, token) = scene.mint(&budget(&json!(1))).await;
    let failed = scene.ask("/priced/1", &token, &[]).await;
    assert_eq!((failed.status, failed.header("x-budget-remaining")), (500, Some("0.900000")));
    assert_eq!(scene.spend_of(id).await, json!(0.1), "it was sent");
}

#[tokio::test]
async fn every_metered_answer_says_what_is_left_and_the_last_one_suspends() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&budget(&json!(0.55))).await;
    for left in ["0.450000", "0.350000", "0.250000"] {
        let answer = scene.ask("/priced/1", &token, &[]).await;
        assert_eq!((answer.status, answer.header("x-budget-remaining")), (200, Some(left)));
    }
    let free = scene.ask("/reports/1", &token, &[]).await;
    assert_eq!((free.status, free.header("x-budget-remaining")), (200, None), "it costs nothing");
    let dear = scene.ask("/dear", &token, &[]).await;
    assert_eq!(told(&dear), (403, "BUDGET_EXCEEDED".to_owned()));
    assert_eq!((&dear.json()["required"], &dear.json()["remaining"]), (&json!(0.35), &json!(0.25)));
    assert_eq!(dear.header("x-budget-remaining"), Some("0.250000"));
    assert_eq!(scene.state(id).await.0, "ACTIVE", "something cheaper may pass");
    for _ in 0..2 {
        assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    }
    assert_eq!(scene.spend_of(id).await, json!(0.5));
    assert_eq!(told(&scene.ask("/priced/1", &token, &[]).await), (403, "BUDGET_EXCEEDED".to_owned()));
    let (id, token) = scene.mint(&budget(&json!(0.1))).await;
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    let over = scene.ask("/priced/1", &token, &[]).await;
    assert_eq!(told(&over), (403, "AGENT_TOKEN_SUSPENDED".to_owned()));
    let body = over.json();
    assert_eq!(
        (&body["reason"], &body["required"], &body["remaining"]),
        (&json!("BUDGET_EXCEEDED"), &json!(0.1), &json!(0.0))
    );
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("BUDGET_EXCEEDED")));
    assert_eq!(scene.gateway.metric("portcullis_agent_suspensions_total{reason=\"BUDGET_EXCEEDED\"}"), 1);
    assert_eq!(upstream.count(), 7);
}

#[tokio::test]
async fn a_token_without_a_budget_is_refused_where_it_costs_and_stays_active() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({}))).await;
    let refused = scene.ask("/priced/1", &token, &[]).await;
    assert_eq!(told(&refused), (403, "BUDGET_REQUIRED".to_owned()));
    assert_eq!((&refused.json()["required"], &refused.json()["remaining"]), (&json!(0.1), &json!(0.0)));
    assert_eq!(scene.state(id).await.0, "ACTIVE");
    assert_eq!(scene.ask("/reports/1", &token, &[]).await.status, 200);
    assert_eq!((upstream.count(), scene.spend_of(id).await), (1, json!(0.0)));
}

#[tokio::test]
async fn what_was_never_sent_costs_nothing_and_what_failed_after_does() {
    let (_upstream, scene) = with_upstream().await;
    let more = json!({"budget_limit_usd": 0.2, "circuit_breaker": {"max_failed_requests": 10}});
    let (id, token) = scene.mint(&reader(&more)).await;
    for path in ["/people", "/invoices"] {
        assert_eq!(scene.ask(path, &token, &[]).await.status, 403);
    }
    assert_eq!(scene.spend_of(id).await, json!(0.0), "refused before it was sent");
    assert_eq!(scene.ask("/gone", &token, &[]).await.status, 502);
    until(SECOND, "nothing was sent", async || scene.spend_of(id).await == json!(0.0)).await;
    scene.gateway.send("POST", "/gone", &[bearer(&token)]).await;
    until(SECOND, "it is said", async || !scene.rows("agent_cost_settled").await.is_empty()).await;
    let detail = &scene.rows("agent_cost_settled").await[0].personal["detail"];
    assert_eq!((&detail["cost_usd"], &detail["basis"]), (&json!(0.0), &json!("unsent")));
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    assert_eq!(scene.spend_of(id).await, json!(0.2));
}

#[tokio::test]
async fn a_lower_budget_binds_although_a_chunk_of_the_higher_one_was_handed_out() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&budget(&json!(100))).await;
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    let narrowed = scene.call("PUT", &format!("/ai/tokens/{id}/"), &json!({"budget_limit_usd": 0.3})).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text());
    let mut passed = 1;
    for _ in 0..5 {
        passed += usize::from(scene.ask("/priced/1", &token, &[]).await.status == 200);
    }
    assert_eq!((passed, upstream.count()), (3, 3));
    assert_eq!(scene.spend_of(id).await, json!(0.3));
}

#[tokio::test]
async fn what_a_request_cost_is_in_the_trail() {
    let (_upstream, scene) = with_upstream().await;
    let token = scene.mint(&budget(&json!(1))).await.1;
    scene.gateway.send("POST", "/priced/1", &[bearer(&token)]).await;
    scene.gateway.send("POST", "/reports/1", &[bearer(&token)]).await;
    until(SECOND, "two rows", async || scene.rows("agent_action").await.len() == 2).await;
    let rows = scene.rows("agent_action").await;
    assert_eq!(rows[0].personal["detail"]["cost_usd"], json!(0.1));
    assert_eq!(rows[1].personal["detail"].get("cost_usd"), None);
}

impl Scene {
    /// A report as the agent writes it.
    pub async fn report(&self, id: i64, token: &str, body: &str, more: &[&str]) -> Answer {
        let mut lines = vec![bearer(token)];
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        let text = request("POST", &format!("/api/v1/auth/ai/tokens/{id}/report-usage/"), &lines, body);
        exchange(self.gateway.public(), text).await.expect("an answer")
    }
}

#[tokio::test]
async fn t6_reports_add_up_to_the_true_amount_and_then_suspend() {
    let (_upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&budget(&json!(5))).await;
    // Some of it lies in the purse.
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    let seeds = r#"{ "cost_usd": 0.042, "prompt_tokens": 1500, "completion_tokens": 200 }"#;
    let ok = scene.report(id, &token, seeds, &[]).await;
    assert_eq!((ok.status, ok.json()), (200, json!({"status": "ok"})));
    assert_eq!(scene.report(id, &token, "{}", &[]).await.status, 200);
    assert_eq!(scene.spend_of(id).await, json!(0.142));
    let left = scene.ask("/priced/1", &token, &[]).await;
    assert_eq!((left.status, left.header("x-budget-remaining")), (200, Some("4.758000")));
    assert_eq!(scene.report(id, &token, r#"{"cost_usd": 4.757999}"#, &[]).await.status, 200);
    let over = scene.report(id, &token, r#"{"cost_usd": 1e3}"#, &[]).await;
    assert_eq!(over.status, 403, "{}", over.text());
    let told = over.json();
    assert_eq!((&told["error"], &told["status"]), (&json!("Budget exceeded"), &json!("suspended")));
    assert_eq!(scene.spend_of(id).await, json!(1_004.999_999));
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("BUDGET_EXCEEDED")));
    assert_eq!(scene.rows("agent_token_suspended").await.len(), 1);
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 403);
}

#[tokio::test]
async fn t6_what_is_no_amount_is_refused_and_spends_nothing() {
    let (_upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&budget(&json!(5))).await;
    for amount in [
        "-1",
        "-0.0",
        "-1e-9",
        "NaN",
        "Infinity",
        "1e309",
        "1e10",
        "\"0.1\"",
        "null",
        "true",
        "[1]",
        "01",
        ".5",
        "1000000000.0000001",
        "1000000000000000000",
    ] {
        let answer = scene.report(id, &token, &format!("{{\"cost_usd\": {amount}}}"), &[]).await;
        assert_eq!(answer.status, 400, "{amount}: {}", answer.text());
    }
    assert_eq!(scene.report(id, &token, r#"{"prompt_tokens": -1}"#, &[]).await.status, 400);
    assert_eq!(scene.spend_of(id).await, json!(0.0));
    assert_eq!(scene.report(id, &token, r#"{"cost_usd": 1e-30}"#, &[]).await.status, 200);
    assert_eq!(scene.spend_of(id).await, json!(0.000_001), "rounded up");
}

#[tokio::test]
async fn t6_a_report_with_a_key_counts_once() {
    let (_upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&budget(&json!(5))).await;
    for _ in 0..3 {
        let answer = scene.report(id, &token, r#"{"cost_usd": 0.5}"#, &["Idempotency-Key: run-1"]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(scene.spend_of(id).await, json!(0.5));
    let other = scene.report(id, &token, r#"{"cost_usd": 0.6}"#, &["Idempotency-Key: run-1"]).await;
    assert_eq!(told(&other), (409, "IDEMPOTENCY_KEY_REUSED".to_owned()));
    assert_eq!(
        scene.report(id, &token, r#"{"cost_usd": 0.5}"#, &["Idempotency-Key: run-2"]).await.status,
        200
    );
    assert_eq!(scene.report(id, &token, r#"{"cost_usd": 0.5}"#, &[]).await.status, 200);
    assert_eq!(scene.spend_of(id).await, json!(1.5));
    let (other, secret) = scene.mint(&budget(&json!(5))).await;
    let stranger = scene.report(id, &secret, r#"{"cost_usd": 1}"#, &[]).await;
    assert_eq!(told(&stranger), (403, "AGENT_NOT_ALLOWED".to_owned()));
    let human =
        scene.call("POST", &format!("/ai/tokens/{other}/report-usage/"), &json!({"cost_usd": 1})).await;
    assert_eq!(human.status, 401);
    assert_eq!((scene.spend_of(id).await, scene.spend_of(other).await), (json!(1.5), json!(0.0)));
}

#[tokio::test]
async fn reports_count_as_no_requests_and_have_a_limit_of_their_own() {
    let (_upstream, scene) = with_upstream().await;
    let more = json!({"circuit_breaker": {"max_requests_per_minute": 1, "max_requests_total": 1}});
    let (id, token) = scene.mint(&reader(&more)).await;
    for _ in 0..60 {
        assert_eq!(scene.report(id, &token, "{}", &[]).await.status, 200);
    }
    let slow = scene.report(id, &token, "{}", &[]).await;
    assert_eq!((slow.status, slow.header("retry-after").is_some()), (429, true));
    assert_eq!(scene.ask("/reports/1", &token, &[]).await.status, 200);
    assert_eq!(scene.state(id).await.0, "ACTIVE");
}

#[tokio::test]
async fn people_read_what_their_own_agents_used_by_day() {
    let (_upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&budget(&json!(5))).await;
    for path in ["/priced/1", "/priced/2", "/reports/1"] {
        assert_eq!(scene.ask(path, &token, &[]).await.status, 200);
    }
    assert_eq!(scene.report(id, &token, r#"{"cost_usd": 0.25}"#, &[]).await.status, 200);
    let used = async || scene.call("GET", "/ai/usage/", &Value::Null).await.json();
    until(SECOND * 3, "written", async || used().await["tokens"][0]["days"][0]["requests"] == 3).await;
    let used = used().await;
    let token = &used["tokens"][0];
    assert_eq!((&token["id"], &token["current_spend_usd"]), (&json!(id), &json!(0.45)));
    let day = json!({"day": used["to"], "requests": 3, "spend_usd": 0.2, "reported_usd": 0.25});
    assert_eq!(token["days"], json!([day]));
    assert_eq!(scene.call("GET", "/ai/usage/?days=0", &Value::Null).await.status, 400);
    let bob = scene.gateway.user("bob", &scene.keys).await;
    let others = scene.gateway.call("GET", "/ai/usage/", &scene.lines(&bob), &Value::Null).await;
    assert_eq!(others.json()["tokens"], json!([]));
}

#[tokio::test]
async fn each_agent_and_each_day_stands_for_itself_and_older_days_are_cut_off() {
    const DAY: Duration = Duration::from_hours(24);
    let upstream = Upstream::echo().await;
    let mut scene = scene(&format!("agents: {{ max_lifetime: 72h }}\n{}", routes(&upstream))).await;
    let ask = reader(&json!({"budget_limit_usd": 5, "expires_in": 3 * DAY.as_secs()}));
    let (old, first) = scene.mint(&ask).await;
    assert_eq!(scene.ask("/priced/1", &first, &[]).await.status, 200);
    let used = async |scene: &Scene, query: &str| {
        scene.call("GET", &format!("/ai/usage/{query}"), &Value::Null).await.json()
    };
    let days = |used: &Value, id: i64| {
        let tokens = used["tokens"].as_array().expect("a list");
        tokens.iter().find(|token| token["id"] == id).map(|token| token["days"].clone())
    };
    let of = |day: &Value, requests: u32, spend: f64| json!({"day": day, "requests": requests, "spend_usd": spend, "reported_usd": 0.0});
    let before = used(&scene, "").await["to"].clone();
    let alone = Some(json!([of(&before, 1, 0.1)]));
    until(SECOND * 3, "written", async || days(&used(&scene, "").await, old) == alone).await;
    scene.clock.advance(DAY);
    scene.ada = scene.gateway.log_in("ada", scene.ada.id, &scene.keys).await;
    let (new, second) = scene.mint(&ask).await;
    for token in [&first, &first, &second] {
        assert_eq!(scene.ask("/priced/1", token, &[]).await.status, 200);
    }
    let after = used(&scene, "").await["to"].clone();
    let both = (Some(json!([of(&after, 2, 0.2), of(&before, 1, 0.1)])), Some(json!([of(&after, 1, 0.1)])));
    let told = async |query: &str| {
        let used = used(&scene, query).await;
        (days(&used, old), days(&used, new))
    };
    until(SECOND * 3, "written", async || told("").await == both).await;
    assert_eq!(told("?days=2").await, both);
    assert_eq!(told("?days=1").await, (Some(json!([of(&after, 2, 0.2)])), both.1));
}

#[tokio::test]
async fn a_gateway_that_stops_gives_back_what_was_not_spent() {
    let upstream = Upstream::echo().await;
    let place = Place::on(Dialect::Sqlite).await;
    let scene =
        scene(&format!("{}{}", place.yaml(&place.store.address(), "memory"), routes(&upstream))).await;
    let (id, token) = scene.mint(&budget(&json!(100))).await;
    assert_eq!(scene.ask("/priced/1", &token, &[]).await.status, 200);
    let granted = async || {
        let db = place.store.another().await;
        agent::find(&db, agent::Reference::Number(Number(id))).await.unwrap().unwrap().granted
    };
    assert_eq!(granted().await.money.to_string(), "5.000000", "a chunk");
    scene.gateway.running.abort().await;
    let left = granted().await;
    assert_eq!((left.requests, left.money.to_string()), (1, "0.100000".to_owned()));
}
