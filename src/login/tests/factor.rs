//! Second factors as clients see them: turning one on, logging in with it, proving it again.

use futures::future::join_all;

use super::*;
use crate::factor::Seed;
use crate::on_every_store;
use crate::principal::Scope;

const STEP: Duration = Duration::from_secs(30);

impl Scene {
    fn code(&self, seed: &Seed) -> String {
        seed.code_at(self.app.now()).expose().clone()
    }

    async fn as_caller(&self, of: &Answer, path: &str, body: Value) -> Answer {
        let carried = self.caller(of).await;
        self.send(path, body, carried).await
    }

    /// Turns a second factor on for whoever this answer logged in; the seed, the backup codes and the
    /// answer that they are logged in by now, with the clock in a step that was not used.
    async fn enrol(&self, entered: &Answer) -> (Seed, Vec<String>, Answer) {
        let begun = self.as_caller(entered, "/2fa/setup/", json!({})).await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        let seed = Seed::parse(begun.text("secret")).unwrap();
        let done = self.as_caller(entered, "/2fa/confirm/", json!({"code": self.code(&seed)})).await;
        assert_eq!(done.status, 200, "{}", done.body);
        self.app.clock.advance(STEP);
        let codes = begun.body["backup_codes"].as_array().unwrap();
        (seed, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect(), done)
    }

    async fn log_in_by(&self, code: &str) -> Answer {
        self.post(
            "/login/email/",
            json!({"email": "ada@example.com", "password": PASSWORD, "totp_code": code}),
        )
        .await
    }

    async fn status(&self, of: &Answer) -> Value {
        let carried = self.caller(of).await;
        self.send_through(&self.app.app, Method::GET, "/2fa/status/", &json!({}), carried).await.body
    }
}

fn proved(carried: &Carried) -> bool {
    carried.principal.as_ref().unwrap().session.second_factor_at.is_some()
}

