//! Profile, addresses and password on pages, as a browser without JavaScript uses them.
//! Law: an open session is not enough for another address or another password, and what was typed is text.

use std::time::Duration;

use portcullis::account::{self, Account};
use portcullis::base::{Id, Phone};
use serde_json::json;

use crate::agent::Scene;
use crate::codes::{Post, code_in, text_of};
use crate::page::with_pages;
use crate::support::forms::{Browser, LIST, LOGIN, cookie_of, form};
use crate::support::people::{PASSWORD, elsewhere};

const PROFILE: &str = "/portcullis/account/profile/";
const SAVE: &str = "/portcullis/account/profile/save/";
const CHANGE: &str = "/portcullis/account/password/change/";
const OTHER: &str = "Another-horse-7-staple";

impl Scene {
    async fn account(&self, id: Id) -> Account {
        account::by_id(&self.gateway.running.app.db, id).await.unwrap().unwrap()
    }
}

impl Post {
    async fn account(&self, id: Id) -> Account {
        account::by_id(&self.gateway.running.app.db, id).await.unwrap().unwrap()
    }
}

fn email(id: &Account) -> String {
    id.email.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn somebody_changes_what_they_say_of_themselves_and_nothing_else_by_a_form_of_ours() {
    let scene = with_pages().await;
    let mut ada = Browser::new(&scene.gateway);
    assert_eq!(ada.get(PROFILE).await.status, 303, "who is nobody logs in first");
    ada.log_in("ada").await;
    let fields = [
        ("first_name", "Ada <b>\u{202e}"),
        ("last_name", "Lovelace"),
        ("username", "ada"),
        ("language", "en"),
        ("timezone", "Europe/London"),
        ("bio", "One\r\ntwo </textarea><script>alert(1)</script>"),
        ("is_staff", "true"),
    ];
    let foreign = ["Origin: https://evil.test".to_owned()];
    assert_eq!(ada.ask("POST", SAVE, &foreign, &form(&fields)).await.status, 403);
    let own = [format!("Origin: {}", ada.origin())];
    assert_eq!(ada.ask("POST", SAVE, &own, &form(&fields)).await.status, 403, "without the secret");
    assert_eq!(scene.account(scene.ada.id).await.first_name, "");
    let saved = ada.post(SAVE, &fields).await;
    assert_eq!(saved.header("location"), Some("/portcullis/account/profile/?saved"), "{}", saved.text());
    let now = scene.account(scene.ada.id).await;
    assert_eq!((now.last_name.as_str(), now.timezone.as_str()), ("Lovelace", "Europe/London"));
    assert!(!now.is_staff, "no field of a profile");
    assert_eq!(now.bio, "One\ntwo </textarea><script>alert(1)</script>");
    let page = ada.get(PROFILE).await.text();
    assert!(!page.contains("<script") && page.contains("&lt;/textarea&gt;"), "{page}");
    let home = ada.get("/portcullis/account/").await.text();
    assert!(home.contains("Ada &lt;b&gt;<mark"), "what cannot be seen is marked: {home}");

    let same = ada.post(SAVE, &fields).await;
    assert_eq!(same.status, 303, "nothing to change: {}", same.text());
    let bad = ada.post(SAVE, &[("first_name", ""), ("bio", &"x".repeat(501)), ("language", "en")]).await;
    let text = bad.text();
    assert!(bad.status == 400 && text.contains("First name: This field may not be blank."), "{text}");
    assert!(text.contains("About you: Ensure this field has no more than 500"), "{text}");
    ada.post(SAVE, &[("username", "")]).await;
    assert!(scene.account(scene.ada.id).await.username.is_none(), "taken away");
    let bad = ada.post_elsewhere(SAVE, &[("custom_fields", "{\"a\": <i>}")]).await;
    assert!(
        bad.status == 400 && bad.text().contains("Not JSON") && !bad.text().contains("<i>"),
        "{}",
        bad.text()
    );
    ada.post_elsewhere(SAVE, &[("custom_fields", "{\"theme\": \"dark\"}")]).await;
    assert_eq!(scene.account(scene.ada.id).await.custom_fields(), json!({"theme": "dark"}));
}

#[tokio::test]
async fn another_address_asks_for_the_password_and_counts_once_the_code_is_typed() {
    let post = Post::start("").await;
    let id = post.gateway.account("ada", |_| {}).await;
    post.gateway.account("eve", |_| {}).await;
    let mut ada = Browser::new(&post.gateway);
    ada.log_in("ada").await;
    let change = "/portcullis/account/contact/email/change/";
    for (new, password, said) in [
        ("new@example.com", "", "Enter your password."),
        ("new@example.com", "wrong", "The password is wrong."),
        ("no address", PASSWORD, "E-mail address: "),
    ] {
        let refused = ada.post_elsewhere(change, &[("email", new), ("current_password", password)]).await;
        assert!(refused.status == 400 && refused.text().contains(said), "{}", refused.text());
        assert!(!refused.text().contains("value=\"wrong\""));
    }
    assert!(post.account(id).await.pending_email.is_none());
    let fields = [("email", "new@example.com"), ("current_password", PASSWORD)];
    let wished = ada.post_elsewhere(change, &fields).await;
    assert_eq!(wished.header("location"), Some("/portcullis/account/profile/?wished"), "{}", wished.text());
    assert_eq!(email(&post.account(id).await), "ada@example.com", "until it is confirmed");
    let page = ada.get(PROFILE).await.text();
    assert!(page.contains("new@example.com") && page.contains("Keep ada@example.com"), "{page}");
    let code = code_in(&text_of(&post.letter(1).await));
    assert!(!page.contains(&code));
    let confirm = "/portcullis/account/contact/email/confirm/";
    for wrong in ["000000", "<b>", ""] {
        let refused = ada.post_elsewhere(confirm, &[("code", wrong)]).await;
        assert!(refused.status == 400 && refused.text().contains("role=\"alert\""), "{}", refused.text());
        assert!(!refused.text().contains("<b>"));
    }
    let early = ada.post_elsewhere("/portcullis/account/contact/email/send/", &[]).await;
    assert!(early.status == 429 && early.text().contains("a moment ago"), "{}", early.text());
    let done = ada.post_elsewhere(confirm, &[("code", &code)]).await;
    assert_eq!(done.header("location"), Some("/portcullis/account/profile/?confirmed"), "{}", done.text());
    assert_eq!(email(&post.account(id).await), "new@example.com");

    // One that is somebody else's is answered alike, and called off.
    let fields = [("email", "eve@example.com"), ("current_password", PASSWORD)];
    let wished = ada.post_elsewhere(change, &fields).await;
    assert_eq!(wished.header("location"), Some("/portcullis/account/profile/?wished"));
    let kept = ada.post_elsewhere("/portcullis/account/contact/email/keep/", &[]).await;
    assert_eq!(kept.header("location"), Some("/portcullis/account/profile/?kept"));
    assert!(post.account(id).await.pending_email.is_none());

    let fields =
        [("phone_country_code", "33"), ("phone_number", "612345678"), ("current_password", PASSWORD)];
    let wished = ada.post_elsewhere("/portcullis/account/contact/phone/change/", &fields).await;
    assert_eq!(wished.status, 303, "{}", wished.text());
    let code = code_in(&post.message(1).await.1);
    let done = ada.post_elsewhere("/portcullis/account/contact/phone/confirm/", &[("code", &code)]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let now = post.account(id).await;
    assert!(now.is_phone_verified && now.phone == Some(Phone::parse("+33612345678").unwrap()));
    assert_eq!(ada.post("/portcullis/account/contact/fax/keep/", &[]).await.status, 404);
}

#[tokio::test]
async fn a_new_password_asks_for_the_present_one_and_ends_every_session() {
    let scene = with_pages().await;
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    let mut there = Browser::new(&scene.gateway);
    there.log_in("ada").await;
    let page = ada.get("/portcullis/account/password/").await.text();
    assert!(page.contains("At least") && page.contains("autocomplete=\"new-password\""), "{page}");
    for (present, new, again, said) in [
        ("wrong", OTHER, OTHER, "The password is wrong"),
        ("", OTHER, OTHER, "Enter your password"),
        (PASSWORD, "short", "short", "New password: "),
        (PASSWORD, OTHER, "Another-horse-7-stapel", "two different passwords"),
    ] {
        let fields = [("current_password", present), ("new_password", new), ("again", again)];
        let refused = ada.post(CHANGE, &fields).await;
        let text = refused.text();
        assert!(refused.status == 400 && text.contains(said), "{text}");
        assert!(!text.contains(OTHER) && !text.contains(PASSWORD), "{text}");
    }
    let fields = [("current_password", PASSWORD), ("new_password", OTHER), ("again", OTHER)];
    let own = [format!("Origin: {}", ada.origin())];
    assert_eq!(ada.ask("POST", CHANGE, &own, &form(&fields)).await.status, 403, "without the secret");
    let done = ada.post(CHANGE, &fields).await;
    assert_eq!(done.header("location"), Some("/portcullis/login/?password-changed"), "{}", done.text());
    assert!(done.header("set-cookie").unwrap().starts_with("portcullis_session=;"), "forgotten");
    assert_eq!((ada.get(LIST).await.status, there.get(LIST).await.status), (303, 303));
    assert!(ada.get("/portcullis/login/?password-changed").await.text().contains("was changed"));
    let enter = async |password: &str| {
        let fields = form(&[("email", "ada@example.com"), ("password", password)]);
        ada.ask("POST", LOGIN, &[own[0].clone(), elsewhere()], &fields).await.status
    };
    assert_eq!((enter(PASSWORD).await, enter(OTHER).await), (401, 303));
}

#[tokio::test]
async fn whose_password_somebody_else_chose_chooses_another_one_before_anything_else() {
    let scene = with_pages().await;
    scene.gateway.account("bob", |new| new.must_change_password = true).await;
    let mut bob = Browser::new(&scene.gateway);
    bob.log_in("bob").await;
    for path in [LIST, PROFILE, "/portcullis/account/"] {
        let page = bob.get(path).await;
        assert!(
            page.status == 403 && page.text().contains("/portcullis/account/password/"),
            "{}",
            page.text()
        );
    }
    assert_eq!(bob.post(SAVE, &[("bio", "x")]).await.status, 403);
    let same = [("current_password", PASSWORD), ("new_password", PASSWORD), ("again", PASSWORD)];
    let refused = bob.post(CHANGE, &same).await;
    assert!(refused.status == 400 && refused.text().contains("used before"), "{}", refused.text());
    let fields = [("current_password", PASSWORD), ("new_password", OTHER), ("again", OTHER)];
    assert_eq!(bob.post(CHANGE, &fields).await.status, 303);
    let lines = [format!("Origin: {}", bob.origin()), elsewhere()];
    let entered =
        bob.ask("POST", LOGIN, &lines, &form(&[("email", "bob@example.com"), ("password", OTHER)])).await;
    bob.cookie = Some(cookie_of(&entered));
    assert_eq!(bob.get(PROFILE).await.status, 200, "the whole session");
}

#[tokio::test]
async fn who_has_no_password_sets_the_first_one_with_a_code_to_their_phone() {
    let post = Post::start("login: { otp: { log_in: true } }\n").await;
    let id = post.gateway.account("ada", |new| new.phone = Some(Phone::parse("+33612345678").unwrap())).await;
    let mut ada = Browser::new(&post.gateway);
    ada.log_in("ada").await;
    let app = &post.gateway.running.app;
    let mut tx = app.db.begin().await.unwrap();
    let none = portcullis::store::sql("UPDATE account SET password_hash = NULL WHERE id = ?");
    tx.execute(none.bind(id)).await.unwrap();
    tx.commit().await.unwrap();
    let page = ada.get(PROFILE).await.text();
    assert!(page.contains("you have none") && !page.contains("contact/email/change/"), "{page}");
    let first = "/portcullis/account/password/first/";
    let fields = |code| [("otp_code", code), ("new_password", OTHER), ("again", OTHER)];
    let refused = ada.post_elsewhere(first, &fields("000000")).await;
    assert!(refused.status == 400 && refused.text().contains("The code is wrong"), "{}", refused.text());
    post.clock.advance(Duration::from_secs(61));
    let sent = ada.post_elsewhere("/portcullis/account/password/code/", &[]).await;
    assert_eq!(sent.header("location"), Some("/portcullis/account/password/?sent"), "{}", sent.text());
    let code = code_in(&post.message(1).await.1);
    let done = ada.post_elsewhere(first, &fields(&code)).await;
    assert_eq!(done.header("location"), Some("/portcullis/login/?password-changed"), "{}", done.text());
    assert!(post.account(id).await.password_hash.is_some());
    assert_eq!(ada.get(LIST).await.status, 303, "every session ends");
}
