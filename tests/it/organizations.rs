//! Organizations over HTTP (contract section 25), on the running gateway: what the wire says, and who may do
//! what there.

use portcullis::base::{Id, Number};
use portcullis::organization::{self, Terms, invitation};
use serde_json::{Value, json};

use crate::support::people::{Keys, TRUSTING, User, permission};
use crate::support::raw::Answer;
use crate::support::{Gateway, Upstream};

pub struct Scene {
    _upstream: Upstream,
    pub gateway: Gateway,
    pub keys: Keys,
    /// Owns `acme`.
    pub ada: User,
    /// Administrates it.
    pub bob: User,
    /// A member of it.
    pub cat: User,
    /// Owns `rival`, and has nothing to do with `acme`.
    pub eve: User,
    pub acme: Id,
    pub rival: Id,
}

pub fn yaml(upstream: &Upstream) -> String {
    format!(
        "{TRUSTING}
organizations: {{ roles: [
  {{ code: buyer, permissions: [shop.buy] }}, {{ code: guard, permissions: [users.ban] }} ] }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: member, match: {{ path: /member }}, upstream: up, allow: {{ org: member }} }}
  - {{ name: admin, match: {{ path: /admin }}, upstream: up, allow: {{ org: admin }} }}
  - {{ name: gold, match: {{ path: /gold }}, upstream: up, allow: {{ org: {{ plan: gold, status: active }} }} }}
  - {{ name: ban, match: {{ path: /ban }}, upstream: up, allow: {{ permission: users.ban }},
      agents: {{ permission: users.ban }} }}
",
        upstream.address
    )
}

impl Scene {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// The same with more said of organizations.
    pub async fn with(more: &str) -> Self {
        let upstream = Upstream::echo().await;
        let yaml = yaml(&upstream).replace("organizations: {", &format!("organizations: {{ {more}"));
        let gateway = Gateway::start(&yaml).await;
        let keys = gateway.application("console", &[]).await;
        let (ada, bob) = (gateway.user("ada", &keys).await, gateway.user("bob", &keys).await);
        let (cat, eve) = (gateway.user("cat", &keys).await, gateway.user("eve", &keys).await);
        let acme = gateway.organization("acme", ada.id, None).await;
        let rival = gateway.organization("rival", eve.id, None).await;
        gateway.join(acme, bob.id, "admin").await;
        gateway.join(acme, cat.id, "member").await;
        Self { _upstream: upstream, gateway, keys, ada, bob, cat, eve, acme, rival }
    }

    pub async fn call(&self, user: &User, slug: &str, what: &str, body: Value) -> Answer {
        let (method, path) = what.split_once(' ').unwrap();
        let mut lines = [vec![user.bearer()], self.keys.lines().to_vec()].concat();
        if !slug.is_empty() {
            lines.push(format!("X-Org-Slug: {slug}"));
        }
        self.gateway.call(method, path, &lines, &body).await
    }

    pub async fn ok(&self, user: &User, slug: &str, what: &str, body: Value) -> Value {
        let answer = self.call(user, slug, what, body).await;
        assert!(answer.status < 300, "{what}: {}", answer.text());
        answer.json()
    }

    pub async fn refused(&self, user: &User, slug: &str, what: &str, body: Value) -> (u16, String) {
        let answer = self.call(user, slug, what, body).await;
        assert!(answer.status >= 400, "{what}: {}", answer.text());
        (answer.status, answer.code())
    }

    pub async fn opens(&self, user: &User, path: &str, slug: &str) -> u16 {
        self.gateway.get_as(user, path, &[&format!("X-Org-Slug: {slug}")]).await.status
    }
}

pub fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub const ADD: &str = "POST /organizations/members/add/";
pub const INVITE: &str = "POST /organizations/invitations/";
pub const UPDATE: &str = "PATCH /organizations/update/";

pub fn member(user: &User) -> String {
    format!("PATCH /organizations/members/{}/", user.id)
}

