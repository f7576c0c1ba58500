//! Linked accounts on a page: one more way in, one less, and the last one that stays.
//! Law: what a provider says is connected with the account of whoever left for it, in the session in which
//! they left, and with no other.

use std::time::Duration;

use portcullis::social;
use portcullis::store::Dialect;
use regex::Regex;
use serde_json::json;

use crate::social::{Browser, Scene};
use crate::support::forms::{LOGIN, form};
use crate::support::people::PASSWORD;
use crate::support::raw::Answer;

const PAGE: &str = "/portcullis/account/connections/";
const LINK: &str = "/portcullis/account/link/acme/";

fn found(pattern: &str, text: &str) -> Option<String> {
    let found = Regex::new(pattern).unwrap();
    found.captures(text).map(|found| found[1].replace("&amp;", "&"))
}

impl Browser<'_> {
    async fn enter(&mut self, name: &str) {
        let email = format!("{name}@example.com");
        let entered = self.ask("POST", LOGIN, &form(&[("email", &email), ("password", PASSWORD)])).await;
        assert_eq!(entered.status, 303, "{}", entered.text());
    }

    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(PAGE).await.text();
        let secret = found(r#"name="csrf" value="([A-Za-z0-9_-]+)""#, &page).expect("a form");
        let fields = [fields, &[("csrf", secret.as_str())]].concat();
        self.ask("POST", path, &form(&fields)).await
    }

    /// The provider's door that the page leads to.
    async fn door(&mut self, fields: &[(&str, &str)]) -> String {
        let going = self.submit(LINK, fields).await;
        assert_eq!(going.status, 200, "{}", going.text());
        found(r#"class="button" href="([^"]+)""#, &going.text()).expect("a door")
    }
}

async fn linked(scene: &Scene, email: &str) -> usize {
    let account = scene.account(email).await.unwrap();
    social::connections(&scene.gateway().running.app.db, account.id).await.unwrap().len()
}

