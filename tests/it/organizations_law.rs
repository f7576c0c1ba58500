//! Organizations over HTTP: two tenants who learn nothing of each other, owners and invitations many at once,
//! and mail to whom it is for. Law: what a refusal leaves behind is what was there before it.

use futures::future::join_all;
use portcullis::base::Id;
use portcullis::store::{Dialect, Source as _, sql};
use serde_json::{Value, json};

use crate::codes::Post;
use crate::organizations::{ADD, INVITE, Scene, UPDATE, member, removal, told, yaml};
use crate::support::people::{TRUSTING, User, elsewhere, permission};
use crate::support::replica::until;
use crate::support::{Gateway, Replicas, Upstream};
use crate::{on_mariadb, on_one_and_on_two};

/// Everything that the store has of one tenant.
async fn dump(gateway: &Gateway, organization: Id) -> Vec<String> {
    let mut db = &gateway.running.app.db;
    let own =
        sql("SELECT slug, name, description, parent_id, depth, updated_at FROM organization WHERE id = ? \
                   OR parent_id = ? ORDER BY id");
    let own: Vec<(String, String, String, Option<Id>, i64, i64)> =
        db.all(own.bind(organization).bind(organization)).await.unwrap();
    let members = sql("SELECT account_id, role_code, status, updated_at FROM membership \
                       WHERE organization_id = ? ORDER BY id");
    let members: Vec<(Id, String, String, i64)> = db.all(members.bind(organization)).await.unwrap();
    let invited = sql(
        "SELECT email, role_code, status, token_hash FROM invitation WHERE organization_id = ? ORDER BY id",
    );
    let invited: Vec<(String, String, String, String)> = db.all(invited.bind(organization)).await.unwrap();
    vec![format!("{own:?}"), format!("{members:?}"), format!("{invited:?}")]
}

#[tokio::test]
async fn nobody_reaches_another_tenant_by_any_endpoint() {
    let scene = Scene::new().await;
    let (ada, eve) = (&scene.ada, &scene.eve);
    let rival = scene.ok(eve, "rival", "GET /organizations/detail/", Value::Null).await["id"].clone();
    let invited = json!({"email": "new@example.com", "role_code": "member"});
    let invited = scene.ok(eve, "rival", INVITE, invited).await;
    let (number, token) = (invited["id"].as_str().unwrap(), invited["token"].clone());
    let before = dump(&scene.gateway, scene.rival).await;
    let role = json!({"role_code": "owner"});
    let person = json!({"user_id": ada.id.to_string(), "role_code": "owner"});
    let mine = json!({"email": "ada@example.com", "role_code": "owner"});
    // What names the other one by its slug.
    for (what, body) in [
        ("GET /organizations/detail/", Value::Null),
        ("GET /organizations/tree/", Value::Null),
        ("GET /organizations/members/", Value::Null),
        ("GET /organizations/invitations/", Value::Null),
        (UPDATE, json!({"name": "Mine"})),
        ("POST /organizations/move/", json!({"parent_id": null})),
        ("DELETE /organizations/delete/", Value::Null),
        (ADD, person),
        (&*member(eve), role.clone()),
        (&*removal(eve), Value::Null),
        (INVITE, mine),
        (&*format!("POST /organizations/invitations/{number}/resend/"), Value::Null),
        (&*format!("DELETE /organizations/invitations/{number}/"), Value::Null),
    ] {
        let answer = scene.call(ada, "rival", what, body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "ORG_NOT_FOUND"), "{what}");
        let nowhere = scene.call(ada, "nowhere", what, body).await;
        let text = |answer: &crate::support::raw::Answer| {
            let mut body = answer.json();
            body["request_id"] = Value::Null;
            body.to_string().replace("nowhere", "rival")
        };
        assert_eq!(text(&answer), text(&nowhere), "{what}: as one that there is not");
    }
    // What names it, or somebody or something of it, from one's own.
    for (what, body, code) in [
        (&*member(eve), role, "NOT_FOUND"),
        (&*removal(eve), Value::Null, "NOT_FOUND"),
        (ADD, json!({"user_id": eve.id.to_string(), "role_code": "member"}), "NOT_FOUND"),
        ("POST /organizations/move/", json!({"parent_id": rival}), "ORG_NOT_FOUND"),
        ("POST /organizations/", json!({"name": "Below", "parent_id": rival}), "ORG_NOT_FOUND"),
        (&*format!("POST /organizations/invitations/{number}/resend/"), Value::Null, "INVITATION_NOT_FOUND"),
        (&*format!("DELETE /organizations/invitations/{number}/"), Value::Null, "INVITATION_NOT_FOUND"),
        ("POST /organizations/invitations/accept/", json!({"token": token}), "INVITATION_NOT_FOUND"),
        ("POST /organizations/invitations/decline/", json!({"token": token}), "INVITATION_NOT_FOUND"),
    ] {
        assert_eq!(scene.refused(ada, "acme", what, body).await, told(404, code), "{what}");
    }
    let found = format!("GET /organizations/list/?parent={}", rival.as_str().unwrap());
    assert_eq!(scene.ok(ada, "acme", &found, Value::Null).await["count"], 0);
    let sought =
        scene.ok(ada, "acme", "GET /organizations/members/?search=eve@example.com", Value::Null).await;
    assert_eq!(sought["results"], json!([]));
    assert_eq!(dump(&scene.gateway, scene.rival).await, before);
}

