//! Every endpoint of the table, called by everybody over real sockets: who is let in, and what the others are told.
//!
//! Law: what is expected is what the row says of itself, so a row that is added is called here without a word. The
//! words of a refusal are the row's own, and a 401 says how to log in.

use portcullis::http::row::Mount;
use portcullis::http::{Access, ErrorCode, Row, Table};
use portcullis::policy::Code;
use portcullis::principal::Scope;
use portcullis::rbac::Granted;
use portcullis::server;
use serde_json::{Value, json};

use crate::admin_page::ADMIN;
use crate::agent::bearer;
use crate::filling::inputs;
use crate::support::Gateway;
use crate::support::forms::LOGIN;
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission, request};
use crate::support::raw::{Answer, exchange};

const YAML: &str = "applications: { required: nowhere }
accounts: { staff_second_factor: required }
login: { magic_link: { targets: ['https://app.example.com/enter'] } }
api: { profiles: [ { use: auth-system, prefix: /compat } ] }
permissions: [ { code: reports.read } ]
";

/// The organization of whoever holds rights.
const OWN: &str = "cleos";
/// The id of nothing.
const NOTHINGS: &str = "0190b8a2-7c1e-7f00-8000-00000000dead";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    /// With a token that nobody issued.
    Forger,
    /// Signed in, with no right at all.
    Stranger,
    /// Signed in, with the right that the row asks for and no other.
    Holder,
    /// A program with an API key.
    Program,
    Agent,
    /// Whose session is for setting up a second factor.
    SettingUp,
    /// Whose session is for choosing another password.
    Choosing,
}

/// What the row says to this caller: a refusal, or nothing where they are let in.
fn due(row: &Row, who: Who) -> Option<ErrorCode> {
    let is_for = |scope| row.admitted() == Some(scope);
    match (who, row.access()) {
        // A page knows people by a cookie, and what is open at the root looks at nobody.
        (Who::Agent, Access::Open) if row.mount() == Mount::Root => None,
        (Who::Agent, Access::Agent | Access::PersonOrAgent) => None,
        (Who::Agent, _) => Some(ErrorCode::AgentNotAllowed),
        (_, Access::Open | Access::Page) => None,
        (Who::Nobody, _) | (_, Access::Agent) => Some(row.code_when_anonymous()),
        (Who::Forger, _) => Some(ErrorCode::Unauthorized),
        (Who::Program, _) => Some(ErrorCode::ApiKeyNotAllowed),
        (Who::SettingUp, _) if !is_for(Scope::SecondFactorSetupOnly) => Some(ErrorCode::InsufficientScope),
        (Who::Choosing, _) if !is_for(Scope::PasswordChangeOnly) => Some(ErrorCode::InsufficientScope),
        (Who::Stranger, Access::Permission(_)) => Some(ErrorCode::PermissionRequired),
        (
            Who::Stranger | Who::Holder | Who::SettingUp | Who::Choosing,
            Access::Person | Access::Permission(_) | Access::PersonOrAgent,
        ) => None,
    }
}

/// How the row says so.
fn said(row: &Row, code: ErrorCode) -> (u16, &'static str) {
    let (status, word) = match row.wording() {
        Some(wording) => (wording.said)(code),
        None => (code.status(), code.as_str()),
    };
    (status.as_u16(), word)
}

/// The code of a refusal, in our words or in a profile's; none in a page.
fn code_of(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let code = body["code"].as_str().or_else(|| body["error"]["code"].as_str());
    code.map(str::to_owned)
}

/// Whether a page of administrators shows and does nothing: nobody here has the cookie that says who they are.
fn is_led(row: &Row, answer: &Answer) -> bool {
    let is_to_login = answer.header("location").is_some_and(|to| to.starts_with(LOGIN));
    (answer.status == 303 && is_to_login) || (row.method() != "GET" && answer.status >= 400)
}

/// What who may ask is told of what there is not, where the row names something: 404, but for those that say otherwise.
fn due_of_nothing(row: &Row, who: Who) -> Option<u16> {
    let is_for_people =
        matches!(row.access(), Access::Person | Access::Permission(_) | Access::PersonOrAgent);
    if who != Who::Holder || !is_for_people || !row.path().contains('{') {
        return None;
    }
    Some(if says_otherwise(row).is_some() { 400 } else { 404 })
}

