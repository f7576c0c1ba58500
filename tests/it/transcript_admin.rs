//! The examples of the contract's sections 19, 21, 22 and 25, compared as `transcript` does, and to the field.
//! Law: what the contract shows is there, and beside it only what stands here: a field more or less is a change of
//! the wire, and is written down before it is one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::administration::of;
use crate::organizations::{self, ADD, INVITE};
use crate::rights::{self, Scene};
use crate::support::people::{User, permission};
use crate::support::raw::Answer;
use crate::transcript::like;

const MOMENT: &str = "2026-11-20T10:24:45.891337Z";

/// Compares fields and kinds; null stands for anything, and what is in a list is like the first of what is shown.
fn exact(line: &str, status: u16, shown: &Value, answer: &Answer) -> Value {
    assert_eq!(answer.status, status, "{line}: {}", answer.text());
    let came = answer.json();
    like(line, shown, &came);
    same_fields(line, shown, &came);
    came
}

fn same_fields(place: &str, shown: &Value, came: &Value) {
    match (shown, came) {
        (Value::Object(fields), Value::Object(all)) => {
            let names: BTreeSet<&String> = all.keys().collect();
            assert_eq!(names, fields.keys().collect::<BTreeSet<&String>>(), "{place}");
            for (name, shown) in fields {
                same_fields(&format!("{place}.{name}"), shown, &all[name]);
            }
        }
        (Value::Array(shown), Value::Array(all)) => {
            for one in all {
                if let Some(shown) = shown.first() {
                    same_fields(&format!("{place}[]"), shown, one);
                }
            }
        }
        _ => {}
    }
}

/// A page of a list that has numbered pages.
fn page(one: &Value) -> Value {
    json!({"count": 1, "page": 1, "page_size": 20, "total_pages": 1, "next": null, "previous": null, "results": [one]})
}

/// A page of a list that goes on from a place: nothing is counted.
fn keyset(one: &Value) -> Value {
    json!({"count": null, "page_size": 20, "next": null, "previous": null, "results": [one]})
}

struct Asked<'a> {
    scene: &'a Scene,
    user: &'a User,
}

impl Asked<'_> {
    async fn says(&self, line: &str, body: Value, status: u16, shown: &Value) -> Value {
        let (method, path) = line.split_once(' ').unwrap();
        exact(line, status, shown, &self.scene.call(self.user, method, path, body).await)
    }
}

/// `managed_by` is ours: `seed`, `store` or `config`.
fn right(code: &str, parent: &Value) -> Value {
    json!({"id": "48", "code": format!("={code}"), "name": "", "description": "", "parent": parent, "children": [],
        "managed_by": "", "created_at": null, "updated_at": null})
}

/// A role; `inherits` and `managed_by` are ours.
fn role_shown(brings: &Value) -> Value {
    json!({"id": "5", "code": "=moderator", "name": "=Moderator", "description": "=", "permissions": [brings],
        "inherits": [], "is_default": false, "managed_by": "=store", "created_at": MOMENT, "updated_at": MOMENT})
}

fn role_listed() -> Value {
    json!({"id": "5", "code": "=moderator", "name": "=Moderator", "is_default": false, "managed_by": "=store"})
}

