//! What an agent may have again, or send again, on routes in retry mode that say so.
//! Law: what is given again was sent once; what is sent again is declared to do no harm.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Scene, scene};
use crate::agent_gate::told;
use crate::agent_hold::{PENDING, confirmed, post};
use crate::support::replica::until;
use crate::support::upstream::Seen;
use crate::support::{Act, Client, Upstream};

const SECOND: Duration = Duration::from_secs(1);

async fn with(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> (Upstream, Scene, String) {
    let upstream = Upstream::start(handler).await;
    let held = "permission: reports.read, hold: always";
    let scene = scene(&format!(
        "upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes:
  - {{ name: again, match: {{ path: '/again/**' }}, upstream: up, allow: signed_in, agents: {{ {held}, replay_result: true }} }}
  - {{ name: clean, match: {{ path: '/clean/**' }}, upstream: up, allow: signed_in, agents: {{ {held}, replay_result: true, redact: {{ keys: [email] }} }} }}
  - {{ name: twice, match: {{ path: '/twice/**' }}, upstream: up, allow: signed_in, agents: {{ {held}, idempotent: true }} }}
",
        upstream.address
    ))
    .await;
    let token = scene.mint(&json!({"permissions": ["reports.read"], "expires_in": 7200})).await.1;
    (upstream, scene, token)
}

#[tokio::test]
async fn who_asks_again_gets_the_answer_again_and_nothing_is_sent() {
    let (upstream, scene, token) = with(|_| {
        Act::Answer(b"HTTP/1.1 201 Made\r\nContent-Length: 4\r\nX-Tag: one\r\nX-Portcullis-Replayed: no\r\nSet-Cookie: portcullis_session=evil\r\n\r\ndone".to_vec())
    })
    .await;
    let named = scene.approved("/again/7", &token, "{}").await;
    let shown = &*confirmed(&named);
    let first = scene.post("/again/7", &token, &[shown], "{}").await;
    assert_eq!(
        (first.status, first.text().as_str(), first.header("x-portcullis-replayed")),
        (201, "done", None)
    );
    scene.comes_to(&named, "executed").await;
    for _ in 0..3 {
        let again = scene.post("/again/7", &token, &[shown], "{}").await;
        assert_eq!((again.status, again.text().as_str()), (201, "done"));
        assert_eq!(
            (again.header("x-tag"), again.header("x-portcullis-replayed")),
            (Some("one"), Some("true"))
        );
        assert!(again.header("x-portcullis-approval-id").is_some() && again.header("set-cookie").is_none());
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "another request");
    }
    let polled = scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await;
    assert_eq!((polled.status, &polled.json()["body"]), (200, &json!("done")));
    let other = scene.post("/again/7", &token, &[shown], "[]").await;
    assert_eq!(told(&other), (409, "APPROVAL_USED".to_owned()), "it is the answer to one request");
    let sibling = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let refused = scene.post("/again/7", &sibling, &[shown], "{}").await;
    assert_eq!(told(&refused), (409, "APPROVAL_UNKNOWN".to_owned()));
    scene.clock.advance(Duration::from_hours(1));
    let over = scene.post("/again/7", &token, &[shown], "{}").await;
    assert_eq!(told(&over), (409, "APPROVAL_USED".to_owned()), "kept for an hour");
    assert_eq!(upstream.count(), 1);
    let app = &scene.gateway.running.app;
    app.write_notes().await.unwrap();
    let rows = portcullis::audit::tail(&app.db, 0, 10_000).await.unwrap();
    let replays = rows.iter().filter(|row| row.personal["detail"]["verdict"] == "replay").count();
    assert_eq!(replays, 3);
}

