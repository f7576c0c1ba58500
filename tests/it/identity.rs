//! What an upstream is told about the caller, on the running gateway (security bar 2.B 21-30).
//! Law: what the client sends under these names is gone, and our credentials go no further.

use portcullis::crypto::digest::{base64url, sha256};
use portcullis::policy::Code;
use portcullis::rbac::Granted;
use serde_json::{Value, json};

use crate::support::people::{Keys, request, role};
use crate::support::{Gateway, Upstream, exchange};

async fn scene() -> (Upstream, Gateway, Keys) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{0}'], assertion: identity }}, far: {{ servers: ['{0}'] }} }}
permissions: [ {{ code: reports.read }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }}, {{ code: zeta }} ]
groups: [ {{ code: finance, roles: [zeta] }} ]
routes:
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: far, match: {{ path: /far }}, upstream: far, allow: signed_in, assertion: identity }}
  - {{ name: bound, match: {{ path: /bound }}, upstream: up, allow: signed_in, assertion: request }}
  - {{ name: open, match: {{ path: /open }}, upstream: up, allow: anyone }}
  - {{ name: maybe, match: {{ path: /maybe }}, upstream: up, allow: anyone, identity: optional }}
  - {{ name: pass, match: {{ path: /pass }}, upstream: up, allow: anyone, forward_authorization: true }}
",
        upstream.address
    ))
    .await;
    let keys = gateway.application("web", &[]).await;
    (upstream, gateway, keys)
}

/// What a JWT says, read as an upstream in another language would: by the published keys.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&portcullis::crypto::digest::unbase64url(payload).unwrap()).unwrap()
}

async fn verify(gateway: &Gateway, token: &str) -> bool {
    let header: Value = {
        let part = token.split('.').next().unwrap();
        serde_json::from_slice(&portcullis::crypto::digest::unbase64url(part).unwrap()).unwrap()
    };
    let jwks = gateway.send("GET", "/.well-known/jwks.json", &[]).await.json();
    let key =
        jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).cloned().unwrap();
    let coordinate =
        |name: &str| portcullis::crypto::digest::unbase64url(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = portcullis::crypto::digest::unbase64url(signature).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn an_upstream_learns_who_calls_and_nothing_that_opens_the_gateway() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, role("analyst")).await;
    gateway.grant(ada.id, Granted::Group(Code::parse("finance").unwrap())).await;
    let acme = gateway.organization("acme", ada.id, None).await;
    let mut lines = vec![ada.bearer(), "X-Org-Slug: acme".to_owned(), "X-User-Id: root".to_owned()];
    lines.extend(keys.lines());
    lines.push("Cookie: a=1; portcullis_refresh=secret; b=2".to_owned());
    assert_eq!(gateway.send("GET", "/mine", &lines).await.status, 200);
    let seen = upstream.last();
    let number = gateway.running.app.db.clone();
    let slug = portcullis::base::Slug::parse("acme").unwrap();
    let site = portcullis::store::DEFAULT_SITE;
    let organization = portcullis::organization::by_slug(&number, site, &slug).await.unwrap().unwrap();
    assert_eq!(organization.id, acme);
    let expected = [
        ("x-user-id", Some(ada.id.to_string())),
        ("x-user-email", Some("ada@example.com".to_owned())),
        ("x-user-roles", Some("analyst,zeta".to_owned())),
        ("x-user-permissions", Some("reports.read".to_owned())),
        ("x-org-id", Some(organization.number.to_string())),
        ("x-org-slug", Some("acme".to_owned())),
        ("x-org-role", Some("owner".to_owned())),
        ("x-auth-method", Some("password".to_owned())),
        ("authorization", None),
        ("x-access-key", None),
        ("x-access-secret", None),
        ("cookie", Some("a=1; b=2".to_owned())),
    ];
    for (name, value) in expected {
        assert_eq!(seen.header(name).map(str::to_owned), value, "{name}");
    }
    let text = seen.head.clone();
    for secret in [&ada.access, &ada.refresh, &keys.secret, &keys.key] {
        assert!(!text.contains(secret.as_str()));
    }
}

