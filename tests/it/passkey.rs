//! Passkeys on the running gateway: added, logged in with, taken away, and who may not (contract
//! section 14, security bar 2.G).
//!
//! Law: whoever may not log in may not by passkey, and nobody learns whose account has any.

use std::sync::Arc;
use std::time::Duration;

use portcullis::account::{self, Activity};
use portcullis::audit;
use portcullis::base::{Clock as _, Id, SystemClock, TestClock};
use portcullis::factor::Seed;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::on_one_and_on_two;
use crate::support::authenticator::{Authenticator, ORIGIN, Twist};
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere};
use crate::support::raw::Answer;
use crate::support::{Gateway, Replicas, Upstream};

const LOGIN: &str = "login: { passkeys: { rp_id: example.com, origins: ['https://app.example.com'] } }\n";
const BEGIN: &str = "/webauthn/authenticate/begin/";
pub const COMPLETE: &str = "/webauthn/authenticate/complete/";
pub const MINE: &str = "/webauthn/credentials/";

pub struct Scene {
    pub replicas: Replicas,
    pub clock: Arc<TestClock>,
    pub keys: Keys,
    _upstream: Upstream,
}

/// A question of the gateway's, and how it is answered.
pub type Asked = (String, Value);

impl Scene {
    pub async fn on(dialect: Dialect, more: &str) -> Self {
        let upstream = Upstream::echo().await;
        let clock = Arc::new(TestClock::at(SystemClock.now()));
        let yaml = format!(
            "{TRUSTING}{LOGIN}{more}upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: safe, match: {{ path: '/safe' }}, upstream: up, allow: {{ mfa: true }} }} ]
",
            upstream.address
        );
        let replicas = Replicas::start_by(Arc::clone(&clock) as _, dialect, &yaml).await;
        let keys = replicas.here.application("web", &[]).await;
        Self { replicas, clock, keys, _upstream: upstream }
    }

    pub fn gateway(&self) -> &Gateway {
        &self.replicas.here
    }

    pub async fn call(&self, method: &str, path: &str, user: Option<&User>, body: &Value) -> Answer {
        call(&self.replicas.there, &self.keys, method, path, user, body).await
    }

    pub async fn ada(&self) -> User {
        self.gateway().user("ada", &self.keys).await
    }

    pub async fn ask_to_register(&self, user: &User) -> Asked {
        let asked = self.call("POST", "/webauthn/register/begin/", Some(user), &json!({})).await;
        assert_eq!(asked.status, 200, "{}", asked.text());
        question(&asked)
    }

    pub async fn register(&self, user: &User, asked: &Asked, credential: Value) -> Answer {
        let body = json!({"challenge_id": asked.0, "credential": credential, "device_name": "My phone"});
        self.call("POST", "/webauthn/register/complete/", Some(user), &body).await
    }

    /// A new passkey of this person.
    pub async fn enrol(&self, user: &User) -> Authenticator {
        let mut device = Authenticator::new();
        let asked = self.ask_to_register(user).await;
        let made = self.register(user, &asked, device.create(&asked.1, &Twist::default())).await;
        assert_eq!(made.status, 201, "{}", made.text());
        device
    }

    /// Asked of one replica, answered to the other.
    pub async fn ask(&self, email: Option<&str>) -> Asked {
        let body = email.map_or(json!({}), |email| json!({"email": email}));
        let asked = call(&self.replicas.here, &self.keys, "POST", BEGIN, None, &body).await;
        assert_eq!(asked.status, 200, "{}", asked.text());
        question(&asked)
    }

    pub async fn answer(&self, asked: &Asked, credential: &Value) -> Answer {
        let body = json!({"challenge_id": asked.0, "credential": credential});
        self.call("POST", COMPLETE, None, &body).await
    }

