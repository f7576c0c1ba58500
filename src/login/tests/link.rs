//! Logging in with links by mail: one use, one application, and nothing that tells who is known.

use futures::future::join_all;

use super::*;
use crate::factor::Seed;
use crate::notify::testing::waiting;
use crate::on_every_store;

const PAGE: &str = "https://app.example.com/enter";
const YAML: &str = "mail: { via: console, from: gw@example.com }\n\
                    login: { magic_link: { targets: ['https://app.example.com/enter'] } }\n";

fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once("https://app.example.com/enter?token=").expect("a link");
    rest.split_whitespace().next().unwrap().to_owned()
}

impl Scene {
    async fn confirmed(&self) -> Account {
        self.person(|new| new.is_verified = true).await
    }

    async fn ask_for_link(&self, email: &str, with: Carried) -> Answer {
        let body = json!({"email": email, "validation_url": PAGE});
        self.send("/magic-link/request/", body, with).await
    }

    /// The token of the link that Ada is sent.
    async fn sent_link(&self, with: Carried) -> String {
        let before = waiting(&self.app).await.len();
        let asked = self.ask_for_link("ada@example.com", with).await;
        assert_eq!(asked.status, 200, "{}", asked.body);
        let token = token_in(&waiting(&self.app).await[before].text);
        assert!(!asked.body.to_string().contains(&token));
        token
    }

    async fn follow(&self, token: &str) -> Answer {
        self.post("/magic-link/verify/", json!({"token": token})).await
    }
}

const INVALID: (u16, &str) = (401, "MAGIC_LINK_INVALID");

