//! What `explain --agent` says is what the gateway does, condition by condition.
//! Law: asking changes nothing: no request is counted, no token is suspended by it.

use std::time::Duration;

use http::Method;
use portcullis::account::{self, Account};
use portcullis::agent::{self, AgentToken, Reference};
use portcullis::base::Number;
use portcullis::gate::{CanonicalTarget, Explanation, Question, explain};
use portcullis::server;
use serde_json::json;

use crate::agent::Scene;
use crate::agent_gate::{reader, told, with_upstream};
use crate::support::people::permission;

impl Scene {
    async fn token(&self, id: i64) -> AgentToken {
        let db = &self.gateway.running.app.db;
        agent::find(db, Reference::Number(Number(id))).await.unwrap().expect("a token")
    }

    async fn explain(&self, path: &str, id: i64, organization: Option<&str>) -> Explanation {
        let app = &self.gateway.running.app;
        let gate = server::open_gate(app, &app.config()).unwrap();
        let target = CanonicalTarget::parse(path.as_bytes(), server::rules(&app.config()).target).unwrap();
        let token = self.token(id).await;
        let question = Question {
            method: Method::GET,
            host: "127.0.0.1",
            target,
            account: None,
            agent: Some(&token),
            organization,
            application: None,
        };
        explain(&gate, &question).await.unwrap()
    }

    /// Asks both, and they say the same.
    async fn agree(&self, path: &str, (id, token): &(i64, String), organization: Option<&str>) -> String {
        let explained = self.explain(path, *id, organization).await;
        let slug = organization.map(|slug| format!("X-Org-Slug: {slug}"));
        let more: Vec<&str> = slug.as_deref().into_iter().collect();
        let answer = self.ask(path, token, &more).await;
        let refusal = explained.refusal.as_ref();
        let said = refusal.map_or((200, String::new()), |no| (no.status().as_u16(), no.code().to_owned()));
        assert_eq!(said, told(&answer), "{path} {organization:?}\n{explained}");
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
        "yes     rate              60 requests a minute",
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
    // Asked first: what the gateway then does to it would be a state of its own.
    let told = scene.agree("/reports/7", &own, None).await;
    assert!(told.contains("no      heartbeat") && told.contains("yes     token"), "{told}");
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
