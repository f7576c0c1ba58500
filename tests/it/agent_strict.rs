//! What agents and those who delegate to them send that two could read differently, and what else of
//! the contract's section 26 is only seen on the wire (T1, T8, T10, T11).
//! Law: what is refused is not stored, and that it was refused is.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{reader, told};
use crate::agent_hold::{PENDING, confirmed, with_upstream};
use crate::support::raw::Answer;
use crate::support::replica::until;
use crate::support::{Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

impl Scene {
    /// A body that need not be text.
    async fn send_bytes(&self, path: &str, lines: &[String], body: &[u8]) -> Answer {
        let lines = lines.join("\r\n");
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        exchange(self.gateway.public(), bytes).await.expect("an answer")
    }
}

/// Bodies that begin well, each wrong in one way.
fn bad_bodies(good: &str) -> Vec<(&'static str, Vec<u8>)> {
    let with = |more: &[u8]| [&good.as_bytes()[..good.len() - 1], b", ", more, b"}"].concat();
    let nested = |depth: usize| format!("\"agent_id\": {}{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        ("a name twice", with(br#""permissions": ["reports.read"]"#)),
        ("a name twice, spelt otherwise", with(br#""\u0070ermissions": ["reports.read"]"#)),
        (
            "a name twice inside",
            with(br#""circuit_breaker": {"max_requests_total": 1, "max_requests_total": 2}"#),
        ),
        ("a byte order mark", [b"\xef\xbb\xbf", good.as_bytes()].concat()),
        ("no UTF-8", with(b"\"agent_id\": \"robot\xff\"")),
        ("an overlong form", with(b"\"agent_id\": \"\xc0\xafrobot\"")),
        ("half a surrogate", with(br#""agent_id": "\ud800""#)),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("deep", with(nested(70).as_bytes())),
        ("very deep", with(nested(20_000).as_bytes())),
        ("very deep and open", [b"{\"permissions\": ", "[".repeat(20_000).as_bytes()].concat()),
        ("something behind it", [good.as_bytes(), b" {}"].concat()),
        ("cut off", good.as_bytes()[..good.len() - 1].to_vec()),
    ]
}

#[tokio::test]
async fn t10_a_delegation_that_two_could_read_differently_is_refused_and_not_stored() {
    let scene = scene("").await;
    let lines = scene.lines(&scene.ada);
    let good = r#"{"permissions": ["reports"]}"#;
    for (flaw, body) in bad_bodies(good) {
        let refused = scene.send_bytes("/api/v1/auth/ai/tokens/", &lines, &body).await;
        assert_eq!(refused.status, 400, "{flaw}: {}", refused.text());
    }
    let listed = async || scene.call("GET", "/ai/tokens/", &Value::Null).await.json();
    assert_eq!(listed().await, json!([]));
    assert!(scene.rows("agent_token_created").await.is_empty());
    let minted = scene.send_bytes("/api/v1/auth/ai/tokens/", &lines, good.as_bytes()).await;
    assert_eq!(minted.status, 201, "it was the flaw: {}", minted.text());
    assert_eq!(listed().await.as_array().map(Vec::len), Some(1));
    assert_eq!(scene.rows("agent_token_created").await.len(), 1, "that is what it is called");
}

#[tokio::test]
async fn a_request_that_two_could_read_differently_never_waits() {
    let (upstream, scene, token) = with_upstream().await;
    let lines = [bearer(&token)];
    let good = r#"{"permissions": 1}"#;
    for (flaw, body) in bad_bodies(good) {
        let refused = scene.send_bytes("/reports/7", &lines, &body).await;
        assert_eq!(told(&refused), (400, "BAD_REQUEST".to_owned()), "{flaw}");
    }
    assert_eq!(scene.call("GET", PENDING, &Value::Null).await.json(), json!([]));
    assert!(scene.rows("approval_requested").await.is_empty());
    assert_eq!(scene.send_bytes("/reports/7", &lines, good.as_bytes()).await.status, 202);
    assert_eq!((scene.rows("approval_requested").await.len(), upstream.count()), (1, 0));
}

#[tokio::test]
async fn t1_what_still_waits_opens_nothing_else_and_the_attempt_is_in_the_trail() {
    let (upstream, scene, token) = with_upstream().await;
    let pending = scene.hold("/reports/7", &token, "1").await;
    let approved = scene.approved("/reports/8", &token, "2").await;
    for (named, path, body) in [(&pending, "/reports/7", "9"), (&approved, "/reports/9", "2")] {
        let refused = scene.post(path, &token, &[&confirmed(named)], body).await;
        assert_eq!(told(&refused), (409, "APPROVAL_MISMATCH".to_owned()), "{path}");
    }
    let same = scene.post("/reports/7", &token, &[&confirmed(&pending)], "1").await;
    assert_eq!((same.status, &same.json()["confirmation_token"]), (202, &json!(pending)));
    assert_eq!(scene.standing(&pending).await, "pending");
    assert_eq!(scene.standing(&approved).await, "approved");
    let listed = scene.call("GET", PENDING, &Value::Null).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "nothing else was asked for");
    assert_eq!(upstream.count(), 0);
    let is_denied = |detail: &Value| detail["verdict"] == "deny" && detail["reason"] == "approval_mismatch";
    until(2 * SECOND, "two rows", async || {
        let rows = scene.rows("agent_action").await;
        rows.iter().filter(|row| is_denied(&row.personal["detail"])).count() == 2
    })
    .await;
}

#[tokio::test]
async fn t8_the_configuration_says_which_breach_suspends() {
    let upstream = Upstream::echo().await;
    let more = format!("agents: {{ suspend_after: 2 }}\n{}", crate::agent_gate::routes(&upstream));
    let scene = scene(&more).await;
    let once = json!({"circuit_breaker": {"max_requests_per_minute": 1}});
    let (id, token) = scene.mint(&reader(&once)).await;
    let shown = scene.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
    assert_eq!(shown["circuit_breaker"]["suspend_after"], 2);
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200);
    let slow = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&slow), (429, "RATE_LIMITED".to_owned()));
    assert!(slow.header("retry-after").is_some());
    assert_eq!(scene.state(id).await.0, "ACTIVE");
    let tripped = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&tripped), (403, "AGENT_TOKEN_SUSPENDED".to_owned()));
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("RATE_LIMIT")));
    let own = json!({"circuit_breaker": {"max_requests_per_minute": 0, "suspend_after": 1}});
    let strict = scene.mint(&reader(&own)).await.1;
    let tripped = scene.ask("/reports/7", &strict, &[]).await;
    assert_eq!(told(&tripped), (403, "AGENT_TOKEN_SUSPENDED".to_owned()), "the token's own word counts");
}

