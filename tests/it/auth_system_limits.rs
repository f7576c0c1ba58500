//! The profile `auth-system` on the running gateway: how often it is asked, in that system's table and headers.
//! Law: its limits hold beside ours, and nobody gets around one of them by the other.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::{Clock as _, Id, SystemClock, TestClock};
use serde_json::{Value, json};

use crate::auth_system::{ask, plain, refusal, root, yaml};
use crate::support::Gateway;
use crate::support::people::{PASSWORD, elsewhere, request};
use crate::support::raw::exchange;

#[tokio::test]
async fn ten_logins_a_minute_and_then_the_limit_says_when() {
    let gateway = Gateway::start(&yaml()).await;
    let from = elsewhere();
    let body = json!({"email": "x", "password": "y"}).to_string();
    let mut answers = Vec::new();
    for _ in 0..11 {
        let text = request("POST", "/api/v1/auth/login", std::slice::from_ref(&from), &body);
        answers.push(exchange(gateway.public(), text).await.unwrap());
    }
    assert!(answers[..10].iter().all(|answer| answer.status == 400));
    assert_eq!(
        (answers[0].header("x-ratelimit-limit"), answers[0].header("x-ratelimit-remaining")),
        (Some("10"), Some("9"))
    );
    assert_eq!(answers[0].header("x-ratelimit-window"), Some("60"));
    assert!(answers[0].header("x-ratelimit-reset").unwrap().parse::<u64>().unwrap() > 1_000_000);
    let last = answers.last().unwrap();
    assert_eq!(refusal(last), plain(429, "RATE_LIMIT_EXCEEDED"));
    assert_eq!(last.json()["error"]["message"], "Rate limit exceeded. Try again later.");
    let wait = last.json()["error"]["retry_after"].as_u64().unwrap();
    assert!((1..=60).contains(&wait) && last.header("retry-after") == Some(&*wait.to_string()));
}

