//! The built-in API as its document describes it, on the real gateway.
//!
//! Law: the tests walk the document, so an endpoint that is added is tested without a word here.

use portcullis::application::{self, Credentials, NewApplication};
use portcullis::audit::Actor;
use portcullis::store::DEFAULT_SITE;
use serde_json::{Value, json};

use crate::support::raw::Answer;
use crate::support::{Gateway, exchange};

const API: &str = "/api/v1/auth";
const PAGE: &str = "text/html; charset=utf-8";
const PASSWORD: &str = "SecureP@ss1!x";

/// An operation of the document.
struct Operation {
    method: String,
    path: String,
    is_open: bool,
    asks: Asks,
    has_body: bool,
}

/// Whether an operation asks for an application's keys.
#[derive(PartialEq)]
enum Asks {
    Yes,
    /// It is for agents, who show none.
    Never,
    /// It is for people who come by a link. Keys that are sent must be right.
    NotByLink,
}

async fn operations(gateway: &Gateway) -> Vec<Operation> {
    let document = send(gateway, "GET", "/openapi.json", &[], "").await.json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let asked = &operation["security"][0];
            found.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                is_open: asked.get("accessToken").is_none() && asked.get("agentToken").is_none(),
                asks: match operation["security"].get(1) {
                    _ if asked.get("agentToken").is_some() => Asks::Never,
                    Some(other) if *other == json!({}) => Asks::NotByLink,
                    _ => Asks::Yes,
                },
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    assert!(found.len() > 10, "the document lists the endpoints");
    found
}

async fn send(gateway: &Gateway, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    exchange(gateway.public(), format!("{request}\r\n{body}")).await.expect("an answer")
}

async fn without_keys() -> Gateway {
    Gateway::start("applications: { required: nowhere }\n").await
}

/// Every refusal of the API has these four keys.
fn check_shape(answer: &Answer, place: &str) {
    let body = answer.json();
    assert!(body["error"].is_string(), "{place}: {body}");
    assert!(body["code"].is_string(), "{place}: {body}");
    assert!(body["details"].is_object(), "{place}: {body}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{place}: {body}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{place}");
}

#[tokio::test]
async fn every_endpoint_that_is_not_open_answers_401_to_nobody() {
    let gateway = without_keys().await;
    for Operation { method, path, is_open, .. } in operations(&gateway).await {
        let place = format!("{method} {path}");
        for headers in [&[][..], &["Authorization: Bearer nonsense"], &["Authorization: Basic eDp5"]] {
            let answer = send(&gateway, &method, &path, headers, "").await;
            if is_open && answer.header("content-type") == Some(PAGE) {
                assert!(path.ends_with("/magic-link/verify/"), "{place}");
            } else if is_open {
                assert_ne!(answer.code(), "AUTH_REQUIRED", "{place}");
                assert_ne!(answer.code(), "UNAUTHORIZED", "{place}: a stale token does no harm");
            } else {
                assert_eq!(answer.status, 401, "{place} {headers:?}");
                assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{place}");
                check_shape(&answer, &place);
            }
        }
    }
}