/// What is wrong with an answer.
fn problem(row: &Row, who: Who, answer: &Answer) -> Option<String> {
    let code = code_of(answer);
    let told = format!("{} {:?} {}", answer.status, code, answer.text());
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    if answer.status >= 500 {
        return Some(told);
    }
    if row.access() == Access::Page && row.path().starts_with(ADMIN) && who != Who::Agent {
        return (!is_led(row, answer)).then(|| format!("is somebody without a cookie: {told}"));
    }
    let Some(refusal) = due(row, who) else {
        // Who is let in may still be refused for what they sent, but not for who they are.
        let turned_away = [
            ErrorCode::AuthRequired,
            ErrorCode::Unauthorized,
            ErrorCode::PermissionRequired,
            ErrorCode::AgentNotAllowed,
            ErrorCode::ApiKeyNotAllowed,
            ErrorCode::InsufficientScope,
        ];
        let is_of_handler = row.wording().is_some() && code.as_deref() == Some("PERMISSION_DENIED");
        let is_turned_away = turned_away.into_iter().any(|own| code.as_deref() == Some(said(row, own).1));
        if is_turned_away && !is_of_handler {
            return Some(format!("is not let in: {told}"));
        }
        return (answer.status != due_of_nothing(row, who).unwrap_or(answer.status))
            .then(|| format!("takes nothing for something, or looks for nothing: {told}"));
    };
    let expected = said(row, refusal);
    // A page is refused as a page.
    let is_said = row.access() == Access::Page || code.as_deref() == Some(expected.1);
    if answer.status != expected.0 || !is_said {
        return Some(format!("{expected:?} is due, not {told}"));
    }
    let asks = match refusal {
        ErrorCode::InsufficientScope => "error=\"insufficient_scope\"",
        ErrorCode::Unauthorized if who == Who::Forger && row.access() != Access::Agent => {
            "error=\"invalid_token\""
        }
        _ if answer.status == 401 => "Bearer realm=",
        _ => "",
    };
    (!challenge.contains(asks)).then(|| format!("WWW-Authenticate is {challenge:?}"))
}

struct Scene {
    gateway: Gateway,
    table: Table,
    keys: Keys,
    stranger: User,
    holder: User,
    program: String,
    agent: (i64, String),
    setting_up: String,
    choosing: String,
}

impl Scene {
    async fn new() -> Self {
        let yaml = format!("{TRUSTING}{YAML}");
        let gateway = Gateway::start(&yaml).await;
        let table = server::public(&gateway.load(&yaml).config);
        let keys = gateway.application("console", &[]).await;
        let (stranger, holder) = (gateway.user("ada", &keys).await, gateway.user("cleo", &keys).await);
        let (bob, dan) = (gateway.user("bob", &keys).await, gateway.user("dan", &keys).await);
        gateway.grant(dan.id, permission("reports.read")).await;
        gateway.organization(OWN, holder.id, None).await;
        let ask = async |user: &User, path: &str, body: Value| {
            let answer = gateway.call("POST", path, &[user.bearer(), elsewhere()], &body).await;
            assert_eq!(answer.status, 201, "{path}: {}", answer.text());
            answer.json()
        };
        let key = ask(&bob, "/api-keys/", json!({"name": "nightly", "password": PASSWORD})).await;
        let made = ask(&dan, "/ai/tokens/", json!({"permissions": ["reports.read"]})).await;
        let agent = (made["id"].as_i64().unwrap(), made["token"].as_str().unwrap().to_owned());
        gateway.account("root", |new| new.is_superuser = true).await;
        gateway.account("mae", |new| new.must_change_password = true).await;
        let setting_up = restricted(&gateway, "root", Scope::SecondFactorSetupOnly).await;
        let choosing = restricted(&gateway, "mae", Scope::PasswordChangeOnly).await;
        let program = key["key"].as_str().unwrap().to_owned();
        Self { gateway, table, keys, stranger, holder, program, agent, setting_up, choosing }
    }

    fn credential(&self, who: Who) -> Option<String> {
        let with = |token: &str| format!("Authorization: Bearer {token}");
        match who {
            Who::Nobody => None,
            Who::Forger => Some(with("nonsense")),
            Who::Stranger => Some(self.stranger.bearer()),
            Who::Holder => Some(self.holder.bearer()),
            Who::Program => Some(format!("X-API-Key: {}", self.program)),
            Who::Agent => Some(bearer(&self.agent.1)),
            Who::SettingUp => Some(with(&self.setting_up)),
            Who::Choosing => Some(with(&self.choosing)),
        }
    }

