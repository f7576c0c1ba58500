//! Passwords: judging, changing, rehashing.

use futures::future::join_all;

use super::*;
use crate::on_every_store;

const NEW: &str = "An0ther!Secret";

fn wish(present: &str, new: &str) -> Value {
    json!({"current_password": present, "new_password": new})
}

on_every_store! {
    async fn a_new_password_ends_every_session_and_lets_in_again(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let ada = scene.ada().await;
        let other = scene.in_as_ada().await;
        let caller = scene.caller(&scene.in_as_ada().await).await;
        let changed = scene.send("/password/change/", wish(PASSWORD, NEW), caller).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(changed.text("password_strength"), "strong");
        assert_eq!(changed.body["sessions_revoked"], true);
        assert_eq!(scene.live(&ada).await, 0);
        let refreshed = scene.post("/refresh/", json!({"refresh_token": other.text("refresh")})).await;
        assert_eq!(refreshed.verdict(), (401, "REFRESH_FAILED"));
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 401);
        assert_eq!(scene.log_in("ada@example.com", NEW).await.status, 200);
    }

    async fn of_two_changes_at_once_one_wins(store: TestStore) {
        let scene = Scene::on(store, "").await;
        scene.ada().await;
        let caller = scene.caller(&scene.in_as_ada().await).await;
        let answers = join_all(["An0ther!Secret", "Some0ther!Secret"].map(|new| {
            scene.send("/password/change/", wish(PASSWORD, new), caller.clone())
        }))
        .await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400]);
    }

    async fn a_former_password_does_not_come_back(store: TestStore) {
        let scene = Scene::on(store, "accounts: {password: {history: 2}}").await;
        scene.ada().await;
        let passwords = [PASSWORD, "An0ther!Secret", "Th1rd!Secret", "F0urth!Secret"];
        for (at, pair) in passwords.windows(2).enumerate() {
            let caller = scene.caller(&scene.log_in("ada@example.com", pair[0]).await).await;
            for used in &passwords[at.saturating_sub(2)..=at] {
                let refused = scene.send("/password/change/", wish(pair[0], used), caller.clone()).await;
                assert_eq!(refused.verdict(), (400, "PASSWORD_REUSED"), "{used} after {}", pair[0]);
            }
            let changed = scene.send("/password/change/", wish(pair[0], pair[1]), caller).await;
            assert_eq!(changed.status, 200);
            scene.app.clock.advance(Duration::from_secs(1));
        }
        let caller = scene.caller(&scene.log_in("ada@example.com", passwords[3]).await).await;
        let changed = scene.send("/password/change/", wish(passwords[3], PASSWORD), caller).await;
        assert_eq!(changed.status, 200, "long enough ago");
    }

    async fn a_foreign_hash_is_replaced_at_the_next_login(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let foreign = "tenxyte$$2b$04$abcdefghijklmnopqrstuu2ZrgmYFpq92dKYDL5JP7YXDR4lovHyG";
        scene.person(|new| new.password_hash = Some(PasswordHash::new(foreign.to_owned()))).await;
        scene.log_in("ada@example.com", WRONG).await;
        assert_eq!(scene.stored().await.password_hash.unwrap().expose(), foreign);
        let logins = join_all((0..3).map(|_| scene.log_in("ada@example.com", PASSWORD))).await;
        assert!(logins.iter().all(|login| login.status == 200), "{logins:?}");
        assert!(scene.stored().await.password_hash.unwrap().expose().starts_with("$argon2id$"));
        let rehashed = scene.codes().await.into_iter().filter(|code| code == "password_rehashed").count();
        assert_eq!(rehashed, 1);
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_a_password_asks_for_the_present_one() {
    let scene = Scene::new().await;
    scene.ada().await;
    let caller = scene.caller(&scene.in_as_ada().await).await;
    let send = async |body: Value| scene.send("/password/change/", body, caller.clone()).await;
    assert_eq!(send(json!({"new_password": NEW})).await.verdict(), (400, "REAUTH_REQUIRED"));
    assert_eq!(send(json!({"current_password": "", "new_password": NEW})).await.code(), "REAUTH_REQUIRED");
    assert_eq!(send(wish(WRONG, NEW)).await.verdict(), (400, "INVALID_PASSWORD"));
    let weak = send(wish(PASSWORD, "password")).await;
    assert_eq!(weak.body["details"]["new_password"].as_array().map(Vec::len), Some(4));
    assert_eq!(send(wish(PASSWORD, PASSWORD)).await.verdict(), (400, "PASSWORD_REUSED"));
    assert_eq!(scene.post("/password/change/", wish(PASSWORD, NEW)).await.verdict(), (401, "AUTH_REQUIRED"));
    scene.in_as_ada().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_with_a_stolen_session_is_stopped_and_the_owner_is_not() {
    let scene = Scene::new().await;
    scene.ada().await;
    let caller = scene.caller(&scene.in_as_ada().await).await;
    for _ in 0..5 {
        let wrong = scene.send("/password/change/", wish(WRONG, NEW), caller.clone()).await;
        assert_eq!(wrong.verdict(), (400, "INVALID_PASSWORD"));
    }
    let locked = scene.send("/password/change/", wish(PASSWORD, NEW), caller).await;
    assert_eq!((locked.verdict(), &locked.body["retry_after"]), ((423, "ACCOUNT_LOCKED"), &json!(1800)));
    scene.in_as_ada().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_must_be_changed_opens_nothing_else() {
    let scene = Scene::new().await;
    scene.person(|new| new.must_change_password = true).await;
    let entered = scene.in_as_ada().await;
    assert_eq!(entered.text("token_scope"), "password_change_only");
    assert_eq!(entered.body["must_change_password"], true);
    let refreshed = scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await;
    assert_eq!(refreshed.text("token_scope"), "password_change_only");
    let caller = scene.caller(&refreshed).await;
    let same = scene.send("/password/change/", wish(PASSWORD, PASSWORD), caller.clone()).await;
    assert_eq!(same.verdict(), (400, "PASSWORD_REUSED"), "whoever chose it still knows it");
    let scope = caller.principal.as_ref().unwrap().session.scope;
    assert_eq!(scope, Some(crate::principal::Scope::PasswordChangeOnly));
    assert_eq!(scene.send("/password/change/", wish(PASSWORD, NEW), caller).await.status, 200);
    let entered = scene.log_in("ada@example.com", NEW).await;
    assert_eq!(
        (entered.body.get("token_scope"), &entered.body["must_change_password"]),
        (None, &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_judged_as_the_contract_shows() {
    let scene = Scene::new().await;
    let judged = scene
        .post("/password/strength/", json!({"password": "Tr0ub4dor&3xyz", "email": "x@example.com"}))
        .await;
    assert_eq!(
        (&judged.body["score"], judged.text("strength"), &judged.body["is_valid"], &judged.body["errors"]),
        (&json!(85), "strong", &json!(true), &json!([]))
    );
    let empty = scene.post("/password/strength/", json!({})).await;
    assert_eq!((&empty.body["score"], &empty.body["is_valid"]), (&json!(0), &json!(false)));
    let app = &scene.app.app;
    let path = "/password/requirements/";
    let asked = scene.send_through(app, Method::GET, path, &json!({}), Carried::default()).await;
    assert_eq!((&asked.body["min_length"], &asked.body["max_length"]), (&json!(8), &json!(128)));
    assert_eq!(asked.body["requirements"], judged.body["requirements"]);
    assert_eq!(asked.body["requirements"].as_array().map(Vec::len), Some(6));
    let nist = Scene::with("accounts: {password: {rules: nist}}").await;
    let asked = nist.send_through(&nist.app.app, Method::GET, path, &json!({}), Carried::default()).await;
    assert_eq!(asked.body["min_length"], 15);
}
