//! Who calls: credentials, revocation, and what is remembered of callers.

use super::*;

const ROUTES: &str = "
routes:
  - { name: mine, match: { path: /mine }, upstream: app, allow: signed_in }
  - { name: reports, match: { path: /reports }, upstream: app, allow: { permission: reports.read } }
  - { name: any, match: { path: /any }, upstream: app, allow: { any: [ signed_in, { application: any } ] } }
  - { name: app, match: { path: /app }, upstream: app, allow: { application: billing } }
  - { name: open, match: { path: /open }, upstream: app, allow: anyone }
  - { name: maybe, match: { path: /maybe }, upstream: app, allow: anyone, identity: optional }
  - { name: socket, match: { path: /socket }, upstream: app, allow: signed_in, websocket: true }
";

#[tokio::test]
async fn a_bad_credential_never_falls_through_to_the_next() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let keys = |r: Request| r.with("x-access-key", "billing").with("x-access-secret", "secret");
    assert_eq!(setting.outcome(&keys(request("GET", "/any"))).await, "200");
    assert_eq!(setting.outcome(&request("GET", "/any").bearer(&ada)).await, "200");
    for bad in ["Bearer x.y.z", "Basic YTpi", "Bearer", "Bearer  x", "AgentBearer x"] {
        let request = keys(request("GET", "/any")).with("authorization", bad);
        assert_eq!(setting.outcome(&request).await, "401 TOKEN_INVALID", "{bad}");
    }
    assert_eq!(setting.outcome(&request("GET", "/any?access_token=x&bearer=y")).await, "401 AUTH_REQUIRED");
}

#[tokio::test]
async fn a_401_says_whether_a_credential_was_seen() {
    let setting = setting(ROUTES).await;
    let challenge = |rejection: &Rejection| rejection.headers()[0].1.to_str().unwrap().to_owned();
    let none = setting.rejection(&request("GET", "/mine")).await;
    assert_eq!(challenge(&none), r#"Bearer realm="portcullis""#);
    let bad = setting.rejection(&request("GET", "/mine").bearer("x")).await;
    assert_eq!(challenge(&bad), r#"Bearer realm="portcullis", error="invalid_token""#);
}

#[tokio::test]
async fn public_routes_do_not_look_at_credentials_unless_told_to() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    for request in [request("GET", "/open").bearer(&ada), request("GET", "/open").bearer("garbage")] {
        let admitted = setting.admitted(&request).await;
        assert!(admitted.permit.principal().is_none() && admitted.authorization == Authorization::Removed);
    }
    assert_eq!(setting.stamps(&request("GET", "/maybe").bearer(&ada)).await["x-auth-method"], "password");
    for header in ["Bearer garbage", "Basic YTpi", "x"] {
        let stamps = setting.stamps(&request("GET", "/maybe").with("authorization", header)).await;
        assert!(!stamps.contains_key("x-user-id"), "{header}");
    }
}

#[tokio::test]
async fn a_warm_caller_costs_no_reading() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    for _ in 0..5 {
        assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
    }
    assert_eq!(setting.reads(), 1);
}

#[tokio::test]
async fn every_revocation_binds_the_next_request() {
    let setting = setting(ROUTES).await;
    let application = application("billing");
    let ada = setting.person("ada", |person| person.session.application = Some(application.id));
    let account = account_of("ada");
    let sid = *setting.records.people.lock().unwrap().keys().next().unwrap();
    for subject in [Subject::Session(sid), Subject::Account(account), Subject::Application(application.id)] {
        assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
        let known = setting.records.people.lock().unwrap().remove(&sid).unwrap();
        assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200", "nobody said so yet");
        setting.raise(subject);
        assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "401 TOKEN_INVALID");
        assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "401 TOKEN_INVALID");
        setting.records.people.lock().unwrap().insert(sid, known);
        setting.raise(subject);
    }
}

#[tokio::test]
async fn rights_that_were_taken_are_gone_at_the_next_request() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |person| person.assignments.roles = vec![code("analyst")]);
    assert_eq!(setting.outcome(&request("GET", "/reports").bearer(&ada)).await, "200");
    setting.change_person("ada", |person| person.assignments.roles.clear());
    setting.raise(Subject::Account(account_of("ada")));
    assert_eq!(setting.outcome(&request("GET", "/reports").bearer(&ada)).await, "403 PERMISSION_REQUIRED");
}

#[tokio::test]
async fn a_changed_definition_binds_at_once_and_reads_nothing() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |person| person.assignments.roles = vec![code("analyst")]);
    assert_eq!(setting.outcome(&request("GET", "/reports").bearer(&ada)).await, "200");
    let (reads, before) = (setting.reads(), setting.gate.world());
    let mut definitions = setting.app.catalogue().definitions().clone();
    definitions.roles.get_mut(&code("analyst")).unwrap().permissions.clear();
    setting.app.in_force.turn().await.put_in_force(definitions, None);
    assert_eq!(setting.outcome(&request("GET", "/reports").bearer(&ada)).await, "403 PERMISSION_REQUIRED");
    assert_eq!(setting.reads(), reads);
    assert!(setting.gate.world().catalogue.generation() > before.catalogue.generation());
}