    async fn call(&self, row: &Row, who: Who) -> Answer {
        // An agent calls by its own number; everybody else asks for what there is not.
        let id = match who {
            Who::Agent if row.access() == Access::Agent => self.agent.0.to_string(),
            _ => NOTHINGS.to_owned(),
        };
        let path = filled(&self.table.full_path(row), &id);
        let mut lines: Vec<String> = self.credential(who).into_iter().chain([elsewhere()]).collect();
        if due_of_nothing(row, who).is_none() {
            let body = if row.method() == "GET" { "" } else { "{}" };
            return self.ask(row, &path, &lines, body).await;
        }
        // Whoever may ask sends what the row takes, so that it is looked for.
        if row.is_in_organization() {
            lines.push(format!("X-Org-Slug: {OWN}"));
        }
        let mut asked = inputs(row, &id).into_iter().peekable();
        loop {
            let (query, body) = asked.next().expect("what a row is asked with");
            let answer = self.ask(row, &format!("{path}{query}"), &lines, &body).await;
            if !matches!(answer.status, 400 | 422) || asked.peek().is_none() {
                return answer;
            }
        }
    }

    async fn ask(&self, row: &Row, path: &str, lines: &[String], body: &str) -> Answer {
        let text = request(row.method().as_str(), path, lines, body);
        exchange(self.gateway.public(), text).await.unwrap_or_else(|| panic!("{path}: an answer"))
    }

    /// Logs somebody in again whose call has ended their own session.
    async fn keep_signed_in(&mut self, who: Who) {
        let is_of_person = matches!(who, Who::Stranger | Who::Holder | Who::SettingUp | Who::Choosing);
        let Some(credential) = self.credential(who).filter(|_| is_of_person) else { return };
        let gateway = &self.gateway;
        // A restricted session is told so, and one that is over is told that.
        if gateway.call("GET", "/me/", &[credential, elsewhere()], &Value::Null).await.status != 401 {
            return;
        }
        match who {
            Who::Holder => self.holder = gateway.log_in("cleo", self.holder.id, &self.keys).await,
            Who::SettingUp => {
                self.setting_up = restricted(gateway, "root", Scope::SecondFactorSetupOnly).await;
            }
            Who::Choosing => self.choosing = restricted(gateway, "mae", Scope::PasswordChangeOnly).await,
            _ => self.stranger = gateway.log_in("ada", self.stranger.id, &self.keys).await,
        }
    }
}

/// The token of somebody whose login opens nothing but what it is for.
async fn restricted(gateway: &Gateway, name: &str, scope: Scope) -> String {
    let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD});
    let told = gateway.call("POST", "/login/email/", &[elsewhere()], &body).await.json();
    assert_eq!(told["token_scope"], scope.as_str(), "{name}");
    told["access_token"].as_str().unwrap().to_owned()
}

/// Why a row says something else than 404 of what there is not, where it does: 400, in the words of the contract.
pub fn says_otherwise(row: &Row) -> Option<&'static str> {
    let is_decision = row.method() == "POST" && row.path().starts_with("/ai/pending-actions/{token}/");
    match row.path() {
        "/social/{provider}/link/" => Some("it names a provider, which is nobody's"),
        _ if is_decision => Some("a token that opens nothing is an invalid one, whoever's it is"),
        _ => None,
    }
}

/// A row's path with this in the place of every `{name}`.
pub fn filled(path: &str, id: &str) -> String {
    let pieces = path.split('/').map(|piece| if piece.starts_with('{') { id } else { piece });
    pieces.collect::<Vec<_>>().join("/")
}

fn right_of(row: &Row) -> Option<Granted> {
    match row.access() {
        Access::Permission(code) => Some(Granted::Permission(Code::parse(code).unwrap())),
        Access::Open | Access::Person | Access::Agent | Access::Page | Access::PersonOrAgent => None,
    }
}

