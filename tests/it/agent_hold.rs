//! Requests of agents that wait for people, on the running gateway (T1 to T4, T12; security bar 2.J).
//! Law: one approval is one request at the recording upstream, and nothing else is any.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::told;
use crate::support::people::{permission, request, role};
use crate::support::raw::Answer;
use crate::support::replica::until;
use crate::support::{Upstream, exchange};

const MINUTE: Duration = Duration::from_mins(1);
pub const PENDING: &str = "/ai/pending-actions/";

pub fn routes(upstream: &Upstream) -> String {
    format!(
        "roles: [ {{ code: finance }} ]
agents: {{ confirm: [pay] }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes:
  - {{ name: reports, match: {{ path: '/reports/**' }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, hold: always, bound_headers: [x-tenant] }}, body: 64KiB }}
  - {{ name: orders, match: {{ path: '/orders' }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, hold: {{ when: {{ pointer: /amount, above: 1000 }} }} }} }}
  - {{ name: four-eyes, match: {{ path: '/four-eyes' }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, hold: always, approvers: {{ all_of: [ {{ any_of: [ {{ delegator: true }} ] }}, {{ any_of: [ {{ role: finance }} ] }} ] }} }} }}
  - {{ name: payments, match: {{ path: '/payments' }}, upstream: up, allow: signed_in, agents: {{ permission: pay }} }}
",
        upstream.address
    )
}

pub async fn with_upstream() -> (Upstream, Scene, String) {
    let upstream = Upstream::echo().await;
    let scene = scene(&routes(&upstream)).await;
    let token = scene.mint(&json!({"agent_id": "robot", "permissions": ["reports.read"]})).await.1;
    (upstream, scene, token)
}

pub fn post(path: &str, token: &str, more: &[&str], body: &str) -> String {
    let mut lines = vec![bearer(token)];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    request("POST", path, &lines, body)
}

pub fn confirmed(token: &str) -> String {
    format!("X-Action-Confirmation: {token}")
}

impl Scene {
    pub async fn post(&self, path: &str, token: &str, more: &[&str], body: &str) -> Answer {
        exchange(self.gateway.public(), post(path, token, more, body)).await.expect("an answer")
    }

    /// What the agent is given for a request that waits.
    pub async fn hold(&self, path: &str, token: &str, body: &str) -> String {
        let held = self.post(path, token, &[], body).await;
        assert_eq!(held.status, 202, "{}", held.text());
        held.json()["confirmation_token"].as_str().expect("a token").to_owned()
    }

    pub async fn decide(&self, named: &str, word: &str) -> Answer {
        self.call("POST", &format!("{PENDING}{named}/{word}/"), &json!({"reason": "because"})).await
    }

    pub async fn approve(&self, named: &str) {
        let done = self.decide(named, "confirm").await;
        assert_eq!((done.status, &done.json()["status"]), (200, &json!("confirmed")), "{}", done.text());
    }

    /// A request that people have approved.
    pub async fn approved(&self, path: &str, token: &str, body: &str) -> String {
        let named = self.hold(path, token, body).await;
        self.approve(&named).await;
        named
    }

    pub async fn standing(&self, named: &str) -> String {
        let shown = self.call("GET", &format!("{PENDING}{named}/"), &Value::Null).await;
        shown.json()["state"].as_str().expect("a state").to_owned()
    }

    pub async fn comes_to(&self, named: &str, state: &str) {
        until(Duration::from_secs(3), state, async || self.standing(named).await == state).await;
    }
}

