//! Who is kept away from the pages of administrators, over real sockets: whoever sends slowly, whoever is there for
//! one step alone, and whoever takes the trail along again and again.
//! Law: a page lets nobody do what its endpoint would not let them do at that moment, nor more often.

use portcullis::audit;
use portcullis::session;
use serde_json::Value;

use crate::admin_page::{ADMIN, rows};
use crate::rights::Scene;
use crate::support::Gateway;
use crate::support::forms::{Browser, LOGIN, form};
use crate::support::people::{Keys, TRUSTING, elsewhere, permission};
use crate::support::raw::{Answer, Client};

const FILE: &str = "/portcullis/admin/audit/file/";

fn regenerate(keys: &Keys) -> String {
    format!("/portcullis/admin/applications/{}/regenerate/", keys.id)
}

/// Sends a form of ours in two pieces, between which this happens.
async fn post_slowly(
    scene: &Scene,
    browser: &Browser<'_>,
    path: &str,
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    let secret = browser.secret(ADMIN).await;
    let body = form(&[("csrf", &secret), ("sure", "yes"), ("format", "csv")]);
    let (first, rest) = body.split_at(body.len() / 2);
    let (origin, length) = (browser.origin(), body.len());
    let cookie = browser.cookie.as_deref().unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nCookie: portcullis_session={cookie}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n",
        scene.gateway.public()
    );
    let mut client = Client::connect(scene.gateway.public()).await;
    client.send(head).await;
    // A body is asked for when its sender was judged.
    assert_eq!(client.answer().await.unwrap().status, 100);
    client.send(first).await;
    meanwhile().await;
    client.send(rest).await;
    client.answer().await.unwrap()
}

fn is_led(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").is_some_and(|to| to.starts_with(LOGIN))
}

#[tokio::test]
async fn whoever_sends_a_form_slowly_is_judged_when_all_of_it_is_here() {
    let scene = Scene::new().await;
    let (clerk, shop) = (scene.clerk.id, scene.gateway.application("shop", &[]).await);
    let rights = [permission("applications"), permission("security.view")];
    for right in &rights {
        scene.gateway.grant(clerk, right.clone()).await;
    }
    let browser = scene.browser("clerk").await;
    let done = post_slowly(&scene, &browser, &regenerate(&shop), async || {}).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(scene.rows_of("app_credentials_regenerated").await, 1);
    let taken = post_slowly(&scene, &browser, FILE, async || {}).await;
    assert_eq!(taken.status, 200, "{}", taken.text());

    let paths = [regenerate(&shop), FILE.to_owned()];
    for (path, right) in paths.iter().zip(rights) {
        let lost = async || scene.gateway.revoke(clerk, right.clone()).await;
        let refused = post_slowly(&scene, &browser, path, lost).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
        scene.gateway.grant(clerk, right).await;
    }
    for path in &paths {
        let browser = scene.browser("clerk").await;
        let ended = async || {
            scene
                .gateway
                .change(async |change| session::log_out_everywhere(change, clerk).await.unwrap())
                .await;
        };
        let refused = post_slowly(&scene, &browser, path, ended).await;
        assert!(is_led(&refused), "{path}: {refused:?}");
    }
    assert_eq!(scene.rows_of("app_credentials_regenerated").await, 1);
    assert_eq!(scene.rows_of("audit_exported").await, 1);
}

#[tokio::test]
async fn the_trail_is_taken_along_as_often_by_page_as_by_its_endpoint() {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.clerk.id, permission("security.view")).await;
    let clerk = scene.browser("clerk").await;
    for _ in 0..10 {
        let file = clerk.post(FILE, &[("format", "csv")]).await;
        assert_eq!(file.status, 200, "{}", file.text());
    }
    let refused = clerk.post(FILE, &[("format", "csv")]).await;
    assert!(refused.status == 429 && refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(scene.rows_of("audit_exported").await, 10);
    let path = "/admin/audit-logs/export/?format=csv";
    assert_eq!(scene.call(&scene.clerk, "GET", path, Value::Null).await.status, 429, "one limit for both");
}

#[tokio::test]
async fn a_session_for_one_step_opens_no_page_of_administrators() {
    let gateway = Gateway::start(&format!("{TRUSTING}accounts: {{ staff_second_factor: required }}\n")).await;
    gateway.account("root", |new| new.is_superuser = true).await;
    gateway.account("mae", |new| new.must_change_password = true).await;
    let happened = async || audit::tail(&gateway.running.app.db, 0, 10_000).await.unwrap().len();
    for (name, step, said) in [
        ("root", "/portcullis/account/second-factor/", "Set up a second factor first"),
        ("mae", "/portcullis/account/password/", "Choose a new password first"),
    ] {
        let mut browser = Browser::new(&gateway);
        browser.log_in(name).await;
        let secret = browser.secret(step).await;
        let (body, before) = (form(&[("csrf", &secret), ("sure", "yes"), ("name", "x")]), happened().await);
        let origin = format!("Origin: {}", browser.origin());
        for (method, body) in [("GET", ""), ("POST", body.as_str())] {
            for row in rows(method) {
                let path = row.path().replace("{id}", "1");
                let refused = browser.ask(method, &path, &[origin.clone(), elsewhere()], body).await;
                assert!(
                    refused.status == 403 && refused.text().contains(said),
                    "{method} {path} as {name}: {} {}",
                    refused.status,
                    refused.text()
                );
            }
        }
        assert_eq!(happened().await, before, "nothing happened");
    }
}
