//! What waits, attacked from its sides: slow upstreams, words of several people at once, strangers,
//! bodies without an end, routes that go away (security bar 2.J 125 to 135).
//! Law: one approval is one request at most, and only those decide whom the rule names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::store::Dialect;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::agent::{Scene, YAML, bearer, scene};
use crate::agent_gate::told;
use crate::agent_hold::{PENDING, confirmed, routes, with_upstream};
use crate::agent_once::delegated;
use crate::on_one_and_on_two;
use crate::support::forms::{Browser, LIST};
use crate::support::people::{permission, role};
use crate::support::raw::Answer;
use crate::support::replica::{at_best, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Upstream, exchange, times};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_was_sent_and_not_answered_in_time_is_never_sent_again() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/reports/silent" => Act::Hang,
        // A head, and then nothing more of the answer.
        "/reports/stuck" => Act::Pieces(vec![(Duration::ZERO, b"HTTP/1.1 200 OK\r\nContent-Le".to_vec())]),
        _ => Act::ok("fine"),
    })
    .await;
    let routes = routes(&upstream).replace("body: 64KiB", "body: 64KiB, timeouts: { read: 300ms }");
    let scene = scene(&routes).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    for (round, path) in ["/reports/silent", "/reports/stuck"].into_iter().enumerate() {
        let named = scene.approved(path, &token, "{}").await;
        let late = scene.post(path, &token, &[&confirmed(&named)], "{}").await;
        assert_eq!(late.status, 504, "{path}: {}", late.text());
        scene.comes_to(&named, "indeterminate").await;
        let again = scene.post(path, &token, &[&confirmed(&named)], "{}").await;
        assert_eq!(
            (told(&again), &again.json()["state"]),
            ((409, "APPROVAL_USED".to_owned()), &json!("indeterminate"))
        );
        assert_eq!(upstream.count(), round + 1, "{path}");
        assert_ne!(scene.hold(path, &token, "{}").await, named, "it must be asked for anew");
    }
}

on_one_and_on_two! {
    async fn of_many_words_at_once_one_counts_on_every_replica(dialect: Dialect) {
        let (upstream, replicas, lines, token) = delegated(dialect).await;
        for round in 0..times(5, 100) {
            let body = format!("{{\"round\": {round}}}");
            let post = crate::agent_hold::post("/reports/7", &token, &[], &body);
            let held = exchange(replicas.here.public(), post).await.expect("an answer").json();
            let named = held["confirmation_token"].as_str().expect("a token").to_owned();
            let words: Vec<_> = (0..20).map(|number| {
                let (replicas, lines) = (Arc::clone(&replicas), lines.clone());
                let word = if number % 4 < 2 { "confirm" } else { "deny" };
                let path = format!("{PENDING}{named}/{word}/");
                spawn(async move { (word, replicas.nth(number).call("POST", &path, &lines, &Value::Null).await) })
            }).collect();
            let mut counted = Vec::new();
            for one in words {
                let (word, answer) = one.await.unwrap();
                match answer.status {
                    200 => counted.push(word),
                    // The other ones came too late.
                    400 => assert!(answer.json()["state"].is_string(), "{}", answer.text()),
                    other => panic!("{other} {}", answer.text()),
                }
            }
            assert_eq!(counted.len(), 1, "round {round}: {counted:?}");
            let expected = if counted[0] == "confirm" { "approved" } else { "denied" };
            for number in 0..2 {
                let path = format!("{PENDING}{named}/");
                let shown = replicas.nth(number).call("GET", &path, &lines, &Value::Null).await.json();
                assert_eq!(shown["state"], expected, "round {round}");
            }
        }
        assert_eq!(upstream.count(), 0);
    }
}

