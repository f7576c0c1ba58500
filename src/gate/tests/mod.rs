//! The gate without a socket: heads made from text, callers that a test knows by name, and a
//! store that a test can silence or hold up.

mod access;
mod agents;
mod apikey;
mod built_in;
mod caller;
mod crowd;
mod double;
mod identity;
mod organization;
mod route;
mod slices;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::head::{Arrival, Scheme, text_of};
use super::request_id::RequestIds;
use super::rules::{EdgeRules, Hardening};
use super::target::{Doubtful, TargetRules};
use super::*;
use crate::agent::Handout;
use crate::app::testing::{NOON, TestApp, With};
use crate::audit::Subject;
use crate::base::random::SeededRandom;
use crate::base::{Email, Id, MicroUsd, Number, Slug};
use crate::crypto::jwt;
use crate::crypto::key::{Algorithm, SigningKey};
use crate::crypto::keyring::{Keyring, Member, Purpose};
use crate::http::{ApiError, Call, Json, Nothing, Reply, Row, get, post};
use crate::organization::{Organization, Place};
use crate::policy::{Assignments, Code};
use crate::principal::{AccountFacts, ApplicationFacts, Membership, Scope, SessionFacts};
use crate::shared::Allowance;
use crate::store::{DEFAULT_SITE, Error, testing::TestStore};

/// What a test's store knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    people: Mutex<HashMap<Id, Person>>,
    places: Mutex<HashMap<String, Arc<Place>>>,
    agents: Mutex<HashMap<String, AgentRecord>>,
    /// By the digest of a key: its id and its person.
    api_keys: Mutex<HashMap<String, (Id, Option<Person>)>>,
    reads: AtomicUsize,
    is_silent: AtomicBool,
    /// Held by a test to keep readers waiting between what they read and what they do with it.
    hold: tokio::sync::Mutex<()>,
}

impl Records for Known {
    fn person(&self, sid: Id) -> BoxFuture<'_, Result<Option<Person>, Error>> {
        async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let person = self.people.lock().unwrap().get(&sid).cloned();
            drop(self.hold.lock().await);
            self.answer(person)
        }
        .boxed()
    }

    fn api_key<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<(Id, Id)>, Error>> {
        std::future::ready(self.answer(self.key_of(digest))).boxed()
    }

    fn person_of_key(&self, key: Id) -> BoxFuture<'_, Result<Option<Person>, Error>> {
        std::future::ready(self.answer(self.person_behind(key))).boxed()
    }

    fn take(&self, _: Id, amount: Allowance, _: Allowance) -> BoxFuture<'_, Result<Handout, Error>> {
        async move { Ok(Handout::Granted { amount, in_store: MicroUsd::ZERO }) }.boxed()
    }

    fn give_back(&self, _: Id, _: Allowance) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn place<'a>(&'a self, _: Id, slug: &'a Slug) -> BoxFuture<'a, Result<Option<Arc<Place>>, Error>> {
        let place = self.places.lock().unwrap().get(slug.as_str()).cloned();
        std::future::ready(self.answer(place)).boxed()
    }

    fn application<'a>(
        &'a self,
        keys: ApplicationKeys<'a>,
    ) -> BoxFuture<'a, Result<Arc<ApplicationFacts>, Rejection>> {
        let name = keys.key.to_str().unwrap().to_owned();
        let found = match keys.secret.map(|secret| secret.as_bytes() == b"secret") {
            Some(true) => Ok(Arc::new(application(&name))),
            Some(false) => Err(Rejection::ApplicationInvalid),
            None => Err(Rejection::ApplicationOriginRequired),
        };
        std::future::ready(found).boxed()
    }

    fn agent_key<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<SessionKey>, Error>> {
        let key = self.agents.lock().unwrap().get(digest).map(|record| {
            let token = &record.token;
            SessionKey::of_session(token.id, token.account, token.application)
        });
        std::future::ready(self.answer(key)).boxed()
    }

    fn agent<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<AgentRecord>, Error>> {
        async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let record = self.agents.lock().unwrap().get(digest).cloned();
            drop(self.hold.lock().await);
            self.answer(record)
        }
        .boxed()
    }

    fn application_of(&self, id: Id) -> BoxFuture<'_, Result<Option<Arc<ApplicationFacts>>, Error>> {
        let known = ApplicationFacts { id, ..application("web") };
        std::future::ready(self.answer(Some(Arc::new(known)))).boxed()
    }

    fn is_application_origin<'a>(&'a self, origin: &'a str) -> BoxFuture<'a, bool> {
        std::future::ready(origin == "https://shop.example.com").boxed()
    }
}

impl Known {
    fn answer<T>(&self, value: T) -> Result<T, Error> {
        if self.is_silent.load(Ordering::SeqCst) {
            Err(Error::Unavailable { cause: "silenced by the test".into() })
        } else {
            Ok(value)
        }
    }
}

pub(super) fn application(name: &str) -> ApplicationFacts {
    ApplicationFacts {
        id: Id::from_u128(name.bytes().map(u128::from).sum()),
        number: Number(1),
        name: name.into(),
        allowed_origins: Arc::new([]),
    }
}

