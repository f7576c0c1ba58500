//! People, applications and organizations of a test's own gateway, made as the command line makes
//! them, and logged in as anyone logs in.
//!
//! Law: a test names people by their first names; what it does not say about them is the default.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis::account::{self, NewAccount, PasswordHash};
use portcullis::app::Change;
use portcullis::application::{self, NewApplication, Origin};
use portcullis::audit::{Actor, How};
use portcullis::base::{Email, Id, Secret, Slug};
use portcullis::organization::{self, New};
use portcullis::policy::Code;
use portcullis::rbac::{self, Granted};
use portcullis::store::DEFAULT_SITE;

use super::Gateway;
use super::raw::{Answer, exchange};

pub const PASSWORD: &str = "Correct-horse-9-battery";

/// An application's keys as header lines.
#[derive(Debug, Clone)]
pub struct Keys {
    pub id: Id,
    pub key: String,
    pub secret: String,
}

impl Keys {
    pub fn lines(&self) -> [String; 2] {
        [format!("X-Access-Key: {}", self.key), format!("X-Access-Secret: {}", self.secret)]
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct User {
    pub id: Id,
    pub access: String,
    pub refresh: String,
}

impl User {
    /// The header line of the access token.
    pub fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.access)
    }
}

/// A request as text, with header lines and a body.
pub fn request(method: &str, path: &str, lines: &[String], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: gw.test\r\n");
    for line in lines {
        text.extend([line, "\r\n"]);
    }
    if !body.is_empty() || method == "POST" {
        let length = body.len().to_string();
        text.extend(["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n"]);
    }
    text + "\r\n" + body
}

impl Gateway {
    /// Sends one request to the public listener.
    pub async fn send(&self, method: &str, path: &str, lines: &[String]) -> Answer {
        exchange(self.public(), request(method, path, lines, "")).await.expect("an answer")
    }

    /// `GET` as a user, with more header lines.
    pub async fn get_as(&self, user: &User, path: &str, more: &[&str]) -> Answer {
        let mut lines = vec![user.bearer()];
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        self.send("GET", path, &lines).await
    }

    /// Calls the API as JSON.
    pub async fn call(&self, method: &str, path: &str, lines: &[String], body: &serde_json::Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/api/v1/auth{path}");
        exchange(self.public(), request(method, &path, lines, &body)).await.expect("an answer")
    }

    /// Makes a change as an operator would.
    pub async fn change<T>(&self, make: impl AsyncFnOnce(&mut Change<'_>) -> T) -> T {
        let mut change = self.running.app.change(Actor::command_line()).await.expect("the store answers");
        let made = make(&mut change).await;
        change.commit().await.expect("the change is made");
        made
    }

    /// The same where it may be refused; whether it was made.
    pub async fn change_if(&self, make: impl AsyncFnOnce(&mut Change<'_>) -> bool) -> bool {
        let mut change = self.running.app.change(Actor::command_line()).await.expect("the store answers");
        make(&mut change).await && change.commit().await.is_ok()
    }

    pub async fn application(&self, name: &str, origins: &[&str]) -> Keys {
        let new = NewApplication {
            site: DEFAULT_SITE,
            name: name.to_owned(),
            description: String::new(),
            allowed_origins: origins.iter().map(|origin| Origin::parse(origin).expect("an origin")).collect(),
            redirect_uris: Vec::new(),
        };
        let (made, keys) = self.change(async |change| application::create(change, new).await.unwrap()).await;
        let secret = keys.access_secret.expose().clone();
        Keys { id: made.id, key: keys.access_key.as_str().to_owned(), secret }
    }

    /// An account `name@example.com` with [`PASSWORD`].
    pub async fn account(&self, name: &str, with: impl FnOnce(&mut NewAccount)) -> Id {
        let hash = self.running.app.hasher.hash(Secret::new(PASSWORD.to_owned())).await.expect("a hash");
        let mut new = NewAccount {
            email: Some(Email::parse(&format!("{name}@example.com")).unwrap()),
            password_hash: Some(PasswordHash::new(hash)),
            is_verified: true,
            ..NewAccount::of(DEFAULT_SITE)
        };
        with(&mut new);
        self.change(async |change| account::create(change, &new, How::Administrator).await.unwrap().id).await
    }

    /// A new account, logged in through an application.
    pub async fn user(&self, name: &str, keys: &Keys) -> User {
        let id = self.account(name, |_| {}).await;
        self.log_in(name, id, keys).await
    }

    /// Logs an account in; from an address of its own where the gateway trusts the test as a proxy.
    pub async fn log_in(&self, name: &str, id: Id, keys: &Keys) -> User {
        let email = format!("{name}@example.com");
        let body = serde_json::json!({"email": email, "password": PASSWORD});
        let lines = [&keys.lines()[..], &[elsewhere()]].concat();
        let answer = self.call("POST", "/login/email/", &lines, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = |key: &str| answer.json()[key].as_str().expect("a token").to_owned();
        User { id, access: text("access_token"), refresh: text("refresh_token") }
    }

    /// Grants a role, permission or group to an account.
    pub async fn grant(&self, account: Id, granted: Granted) {
        let definitions = self.running.app.catalogue().definitions().clone();
        self.change(async |change| rbac::grant(change, &definitions, account, &granted).await.unwrap()).await;
    }

    pub async fn revoke(&self, account: Id, granted: Granted) {
        self.change(async |change| rbac::revoke(change, account, &granted).await.unwrap()).await;
    }

    /// An organization, below another one if `parent` names one.
    pub async fn organization(&self, slug: &str, owner: Id, parent: Option<&str>) -> Id {
        let parent = match parent {
            Some(parent) => {
                let slug = Slug::parse(parent).unwrap();
                organization::by_slug(&self.running.app.db, DEFAULT_SITE, &slug).await.unwrap()
            }
            None => None,
        };
        let new = New {
            site: DEFAULT_SITE,
            name: slug,
            slug: Some(Slug::parse(slug).unwrap()),
            description: "",
            parent: parent.as_ref(),
            owner,
            max_depth: 5,
        };
        self.change(async |change| organization::create(change, new).await.unwrap().id).await
    }

    pub async fn organization_of(&self, slug: &str) -> Option<Id> {
        let slug = Slug::parse(slug).ok()?;
        let found = organization::by_slug(&self.running.app.db, DEFAULT_SITE, &slug).await.unwrap();
        found.map(|found| found.id)
    }

    pub async fn join(&self, organization: Id, account: Id, role: &str) {
        let definitions = self.running.app.catalogue().definitions().clone();
        let role = Code::parse(role).unwrap();
        self.change(async |change| {
            organization::add_member(change, &definitions, organization, account, &role).await.unwrap();
        })
        .await;
    }
}

/// The configuration of a gateway that believes the tests about where they call from.
pub const TRUSTING: &str =
    "listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0', trusted_proxies: ['127.0.0.1/32'] }\n";

/// A header line that says: from an address that nobody called from yet.
pub fn elsewhere() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("X-Forwarded-For: 10.0.{}.{}", number / 250, number % 250 + 1)
}

/// A role by its code.
pub fn role(code: &str) -> Granted {
    Granted::Role(Code::parse(code).unwrap())
}

/// A permission by its code.
pub fn permission(code: &str) -> Granted {
    Granted::Permission(Code::parse(code).unwrap())
}