on_every_store! {
    async fn a_link_lets_its_reader_in_once(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        let ada = scene.confirmed().await;
        let token = scene.sent_link(Carried::default()).await;
        let entered = scene.follow(&token).await;
        assert_eq!(entered.status, 200, "{}", entered.body);
        assert_eq!(entered.text("message"), "Magic link verified successfully");
        assert_eq!(entered.body["user"]["email"], "ada@example.com");
        assert_eq!(entered.text("access"), entered.text("access_token"));
        let principal = scene.caller(&entered).await.principal.unwrap();
        assert_eq!((principal.session.method, principal.session.second_factor_at), ("magic_link", None));
        assert_eq!(scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await.status, 200);
        assert_eq!(scene.follow(&token).await.verdict(), INVALID, "once");
        assert_eq!(scene.live(&ada).await, 1);
        let told = scene.codes().await;
        for code in ["login_link_requested", "code_sent", "login"] {
            assert!(told.iter().any(|found| found == code), "{code} in {told:?}");
        }
        let rows = format!("{:?}", audit::tail(&scene.app.db, 0, 1000).await.unwrap());
        assert!(!rows.contains(&token));
    }

    async fn of_sixty_four_uses_of_one_link_exactly_one_gets_in(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        let ada = scene.confirmed().await;
        let token = scene.sent_link(Carried::default()).await;
        let answers = join_all((0..64).map(|_| scene.follow(&token))).await;
        let mut verdicts: Vec<_> = answers.iter().map(Answer::verdict).collect();
        verdicts.sort_unstable();
        assert_eq!(verdicts[0], (200, ""));
        assert!(verdicts[1..].iter().all(|verdict| *verdict == INVALID), "{verdicts:?}");
        assert_eq!(scene.live(&ada).await, 1);
    }

    async fn a_link_counts_for_the_application_that_asked_for_it(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        scene.confirmed().await;
        let token = scene.sent_link(application(7)).await;
        let follow = |with| scene.send("/magic-link/verify/", json!({"token": token}), with);
        assert_eq!(follow(application(8)).await.verdict(), INVALID);
        assert_eq!(follow(Carried::default()).await.verdict(), INVALID);
        assert_eq!(follow(application(7)).await.status, 200, "nobody used it up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_are_answered_alike() {
    let scene = Scene::with(YAML).await;
    scene.confirmed().await;
    // Bob never confirmed his address, and Eve is banned.
    scene.person(|new| (new.email, new.phone) = (Email::parse("bob@example.com").ok(), None)).await;
    let eve = scene
        .person(|new| {
            (new.email, new.phone) = (Email::parse("eve@example.com").ok(), None);
            new.is_verified = true;
        })
        .await;
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    account::set_ban(&mut change, eve.id, account::Ban::Imposed).await.unwrap();
    change.commit().await.unwrap();
    let mut asked = Vec::new();
    for name in ["ada", "bob", "eve", "nobody"] {
        let email = format!("{name}@example.com");
        let ask = scene.ask_for_link(&email, Carried::default());
        let (hashes, answer) = scene.hashes(ask).await;
        assert_eq!(hashes, 0);
        asked.push(answer);
    }
    assert!(asked.iter().all(|answer| *answer == asked[0]), "{asked:#?}");
    let sent: Vec<_> = waiting(&scene.app).await.into_iter().map(|one| one.to).collect();
    assert_eq!(sent, ["ada@example.com"]);
    // However often somebody asks, one mail a minute.
    scene.ask_for_link("ada@example.com", Carried::default()).await;
    assert_eq!(waiting(&scene.app).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_listed_page_and_to_no_other() {
    let scene = Scene::with(YAML).await;
    scene.confirmed().await;
    for page in [
        "https://app.example.com/enter/",
        "https://app.example.com/enter?next=1",
        "https://app.example.com.evil.example/enter",
        "//app.example.com/enter",
        "javascript:alert(1)",
        "https://APP.example.com/enter",
    ] {
        let body = json!({"email": "ada@example.com", "validation_url": page});
        let refused = scene.post("/magic-link/request/", body).await;
        assert_eq!(refused.verdict(), (400, "VALIDATION_ERROR"), "{page}");
        assert!(refused.body["details"]["validation_url"].is_array());
        assert!(!refused.body.to_string().contains(page));
    }
    let without = |body: Value| scene.post("/magic-link/request/", body);
    assert_eq!(without(json!({"validation_url": PAGE})).await.verdict(), (400, "EMAIL_REQUIRED"));
    let missing = without(json!({"email": "ada@example.com"})).await;
    assert_eq!(missing.verdict(), (400, "VALIDATION_URL_REQUIRED"));
    assert_eq!(scene.post("/magic-link/verify/", json!({})).await.verdict(), (400, "TOKEN_REQUIRED"));
    assert!(waiting(&scene.app).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn time_a_newer_link_and_another_password_end_a_link() {
    let scene = Scene::with(YAML).await;
    let ada = scene.confirmed().await;
    let first = scene.sent_link(Carried::default()).await;
    scene.app.clock.advance(Duration::from_mins(2));
    let second = scene.sent_link(Carried::default()).await;
    assert_eq!(scene.follow(&first).await.verdict(), INVALID, "there is a newer one");
    scene.app.clock.advance(Duration::from_mins(15));
    assert_eq!(scene.follow(&second).await.verdict(), INVALID, "too late");
    let third = scene.sent_link(Carried::default()).await;
    let hash = PasswordHash::new(ada.password_hash.as_ref().unwrap().expose().to_owned());
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    let new = account::NewPassword {
        was: ada.password_hash.as_ref(),
        hash: &hash,
        must_change: account::MustChange::No,
        how: How::Owner,
        history: 0,
    };
    account::set_password(&mut change, ada.id, new).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(scene.follow(&third).await.verdict(), INVALID, "the password is another one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_purpose_opens_nothing() {
    let scene = Scene::with(
        "mail: { via: console, from: gw@example.com }\n\
         login: { reset: { link: 'https://app.example.com/enter' },\n\
                  magic_link: { targets: ['https://app.example.com/enter'] } }\n",
    )
    .await;
    scene.confirmed().await;
    scene.post("/password/reset/request/", json!({"email": "ada@example.com"})).await;
    let reset = token_in(&waiting(&scene.app).await[0].text);
    assert_eq!(scene.follow(&reset).await.verdict(), INVALID);
    let link = scene.sent_link(Carried::default()).await;
    let body = json!({"token": link, "new_password": "Another-horse-7-staple"});
    assert_eq!(scene.post("/password/reset/confirm/", body).await.verdict(), (400, "RESET_FAILED"));
    assert_eq!(scene.follow(&link).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_before_the_link_is_used_up() {
    let scene = Scene::with(YAML).await;
    scene.confirmed().await;
    let entered = scene.in_as_ada().await;
    let carried = scene.caller(&entered).await;
    let begun = scene.send("/2fa/setup/", json!({}), carried.clone()).await;
    let seed = Seed::parse(begun.text("secret")).unwrap();
    let now = || seed.code_at(scene.app.now()).expose().clone();
    assert_eq!(scene.send("/2fa/confirm/", json!({"code": now()}), carried).await.status, 200);
    scene.app.clock.advance(Duration::from_secs(30));
    let before = waiting(&scene.app).await.len();
    scene.ask_for_link("ada@example.com", Carried::default()).await;
    let token = token_in(&waiting(&scene.app).await[before..].last().unwrap().text);
    let with = |totp: String| scene.post("/magic-link/verify/", json!({"token": token, "totp_code": totp}));
    assert_eq!(scene.follow(&token).await.verdict(), (401, "2FA_REQUIRED"));
    assert_eq!(with("nonsense".to_owned()).await.verdict(), (401, "INVALID_2FA_CODE"));
    let entered = with(now()).await;
    assert_eq!(entered.status, 200, "{}", entered.body);
    assert!(scene.caller(&entered).await.principal.unwrap().session.second_factor_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_without_a_second_factor_can_do_nothing_but_set_one_up() {
    let scene = Scene::with(
        "mail: { via: console, from: gw@example.com }\naccounts: { staff_second_factor: required }\n\
         login: { magic_link: { targets: ['https://app.example.com/enter'] } }\n",
    )
    .await;
    scene.person(|new| (new.is_verified, new.is_staff) = (true, true)).await;
    let token = scene.sent_link(Carried::default()).await;
    let entered = scene.follow(&token).await;
    assert_eq!((entered.status, entered.text("token_scope")), (200, "2fa_setup_only"));
    assert!(entered.body.get("refresh_token").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_log_in_does_not_by_a_link_in_flight_either() {
    let scene = Scene::with(YAML).await;
    let ada = scene.confirmed().await;
    let token = scene.sent_link(Carried::default()).await;
    let set = async |ban| {
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        account::set_ban(&mut change, ada.id, ban).await.unwrap();
        change.commit().await.unwrap();
    };
    set(account::Ban::Imposed).await;
    let banned = scene.follow(&token).await;
    assert_eq!((banned.verdict(), banned.text("error")), (INVALID, "Account is disabled"));
    set(account::Ban::Lifted).await;
    // Wrong passwords lock this door too, and a right link forgives none of them.
    for _ in 0..5 {
        assert_eq!(scene.log_in("ada@example.com", WRONG).await.code(), "LOGIN_FAILED");
    }
    assert_eq!(scene.follow(&token).await.verdict(), (423, "ACCOUNT_LOCKED"));
    assert_eq!(scene.live(&ada).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_closed_unless_it_was_opened() {
    for yaml in [
        "mail: { via: console, from: gw@example.com }\n",
        "mail: null\nlogin: { magic_link: { targets: ['https://app.example.com/enter'] } }\n",
    ] {
        let scene = Scene::with(yaml).await;
        let asked = scene.ask_for_link("ada@example.com", Carried::default()).await;
        assert_eq!(asked.verdict(), (503, "SERVICE_UNAVAILABLE"));
        assert_eq!(scene.follow(&"a".repeat(43)).await.verdict(), INVALID);
    }
}
