//! The story that the seed tells of an agent, request by request, as it is written there.
//!
//! Law: bodies are the seed's, byte for byte; nothing but the address, keys and tokens is ours.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::support::people::request;
use crate::support::raw::Answer;
use crate::support::replica::until;
use crate::support::{Upstream, exchange};

pub const DELEGATION: &str = r#"{
  "agent_id": "finance-agent-v2",
  "expires_in": 3600,
  "permissions": ["read:reports", "write:invoices"],
  "organization": "acme-corp",
  "budget_limit_usd": 5.00,
  "circuit_breaker": {
    "max_requests_per_minute": 30,
    "max_requests_total": 500
  },
  "dead_mans_switch": {
    "heartbeat_required_every": 300
  }
}"#;

const USAGE: &str = r#"{
  "cost_usd": 0.042,
  "prompt_tokens": 1250,
  "completion_tokens": 450
}"#;

fn routes(upstream: &Upstream) -> String {
    format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: reports, match: {{ path: '/reports/**' }}, upstream: up, allow: {{ org: member }}, agents: {{ permission: 'read:reports' }} }}
  - {{ name: invoices, match: {{ path: '/invoices', methods: [POST] }}, upstream: up, allow: {{ org: member }}, agents: {{ permission: 'write:invoices', hold: always }} }}
  - {{ name: payroll, match: {{ path: '/payroll' }}, upstream: up, allow: {{ org: member }}, agents: {{ permission: 'users.view' }} }}
",
        upstream.address
    )
}

async fn post(scene: &Scene, path: &str, lines: &[String], body: &str) -> Answer {
    exchange(scene.gateway.public(), request("POST", path, lines, body)).await.expect("an answer")
}

#[tokio::test]
async fn the_seeds_story_is_told_to_the_letter() {
    let upstream = Upstream::echo().await;
    let scene = scene(&routes(&upstream)).await;
    let ada = scene.lines(&scene.ada);
    // 1. A user delegates a limited token to an agent.
    let made = post(&scene, "/api/v1/auth/ai/tokens/", &ada, DELEGATION).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["agent_id"], &made["status"]), (&json!("finance-agent-v2"), &json!("ACTIVE")));
    assert!(made["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{made}");
    let (id, token) = (made["id"].as_i64().unwrap(), made["token"].as_str().unwrap().to_owned());
    let trace = "X-Prompt-Trace-ID: trace_7f3a2b9c".to_owned();
    let agent = vec![bearer(&token), trace.clone()];

    // 2. Every agent request is double-checked.
    assert_eq!(scene.ask("/reports/7", &token, &[&trace]).await.status, 200);
    assert_eq!(upstream.last().header("x-prompt-trace-id"), Some("trace_7f3a2b9c"));
    let refused = scene.ask("/payroll", &token, &[]).await;
    assert_eq!((refused.status, &refused.json()["failed"]), (403, &json!("agent_scope")));

    // 3. Dangerous actions wait for a human, and happen once.
    let invoice = r#"{"amount": 1200, "to": "ACME"}"#;
    let held = post(&scene, "/invoices", &agent, invoice).await;
    assert_eq!(held.status, 202, "{}", held.text());
    let held = held.json();
    assert_eq!(held["status"], "pending_confirmation");
    assert_eq!(held["message"], "This action requires human approval.");
    assert!(held["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{held}");
    let confirmation = held["confirmation_token"].as_str().unwrap().to_owned();
    assert_eq!(upstream.count(), 1, "nothing was done yet");
    let path = format!("/api/v1/auth/ai/pending-actions/{confirmation}/confirm/");
    let own = post(&scene, &path, &agent, "").await;
    assert_eq!(own.status, 403, "an agent confirms nothing: {}", own.text());
    let confirmed = post(&scene, &path, &ada, "").await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let again = [&agent[..], &[format!("X-Action-Confirmation: {confirmation}")]].concat();
    let done = post(&scene, "/invoices", &again, invoice).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!((upstream.count(), upstream.last().body), (2, invoice.as_bytes().to_vec()));
    let replayed = post(&scene, "/invoices", &again, invoice).await;
    assert_eq!((replayed.status, replayed.code().as_str()), (409, "APPROVAL_USED"));
    assert_eq!(upstream.count(), 2, "one approval, one request");

    // 4. The agent shows that it is alive, as seldom as it was told to.
    let beat = post(&scene, &format!("/api/v1/auth/ai/tokens/{id}/heartbeat/"), &agent, "").await;
    assert_eq!(beat.status, 200, "{}", beat.text());

    // 5. It says what it spent; at the limit it is suspended.
    let report = format!("/api/v1/auth/ai/tokens/{id}/report-usage/");
    let reported = post(&scene, &report, &agent, USAGE).await;
    assert_eq!(reported.status, 200, "{}", reported.text());
    let shown = scene.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
    assert_eq!(shown["current_spend_usd"], json!(0.042));
    let over = post(&scene, &report, &agent, r#"{"cost_usd": 5.00}"#).await;
    assert_eq!(over.status, 403, "{}", over.text());
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("BUDGET_EXCEEDED")));
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 403);

    // 6. What was done is found by the prompt that caused it.
    let traced = async || {
        let rows = scene.rows("agent_action").await;
        rows.iter().filter(|row| row.personal["detail"]["trace"] == "trace_7f3a2b9c").count()
    };
    until(Duration::from_secs(3), "the rows of the trace", async || traced().await >= 2).await;
}
