//! What humans delegate, on the running gateway: minting, narrowing, stopping, heartbeats
//! (contract section 26, security bar 2.I).
//! Law: what was refused is not stored, and an agent reaches nothing but its heartbeat.

use std::sync::Arc;
use std::time::Duration;

use portcullis::agent;
use portcullis::base::{Clock, SystemClock, TestClock};
use portcullis::store::DEFAULT_SITE;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::people::{Keys, User, permission, request};
use crate::support::raw::Answer;
use crate::support::{Gateway, exchange};

pub const YAML: &str = "
permissions: [ { code: reports }, { code: reports.read, parent: reports }, { code: pay } ]
organizations: { roles: [ { code: finance, permissions: ['read:reports', 'write:invoices'] } ] }
";

pub struct Scene {
    pub gateway: Gateway,
    pub clock: Arc<TestClock>,
    pub keys: Keys,
    pub ada: User,
}

/// A gateway with Ada, who holds `reports` and everything of finance in acme-corp.
pub async fn scene(more: &str) -> Scene {
    scene_in(tempfile::tempdir().unwrap(), more).await
}

/// The same with files of the test's own.
pub async fn scene_in(folder: TempDir, more: &str) -> Scene {
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let yaml = format!("{YAML}{more}");
    let gateway = Gateway::start_by(clock.clone(), folder, &yaml).await.unwrap_or_else(|e| panic!("{e}"));
    let keys = gateway.application("web", &[]).await;
    let owner = gateway.account("owner", |_| {}).await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, permission("reports")).await;
    let acme = gateway.organization("acme-corp", owner, None).await;
    gateway.join(acme, ada.id, "finance").await;
    Scene { gateway, clock, keys, ada }
}

impl Scene {
    pub fn lines(&self, user: &User) -> Vec<String> {
        [&self.keys.lines()[..], &[user.bearer()]].concat()
    }

    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.gateway.call(method, path, &self.lines(&self.ada), body).await
    }

    /// The same with a body exactly as written.
    async fn mint_text(&self, body: &str) -> Answer {
        let text = request("POST", "/api/v1/auth/ai/tokens/", &self.lines(&self.ada), body);
        exchange(self.gateway.public(), text).await.expect("an answer")
    }

    /// A token of Ada's: its number and text.
    pub async fn mint(&self, body: &Value) -> (i64, String) {
        let answer = self.call("POST", "/ai/tokens/", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made = answer.json();
        (made["id"].as_i64().unwrap(), made["token"].as_str().unwrap().to_owned())
    }

    async fn count(&self) -> usize {
        agent::list(&self.gateway.running.app.db, DEFAULT_SITE, None, 1000).await.unwrap().len()
    }

    async fn shown(&self, id: i64) -> Value {
        self.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json()
    }

    pub async fn as_agent(&self, method: &str, path: &str, token: &str) -> Answer {
        self.gateway.call(method, path, &[bearer(token)], &Value::Null).await
    }

    async fn beat(&self, id: i64, token: &str) -> Answer {
        self.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), token).await
    }
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: AgentBearer {token}")
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn the_seeds_delegation_is_minted_and_shown() {
    let scene = scene("").await;
    let body = r#"{
      "agent_id": "finance-agent-v2",
      "expires_in": 3600,
      "permissions": ["read:reports", "write:invoices"],
      "organization": "acme-corp",
      "budget_limit_usd": 5.00,
      "circuit_breaker": { "max_requests_per_minute": 30, "max_requests_total": 500 },
      "dead_mans_switch": { "heartbeat_required_every": 300 }
    }"#;
    let answer = scene.mint_text(body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json();
    assert!(
        made["token"].as_str().is_some_and(|t| t.len() == 48 && t.bytes().all(|b| b.is_ascii_alphanumeric()))
    );
    assert_eq!((&made["agent_id"], &made["status"]), (&json!("finance-agent-v2"), &json!("ACTIVE")));
    let id = made["id"].as_i64().expect("a number");
    let shown = scene.shown(id).await;
    assert_eq!(shown["organization"], "acme-corp");
    assert_eq!(shown["permissions"], json!(["read:reports", "write:invoices"]));
    assert_eq!(shown["budget_limit_usd"], json!(5.0));
    assert_eq!(shown["expires_at"], made["expires_at"]);
    let breaker = json!({"max_requests_per_minute": 30, "max_requests_total": 500, "max_failed_requests": 10,
        "suspend_after": 1});
    assert_eq!(shown["circuit_breaker"], breaker);
    assert_eq!(shown["dead_mans_switch"]["heartbeat_required_every"], 300);
    assert_eq!(scene.call("GET", "/ai/tokens/", &Value::Null).await.json(), json!([shown]));
    let text = made["token"].as_str().unwrap();
    assert!(!scene.call("GET", "/ai/tokens/", &Value::Null).await.text().contains(text), "shown once");
    let named = [&scene.lines(&scene.ada)[..], &["X-Org-Slug: acme-corp".to_owned()]].concat();
    let answer =
        scene.gateway.call("POST", "/ai/tokens/", &named, &json!({"permissions": ["read:reports"]})).await;
    assert_eq!(scene.shown(answer.json()["id"].as_i64().unwrap()).await["organization"], "acme-corp");
}

