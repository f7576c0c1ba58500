//! Logging in with passwords of a directory on the running gateway, against a real slapd: by a search
//! over ldaps and by names over StartTLS.
//! Law: an account is opened by an entry that is its own, and by nothing that an entry only says.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use portcullis::account::{self, Reference};
use portcullis::audit;
use portcullis::base::{Clock as _, Email, Id, SystemClock, TestClock};
use portcullis::factor::Seed;
use portcullis::login;
use portcullis::store::{DEFAULT_SITE, Dialect};
use serde_json::{Value, json};

use crate::on_one_and_on_two;
use crate::support::Gateway;
use crate::support::directory::{KNOWN, PEOPLE, Slapd};
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere};
use crate::support::raw::{Answer, exchange};
use crate::support::replica::Replicas;

/// One installation with a directory.
pub struct Scene {
    pub all: Replicas,
    pub clock: Arc<TestClock>,
    keys: Keys,
}

impl Scene {
    pub async fn with(dialect: Dialect, login: &str) -> Self {
        let clock = Arc::new(TestClock::at(SystemClock.now()));
        let all = Replicas::start_by(clock.clone(), dialect, &format!("{TRUSTING}{login}")).await;
        let keys = all.here.application("web", &[]).await;
        Self { all, clock, keys }
    }

    pub fn gateway(&self) -> &Gateway {
        &self.all.here
    }

    pub async fn ask(&self, method: &str, user: Option<&User>, path: &str, body: &Value) -> Answer {
        let mut lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        lines.extend(user.map(User::bearer));
        self.gateway().call(method, path, &lines, body).await
    }

    pub async fn enter(&self, username: &str, password: &str) -> Answer {
        let body = json!({"username": username, "password": password, "device_info": "v=1|os=linux"});
        self.ask("POST", None, "/login/ldap/", &body).await
    }

    async fn account(&self, email: &str) -> Option<account::Account> {
        let reference = Reference::Email(Email::parse(email).unwrap());
        account::find(&self.gateway().running.app.db, DEFAULT_SITE, &reference).await.unwrap()
    }

    async fn accounts(&self) -> Vec<account::Account> {
        account::list(&self.gateway().running.app.db, DEFAULT_SITE, 1000, 0).await.unwrap()
    }

    pub async fn trail(&self) -> String {
        format!("{:?}", audit::tail(&self.gateway().running.app.db, 0, 1000).await.unwrap())
    }
}

