//! What `explain --agent` says is what the gateway does, condition by condition.
//! Law: asking changes nothing: no request is counted, no token is suspended by it.

use std::time::Duration;

use http::Method;
use portcullis::account::{self, Account};
use portcullis::agent::{self, AgentToken, Reference};
use portcullis::base::Number;
use portcullis::gate::{CanonicalTarget, Explanation, Question, Waits, explain};
use portcullis::server;
use serde_json::json;

use crate::agent::{Scene, scene};
use crate::agent_gate::{reader, told, with_upstream};
use crate::support::Upstream;
use crate::support::people::permission;

impl Scene {
    async fn token(&self, id: i64) -> AgentToken {
        let db = &self.gateway.running.app.db;
        agent::find(db, Reference::Number(Number(id))).await.unwrap().expect("a token")
    }

    async fn explain(&self, path: &str, id: i64, organization: Option<&str>) -> Explanation {
        self.explain_call(Method::GET, path, id, organization, None).await
    }

    async fn explain_call(
        &self,
        method: Method,
        path: &str,
        id: i64,
        organization: Option<&str>,
        body: Option<&[u8]>,
    ) -> Explanation {
        let app = &self.gateway.running.app;
        let gate = server::open_gate(app, &app.config()).unwrap();
        let target = CanonicalTarget::parse(path.as_bytes(), server::rules(&app.config()).target).unwrap();
        let token = self.token(id).await;
        let question = Question {
            method,
            host: "127.0.0.1",
            target,
            account: None,
            imagined: None,
            agent: Some(&token),
            organization,
            application: None,
            body,
        };
        explain(&gate, &question).await.unwrap()
    }

    /// Asks both, and they say the same.
    async fn agree(&self, path: &str, (id, token): &(i64, String), organization: Option<&str>) -> String {
        let mut explained = self.explain(path, *id, organization).await;
        let slug = organization.map(|slug| format!("X-Org-Slug: {slug}"));
        let more: Vec<&str> = slug.as_deref().into_iter().collect();
        let answer = self.ask(path, token, &more).await;
        let said = |explained: &Explanation| {
            let refusal = explained.refusal.as_ref();
            refusal.map_or((200, String::new()), |no| (no.status().as_u16(), no.code().to_owned()))
        };
        if said(&explained) != told(&answer) {
            // What is over by its clock may have been written down as over in between.
            explained = self.explain(path, *id, organization).await;
        }
        assert_eq!(said(&explained), told(&answer), "{path} {organization:?}\n{explained}");
        let refusal = explained.refusal.as_ref();
        if answer.status == 403 {
            let body = answer.json();
            assert_eq!(body["failed"], json!(refusal.and_then(|no| no.failed())), "{path}\n{explained}");
        }
        explained.to_string()
    }

    async fn human(&self) -> Account {
        account::by_id(&self.gateway.running.app.db, self.ada.id).await.unwrap().expect("Ada")
    }
}

#[tokio::test]
async fn what_is_explained_of_an_agent_is_what_is_decided() {
    let (_upstream, scene) = with_upstream().await;
    let own = scene.mint(&reader(&json!({}))).await;
    let invoices = json!({"permissions": ["write:invoices"], "organization": "acme-corp"});
    let hers = scene.mint(&invoices).await;
    for token in [&own, &hers] {
        for path in ["/reports/7", "/invoices", "/people", "/public", "/nowhere"] {
            for organization in [None, Some("acme-corp"), Some("other")] {
                scene.agree(path, token, organization).await;
            }
        }
    }
    let passes = scene.agree("/reports/7", &own, None).await;
    for line in [
        "yes     token",
        "yes     agent scope       reports.read among reports.read",
        "yes     human permission  reports.read",
        "yes     rate              60 requests a minute, one more suspends it",
        "The request would be forwarded.",
    ] {
        assert!(passes.contains(line), "{line}\n{passes}");
    }
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    let lost = scene.agree("/reports/7", &own, None).await;
    for line in [
        "yes     agent scope",
        "no      human permission",
        "no      policy",
        "no        permission reports.read",
        "failed: human_permission, missing: reports.read",
    ] {
        assert!(lost.contains(line), "{line}\n{lost}");
    }
}

#[tokio::test]
async fn a_tokens_state_its_end_and_its_silence_are_explained() {
    let (_upstream, scene) = with_upstream().await;
    let own = scene.mint(&reader(&json!({"dead_mans_switch": {"heartbeat_required_every": 30}}))).await;
    let spare = scene.mint(&reader(&json!({"expires_in": 60}))).await;
    let stopped = scene.mint(&reader(&json!({}))).await;
    let suspend = format!("/ai/tokens/{}/suspend/", stopped.0);
    assert_eq!(scene.call("POST", &suspend, &json!({})).await.status, 200);
    let told = scene.agree("/reports/7", &stopped, None).await;
    assert!(told.contains("SUSPENDED (MANUAL)") && told.contains("yes     human permission"), "{told}");
    scene.clock.advance(Duration::from_secs(31));
    // The gateway may have written it down already: then that is what stopped it.
    let told = scene.agree("/reports/7", &own, None).await;
    let is_so = ["yes     token", "SUSPENDED (HEARTBEAT_MISSING)"].iter().any(|state| told.contains(state));
    assert!(told.contains("no      heartbeat") && is_so, "{told}");
    scene.clock.advance(Duration::from_secs(30));
    let told = scene.agree("/reports/7", &spare, None).await;
    assert!(told.contains("no      expiry"), "{told}");
}

