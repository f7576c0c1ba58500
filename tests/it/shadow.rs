//! A route in shadow mode on the running gateway: whom its policy refuses passes and is counted; whatever a
//! credential lacks is refused as ever.

use portcullis::http::ErrorCode;
use serde_json::{Value, json};

use crate::support::people::{TRUSTING, permission, role};
use crate::support::{Gateway, Upstream};

fn yaml(upstream: &Upstream) -> String {
    format!(
        "{TRUSTING}
roles: [ {{ code: auditor, permissions: [content.view] }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: tried, match: {{ path: /tried }}, upstream: up, allow: {{ role: auditor }}, shadow: true, agents: {{ permission: content.view }} }}
  - {{ name: ours, match: {{ path: /ours }}, upstream: up, allow: {{ org: member }}, shadow: true }}
  - {{ name: tenant, match: {{ path: /tenant }}, upstream: up, allow: {{ all: [ {{ role: auditor }}, {{ org: member }} ] }}, shadow: true }}
  - {{ name: keyed, match: {{ path: /keyed }}, upstream: up, allow: {{ any: [ {{ role: auditor }}, {{ application: console }} ] }}, shadow: true }}
  - {{ name: safe, match: {{ path: /safe }}, upstream: up, allow: {{ all: [ {{ role: auditor }}, {{ mfa: true }} ] }}, shadow: true }}
  - {{ name: fresh, match: {{ path: /fresh }}, upstream: up, allow: {{ all: [ {{ role: auditor }}, {{ max_age: 1h }} ] }}, shadow: true }}
  - {{ name: either, match: {{ path: /either }}, upstream: up, allow: {{ any: [ {{ role: auditor }}, {{ all: [ {{ permission: content.view }}, {{ mfa: true }} ] }} ] }}, shadow: true }}
  - {{ name: plain, match: {{ path: /plain }}, upstream: up, allow: {{ all: [ {{ role: auditor }}, {{ not: {{ mfa: true }} }} ] }}, shadow: true }}
  - {{ name: neither, match: {{ path: /neither }}, upstream: up, allow: {{ any: [ {{ all: [ {{ role: auditor }}, {{ mfa: true }} ] }}, {{ all: [ {{ permission: content.view }}, {{ mfa: true }} ] }} ] }}, shadow: true }}
  - {{ name: strict, match: {{ path: /strict }}, upstream: up, allow: {{ role: auditor }} }}
  - {{ name: old, match: {{ path: '/old/**' }}, upstream: up, allow: signed_in, rewrite: {{ strip_prefix: /old }} }}
",
        upstream.address
    )
}

fn count(gateway: &Gateway, decision: &str, reason: &str, route: &str) -> i64 {
    gateway.metric(&format!(
        "portcullis_decisions_total{{decision=\"{decision}\",reason=\"{reason}\",route=\"{route}\"}}"
    ))
}

#[tokio::test]
async fn whom_a_policy_in_shadow_mode_refuses_passes_and_is_counted() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream)).await;
    let keys = gateway.application("console", &[]).await;
    let (ada, eve) = (gateway.user("ada", &keys).await, gateway.user("eve", &keys).await);
    gateway.grant(ada.id, role("auditor")).await;
    for user in [&ada, &eve] {
        assert_eq!(gateway.get_as(user, "/tried", &[]).await.status, 200);
    }
    assert_eq!(
        (count(&gateway, "allow", "none", "tried"), count(&gateway, "shadow", "role", "tried")),
        (1, 1)
    );
    assert_eq!(gateway.get_as(&eve, "/strict", &[]).await.status, 403);
    assert_eq!(
        gateway.get_as(&eve, "/old/tried", &[]).await.status,
        200,
        "a rewrite leads to the same decision"
    );
    assert_eq!(count(&gateway, "shadow", "role", "old"), 1);
    assert_eq!(gateway.get_as(&eve, "/old/strict", &[]).await.status, 403, "and around no other");
    assert_eq!(upstream.count(), 3);
    let lines = gateway.access_log().await;
    let shadows: Vec<_> =
        lines.iter().filter(|line| line["shadow"] == "role").map(|line| line["path"].clone()).collect();
    assert_eq!(shadows, [json!("/tried"), json!("/old/tried")]);
}