/// Calls every row as each of these, and fails with everything that is wrong.
async fn as_each_of(callers: &[Who]) {
    let mut scene = Scene::new().await;
    let rows = scene.table.rows().to_vec();
    assert!(rows.len() > 200, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        for who in callers {
            let right = right_of(row).filter(|_| *who == Who::Holder);
            if let Some(right) = &right {
                scene.gateway.grant(scene.holder.id, right.clone()).await;
            }
            let answer = scene.call(row, *who).await;
            if let Some(right) = right {
                scene.gateway.revoke(scene.holder.id, right).await;
            }
            if let Some(what) = problem(row, *who, &answer) {
                wrong.push(format!("{} {} as {who:?}: {what}", row.method(), scene.table.full_path(row)));
            }
            if row.method() != "GET" {
                scene.keep_signed_in(*who).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_endpoint_says_to_those_who_are_not_known_what_its_row_says() {
    as_each_of(&[Who::Nobody, Who::Forger]).await;
}

#[tokio::test]
async fn every_endpoint_says_to_people_what_its_row_says() {
    as_each_of(&[Who::Stranger, Who::Holder]).await;
}

#[tokio::test]
async fn every_endpoint_says_to_programs_and_agents_what_its_row_says() {
    as_each_of(&[Who::Program, Who::Agent]).await;
}

#[tokio::test]
async fn every_endpoint_says_to_restricted_sessions_what_its_row_says() {
    as_each_of(&[Who::SettingUp, Who::Choosing]).await;
}

/// A table that says other things than the gateway does is found out.
#[test]
fn the_matrix_can_fail() {
    let yaml = "preset: development\n";
    let table = server::public(&portcullis::config::load_text(yaml).unwrap().config);
    let row = |path: &str| table.rows().iter().find(|row| row.path() == path).unwrap();
    let answer = |status: u16, code: &str, challenge: Option<&str>| Answer {
        status,
        headers: challenge.map(|text| ("www-authenticate".to_owned(), text.to_owned())).into_iter().collect(),
        body: json!({ "code": code }).to_string().into_bytes(),
    };
    let bearer = Some("Bearer realm=\"portcullis\"");
    let (own, health) = (row("/sessions/"), row("/api/v1/health/"));
    assert!(problem(own, Who::Nobody, &answer(401, "AUTH_REQUIRED", bearer)).is_none());
    for (who, wrong) in [
        (Who::Nobody, answer(200, "", None)),
        (Who::Nobody, answer(401, "AUTH_REQUIRED", None)),
        (Who::Nobody, answer(401, "UNAUTHORIZED", bearer)),
        (Who::Forger, answer(401, "UNAUTHORIZED", bearer)),
        (Who::Stranger, answer(403, "PERMISSION_REQUIRED", None)),
        (Who::Stranger, answer(500, "INTERNAL_ERROR", None)),
        (Who::Program, answer(200, "", None)),
        (Who::Agent, answer(200, "", None)),
        (Who::SettingUp, answer(200, "", None)),
    ] {
        assert!(problem(own, who, &wrong).is_some(), "{who:?} {wrong:?}");
    }
    assert!(problem(health, Who::Nobody, &answer(401, "AUTH_REQUIRED", bearer)).is_some());
    let (page, deed) = (row("/portcullis/admin/users/"), row("/portcullis/admin/users/{id}/ban/"));
    let led = |to: &str| Answer {
        status: 303,
        headers: vec![("location".to_owned(), to.to_owned())],
        body: Vec::new(),
    };
    for row in [page, deed] {
        for who in [Who::Nobody, Who::Holder, Who::SettingUp] {
            assert!(problem(row, who, &led("/portcullis/login/?next=%2F")).is_none(), "{row:?} {who:?}");
            for wrong in [answer(200, "", None), led("/portcullis/admin/users/?said=banned")] {
                assert!(problem(row, who, &wrong).is_some(), "{row:?} {who:?} {wrong:?}");
            }
        }
    }
    assert!(problem(page, Who::Stranger, &answer(403, "", None)).is_some());
    assert!(problem(deed, Who::Stranger, &answer(403, "", None)).is_none());
    let users = row("/admin/users/");
    assert!(problem(users, Who::Stranger, &answer(200, "", None)).is_some());
    assert!(problem(users, Who::Holder, &answer(403, "PERMISSION_REQUIRED", None)).is_some());
    // What there is not is not found by those who may look for it; what lacks something was not looked for.
    for (named, due) in [
        (row("/admin/users/{id}/"), 404),
        (row("/api-keys/{id}/"), 404),
        (row("/organizations/members/{id}/"), 404),
        (row("/social/{provider}/link/"), 400),
        (row("/ai/pending-actions/{token}/deny/"), 400),
    ] {
        for status in [200, 201, 204, 400, 403, 404, 409, 422] {
            let found = problem(named, Who::Holder, &answer(status, "WHATEVER", None));
            assert_eq!(found.is_none(), status == due, "{named:?} {status} {found:?}");
        }
    }
}
