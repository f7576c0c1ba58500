//! What calls leave in the trail, held to what their rows declare: each event that is written is declared, and who did
//! it, where and in which request stands with it.
//!
//! Law: every step is a call that succeeds, by somebody whose own call it is; what is expected of it is the least.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::{self, Stream};
use portcullis::base::{Clock as _, Id, SystemClock, TestClock};
use portcullis::http::row::Trace;
use portcullis::http::{Row, Table};
use portcullis::server;
use portcullis::store::DEFAULT_SITE;
use serde_json::{Value, json};

use crate::agent::bearer;
use crate::matrix::filled;
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission, request};
use crate::support::raw::exchange;
use crate::support::smtp::Smtp;
use crate::support::{Gateway, Upstream};

const ORG: &str = "acme";

struct Scene {
    gateway: Gateway,
    clock: Arc<TestClock>,
    table: Table,
    keys: Keys,
    /// Who may do everything.
    root: User,
    /// Who delegates, and has rights of their own alone.
    dan: User,
    _mail: Smtp,
    _upstream: Upstream,
}

impl Scene {
    async fn new() -> Self {
        let (mail, upstream) = (Smtp::plain().await, Upstream::echo().await);
        let yaml = format!(
            "{TRUSTING}applications: {{ required: nowhere }}
mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}
permissions: [ {{ code: reports.read }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: pay, match: {{ path: /pay }}, upstream: up, allow: signed_in,
      agents: {{ permission: reports.read, hold: always }} }}
",
            mail.address.port(),
            upstream.address
        );
        let clock = Arc::new(TestClock::at(SystemClock.now()));
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::start_by(clock.clone(), folder, &yaml).await.unwrap_or_else(|e| panic!("{e}"));
        let table = server::public(&gateway.load(&yaml).config);
        let keys = gateway.application("console", &[]).await;
        let id = gateway.account("root", |new| new.is_superuser = true).await;
        let root = gateway.log_in("root", id, &keys).await;
        let dan = gateway.user("dan", &keys).await;
        gateway.grant(dan.id, permission("reports.read")).await;
        Self { gateway, clock, table, keys, root, dan, _mail: mail, _upstream: upstream }
    }

    fn row(&self, method: &str, path: &str) -> &Row {
        let found = self.table.rows().iter().find(|row| row.method() == method && row.path() == path);
        found.unwrap_or_else(|| panic!("{method} {path} is a row"))
    }

    /// Where the trail of changes ends now.
    async fn end(&self) -> i64 {
        let rows = audit::tail(&self.gateway.running.app.db, 0, 10_000).await.unwrap();
        rows.iter().filter(|row| row.stream == Stream::Changes).map(|row| row.seq).max().unwrap_or_default()
    }

    /// A call that succeeds, about what `id` names where the path names something; what it answers. It leaves these
    /// events at least, and none that its row does not declare.
    async fn does(&self, who: &User, what: &str, id: &str, body: Value, events: &[&str]) -> Value {
        let (method, target) = what.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').map_or((target, ""), |(path, query)| (path, query));
        let row = self.row(method, path);
        let mut lines = vec![who.bearer(), elsewhere()];
        if row.is_in_organization() {
            lines.push(format!("X-Org-Slug: {ORG}"));
        }
        let before = self.end().await;
        let gap = if query.is_empty() { "" } else { "?" };
        let answer =
            self.gateway.call(method, &format!("{}{gap}{query}", filled(path, id)), &lines, &body).await;
        assert!(answer.status < 300, "{what} {body}: {} {}", answer.status, answer.text());
        self.leaves(row, who.id, before, events).await;
        // A file that is fetched is none.
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// What was written since then is what the row declares, and says who did it.
    async fn leaves(&self, row: &Row, by: Id, before: i64, events: &[&str]) {
        let Some(Trace::Audited(declared)) = row.trace() else { panic!("{row:?} declares events") };
        let rows = audit::tail(&self.gateway.running.app.db, before, 1000).await.unwrap();
        // What the gateway does by itself meanwhile is nobody's call.
        let own = rows.iter().filter(|one| one.stream == Stream::Changes && one.actor_kind != "system");
        let own: Vec<&audit::Row> = own.collect();
        let codes: Vec<&str> = own.iter().map(|one| one.code.as_str()).collect();
        for code in events {
            assert!(codes.contains(code), "{row:?} leaves {codes:?}, and no {code}");
        }
        assert!(!own.is_empty(), "{row:?} leaves nothing");
        for one in &own {
            assert!(
                declared.contains(&one.code.as_str()),
                "{row:?} leaves {}, and declares {declared:?}",
                one.code
            );
            let told = (one.actor_kind.as_str(), one.actor, one.site);
            assert_eq!(told, ("account", Some(by), DEFAULT_SITE), "{row:?} {}", one.code);
            assert!(one.request_id.as_deref().is_some_and(|id| !id.is_empty()), "{row:?} {}", one.code);
            assert_eq!(one.request_id, own[0].request_id, "{row:?}: one call is one request");
        }
    }

    /// A token of Dan's and its number.
    async fn delegated(&self) -> (String, String) {
        let body = json!({"agent_id": "robot", "permissions": ["reports.read"]});
        let made = self.does(&self.dan, "POST /ai/tokens/", "", body, &["agent_token_created"]).await;
        (made["id"].to_string(), made["token"].as_str().unwrap().to_owned())
    }

    /// What waits for somebody's word. What was denied is asked for by another amount.
    async fn held(&self, token: &str, amount: u32) -> String {
        let body = format!("{{\"amount\": {amount}}}");
        let text = request("POST", "/pay", &[bearer(token), elsewhere()], &body);
        let held = exchange(self.gateway.public(), text).await.unwrap();
        assert_eq!(held.status, 202, "{}", held.text());
        held.json()["confirmation_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn what_is_done_to_people_is_declared_and_written() {
    let scene = Scene::new().await;
    let root = &scene.root;
    let body = json!({"email": "new@example.com", "password": PASSWORD});
    scene.does(root, "POST /admin/users/", "", body, &["account_created"]).await;
    let ada = scene.gateway.user("ada", &scene.keys).await;
    let id = ada.id.to_string();
    for (what, body, events) in [
        ("PATCH /admin/users/{id}/", json!({"first_name": "Ada"}), &["profile_changed"][..]),
        ("PATCH /admin/users/{id}/", json!({"is_active": false}), &["account_deactivated", "session_ended"]),
        ("PATCH /admin/users/{id}/", json!({"is_active": true}), &["account_activated"]),
        ("POST /admin/users/{id}/lock/", json!({"duration_minutes": 5}), &["account_locked"]),
        ("POST /admin/users/{id}/unlock/", Value::Null, &["account_unlocked"]),
        ("POST /admin/users/{id}/ban/", json!({"reason": "spam"}), &["account_banned"]),
        ("POST /admin/users/{id}/unban/", Value::Null, &["account_unbanned"]),
    ] {
        scene.does(root, what, &id, body, events).await;
    }
    let ada = scene.gateway.log_in("ada", ada.id, &scene.keys).await;
    let sessions = scene.gateway.call("GET", "/sessions/", &[ada.bearer()], &Value::Null).await.json();
    let session = sessions[0]["id"].as_str().unwrap();
    let revoke = "POST /admin/refresh-tokens/{id}/revoke/";
    scene.does(root, revoke, session, Value::Null, &["session_ended"]).await;
    // Whoever goes takes with them what they have.
    scene.gateway.log_in("ada", ada.id, &scene.keys).await;
    let others = scene.gateway.organization("others", scene.dan.id, None).await;
    scene.gateway.join(others, ada.id, "member").await;
    let role = json!({"role_code": "editor"});
    scene.does(root, "POST /users/{id}/roles/", &id, role, &["role_assigned"]).await;
    let events = ["account_deleted", "deletion_request_processed", "member_removed", "role_removed"];
    scene.does(root, "DELETE /admin/users/{id}/", &id, Value::Null, &events).await;
}

#[tokio::test]
async fn what_is_done_to_rights_is_declared_and_written() {
    let scene = Scene::new().await;
    let (root, user) = (&scene.root, scene.dan.id.to_string());
    let changed = &["permission_changed"][..];
    for (what, id, body, events) in [
        ("POST /permissions/", "", json!({"code": "press", "name": "Press"}), changed),
        ("PUT /permissions/{id}/", "press", json!({"name": "Presses"}), changed),
        (
            "POST /roles/",
            "",
            json!({"code": "presser", "name": "Presser", "permission_codes": ["press"]}),
            changed,
        ),
        ("PUT /roles/{id}/", "presser", json!({"name": "Who presses"}), changed),
        ("DELETE /roles/{id}/permissions/", "presser", json!({"permission_codes": ["press"]}), changed),
        ("POST /roles/{id}/permissions/", "presser", json!({"permission_codes": ["press"]}), changed),
        ("POST /users/{id}/roles/", &*user, json!({"role_code": "presser"}), &["role_assigned"]),
        ("DELETE /users/{id}/roles/?role_code=presser", &*user, Value::Null, &["role_removed"]),
        (
            "POST /users/{id}/permissions/",
            &*user,
            json!({"permission_codes": ["press"]}),
            &["permission_granted"],
        ),
        (
            "DELETE /users/{id}/permissions/",
            &*user,
            json!({"permission_codes": ["press"]}),
            &["permission_revoked"],
        ),
        ("POST /groups/", "", json!({"code": "desk", "name": "Desk"}), changed),
        ("PUT /groups/{id}/", "desk", json!({"name": "The desk"}), changed),
        ("POST /groups/{id}/grants/", "desk", json!({"role_codes": ["presser"]}), changed),
        ("POST /users/{id}/groups/", &*user, json!({"group_code": "desk"}), &["group_joined"]),
        ("DELETE /users/{id}/groups/?group_code=desk", &*user, Value::Null, &["group_left"]),
        ("POST /users/{id}/groups/", &*user, json!({"group_code": "desk"}), &["group_joined"]),
        ("DELETE /groups/{id}/grants/", "desk", json!({"role_codes": ["presser"]}), changed),
        ("DELETE /groups/{id}/", "desk", Value::Null, &["permission_changed", "group_left"]),
        ("POST /users/{id}/roles/", &*user, json!({"role_code": "presser"}), &["role_assigned"]),
        ("DELETE /roles/{id}/", "presser", Value::Null, &["permission_changed", "role_removed"]),
        (
            "POST /users/{id}/permissions/",
            &*user,
            json!({"permission_codes": ["press"]}),
            &["permission_granted"],
        ),
        ("DELETE /permissions/{id}/", "press", Value::Null, &["permission_changed", "permission_revoked"]),
    ] {
        scene.does(root, what, id, body, events).await;
    }
}

#[tokio::test]
async fn what_is_done_to_organizations_and_applications_is_declared_and_written() {
    let scene = Scene::new().await;
    let (root, dan) = (&scene.root, scene.dan.id.to_string());
    let made = scene.does(root, "POST /applications/", "", json!({"name": "shop"}), &["app_created"]).await;
    let shop = made["application"]["id"].as_str().unwrap();
    for (what, body, events) in [
        ("PUT /applications/{id}/", json!({"name": "Shop"}), &["app_updated"][..]),
        ("PATCH /applications/{id}/", json!({"is_active": false}), &["app_disabled"]),
        ("PUT /applications/{id}/", json!({"is_active": true}), &["app_enabled"]),
        (
            "POST /applications/{id}/regenerate/",
            json!({"confirmation": "REGENERATE"}),
            &["app_credentials_regenerated"],
        ),
        ("DELETE /applications/{id}/", Value::Null, &["app_deleted"]),
    ] {
        scene.does(root, what, shop, body, events).await;
    }
    let body = json!({"name": "Acme", "slug": ORG});
    scene.does(root, "POST /organizations/", "", body, &["organization_created"]).await;
    let invite = json!({"email": "guest@example.com", "role_code": "member"});
    let invited = &["member_invited"];
    let made = scene.does(root, "POST /organizations/invitations/", "", invite, invited).await;
    let guest = made["id"].as_str().unwrap();
    // One mail to an address follows another one after a while.
    scene.clock.advance(Duration::from_mins(2));
    for (what, id, body, events) in [
        ("PATCH /organizations/update/", "", json!({"name": "Acme & Co"}), &["organization_updated"][..]),
        (
            "POST /organizations/members/add/",
            "",
            json!({"user_id": dan, "role_code": "member"}),
            &["member_added"],
        ),
        (
            "PATCH /organizations/members/{id}/",
            &*dan,
            json!({"role_code": "admin"}),
            &["member_role_updated"],
        ),
        ("DELETE /organizations/members/{id}/remove/", &*dan, Value::Null, &["member_removed"]),
        ("POST /organizations/invitations/{id}/resend/", guest, Value::Null, invited),
        ("DELETE /organizations/invitations/{id}/", guest, Value::Null, &["invitation_ended"]),
        ("POST /org-roles/", "", json!({"code": "auditor", "name": "Auditor"}), &["permission_changed"]),
        ("PUT /org-roles/{id}/", "auditor", json!({"name": "Who audits"}), &["permission_changed"]),
        ("DELETE /org-roles/{id}/", "auditor", Value::Null, &["permission_changed"]),
        ("DELETE /organizations/delete/", "", Value::Null, &["organization_deleted"]),
    ] {
        scene.does(root, what, id, body, events).await;
    }
}

#[tokio::test]
async fn what_people_do_with_their_own_is_declared_and_written() {
    let scene = Scene::new().await;
    let dan = &scene.dan;
    let (robot, token) = scene.delegated().await;
    let named = scene.held(&token, 1).await;
    scene
        .does(dan, "POST /ai/pending-actions/{token}/deny/", &named, Value::Null, &["approval_denied"])
        .await;
    scene.held(&token, 2).await;
    for (what, body, events) in [
        ("PUT /ai/tokens/{id}/", json!({"expires_in": 600}), &["agent_token_narrowed"][..]),
        ("POST /ai/tokens/{id}/suspend/", Value::Null, &["agent_token_suspended", "approval_voided"]),
        ("POST /ai/tokens/{id}/resume/", Value::Null, &["agent_token_resumed"]),
        ("DELETE /ai/tokens/{id}/", Value::Null, &["agent_token_revoked"]),
    ] {
        scene.does(dan, what, &robot, body, events).await;
    }
    let (_, token) = scene.delegated().await;
    scene.held(&token, 3).await;
    let all = &["agent_tokens_revoked", "approval_voided"];
    scene.does(dan, "POST /ai/tokens/revoke-all/", "", Value::Null, all).await;
    let key = json!({"name": "nightly"});
    let made = scene.does(dan, "POST /api-keys/", "", key.clone(), &["api_key_created"]).await;
    let id = made["api_key"]["id"].as_str().unwrap();
    scene.does(dan, "DELETE /api-keys/{id}/", id, Value::Null, &["api_key_revoked"]).await;
    scene.gateway.log_in("dan", dan.id, &scene.keys).await;
    let sure = json!({"password": PASSWORD});
    for (what, body, event) in [
        ("DELETE /sessions/", Value::Null, "session_ended"),
        ("PATCH /me/", json!({"first_name": "Dan"}), "profile_changed"),
        ("POST /export-user-data/", sure.clone(), "data_exported"),
        ("POST /request-account-deletion/", sure.clone(), "deletion_request_created"),
        ("POST /cancel-account-deletion/", sure, "deletion_request_cancelled"),
    ] {
        scene.does(dan, what, "", body, &[event]).await;
    }
    // Whoever knew the old password may have made what is in its name.
    scene.delegated().await;
    scene.does(dan, "POST /api-keys/", "", key, &["api_key_created"]).await;
    let body = json!({"current_password": PASSWORD, "new_password": "Another-horse-9-battery"});
    let events = ["password_change", "agent_tokens_revoked", "api_key_revoked"];
    scene.does(dan, "POST /password/change/", "", body, &events).await;
}