#[tokio::test]
async fn who_decides_in_another_organization_decides_nothing_here() {
    let upstream = Upstream::echo().await;
    let own = "  - { name: ours, match: { path: /ours }, upstream: up, allow: { org: member }, agents: { permission: 'write:invoices', hold: always, approvers: { any_of: [ { org_role: admin }, { role: finance } ] } } }\n";
    let scene = scene(&format!("{}{own}", routes(&upstream))).await;
    let mint = json!({"permissions": ["write:invoices"], "organization": "acme-corp"});
    let token = scene.mint(&mint).await.1;
    let named = scene.hold("/ours", &token, "{}").await;
    // An owner and an admin of another organization, and one who is finance everywhere and nobody here.
    let [mallory, eve, bob] = ["mallory", "eve", "bob"].map(|name| scene.gateway.user(name, &scene.keys));
    let strangers = [mallory.await, eve.await, bob.await];
    let other = scene.gateway.organization("umbrella", strangers[0].id, None).await;
    scene.gateway.join(other, strangers[1].id, "admin").await;
    scene.gateway.grant(strangers[2].id, role("finance")).await;
    for stranger in &strangers {
        let lines = scene.lines(stranger);
        for slug in ["acme-corp", "umbrella"] {
            let lines = [&lines[..], &[format!("X-Org-Slug: {slug}")]].concat();
            for word in ["confirm", "deny"] {
                let path = format!("{PENDING}{named}/{word}/");
                let refused = scene.gateway.call("POST", &path, &lines, &json!({})).await;
                assert!(matches!(refused.status, 400 | 403 | 404), "{}", refused.text());
            }
        }
        let path = format!("{PENDING}{named}/");
        assert_eq!(scene.gateway.call("GET", &path, &lines, &Value::Null).await.status, 404);
        assert_eq!(scene.gateway.call("GET", PENDING, &lines, &Value::Null).await.json(), json!([]));
    }
    // Ada delegated it, and is none of those who decide.
    assert_eq!(scene.decide(&named, "confirm").await.status, 400);
    assert_eq!(scene.standing(&named).await, "pending");
    let acme = scene.gateway.organization_of("acme-corp").await.unwrap();
    scene.gateway.join(acme, strangers[2].id, "member").await;
    let listed = scene.gateway.call("GET", PENDING, &scene.lines(&strangers[2]), &Value::Null).await.json();
    assert_eq!(listed[0]["confirmation_token"], json!(named));
    let path = format!("{PENDING}{named}/confirm/");
    let done = scene.gateway.call("POST", &path, &scene.lines(&strangers[2]), &Value::Null).await;
    assert_eq!(done.status, 200, "finance, and a member now: {}", done.text());
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn who_lost_the_permission_approves_nothing_with_it() {
    let (upstream, scene, token) = with_upstream().await;
    let named = scene.hold("/reports/7", &token, "{}").await;
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    let refused = scene.decide(&named, "confirm").await;
    assert_eq!(told(&refused), (409, "APPROVAL_VOID".to_owned()));
    scene.gateway.grant(scene.ada.id, permission("reports")).await;
    assert_eq!(scene.standing(&named).await, "void", "and it is not for later either");
    let late = scene.post("/reports/7", &token, &[&confirmed(&named)], "{}").await;
    assert_eq!((told(&late), upstream.count()), ((409, "APPROVAL_VOID".to_owned()), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_never_waits_for_people() {
    let (upstream, scene, token) = with_upstream().await;
    let head = format!(
        "POST /reports/7 HTTP/1.1\r\nHost: gw.test\r\n{}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        bearer(&token)
    );
    let nothing_waits = async || scene.call("GET", PENDING, &Value::Null).await.json() == json!([]);
    // On and on, beyond what the route takes (64 KiB).
    let mut endless = Client::connect(scene.gateway.public()).await;
    endless.send(&head).await;
    endless.send("1\r\n[\r\n").await;
    for _ in 0..100 {
        endless.send(format!("400\r\n{}\r\n", " ".repeat(1024))).await;
    }
    let refused = endless.answer().await.expect("an answer");
    assert_eq!(told(&refused), (413, "BODY_TOO_LARGE".to_owned()));
    assert!(nothing_waits().await);
    // What breaks off before its end is no request, however much of it looks like one.
    for begun in ["2\r\n{}\r\n", "2\r\n{}\r\n0\r\n", "6\r\n{}"] {
        let mut broken = Client::connect(scene.gateway.public()).await;
        broken.send(&head).await;
        broken.send(begun).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(nothing_waits().await, "while it comes");
        drop(broken);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(nothing_waits().await, "{begun:?}");
    }
    let whole = format!("{head}2\r\n{{}}\r\n0\r\n\r\n");
    assert_eq!(exchange(scene.gateway.public(), whole).await.expect("an answer").status, 202);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_route_that_is_gone_takes_what_waited_on_it_along() {
    let (upstream, scene, token) = with_upstream().await;
    let pending = scene.hold("/reports/1", &token, "1").await;
    let approved = scene.approved("/reports/2", &token, "2").await;
    let elsewhere = scene.approved("/orders", &token, r#"{"amount": 2000}"#).await;
    let all = routes(&upstream);
    let without: Vec<&str> = all.lines().filter(|line| !line.contains("name: reports")).collect();
    let load = async |routes: &str| {
        let loaded = scene.gateway.load(&format!("{YAML}{routes}\n"));
        scene.gateway.running.reload(&loaded).await.unwrap_or_else(|error| panic!("{error}"));
    };
    load(&without.join("\n")).await;
    let gone = scene.post("/reports/2", &token, &[&confirmed(&approved)], "2").await;
    assert_eq!((gone.status, upstream.count()), (404, 0));
    let refused = scene.decide(&pending, "confirm").await;
    assert_eq!(told(&refused), (409, "APPROVAL_VOID".to_owned()));
    let mismatch = scene.post("/orders", &token, &[&confirmed(&approved)], r#"{"amount": 2000}"#).await;
    assert_eq!(told(&mismatch), (409, "APPROVAL_MISMATCH".to_owned()), "it opens no other route");
    // It is there again, and admits others than before.
    load(&all.replace(
        "name: reports, match: { path: '/reports/**' }",
        "name: reports, match: { path: '/reports/{id}' }",
    ))
    .await;
    let refused = scene.post("/reports/2", &token, &[&confirmed(&approved)], "2").await;
    assert_eq!((told(&refused), upstream.count()), ((409, "APPROVAL_VOID".to_owned()), 0));
    let fine = scene.post("/orders", &token, &[&confirmed(&elsewhere)], r#"{"amount": 2000}"#).await;
    assert_eq!((fine.status, upstream.count()), (200, 1), "what was not touched stands: {}", fine.text());
}

#[tokio::test]
async fn what_is_coded_by_any_of_its_lines_waits_and_two_types_are_none() {
    let (upstream, scene, token) = with_upstream().await;
    let small = r#"{"amount": 1}"#;
    let plain = ["Content-Encoding: identity", "Content-Encoding: Identity"];
    assert_eq!(scene.post("/orders", &token, &plain, small).await.status, 200, "there is nothing to undo");
    for coded in [
        vec!["Content-Encoding: gzip"],
        vec!["Content-Encoding: identity", "Content-Encoding: gzip"],
        vec!["Content-Encoding: identity, br"],
    ] {
        assert_eq!(scene.post("/orders", &token, &coded, small).await.status, 202, "{coded:?}");
    }
    for path in ["/orders", "/reports/7"] {
        let two = scene.post(path, &token, &["Content-Type: text/plain"], small).await;
        assert_eq!(told(&two), (400, "BAD_REQUEST".to_owned()), "{path}");
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_key_that_the_agent_chose_is_shown_to_who_decides() {
    let (upstream, scene, token) = with_upstream().await;
    let key = "Idempotency-Key: run-17";
    let held = scene.post("/reports/7", &token, &[key], "{}").await.json();
    let id = held["approval_id"].as_str().unwrap();
    let listed = scene.call("GET", PENDING, &Value::Null).await.json();
    assert_eq!(listed[0]["idempotency_key"], "run-17");
    let one = scene.call("GET", &format!("{PENDING}{id}/"), &Value::Null).await.json();
    assert_eq!(one["idempotency_key"], "run-17");
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    let page = browser.get(&format!("{LIST}{id}/")).await.text();
    assert!(page.contains("<h3>Idempotency-Key</h3>") && page.contains("run-17"), "{page}");
    let named = held["confirmation_token"].as_str().unwrap();
    scene.approve(named).await;
    let another = [&*confirmed(named), "Idempotency-Key: another"];
    assert_eq!(scene.post("/reports/7", &token, &another, "{}").await.status, 200);
    assert_eq!(upstream.last().header("idempotency-key"), Some("run-17"), "what was shown is what is sent");
    let own = scene.post("/reports/8", &token, &[], "{}").await.json();
    let path = format!("{PENDING}{}/", own["approval_id"].as_str().unwrap());
    assert_eq!(scene.call("GET", &path, &Value::Null).await.json()["idempotency_key"], Value::Null);
}

/// A request that its agent would wait twenty seconds for, once it waits.
async fn patient(route_waits: &str) -> (Upstream, Arc<Scene>, String, JoinHandle<(Answer, Instant)>) {
    let upstream = Upstream::echo().await;
    let routes = routes(&upstream).replace("bound_headers:", &format!("{route_waits} bound_headers:"));
    let scene = Arc::new(scene(&routes).await);
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let waiting = {
        let (scene, token) = (Arc::clone(&scene), token.clone());
        spawn(async move {
            let answer = scene.post("/reports/7", &token, &["Prefer: wait=20"], "{}").await;
            (answer, Instant::now())
        })
    };
    let mut named = Value::Null;
    until(SECOND, "it waits", async || {
        named = scene.call("GET", PENDING, &Value::Null).await.json()[0]["confirmation_token"].clone();
        named.is_string()
    })
    .await;
    assert_eq!(upstream.count(), 0);
    (upstream, scene, named.as_str().unwrap().to_owned(), waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_the_route_lets_them() {
    at_best(Duration::from_millis(1500), "it is answered", async || {
        let began = Instant::now();
        let (_upstream, _scene, _named, waiting) = patient("wait: 1s,").await;
        let seen = Instant::now();
        let (answer, ended) = waiting.await.unwrap();
        assert_eq!((answer.status, &answer.json()["approval"]), (202, &json!("pending")));
        assert!(ended - began >= SECOND, "it did wait");
        ended.saturating_duration_since(seen)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_at_once_of_a_no_and_of_the_end_of_the_agent() {
    for (stop, status, code) in [
        ("deny", 403, "APPROVAL_DENIED"),
        ("revoke-all", 409, "APPROVAL_VOID"),
        ("suspend", 409, "APPROVAL_VOID"),
    ] {
        at_best(SECOND, stop, async || {
            let (upstream, scene, named, waiting) = patient("").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!waiting.is_finished(), "it waits");
            let path = match stop {
                "deny" => format!("{PENDING}{named}/deny/"),
                "revoke-all" => "/ai/tokens/revoke-all/".to_owned(),
                _ => {
                    let listed = scene.call("GET", "/ai/tokens/", &Value::Null).await.json();
                    format!("/ai/tokens/{}/suspend/", listed[0]["id"])
                }
            };
            let said = scene.call("POST", &path, &json!({"reason": "not today"})).await;
            assert_eq!(said.status, 200, "{stop}");
            let stopped = Instant::now();
            let (answer, ended) = waiting.await.unwrap();
            assert_eq!(told(&answer), (status, code.to_owned()), "{stop}");
            if stop == "deny" {
                assert_eq!(answer.json()["reason"], "not today");
            }
            assert_eq!(upstream.count(), 0);
            ended.saturating_duration_since(stopped)
        })
        .await;
    }
}