#[tokio::test]
async fn a_slow_reading_cannot_bring_back_what_was_revoked_meanwhile() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let request = request("GET", "/mine").bearer(&ada);
    let held = setting.records.hold.lock().await;
    let slow = setting.outcome(&request);
    let revoke = async {
        while setting.reads() == 0 {
            tokio::task::yield_now().await;
        }
        // The reader has what it read and waits; now the session ends.
        setting.forget("ada");
        setting.raise(Subject::Account(account_of("ada")));
        drop(held);
    };
    let (outcome, ()) = tokio::join!(slow, revoke);
    assert_eq!(outcome, "401 TOKEN_INVALID");
    assert_eq!(setting.outcome(&request).await, "401 TOKEN_INVALID");
}

#[tokio::test]
async fn a_session_is_over_at_its_end_and_a_token_at_its_own() {
    let setting = setting(ROUTES).await;
    let ends_at = NOON.plus(Duration::from_mins(10));
    let ada = setting.person("ada", |person| person.session.ends_at = ends_at);
    let bob = setting.person("bob", |_| {});
    let outcome = async |token: &str| setting.outcome(&request("GET", "/mine").bearer(token)).await;
    assert_eq!((outcome(&ada).await, outcome(&bob).await), ("200".into(), "200".into()));
    setting.app.clock.advance(Duration::from_mins(10));
    assert_eq!((outcome(&ada).await, outcome(&bob).await), ("401 TOKEN_INVALID".into(), "200".into()));
    setting.app.clock.advance(Duration::from_mins(5));
    assert_eq!(outcome(&bob).await, "401 TOKEN_INVALID");
}

#[tokio::test]
async fn a_refreshed_session_lives_on_past_the_end_that_was_remembered() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |person| person.session.ends_at = NOON.plus(Duration::from_mins(5)));
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
    setting.change_person("ada", |person| person.session.ends_at = NOON.plus(Duration::from_hours(1)));
    setting.app.clock.advance(Duration::from_mins(6));
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
}

#[tokio::test]
async fn a_token_that_names_another_account_than_its_session_opens_nothing() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let person = setting.records.people.lock().unwrap().values().next().unwrap().clone();
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
    let other = Id::from_u128(77).to_string();
    let crossed = setting.token(&person, |claims| {
        claims["sub"] = json!(other);
        claims["user_id"] = json!(other);
    });
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&crossed)).await, "401 TOKEN_INVALID");
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
}

#[tokio::test]
async fn restricted_tokens_open_no_route() {
    let setting = setting(ROUTES).await;
    let by_session = setting.person("ada", |person| person.session.scope = Some(Scope::PasswordChangeOnly));
    let person = setting.records.people.lock().unwrap().values().next().unwrap().clone();
    let by_token = setting.token(&person, |claims| claims["scope"] = json!("password_change_only"));
    for token in [&by_session, &by_token] {
        assert_eq!(setting.outcome(&request("GET", "/mine").bearer(token)).await, "403 INSUFFICIENT_SCOPE");
        assert!(!setting.stamps(&request("GET", "/maybe").bearer(token)).await.contains_key("x-user-id"));
    }
}

#[tokio::test]
async fn applications_are_asked_for_where_the_policy_names_them() {
    let setting = setting(ROUTES).await;
    let keys =
        |name: &str| request("GET", "/app").with("x-access-key", name).with("x-access-secret", "secret");
    assert_eq!(setting.outcome(&request("GET", "/app")).await, "401 APP_AUTH_REQUIRED");
    assert_eq!(setting.outcome(&keys("billing")).await, "200");
    assert_eq!(setting.outcome(&keys("other")).await, "403 APPLICATION_REQUIRED");
    let wrong = request("GET", "/open").with("x-access-key", "billing").with("x-access-secret", "guess");
    assert_eq!(setting.outcome(&wrong).await, "401 APP_AUTH_INVALID", "keys sent anyway must be right");
    let ada = setting.person("ada", |person| person.session.application = Some(application("billing").id));
    let with = |name| keys(name).bearer(&ada);
    assert_eq!(setting.outcome(&with("billing")).await, "200");
    assert_eq!(setting.outcome(&with("other")).await, "401 TOKEN_APP_MISMATCH");
}

