//! How held requests end, on the running gateway: sent once, tried again, waited for, written down.
//! Law: one approval is one request at the recording upstream, however many use it at once.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::scene;
use crate::agent_gate::told;
use crate::agent_hold::{PENDING, confirmed, post, routes, with_upstream};
use crate::on_one_and_on_two;
use crate::support::people::permission;
use crate::support::replica::{Replicas, in_time};
use crate::support::upstream::spawn;
use crate::support::{Act, Upstream, exchange, free_port};

#[tokio::test]
async fn what_was_not_sent_may_be_tried_again_and_what_broke_off_may_not() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/reports/cut" => Act::Close,
        "/reports/bad" => Act::Answer(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => Act::ok("fine"),
    })
    .await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let more = format!("{}  - {{ name: gone, match: {{ path: '/gone' }}, upstream: gone, allow: signed_in, agents: {{ permission: reports.read, hold: always }} }}\n", routes(&upstream))
        .replace("upstreams: { ", &format!("upstreams: {{ gone: {{ servers: ['{address}'], breaker: 'off' }}, "));
    let scene = scene(&more).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let named = scene.approved("/gone", &token, "{}").await;
    assert_eq!(scene.post("/gone", &token, &[&confirmed(&named)], "{}").await.status, 502);
    scene.comes_to(&named, "approved").await;
    for (path, status, state) in [("/reports/cut", 502, "indeterminate"), ("/reports/bad", 503, "failed")] {
        let named = scene.approved(path, &token, "{}").await;
        assert_eq!(scene.post(path, &token, &[&confirmed(&named)], "{}").await.status, status);
        scene.comes_to(&named, state).await;
        let rows = audit::tail(&scene.gateway.running.app.db, 0, 10_000).await.unwrap();
        let step = format!("approval_{state}");
        assert_eq!(rows.iter().filter(|row| row.code == step).count(), 1, "{step}");
        let again = scene.post(path, &token, &[&confirmed(&named)], "{}").await;
        assert_eq!(
            (told(&again), &again.json()["state"]),
            ((409, "APPROVAL_USED".to_owned()), &json!(state))
        );
    }
    assert_eq!(upstream.count(), 2, "neither was repeated by us");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefer_wait_holds_the_answer_until_people_have_decided() {
    let (_upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    let scene = Arc::new(scene);
    let waiting = {
        let (scene, token) = (Arc::clone(&scene), token.clone());
        spawn(async move { scene.post("/reports/7", &token, &["Prefer: wait=20"], "{}").await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.approve(&named).await;
    let answer =
        in_time(Duration::from_secs(2), waiting).await.expect("at once, not when it is looked for").unwrap();
    assert_eq!((answer.status, &answer.json()["approval"]), (202, &json!("approved")));
    let patient = scene.post("/reports/8", &token, &["Prefer: wait=1"], "{}").await;
    assert_eq!((patient.status, &patient.json()["approval"]), (202, &json!("pending")));
}

#[tokio::test]
async fn every_step_is_in_the_trail() {
    let (_upstream, scene, token) = with_upstream().await;
    let named = scene.approved("/reports/7", &token, "{}").await;
    scene.post("/reports/7", &token, &[&confirmed(&named)], "{}").await;
    scene.comes_to(&named, "executed").await;
    let app = &scene.gateway.running.app;
    app.write_notes().await.unwrap();
    let rows = audit::tail(&app.db, 0, 10_000).await.unwrap();
    for code in ["approval_requested", "approval_approved", "approval_claimed", "approval_executed"] {
        assert_eq!(rows.iter().filter(|row| row.code == code).count(), 1, "{code}");
    }
    let actions: Vec<&Value> =
        rows.iter().filter(|row| row.code == "agent_action").map(|row| &row.personal["detail"]).collect();
    for verdict in ["hold", "allow"] {
        let is_so = |detail: &&&Value| detail["verdict"] == verdict && detail["approval"].is_string();
        assert_eq!(actions.iter().filter(is_so).count(), 1, "{verdict}: {actions:?}");
    }
}

/// Gateways, what Ada calls with, and the token of her agent.
pub async fn delegated(dialect: Dialect) -> (Upstream, Arc<Replicas>, Vec<String>, String) {
    let mint =
        json!({"permissions": ["reports.read"], "circuit_breaker": {"max_requests_per_minute": 1_000_000}});
    delegated_within(dialect, &mint).await
}

/// The same of an agent with limits of its own.
pub async fn delegated_within(
    dialect: Dialect,
    mint: &Value,
) -> (Upstream, Arc<Replicas>, Vec<String>, String) {
    let upstream = Upstream::echo().await;
    let yaml = format!("{}{}", crate::agent::YAML, routes(&upstream));
    let replicas = Arc::new(Replicas::on(dialect, &yaml).await);
    let here = &replicas.here;
    let keys = here.application("web", &[]).await;
    let ada = here.user("ada", &keys).await;
    here.grant(ada.id, permission("reports")).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let minted = here.call("POST", "/ai/tokens/", &lines, mint).await.json();
    let token = minted["token"].as_str().expect("a token").to_owned();
    (upstream, replicas, lines, token)
}

#[tokio::test]
async fn an_open_breaker_takes_nothing_from_agents_and_holds_nothing_for_people() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/reports/cut" => Act::Close,
        _ => Act::ok("fine"),
    })
    .await;
    let breaker = "breaker: { after: 1, within: 1m, open_for: 4s }";
    let scene = scene(&routes(&upstream).replace("breaker: 'off'", breaker)).await;
    let limits = json!({"permissions": ["reports.read"], "circuit_breaker": {"max_requests_total": 2}});
    let (id, token) = scene.mint(&limits).await;
    let waits = scene.approved("/reports/7", &token, "{}").await;
    let opens = scene.approved("/reports/cut", &token, "{}").await;
    assert_eq!(scene.post("/reports/cut", &token, &[&confirmed(&opens)], "{}").await.status, 502);
    for more in [&[&*confirmed(&waits)][..], &[]] {
        let refused = scene.post("/reports/7", &token, more, "{}").await;
        assert_eq!(told(&refused), (503, "UPSTREAM_UNAVAILABLE".to_owned()), "{more:?}");
    }
    assert_eq!(scene.standing(&waits).await, "approved");
    let rows = audit::tail(&scene.gateway.running.app.db, 0, 10_000).await.unwrap();
    let count = |code: &str| rows.iter().filter(|row| row.code == code).count();
    assert_eq!((count("approval_claimed"), count("approval_requested")), (1, 2));
    let shown = scene.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
    assert_eq!(shown["current_request_count"], 1, "only what was sent");
    tokio::time::sleep(Duration::from_millis(4100)).await;
    assert_eq!(scene.post("/reports/7", &token, &[&confirmed(&waits)], "{}").await.status, 200);
    assert_eq!(upstream.count(), 2);
}

on_one_and_on_two! {
    async fn who_waits_hears_of_a_decision_wherever_it_is_made(dialect: Dialect) {
        let (_upstream, replicas, lines, token) = delegated(dialect).await;
        let here = &replicas.here;
        let held = exchange(here.public(), post("/reports/7", &token, &[], "{}")).await.expect("an answer");
        let named = held.json()["confirmation_token"].as_str().expect("a token").to_owned();
        let elsewhere = replicas.nth(1).public();
        let text = post("/reports/7", &token, &["Prefer: wait=20"], "{}");
        let waiting = spawn(async move { exchange(elsewhere, text).await.expect("an answer") });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let path = format!("{PENDING}{named}/confirm/");
        assert_eq!(here.call("POST", &path, &lines, &Value::Null).await.status, 200);
        let soon = Duration::from_secs(3);
        let answer = in_time(soon, waiting).await.expect("sooner than it is looked for").unwrap();
        assert_eq!((answer.status, &answer.json()["approval"]), (202, &json!("approved")));
    }

    async fn t2_of_sixty_four_who_use_an_approval_one_reaches_the_upstream(dialect: Dialect) {
        let (upstream, replicas, lines, token) = delegated(dialect).await;
        let here = &replicas.here;
        for round in 0..crate::support::times(2, 20) {
            let body = format!("{{\"round\": {round}}}");
            let held = exchange(here.public(), post("/reports/7", &token, &[], &body)).await.expect("an answer");
            assert_eq!(held.status, 202, "{}", held.text());
            let named = held.json()["confirmation_token"].as_str().expect("a token").to_owned();
            let path = format!("{PENDING}{named}/confirm/");
            assert_eq!(here.call("POST", &path, &lines, &Value::Null).await.status, 200);
            let before = upstream.count();
            let racing: Vec<_> = (0..64)
                .map(|number| {
                    let text = post("/reports/7", &token, &[&confirmed(&named)], &body);
                    let address = replicas.nth(number).public();
                    spawn(async move { exchange(address, text).await.expect("an answer") })
                })
                .collect();
            let mut passed = 0;
            for one in racing {
                let answer = one.await.unwrap();
                passed += usize::from(answer.status == 200);
                let is_known = answer.status == 200 || answer.code() == "APPROVAL_USED" || answer.status == 503;
                assert!(is_known, "{} {}", answer.status, answer.text());
            }
            assert_eq!((passed, upstream.count() - before), (1, 1), "round {round}");
        }
    }
}
