//! What an upstream is told: each name once, from the permit, and nothing that a client sent.

use std::collections::BTreeMap;

use super::*;
use crate::crypto::digest::{base64url, sha256};
use crate::crypto::jwt::Expect;

const ROUTES: &str = "
routes:
  - { name: mine, match: { path: /mine }, upstream: app, allow: signed_in }
  - { name: open, match: { path: /open }, upstream: app, allow: anyone }
  - { name: maybe, match: { path: /maybe }, upstream: app, allow: anyone, identity: optional }
  - { name: off, match: { path: /off }, upstream: app, allow: signed_in, assertion: off }
  - { name: bound, match: { path: /bound }, upstream: app, allow: signed_in, assertion: request }
  - { name: far, match: { path: /far }, upstream: other, allow: signed_in, assertion: identity }
  - { name: pass, match: { path: /pass }, upstream: app, allow: anyone, forward_authorization: true }
";

/// Every name that the gateway speaks under, and spellings that a backend may fold into it.
const SPOOFED: [&str; 16] = [
    "x-user-id",
    "x_user_id",
    "x-user_id",
    "x.user.id",
    "x-user-email",
    "x-user-roles",
    "x-user-permissions",
    "x-user-permissions-omitted",
    "x-org-id",
    "x-org_slug",
    "x-org-role",
    "x-auth-method",
    "x-portcullis-assertion",
    "x_portcullis_assertion",
    "x-agent-id",
    "x-user-anything",
];

#[tokio::test]
async fn an_upstream_is_told_who_calls() {
    let setting = setting(ROUTES).await;
    setting.organization("acme", &[]);
    let ada = setting.person("ada", |person| {
        person.assignments.groups = vec![code("finance")];
        person.memberships = vec![membership("acme", "admin")];
    });
    let stamps = setting.stamps(&request("GET", "/mine").bearer(&ada).with("x-org-slug", "acme")).await;
    let told: BTreeMap<&str, &str> =
        stamps.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let id = account_of("ada").to_string();
    let expected = [
        ("x-auth-method", "password"),
        ("x-org-id", "4"),
        ("x-org-role", "admin"),
        ("x-org-slug", "acme"),
        ("x-user-email", "ada@example.com"),
        ("x-user-id", id.as_str()),
        ("x-user-permissions", "pay,reports.read"),
        ("x-user-roles", "analyst"),
    ];
    let plain: BTreeMap<&str, &str> =
        told.into_iter().filter(|(name, _)| *name != "x-portcullis-assertion").collect();
    assert_eq!(plain, expected.into());
}

#[tokio::test]
async fn nothing_that_a_client_claims_about_itself_survives() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    for path in ["/mine", "/open", "/maybe"] {
        for name in SPOOFED {
            let mut request = request("GET", path).with(name, "root");
            if path == "/mine" {
                request = request.bearer(&ada);
            }
            let head = setting.head(&request).unwrap();
            assert!(head.removed.iter().any(|removed| removed == name), "{name} stays on the request");
            let admitted = setting.admitted(&request).await;
            let mut names: Vec<&str> = admitted.stamps.iter().map(|(name, _)| name.as_str()).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "each name once");
            assert!(admitted.stamps.iter().all(|(_, value)| value != "root"), "{name} on {path}");
            assert_eq!(admitted.stamps.is_empty(), path != "/mine");
        }
    }
}

#[tokio::test]
async fn a_list_that_is_too_long_is_left_out_and_said_to_be() {
    let many: Vec<String> = (0..200).map(|n| format!("{{ code: area{n}.read-and-write }}")).collect();
    let yaml = ROUTES.to_owned();
    let setting = setting(&yaml).await;
    let mut definitions = setting.app.catalogue().definitions().clone();
    for n in 0..many.len() {
        let permission = definitions.permissions[&code("pay")].clone();
        definitions.permissions.insert(code(&format!("area{n}.read-and-write")), permission);
    }
    setting.app.in_force.turn().await.put_in_force(definitions, None);
    let codes = (0..many.len()).map(|n| code(&format!("area{n}.read-and-write"))).collect();
    let ada = setting.person("ada", |person| person.assignments.permissions = codes);
    let stamps = setting.stamps(&request("GET", "/far").bearer(&ada)).await;
    assert_eq!(stamps["x-user-permissions-omitted"], "true");
    assert!(!stamps.contains_key("x-user-permissions"));
    let told = verified(&setting, &stamps["x-portcullis-assertion"], "other").unwrap();
    assert_eq!(told["permissions"].as_array().unwrap().len(), 200, "the assertion has all");
}

