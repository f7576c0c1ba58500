//! The gateway's own endpoints: order of the checks, codes, limits, panics.

use super::*;
use crate::gate::body::{BodySource, BodyTrouble};
use crate::http::cookie::Channel;
use crate::session::{self, Session};

const ROUTES: &str = "routes: [ { name: open, match: { path: /open }, upstream: app, allow: anyone } ]";
const API: &str = "/api/v1/auth";

fn keys(request: Request) -> Request {
    request.with("x-access-key", "billing").with("x-access-secret", "secret")
}

async fn told(setting: &Setting, request: &Request) -> (u16, Value) {
    let reply = setting.reply(request).await;
    (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap_or_default())
}

fn ask(method: &str, path: &str) -> Request {
    keys(request(method, &format!("{API}{path}")))
}

fn member(setting: &Setting, name: &str, change: impl FnOnce(&mut Person)) -> String {
    setting.person(name, |person| {
        person.session.application = Some(application("billing").id);
        change(person);
    })
}

#[tokio::test]
async fn an_endpoint_asks_for_the_application_then_for_the_caller_then_for_the_right() {
    let setting = setting(ROUTES).await;
    let bare = request("GET", &format!("{API}/reports/"));
    let (ada, root) = (
        member(&setting, "ada", |_| {}),
        member(&setting, "root", |person| person.assignments.is_superuser = true),
    );
    let code = async |request: &Request| told(&setting, request).await.1["code"].clone();
    assert_eq!(code(&bare.clone().bearer("x")).await, "APP_AUTH_REQUIRED");
    assert_eq!(code(&keys(bare.clone())).await, "AUTH_REQUIRED");
    assert_eq!(code(&keys(bare.clone()).bearer("x")).await, "UNAUTHORIZED");
    assert_eq!(code(&keys(bare.clone()).bearer(&ada)).await, "PERMISSION_REQUIRED");
    assert_eq!(told(&setting, &keys(bare).bearer(&root)).await.0, 200);
}

#[tokio::test]
async fn a_stale_token_does_no_harm_where_none_is_needed() {
    let setting = setting(ROUTES).await;
    assert_eq!(told(&setting, &ask("POST", "/login/").bearer("stale")).await.0, 200);
    assert_eq!(told(&setting, &request("GET", "/api/v1/health/").bearer("stale")).await.0, 200);
    assert_eq!(told(&setting, &request("GET", "/api/v1/health")).await.0, 200, "with and without the slash");
}

#[tokio::test]
async fn a_token_of_another_application_opens_nothing() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let (status, body) = told(&setting, &ask("GET", "/me/").bearer(&ada)).await;
    assert_eq!((status, &body["code"]), (401, &json!("UNAUTHORIZED")));
    assert_eq!(body["error"], "Token does not match application");
}

