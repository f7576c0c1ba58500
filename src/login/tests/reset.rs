//! Forgotten passwords: what a code and a link do, and what nobody learns from asking.

use futures::future::join_all;

use super::*;
use crate::account::Channel;
use crate::notify::testing::{Waiting, waiting};
use crate::on_every_store;
use crate::store::sql;

const NEW: &str = "Another-horse-7-staple";
const YAML: &str = "mail: { via: console }\nsms: { via: console }\n\
                    login: { reset: { link: 'https://app.example.com/reset?lang=en' } }\n";

impl Waiting {
    /// The token of the link in it.
    fn token(&self) -> String {
        let (_, rest) = self.text.split_once("https://app.example.com/reset?lang=en&token=").expect("a link");
        rest.split_whitespace().next().expect("a token").to_owned()
    }
}

fn by_code(email: &str, code: &str, new: &str) -> Value {
    json!({"email": email, "otp_code": code, "new_password": new})
}

fn by_link(token: &str, new: &str) -> Value {
    json!({"token": token, "new_password": new})
}

impl Scene {
    async fn forget(&self, email: &str) -> Answer {
        self.post("/password/reset/request/", json!({"email": email})).await
    }

    /// What Ada was sent.
    async fn asked(&self) -> Waiting {
        assert_eq!(self.forget("ada@example.com").await.status, 200);
        self.letter().await
    }

    async fn letter(&self) -> Waiting {
        waiting(&self.app).await.pop().expect("a mail")
    }

    async fn confirm(&self, body: Value) -> Answer {
        self.post("/password/reset/confirm/", body).await
    }
}

