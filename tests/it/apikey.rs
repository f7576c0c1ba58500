//! API keys on the running gateway: a program calls as its human, within what its key names.
//! Law: what ends the human's right to act, or the key, ends what the key opens with the next request.

use std::time::Duration;

use portcullis::account::{self, Activity, Ban};
use portcullis::app::Change;
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::codes::{Post, text_of};
use crate::on_one_and_on_two;
use crate::support::people::{PASSWORD, TRUSTING, User, elsewhere, permission, role};
use crate::support::raw::Answer;
use crate::support::replica::until;
use crate::support::{Replicas, Upstream};
use portcullis::store::Dialect;

const UNKNOWN: &str = "portcullis_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn with_routes(upstream: &Upstream) -> Scene {
    scene(&format!(
        "{TRUSTING}
roles: [ {{ code: analyst, permissions: [pay] }} ]
groups: [ {{ code: suspects }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: open, match: {{ path: '/open' }}, upstream: up, allow: anyone }}
  - {{ name: known, match: {{ path: '/known' }}, upstream: up, allow: anyone, identity: optional }}
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }}
  - {{ name: read, match: {{ path: '/read' }}, upstream: up, allow: {{ permission: reports.read }} }}
  - {{ name: pay, match: {{ path: '/pay' }}, upstream: up, allow: {{ permission: pay }} }}
  - {{ name: unlike, match: {{ path: '/unlike' }}, upstream: up, allow: {{ not: {{ permission: reports }} }} }}
  - {{ name: role, match: {{ path: '/role' }}, upstream: up, allow: {{ role: analyst }} }}
  - {{ name: staff, match: {{ path: '/staff' }}, upstream: up, allow: {{ staff: true }} }}
  - {{ name: mfa, match: {{ path: '/mfa' }}, upstream: up, allow: {{ mfa: true }} }}
  - {{ name: fresh, match: {{ path: '/fresh' }}, upstream: up, allow: {{ max_age: 15m }} }}
  - {{ name: ours, match: {{ path: '/ours' }}, upstream: up, allow: {{ org: member }} }}
  - {{ name: theirs, match: {{ path: '/theirs' }}, upstream: up, allow: {{ org: {{ role: finance }} }} }}
",
        upstream.address
    ))
    .await
}

fn key_line(key: &str) -> String {
    format!("X-API-Key: {key}")
}

