//! Second factors on the running gateway: turned on, asked for, proved again, and what routes and
//! approvals make of it (contract sections 10 and 17, security bar 2.G).
//! Law: a code opens something once, and what a session has not proved it is never taken to have.

use std::time::Duration;

use portcullis::base::Id;
use portcullis::factor::Seed;
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::support::Upstream;
use crate::support::forms::{Browser, LIST, LOGIN, cookie_of, form};
use crate::support::people::{PASSWORD, TRUSTING, User, elsewhere, role};
use crate::support::raw::Answer;

const STEP: Duration = Duration::from_secs(30);

const STEP_UP: &str = r#"Bearer realm="portcullis", error="insufficient_user_authentication""#;

async fn with_routes(upstream: &Upstream) -> Scene {
    let routes = format!(
        "accounts: {{ staff_second_factor: required }}
roles: [ {{ code: finance }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: safe, match: {{ path: '/safe' }}, upstream: up, allow: {{ mfa: true, max_age: 5m }} }}
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }}
  - {{ name: pay, match: {{ path: '/pay' }}, upstream: up, allow: {{ mfa: true }},
      agents: {{ permission: reports.read, hold: always, approvers: {{ any_of: [ {{ role: finance }} ] }} }} }}
",
        upstream.address
    );
    scene(&format!("{TRUSTING}{routes}")).await
}

impl Scene {
    fn code(&self, seed: &Seed) -> String {
        seed.code_at(self.gateway.running.app.now()).expose().clone()
    }

    async fn call_as(&self, user: &User, path: &str, body: Value) -> Answer {
        self.gateway.call("POST", path, &self.lines(user), &body).await
    }

    /// Turns a second factor on; the clock is then in a step that was not used.
    async fn enrol(&self, user: &User) -> (Seed, User) {
        let begun = self.call_as(user, "/2fa/setup/", json!({})).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        let seed = Seed::parse(begun.json()["secret"].as_str().unwrap()).unwrap();
        let done = self.call_as(user, "/2fa/confirm/", json!({"code": self.code(&seed)})).await;
        assert_eq!(done.status, 200, "{}", done.text());
        self.clock.advance(STEP);
        (seed, user_of(&done, user))
    }

    async fn try_log_in(&self, name: &str, code: Option<&str>) -> Answer {
        let email = format!("{name}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "totp_code": code});
        let lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        self.gateway.call("POST", "/login/email/", &lines, &body).await
    }

    async fn is_approved(&self) -> bool {
        !self.rows("approval_approved").await.is_empty()
    }

    async fn reached(&self, user: &User, path: &str) -> String {
        let answer = self.gateway.get_as(user, path, &[]).await;
        if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
    }
}

fn user_of(answer: &Answer, like: &User) -> User {
    let told = answer.json();
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    User { id: like.id, access: text("access_token"), refresh: text("refresh_token") }
}

#[tokio::test]
async fn a_route_that_asks_for_a_second_factor_opens_when_the_session_has_proved_one() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let old = scene.ada.clone();
    let refused = scene.gateway.get_as(&old, "/safe", &[]).await;
    assert_eq!((refused.status, refused.code()), (403, "MFA_REQUIRED".into()));
    assert_eq!(refused.header("www-authenticate"), Some(STEP_UP));
    assert_eq!(scene.reached(&old, "/mine").await, "200");
    let other = scene.gateway.log_in("ada", old.id, &scene.keys).await;
    let (seed, proved) = scene.enrol(&old).await;
    assert_eq!(scene.reached(&proved, "/safe").await, "200");
    for over in [&old, &other] {
        assert_eq!(scene.reached(over, "/mine").await, "401 TOKEN_INVALID", "it was there before");
    }
    let asked = scene.try_log_in("ada", None).await;
    assert_eq!((asked.status, asked.code()), (401, "2FA_REQUIRED".into()));
    assert_eq!(asked.json()["requires_2fa"], true);
    let entered = scene.try_log_in("ada", Some(&scene.code(&seed))).await;
    assert_eq!(entered.status, 200, "{}", entered.text());
    let user = user_of(&entered, &old);
    assert_eq!(scene.reached(&user, "/safe").await, "200");
    let again = scene.try_log_in("ada", Some(&scene.code(&seed))).await;
    assert_eq!((again.status, again.code()), (401, "INVALID_2FA_CODE".into()));