/// A gate with everything around it.
pub(super) struct Setting {
    pub app: TestApp,
    pub gate: Gate,
    pub records: Arc<Known>,
    ids: RequestIds,
}

/// What every test's configuration begins with.
const BEGINNING: &str = "
listen: { trusted_proxies: [10.0.0.0/8] }
permissions: [ { code: reports }, { code: reports.read, parent: reports }, { code: pay } ]
roles: [ { code: analyst, permissions: [reports.read] }, { code: chief, inherits: [analyst] } ]
groups: [ { code: finance, roles: [analyst], permissions: [pay] } ]
";

pub(super) async fn setting(yaml: &str) -> Setting {
    setting_with(yaml, |yaml| With { yaml, ..With::default() }).await
}

async fn setting_with(yaml: &str, with: impl FnOnce(&'static str) -> With) -> Setting {
    // An upstream that no route names is an error.
    let other = if yaml.contains("other") { ", other: { servers: [127.0.0.1:9001] }" } else { "" };
    let upstreams = format!("upstreams: {{ app: {{ servers: [127.0.0.1:9000] }}{other} }}");
    setting_on(with(format!("{BEGINNING}{upstreams}\n{yaml}").leak())).await
}

async fn setting_on(with: With) -> Setting {
    let app = TestApp::on(TestStore::sqlite().await, with).await;
    app.set_keyring(ring());
    let records = Arc::new(Known::default());
    let built_in = Arc::new(Table::new(&app.config().api.prefix, rows()));
    let gate = Gate::new(app.app.clone(), records.clone(), app.config(), built_in).unwrap();
    Setting { app, gate, records, ids: RequestIds::new(&SeededRandom::new(3)) }
}

fn ring() -> Keyring {
    let key = |purpose, algorithm, seed| Member {
        purpose,
        key: SigningKey::generate(algorithm, &SeededRandom::new(seed)).unwrap(),
        active_from: Timestamp::from_millis(0),
        published_until: None,
    };
    Keyring::new(vec![
        key(Purpose::Access, Algorithm::EdDsa, 1),
        key(Purpose::Assertion, Algorithm::Es256, 2),
    ])
}

fn rows() -> Vec<Row> {
    async fn me(call: Call, _: Nothing) -> Result<Json<String>, ApiError> {
        Ok(Json(call.person()?.account.id.to_string()))
    }
    async fn open(_: Call, _: Nothing) -> Result<Json<String>, ApiError> {
        Ok(Json("open".to_owned()))
    }
    async fn cookie(call: Call, _: Nothing) -> Result<Json<bool>, ApiError> {
        Ok(Json(call.head.cookies.get("portcullis_refresh").is_some()))
    }
    async fn fall(_: Call, _: Nothing) -> Result<Reply, ApiError> {
        panic!("on purpose")
    }
    vec![
        get("/me/", me).person(),
        get("/reports/", me).allow("reports.read"),
        post("/password/", me).person().admitting(Scope::PasswordChangeOnly).unaudited("a test"),
        post("/login/", open).open().limit(crate::http::Bucket::Login).unaudited("a test"),
        post("/portcullis/me/", me).page().unaudited("a test"),
        get("/fall/", fall).open(),
        get("/cookie/", cookie).open(),
        get("/api/v1/health/", open).open().at_root(),
        ticket_row(),
    ]
}

/// A request in the making.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    peer: &'static str,
    body: Bytes,
}

pub(super) fn request(method: &str, target: &str) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("gw.example.com"));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request { method, target: target.to_owned(), headers, peer: "192.0.2.1:5000", body: Bytes::new() }
}

impl Request {
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub fn from(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    pub fn body(mut self, body: &'static str) -> Self {
        self.body = Bytes::from_static(body.as_bytes());
        let length = body.len().to_string();
        self.with("content-length", &length)
    }

    pub fn websocket(self) -> Self {
        self.with("upgrade", "websocket").with("connection", "Upgrade")
    }
}

impl Setting {
    pub fn head(&self, request: &Request) -> Result<Box<RequestHead>, Rejection> {
        let rules = EdgeRules {
            hosts: Vec::new(),
            trusted_proxies: self.app.config().listen.trusted_proxies.clone(),
            target: TargetRules { encoded_slash: Doubtful::Keep, params: Doubtful::Keep, max: 8192 },
            head_max: 32 << 10,
            fields_max: 100,
            hardening: Hardening::On,
        };
        let arrival = Arrival {
            method: &request.method,
            raw_target: request.target.as_bytes(),
            uri_authority: None,
            version: Version::HTTP_11,
            has_ended: false,
            headers: &request.headers,
            raw: None,
            peer: request.peer.parse().unwrap(),
            peer_text: &text_of(request.peer.parse::<std::net::SocketAddr>().unwrap().ip()),
            scheme: Scheme::Http,
            at: self.app.now(),
        };
        RequestHead::read(&arrival, self.ids.take(None), &rules)
    }

    pub async fn decide(&self, request: &Request) -> Decision {
        let head = self.head(request).expect("the head is well formed");
        let mut body = request.body.clone();
        admit(&self.gate, &head, &mut body).await
    }