#[tokio::test]
async fn permissions_and_roles() {
    let scene = Scene::new().await;
    let root = Asked { scene: &scene, user: &scene.root };
    let parent = |code: &str| json!({"id": "1", "code": format!("={code}")});
    let found = page(&right("users.ban", &parent("users")));
    root.says("GET /permissions/?search=ban&ordering=-code", Value::Null, 200, &found).await;
    let body =
        json!({"code": "posts.publish", "name": "Publish", "description": "d", "parent_code": "content"});
    let mut made = right("posts.publish", &parent("content"));
    made["created_at"] = json!(MOMENT);
    made["updated_at"] = json!(MOMENT);
    root.says("POST /permissions/", body, 201, &made).await;
    root.says("GET /permissions/posts.publish/", Value::Null, 200, &made).await;
    let mut detached = made.clone();
    detached["parent"] = Value::Null;
    let came =
        root.says("PUT /permissions/posts.publish/", json!({"parent_code": null}), 200, &detached).await;
    assert_eq!(came["parent"], Value::Null);
    let gone = json!({"message": "=Permission deleted"});
    root.says("DELETE /permissions/posts.publish/", Value::Null, 200, &gone).await;

    let view = right("content.view", &parent("content"));
    let body = json!({"code": "moderator", "name": "Moderator", "permission_codes": ["content.view"]});
    root.says("POST /roles/", body, 201, &role_shown(&view)).await;
    root.says("GET /roles/?search=moderator", Value::Null, 200, &page(&role_listed())).await;
    root.says("GET /roles/moderator/", Value::Null, 200, &role_shown(&view)).await;
    let brought = json!({"role_id": "5", "role_code": "=moderator", "permissions": [view]});
    root.says("GET /roles/moderator/permissions/", Value::Null, 200, &brought).await;
    let mut any = right("", &json!({"id": "1", "code": "users"}));
    any["code"] = json!("users.ban");
    let mut more = json!({"message": "=1 permission(s) added", "added": ["=users.ban"], "role_code": "=moderator",
        "permissions": [any]});
    let line = "POST /roles/moderator/permissions/";
    root.says(line, json!({"permission_codes": ["users.ban"]}), 200, &more).await;
    more["message"] = json!("=0 permission(s) added");
    (more["added"], more["already_assigned"]) = (json!([]), json!(["=users.ban"]));
    root.says(line, json!({"permission_codes": ["users.ban"]}), 200, &more).await;
    let fewer = json!({"message": "=1 permission(s) removed", "removed": ["=users.ban"], "role_code": "=moderator",
        "permissions": [any], "not_removed": ["=users.lock"]});
    let body = json!({"permission_codes": ["users.ban", "users.lock"]});
    root.says("DELETE /roles/moderator/permissions/", body, 200, &fewer).await;
    root.says("DELETE /roles/moderator/", Value::Null, 200, &json!({"message": "=Role deleted"})).await;
}

#[tokio::test]
async fn what_somebody_was_given() {
    let scene = Scene::new().await;
    let root = Asked { scene: &scene, user: &scene.root };
    let body = json!({"code": "moderator", "name": "Moderator", "permission_codes": ["content.view"]});
    scene.ok(&scene.root, "POST", "/roles/", body).await;
    let line = |method: &str, what: &str| format!("{method} {}", rights::of(&scene.eve, what));
    let given = json!({"message": "=Role assigned", "roles": ["=moderator"]});
    root.says(&line("POST", "roles"), json!({"role_code": "moderator"}), 200, &given).await;
    let roles = json!({"user_id": "13", "roles": [role_listed()]});
    root.says(&line("GET", "roles"), Value::Null, 200, &roles).await;
    let parent = json!({"id": "7", "code": "=content"});
    let edit = right("content.edit", &parent);
    let codes = json!({"permission_codes": ["content.edit"]});
    let more = json!({"message": "=1 permission(s) added", "added": ["=content.edit"], "user_id": "13",
        "direct_permissions": [edit]});
    root.says(&line("POST", "permissions"), codes.clone(), 200, &more).await;
    let held = json!({"user_id": "13", "email": "=eve@example.com", "direct_permissions": [edit],
        "all_permissions": ["content.edit"]});
    let came = root.says(&line("GET", "permissions"), Value::Null, 200, &held).await;
    assert_eq!(came["all_permissions"].as_array().unwrap().len(), 2, "by the role, too");
    let fewer = json!({"message": "=1 permission(s) removed", "removed": ["=content.edit"], "user_id": "13",
        "direct_permissions": []});
    root.says(&line("DELETE", "permissions"), codes, 200, &fewer).await;
    let taken = format!("{}?role_code=moderator", line("DELETE", "roles"));
    root.says(&taken, Value::Null, 200, &json!({"message": "=Role removed", "roles": []})).await;
}

/// Somebody; `account_id`, `username`, `phone` in the place of its two parts and `must_change_password` are ours.
fn somebody() -> Value {
    json!({"id": "13", "account_id": "", "email": "=eve@example.com", "username": null, "phone": null,
        "first_name": "", "last_name": "", "is_active": "flag", "is_locked": "flag", "locked_until": null,
        "is_banned": "flag", "is_deleted": false, "deleted_at": null, "is_email_verified": "flag",
        "is_phone_verified": "flag", "is_2fa_enabled": "flag", "is_staff": false, "is_superuser": false,
        "must_change_password": "flag", "max_sessions": null, "max_devices": null, "roles": [], "permissions": [],
        "created_at": MOMENT, "updated_at": MOMENT, "last_login": null})
}