#[tokio::test]
async fn an_answer_is_kept_although_its_agent_has_left() {
    let (upstream, scene, token) = with(|_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n".to_vec();
        Act::Pieces(vec![(SECOND / 2, head), (SECOND / 2, b"half".to_vec()), (SECOND / 2, b"half".to_vec())])
    })
    .await;
    for (number, (path, after)) in [("/again/1", SECOND / 5), ("/again/2", 6 * SECOND / 5)].iter().enumerate()
    {
        let named = scene.approved(path, &token, "{}").await;
        let shown = confirmed(&named);
        let mut leaving = Client::connect(scene.gateway.public()).await;
        leaving.send(post(path, &token, &[&shown], "{}")).await;
        until(SECOND, "it is on its way", async || upstream.count() > number).await;
        tokio::time::sleep(*after).await;
        drop(leaving);
        until(5 * SECOND, "executed", async || scene.standing(&named).await == "executed").await;
        let again = scene.post(path, &token, &[&shown], "{}").await;
        assert_eq!((again.status, again.text().as_str()), (200, "halfhalf"), "{path}");
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn what_is_too_large_or_may_not_be_read_is_not_given_again() {
    let (upstream, scene, token) = with(|seen| match seen.target() {
        "/again/large" => Act::ok(vec![b'x'; (1 << 20) + 1]),
        "/clean/page" => Act::with("Content-Type: text/html\r\n", "ada@example.com"),
        _ => Act::with("Content-Type: application/json\r\n", r#"{"email": "ada@example.com"}"#),
    })
    .await;
    for (path, first, again) in [
        ("/again/large", 200, (409, "RESULT_TOO_LARGE")),
        ("/clean/page", 502, (409, "RESULT_WITHHELD")),
        ("/clean/1", 200, (200, "")),
    ] {
        let named = scene.approved(path, &token, "{}").await;
        let shown = confirmed(&named);
        let answer = scene.post(path, &token, &[&shown], "{}").await;
        assert_eq!(answer.status, first, "{path}");
        scene.comes_to(&named, "executed").await;
        let repeated = scene.post(path, &token, &[&shown], "{}").await;
        assert_eq!(told(&repeated), (again.0, again.1.to_owned()), "{path}");
        assert!(!repeated.text().contains("ada@example.com"));
    }
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn what_is_idempotent_may_be_sent_again_when_nobody_knows() {
    let (upstream, scene, token) =
        with(|seen| if seen.connection < 2 { Act::Close } else { Act::ok("done") }).await;
    let named = scene.approved("/twice/1", &token, "{}").await;
    let shown = &*confirmed(&named);
    for round in 1..=2 {
        assert_eq!(scene.post("/twice/1", &token, &[shown], "{}").await.status, 502);
        scene.comes_to(&named, "indeterminate").await;
        assert_eq!(upstream.count(), round, "not by us alone");
        let polled = scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await;
        assert_eq!((polled.status, &polled.json()["approval"]), (202, &json!("indeterminate")));
    }
    let other = scene.post("/twice/1", &token, &[shown], "[]").await;
    assert_eq!(told(&other), (409, "APPROVAL_MISMATCH".to_owned()));
    let done = scene.post("/twice/1", &token, &[shown], "{}").await;
    assert_eq!((done.status, done.text().as_str()), (200, "done"));
    scene.comes_to(&named, "executed").await;
    assert_eq!(
        told(&scene.post("/twice/1", &token, &[shown], "{}").await),
        (409, "APPROVAL_USED".to_owned())
    );
    let keys: Vec<Option<String>> =
        upstream.seen().iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!((keys.len(), &keys[0], &keys[1]), (3, &keys[1], &keys[2]));
    let late = scene.approved("/twice/2", &token, "{}").await;
    let listed = scene.call("GET", &format!("{PENDING}?state=approved"), &Value::Null).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    scene.clock.advance(Duration::from_mins(5));
    let refused = scene.post("/twice/2", &token, &[&confirmed(&late)], "{}").await;
    assert_eq!(told(&refused), (410, "APPROVAL_EXPIRED".to_owned()));
}
