//! The pages as a browser without JavaScript uses them: forms, cookies and redirects over HTTP.
//! Law: looking decides nothing, only a form of our own page does, and nothing that came from
//! outside is anything but text.

use std::time::Duration;

use portcullis::agent::{self, Reference as OfToken};
use portcullis::approval::{
    self, Approval, Ask, Asked, Bound, Content, Mode, Reference, Rules, State, policy_digest, request_digest,
};
use portcullis::audit::{self, Actor};
use portcullis::base::Number;
use portcullis::policy::approver::Group;
use portcullis::policy::{Approver, Approvers, Code};
use portcullis::store::DEFAULT_SITE;
use regex::Regex;
use serde_json::json;

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::routes;
use crate::support::Upstream;
use crate::support::forms::{Browser, LIST, LOGIN, cookie_of, form};
use crate::support::people::{PASSWORD, TRUSTING, elsewhere, role};

pub async fn with_pages() -> Scene {
    let upstream = Upstream::echo().await;
    let cors = "cors: { origins: [https://app.example.com] }\n";
    scene(&format!("{TRUSTING}{cors}{}", routes(&upstream))).await
}

impl Scene {
    /// Something that an agent of Ada's wants to do.
    pub async fn asked(&self, agent: &str, target: &str, body: &str, trace: Option<&str>) -> Approval {
        self.asked_of(Approvers::delegator(), agent, target, body, trace).await
    }

    /// The same where others decide.
    pub async fn asked_of(
        &self,
        approvers: Approvers,
        agent: &str,
        target: &str,
        body: &str,
        trace: Option<&str>,
    ) -> Approval {
        let minted = self.mint(&json!({"agent_id": agent, "permissions": ["reports.read"]})).await;
        let app = &self.gateway.running.app;
        let reference = OfToken::Number(Number(minted.0));
        let token = agent::find(&app.db, reference).await.unwrap().unwrap();
        let content = Content {
            method: "POST".to_owned(),
            authority: "api.example.com".to_owned(),
            asked: target.to_owned(),
            target: target.to_owned(),
            headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            body: body.as_bytes().to_vec(),
            client: "192.0.2.7".parse().unwrap(),
            is_https: false,
            idempotency_key: None,
        };
        let policy = policy_digest(&app.config(), &app.config().routes[0]);
        let request = request_digest(&Bound {
            site: DEFAULT_SITE,
            organization: None,
            agent_token: token.id,
            account: self.ada.id,
            route: "reports",
            policy: &policy,
            upstream: "up",
            method: &content.method,
            authority: &content.authority,
            target: &content.target,
            headers: &content.headers,
            body: &content.body,
        });
        let rules = Rules { approvers, mfa: false, max_age: None };
        let ask = Ask {
            token: &token,
            route: "reports",
            permission: &Code::parse("reports.read").unwrap(),
            mode: Mode::Retry,
            is_idempotent: false,
            rules: &rules,
            policy: &policy,
            request: &request,
            trace,
            decide_within: Duration::from_mins(10),
            execute_within: Duration::from_mins(5),
            content: &content,
        };
        match approval::request(app, &Actor::system(), ask).await.unwrap() {
            Asked::Open(approval) => *approval,
            other => panic!("{other:?}"),
        }
    }

    pub async fn now(&self, approval: &Approval) -> Approval {
        let app = &self.gateway.running.app;
        approval::find(&app.db, &Reference::Id(approval.id)).await.unwrap().unwrap()
    }

    async fn stands(&self, approval: &Approval) -> State {
        self.now(approval).await.state_at(self.gateway.running.app.now())
    }
}

pub fn page_of(approval: &Approval) -> String {
    format!("{LIST}{}/", approval.id)
}