#[tokio::test]
async fn what_a_credential_lacks_is_refused_in_shadow_mode_too() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream)).await;
    let keys = gateway.application("console", &[]).await;
    let eve = gateway.user("eve", &keys).await;
    for lines in [
        vec![],
        vec!["Authorization: Bearer x.y.z".to_owned()],
        vec!["Authorization: AgentBearer x".to_owned()],
        vec![eve.bearer(), "X-Access-Key: nothing".to_owned()],
    ] {
        let answer = gateway.send("GET", "/tried", &lines).await;
        assert!([401, 403].contains(&answer.status), "{lines:?} {}", answer.text());
    }
    // An organization that is not named cannot be judged, and one that is not hers is not there.
    assert_eq!(gateway.get_as(&eve, "/ours", &[]).await.status, 400);
    let foreign = gateway.get_as(&eve, "/ours", &["X-Org-Slug: nowhere"]).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, ErrorCode::OrgNotFound.as_str()));
    assert_eq!(upstream.count(), 0);
}

/// What a program may not do is not tried out with it: nobody looks on.
#[tokio::test]
async fn programs_are_refused_in_shadow_mode_as_ever() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream)).await;
    let keys = gateway.application("console", &[]).await;
    let eve = gateway.user("eve", &keys).await;
    gateway.grant(eve.id, permission("content.view")).await;
    let own = [vec![eve.bearer()], keys.lines().to_vec()].concat();
    let made = async |path: &str, body: Value, name: &str| {
        let answer = gateway.call("POST", path, &own, &body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer.json()[name].as_str().unwrap().to_owned()
    };
    let token = made("/ai/tokens/", json!({"permissions": ["content.view"]}), "token").await;
    let key = made("/api-keys/", json!({"name": "nightly"}), "key").await;
    let (agent, program) = (format!("Authorization: AgentBearer {token}"), format!("X-API-Key: {key}"));
    let ask = async |line: &String| gateway.send("GET", "/tried", std::slice::from_ref(line)).await;
    for (line, code) in [(&agent, "AGENT_PERMISSION_DENIED"), (&program, "ROLE_REQUIRED")] {
        let refused = ask(line).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, code), "{}", refused.text());
    }
    let metrics = gateway.running.app.metrics.render();
    let mut shadows = metrics.lines().filter(|line| line.contains("decision=\"shadow\""));
    assert!(shadows.all(|line| line.ends_with(" 0")), "{metrics}");
    assert_eq!(upstream.count(), 0);
    // It was the role that they lacked, and nothing else: hers passes, counted; and with it her agent does.
    assert_eq!(gateway.get_as(&eve, "/tried", &[]).await.status, 200);
    assert_eq!(count(&gateway, "shadow", "role", "tried"), 1);
    gateway.grant(eve.id, role("auditor")).await;
    assert_eq!(ask(&agent).await.status, 200);
    assert_eq!((count(&gateway, "shadow", "role", "tried"), upstream.count()), (1, 2));
}

/// Found by reading: a no to one condition hid that another one could not be asked at all.
#[tokio::test]
async fn what_a_policy_could_not_be_asked_about_is_refused_in_shadow_mode_too() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream)).await;
    let keys = gateway.application("console", &[]).await;
    let (ada, eve) = (gateway.user("ada", &keys).await, gateway.user("eve", &keys).await);
    gateway.grant(ada.id, role("auditor")).await;
    for user in [&ada, &eve] {
        assert_eq!(gateway.get_as(user, "/tenant", &[]).await.status, 400, "no organization is named");
        assert_eq!(
            gateway.get_as(user, "/safe", &[]).await.code(),
            if user.id == ada.id { "MFA_REQUIRED" } else { "ROLE_REQUIRED" }
        );
    }
    let keyless = gateway.get_as(&eve, "/keyed", &[]).await;
    assert_eq!(keyless.status, 401, "{}", keyless.text());
    assert_eq!(gateway.get_as(&ada, "/keyed", &[]).await.status, 200, "her role is enough");
    assert_eq!(
        gateway.get_as(&eve, "/fresh", &[]).await.status,
        200,
        "her login is fresh, and the role is only counted"
    );
    assert_eq!(upstream.count(), 2);
}

/// Found by an attacker: a second factor that another branch asks for, or none, refused whom no policy asked it of.
#[tokio::test]
async fn a_login_is_too_weak_only_where_nothing_else_would_do() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream)).await;
    let keys = gateway.application("console", &[]).await;
    let eve = gateway.user("eve", &keys).await;
    assert_eq!(gateway.get_as(&eve, "/either", &[]).await.status, 200, "the role alone would do");
    assert_eq!(gateway.get_as(&eve, "/plain", &[]).await.status, 200, "hers has none, as it is asked");
    assert_ne!(gateway.get_as(&eve, "/neither", &[]).await.status, 200, "each way asks for a better login");
    assert_eq!((count(&gateway, "shadow", "role", "plain"), upstream.count()), (1, 2));
}