on_every_store! {
    async fn a_code_sets_a_new_password_and_ends_its_link_and_every_session(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        let ada = scene.ada().await;
        let refresh = scene.in_as_ada().await.text("refresh").to_owned();
        let letter = scene.asked().await;
        assert_eq!(letter.to, "ada@example.com");
        let done = scene.confirm(by_code("ada@example.com", &letter.code(), NEW)).await;
        assert_eq!((done.status, &done.body["tokens_revoked"]), (200, &json!(true)), "{}", done.body);
        assert_eq!(scene.live(&ada).await, 0);
        assert_eq!(scene.post("/refresh/", json!({"refresh_token": refresh})).await.code(), "REFRESH_FAILED");
        assert_eq!(scene.log_in("ada@example.com", NEW).await.status, 200);
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 401);
        assert!(scene.stored().await.is_email_verified, "the code came to this address");
        let third = "Third-horse-8-staple";
        assert_eq!(scene.confirm(by_link(&letter.token(), third)).await.verdict(), (400, "RESET_FAILED"));
        let codes = scene.codes().await;
        for code in ["password_reset_request", "code_sent", "password_reset_complete", "password_change"] {
            assert!(codes.iter().any(|found| found == code), "{code} in {codes:?}");
        }
    }

    async fn a_link_sets_a_new_password_and_ends_its_code(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        scene.ada().await;
        let letter = scene.asked().await;
        assert_eq!(scene.confirm(by_link(&letter.token(), NEW)).await.status, 200);
        let code = by_code("ada@example.com", &letter.code(), "Third-horse-8-staple");
        assert_eq!(scene.confirm(code).await.verdict(), (400, "RESET_FAILED"));
        assert_eq!(scene.log_in("ada@example.com", NEW).await.status, 200);
    }

    async fn of_sixty_four_uses_of_code_and_link_one_counts(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        scene.ada().await;
        let letter = scene.asked().await;
        let (code, token) = (letter.code(), letter.token());
        let uses = join_all((0..64).map(|n| {
            let new = format!("Another-horse-{n}-staple");
            let way = if n % 2 == 0 { by_code("ada@example.com", &code, &new) } else { by_link(&token, &new) };
            scene.confirm(way)
        }))
        .await;
        // Whoever came when the hasher had no room was not judged.
        let judged = uses.iter().filter(|answer| answer.status != 503);
        assert_eq!(judged.clone().filter(|answer| answer.status == 200).count(), 1);
        assert!(judged.clone().all(|answer| [200, 400].contains(&answer.status)), "{uses:?}");
        let resets = scene.codes().await.into_iter().filter(|code| code == "password_reset_complete").count();
        assert_eq!(resets, 1);
    }

    async fn a_password_that_was_changed_meanwhile_ends_code_and_link(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        scene.ada().await;
        let caller = scene.caller(&scene.in_as_ada().await).await;
        let letter = scene.asked().await;
        let body = json!({"current_password": PASSWORD, "new_password": NEW});
        assert_eq!(scene.send("/password/change/", body, caller).await.status, 200);
        let third = "Third-horse-8-staple";
        for body in [by_link(&letter.token(), third), by_code("ada@example.com", &letter.code(), third)] {
            assert_eq!(scene.confirm(body).await.verdict(), (400, "RESET_FAILED"));
        }
        assert_eq!(scene.log_in("ada@example.com", NEW).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_are_answered_alike_for_the_same_work() {
    let scene = Scene::with(YAML).await;
    scene.ada().await;
    let inactive =
        scene.person(|new| (new.email, new.phone) = (Email::parse("bob@example.com").ok(), None)).await;
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    account::set_activity(&mut change, inactive.id, account::Activity::Inactive).await.unwrap();
    change.commit().await.unwrap();
    let mut answers = Vec::new();
    for email in ["ada@example.com", "bob@example.com", "nobody@example.com", "ada@example.com"] {
        let (hashes, mut asked) = scene.hashes(scene.forget(email)).await;
        assert_eq!(asked.text("otp_id").len(), 36, "{}", asked.body);
        asked.body["otp_id"] = Value::Null;
        answers.push((hashes, asked));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(
        waiting(&scene.app).await.len(),
        1,
        "one mail, to the one who may have it, and not again at once"
    );
    let code = scene.letter().await.code();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let mut refusals = Vec::new();
    for email in ["ada@example.com", "bob@example.com", "nobody@example.com"] {
        for _ in 0..6 {
            refusals.push(scene.hashes(scene.confirm(by_code(email, wrong, NEW))).await);
        }
    }
    refusals.push(scene.hashes(scene.confirm(by_link("nonsense", NEW))).await);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:#?}");
    assert_eq!((refusals[0].0, refusals[0].1.verdict()), (0, (400, "RESET_FAILED")));
    let tried = scene.confirm(by_code("ada@example.com", &code, NEW)).await;
    assert_eq!(tried.verdict(), (400, "RESET_FAILED"), "five wrong tries ended the code");
    let token = scene.letter().await.token();
    assert_eq!(scene.confirm(by_link(&token, NEW)).await.status, 200, "and not the link");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_or_former_password_is_refused_and_uses_nothing_up() {
    let scene = Scene::with(YAML).await;
    scene.ada().await;
    let letter = scene.asked().await;
    let code = letter.code();
    let (hashes, weak) = scene.hashes(scene.confirm(by_code("ada@example.com", &code, "password"))).await;
    assert_eq!((hashes, weak.verdict()), (0, (400, "VALIDATION_ERROR")));
    assert!(weak.body["details"]["new_password"].is_array());
    let own = scene.confirm(by_link(&letter.token(), "Ada-1-ada@example.com")).await;
    assert_eq!(own.verdict(), (400, "VALIDATION_ERROR"), "{}", own.body);
    let former = scene.confirm(by_code("ada@example.com", &code, PASSWORD)).await;
    assert_eq!(former.verdict(), (400, "PASSWORD_REUSED"));
    assert_eq!(scene.confirm(by_code("ada@example.com", &code, NEW)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_links_are_for_what_they_were_sent_for_and_in_time() {
    let scene = Scene::with(YAML).await;
    let ada = scene.ada().await;
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    let target = account::Target::Email(ada.email.clone().unwrap());
    crate::otp::ask(&mut change, &ada, &target).await.unwrap();
    change.commit().await.unwrap();
    let confirming = scene.letter().await.code();
    let refused = scene.confirm(by_code("ada@example.com", &confirming, NEW)).await;
    assert_eq!(
        refused.verdict(),
        (400, "RESET_FAILED"),
        "a code that confirms an address resets no password"
    );
    scene.app.clock.advance(Duration::from_secs(1));
    let letter = scene.asked().await;
    let by_phone = json!({"phone_country_code": "+33", "phone_number": "612345678", "otp_code": letter.code(),
        "new_password": NEW});
    assert_eq!(scene.confirm(by_phone).await.verdict(), (400, "RESET_FAILED"), "it went by mail");
    scene.app.clock.advance(Duration::from_mins(10));
    for late in [by_link(&letter.token(), NEW), by_code("ada@example.com", &letter.code(), NEW)] {
        assert_eq!(scene.confirm(late).await.verdict(), (400, "RESET_FAILED"));
    }
    let asked = json!({"phone_country_code": "+33", "phone_number": "612345678"});
    let asked = scene.post("/password/reset/request/", asked).await;
    assert_eq!((asked.status, asked.text("channel")), (200, "sms"));
    let message = scene.letter().await;
    assert!(message.to == "+33612345678" && !message.text.contains("token="), "{}", message.text);
    let by_phone = json!({"phone_country_code": "+33", "phone_number": "612345678", "otp_code": message.code(),
        "new_password": NEW});
    assert_eq!(scene.confirm(by_phone).await.status, 200);
    assert!(scene.stored().await.is_phone_verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_at_once() {
    let scene = Scene::with(YAML).await;
    let nobody = scene.post("/password/reset/request/", json!({})).await;
    assert_eq!(nobody.body["details"]["non_field_errors"], json!(["Email or phone number is required"]));
    let bare = scene.confirm(json!({"new_password": NEW})).await;
    assert_eq!(
        bare.body["details"],
        json!({"non_field_errors": ["The code or the token of the link is required"]})
    );
    let nameless = scene.confirm(json!({"new_password": NEW, "otp_code": "123456"})).await;
    assert_eq!(nameless.body["details"]["non_field_errors"], json!(["Email or phone number is required"]));
    let silent = Scene::with("").await;
    assert_eq!(silent.forget("ada@example.com").await.verdict(), (404, "FEATURE_DISABLED"));
}

/// Anybody can register with somebody else's address and a number of their own.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_confirmed_resets_nothing_where_something_else_was() {
    let scene = Scene::with(YAML).await;
    let by_phone = |more: Value| {
        let mut body = json!({"phone_country_code": "33", "phone_number": "612345678"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (is_mail_theirs, is_phone_theirs) in [(true, false), (false, true), (false, false)] {
        let scene = if is_mail_theirs { &scene } else { &Scene::with(YAML).await };
        let ada = scene.person(|new| new.is_verified = false).await;
        for (is_theirs, channel) in [(is_mail_theirs, Channel::Email), (is_phone_theirs, Channel::Phone)] {
            if is_theirs {
                let mut change = scene.app.change(Actor::system()).await.unwrap();
                account::verify(&mut change, ada.id, channel, How::Owner).await.unwrap();
                change.commit().await.unwrap();
            }
        }
        let is_neither = !is_mail_theirs && !is_phone_theirs;
        for (asked, is_sent) in [
            (json!({"email": "ada@example.com"}), is_mail_theirs || is_neither),
            (by_phone(json!({})), is_phone_theirs || is_neither),
        ] {
            let before = waiting(&scene.app).await.len();
            assert_eq!(scene.post("/password/reset/request/", asked.clone()).await.status, 200);
            assert_eq!(waiting(&scene.app).await.len() > before, is_sent, "{asked}");
        }
    }
    // A code that was sent before the address was confirmed.
    let scene = Scene::with(YAML).await;
    let ada = scene.person(|new| new.is_verified = false).await;
    assert_eq!(scene.post("/password/reset/request/", by_phone(json!({}))).await.status, 200);
    let code = scene.letter().await.code();
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    account::verify(&mut change, ada.id, Channel::Email, How::Owner).await.unwrap();
    change.commit().await.unwrap();
    let late = scene.confirm(by_phone(json!({"otp_code": code, "new_password": NEW}))).await;
    assert_eq!(late.verdict(), (400, "RESET_FAILED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_guess_cannot_keep_an_owner_out_who_resets() {
    let scene = Scene::with(YAML).await;
    scene.ada().await;
    for _ in 0..5 {
        scene.log_in("ada@example.com", WRONG).await;
    }
    assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.verdict(), (423, "ACCOUNT_LOCKED"));
    let token = scene.asked().await.token();
    assert_eq!(scene.confirm(by_link(&token, NEW)).await.status, 200);
    assert_eq!(scene.log_in("ada@example.com", NEW).await.status, 200);
}

/// Whoever registers with somebody else's address may leave a second factor and a passkey behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_left_behind_ends_when_the_owner_resets() {
    for is_confirmed in [false, true] {
        let scene = Scene::with(YAML).await;
        let ada = scene.person(|new| new.is_verified = is_confirmed).await;
        let caller = scene.caller(&scene.in_as_ada().await).await;
        let begun = scene.send("/2fa/setup/", json!({}), caller.clone()).await;
        let seed = crate::factor::Seed::parse(begun.text("secret")).unwrap();
        let code = seed.code_at(scene.app.now()).expose().clone();
        assert_eq!(scene.send("/2fa/confirm/", json!({"code": code}), caller).await.status, 200);
        let planted = sql("INSERT INTO passkey (id, number, site_id, account_id, credential_digest, name, \
                           credential, counter, transports, created_at) \
                           VALUES (?, 1, ?, ?, 'd', 'Phone', '{}', 0, '', 0)");
        let mut tx = scene.app.db.begin().await.unwrap();
        tx.execute(planted.bind(Id::from_u128(1)).bind(DEFAULT_SITE).bind(ada.id)).await.unwrap();
        let linked = sql(
            "INSERT INTO social_connection (id, site_id, account_id, provider, issuer, subject, \
                          created_at, used_at) VALUES (?, ?, ?, 'google', 'https://accounts.google.com', '1', 0, 0)",
        );
        tx.execute(linked.bind(Id::from_u128(2)).bind(DEFAULT_SITE).bind(ada.id)).await.unwrap();
        tx.commit().await.unwrap();
        let token = scene.asked().await.token();
        assert_eq!(scene.confirm(by_link(&token, NEW)).await.status, 200);
        let entered = scene.log_in("ada@example.com", NEW).await;
        let passkeys = crate::passkey::count_of(&scene.app.db, ada.id).await.unwrap();
        let linked = crate::social::connections(&scene.app.db, ada.id).await.unwrap().len();
        if is_confirmed {
            let own = ("2FA_REQUIRED", 1, 1);
            assert_eq!((entered.code(), passkeys, linked), own, "what is the owner's own stays");
        } else {
            assert_eq!((entered.status, passkeys, linked), (200, 0, 0), "{}", entered.body);
        }
    }
}