#[tokio::test]
async fn somebody_links_another_account_logs_in_with_it_and_unlinks_it() {
    let scene = Scene::on(Dialect::Sqlite).await;
    scene.gateway().account("zoe", |_| {}).await;
    let mut zoe = scene.browser();
    assert_eq!(zoe.get(PAGE).await.status, 303);
    zoe.enter("zoe").await;
    let page = zoe.get(PAGE).await.text();
    assert!(page.contains("Link Acme &amp; Co") && page.contains("No other service"), "{page}");
    assert_eq!(zoe.ask("POST", LINK, "").await.status, 403, "without the secret");
    assert_eq!(zoe.submit("/portcullis/account/link/none/", &[]).await.status, 404);
    let door = zoe.door(&[]).await;
    let back = scene.acme.log_in(&door).await;
    let done = zoe.get(&back).await;
    assert_eq!(done.header("location"), Some("/portcullis/account/connections/?linked"), "{}", done.text());
    assert!(!zoe.cookies.contains_key("portcullis_social"));
    assert_eq!(zoe.get(&back).await.status, 400, "once");
    assert_eq!(
        (linked(&scene, "zoe@example.com").await, scene.account("ada@example.com").await.is_some()),
        (1, false)
    );
    let page = zoe.get(PAGE).await.text();
    let unlink = found(r#"action="(/portcullis/account/connections/[^"]+/unlink/)""#, &page).expect("a way");
    assert!(page.contains("ada@example.com"), "{page}");

    let mut other = scene.browser();
    assert_eq!(other.log_in(&scene.acme, "acme").await.status, 303);
    assert!(
        other.get("/portcullis/account/").await.text().contains("zoe@example.com"),
        "it opens her account"
    );
    scene.gateway().account("eve", |_| {}).await;
    let mut eve = scene.browser();
    eve.enter("eve").await;
    let refused = eve.submit(&unlink, &[]).await;
    assert_eq!(refused.header("location"), Some("/portcullis/account/connections/?gone"), "another person's");
    // What opens one account opens no other.
    let door = eve.door(&[]).await;
    let taken = eve.get(&scene.acme.log_in(&door).await).await;
    assert!(
        taken.status == 409 && taken.text().contains("opens an account here already"),
        "{}",
        taken.text()
    );

    scene.clock.advance(Duration::from_mins(16));
    for password in ["", "wrong"] {
        assert_eq!(zoe.submit(&unlink, &[("password", password)]).await.status, 400);
        assert_eq!(zoe.submit(LINK, &[("password", password)]).await.status, 400);
    }
    let gone = zoe.submit(&unlink, &[("password", PASSWORD)]).await;
    assert_eq!(gone.header("location"), Some("/portcullis/account/connections/?unlinked"), "{}", gone.text());
    assert_eq!(linked(&scene, "zoe@example.com").await, 0);
    assert_eq!(other.get(PAGE).await.status, 303, "who came in by it is out");
}

#[tokio::test]
async fn what_comes_back_is_linked_for_whoever_left_in_the_same_session_and_nobody_else() {
    let scene = Scene::on(Dialect::Sqlite).await;
    scene.gateway().account("zoe", |_| {}).await;
    scene.gateway().account("eve", |_| {}).await;
    let mut eve = scene.browser();
    eve.enter("eve").await;
    let door = eve.door(&[]).await;
    let back = scene.acme.log_in(&door).await;
    // Somebody who is made to follow it: with nothing kept, and with what Eve's browser kept.
    let mut zoe = scene.browser();
    zoe.enter("zoe").await;
    assert_eq!(zoe.get(&back).await.status, 400);
    zoe.cookies.insert("portcullis_social".to_owned(), eve.cookies["portcullis_social"].clone());
    let refused = zoe.get(&back).await;
    assert!(refused.status == 403 && refused.text().contains("another session"), "{}", refused.text());
    assert_eq!((linked(&scene, "zoe@example.com").await, linked(&scene, "eve@example.com").await), (0, 0));
    assert!(scene.account("ada@example.com").await.is_none(), "it is no login either");
    // Who logged out meanwhile, and who is in another session.
    let door = eve.door(&[]).await;
    let back = scene.acme.log_in(&door).await;
    eve.cookies.remove("portcullis_session");
    assert_eq!(eve.clone().get(&back).await.status, 403);
    assert!(!eve.is_in());
    let mut eve = scene.browser();
    eve.enter("eve").await;
    let door = eve.door(&[]).await;
    let back = scene.acme.log_in(&door).await;
    eve.enter("eve").await;
    assert_eq!(eve.get(&back).await.status, 403, "another session of hers");
    assert_eq!(linked(&scene, "eve@example.com").await, 0);
    // A login that was begun is no link: it makes an account of its own.
    eve.log_in(&scene.acme, "acme").await;
    assert_eq!(linked(&scene, "eve@example.com").await, 0);
}

#[tokio::test]
async fn the_only_way_in_has_no_button_and_stays_when_it_is_asked_for_all_the_same() {
    let scene = Scene::on(Dialect::Sqlite).await;
    let mut ada = scene.browser();
    assert_eq!(ada.log_in(&scene.acme, "acme").await.status, 303);
    let page = ada.get(PAGE).await.text();
    assert!(page.contains("It is your only way in") && !page.contains("/unlink/"), "{page}");
    let account = scene.account("ada@example.com").await.unwrap();
    let own = social::connections(&scene.gateway().running.app.db, account.id).await.unwrap().remove(0);
    let path = format!("{PAGE}{}/unlink/", own.id);
    let kept = ada.submit(&path, &[]).await;
    assert!(kept.status == 409 && kept.text().contains("your only way in"), "{}", kept.text());
    scene.other.person(json!({"sub": "ada-2", "email": "ada@example.com", "email_verified": true}));
    let going = ada.submit("/portcullis/account/link/other/", &[]).await;
    let door = found(r#"class="button" href="([^"]+)""#, &going.text()).expect("a door");
    let back = scene.other.log_in(&door).await;
    assert_eq!(ada.get(&back).await.status, 303);
    assert_eq!(linked(&scene, "ada@example.com").await, 2);
    assert_eq!(ada.submit(&path, &[]).await.status, 303, "now it may go");
    assert_eq!(linked(&scene, "ada@example.com").await, 1);
}