    pub async fn log_in(&self, device: &mut Authenticator, email: Option<&str>) -> Answer {
        let asked = self.ask(email).await;
        self.answer(&asked, &device.get(&asked.1, &Twist::default())).await
    }

    pub async fn trail(&self) -> Vec<String> {
        let rows = audit::tail(&self.gateway().running.app.db, 0, 1000).await.unwrap();
        rows.into_iter().map(|row| row.code).collect()
    }

    pub async fn reached(&self, user: &User, path: &str) -> String {
        let answer = self.gateway().get_as(user, path, &[]).await;
        if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
    }
}

pub async fn call(
    gateway: &Gateway,
    keys: &Keys,
    method: &str,
    path: &str,
    user: Option<&User>,
    body: &Value,
) -> Answer {
    let mut lines = [&keys.lines()[..], &[elsewhere()]].concat();
    lines.extend(user.map(User::bearer));
    gateway.call(method, path, &lines, body).await
}

fn question(asked: &Answer) -> Asked {
    let told = asked.json();
    (told["challenge_id"].as_str().unwrap().to_owned(), told["options"].clone())
}

fn user_of(answer: &Answer, id: Id) -> User {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    User { id, access: text("access_token"), refresh: text("refresh_token") }
}

pub fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

pub fn not_accepted() -> (u16, String) {
    (401, "WEBAUTHN_AUTH_FAILED".to_owned())
}