pub fn removal(user: &User) -> String {
    format!("DELETE /organizations/members/{}/remove/", user.id)
}

#[tokio::test]
async fn an_organization_answers_as_the_contract_says() {
    let scene = Scene::new().await;
    let body = json!({"name": "Engineering", "slug": "acme-eng", "parent_id": "acme", "metadata": {"a": 1}});
    assert_eq!(
        scene.refused(&scene.ada, "", "POST /organizations/", body).await,
        told(400, "VALIDATION_ERROR")
    );
    let acme = scene.ok(&scene.ada, "acme", "GET /organizations/detail/", Value::Null).await;
    assert_eq!((&acme["parent"], acme.get("parent_name")), (&Value::Null, None));
    let parent: i64 = acme["id"].as_str().unwrap().parse().unwrap();
    let body = json!({"name": "Engineering", "slug": "Acme-Eng", "parent_id": parent, "metadata": {"a": 1},
        "max_members": 3});
    let made = scene.ok(&scene.ada, "", "POST /organizations/", body).await;
    let expected = json!({
        "id": made["id"], "name": "Engineering", "slug": "acme-eng", "description": "", "parent": acme["id"],
        "parent_name": "acme", "metadata": {"a": 1}, "is_active": true, "plan": "", "status": "active",
        "max_members": 3, "member_count": 1, "created_at": made["created_at"],
        "updated_at": made["updated_at"], "created_by_email": "ada@example.com", "user_role": "owner"
    });
    assert_eq!(made, expected);
    let tree = scene.ok(&scene.ada, "acme-eng", "GET /organizations/tree/", Value::Null).await;
    assert_eq!(
        (&tree["slug"], &tree["is_root"], &tree["member_count"]),
        (&json!("acme"), &json!(true), &json!(3))
    );
    let child = &tree["children"][0];
    assert_eq!(
        (&child["slug"], &child["depth"], &child["children"]),
        (&json!("acme-eng"), &json!(1), &json!([]))
    );
    let body = json!({"name": "Engineers", "description": "d", "max_members": 0});
    let changed = scene.ok(&scene.bob, "acme-eng", UPDATE, body).await;
    assert_eq!(
        (&changed["name"], &changed["max_members"], &changed["user_role"]),
        (&json!("Engineers"), &json!(0), &Value::Null),
        "an administrator above"
    );
    let list =
        scene.ok(&scene.ada, "", "GET /organizations/list/?ordering=-slug&page_size=1", Value::Null).await;
    assert_eq!((&list["count"], &list["results"][0]["slug"]), (&json!(2), &json!("acme-eng")));
    let found =
        scene.ok(&scene.ada, "", &format!("GET /organizations/list/?parent={parent}"), Value::Null).await;
    assert_eq!((&found["count"], &found["results"][0]["slug"]), (&json!(1), &json!("acme-eng")));
    let slug = json!({"name": "Other", "slug": "acme"});
    let taken = scene.call(&scene.eve, "", "POST /organizations/", slug).await;
    assert_eq!(
        (taken.status, &taken.json()["details"]["slug"][0]),
        (400, &json!("organization with this slug already exists."))
    );
    let gone = scene.ok(&scene.ada, "acme-eng", "DELETE /organizations/delete/", Value::Null).await;
    assert_eq!(gone, json!({"message": "Organization deleted successfully"}));
    assert_eq!(
        scene.refused(&scene.ada, "acme-eng", "GET /organizations/detail/", Value::Null).await,
        told(404, "ORG_NOT_FOUND")
    );
    let inactive = scene.ok(&scene.ada, "", "GET /organizations/list/?is_active=false", Value::Null).await;
    assert_eq!(inactive["results"][0]["slug"], "acme-eng");
}

#[tokio::test]
async fn a_tree_shows_nothing_above_what_one_belongs_to() {
    let scene = Scene::new().await;
    let team = scene.gateway.organization("team", scene.ada.id, Some("acme")).await;
    scene.gateway.organization("secret", scene.ada.id, Some("acme")).await;
    scene.gateway.join(team, scene.eve.id, "owner").await;
    let seen = scene.ok(&scene.eve, "team", "GET /organizations/tree/", Value::Null).await;
    assert_eq!(seen["slug"], "team");
    assert!(!seen.to_string().contains("secret") && !seen.to_string().contains("acme"), "{seen}");
}

