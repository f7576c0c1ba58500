//! Rights managed over HTTP (contract section 19), on the running gateway: what the wire says, and what
//! somebody gets who wants more than they hold.

use serde_json::{Value, json};

use crate::support::people::{Keys, TRUSTING, User, permission, role};
use crate::support::raw::Answer;
use crate::support::{Gateway, Upstream};

const MANAGES: [&str; 4] = ["users.roles", "users.permissions", "roles", "permissions"];

pub struct Scene {
    upstream: Upstream,
    pub gateway: Gateway,
    pub keys: Keys,
    /// Holds everything there is.
    pub root: User,
    /// Manages rights, and holds nothing beside that but `content.view`.
    pub clerk: User,
    /// Holds nothing.
    pub eve: User,
}

pub fn yaml(upstream: &Upstream) -> String {
    format!(
        "{TRUSTING}
permissions: [ {{ code: vault.open }} ]
roles:
  - {{ code: auditor, permissions: [content.view] }}
  - {{ code: keeper, permissions: [vault.open] }}
  - {{ code: suspended, permissions: [content.view] }}
groups: [ {{ code: board }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: audit, match: {{ path: /audit }}, upstream: up, allow: {{ role: auditor }} }}
  - {{ name: shut, match: {{ path: /shut }}, upstream: up, allow: {{ all: [ signed_in, {{ not: {{ role: suspended }} }} ] }} }}
  - {{ name: board, match: {{ path: /board }}, upstream: up, allow: {{ group: board }} }}
  - {{ name: ban, match: {{ path: /ban }}, upstream: up, allow: {{ permission: users.ban }},
      agents: {{ permission: users.ban }} }}
",
        upstream.address
    )
}

impl Scene {
    pub async fn new() -> Self {
        let upstream = Upstream::echo().await;
        let gateway = Gateway::start(&yaml(&upstream)).await;
        let keys = gateway.application("console", &[]).await;
        let id = gateway.account("root", |new| new.is_superuser = true).await;
        let root = gateway.log_in("root", id, &keys).await;
        let clerk = gateway.user("clerk", &keys).await;
        for code in MANAGES.iter().chain(&["content.view"]) {
            gateway.grant(clerk.id, permission(code)).await;
        }
        let eve = gateway.user("eve", &keys).await;
        Self { upstream, gateway, keys, root, clerk, eve }
    }

    pub async fn call(&self, user: &User, method: &str, path: &str, body: Value) -> Answer {
        let lines = [vec![user.bearer()], self.keys.lines().to_vec()].concat();
        self.gateway.call(method, path, &lines, &body).await
    }