    scene.clock.advance(Duration::from_mins(6));
    let refused = scene.gateway.get_as(&user, "/safe", &[]).await;
    assert_eq!((refused.status, refused.code()), (403, "REAUTHENTICATION_REQUIRED".into()));
    assert_eq!(refused.header("www-authenticate"), Some(format!("{STEP_UP}, max_age=\"300\"").as_str()));
    let proved = scene.call_as(&user, "/2fa/verify/", json!({"code": scene.code(&seed)})).await;
    assert_eq!(proved.status, 200, "{}", proved.text());
    assert_eq!(scene.reached(&user, "/mine").await, "401 TOKEN_INVALID", "a copy of it gains nothing");
    let user = user_of(&proved, &old);
    assert_eq!(scene.reached(&user, "/safe").await, "200");
    scene.clock.advance(STEP);
    let off = json!({"code": scene.code(&seed), "password": PASSWORD});
    assert_eq!(scene.call_as(&user, "/2fa/disable/", off).await.status, 200);
    assert_eq!(scene.reached(&user, "/safe").await, "403 MFA_REQUIRED");
    assert_eq!(scene.reached(&user, "/mine").await, "200");
}

#[tokio::test]
async fn staff_without_a_second_factor_may_set_one_up_and_nothing_else() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    scene.gateway.account("root", |new| new.is_superuser = true).await;
    let entered = scene.try_log_in("root", None).await;
    let told = entered.json();
    assert_eq!((entered.status, told["token_scope"].as_str()), (200, Some("2fa_setup_only")));
    assert_eq!((&told["requires_2fa_setup"], told.get("refresh_token")), (&json!(true), None));
    let root = user_of(&entered, &scene.ada);
    assert_eq!(scene.reached(&root, "/mine").await, "403 INSUFFICIENT_SCOPE");
    for (method, path) in [
        ("GET", "/me/"),
        ("GET", "/2fa/status/"),
        ("GET", "/ai/tokens/"),
        ("POST", "/ai/tokens/"),
        ("POST", "/2fa/disable/"),
        ("POST", "/2fa/verify/"),
        ("POST", "/2fa/backup-codes/"),
        ("POST", "/password/change/"),
        ("POST", "/ws-ticket/"),
    ] {
        let answer = scene.gateway.call(method, path, &scene.lines(&root), &json!({})).await;
        assert_eq!((answer.status, answer.code()), (403, "INSUFFICIENT_SCOPE".into()), "{method} {path}");
    }
    let mut browser = Browser::new(&scene.gateway);
    let fields = [("email", "root@example.com"), ("password", PASSWORD), ("next", LIST)];
    let lines = [format!("Origin: {}", browser.origin()), elsewhere()];
    let inside = browser.ask("POST", LOGIN, &lines, &form(&fields)).await;
    assert_eq!(inside.header("location"), Some("/portcullis/account/second-factor/"), "not to a refusal");
    browser.log_in("root").await;
    assert_eq!(browser.get("/portcullis/account/second-factor/").await.status, 200);
    for (method, path) in [("GET", LIST.to_owned()), ("POST", format!("{LIST}{}/approve/", Id::from_u128(1)))]
    {
        let page = browser.ask(method, &path, &[format!("Origin: {}", browser.origin())], "csrf=x").await;
        assert_eq!(page.status, 403, "{method} {path}");
        assert!(page.text().contains("Set up a second factor first"), "{}", page.text());
    }
    let begun = scene.call_as(&root, "/2fa/setup/", json!({})).await;
    let seed = Seed::parse(begun.json()["secret"].as_str().unwrap()).unwrap();
    let done = scene.call_as(&root, "/2fa/confirm/", json!({"code": scene.code(&seed)})).await;
    assert_eq!((done.status, &done.json()["is_enabled"]), (200, &json!(true)), "{}", done.text());
    let whole = user_of(&done, &scene.ada);
    assert_eq!(scene.reached(&whole, "/safe").await, "200");
    assert_eq!(scene.reached(&root, "/mine").await, "401 TOKEN_INVALID", "it has done what it was for");
    let refreshed = scene
        .gateway
        .call("POST", "/refresh/", &scene.keys.lines(), &json!({"refresh_token": whole.refresh}))
        .await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(scene.reached(&user_of(&refreshed, &scene.ada), "/safe").await, "200", "and is kept");
}

