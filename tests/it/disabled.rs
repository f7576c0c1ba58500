//! Accounts that may not be used any more, on every way in and with every credential that was given out
//! before, on SQLite and on PostgreSQL with two gateways.
//! Law: from the next request on nothing opens anything, whatever stopped the account.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use portcullis::account::{self, Activity, Ban};
use portcullis::app::Change;
use portcullis::audit::How;
use portcullis::base::{Clock as _, Id, Phone, SystemClock, TestClock};
use portcullis::privacy;
use portcullis::store::Dialect;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::bearer;
use crate::codes::{code_in, text_of};
use crate::on_one_and_on_two;
use crate::support::authenticator::{Authenticator, Twist};
use crate::support::directory::{KNOWN, PEOPLE, Slapd};
use crate::support::forms::{Browser, LIST};
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission};
use crate::support::provider::Provider;
use crate::support::raw::Answer;
use crate::support::replica::{until, within};
use crate::support::smtp::Smtp;
use crate::support::{Act, Gateway, Replicas, Upstream};

const SOON: Duration = Duration::from_secs(10);
const PAGE: &str = "https://app.example.com/enter";
/// Who is in the directory of the tests.
const NAMES: [&str; 4] = ["ada", "grace", "edsger", "twin"];

struct Scene {
    all: Replicas,
    clock: Arc<TestClock>,
    keys: Keys,
    mail: Smtp,
    sms: Upstream,
    acme: Provider,
    upstream: Upstream,
    _folder: TempDir,
}

/// Somebody with one of every credential.
struct Person<'a> {
    name: &'static str,
    id: Id,
    phone: Value,
    user: User,
    device: Authenticator,
    browser: Browser<'a>,
    key: String,
    agent: String,
}

/// What can be used once.
struct Once {
    code: String,
    link: String,
    challenge: Value,
    ticket: String,
}

impl Scene {
    async fn on(dialect: Dialect) -> Self {
        let clock = Arc::new(TestClock::at(SystemClock.now()));
        let acme = Provider::start(clock.clone()).await;
        let (mail, upstream) = (Smtp::plain().await, Upstream::echo().await);
        let created = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        let sms = Upstream::start(move |_| Act::Answer(created.as_bytes().to_vec())).await;
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("sms.token");
        std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let ways = format!(
            "    emails: verified\n    link: verified\n    newcomers: refused\n  otp: {{ log_in: true }}\n  \
             magic_link: {{ targets: ['{PAGE}'] }}\n  \
             passkeys: {{ rp_id: example.com, origins: ['https://app.example.com'] }}\n  social:\n{}",
            acme.yaml("acme", ", link: verified")
        );
        let yaml = format!(
            "{TRUSTING}accounts: {{ registration: {{ open: false }} }}\n{}permissions: [ {{ code: reports.read }} ]
sessions: {{ max: 50, devices: 50 }}
mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}
sms: {{ via: twilio, account: AC42, token_file: '{}', from: '+15005550006', api: 'http://{}' }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in, browser: true, agents: {{ permission: reports.read }} }}
  - {{ name: live, match: {{ path: '/live' }}, upstream: up, allow: signed_in, websocket: true }}
",
            Slapd::here().searched(PEOPLE, &ways),
            mail.address.port(),
            token.display(),
            sms.address,
            upstream.address
        );
        let all = Replicas::start_by(clock.clone(), dialect, &yaml).await;
        let keys = all.here.application("web", &[]).await;
        Self { all, clock, keys, mail, sms, acme, upstream, _folder: folder }
    }

    async fn call(&self, user: Option<&User>, path: &str, body: Value) -> Answer {
        let mut lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        lines.extend(user.map(User::bearer));
        self.all.here.call("POST", path, &lines, &body).await
    }

    async fn good(&self, user: Option<&User>, path: &str, body: Value) -> Value {
        let answer = self.call(user, path, body).await;
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer.json()
    }

    async fn person(&self, name: &'static str, number: usize) -> Person<'_> {
        let gateway: &Gateway = &self.all.here;
        let phone = Phone::parse(&format!("+3361234567{number}")).unwrap();
        let id = gateway.account(name, |new| new.phone = Some(phone)).await;
        gateway.grant(id, permission("reports.read")).await;
        let user = gateway.log_in(name, id, &self.keys).await;
        let mut device = Authenticator::new();
        let asked = self.good(Some(&user), "/webauthn/register/begin/", json!({})).await;
        let made = device.create(&asked["options"], &Twist::default());
        let body = json!({"challenge_id": asked["challenge_id"], "credential": made, "device_name": "Phone"});
        self.good(Some(&user), "/webauthn/register/complete/", body).await;
        let text = |of: Value, key: &str| of[key].as_str().expect("a text").to_owned();
        let key = text(self.good(Some(&user), "/api-keys/", json!({"name": "nightly"})).await, "key");
        let agent = self.good(Some(&user), "/ai/tokens/", json!({"permissions": ["reports.read"]})).await;
        let mut browser = Browser::new(gateway);
        browser.log_in(name).await;
        let phone = json!({"phone_country_code": "33", "phone_number": format!("61234567{number}")});
        Person { name, id, phone, user, device, browser, key, agent: text(agent, "token") }
    }

    /// One of everything that can be used once.
    async fn once(&self, person: &Person<'_>) -> Once {
        self.clock.advance(Duration::from_secs(61));
        let email = format!("{}@example.com", person.name);
        let letters = || {
            let all = self.mail.taken().into_iter().filter(|letter| letter.to == [email.clone()]);
            all.map(|letter| text_of(&letter)).filter(|text| text.contains("?token=")).collect::<Vec<_>>()
        };
        let (before, messages) = (letters().len(), self.sms.count());
        self.good(None, "/login/otp/request/", person.phone.clone()).await;
        self.good(None, "/magic-link/request/", json!({"email": email, "validation_url": PAGE})).await;
        until(SOON, "mail and message", async || letters().len() > before && self.sms.count() > messages)
            .await;
        let letter = letters().pop().unwrap();
        let (_, link) = letter.split_once("?token=").unwrap();
        let message = String::from_utf8(self.sms.last().body).unwrap();
        let challenge = self.good(None, "/webauthn/authenticate/begin/", json!({"email": email})).await;
        let ticket = self.good(Some(&person.user), "/ws-ticket/", json!({})).await;
        Once {
            code: code_in(message.split_once("Body=").unwrap().1),
            link: link.split_whitespace().next().unwrap().to_owned(),
            challenge,
            ticket: ticket["ticket"].as_str().expect("a ticket").to_owned(),
        }
    }

    /// Tries every way in, and every credential; what each was answered.
    async fn try_all(&self, person: &mut Person<'_>, once: &Once) -> Vec<(&'static str, Answer)> {
        let email = format!("{}@example.com", person.name);
        self.acme
            .person(json!({"sub": format!("{}-1", person.name), "email": email, "email_verified": true}));
        let mut code = person.phone.clone();
        code["otp_code"] = json!(once.code);
        let answer = person.device.get(&once.challenge["options"], &Twist::default());
        let passkey = json!({"challenge_id": once.challenge["challenge_id"], "credential": answer});
        let identity = self.acme.id_token(&json!({"jti": once.ticket}));
        let directory = json!({"username": person.name, "password": KNOWN});
        let post = async |path: &str, body: Value| self.call(None, path, body).await;
        let get = async |path: &str, lines: &[String]| self.all.here.send("GET", path, lines).await;
        let own = [&self.keys.lines()[..], &[person.user.bearer()]].concat();
        let upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
        let upgrade = [&upgrade[..], &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]].concat();
        let upgrade: Vec<String> = upgrade.into_iter().map(str::to_owned).collect();
        let navigates = ["Sec-Fetch-Mode: navigate".to_owned(), elsewhere()];
        vec![
            ("password", post("/login/email/", json!({"email": email, "password": PASSWORD})).await),
            ("code", post("/login/otp/verify/", code).await),
            ("magic link", post("/magic-link/verify/", json!({"token": once.link})).await),
            ("passkey", post("/webauthn/authenticate/complete/", passkey).await),
            ("identity", post("/social/acme/", json!({"id_token": identity})).await),
            ("directory", post("/login/ldap/", directory).await),
            ("access token", get("/mine", &[person.user.bearer()]).await),
            ("at an endpoint", self.all.here.call("GET", "/me/", &own, &Value::Null).await),
            ("cookie", person.browser.ask("GET", "/mine", &navigates, "").await),
            ("page", person.browser.get(LIST).await),
            ("API key", get("/mine", &[format!("X-API-Key: {}", person.key)]).await),
            ("agent", get("/mine", &[bearer(&person.agent)]).await),
            ("ticket", get(&format!("/live?ticket={}", once.ticket), &upgrade).await),
            ("refresh token", post("/refresh/", json!({"refresh_token": person.user.refresh})).await),
        ]
    }
}

