//! A browser without JavaScript: it keeps one cookie and sends forms, over plain HTTP.
//!
//! Law: it says where a form comes from as browsers do; what it sends otherwise is for the test to say.

use regex::Regex;

use super::Gateway;
use super::people::{PASSWORD, elsewhere};
use super::raw::{Answer, exchange};

pub const LOGIN: &str = "/portcullis/login/";
pub const LIST: &str = "/portcullis/approvals/";

/// A browser: it keeps one cookie and sends forms as browsers do.
pub struct Browser<'a> {
    gateway: &'a Gateway,
    pub cookie: Option<String>,
}

impl<'a> Browser<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, cookie: None }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.gateway.public())
    }

    pub async fn ask(&self, method: &str, path: &str, lines: &[String], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.gateway.public());
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: portcullis_session={cookie}"));
        for line in lines.iter().chain(&cookie) {
            text.extend([line, "\r\n"]);
        }
        if method == "POST" {
            let kind = "Content-Type: application/x-www-form-urlencoded";
            text.extend([kind, "\r\nContent-Length: ", &body.len().to_string(), "\r\n"]);
        }
        exchange(self.gateway.public(), text + "\r\n" + body).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Sends a form as a page of ours has it, with the secret that stands in all of them.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_by(path, fields, &[]).await
    }

    /// The same from an address that nobody sent anything from yet, where the gateway believes that.
    pub async fn post_elsewhere(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_by(path, fields, &[elsewhere()]).await
    }

    async fn post_by(&self, path: &str, fields: &[(&str, &str)], more: &[String]) -> Answer {
        // Whoever must do one thing first sees a form on the page of that only.
        let mut secret = secret_in(&self.get(LIST).await.text());
        for page in ["/portcullis/account/second-factor/", "/portcullis/account/password/"] {
            if secret.is_none() && self.cookie.is_some() {
                secret = secret_in(&self.get(page).await.text());
            }
        }
        let csrf = secret.as_deref().map(|secret| ("csrf", secret));
        let fields: Vec<_> = fields.iter().copied().chain(csrf).collect();
        let lines = [more, &[format!("Origin: {}", self.origin())]].concat();
        self.ask("POST", path, &lines, &form(&fields)).await
    }

    pub async fn log_in(&mut self, name: &str) {
        let email = format!("{name}@example.com");
        let fields = [("email", email.as_str()), ("password", PASSWORD), ("next", LIST)];
        let answer = self
            .ask("POST", LOGIN, &[format!("Origin: {}", self.origin()), elsewhere()], &form(&fields))
            .await;
        // Who must do one thing first is led to where it is done.
        let location = answer.header("location").unwrap_or_default();
        assert_eq!(answer.status, 303, "{}", answer.text());
        let first = ["/portcullis/account/second-factor/", "/portcullis/account/password/"];
        assert!(location == LIST || first.contains(&location), "{location}");
        self.cookie = Some(cookie_of(&answer));
    }

    /// The secret in the forms of a page.
    pub async fn secret(&self, path: &str) -> String {
        let page = self.get(path).await.text();
        secret_in(&page).unwrap_or_else(|| panic!("a form in {page}"))
    }
}

fn secret_in(page: &str) -> Option<String> {
    let field = Regex::new(r#"name="csrf" value="([A-Za-z0-9_-]+)""#).unwrap();
    Some(field.captures(page)?[1].to_owned())
}

pub fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").expect("a cookie");
    let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
    assert_eq!(name, "portcullis_session");
    value.to_owned()
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02x}"));
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&")
}
