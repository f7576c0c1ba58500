//! One-time codes on the running gateway: what is sent by mail and text message, and what comes of
//! typing it. Law: the code is in the message and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit;
use portcullis::base::{Clock as _, SystemClock, SystemRandom, TestClock};
use portcullis::config;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, request};
use crate::support::raw::{Answer, exchange};
use crate::support::replica::until;
use crate::support::smtp::{Letter, Smtp};
use crate::support::{Act, Gateway, Upstream};

const SOON: Duration = Duration::from_secs(10);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A gateway that sends mail and text messages to servers of this test.
pub struct Post {
    pub gateway: Gateway,
    pub clock: Arc<TestClock>,
    pub keys: Keys,
    pub mail: Smtp,
    pub sms: Upstream,
}

impl Post {
    pub async fn start(more: &str) -> Self {
        let folder = sealed();
        let mail = Smtp::plain().await;
        let created = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        let sms = Upstream::start(move |_| Act::Answer(created.as_bytes().to_vec())).await;
        let yaml = format!(
            "preset: medium\n{TRUSTING}mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}\n\
             sms: {{ via: twilio, account: AC42, token_file: '{}', from: '+15005550006', api: 'http://{}' }}\n{more}",
            mail.address.port(),
            secret(&folder),
            sms.address
        );
        let clock = Arc::new(TestClock::at(SystemClock.now()));
        let gateway = Gateway::start_by(clock.clone(), folder, &yaml).await.unwrap_or_else(|e| panic!("{e}"));
        let keys = gateway.application("web", &[]).await;
        Self { gateway, clock, keys, mail, sms }
    }

    pub async fn call(&self, user: Option<&User>, path: &str, body: Value) -> Answer {
        let mut lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        lines.extend(user.map(User::bearer));
        self.gateway.call("POST", path, &lines, &body).await
    }

    /// The mail with this number, once it came.
    pub async fn letter(&self, number: usize) -> Letter {
        until(SOON, "the mail", async || self.mail.taken().len() >= number).await;
        self.mail.taken()[number - 1].clone()
    }

    /// The recipient and the text of the text message with this number, once it came.
    pub async fn message(&self, number: usize) -> (String, String) {
        until(SOON, "the text message", async || self.sms.count() >= number).await;
        let seen = &self.sms.seen()[number - 1];
        assert_eq!(seen.target(), "/2010-04-01/Accounts/AC42/Messages.json");
        let login =
            format!("Basic {}", portcullis::crypto::digest::base64(format!("AC42:{TOKEN}").as_bytes()));
        assert_eq!(seen.header("authorization"), Some(login.as_str()));
        let form = String::from_utf8(seen.body.clone()).unwrap();
        let value = |name: &str| {
            let pair = form.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            let plain = pair.expect("a field").replace('+', " ");
            plain
                .replace("%2B", "+")
                .replace("%3B", ";")
                .replace("%0A", "\n")
                .replace("%40", "@")
                .replace("%23", "#")
        };
        assert_eq!(value("From"), "+15005550006");
        (value("To"), value("Body"))
    }

    pub async fn codes_of_the_trail(&self) -> Vec<String> {
        let rows = audit::tail(&self.gateway.running.app.db, 0, 1000).await.unwrap();
        rows.into_iter().map(|row| row.code).collect()
    }
}

/// A folder with a seal key, which only the preset `development` makes by itself.
fn sealed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    config::make_seal_key(&folder.path().join("seal.key"), &SystemRandom).unwrap();
    folder
}

fn secret(folder: &TempDir) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("sms.token");
    std::fs::write(&path, TOKEN).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// The six digits in a message.
pub fn code_in(text: &str) -> String {
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    words.find(|word| word.len() == 6).expect("a code").to_owned()
}

/// The text of a mail, without its encoding and its header.
pub fn text_of(letter: &Letter) -> String {
    let body = letter.text.split_once("\n\n").map_or("", |(_, body)| body);
    body.replace("=\n", "").replace("=3D", "=")
}

