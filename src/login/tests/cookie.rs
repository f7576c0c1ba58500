//! The refresh token in a cookie.

use super::*;

const YAML: &str = "sessions: {refresh_cookie: true}";

fn cookie_of(answer: &Answer) -> &str {
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap()
}

fn carrying(answer: &Answer, origin: Option<&str>) -> Carried {
    let cookie = Some(cookie_of(answer).to_owned());
    Carried { cookie, origin: origin.map(str::to_owned), ..Carried::default() }
}

const OURS: Option<&str> = Some("http://127.0.0.1:8080");

#[tokio::test(flavor = "multi_thread")]
async fn the_refresh_token_is_in_the_cookie_and_in_no_body() {
    let scene = Scene::with(YAML).await;
    scene.ada().await;
    let entered = scene.in_as_ada().await;
    assert!(entered.body.get("refresh_token").is_none() && entered.body.get("refresh").is_none());
    let cookie = entered.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("portcullis_refresh="), "{cookie}");
    assert!(cookie.ends_with("; Path=/api/v1/auth/; Max-Age=604800; HttpOnly; SameSite=Strict"), "{cookie}");
    let refreshed = scene.send("/refresh/", json!({}), carrying(&entered, OURS)).await;
    assert_eq!(refreshed.status, 200);
    assert!(refreshed.body.get("refresh_token").is_none());
    assert_ne!(cookie_of(&refreshed), cookie_of(&entered));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_use_the_cookie() {
    let scene = Scene::with(YAML).await;
    let ada = scene.ada().await;
    let entered = scene.in_as_ada().await;
    for path in ["/refresh/", "/logout/"] {
        for origin in [None, Some("null"), Some("http://evil.example.com"), Some("http://127.0.0.1:8081")] {
            let refused = scene.send(path, json!({}), carrying(&entered, origin)).await;
            assert_eq!(refused.verdict(), (403, "CSRF_FAILED"), "{path} {origin:?}");
        }
    }
    assert_eq!(scene.live(&ada).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_nothing_but_the_cookie_can_log_out() {
    let scene = Scene::with(YAML).await;
    let ada = scene.ada().await;
    let entered = scene.in_as_ada().await;
    let out = scene.send("/logout/", json!({}), carrying(&entered, OURS)).await;
    assert_eq!(out.status, 200);
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(scene.live(&ada).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_body_goes_before_the_cookie_and_needs_no_origin() {
    let scene = Scene::with(YAML).await;
    scene.ada().await;
    let (first, second) = (scene.in_as_ada().await, scene.in_as_ada().await);
    let token = cookie_of(&first).split_once('=').unwrap().1;
    let body = json!({"refresh_token": token});
    let refreshed = scene.send("/refresh/", body, carrying(&second, None)).await;
    assert_eq!((refreshed.status, refreshed.text("session_id")), (200, first.text("session_id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_mode_a_cookie_means_nothing() {
    let scene = Scene::new().await;
    scene.ada().await;
    let entered = scene.in_as_ada().await;
    assert!(!entered.headers.contains_key("set-cookie"));
    let cookie = Some(format!("portcullis_refresh={}", entered.text("refresh")));
    let carried = Carried { cookie, origin: OURS.map(str::to_owned), ..Carried::default() };
    let refused = scene.send("/refresh/", json!({}), carried).await;
    assert_eq!(refused.verdict(), (400, "MISSING_REFRESH_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_forced_change_stays_in_the_body() {
    let scene = Scene::with(YAML).await;
    scene.person(|new| new.must_change_password = true).await;
    let entered = scene.in_as_ada().await;
    assert_eq!(entered.status, StatusCode::OK.as_u16());
    assert!(!entered.text("refresh_token").is_empty() && !entered.headers.contains_key("set-cookie"));
}

/// A form of another site could put its author's session in the place of the reader's.
#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_log_anybody_in_or_out_by_a_token_of_its_own() {
    let scene = Scene::with(YAML).await;
    let ada = scene.ada().await;
    let entered = scene.in_as_ada().await;
    let token = cookie_of(&entered).split_once('=').unwrap().1.to_owned();
    for path in ["/refresh/", "/logout/"] {
        let carried = Carried { origin: Some("https://evil.example".to_owned()), ..Carried::default() };
        let refused = scene.send(path, json!({"refresh_token": token}), carried).await;
        assert_eq!(refused.verdict(), (403, "CSRF_FAILED"), "{path}");
        assert!(!refused.headers.contains_key("set-cookie"), "{path}");
    }
    assert_eq!(scene.live(&ada).await, 1);
}