#[tokio::test]
async fn somebody_logs_in_reads_and_approves() {
    let scene = with_pages().await;
    let body = r#"{"amount": 1200, "to": "zoe"}"#;
    let approval = scene.asked("finance bot", "/reports/7?pay=now", body, Some("trace-7")).await;
    let mut browser = Browser::new(&scene.gateway);
    let page = page_of(&approval);
    let first = browser.get(&page).await;
    let login = format!("{LOGIN}?next={}", page.replace('/', "%2F"));
    assert_eq!((first.status, first.header("location")), (303, Some(login.as_str())));
    assert!(browser.get(&login).await.text().contains(&format!("name=\"next\" value=\"{page}\"")));
    let wrong = browser.post(LOGIN, &[("email", "ada@example.com"), ("password", "wrong")]).await;
    assert!(wrong.status == 401 && wrong.text().contains("is wrong") && wrong.all("set-cookie").count() == 0);
    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", page.as_str())];
    let entered = browser.post(LOGIN, &fields).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some(page.as_str())));
    let set = entered.header("set-cookie").unwrap();
    assert!(set.contains("; HttpOnly; SameSite=Lax") && set.contains("Path=/;"), "{set}");
    browser.cookie = Some(cookie_of(&entered));
    let listed = browser.get(LIST).await.text();
    assert!(listed.contains(&format!("href=\"{page}\"")) && listed.contains("finance bot"), "{listed}");
    let shown = browser.get(&page).await;
    for part in [
        "POST through route reports (reports.read)",
        "/reports/7?pay=now",
        "{&quot;amount&quot;: 1200, &quot;to&quot;: &quot;zoe&quot;}",
        "content-type: application/json",
        "api.example.com",
        "finance bot",
        "ada@example.com",
        "trace-7",
        &approval.binding,
        "own words",
    ] {
        assert!(shown.text().contains(part), "{part} is not in {}", shown.text());
    }
    let answer = browser.post(&format!("{page}approve/"), &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some(page.as_str())));
    assert_eq!(scene.stands(&approval).await, State::Approved);
    assert!(!browser.get(&page).await.text().contains("approve/"), "there is nothing left to decide");
    let rows = audit::tail(&scene.gateway.running.app.db, 0, 1000).await.unwrap();
    let row = rows.iter().find(|row| row.code == "approval_approved").expect("an audit row");
    assert_eq!(row.actor, Some(scene.ada.id));
    let again = browser.post(&format!("{page}deny/"), &[]).await;
    assert!(again.status == 409 && again.text().contains("any more"));
    assert_eq!(scene.stands(&approval).await, State::Approved);
}

#[tokio::test]
async fn looking_decides_nothing_and_only_our_own_forms_do() {
    let scene = with_pages().await;
    let approval = scene.asked("bot", "/reports/7", "{}", None).await;
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    let page = page_of(&approval);
    let secret = browser.secret(&page).await;
    for path in ["", "approve/", "deny/", "stop/"] {
        for method in ["GET", "HEAD"] {
            browser.ask(method, &format!("{page}{path}"), &[], "").await;
        }
    }
    let ours = format!("Origin: {}", browser.origin());
    let foreign = [
        "Origin: https://evil.example".to_owned(),
        "Origin: null".to_owned(),
        ours.replace("http:", "https:"),
        ours.clone() + "0",
        ours.clone() + ".evil.example",
        "Origin: https://app.example.com".to_owned(),
    ];
    let proof = form(&[("csrf", &secret)]);
    for step in ["approve/", "deny/", "stop/"] {
        let path = format!("{page}{step}");
        for line in &foreign {
            let answer = browser.ask("POST", &path, std::slice::from_ref(line), &proof).await;
            assert_eq!(answer.status, 403, "{line} {step}");
        }
        for body in ["", "csrf=", "csrf=x", &form(&[("csrf", &secret), ("csrf", &secret)])] {
            assert_eq!(browser.ask("POST", &path, &[], body).await.status, 403, "{body} {step}");
        }
    }
    let logout = browser.ask("POST", "/portcullis/logout/", &foreign[..1], &proof).await;
    assert_eq!(logout.status, 403);
    assert_eq!(scene.stands(&approval).await, State::Pending);
    // The secret of another session is none.
    let mut second = Browser::new(&scene.gateway);
    second.log_in("ada").await;
    assert_eq!(second.ask("POST", &format!("{page}approve/"), &[], &proof).await.status, 403);
    assert_eq!(browser.ask("POST", &format!("{page}approve/"), &[], &proof).await.status, 303);
    assert_eq!(scene.stands(&approval).await, State::Approved);
}