#[tokio::test]
async fn a_slug_is_what_it_says_and_is_said_once() {
    let scene = Scene::new().await;
    let keys = scene.keys.lines();
    let ask = async |path: &str, slugs: &[&str]| {
        let slugs: Vec<String> = slugs.iter().map(|slug| format!("X-Org-Slug: {slug}")).collect();
        let lines: Vec<&str> = keys.iter().chain(&slugs).map(String::as_str).collect();
        scene.gateway.get_as(&scene.cat, path, &lines).await
    };
    for path in ["/member", "/api/v1/auth/organizations/detail/"] {
        assert_eq!(ask(path, &["acme"]).await.status, 200, "{path}");
        for other in ["acme.", ".acme", "acme%2e", "%61cme", "acme/", "acme,acme"] {
            let answer = ask(path, &[other]).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "ORG_NOT_FOUND"), "{path} {other}");
        }
        for both in [["acme", "acme"], ["acme", "rival"], ["rival", "acme"]] {
            assert_eq!(ask(path, &both).await.status, 400, "{path} {both:?}");
        }
    }
}

#[tokio::test]
async fn org_roles_are_made_by_those_who_reach_everywhere() {
    let scene = Scene::new().await;
    let id = scene.gateway.account("root", |new| new.is_superuser = true).await;
    let root = scene.gateway.log_in("root", id, &scene.keys).await;
    let all = scene.ok(&scene.cat, "", "GET /org-roles/", Value::Null).await;
    let names: Vec<&str> =
        all.as_array().unwrap().iter().map(|role| role["code"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "member", "owner", "viewer", "buyer", "guard"], "by name");
    let body = json!({"code": "auditor", "name": "Auditor", "permissions": ["org.read", "reports.*"]});
    for code in ["roles.create", "roles.update", "roles.delete"] {
        scene.gateway.grant(scene.ada.id, permission(code)).await;
    }
    let create = "POST /org-roles/";
    assert_eq!(scene.refused(&scene.bob, "", create, body.clone()).await, told(403, "PERMISSION_REQUIRED"));
    assert_eq!(scene.refused(&scene.ada, "", create, body.clone()).await, told(403, "PERMISSION_DENIED"));
    let made = scene.ok(&root, "", create, body.clone()).await;
    assert_eq!((&made["managed_by"], &made["is_system"]), (&json!("store"), &json!(false)));
    assert_eq!(made["permissions"], json!(["org.read", "reports.*"]));
    assert_eq!(scene.refused(&root, "", create, body).await, told(400, "VALIDATION_ERROR"));
    let given = json!({"role_code": "auditor"});
    assert_eq!(
        scene.refused(&scene.bob, "acme", &member(&scene.cat), given.clone()).await,
        told(403, "PERMISSION_DENIED")
    );
    scene.ok(&scene.ada, "acme", &member(&scene.cat), given).await;
    let path = format!("/org-roles/{}/", made["id"].as_str().unwrap());
    assert_eq!(
        scene.refused(&root, "", &format!("DELETE {path}"), Value::Null).await,
        told(409, "ORG_ROLE_IN_USE")
    );
    let more = json!({"permissions": ["org.members.invite"], "name": "Host"});
    let changed = scene.ok(&root, "", &format!("PUT {path}"), more).await;
    assert_eq!((&changed["name"], &changed["permissions"]), (&json!("Host"), &json!(["org.members.invite"])));
    let invited = json!({"email": "new@example.com", "role_code": "member"});
    scene.ok(&scene.cat, "acme", INVITE, invited).await;
    for (code, expected) in [("owner", "BUILT_IN"), ("buyer", "MANAGED_BY_CONFIG")] {
        let path = format!("DELETE /org-roles/{code}/");
        assert_eq!(scene.refused(&root, "", &path, Value::Null).await, told(409, expected));
    }
    scene.ok(&scene.ada, "acme", &member(&scene.cat), json!({"role_code": "member"})).await;
    scene.ok(&root, "", &format!("DELETE {path}"), Value::Null).await;
    assert_eq!(scene.refused(&root, "", &format!("GET {path}"), Value::Null).await, told(404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_tenant_below_a_shared_root_does_not_reach_its_sibling() {
    let scene = Scene::new().await;
    let dan = scene.gateway.user("dan", &scene.keys).await;
    scene.gateway.organization("own", dan.id, Some("acme")).await;
    let other = scene.gateway.organization("other", scene.eve.id, Some("acme")).await;
    let before = dump(&scene.gateway, other).await;
    for stranger in [&scene.eve, &scene.ada, &scene.bob] {
        let body = json!({"user_id": stranger.id.to_string(), "role_code": "member"});
        assert_eq!(scene.refused(&dan, "own", ADD, body).await, told(404, "NOT_FOUND"), "beside or above");
    }
    // Who stands above may know those below, and makes nobody an owner who was not asked.
    let body = |role: &str| json!({"user_id": dan.id.to_string(), "role_code": role});
    assert_eq!(scene.refused(&scene.ada, "acme", ADD, body("owner")).await, told(403, "PERMISSION_DENIED"));
    scene.ok(&scene.ada, "acme", ADD, body("member")).await;
    assert_eq!(dump(&scene.gateway, other).await, before);
}

#[tokio::test]
async fn making_and_deleting_organizations_is_bounded() {
    let scene = Scene::new().await;
    let dan = scene.gateway.user("dan", &scene.keys).await;
    let mut slugs = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let made = scene.ok(&dan, "", "POST /organizations/", json!({"name": "a"})).await;
        let slug = made["slug"].as_str().unwrap().to_owned();
        scene.ok(&dan, &slug, "DELETE /organizations/delete/", Value::Null).await;
        assert!(slugs.insert(slug), "a slug stays taken");
    }
    let more = scene.refused(&dan, "", "POST /organizations/", json!({"name": "b"})).await;
    assert_eq!(more, told(409, "TOO_MANY_ORGANIZATIONS"));
}

#[tokio::test]
async fn nobody_takes_a_plan_along() {
    let scene = Scene::new().await;
    let terms = portcullis::organization::Terms {
        plan: Some("gold".to_owned()),
        status: Some("suspended".to_owned()),
    };
    scene
        .gateway
        .change(async |change| portcullis::organization::set_terms(change, scene.acme, &terms).await.unwrap())
        .await;
    let acme = scene.ok(&scene.bob, "acme", "GET /organizations/detail/", Value::Null).await["id"].clone();
    let mine =
        scene.ok(&scene.bob, "", "POST /organizations/", json!({"name": "Mine", "parent_id": acme})).await;
    assert_eq!((&mine["plan"], &mine["status"]), (&json!("gold"), &json!("suspended")));
    let desk = json!({"name": "Desk", "parent_id": mine["id"]});
    scene.ok(&scene.bob, "", "POST /organizations/", desk).await;
    let moved = scene.ok(&scene.bob, "mine", "POST /organizations/move/", json!({"parent_id": null})).await;
    assert_eq!((&moved["plan"], &moved["status"]), (&json!(""), &json!("suspended")));
    let desk = scene.ok(&scene.bob, "desk", "GET /organizations/detail/", Value::Null).await;
    assert_eq!((&desk["plan"], &desk["status"]), (&json!(""), &json!("suspended")), "with all below it");
}

/// Found by an attacker: whoever is suspended made another one and took the plan there.
#[tokio::test]
async fn a_suspended_tenant_gives_itself_no_working_one() {
    let scene = Scene::new().await;
    let terms = portcullis::organization::Terms {
        plan: Some("gold".to_owned()),
        status: Some("suspended".to_owned()),
    };
    scene
        .gateway
        .change(async |change| portcullis::organization::set_terms(change, scene.acme, &terms).await.unwrap())
        .await;
    let acme = scene.ok(&scene.bob, "acme", "GET /organizations/detail/", Value::Null).await["id"].clone();
    scene.ok(&scene.bob, "", "POST /organizations/", json!({"name": "Next"})).await;
    let moved = scene.ok(&scene.bob, "next", "POST /organizations/move/", json!({"parent_id": acme})).await;
    assert_eq!((&moved["plan"], &moved["status"]), (&json!("gold"), &json!("suspended")));
    assert_eq!(scene.opens(&scene.bob, "/gold", "next").await, 403);
}

#[tokio::test]
async fn where_organizations_are_off_there_are_none() {
    let yaml = format!("{TRUSTING}organizations: {{ enabled: false }}\n");
    let gateway = Gateway::start(&yaml).await;
    let keys = gateway.application("console", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let lines = [vec![ada.bearer(), "X-Org-Slug: acme".to_owned()], keys.lines().to_vec()].concat();
    for (method, path, body) in [
        ("POST", "/organizations/", json!({"name": "Acme"})),
        ("GET", "/organizations/list/", Value::Null),
        ("GET", "/organizations/detail/", Value::Null),
        ("POST", "/organizations/invitations/accept/", json!({"token": "x"})),
    ] {
        let answer = gateway.call(method, path, &lines, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "FEATURE_DISABLED"), "{path}");
    }
}

struct Town {
    replicas: Replicas,
    _upstream: Upstream,
    keys: crate::support::people::Keys,
}

impl Town {
    async fn new(dialect: Dialect) -> Self {
        let upstream = Upstream::echo().await;
        let town = Replicas::on(dialect, &yaml(&upstream)).await;
        let keys = town.here.application("console", &[]).await;
        Self { replicas: town, _upstream: upstream, keys }
    }

    async fn call(&self, number: usize, user: &User, slug: &str, what: &str, body: Value) -> (u16, String) {
        let (method, path) = what.split_once(' ').unwrap();
        let mut lines = [vec![user.bearer(), elsewhere()], self.keys.lines().to_vec()].concat();
        if !slug.is_empty() {
            lines.push(format!("X-Org-Slug: {slug}"));
        }
        let answer = self.replicas.nth(number).call(method, path, &lines, &body).await;
        let code = if answer.status < 300 { String::new() } else { answer.code() };
        (answer.status, code)
    }
}

on_one_and_on_two! {
    async fn of_owners_who_throw_each_other_out_at_once_one_stays(dialect: Dialect) {
        let town = Town::new(dialect).await;
        let mut owners = Vec::new();
        for number in 0..8 {
            owners.push(town.replicas.here.user(&format!("owner{number}"), &town.keys).await);
        }
        let acme = town.replicas.here.organization("acme", owners[0].id, None).await;
        for owner in &owners[1..] {
            town.replicas.here.join(acme, owner.id, "owner").await;
        }
        let last = &owners[7];
        until(std::time::Duration::from_secs(5), "the other one knows", async || {
            town.call(1, last, "acme", "GET /organizations/detail/", Value::Null).await.0 == 200
        }).await;
        let acts = owners.iter().enumerate().flat_map(|(n, by)| {
            let (town, owners) = (&town, &owners);
            owners.iter().map(move |whom| async move {
                if n % 2 == 0 {
                    town.call(n, by, "acme", &removal(whom), Value::Null).await
                } else {
                    town.call(n, by, "acme", &member(whom), json!({"role_code": "member"})).await
                }
            })
        });
        for (status, code) in join_all(acts).await {
            assert!(status < 500 || status == 503, "{status} {code}");
        }
        let owned = sql("SELECT COUNT(*) FROM membership WHERE organization_id = ? AND role_code = 'owner'");
        let (left,): (i64,) = (&town.replicas.here.running.app.db).one(owned.bind(acme)).await.unwrap();
        assert!(left >= 1, "nobody owns it");
    }

    async fn an_invitation_that_many_accept_at_once_counts_once(dialect: Dialect) {
        let town = Town::new(dialect).await;
        let ada = town.replicas.here.user("ada", &town.keys).await;
        let bob = town.replicas.here.user("bob", &town.keys).await;
        town.replicas.here.organization("acme", ada.id, None).await;
        let lines = [vec![ada.bearer(), "X-Org-Slug: acme".to_owned()], town.keys.lines().to_vec()].concat();
        let body = json!({"email": "bob@example.com", "role_code": "admin"});
        let made = town.replicas.here.call("POST", "/organizations/invitations/", &lines, &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let token = made.json()["token"].clone();
        let tries = (0..64).map(|n| {
            let body = json!({"token": token});
            let (town, bob) = (&town, &bob);
            async move { town.call(n, bob, "", "POST /organizations/invitations/accept/", body).await }
        });
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|(status, _)| *status == 200).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|(status, _)| matches!(status, 200 | 410 | 503)), "{outcomes:?}");
        let count = sql("SELECT COUNT(*) FROM membership WHERE account_id = ?").bind(bob.id);
        let (count,): (i64,) = (&town.replicas.here.running.app.db).one(count).await.unwrap();
        assert_eq!(count, 1);
    }

    async fn a_role_that_was_changed_here_counts_there(dialect: Dialect) {
        let town = Town::new(dialect).await;
        let ada = town.replicas.here.user("ada", &town.keys).await;
        let bob = town.replicas.here.user("bob", &town.keys).await;
        let acme = town.replicas.here.organization("acme", ada.id, None).await;
        town.replicas.here.join(acme, bob.id, "member").await;
        let opens = async || town.replicas.there.get_as(&bob, "/admin", &["X-Org-Slug: acme"]).await.status == 200;
        let soon = std::time::Duration::from_secs(5);
        until(soon, "he is known", async || town.call(1, &bob, "acme", "GET /organizations/detail/", Value::Null).await.0 == 200).await;
        assert!(!opens().await);
        let (status, _) = town.call(0, &ada, "acme", &member(&bob), json!({"role_code": "admin"})).await;
        assert_eq!(status, 200);
        until(soon, "he administrates", opens).await;
        let (status, _) = town.call(0, &ada, "acme", "DELETE /organizations/delete/", Value::Null).await;
        assert_eq!(status, 200);
        until(soon, "it is gone", async || !opens().await).await;
    }
}

