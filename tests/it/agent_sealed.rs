//! What people approved and the gateway sends by itself, on the running gateway (sealed mode).
//! Law: one approval is one request at the recording upstream, the agent gets the answer that it
//! would have been sent, for an hour, and nobody else gets it.

use std::time::Duration;

use portcullis::audit;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{Scene, scene};
use crate::agent_gate::told;
use crate::agent_hold::{PENDING, confirmed, post};
use crate::on_one_and_on_two;
use crate::support::people::{permission, request};
use crate::support::raw::Answer;
use crate::support::replica::{Replicas, until};
use crate::support::upstream::{Seen, spawn};
use crate::support::{Act, Upstream, exchange, free_port};

const SECOND: Duration = Duration::from_secs(1);

pub fn routes(upstream: &Upstream) -> String {
    let sealed = "permission: reports.read, hold: always, mode: sealed";
    format!(
        "agents: {{ defaults: {{ budget_usd: 1 }} }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes:
  - {{ name: acts, match: {{ path: '/acts/**' }}, upstream: up, allow: signed_in, agents: {{ {sealed}, cost: {{ flat_usd: 0.01 }} }} }}
  - {{ name: clean, match: {{ path: '/clean/**' }}, upstream: up, allow: signed_in, agents: {{ {sealed}, redact: {{ keys: [email], buffer: 4KiB }} }} }}
  - {{ name: again, match: {{ path: '/again/**' }}, upstream: up, allow: signed_in, agents: {{ {sealed}, replay_result: true }} }}
  - {{ name: twice, match: {{ path: '/twice/**' }}, upstream: up, allow: signed_in, agents: {{ {sealed}, idempotent: true }} }}
",
        upstream.address
    )
}

