//! Accounts that go, and what is kept of people, on the running gateway.
//! Law: whoever has gone is refused on every way in from the next request on, like somebody who never was.

use std::time::Duration;

use portcullis::account;
use portcullis::audit::How;
use portcullis::privacy;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{is_cut, open_stream, reader, routes, streaming};
use crate::codes::{Post, text_of};
use crate::on_one_and_on_two;
use crate::support::Replicas;
use crate::support::people::{PASSWORD, TRUSTING, User, elsewhere, request};
use crate::support::raw::{Answer, exchange};
use crate::support::replica::within;

const PAGE: &str = "/portcullis/deletion/";

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// The token in a mail with a link to our own page.
fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once(&format!("{PAGE}?token=")).expect("a link");
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

impl Post {
    pub async fn status_of(&self, user: &User) -> Value {
        let lines = [&self.keys.lines()[..], &[user.bearer(), elsewhere()]].concat();
        self.gateway.call("GET", "/account-deletion-status/", &lines, &Value::Null).await.json()
    }

    /// Asks with the password; the token of the mail with this number.
    pub async fn leave(&self, user: &User, number: usize) -> String {
        let body = json!({"password": PASSWORD, "reason": "bye"});
        let asked = self.call(Some(user), "/request-account-deletion/", body).await;
        assert_eq!(asked.status, 201, "{}", asked.text());
        let letter = self.letter(number).await;
        assert_eq!(letter.to, ["ada@example.com"]);
        token_in(&text_of(&letter))
    }
}

#[tokio::test]
async fn somebody_asks_confirms_changes_their_mind_and_goes_in_the_end() {
    let post = Post::start("").await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let ask = async |path: &str, body: Value| told(&post.call(Some(&ada), path, body).await);
    for (body, code) in [
        (json!({}), "REAUTH_REQUIRED"),
        (json!({"password": "wrong"}), "INVALID_PASSWORD"),
        (json!({"reauth_otp_code": "123456"}), "OTP_REQUIRED"),
        (json!({"otp_code": "123456"}), "OTP_REQUIRED"),
        (json!({"password": PASSWORD, "reason": "x".repeat(501)}), "VALIDATION_ERROR"),
    ] {
        assert_eq!(ask("/request-account-deletion/", body).await, (400, code.to_owned()));
    }
    let bare = post.call(None, "/request-account-deletion/", json!({"password": PASSWORD})).await;
    assert_eq!(bare.status, 401);
    let token = post.leave(&ada, 1).await;
    let status = post.status_of(&ada).await;
    assert_eq!(status["active_request"]["status"], "confirmation_sent");
    let refused = (400, "INVALID_TOKEN".to_owned());
    let confirm =
        async |token: &str| post.call(None, "/confirm-account-deletion/", json!({"token": token})).await;
    assert_eq!(told(&confirm("").await).1, "TOKEN_REQUIRED");
    assert_eq!(told(&confirm(&"x".repeat(43)).await), refused);
    let done = confirm(&token).await.json();
    assert_eq!(done["days_remaining"], 30);
    assert_eq!(told(&confirm(&token).await), refused, "once");
    let status = post.status_of(&ada).await;
    assert_eq!(status["active_request"]["grace_period_ends_at"], done["grace_period_ends_at"]);
    assert_eq!((&status["history"][0]["reason"], &status["total_requests"]), (&json!("bye"), &json!(1)));
    assert!(text_of(&post.letter(2).await).contains("will be deleted after"));
    assert_eq!(ask("/cancel-account-deletion/", json!({})).await.1, "REAUTH_REQUIRED");
    let kept = post.call(Some(&ada), "/cancel-account-deletion/", json!({"password": PASSWORD})).await;
    assert_eq!((kept.status, &kept.json()["cancelled_count"]), (200, &json!(1)), "{}", kept.text());
    assert_eq!(
        ask("/cancel-account-deletion/", json!({"password": PASSWORD})).await.1,
        "NO_PENDING_DELETION"
    );
    assert!(text_of(&post.letter(3).await).contains("called off"));

    let token = post.leave(&ada, 4).await;
    let path = format!("{PAGE}?token={token}");
    for _ in 0..2 {
        let page = post.gateway.send("GET", &path, &[]).await;
        assert!(page.status == 200 && page.text().contains("Delete my account"), "{}", page.text());
    }
    assert_eq!(
        post.status_of(&ada).await["active_request"]["status"],
        "confirmation_sent",
        "looking is nothing"
    );
    let press = async |origin: &str| {
        let lines = [format!("Origin: {origin}"), elsewhere()];
        let form = request("POST", PAGE, &lines, &format!("token={token}"));
        let form = form.replace("application/json", "application/x-www-form-urlencoded");
        exchange(post.gateway.public(), form).await.expect("an answer")
    };
    assert_eq!(press("https://evil.example").await.status, 403);
    let own = post.gateway.running.app.config().public_url.to_string();
    assert_eq!(press(&own).await.status, 200);
    assert_eq!(press(&own).await.status, 404, "once");
    // What is not delivered within a day is given up.
    assert!(text_of(&post.letter(5).await).contains("will be deleted after"));
    post.clock.advance(Duration::from_hours(30 * 24));
    privacy::delete_due(&post.gateway.running.app).await.unwrap();
    assert!(text_of(&post.letter(6).await).contains("was deleted"));
    let gone =
        post.call(None, "/login/email/", json!({"email": "ada@example.com", "password": PASSWORD})).await;
    let never =
        post.call(None, "/login/email/", json!({"email": "eve@example.com", "password": PASSWORD})).await;
    assert_eq!((told(&gone), gone.json()["error"].clone()), (told(&never), never.json()["error"].clone()));
}

