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

#[tokio::test]
async fn a_misspelt_field_of_a_decision_or_a_list_is_refused_and_decides_nothing() {
    let (_upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    let say =
        async |word: &str, body: Value| scene.call("POST", &format!("{PENDING}{named}/{word}/"), &body).await;
    for word in ["confirm", "approve", "deny", "reject"] {
        let refused = say(word, json!({"reasn": "not this account"})).await;
        assert_eq!(told(&refused), (400, "VALIDATION_ERROR".to_owned()), "{word}");
        assert!(refused.json()["details"]["reasn"].is_array(), "{}", refused.text());
    }
    let listed = scene.call("GET", &format!("{PENDING}?sate=all"), &Value::Null).await;
    assert_eq!(told(&listed), (400, "VALIDATION_ERROR".to_owned()));
    assert_eq!(scene.standing(&named).await, "pending");
    let done = say("deny", json!({"token": 7, "reason": "not this account"})).await;
    assert_eq!((done.status, scene.standing(&named).await.as_str()), (200, "denied"), "{}", done.text());
}

#[tokio::test]
async fn what_waits_is_listed_by_agent_token_trace_and_page() {
    let (_upstream, scene, robot) = with_upstream().await;
    let other = json!({"agent_id": "other", "permissions": ["reports.read"]});
    let (id, other) = scene.mint(&other).await;
    for (token, path, trace) in
        [(&robot, "/reports/1", "t-1"), (&robot, "/reports/2", "t-2"), (&other, "/reports/3", "t-1")]
    {
        let held = scene.post(path, token, &[&format!("X-Prompt-Trace-ID: {trace}")], "{}").await;
        assert_eq!(held.status, 202, "{}", held.text());
    }
    let listed = async |query: &str| -> Vec<(i64, String)> {
        let listed = scene.call("GET", &format!("{PENDING}?{query}"), &Value::Null).await;
        assert_eq!(listed.status, 200, "{query}: {}", listed.text());
        let all = listed.json().as_array().cloned().expect("a list");
        all.iter()
            .map(|one| (one["id"].as_i64().unwrap(), one["endpoint"].as_str().unwrap().to_owned()))
            .collect()
    };
    let paths =
        async |query: &str| -> Vec<String> { listed(query).await.into_iter().map(|one| one.1).collect() };
    assert_eq!(paths("").await, ["/reports/3", "/reports/2", "/reports/1"], "the newest first");
    assert_eq!(paths("agent_id=robot").await, ["/reports/2", "/reports/1"]);
    assert_eq!(paths(&format!("agent_token_id={id}")).await, ["/reports/3"]);
    assert_eq!(paths("trace=t-1").await, ["/reports/3", "/reports/1"]);
    assert_eq!(paths("trace=t-1&agent_id=robot&state=all").await, ["/reports/1"]);
    assert_eq!(paths("route=reports&limit=2").await, ["/reports/3", "/reports/2"]);
    assert!(paths("route=orders").await.is_empty() && paths("state=denied").await.is_empty());
    assert!(
        paths("agent_token_id=999999").await.is_empty() && paths("agent_token_id=nothing").await.is_empty()
    );
    let last = listed("limit=2").await[1].0;
    assert_eq!(paths(&format!("before={last}")).await, ["/reports/1"]);
    for bad in ["limit=0", "limit=1001", "before=x", "state=some"] {
        let refused = scene.call("GET", &format!("{PENDING}?{bad}"), &Value::Null).await;
        assert_eq!(refused.status, 400, "{bad}");
    }
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