#[tokio::test]
async fn who_logged_in_too_long_ago_approves_nothing_and_may_deny() {
    let upstream = Upstream::echo().await;
    let yaml = format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: act, match: {{ path: /act }}, upstream: up, allow: {{ max_age: 5m }}, agents: {{ permission: reports.read, hold: always }} }} ]
",
        upstream.address
    );
    let scene = scene(&yaml).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let (first, second) = (scene.hold("/act", &token, "1").await, scene.hold("/act", &token, "2").await);
    scene.clock.advance(Duration::from_mins(6));
    let refused = scene.decide(&first, "confirm").await;
    assert_eq!(told(&refused), (403, "REAUTHENTICATION_REQUIRED".to_owned()), "{}", refused.text());
    assert_eq!(scene.standing(&first).await, "pending");
    assert!(scene.rows("approval_approved").await.is_empty());
    let fresh = scene.gateway.log_in("ada", scene.ada.id, &scene.keys).await;
    let path = format!("{PENDING}{first}/confirm/");
    let done = scene.gateway.call("POST", &path, &scene.lines(&fresh), &Value::Null).await;
    assert_eq!((done.status, &done.json()["status"]), (200, &json!("confirmed")), "{}", done.text());
    assert_eq!(scene.decide(&second, "deny").await.json()["status"], "denied", "a no asks for less");
    assert_eq!(upstream.count(), 0);
}
