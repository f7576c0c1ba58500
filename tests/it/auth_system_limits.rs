//! The profile `auth-system` on the running gateway: how often it is asked, in that system's table and headers.
//! Law: its limits hold beside ours, and nobody gets around one of them by the other.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::{Clock as _, SystemClock, TestClock};
use serde_json::{Value, json};

use crate::auth_system::{ask, plain, refusal, root, yaml};
use crate::support::Gateway;
use crate::support::people::{elsewhere, request};
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
