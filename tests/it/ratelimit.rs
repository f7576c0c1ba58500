//! Rate limits on the running gateway: by principal, by address, on the API's own endpoints.
//! Each share belongs to whom it names: the caller, or the address that is really calling.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::{Clock, SystemClock, TestClock};
use serde_json::json;

use crate::support::people::TRUSTING;
use crate::support::raw::Answer;
use crate::support::{Gateway, Upstream};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const FROM: &str = "X-Forwarded-For: 10.9.9.9";

/// Endpoints that count together, how often they may be called, and in how many seconds: the table
/// of the contract's section 7, as far as they exist.
const TABLE: [(&[&str], usize, u64); 6] = [
    (&["/login/email/", "/login/phone/"], 5, MINUTE),
    (&["/register/"], 3, HOUR),
    (&["/refresh/"], 30, MINUTE),
    (&["/otp/request/"], 5, HOUR),
    (&["/otp/verify/email/", "/otp/verify/phone/", "/password/reset/confirm/"], 5, MINUTE),
    (&["/password/reset/request/"], 3, HOUR),
];

async fn scene() -> (Upstream, Gateway) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: three, match: {{ path: /three }}, upstream: up, allow: signed_in, limit: {{ requests: 3, per: 1h }} }}
  - {{ name: two, match: {{ path: /two }}, upstream: up, allow: anyone, limit: {{ requests: 2, per: 1h, by: address }} }}
",
        upstream.address
    ))
    .await;
    (upstream, gateway)
}

#[tokio::test]
async fn everyone_has_a_share_of_their_own() {
    let (upstream, gateway) = scene().await;
    let keys = gateway.application("web", &[]).await;
    for name in ["ada", "bob"] {
        let user = gateway.user(name, &keys).await;
        for left in [2, 1, 0] {
            let answer = gateway.get_as(&user, "/three", &[]).await;
            assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (200, Some("3")));
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        }
        let answer = gateway.get_as(&user, "/three", &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "RATE_LIMITED"));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait) && answer.json()["retry_after"] == json!(wait));
        assert_eq!(answer.header("x-ratelimit-window"), Some("3600"));
        assert_eq!(answer.json()["retryable"], true);
    }
    assert_eq!(upstream.count(), 6);
    assert_eq!(gateway.send("GET", "/three", &[]).await.status, 401, "who may not pass is told so first");
}

#[tokio::test]
async fn an_address_cannot_pretend_to_be_many() {
    let (_upstream, gateway) = scene().await;
    let mut statuses = Vec::new();
    for n in 0..4 {
        let lines = [format!("X-Forwarded-For: 10.0.0.{n}"), format!("X-Real-IP: 10.0.0.{n}")];
        statuses.push(gateway.send("GET", "/two", &lines).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[tokio::test]
async fn logging_in_is_limited_for_an_address_whoever_it_tries() {
    let (_upstream, gateway) = scene().await;
    let keys = gateway.application("web", &[]).await;
    for n in 0..5 {
        let body = json!({"email": format!("nobody{n}@example.com"), "password": "wrong"});
        let answer = gateway.call("POST", "/login/email/", &keys.lines(), &body).await;
        assert_eq!(answer.status, 401);
    }
    let body = json!({"email": "nobody9@example.com", "password": "wrong"});
    let answer = gateway.call("POST", "/login/email/", &keys.lines(), &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "RATE_LIMITED"));
    assert_eq!(answer.header("x-ratelimit-limit"), Some("5"));
    assert!(answer.header("retry-after").is_some());
}

async fn by_a_clock() -> (Arc<TestClock>, Gateway) {
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_by(Arc::clone(&clock) as _, folder, TRUSTING).await.expect("it starts");
    (clock, gateway)
}

/// The refusal in the words of the contract; how long it says to wait.
fn is_throttled(answer: &Answer, limit: usize, window: u64, path: &str) -> u64 {
    assert_eq!((answer.status, answer.code().as_str()), (429, "RATE_LIMITED"), "{path}");
    assert_eq!(answer.header("x-ratelimit-limit"), Some(limit.to_string().as_str()), "{path}");
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"), "{path}");
    assert_eq!(answer.header("x-ratelimit-window"), Some(window.to_string().as_str()), "{path}");
    assert!(answer.header("x-ratelimit-reset").is_some(), "{path}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 0 && wait <= window, "{path}: {wait}");
    assert_eq!(answer.json()["retry_after"], json!(wait), "{path}");
    let unit = if wait == 1 { "second" } else { "seconds" };
    let told = format!("Request was throttled. Expected available in {wait} {unit}.");
    assert_eq!(answer.json()["error"], json!(told), "{path}");
    wait
}

#[tokio::test]
async fn every_endpoint_of_the_contracts_table_has_its_limit() {
    let (clock, gateway) = by_a_clock().await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let lines = [&keys.lines()[..], &[ada.bearer(), FROM.to_owned()]].concat();
    for (paths, limit, window) in TABLE {
        let call =
            async |turn: usize| gateway.call("POST", paths[turn % paths.len()], &lines, &json!({})).await;
        for turn in 0..limit {
            let answer = call(turn).await;
            assert!(answer.status != 429 && answer.status < 500, "{paths:?} {turn}: {}", answer.text());
        }
        let mut wait = 0;
        for (turn, path) in paths.iter().enumerate() {
            wait = is_throttled(&call(turn).await, limit, window, path);
        }
        let elsewhere = [&keys.lines()[..], &[ada.bearer(), "X-Forwarded-For: 10.9.9.8".to_owned()]].concat();
        let other = gateway.call("POST", paths[0], &elsewhere, &json!({})).await;
        assert_ne!(other.status, 429, "{paths:?}: another address has a share of its own");
        if window == MINUTE {
            clock.advance(Duration::from_secs(wait));
            assert_ne!(call(0).await.status, 429, "{paths:?}: what was refused did not count");
        }
    }
}

#[tokio::test]
async fn the_longer_windows_of_the_contract_count_too() {
    let (clock, gateway) = by_a_clock().await;
    let keys = gateway.application("web", &[]).await;
    let lines = [&keys.lines()[..], &[FROM.to_owned()]].concat();
    for (path, often, pause, limit, window) in [
        ("/login/email/", 5, MINUTE, 20, HOUR),
        ("/register/", 3, HOUR, 10, 24 * HOUR),
        ("/password/reset/request/", 3, HOUR, 10, 24 * HOUR),
    ] {
        let mut passed = 0;
        while passed < limit {
            for _ in 0..often.min(limit - passed) {
                let answer = gateway.call("POST", path, &lines, &json!({})).await;
                assert_ne!(answer.status, 429, "{path} {passed}: {}", answer.text());
                passed += 1;
            }
            clock.advance(Duration::from_secs(pause));
        }
        let answer = gateway.call("POST", path, &lines, &json!({})).await;
        let wait = is_throttled(&answer, limit, window, path);
        assert!(wait > pause, "{path}: the longer wait, not {wait}");
    }
}