#[tokio::test]
async fn a_delegation_without_details_gets_the_defaults_and_a_long_one_is_capped() {
    let scene = scene("agents: { max_lifetime: 2h, default_lifetime: 10m }\n").await;
    let plain = scene.mint(&json!({"permissions": ["reports.read"]})).await.0;
    let shown = scene.shown(plain).await;
    assert_eq!((&shown["agent_id"], &shown["organization"]), (&json!("unknown"), &Value::Null));
    assert_eq!((&shown["budget_limit_usd"], &shown["dead_mans_switch"]), (&json!(0.0), &Value::Null));
    let life = |from: &Value, to: &Value| {
        let moment = |text: &Value| chrono(text.as_str().unwrap());
        moment(to) - moment(from)
    };
    assert_eq!(life(&shown["created_at"], &shown["expires_at"]), 600);
    let long =
        scene.mint(&json!({"permissions": ["reports"], "expires_in": 1_000_000_000_000_000_000_u64})).await.0;
    let shown = scene.shown(long).await;
    assert_eq!(life(&shown["created_at"], &shown["expires_at"]), 7200);
}

/// Seconds of a moment as the API writes it.
fn chrono(text: &str) -> i64 {
    let time: Vec<i64> = text[11..19].split(':').map(|part| part.parse().unwrap()).collect();
    let day: i64 = text[8..10].parse().unwrap();
    ((day * 24 + time[0]) * 60 + time[1]) * 60 + time[2]
}