fn verified(setting: &Setting, token: &str, audience: &str) -> Result<Value, jwt::Invalid> {
    let expect = Expect {
        typ: "portcullis-assertion+jwt",
        issuer: &setting.app.config().tokens.issuer.clone(),
        audience: Some(audience),
        now: setting.app.now(),
        leeway: Duration::ZERO,
        longest_for: Duration::from_mins(1),
    };
    jwt::verify(&setting.app.keyring(), Purpose::Assertion, token, &expect)
}

#[tokio::test]
async fn an_assertion_is_for_one_upstream_and_made_anew_after_a_change() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let ask =
        async || setting.stamps(&request("GET", "/far").bearer(&ada)).await["x-portcullis-assertion"].clone();
    let first = ask().await;
    assert_eq!(verified(&setting, &first, "other").unwrap()["sub"], json!(account_of("ada")));
    assert_eq!(verified(&setting, &first, "app"), Err(jwt::Invalid::Audience));
    assert_eq!(ask().await, first);
    setting.raise(Subject::Account(account_of("ada")));
    assert_ne!(ask().await, first);
    assert!(
        !setting.stamps(&request("GET", "/off").bearer(&ada)).await.contains_key("x-portcullis-assertion")
    );
    setting.app.set_keyring(Keyring::default());
    assert_eq!(setting.outcome(&request("GET", "/far").bearer(&ada)).await, "503 SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn a_request_assertion_covers_the_body_that_is_sent() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let admitted = setting.admitted(&request("POST", "/bound?n=1").bearer(&ada).body("hello")).await;
    let assertion = &admitted.stamps.iter().find(|(name, _)| name == "x-portcullis-assertion").unwrap().1;
    let told = verified(&setting, assertion.to_str().unwrap(), "app").unwrap();
    assert_eq!((&told["htm"], &told["body_sha256"]), (&json!("POST"), &json!(base64url(&sha256(b"hello")))));
    assert_eq!(told["target_sha256"], json!(base64url(&sha256(b"/bound?n=1"))));
}

/// A body that takes two minutes to arrive.
struct Slow<'a>(&'a Setting, fn(&Setting));

#[async_trait::async_trait]
impl body::BodySource for Slow<'_> {
    async fn read_all(&mut self, _: usize) -> Result<Bytes, body::BodyTrouble> {
        self.0.app.clock.advance(Duration::from_mins(2));
        (self.1)(self.0);
        Ok(Bytes::from_static(b"hello"))
    }

    fn sent(&self, _: &::http::HeaderName) -> Vec<HeaderValue> {
        Vec::new()
    }

    fn replace(&mut self, _: Bytes) {
        unreachable!("nothing here changes a body");
    }
}

#[tokio::test]
async fn a_slow_body_gets_a_fresh_assertion_and_outlives_no_right() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let head = setting.head(&request("POST", "/bound").bearer(&ada)).unwrap();
    let Verdict::Forward(admitted) = admit(&setting.gate, &head, &mut Slow(&setting, |_| {})).await.verdict
    else {
        panic!("not forwarded")
    };
    let assertion = &admitted.stamps.iter().find(|(name, _)| name == "x-portcullis-assertion").unwrap().1;
    assert!(verified(&setting, assertion.to_str().unwrap(), "app").is_ok(), "not over before it is sent");
    let mut revoked = Slow(&setting, |setting| {
        setting.forget("ada");
        setting.raise(Subject::Account(account_of("ada")));
    });
    let head = setting.head(&request("POST", "/bound").bearer(&ada)).unwrap();
    assert_eq!(told(admit(&setting.gate, &head, &mut revoked).await.verdict), "401 TOKEN_INVALID");
}

#[tokio::test]
async fn our_tokens_never_leave_and_others_only_where_the_route_says_so() {
    let setting = setting(ROUTES).await;
    let ada = setting.person("ada", |_| {});
    let over = {
        let person = setting.records.people.lock().unwrap().values().next().unwrap().clone();
        setting.token(&person, |claims| claims["exp"] = json!(1))
    };
    let sent = async |path: &str, value: &str| {
        setting.admitted(&request("GET", path).with("authorization", value)).await.authorization
    };
    for ours in [&ada, &over] {
        assert_eq!(sent("/pass", &format!("Bearer {ours}")).await, Authorization::Removed);
    }
    for theirs in ["Basic YTpi", "Bearer opaque", "Bearer a.b.c", "Digest x"] {
        assert_eq!(sent("/pass", theirs).await, Authorization::Forwarded, "{theirs}");
        assert_eq!(sent("/open", theirs).await, Authorization::Removed, "{theirs}");
    }
}
