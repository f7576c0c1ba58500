//! API keys on a page: made with what its person may do, shown once, revoked.
//! Law: whoever sits down at an open session that is not fresh makes none.

use std::time::Duration;

use portcullis::apikey;
use portcullis::factor::Seed;
use regex::Regex;
use serde_json::json;

use crate::page::with_pages;
use crate::support::forms::{Browser, cookie_of, form};
use crate::support::people::PASSWORD;

const KEYS: &str = "/portcullis/account/keys/";
const NEW: &str = "/portcullis/account/keys/new/";

fn key_in(page: &str) -> String {
    let found = Regex::new(r"(portcullis_[A-Za-z0-9_-]{43})").unwrap();
    found.captures(page).unwrap_or_else(|| panic!("a key in {page}"))[1].to_owned()
}

#[tokio::test]
async fn somebody_makes_a_key_sees_it_once_and_revokes_it() {
    let scene = with_pages().await;
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    let page = ada.get(KEYS).await.text();
    assert!(page.contains("name=\"may:reports.read\"") && page.contains("None."), "{page}");
    assert!(!page.contains("may:pay"), "only what she holds: {page}");
    let fields = [("name", "Nightly <b>backup</b>"), ("days", "30"), ("may:reports.read", "on")];
    let foreign = ["Origin: https://evil.test".to_owned()];
    assert_eq!(ada.ask("POST", NEW, &foreign, &form(&fields)).await.status, 403);
    assert_eq!(
        ada.ask("POST", NEW, &[format!("Origin: {}", ada.origin())], &form(&fields)).await.status,
        403
    );
    let made = ada.post(NEW, &fields).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(made.header("cache-control").unwrap().contains("no-store"));
    let key = key_in(&made.text());
    let app = &scene.gateway.running.app;
    let kept = apikey::of_account(&app.db, scene.ada.id).await.unwrap().remove(0);
    let days = kept.expires_at.since(kept.created_at).as_secs() / 86_400;
    assert_eq!((kept.scopes.len(), kept.scopes[0].to_string().as_str(), days), (1, "reports.read", 30));
    let page = ada.get(KEYS).await.text();
    assert!(!page.contains(&key) && page.contains("Nightly &lt;b&gt;backup&lt;/b&gt;"), "{page}");
    assert!(page.contains("reports.read"), "{page}");

    for (fields, said) in [
        (vec![("name", " "), ("days", "30")], "Name: "),
        (vec![("name", "x"), ("days", "400")], "whole number of seconds"),
        (vec![("name", "x"), ("may:pay", "on")], "permissions that you hold"),
        (vec![("name", "x"), ("may:<script>", "on")], "Not a permission code"),
    ] {
        let refused = ada.post(NEW, &fields).await;
        let text = refused.text();
        assert!((400..=403).contains(&refused.status) && text.contains(said), "{text}");
        assert!(!text.contains("<script"), "{text}");
    }
    assert_eq!(apikey::of_account(&app.db, scene.ada.id).await.unwrap().len(), 1);

    let revoke = format!("{KEYS}{}/revoke/", kept.id);
    scene.gateway.account("eve", |_| {}).await;
    let mut eve = Browser::new(&scene.gateway);
    eve.log_in("eve").await;
    let other = eve.post(&revoke, &[]).await;
    assert_eq!(other.header("location"), Some("/portcullis/account/keys/?gone"), "another person's");
    assert_eq!(ada.ask("POST", &revoke, &foreign, "").await.status, 403);
    assert!(apikey::of_account(&app.db, scene.ada.id).await.unwrap()[0].is_alive(app.now()));
    let revoked = ada.post(&revoke, &[]).await;
    assert_eq!(revoked.header("location"), Some("/portcullis/account/keys/?revoked"));
    assert!(!apikey::of_account(&app.db, scene.ada.id).await.unwrap()[0].is_alive(app.now()));
    assert!(ada.get(KEYS).await.text().contains("Keys that are over (1)"));
}

#[tokio::test]
async fn a_login_that_is_not_fresh_proves_itself_before_a_key_is_made() {
    let scene = with_pages().await;
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    assert!(!ada.get(KEYS).await.text().contains("key-password"));
    scene.clock.advance(Duration::from_mins(16));
    assert!(ada.get(KEYS).await.text().contains("key-password"));
    for password in ["", "wrong"] {
        let refused = ada.post(NEW, &[("name", "Backup"), ("password", password)]).await;
        assert!(refused.status == 400 && refused.text().contains("value=\"Backup\""), "{}", refused.text());
    }
    assert_eq!(ada.post(NEW, &[("name", "Backup"), ("password", PASSWORD)]).await.status, 201);

    // With a second factor it is that which is asked for, and the session that proved it goes on.
    let lines = scene.lines(&scene.gateway.log_in("ada", scene.ada.id, &scene.keys).await);
    let begun = scene.gateway.call("POST", "/2fa/setup/", &lines, &json!({})).await.json();
    let seed = Seed::parse(begun["secret"].as_str().unwrap()).unwrap();
    let code = || seed.code_at(scene.gateway.running.app.now()).expose().clone();
    let on = scene.gateway.call("POST", "/2fa/confirm/", &lines, &json!({"code": code()})).await;
    assert_eq!(on.status, 200, "{}", on.text());
    scene.clock.advance(Duration::from_secs(30));
    let mut ada = Browser::new(&scene.gateway);
    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("code", &code())];
    let own = format!("Origin: {}", ada.origin());
    let entered = ada.ask("POST", "/portcullis/login/", &[own], &form(&fields)).await;
    ada.cookie = Some(cookie_of(&entered));
    scene.clock.advance(Duration::from_mins(16));
    let refused = ada.post(NEW, &[("name", "Second"), ("password", PASSWORD)]).await;
    assert!(refused.text().contains("Enter a code of your second factor"), "{}", refused.text());
    let made = ada.post(NEW, &[("name", "Second"), ("code", &code())]).await;
    assert_eq!(made.status, 201, "{}", made.text());
    ada.cookie = Some(cookie_of(&made));
    assert_eq!(ada.get(KEYS).await.status, 200);
}