async fn with(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> (Upstream, Scene, String) {
    let upstream = Upstream::start(handler).await;
    let scene = scene(&routes(&upstream)).await;
    let token = scene.mint(&json!({"agent_id": "robot", "permissions": ["reports.read"]})).await.1;
    (upstream, scene, token)
}

impl Scene {
    async fn poll(&self, named: &str, token: &str) -> Answer {
        self.as_agent("GET", &format!("{PENDING}{named}/"), token).await
    }

    /// What an agent is told once nobody is at it any more. It may not ask too often, so people look.
    async fn outcome(&self, named: &str, token: &str) -> Answer {
        let waiting = ["pending", "approved", "executing"];
        until(5 * SECOND, "it is over", async || !waiting.contains(&&*self.standing(named).await)).await;
        self.poll(named, token).await
    }
}

#[tokio::test]
async fn what_is_approved_is_sent_by_the_gateway_and_its_answer_is_polled() {
    let (upstream, scene, token) = with(|seen| {
        Act::with(
            "X-Tag: one\r\nX-Portcullis-Approval-Id: forged\r\nX-User-Id: forged\r\nSet-Cookie: portcullis_refresh=evil\r\nSet-Cookie: a=b\r\n",
            format!("did {}", seen.target()),
        )
    })
    .await;
    let more = ["X-Prompt-Trace-ID: t-9", "Idempotency-Key: mine", "X-Other: b", "Cookie: c=d"];
    let held = scene.post("/acts/7?copy=1", &token, &more, r#"{"amount": 10}"#).await;
    assert_eq!(held.status, 202, "{}", held.text());
    let named = held.json()["confirmation_token"].as_str().expect("a token").to_owned();
    let waiting = scene.poll(&named, &token).await;
    assert_eq!((waiting.status, &waiting.json()["approval"]), (202, &json!("pending")));
    assert_eq!(upstream.count(), 0, "nothing was sent");
    scene.approve(&named).await;
    let done = scene.outcome(&named, &token).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let result = done.json();
    assert_eq!((&result["status"], &result["body"]), (&json!(200), &json!("did /acts/7?copy=1")));
    assert!(result.get("body_base64").is_none());
    let headers: Vec<(&str, &str)> = result["headers"]
        .as_array()
        .expect("pairs")
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    assert!(headers.contains(&("x-tag", "one")) && headers.contains(&("set-cookie", "a=b")), "{headers:?}");
    assert!(headers.contains(&("x-budget-remaining", "0.990000")), "{headers:?}");
    assert!(!done.text().contains("forged") && !done.text().contains("evil"), "{headers:?}");
    let seen = upstream.last();
    assert_eq!((seen.target(), seen.body.as_slice()), ("/acts/7?copy=1", &br#"{"amount": 10}"#[..]));
    assert_eq!(seen.header("x-portcullis-approval-id"), held.json()["approval_id"].as_str());
    assert_eq!(
        (seen.header("idempotency-key"), seen.header("x-prompt-trace-id")),
        (Some("mine"), Some("t-9"))
    );
    assert_eq!(seen.header("x-agent-id"), Some("robot"));
    assert_eq!(seen.header("x-user-id"), Some(scene.ada.id.to_string().as_str()));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(seen.header("x-portcullis-assertion").is_some() && seen.header("x-request-id").is_some());
    for name in ["x-other", "cookie", "authorization", "x-action-confirmation"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(scene.standing(&named).await, "executed");
    assert_eq!(scene.poll(&named, &token).await.json(), result, "as often as it asks");
    let sibling = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    assert_eq!(told(&scene.poll(&named, &sibling).await), (409, "APPROVAL_UNKNOWN".to_owned()));
    scene.clock.advance(Duration::from_mins(59));
    let token_is_over = scene.poll(&named, &token).await;
    assert_eq!(token_is_over.status, 200, "{}", token_is_over.text());
    assert_eq!(upstream.count(), 1);
    let app = &scene.gateway.running.app;
    app.write_notes().await.unwrap();
    let is_dispatch = |row: &audit::Row| {
        let detail = &row.personal["detail"];
        row.code == "agent_action" && detail["verdict"] == "allow" && detail["approval"].is_string()
    };
    // The chore that writes them may be at it already.
    until(3 * SECOND, "one dispatch is in the trail", async || {
        let rows = audit::tail(&app.db, 0, 10_000).await.unwrap();
        rows.iter().filter(|row| is_dispatch(row)).count() == 1
    })
    .await;
    let rows = audit::tail(&app.db, 0, 10_000).await.unwrap();
    for code in ["approval_requested", "approval_approved", "approval_claimed", "approval_executed"] {
        assert_eq!(rows.iter().filter(|row| row.code == code).count(), 1, "{code}");
    }
    assert!(app.metrics.render().contains("portcullis_requests_total"));
    let line = scene
        .gateway
        .access_log()
        .await
        .into_iter()
        .find(|line| line["id"] == json!(seen.header("x-request-id")));
    assert!(line.is_some(), "it has a line in the access log");
}

#[tokio::test]
async fn the_answer_is_kept_for_an_hour() {
    let (_upstream, scene, _) = with(|_| Act::ok("done")).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"], "expires_in": 7200})).await.1;
    let named = scene.approved("/acts/1", &token, "{}").await;
    assert_eq!(scene.outcome(&named, &token).await.status, 200);
    scene.clock.advance(Duration::from_hours(1));
    let gone = scene.poll(&named, &token).await;
    assert_eq!((told(&gone), &gone.json()["state"]), ((409, "APPROVAL_USED".to_owned()), &json!("executed")));
}

#[tokio::test]
async fn what_a_second_call_gets_on_a_sealed_route() {
    let (upstream, scene, token) =
        with(|_| Act::Pieces(vec![(SECOND, b"HTTP/1.1 201 Made\r\nContent-Length: 4\r\n\r\ndone".to_vec())]))
            .await;
    for (path, is_replayed) in [("/acts/1", false), ("/again/1", true)] {
        let named = scene.hold(path, &token, "{}").await;
        let shown = &*confirmed(&named);
        let again = async || scene.post(path, &token, &[shown], "{}").await;
        let waiting = again().await;
        assert_eq!((waiting.status, &waiting.json()["approval"]), (202, &json!("pending")));
        let before = upstream.count();
        scene.approve(&named).await;
        let approved = again().await;
        assert_eq!(approved.status, 202, "it sends nothing: {}", approved.text());
        scene.comes_to(&named, "executing").await;
        assert_eq!(again().await.json()["approval"], "executing");
        let unnamed = scene.post(path, &token, &[], "{}").await;
        assert_eq!(
            (unnamed.status, &unnamed.json()["confirmation_token"]),
            (202, &json!(named)),
            "the same question is the same approval"
        );
        let other = scene.post(path, &token, &[shown], "[]").await;
        assert_eq!(told(&other), (409, "APPROVAL_MISMATCH".to_owned()));
        let result = scene.outcome(&named, &token).await.json();
        assert_eq!((&result["status"], &result["body"]), (&json!(201), &json!("done")));
        let over = again().await;
        if is_replayed {
            assert_eq!((over.status, over.text().as_str()), (201, "done"), "as if it had been sent");
            assert_eq!(over.header("x-portcullis-replayed"), Some("true"));
        } else {
            assert_eq!(told(&over), (409, "APPROVAL_USED".to_owned()));
            assert_eq!(over.json()["state"], "executed");
        }
        assert_eq!(upstream.count() - before, 1, "{path}");
    }
}

#[tokio::test]
async fn every_row_of_the_table_is_told_to_who_polls() {
    let (upstream, scene, token) = with(|seen| match seen.target() {
        "/acts/cut" => Act::Close,
        "/acts/half" => Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()),
        "/acts/bad" => Act::Answer(b"HTTP/1.1 503 Later\r\nContent-Length: 4\r\n\r\nbusy".to_vec()),
        "/acts/large" => Act::ok(vec![b'x'; (1 << 20) + 1]),
        "/acts/most" => Act::ok(vec![b'x'; 1 << 20]),
        "/acts/bytes" => Act::ok(b"\xff\x00\xfe"),
        "/acts/none" => Act::Answer(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        _ => Act::ok("done"),
    })
    .await;
    let mut results = Vec::new();
    for path in
        ["/acts/cut", "/acts/half", "/acts/bad", "/acts/large", "/acts/most", "/acts/bytes", "/acts/none"]
    {
        let named = scene.approved(path, &token, "{}").await;
        results.push(scene.outcome(&named, &token).await);
    }
    let [cut, half, bad, large, most, bytes, none] = results.as_slice() else { panic!("seven") };
    for broken in [cut, half] {
        assert_eq!(
            (told(broken), &broken.json()["state"]),
            ((409, "APPROVAL_USED".to_owned()), &json!("indeterminate"))
        );
    }
    assert_eq!(
        (bad.status, bad.json()["status"].as_i64(), &bad.json()["body"]),
        (200, Some(503), &json!("busy"))
    );
    assert_eq!(
        (told(large), &large.json()["state"]),
        ((409, "RESULT_TOO_LARGE".to_owned()), &json!("executed"))
    );
    assert_eq!(most.json()["body"].as_str().map(str::len), Some(1 << 20));
    assert_eq!((&bytes.json()["body"], &bytes.json()["body_base64"]), (&Value::Null, &json!("/wD+")));
    assert_eq!((none.json()["status"].as_i64(), &none.json()["body"]), (Some(204), &json!("")));
    assert_eq!(upstream.count(), 7, "nothing was repeated");
    let denied = scene.hold("/acts/1", &token, "1").await;
    scene.decide(&denied, "deny").await;
    assert_eq!(told(&scene.poll(&denied, &token).await), (403, "APPROVAL_DENIED".to_owned()));
    let late = scene.hold("/acts/2", &token, "2").await;
    scene.clock.advance(Duration::from_mins(10));
    assert_eq!(told(&scene.poll(&late, &token).await), (410, "APPROVAL_EXPIRED".to_owned()));
    assert_eq!(told(&scene.poll("nonsense", &token).await), (409, "APPROVAL_UNKNOWN".to_owned()));
    assert_eq!(upstream.count(), 7);
}

#[tokio::test]
async fn what_agents_may_not_read_is_not_kept_either() {
    const SECRET: &str = "ada@example.com";
    let (_upstream, scene, token) = with(|seen| {
        let json = |body: String| Act::with("Content-Type: application/json\r\nETag: \"v1\"\r\n", body);
        match seen.target() {
            "/clean/long" => json(json!({"email": SECRET, "rest": vec![SECRET.len(); 9000]}).to_string()),
            "/clean/page" => Act::with("Content-Type: text/html\r\n", SECRET),
            "/clean/torn" => json(format!("{{\"rest\": [{}], \"email\": \"{SECRET}", "1,".repeat(9000))),
            _ => json(json!({"email": SECRET, "id": 7}).to_string()),
        }
    })
    .await;
    for (path, is_whole) in
        [("/clean/1", true), ("/clean/long", true), ("/clean/page", false), ("/clean/torn", false)]
    {
        let named = scene.approved(path, &token, "{}").await;
        let answer = scene.outcome(&named, &token).await;
        assert!(!answer.text().contains(SECRET), "{path}");
        if is_whole {
            let body: Value = serde_json::from_str(answer.json()["body"].as_str().expect("a text")).unwrap();
            assert_eq!(body["email"], "***REDACTED***", "{path}");
            assert!(!answer.text().contains("etag"));
        } else {
            assert_eq!(told(&answer), (409, "RESULT_WITHHELD".to_owned()), "{path}");
            let (state, reason) = (&answer.json()["state"], &answer.json()["reason"]);
            assert_eq!((state, reason), (&json!("executed"), &json!("redaction_impossible")), "{path}");
        }
    }
}

/// A gateway whose upstream is away, and where that will be.
pub async fn without_upstream(mint: &Value) -> (std::net::SocketAddr, Scene, String, String) {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let upstream = Upstream::echo().await;
    let yaml = routes(&upstream).replace(&upstream.address.to_string(), &address.to_string());
    let scene = scene(&yaml).await;
    let token = scene.mint(mint).await.1;
    (address, scene, token, yaml)
}

/// The upstream comes back, and it is time to try again.
pub async fn back(address: std::net::SocketAddr, scene: &Scene) -> Upstream {
    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    scene.clock.advance(5 * SECOND);
    Upstream::on(listener, |_| Act::ok("done"))
}

impl Scene {
    /// Waits until this many tries came to nothing.
    pub async fn is_tried(&self, times: usize) {
        let failed =
            async || self.gateway.access_log().await.iter().filter(|line| line["status"] == 502).count();
        until(5 * SECOND, "it was tried", async || failed().await == times).await;
    }
}

#[tokio::test]
async fn what_could_not_be_sent_is_tried_again_and_is_no_failure_of_the_agent() {
    let mint = json!({"permissions": ["reports.read"], "circuit_breaker": {"max_failed_requests": 0}});
    let (address, scene, token, _) = without_upstream(&mint).await;
    let named = scene.approved("/acts/1", &token, "{}").await;
    scene.is_tried(1).await;
    assert_eq!(scene.standing(&named).await, "approved");
    let upstream = back(address, &scene).await;
    let done = scene.outcome(&named, &token).await;
    assert_eq!((done.status, &done.json()["body"]), (200, &json!("done")), "{}", done.text());
    assert_eq!(upstream.count(), 1);
    let headers = done.json()["headers"].to_string();
    assert!(headers.contains("0.990000"), "what was not sent cost nothing: {headers}");
    let shown = scene.call("GET", "/ai/tokens/", &Value::Null).await.json();
    assert_eq!(shown[0]["status"], "ACTIVE");
}

#[tokio::test]
async fn what_broke_off_is_sent_again_where_that_does_no_harm() {
    let (upstream, scene, token) = with(|_| Act::Close).await;
    let named = scene.approved("/twice/1", &token, "{}").await;
    for (round, pause) in [5, 5, 10, 20, 40].into_iter().enumerate() {
        until(5 * SECOND, "it was sent", async || upstream.count() == round + 1).await;
        until(5 * SECOND, "nobody knows", async || scene.standing(&named).await == "indeterminate").await;
        scene.clock.advance(pause * SECOND);
    }
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(upstream.count(), 5, "not without end");
    let keys: Vec<String> = upstream
        .seen()
        .iter()
        .map(|seen| seen.header("idempotency-key").expect("a key").to_owned())
        .collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "one key for all: {keys:?}");
    let over = scene.poll(&named, &token).await;
    assert_eq!(
        (told(&over), &over.json()["state"]),
        ((409, "APPROVAL_USED".to_owned()), &json!("indeterminate"))
    );
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again_once_its_agent_was_stopped() {
    let (upstream, scene, token) = with(|_| Act::Close).await;
    let named = scene.approved("/twice/1", &token, "{}").await;
    until(5 * SECOND, "it was sent", async || upstream.count() == 1).await;
    until(5 * SECOND, "nobody knows", async || scene.standing(&named).await == "indeterminate").await;
    let shown = scene.call("GET", "/ai/tokens/", &Value::Null).await.json();
    for word in ["suspend", "resume"] {
        let path = format!("/ai/tokens/{}/{word}/", shown[0]["id"]);
        let done = scene.call("POST", &path, &Value::Null).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
    scene.clock.advance(10 * SECOND);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn nothing_is_taken_while_the_breaker_is_open() {
    let upstream = Upstream::start(|_| Act::Close).await;
    let breaker = "breaker: { after: 1, within: 1m, open_for: 1h }";
    let scene = scene(&routes(&upstream).replace("breaker: 'off'", breaker)).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let waits = scene.hold("/acts/1", &token, "2").await;
    let opens = scene.approved("/acts/1", &token, "1").await;
    until(5 * SECOND, "nobody knows", async || scene.standing(&opens).await == "indeterminate").await;
    scene.approve(&waits).await;
    for _ in 0..6 {
        scene.clock.advance(10 * SECOND);
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(scene.standing(&waits).await, "approved");
    let rows = audit::tail(&scene.gateway.running.app.db, 0, 10_000).await.unwrap();
    let count = |code: &str| rows.iter().filter(|row| row.code == code).count();
    assert_eq!((count("approval_claimed"), count("approval_rearmed"), upstream.count()), (1, 0, 1));
}

on_one_and_on_two! {
    async fn of_everybody_who_would_send_it_one_does(dialect: Dialect) {
        let upstream = Upstream::echo().await;
        let yaml = format!("{}{}", crate::agent::YAML, routes(&upstream));
        let replicas = Replicas::on(dialect, &yaml).await;
        let here = &replicas.here;
        let keys = here.application("web", &[]).await;
        let ada = here.user("ada", &keys).await;
        here.grant(ada.id, permission("reports")).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        let mint = json!({"permissions": ["reports.read"], "circuit_breaker": {"max_requests_per_minute": 10_000}});
        let minted = here.call("POST", "/ai/tokens/", &lines, &mint).await.json();
        let token = minted["token"].as_str().expect("a token").to_owned();
        for round in 0..crate::support::times(1, 20) {
            let mut named = Vec::new();
            for number in 0..4 {
                let body = format!("[{round}, {number}]");
                let held = exchange(here.public(), post("/acts/7", &token, &[], &body)).await.expect("an answer");
                assert_eq!(held.status, 202, "{}", held.text());
                named.push((held.json()["confirmation_token"].as_str().expect("a token").to_owned(), body));
            }
            let before = upstream.count();
            // Everybody says yes, asks again and looks, on both, while both send.
            let racing: Vec<_> = (0..64)
                .map(|number| {
                    let (named, body) = named[number % 4].clone();
                    let path = format!("/api/v1/auth{PENDING}{named}/confirm/");
                    let text = match number / 4 % 2 {
                        0 => request("POST", &path, &lines, "{}"),
                        _ => post("/acts/7", &token, &[&confirmed(&named)], &body),
                    };
                    let address = replicas.nth(number / 8).public();
                    spawn(async move { exchange(address, text).await.expect("an answer") })
                })
                .collect();
            for one in racing {
                let answer = one.await.unwrap();
                assert!([200, 202, 400, 409, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
            }
            for (named, _) in &named {
                let path = format!("{PENDING}{named}/");
                until(Duration::from_secs(20), "it was sent", async || {
                    replicas.there.call("GET", &path, &lines, &Value::Null).await.json()["state"] == "executed"
                })
                .await;
            }
            assert_eq!(upstream.count() - before, 4, "round {round}");
        }
    }
}
