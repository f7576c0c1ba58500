//! The streams of agents, whatever it is that stops the agent (T9, T15, T17; security bar 2.I).
//! Law: within a second of the stop not another byte comes, however short a while the stream has run.

use std::time::{Duration, Instant};

use portcullis::base::Clock as _;
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{begin_stream, endless, is_cut, reader, routes, told};
use crate::support::{Act, Upstream};

const SECOND: Duration = Duration::from_secs(1);
/// Less than the gateway waits before it watches, and more.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1200)];

/// Whatever an agent can be stopped by beside people: what it is minted with, and what then is told of it.
fn causes() -> [(&'static str, Value, (&'static str, Value)); 5] {
    let suspended = |reason: &str| ("SUSPENDED", json!(reason));
    [
        (
            "silence",
            json!({"dead_mans_switch": {"heartbeat_required_every": 30}}),
            suspended("HEARTBEAT_MISSING"),
        ),
        ("age", json!({"expires_in": 30}), ("EXPIRED", Value::Null)),
        ("money", json!({"budget_limit_usd": 1}), suspended("BUDGET_EXCEEDED")),
        ("haste", json!({"circuit_breaker": {"max_requests_per_minute": 1}}), suspended("RATE_LIMIT")),
        (
            "failures",
            json!({"budget_limit_usd": 1, "circuit_breaker": {"max_failed_requests": 0}}),
            suspended("ANOMALY"),
        ),
    ]
}

impl Scene {
    /// Lets that happen.
    async fn bring_about(&self, cause: &str, id: i64, token: &str) {
        let refused = match cause {
            "silence" | "age" => {
                self.clock.advance(Duration::from_secs(31));
                self.ask("/reports/7", token, &[]).await
            }
            "money" => {
                let path = format!("/ai/tokens/{id}/report-usage/");
                let agent = bearer(token);
                self.gateway.call("POST", &path, &[agent], &json!({"cost_usd": 1.0})).await
            }
            "haste" => self.ask("/reports/7", token, &[]).await,
            _ => self.ask("/gone", token, &[]).await,
        };
        assert!(matches!(refused.status, 403 | 502), "{cause}: {}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_stops_an_agent_cuts_its_streams_within_a_second() {
    let stream = endless();
    let upstream = Upstream::start(move |seen| match seen.target() {
        "/reports/live" => stream.clone(),
        _ => Act::ok("fine"),
    })
    .await;
    let scene = scene(&routes(&upstream)).await;
    for pause in PAUSES {
        for (cause, more, (status, reason)) in causes() {
            let (id, token) = scene.mint(&reader(&more)).await;
            let mut stream = begin_stream(&scene, &token).await;
            tokio::time::sleep(pause).await;
            scene.bring_about(cause, id, &token).await;
            assert!(is_cut(&mut stream).await, "{cause} after {pause:?}");
            assert_eq!(scene.state(id).await, (status.to_owned(), reason), "{cause}");
            assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 403, "{cause}");
        }
        // And by people.
        let (id, token) = scene.mint(&reader(&json!({}))).await;
        let mut stream = begin_stream(&scene, &token).await;
        tokio::time::sleep(pause).await;
        scene.call("POST", &format!("/ai/tokens/{id}/revoke/"), &Value::Null).await;
        assert!(is_cut(&mut stream).await, "revoked after {pause:?}");
    }
}

/// The timer looks for what is overdue every five seconds only; a stream knows its own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_time_although_nobody_asks_for_anything() {
    let stream = endless();
    let upstream = Upstream::start(move |_| stream.clone()).await;
    let scene = scene(&routes(&upstream)).await;
    for (more, code) in [
        (json!({"expires_in": 3}), "AGENT_TOKEN_EXPIRED"),
        (json!({"dead_mans_switch": {"heartbeat_required_every": 3}}), "AGENT_TOKEN_HEARTBEAT_MISSING"),
    ] {
        let token = scene.mint(&reader(&more)).await.1;
        let mut stream = begin_stream(&scene, &token).await;
        // Time goes on here as it does elsewhere.
        let (mut lasted, since) = (Duration::ZERO, scene.clock.now());
        let mut ended = std::pin::pin!(stream.rest());
        loop {
            let (begun, pause) = (Instant::now(), Duration::from_millis(10));
            if tokio::time::timeout(pause, &mut ended).await.is_ok() {
                break;
            }
            assert!(lasted < 6 * SECOND, "{code}: it goes on");
            // But not while the machine lets nobody go on.
            lasted += begun.elapsed().min(2 * pause);
            scene.clock.set(since.plus(lasted));
        }
        assert!((2 * SECOND..4 * SECOND).contains(&lasted), "{code}: {lasted:?}");
        let refused = told(&scene.ask("/reports/7", &token, &[]).await);
        let by_timer =
            code.replace("EXPIRED", "STATUS_EXPIRED").replace("HEARTBEAT_MISSING", "STATUS_SUSPENDED");
        assert!(refused.0 == 403 && [code, &by_timer].contains(&&*refused.1), "{refused:?}");
    }
}
