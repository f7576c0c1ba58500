//! A gateway that is killed while it executes what people have approved (security bar 2.J 126).
//!
//! Law: whenever it dies, the upstream has seen the request at most once, and what may have been
//! sent is never sent again.

use std::time::Duration;

use serde_json::{Value, json};

use super::Place;
use super::gateway::Gateway;
use crate::support::people::request;
use crate::support::raw::Answer;
use crate::support::replica::{Place as Shared, redis_url, until};
use crate::support::{Client, Upstream, times};

fn yaml(upstream: &Upstream) -> String {
    format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }}
applications: {{ required: nowhere }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes: [ {{ name: act, match: {{ path: '/act' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view, hold: always }} }} ]
",
        upstream.address
    )
}

async fn send(gateway: &Gateway, path: &str, lines: &[String], body: &str) -> Option<Answer> {
    let mut client = Client::connect(gateway.public).await;
    client.send(request("POST", path, lines, body)).await;
    client.answer().await
}

async fn api(gateway: &Gateway, path: &str, lines: &[String], body: &Value) -> Value {
    let path = format!("/api/v1/auth{path}");
    let answer = send(gateway, &path, lines, &body.to_string()).await.expect("an answer");
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.json()
}

fn text(of: &Value, key: &str) -> String {
    of[key].as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_gateway_is_killed_what_was_approved_is_sent_once_at_most() {
    let upstream = Upstream::echo().await;
    let shared = Shared::new().await;
    let place =
        Place::with(&format!("{}{}", shared.yaml(&shared.store.address(), &redis_url()), yaml(&upstream)));
    let created = place.run_with("user create ada@example.com --superuser --password-stdin", "SecureP@ss1!x");
    assert_eq!(created.code, 0, "{}", created.err);
    let mut gateway = Gateway::start(&place);
    let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x"});
    let login = api(&gateway, "/login/email/", &[], &ada).await;
    let human = [format!("Authorization: Bearer {}", text(&login, "access_token"))];
    let limits = json!({"max_requests_per_minute": 100_000, "max_requests_total": 100_000, "max_failed_requests": 100_000});
    let mint = json!({"permissions": ["users.view"], "circuit_breaker": limits});
    let agent = format!(
        "Authorization: AgentBearer {}",
        text(&api(&gateway, "/ai/tokens/", &human, &mint).await, "token")
    );
    let mut broken_off = None;
    for round in 0..times(4, 50) {
        let body = format!("{{\"round\": {round}}}");
        let before = upstream.count();
        let held = send(&gateway, "/act", std::slice::from_ref(&agent), &body).await.expect("an answer");
        assert_eq!(held.status, 202, "{}", held.text());
        let named = text(&held.json(), "confirmation_token");
        api(&gateway, &format!("/ai/pending-actions/{named}/confirm/"), &human, &json!({})).await;
        let lines = [agent.clone(), format!("X-Action-Confirmation: {named}")];
        let executing = send(&gateway, "/act", &lines, &body);
        let killing = async {
            // From before the request is taken until after it is answered.
            tokio::time::sleep(Duration::from_millis(u64::try_from(round * 5 % 21).unwrap())).await;
            gateway.signal("KILL");
        };
        futures::join!(executing, killing);
        drop(gateway);
        gateway = Gateway::start(&place);
        let sent = upstream.count() - before;
        assert!(sent <= 1, "round {round}: sent {sent} times");
        let again = send(&gateway, "/act", &lines, &body).await.expect("an answer");
        let is_known = again.status == 200 || again.code() == "APPROVAL_USED";
        assert!(is_known, "round {round}: {}", again.text());
        let sent = upstream.count() - before;
        assert!(sent <= 1, "round {round}: sent {sent} times after all");
        if again.status != 200 && again.json()["state"] == "executing" {
            broken_off = Some((lines, body));
        }
    }
    let listed = place.run("approvals list --json");
    let listed: Value = serde_json::from_str(&listed.out).expect("the list is JSON");
    assert_eq!(listed.as_array().expect("a list").len(), times(4, 50));
    let shown = place.run("approvals show 1");
    assert!(shown.code == 0 && shown.out.contains("POST through route act (users.view)"), "{}", shown.out);
    assert_ne!(place.run("approvals show nonsense").code, 0);
    if let Some((lines, body)) = broken_off {
        let count = upstream.count();
        until(Duration::from_secs(25), "nobody knows", async || {
            let again = send(&gateway, "/act", &lines, &body).await.expect("an answer");
            again.json()["state"] == "indeterminate"
        })
        .await;
        assert_eq!(upstream.count(), count);
    }
}