on_one_and_on_two! {
    async fn a_passkey_is_added_opens_everything_and_is_taken_away(dialect: Dialect) {
        let scene = Scene::on(dialect, "sessions: { end_after: 30d }\n").await;
        let ada = scene.ada().await;
        let mut device = scene.enrol(&ada).await;
        let list = scene.call("GET", MINE, Some(&ada), &Value::Null).await.json();
        assert_eq!((&list["count"], &list["credentials"][0]["device_name"]), (&json!(1), &json!("My phone")));
        assert_eq!(list["credentials"][0]["last_used_at"], Value::Null);
        assert_eq!(list["credentials"][0]["transports"], json!(["hybrid", "internal"]));
        assert_eq!(scene.reached(&ada, "/safe").await, "403 MFA_REQUIRED", "the password alone");

        for email in [None, Some("ada@example.com"), Some("ADA@example.com")] {
            let entered = scene.log_in(&mut device, email).await;
            let user = user_of(&entered, ada.id);
            let told = entered.json();
            assert_eq!(told["message"], "Authentication successful");
            assert_eq!(told["credential_used"], portcullis::crypto::digest::base64url(&device.credential));
            assert_eq!((&told["access"], &told["user"]["email"]), (&told["access_token"], &json!("ada@example.com")));
            assert_eq!(scene.reached(&user, "/safe").await, "200", "it is a second factor too");
            let body = json!({"refresh_token": user.refresh});
            let refreshed = scene.call("POST", "/refresh/", None, &body).await;
            assert_eq!(scene.reached(&user_of(&refreshed, ada.id), "/safe").await, "200", "and stays one");
        }
        let sessions = scene.call("GET", "/sessions/", Some(&ada), &Value::Null).await.json();
        assert!(sessions.as_array().unwrap().iter().any(|session| session["method"] == "passkey"));

        let list = scene.call("GET", MINE, Some(&ada), &Value::Null).await.json();
        let path = format!("{MINE}{}/", list["credentials"][0]["id"]);
        assert_ne!(list["credentials"][0]["last_used_at"], Value::Null);
        let renamed = scene.call("PATCH", &path, Some(&ada), &json!({"device_name": " Key \u{202e}x "})).await;
        assert_eq!(renamed.json()["device_name"], "Key \u{202e}x");
        let bob = scene.gateway().user("bob", &scene.keys).await;
        for (method, body) in [("PATCH", json!({"device_name": "Bob's"})), ("DELETE", json!({}))] {
            let refused = scene.call(method, &path, Some(&bob), &body).await;
            assert_eq!(refusal(&refused), (404, "CREDENTIAL_NOT_FOUND".to_owned()), "{method}");
        }
        let user = user_of(&scene.log_in(&mut device, None).await, ada.id);
        assert_eq!(scene.call("DELETE", &path, Some(&ada), &json!({})).await.status, 204);
        assert_eq!(refusal(&scene.log_in(&mut device, None).await), not_accepted());
        assert_eq!(scene.reached(&user, "/safe").await, "401 TOKEN_INVALID", "whoever came in by it is out");
        let another = scene.call("POST", "/webauthn/register/begin/", Some(&user), &json!({})).await;
        assert_eq!(another.status, 401, "and adds no other one");
        assert_eq!(scene.reached(&ada, "/safe").await, "403 MFA_REQUIRED", "who removed it stays");
        let again = scene.call("DELETE", &path, Some(&ada), &json!({})).await;
        assert_eq!(refusal(&again), (404, "CREDENTIAL_NOT_FOUND".to_owned()));
        let trail = scene.trail().await;
        for code in ["passkey_added", "passkey_renamed", "passkey_removed", "login", "login_failed", "2fa_verified"] {
            assert!(trail.iter().any(|found| found == code), "{code} in {trail:?}");
        }
    }

    async fn who_may_not_log_in_does_not_by_passkey_either(dialect: Dialect) {
        let scene = Scene::on(dialect, "sessions: { max: 1, when_full: deny }\naccounts: { lockout: { after: 2 } }\n").await;
        let ada = scene.ada().await;
        let mut device = scene.enrol(&ada).await;
        let full = scene.log_in(&mut device, None).await;
        assert_eq!(refusal(&full), (409, "SESSION_LIMIT_EXCEEDED".to_owned()));
        assert_eq!(scene.call("POST", "/logout/all/", Some(&ada), &json!({})).await.status, 200);
        for _ in 0..3 {
            let body = json!({"email": "ada@example.com", "password": "wrong"});
            scene.call("POST", "/login/email/", None, &body).await;
        }
        let body = json!({"email": "ada@example.com", "password": PASSWORD});
        assert_eq!(scene.call("POST", "/login/email/", None, &body).await.status, 423);
        let entered = scene.log_in(&mut device, None).await;
        let user = user_of(&entered, ada.id);
        assert_eq!(scene.call("POST", "/logout/all/", Some(&user), &json!({})).await.status, 200);

        let gateway = scene.gateway();
        gateway.change(async |change| account::lock(change, ada.id, None).await.unwrap()).await;
        assert_eq!(refusal(&scene.log_in(&mut device, None).await), (423, "ACCOUNT_LOCKED".to_owned()));
        let asked = scene.ask(None).await;
        let forged = device.get(&asked.1, &Twist { is_signature_bad: true, ..Twist::default() });
        assert_eq!(refusal(&scene.answer(&asked, &forged).await), not_accepted(), "told to nobody else");
        gateway.change(async |change| account::unlock(change, ada.id).await.unwrap()).await;
        gateway.change(async |change| account::set_activity(change, ada.id, Activity::Inactive).await.unwrap()).await;
        assert_eq!(refusal(&scene.log_in(&mut device, None).await), (401, "LOGIN_FAILED".to_owned()));
        gateway.change(async |change| account::set_activity(change, ada.id, Activity::Active).await.unwrap()).await;
        gateway.change(async |change| account::set_ban(change, ada.id, account::Ban::Imposed).await.unwrap()).await;
        assert_eq!(refusal(&scene.log_in(&mut device, None).await), (401, "LOGIN_FAILED".to_owned()));
    }
}