#[tokio::test]
async fn people_looked_after() {
    let scene = crate::administration::scene().await;
    let clerk = Asked { scene: &scene, user: &scene.clerk };
    let eve = |method: &str, deed: &str| format!("{method} {}", of(&scene.eve, deed));
    let item = json!({"id": "13", "email": "=eve@example.com", "first_name": "", "last_name": "", "is_active": true,
        "is_locked": false, "is_banned": false, "is_deleted": false, "is_email_verified": "flag",
        "is_phone_verified": "flag", "is_2fa_enabled": "flag", "roles": [], "created_at": MOMENT, "last_login": null});
    clerk.says("GET /admin/users/?search=eve@example.com", Value::Null, 200, &keyset(&item)).await;
    clerk.says(&eve("GET", ""), Value::Null, 200, &somebody()).await;
    clerk.says(&eve("PATCH", ""), json!({"first_name": "Eve"}), 200, &somebody()).await;
    let done = |message: &str| json!({"message": format!("={message}"), "user": somebody()});
    let lock = json!({"duration_minutes": 60});
    clerk.says(&eve("POST", "lock"), lock, 200, &done("User locked for 60 minutes")).await;
    for (deed, message) in [
        ("unlock", "User unlocked successfully"),
        ("ban", "User banned successfully"),
        ("unban", "User unbanned successfully"),
    ] {
        clerk.says(&eve("POST", deed), json!({}), 200, &done(message)).await;
    }
    let gone = json!({"message": "=User deleted successfully", "user_id": "13"});
    clerk.says(&eve("DELETE", ""), Value::Null, 200, &gone).await;
}

/// An entry of the trail: from `actor_kind` to `request_id`, and `stream`, it is ours.
fn entry() -> Value {
    json!({"id": "4", "user": 13, "user_email": "=eve@example.com", "action": "=login", "ip_address": "",
        "user_agent": "", "application": 2, "application_name": "=console", "details": null, "created_at": MOMENT,
        "actor_kind": "", "actor_id": null, "agent_token": null, "on_behalf_of": null, "prompt_trace_id": null,
        "approval": null, "organization": null, "request_id": "", "stream": "=changes"})
}

#[tokio::test]
async fn the_trail_and_the_tokens() {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.clerk.id, permission("security.view")).await;
    let clerk = Asked { scene: &scene, user: &scene.clerk };
    let eves = |list: &str, more: &str| format!("GET /admin/{list}/?user_id={}{more}", scene.eve.id);
    let logs = clerk.says(&eves("audit-logs", "&action=login"), Value::Null, 200, &keyset(&entry())).await;
    let one = format!("GET /admin/audit-logs/{}/", logs["results"][0]["id"].as_str().unwrap());
    clerk.says(&one, Value::Null, 200, &entry()).await;
    let body = json!({"email": "eve@example.com", "password": "Wrong-horse-9-battery"});
    assert_eq!(scene.call(&scene.clerk, "POST", "/login/email/", body).await.status, 401);
    // `user`, `user_agent`, `method` and `request_id` are ours.
    let attempt = json!({"id": "25", "identifier": "=eve@example.com", "ip_address": "", "application": 2,
        "success": false, "failure_reason": "=wrong_password", "created_at": MOMENT, "user": 13, "user_agent": "",
        "method": "=password", "request_id": ""});
    clerk.says(&eves("login-attempts", "&success=false"), Value::Null, 200, &keyset(&attempt)).await;
    let token = json!({"id": "", "user": 13, "user_email": "=eve@example.com", "application": 2,
        "application_name": "=console", "device_info": "", "ip_address": null, "is_revoked": "flag",
        "is_expired": false, "expires_at": MOMENT, "created_at": MOMENT, "last_used_at": MOMENT});
    let tokens = clerk.says(&eves("refresh-tokens", ""), Value::Null, 200, &keyset(&token)).await;
    let revoke =
        format!("POST /admin/refresh-tokens/{}/revoke/", tokens["results"][0]["id"].as_str().unwrap());
    let ended = json!({"message": "=Token revoked successfully", "token": token});
    clerk.says(&revoke, Value::Null, 200, &ended).await;
    let listed = json!({"id": "", "token_jti": "", "user": 13, "user_email": "=eve@example.com",
        "blacklisted_at": MOMENT, "expires_at": MOMENT, "reason": "=administrator", "is_expired": false});
    clerk.says(&eves("blacklisted-tokens", ""), Value::Null, 200, &keyset(&listed)).await;
    let cleaned = json!({"message": "=0 expired tokens cleaned up", "deleted_count": 0});
    clerk.says("POST /admin/blacklisted-tokens/cleanup/", Value::Null, 200, &cleaned).await;
}

