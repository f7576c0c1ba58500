//! Rate limits on the running gateway: by principal, by address, on the API's own endpoints.
//! Each share belongs to whom it names: the caller, or the address that is really calling.

use serde_json::json;

use crate::support::{Gateway, Upstream};

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
