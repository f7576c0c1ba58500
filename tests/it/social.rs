//! Logging in at a provider with a browser, on the running gateway (contract section 13): there, back,
//! and into which account.
//! Law: who comes back is who went, once; an account is opened by an identity that is its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use portcullis::account::{self, Reference};
use portcullis::audit;
use portcullis::base::{Clock as _, Email, Id, SystemClock, TestClock};
use portcullis::factor::Seed;
use portcullis::store::{DEFAULT_SITE, Dialect};
use serde_json::{Value, json};

use crate::on_one_and_on_two;
use crate::support::forms::{LIST, LOGIN, form};
use crate::support::people::{Keys, TRUSTING, User, elsewhere};
use crate::support::provider::{CLIENT_SECRET, Provider, query_of};
use crate::support::raw::{Answer, exchange};
use crate::support::replica::Replicas;
use crate::support::{Gateway, times};

/// The same on all replicas; nobody listens there.
const PUBLIC: &str = "http://127.0.0.1:9";
pub const CALLBACK: &str = "https://app.example.com/cb";

/// One installation, and two providers that it trusts.
pub struct Scene {
    pub all: Replicas,
    pub clock: Arc<TestClock>,
    pub keys: Keys,
    pub acme: Provider,
    pub other: Provider,
}

impl Scene {
    pub async fn on(dialect: Dialect) -> Self {
        Self::with(dialect, "", "").await
    }

    /// With more settings of the gateway, and of the first provider.
    pub async fn with(dialect: Dialect, more: &str, settings: &str) -> Self {
        let clock = Arc::new(TestClock::at(SystemClock.now()));
        let acme = Provider::start(clock.clone()).await;
        let other = Provider::start(clock.clone()).await;
        let yaml = format!(
            "public_url: '{PUBLIC}'\n{TRUSTING}{more}login:\n  social:\n{}{}",
            acme.yaml("acme", &format!(", label: 'Acme & Co', audiences: [phone-client]{settings}")),
            other.yaml("other", "")
        );
        let all = Replicas::start_by(clock.clone(), dialect, &yaml).await;
        let keys = all.here.application("web", &[]).await;
        let uris = [portcullis::application::RedirectUri::parse(CALLBACK).unwrap()];
        all.here
            .change(async |change| {
                portcullis::application::set_redirects(change, keys.id, &uris).await.unwrap()
            })
            .await;
        Self { all, clock, keys, acme, other }
    }

    pub fn gateway(&self) -> &Gateway {
        &self.all.here
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser { gateway: self.gateway(), cookies: BTreeMap::new() }
    }

    pub async fn call(&self, user: Option<&User>, path: &str, body: Value) -> Answer {
        self.ask("POST", user, path, body).await
    }

    pub async fn ask(&self, method: &str, user: Option<&User>, path: &str, body: Value) -> Answer {
        let mut lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        lines.extend(user.map(User::bearer));
        self.gateway().call(method, path, &lines, &body).await
    }

    pub async fn account(&self, email: &str) -> Option<account::Account> {
        let reference = Reference::Email(Email::parse(email).unwrap());
        account::find(&self.gateway().running.app.db, DEFAULT_SITE, &reference).await.unwrap()
    }

    pub async fn trail(&self) -> String {
        format!("{:?}", audit::tail(&self.gateway().running.app.db, 0, 1000).await.unwrap())
    }

    /// How many of the answers let somebody in.
    async fn accounts(&self) -> usize {
        account::list(&self.gateway().running.app.db, DEFAULT_SITE, 1000, 0).await.unwrap().len()
    }
}

pub fn user_of(answer: &Answer) -> User {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let text = |key: &str| told[key].as_str().expect("a token").to_owned();
    User { id: Id::from_u128(0), access: text("access_token"), refresh: text("refresh_token") }
}

/// A browser that keeps its cookies and follows nothing by itself.
#[derive(Clone)]
pub struct Browser<'a> {
    pub gateway: &'a Gateway,
    pub cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let path = path.strip_prefix(PUBLIC).unwrap_or(path);
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: gw.test\r\n{}\r\n", elsewhere());
        if !self.cookies.is_empty() {
            let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text.extend(["Cookie: ", &all.join("; "), "\r\n"]);
        }
        if method == "POST" {
            let kind = "Content-Type: application/x-www-form-urlencoded";
            text.extend([kind, "\r\nOrigin: ", PUBLIC, "\r\nContent-Length: ", &body.len().to_string()]);
            text.push_str("\r\n");
        }
        let answer = exchange(self.gateway.public(), text + "\r\n" + body).await.expect("an answer");
        for cookie in answer.all("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// Goes where the button leads to; returns where the provider's door is.
    pub async fn leave_for(&mut self, provider: &str) -> String {
        let answer = self.get(&format!("/portcullis/social/{provider}/?next={LIST}")).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").expect("a door").to_owned()
    }

    /// There and back, as far as the provider lets it.
    pub async fn log_in(&mut self, provider: &Provider, name: &str) -> Answer {
        let door = self.leave_for(name).await;
        let back = provider.log_in(&door).await;
        self.get(&back).await
    }

    pub fn is_in(&self) -> bool {
        self.cookies.contains_key("portcullis_session")
    }

    /// The same browser, which talks to another gateway of the installation.
    fn at(&self, gateway: &'a Gateway) -> Self {
        Self { gateway, cookies: self.cookies.clone() }
    }
}