    pub async fn ok(&self, user: &User, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(user, method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer.json()
    }

    pub async fn refused(&self, user: &User, method: &str, path: &str, body: Value) -> (u16, String) {
        let answer = self.call(user, method, path, body).await;
        assert!(answer.status >= 400, "{method} {path}: {}", answer.text());
        (answer.status, answer.code())
    }

    pub async fn reaches(&self, user: &User, path: &str) -> bool {
        self.gateway.get_as(user, path, &[]).await.status == 200
    }
}

pub fn of(user: &User, what: &str) -> String {
    format!("/users/{}/{what}/", user.id)
}

fn not_held() -> (u16, String) {
    (403, "PERMISSION_DENIED".to_owned())
}

fn names(value: &Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn permissions_and_roles_answer_as_the_contract_says() {
    let scene = Scene::new().await;
    let root = &scene.root;
    let body =
        json!({"code": "posts.publish", "name": "Publish", "description": "d", "parent_code": "content"});
    let made = scene.ok(root, "POST", "/permissions/", body.clone()).await;
    let keys =
        ["children", "code", "created_at", "description", "id", "managed_by", "name", "parent", "updated_at"];
    assert_eq!(names(&made), keys);
    assert_eq!((&made["parent"]["code"], &made["children"]), (&json!("content"), &json!([])));
    assert!(made["id"].as_str().unwrap().parse::<u64>().is_ok() && made["managed_by"] == "store");
    let twice = scene.call(root, "POST", "/permissions/", body).await;
    let expected = json!({"code": ["permission with this code already exists."]});
    assert_eq!((twice.status, &twice.json()["details"]), (400, &expected));
    let path = format!("/permissions/{}/", made["id"].as_str().unwrap());
    assert_eq!(scene.ok(root, "GET", &path, Value::Null).await, made);
    assert_eq!(scene.ok(root, "GET", "/permissions/posts.publish/", Value::Null).await, made);
    let moved = scene.ok(root, "PUT", &path, json!({"parent_code": null, "code": "posts.publish"})).await;
    assert_eq!((&moved["parent"], &moved["name"]), (&Value::Null, &json!("Publish")));
    let orphan = scene.call(root, "PUT", &path, json!({"parent_code": "zzz"})).await;
    let expected = json!({"parent_code": ["Permission \"zzz\" not found"]});
    assert_eq!((orphan.status, &orphan.json()["details"]), (400, &expected));

    let found = scene.ok(root, "GET", "/permissions/?search=BAN&ordering=-code", Value::Null).await;
    assert_eq!((&found["count"], &found["results"][0]["code"]), (&json!(1), &json!("users.ban")));
    assert_eq!(found["results"][0]["managed_by"], "seed");
    let below = scene.ok(root, "GET", "/permissions/?parent=content&page_size=2", Value::Null).await;
    assert_eq!((&below["count"], below["results"].as_array().unwrap().len()), (&json!(5), 2));

    let role = json!({"code": "moderator", "name": "Moderator", "permission_codes": ["content.view"]});
    let made = scene.ok(root, "POST", "/roles/", role).await;
    let keys = ["code", "created_at", "description", "id", "inherits", "is_default", "managed_by", "name"];
    assert_eq!(names(&made)[..8], keys);
    assert_eq!(made["permissions"][0]["code"], "content.view");
    let path = format!("/roles/{}/permissions/", made["id"].as_str().unwrap());
    let added =
        scene.ok(root, "POST", &path, json!({"permission_codes": ["users.ban", "content.view"]})).await;
    assert_eq!(
        (&added["added"], &added["already_assigned"]),
        (&json!(["users.ban"]), &json!(["content.view"]))
    );
    let unknown = scene.call(root, "POST", &path, json!({"permission_codes": ["zzz"]})).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "PERMISSIONS_NOT_FOUND"));
    assert_eq!(unknown.json()["not_found"], json!(["zzz"]));
    let removed = json!({"permission_codes": ["users.ban", "users.lock"]});
    let removed = scene.ok(root, "DELETE", &path, removed).await;
    assert_eq!(removed["message"], "1 permission(s) removed");
    assert_eq!(
        (&removed["removed"], &removed["not_removed"]),
        (&json!(["users.ban"]), &json!(["users.lock"]))
    );

