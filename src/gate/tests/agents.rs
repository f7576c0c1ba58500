//! Agents at the gate: the double check against a model of thirty lines, and what a warm request
//! costs the store.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use std::collections::BTreeSet;

use super::agent::session_of;
use super::*;
use crate::agent::{AgentToken, Limits, Status};
use crate::audit::Suspension;
use crate::base::MicroUsd;
use crate::crypto::digest::sha256_hex;
use crate::session::Method;

const ROUTES: &str = "
organizations: { roles: [ { code: payer, permissions: [pay] } ] }
routes:
  - { name: reports, match: { path: /reports }, upstream: app, allow: { permission: reports.read }, agents: { permission: reports.read } }
  - { name: pay, match: { path: /pay }, upstream: app, allow: { org: member }, agents: { permission: pay } }
  - { name: all, match: { path: /all }, upstream: app, allow: signed_in, agents: { permission: reports } }
  - { name: open, match: { path: /open }, upstream: app, allow: anyone, agents: { permission: reports.read } }
  - { name: recent, match: { path: /recent }, upstream: app, allow: { max_age: 1h }, agents: { permission: reports } }
  - { name: people, match: { path: /people }, upstream: app, allow: signed_in }
  - { name: public, match: { path: /public }, upstream: app, allow: anyone }
";

const CODES: [&str; 3] = ["reports", "reports.read", "pay"];
const PATHS: [&str; 7] = ["/reports", "/pay", "/all", "/open", "/recent", "/people", "/public"];

pub(super) fn text_of_number(number: usize) -> String {
    format!("{number:048}")
}

fn asking(path: &str) -> Request {
    request("GET", path)
}

impl Request {
    fn agent(self, token: &str) -> Self {
        self.with("authorization", &format!("AgentBearer {token}"))
    }
}