#[tokio::test]
async fn every_endpoint_of_the_api_asks_for_the_keys_of_an_application() {
    let gateway = Gateway::start("applications: { required: api }\n").await;
    let keys = application_of(&gateway, "web", &["https://app.example.com"]).await;
    let key = format!("X-Access-Key: {}", keys.access_key.as_str());
    let secret = format!("X-Access-Secret: {}", keys.access_secret.expose());
    let unknown = format!("X-Access-Key: {}", "0".repeat(64));
    let refused: [(&[&str], &str); 6] = [
        (&[], "APP_AUTH_REQUIRED"),
        (&[&unknown, &secret], "APP_AUTH_INVALID"),
        (&[&key, "X-Access-Secret: wrong"], "APP_AUTH_INVALID"),
        (&[&key], "APP_AUTH_ORIGIN_REQUIRED"),
        (&[&key, "Origin: https://evil.example.com"], "APP_AUTH_ORIGIN_DENIED"),
        (&[&key, "Origin: null"], "APP_AUTH_ORIGIN_DENIED"),
    ];
    for Operation { method, path, asks, .. } in operations(&gateway).await {
        let place = format!("{method} {path}");
        if asks == Asks::Never {
            continue;
        }
        if !path.starts_with(API) {
            assert_eq!(send(&gateway, &method, &path, &[], "").await.status, 200, "{place} asks for none");
            continue;
        }
        for (headers, code) in refused {
            if asks == Asks::NotByLink && headers.is_empty() {
                let page = send(&gateway, &method, &path, &[], "").await;
                assert_eq!(page.header("content-type"), Some(PAGE), "{place}");
                continue;
            }
            let answer = send(&gateway, &method, &path, headers, "").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{place} {headers:?}");
            check_shape(&answer, &place);
        }
        for headers in
            [&[key.as_str(), secret.as_str()][..], &[key.as_str(), "Origin: https://app.example.com"]]
        {
            let answer = send(&gateway, &method, &path, headers, "").await;
            assert!(
                answer.status == 200 || !answer.code().starts_with("APP_AUTH"),
                "{place}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn every_endpoint_refuses_bodies_that_it_cannot_read() {
    let gateway = without_keys().await;
    let json = "Content-Type: application/json";
    let big = format!("{{\"a\":\"{}\"}}", "x".repeat(256 * 1024));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    let bodies: [(&str, &str, u16); 8] = [
        (json, "{", 400),
        (json, "[1]", 400),
        (json, "{\"a\":1,\"a\":2}", 400),
        (json, "\u{feff}{}", 400),
        (json, &deep, 400),
        (json, &big, 413),
        ("Content-Type: text/plain", "{}", 415),
        ("Content-Type: application/json; charset=utf-16", "{}", 415),
    ];
    for Operation { method, path, is_open, has_body, .. } in operations(&gateway).await {
        if !is_open || !has_body {
            continue;
        }
        for (content_type, body, status) in bodies {
            let answer = send(&gateway, &method, &path, &[content_type], body).await;
            let place = format!("{method} {path} {content_type} {}", &body[..body.len().min(20)]);
            // Limits count every request, whatever comes of it.
            if answer.status != 429 {
                assert_eq!(answer.status, status, "{place}: {}", answer.text());
            }
            check_shape(&answer, &place);
        }
    }
}

#[tokio::test]
async fn no_endpoint_lets_a_client_grant_itself_anything() {
    let gateway = without_keys().await;
    let tokens = registered(&gateway).await;
    let bearer = format!("Authorization: Bearer {}", tokens["access_token"].as_str().unwrap());
    for name in ["is_staff", "is_superuser", "role", "roles", "permissions", "email_verified", "is_active"] {
        let body = json!({ name: true }).to_string();
        let headers = ["Content-Type: application/json", &bearer];
        let answer = send(&gateway, "PATCH", &format!("{API}/me/"), &headers, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "VALIDATION_ERROR"), "{name}");
        assert!(answer.json()["details"][name].is_array(), "{name}");
    }
    let me = send(&gateway, "GET", &format!("{API}/me"), &[&bearer], "").await.json();
    assert_eq!((&me["roles"], &me["permissions"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn a_known_path_tells_its_methods_and_an_unknown_one_nothing() {
    let gateway = without_keys().await;
    for path in ["/me/", "/me"] {
        let answer = send(&gateway, "DELETE", &format!("{API}{path}"), &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, PATCH")));
        check_shape(&answer, path);
    }
    for path in ["/api/v1/auth/unknown/", "/api/v1/auth", "/docs/x"] {
        let answer = send(&gateway, "GET", path, &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{path}");
        check_shape(&answer, path);
    }
}

#[tokio::test]
async fn answers_with_tokens_are_kept_by_nobody() {
    let gateway = without_keys().await;
    registered(&gateway).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
    let answer =
        send(&gateway, "POST", &format!("{API}/login/email"), &["Content-Type: application/json"], &body)
            .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_document_and_its_pages_are_public_only_in_development() {
    let pages =
        ["/openapi.json", "/docs", "/docs/", "/redoc", "/docs/swagger-ui.css", "/redoc/redoc.standalone.js"];
    let gateway = without_keys().await;
    for path in pages {
        assert_eq!(send(&gateway, "GET", path, &[], "").await.status, 200, "{path}");
    }
    let closed = Gateway::start("api: { docs: admin }\n").await;
    for path in pages {
        assert_eq!(send(&closed, "GET", path, &[], "").await.status, 404, "{path}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
        assert_eq!(exchange(closed.admin(), request).await.unwrap().status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_key_set_verifies_and_holds_no_secret() {
    let gateway = without_keys().await;
    let answer = send(&gateway, "GET", "/.well-known/jwks.json", &[], "").await;
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert!(!keys.is_empty());
    for key in keys {
        assert!(key["kid"].is_string() && key["kty"].is_string(), "{key}");
        assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|name| key.get(name).is_none()), "{key}");
    }
    let health = send(&gateway, "GET", "/api/v1/health", &["X-Access-Key: nonsense"], "").await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
}

/// Ada, signed in: preset `development` logs newcomers in at once.
async fn registered(gateway: &Gateway) -> Value {
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "first_name": "Ada", "login": true});
    let headers = ["Content-Type: application/json"];
    let answer = send(gateway, "POST", &format!("{API}/register/"), &headers, &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn application_of(gateway: &Gateway, name: &str, origins: &[&str]) -> Credentials {
    let new = NewApplication {
        site: DEFAULT_SITE,
        name: name.to_owned(),
        description: String::new(),
        allowed_origins: origins.iter().map(|origin| application::Origin::parse(origin).unwrap()).collect(),
        redirect_uris: Vec::new(),
    };
    let mut change = gateway.running.app.change(Actor::command_line()).await.unwrap();
    let (_, credentials) = application::create(&mut change, new).await.unwrap();
    change.commit().await.unwrap();
    credentials
}