on_one_and_on_two! {
    async fn a_browser_logs_in_at_a_provider_and_comes_back_to_the_page_it_wanted(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let mut browser = scene.browser();
        let page = browser.get(&format!("{LOGIN}?next={LIST}")).await.text();
        assert!(page.contains("Continue with Acme &amp; Co") && page.contains("/portcullis/social/acme/?next="));
        let door = browser.leave_for("acme").await;
        let asked = query_of(&door);
        assert_eq!(asked["code_challenge_method"], "S256", "whatever the provider says that it knows");
        assert_eq!(asked["redirect_uri"], format!("{PUBLIC}/portcullis/social/acme/callback/"));
        assert_eq!((asked["state"].len(), asked["nonce"].len(), asked["code_challenge"].len()), (43, 43, 43));
        assert!(!door.contains(CLIENT_SECRET) && browser.cookies.contains_key("portcullis_social"));
        let back = scene.acme.log_in(&door).await;
        let mut there = browser.at(&scene.all.there);
        let entered = there.get(&back).await;
        assert_eq!((entered.status, entered.header("location")), (303, Some(LIST)), "{}", entered.text());
        assert!(there.is_in() && !there.cookies.contains_key("portcullis_social"));
        assert_eq!(there.get(LIST).await.status, 200);
        let made = scene.account("ada@example.com").await.expect("an account");
        assert!(made.is_email_verified && made.password_hash.is_none() && made.first_name == "Ada");

        let mut again = scene.browser();
        assert_eq!(again.log_in(&scene.acme, "acme").await.status, 303);
        assert_eq!(scene.accounts().await, 1, "the same person is the same account");
        assert_eq!(scene.acme.count("/.well-known/openid-configuration"), if dialect == Dialect::Sqlite { 1 } else { 2 });
        let trail = scene.trail().await;
        assert!(trail.contains("social_connected") && trail.contains("account_created"));
    }

    async fn what_comes_back_is_what_left_in_the_same_browser_to_the_same_provider_and_once(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let mut browser = scene.browser();
        let back = scene.acme.log_in(&browser.leave_for("acme").await).await;
        // Another browser, with a login of its own or without.
        let mut stranger = scene.browser();
        assert_eq!(stranger.get(&back).await.status, 400);
        let mut stranger = scene.browser();
        stranger.leave_for("acme").await;
        assert_eq!(stranger.get(&back).await.status, 400);
        // Another provider's way back, another state, none.
        for changed in [
            back.replace("/acme/", "/other/"),
            back.replace("state=", "state=x"),
            back.split("&state").next().unwrap().to_owned(),
        ] {
            let mut same = browser.clone();
            assert_eq!(same.get(&changed).await.status, 400, "{changed}");
            assert!(!same.is_in());
        }
        let (mut first, mut second) = (browser.clone(), browser.at(&scene.all.there));
        assert_eq!(first.get(&back).await.status, 303);
        assert_eq!(second.get(&back).await.status, 400, "once");
        assert!(!second.is_in() && scene.acme.count("/token") == 1);
        // Too late.
        let mut late = scene.browser();
        let back = scene.acme.log_in(&late.leave_for("acme").await).await;
        scene.clock.advance(Duration::from_mins(11));
        assert_eq!(late.get(&back).await.status, 400);
        assert_eq!(scene.accounts().await, 1);
    }

    async fn of_many_that_come_back_with_one_state_one_is_let_in(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let mut browser = scene.browser();
        let back = scene.acme.log_in(&browser.leave_for("acme").await).await;
        let tries = (0..64).map(|number| {
            let (mut one, back) = (browser.at(scene.all.nth(number)), back.clone());
            async move { one.get(&back).await.status }
        });
        let all = join_all(tries).await;
        let count = |status: u16| all.iter().filter(|own| **own == status).count();
        assert_eq!((count(303), count(400)), (1, 63), "{all:?}");
        assert_eq!((scene.acme.count("/token"), scene.accounts().await), (1, 1));
    }

    async fn two_first_logins_at_once_make_one_account(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        for round in 0..times(2, 20) {
            let sub = format!("new-{round}");
            scene.acme.person(json!({"sub": sub, "email": format!("{sub}@example.com"), "email_verified": true}));
            let tries = (0..8).map(|number| {
                let body = json!({"id_token": scene.acme.id_token(&json!({"jti": number}))});
                let lines = [&scene.keys.lines()[..], &[elsewhere()]].concat();
                let gateway = scene.all.nth(number);
                async move { gateway.call("POST", "/social/acme/", &lines, &body).await }
            });
            let all = join_all(tries).await;
            let new = all.iter().filter(|answer| answer.status == 200 && answer.json()["is_new_user"] == true);
            assert_eq!(new.count(), 1);
            for answer in &all {
                assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
            }
            assert_eq!(scene.accounts().await, round + 1);
        }
    }

    async fn an_account_is_found_by_address_only_where_both_sides_have_it_confirmed(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let gateway = scene.gateway();
        gateway.account("ada", |new| new.is_verified = false).await;
        gateway.account("eve", |_| {}).await;
        let squatted = scene.browser().log_in(&scene.acme, "acme").await;
        assert_eq!(squatted.status, 409, "its owner never confirmed it: {}", squatted.text());
        let mut body = json!({"id_token": scene.acme.id_token(&json!({"jti": 1}))});
        let told = scene.call(None, "/social/acme/", body).await;
        assert_eq!((told.status, told.code()), (401, "SOCIAL_AUTH_FAILED".into()));
        assert!(told.text().contains("already exists"), "{}", told.text());
        scene.acme.person(json!({"sub": "eve-1", "email": "Eve@Example.com", "email_verified": false}));
        body = json!({"id_token": scene.acme.id_token(&json!({}))});
        let told = scene.call(None, "/social/acme/", body).await;
        assert_eq!((told.status, told.code()), (401, "SOCIAL_AUTH_FAILED".into()));
        assert!(told.text().contains("is not verified"), "{}", told.text());
        let mut eve = scene.browser();
        scene.acme.person(json!({"sub": "eve-1", "email": "Eve@Example.com", "email_verified": true}));
        assert_eq!(eve.log_in(&scene.acme, "acme").await.status, 303);
        assert_eq!(scene.accounts().await, 2, "it is hers");
        // From now on by who she is, whatever the provider calls her address.
        scene.acme.person(json!({"sub": "eve-1"}));
        scene.acme.userinfo(json!({"sub": "eve-1"}));
        assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 303);
        // The same subject of another provider is somebody else.
        scene.other.person(json!({"sub": "eve-1"}));
        scene.other.userinfo(json!({"sub": "eve-1"}));
        assert_eq!(scene.browser().log_in(&scene.other, "other").await.status, 303);
        assert_eq!(scene.accounts().await, 3);
    }

    async fn a_second_factor_is_asked_for_after_coming_back_and_the_login_goes_on_once(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let user = user_of(&scene.call(None, "/social/acme/", json!({"id_token": scene.acme.id_token(&json!({}))})).await);
        let begun = scene.call(Some(&user), "/2fa/setup/", json!({})).await;
        let seed = Seed::parse(begun.json()["secret"].as_str().unwrap()).unwrap();
        let code = || seed.code_at(scene.clock.now()).expose().clone();
        assert_eq!(scene.call(Some(&user), "/2fa/confirm/", json!({"code": code()})).await.status, 200);
        scene.clock.advance(Duration::from_secs(30));

        let mut browser = scene.browser();
        let asked = browser.log_in(&scene.acme, "acme").await;
        assert!(asked.status == 401 && asked.text().contains("name=\"code\"") && !browser.is_in());
        let finish = "/portcullis/social/finish/";
        let wrong = browser.ask("POST", finish, &form(&[("code", "000000")])).await;
        assert!(wrong.status == 401 && wrong.text().contains("The code is wrong"), "{}", wrong.text());
        let mut other = scene.browser();
        assert_eq!(other.ask("POST", finish, &form(&[("code", &code())])).await.status, 400, "another browser");
        let kept = browser.clone();
        let entered = browser.ask("POST", finish, &form(&[("code", &code())])).await;
        assert_eq!((entered.status, entered.header("location")), (303, Some(LIST)), "{}", entered.text());
        assert!(browser.is_in());
        scene.clock.advance(Duration::from_secs(30));
        let mut again = kept.at(&scene.all.there);
        assert_eq!(again.ask("POST", finish, &form(&[("code", &code())])).await.status, 400, "once");

        let body = json!({"id_token": scene.acme.id_token(&json!({"jti": 2}))});
        let asked = scene.call(None, "/social/acme/", body).await;
        assert_eq!((asked.status, asked.code()), (401, "2FA_REQUIRED".into()));
        let pending = asked.json()["pending_token"].as_str().unwrap().to_owned();
        let at_other = scene.call(None, "/social/other/", json!({"pending_token": pending, "totp_code": code()})).await;
        assert_eq!(at_other.code(), "SOCIAL_AUTH_FAILED");
        let entered = scene.call(None, "/social/acme/", json!({"pending_token": pending, "totp_code": code()})).await;
        assert_eq!(entered.status, 200, "{}", entered.text());
        scene.clock.advance(Duration::from_secs(30));
        let again = scene.call(None, "/social/acme/", json!({"pending_token": pending, "totp_code": code()})).await;
        assert_eq!(again.status, 401, "{}", again.text());
    }

    async fn who_may_not_log_in_does_not_by_a_provider_either(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let mut number = 0;
        let mut try_it = async || {
            number += 1;
            let body = json!({"id_token": scene.acme.id_token(&json!({"jti": number}))});
            let answer = scene.call(None, "/social/acme/", body).await;
            let page = scene.browser().log_in(&scene.acme, "acme").await;
            assert_eq!(page.status == 303, answer.status == 200, "{}", page.text());
            (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(try_it().await.0, 200);
        let ada_id = scene.account("ada@example.com").await.unwrap().id;
        let gateway = scene.gateway();
        let make = async |what: &str| {
            use portcullis::account::{Activity, Ban, lock, set_activity, set_ban, unlock};
            gateway
                .change(async |change| {
                    match what {
                        "lock" => lock(change, ada_id, None).await,
                        "unlock" => unlock(change, ada_id).await,
                        "ban" => set_ban(change, ada_id, Ban::Imposed).await,
                        "unban" => set_ban(change, ada_id, Ban::Lifted).await,
                        "off" => set_activity(change, ada_id, Activity::Inactive).await,
                        _ => set_activity(change, ada_id, Activity::Active).await,
                    }
                    .unwrap()
                })
                .await;
        };
        for (bad, good, text) in [
            ("lock", "unlock", "Account is locked"),
            ("ban", "unban", "Account is disabled"),
            ("off", "on", "Account is disabled"),
        ] {
            make(bad).await;
            assert_eq!(try_it().await, (401, text.to_owned()));
            make(good).await;
            assert_eq!(try_it().await.0, 200);
        }
        // A door that wrong passwords have locked is locked.
        for _ in 0..20 {
            scene.call(None, "/login/email/", json!({"email": "ada@example.com", "password": "wrong"})).await;
        }
        assert_eq!(try_it().await, (401, "Account is locked".to_owned()));
        scene.clock.advance(Duration::from_hours(3));
        assert_eq!(try_it().await.0, 200);
    }
}

#[tokio::test]
async fn nobody_registers_by_a_provider_where_nobody_may() {
    let scene = Scene::with(Dialect::Sqlite, "accounts: { registration: { open: false } }\n", "").await;
    let body = json!({"id_token": scene.acme.id_token(&json!({"jti": 1}))});
    let refused = scene.call(None, "/social/acme/", body).await;
    assert_eq!((refused.status, refused.code()), (403, "REGISTRATION_CLOSED".into()));
    assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 403);
    scene.gateway().account("ada", |_| {}).await;
    assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 303, "she has an account");
}