#[tokio::test]
async fn an_agent_and_its_approver_need_the_second_factor_that_the_route_asks_for() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let bob = scene.gateway.user("bob", &scene.keys).await;
    scene.gateway.grant(bob.id, role("finance")).await;
    let mint = json!({"agent_id": "bot", "permissions": ["reports.read"]});
    let plain = scene.mint(&mint).await.1;
    let (seed, ada) = scene.enrol(&scene.ada).await;
    let refused = scene.gateway.send("POST", "/pay", &[bearer(&plain)]).await;
    assert_eq!((refused.status, refused.code()), (403, "AGENT_PERMISSION_DENIED".into()));
    assert_eq!(refused.json()["failed"], "session", "delegated before the second factor");
    let proved = scene.call_as(&ada, "/ai/tokens/", mint).await.json();
    let proved = proved["token"].as_str().expect("a token");
    let held = scene.gateway.send("POST", "/pay", &[bearer(proved)]).await;
    assert_eq!(held.status, 202, "{}", held.text());
    let confirm =
        format!("/ai/pending-actions/{}/confirm/", held.json()["confirmation_token"].as_str().unwrap());

    let decided = scene.call_as(&bob, &confirm, json!({})).await;
    assert_eq!((decided.status, decided.code()), (403, "MFA_REQUIRED".into()), "{}", decided.text());
    assert_eq!(decided.header("www-authenticate"), Some(STEP_UP));
    let (_, bob) = scene.enrol(&bob).await;
    let decided = scene.call_as(&bob, &confirm, json!({})).await;
    assert_eq!(decided.status, 200, "{}", decided.text());

    let off = json!({"code": scene.code(&seed), "password": PASSWORD});
    assert_eq!(scene.call_as(&ada, "/2fa/disable/", off).await.status, 200);
    let refused = scene.gateway.send("POST", "/pay", &[bearer(proved)]).await;
    assert_eq!((refused.status, refused.code()), (403, "AGENT_PERMISSION_DENIED".into()));
    assert_eq!(refused.json()["failed"], "session", "what a second factor proved ends with it");
}

#[tokio::test]
async fn the_page_approves_nothing_without_the_second_factor_that_the_route_asks_for() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let bob = scene.gateway.user("bob", &scene.keys).await;
    scene.gateway.grant(bob.id, role("finance")).await;
    let (_, ada) = scene.enrol(&scene.ada).await;
    let mint = json!({"agent_id": "bot", "permissions": ["reports.read"]});
    let minted = scene.call_as(&ada, "/ai/tokens/", mint).await.json();
    let held =
        scene.gateway.send("POST", "/pay", &[bearer(minted["token"].as_str().expect("a token"))]).await;
    assert_eq!(held.status, 202, "{}", held.text());
    let page = format!("{LIST}{}/", held.json()["approval_id"].as_str().expect("an id"));
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("bob").await;
    let refused = browser.post(&format!("{page}approve/"), &[]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("This needs a login with a second factor"), "{}", refused.text());
    assert!(scene.rows("approval_approved").await.is_empty());
    let (seed, _) = scene.enrol(&bob).await;
    let refused = browser.post(&format!("{page}approve/"), &[]).await;
    assert_ne!(refused.status, 200, "{}", refused.text());
    assert!(!scene.is_approved().await, "a session from before has proved nothing");
    let code = scene.code(&seed);
    let fields = [
        ("email", "bob@example.com"),
        ("password", PASSWORD),
        ("next", page.as_str()),
        ("code", code.as_str()),
    ];
    let entered = browser
        .ask("POST", LOGIN, &[format!("Origin: {}", browser.origin()), elsewhere()], &form(&fields))
        .await;
    assert_eq!(
        (entered.status, entered.header("location")),
        (303, Some(page.as_str())),
        "{}",
        entered.text()
    );
    browser.cookie = Some(cookie_of(&entered));
    assert_eq!(browser.post(&format!("{page}approve/"), &[]).await.status, 303);
    assert!(scene.is_approved().await);
}