#[tokio::test]
async fn t10_what_is_absurd_empty_unknown_or_not_held_is_refused_and_not_stored() {
    let scene = scene("").await;
    let permitted = r#""permissions": ["reports"]"#;
    let denied = ["[]", r#"["pay"]"#, r#"["reports", "no.such"]"#, r#"["read:reports"]"#];
    for list in denied {
        let answer = scene.mint_text(&format!(r#"{{"permissions": {list}}}"#)).await;
        assert_eq!(told(&answer), (403, "PERMISSION_DENIED".to_owned()), "{list}");
    }
    let answer = scene.mint_text("{}").await;
    assert_eq!(answer.json()["error"], "Agent tokens must request explicit permissions.");
    let answer = scene.mint_text(r#"{"permissions": ["users.ban"]}"#).await;
    assert_eq!(answer.json()["error"], "User does not have permission 'users.ban'.");
    for list in [
        r#"["reports.*"]"#,
        r#"["*"]"#,
        r#"["Reports"]"#,
        r#"[" reports"]"#,
        r#"["reports\u200b"]"#,
        "[1]",
        r#""reports""#,
        "{}",
        r#"[["reports"]]"#,
    ] {
        let answer = scene.mint_text(&format!(r#"{{"permissions": {list}}}"#)).await;
        assert_eq!(told(&answer), (400, "VALIDATION_ERROR".to_owned()), "{list}");
        assert!(answer.json()["details"]["permissions"].is_array(), "{list}");
    }
    for field in [
        r#""expires_in": 0"#,
        r#""expires_in": -1"#,
        r#""expires_in": "3600""#,
        r#""expires_in": 1.5"#,
        r#""expires_in": 1e18"#,
        r#""expires_in": true"#,
        r#""circuit_breaker": {"max_requests_per_minute": -1}"#,
        r#""circuit_breaker": {"max_requests_total": "5"}"#,
        r#""circuit_breaker": {"max_failed_requests": 1000000001}"#,
        r#""circuit_breaker": {"max_requests": 5, "window_seconds": 60}"#,
        r#""circuit_breaker": []"#,
        r#""circuit_breaker": 5"#,
        r#""dead_mans_switch": {"heartbeat_required_every": 0}"#,
        r#""dead_mans_switch": {"heartbeat_required_every": -5}"#,
        r#""dead_mans_switch": {"every": 5}"#,
        r#""agent_id": 5"#,
        r#""agent_id": "robot\u001b[2J""#,
        r#""agent_id": "robot\u202eone""#,
        r#""agent_id": "robot\nSubject: yes""#,
        r#""surprise": 1"#,
        r#""is_superuser": true"#,
    ] {
        let answer = scene.mint_text(&format!("{{{permitted}, {field}}}")).await;
        assert_eq!(told(&answer), (400, "VALIDATION_ERROR".to_owned()), "{field}: {}", answer.text());
    }
    let long = format!(r#"{{{permitted}, "agent_id": "{}"}}"#, "x".repeat(101));
    assert_eq!(scene.mint_text(&long).await.status, 400);
    for (slug, status) in [("nowhere", 404), ("ACME CORP", 400)] {
        let answer = scene.mint_text(&format!(r#"{{{permitted}, "organization": "{slug}"}}"#)).await;
        assert_eq!(answer.status, status, "{slug}");
    }
    let answer = scene.mint_text(r#"{"permissions": ["reports"], "organization": "acme-corp"}"#).await;
    assert_eq!(answer.status, 403, "held globally is not held there");
    assert_eq!(scene.count().await, 0);
}

#[tokio::test]
async fn t6_a_budget_is_a_json_number_read_from_its_text() {
    let scene = scene("").await;
    for (text, shown) in
        [("0", 0.0), ("5.00", 5.0), ("1e-30", 0.000_001), ("0.30000000000000004", 0.300_001), ("1e9", 1e9)]
    {
        let answer =
            scene.mint_text(&format!(r#"{{"permissions":["reports"],"budget_limit_usd":{text}}}"#)).await;
        assert_eq!(answer.status, 201, "{text}: {}", answer.text());
        let id = answer.json()["id"].as_i64().unwrap();
        assert_eq!(scene.shown(id).await["budget_limit_usd"], json!(shown), "{text}");
    }
    let before = scene.count().await;
    let long = format!("0.{}", "0".repeat(39));
    for text in [
        "-1",
        "-0",
        "-0.0",
        "-1e-9",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e309",
        "1e10",
        "\"0.1\"",
        "true",
        "[]",
        "01",
        "1000000000000000000",
        "1000000000.0000001",
        &long,
    ] {
        let answer =
            scene.mint_text(&format!(r#"{{"permissions":["reports"],"budget_limit_usd":{text}}}"#)).await;
        assert_eq!(answer.status, 400, "{text}: {}", answer.text());
    }
    assert_eq!(scene.count().await, before);
}

#[tokio::test]
async fn t16_a_token_goes_through_its_states_by_calls() {
    let scene = scene("").await;
    let id = scene.mint(&json!({"permissions": ["reports"]})).await.0;
    let step = async |verb: &str| {
        let answer = scene.call("POST", &format!("/ai/tokens/{id}/{verb}/"), &Value::Null).await;
        (answer.status, answer.json()["status"].as_str().unwrap_or_default().to_owned())
    };
    let ok = |word: &str| (200, word.to_owned());
    assert_eq!(step("resume").await, ok("active"));
    assert_eq!(step("suspend").await, ok("suspended"));
    assert_eq!(step("suspend").await, ok("suspended"));
    assert_eq!(scene.shown(id).await["suspended_reason"], "MANUAL");
    assert_eq!(step("resume").await, ok("active"));
    assert_eq!(step("revoke").await, ok("revoked"));
    assert_eq!(step("revoke").await, ok("revoked"));
    assert_eq!(step("suspend").await, (409, "REVOKED".to_owned()));
    assert_eq!(step("resume").await, (409, "REVOKED".to_owned()));
    assert_eq!(scene.shown(id).await["status"], "REVOKED");
    let other = scene.mint(&json!({"permissions": ["reports"]})).await.0;
    let deleted = scene.call("DELETE", &format!("/ai/tokens/{other}/"), &Value::Null).await;
    assert_eq!((deleted.status, deleted.json()["status"].clone()), (200, json!("revoked")));
    scene.mint(&json!({"permissions": ["reports"]})).await;
    let third = scene.mint(&json!({"permissions": ["reports"]})).await.0;
    scene.call("POST", &format!("/ai/tokens/{third}/suspend/"), &Value::Null).await;
    let killed = scene.call("POST", "/ai/tokens/revoke-all/", &Value::Null).await;
    assert_eq!(killed.json(), json!({"status": "revoked", "count": 2}));
}

#[tokio::test]
async fn put_narrows_and_never_widens() {
    let scene = scene("").await;
    let body = json!({"permissions": ["reports", "reports.read"], "budget_limit_usd": 2, "expires_in": 600,
        "circuit_breaker": {"max_requests_per_minute": 10}});
    let id = scene.mint(&body).await.0;
    let put = async |body: Value| scene.call("PUT", &format!("/ai/tokens/{id}/"), &body).await;
    for wider in [
        json!({"permissions": ["pay"]}),
        json!({"permissions": []}),
        json!({"budget_limit_usd": 2.000_001}),
        json!({"expires_in": 601}),
        json!({"circuit_breaker": {"max_requests_per_minute": 11}}),
        json!({"circuit_breaker": {"suspend_after": 0}}),
        json!({"agent_id": "other"}),
        json!({"organization": "acme-corp"}),
    ] {
        let answer = put(wider.clone()).await;
        assert_eq!(told(&answer), (400, "VALIDATION_ERROR".to_owned()), "{wider}");
    }
    let answer = put(json!({"permissions": ["reports.read"], "budget_limit_usd": 1.5, "expires_in": 60,
        "circuit_breaker": {"max_requests_per_minute": 0}, "dead_mans_switch": {"heartbeat_required_every": 30}}))
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = scene.shown(id).await;
    assert_eq!(answer.json(), shown);
    assert_eq!((&shown["permissions"], &shown["budget_limit_usd"]), (&json!(["reports.read"]), &json!(1.5)));
    assert_eq!(put(json!({"budget_limit_usd": 1.6})).await.status, 400, "what is gone is gone");
    assert_eq!(put(json!({})).await.json(), shown, "nothing asked, nothing changed");
    scene.call("POST", &format!("/ai/tokens/{id}/revoke/"), &Value::Null).await;
    assert_eq!(told(&put(json!({"budget_limit_usd": 0})).await), (409, "AGENT_TOKEN_ENDED".to_owned()));
}

#[tokio::test]
async fn nobody_sees_or_stops_the_agents_of_others() {
    let scene = scene("").await;
    let id = scene.mint(&json!({"permissions": ["reports"]})).await.0;
    let bob = scene.gateway.user("bob", &scene.keys).await;
    let lines = scene.lines(&bob);
    for (method, path) in [
        ("GET", format!("/ai/tokens/{id}/")),
        ("PUT", format!("/ai/tokens/{id}/")),
        ("DELETE", format!("/ai/tokens/{id}/")),
        ("POST", format!("/ai/tokens/{id}/revoke/")),
        ("POST", format!("/ai/tokens/{id}/suspend/")),
        ("POST", format!("/ai/tokens/{id}/resume/")),
        ("GET", "/ai/tokens/999999/".to_owned()),
        ("GET", "/ai/tokens/nonsense/".to_owned()),
    ] {
        let answer = scene.gateway.call(method, &path, &lines, &Value::Null).await;
        assert_eq!(told(&answer), (404, "NOT_FOUND".to_owned()), "{method} {path}");
        assert_eq!(answer.json()["error"], "Not found");
    }
    assert_eq!(scene.gateway.call("GET", "/ai/tokens/", &lines, &Value::Null).await.json(), json!([]));
    let killed = scene.gateway.call("POST", "/ai/tokens/revoke-all/", &lines, &Value::Null).await;
    assert_eq!(killed.json()["count"], 0);
    assert_eq!(scene.shown(id).await["status"], "ACTIVE");
}

#[tokio::test]
async fn t5_an_agent_reaches_no_endpoint_but_its_heartbeat_and_its_reports() {
    let scene = scene("api: { docs: public }\n").await;
    let (id, token) = scene.mint(&json!({"permissions": ["reports"]})).await;
    let document = scene.gateway.send("GET", "/openapi.json", &[]).await.json();
    let mut swept = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/api/v1/auth") else { continue };
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{id}", &id.to_string());
            let answer = scene.as_agent(&method.to_uppercase(), &path, &token).await;
            if path.ends_with("/heartbeat/") || path.ends_with("/report-usage/") {
                assert_eq!(answer.json(), json!({"status": "ok"}));
            } else if path == "/ai/pending-actions/{token}/" {
                assert_eq!(told(&answer), (409, "APPROVAL_UNKNOWN".to_owned()), "its own, and there is none");
            } else {
                assert_eq!(told(&answer), (403, "AGENT_NOT_ALLOWED".to_owned()), "{method} {path}");
            }
            swept += 1;
        }
    }
    assert!(swept > 20, "{swept} endpoints");
    let wrong = scene.as_agent("POST", "/ai/tokens/", "x").await;
    assert_eq!(told(&wrong), (403, "AGENT_NOT_ALLOWED".to_owned()), "whatever its token");
    let human =
        scene.gateway.send("GET", "/api/v1/auth/me/", &[format!("Authorization: Bearer {token}")]).await;
    assert_eq!(human.status, 401, "an agent's token is no access token");
}

#[tokio::test]
async fn t17_heartbeats_come_from_the_agent_itself_and_in_time() {
    let scene = scene("").await;
    let switch = json!({"permissions": ["reports"], "dead_mans_switch": {"heartbeat_required_every": 300}});
    let (id, token) = scene.mint(&switch).await;
    let (other, sibling) = scene.mint(&switch).await;
    assert_eq!(scene.beat(id, &token).await.json(), json!({"status": "ok"}));
    assert_eq!(told(&scene.beat(id, &sibling).await), (403, "AGENT_NOT_ALLOWED".to_owned()));
    assert_eq!(scene.beat(id, &sibling).await.json()["error"], "Unauthorized or token mismatch");
    assert_eq!(told(&scene.beat(id, &"x".repeat(48)).await), (403, "AGENT_TOKEN_NOT_FOUND".to_owned()));
    let path = format!("/ai/tokens/{id}/heartbeat/");
    assert_eq!(scene.gateway.call("POST", &path, &[], &Value::Null).await.status, 401);
    let as_human = scene.gateway.call("POST", &path, &[scene.ada.bearer()], &Value::Null).await;
    assert_eq!(as_human.status, 401, "{}", as_human.text());
    scene.clock.advance(Duration::from_secs(299));
    assert_eq!(scene.beat(id, &token).await.status, 200);
    scene.clock.advance(Duration::from_secs(299));
    assert_eq!(scene.beat(id, &token).await.status, 200, "each one begins anew");
    assert_eq!(told(&scene.beat(other, &sibling).await), (403, "AGENT_TOKEN_HEARTBEAT_MISSING".to_owned()));
    assert_eq!(told(&scene.beat(other, &sibling).await), (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned()));
    assert_eq!(scene.shown(other).await["suspended_reason"], "HEARTBEAT_MISSING");
    let limited = async || {
        for _ in 0..70 {
            let answer = scene.beat(id, &token).await;
            if answer.status != 200 {
                return told(&answer);
            }
        }
        panic!("never told to slow down");
    };
    assert_eq!(limited().await, (429, "RATE_LIMITED".to_owned()));
    assert_eq!(scene.shown(id).await["status"], "ACTIVE", "heartbeats trip nothing");
}

#[tokio::test]
async fn t17_the_store_learns_of_silence_although_nobody_calls() {
    let scene = scene("").await;
    let switch = json!({"permissions": ["reports"], "dead_mans_switch": {"heartbeat_required_every": 1}});
    let id = scene.mint(&switch).await.0;
    let brief = scene.mint(&json!({"permissions": ["reports"], "expires_in": 1})).await.0;
    scene.clock.advance(Duration::from_secs(2));
    let limit = Duration::from_secs(7);
    crate::support::replica::within(limit, "suspended and expired by the timer", async || {
        let (silent, over) = (scene.shown(id).await, scene.shown(brief).await);
        silent["status"] == "SUSPENDED" && over["status"] == "EXPIRED"
    })
    .await;
}

#[tokio::test]
async fn t18_an_agents_token_is_not_for_another_application() {
    let scene = scene("").await;
    let (id, token) = scene.mint(&json!({"permissions": ["reports"]})).await;
    let other = scene.gateway.application("other", &[]).await;
    let path = format!("/ai/tokens/{id}/heartbeat/");
    let lines = |keys: &Keys| [&keys.lines()[..], &[bearer(&token)]].concat();
    let answer = scene.gateway.call("POST", &path, &lines(&other), &Value::Null).await;
    assert_eq!(told(&answer), (401, "TOKEN_APP_MISMATCH".to_owned()));
    let answer = scene.gateway.call("POST", &path, &lines(&scene.keys), &Value::Null).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn where_there_are_no_agents_nothing_is_minted_and_nobody_beats() {
    let scene = scene("agents: { enabled: false }\n").await;
    let answer = scene.call("POST", "/ai/tokens/", &json!({"permissions": ["reports"]})).await;
    assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("AIRS is disabled")));
    let answer = scene.beat(1, &"x".repeat(48)).await;
    assert_eq!(told(&answer), (403, "AIRS_DISABLED".to_owned()));
}
