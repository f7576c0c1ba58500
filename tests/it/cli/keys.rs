//! API keys of people, as an operator sees and ends them beside a running gateway.
//! Law: what is ended there opens nothing from the next request on.

use std::time::Duration;

use serde_json::{Value, json};

use super::Place;
use super::approved::{api, text};
use super::gateway::Gateway;
use crate::support::Upstream;
use crate::support::exchange;
use crate::support::people::request;
use crate::support::replica::within;

const PASSWORD: &str = "Ample-Margin-42-Kites";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_lists_keys_and_ends_one_beside_a_running_gateway() {
    let upstream = Upstream::echo().await;
    let place = Place::with(&format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
applications: {{ required: nowhere }}
accounts: {{ api_keys: {{ default_lifetime: 1h, max_lifetime: 2h }} }}
upstreams: {{ app: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: /mine }}, upstream: app, allow: signed_in }} ]
",
        upstream.address
    ));
    for name in ["ada", "bob"] {
        place
            .run_with(&format!("user create {name}@example.com --verified --password-stdin"), PASSWORD)
            .good();
    }
    let gateway = Gateway::start(&place);
    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    let entered = api(&gateway, "/login/email/", &[], &login).await;
    let human = [format!("Authorization: Bearer {}", text(&entered, "access_token"))];
    let made = api(&gateway, "/api-keys/", &human, &json!({"name": "nightly"})).await;
    let long = json!({"name": "long", "expires_in": 7201});
    let refused =
        exchange(gateway.public, request("POST", "/api/v1/auth/api-keys/", &human, &long.to_string()));
    let refused = refused.await.expect("an answer");
    assert_eq!(
        (refused.status, &refused.json()["details"]),
        (400, &json!({"expires_in": ["7200 seconds at most."]}))
    );
    let key = format!("X-API-Key: {}", text(&made, "key"));
    let reached = async || {
        let asked = exchange(gateway.public, request("GET", "/mine", std::slice::from_ref(&key), ""));
        asked.await.expect("an answer").status
    };
    assert_eq!(reached().await, 200);

    let listed = place.run("apikey list --json").json();
    let one = &listed.as_array().unwrap()[0];
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&one["name"], &one["human"], &one["state"]),
        (&json!("nightly"), &json!("ada@example.com"), &json!("active"))
    );
    assert!(!listed.to_string().contains(&text(&made, "key")));
    assert_eq!(place.run("apikey list bob@example.com --json").json(), json!([]));
    let table = place.run("apikey list ada@example.com").good();
    assert!(table.contains("nightly") && table.contains("ada@example.com"), "{table}");
    assert!(place.run("apikey list eve@example.com").bad().contains("no such account"));

    let number = one["number"].to_string();
    assert!(place.run("apikey revoke 4711").bad().contains("no such key"));
    assert_eq!(place.run("apikey revoke x-y").code, 2);
    assert!(place.run(&format!("apikey revoke {number}")).good().contains("revoked"));
    within(Duration::from_secs(3), "the key is over", async || reached().await == 401).await;
    let id = one["id"].as_str().unwrap();
    let since = place.run("apikey list --json").json()[0]["revoked_at"].as_str().unwrap().to_owned();
    let again = place.run(&format!("apikey revoke {id}")).bad();
    assert!(again.contains("over already") && again.contains(&since), "{again}");
    let states: Vec<Value> = vec![place.run("apikey list --json").json()[0]["state"].clone()];
    assert_eq!(states, [json!("revoked")]);
    assert!(place.run("audit tail").good().contains("api_key_revoked"));
}
