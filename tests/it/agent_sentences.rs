//! Sentences of the design of agents that no other test shows: credentials of the other kind, traces that
//! are no names, organizations that are named twice, who decides about what (T5, T6, T16; security bar 2.I
//! 115, 117, 120, 121, 2.K 137).
//! Law: each of them fails where it is not so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::bearer;
use crate::agent_gate::{reader, told, with_upstream};
use crate::agent_hold::{self, PENDING};
use crate::support::replica::until;

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_persons_token_is_no_agents_and_an_agents_is_no_persons() {
    let (upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    let ada = &scene.ada.access;
    for (line, status) in [
        (format!("AgentBearer {ada}"), [401, 403]),
        (format!("Bearer {token}"), [401, 401]),
        (format!("Bearer AgentBearer {token}"), [401, 401]),
        (format!("AgentBearer Bearer {ada}"), [401, 403]),
        (format!("AgentBearer {token} {token}"), [401, 403]),
    ] {
        for path in ["/reports/7", "/people"] {
            let answer = scene.gateway.send("GET", path, &[format!("Authorization: {line}")]).await;
            assert!(status.contains(&answer.status), "{line} {path}: {} {}", answer.status, answer.text());
        }
    }
    let both = [scene.ada.bearer(), bearer(&token)];
    assert_eq!(scene.gateway.send("GET", "/reports/7", &both).await.status, 400, "one of them, not both");
    assert_eq!(upstream.count(), 0);
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
}

#[tokio::test]
async fn a_trace_that_is_no_name_goes_nowhere_and_a_long_name_goes_everywhere_but_to_metrics() {
    let (upstream, scene) = with_upstream().await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    let ask = async |trace: &str| {
        let lines = [bearer(&token), format!("X-Prompt-Trace-ID: {trace}")];
        scene.gateway.send("POST", "/reports/7", &lines).await.status
    };
    let too_long = "x".repeat(129);
    let odd = [&*too_long, "a b", r#"{"a":1}"#, "a;b", "a/b", "a.b", "caf\u{e9}", "a,b", "%41", "\"a\""];
    for (number, trace) in odd.iter().enumerate() {
        assert_eq!(ask(trace).await, 200, "{trace}");
        assert_eq!(upstream.last().header("x-prompt-trace-id"), None, "{trace}");
        assert_eq!(upstream.count(), number + 1);
    }
    let name = "trace-of_a-prompt".to_owned() + &"7".repeat(128 - 17);
    assert_eq!(ask(&name).await, 200);
    assert_eq!(upstream.last().header("x-prompt-trace-id"), Some(&*name));
    until(SOON, "all rows", async || scene.rows("agent_action").await.len() == odd.len() + 1).await;
    let rows = scene.rows("agent_action").await;
    let traces: Vec<&Value> = rows.iter().map(|row| &row.personal["detail"]["trace"]).collect();
    assert!(traces[..odd.len()].iter().all(|trace| trace.is_null()), "{traces:?}");
    assert_eq!(traces[odd.len()], &json!(name));
    let metrics = scene.gateway.running.app.metrics.render();
    assert!(!metrics.contains("trace-of_a-prompt") && !metrics.contains(&too_long), "never a label");
}

#[tokio::test]
async fn an_organization_that_is_named_twice_is_none() {
    let (upstream, scene) = with_upstream().await;
    let body = json!({"permissions": ["write:invoices"], "organization": "acme-corp"});
    let token = scene.mint(&body).await.1;
    for lines in
        [["X-Org-Slug: acme-corp", "X-Org-Slug: other"], ["X-Org-Slug: acme-corp", "x-org-slug: acme-corp"]]
    {
        assert_eq!(scene.ask("/invoices", &token, &lines).await.status, 400, "{lines:?}");
    }
    for other in ["X-Org-Slug: acme", "X-Org-Slug: acme-corp2", "X-Org-Slug: other"] {
        let refused = scene.ask("/invoices", &token, &[other]).await;
        assert_eq!(told(&refused), (403, "ORG_MISMATCH".to_owned()), "{other}");
        assert_eq!(refused.json()["failed"], "organization", "{other}");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(scene.ask("/invoices", &token, &["X-Org-Slug: acme-corp"]).await.status, 200);
}

#[tokio::test]
async fn t16_no_sign_of_life_revives_what_is_over() {
    let (upstream, scene) = with_upstream().await;
    let alive = json!({"dead_mans_switch": {"heartbeat_required_every": 300}});
    let brief = json!({"expires_in": 5, "dead_mans_switch": {"heartbeat_required_every": 300}});
    for (end, more, state) in
        [("suspend", &alive, "SUSPENDED"), ("revoke", &alive, "REVOKED"), ("time", &brief, "EXPIRED")]
    {
        let (id, token) = scene.mint(&reader(more)).await;
        if end == "time" {
            scene.clock.advance(Duration::from_secs(6));
        } else {
            scene.call("POST", &format!("/ai/tokens/{id}/{end}/"), &Value::Null).await;
        }
        for _ in 0..3 {
            let beat = scene.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), &token).await;
            assert_eq!(beat.status, 403, "{end}: {}", beat.text());
            assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 403, "{end}");
        }
        assert_eq!(scene.state(id).await.0, state, "{end}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn t6_an_amount_is_read_from_its_text_up_to_forty_characters() {
    let (_upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({"budget_limit_usd": 5}))).await;
    let report = async |amount: &str| {
        scene.report(id, &token, &format!("{{\"cost_usd\": {amount}}}"), &[]).await.status
    };
    let longest = format!("0.{}1", "0".repeat(37));
    assert_eq!((longest.len(), report(&longest).await), (40, 200));
    assert_eq!(report(&format!("{longest}1")).await, 400, "one character more");
    assert_eq!(report("15e-1").await, 200);
    assert_eq!(report("1.5E+0").await, 200);
    // Through a double this would be less than it is.
    assert_eq!(report("0.0000010000000000000001").await, 200);
    let shown = scene.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
    assert_eq!(shown["current_spend_usd"], json!(3.000_003), "each rounded up to the millionth");
}

#[tokio::test]
async fn t4_a_token_in_the_body_decides_about_nothing() {
    let (upstream, scene, token) = agent_hold::with_upstream().await;
    let (first, second) =
        (scene.hold("/reports/1", &token, "1").await, scene.hold("/reports/2", &token, "2").await);
    for word in ["confirm", "deny"] {
        let path = format!("{PENDING}{first}/{word}/");
        scene
            .call("POST", &path, &json!({"token": second, "id": second, "confirmation_token": second}))
            .await;
        assert_eq!(scene.standing(&second).await, "pending", "{word}: the path says what is decided");
    }
    // In the query neither.
    let query = format!("{PENDING}{first}/confirm/?token={second}");
    scene.call("POST", &query, &Value::Null).await;
    assert_eq!((scene.standing(&second).await.as_str(), upstream.count()), ("pending", 0));
}
