//! Policies on the running gateway: rights as they are now, organizations, refusals that explain.
//! Law: what counts is the account's rights at the moment of the request, not at its log-in.

use portcullis::organization;
use serde_json::json;

use crate::support::people::{Keys, User, permission, role};
use crate::support::{Gateway, Upstream};

const RIGHTS: &str = "
permissions: [ { code: reports }, { code: reports.read, parent: reports }, { code: pay } ]
roles: [ { code: analyst, permissions: [reports.read] }, { code: chief, inherits: [analyst], permissions: [pay] } ]
groups: [ { code: finance, roles: [chief] } ]
organizations: { roles: [ { code: buyer, permissions: [shop.buy] } ] }
";

fn yaml(upstream: &Upstream, more: &str) -> String {
    format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}
{RIGHTS}
routes:
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: read, match: {{ path: /read }}, upstream: up, allow: {{ permission: reports.read }} }}
  - {{ name: both, match: {{ path: /both }}, upstream: up, allow: {{ all: [ {{ permission: reports.read }}, {{ permission: pay }} ] }} }}
  - {{ name: user, match: {{ path: '/users/{{id}}' }}, upstream: up, allow: {{ any: [ {{ owner: id }}, {{ role: chief }} ] }} }}
  - {{ name: fresh, match: {{ path: /fresh }}, upstream: up, allow: {{ max_age: 1h }} }}
  - {{ name: mfa, match: {{ path: /mfa }}, upstream: up, allow: {{ mfa: true }} }}
  - {{ name: member, match: {{ path: /member }}, upstream: up, allow: {{ org: member }} }}
  - {{ name: buy, match: {{ path: /buy }}, upstream: up, allow: {{ org: {{ permission: shop.buy }} }} }}
  - {{ name: boss, match: {{ path: /boss }}, upstream: up, allow: {{ org: owner }} }}
{more}",
        upstream.address
    )
}

async fn scene() -> (Upstream, Gateway, Keys) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream, "")).await;
    let keys = gateway.application("web", &[]).await;
    (upstream, gateway, keys)
}

async fn outcome(gateway: &Gateway, user: &User, path: &str, more: &[&str]) -> String {
    let answer = gateway.get_as(user, path, more).await;
    if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
}

#[tokio::test]
async fn rights_count_as_they_are_at_each_request() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    let ask = async |path: &str| outcome(&gateway, &ada, path, &[]).await;
    assert_eq!(ask("/read").await, "403 PERMISSION_REQUIRED");
    gateway.grant(ada.id, role("analyst")).await;
    assert_eq!(ask("/read").await, "200");
    assert_eq!(ask("/both").await, "403 PERMISSION_REQUIRED");
    gateway.grant(ada.id, permission("pay")).await;
    assert_eq!(ask("/both").await, "200");
    gateway.revoke(ada.id, role("analyst")).await;
    assert_eq!(ask("/both").await, "403 PERMISSION_REQUIRED");
    gateway.grant(ada.id, permission("reports")).await;
    assert_eq!(ask("/both").await, "200", "the parent brings the child");
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn a_refusal_names_what_failed_and_what_would_help() {
    let (_upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    let answer = gateway.get_as(&ada, "/both", &[]).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["failed"]), (403, &json!("permission")));
    assert_eq!(body["missing"], json!(["pay", "reports.read"]));
    assert!(!body["remedy"].as_str().unwrap().is_empty() && body["retryable"] == false);
    assert_eq!(answer.header("x-request-id"), body["request_id"].as_str());
}

