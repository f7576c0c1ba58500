//! Where a request goes, before anyone asks who sends it.

use ::http::StatusCode;

use super::*;

const ROUTES: &str = "
cors: { origins: [https://app.example.com] }
routes:
  - { name: pub, match: { path: /pub/** }, upstream: app, allow: anyone }
  - { name: read, match: { path: /docs2, methods: [GET] }, upstream: app, allow: anyone }
  - { name: small, match: { path: /small }, upstream: app, allow: anyone, body: 10B }
  - { name: mine, match: { path: /mine }, upstream: app, allow: signed_in }
  - { name: admin, match: { path: /admin/** }, upstream: app, allow: superuser_only }
  - { name: slashes, match: { path: /files/** }, upstream: app, allow: anyone, target: { encoded_slash: true } }
  - { name: quiet, match: { path: /quiet }, upstream: app, allow: signed_in, cors: off }
  - { name: loud, match: { path: /loud/** }, upstream: app, allow: signed_in, cors: off }
";

fn routes() -> String {
    ROUTES.replace("superuser_only", "{ superuser: true }")
}

#[tokio::test]
async fn what_no_route_has_is_nothing() {
    let setting = setting(&routes()).await;
    for path in ["/", "/admi", "/adminx", "/ADMIN/x", "/docs2/", "/pubx", "/mine/", "/files", "/api/v1/auth"]
    {
        let expected = if path == "/files" { "200" } else { "404 NOT_FOUND" };
        assert_eq!(setting.outcome(&request("GET", path)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn the_method_decides_last_and_get_brings_head() {
    let setting = setting(&routes()).await;
    assert_eq!(setting.outcome(&request("HEAD", "/docs2")).await, "200");
    let rejection = setting.rejection(&request("POST", "/docs2")).await;
    assert_eq!(rejection.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(rejection.headers()[0].1, "GET, HEAD");
    let rejection = setting.rejection(&request("DELETE", "/api/v1/auth/me/")).await;
    assert_eq!(
        (rejection.code(), rejection.headers()[0].1.to_str().unwrap()),
        ("METHOD_NOT_ALLOWED", "GET, HEAD")
    );
}

#[tokio::test]
async fn the_query_and_what_proxies_say_decide_nothing() {
    let setting = setting(&routes()).await;
    for target in ["/admin/x?/pub/", "/admin/x?x=/pub/", "/admin?/pub"] {
        assert_eq!(setting.outcome(&request("GET", target)).await, "401 AUTH_REQUIRED", "{target}");
    }
    for name in
        ["x-forwarded-uri", "x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-http-method-override"]
    {
        let request = request("GET", "/admin/x").with(name, "/pub/x").with("user-agent", "kube-probe/1.30");
        assert_eq!(setting.outcome(&request).await, "401 AUTH_REQUIRED", "{name}");
    }
}

#[tokio::test]
async fn the_gateways_own_paths_never_reach_an_upstream() {
    let everything = "routes: [ { name: all, match: { path: /** }, upstream: app, allow: anyone } ]";
    let setting = setting(everything).await;
    assert_eq!(setting.outcome(&request("GET", "/anything")).await, "200");
    assert_eq!(setting.outcome(&request("GET", "/api/v1/auth/login")).await, "405 METHOD_NOT_ALLOWED");
    for path in
        ["/api/v1/auth/unknown", "/api/v1/auth", "/portcullis/login", "/.well-known/jwks.json", "/docs/x"]
    {
        assert_eq!(setting.outcome(&request("GET", path)).await, "404 NOT_FOUND", "{path}");
    }
}

#[tokio::test]
async fn the_order_of_the_file_means_nothing() {
    let rules = [
        "{ name: a, match: { path: /a/** }, upstream: app, allow: anyone }",
        "{ name: ab, match: { path: /a/b }, upstream: app, allow: { superuser: true } }",
        "{ name: ax, match: { path: '/a/{x}' }, upstream: app, allow: signed_in }",
        "{ name: host, match: { host: gw.example.com, path: /a/b/** }, upstream: app, allow: { staff: true } }",
    ];
    let mut seen = std::collections::BTreeSet::new();
    for turn in 0..rules.len() {
        let mut turned = rules.to_vec();
        turned.rotate_left(turn);
        if turn % 2 == 1 {
            turned.reverse();
        }
        let setting = setting(&format!("routes:\n  - {}\n", turned.join("\n  - "))).await;
        let mut outcomes = Vec::new();
        for path in ["/a", "/a/b", "/a/c", "/a/b/c", "/a/c/d"] {
            let decision = setting.decide(&request("GET", path)).await;
            outcomes.push(decision.route.map(|route| route.rule.name.clone()));
        }
        seen.insert(outcomes);
    }
    let names = |list: [&str; 5]| list.map(|name| Some(name.to_owned())).to_vec();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [names(["a", "host", "ax", "host", "a"])]);
}

#[tokio::test]
async fn doubtful_spellings_pass_only_where_the_route_says_so() {
    let setting = setting(&routes()).await;
    assert_eq!(setting.outcome(&request("GET", "/files/a%2Fb")).await, "200");
    assert_eq!(setting.outcome(&request("GET", "/pub/a%2Fb")).await, "400 BAD_REQUEST");
    assert_eq!(setting.outcome(&request("GET", "/files/a;b")).await, "400 BAD_REQUEST");
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_unread() {
    let setting = setting(&routes()).await;
    assert_eq!(setting.outcome(&request("POST", "/small").body("0123456789")).await, "200");
    assert_eq!(setting.outcome(&request("POST", "/small").body("0123456789a")).await, "413 BODY_TOO_LARGE");
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    request("OPTIONS", path).with("origin", origin).with("access-control-request-method", method)
}

#[tokio::test]
async fn a_preflight_is_answered_here_whoever_may_pass() {
    let setting = setting(&routes()).await;
    for origin in ["https://app.example.com", "https://shop.example.com"] {
        let reply = setting.reply(&preflight("/mine", origin, "GET")).await;
        assert_eq!(
            (reply.status, &reply.headers["access-control-allow-origin"]),
            (StatusCode::OK, &HeaderValue::from_str(origin).unwrap())
        );
    }
    for (path, origin) in
        [("/mine", "https://evil.example.com"), ("/mine", "null"), ("/api/v1/auth/me/", "null")]
    {
        let reply = setting.reply(&preflight(path, origin, "GET")).await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{path} {origin}");
    }
    let reply = setting.reply(&preflight("/api/v1/auth/me/", "https://app.example.com", "GET")).await;
    assert_eq!(reply.headers["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(
        setting.outcome(&preflight("/nothing", "https://app.example.com", "GET")).await,
        "404 NOT_FOUND"
    );
    let wrong = setting.reply(&preflight("/docs2", "https://app.example.com", "DELETE")).await;
    assert!(!wrong.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_route_may_leave_preflights_to_its_upstream_and_nothing_more() {
    let setting = setting(&routes()).await;
    let admitted = setting.admitted(&preflight("/quiet", "https://evil.example.com", "GET")).await;
    assert!(admitted.permit.principal().is_none());
    let doubtful = preflight("/loud/a%2Fb", "https://evil.example.com", "GET");
    assert_eq!(setting.outcome(&doubtful).await, "400 BAD_REQUEST", "nobody gets a licence by asking");
    assert_eq!(setting.outcome(&request("OPTIONS", "/quiet")).await, "401 AUTH_REQUIRED");
    let asks = || preflight("/quiet", "https://evil.example.com", "POST");
    assert_eq!(setting.outcome(&asks().with("content-length", "0")).await, "200");
    let with_body = asks().with("content-length", "5");
    assert_eq!(setting.outcome(&with_body).await, "401 AUTH_REQUIRED", "no browser sends one along");
    let agent = asks().with("authorization", &format!("AgentBearer {}", "x".repeat(48)));
    assert!(setting.outcome(&agent).await.starts_with("403 "), "an agent is never taken for nobody");
    assert_eq!(
        setting.outcome(&request("GET", "/quiet").with("origin", "https://evil.example.com")).await,
        "401 AUTH_REQUIRED"
    );
}

#[tokio::test]
async fn refusals_carry_the_permission_of_the_page_that_must_read_them() {
    let setting = setting(&routes()).await;
    let decision = setting.decide(&request("GET", "/mine").with("origin", "https://app.example.com")).await;
    let value =
        |name: &str| decision.answer.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_str().unwrap());
    assert_eq!(value("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(value("vary"), Some("Origin"));
    let decision = setting.decide(&request("GET", "/mine").with("origin", "https://evil.example.com")).await;
    assert!(decision.answer.iter().all(|(name, _)| name != "access-control-allow-origin"));
    assert!(decision.answer_without.iter().any(|name| name == "access-control-allow-origin"));
}

const REWRITES: &str = "
routes:
  - { name: pub, match: { path: /pub/** }, upstream: app, allow: anyone, rewrite: { strip_prefix: /pub } }
  - { name: api, match: { path: /v2/** }, upstream: app, allow: anyone, rewrite: { strip_prefix: /v2, add_prefix: /internal } }
  - { name: far, match: { path: /far/** }, upstream: other, allow: anyone, rewrite: { strip_prefix: /far } }
  - { name: admin, match: { path: /admin/** }, upstream: app, allow: { superuser: true } }
";

#[tokio::test]
async fn a_rewrite_leads_around_no_policy() {
    let setting = setting(REWRITES).await;
    let target = setting.admitted(&request("GET", "/pub/x?q=1")).await.target;
    assert_eq!(target.as_str(), "/x?q=1");
    assert_eq!(setting.admitted(&request("GET", "/pub")).await.target.as_str(), "/");
    assert_eq!(setting.admitted(&request("GET", "/v2/x")).await.target.as_str(), "/internal/x");
    assert_eq!(setting.outcome(&request("GET", "/pub/admin/x")).await, "401 AUTH_REQUIRED");
    let root = setting.person("root", |person| person.assignments.is_superuser = true);
    // Without a credential of interest the first route looks at none, so the second refuses too.
    assert_eq!(setting.outcome(&request("GET", "/pub/admin/x").bearer(&root)).await, "401 AUTH_REQUIRED");
    assert_eq!(
        setting.outcome(&request("GET", "/far/admin/x")).await,
        "200",
        "another upstream's /admin is its own"
    );
}

#[tokio::test]
async fn a_rewritten_host_or_a_method_nobody_has_leads_around_no_policy() {
    let setting = setting(
        "
routes:
  - { name: pub, match: { path: /pub/** }, upstream: app, allow: anyone, rewrite: { strip_prefix: /pub } }
  - { name: door, match: { host: gw.example.com, path: /x/** }, upstream: app, allow: anyone, rewrite: { host: inner.example.com } }
  - { name: inner, match: { host: inner.example.com, path: /x/admin }, upstream: app, allow: { superuser: true } }
  - { name: admin, match: { path: /admin/**, methods: [GET] }, upstream: app, allow: { superuser: true } }
  - { name: read, match: { path: /far, methods: [GET] }, upstream: other, allow: anyone }
",
    )
    .await;
    assert_eq!(setting.outcome(&request("GET", "/x/y")).await, "200");
    assert_eq!(setting.outcome(&request("GET", "/x/admin")).await, "401 AUTH_REQUIRED");
    assert_eq!(setting.outcome(&request("POST", "/pub/admin/x")).await, "405 METHOD_NOT_ALLOWED");
    assert_eq!(setting.outcome(&request("POST", "/pub/far")).await, "200", "another upstream's");
}

#[tokio::test]
async fn an_encoded_character_does_not_lead_around_the_route_of_the_plain_one() {
    let setting = setting(
        "
routes:
  - { name: all, match: { path: /api/** }, upstream: app, allow: anyone }
  - { name: export, match: { path: '/api/users:export' }, upstream: app, allow: signed_in }
  - { name: post, match: { path: '/api/a@b', methods: [POST] }, upstream: app, allow: signed_in }
",
    )
    .await;
    assert_eq!(setting.outcome(&request("GET", "/api/users:export")).await, "401 AUTH_REQUIRED");
    for path in ["/api/users%3Aexport", "/api/users%3aexport", "/api/a%40b"] {
        assert_eq!(setting.outcome(&request("GET", path)).await, "400 BAD_REQUEST", "{path}");
    }
    for path in ["/api/ada%40example.com", "/api/x%3Ay%20z", "/api/100%25"] {
        let admitted = setting.admitted(&request("GET", path)).await;
        assert_eq!(admitted.target.as_str(), path, "the upstream gets what was sent");
    }
}

#[tokio::test]
async fn a_limit_counts_by_principal_and_else_by_address() {
    let setting = setting(
        "routes: [ { name: two, match: { path: /two }, upstream: app, allow: anyone, identity: optional,
                     limit: { requests: 2, per: 1m } } ]",
    )
    .await;
    let (ada, bob) = (setting.person("ada", |_| {}), setting.person("bob", |_| {}));
    for token in [&ada, &bob] {
        let request = request("GET", "/two").bearer(token);
        let outcomes = [
            setting.outcome(&request).await,
            setting.outcome(&request).await,
            setting.outcome(&request).await,
        ];
        assert_eq!(outcomes, ["200", "200", "429 RATE_LIMITED"]);
    }
    let anonymous = |peer| request("GET", "/two").from(peer);
    for peer in ["[2001:db8::1]:1", "[2001:db8::2]:1"] {
        assert_eq!(setting.outcome(&anonymous(peer)).await, "200");
    }
    let rejection = setting.rejection(&anonymous("[2001:db8::3]:1")).await;
    assert!(rejection.headers().iter().any(|(name, _)| name == "retry-after"));
    assert_eq!(setting.outcome(&anonymous("[2001:db8:0:1::1]:1")).await, "200");
    let spoofed = anonymous("192.0.2.9:1").with("x-forwarded-for", "1.2.3.4");
    let again = anonymous("192.0.2.9:1").with("x-forwarded-for", "5.6.7.8");
    assert_eq!(
        (setting.outcome(&spoofed).await, setting.outcome(&again).await),
        ("200".into(), "200".into())
    );
    assert_eq!(
        setting.outcome(&anonymous("192.0.2.9:1")).await,
        "429 RATE_LIMITED",
        "an untrusted hop is no name"
    );
    setting.app.clock.advance(Duration::from_secs(30));
    assert_eq!(setting.outcome(&request("GET", "/two").bearer(&ada)).await, "200");
}