#[tokio::test]
async fn identities_of_a_provider_that_may_not_link_find_no_account() {
    let scene = Scene::with(Dialect::Sqlite, "", ", link: never").await;
    scene.gateway().account("ada", |_| {}).await;
    assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 409);
}

#[tokio::test]
async fn nothing_that_a_provider_gave_is_kept_or_told() {
    let scene = Scene::on(Dialect::Sqlite).await;
    let mut browser = scene.browser();
    let door = browser.leave_for("acme").await;
    let back = scene.acme.log_in(&door).await;
    assert_eq!(browser.get(&back).await.status, 303);
    let token = scene.acme.id_token(&json!({}));
    assert_eq!(scene.call(None, "/social/acme/", json!({"id_token": token})).await.status, 200);
    let app = &scene.gateway().running.app;
    let lines: String = scene.gateway().access_log().await.iter().map(Value::to_string).collect();
    let config = format!("{:?}{:?}", app.config(), app.config().effective());
    let all = format!("{}{}{lines}{config}", scene.trail().await, app.metrics.render());
    let query = query_of(&back);
    for hidden in [CLIENT_SECRET, &token, &query["state"], "provider-access"] {
        assert!(!all.contains(hidden), "{hidden}");
    }
    assert!(all.contains("portcullis_logins_total{method=\"social\",result=\"success\"} 2"));
}
