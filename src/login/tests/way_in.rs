//! Registering, logging in, refreshing and logging out.

use futures::future::join_all;

use super::*;
use crate::account::Activity;
use crate::on_every_store;
use crate::policy::seed;
use crate::rbac;

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

on_every_store! {
    async fn a_person_registers_logs_in_refreshes_and_logs_out(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let body = json!({"email": "Ada@Example.com", "password": PASSWORD, "first_name": "Ada"});
        let registered = scene.post("/register/", body).await;
        assert_eq!(registered.status, 201);
        assert_eq!(registered.body["user"]["email"], "ada@example.com");
        assert_eq!(registered.body["verification_required"], json!({"email": true, "phone": false}));
        let entered = scene.in_as_ada().await;
        let refreshed = scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await;
        assert_eq!(refreshed.status, 200);
        assert_ne!(refreshed.text("refresh_token"), entered.text("refresh_token"));
        assert_eq!(refreshed.text("session_id"), entered.text("session_id"));
        let token = json!({"refresh_token": refreshed.text("refresh_token")});
        let out = scene.post("/logout/", token.clone()).await;
        assert_eq!((out.status, out.text("message")), (200, "Logged out successfully"));
        assert_eq!(scene.live(&scene.stored().await).await, 0);
        assert_eq!(scene.post("/refresh/", token.clone()).await.verdict(), (401, "REFRESH_FAILED"));
        assert_eq!(scene.post("/logout/", token).await.status, 200, "twice is fine");
        assert_eq!(scene.codes().await, ["account_created", "login", "token_refresh", "logout"]);
    }

    async fn of_twenty_registrations_of_one_address_one_account_is_made(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let body = json!({"email": "ada@example.com", "password": PASSWORD});
        let answers = join_all((0..20).map(|_| scene.post("/register/", body.clone()))).await;
        let shape = keys(&answers[0].body["user"]);
        for answer in &answers {
            assert_eq!((answer.status, keys(&answer.body["user"])), (201, shape.clone()));
        }
        assert_eq!(account::list(&scene.app.db, DEFAULT_SITE, 100, 0).await.unwrap().len(), 1);
        let codes = scene.codes().await;
        let count = |code: &str| codes.iter().filter(|one| *one == code).count();
        assert_eq!((count("account_created"), count("registration_repeated")), (1, 19));
    }

    async fn of_ten_logins_at_once_five_stay(store: TestStore) {
        // More attempts at once than may fail would wait for the first to succeed.
        let patient = "sessions: { max: 5 }\naccounts: { lockout: { after: 10 } }\n";
        let scene = Scene::on(store, patient).await;
        let ada = scene.ada().await;
        let answers = join_all((0..10).map(|_| scene.log_in("ada@example.com", PASSWORD))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!(scene.live(&ada).await, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_answers_with_every_name_that_clients_look_for() {
    let scene = Scene::new().await;
    let ada = scene.ada().await;
    let answer = scene.in_as_ada().await;
    let expected = [
        "access",
        "access_token",
        "device_id",
        "device_summary",
        "expires_in",
        "must_change_password",
        "refresh",
        "refresh_expires_in",
        "refresh_token",
        "requires_2fa",
        "session_id",
        "token_type",
        "user",
    ];
    assert_eq!(keys(&answer.body), expected);
    assert_eq!(answer.body["access"], answer.body["access_token"]);
    assert_eq!(answer.body["refresh"], answer.body["refresh_token"]);
    assert_eq!((&answer.body["expires_in"], &answer.body["token_type"]), (&json!(900), &json!("Bearer")));
    assert_eq!(answer.body["refresh_expires_in"], 7 * 24 * 3600);
    assert_eq!(answer.text("device_summary"), "desktop — linux — firefox 124");
    assert_eq!(answer.body["user"]["id"], json!(ada.id));
    assert_eq!(answer.body["user"]["last_login"], "2026-11-20T10:00:00.000000Z");
    let phone = json!({"phone_country_code": "+33", "phone_number": "6 12 34 56 78", "password": PASSWORD});
    assert_eq!(scene.post("/login/phone/", phone).await.status, 200);
    let wrong = json!({"phone_country_code": "+33", "phone_number": "612345678", "password": WRONG});
    assert_eq!(scene.post("/login/phone/", wrong).await.text("error"), "Invalid phone number or password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_answered_like_a_free_one_for_the_same_work() {
    let scene = Scene::new().await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "first_name": "Ada", "login": true});
    let (first_cost, first) = scene.hashes(scene.post("/register/", body.clone())).await;
    let (second_cost, second) = scene.hashes(scene.post("/register/", body)).await;
    assert_eq!((first_cost, second_cost), (1, 1));
    assert_eq!((first.status, &first.headers), (second.status, &second.headers));
    let blank = |answer: &Answer| {
        let mut body = answer.body.clone();
        assert_eq!(body["user"]["id"].as_str().unwrap().len(), 36);
        body["user"]["id"] = json!(null);
        body
    };
    assert_eq!(blank(&first), blank(&second));
    assert_ne!(first.body["user"]["id"], second.body["user"]["id"]);
    assert!(first.body.get("access_token").is_none(), "logging in would tell the difference");
    let phone = json!({"phone_country_code": "33", "phone_number": "612345678", "password": PASSWORD});
    assert_eq!(scene.post("/register/", phone).await.body["user"]["phone"], "+33612345678");
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_logs_in_only_where_the_configuration_says_so() {
    let scene = Scene::with("accounts: {registration: {log_in_at_once: true}}").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "login": true});
    let answer = scene.post("/register/", body).await;
    assert_eq!(answer.status, 201);
    let refreshed = scene.post("/refresh/", json!({"refresh_token": answer.text("refresh")})).await;
    assert_eq!(refreshed.status, 200);
    let silent = json!({"email": "bob@example.com", "password": PASSWORD});
    assert!(scene.post("/register/", silent).await.body.get("access").is_none());
    let closed = Scene::with("accounts: {registration: {open: false}}").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    assert_eq!(closed.post("/register/", body).await.verdict(), (403, "REGISTRATION_CLOSED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_registration_is_refused_before_anything_is_hashed() {
    let scene = Scene::new().await;
    for (body, field, problems) in [
        (json!({"password": PASSWORD}), "non_field_errors", 1),
        (json!({"email": "nonsense", "password": PASSWORD}), "email", 1),
        (json!({"email": "ada@example.com"}), "password", 1),
        (json!({"email": "ada@example.com", "password": "password"}), "password", 4),
        (json!({"email": "ada@example.com", "password": "Ada-ada1234"}), "password", 2),
        (json!({"email": "ada@example.com", "password": "x".repeat(5000)}), "password", 1),
        (json!({"phone_number": "612345678", "password": PASSWORD}), "phone_country_code", 1),
        (json!({"phone_country_code": "33", "phone_number": "x", "password": PASSWORD}), "phone_number", 1),
        (json!({"email": "a@b.cd", "password": PASSWORD, "is_superuser": true}), "is_superuser", 1),
        (json!({"email": "a@b.cd", "password": PASSWORD, "first_name": ""}), "first_name", 1),
        (json!({"email": "a@b.cd", "password": PASSWORD, "device_info": "v=2|os=linux"}), "device_info", 1),
    ] {
        let (cost, answer) = scene.hashes(scene.post("/register/", body.clone())).await;
        assert_eq!((cost, answer.verdict()), (0, (400, "VALIDATION_ERROR")), "{body}");
        let found = answer.body["details"][field].as_array().map(Vec::len);
        assert_eq!(found, Some(problems), "{body}: {}", answer.body);
    }
    assert!(scene.codes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_tells_nothing_about_the_account() {
    let scene = Scene::new().await;
    let standing = scene.person(|new| new.email = Email::parse("inactive@example.com").ok()).await;
    let locked = scene
        .person(|new| {
            new.email = Email::parse("locked@example.com").ok();
            new.phone = None;
        })
        .await;
    scene
        .person(|new| {
            new.email = Email::parse("passwordless@example.com").ok();
            new.phone = None;
            new.password_hash = None;
        })
        .await;
    scene
        .person(|new| {
            new.email = Email::parse("changes@example.com").ok();
            new.phone = None;
            new.must_change_password = true;
        })
        .await;
    scene
        .person(|new| {
            new.phone = None;
        })
        .await;
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    account::set_activity(&mut change, standing.id, Activity::Inactive).await.unwrap();
    account::lock(&mut change, locked.id, None).await.unwrap();
    change.commit().await.unwrap();

    let (unknown_cost, unknown) = scene.hashes(scene.log_in("nobody@example.com", WRONG)).await;
    assert_eq!((unknown.verdict(), unknown_cost), ((401, "LOGIN_FAILED"), 1));
    for who in ["ada", "inactive", "locked", "passwordless", "changes"] {
        let email = format!("{who}@example.com");
        let (cost, answer) = scene.hashes(scene.log_in(&email, WRONG)).await;
        assert_eq!((cost, answer), (unknown_cost, unknown.clone()), "{who}");
    }
    let codes = scene.codes().await;
    assert_eq!(codes.iter().filter(|code| *code == "login_failed").count(), 6, "one row each");

    // Only the right password is told more.
    assert_eq!(scene.log_in("inactive@example.com", PASSWORD).await.text("error"), "Account is inactive");
    assert_eq!(scene.log_in("locked@example.com", PASSWORD).await.verdict(), (423, "ACCOUNT_LOCKED"));
    assert_eq!(scene.log_in("passwordless@example.com", PASSWORD).await.verdict(), (401, "LOGIN_FAILED"));
    assert_eq!(scene.log_in("changes@example.com", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_sessions_and_devices_are_told() {
    let scene = Scene::with("sessions: {max: 1, when_full: deny}").await;
    let ada = scene.ada().await;
    scene.in_as_ada().await;
    let refused = scene.log_in("ada@example.com", PASSWORD).await;
    assert_eq!(refused.verdict(), (409, "SESSION_LIMIT_EXCEEDED"));
    assert_eq!(scene.codes().await[2..], ["login_failed", "session_limit_exceeded"]);
    assert_eq!(scene.live(&ada).await, 1);

    let scene = Scene::with("sessions: {devices: 1}").await;
    scene.ada().await;
    scene.in_as_ada().await;
    let other = json!({"email": "ada@example.com", "password": PASSWORD, "device_info": "v=1|os=macos|device=desktop"});
    assert_eq!(scene.post("/login/email/", other).await.verdict(), (409, "DEVICE_LIMIT_EXCEEDED"));
    assert_eq!(scene.codes().await[2..], ["login_failed", "device_limit_exceeded"]);
    assert_eq!(scene.in_as_ada().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_serves_only_the_application_that_logged_in() {
    let scene = Scene::new().await;
    scene.ada().await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let answer = scene.send("/login/email/", body, application(1)).await;
    let token = json!({"refresh_token": answer.text("refresh")});
    for other in [Carried::default(), application(2)] {
        assert_eq!(scene.send("/refresh/", token.clone(), other).await.verdict(), (401, "REFRESH_FAILED"));
    }
    assert_eq!(scene.send("/refresh/", token, application(1)).await.status, 200);
    assert_eq!(scene.post("/refresh/", json!({})).await.verdict(), (400, "MISSING_REFRESH_TOKEN"));
    assert_eq!(scene.post("/refresh/", json!({"refresh_token": ""})).await.code(), "MISSING_REFRESH_TOKEN");
    assert_eq!(
        scene.post("/refresh/", json!({"refresh_token": "x"})).await.verdict(),
        (401, "REFRESH_FAILED")
    );
    assert_eq!(scene.post("/logout/", json!({})).await.verdict(), (400, "MISSING_REFRESH_TOKEN"));
    assert_eq!(scene.post("/logout/", json!({"refresh_token": "x"})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_everywhere_counts_the_sessions() {
    let scene = Scene::new().await;
    let ada = scene.ada().await;
    scene.in_as_ada().await;
    let entered = scene.in_as_ada().await;
    let caller = scene.caller(&entered).await;
    let answer = scene.send("/logout/all/", json!({}), caller).await;
    assert_eq!((answer.status, answer.text("message")), (200, "Logged out from 2 devices"));
    assert_eq!(scene.live(&ada).await, 0);
    assert_eq!(scene.post("/logout/all/", json!({})).await.verdict(), (401, "AUTH_REQUIRED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_repeat_what_the_configuration_asks_for() {
    let yaml = "tokens: {claims: {include: [email, role, permissions, account_id], fixed: {tier: gold}}}";
    let scene = Scene::with(yaml).await;
    let ada = scene.ada().await;
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    let role = rbac::Granted::Role("viewer".parse().unwrap());
    rbac::grant(&mut change, &seed::definitions(), ada.id, &role).await.unwrap();
    change.commit().await.unwrap();
    let entered = scene.in_as_ada().await;
    let refreshed = scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await;
    for answer in [entered, refreshed] {
        let (keys, config) = (scene.app.keyring(), scene.app.config());
        let token = answer.text("access");
        let claims = session::read_access(&keys, &config.tokens, token, scene.app.now()).unwrap();
        assert_eq!(claims.extra["email"], "ada@example.com");
        assert_eq!(claims.extra["tier"], "gold");
        assert_eq!(
            (&claims.extra["role"], &answer.body["user"]["roles"]),
            (&json!("viewer"), &json!(["viewer"]))
        );
        assert_eq!(claims.extra["account_id"], json!(null));
        assert_eq!(claims.extra["permissions"], answer.body["user"]["permissions"]);
        assert!(!answer.body["user"]["permissions"].as_array().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_says_of_its_device_goes_before_what_its_user_agent_tells() {
    let scene = Scene::new().await;
    scene.ada().await;
    let login = async |said: Value| {
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "device_info": said});
        scene.post("/login/email/", body).await
    };
    assert_eq!(
        login(json!("v=1|os=haiku;osv=1|device=desktop")).await.text("device_summary"),
        "desktop — haiku 1"
    );
    for absent in [json!(null), json!("")] {
        assert_eq!(login(absent).await.text("device_summary"), "desktop — linux — firefox 124");
    }
    let bad = login(json!("os=linux")).await;
    assert_eq!(bad.body["details"]["device_info"], json!(["Missing version field (v=1)"]));
}
