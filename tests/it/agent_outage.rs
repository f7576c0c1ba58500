//! What agents say of themselves while Redis is lost: signs of life, reports, questions about what waits.
//! Law: 503 and when to come back, soon; and said again when Redis is there, everything counts once.

use std::time::Duration;

use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{bearer, scene};
use crate::agent_gate::{reader, routes};
use crate::agent_hold::PENDING;
use crate::support::raw::Answer;
use crate::support::replica::{Place, in_time, redis_url, until};
use crate::support::{Cut, Upstream};

/// Far more than the second that the gateway gives Redis here, and far less than forever.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_and_reports_are_refused_soon_while_redis_is_lost_and_count_once_afterwards() {
    for (name, lose) in [("gone", Cut::cut as fn(&Cut)), ("silent", Cut::silence)] {
        let place = Place::on(Dialect::Postgres).await;
        let (cut, url) = Cut::in_front_of(&redis_url()).await;
        let upstream = Upstream::echo().await;
        let scene =
            scene(&format!("{}{}", place.yaml(&place.store.address(), &url), routes(&upstream))).await;
        let more = json!({"budget_limit_usd": 5, "dead_mans_switch": {"heartbeat_required_every": 300}});
        let (id, token) = scene.mint(&reader(&more)).await;
        let line = bearer(&token);
        let beat = format!("/ai/tokens/{id}/heartbeat/");
        let report = format!("/ai/tokens/{id}/report-usage/");
        let say = async |method: &str, path: &str, key: Option<&str>, body: &Value| -> Answer {
            let mut lines = vec![line.clone()];
            lines.extend(key.map(|key| format!("Idempotency-Key: {key}")));
            let said = scene.gateway.call(method, path, &lines, body);
            in_time(PATIENCE, said).await.unwrap_or_else(|| panic!("{name} {path}: it hangs"))
        };
        let spent = async || {
            let shown = scene.call("GET", &format!("/ai/tokens/{id}/"), &Value::Null).await.json();
            shown["current_spend_usd"].as_f64()
        };
        let cost = json!({"cost_usd": 0.5});
        assert_eq!(say("POST", &report, Some("first"), &cost).await.status, 200, "{name}");
        assert_eq!(
            scene.ask("/priced/1", &token, &[]).await.status,
            200,
            "{name}: the purse holds something"
        );
        lose(&cut);
        let unknown = format!("{PENDING}nothing/");
        for _ in 0..2 {
            for (method, path, key, body) in [
                ("POST", &beat, None, &Value::Null),
                ("POST", &report, Some("second"), &cost),
                ("POST", &report, None, &json!({"cost_usd": 0})),
                ("GET", &unknown, None, &Value::Null),
            ] {
                let refused = say(method, path, key, body).await;
                let told = (refused.status, refused.code());
                assert_eq!(told, (503, "SERVICE_UNAVAILABLE".to_owned()), "{name} {path}");
                assert!(refused.header("retry-after").is_some(), "{name} {path}");
            }
        }
        cut.mend();
        until(PATIENCE, "it lives", async || say("POST", &beat, None, &Value::Null).await.status == 200)
            .await;
        for _ in 0..2 {
            assert_eq!(say("POST", &report, Some("second"), &cost).await.status, 200, "{name}");
        }
        assert_eq!(spent().await, Some(1.1), "{name}: two reports and one request, each once");
        assert_eq!(scene.state(id).await.0, "ACTIVE", "{name}: none of it was the agent's fault");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_cannot_say_that_it_lives_falls_silent_and_a_human_wakes_it() {
    let place = Place::on(Dialect::Postgres).await;
    let (cut, url) = Cut::in_front_of(&redis_url()).await;
    let upstream = Upstream::echo().await;
    let scene = scene(&format!("{}{}", place.yaml(&place.store.address(), &url), routes(&upstream))).await;
    let more = json!({"dead_mans_switch": {"heartbeat_required_every": 60}});
    let (id, token) = scene.mint(&reader(&more)).await;
    cut.cut();
    let beat = async || scene.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), &token).await;
    assert_eq!(beat().await.status, 503);
    scene.clock.advance(Duration::from_secs(61));
    let refused = beat().await;
    assert_eq!(refused.status, 403, "closed: nobody heard that it lives: {}", refused.text());
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("HEARTBEAT_MISSING")));
    cut.mend();
    assert_eq!(beat().await.status, 403, "late is late");
    assert_eq!(scene.call("POST", &format!("/ai/tokens/{id}/resume/"), &Value::Null).await.status, 200);
    until(PATIENCE, "awake", async || scene.ask("/reports/7", &token, &[]).await.status == 200).await;
}