#[tokio::test]
async fn an_agent_of_a_human_who_may_not_act_is_told_so() {
    let (_upstream, scene) = with_upstream().await;
    let own = scene.mint(&reader(&json!({}))).await;
    let ada = scene.human().await;
    let mut change = scene.gateway.running.app.change(portcullis::audit::Actor::system()).await.unwrap();
    account::lock(&mut change, ada.id, None).await.unwrap();
    change.commit().await.unwrap();
    let told = scene.agree("/reports/7", &own, None).await;
    assert!(told.contains("no      human") && told.contains("yes     token"), "{told}");
}

#[tokio::test]
async fn to_explain_counts_nothing() {
    let (upstream, scene) = with_upstream().await;
    let limits = json!({"circuit_breaker": {"max_requests_per_minute": 1, "max_requests_total": 1}});
    let own = scene.mint(&reader(&limits)).await;
    for _ in 0..5 {
        assert_eq!(scene.explain("/reports/7", own.0, None).await.refusal, None);
    }
    assert_eq!((scene.token(own.0).await.granted.requests, upstream.count()), (0, 0));
    assert_eq!(scene.ask("/reports/7", &own.1, &[]).await.status, 200);
    let none = json!({"circuit_breaker": {"max_requests_total": 0}});
    let none = scene.mint(&reader(&none)).await;
    let told = scene.agree("/reports/7", &none, None).await;
    assert!(told.contains("no      total             0 of 0"), "{told}");
}

/// Whatever comes after the double check.
fn full(upstream: &Upstream) -> String {
    let up = format!("upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}\n", upstream.address);
    up + "agents: { confirm: ['write:invoices'] }
roles: [ { code: finance } ]
routes:
  - { name: orders, match: { path: '/orders' }, upstream: up, allow: signed_in, limit: { requests: 100, per: 1m }, agents: { permission: reports.read, cost: { flat_usd: 0.10 }, hold: { when: { pointer: /amount, above: 1000 } }, approvers: { any_of: [ { delegator: true }, { role: finance } ], need: 2 } } }
  - { name: invoices, match: { path: '/invoices' }, upstream: up, allow: { max_age: 5m }, agents: { permission: 'write:invoices' } }
  - { name: models, match: { path: '/models' }, upstream: up, allow: signed_in, agents: { permission: reports.read, cost: { llm: openai, prices: { m: { input: 1, output: 100 } }, output_max: 500 } } }
  - { name: dear, match: { path: '/dear' }, upstream: up, allow: signed_in, agents: { permission: reports.read, cost: { flat_usd: 7 } } }
"
}

#[tokio::test]
async fn waiting_for_people_limits_and_the_budget_are_explained() {
    let upstream = Upstream::echo().await;
    let scene = scene(&full(&upstream)).await;
    let breaker = json!({"max_requests_per_minute": 30, "max_requests_total": 40});
    let (id, token) = scene.mint(&reader(&json!({"budget_limit_usd": 2, "circuit_breaker": breaker}))).await;
    let ask = async |path, body: Option<&str>| {
        scene.explain_call(Method::POST, path, id, None, body.map(str::as_bytes)).await
    };
    let told = ask("/orders", None).await;
    let text = told.to_string();
    assert_eq!((told.waits, &told.refusal), (Waits::ByBody, &None), "{text}");
    for line in [
        "yes     limit             100 requests in 60 s on this route, with its human's",
        "yes     hold              it waits for people if /amount is above 1000, or cannot be found or compared",
        "yes     decided by        2 of: the delegating human or who has the role finance",
        "yes     time              10 min to decide, then 5 min to execute; `Prefer: wait` up to 30 s",
        "yes     rate              30 requests a minute, one more suspends it",
        "yes     total             0 of 40 requests were handed out to be spent; 40 and what is unspent are left",
        "yes     cost              0.100000 USD",
        "yes     budget            0.000000 of 2.000000 USD were handed out to be spent; 2.000000",
        "that depends on its body.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for (body, waits, status) in [
        (r#"{"amount": 5}"#, Waits::No, 200),
        (r#"{"amount": 5000}"#, Waits::Yes, 202),
        (r#"{"amount": "5"}"#, Waits::Yes, 202),
    ] {
        assert_eq!(ask("/orders", Some(body)).await.waits, waits, "{body}");
        assert_eq!(scene.post("/orders", &token, &[], body).await.status, status, "{body}");
    }
    let text = ask("/orders", None).await.to_string();
    assert!(text.contains("of 40 requests were handed out") && !text.contains("0 of 40 requests"), "{text}");
    let text = ask("/models", None).await.to_string();
    assert!(text.contains("cost              what a language model takes (m)"), "{text}");
    let text = ask("/models", Some(r#"{"model": "m"}"#)).await.to_string();
    assert!(text.contains("at most 0.05"), "{text}");
    let unknown = ask("/models", Some(r#"{"model": "n"}"#)).await;
    assert_eq!(unknown.refusal.map(|no| no.code()), Some("COST_UNKNOWN"));
    let dear = ask("/dear", None).await.refusal.map(|no| no.code());
    assert_eq!(dear, Some("BUDGET_EXCEEDED"));
    assert_eq!(scene.post("/dear", &token, &[], "").await.code(), "BUDGET_EXCEEDED");
}

#[tokio::test]
async fn what_is_always_held_says_by_which_rule_and_in_what_session() {
    let upstream = Upstream::echo().await;
    let scene = scene(&full(&upstream)).await;
    let invoices = json!({"permissions": ["write:invoices"], "organization": "acme-corp", "expires_in": 90});
    let (id, _) = scene.mint(&invoices).await;
    let told = scene.explain_call(Method::POST, "/invoices", id, None, None).await;
    let text = told.to_string();
    assert_eq!(told.waits, Waits::Yes, "{text}");
    for line in [
        "hold              it waits for people: `agents.confirm` holds write:invoices",
        "decided by        the delegating human, logged in within the last 5 min",
        "s left",
        "yes     cost              nothing",
        "would wait for people (202)",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