#[tokio::test]
async fn one_may_do_to_oneself_what_a_chief_may_do_to_all() {
    let (_upstream, gateway, keys) = scene().await;
    let (ada, bob) = (gateway.user("ada", &keys).await, gateway.user("bob", &keys).await);
    let path = format!("/users/{}", ada.id);
    assert_eq!(outcome(&gateway, &ada, &path, &[]).await, "200");
    assert_eq!(outcome(&gateway, &bob, &path, &[]).await, "403 PERMISSION_DENIED");
    gateway.grant(bob.id, role("chief")).await;
    assert_eq!(outcome(&gateway, &bob, &path, &[]).await, "200");
    assert_eq!(
        outcome(&gateway, &ada, &path.to_uppercase().replace("/USERS", "/users"), &[]).await,
        "403 PERMISSION_DENIED"
    );
}

#[tokio::test]
async fn superusers_pass_permissions_and_no_fact_about_them() {
    let (_upstream, gateway, keys) = scene().await;
    let id = gateway.account("root", |new| new.is_superuser = true).await;
    let root = gateway.log_in("root", id, &keys).await;
    gateway.organization("acme", id, None).await;
    let told = async |path: &str| outcome(&gateway, &root, path, &[]).await;
    assert_eq!((told("/read").await, told("/both").await), ("200".into(), "200".into()));
    assert_eq!(told("/mfa").await, "403 MFA_REQUIRED");
    assert_eq!(told("/users/other").await, "403 PERMISSION_DENIED");
    assert_eq!(told("/fresh").await, "200");
}

#[tokio::test]
async fn organizations_are_known_to_their_own() {
    let (_upstream, gateway, keys) = scene().await;
    let boss = gateway.user("boss", &keys).await;
    let (ada, eve) = (gateway.user("ada", &keys).await, gateway.user("eve", &keys).await);
    let acme = gateway.organization("acme", boss.id, None).await;
    gateway.organization("acme-eng", boss.id, Some("acme")).await;
    gateway.join(acme, ada.id, "buyer").await;
    let ask = async |user: &User, path: &str, slug: &str| {
        outcome(&gateway, user, path, &[&format!("X-Org-Slug: {slug}")]).await
    };
    assert_eq!(ask(&ada, "/member", "acme").await, "200");
    assert_eq!(ask(&ada, "/member", "acme-eng").await, "403 ORG_MEMBERSHIP_REQUIRED");
    assert_eq!(ask(&ada, "/buy", "acme-eng").await, "200", "a role looks up the tree");
    assert_eq!(ask(&ada, "/boss", "acme").await, "403 ORG_ROLE_REQUIRED");
    assert_eq!(ask(&boss, "/boss", "acme").await, "200");
    for path in ["/member", "/mine"] {
        let (known, unknown) = (ask(&eve, path, "acme").await, ask(&eve, path, "nothing").await);
        assert_eq!((known.as_str(), unknown.as_str()), ("404 ORG_NOT_FOUND", "404 ORG_NOT_FOUND"));
    }
    assert_eq!(outcome(&gateway, &ada, "/member", &[]).await, "400 ORG_CONTEXT_REQUIRED");
    gateway.change(async |change| organization::remove_member(change, acme, ada.id).await.unwrap()).await;
    assert_eq!(ask(&ada, "/member", "acme").await, "404 ORG_NOT_FOUND");
}

#[tokio::test]
async fn a_reload_that_tightens_binds_the_next_request() {
    let upstream = Upstream::echo().await;
    let route = |allow: &str| {
        format!("  - {{ name: door, match: {{ path: /door }}, upstream: up, allow: {allow} }}\n")
    };
    let gateway = Gateway::start(&yaml(&upstream, &route("signed_in"))).await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    assert_eq!(outcome(&gateway, &ada, "/door", &[]).await, "200");
    let tighter = gateway.load(&yaml(&upstream, &route("{ staff: true }")));
    gateway.running.reload(&tighter).await.unwrap();
    assert_eq!(outcome(&gateway, &ada, "/door", &[]).await, "403 STAFF_REQUIRED");
    let gone = gateway.load(&yaml(&upstream, ""));
    gateway.running.reload(&gone).await.unwrap();
    assert_eq!(outcome(&gateway, &ada, "/door", &[]).await, "404 NOT_FOUND");
}