#[tokio::test]
async fn a_401_of_an_endpoint_carries_a_challenge() {
    let setting = setting(ROUTES).await;
    let bad = setting.reply(&ask("GET", "/me/").bearer("x")).await;
    assert_eq!(bad.headers["www-authenticate"], r#"Bearer realm="portcullis", error="invalid_token""#);
    let none = setting.reply(&ask("GET", "/me/")).await;
    assert_eq!(none.headers["www-authenticate"], r#"Bearer realm="portcullis""#);
}

#[tokio::test]
async fn a_restricted_session_opens_only_what_it_is_for() {
    let setting = setting(ROUTES).await;
    let ada = member(&setting, "ada", |person| person.session.scope = Some(Scope::PasswordChangeOnly));
    let (status, body) = told(&setting, &ask("GET", "/me/").bearer(&ada)).await;
    assert_eq!((status, &body["code"]), (403, &json!("INSUFFICIENT_SCOPE")));
    let remedy = body["remedy"].as_str().unwrap_or_default();
    assert!(remedy.contains("password/change/"), "it says what for: {body}");
    assert_eq!(told(&setting, &ask("POST", "/password/").bearer(&ada)).await.0, 200);
    assert_eq!(told(&setting, &ask("POST", "/ws-ticket/").bearer(&ada)).await.0, 403);
}

#[tokio::test]
async fn an_unknown_organization_is_unknown_here_too() {
    let setting = setting(ROUTES).await;
    let ada = member(&setting, "ada", |_| {});
    let (status, body) = told(&setting, &ask("GET", "/me/").bearer(&ada).with("x-org-slug", "zzz")).await;
    assert_eq!((status, &body["code"], &body["slug"]), (404, &json!("ORG_NOT_FOUND"), &json!("zzz")));
}

#[tokio::test]
async fn another_cookie_in_whatever_bytes_does_not_hide_ours() {
    let setting = setting(ROUTES).await;
    let mut request = ask("GET", "/cookie/");
    let cookies = "city=Malm\u{f6}; portcullis_refresh=x";
    request.headers.insert("cookie", HeaderValue::from_bytes(cookies.as_bytes()).unwrap());
    assert_eq!(told(&setting, &request).await, (200, json!(true)));
}

#[tokio::test]
async fn a_bucket_counts_every_call_of_an_address() {
    let setting = setting(ROUTES).await;
    for _ in 0..5 {
        assert_eq!(told(&setting, &ask("POST", "/login/")).await.0, 200);
    }
    let reply = setting.reply(&ask("POST", "/login/")).await;
    assert_eq!(reply.status.as_u16(), 429);
    assert_eq!(reply.headers["retry-after"], "60");
    assert_eq!(
        (&reply.headers["x-ratelimit-limit"], &reply.headers["x-ratelimit-window"]),
        (&"5".parse().unwrap(), &"60".parse().unwrap())
    );
    assert_eq!(told(&setting, &ask("POST", "/login/").from("192.0.2.77:1")).await.0, 200);
}

#[tokio::test]
async fn a_panic_ends_one_request() {
    let setting = setting(ROUTES).await;
    let (status, body) = told(&setting, &ask("GET", "/fall/")).await;
    assert_eq!((status, &body["code"]), (500, &json!("INTERNAL_ERROR")));
    assert_eq!(told(&setting, &request("GET", "/api/v1/health/")).await.0, 200);
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_before_the_handler() {
    let setting = setting(ROUTES).await;
    let huge: &'static str = "x".repeat(20 << 20).leak();
    let (status, body) = told(&setting, &ask("POST", "/login/").body(huge)).await;
    assert_eq!((status, &body["code"]), (413, &json!("BODY_TOO_LARGE")));
}

#[tokio::test]
async fn an_endpoints_answers_carry_the_permission_of_the_page() {
    let setting = setting(ROUTES).await;
    let reply = setting.reply(&ask("GET", "/me/").with("origin", "https://shop.example.com")).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["access-control-allow-origin"]),
        (401, &"https://shop.example.com".parse().unwrap())
    );
    assert_eq!(reply.headers["vary"], "Origin");
}

/// A body that is sent slowly: what happens meanwhile, and then all of it.
struct Slow<F>(F, &'static [u8]);

#[async_trait::async_trait]
impl<F: FnMut() + Send> BodySource for Slow<F> {
    async fn read_all(&mut self, _: usize) -> Result<Bytes, BodyTrouble> {
        (self.0)();
        Ok(Bytes::from_static(self.1))
    }

    fn sent(&self, _: &HeaderName) -> Vec<HeaderValue> {
        Vec::new()
    }

    fn replace(&mut self, _: Bytes) {}
}

/// What is said to a request during whose body this happens.
async fn told_slowly(setting: &Setting, request: &Request, meanwhile: &(dyn Fn() + Sync)) -> u16 {
    let head = setting.head(request).expect("the head is well formed");
    match admit(&setting.gate, &head, &mut Slow(meanwhile, b"{}")).await.verdict {
        Verdict::Answer(reply) => reply.status.as_u16(),
        Verdict::Reject(rejection) => rejection.status().as_u16(),
        other @ Verdict::Forward(_) => panic!("not answered: {other:?}"),
    }
}

/// A form of somebody's, with the cookie of pages.
fn form_of(setting: &Setting, name: &str) -> Request {
    let mut sid = Id::from_u128(0);
    setting.person(name, |person| sid = person.session.sid);
    let now = setting.app.now();
    let ends_at = now.plus(Duration::from_hours(24));
    let session = Session {
        id: sid,
        account: account_of(name),
        application: None,
        method: session::Method::Password,
        scope: None,
        device_info: String::new(),
        device_key: String::new(),
        address: None,
        started_at: now,
        authenticated_at: now,
        second_factor_at: None,
        refreshed_at: now,
        idle_ends_at: ends_at,
        ends_at,
        ended_at: None,
    };
    let (value, _) = session::page_cookie(&setting.app.seal, setting.app.random.as_ref(), &session, now);
    let is_https = setting.app.config().public_url.is_https;
    let channel = if is_https { Channel::Https } else { Channel::PlainHttp };
    let cookie = format!("{}={}", channel.session_cookie(), value.expose());
    request("POST", "/portcullis/me/").with("cookie", &cookie)
}

#[tokio::test]
async fn a_form_that_is_sent_slowly_is_judged_when_all_of_it_is_here() {
    let setting = setting(ROUTES).await;
    let (ada, bob) = (form_of(&setting, "ada"), form_of(&setting, "bob"));
    assert_eq!(told_slowly(&setting, &ada, &|| {}).await, 200);
    let end = || {
        setting.forget("ada");
        setting.raise(Subject::Account(account_of("ada")));
    };
    assert_eq!(told_slowly(&setting, &ada, &end).await, 401, "a session that was ended meanwhile");
    assert_eq!(told_slowly(&setting, &bob, &|| {}).await, 200);
    let late = || setting.app.clock.advance(Duration::from_hours(13));
    assert_eq!(told_slowly(&setting, &bob, &late).await, 401, "a cookie whose time was over meanwhile");
}

#[tokio::test]
async fn a_session_whose_time_is_over_before_the_body_is_here_is_over() {
    let setting = setting(ROUTES).await;
    let me = ask("GET", "/me/").bearer(&member(&setting, "ada", |_| {}));
    assert_eq!(told_slowly(&setting, &me, &|| {}).await, 200);
    let late = || setting.app.clock.advance(Duration::from_hours(25));
    assert_eq!(told_slowly(&setting, &me, &late).await, 401);
}

#[tokio::test]
async fn a_body_of_unknown_length_may_be_empty_and_late() {
    let setting = setting(ROUTES).await;
    let ada = member(&setting, "ada", |_| {});
    let me = ask("POST", "/password/").bearer(&ada).with("transfer-encoding", "chunked");
    let head = setting.head(&me).expect("the head is well formed");
    let end = || {
        setting.forget("ada");
        setting.raise(Subject::Account(account_of("ada")));
    };
    let reply = match admit(&setting.gate, &head, &mut Slow(end, b"")).await.verdict {
        Verdict::Answer(reply) => reply,
        other => panic!("not answered: {other:?}"),
    };
    assert_eq!(reply.status.as_u16(), 401);
}

#[tokio::test]
async fn whoever_sends_slowly_is_judged_when_all_of_it_is_here() {
    let setting = setting(ROUTES).await;
    let ada = member(&setting, "ada", |person| person.assignments.is_superuser = true);
    let reports = ask("GET", "/reports/").bearer(&ada);
    let slowly = async |meanwhile: &(dyn Fn() + Sync)| told_slowly(&setting, &reports, meanwhile).await;
    let changed = || setting.raise(Subject::Account(account_of("ada")));
    assert_eq!(slowly(&|| {}).await, 200);
    let demote = || {
        setting.change_person("ada", |person| person.assignments.is_superuser = false);
        changed();
    };
    assert_eq!(slowly(&demote).await, 403, "a right that was taken meanwhile");
    setting.change_person("ada", |person| person.assignments.is_superuser = true);
    changed();
    assert_eq!(slowly(&|| {}).await, 200);
    let end = || {
        setting.forget("ada");
        changed();
    };
    assert_eq!(slowly(&end).await, 401, "a session that was ended meanwhile");
}