fn user_of(answer: &Answer) -> User {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let text = |key: &str| told[key].as_str().expect("a token").to_owned();
    let id = told["user"]["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(Id::from_u128(0));
    User { id, access: text("access_token"), refresh: text("refresh_token") }
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

on_one_and_on_two! {
    async fn whoever_the_directory_knows_logs_in_and_comes_back_to_the_same_account(dialect: Dialect) {
        let slapd = Slapd::here();
        for way in [slapd.searched("dc=example,dc=com", "    emails: verified\n"), slapd.named("    emails: verified\n")] {
            let scene = Scene::with(dialect, &way).await;
            let first = user_of(&scene.enter("ada", KNOWN).await);
            let made = scene.account("ada@example.com").await.expect("an account");
            assert!(made.is_email_verified && made.password_hash.is_none());
            assert_eq!((made.first_name.as_str(), made.last_name.as_str()), ("ada", "Directory"));
            let second = user_of(&scene.enter("ADA", KNOWN).await);
            assert_eq!(scene.accounts().await.len(), 1, "a directory does not mind the case");
            let me = scene.ask("GET", Some(&second), "/me/", &Value::Null).await;
            assert_eq!(me.json()["email"], "ada@example.com", "{}", me.text());
            let list = scene.ask("GET", Some(&first), "/social/connections/", &Value::Null).await.json();
            assert_eq!((&list[0]["provider"], &list[0]["is_usable"]), (&json!("ldap"), &json!(true)));
            // What opens the account alone is not taken away.
            let path = format!("/social/connections/{}/", list[0]["id"].as_str().unwrap());
            let kept = scene.ask("DELETE", Some(&first), &path, &json!({})).await;
            assert_eq!(refusal(&kept), is(409, "LAST_FACTOR"));
            user_of(&scene.enter("o,reilly", KNOWN).await);
            assert_eq!(scene.accounts().await.len(), 2);
            assert!(scene.trail().await.contains("ldap"));
        }
    }

    async fn who_is_unknown_or_wrong_is_told_the_same_and_counted(dialect: Dialect) {
        let slapd = Slapd::here();
        for way in [slapd.searched("dc=example,dc=com", ""), slapd.named("")] {
            let scene = Scene::with(dialect, &way).await;
            let wrong = scene.enter("grace", "wrong").await;
            assert_eq!(refusal(&wrong), is(401, "LOGIN_FAILED"));
            let told = |answer: &Answer| {
                let mut body = answer.json();
                body.as_object_mut().unwrap().remove("request_id");
                (answer.status, body, answer.all("set-cookie").count(), answer.header("retry-after").is_some())
            };
            // Of what was typed nothing is an operator; `twin` is two people to a search.
            for name in [
                "nobody", "*", "grac*", "grace)(uid=*", "grace,ou=people", "ada\\2a", "#grace", "(", "cn=gateway",
                "grace+uid=ada", "\\", "\"grace\"", "ada)(|(uid=ada", "dc=example",
            ] {
                assert_eq!(told(&scene.enter(name, KNOWN).await), told(&wrong), "{name}");
            }
            let is_searched = way.contains("search:");
            assert_eq!(scene.enter("twin", KNOWN).await.status == 401, is_searched, "two people of one name");
            for (name, password) in [("ada", ""), ("", KNOWN), ("two words", KNOWN), ("ada\u{0}", KNOWN), ("ädä", KNOWN)] {
                assert_eq!(refusal(&scene.enter(name, password).await), is(400, "VALIDATION_ERROR"), "{name}");
            }
            // The last try there is, is the last: also with the right password, in any case, on all replicas.
            for _ in 0..20 {
                scene.enter("edsger", "wrong").await;
            }
            assert_eq!(refusal(&scene.enter("EDSGER", KNOWN).await), is(423, "ACCOUNT_LOCKED"));
            scene.clock.advance(Duration::from_hours(30));
            user_of(&scene.enter("edsger", KNOWN).await);
            // As much is done for whoever is not there, so that it takes as long here.
            let written_for = async |name: &str| {
                let rows = async || audit::tail(&scene.gateway().running.app.db, 0, 1000).await.unwrap();
                let before = rows().await.len();
                for _ in 0..10 {
                    scene.enter(name, "wrong").await;
                }
                // What is written down beside it, of mail that nobody takes, is of nobody's try.
                let codes = rows().await.split_off(before).into_iter().map(|row| row.code);
                codes.filter(|code| code != "notice_given_up").collect::<Vec<_>>()
            };
            assert_eq!(written_for("edsger").await, written_for("nobody-else").await);
            let all = format!("{}{}", scene.trail().await, scene.gateway().running.app.metrics.render());
            assert!(!all.contains(KNOWN) && !all.contains(&slapd.password) && !all.contains("edsger"));
            assert!(all.contains("portcullis_logins_total{method=\"ldap\",result=\"bad_credentials\"}"));
        }
    }

    async fn a_person_of_many_names_has_no_more_tries_than_one_of_one(dialect: Dialect) {
        let slapd = Slapd::here();
        let way = slapd.searched(PEOPLE, "    emails: verified\n");
        let way = way.replace("(uid={username})", "(|(uid={username})(mail={username})(cn={username}))");
        let scene = Scene::with(dialect, &way).await;
        user_of(&scene.enter("ada", KNOWN).await);
        // `TRUSTING` is `development`: ten tries. Under each name there are some left.
        for name in ["ada", "ada@example.com"] {
            for _ in 0..6 {
                assert_eq!(refusal(&scene.enter(name, "wrong").await), is(401, "LOGIN_FAILED"), "{name}");
            }
        }
        // Also the right one is not tried any more, and nobody is told that the two are one.
        assert_eq!(refusal(&scene.enter("ada@example.com", KNOWN).await), is(401, "LOGIN_FAILED"));
        let id = scene.account("ada@example.com").await.unwrap();
        let sought = audit::Sought { account: Some(id.id), ..audit::Sought::default() };
        let rows = audit::tail_of(&scene.gateway().running.app.db, &sought, 0, 1000).await.unwrap();
        let failed = rows.iter().filter(|row| row.code == "login_failed").count();
        assert_eq!(failed, 13, "they are the account's, and are forgotten with it");
        scene.gateway().change(async |change| assert!(login::unlock(change, &id).await.unwrap())).await;
        user_of(&scene.enter("ada@example.com", KNOWN).await);
        // One that is through begins anew.
        for _ in 0..2 {
            for _ in 0..9 {
                scene.enter("ada@example.com", "wrong").await;
            }
            user_of(&scene.enter("ada@example.com", KNOWN).await);
        }
    }

    async fn many_first_logins_at_once_make_one_account(dialect: Dialect) {
        let slapd = Slapd::here();
        let scene = Scene::with(dialect, &slapd.searched(PEOPLE, "    timeout: 20s\n")).await;
        let tries = (0..64).map(|number| {
            let body = json!({"username": "ada", "password": KNOWN, "device_info": "v=1|os=linux"});
            let lines = [&scene.keys.lines()[..], &[elsewhere()]].concat();
            let gateway = scene.all.nth(number);
            async move { gateway.call("POST", "/login/ldap/", &lines, &body).await }
        });
        let all = join_all(tries).await;
        let count = |status: u16| all.iter().filter(|answer| answer.status == status).count();
        // Those that come after the last try that there is, while none of the others is through: of the name, or
        // of the account that has come to be, of which nobody is told.
        let is_known = |answer: &&Answer| {
            matches!(answer.status, 200 | 423 | 503) || refusal(answer) == is(401, "LOGIN_FAILED")
        };
        let others: Vec<String> = all.iter().filter(|answer| !is_known(answer)).map(Answer::text).collect();
        assert!(others.is_empty(), "{others:?}");
        assert!(count(200) >= 1, "{}", all[0].text());
        assert_eq!(scene.accounts().await.len(), 1);
    }

    async fn an_account_that_was_there_before_is_not_taken_over(dialect: Dialect) {
        let slapd = Slapd::here();
        // An address that is only claimed finds nobody, and is not given away either.
        let scene = Scene::with(dialect, &slapd.searched(PEOPLE, "")).await;
        let ada = scene.gateway().account("ada", |_| {}).await;
        user_of(&scene.enter("ada", KNOWN).await);
        let all = scene.accounts().await;
        assert_eq!(all.len(), 2);
        let other = all.iter().find(|account| account.id != ada).unwrap();
        assert!(other.email.is_none() && other.pending_email.is_some());

        let scene = Scene::with(dialect, &slapd.searched(PEOPLE, "    emails: verified\n")).await;
        let keys = scene.keys.clone();
        let ada = scene.gateway().user("ada", &keys).await;
        assert_eq!(refusal(&scene.enter("ada", KNOWN).await), is(401, "DIRECTORY_AUTH_FAILED"));
        // Its owner connects it, with a right password of the directory, and what a fresh proof asks for.
        scene.clock.advance(Duration::from_mins(16));
        let ada = scene.gateway().ask_anew(&scene, &ada).await;
        let link = |password: &str, own: Option<&str>| {
            json!({"username": "ada", "password": password, "current_password": own})
        };
        let link = async |password: &str, own: Option<&str>| {
            scene.ask("POST", Some(&ada), "/ldap/link/", &link(password, own)).await
        };
        assert_eq!(refusal(&link(KNOWN, None).await), is(400, "REAUTH_REQUIRED"));
        assert_eq!(refusal(&link(KNOWN, Some("wrong")).await), is(400, "INVALID_PASSWORD"));
        assert_eq!(refusal(&link("wrong", Some(PASSWORD)).await), is(401, "DIRECTORY_AUTH_FAILED"));
        assert_eq!(link(KNOWN, Some(PASSWORD)).await.status, 201);
        assert_eq!(refusal(&link(KNOWN, Some(PASSWORD)).await), is(409, "SOCIAL_ALREADY_LINKED"));
        user_of(&scene.enter("ada", KNOWN).await);
        assert_eq!(scene.accounts().await.len(), 1);

        let scene = Scene::with(dialect, &slapd.searched(PEOPLE, "    emails: verified\n    link: verified\n")).await;
        scene.gateway().account("ada", |_| {}).await;
        scene.gateway().account("grace", |new| new.is_verified = false).await;
        user_of(&scene.enter("ada", KNOWN).await);
        assert_eq!(refusal(&scene.enter("grace", KNOWN).await), is(401, "DIRECTORY_AUTH_FAILED"));
        assert_eq!(scene.accounts().await.len(), 2);
    }

    async fn who_may_not_log_in_does_not_by_the_directory_either(dialect: Dialect) {
        use portcullis::account::{Activity, Ban, lock, set_activity, set_ban, unlock};
        let scene = Scene::with(dialect, &Slapd::here().searched(PEOPLE, "    emails: verified\n")).await;
        user_of(&scene.enter("ada", KNOWN).await);
        let id = scene.account("ada@example.com").await.unwrap().id;
        let make = async |what: &str| {
            let made = async |change: &mut portcullis::app::Change<'_>| {
                match what {
                    "lock" => lock(change, id, None).await,
                    "unlock" => unlock(change, id).await,
                    "ban" => set_ban(change, id, Ban::Imposed).await,
                    "unban" => set_ban(change, id, Ban::Lifted).await,
                    "off" => set_activity(change, id, Activity::Inactive).await,
                    _ => set_activity(change, id, Activity::Active).await,
                }
                .unwrap()
            };
            scene.gateway().change(made).await;
        };
        for (bad, good, status, code) in [
            ("lock", "unlock", 423, "ACCOUNT_LOCKED"),
            ("ban", "unban", 401, "LOGIN_FAILED"),
            ("off", "on", 401, "LOGIN_FAILED"),
        ] {
            make(bad).await;
            assert_eq!(refusal(&scene.enter("ada", KNOWN).await), is(status, code), "{bad}");
            let blind = scene.enter("ada", "wrong").await;
            assert_eq!(blind.json()["error"], "Invalid user name or password", "{bad}: told to nobody else");
            make(good).await;
            assert_eq!(scene.enter("ada", KNOWN).await.status, 200, "{good}");
        }
        // A door that wrong passwords for the same account have locked is locked.
        for _ in 0..20 {
            let body = json!({"email": "ada@example.com", "password": "wrong"});
            scene.ask("POST", None, "/login/email/", &body).await;
        }
        assert_eq!(refusal(&scene.enter("ada", KNOWN).await), is(423, "ACCOUNT_LOCKED"));
        scene.clock.advance(Duration::from_hours(30));
        assert_eq!(scene.enter("ada", KNOWN).await.status, 200);
    }

    async fn a_second_factor_is_asked_for_and_used_once(dialect: Dialect) {
        let scene = Scene::with(dialect, &Slapd::here().named("")).await;
        let user = user_of(&scene.enter("ada", KNOWN).await);
        let begun = scene.ask("POST", Some(&user), "/2fa/setup/", &json!({})).await;
        let seed = Seed::parse(begun.json()["secret"].as_str().unwrap()).unwrap();
        let code = || seed.code_at(scene.clock.now()).expose().clone();
        let confirmed = scene.ask("POST", Some(&user), "/2fa/confirm/", &json!({"code": code()})).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());
        scene.clock.advance(Duration::from_secs(30));
        let asked = scene.enter("ada", KNOWN).await;
        assert_eq!(refusal(&asked), is(401, "2FA_REQUIRED"));
        assert!(asked.json().get("pending_token").is_none(), "the password comes again");
        let enter = async |password: &str, code: &str| {
            let body = json!({"username": "ada", "password": password, "totp_code": code});
            scene.ask("POST", None, "/login/ldap/", &body).await
        };
        assert_eq!(refusal(&enter("wrong", &code()).await), is(401, "LOGIN_FAILED"));
        assert_eq!(refusal(&enter(KNOWN, "000000").await), is(401, "INVALID_2FA_CODE"));
        let right = code();
        assert_eq!(enter(KNOWN, &right).await.status, 200);
        assert_eq!(refusal(&enter(KNOWN, &right).await), is(401, "INVALID_2FA_CODE"), "once");
    }
}