/// What a member is; `managed_by` is ours, and what came with the gateway was not made at any time.
fn member_role() -> Value {
    json!({"id": "3", "code": "=member", "name": "=Member", "description": "", "is_system": true, "is_default": true,
        "permissions": [""], "managed_by": "=seed", "created_at": null})
}

/// An organization below another one; `plan` and `status` are ours.
fn organization() -> Value {
    json!({"id": "3", "name": "=Engineering", "slug": "=acme-eng", "description": "", "parent": "1",
        "parent_name": "=acme", "metadata": {}, "is_active": true, "plan": "", "status": "=active", "max_members": 0,
        "member_count": 1, "created_at": MOMENT, "updated_at": MOMENT, "created_by_email": "=ada@example.com",
        "user_role": "=owner"})
}

/// What Ada is told in an organization.
async fn says(scene: &organizations::Scene, slug: &str, line: &str, body: Value, status: u16, shown: &Value) {
    exact(line, status, shown, &scene.call(&scene.ada, slug, line, body).await);
}

#[tokio::test]
async fn organizations_members_and_invitations() {
    let scene = organizations::Scene::new().await;
    scene.gateway.grant(scene.ada.id, permission("users.view")).await;
    let scene = &scene;
    let acme = scene.ok(&scene.ada, "acme", "GET /organizations/detail/", Value::Null).await;
    let number: i64 = acme["id"].as_str().unwrap().parse().unwrap();
    let body = json!({"name": "Engineering", "slug": "acme-eng", "parent_id": number});
    says(scene, "", "POST /organizations/", body, 201, &organization()).await;
    let found = page(&organization());
    says(scene, "", "GET /organizations/list/?search=acme-eng", Value::Null, 200, &found).await;
    says(scene, "acme-eng", "GET /organizations/detail/", Value::Null, 200, &organization()).await;
    let branch = |name: &str, depth: u32, children: Value| {
        json!({"id": "1", "name": format!("={name}"), "slug": "", "depth": depth, "is_root": depth == 0,
            "member_count": 1, "children": children})
    };
    let tree = branch("acme", 0, json!([branch("Engineering", 1, json!([]))]));
    says(scene, "acme-eng", "GET /organizations/tree/", Value::Null, 200, &tree).await;

    let mut member = json!({"id": "5", "organization_name": "=acme", "role": member_role(), "status": "=active",
        "user": {"id": "17", "email": "=eve@example.com", "first_name": "", "last_name": ""},
        "invited_by": "16", "invited_at": MOMENT, "created_at": MOMENT, "updated_at": MOMENT});
    let body = json!({"user_id": scene.eve.id.to_string(), "role_code": "member"});
    says(scene, "acme", ADD, body, 201, &member).await;
    let line = "GET /organizations/members/?search=eve@example.com";
    says(scene, "acme", line, Value::Null, 200, &keyset(&member)).await;
    member["role"]["code"] = json!("=viewer");
    (member["role"]["name"], member["role"]["is_default"]) = (json!("=Viewer"), json!(false));
    says(scene, "acme", &organizations::member(&scene.eve), json!({"role_code": "viewer"}), 200, &member)
        .await;
    let removed = json!({"message": "=Member removed successfully"});
    says(scene, "acme", &organizations::removal(&scene.eve), Value::Null, 200, &removed).await;

    // `role_code` is ours.
    let invitation = json!({"id": "1", "organization_name": "=acme", "email": "=new@example.com",
        "role_code": "=member", "role_name": "=Member", "status": "=pending", "invited_by_email": "=ada@example.com",
        "created_at": MOMENT, "expires_at": MOMENT});
    let mut made = invitation.clone();
    made["token"] = json!("NYDYf4eKUksA4H6b8FadL");
    let body = json!({"email": "new@example.com", "role_code": "member", "expires_in_days": 7});
    says(scene, "acme", INVITE, body, 201, &made).await;
    says(scene, "acme", "GET /organizations/invitations/", Value::Null, 200, &keyset(&invitation)).await;
    let mut role = member_role();
    for free in ["code", "name", "is_system", "is_default", "managed_by"] {
        role[free] = Value::Null;
    }
    says(scene, "", "GET /org-roles/", Value::Null, 200, &json!([role])).await;
    says(scene, "", "GET /org-roles/member/", Value::Null, 200, &member_role()).await;
    let gone = json!({"message": "=Organization deleted successfully"});
    says(scene, "acme-eng", "DELETE /organizations/delete/", Value::Null, 200, &gone).await;
}