#[tokio::test]
async fn the_seeds_flow_held_confirmed_executed_once_and_replay_refused() {
    let (upstream, scene, token) = with_upstream().await;
    let held =
        scene.post("/reports/7?copy=1", &token, &["X-Tenant: a", "X-Other: b"], r#"{"amount": 10}"#).await;
    assert_eq!(held.status, 202, "{}", held.text());
    let body = held.json();
    assert_eq!(body["status"], "pending_confirmation");
    assert_eq!(body["message"], "This action requires human approval.");
    assert_eq!(body["approval"], "pending");
    let named = body["confirmation_token"].as_str().unwrap().to_owned();
    assert_eq!(named.len(), 86);
    let listed = scene.call("GET", PENDING, &Value::Null).await.json();
    let listed = listed.as_array().expect("a bare array");
    assert_eq!(listed.len(), 1);
    for (key, value) in [
        ("agent_id", json!("robot")),
        ("permission", json!("reports.read")),
        ("endpoint", json!("/reports/7")),
        ("target", json!("/reports/7?copy=1")),
        ("payload", json!({"amount": 10})),
        ("confirmation_token", json!(named)),
        ("expires_at", body["expires_at"].clone()),
    ] {
        assert_eq!(listed[0][key], value, "{key}");
    }
    let polled = async || scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await;
    assert_eq!((polled().await.status, &polled().await.json()["approval"]), (202, &json!("pending")));
    assert_eq!(upstream.count(), 0, "nothing was sent");
    scene.approve(&named).await;
    assert_eq!((polled().await.status, &polled().await.json()["approval"]), (202, &json!("approved")));
    let again = scene.post("/reports/7?copy=1", &token, &["X-Tenant: a"], r#"{"amount": 10}"#).await;
    assert_eq!(
        (again.status, &again.json()["approval"]),
        (202, &json!("approved")),
        "without the token it waits"
    );
    let more =
        [&*confirmed(&named), "X-Tenant: a", "X-Other: changed", "Cookie: a=b", "X-Prompt-Trace-ID: t-9"];
    let done = scene.post("/reports/7?copy=1", &token, &more, r#"{"amount": 10}"#).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let seen = upstream.last();
    assert_eq!((seen.target(), seen.body.as_slice()), ("/reports/7?copy=1", &br#"{"amount": 10}"#[..]));
    assert_eq!((seen.header("x-tenant"), seen.header("x-prompt-trace-id")), (Some("a"), Some("t-9")));
    let id = body["approval_id"].as_str();
    assert_eq!((seen.header("x-portcullis-approval-id"), seen.header("idempotency-key")), (id, id));
    assert_eq!(seen.header("x-agent-id"), Some("robot"));
    for name in ["x-other", "cookie", "x-action-confirmation", "authorization", "user-agent"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    scene.comes_to(&named, "executed").await;
    let replayed = scene.post("/reports/7?copy=1", &token, &more, r#"{"amount": 10}"#).await;
    assert_eq!(told(&replayed), (409, "APPROVAL_USED".to_owned()));
    assert_eq!(replayed.json()["state"], "executed");
    assert_eq!((polled().await.status, polled().await.code()), (409, "APPROVAL_USED".to_owned()));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn t1_an_approval_opens_nothing_but_what_was_approved() {
    let (upstream, scene, token) = with_upstream().await;
    let named = scene.approved("/reports/7", &token, r#"{"amount": 1}"#).await;
    let shown = &*confirmed(&named);
    for (path, more, body) in [
        ("/reports/7", vec![shown], r#"{"amount": 1000}"#),
        ("/reports/7", vec![shown], r#"{"amount":1}"#),
        ("/reports/8", vec![shown], r#"{"amount": 1}"#),
        ("/reports/7?a=b", vec![shown], r#"{"amount": 1}"#),
        ("/reports/7", vec![shown, "X-Tenant: other"], r#"{"amount": 1}"#),
        ("/reports/7", vec![shown, "Accept: text/csv"], r#"{"amount": 1}"#),
        ("/four-eyes", vec![shown], r#"{"amount": 1}"#),
    ] {
        let refused = scene.post(path, &token, &more, body).await;
        assert_eq!(told(&refused), (409, "APPROVAL_MISMATCH".to_owned()), "{path} {more:?} {body}");
    }
    let lines = [bearer(&token), shown.to_owned(), "Content-Length: 13".to_owned()];
    let put = request("PUT", "/reports/7", &lines, "")
        .replace("\r\n\r\n", "\r\nContent-Type: application/json\r\n\r\n{\"amount\": 1}");
    let put = exchange(scene.gateway.public(), put).await.expect("an answer");
    assert_eq!(told(&put), (409, "APPROVAL_MISMATCH".to_owned()));
    let sibling = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let refused = scene.post("/reports/7", &sibling, &[shown], r#"{"amount": 1}"#).await;
    assert_eq!(told(&refused), (409, "APPROVAL_UNKNOWN".to_owned()), "another agent's");
    let unknown = confirmed("no-such-token");
    let refused = scene.post("/reports/7", &token, &[&unknown], r#"{"amount": 1}"#).await;
    assert_eq!(told(&refused), (409, "APPROVAL_UNKNOWN".to_owned()));
    assert_eq!((upstream.count(), scene.standing(&named).await), (0, "approved".to_owned()), "untouched");
    assert_eq!(scene.post("/reports/7", &token, &[shown], r#"{"amount": 1}"#).await.status, 200);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn t3_both_clocks_are_asked_when_it_is_used() {
    let (upstream, scene, token) = with_upstream().await;
    let (pending, approved) =
        (scene.hold("/reports/1", &token, "1").await, scene.approved("/reports/2", &token, "2").await);
    scene.clock.advance(5 * MINUTE);
    let late = scene.post("/reports/2", &token, &[&confirmed(&approved)], "2").await;
    assert_eq!(told(&late), (410, "APPROVAL_EXPIRED".to_owned()));
    assert_eq!(late.json()["state"], "lapsed");
    scene.clock.advance(5 * MINUTE);
    let refused = scene.decide(&pending, "confirm").await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("Invalid or expired token")));
    let late = scene.post("/reports/1", &token, &[&confirmed(&pending)], "1").await;
    assert_eq!(told(&late), (410, "APPROVAL_EXPIRED".to_owned()));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn t4_a_strangers_word_changes_nothing_and_agents_never_decide() {
    let (upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    let eve = scene.gateway.user("eve", &scene.keys).await;
    scene.gateway.grant(eve.id, permission("reports")).await;
    for word in ["confirm", "approve", "deny", "reject"] {
        let path = format!("{PENDING}{named}/{word}/");
        let refused = scene.gateway.call("POST", &path, &scene.lines(&eve), &json!({"token": named})).await;
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("Invalid or expired token")));
        let agent = scene.as_agent("POST", &path, &token).await;
        assert_eq!(told(&agent), (403, "AGENT_NOT_ALLOWED".to_owned()));
    }
    let path = format!("{PENDING}{named}/");
    assert_eq!(scene.gateway.call("GET", &path, &scene.lines(&eve), &Value::Null).await.status, 404);
    assert_eq!(scene.gateway.call("GET", PENDING, &scene.lines(&eve), &Value::Null).await.json(), json!([]));
    let sibling = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    assert_eq!(told(&scene.as_agent("GET", &path, &sibling).await), (409, "APPROVAL_UNKNOWN".to_owned()));
    assert_eq!(scene.standing(&named).await, "pending");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_no_is_told_with_its_reason_and_the_same_is_not_asked_again_for_a_while() {
    let (_upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    assert_eq!(scene.decide(&named, "deny").await.json()["status"], "denied");
    for more in [vec![], vec![confirmed(&named)]] {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let refused = scene.post("/reports/7", &token, &more, "{}").await;
        assert_eq!(told(&refused), (403, "APPROVAL_DENIED".to_owned()));
        assert_eq!(refused.json()["reason"], "because");
        assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u32>().unwrap() <= 300));
    }
    let polled = scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await;
    assert_eq!((polled.status, &polled.json()["reason"]), (403, &json!("because")));
    scene.clock.advance(5 * MINUTE);
    assert_eq!(scene.post("/reports/7", &token, &[], "{}").await.status, 202);
}

#[tokio::test]
async fn a_no_is_a_no_by_either_word_and_by_number() {
    let (upstream, scene, token) = with_upstream().await;
    for (body, word, is_numbered) in [("1", "reject", false), ("2", "reject", true), ("3", "deny", true)] {
        let named = scene.hold("/reports/7", &token, body).await;
        let shown = scene.call("GET", &format!("{PENDING}{named}/"), &Value::Null).await.json();
        let by = if is_numbered { shown["id"].to_string() } else { named.clone() };
        let done = scene.decide(&by, word).await;
        assert_eq!((done.status, &done.json()["status"]), (200, &json!("denied")), "{word}: {}", done.text());
        let refused = scene.post("/reports/7", &token, &[&confirmed(&named)], body).await;
        assert_eq!(told(&refused), (403, "APPROVAL_DENIED".to_owned()), "{word}");
        assert_eq!(refused.json()["reason"], "because", "{word}");
        assert_eq!(scene.standing(&named).await, "denied");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn t12_a_repeated_request_waits_once_and_twenty_at_most() {
    let (_upstream, scene, token) = with_upstream().await;
    let first = scene.hold("/reports/0", &token, "0").await;
    assert_eq!(scene.hold("/reports/0", &token, "0").await, first);
    for number in 1..20 {
        scene.hold("/reports/0", &token, &number.to_string()).await;
    }
    let refused = scene.post("/reports/0", &token, &[], "20").await;
    assert_eq!(told(&refused), (429, "TOO_MANY_PENDING".to_owned()));
    assert!(refused.header("retry-after").is_some());
    scene.decide(&first, "deny").await;
    scene.hold("/reports/0", &token, "20").await;
}

#[tokio::test]
async fn a_body_that_two_could_read_differently_never_waits() {
    let (upstream, scene, token) = with_upstream().await;
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for body in [r#"{"amount": 1, "amount": 2}"#, "\u{feff}{}", &deep, "{"] {
        let refused = scene.post("/reports/7", &token, &[], body).await;
        assert_eq!(told(&refused), (400, "BAD_REQUEST".to_owned()), "{body}");
    }
    let large = scene.post("/reports/7", &token, &[], &format!("\"{}\"", "x".repeat(64 << 10))).await;
    assert_eq!(told(&large), (413, "BODY_TOO_LARGE".to_owned()));
    assert_eq!(scene.call("GET", PENDING, &Value::Null).await.json(), json!([]));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn only_what_the_comparison_says_waits_and_a_confirmed_permission_always_does() {
    let (upstream, scene, token) = with_upstream().await;
    assert_eq!(scene.post("/orders", &token, &["X-Other: b"], r#"{"amount": 1000}"#).await.status, 200);
    assert_eq!((upstream.count(), upstream.last().header("x-other")), (1, Some("b")));
    assert_eq!(upstream.last().body, br#"{"amount": 1000}"#);
    for body in [r#"{"amount": 1000.5}"#, r#"{"amount": "5"}"#, "{}"] {
        assert_eq!(scene.post("/orders", &token, &[], body).await.status, 202, "{body}");
    }
    scene.gateway.grant(scene.ada.id, permission("pay")).await;
    let payer = scene.mint(&json!({"permissions": ["pay"]})).await.1;
    assert_eq!(scene.post("/payments", &payer, &[], "{}").await.status, 202);
    let person = scene.gateway.send("POST", "/payments", &[scene.ada.bearer()]).await;
    assert_eq!((person.status, upstream.count()), (200, 2), "people wait for nobody");
}

#[tokio::test]
async fn four_eyes_must_see_it() {
    let (upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/four-eyes", &token, "{}").await;
    assert_eq!(
        scene.decide(&named, "confirm").await.json(),
        json!({"status": "pending", "missing": 1, "execute_by": null})
    );
    let bob = scene.gateway.user("bob", &scene.keys).await;
    scene.gateway.grant(bob.id, role("finance")).await;
    let path = format!("{PENDING}{named}/approve/");
    let done = scene.gateway.call("POST", &path, &scene.lines(&bob), &Value::Null).await;
    assert_eq!(done.json()["status"], "confirmed", "{}", done.text());
    assert_eq!(scene.post("/four-eyes", &token, &[&confirmed(&named)], "{}").await.status, 200);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn what_stops_the_agent_or_changes_the_route_voids() {
    let (upstream, scene, token) = with_upstream().await;
    let (pending, approved) =
        (scene.hold("/reports/1", &token, "1").await, scene.approved("/reports/2", &token, "2").await);
    let other = routes(&upstream).replace(
        "allow: signed_in, agents: { permission: reports.read, hold: always, bound",
        "allow: { verified: email }, agents: { permission: reports.read, hold: always, bound",
    );
    let yaml = format!("{}{other}", crate::agent::YAML);
    scene.gateway.running.reload(&scene.gateway.load(&yaml)).await.unwrap_or_else(|error| panic!("{error}"));
    let refused = scene.decide(&pending, "confirm").await;
    assert_eq!(told(&refused), (409, "APPROVAL_VOID".to_owned()));
    let refused = scene.post("/reports/2", &token, &[&confirmed(&approved)], "2").await;
    assert_eq!(told(&refused), (409, "APPROVAL_VOID".to_owned()));
    let (pending, approved) =
        (scene.hold("/reports/3", &token, "3").await, scene.approved("/reports/4", &token, "4").await);
    scene.call("POST", "/ai/tokens/revoke-all/", &Value::Null).await;
    assert_eq!(
        (scene.standing(&pending).await, scene.standing(&approved).await),
        ("void".to_owned(), "void".to_owned())
    );
    let (_, token) = scene.mint(&json!({"permissions": ["reports.read"]})).await;
    let approved = scene.approved("/reports/5", &token, "5").await;
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    let refused = scene.post("/reports/5", &token, &[&confirmed(&approved)], "5").await;
    assert_eq!(told(&refused), (403, "AGENT_PERMISSION_DENIED".to_owned()));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_person_logs_in_and_decides_by_number() {
    let (_upstream, scene, token) = with_upstream().await;
    scene.hold("/reports/7", &token, "{}").await;
    let listed =
        scene.call("GET", &format!("{PENDING}?state=pending&route=reports"), &Value::Null).await.json();
    let number = listed[0]["id"].as_i64().expect("a number");
    assert_eq!(scene.decide(&number.to_string(), "approve").await.json()["status"], "confirmed");
    assert_eq!(
        scene.call("GET", &format!("{PENDING}?state=approved"), &Value::Null).await.json()[0]["id"],
        number
    );
    let bad = scene.call("GET", &format!("{PENDING}?state=nonsense"), &Value::Null).await;
    assert_eq!(told(&bad), (400, "VALIDATION_ERROR".to_owned()));
}

#[tokio::test]
async fn what_waits_is_counted_and_told_to_pages_of_other_origins_too() {
    let upstream = Upstream::echo().await;
    let cors = "cors: { origins: ['https://app.example.com'], expose: [x-portcullis-approval-id] }\n";
    let scene = scene(&format!("{cors}{}", routes(&upstream))).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let origin = "Origin: https://app.example.com";
    let held = scene.post("/reports/7", &token, &[origin], "{}").await;
    let unknown = scene.post("/reports/7", &token, &[origin, &confirmed("nothing")], "{}").await;
    let flawed = scene.post("/reports/7", &token, &[origin], "{\"a\": 1, \"a\": 2}").await;
    for (answer, status) in [(&held, 202), (&unknown, 409), (&flawed, 400)] {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("x-portcullis-approval-id"));
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("Origin")));
    }
    let stranger = scene.post("/reports/7", &token, &["Origin: https://evil.example"], "{}").await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (202, None));
    let metrics = scene.gateway.running.app.metrics.render();
    let counted = "portcullis_decisions_total{decision=\"hold\",reason=\"approval\",route=\"reports\"} 2";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn a_confirmation_that_is_named_away_opens_one_request_at_most() {
    let (upstream, scene, token) = with_upstream().await;
    let named = scene.approved("/reports/7", &token, "{}").await;
    let away = [&*confirmed(&named), "Connection: x-action-confirmation"];
    let first = scene.post("/reports/7", &token, &away, "{}").await.status;
    assert_eq!(upstream.count(), usize::from(first == 200), "{first}");
    if first == 200 {
        assert_eq!(upstream.last().header("x-action-confirmation"), None, "used here, and not sent on");
    }
    for _ in 0..2 {
        scene.post("/reports/7", &token, &[&confirmed(&named)], "{}").await;
    }
    assert_eq!(upstream.count(), 1);
}
