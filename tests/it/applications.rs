//! Applications on the running gateway: where keys are asked for, and what they open (contract 3).
//! A secret is checked where it is sent, whoever calls.

use portcullis::application::{self, Activity};
use serde_json::{Value, json};

use crate::support::people::Keys;
use crate::support::{Gateway, Upstream};

async fn scene(required: &str) -> (Upstream, Gateway, Keys) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "applications: {{ required: {required} }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: open, match: {{ path: /open }}, upstream: up, allow: anyone }}
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: bill, match: {{ path: /bill }}, upstream: up, allow: {{ application: billing }} }}
",
        upstream.address
    ))
    .await;
    let keys = gateway.application("billing", &["https://shop.example.com"]).await;
    (upstream, gateway, keys)
}

async fn code(gateway: &Gateway, path: &str, lines: &[String]) -> String {
    let answer = gateway.send("GET", path, lines).await;
    if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
}

#[tokio::test]
async fn keys_are_asked_for_where_the_configuration_says() {
    let requirements = "/api/v1/auth/password/requirements/";
    let expected = [
        ("api", ["200", "401 APP_AUTH_REQUIRED", "200"]),
        ("everywhere", ["401 APP_AUTH_REQUIRED", "401 APP_AUTH_REQUIRED", "200"]),
        ("nowhere", ["200", "200", "200"]),
    ];
    for (required, outcomes) in expected {
        let (_upstream, gateway, keys) = scene(required).await;
        for (path, outcome) in ["/open", requirements, "/.well-known/jwks.json"].into_iter().zip(outcomes) {
            assert_eq!(code(&gateway, path, &[]).await, outcome, "{required} {path}");
            assert_eq!(code(&gateway, path, &keys.lines()).await, "200", "{required} {path}");
        }
        // People come there by themselves, and have no keys.
        for path in ["/docs", "/redoc", "/openapi.json", "/portcullis/login/"] {
            assert_eq!(code(&gateway, path, &[]).await, "200", "{required} {path}");
        }
    }
}

#[tokio::test]
async fn what_an_applications_keys_opened_is_kept_by_no_cache_that_others_share() {
    let (_upstream, gateway, keys) = scene("everywhere").await;
    let opened = gateway.send("GET", "/bill", &keys.lines()).await;
    assert_eq!((opened.status, opened.header("cache-control")), (200, Some("private")));
    let opened = gateway.send("GET", "/open", &keys.lines()).await;
    assert_eq!((opened.status, opened.header("cache-control")), (200, Some("private")));
}

#[tokio::test]
async fn the_contracts_table_of_refusals() {
    let (_upstream, gateway, keys) = scene("api").await;
    let [key, secret] = keys.lines();
    let origin = |origin: &str| format!("Origin: {origin}");
    let other = format!("X-Access-Key: {}", "0".repeat(64));
    let path = "/api/v1/auth/password/requirements/";
    let cases: [(Vec<String>, &str); 8] = [
        (vec![], "401 APP_AUTH_REQUIRED"),
        (vec![other, secret.clone()], "401 APP_AUTH_INVALID"),
        (vec![key.clone(), "X-Access-Secret: guess".to_owned()], "401 APP_AUTH_INVALID"),
        (vec![key.clone()], "401 APP_AUTH_ORIGIN_REQUIRED"),
        (vec![key.clone(), origin("https://evil.example.com")], "401 APP_AUTH_ORIGIN_DENIED"),
        (vec![key.clone(), origin("null")], "401 APP_AUTH_ORIGIN_DENIED"),
        (vec![key.clone(), origin("https://shop.example.com")], "200"),
        (vec![key, secret], "200"),
    ];
    for (lines, expected) in cases {
        assert_eq!(code(&gateway, path, &lines).await, expected, "{lines:?}");
    }
}

#[tokio::test]
async fn a_route_may_be_one_applications_own() {
    let (upstream, gateway, keys) = scene("api").await;
    let other = gateway.application("other", &[]).await;
    assert_eq!(code(&gateway, "/bill", &[]).await, "401 APP_AUTH_REQUIRED");
    assert_eq!(code(&gateway, "/bill", &other.lines()).await, "403 APPLICATION_REQUIRED");
    assert_eq!(upstream.count(), 0);
    assert_eq!(code(&gateway, "/bill", &keys.lines()).await, "200");
    gateway
        .change(async |change| {
            assert!(application::set_activity(change, keys.id, Activity::Disabled).await.unwrap());
        })
        .await;
    assert_eq!(code(&gateway, "/bill", &keys.lines()).await, "401 APP_AUTH_INVALID");
}

#[tokio::test]
async fn a_token_belongs_to_the_application_that_it_was_issued_to() {
    let (_upstream, gateway, keys) = scene("api").await;
    let other = gateway.application("other", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let with = |keys: &Keys| [vec![ada.bearer()], keys.lines().to_vec()].concat();
    assert_eq!(code(&gateway, "/mine", &with(&keys)).await, "200");
    assert_eq!(code(&gateway, "/mine", &[ada.bearer()]).await, "200", "keys are not asked for there");
    assert_eq!(code(&gateway, "/mine", &with(&other)).await, "401 TOKEN_APP_MISMATCH");
    let answer = gateway.call("GET", "/me/", &with(&other), &Value::Null).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"));
    let refresh = json!({"refresh_token": ada.refresh});
    assert_eq!(gateway.call("POST", "/refresh/", &other.lines(), &refresh).await.status, 401);
    gateway
        .change(async |change| {
            assert!(application::set_activity(change, keys.id, Activity::Disabled).await.unwrap());
        })
        .await;
    assert_eq!(code(&gateway, "/mine", &[ada.bearer()]).await, "401 TOKEN_INVALID", "and ends with it");
    gateway
        .change(async |change| {
            assert!(application::set_activity(change, keys.id, Activity::Active).await.unwrap());
        })
        .await;
    assert_eq!(code(&gateway, "/mine", &[ada.bearer()]).await, "401 TOKEN_INVALID", "and does not come back");
    assert_eq!(gateway.call("POST", "/refresh/", &keys.lines(), &refresh).await.status, 401);
    let back = gateway.log_in("ada", ada.id, &keys).await;
    assert_eq!(code(&gateway, "/mine", &[back.bearer()]).await, "200");
}