    let given = scene.ok(root, "POST", &of(&scene.eve, "roles"), json!({"role_code": "moderator"})).await;
    assert_eq!(given, json!({"message": "Role assigned", "roles": ["moderator"]}));
    let shown = scene.ok(root, "GET", &of(&scene.eve, "permissions"), Value::Null).await;
    assert_eq!(shown["all_permissions"], json!(["content.view"]));
    let taken = format!("{}?role_code=moderator", of(&scene.eve, "roles"));
    for _ in 0..2 {
        let taken = scene.ok(root, "DELETE", &taken, Value::Null).await;
        assert_eq!(taken, json!({"message": "Role removed", "roles": []}));
    }
    let bare = scene.refused(root, "DELETE", &of(&scene.eve, "roles"), Value::Null).await;
    assert_eq!(bare, (400, "MISSING_PARAM".to_owned()));
    let unknown = scene.refused(root, "POST", &of(&scene.eve, "roles"), json!({"role_code": "zzz"})).await;
    assert_eq!(unknown, (404, "ROLE_NOT_FOUND".to_owned()));
    let direct = json!({"permission_codes": ["content.edit"]});
    let direct = scene.ok(root, "POST", &of(&scene.eve, "permissions"), direct).await;
    assert_eq!(direct["direct_permissions"][0]["code"], "content.edit");
    assert_eq!(scene.ok(root, "DELETE", "/roles/moderator/", Value::Null).await["message"], "Role deleted");
    let deleted = scene.ok(root, "DELETE", "/permissions/posts.publish/", Value::Null).await;
    assert_eq!(deleted["message"], "Permission deleted");
    let again = scene.refused(root, "DELETE", "/permissions/posts.publish/", Value::Null).await;
    assert_eq!(again, (404, "NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_group_is_made_filled_joined_and_gone() {
    let scene = Scene::new().await;
    let root = &scene.root;
    scene.ok(root, "POST", "/groups/", json!({"code": "night", "name": "Night shift"})).await;
    let grants = json!({"role_codes": ["editor"], "permission_codes": ["users.ban"]});
    let filled = scene.ok(root, "POST", "/groups/night/grants/", grants).await;
    assert_eq!((&filled["roles"], &filled["permissions"]), (&json!(["editor"]), &json!(["users.ban"])));
    assert!(!scene.reaches(&scene.eve, "/ban").await);
    let joined = scene.ok(root, "POST", &of(&scene.eve, "groups"), json!({"group_code": "night"})).await;
    assert_eq!(joined["groups"][0]["code"], "night");
    assert!(scene.reaches(&scene.eve, "/ban").await);
    scene.ok(root, "DELETE", "/groups/night/grants/", json!({"permission_codes": ["users.ban"]})).await;
    assert!(!scene.reaches(&scene.eve, "/ban").await);
    scene.ok(root, "DELETE", "/groups/night/", Value::Null).await;
    let left = scene.ok(root, "GET", &of(&scene.eve, "groups"), Value::Null).await;
    assert_eq!(left["groups"], json!([]));
    let listed = scene.ok(root, "GET", "/groups/", Value::Null).await;
    assert_eq!((&listed["count"], &listed["results"][0]["managed_by"]), (&json!(1), &json!("config")));
}

/// The clerk holds every permission to manage rights, and tries each way to more.
#[tokio::test]
async fn nobody_gives_what_they_do_not_hold() {
    let scene = Scene::new().await;
    let (root, clerk) = (&scene.root, &scene.clerk);
    let own = of(clerk, "permissions");
    let ban = json!({"permission_codes": ["users.ban"]});
    scene
        .ok(
            root,
            "POST",
            "/roles/",
            json!({"code": "banner", "name": "B", "permission_codes": ["users.ban"]}),
        )
        .await;
    scene
        .ok(
            root,
            "POST",
            "/roles/",
            json!({"code": "reader", "name": "R", "permission_codes": ["content.view"]}),
        )
        .await;
    scene.ok(root, "POST", "/permissions/", json!({"code": "secret", "name": "S"})).await;
    scene.ok(root, "POST", "/groups/", json!({"code": "bans", "name": "B"})).await;
    scene.ok(root, "POST", "/groups/bans/grants/", ban.clone()).await;
    for (method, path, body) in [
        // To oneself, to others, by a parent of it, by roles of every kind.
        ("POST", own.clone(), ban.clone()),
        ("POST", of(&scene.eve, "permissions"), ban.clone()),
        ("POST", own.clone(), json!({"permission_codes": ["users"]})),
        ("POST", of(clerk, "roles"), json!({"role_code": "banner"})),
        ("POST", of(clerk, "roles"), json!({"role_code": "super_admin"})),
        ("POST", of(clerk, "roles"), json!({"role_code": "admin"})),
        // A name that a policy asks for is more than the permissions that it brings.
        ("POST", of(clerk, "roles"), json!({"role_code": "auditor"})),
        ("POST", of(clerk, "roles"), json!({"role_code": "keeper"})),
        ("POST", of(clerk, "groups"), json!({"group_code": "board"})),
        ("POST", of(clerk, "groups"), json!({"group_code": "bans"})),
        // By what a new role, an old role or a group brings.
        (
            "POST",
            "/roles/".to_owned(),
            json!({"code": "mine", "name": "M", "permission_codes": ["users.ban"]}),
        ),
        ("PUT", "/roles/reader/".to_owned(), json!({"permission_codes": ["users.ban"]})),
        ("POST", "/roles/reader/permissions/".to_owned(), ban.clone()),
        ("POST", "/roles/reader/permissions/".to_owned(), json!({"permission_codes": ["content"]})),
        // By moving what is not held below what is.
        ("PUT", "/permissions/secret/".to_owned(), json!({"parent_code": "content.view"})),
        // By a permission below one that is not held.
        (
            "POST",
            "/permissions/".to_owned(),
            json!({"code": "users.ban.all", "name": "x", "parent_code": "users.ban"}),
        ),
        // What reaches further is not changed or taken either.
        ("PUT", "/roles/banner/".to_owned(), json!({"is_default": true})),
        ("DELETE", "/roles/banner/".to_owned(), Value::Null),
        ("DELETE", "/roles/banner/permissions/".to_owned(), ban.clone()),
        ("DELETE", "/permissions/secret/".to_owned(), Value::Null),
        ("DELETE", "/groups/bans/".to_owned(), Value::Null),
        ("DELETE", "/groups/bans/grants/".to_owned(), ban.clone()),
        ("DELETE", format!("{}?role_code=super_admin", of(root, "roles")), Value::Null),
    ] {
        assert_eq!(
            scene.refused(clerk, method, &path, body.clone()).await,
            not_held(),
            "{method} {path} {body}"
        );
    }
    let held = scene.ok(root, "GET", &own, Value::Null).await;
    let direct: Vec<_> =
        held["direct_permissions"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(direct, ["content.view", "permissions", "roles", "users.permissions", "users.roles"]);
    assert_eq!(
        scene.ok(root, "GET", "/roles/reader/", Value::Null).await["permissions"][0]["code"],
        "content.view"
    );
    for path in ["/audit", "/board", "/ban"] {
        assert!(!scene.reaches(clerk, path).await, "{path}");
    }
    // What they hold they pass on.
    scene.ok(clerk, "POST", &of(&scene.eve, "roles"), json!({"role_code": "reader"})).await;
    scene.ok(clerk, "POST", &of(&scene.eve, "roles"), json!({"role_code": "viewer"})).await;
    scene
        .ok(clerk, "POST", &of(&scene.eve, "permissions"), json!({"permission_codes": ["content.view"]}))
        .await;
    scene.ok(clerk, "POST", "/groups/", json!({"code": "crew", "name": "Crew"})).await;
    scene.ok(clerk, "POST", "/groups/crew/grants/", json!({"role_codes": ["reader"]})).await;
    // Whom a policy asks for passes it on too.
    scene.gateway.grant(clerk.id, role("auditor")).await;
    scene.ok(clerk, "POST", &of(&scene.eve, "roles"), json!({"role_code": "auditor"})).await;
    assert!(scene.reaches(&scene.eve, "/audit").await);
    assert_eq!(scene.upstream.count(), 1);
}

#[tokio::test]
async fn what_the_file_or_the_gateway_defines_is_not_changed_here() {
    let scene = Scene::new().await;
    let root = &scene.root;
    for (method, path, body, code) in [
        ("PUT", "/roles/editor/", json!({"name": "x"}), "BUILT_IN"),
        ("DELETE", "/roles/super_admin/", Value::Null, "BUILT_IN"),
        ("POST", "/roles/viewer/permissions/", json!({"permission_codes": ["users.ban"]}), "BUILT_IN"),
        ("PUT", "/permissions/users.ban/", json!({"parent_code": "content"}), "BUILT_IN"),
        ("DELETE", "/permissions/users/", Value::Null, "BUILT_IN"),
        ("PUT", "/roles/auditor/", json!({"permission_codes": []}), "MANAGED_BY_CONFIG"),
        ("DELETE", "/roles/auditor/", Value::Null, "MANAGED_BY_CONFIG"),
        ("DELETE", "/permissions/vault.open/", Value::Null, "MANAGED_BY_CONFIG"),
        ("PUT", "/groups/board/", json!({"name": "x"}), "MANAGED_BY_CONFIG"),
        ("DELETE", "/groups/board/", Value::Null, "MANAGED_BY_CONFIG"),
        ("POST", "/groups/board/grants/", json!({"role_codes": ["editor"]}), "MANAGED_BY_CONFIG"),
    ] {
        let refused = scene.refused(root, method, path, body).await;
        assert_eq!(refused, (409, code.to_owned()), "{method} {path}");
    }
    for (path, code) in [("/roles/", "editor"), ("/permissions/", "users.ban"), ("/groups/", "board")] {
        let taken = scene.refused(root, "POST", path, json!({"code": code, "name": "x"})).await;
        assert_eq!(taken, (400, "VALIDATION_ERROR".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_offered_is_refused_by_name() {
    let scene = Scene::new().await;
    let root = &scene.root;
    scene.ok(root, "POST", "/roles/", json!({"code": "press", "name": "Press"})).await;
    let eves = of(&scene.eve, "roles");
    for (method, path, body, field) in [
        ("POST", "/roles/", json!({"code": "x", "name": "x", "is_superuser": true}), "is_superuser"),
        ("POST", "/roles/", json!({"code": "x", "name": "x", "inherits": ["super_admin"]}), "inherits"),
        ("POST", "/roles/", json!({"code": "x", "name": "x", "permissions": ["users"]}), "permissions"),
        ("POST", "/roles/", json!({"code": "7", "name": "x"}), "code"),
        ("POST", "/roles/", json!({"code": "a.*", "name": "x"}), "code"),
        ("PUT", "/roles/press/", json!({"code": "other"}), "code"),
        ("PUT", "/roles/press/", json!({"managed_by": "store"}), "managed_by"),
        ("POST", "/permissions/", json!({"code": "x", "name": "x", "parent": "users"}), "parent"),
        ("POST", &*eves, json!({"role_code": "viewer", "is_superuser": true}), "is_superuser"),
        ("POST", &*eves, json!({"role_code": "viewer", "user_id": 1}), "user_id"),
        ("GET", "/roles/?colour=red", Value::Null, "colour"),
        ("GET", "/roles/?ordering=password_hash", Value::Null, "ordering"),
        ("GET", "/roles/?page_size=0", Value::Null, "page_size"),
        ("GET", "/roles/?page_size=101", Value::Null, "page_size"),
        ("GET", "/permissions/?page_size=many", Value::Null, "page_size"),
        ("GET", "/permissions/?parent=nothing", Value::Null, "parent"),
        ("GET", "/permissions/?ordering=name,-name", Value::Null, "ordering"),
        ("GET", "/groups/?is_default=true", Value::Null, "is_default"),
    ] {
        let answer = scene.call(root, method, path, body.clone()).await;
        let names = answer.json()["details"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        assert_eq!((answer.status, names), (400, Some(vec![field.to_owned()])), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn nothing_comes_to_be_below_itself() {
    let scene = Scene::new().await;
    let root = &scene.root;
    scene.ok(root, "POST", "/permissions/", json!({"code": "posts", "name": "Posts"})).await;
    for (code, parent) in [("posts.edit", "posts"), ("posts.edit.own", "posts.edit")] {
        let body = json!({"code": code, "name": code, "parent_code": parent});
        scene.ok(root, "POST", "/permissions/", body).await;
    }
    let before = scene.ok(root, "GET", "/permissions/posts/", Value::Null).await;
    for below in ["posts", "posts.edit", "posts.edit.own"] {
        let body = json!({"parent_code": below, "name": "Mine"});
        let refused = scene.refused(root, "PUT", "/permissions/posts/", body).await;
        assert_eq!(refused, (409, "CIRCULAR_HIERARCHY".to_owned()), "{below}");
    }
    assert_eq!(scene.ok(root, "GET", "/permissions/posts/", Value::Null).await, before, "nothing of it");
    let aside = scene.ok(root, "PUT", "/permissions/posts.edit/", json!({"parent_code": "content"})).await;
    assert_eq!(aside["parent"]["code"], "content");
    let below = json!({"parent_code": "posts.edit.own"});
    let moved = scene.ok(root, "PUT", "/permissions/posts/", below).await;
    assert_eq!(moved["parent"]["code"], "posts.edit.own", "what would have been a circle is none any more");
}

/// Every endpoint of rights, with who may not call it.
#[tokio::test]
async fn each_endpoint_asks_for_its_own_permission_and_for_a_person() {
    let scene = Scene::new().await;
    let eve = &scene.eve;
    let person = format!("/users/{}", scene.root.id);
    let endpoints: Vec<(&str, String, &str)> = [
        ("GET", "/permissions/", "permissions.view"),
        ("POST", "/permissions/", "permissions.create"),
        ("GET", "/permissions/users/", "permissions.view"),
        ("PUT", "/permissions/users/", "permissions.update"),
        ("DELETE", "/permissions/users/", "permissions.delete"),
        ("GET", "/roles/", "roles.view"),
        ("POST", "/roles/", "roles.create"),
        ("GET", "/roles/editor/", "roles.view"),
        ("PUT", "/roles/editor/", "roles.update"),
        ("DELETE", "/roles/editor/", "roles.delete"),
        ("GET", "/roles/editor/permissions/", "roles.manage_permissions"),
        ("POST", "/roles/editor/permissions/", "roles.manage_permissions"),
        ("DELETE", "/roles/editor/permissions/", "roles.manage_permissions"),
        ("GET", "/groups/", "roles.view"),
        ("POST", "/groups/", "roles.create"),
        ("GET", "/groups/board/", "roles.view"),
        ("PUT", "/groups/board/", "roles.update"),
        ("DELETE", "/groups/board/", "roles.delete"),
        ("POST", "/groups/board/grants/", "roles.manage_permissions"),
        ("DELETE", "/groups/board/grants/", "roles.manage_permissions"),
        ("GET", "@/roles/", "users.roles.view"),
        ("POST", "@/roles/", "users.roles.assign"),
        ("DELETE", "@/roles/?role_code=viewer", "users.roles.remove"),
        ("GET", "@/permissions/", "users.permissions.view"),
        ("POST", "@/permissions/", "users.permissions.assign"),
        ("DELETE", "@/permissions/", "users.permissions.remove"),
        ("GET", "@/groups/", "users.roles.view"),
        ("POST", "@/groups/", "users.roles.assign"),
        ("DELETE", "@/groups/?group_code=board", "users.roles.remove"),
    ]
    .map(|(method, path, needed)| (method, path.replace('@', &person), needed))
    .into();
    assert_eq!(endpoints.len(), portcullis::rbac::rows().len(), "an endpoint is not in the list above");
    scene.gateway.grant(scene.clerk.id, permission("users.ban")).await;
    let minted = scene.ok(&scene.clerk, "POST", "/ai/tokens/", json!({"permissions": ["users.ban"]})).await;
    let agent = format!("Authorization: AgentBearer {}", minted["token"].as_str().unwrap());
    let keys = scene.keys.lines().to_vec();
    for (method, path, needed) in &endpoints {
        let refused = scene.refused(eve, method, path, Value::Null).await;
        assert_eq!(refused, (403, "PERMISSION_REQUIRED".to_owned()), "{method} {path}");
        let nobody = scene.gateway.call(method, path, &keys, &Value::Null).await;
        assert_eq!((nobody.status, nobody.code().as_str()), (401, "AUTH_REQUIRED"), "{method} {path}");
        let lines = [keys.clone(), vec![agent.clone()]].concat();
        let program = scene.gateway.call(method, path, &lines, &Value::Null).await;
        assert_eq!((program.status, program.code().as_str()), (403, "AGENT_NOT_ALLOWED"), "{method} {path}");
        // With the one permission the answer is about something else.
        scene.gateway.grant(eve.id, permission(needed)).await;
        let answer = scene.call(eve, method, path, Value::Null).await;
        assert_ne!(answer.code(), "PERMISSION_REQUIRED", "{method} {path}");
        assert_ne!(answer.status, 500, "{method} {path}: {}", answer.text());
        scene.gateway.revoke(eve.id, permission(needed)).await;
    }
}