#[tokio::test]
async fn what_is_kept_is_shown_to_its_person_and_nothing_that_opens_anything() {
    let post = Post::start("").await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let key = post.call(Some(&ada), "/api-keys/", json!({"name": "nightly"})).await.json();
    let refused = post.call(Some(&ada), "/export-user-data/", json!({})).await;
    assert_eq!(told(&refused), (400, "REAUTH_REQUIRED".to_owned()));
    let shown = post.call(Some(&ada), "/export-user-data/", json!({"password": PASSWORD})).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let all = shown.json();
    for section in [
        "user_info",
        "roles",
        "permissions",
        "sessions",
        "social_connections",
        "login_attempts",
        "agent_tokens",
        "applications",
        "audit_logs",
        "export_metadata",
        "api_keys",
        "passkeys",
        "organizations",
        "invitations",
        "invitations_sent",
    ] {
        assert!(!all[section].is_null(), "{section}");
    }
    assert_eq!(all["user_info"]["email"], "ada@example.com");
    assert_eq!(
        (&all["api_keys"][0]["name"], &all["applications"][0]["name"]),
        (&json!("nightly"), &json!("web"))
    );
    assert_eq!(all["login_attempts"][0]["action"], "login");
    let text = shown.text();
    for secret in
        ["argon2", ada.access.as_str(), ada.refresh.as_str(), key["key"].as_str().unwrap(), PASSWORD]
    {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(post.codes_of_the_trail().await.iter().any(|code| code == "data_exported"));
}

pub async fn delete(scene: &Scene) {
    let ada = scene.ada.id;
    let gone = scene.gateway.change(async |change| {
        let person = account::by_id(change.tx(), ada).await.unwrap().unwrap();
        privacy::erase_now(change, &person, How::Administrator).await.is_ok()
    });
    assert!(gone.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_gone_is_refused_on_every_way_in_and_their_streams_end() {
    let upstream = streaming().await;
    let mine = "  - { name: mine, match: { path: /mine }, upstream: up, allow: signed_in }\n";
    let scene = scene(&format!("{TRUSTING}{}{mine}", routes(&upstream))).await;
    let (id, token) = scene.mint(&reader(&json!({}))).await;
    let made = scene.call("POST", "/api-keys/", &json!({"name": "k"})).await.json();
    let key = format!("X-API-Key: {}", made["key"].as_str().unwrap());
    let mut stream = open_stream(&scene, &token).await;
    let own = scene.lines(&scene.ada);
    delete(&scene).await;
    assert!(is_cut(&mut stream).await);
    assert_eq!(scene.gateway.call("GET", "/me/", &own, &Value::Null).await.status, 401);
    assert_eq!(scene.gateway.send("GET", "/mine", &[scene.ada.bearer()]).await.status, 401);
    assert_eq!(scene.gateway.send("GET", "/mine", &[key]).await.status, 401);
    assert_eq!(scene.gateway.send("GET", "/reports/7", &[bearer(&token)]).await.status, 403);
    let post = async |path: &str, body: Value| {
        let lines = [&scene.keys.lines()[..], &[elsewhere()]].concat();
        scene.gateway.call("POST", path, &lines, &body).await
    };
    let again = post("/refresh/", json!({"refresh_token": scene.ada.refresh})).await;
    assert_eq!(told(&again), (401, "REFRESH_FAILED".to_owned()));
    let login = post("/login/email/", json!({"email": "ada@example.com", "password": PASSWORD})).await;
    assert_eq!(told(&login), (401, "LOGIN_FAILED".to_owned()));
    for path in ["/request-account-deletion/", "/cancel-account-deletion/", "/export-user-data/"] {
        let refused = scene.gateway.call("POST", path, &own, &json!({"password": PASSWORD})).await;
        assert_eq!(refused.status, 401, "{path}");
    }
    let kept = portcullis::agent::find(
        &scene.gateway.running.app.db,
        portcullis::agent::Reference::Number(portcullis::base::Number(id)),
    );
    assert_eq!(kept.await.unwrap().unwrap().status, portcullis::agent::Status::Revoked);
    let new = scene.gateway.user("ada", &scene.keys).await;
    assert_ne!(new.id, scene.ada.id, "the address is free again, for somebody else");
    assert_eq!(
        scene.gateway.call("GET", "/api-keys/", &scene.lines(&new), &Value::Null).await.json()["count"],
        0
    );
}

on_one_and_on_two! {
    async fn an_account_is_deleted_by_one_replica_and_gone_on_all(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &format!("{TRUSTING}accounts: {{ deletion: {{ grace: 0s }} }}\n")).await;
        let keys = replicas.here.application("web", &[]).await;
        let id = replicas.here.account("ada", |new| new.is_verified = false).await;
        let ada = replicas.here.log_in("ada", id, &keys).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        let me = async |gateway: &crate::support::Gateway| gateway.call("GET", "/me/", &lines, &Value::Null).await.status;
        assert_eq!(me(&replicas.there).await, 200);
        let body = json!({"password": PASSWORD});
        let asked = replicas.here.call("POST", "/request-account-deletion/", &lines, &body).await;
        assert_eq!(asked.status, 201, "{}", asked.text());
        assert!(asked.json()["message"].as_str().unwrap().contains("confirmed"), "nobody knows where to write");
        let (one, other) = futures::join!(
            privacy::delete_due(&replicas.here.running.app),
            privacy::delete_due(&replicas.there.running.app)
        );
        // The gateway's own turn may have been quicker.
        assert!(one.unwrap() + other.unwrap() <= 1);
        within(Duration::from_secs(2), "gone here", async || me(&replicas.here).await == 401).await;
        within(Duration::from_secs(2), "gone there", async || me(&replicas.there).await == 401).await;
    }
}