#[tokio::test]
async fn a_stranger_an_agent_and_nobody_decide_nothing() {
    let scene = with_pages().await;
    let approval = scene.asked("bot", "/reports/7", "{}", None).await;
    let (_, token) = scene.mint(&json!({"permissions": ["reports.read"]})).await;
    scene.gateway.account("eve", |_| {}).await;
    let mut eve = Browser::new(&scene.gateway);
    eve.log_in("eve").await;
    let (page, nobody) = (page_of(&approval), Browser::new(&scene.gateway));
    assert_eq!(eve.get(&page).await.status, 404);
    assert!(!eve.get(LIST).await.text().contains(&page));
    for step in ["approve/", "deny/", "stop/"] {
        let path = format!("{page}{step}");
        assert_eq!(eve.post(&path, &[]).await.status, 404, "{step}");
        assert_eq!(nobody.post(&path, &[]).await.status, 303, "to the login");
        let lines = [bearer(&token), format!("Origin: {}", nobody.origin())];
        let agent = nobody.ask("POST", &path, &lines, "").await;
        assert!(agent.status == 403 && agent.text().starts_with("<!DOCTYPE html>"), "{}", agent.text());
        // A token that programs hold is no cookie.
        let lines = [scene.ada.bearer(), format!("Origin: {}", nobody.origin())];
        assert_eq!(nobody.ask("POST", &path, &lines, "").await.status, 303);
    }
    let confirmation = approval::token(&scene.gateway.running.app, approval.id);
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    assert_eq!(ada.get(&format!("{LIST}{}/", confirmation.expose())).await.status, 404);
    assert_eq!(scene.stands(&approval).await, State::Pending);
    assert_eq!(scene.now(&approval).await, approval);
}

/// Whatever pages there are: one that is added is asked for here without a word.
#[tokio::test]
async fn t5_an_agent_gets_no_page_and_no_form_of_any_takes_anything_from_it() {
    let scene = with_pages().await;
    let (id, token) = scene.mint(&json!({"permissions": ["reports.read"]})).await;
    let nobody = Browser::new(&scene.gateway);
    let lines = [bearer(&token), format!("Origin: {}", nobody.origin())];
    let mut rows = portcullis::web::rows();
    rows.retain(|row| row.path().starts_with("/portcullis/"));
    assert!(rows.len() > 20, "they were found");
    for row in rows {
        let path = row.path().replace("{id}", &id.to_string()).replace("{provider}", "google");
        let answer = nobody.ask(row.method().as_str(), &path, &lines, "").await;
        assert_eq!(answer.status, 403, "{} {path}: {}", row.method(), answer.text());
    }
    assert_eq!(scene.state(id).await.0, "ACTIVE");
}