/// Whoever knew the password may have delegated in its name.
#[tokio::test]
async fn what_was_delegated_ends_with_the_password() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let mint = json!({"agent_id": "bot", "permissions": ["reports.read"]});
    let token = scene.mint(&mint).await.1;
    let change = json!({"current_password": PASSWORD, "new_password": "Another-horse-7-staple"});
    assert_eq!(scene.call_as(&scene.ada, "/password/change/", change).await.status, 200);
    let refused = scene.gateway.send("POST", "/pay", &[bearer(&token)]).await;
    assert_eq!((refused.status, refused.code()), (403, "AGENT_TOKEN_STATUS_REVOKED".into()));
    assert_eq!(scene.rows("agent_tokens_revoked").await.len(), 1);
}

#[tokio::test]
async fn the_login_page_asks_for_the_code_where_there_is_a_second_factor() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let (seed, _) = scene.enrol(&scene.ada).await;
    let browser = Browser::new(&scene.gateway);
    let send = async |code: Option<&str>| {
        let mut fields = vec![("email", "ada@example.com"), ("password", PASSWORD), ("next", LIST)];
        fields.extend(code.map(|code| ("code", code)));
        browser
            .ask("POST", LOGIN, &[format!("Origin: {}", browser.origin()), elsewhere()], &form(&fields))
            .await
    };
    assert!(!browser.get(LOGIN).await.text().contains("name=\"code\""));
    let asked = send(None).await;
    assert!(asked.status == 401 && asked.text().contains("name=\"code\""), "{}", asked.text());
    assert!(!asked.text().contains(PASSWORD) && asked.all("set-cookie").count() == 0);
    let wrong = send(Some("000000")).await;
    assert!(wrong.status == 401 && wrong.text().contains("The code is wrong"));
    let entered = send(Some(&scene.code(&seed))).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some(LIST)));
}

#[tokio::test]
async fn no_secret_of_a_second_factor_is_in_the_audit_trail_or_the_metrics() {
    let upstream = Upstream::echo().await;
    let scene = with_routes(&upstream).await;
    let begun = scene.call_as(&scene.ada, "/2fa/setup/", json!({})).await.json();
    let secret = begun["secret"].as_str().unwrap();
    let code = scene.code(&Seed::parse(secret).unwrap());
    assert_eq!(scene.call_as(&scene.ada, "/2fa/confirm/", json!({"code": code})).await.status, 200);
    let backup = begun["backup_codes"][0].as_str().unwrap();
    assert_eq!(scene.try_log_in("ada", Some(backup)).await.status, 200);
    let app = &scene.gateway.running.app;
    let trail = format!("{:?}", portcullis::audit::tail(&app.db, 0, 1000).await.unwrap());
    let metrics = app.metrics.render();
    assert!(trail.contains("2fa_backup_used") && trail.contains("2fa_enabled"));
    for hidden in [secret, code.as_str(), backup, &backup.replace('-', "")] {
        assert!(!trail.contains(hidden) && !metrics.contains(hidden));
    }
}
