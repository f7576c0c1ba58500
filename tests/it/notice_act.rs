//! Notices beside what agents do, on the running gateway: what was executed is told, a stop is told
//! once, and nobody who asks or decides waits for a mail server or a receiver.
//! Law: a request pays for the outbox's row, never for its way out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::scene_in;
use crate::agent_gate::{self, reader, told};
use crate::agent_hold::{self, confirmed};
use crate::notices::{SOON, answered, checked, hook, mail_to};
use crate::support::replica::{at_best, until};
use crate::support::smtp::{Smtp, Take};
use crate::support::upstream::spawn;
use crate::support::{Act, Upstream};

const SECOND: Duration = Duration::from_secs(1);
const ALL: &str = "approval.requested, approval.decided, approval.executed";

#[tokio::test]
async fn what_was_executed_is_told_once_with_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, upstream) = (Upstream::start(|_| answered(200)).await, Upstream::echo().await);
    let hook = hook(&folder, "ops", &receiver).replace("agent.suspended", "approval.executed");
    let scene = scene_in(folder, &format!("webhooks: [ {hook} ]\n{}", agent_hold::routes(&upstream))).await;
    let token = scene.mint(&json!({"agent_id": "robot", "permissions": ["reports.read"]})).await.1;
    let named = scene.approved("/reports/7", &token, r#"{"iban": "SECRET"}"#).await;
    assert_eq!(receiver.count(), 0, "nothing was executed yet");
    let done = scene.post("/reports/7", &token, &[&confirmed(&named)], r#"{"iban": "SECRET"}"#).await;
    assert_eq!(done.status, 200, "{}", done.text());
    until(SOON, "the word of it", async || receiver.count() == 1).await;
    let notice = checked(&receiver.last()).2;
    let shown = scene.call("GET", &format!("{}{named}/", agent_hold::PENDING), &Value::Null).await.json();
    assert_eq!(
        (&notice["type"], &notice["data"]["state"]),
        (&json!("approval.executed"), &json!("executed"))
    );
    for (told, known) in [("agent_id", "agent_id"), ("number", "id"), ("binding_digest", "binding_digest")] {
        assert_eq!(notice["data"][told], shown[known], "{told}: {notice} {shown}");
    }
    for secret in ["SECRET", &named, &token] {
        assert!(!notice.to_string().contains(secret), "{notice}");
    }
    let again = scene.post("/reports/7", &token, &[&confirmed(&named)], r#"{"iban": "SECRET"}"#).await;
    assert_eq!(told(&again), (409, "APPROVAL_USED".to_owned()));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(receiver.count(), 1, "told once");
}

#[tokio::test]
async fn every_step_of_an_approval_is_told_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Upstream::start(|_| answered(200)).await;
    let upstream = Upstream::start(|seen| match seen.target() {
        "/reports/broken" => Act::Close,
        "/reports/bad" => answered(500),
        _ => answered(200),
    })
    .await;
    let all = format!("{ALL}, approval.expired");
    let hook = hook(&folder, "ops", &receiver).replace("agent.suspended", &all);
    let scene = scene_in(folder, &format!("webhooks: [ {hook} ]\n{}", agent_hold::routes(&upstream))).await;
    let (asked, decided) = (("approval.requested", "pending"), ("approval.decided", "approved"));
    for (path, end) in [
        ("/reports/7", ("approval.executed", "executed")),
        ("/reports/bad", ("approval.executed", "failed")),
        ("/reports/broken", ("approval.executed", "indeterminate")),
        ("/reports/late", ("approval.expired", "lapsed")),
        ("/reports/stopped", ("approval.decided", "void")),
    ] {
        let (id, token) = scene.mint(&json!({"agent_id": "robot", "permissions": ["reports.read"]})).await;
        let before = receiver.count();
        let told = async |what: (&str, &str), count: usize| {
            until(SOON, what.1, async || receiver.count() == before + count).await;
            let notice = checked(&receiver.last()).2;
            assert_eq!(
                (&notice["type"], &notice["data"]["state"]),
                (&json!(what.0), &json!(what.1)),
                "{path}"
            );
        };
        let named = scene.hold(path, &token, "{}").await;
        told(asked, 1).await;
        scene.approve(&named).await;
        told(decided, 2).await;
        match end.1 {
            "lapsed" => scene.clock.advance(Duration::from_mins(6)),
            "void" => {
                let stopped = scene.call("POST", &format!("/ai/tokens/{id}/revoke/"), &Value::Null).await;
                assert_eq!(stopped.status, 200, "{}", stopped.text());
            }
            _ => drop(scene.post(path, &token, &[&confirmed(&named)], "{}").await),
        }
        told(end, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_asks_or_decides_waits_for_servers_that_hang() {
    let folder = tempfile::tempdir().unwrap();
    let (server, receiver) = (Smtp::plain().await, Upstream::start(|_| Act::Hang).await);
    server.next([Take::Hang; 50]);
    let upstream = Upstream::echo().await;
    let hook = hook(&folder, "ops", &receiver).replace("agent.suspended", ALL).replace("10s", "30s");
    let mail = mail_to(&server).replace("10s", "30s");
    let yaml = format!("{mail}webhooks: [ {hook} ]\n{}", agent_hold::routes(&upstream));
    let scene = scene_in(folder, &yaml).await;
    let token = scene.mint(&json!({"agent_id": "robot", "permissions": ["reports.read"]})).await.1;
    // Both are stuck with the first question from here on.
    scene.hold("/reports/0", &token, "0").await;
    until(SOON, "both hang", async || server.taken().len() == 1 && receiver.count() == 1).await;
    let mut number = 0;
    at_best(SECOND, "nobody waits", async || {
        number += 1;
        let body = number.to_string();
        let asked = Instant::now();
        let named = scene.hold("/reports/7", &token, &body).await;
        let held = asked.elapsed();
        let deciding = Instant::now();
        scene.approve(&named).await;
        let decided = deciding.elapsed();
        let sending = Instant::now();
        let done = scene.post("/reports/7", &token, &[&confirmed(&named)], &body).await;
        assert_eq!(done.status, 200, "{}", done.text());
        held.max(decided).max(sending.elapsed())
    })
    .await;
    assert_eq!((server.taken().len(), receiver.count()), (1, 1), "they hang still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_requests_at_once_that_trip_the_breaker_one_notice_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, upstream) = (Upstream::start(|_| answered(200)).await, Upstream::echo().await);
    let yaml =
        format!("webhooks: [ {} ]\n{}", hook(&folder, "ops", &receiver), agent_gate::routes(&upstream));
    let scene = Arc::new(scene_in(folder, &yaml).await);
    let breaker = json!({"circuit_breaker": {"max_requests_per_minute": 10}});
    let (id, token) = scene.mint(&reader(&breaker)).await;
    let all: Vec<_> = (0..100)
        .map(|_| {
            let (scene, token) = (Arc::clone(&scene), token.clone());
            spawn(async move { scene.ask("/reports/7", &token, &[]).await.status })
        })
        .collect();
    let mut passed = 0;
    for one in all {
        passed += usize::from(one.await.unwrap() == 200);
    }
    assert_eq!((passed, upstream.count()), (10, 10));
    until(SOON, "the word of it", async || receiver.count() >= 1).await;
    let notice = checked(&receiver.last()).2;
    assert_eq!((&notice["type"], &notice["data"]["token"]), (&json!("agent.suspended"), &json!(id)));
    assert_eq!(notice["data"]["reason"], "RATE_LIMIT");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(receiver.count(), 1, "one event, one notice");
}