on_every_store! {
    async fn a_person_turns_it_on_logs_in_by_it_and_turns_it_off(store: TestStore) {
        let scene = Scene::on(store, "accounts: { totp_issuer: Tenxyte }").await;
        scene.ada().await;
        let entered = scene.in_as_ada().await;
        assert_eq!(scene.status(&entered).await, json!({"is_enabled": false, "backup_codes_remaining": 0}));
        let begun = scene.as_caller(&entered, "/2fa/setup/", json!({})).await;
        assert_eq!(begun.text("secret").len(), 32);
        assert!(begun.text("qr_code").starts_with("data:image/png;base64,iVBORw0KGgo"));
        assert!(begun.text("qr_code_svg").contains("<svg"));
        let uri = format!("otpauth://totp/Tenxyte:ada%40example.com?secret={}&issuer=Tenxyte", begun.text("secret"));
        assert_eq!(begun.text("provisioning_uri"), uri);
        assert_eq!(begun.body["backup_codes"].as_array().unwrap().len(), 10);
        assert_eq!(begun.body["backup_codes"][0].as_str().unwrap().len(), 17);
        assert!(!begun.text("warning").is_empty() && !begun.text("message").is_empty());
        assert_eq!(scene.in_as_ada().await.body["requires_2fa"], false, "what is pending is not asked for");
        let (seed, codes, entered) = scene.enrol(&entered).await;
        assert!(proved(&scene.caller(&entered).await), "confirming proves it");
        assert_eq!(scene.status(&entered).await, json!({"is_enabled": true, "backup_codes_remaining": 10}));

        let asked = scene.log_in("ada@example.com", PASSWORD).await;
        assert_eq!((asked.verdict(), &asked.body["requires_2fa"]), ((401, "2FA_REQUIRED"), &json!(true)));
        assert!(asked.headers.contains_key("www-authenticate"));
        assert_eq!(scene.log_in_by("").await.code(), "2FA_REQUIRED");
        assert_eq!(scene.log_in_by("000000").await.verdict(), (401, "INVALID_2FA_CODE"));
        let code = scene.code(&seed);
        let by_code = scene.log_in_by(&code).await;
        assert_eq!((by_code.status, &by_code.body["requires_2fa"]), (200, &json!(true)));
        assert_eq!(by_code.body["user"]["is_2fa_enabled"], true);
        assert!(proved(&scene.caller(&by_code).await));
        assert_eq!(scene.log_in_by(&code).await.verdict(), (401, "INVALID_2FA_CODE"), "once");
        let by_backup = scene.log_in_by(&codes[0]).await;
        assert_eq!(by_backup.status, 200, "{}", by_backup.body);
        assert_eq!(scene.log_in_by(&codes[0]).await.code(), "INVALID_2FA_CODE");
        let refreshed = scene.post("/refresh/", json!({"refresh_token": by_code.text("refresh")})).await;
        assert!(proved(&scene.caller(&refreshed).await), "a refresh keeps what the session proved");

        let off = |body| scene.as_caller(&by_code, "/2fa/disable/", body);
        assert_eq!(off(json!({"password": PASSWORD})).await.verdict(), (400, "CODE_REQUIRED"));
        assert_eq!(off(json!({"code": codes[1]})).await.verdict(), (400, "REAUTH_REQUIRED"));
        assert_eq!(off(json!({"code": codes[1], "password": WRONG})).await.verdict(), (400, "INVALID_PASSWORD"));
        assert_eq!(off(json!({"code": codes[0], "password": PASSWORD})).await.verdict(), (400, "INVALID_CODE"));
        let done = off(json!({"code": codes[1], "password": PASSWORD})).await;
        assert_eq!(done.body, json!({"message": "2FA disabled successfully", "is_enabled": false}));
        assert!(!proved(&scene.caller(&by_code).await), "what was proved by it counts no more");
        assert_eq!(scene.in_as_ada().await.body["requires_2fa"], false);
        let told = scene.codes().await;
        let count = |code: &str| told.iter().filter(|one| *one == code).count();
        assert_eq!((count("2fa_setup"), count("2fa_enabled"), count("2fa_disabled")), (2, 1, 1));
        assert_eq!((count("2fa_verified"), count("2fa_backup_used")), (3, 2));
    }

    async fn of_sixty_four_logins_with_one_code_exactly_one_gets_in(store: TestStore) {
        let scene = Scene::on(store, "accounts: { lockout: { after: 100, for: 30m } }").await;
        let ada = scene.ada().await;
        let (seed, codes, _) = scene.enrol(&scene.in_as_ada().await).await;
        for code in [scene.code(&seed), codes[0].clone()] {
            let before = scene.live(&ada).await;
            let answers = join_all((0..64).map(|_| scene.log_in_by(&code))).await;
            let got_in = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(got_in, 1, "{:?}", answers.iter().map(Answer::verdict).collect::<Vec<_>>());
            assert_eq!(scene.live(&ada).await, before + 1);
            scene.app.clock.advance(Duration::from_mins(31));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_lock_whatever_identifier_and_however_many_at_once() {
    let scene = Scene::new().await;
    scene.ada().await;
    let (seed, codes, _) = scene.enrol(&scene.in_as_ada().await).await;
    let phone = |code: &str| json!({"phone_country_code": "33", "phone_number": "612345678", "password": PASSWORD, "totp_code": code});
    // Asking for the code and giving right passwords takes no try away, and gives none back.
    for _ in 0..2 {
        assert_eq!(scene.log_in_by("000000").await.code(), "INVALID_2FA_CODE");
        assert_eq!(scene.post("/login/phone/", phone("nonsense")).await.code(), "INVALID_2FA_CODE");
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.code(), "2FA_REQUIRED");
    }
    let last = join_all((0..20).map(|_| scene.log_in_by("000000"))).await;
    let judged = last.iter().filter(|answer| answer.code() == "INVALID_2FA_CODE").count();
    assert_eq!(judged, 1, "five in all");
    let locked = scene.post("/login/phone/", phone(&scene.code(&seed))).await;
    assert_eq!((locked.verdict(), &locked.body["retry_after"]), ((423, "ACCOUNT_LOCKED"), &json!(1800)));
    assert_eq!(scene.log_in_by(&codes[0]).await.verdict(), (423, "ACCOUNT_LOCKED"));
    scene.app.clock.advance(Duration::from_mins(31));
    assert_eq!(scene.log_in_by(&scene.code(&seed)).await.status, 200, "and it ends");
    let told = scene.codes().await;
    assert!(told.iter().any(|code| code == "account_locked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_not_looked_at_before_the_password_is_right() {
    let scene = Scene::new().await;
    scene.ada().await;
    let (seed, _, _) = scene.enrol(&scene.in_as_ada().await).await;
    let code = scene.code(&seed);
    let body = |email: &str| json!({"email": email, "password": WRONG, "totp_code": code});
    let known = scene.post("/login/email/", body("ada@example.com")).await;
    let unknown = scene.post("/login/email/", body("eve@example.com")).await;
    assert_eq!((&known.body, known.status), (&unknown.body, 401));
    assert_eq!(known.code(), "LOGIN_FAILED");
    assert_eq!(scene.log_in_by(&code).await.status, 200, "it is not used up");
    let long = json!({"email": "ada@example.com", "password": PASSWORD, "totp_code": "1".repeat(65)});
    assert_eq!(scene.post("/login/email/", long).await.code(), "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_may_not_guess_either_and_locks_nobody_out() {
    let scene = Scene::new().await;
    scene.ada().await;
    let entered = scene.in_as_ada().await;
    let (seed, _, entered) = scene.enrol(&entered).await;
    for _ in 0..5 {
        let guess = json!({"code": "000000", "password": PASSWORD});
        assert_eq!(scene.as_caller(&entered, "/2fa/disable/", guess).await.verdict(), (400, "INVALID_CODE"));
    }
    for path in ["/2fa/verify/", "/2fa/backup-codes/"] {
        let right = json!({"code": scene.code(&seed)});
        assert_eq!(scene.as_caller(&entered, path, right).await.verdict(), (423, "ACCOUNT_LOCKED"));
    }
    assert_eq!(scene.log_in_by(&scene.code(&seed)).await.status, 200, "the owner still gets in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_proves_it_again_and_an_old_one_gives_the_password_to_set_it_up() {
    let scene = Scene::with("tokens: { access_for: 1h }").await;
    scene.ada().await;
    let old = scene.in_as_ada().await;
    scene.app.clock.advance(Duration::from_mins(16));
    let begin = |body| scene.as_caller(&old, "/2fa/setup/", body);
    assert_eq!(begin(json!({})).await.verdict(), (400, "REAUTH_REQUIRED"));
    assert_eq!(begin(json!({"password": WRONG})).await.verdict(), (400, "INVALID_PASSWORD"));
    assert_eq!(
        scene.as_caller(&old, "/2fa/verify/", json!({"code": "123456"})).await.text("error"),
        "2FA is not enabled"
    );
    assert_eq!(scene.as_caller(&old, "/2fa/confirm/", json!({})).await.verdict(), (400, "CODE_REQUIRED"));
    let early = scene.as_caller(&old, "/2fa/confirm/", json!({"code": "123456"})).await;
    assert_eq!(
        (early.code(), early.text("error")),
        ("INVALID_CODE", "2FA setup not initiated. Call setup first.")
    );
    let begun = begin(json!({"password": PASSWORD})).await;
    let seed = Seed::parse(begun.text("secret")).unwrap();
    let wrong = scene.as_caller(&old, "/2fa/confirm/", json!({"code": "000000"})).await;
    assert_eq!((wrong.code(), wrong.text("error")), ("INVALID_CODE", "Invalid code. Please try again."));
    let done = scene.as_caller(&old, "/2fa/confirm/", json!({"code": scene.code(&seed)})).await;
    assert_eq!(done.text("message"), "2FA enabled successfully");
    assert_eq!(begin(json!({"password": PASSWORD})).await.verdict(), (400, "2FA_ALREADY_ENABLED"));

    scene.app.clock.advance(Duration::from_mins(3));
    let answer = scene.as_caller(&done, "/2fa/verify/", json!({"code": scene.code(&seed)})).await;
    assert_eq!(answer.text("verified_at"), scene.app.now().rfc3339());
    let carried = scene.caller(&answer).await;
    assert!(proved(&carried));
    assert_eq!(carried.principal.unwrap().session.authenticated_at, scene.app.now());
    scene.app.clock.advance(STEP);
    let other = answer;
    let codes = scene.as_caller(&other, "/2fa/backup-codes/", json!({})).await;
    assert_eq!((codes.code(), codes.text("error")), ("CODE_REQUIRED", "TOTP code is required"));
    let codes = scene.as_caller(&other, "/2fa/backup-codes/", json!({"code": scene.code(&seed)})).await;
    assert_eq!(codes.body["backup_codes"].as_array().unwrap().len(), 10);
    let old_one = begun.body["backup_codes"][0].as_str().unwrap();
    assert_eq!(scene.log_in_by(old_one).await.code(), "INVALID_2FA_CODE", "replaced");
    assert_eq!(scene.log_in_by(codes.body["backup_codes"][0].as_str().unwrap()).await.status, 200);
}

/// Whoever has a copy of tokens must not gain by what their owner proves, and loses by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_session_ends_where_its_owner_proves_a_second_factor() {
    let scene = Scene::with("sessions: { idle_for: 10h, end_after: 10h }\ntokens: { access_for: 1h }").await;
    let ada = scene.ada().await;
    let (stolen, elsewhere) = (scene.in_as_ada().await, scene.in_as_ada().await);
    let (seed, _, first) = scene.enrol(&stolen).await;
    assert_eq!(scene.live(&ada).await, 1, "turning it on ends every other session");
    let refresh = |of: &Answer| scene.post("/refresh/", json!({"refresh_token": of.text("refresh")}));
    for over in [&stolen, &elsewhere] {
        assert_eq!(refresh(over).await.code(), "REFRESH_FAILED");
    }
    scene.app.clock.advance(Duration::from_mins(30));
    let second = scene.as_caller(&first, "/2fa/verify/", json!({"code": scene.code(&seed)})).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_ne!(second.text("session_id"), first.text("session_id"));
    assert_eq!((refresh(&first).await.code(), scene.live(&ada).await), ("REFRESH_FAILED", 1));
    let [was, is] = [scene.caller(&first).await, scene.caller(&second).await]
        .map(|carried| carried.principal.unwrap().session.clone());
    assert_eq!((was.ends_at, was.method), (is.ends_at, is.method), "it lasts no longer than the login");
    scene.app.clock.advance(STEP);
    let other = scene.log_in_by(&scene.code(&seed)).await;
    scene.app.clock.advance(STEP);
    let off = json!({"code": scene.code(&seed), "password": PASSWORD});
    assert_eq!(scene.as_caller(&second, "/2fa/disable/", off).await.status, 200);
    assert_eq!((refresh(&other).await.code(), scene.live(&ada).await), ("REFRESH_FAILED", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_codes_slowly_is_locked_out_too() {
    let scene = Scene::new().await;
    scene.ada().await;
    let (seed, _, _) = scene.enrol(&scene.in_as_ada().await).await;
    for _ in 0..5 {
        assert_eq!(scene.log_in_by("000000").await.code(), "INVALID_2FA_CODE");
        scene.app.clock.advance(Duration::from_mins(31));
    }
    let right = scene.log_in_by(&scene.code(&seed)).await;
    assert_eq!(right.status, 200, "each of them was half an hour ago");
    for _ in 0..5 {
        scene.app.clock.advance(Duration::from_mins(31));
        assert_eq!(scene.log_in_by("000000").await.code(), "INVALID_2FA_CODE");
    }
    assert_eq!(scene.log_in_by(&scene.code(&seed)).await.verdict(), (423, "ACCOUNT_LOCKED"));
    assert!(scene.codes().await.contains(&"account_locked".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_without_a_code_is_written_down() {
    let scene = Scene::new().await;
    scene.ada().await;
    scene.enrol(&scene.in_as_ada().await).await;
    assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.code(), "2FA_REQUIRED");
    let rows = audit::latest(&scene.app.db, 1).await.unwrap();
    assert_eq!(rows[0].code, "login_failed");
    assert_eq!(rows[0].personal["detail"]["reason"], "second_factor_needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_gets_tokens_for_setting_it_up_and_whole_ones_for_confirming_it() {
    let scene = Scene::new().await;
    let root = scene.person(|new| new.is_superuser = true).await;
    let entered = scene.in_as_ada().await;
    assert_eq!(entered.text("token_scope"), "2fa_setup_only");
    assert_eq!(
        (&entered.body["requires_2fa_setup"], &entered.body["expires_in"]),
        (&json!(true), &json!(900))
    );
    assert!(entered.body.get("refresh_token").is_none() && entered.body.get("refresh").is_none());
    let carried = scene.caller(&entered).await;
    assert_eq!(carried.principal.unwrap().session.scope, Some(Scope::SecondFactorSetupOnly));
    let begun = scene.as_caller(&entered, "/2fa/setup/", json!({})).await;
    let seed = Seed::parse(begun.text("secret")).unwrap();
    assert_eq!(scene.as_caller(&entered, "/2fa/confirm/", json!({"code": "000000"})).await.status, 400);
    let code = json!({"code": scene.code(&seed)});
    let done = scene.as_caller(&entered, "/2fa/confirm/", code.clone()).await;
    assert_eq!((&done.body["is_enabled"], done.text("token_type")), (&json!(true), "Bearer"));
    assert_ne!(done.text("session_id"), entered.text("session_id"));
    assert!(proved(&scene.caller(&done).await));
    assert_eq!(scene.live(&root).await, 1, "the other session is over");
    assert_eq!(scene.as_caller(&entered, "/2fa/confirm/", code).await.code(), "2FA_ALREADY_ENABLED");
    let refreshed = scene.post("/refresh/", json!({"refresh_token": done.text("refresh_token")})).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    scene.app.clock.advance(STEP);
    assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.code(), "2FA_REQUIRED");
    let off = json!({"code": scene.code(&seed), "password": PASSWORD});
    assert_eq!(scene.as_caller(&done, "/2fa/disable/", off).await.status, 200);
    assert_eq!(scene.live(&root).await, 0, "without one, an account that must have one is logged out");
    assert_eq!(scene.in_as_ada().await.text("token_scope"), "2fa_setup_only");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_logs_in_as_anyone_where_it_is_optional_and_not_on_when_it_becomes_required() {
    let scene = Scene::with("accounts: { staff_second_factor: optional }").await;
    scene.person(|new| new.is_staff = true).await;
    let entered = scene.in_as_ada().await;
    assert!(entered.body.get("token_scope").is_none());
    let token = json!({"refresh_token": entered.text("refresh")});
    let required = scene.app.another(With { reactions: vec![session::react], ..With::default() }).await;
    required.set_keyring(ring());
    let answer = scene.send_through(&required, Method::POST, "/refresh/", &token, Carried::default()).await;
    assert_eq!(answer.verdict(), (401, "REFRESH_FAILED"));
    assert_eq!(scene.post("/refresh/", token).await.status, 200, "nothing was used up");
}
