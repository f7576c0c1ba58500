//! Roles in the organizations above, where they count and where they do not (`organizations.inherit_roles`).
//!
//! Law: where nothing is inherited, who is something above an organization is nothing in it, whichever way
//! they ask.

use serde_json::{Value, json};

use crate::agent_hold::{PENDING, confirmed, post};
use crate::organizations::{INVITE, Scene, UPDATE, told};
use crate::support::people::{TRUSTING, User, permission};
use crate::support::{Gateway, Upstream, exchange};

#[tokio::test]
async fn what_somebody_is_above_counts_below_only_where_it_is_inherited() {
    for is_inherited in [true, false] {
        let scene = Scene::with(&format!("inherit_roles: {is_inherited},")).await;
        let dan = scene.gateway.user("dan", &scene.keys).await;
        scene.gateway.organization("team", dan.id, Some("acme")).await;
        scene.gateway.join(scene.acme, dan.id, "member").await;
        let there =
            |(status, code)| if is_inherited { told(status, code) } else { told(404, "ORG_NOT_FOUND") };
        let outside = (403, "ORG_MEMBERSHIP_REQUIRED");
        // Bob administrates acme, and is no member of what is below it.
        for (what, body, inherited) in [
            ("GET /organizations/detail/", Value::Null, outside),
            ("GET /organizations/tree/", Value::Null, outside),
            ("GET /organizations/members/", Value::Null, outside),
            ("GET /organizations/invitations/", Value::Null, (200, "")),
            (UPDATE, json!({"description": "Ours"}), (200, "")),
            (INVITE, json!({"email": "new@example.com", "role_code": "member"}), (201, "")),
        ] {
            let answer = scene.call(&scene.bob, "team", what, body).await;
            let code = if answer.status < 300 { String::new() } else { answer.code() };
            assert_eq!((answer.status, code), there(inherited), "{what}, inherited: {is_inherited}");
        }
        let shown = scene.ok(&dan, "team", "GET /organizations/detail/", Value::Null).await;
        assert_eq!(shown["description"], if is_inherited { "Ours" } else { "" });
        let invited = scene.ok(&dan, "team", "GET /organizations/invitations/", Value::Null).await;
        assert_eq!(invited["results"].as_array().unwrap().len(), usize::from(is_inherited));
        assert_eq!(scene.opens(&scene.bob, "/admin", "team").await, if is_inherited { 200 } else { 404 });
        // What somebody is in an organization itself they are either way.
        assert_eq!(scene.opens(&scene.bob, "/admin", "acme").await, 200);
        assert_eq!(scene.opens(&dan, "/member", "team").await, 200);
        let tree = scene.ok(&dan, "team", "GET /organizations/tree/", Value::Null).await;
        assert_eq!(tree["slug"], if is_inherited { "acme" } else { "team" });
        // Nor is what somebody holds above delegated for what is below.
        let gus = scene.gateway.user("gus", &scene.keys).await;
        scene.gateway.join(scene.acme, gus.id, "guard").await;
        scene.gateway.grant(gus.id, permission("users.ban")).await;
        let body = json!({"permissions": ["users.ban"], "organization": "team"});
        let minted = scene.call(&gus, "", "POST /ai/tokens/", body).await;
        let code = if minted.status < 300 { String::new() } else { minted.code() };
        assert_eq!((minted.status, code), there((201, "")), "{}", minted.text());
        if is_inherited {
            let agent = format!("Authorization: AgentBearer {}", minted.json()["token"].as_str().unwrap());
            assert_eq!(scene.gateway.send("GET", "/ban", &[agent]).await.status, 200);
        }
    }
}

/// What waits is decided by the chiefs of the organization that the agent acts for.
fn held(upstream: &Upstream, is_inherited: bool) -> String {
    format!(
        "{TRUSTING}
permissions: [ {{ code: reports.read }} ]
organizations: {{ inherit_roles: {is_inherited}, roles: [
  {{ code: chief, permissions: [reports.decide] }}, {{ code: clerk, permissions: [reports.read] }} ] }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: reports, match: {{ path: /reports }}, upstream: up, allow: signed_in,
      agents: {{ permission: reports.read, hold: always, approvers: {{ any_of: [ {{ org_role: chief }} ] }} }} }}
",
        upstream.address
    )
}

#[tokio::test]
async fn who_decides_above_decides_below_only_where_it_is_inherited() {
    for is_inherited in [true, false] {
        let upstream = Upstream::echo().await;
        let gateway = Gateway::start(&held(&upstream, is_inherited)).await;
        let keys = gateway.application("web", &[]).await;
        let owner = gateway.account("owner", |_| {}).await;
        let acme = gateway.organization("acme", owner, None).await;
        let team = gateway.organization("team", owner, Some("acme")).await;
        let ada = gateway.user("ada", &keys).await;
        let (bob, cat) = (gateway.user("bob", &keys).await, gateway.user("cat", &keys).await);
        gateway.join(acme, bob.id, "chief").await;
        gateway.join(team, cat.id, "chief").await;
        gateway.join(team, ada.id, "clerk").await;
        let call = async |user: &User, method: &str, path: &str, body: Value| {
            let lines = [vec![user.bearer()], keys.lines().to_vec()].concat();
            gateway.call(method, path, &lines, &body).await
        };
        let body = json!({"permissions": ["reports.read"], "organization": "team"});
        let minted = call(&ada, "POST", "/ai/tokens/", body).await;
        assert_eq!(minted.status, 201, "{}", minted.text());
        let token = minted.json()["token"].as_str().unwrap().to_owned();
        let ask = async |more: &[&str]| {
            exchange(gateway.public(), post("/reports", &token, more, "{}")).await.expect("an answer")
        };
        let waits = ask(&[]).await;
        assert_eq!(waits.status, 202, "{}", waits.text());
        let named = waits.json()["confirmation_token"].as_str().unwrap().to_owned();
        for (user, decides) in [(&bob, is_inherited), (&cat, true)] {
            let seen = call(user, "GET", PENDING, Value::Null).await.json();
            assert_eq!(seen.as_array().unwrap().len(), usize::from(decides), "inherited: {is_inherited}");
        }
        let path = format!("{PENDING}{named}/confirm/");
        let word = call(&bob, "POST", &path, Value::Null).await;
        assert_eq!(word.status, if is_inherited { 200 } else { 400 }, "{}", word.text());
        if !is_inherited {
            assert_eq!(ask(&[&*confirmed(&named)]).await.status, 202, "his word opened nothing");
            let word = call(&cat, "POST", &path, Value::Null).await;
            assert_eq!(word.status, 200, "{}", word.text());
        }
        assert_eq!(ask(&[&*confirmed(&named)]).await.status, 200);
        assert_eq!(upstream.count(), 1);
    }
}