/// A token of `name`'s that any test may change.
pub(super) fn token_of(name: &str, permissions: &[&str]) -> AgentToken {
    AgentToken {
        id: Id::from_u128(account_of(name).as_u128() << 64 | 7),
        number: Number(42),
        site: DEFAULT_SITE,
        agent: "robot".to_owned(),
        account: account_of(name),
        application: None,
        organization: None,
        permissions: permissions.iter().map(|text| code(text)).collect::<BTreeSet<_>>().into_iter().collect(),
        status: Status::Active,
        suspended_reason: None,
        limits: Limits {
            per_minute: 1_000_000_000,
            total: 1000,
            failures: 10,
            suspend_after: 1,
            heartbeat_every: None,
            budget: MicroUsd::default(),
        },
        granted: Allowance::default(),
        heartbeat_at: None,
        heartbeat_due_at: None,
        method: Method::Password,
        authenticated_at: NOON,
        has_second_factor: false,
        resumes: 0,
        resumed_at: None,
        created_at: NOON,
        expires_at: NOON.plus(Duration::from_hours(1)),
        suspended_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

impl Setting {
    /// Makes an agent of `name` known under this text.
    pub(super) fn agent(&self, text: &str, token: AgentToken, name: &str, change: impl FnOnce(&mut Person)) {
        let mut person = person_of(name, account_of(name), token.id);
        person.session = session_of(&token);
        change(&mut person);
        let slug = token.organization.map(|_| Slug::parse("acme").unwrap());
        let id = token.id;
        let record = AgentRecord { token, slug, person: Some(person) };
        self.records.agents.lock().unwrap().insert(sha256_hex(text.as_bytes()), record);
        self.raise(Subject::AgentToken(id));
    }
}

/// One tuple of the double check.
#[derive(Debug, Clone)]
struct Case {
    path: &'static str,
    delegated: Vec<&'static str>,
    held: Vec<&'static str>,
    role: Option<&'static str>,
    is_for_acme: bool,
    named: Option<&'static str>,
    is_recent: bool,
}

/// What must be true, in the order in which it is told; `None`: the request passes.
fn model(case: &Case) -> Option<&'static str> {
    let asked = match case.path {
        "/reports" | "/open" => "reports.read",
        "/pay" => "pay",
        "/all" | "/recent" => "reports",
        _ => return Some("route"),
    };
    let holds =
        |code: &str| case.held.contains(&code) || code == "reports.read" && case.held.contains(&"reports");
    if !case.delegated.contains(&asked) {
        return Some("agent_scope");
    }
    if case.is_for_acme && case.role.is_none() {
        return Some("organization");
    }
    let is_held = if case.is_for_acme { case.role == Some("payer") && asked == "pay" } else { holds(asked) };
    if !is_held {
        return Some("human_permission");
    }
    if case.named.is_some() && (!case.is_for_acme || case.named != Some("acme")) {
        return Some("organization");
    }
    match case.path {
        "/reports" if !holds("reports.read") => Some("route"),
        "/pay" if !case.is_for_acme => Some("organization"),
        "/recent" if !case.is_recent => Some("session"),
        _ => None,
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let some = || prop::sample::subsequence(CODES.to_vec(), 0..=3);
    let role = prop::sample::select(vec![None, Some("member"), Some("payer")]);
    let named = prop::sample::select(vec![None, None, Some("acme"), Some("other")]);
    let path = prop::sample::select(PATHS.to_vec());
    (path, some(), some(), role, any::<bool>(), named, any::<bool>()).prop_map(
        |(path, delegated, held, role, is_for_acme, named, is_recent)| Case {
            path,
            delegated,
            held,
            role,
            is_for_acme,
            named,
            is_recent,
        },
    )
}

#[tokio::test]
async fn the_double_check_is_that_of_the_model() {
    let setting = setting(ROUTES).await;
    setting.organization("acme", &[]);
    setting.organization("other", &[]);
    let text = text_of_number(1);
    let mut runner = TestRunner::new(Config { cases: 1, ..Config::default() });
    for number in 0..3000 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let mut token = token_of("ada", &case.delegated);
        token.organization = case.is_for_acme.then(|| id_of("acme"));
        if !case.is_recent {
            token.authenticated_at = NOON.minus(Duration::from_hours(2));
        }
        setting.agent(&text, token, "ada", |person| {
            person.assignments.permissions = case.held.iter().map(|text| code(text)).collect();
            person.memberships = case.role.iter().map(|role| membership("acme", role)).collect();
        });
        let mut request = asking(case.path).agent(&text);
        if let Some(slug) = case.named {
            request = request.with("x-org-slug", slug);
        }
        let told = match setting.decide(&request).await.verdict {
            Verdict::Forward(_) => None,
            Verdict::Reject(refusal) => Some(refusal.failed().unwrap_or("nothing").to_owned()),
            Verdict::Answer(reply) => panic!("answered {reply:?}"),
        };
        assert_eq!(told.as_deref(), model(&case), "case {number}: {case:?}");
    }
}

#[tokio::test]
async fn a_warm_agent_asks_the_store_nothing_and_a_cold_one_once() {
    let setting = setting(ROUTES).await;
    let text = text_of_number(2);
    let reader = |person: &mut Person| person.assignments.permissions = vec![code("reports")];
    setting.agent(&text, token_of("ada", &["reports.read"]), "ada", reader);
    let hold = setting.records.hold.lock().await;
    let request = asking("/reports").agent(&text);
    let many = futures::future::join_all((0..50).map(|_| setting.outcome(&request)));
    let release = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(hold);
    };
    let (outcomes, ()) = tokio::join!(many, release);
    assert!(outcomes.iter().all(|outcome| outcome == "200"), "{outcomes:?}");
    assert_eq!(setting.reads(), 1, "the others waited for the first");
    assert_eq!(setting.outcome(&request).await, "200");
    assert_eq!(setting.reads(), 1);
    setting.records.is_silent.store(true, Ordering::SeqCst);
    assert_eq!(setting.outcome(&request).await, "200", "warm");
    setting.raise(Subject::Account(account_of("ada")));
    assert_eq!(setting.outcome(&request).await, "503 SERVICE_UNAVAILABLE", "cannot tell, so no");
}