#[tokio::test]
async fn guessing_is_bounded_by_the_hour_and_mail_with_the_native_api() {
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_by(clock.clone(), folder, &yaml()).await.unwrap_or_else(|e| panic!("{e}"));
    let from = elsewhere();
    let send = async |path: &str, body: Value| {
        let text = request("POST", path, std::slice::from_ref(&from), &body.to_string());
        exchange(gateway.public(), text).await.unwrap()
    };
    for number in 0..100 {
        if number % 10 == 0 {
            clock.advance(Duration::from_secs(61));
        }
        let answer = send("/api/v1/auth/login", json!({"email": "x"})).await;
        assert_eq!(answer.status, 400, "{number} {}", answer.text());
    }
    clock.advance(Duration::from_mins(2));
    let last = send("/api/v1/auth/login", json!({"email": "x"})).await;
    assert_eq!(refusal(&last), plain(429, "RATE_LIMIT_EXCEEDED"));
    assert_eq!(last.header("x-ratelimit-window"), Some("3600"));
    // Who is in goes on: refreshing is counted apart.
    let refreshed = send("/api/v1/auth/refresh", json!({"refresh_token": "x"})).await;
    assert_eq!(refusal(&refreshed), plain(401, "TOKEN_INVALID"));
    for _ in 0..3 {
        assert_ne!(send("/api/v1/auth/forgot-password", json!({"email": "x@example.com"})).await.status, 429);
    }
    let forgotten = send("/api/v1/auth/forgot-password", json!({"email": "x@example.com"})).await;
    assert_eq!(refusal(&forgotten), plain(429, "RATE_LIMIT_EXCEEDED"));
    let keys = gateway.application("web", &[]).await;
    gateway.running.app.catch_up().await.unwrap();
    let lines = [&keys.lines()[..], std::slice::from_ref(&from)].concat();
    let text = request("POST", "/gate/password/reset/request/", &lines, r#"{"email": "x@example.com"}"#);
    assert_eq!(exchange(gateway.public(), text).await.unwrap().status, 429, "the same bucket");
}

#[tokio::test]
async fn each_kind_of_request_has_the_limit_of_that_systems_table() {
    let gateway = Gateway::start(&yaml()).await;
    let root = root(&gateway).await;
    for (path, limit, window) in [
        ("/users", "100", "60"),
        ("/admin/users", "100", "60"),
        ("/auth/me", "1000", "3600"),
        ("/stats/overview", "1000", "3600"),
        ("/stats/users", "1000", "3600"),
        ("/audit/logs", "1000", "3600"),
        ("/audit/logs/export?format=json", "10", "3600"),
        ("/health/detailed", "1000", "3600"),
    ] {
        let answer = ask(&gateway, Some(&root), "GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let told = ["limit", "window"].map(|name| answer.header(&format!("x-ratelimit-{name}")));
        assert_eq!(told, [Some(limit), Some(window)], "{path}");
        let left = answer.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap();
        assert_eq!(left + 1, limit.parse::<u32>().unwrap(), "{path}");
        assert!(answer.header("x-ratelimit-reset").unwrap().parse::<u64>().unwrap() > 1_000_000, "{path}");
    }
}

#[tokio::test]
async fn managing_people_has_one_limit_whatever_is_done_and_whatever_comes_of_it() {
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_by(clock.clone(), folder, &yaml()).await.unwrap_or_else(|e| panic!("{e}"));
    let root = root(&gateway).await;
    let lines = [root.bearer(), elsewhere()];
    let send = async |method: &str, path: &str, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let text = request(method, &format!("/api/v1{path}"), &lines, &body);
        exchange(gateway.public(), text).await.unwrap()
    };
    let nobody = Id::from_u128(7);
    let ways = [
        ("POST", "/users".to_owned(), json!({}), 422),
        ("GET", "/users".to_owned(), Value::Null, 200),
        ("GET", format!("/users/{nobody}"), Value::Null, 404),
        ("PATCH", format!("/users/{nobody}"), json!({"first_name": "x"}), 404),
        ("PUT", format!("/users/{nobody}"), json!({}), 422),
        ("DELETE", format!("/users/{nobody}"), Value::Null, 404),
        ("POST", format!("/users/{nobody}/lock"), json!({}), 404),
        ("POST", format!("/users/{nobody}/unlock"), Value::Null, 404),
        ("POST", "/users/bulk-actions".to_owned(), json!({}), 422),
        ("POST", "/admin/users".to_owned(), json!({}), 422),
    ];
    for number in 0..100 {
        let (method, path, body, status) = &ways[number % ways.len()];
        let answer = send(method, path, body).await;
        assert_eq!(answer.status, *status, "{method} {path}: {}", answer.text());
        let left = answer.header("x-ratelimit-remaining");
        assert_eq!(
            (answer.header("x-ratelimit-limit"), left),
            (Some("100"), Some(&*(99 - number).to_string()))
        );
    }
    for (method, path, body, _) in &ways {
        let answer = send(method, path, body).await;
        assert_eq!(refusal(&answer), plain(429, "RATE_LIMIT_EXCEEDED"), "{method} {path}");
        let wait = answer.header("retry-after").unwrap().parse::<u64>().unwrap();
        assert!((1..=60).contains(&wait), "{method} {path}: {wait}");
    }
    let person = json!({"email": "jane@example.com", "password": PASSWORD, "first_name": "Jane"});
    assert_eq!(send("POST", "/users", &person).await.status, 429);
    assert_eq!(send("GET", "/auth/me", &Value::Null).await.status, 200, "that is counted apart");
    let elsewhere = ask(&gateway, Some(&root), "POST", "/users", person).await;
    assert_eq!(elsewhere.status, 201, "she was not made, and others go on: {}", elsewhere.text());
    clock.advance(Duration::from_secs(61));
    assert_eq!(send("GET", "/users", &Value::Null).await.status, 200);
}