#[tokio::test]
async fn nobody_learns_from_a_challenge_whose_account_has_what() {
    let scene = Scene::on(Dialect::Sqlite, "").await;
    let ada = scene.ada().await;
    scene.enrol(&ada).await;
    scene.gateway().account("bare", |_| {}).await;
    let locked = scene.gateway().account("locked", |_| {}).await;
    scene.gateway().change(async |change| account::lock(change, locked, None).await.unwrap()).await;
    let mut shapes = Vec::new();
    for name in ["ada", "bare", "locked", "nobody"] {
        let body = json!({"email": format!("{name}@example.com")});
        let asked = scene.call("POST", BEGIN, None, &body).await;
        let (challenge_id, options) = question(&asked);
        let mut options: Value = serde_json::from_str(options.as_str().unwrap()).unwrap();
        assert_eq!(options["allowCredentials"], json!([]));
        assert_eq!(
            (&options["rpId"], &options["userVerification"]),
            (&json!("example.com"), &json!("required"))
        );
        let length = options["challenge"].take().as_str().unwrap().len();
        let names: Vec<_> = asked.headers.iter().map(|(name, _)| name.clone()).collect();
        shapes.push((asked.status, challenge_id.len(), length, options, names));
    }
    assert!(shapes.windows(2).all(|two| two[0] == two[1]), "{shapes:?}");
}

#[tokio::test]
async fn adding_and_removing_a_passkey_asks_who_it_is_and_is_told() {
    let scene = Scene::on(Dialect::Sqlite, "mail: { via: console }\n").await;
    let ada = scene.ada().await;
    let begin = async |body: Value| scene.call("POST", "/webauthn/register/begin/", Some(&ada), &body).await;
    scene.enrol(&ada).await;
    scene.clock.advance(Duration::from_mins(16));
    for (body, status, code) in [
        (json!({}), 400, "REAUTH_REQUIRED"),
        (json!({"password": "wrong"}), 400, "INVALID_PASSWORD"),
        (json!({"password": PASSWORD}), 200, ""),
    ] {
        let answer = begin(body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(code), "{}", answer.text());
    }
    let list = scene.call("GET", MINE, Some(&ada), &Value::Null).await.json();
    let path = format!("{MINE}{}/", list["credentials"][0]["id"]);
    let asked = scene.call("DELETE", &path, Some(&ada), &json!({})).await;
    assert_eq!(asked.code(), "REAUTH_REQUIRED");
    let gone = scene.call("DELETE", &path, Some(&ada), &json!({"password": PASSWORD})).await;
    assert_eq!(gone.status, 204, "{}", gone.text());

    // With a second factor, the password is not enough.
    let ada = scene.gateway().log_in("ada", ada.id, &scene.keys).await;
    let begun = scene.call("POST", "/2fa/setup/", Some(&ada), &json!({})).await.json();
    let seed = Seed::parse(begun["secret"].as_str().unwrap()).unwrap();
    let code = || seed.code_at(scene.gateway().running.app.now()).expose().clone();
    let done = scene.call("POST", "/2fa/confirm/", Some(&ada), &json!({"code": code()})).await;
    let ada = user_of(&done, ada.id);
    scene.enrol(&ada).await;
    scene.clock.advance(Duration::from_mins(16));
    let body = json!({"password": PASSWORD});
    let asked = scene.call("POST", "/webauthn/register/begin/", Some(&ada), &body).await;
    assert_eq!(refusal(&asked), (403, "MFA_REQUIRED".to_owned()));
    let proved = scene.call("POST", "/2fa/verify/", Some(&ada), &json!({"code": code()})).await;
    let ada = user_of(&proved, ada.id);
    let mut device = scene.enrol(&ada).await;
    assert_eq!(scene.log_in(&mut device, None).await.status, 200, "no code is asked for");
}