#[tokio::test]
async fn what_is_not_offered_is_refused_by_name() {
    let scene = Scene::new().await;
    for (what, field) in [
        ("POST /organizations/", "is_active"),
        ("POST /organizations/", "plan"),
        ("POST /organizations/", "status"),
        ("POST /organizations/", "created_by"),
        (UPDATE, "plan"),
        (UPDATE, "status"),
        (UPDATE, "slug"),
        (UPDATE, "is_active"),
        (UPDATE, "parent_id"),
        (ADD, "status"),
        (INVITE, "token"),
        (INVITE, "organization"),
        ("POST /organizations/move/", "depth"),
    ] {
        let mut body =
            json!({"name": "Name", "user_id": "1", "role_code": "member", "email": "a@example.com"});
        body[field] = json!("gold");
        let answer = scene.call(&scene.ada, "acme", what, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "VALIDATION_ERROR"), "{what} {field}");
        assert!(answer.json()["details"].get(field).is_some(), "{what} {field}: {}", answer.text());
    }
    for query in [
        "list/?page_size=0",
        "list/?page_size=101",
        "list/?ordering=plan",
        "list/?colour=red",
        "members/?page_size=500",
        "members/?ordering=role",
        "members/?colour=red",
        "members/?status=pending",
        "members/?before=x",
        "invitations/?status=lost",
        "invitations/?who=me",
    ] {
        let refused =
            scene.refused(&scene.ada, "acme", &format!("GET /organizations/{query}"), Value::Null).await;
        assert_eq!(refused, told(400, "VALIDATION_ERROR"), "{query}");
    }
    let none = scene.refused(&scene.ada, "", "GET /organizations/detail/", Value::Null).await;
    assert_eq!(none, told(400, "ORG_CONTEXT_REQUIRED"));
}

#[tokio::test]
async fn who_may_do_what_there() {
    let scene = Scene::new().await;
    let lacks = told(403, "ORG_PERMISSION_REQUIRED");
    let role = told(403, "ORG_ROLE_REQUIRED");
    let eve = json!({"user_id": scene.eve.id.to_string(), "role_code": "member"});
    let invitation = json!({"email": "new@example.com", "role_code": "member"});
    let cat = &scene.cat;
    assert_eq!(scene.refused(cat, "acme", UPDATE, json!({"name": "Mine"})).await, role);
    assert_eq!(scene.refused(cat, "acme", ADD, eve.clone()).await, lacks);
    assert_eq!(scene.refused(cat, "acme", INVITE, invitation.clone()).await, lacks);
    assert_eq!(scene.refused(cat, "acme", "GET /organizations/invitations/", Value::Null).await, lacks);
    assert_eq!(scene.refused(cat, "acme", &member(&scene.bob), json!({"role_code": "viewer"})).await, lacks);
    assert_eq!(scene.refused(cat, "acme", &removal(&scene.bob), Value::Null).await, lacks);
    for user in [cat, &scene.bob] {
        assert_eq!(scene.refused(user, "acme", "DELETE /organizations/delete/", Value::Null).await, role);
        let moved = json!({"parent_id": null});
        assert_eq!(scene.refused(user, "acme", "POST /organizations/move/", moved).await, role);
    }
    let team = scene.gateway.organization("team", scene.eve.id, Some("acme")).await;
    let outside = told(403, "ORG_MEMBERSHIP_REQUIRED");
    for path in ["detail", "tree", "members"] {
        let what = format!("GET /organizations/{path}/");
        assert_eq!(scene.refused(&scene.bob, "team", &what, Value::Null).await, outside, "{path}");
    }
    // An administrator gives what he is, and nothing beyond; of owners he takes nothing.
    let denied = told(403, "PERMISSION_DENIED");
    for code in ["owner", "buyer"] {
        let given = json!({"role_code": code});
        assert_eq!(scene.refused(&scene.bob, "acme", &member(cat), given).await, denied, "{code}");
        let invited = json!({"email": "new@example.com", "role_code": code});
        assert_eq!(scene.refused(&scene.bob, "acme", INVITE, invited).await, denied, "{code}");
    }
    assert_eq!(
        scene.refused(&scene.bob, "acme", &member(&scene.ada), json!({"role_code": "member"})).await,
        denied
    );
    assert_eq!(scene.refused(&scene.bob, "acme", &removal(&scene.ada), Value::Null).await, denied);
    scene.ok(&scene.bob, "acme", &member(cat), json!({"role_code": "admin"})).await;
    assert_eq!(scene.opens(cat, "/admin", "acme").await, 200, "it counts on the next request");
    scene.ok(&scene.bob, "acme", &member(cat), json!({"role_code": "viewer"})).await;
    assert_eq!(scene.opens(cat, "/admin", "acme").await, 403);
    // The one who owns it leaves it to somebody, and everybody may leave.
    assert_eq!(
        scene.refused(&scene.ada, "acme", &removal(&scene.ada), Value::Null).await,
        told(409, "LAST_OWNER")
    );
    let demoted = json!({"role_code": "member"});
    assert_eq!(
        scene.refused(&scene.ada, "acme", &member(&scene.ada), demoted).await,
        told(409, "LAST_OWNER")
    );
    scene.ok(cat, "acme", &removal(cat), Value::Null).await;
    assert_eq!(scene.opens(cat, "/member", "acme").await, 404);
    let _ = team;
}