#[tokio::test]
async fn a_token_that_may_not_act_is_refused_in_the_words_of_the_contract() {
    let setting = setting(ROUTES).await;
    let text = text_of_number(3);
    let request = asking("/people").agent(&text);
    assert_eq!(setting.outcome(&request).await, "403 AGENT_TOKEN_NOT_FOUND");
    setting.app.clock.advance(Duration::from_secs(2));
    for (status, code) in [
        (Status::Suspended, "AGENT_TOKEN_STATUS_SUSPENDED"),
        (Status::Revoked, "AGENT_TOKEN_STATUS_REVOKED"),
        (Status::Expired, "AGENT_TOKEN_STATUS_EXPIRED"),
    ] {
        let suspended_reason = Some(Suspension::Manual);
        let token = AgentToken { status, suspended_reason, ..token_of("ada", &["reports"]) };
        setting.agent(&text, token, "ada", |_| {});
        assert_eq!(setting.outcome(&request).await, format!("403 {code}"));
    }
    for (reason, remedy) in
        [(Suspension::Manual, "resume the token"), (Suspension::BudgetExceeded, "Have another token minted")]
    {
        let (status, suspended_reason) = (Status::Suspended, Some(reason));
        let token = AgentToken { status, suspended_reason, ..token_of("ada", &["reports"]) };
        setting.agent(&text, token, "ada", |_| {});
        let refused = setting.rejection(&request).await;
        assert_eq!(refused.code(), "AGENT_TOKEN_STATUS_SUSPENDED");
        assert!(refused.remedy().contains(remedy), "{}", refused.remedy());
    }
    setting.agent(&text, token_of("ada", &["reports"]), "ada", |_| {});
    for path in ["/people", "/public"] {
        let refused = setting.rejection(&asking(path).agent(&text)).await;
        assert_eq!((refused.code(), refused.failed()), ("AGENT_NOT_ALLOWED", Some("route")), "{path}");
    }
    let wrong_shape = asking("/public").agent("short");
    let refused = setting.rejection(&wrong_shape).await;
    assert_eq!((refused.status().as_u16(), refused.code()), (401, "TOKEN_INVALID"));
    assert!(refused.remedy().contains("AgentBearer"), "{}", refused.remedy());
    setting.records.agents.lock().unwrap().values_mut().for_each(|record| record.person = None);
    setting.raise(Subject::Account(account_of("ada")));
    assert_eq!(setting.outcome(&request).await, "403 AGENT_TOKEN_STATUS_SUSPENDED", "its human may not act");
}

#[tokio::test]
async fn an_agent_is_told_everything_that_is_missing() {
    let setting = setting(ROUTES).await;
    let text = text_of_number(4);
    setting.agent(&text, token_of("ada", &["pay"]), "ada", |_| {});
    let refused = setting.rejection(&asking("/reports").agent(&text)).await;
    assert_eq!((refused.code(), refused.failed()), ("AGENT_PERMISSION_DENIED", Some("agent_scope")));
    assert_eq!(refused.missing(), [code("reports.read")]);
    let body = refused.body("r");
    assert_eq!((&body["failed"], &body["missing"]), (&json!("agent_scope"), &json!(["reports.read"])));
}

#[tokio::test]
async fn the_upstream_learns_which_agent_acts_for_whom() {
    let setting = setting(ROUTES).await;
    let text = text_of_number(5);
    let reader = |person: &mut Person| person.assignments.permissions = vec![code("reports")];
    setting.agent(&text, token_of("ada", &["reports.read"]), "ada", reader);
    let traced = asking("/reports").agent(&text).with("x-prompt-trace-id", "trace_7f3a-2b");
    let stamps = setting.stamps(&traced).await;
    assert_eq!((stamps["x-agent-id"].as_str(), stamps["x-agent-token-id"].as_str()), ("robot", "42"));
    assert_eq!(
        (stamps["x-auth-method"].as_str(), stamps["x-prompt-trace-id"].as_str()),
        ("agent", "trace_7f3a-2b")
    );
    assert_eq!(stamps["x-user-id"], account_of("ada").to_string());
    for bad in ["", "a b", "a\u{b}", &"x".repeat(129), "{}", "é"] {
        let Ok(value) = HeaderValue::from_bytes(bad.as_bytes()) else { continue };
        let mut request = asking("/reports").agent(&text);
        request.headers.insert("x-prompt-trace-id", value);
        assert!(!setting.stamps(&request).await.contains_key("x-prompt-trace-id"), "{bad:?}");
    }
    let mut twice = traced.clone();
    twice.headers.append("x-prompt-trace-id", HeaderValue::from_static("other"));
    assert!(!setting.stamps(&twice).await.contains_key("x-prompt-trace-id"), "two are none");
}