impl Scene {
    /// A key of Ada's: its id and text.
    async fn key(&self, body: Value) -> (String, String) {
        let answer = self.call("POST", "/api-keys/", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made = answer.json();
        (made["api_key"]["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    }

    async fn by_key(&self, key: &str, path: &str) -> Answer {
        self.gateway.send("GET", path, &[key_line(key)]).await
    }

    async fn told_key(&self, key: &str, path: &str) -> String {
        let answer = self.by_key(key, path).await;
        if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
    }

    async fn set(&self, make: impl AsyncFnOnce(&mut Change<'_>) -> bool) {
        assert!(self.gateway.change(make).await);
    }
}

#[tokio::test]
async fn a_program_calls_as_its_human_within_what_its_key_names() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    scene.gateway.grant(scene.ada.id, role("analyst")).await;
    let (_, key) = scene.key(json!({"name": "nightly report", "scopes": ["reports.read"]})).await;
    let answer = scene.by_key(&key, "/read").await;
    let seen = answer.text();
    assert_eq!(answer.status, 200, "{seen}");
    for line in [
        &format!("x-user-id: {}", scene.ada.id),
        "x-auth-method: api_key",
        "x-user-permissions: reports.read",
    ] {
        assert!(seen.to_lowercase().contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains(&key) && !seen.to_lowercase().contains("x-api-key"), "{seen}");
    assert!(!seen.contains("analyst"), "a role says more than the key reaches: {seen}");
    for (path, reached) in [
        ("/mine", "200"),
        ("/pay", "403 PERMISSION_REQUIRED"),
        ("/unlike", "403 PERMISSION_DENIED"),
        ("/role", "403 ROLE_REQUIRED"),
        ("/staff", "403 STAFF_REQUIRED"),
        ("/mfa", "403 MFA_REQUIRED"),
        ("/fresh", "403 REAUTHENTICATION_REQUIRED"),
        ("/ours", "400 ORG_CONTEXT_REQUIRED"),
    ] {
        assert_eq!(scene.told_key(&key, path).await, reached, "{path}");
    }
    let in_acme = |path| {
        let lines = [key_line(&key), "X-Org-Slug: acme-corp".to_owned()];
        let gateway = &scene.gateway;
        async move { gateway.send("GET", path, &lines).await }
    };
    let ours = in_acme("/ours").await;
    assert!(ours.status == 200 && !ours.text().to_lowercase().contains("x-org-role"), "{}", ours.text());
    assert_eq!(in_acme("/theirs").await.code(), "ORG_ROLE_REQUIRED");
    // What asks for nobody is told of nobody, and of somebody where it wants to know.
    let open = scene.by_key(&key, "/open").await.text().to_lowercase();
    assert!(!open.contains("x-user-id") && !open.contains("x-api-key"), "{open}");
    assert!(scene.by_key(&key, "/known").await.text().to_lowercase().contains("x-user-id"));
    assert!(!scene.by_key(UNKNOWN, "/known").await.text().to_lowercase().contains("x-user-id"));
    // The key that names nothing holds nothing.
    let (_, bare) = scene.key(json!({"name": "bare"})).await;
    assert_eq!(scene.told_key(&bare, "/mine").await, "200");
    assert_eq!(scene.told_key(&bare, "/read").await, "403 PERMISSION_REQUIRED");
    // What the human loses, the key loses; and a parent brings what lies below it.
    let (_, wide) = scene.key(json!({"name": "wide", "scopes": ["reports"]})).await;
    assert_eq!(scene.told_key(&wide, "/read").await, "200");
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    assert_eq!(scene.told_key(&wide, "/read").await, "403 PERMISSION_REQUIRED");
    assert_eq!(scene.told_key(&key, "/read").await, "403 PERMISSION_REQUIRED");
    let log = format!("{:?}", scene.gateway.access_log().await);
    assert!(!log.contains(&key) && !log.contains(&wide));
}

#[tokio::test]
async fn a_key_opens_nothing_that_is_built_in() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let (_, key) = scene.key(json!({"name": "k", "scopes": ["reports"]})).await;
    let lines = [&scene.keys.lines()[..], &[key_line(&key)]].concat();
    for (method, path) in [
        ("GET", "/me/"),
        ("POST", "/api-keys/"),
        ("GET", "/api-keys/"),
        ("POST", "/ai/tokens/"),
        ("GET", "/ai/pending-actions/"),
        ("POST", "/password/change/"),
        ("POST", "/2fa/setup/"),
        ("POST", "/ws-ticket/"),
        ("GET", "/applications/"),
    ] {
        let answer = scene.gateway.call(method, path, &lines, &Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "API_KEY_NOT_ALLOWED"), "{method} {path}");
    }
    // An open endpoint does not look at it.
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    assert_eq!(scene.gateway.call("POST", "/login/email/", &lines, &body).await.status, 200);
    // Two credentials are one too many, whichever of them is good.
    for other in [scene.ada.bearer(), "Authorization: Bearer nonsense".to_owned(), bearer(&"a".repeat(48))] {
        let both = [&lines[..], &[other]].concat();
        for path in ["/mine", "/api/v1/auth/me/"] {
            let answer = scene.gateway.send("GET", path, &both).await;
            assert!([400, 403].contains(&answer.status), "{path} {}", answer.text());
            assert_ne!(answer.status, 200);
        }
    }
    let both = [scene.ada.bearer(), key_line(&key)];
    let answer = scene.gateway.send("GET", "/mine", &both).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"));
    let twice = [key_line(&key), key_line(&key)];
    assert_eq!(scene.gateway.send("GET", "/mine", &twice).await.status, 400);
}

#[tokio::test]
async fn whatever_is_no_key_in_force_is_refused_alike() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let (id, key) = scene.key(json!({"name": "k", "expires_in": 3600})).await;
    assert_eq!(scene.told_key(&key, "/mine").await, "200");
    let refused = "401 TOKEN_INVALID";
    for wrong in [UNKNOWN, "portcullis_", &key[..40], &key.to_uppercase(), &format!("{key}=")] {
        assert_eq!(scene.told_key(wrong, "/mine").await, refused, "{wrong}");
    }
    // What is no key of ours is its upstream's, and nobody's credential.
    assert_eq!(scene.told_key("theirs", "/mine").await, "401 AUTH_REQUIRED");
    let lines = [scene.ada.bearer(), "X-API-Key: theirs".to_owned()];
    let seen = scene.gateway.send("GET", "/mine", &lines).await.text();
    assert!(seen.to_lowercase().contains("x-api-key: theirs"), "{seen}");
    let other_spelling = [scene.ada.bearer(), format!("X_API_Key: {key}")];
    assert!(!scene.gateway.send("GET", "/mine", &other_spelling).await.text().contains(&key));
    let ada = scene.ada.id;
    scene.set(async |change| account::lock(change, ada, None).await.unwrap()).await;
    assert_eq!(scene.told_key(&key, "/mine").await, refused, "locked");
    scene.set(async |change| account::unlock(change, ada).await.unwrap()).await;
    assert_eq!(scene.told_key(&key, "/mine").await, "200");
    scene.set(async |change| account::set_ban(change, ada, Ban::Imposed).await.unwrap()).await;
    assert_eq!(scene.told_key(&key, "/mine").await, refused, "banned");
    scene.set(async |change| account::set_ban(change, ada, Ban::Lifted).await.unwrap()).await;
    scene.set(async |change| account::set_activity(change, ada, Activity::Inactive).await.unwrap()).await;
    assert_eq!(scene.told_key(&key, "/mine").await, refused, "inactive");
    scene.set(async |change| account::set_activity(change, ada, Activity::Active).await.unwrap()).await;
    assert_eq!(scene.told_key(&key, "/mine").await, "200");
    scene.clock.advance(Duration::from_hours(1));
    assert_eq!(scene.told_key(&key, "/mine").await, refused, "its time is over");
    // Its human logs in again, and ends another one.
    let again = scene.gateway.log_in("ada", ada, &scene.keys).await;
    let lines = scene.lines(&again);
    let made = scene.gateway.call("POST", "/api-keys/", &lines, &json!({"name": "second"})).await.json();
    let (second, own) = (made["key"].as_str().unwrap(), made["api_key"]["id"].as_str().unwrap());
    assert_eq!(scene.told_key(second, "/mine").await, "200");
    let stranger = scene.gateway.user("eve", &scene.keys).await;
    for method in ["GET", "DELETE"] {
        let path = format!("/api-keys/{own}/");
        let foreign = scene.gateway.call(method, &path, &scene.lines(&stranger), &Value::Null).await;
        assert_eq!(foreign.status, 404, "{method}");
    }
    let path = format!("/api-keys/{own}/");
    assert_eq!(scene.gateway.call("DELETE", &path, &lines, &Value::Null).await.status, 200);
    assert_eq!(scene.told_key(second, "/mine").await, refused, "revoked");
    let list = scene.gateway.call("GET", "/api-keys/?page_size=1", &lines, &Value::Null).await.json();
    assert_eq!((&list["count"], &list["results"][0]["name"]), (&json!(2), &json!("second")));
    assert_eq!(list["results"][0]["is_active"], false);
    let first = scene.gateway.call("GET", &format!("/api-keys/{id}/"), &lines, &Value::Null).await.json();
    assert!(!list.to_string().contains(second) && first.get("key").is_none());
}

#[tokio::test]
async fn a_key_is_made_by_a_fresh_login_or_a_password_and_of_what_one_holds() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let make = |body: Value| async move { body };
    let call = async |body: Value| scene.call("POST", "/api-keys/", &make(body).await).await;
    let wide = call(json!({"name": "k", "scopes": ["reports", "pay"]})).await;
    assert_eq!((wide.status, wide.code().as_str()), (403, "PERMISSION_DENIED"));
    assert_eq!(wide.json()["missing"], json!(["pay"]));
    for body in [
        json!({}),
        json!({"name": "k", "scopes": "reports"}),
        json!({"name": "k", "scopes": ["re ports"]}),
        json!({"name": "k", "expires_in": 0}),
        json!({"name": "k", "expires_in": -1}),
        json!({"name": "k", "expires_in": 31_536_001}),
        json!({"name": "k", "is_superuser": true}),
        json!({"name": "k", "unlimited": true}),
    ] {
        assert_eq!(call(body.clone()).await.code(), "VALIDATION_ERROR", "{body}");
    }
    let list = scene.call("GET", "/api-keys/", &Value::Null).await.json();
    assert_eq!(list["count"], 0, "what was refused is not stored");
    scene.clock.advance(Duration::from_mins(14));
    let lines = [&scene.lines(&scene.ada)[..], &[elsewhere()]].concat();
    let post = async |body: Value, user: &User| {
        let lines = [&scene.lines(user)[..], &[elsewhere()]].concat();
        scene.gateway.call("POST", "/api-keys/", &lines, &body).await
    };
    drop(lines);
    assert_eq!(post(json!({"name": "k"}), &scene.ada).await.status, 201);
    scene.clock.advance(Duration::from_mins(2));
    let body = json!({"refresh_token": scene.ada.refresh});
    let fresh = scene.gateway.call("POST", "/refresh/", &scene.keys.lines(), &body).await.json();
    let ada = User { access: fresh["access_token"].as_str().unwrap().to_owned(), ..scene.ada.clone() };
    assert_eq!(post(json!({"name": "k"}), &ada).await.code(), "REAUTH_REQUIRED");
    assert_eq!(post(json!({"name": "k", "password": "wrong"}), &ada).await.code(), "INVALID_PASSWORD");
    let made = post(json!({"name": "k", "password": PASSWORD}), &ada).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(scene.told_key(&key, "/mine").await, "200");
    let new = json!({"current_password": PASSWORD, "new_password": "Another-horse-7-staple"});
    let lines = scene.lines(&ada);
    assert_eq!(scene.gateway.call("POST", "/password/change/", &lines, &new).await.status, 200);
    assert_eq!(scene.told_key(&key, "/mine").await, "401 TOKEN_INVALID", "a new password ends it");
}

on_one_and_on_two! {
    async fn a_key_is_known_on_every_replica_and_its_use_is_noted_later(dialect: Dialect) {
        let upstream = Upstream::echo().await;
        let yaml = format!(
            "{TRUSTING}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }} ]
",
            upstream.address
        );
        let replicas = Replicas::on(dialect, &yaml).await;
        let keys = replicas.here.application("web", &[]).await;
        let ada = replicas.here.user("ada", &keys).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        let made = replicas.here.call("POST", "/api-keys/", &lines, &json!({"name": "k"})).await.json();
        let (key, id) = (made["key"].as_str().unwrap(), made["api_key"]["id"].as_str().unwrap());
        let status = async || replicas.there.send("GET", "/mine", &[key_line(key)]).await.status;
        for _ in 0..5 {
            assert_eq!(status().await, 200);
        }
        let path = format!("/api-keys/{id}/");
        let shown = async || replicas.here.call("GET", &path, &lines, &Value::Null).await.json();
        until(Duration::from_secs(15), "the use", async || shown().await["last_used"].is_string()).await;
        assert_eq!(replicas.here.call("DELETE", &path, &lines, &Value::Null).await.status, 200);
        until(Duration::from_secs(2), "the end", async || status().await == 401).await;
    }
}

#[tokio::test]
async fn the_owner_is_told_of_a_new_key() {
    let post = Post::start("").await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let made = post.call(Some(&ada), "/api-keys/", json!({"name": "nightly"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let letter = post.letter(1).await;
    let (to, text) = (letter.to.clone(), text_of(&letter));
    assert_eq!(to, ["ada@example.com"]);
    assert!(text.contains("An API key was made"), "{text}");
    assert!(!letter.text.contains(made.json()["key"].as_str().unwrap()));
}