#[tokio::test]
async fn who_registers_confirms_the_address_with_the_code_that_came() {
    let post = Post::start("").await;
    let new = json!({"email": "ada@example.com", "phone_country_code": "+33", "phone_number": "612345678",
        "password": PASSWORD});
    let made = post.call(None, "/register/", new.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let letter = post.letter(1).await;
    let (to, text) = post.message(1).await;
    assert_eq!((letter.to.as_slice(), to.as_str()), (&["ada@example.com".to_owned()][..], "+33612345678"));
    let (by_mail, by_phone) = (code_in(&text_of(&letter)), code_in(&text));
    let id = portcullis::base::Id::from_u128(0);
    let ada = post.gateway.log_in("ada", id, &post.keys).await;
    let crossed = post.call(Some(&ada), "/otp/verify/phone/", json!({"code": by_mail})).await;
    if by_mail != by_phone {
        assert_eq!((crossed.status, crossed.code().as_str()), (400, "OTP_VERIFICATION_FAILED"));
        assert!(crossed.text().contains("4 attempt(s) remaining"), "{}", crossed.text());
    }
    let email = post.call(Some(&ada), "/otp/verify/email/", json!({"code": by_mail})).await;
    assert_eq!((email.status, &email.json()["email_verified"]), (200, &json!(true)), "{}", email.text());
    let phone = post.call(Some(&ada), "/otp/verify/phone/", json!({"code": by_phone})).await;
    assert_eq!(
        (phone.status, &phone.json()["phone_number"]),
        (200, &json!("+33612345678")),
        "{}",
        phone.text()
    );
    let again = post.call(Some(&ada), "/otp/verify/email/", json!({"code": by_mail})).await;
    assert_eq!((again.status, again.code().as_str()), (400, "OTP_VERIFICATION_FAILED"));
    let lines = [&post.keys.lines()[..], &[ada.bearer()]].concat();
    let me = post.gateway.call("GET", "/me/", &lines, &Value::Null).await.json();
    assert_eq!((&me["is_email_verified"], &me["is_phone_verified"]), (&json!(true), &json!(true)));
    // Registering again answers alike, and tells the owner instead of sending a code.
    let repeated = post.call(None, "/register/", new).await;
    assert_eq!(repeated.status, 201);
    let told = post.letter(2).await;
    assert!(text_of(&told).contains("Somebody tried to register"), "{}", told.text);
}

#[tokio::test]
async fn a_code_is_asked_for_and_its_answer_does_not_hold_it() {
    let post = Post::start("").await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let asked = post.call(Some(&ada), "/otp/request/", json!({"otp_type": "email"})).await;
    let told = asked.json();
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert_eq!((&told["message"], &told["channel"]), (&json!("OTP sent"), &json!("email")));
    assert_eq!(told["masked_recipient"], "a***@example.com");
    assert!(told["otp_id"].is_string() && told["expires_at"].is_string());
    let code = code_in(&text_of(&post.letter(1).await));
    assert!(!asked.text().contains(&code));
    let soon = post.call(Some(&ada), "/otp/request/", json!({"otp_type": "email"})).await;
    assert_eq!((soon.status, soon.code().as_str()), (429, "RATE_LIMITED"));
    assert_eq!(soon.header("retry-after"), Some("60"));
    let none = post.call(Some(&ada), "/otp/request/", json!({"otp_type": "phone"})).await;
    assert_eq!((none.status, none.code().as_str()), (400, "NO_PHONE"));
    let fax = post.call(Some(&ada), "/otp/request/", json!({"otp_type": "fax"})).await;
    assert_eq!(fax.json()["details"], json!({"otp_type": ["\"fax\" is not a valid choice."]}));
    let bare = post.call(None, "/otp/request/", json!({"otp_type": "email"})).await;
    assert_eq!((bare.status, bare.code().as_str()), (401, "AUTH_REQUIRED"));
    // The tries are the account's: another address and a new code change nothing about them.
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for left in (0..5).rev() {
        let answer = post.call(Some(&ada), "/otp/verify/email/", json!({"code": wrong})).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "OTP_VERIFICATION_FAILED"));
        let said = if left > 0 { format!("{left} attempt(s)") } else { "Too many attempts".to_owned() };
        assert!(answer.text().contains(&said), "{}", answer.text());
    }
    post.clock.advance(Duration::from_secs(61));
    post.call(Some(&ada), "/otp/request/", json!({"otp_type": "email"})).await;
    let fresh = code_in(&text_of(&post.letter(2).await));
    let answer = post.call(Some(&ada), "/otp/verify/email/", json!({"code": fresh})).await;
    assert!(answer.status == 400 && answer.text().contains("too many attempts"), "{}", answer.text());
    let trail = post.codes_of_the_trail().await;
    assert_eq!(trail.iter().filter(|code| *code == "code_refused").count(), 5);
    let rows = audit::tail(&post.gateway.running.app.db, 0, 1000).await.unwrap();
    assert!(!format!("{rows:?}").contains(&format!("\"{fresh}\"")));
}