#[tokio::test]
async fn a_no_has_a_reason_and_an_agent_can_be_stopped() {
    let scene = with_pages().await;
    let denied = scene.asked("one", "/reports/7", "{}", None).await;
    let stopped = scene.asked("two", "/reports/8", "{}", None).await;
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    let reason = "Not today — ask <b>Zoë</b> & me";
    let answer = browser.post(&format!("{}deny/", page_of(&denied)), &[("reason", reason)]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(scene.stands(&denied).await, State::Denied);
    assert_eq!(scene.now(&denied).await.reason.as_deref(), Some(reason));
    let shown = browser.get(&page_of(&denied)).await.text();
    assert!(shown.contains("&lt;b&gt;Zoë&lt;/b&gt; &amp; me"), "{shown}");
    assert_eq!(browser.post(&format!("{}stop/", page_of(&stopped)), &[]).await.status, 303);
    assert_eq!(scene.stands(&stopped).await, State::Void);
    let token = agent::find(&scene.gateway.running.app.db, OfToken::Id(stopped.agent_token)).await.unwrap();
    assert_eq!(token.unwrap().status, agent::Status::Suspended);
    assert!(!browser.get(&page_of(&stopped)).await.text().contains("stop/"));
}

#[tokio::test]
async fn who_only_decides_about_an_agent_cannot_stop_it() {
    let scene = with_pages().await;
    let eve = scene.gateway.account("eve", |_| {}).await;
    scene.gateway.grant(eve, role("viewer")).await;
    let viewers = Group { any_of: vec![Approver::Role(Code::parse("viewer").unwrap())], need: 1 };
    let approval = scene.asked_of(Approvers(vec![viewers]), "bot", "/reports/7", "{}", None).await;
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("eve").await;
    let page = page_of(&approval);
    let shown = browser.get(&page).await.text();
    assert!(shown.contains("approve/") && !shown.contains("stop/"), "{shown}");
    let refused = browser.post(&format!("{page}stop/"), &[]).await;
    assert!(refused.status == 403 && refused.text().contains("Only the human"), "{}", refused.text());
    assert_eq!(scene.stands(&approval).await, State::Pending);
    assert_eq!(browser.post(&format!("{page}approve/"), &[]).await.status, 303);
    assert_eq!(scene.stands(&approval).await, State::Approved);
    let mut ada = Browser::new(&scene.gateway);
    ada.log_in("ada").await;
    assert_eq!(ada.post(&format!("{page}stop/"), &[]).await.status, 303);
    assert_eq!(scene.stands(&approval).await, State::Void);
}

/// What would run, or change what a reader sees, were it not text.
const CANARIES: &[&str] = &[
    "<script>canary()</script>",
    "\"><img src=x onerror=canary()>",
    "'><svg/onload=canary()>",
    "</pre></textarea><script>canary()</script>",
    "</title><script>canary()</script>",
    "javascript:canary()",
    "<a href=\"javascript:canary()\">x</a>",
    "\" autofocus onfocus=\"canary()",
    "<!--<script>canary()//-->",
    "<style>@import 'x'</style>",
    "<base href=//evil.example>",
    "<form action=//evil.example><input name=csrf>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "&lt;script&gt;canary()&lt;/script&gt;",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "\u{202e}gnp.exe\u{202c}\u{200b}\u{feff}",
];

#[tokio::test]
async fn what_came_from_outside_is_text_and_what_cannot_be_seen_is_written_out() {
    let scene = with_pages().await;
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    let tag = Regex::new(r"<[a-zA-Z/!][^>]*>").unwrap();
    let plain = scene.asked("plain", "/reports/0", r#"{"reason": "x"}"#, None).await;
    let count = |page: &str| tag.find_iter(page).filter(|found| !found.as_str().contains("mark")).count();
    let expected = count(&browser.get(&page_of(&plain)).await.text());
    for canary in CANARIES {
        let body = json!({"reason": canary}).to_string();
        let label = canary.replace(|c: char| c.is_control() || !c.is_ascii(), "");
        let approval = scene.asked(label.trim(), "/reports/7", &body, None).await;
        let page = browser.get(&page_of(&approval)).await;
        let text = page.text();
        assert_eq!(count(&text), expected, "{canary}: another tag in {text}");
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("onerror=canary()>"));
        assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{feff}']), "{canary}");
        let deny = format!("{}deny/", page_of(&approval));
        browser.post(&deny, &[("reason", canary)]).await;
        let text = browser.get(&page_of(&approval)).await.text();
        assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
        let wrong =
            browser.ask("POST", LOGIN, &[elsewhere()], &form(&[("email", canary), ("next", canary)])).await;
        assert!(wrong.status == 401 && !wrong.text().contains("<script") && !wrong.text().contains("<img"));
        assert!(wrong.text().contains(&format!("name=\"next\" value=\"{LIST}\"")));
    }
    let hidden = scene.asked("hidden", "/reports/9", "{\"to\": \"a\u{202e}b\u{0}\"}", None).await;
    assert!(browser.get(&page_of(&hidden)).await.text().contains("\\u{202e}</mark>b"));
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(200_000));
    let long = scene.asked("long", "/reports/9", &long, None).await;
    assert!(browser.get(&page_of(&long)).await.text().contains(&"x".repeat(200_000)), "nothing is cut");
}

