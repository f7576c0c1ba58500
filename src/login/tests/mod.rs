//! Logging in as clients see it: rows of the table, answered on a real store.

mod code;
mod cookie;
mod factor;
mod keyless;
mod link;
mod lock;
mod password;
mod reset;
mod sessions;
mod way_in;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ::http::header::HeaderMap;
use ::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::rows;
use crate::account::{self, Account, NewAccount, PasswordHash, Reference};
use crate::app::App;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, How};
use crate::base::random::SeededRandom;
use crate::base::{Email, Id, Number, Phone, Timestamp};
use crate::crypto::key::{Algorithm, SigningKey};
use crate::crypto::keyring::{Keyring, Member, Purpose};
use crate::http::cookie::Cookies;
use crate::http::{Body, Call, CallHead, Found, Table, law};
use crate::principal::{ApplicationFacts, Principal};
use crate::session;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const PASSWORD: &str = "SecureP@ss1!x";
const WRONG: &str = "SecureP@ss1!y";

/// An answer, as far as a client can tell answers apart.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.body))
    }

    fn verdict(&self) -> (u16, &str) {
        (self.status, self.code())
    }
}

/// What a request carries besides its body.
#[derive(Clone, Default)]
struct Carried {
    principal: Option<Arc<Principal>>,
    application: Option<Arc<ApplicationFacts>>,
    cookie: Option<String>,
    origin: Option<String>,
}

struct Scene {
    app: TestApp,
    table: Table,
}

fn ring() -> Keyring {
    Keyring::new(vec![Member {
        purpose: Purpose::Access,
        key: SigningKey::generate(Algorithm::EdDsa, &SeededRandom::new(3)).unwrap(),
        active_from: Timestamp::from_millis(0),
        published_until: None,
    }])
}

impl Scene {
    async fn on(store: TestStore, yaml: &'static str) -> Self {
        let app = TestApp::on(
            store,
            With { yaml, reactions: vec![session::react, crate::otp::react], appliers: vec![] },
        )
        .await;
        app.set_keyring(ring());
        Self { app, table: Table::new("/api/v1/auth", rows()) }
    }

    async fn new() -> Self {
        Self::on(TestStore::sqlite().await, "").await
    }

    async fn with(yaml: &'static str) -> Self {
        Self::on(TestStore::sqlite().await, yaml).await
    }

    /// A person with e-mail address, phone number and [`PASSWORD`].
    async fn ada(&self) -> Account {
        self.person(|_| {}).await
    }

    async fn person(&self, change_it: impl FnOnce(&mut NewAccount)) -> Account {
        let hash = self.app.hasher.hash(crate::base::Secret::new(PASSWORD.to_owned())).await.unwrap();
        let mut new = NewAccount {
            email: Some(Email::parse("ada@example.com").unwrap()),
            phone: Some(Phone::parse("+33612345678").unwrap()),
            password_hash: Some(PasswordHash::new(hash)),
            ..NewAccount::of(DEFAULT_SITE)
        };
        change_it(&mut new);
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let account = account::create(&mut change, &new, How::Administrator).await.unwrap();
        change.commit().await.unwrap();
        account
    }

    async fn stored(&self) -> Account {
        let email = Reference::Email(Email::parse("ada@example.com").unwrap());
        account::find(&self.app.db, DEFAULT_SITE, &email).await.unwrap().unwrap()
    }

    async fn send_through(
        &self,
        app: &Arc<App>,
        method: Method,
        path: &str,
        body: &Value,
        with: Carried,
    ) -> Answer {
        let full = format!("/api/v1/auth{path}");
        let Found::Row(row, params) = self.table.find(&method, &full) else { panic!("{path} is a row") };
        let head = CallHead {
            request_id: "r-1".to_owned(),
            method,
            path: full.clone(),
            params,
            query: String::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: Some(
                "Mozilla/5.0 (X11; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0".to_owned(),
            ),
            origin: with.origin,
            org_slug: None,
            cookies: Cookies::parse(with.cookie.as_deref()),
            idempotency_key: None,
            agent: None,
            bearer: None,
        };
        let call = Call { app: app.clone(), principal: with.principal, application: with.application, head };
        let body = Body { content_type: Some("application/json".to_owned()), bytes: body.to_string().into() };
        let reply = row.answer(call, body).await;
        assert_eq!(reply.headers["cache-control"], "no-store", "{path}");
        let body = serde_json::from_slice(&reply.body).unwrap();
        Answer { status: reply.status.as_u16(), headers: reply.headers, body }
    }

    async fn send(&self, path: &str, body: Value, with: Carried) -> Answer {
        self.send_through(&self.app.app, Method::POST, path, &body, with).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(path, body, Carried::default()).await
    }

    async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.post("/login/email/", json!({"email": email, "password": password})).await
    }

    /// Ada logs in; the answer.
    async fn in_as_ada(&self) -> Answer {
        let answer = self.log_in("ada@example.com", PASSWORD).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// Who calls with the tokens of this answer, as the gate would find out.
    async fn caller(&self, answer: &Answer) -> Carried {
        let (keys, config) = (self.app.keyring(), self.app.config());
        let token = answer.text("access_token");
        let claims = session::read_access(&keys, &config.tokens, token, self.app.now()).unwrap();
        let session = session::by_id(&self.app.db, claims.sid).await.unwrap().unwrap();
        let account = account::by_id(&self.app.db, claims.sub).await.unwrap().unwrap();
        let assignments = crate::policy::Assignments::default();
        let principal = Principal {
            account: account.facts().into(),
            session: session.facts(),
            rights: self.app.catalogue().rights(&assignments).into(),
            assignments: assignments.into(),
            memberships: [].into(),
        };
        Carried { principal: Some(Arc::new(principal)), ..Carried::default() }
    }

    async fn live(&self, account: &Account) -> usize {
        session::live_of(&self.app.db, account.id, self.app.now()).await.unwrap().len()
    }

    async fn codes(&self) -> Vec<String> {
        audit::tail(&self.app.db, 0, 1000).await.unwrap().into_iter().map(|row| row.code).collect()
    }

    /// How many hashes `run` costs.
    async fn hashes<T>(&self, run: impl Future<Output = T>) -> (u64, T) {
        let before = self.app.hasher.performed();
        let outcome = run.await;
        (self.app.hasher.performed() - before, outcome)
    }
}

fn application(id: u128) -> Carried {
    let facts = ApplicationFacts {
        id: Id::from_u128(id),
        number: Number(1),
        name: "shop".into(),
        allowed_origins: Arc::new([]),
    };
    Carried { application: Some(Arc::new(facts)), ..Carried::default() }
}

#[test]
fn the_rows_keep_the_laws_of_the_table() {
    assert_eq!(law::breaches(&Table::new("/api/v1/auth", rows())), Vec::<String>::new());
}
