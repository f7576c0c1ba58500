//! What once went wrong with agents: each test is named after it.
//! Law: every one of these failed before its mending.

use std::sync::Arc;
use std::time::Duration;

use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{YAML, scene};
use crate::agent_gate::told;
use crate::agent_hold::{PENDING, confirmed, post, with_upstream};
use crate::agent_once::delegated_within;
use crate::on_one_and_on_two;
use crate::support::people::permission;
use crate::support::replica::until;
use crate::support::upstream::spawn;
use crate::support::{Act, Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_agent_that_tries_to_approve_its_own_request_is_in_the_trail() {
    let (upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    let refused = scene.as_agent("POST", &format!("{PENDING}{named}/confirm/"), &token).await;
    assert_eq!(told(&refused), (403, "AGENT_NOT_ALLOWED".to_owned()));
    let denied = async || {
        let rows = scene.rows("agent_action").await;
        rows.into_iter().filter(|row| row.personal["detail"]["verdict"] == "deny").collect::<Vec<_>>()
    };
    until(SECOND, "a row", async || denied().await.len() == 1).await;
    let row = denied().await.remove(0);
    assert_eq!((row.actor_kind.as_str(), row.account), ("agent", Some(scene.ada.id)));
    assert!(row.personal["detail"]["route"].as_str().unwrap().ends_with("/confirm/"), "{row:?}");
    for _ in 0..40 {
        scene.as_agent("POST", "/ai/tokens/", &token).await;
    }
    until(SECOND, "rows", async || denied().await.len() == 30).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(denied().await.len(), 30, "whoever goes on fills no trail");
    let stranger = scene.as_agent("POST", "/ai/tokens/", &"x".repeat(48)).await;
    assert_eq!(told(&stranger), (403, "AGENT_NOT_ALLOWED".to_owned()));
    assert_eq!((scene.standing(&named).await.as_str(), upstream.count()), ("pending", 0));
}

#[tokio::test]
async fn who_polls_until_told_to_slow_down_can_still_say_that_it_lives() {
    let (_upstream, scene, _) = with_upstream().await;
    let switch =
        json!({"permissions": ["reports.read"], "dead_mans_switch": {"heartbeat_required_every": 60}});
    let (id, token) = scene.mint(&switch).await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    let poll = async || scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await.status;
    let mut polls = 0;
    while poll().await != 429 {
        polls += 1;
        assert!(polls < 100, "never told to slow down");
    }
    let beat = scene.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), &token).await;
    assert_eq!(beat.status, 200, "{}", beat.text());
}

/// It was told 502 `REDACTION_IMPOSSIBLE`, as if an upstream had been asked and had answered badly: what
/// repeats a request on 5xx would have asked without end.
#[tokio::test]
async fn an_answer_that_may_not_be_read_any_more_is_told_as_executed_and_is_closed_not_lost() {
    let upstream = Upstream::start(|_| {
        Act::with("Content-Type: application/json\r\n", r#"{"name": "Ada", "email": "ada@example.com"}"#)
    })
    .await;
    let yaml = |keys: &str| {
        format!(
            "{YAML}upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes: [ {{ name: clean, match: {{ path: /clean }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, hold: always, mode: sealed, redact: {{ keys: [{keys}] }} }} }} ]
",
            upstream.address
        )
    };
    let scene = scene(yaml("email").strip_prefix(YAML).unwrap()).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let named = scene.approved("/clean", &token, "{}").await;
    scene.comes_to(&named, "executed").await;
    let poll = async || scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await;
    let reload = async |keys: &str| {
        let loaded = scene.gateway.load(&yaml(keys));
        scene.gateway.running.reload(&loaded).await.unwrap_or_else(|error| panic!("{error}"));
    };
    let withheld = async |reason: &str| {
        let closed = poll().await;
        assert_eq!(told(&closed), (409, "RESULT_WITHHELD".to_owned()), "{}", closed.text());
        assert_eq!((&closed.json()["state"], &closed.json()["reason"]), (&json!("executed"), &json!(reason)));
        assert!(!closed.text().contains("Ada"), "{}", closed.text());
    };
    let given = poll().await;
    assert_eq!(given.status, 200, "{}", given.text());
    assert!(given.text().contains("Ada") && !given.text().contains("ada@"), "{}", given.text());
    reload("email, name").await;
    withheld("policy_changed").await;
    reload("email").await;
    assert_eq!(poll().await.json(), given.json(), "under the policy of its execution");
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    withheld("right_lost").await;
    assert_eq!(upstream.count(), 1);
}

on_one_and_on_two! {
    // The first of two takes the last that there is; the second must find the approval taken, and not
    // an empty purse that suspends the agent and calls the approval off.
    async fn a_retry_that_comes_twice_neither_suspends_the_agent_nor_voids_the_approval(dialect: Dialect) {
        let mint = json!({"permissions": ["reports.read"],
            "circuit_breaker": {"max_requests_total": 1, "max_requests_per_minute": 1_000_000}});
        let (upstream, replicas, lines, token) = delegated_within(dialect, &mint).await;
        let here = &replicas.here;
        let held = exchange(here.public(), post("/reports/7", &token, &[], "{}")).await.expect("an answer");
        let named = held.json()["confirmation_token"].as_str().expect("a token").to_owned();
        let path = format!("{PENDING}{named}/confirm/");
        assert_eq!(here.call("POST", &path, &lines, &Value::Null).await.status, 200);
        let all: Vec<_> = (0..16)
            .map(|number| {
                let (replicas, token, named) = (Arc::clone(&replicas), token.clone(), named.clone());
                spawn(async move {
                    let to = replicas.nth(number).public();
                    exchange(to, post("/reports/7", &token, &[&confirmed(&named)], "{}")).await.expect("an answer")
                })
            })
            .collect();
        let mut executed = 0;
        for one in all {
            let answer = one.await.unwrap();
            match answer.status {
                200 => executed += 1,
                _ => assert_eq!(told(&answer), (409, "APPROVAL_USED".to_owned()), "{}", answer.text()),
            }
        }
        assert_eq!((executed, upstream.count()), (1, 1));
        let shown = here.call("GET", "/ai/tokens/", &lines, &Value::Null).await.json();
        assert_eq!(shown[0]["status"], "ACTIVE");
    }
}