#[tokio::test]
async fn a_nominated_header_stays() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    let answer = gateway.get_as(&ada, "/mine", &["Connection: x-user-id, x-org-slug, cookie"]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.last().header("x-user-id"), Some(ada.id.to_string().as_str()));
}

#[tokio::test]
async fn nobodys_request_says_nothing_about_anybody() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    let names = |seen: &crate::support::Seen| {
        seen.folded_names()
            .into_iter()
            .filter(|name| name.starts_with("x-user") || name.starts_with("x-org"))
            .count()
    };
    for (path, bearer) in [("/open", ada.bearer()), ("/maybe", "Authorization: Bearer garbage".to_owned())] {
        let lines = [bearer, "X_User_Id: root".to_owned(), "x.org.slug: acme".to_owned()];
        assert_eq!(gateway.send("GET", path, &lines).await.status, 200);
        let seen = upstream.last();
        assert_eq!((names(&seen), seen.header("authorization")), (0, None), "{}", seen.head);
    }
    assert_eq!(gateway.get_as(&ada, "/maybe", &[]).await.status, 200);
    assert_eq!(upstream.last().header("x-user-id"), Some(ada.id.to_string().as_str()));
}

#[tokio::test]
async fn an_authorization_that_is_not_ours_passes_only_where_asked_for() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    let theirs = "Authorization: Basic YTpi".to_owned();
    gateway.send("GET", "/pass", std::slice::from_ref(&theirs)).await;
    assert_eq!(upstream.last().header("authorization"), Some("Basic YTpi"));
    gateway.send("GET", "/open", &[theirs]).await;
    assert_eq!(upstream.last().header("authorization"), None);
    gateway.send("GET", "/pass", &[ada.bearer()]).await;
    assert_eq!(upstream.last().header("authorization"), None);
}

#[tokio::test]
async fn an_assertion_is_verified_with_the_published_keys() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    gateway.get_as(&ada, "/mine", &[]).await;
    let first = upstream.last().header("x-portcullis-assertion").unwrap().to_owned();
    assert!(verify(&gateway, &first).await);
    let told = claims(&first);
    assert_eq!((&told["sub"], &told["aud"]), (&json!(ada.id), &json!("up")));
    assert_eq!(told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap(), 60);
    assert_eq!((&told["email"], &told["email_verified"]), (&json!("ada@example.com"), &json!(true)));
    let id = gateway.account("bob", |new| new.is_verified = false).await;
    let bob = gateway.log_in("bob", id, &keys).await;
    gateway.get_as(&bob, "/mine", &[]).await;
    let of_bob = claims(upstream.last().header("x-portcullis-assertion").unwrap());
    assert_eq!((&of_bob["email"], &of_bob["email_verified"]), (&json!("bob@example.com"), &json!(false)));
    gateway.get_as(&ada, "/mine", &[]).await;
    assert_eq!(upstream.last().header("x-portcullis-assertion"), Some(first.as_str()), "reused");
    gateway.get_as(&ada, "/far", &[]).await;
    assert_eq!(claims(upstream.last().header("x-portcullis-assertion").unwrap())["aud"], "far");
    gateway.grant(ada.id, role("analyst")).await;
    gateway.get_as(&ada, "/mine", &[]).await;
    let second = upstream.last().header("x-portcullis-assertion").unwrap().to_owned();
    assert_eq!(claims(&second)["roles"], json!(["analyst"]), "and made anew after a change");
}

#[tokio::test]
async fn a_request_assertion_covers_what_the_upstream_received() {
    let (upstream, gateway, keys) = scene().await;
    let ada = gateway.user("ada", &keys).await;
    let body = "x".repeat(100_000);
    let text = request("POST", "/bound?n=1", &[ada.bearer()], &body);
    assert_eq!(exchange(gateway.public(), text).await.unwrap().status, 200);
    let seen = upstream.last();
    let assertion = seen.header("x-portcullis-assertion").unwrap().to_owned();
    assert!(verify(&gateway, &assertion).await);
    let told = claims(&assertion);
    assert_eq!((&told["htm"], seen.body.len()), (&json!("POST"), body.len()));
    assert_eq!(told["body_sha256"], json!(base64url(&sha256(&seen.body))));
    assert_eq!(told["target_sha256"], json!(base64url(&sha256(seen.target().as_bytes()))));
}