#[tokio::test]
async fn pages_are_stored_nowhere_framed_by_nobody_and_run_nothing() {
    let scene = with_pages().await;
    let approval = scene.asked("bot", "/reports/7", "{}", None).await;
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    let app = ["Origin: https://app.example.com".to_owned()];
    for path in [LIST, LOGIN, "/portcullis/", &page_of(&approval), "/portcullis/approvals/nothing/"] {
        let answer = browser.ask("GET", path, &app, "").await;
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("access-control-allow-origin"), None, "pages are for our own origin");
        let text = answer.text();
        assert!(!text.contains("<script") && !text.contains("style=") && !text.contains("http://"), "{text}");
    }
    let style = Regex::new(r#"href="(/portcullis/style\.css\?v=[0-9a-f]+)""#).unwrap();
    let page = browser.get(LIST).await.text();
    let style = browser.get(&style.captures(&page).expect("a style sheet")[1]).await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(style.header("etag").is_some() && style.header("cache-control").unwrap().contains("immutable"));
}

#[tokio::test]
async fn logging_out_ends_the_session_and_a_login_leads_only_to_a_path_of_ours() {
    let scene = with_pages().await;
    let mut browser = Browser::new(&scene.gateway);
    for next in [
        "https://evil.example",
        "//evil.example",
        "/%2f%2fevil.example",
        "/%5Cevil.example",
        "/\t/evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "/portcullis//evil.example",
        "/portcullis/\\evil",
    ] {
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", next)];
        let answer = browser.ask("POST", LOGIN, &[elsewhere()], &form(&fields)).await;
        assert_eq!(answer.header("location"), Some(LIST), "{next}");
        assert!(
            browser.get(&format!("{LOGIN}?next={next}")).await.text().contains(&format!("value=\"{LIST}\""))
        );
    }
    let foreign = ["Origin: https://evil.example".to_owned()];
    let fields = form(&[("email", "ada@example.com"), ("password", PASSWORD)]);
    let answer = browser.ask("POST", LOGIN, &foreign, &fields).await;
    assert!(answer.status == 403 && answer.all("set-cookie").count() == 0);
    browser.log_in("ada").await;
    let first = browser.cookie.clone();
    browser.log_in("ada").await;
    assert_ne!(first, browser.cookie, "each login has a cookie of its own");
    assert_eq!(browser.get(LIST).await.status, 200);
    let out = browser.post("/portcullis/logout/", &[]).await;
    assert!(out.status == 303 && out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get(LIST).await.status, 303, "the cookie opens nothing any more");
    browser.cookie = first.map(|first| {
        // In the middle, where every bit of a letter counts.
        let at = first.len() / 2;
        let other = if first.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &first[..at], &first[at + 1..])
    });
    assert_eq!(browser.get(LIST).await.status, 303, "a cookie that was changed is none");
}

#[tokio::test]
async fn too_many_logins_are_told_to_wait_on_a_page() {
    let scene = with_pages().await;
    let browser = Browser::new(&scene.gateway);
    let fields = [("email", "nobody@example.com"), ("password", "wrong")];
    let mut last = browser.post(LOGIN, &fields).await;
    for _ in 0..6 {
        last = browser.post(LOGIN, &fields).await;
    }
    assert_eq!(last.status, 429);
    assert!(
        last.header("retry-after").is_some() && last.text().contains("Too many attempts"),
        "{}",
        last.text()
    );
    assert_eq!(last.header("content-type"), Some("text/html; charset=utf-8"));
}
