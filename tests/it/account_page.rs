//! The page of one's own account as a browser without JavaScript uses it: sessions, agents and the
//! second factor. Law: everything is the person's own, and nothing happens but by a form of ours.

use portcullis::agent::{self, Reference as OfToken};
use portcullis::base::{Id, Number};
use portcullis::factor::Seed;
use portcullis::store::{DEFAULT_SITE, sql};
use regex::Regex;
use serde_json::json;

use crate::agent::{Scene, bearer};
use crate::page::with_pages;
use crate::support::forms::{Browser, LIST, LOGIN, cookie_of, form};
use crate::support::people::{PASSWORD, elsewhere};

const ACCOUNT: &str = "/portcullis/account/";
const FACTOR: &str = "/portcullis/account/second-factor/";

pub fn all(pattern: &str, text: &str) -> Vec<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

impl Scene {
    fn code_of(&self, seed: &Seed) -> String {
        seed.code_at(self.gateway.running.app.now()).expose().clone()
    }

    async fn is_stopped(&self, number: i64) -> bool {
        let found = agent::find(&self.gateway.running.app.db, OfToken::Number(Number(number))).await.unwrap();
        found.unwrap().status == agent::Status::Suspended
    }
}

#[tokio::test]
async fn somebody_sees_their_own_sessions_and_ends_them() {
    let scene = with_pages().await;
    let mut here = Browser::new(&scene.gateway);
    assert_eq!(
        here.get(ACCOUNT).await.header("location"),
        Some("/portcullis/login/?next=%2Fportcullis%2Faccount%2F")
    );
    here.log_in("ada").await;
    let mut there = Browser::new(&scene.gateway);
    there.log_in("ada").await;
    let mut eve = Browser::new(&scene.gateway);
    scene.gateway.account("eve", |_| {}).await;
    eve.log_in("eve").await;
    let page = here.get(ACCOUNT).await.text();
    assert!(page.contains("ada@example.com") && page.contains("this one"), "{page}");
    let ends = all(r#"action="(/portcullis/account/sessions/[^"]+/end/)""#, &page);
    assert_eq!(ends.len(), 2, "the API's and the other browser's: {page}");
    for path in &ends {
        let refused = eve.post(path, &[]).await;
        assert_eq!(refused.header("location"), Some("/portcullis/account/?gone"), "another person's");
    }
    let foreign = ["Origin: https://evil.test".to_owned()];
    assert_eq!(here.ask("POST", &ends[0], &foreign, "").await.status, 403);
    assert_eq!(here.ask("POST", &ends[0], &[], "csrf=x").await.status, 403);
    assert_eq!(there.get(LIST).await.status, 200);
    let ended = here.post("/portcullis/account/sessions/end/", &[]).await;
    assert_eq!(ended.header("location"), Some("/portcullis/account/?sessions-ended"));
    assert_eq!(there.get(LIST).await.status, 303, "logged out there");
    assert_eq!(scene.gateway.call("GET", "/me/", &scene.lines(&scene.ada), &json!(null)).await.status, 401);
    let page = here.get("/portcullis/account/?sessions-ended").await.text();
    assert!(page.contains("Every other session has ended.") && !page.contains("End all others"), "{page}");
    there.log_in("ada").await;
    let end = all(r#"action="(/portcullis/account/sessions/[^"]+/end/)""#, &here.get(ACCOUNT).await.text());
    let ended = here.post(&end[0], &[]).await;
    assert_eq!(ended.header("location"), Some("/portcullis/account/?session-ended"));
    assert_eq!(there.get(LIST).await.status, 303);
    let odd = here.get("/portcullis/account/?<script>alert(1)</script>").await;
    assert!(!odd.text().contains("alert"), "{}", odd.text());
}

#[tokio::test]
async fn somebody_stops_their_agents_and_lets_them_go_on() {
    let scene = with_pages().await;
    let (number, token) =
        scene.mint(&json!({"agent_id": "<b>bot</b>", "permissions": ["reports.read"]})).await;
    scene.gateway.account("eve", |_| {}).await;
    let (mut ada, mut eve) = (Browser::new(&scene.gateway), Browser::new(&scene.gateway));
    ada.log_in("ada").await;
    eve.log_in("eve").await;
    let page = ada.get(ACCOUNT).await.text();
    assert!(page.contains("&lt;b&gt;bot&lt;/b&gt;") && page.contains("reports.read"), "{page}");
    let stop = all(r#"action="(/portcullis/account/agents/[^"]+/stop/)""#, &page).remove(0);
    assert!(!eve.get(ACCOUNT).await.text().contains("&lt;b&gt;bot"));
    eve.post(&stop, &[]).await;
    assert_eq!(ada.ask("POST", &stop, &["Origin: https://evil.test".to_owned()], "").await.status, 403);
    assert!(!scene.is_stopped(number).await);
    assert_eq!(ada.post(&stop, &[]).await.header("location"), Some("/portcullis/account/?agent-stopped"));
    assert!(scene.is_stopped(number).await);
    let refused = scene.gateway.call("GET", "/me/", &[bearer(&token)], &json!(null)).await;
    assert_eq!(refused.status, 403);
    let resume = stop.replace("/stop/", "/resume/");
    assert!(ada.get(ACCOUNT).await.text().contains(&resume));
    eve.post(&resume, &[]).await;
    assert!(scene.is_stopped(number).await);
    assert_eq!(ada.post(&resume, &[]).await.header("location"), Some("/portcullis/account/?agent-resumed"));
    assert!(!scene.is_stopped(number).await);
}

#[tokio::test]
async fn a_second_factor_is_set_up_used_and_turned_off_without_javascript() {
    let scene = with_pages().await;
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    let begun = ada.post(&format!("{FACTOR}begin/"), &[]).await;
    let page = begun.text();
    assert!(begun.status == 200 && page.contains("<svg") && !page.contains("style="), "{page}");
    let seed = Seed::parse(&all(r"<code>([A-Z2-7]{32})</code>", &page)[0]).unwrap();
    let backup = all(r"<code>([A-Za-z0-9]+-[A-Za-z0-9-]+)</code>", &page);
    assert_eq!(backup.len(), 10, "{page}");
    assert!(begun.header("cache-control").unwrap().contains("no-store"));
    let wrong = ada.post(&format!("{FACTOR}confirm/"), &[("code", "000000")]).await;
    assert!(wrong.status == 400 && !wrong.text().contains(backup[0].as_str()), "{}", wrong.text());
    let on = ada.post(&format!("{FACTOR}confirm/"), &[("code", &scene.code_of(&seed))]).await;
    assert_eq!(on.header("location"), Some("/portcullis/account/?factor-on"), "{}", on.text());
    ada.cookie = Some(cookie_of(&on));
    assert!(ada.get(ACCOUNT).await.text().contains("10 backup codes left"));

    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", ACCOUNT)];
    let lines = [format!("Origin: {}", ada.origin()), elsewhere()];
    let asked = ada.ask("POST", LOGIN, &lines, &form(&fields)).await;
    assert!(asked.status == 401 && asked.text().contains(r#"name="code""#), "{}", asked.text());
    let coded = [&fields[..], &[("code", backup[0].as_str())]].concat();
    let entered = ada.ask("POST", LOGIN, &lines, &form(&coded)).await;
    assert_eq!(entered.header("location"), Some(ACCOUNT));

    scene.clock.advance(std::time::Duration::from_secs(30));
    let made = ada.post(&format!("{FACTOR}backup-codes/"), &[("code", &scene.code_of(&seed))]).await;
    let fresh = all(r"<code>([A-Za-z0-9]+-[A-Za-z0-9-]+)</code>", &made.text());
    assert!(fresh.len() == 10 && !fresh.contains(&backup[1]), "{}", made.text());
    let path = format!("{FACTOR}off/");
    let secret = ada.secret(ACCOUNT).await;
    let off = async |origin: &str, code: &str, password: &str, secret: &str| {
        let fields = form(&[("code", code), ("password", password), ("csrf", secret)]);
        ada.ask("POST", &path, &[format!("Origin: {origin}")], &fields).await
    };
    let own = ada.origin();
    assert_eq!(off(&own, &fresh[0], "wrong", &secret).await.status, 400);
    assert_eq!(off(&own, &backup[1], PASSWORD, &secret).await.status, 400, "an old one");
    assert_eq!(off("https://evil.test", &fresh[0], PASSWORD, &secret).await.status, 403);
    assert_eq!(off(&own, &fresh[0], PASSWORD, "").await.status, 403, "a page of another backend here");
    let done = off(&own, &fresh[0], PASSWORD, &secret).await;
    assert_eq!(done.header("location"), Some("/portcullis/account/?factor-off"), "{}", done.text());
}

#[tokio::test]
async fn a_fault_after_a_proof_leaves_the_browser_in_the_session_that_took_the_place_of_the_old_one() {
    let scene = with_pages().await;
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    let begun = ada.post(&format!("{FACTOR}begin/"), &[]).await.text();
    let seed = Seed::parse(&all(r"<code>([A-Z2-7]{32})</code>", &begun)[0]).unwrap();
    let on = ada.post(&format!("{FACTOR}confirm/"), &[("code", &scene.code_of(&seed))]).await;
    ada.cookie = Some(cookie_of(&on));
    scene.clock.advance(std::time::Duration::from_mins(16));
    let app = &scene.gateway.running.app;
    let account = scene.ada.id;
    let mut tx = app.db.begin().await.unwrap();
    let key = sql(
        "INSERT INTO passkey (id, number, site_id, account_id, credential_digest, name, credential, counter, \
                   transports, created_at) VALUES (?, 7, ?, ?, 'x', 'phone', '{}', 0, '', ?)",
    );
    tx.execute(key.bind(Id::from_u128(7)).bind(DEFAULT_SITE).bind(account).bind(app.now())).await.unwrap();
    let fault = "CREATE TRIGGER broken BEFORE DELETE ON passkey \
                 BEGIN SELECT RAISE(ABORT, 'a fault that a test made'); END";
    tx.execute(sql(fault)).await.unwrap();
    tx.commit().await.unwrap();
    let path = "/portcullis/account/passkeys/7/remove/";
    let failed = ada.post(path, &[("code", &scene.code_of(&seed)), ("password", PASSWORD)]).await;
    assert_eq!(failed.status, 500, "{}", failed.text());
    assert_eq!(ada.get(ACCOUNT).await.status, 303, "the old session is over");
    ada.cookie = Some(cookie_of(&failed));
    let page = ada.get(ACCOUNT).await;
    assert!(page.status == 200 && page.text().contains("phone"), "{}", page.text());
}

#[tokio::test]
async fn staff_set_their_second_factor_up_on_a_page_and_go_on_from_there() {
    let scene = crate::agent::scene(&format!(
        "{}accounts: {{ staff_second_factor: required }}\n",
        crate::support::people::TRUSTING
    ))
    .await;
    scene.gateway.account("root", |new| new.is_superuser = true).await;
    let mut root = Browser::new(&scene.gateway);
    root.log_in("root").await;
    let small = root.get(ACCOUNT).await;
    assert!(small.status == 403 && small.text().contains(FACTOR), "{}", small.text());
    assert_eq!(root.get(FACTOR).await.status, 200);
    for path in ["/portcullis/account/sessions/end/", "/portcullis/account/agents/1/stop/"] {
        assert_eq!(root.post(path, &[]).await.status, 403, "{path}");
    }
    let begun = root.post(&format!("{FACTOR}begin/"), &[]).await.text();
    let seed = Seed::parse(&all(r"<code>([A-Z2-7]{32})</code>", &begun)[0]).unwrap();
    let on = root.post(&format!("{FACTOR}confirm/"), &[("code", &scene.code_of(&seed))]).await;
    assert_eq!(on.header("location"), Some("/portcullis/account/?factor-on"), "{}", on.text());
    root.cookie = Some(cookie_of(&on));
    assert_eq!(root.get(ACCOUNT).await.status, 200, "the whole session");
}