#[tokio::test]
async fn a_new_address_takes_effect_when_it_is_confirmed_and_the_old_one_is_told() {
    let post = Post::start("").await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let stolen = post.gateway.log_in("ada", ada.id, &post.keys).await;
    let lines = [&post.keys.lines()[..], &[ada.bearer()]].concat();
    let wish = json!({"email": "ada@new.example", "current_password": PASSWORD});
    let wished = post.gateway.call("PATCH", "/me/", &lines, &wish).await;
    assert_eq!((wished.status, &wished.json()["user"]["email"]), (200, &json!("ada@example.com")));
    let letter = post.letter(1).await;
    assert_eq!(letter.to, ["ada@new.example"]);
    post.clock.advance(Duration::from_secs(1));
    let code = code_in(&text_of(&letter));
    let answer = post.call(Some(&ada), "/otp/verify/email/", json!({"code": code})).await;
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &json!(true)), "{}", answer.text());
    let me = post.gateway.call("GET", "/me/", &lines, &Value::Null).await;
    assert_eq!((me.status, &me.json()["email"]), (200, &json!("ada@new.example")), "this session goes on");
    let trail = post.codes_of_the_trail().await;
    assert_eq!(trail.iter().filter(|code| *code == "contact_changed").count(), 1);
    let other = post.call(Some(&stolen), "/otp/request/", json!({"otp_type": "email"})).await;
    assert_eq!(other.status, 401, "every other session is over");
    let notice = post.letter(2).await;
    assert_eq!(notice.to, ["ada@example.com"]);
    assert!(text_of(&notice).contains("a***@new.example"), "{}", notice.text);
    let body = json!({"email": "ada@new.example", "password": PASSWORD});
    assert_eq!(post.call(None, "/login/email/", body).await.status, 200);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_the_link_of_the_configuration_and_by_no_other() {
    let post = Post::start("login: { reset: { link: 'https://app.example.com/reset' } }\n").await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let asked = json!({"email": "ada@example.com"}).to_string();
    let lines = [
        &post.keys.lines()[..],
        &[
            elsewhere(),
            "X-Forwarded-Host: evil.example".to_owned(),
            "Forwarded: host=evil.example".to_owned(),
        ],
    ]
    .concat();
    let evil = request("POST", "/api/v1/auth/password/reset/request/", &lines, &asked);
    let known = exchange(post.gateway.public(), evil.replace("gw.test", "evil.example")).await.unwrap();
    assert_eq!(known.status, 200, "{}", known.text());
    let letter = post.letter(1).await;
    let text = text_of(&letter);
    assert!(!letter.text.contains("evil.example"), "{text}");
    let (_, rest) = text.split_once("https://app.example.com/reset?token=").expect("a link");
    let token = rest.split_whitespace().next().unwrap().to_owned();
    assert!(!known.text().contains(&token) && !known.text().contains(&code_in(&text)));
    let unknown = post.call(None, "/password/reset/request/", json!({"email": "nobody@example.com"})).await;
    assert_eq!((unknown.status, unknown.json()["message"].clone()), (200, known.json()["message"].clone()));
    let new = "Another-horse-7-staple";
    let uses = (0..6).map(|n| {
        let body = json!({"token": token, "new_password": format!("{new}{n}")});
        post.call(None, "/password/reset/confirm/", body)
    });
    let answers = futures::future::join_all(uses).await;
    let won: Vec<usize> = (0..6).filter(|n| answers[*n].status == 200).collect();
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    let lines = [&post.keys.lines()[..], &[ada.bearer()]].concat();
    assert_eq!(post.gateway.call("GET", "/me/", &lines, &Value::Null).await.status, 401);
    let old = post.call(None, "/refresh/", json!({"refresh_token": ada.refresh})).await;
    assert_eq!(old.code(), "REFRESH_FAILED");
    let body = json!({"email": "ada@example.com", "password": format!("{new}{}", won[0])});
    assert_eq!(post.call(None, "/login/email/", body).await.status, 200);
    let notice = post.letter(2).await;
    assert!(text_of(&notice).contains("is another one now"), "{}", notice.text);
    let rows = audit::tail(&post.gateway.running.app.db, 0, 1000).await.unwrap();
    let log = format!("{rows:?} {:?}", post.gateway.access_log().await);
    assert!(!log.contains(&token) && !log.contains("staple"));
    for _ in 0..4 {
        post.call(None, "/password/reset/request/", json!({"email": "ada@example.com"})).await;
    }
    let same = [&post.keys.lines()[..], &["X-Forwarded-For: 10.9.9.9".to_owned()]].concat();
    let mut last = 0;
    for _ in 0..4 {
        let body = json!({"email": "ada@example.com"});
        last = post.gateway.call("POST", "/password/reset/request/", &same, &body).await.status;
    }
    assert_eq!(last, 429, "three an hour from one address");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(post.mail.taken().len() <= 3, "however many ask, one mail a minute");
}

#[tokio::test]
async fn where_nothing_can_be_sent_no_code_is_promised() {
    let gateway = Gateway::start_in(sealed(), "preset: medium\n").await.unwrap();
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let answer = gateway.call("POST", "/otp/request/", &lines, &json!({"otp_type": "email"})).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "FEATURE_DISABLED"));
}
