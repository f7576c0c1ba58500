//! Links that log in, on the running gateway: what opens them without a person behind it uses nothing
//! up, and a person gets in once. Law: a link leads to a page that the configuration lists.

use portcullis::audit;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::codes::{Post, text_of};
use crate::on_one_and_on_two;
use crate::support::forms::{Browser, LIST, cookie_of, form};
use crate::support::people::{Keys, TRUSTING, elsewhere, request};
use crate::support::raw::{Answer, exchange};
use crate::support::replica::until;
use crate::support::smtp::Smtp;
use crate::support::upstream::spawn;
use crate::support::{Gateway, Replicas, Upstream};

const PAGE: &str = "https://app.example.com/enter";
const YAML: &str = "login: { magic_link: { targets: ['https://app.example.com/enter'] } }\n";
const VERIFY: &str = "/magic-link/verify/";
const ENTER: &str = "/portcullis/link/";

impl Post {
    /// The token of the link that comes as the mail with this number.
    async fn link(&self, number: usize) -> String {
        let body = json!({"email": "ada@example.com", "validation_url": PAGE});
        let asked = self.call(None, "/magic-link/request/", body).await;
        let said = json!({"message": "If this email is registered, a magic link has been sent."});
        assert_eq!((asked.status, asked.json()), (200, said));
        token_in(&text_of(&self.letter(number).await))
    }

    async fn open(&self, method: &str, token: &str, more: &[String]) -> Answer {
        let lines = [more, &[elsewhere(), "Accept: */*".to_owned()]].concat();
        self.gateway.call(method, &format!("{VERIFY}?token={token}"), &lines, &Value::Null).await
    }
}

fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once("https://app.example.com/enter?token=").expect("a link");
    rest.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn what_opens_a_link_before_its_person_does_uses_nothing_up() {
    let post = Post::start(YAML).await;
    post.gateway.account("ada", |_| {}).await;
    let token = post.link(1).await;
    for method in ["GET", "HEAD", "GET"] {
        let seen = post.open(method, &token, &["Sec-Purpose: prefetch".to_owned()]).await;
        assert_eq!((seen.status, seen.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert_eq!(seen.header("referrer-policy"), Some("strict-origin"));
        assert_eq!(seen.header("cache-control"), Some("no-store"));
        assert!(seen.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!(seen.all("set-cookie").count(), 0);
    }
    let page = post.open("GET", &token, &[]).await.text();
    assert!(page.contains(&format!("value=\"{token}\"")) && page.contains("method=\"post\""), "{page}");
    assert!(!page.contains("<script"));
    let keys = post.keys.lines();
    assert_eq!(post.open("HEAD", &token, &keys).await.status, 200, "nothing was asked for");
    let wrong = [keys[0].clone(), "X-Access-Secret: wrong".to_owned()];
    assert_eq!(post.open("GET", &token, &wrong).await.code(), "APP_AUTH_INVALID");
    let entered = post.open("GET", &token, &keys).await;
    assert_eq!((entered.status, entered.header("referrer-policy")), (200, Some("no-referrer")));
    let told = entered.json();
    assert_eq!(told["message"], "Magic link verified successfully");
    assert_eq!(told["user"]["email"], "ada@example.com");
    assert!(told["access"].is_string() && told["access"] == told["access_token"], "{told}");
    let bearer = format!("Authorization: Bearer {}", told["access"].as_str().unwrap());
    let me = [&keys[..], &[bearer]].concat();
    assert_eq!(post.gateway.call("GET", "/me/", &me, &Value::Null).await.status, 200);
    let again = post.open("GET", &token, &keys).await;
    assert_eq!((again.status, again.code().as_str()), (401, "MAGIC_LINK_INVALID"));
    assert_eq!(again.header("referrer-policy"), Some("no-referrer"));
    let rows = audit::tail(&post.gateway.running.app.db, 0, 1000).await.unwrap();
    let log = format!("{rows:?} {:?}", post.gateway.access_log().await);
    assert!(!log.contains(&token));
}

#[tokio::test]
async fn a_person_presses_the_button_and_is_logged_in_to_pages() {
    let post = Post::start(YAML).await;
    post.gateway.account("ada", |_| {}).await;
    let token = post.link(1).await;
    let mut browser = Browser::new(&post.gateway);
    let fields = form(&[("token", &token)]);
    for origin in ["Origin: https://evil.example.com", "Origin: null"] {
        let foreign = browser.ask("POST", ENTER, &[origin.to_owned(), elsewhere()], &fields).await;
        assert_eq!((foreign.status, foreign.all("set-cookie").count()), (403, 0), "{origin}");
    }
    let entered = browser.post(ENTER, &[("token", &token)]).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some(LIST)), "{}", entered.text());
    browser.cookie = Some(cookie_of(&entered));
    assert_eq!(browser.get(LIST).await.status, 200);
    let again = browser.post(ENTER, &[("token", &token)]).await;
    assert!(again.status == 401 && again.text().contains("opens nothing"), "{}", again.text());
    assert_eq!(again.all("set-cookie").count(), 0);
    let strange = browser.post(ENTER, &[("token", "\"><script>alert(1)</script>")]).await;
    assert!(!strange.text().contains("<script"));
}

#[tokio::test]
async fn the_link_in_the_mail_is_the_configurations_whatever_the_request_says_of_hosts() {
    let post = Post::start(YAML).await;
    post.gateway.account("ada", |_| {}).await;
    let body = |page: &str| json!({"email": "ada@example.com", "validation_url": page});
    let other = post.call(None, "/magic-link/request/", body("https://evil.example/enter")).await;
    assert_eq!((other.status, other.code().as_str()), (400, "VALIDATION_ERROR"));
    let evil = ["X-Forwarded-Host: evil.example".to_owned(), "Forwarded: host=evil.example".to_owned()];
    let lines = [&post.keys.lines()[..], &[elsewhere()], &evil].concat();
    let asked = request("POST", "/api/v1/auth/magic-link/request/", &lines, &body(PAGE).to_string());
    let asked = exchange(post.gateway.public(), asked.replace("gw.test", "evil.example")).await.unwrap();
    assert_eq!(asked.status, 200, "{}", asked.text());
    let letter = post.letter(1).await;
    assert!(!letter.text.contains("evil.example"), "{}", letter.text);
    assert_eq!(letter.to, ["ada@example.com"]);
    let subject = letter.text.lines().find(|line| line.starts_with("Subject:")).unwrap();
    assert!(!subject.contains(&token_in(&text_of(&letter))));
    let same = [&post.keys.lines()[..], &["X-Forwarded-For: 10.9.9.9".to_owned()]].concat();
    let mut last = 0;
    for _ in 0..4 {
        last = post.gateway.call("POST", "/magic-link/request/", &same, &body(PAGE)).await.status;
    }
    assert_eq!(last, 429, "three an hour from one address");
}

async fn follow(gateway: &Gateway, keys: &Keys, token: &str) -> Answer {
    let lines = [&keys.lines()[..], &[elsewhere()]].concat();
    gateway.call("GET", &format!("{VERIFY}?token={token}"), &lines, &Value::Null).await
}

on_one_and_on_two! {
    async fn of_sixty_four_who_follow_one_link_exactly_one_gets_in(dialect: Dialect) {
        let mail = Smtp::plain().await;
        let way = format!(
            "mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}\n",
            mail.address.port()
        );
        let replicas = Replicas::on(dialect, &format!("{TRUSTING}{way}{YAML}")).await;
        let keys = replicas.here.application("web", &[]).await;
        let ada = replicas.here.account("ada", |_| {}).await;
        let lines = [&keys.lines()[..], &[elsewhere()]].concat();
        let body = json!({"email": "ada@example.com", "validation_url": PAGE});
        assert_eq!(replicas.there.call("POST", "/magic-link/request/", &lines, &body).await.status, 200);
        until(std::time::Duration::from_secs(10), "the mail", async || !mail.taken().is_empty()).await;
        let token = token_in(&text_of(&mail.taken()[0]));
        let uses: Vec<_> = (0..64)
            .map(|number| {
                let (gateway, keys, token) = (replicas.nth(number).clone(), keys.clone(), token.clone());
                spawn(async move { follow(&gateway, &keys, &token).await })
            })
            .collect();
        let mut got_in = 0;
        for one in uses {
            let answer = one.await.unwrap();
            match answer.status {
                200 => got_in += 1,
                // A Redis that a crowded machine lets wait counts as silent.
                503 => {}
                _ => assert_eq!(answer.code(), "MAGIC_LINK_INVALID", "{}", answer.text()),
            }
        }
        assert_eq!(got_in, 1);
        let app = &replicas.here.running.app;
        assert_eq!(portcullis::session::live_of(&app.db, ada, app.now()).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_links_token_is_no_access_token() {
    let upstream = Upstream::echo().await;
    let post = Post::start(&format!(
        "{YAML}upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }} ]\n",
        upstream.address
    ))
    .await;
    post.gateway.account("ada", |_| {}).await;
    let token = post.link(1).await;
    for scheme in ["Bearer", "AgentBearer"] {
        let line = format!("Authorization: {scheme} {token}");
        assert_eq!(post.gateway.send("GET", "/mine", &[line]).await.status, 401, "{scheme}");
    }
    assert_eq!(upstream.count(), 0);
}