async fn stop(change: &mut Change<'_>, id: Id, how: &str) -> bool {
    match how {
        "locked" => account::lock(change, id, None).await.unwrap(),
        "banned" => account::set_ban(change, id, Ban::Imposed).await.unwrap(),
        "inactive" => account::set_activity(change, id, Activity::Inactive).await.unwrap(),
        _ => {
            let person = account::by_id(change.tx(), id).await.unwrap().unwrap();
            privacy::erase_now(change, &person, How::Administrator).await.is_ok()
        }
    }
}

on_one_and_on_two! {
    async fn whatever_stops_an_account_closes_every_way_in_and_ends_every_credential(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        for (number, how) in ["locked", "banned", "inactive", "deleted"].into_iter().enumerate() {
            let mut person = scene.person(NAMES[number], number).await;
            let once = scene.once(&person).await;
            let before = scene.upstream.count();
            let all = scene.try_all(&mut person, &once).await;
            for (way, answer) in &all {
                let is_open = answer.status == 200 || *way == "ticket" && answer.status != 401;
                assert!(is_open, "{} by {way}: {} {}", person.name, answer.status, answer.text());
            }
            assert_eq!(scene.upstream.count(), before + 5, "what opens routes opened them");
            let last = &all.last().unwrap().1.json();
            let text = |key: &str| last[key].as_str().expect("a token").to_owned();
            person.user = User { id: person.id, access: text("access_token"), refresh: text("refresh_token") };
            let once = scene.once(&person).await;
            let id = person.id;
            assert!(scene.all.here.change(async |change| stop(change, id, how).await).await, "{how}");
            let before = scene.upstream.count();
            for (way, answer) in scene.try_all(&mut person, &once).await {
                let is_led_away = matches!(way, "cookie" | "page") && answer.status == 303;
                let is_refused = matches!(answer.status, 401 | 403 | 423) || is_led_away;
                assert!(is_refused, "{how} by {way}: {} {}", answer.status, answer.text());
                let is_given = answer.text().contains("access_token") || answer.header("set-cookie").is_some_and(|cookie| !cookie.contains("Max-Age=0"));
                assert!(!is_given, "{how} by {way}: {}", answer.text());
            }
            assert_eq!(scene.upstream.count(), before, "{how}");
            for line in [person.user.bearer(), format!("X-API-Key: {}", person.key)] {
                let there = async || scene.all.there.send("GET", "/mine", std::slice::from_ref(&line)).await.status == 401;
                within(Duration::from_secs(2), "there too", there).await;
            }
        }
    }
}