#[tokio::test]
async fn applications_may_be_required_everywhere() {
    let setting = setting(&format!("applications: {{ required: everywhere }}\n{ROUTES}")).await;
    assert_eq!(setting.outcome(&request("GET", "/open")).await, "401 APP_AUTH_REQUIRED");
    let keys = request("GET", "/open").with("x-access-key", "billing").with("x-access-secret", "secret");
    assert_eq!(setting.outcome(&keys).await, "200");
    assert_eq!(setting.outcome(&request("GET", "/api/v1/health/")).await, "200");
}

#[tokio::test]
async fn a_silent_store_is_no_answer_and_never_a_pass() {
    let setting = setting(ROUTES).await;
    let (ada, bob) = (setting.person("ada", |_| {}), setting.person("bob", |_| {}));
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
    setting.records.is_silent.store(true, Ordering::SeqCst);
    assert_eq!(
        setting.outcome(&request("GET", "/mine").bearer(&ada)).await,
        "200",
        "known, and nothing changed"
    );
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&bob)).await, "503 SERVICE_UNAVAILABLE");
    assert_eq!(setting.outcome(&request("GET", "/maybe").bearer(&bob)).await, "503 SERVICE_UNAVAILABLE");
    setting.raise(Subject::Account(account_of("ada")));
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "503 SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn keys_that_left_the_ring_open_nothing() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
    setting.app.set_keyring(Keyring::default());
    setting.raise(Subject::Keys);
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "401 TOKEN_INVALID");
}

#[tokio::test]
async fn a_websocket_needs_a_caller_and_a_listed_page() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let handshake = || request("GET", "/socket").websocket();
    assert_eq!(setting.outcome(&handshake()).await, "401 AUTH_REQUIRED");
    assert_eq!(setting.outcome(&handshake().bearer(&ada)).await, "200");
    for origin in ["https://evil.example.com", "null", "https://gw.example.com:444", "https://gw.example.com"]
    {
        let request = handshake().bearer(&ada).with("origin", origin);
        assert_eq!(setting.outcome(&request).await, "403 ORIGIN_DENIED", "{origin}");
    }
    for origin in ["http://gw.example.com", "https://shop.example.com"] {
        assert_eq!(
            setting.outcome(&handshake().bearer(&ada).with("origin", origin)).await,
            "200",
            "{origin}"
        );
    }
    let plain = request("GET", "/mine").websocket().bearer(&ada);
    assert_eq!(setting.outcome(&plain).await, "403 UPGRADE_REFUSED");
}

#[tokio::test]
async fn a_ticket_stands_for_its_caller_once_and_goes_no_further() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let keys = |r: Request| r.with("x-access-key", "billing").with("x-access-secret", "secret");
    setting.change_person("ada", |person| person.session.application = Some(application("billing").id));
    let person = setting.records.people.lock().unwrap().values().next().unwrap().clone();
    drop(ada);
    let ada = setting.token(&person, |_| {});
    let reply = setting.reply(&keys(request("POST", "/api/v1/auth/ws-ticket/").bearer(&ada))).await;
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let ticket = body["ticket"].as_str().unwrap_or_else(|| panic!("{body}"));
    let target = format!("/socket?a=1&ticket={ticket}");
    let admitted = setting.admitted(&request("GET", &target).websocket()).await;
    assert_eq!(admitted.target.as_str(), "/socket?a=1");
    assert_eq!(admitted.permit.session().unwrap().account, person.account.id);
    assert_eq!(setting.outcome(&request("GET", &target).websocket()).await, "401 TOKEN_INVALID");
    let plain = format!("/mine?ticket={ticket}");
    assert_eq!(setting.outcome(&request("GET", &plain)).await, "401 AUTH_REQUIRED", "only for WebSockets");
    let beside = request("GET", "/socket?ticket=old").websocket().bearer(&ada);
    assert_eq!(setting.admitted(&beside).await.target.as_str(), "/socket", "a header beats a ticket");
}

#[tokio::test]
async fn what_lasts_is_asked_again_when_its_session_is_over() {
    let setting = setting(ROUTES).await;
    let ends_at = setting.app.now().plus(Duration::from_mins(5));
    let ada = setting.person("ada", |person| person.session.ends_at = ends_at);
    let request = request("GET", "/socket").bearer(&ada).websocket();
    let permit = setting.admitted(&request).await.permit;
    let standing = Standing::new(&permit, &setting.head(&request).unwrap()).unwrap();
    assert_eq!(standing.holds_until(&setting.gate).await, Some(ends_at));
    let later = ends_at.plus(Duration::from_mins(5));
    setting.change_person("ada", |person| person.session.ends_at = later);
    assert_eq!(
        standing.holds_until(&setting.gate).await,
        Some(ends_at),
        "nothing says that it was prolonged"
    );
    setting.app.clock.advance(Duration::from_mins(5));
    assert_eq!(standing.holds_until(&setting.gate).await, Some(later));
    setting.app.clock.advance(Duration::from_mins(5));
    assert_eq!(standing.holds_until(&setting.gate).await, None);
}