    /// The stamps of a request that passes, as text.
    pub async fn stamps(&self, request: &Request) -> HashMap<String, String> {
        let admitted = self.admitted(request).await;
        let text =
            |(name, value): (HeaderName, HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
        admitted.stamps.into_iter().map(text).collect()
    }

    /// What a route's policy is in one word, for many requests that differ in one thing.
    pub async fn outcomes(&self, requests: impl IntoIterator<Item = Request>) -> Vec<String> {
        let mut outcomes = Vec::new();
        for request in requests {
            outcomes.push(self.outcome(&request).await);
        }
        outcomes
    }

    pub async fn admitted(&self, request: &Request) -> Admitted {
        match self.decide(request).await.verdict {
            Verdict::Forward(admitted) => *admitted,
            other => panic!("not forwarded: {other:?}"),
        }
    }

    pub async fn rejection(&self, request: &Request) -> Rejection {
        match self.decide(request).await.verdict {
            Verdict::Reject(rejection) => rejection,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub async fn reply(&self, request: &Request) -> Reply {
        match self.decide(request).await.verdict {
            Verdict::Answer(reply) => reply,
            other => panic!("not answered: {other:?}"),
        }
    }

    /// `200` for a request that is forwarded, else the status and code of its refusal.
    pub async fn outcome(&self, request: &Request) -> String {
        told(self.decide(request).await.verdict)
    }

    /// Makes a person known, and gives the token of a session of theirs.
    pub fn person(&self, name: &str, change: impl FnOnce(&mut Person)) -> String {
        let account = account_of(name);
        let mut person = person_of(name, account, Id::from_u128(account.as_u128() << 64 | 1));
        change(&mut person);
        let token = self.token(&person, |_| {});
        self.records.people.lock().unwrap().insert(person.session.sid, person);
        token
    }

    pub fn token(&self, person: &Person, change: impl FnOnce(&mut Value)) -> String {
        let (account, sid) = (person.account.id, person.session.sid);
        let application = person.session.application.map_or("default".to_owned(), |id| id.to_string());
        let now = self.app.now().as_secs();
        let mut claims = json!({"type": "access", "sub": account, "user_id": account, "sid": sid, "jti": sid,
            "app_id": application, "iss": "portcullis", "iat": now, "nbf": now, "exp": now + 900});
        change(&mut claims);
        let ring = self.app.keyring();
        let key = ring.active(Purpose::Access, self.app.now()).unwrap();
        jwt::sign(key, jwt::ACCESS, &claims).unwrap()
    }

    pub fn change_person(&self, name: &str, change: impl FnOnce(&mut Person)) {
        let mut people = self.records.people.lock().unwrap();
        let person = people.values_mut().find(|person| person.account.first_name == name).unwrap();
        change(person);
    }

    pub fn forget(&self, name: &str) {
        self.records.people.lock().unwrap().retain(|_, person| person.account.first_name != name);
    }

    pub fn raise(&self, subject: Subject) {
        let next = self.app.epochs.of(subject) + 1;
        self.app.epochs.raise_to(subject, next + 1000);
    }

    pub fn reads(&self) -> usize {
        self.records.reads.load(Ordering::SeqCst)
    }
}

fn told(verdict: Verdict) -> String {
    match verdict {
        Verdict::Forward(_) => "200".to_owned(),
        Verdict::Answer(reply) => reply.status.as_str().to_owned(),
        Verdict::Reject(rejection) => format!("{} {}", rejection.status().as_str(), rejection.code()),
    }
}

/// The account of a name.
pub(super) fn account_of(name: &str) -> Id {
    Id::from_u128(name.bytes().fold(0, |sum, byte| sum * 31 + u128::from(byte)))
}

fn id_of(slug: &str) -> Id {
    Id::from_u128(slug.bytes().fold(7, |sum, byte| sum * 131 + u128::from(byte)))
}

pub(super) fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

pub(super) fn membership(slug: &str, role: &str) -> Membership {
    Membership {
        organization: id_of(slug),
        number: Number(i64::try_from(slug.len()).unwrap()),
        slug: Slug::parse(slug).unwrap(),
        role: code(role),
    }
}

fn person_of(name: &str, account: Id, sid: Id) -> Person {
    Person {
        account: AccountFacts {
            id: account,
            number: Number(1),
            site: DEFAULT_SITE,
            email: Some(Email::parse(&format!("{name}@example.com")).unwrap()),
            phone: None,
            username: None,
            first_name: name.to_owned(),
            last_name: String::new(),
            is_staff: false,
            is_superuser: false,
            is_email_verified: false,
            is_phone_verified: false,
            has_second_factor: false,
        },
        session: SessionFacts {
            sid,
            started_at: NOON,
            authenticated_at: NOON,
            second_factor_at: None,
            method: "password",
            application: None,
            scope: None,
            ends_at: NOON.plus(Duration::from_hours(24)),
        },
        assignments: Assignments::default(),
        scopes: None,
        memberships: Vec::new(),
    }
}