impl Gateway {
    /// A login that is older than a fresh proof may be, and goes on by its refresh token.
    async fn ask_anew(&self, scene: &Scene, user: &User) -> User {
        let body = json!({"refresh_token": user.refresh});
        User { id: user.id, ..user_of(&scene.ask("POST", None, "/refresh/", &body).await) }
    }
}

#[tokio::test]
async fn who_gets_an_account_is_the_operators_to_say() {
    let slapd = Slapd::here();
    let closed = "accounts: { registration: { open: false } }\n";
    for (newcomers, status) in [("welcome", 200), ("registration", 403), ("refused", 403)] {
        let yaml = format!("{closed}{}", slapd.searched(PEOPLE, &format!("    newcomers: {newcomers}\n")));
        let scene = Scene::with(Dialect::Sqlite, &yaml).await;
        let answer = scene.enter("ada", KNOWN).await;
        assert_eq!(answer.status, status, "{newcomers}: {}", answer.text());
        assert!(status == 200 || answer.code() == "REGISTRATION_CLOSED");
    }
}

#[tokio::test]
async fn the_page_has_a_form_for_the_directory_and_asks_for_the_second_factor_there() {
    let form = |fields: &[(&str, &str)]| crate::support::forms::form(fields);
    let scene = Scene::with(Dialect::Sqlite, &Slapd::here().searched(PEOPLE, "    emails: verified\n")).await;
    let user = user_of(&scene.enter("ada", KNOWN).await);
    let post = async |username: &str, password: &str, code: &str| {
        let body = form(&[("username", username), ("password", password), ("code", code)]);
        let text = format!(
            "POST /portcullis/login/ldap/ HTTP/1.1\r\nHost: gw.test\r\nOrigin: {}\r\n{}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            scene.gateway().running.app.config().public_url,
            elsewhere(),
            body.len()
        );
        exchange(scene.gateway().public(), text).await.expect("an answer")
    };
    let page = scene.gateway().send("GET", "/portcullis/login/", &[]).await;
    assert!(page.text().contains("/portcullis/login/ldap/") && !page.text().contains("name=\"code\""));
    let entered = post("ada", KNOWN, "").await;
    assert_eq!(entered.status, 303, "{}", entered.text());
    assert!(entered.all("set-cookie").any(|cookie| cookie.contains("HttpOnly")));
    for (name, password) in
        [("ada", "wrong"), ("nobody", KNOWN), ("*", KNOWN), ("", KNOWN), ("ada", ""), ("<b>", KNOWN)]
    {
        let refused = post(name, password, "").await;
        assert_eq!(refused.status, 401, "{name}");
        assert!(
            refused.text().contains("user name or the password is wrong") && !refused.text().contains("<b>")
        );
        assert_eq!(refused.all("set-cookie").count(), 0);
    }
    let begun = scene.ask("POST", Some(&user), "/2fa/setup/", &json!({})).await;
    let seed = Seed::parse(begun.json()["secret"].as_str().unwrap()).unwrap();
    let code = || seed.code_at(scene.clock.now()).expose().clone();
    scene.ask("POST", Some(&user), "/2fa/confirm/", &json!({"code": code()})).await;
    scene.clock.advance(Duration::from_secs(30));
    let asked = post("ada", KNOWN, "").await;
    assert_eq!((asked.status, asked.text().matches("name=\"code\"").count()), (401, 1), "{}", asked.text());
    assert_eq!(post("ada", KNOWN, &code()).await.status, 303);
}

#[tokio::test]
async fn without_a_directory_nobody_logs_in_by_one() {
    let scene = Scene::with(Dialect::Sqlite, "").await;
    assert_eq!(refusal(&scene.enter("ada", KNOWN).await), is(404, "FEATURE_DISABLED"));
}