#[tokio::test]
async fn members_are_listed_page_by_page() {
    let scene = Scene::new().await;
    let page = scene.ok(&scene.cat, "acme", "GET /organizations/members/?page_size=2", Value::Null).await;
    let emails = |page: &Value| -> Vec<String> {
        let all = page["results"].as_array().unwrap().iter();
        all.map(|one| one["user"]["email"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(emails(&page), ["cat@example.com", "bob@example.com"]);
    let next = page["next"].as_str().unwrap().split_once("/api/v1/auth").unwrap().1.to_owned();
    let last = scene.ok(&scene.cat, "acme", &format!("GET {next}"), Value::Null).await;
    assert_eq!((emails(&last), &last["next"]), (vec!["ada@example.com".to_owned()], &Value::Null));
    let own = &last["results"][0];
    assert_eq!(
        (&own["status"], &own["role"]["code"], &own["role"]["is_system"]),
        (&json!("active"), &json!("owner"), &json!(true))
    );
    assert_eq!(own["organization_name"], "acme");
    for (query, expected) in [
        ("role=admin", vec!["bob@example.com"]),
        ("search=cat@example.com", vec!["cat@example.com"]),
        ("search=eve@example.com", vec![]),
        ("search=nobody", vec![]),
    ] {
        let found =
            scene.ok(&scene.ada, "acme", &format!("GET /organizations/members/?{query}"), Value::Null).await;
        assert_eq!(emails(&found), expected, "{query}");
    }
    // Found by an attacker: numbers and names of colleagues, which nobody is shown, could be tried.
    let phone = portcullis::base::Phone::parse("+33612345678").unwrap();
    let dan = scene.gateway.account("dan", |new| new.phone = Some(phone)).await;
    scene.gateway.join(scene.acme, dan, "member").await;
    for (query, expected) in
        [("search=%2B33612345678", vec![]), ("search=dan@example.com", vec!["dan@example.com"])]
    {
        let found =
            scene.ok(&scene.ada, "acme", &format!("GET /organizations/members/?{query}"), Value::Null).await;
        assert_eq!(emails(&found), expected, "{query}");
    }
}

#[tokio::test]
async fn only_who_is_known_is_added_outright() {
    let scene = Scene::new().await;
    let add = |user: &User| json!({"user_id": user.id.to_string(), "role_code": "member"});
    let missing = told(404, "NOT_FOUND");
    assert_eq!(scene.refused(&scene.ada, "acme", ADD, add(&scene.eve)).await, missing, "of another tenant");
    let nobody = json!({"user_id": 99999, "role_code": "member"});
    assert_eq!(scene.refused(&scene.ada, "acme", ADD, nobody).await, missing);
    scene.gateway.organization("team", scene.ada.id, Some("acme")).await;
    let added = scene.ok(&scene.ada, "team", ADD, add(&scene.cat)).await;
    assert_eq!(
        (&added["user"]["email"], &added["role"]["code"]),
        (&json!("cat@example.com"), &json!("member"))
    );
    assert_eq!(scene.opens(&scene.cat, "/member", "team").await, 200);
    assert_eq!(scene.refused(&scene.ada, "team", ADD, add(&scene.cat)).await, told(400, "ALREADY_MEMBER"));
    let ghost = json!({"user_id": scene.bob.id.to_string(), "role_code": "zzz"});
    let ghost = scene.call(&scene.ada, "team", ADD, ghost).await;
    assert_eq!((ghost.status, &ghost.json()["details"]["role_code"][0]), (400, &json!("Role zzz not found")));
    scene.gateway.grant(scene.ada.id, permission("users.view")).await;
    scene.ok(&scene.ada, "acme", ADD, add(&scene.eve)).await;
    scene.ok(&scene.ada, "acme", UPDATE, json!({"max_members": 4})).await;
    let dan = scene.gateway.user("dan", &scene.keys).await;
    assert_eq!(scene.refused(&scene.ada, "acme", ADD, add(&dan)).await, told(400, "MEMBER_LIMIT_REACHED"));
    let fewer = scene.refused(&scene.ada, "acme", UPDATE, json!({"max_members": 3})).await;
    assert_eq!(fewer, told(400, "VALIDATION_ERROR"));
}

#[tokio::test]
async fn an_organization_moves_where_its_mover_may_change_both_places() {
    let scene = Scene::new().await;
    let dan = scene.gateway.user("dan", &scene.keys).await;
    scene.gateway.organization("team", dan.id, Some("acme")).await;
    let id = async |user: &User, slug: &str| {
        let shown = scene.ok(user, slug, "GET /organizations/detail/", Value::Null).await;
        shown["id"].clone()
    };
    let (acme, team) = (id(&scene.ada, "acme").await, id(&dan, "team").await);
    let rival = id(&scene.eve, "rival").await;
    let to = |parent: &Value| json!({"parent_id": parent});
    let go = "POST /organizations/move/";
    // Who owns the lower one takes it from nobody above; who owns the upper one, to nobody else's.
    assert_eq!(scene.refused(&dan, "team", go, to(&Value::Null)).await, told(403, "ORG_PERMISSION_REQUIRED"));
    assert_eq!(scene.refused(&scene.ada, "team", go, to(&rival)).await, told(404, "ORG_NOT_FOUND"));
    assert_eq!(scene.refused(&scene.ada, "team", go, to(&json!(424_242))).await, told(404, "ORG_NOT_FOUND"));
    assert_eq!(scene.refused(&scene.ada, "acme", go, to(&team)).await, told(409, "CIRCULAR_HIERARCHY"));
    assert_eq!(scene.refused(&scene.ada, "acme", go, to(&acme)).await, told(409, "CIRCULAR_HIERARCHY"));
    assert_eq!(scene.refused(&scene.ada, "team", go, json!({})).await, told(400, "VALIDATION_ERROR"));
    assert_eq!(scene.opens(&scene.bob, "/admin", "team").await, 200);
    let moved = scene.ok(&scene.ada, "team", go, to(&Value::Null)).await;
    assert_eq!(moved["parent"], Value::Null);
    assert_eq!(scene.opens(&scene.bob, "/admin", "team").await, 404, "nothing comes from above any more");
    let child = json!({"name": "Child", "parent_id": rival});
    assert_eq!(
        scene.refused(&scene.ada, "", "POST /organizations/", child).await,
        told(404, "ORG_NOT_FOUND")
    );
    let child = json!({"name": "Child", "parent_id": acme});
    assert_eq!(
        scene.refused(&scene.cat, "", "POST /organizations/", child).await,
        told(403, "ORG_PERMISSION_REQUIRED")
    );
    let mut parent = acme;
    for depth in 1..5 {
        let body = json!({"name": format!("Level {depth}"), "parent_id": parent});
        parent = scene.ok(&scene.ada, "", "POST /organizations/", body).await["id"].clone();
    }
    let body = json!({"name": "Level 5", "parent_id": parent});
    assert_eq!(scene.refused(&scene.ada, "", "POST /organizations/", body).await, told(400, "ORG_TOO_DEEP"));
    let kept = scene.refused(&scene.ada, "acme", "DELETE /organizations/delete/", Value::Null).await;
    assert_eq!(kept, told(400, "ORG_HAS_CHILDREN"));
}

#[tokio::test]
async fn plan_and_status_open_routes_from_the_next_request_on() {
    let scene = Scene::new().await;
    let terms = async |plan: Option<&str>, status: Option<&str>| {
        let terms = Terms { plan: plan.map(str::to_owned), status: status.map(str::to_owned) };
        scene
            .gateway
            .change(async |change| organization::set_terms(change, scene.acme, &terms).await.unwrap())
            .await;
    };
    let ask = async || {
        let answer = scene.gateway.get_as(&scene.cat, "/gold", &["X-Org-Slug: acme"]).await;
        if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
    };
    assert_eq!(ask().await, "403 ORG_PLAN_REQUIRED");
    terms(Some("gold"), None).await;
    assert_eq!(ask().await, "200");
    terms(None, Some("suspended")).await;
    assert_eq!(ask().await, "403 ORG_STATUS_REQUIRED");
    terms(Some("free"), Some("active")).await;
    assert_eq!(ask().await, "403 ORG_PLAN_REQUIRED");
}

#[tokio::test]
async fn what_was_delegated_for_an_organization_ends_with_it() {
    let scene = Scene::new().await;
    let dan = scene.gateway.user("dan", &scene.keys).await;
    // Wherever the delegation is for an organization, what is delegated is held there.
    scene.gateway.join(scene.acme, dan.id, "guard").await;
    scene.gateway.grant(dan.id, permission("users.ban")).await;
    let token = async |body: Value| {
        let made = scene.ok(&dan, "", "POST /ai/tokens/", body).await;
        made["token"].as_str().unwrap().to_owned()
    };
    let (for_acme, for_none) = (
        token(json!({"permissions": ["users.ban"], "organization": "acme"})).await,
        token(json!({"permissions": ["users.ban"]})).await,
    );
    let ask = async |token: &str| {
        scene.gateway.send("GET", "/ban", &[format!("Authorization: AgentBearer {token}")]).await
    };
    assert_eq!(ask(&for_acme).await.status, 200);
    let invited = json!({"email": "eve@example.com", "role_code": "member"});
    let invited = scene.ok(&scene.ada, "acme", INVITE, invited).await;
    scene.ok(&scene.ada, "acme", "DELETE /organizations/delete/", Value::Null).await;
    let late = json!({"token": invited["token"]});
    let late = scene.refused(&scene.eve, "", "POST /organizations/invitations/accept/", late).await;
    assert_eq!(late, told(410, "INVITATION_OVER"));
    let (number, app) = (invited["id"].as_str().unwrap().parse().unwrap(), &scene.gateway.running.app);
    let kept = invitation::by_number(&app.db, scene.acme, Number(number), app.now()).await.unwrap();
    assert_eq!(kept.map(|own| own.status), Some(invitation::Status::Revoked));
    let answer = ask(&for_acme).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AGENT_TOKEN_STATUS_REVOKED"));
    assert_eq!(ask(&for_none).await.status, 200, "what was for none stays as it was");
}