#[tokio::test]
async fn staff_come_in_with_a_passkey_and_with_no_password_alone_once_they_have_one() {
    let scene = Scene::on(Dialect::Sqlite, "accounts: { staff_second_factor: required }\n").await;
    let root = scene.gateway().account("root", |new| new.is_superuser = true).await;
    let body = json!({"email": "root@example.com", "password": PASSWORD});
    let entered = scene.call("POST", "/login/email/", None, &body).await;
    assert_eq!(entered.json()["token_scope"], "2fa_setup_only");
    let small = user_of(&entered, root);
    let thief = user_of(&scene.call("POST", "/login/email/", None, &body).await, root);
    assert_eq!(scene.reached(&small, "/safe").await, "403 INSUFFICIENT_SCOPE");
    let mut device = scene.enrol(&small).await;
    for user in [&small, &thief] {
        let over = scene.call("POST", "/2fa/setup/", Some(user), &json!({})).await;
        assert_eq!(over.status, 401, "what was for setting up is over: {}", over.text());
    }
    let refused = scene.call("POST", "/login/email/", None, &body).await;
    assert_eq!(refusal(&refused), (401, "2FA_REQUIRED".to_owned()), "a stolen password sets up nothing");
    let entered = scene.log_in(&mut device, None).await;
    assert_eq!(entered.json().get("token_scope"), None, "{}", entered.text());
    let root = user_of(&entered, root);
    assert_eq!(scene.reached(&root, "/safe").await, "200");
    let refreshed = scene.call("POST", "/refresh/", None, &json!({"refresh_token": root.refresh})).await;
    assert_eq!(scene.reached(&user_of(&refreshed, root.id), "/safe").await, "200");
    let list = scene.call("GET", MINE, Some(&root), &Value::Null).await.json();
    let path = format!("{MINE}{}/", list["credentials"][0]["id"]);
    assert_eq!(scene.call("DELETE", &path, Some(&root), &json!({})).await.status, 204);
    assert_eq!(scene.reached(&root, "/safe").await, "403 INSUFFICIENT_SCOPE", "as before they had one");
}

#[tokio::test]
async fn with_the_refresh_token_in_a_cookie_no_other_site_logs_its_visitors_in() {
    let scene = Scene::on(Dialect::Sqlite, "sessions: { refresh_cookie: true }\n").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let id = scene.gateway().account("ada", |_| {}).await;
    let ada = user_of(&scene.call("POST", "/login/email/", None, &body).await, id);
    let mut device = scene.enrol(&ada).await;
    let from = async |origin: &str, asked: &Asked, credential: &Value| {
        let lines = [&scene.keys.lines()[..], &[elsewhere(), format!("Origin: {origin}")]].concat();
        let body = json!({"challenge_id": asked.0, "credential": credential});
        scene.gateway().call("POST", COMPLETE, &lines, &body).await
    };
    let asked = scene.ask(None).await;
    let answer = device.get(&asked.1, &Twist::default());
    assert_eq!(refusal(&from("https://evil.test", &asked, &answer).await), (403, "CSRF_FAILED".to_owned()));
    assert_eq!(from(ORIGIN, &asked, &answer).await.code(), "CSRF_FAILED", "not the application's either");
    let own = scene.gateway().running.app.config().public_url.bound_to(scene.gateway().public().port());
    let entered = from(&own.to_string(), &asked, &answer).await;
    assert_eq!(entered.status, 200, "{}", entered.text());
    assert_eq!(entered.json().get("refresh_token"), None);
    assert!(entered.header("set-cookie").is_some_and(|cookie| cookie.contains("refresh=")));
}

#[tokio::test]
async fn where_passkeys_are_off_there_are_none() {
    let gateway = Gateway::start(TRUSTING).await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    for (path, user) in [
        (BEGIN, None),
        (COMPLETE, None),
        ("/webauthn/register/begin/", Some(&ada)),
        ("/webauthn/register/complete/", Some(&ada)),
    ] {
        let answer =
            call(&gateway, &keys, "POST", path, user, &json!({"challenge_id": "x", "credential": {}})).await;
        assert_eq!(refusal(&answer), (404, "FEATURE_DISABLED".to_owned()), "{path}");
    }
}