on_mariadb! {
    of_owners_who_throw_each_other_out_at_once_one_stays
    an_invitation_that_many_accept_at_once_counts_once
    a_role_that_was_changed_here_counts_there
}

#[tokio::test]
async fn an_invitation_comes_by_mail_and_is_accepted_by_whom_it_was_sent_to() {
    let more = "organizations: { invitation_link: 'https://app.example.com/invitation' }\n";
    let post = Post::start(more).await;
    let ada = post.gateway.user("ada", &post.keys).await;
    let acme = post.gateway.organization("acme", ada.id, None).await;
    post.gateway
        .change(async |change| {
            let name = Some("Acme https://evil.example.com".to_owned());
            let edit = portcullis::organization::Edit { name, ..Default::default() };
            portcullis::organization::edit(change, acme, &edit).await.unwrap();
        })
        .await;
    let call = async |user: &User, what: &str, body: Value| {
        let (method, path) = what.split_once(' ').unwrap();
        let mut lines = [vec![user.bearer(), elsewhere()], post.keys.lines().to_vec()].concat();
        if !path.contains("accept") {
            lines.push("X-Org-Slug: acme".to_owned());
        }
        post.gateway.call(method, path, &lines, &body).await
    };
    let body = json!({"email": "New@Example.com", "role_code": "member", "expires_in_days": 3});
    let made = call(&ada, INVITE, body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let shown = made.json();
    assert_eq!(
        (&shown["email"], &shown["status"], &shown["role_name"]),
        (&json!("new@example.com"), &json!("pending"), &json!("Member"))
    );
    assert_eq!(shown["invited_by_email"], "ada@example.com");
    let letter = post.letter(1).await;
    assert_eq!(letter.to, ["new@example.com"]);
    let text = crate::codes::text_of(&letter);
    let token = shown["token"].as_str().unwrap();
    assert!(text.contains(&format!("https://app.example.com/invitation?token={token}")), "{text}");
    assert!(!text.contains("evil.example.com"), "{text}");
    assert!(!letter.header("Subject").unwrap().contains("Acme"));
    let late =
        call(&ada, INVITE, json!({"email": "x@example.com", "role_code": "member", "expires_in_days": 31}))
            .await;
    assert_eq!(
        late.json()["details"]["expires_in_days"][0],
        "Ensure this value is less than or equal to 30."
    );
    let accept = "POST /organizations/invitations/accept/";
    let eve = post.gateway.user("eve", &post.keys).await;
    let other = call(&eve, accept, json!({"token": token})).await;
    assert_eq!((other.status, other.code().as_str()), (404, "INVITATION_NOT_FOUND"));
    let new = post.gateway.user("new", &post.keys).await;
    post.clock.advance(std::time::Duration::from_mins(2));
    let path = format!("POST /organizations/invitations/{}/resend/", shown["id"].as_str().unwrap());
    assert_eq!(call(&ada, &path, Value::Null).await.status, 200);
    let again = crate::codes::text_of(&post.letter(2).await);
    let second = again.split_once("?token=").unwrap().1.split_whitespace().next().unwrap().to_owned();
    let old = call(&new, accept, json!({"token": token})).await;
    assert_eq!(
        (old.status, old.code().as_str()),
        (404, "INVITATION_NOT_FOUND"),
        "another one took its place"
    );
    let accepted = call(&new, accept, json!({"token": second})).await;
    assert_eq!(
        (accepted.status, &accepted.json()["user_role"]),
        (200, &json!("member")),
        "{}",
        accepted.text()
    );
    let once = call(&new, accept, json!({"token": second})).await;
    assert_eq!((once.status, once.code().as_str()), (410, "INVITATION_OVER"));
    let rows = portcullis::audit::tail(&post.gateway.running.app.db, 0, 1000).await.unwrap();
    let log = format!("{rows:?} {:?}", post.gateway.access_log().await);
    assert!(!log.contains(&second) && !log.contains(token), "a token was written down");
    let codes: Vec<_> = rows.iter().map(|row| row.code.as_str()).collect();
    assert!(
        codes.contains(&"member_invited")
            && codes.contains(&"invitation_ended")
            && codes.contains(&"member_added")
    );
}
