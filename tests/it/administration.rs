//! People looked after over HTTP (contract section 21), on the running gateway: what the wire says, and what
//! somebody gets who reaches for people above them.

use portcullis::account;
use portcullis::base::Id;
use portcullis::crypto::digest::base64url;
use serde_json::{Value, json};

use crate::rights::Scene;
use crate::support::people::{PASSWORD, User, elsewhere, permission, role};

const LOOKS_AFTER: [&str; 6] =
    ["users.view", "users.create", "users.update", "users.delete", "users.lock", "users.ban"];

/// The clerk looks after people, and holds nothing that helps with managing rights.
pub async fn scene() -> Scene {
    let scene = Scene::new().await;
    for code in ["users.roles", "users.permissions", "roles", "permissions"] {
        scene.gateway.revoke(scene.clerk.id, permission(code)).await;
    }
    for code in LOOKS_AFTER {
        scene.gateway.grant(scene.clerk.id, permission(code)).await;
    }
    scene
}

fn at(id: Id, deed: &str) -> String {
    if deed.is_empty() { format!("/admin/users/{id}/") } else { format!("/admin/users/{id}/{deed}/") }
}

pub fn of(user: &User, deed: &str) -> String {
    at(user.id, deed)
}

fn emails(page: &Value) -> Vec<&str> {
    page["results"].as_array().unwrap().iter().map(|one| one["email"].as_str().unwrap()).collect()
}

/// Whether somebody can log in now.
async fn logs_in(scene: &Scene, name: &str) -> u16 {
    let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD});
    let lines = [&scene.keys.lines()[..], &[elsewhere()]].concat();
    scene.gateway.call("POST", "/login/email/", &lines, &body).await.status
}

fn path_of(link: &Value) -> String {
    let link = link.as_str().unwrap();
    link[link.find("/admin/").unwrap()..].to_owned()
}

#[tokio::test]
async fn people_are_listed_searched_and_read_page_by_page() {
    let scene = scene().await;
    let clerk = &scene.clerk;
    for name in ["ann", "ben", "cat"] {
        scene.gateway.account(name, |new| new.first_name = name.to_uppercase()).await;
    }
    let page = scene.ok(clerk, "GET", "/admin/users/?page_size=2", Value::Null).await;
    assert_eq!(emails(&page), ["cat@example.com", "ben@example.com"], "the latest first");
    assert_eq!(
        (&page["count"], &page["page_size"], &page["previous"]),
        (&Value::Null, &json!(2), &Value::Null)
    );
    let keys: Vec<&String> = page["results"][0].as_object().unwrap().keys().collect();
    let mut expected = [
        "id",
        "email",
        "first_name",
        "last_name",
        "is_active",
        "is_locked",
        "is_banned",
        "is_deleted",
        "is_email_verified",
        "is_phone_verified",
        "is_2fa_enabled",
        "roles",
        "created_at",
        "last_login",
    ];
    expected.sort_unstable();
    let mut keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let (mut all, mut next) = (Vec::new(), json!("/admin/users/?page_size=2&ordering=email"));
    while !next.is_null() {
        let page = scene.ok(clerk, "GET", &path_of(&next), Value::Null).await;
        all.extend(emails(&page).into_iter().map(str::to_owned));
        next = page["next"].clone();
    }
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted());
    for (query, expected) in [
        ("search=BEN", vec!["ben@example.com"]),
        ("search=ann", vec!["ann@example.com"]),
        ("search=nobody", vec![]),
        ("is_active=no", vec![]),
        ("is_email_verified=1&search=cat@ex", vec!["cat@example.com"]),
        ("is_2fa_enabled=true", vec![]),
        ("date_to=2001-01-01", vec![]),
        ("role=auditor", vec![]),
    ] {
        let page = scene.ok(clerk, "GET", &format!("/admin/users/?{query}"), Value::Null).await;
        assert_eq!(emails(&page), expected, "{query}");
    }
    scene.gateway.grant(scene.eve.id, role("auditor")).await;
    let page = scene.ok(clerk, "GET", "/admin/users/?role=auditor", Value::Null).await;
    assert_eq!((emails(&page), &page["results"][0]["roles"]), (vec!["eve@example.com"], &json!(["auditor"])));
    let detail = scene.ok(clerk, "GET", &of(&scene.eve, ""), Value::Null).await;
    assert_eq!((&detail["roles"], &detail["permissions"]), (&json!(["auditor"]), &json!(["content.view"])));
    assert_eq!(
        (&detail["account_id"], &detail["is_superuser"]),
        (&json!(scene.eve.id.to_string()), &json!(false))
    );
    let by_number = format!("/admin/users/{}/", detail["id"].as_str().unwrap());
    assert_eq!(scene.ok(clerk, "GET", &by_number, Value::Null).await, detail);
    let text = detail.to_string();
    assert!(!text.contains("password_hash") && !text.contains("argon2"), "{text}");
}

#[tokio::test]
async fn a_filter_an_order_or_a_size_that_there_is_not_is_refused_by_name() {
    let scene = scene().await;
    for (query, field) in [
        ("colour=red", "colour"),
        ("is_superuser=true", "is_superuser"),
        ("ordering=password", "ordering"),
        ("ordering=email,first_name", "ordering"),
        ("search=ann&ordering=email", "ordering"),
        ("role=auditor&ordering=email", "ordering"),
        ("role=nothing", "role"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=x", "page_size"),
        ("page=2", "page"),
        ("after=x", "after"),
        ("after=e30", "after"),
        ("is_active=maybe", "is_active"),
        ("date_from=yesterday", "date_from"),
        ("search=", "search"),
        ("search=%20", "search"),
    ] {
        let path = format!("/admin/users/?{query}");
        let answer = scene.call(&scene.clerk, "GET", &path, Value::Null).await;
        let body = answer.json();
        assert_eq!((answer.status, answer.code().as_str()), (400, "VALIDATION_ERROR"), "{query} {body}");
        assert!(body["details"][field].is_array(), "{query} {body}");
    }
}

/// PostgreSQL takes no such character: it was a 500 there.
#[tokio::test]
async fn a_place_in_a_list_with_a_null_character_is_refused() {
    let scene = scene().await;
    let place = base64url(br#"{"part":0,"key":{"Text":"a\u0000"},"last":"1"}"#);
    let path = format!("/admin/users/?ordering=first_name&after={place}");
    let answer = scene.call(&scene.clerk, "GET", &path, Value::Null).await;
    assert!(answer.status == 400 && answer.json()["details"]["after"].is_array(), "{}", answer.text());
}

#[tokio::test]
async fn what_would_give_rights_or_trust_is_refused_by_name() {
    let scene = scene().await;
    let eve = of(&scene.eve, "");
    for field in [
        "is_superuser",
        "is_staff",
        "role",
        "roles",
        "permissions",
        "groups",
        "is_banned",
        "is_locked",
        "email_verified",
        "is_email_verified",
        "is_phone_verified",
        "is_2fa_enabled",
        "email",
        "password",
        "password_hash",
        "max_sessions",
        "site",
        "id",
        "deleted_at",
    ] {
        for (method, path, body) in [
            ("PATCH", eve.as_str(), json!({"first_name": "Eva", field: true})),
            ("POST", "/admin/users/", json!({"email": "new@example.com", field: true})),
        ] {
            if method == "POST" && ["email", "password"].contains(&field) {
                continue;
            }
            let answer = scene.call(&scene.clerk, method, path, body).await;
            let shown = answer.json();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "VALIDATION_ERROR"),
                "{method} {field}"
            );
            assert!(shown["details"][field].is_array(), "{method} {field} {shown}");
        }
    }
    let detail = scene.ok(&scene.clerk, "GET", &eve, Value::Null).await;
    assert_eq!((&detail["first_name"], &detail["is_superuser"]), (&json!(""), &json!(false)));
    let page = scene.ok(&scene.clerk, "GET", "/admin/users/?search=new@", Value::Null).await;
    assert_eq!(page["results"], json!([]));
}

#[tokio::test]
async fn somebody_is_locked_and_banned_and_let_in_again() {
    let scene = scene().await;
    let (clerk, eve) = (&scene.clerk, &scene.eve);
    assert_eq!(logs_in(&scene, "eve").await, 200);
    let locked = json!({"duration_minutes": 60, "reason": "called in"});
    let locked = scene.ok(clerk, "POST", &of(eve, "lock"), locked).await;
    assert_eq!(
        (&locked["message"], &locked["user"]["is_locked"]),
        (&json!("User locked for 60 minutes"), &json!(true))
    );
    assert!(locked["user"]["locked_until"].is_string());
    assert_eq!(logs_in(&scene, "eve").await, 423);
    assert_eq!(scene.call(eve, "GET", "/me/", Value::Null).await.status, 401, "the session is over");
    let again = scene.refused(clerk, "POST", &of(eve, "lock"), json!({})).await;
    assert_eq!(again, (400, "ALREADY_LOCKED".to_owned()));
    let page = scene.ok(clerk, "GET", "/admin/users/?is_locked=true", Value::Null).await;
    assert_eq!(emails(&page), ["eve@example.com"]);
    let unlocked = scene.ok(clerk, "POST", &of(eve, "unlock"), Value::Null).await;
    assert_eq!(
        (&unlocked["message"], &unlocked["user"]["is_locked"]),
        (&json!("User unlocked successfully"), &json!(false))
    );
    assert_eq!(
        scene.refused(clerk, "POST", &of(eve, "unlock"), Value::Null).await,
        (400, "NOT_LOCKED".to_owned())
    );
    assert_eq!(logs_in(&scene, "eve").await, 200);
    for minutes in [json!(0), json!(43_201), json!("60"), json!(1.5), json!(-1)] {
        let refused =
            scene.refused(clerk, "POST", &of(eve, "lock"), json!({"duration_minutes": minutes})).await;
        assert_eq!(refused, (400, "VALIDATION_ERROR".to_owned()));
    }
    let banned = scene.ok(clerk, "POST", &of(eve, "ban"), json!({"reason": "spam"})).await;
    let user = &banned["user"];
    assert_eq!(
        (&banned["message"], &user["is_banned"], &user["is_active"]),
        (&json!("User banned successfully"), &json!(true), &json!(false))
    );
    assert_eq!(
        scene.refused(clerk, "POST", &of(eve, "ban"), json!({})).await,
        (400, "ALREADY_BANNED".to_owned())
    );
    assert_eq!(logs_in(&scene, "eve").await, 401);
    scene.ok(clerk, "POST", &of(eve, "unban"), Value::Null).await;
    assert_eq!(
        scene.refused(clerk, "POST", &of(eve, "unban"), Value::Null).await,
        (400, "NOT_BANNED".to_owned())
    );
    assert_eq!(logs_in(&scene, "eve").await, 200);
    scene.gateway.grant(scene.root.id, permission("security.view")).await;
    for (action, reason) in [("account_locked", "called in"), ("account_banned", "spam")] {
        let path = format!("/admin/audit-logs/?action={action}");
        let log = scene.ok(&scene.root, "GET", &path, Value::Null).await;
        let row = &log["results"][0];
        assert_eq!(
            (&row["details"]["reason"], &row["actor_kind"]),
            (&json!(reason), &json!("account")),
            "{log}"
        );
        assert_eq!(row["actor_id"], json!(clerk.id.to_string()));
    }
}

#[tokio::test]
async fn somebody_is_made_changed_switched_off_and_gone() {
    let scene = scene().await;
    let clerk = &scene.clerk;
    let new = json!({"email": "New@Example.com", "first_name": "Nia", "password": PASSWORD});
    let made = scene.ok(clerk, "POST", "/admin/users/", new.clone()).await;
    assert_eq!((&made["email"], &made["first_name"]), (&json!("new@example.com"), &json!("Nia")));
    assert_eq!(
        (&made["is_email_verified"], &made["must_change_password"], &made["permissions"]),
        (&json!(false), &json!(true), &json!([]))
    );
    let answer = scene.call(clerk, "POST", "/admin/users/", new).await;
    assert_eq!(
        (answer.status, answer.json()["details"]["email"].is_array()),
        (400, true),
        "{}",
        answer.text()
    );
    for (body, field) in [
        (json!({"first_name": "x"}), "non_field_errors"),
        (json!({"email": "x"}), "email"),
        (json!({"phone": "12"}), "phone"),
        (json!({"email": "weak@example.com", "password": "short"}), "password"),
    ] {
        let answer = scene.call(clerk, "POST", "/admin/users/", body).await;
        assert!(answer.status == 400 && answer.json()["details"][field].is_array(), "{}", answer.text());
    }
    let path = format!("/admin/users/{}/", made["id"].as_str().unwrap());
    let changed = json!({"last_name": "Newman", "is_active": false, "must_change_password": false});
    let changed = scene.ok(clerk, "PATCH", &path, changed).await;
    assert_eq!(
        (&changed["last_name"], &changed["is_active"], &changed["must_change_password"]),
        (&json!("Newman"), &json!(false), &json!(false))
    );
    assert_eq!(logs_in(&scene, "new").await, 401);
    scene.ok(clerk, "PATCH", &path, json!({"is_active": true})).await;
    assert_eq!(logs_in(&scene, "new").await, 200);
    let same = scene.ok(clerk, "PATCH", &path, json!({"is_active": true})).await;
    assert_eq!(
        scene.ok(clerk, "PATCH", &path, json!({})).await["updated_at"],
        same["updated_at"],
        "nothing was written"
    );
    let gone = scene.ok(clerk, "DELETE", &path, Value::Null).await;
    assert_eq!((&gone["message"], &gone["user_id"]), (&json!("User deleted successfully"), &made["id"]));
    for method in ["GET", "DELETE", "PATCH"] {
        let body = if method == "PATCH" { json!({}) } else { Value::Null };
        assert_eq!(
            scene.refused(clerk, method, &path, body).await,
            (404, "NOT_FOUND".to_owned()),
            "{method}"
        );
    }
    let page = scene.ok(clerk, "GET", "/admin/users/?is_deleted=yes", Value::Null).await;
    assert_eq!((&page["results"][0]["id"], &page["results"][0]["email"]), (&made["id"], &Value::Null));
    assert_eq!(logs_in(&scene, "new").await, 401);
    let bare = scene.ok(clerk, "POST", "/admin/users/", json!({"phone": "+33612345678"})).await;
    let path = format!("/admin/users/{}/", bare["id"].as_str().unwrap());
    let refused = scene.refused(clerk, "PATCH", &path, json!({"must_change_password": true})).await;
    assert_eq!(refused, (400, "VALIDATION_ERROR".to_owned()), "there is no password to change");
}

/// The clerk may do everything to people, and tries it on those who hold more.
#[tokio::test]
async fn nobody_changes_the_account_of_somebody_who_holds_more() {
    let scene = scene().await;
    let clerk = &scene.clerk;
    let by_role = scene.gateway.account("by_role", |_| {}).await;
    scene.gateway.grant(by_role, role("keeper")).await;
    let by_group = scene.gateway.account("by_group", |_| {}).await;
    scene.gateway.grant(by_group, portcullis::rbac::Granted::Group("board".parse().unwrap())).await;
    let by_permission = scene.gateway.account("by_permission", |_| {}).await;
    scene.gateway.grant(by_permission, permission("users")).await;
    let by_name = scene.gateway.account("by_name", |_| {}).await;
    scene.gateway.grant(by_name, role("auditor")).await;
    let staff = scene.gateway.account("staff", |new| new.is_staff = true).await;
    for id in [scene.root.id, by_role, by_group, by_permission, by_name, staff] {
        for (method, deed, body) in [
            ("PATCH", "", json!({"is_active": false})),
            ("PATCH", "", json!({"first_name": "x"})),
            ("PATCH", "", json!({"must_change_password": true})),
            ("DELETE", "", Value::Null),
            ("POST", "lock", json!({})),
            ("POST", "unlock", Value::Null),
            ("POST", "ban", json!({})),
            ("POST", "unban", Value::Null),
        ] {
            let answer = scene.call(clerk, method, &at(id, deed), body).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (403, "PERMISSION_DENIED"),
                "{method} {deed} {id}"
            );
            assert!(answer.json()["missing"][0].is_string(), "{}", answer.text());
        }
        let own = account::by_id(&scene.gateway.running.app.db, id).await.unwrap().unwrap();
        assert!(own.is_active && own.deleted_at.is_none() && own.first_name.is_empty());
    }
    // Superusers reach everybody, and what one has as well is not more.
    scene.ok(&scene.root, "POST", &at(staff, "lock"), json!({})).await;
    scene.gateway.grant(clerk.id, role("auditor")).await;
    scene.ok(clerk, "POST", &at(by_name, "lock"), json!({})).await;
    // The role of everything is not the flag of superusers.
    scene.gateway.grant(clerk.id, role("super_admin")).await;
    let refused = scene.refused(clerk, "POST", &of(&scene.root, "ban"), json!({})).await;
    assert_eq!(refused, (403, "PERMISSION_DENIED".to_owned()));
    scene.ok(clerk, "POST", &at(by_role, "ban"), json!({})).await;
}

#[tokio::test]
async fn each_deed_needs_its_own_permission_and_people_elsewhere_do_not_exist() {
    let scene = scene().await;
    let stranger = scene
        .gateway
        .account("stranger", |new| new.site = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001))
        .await;
    let deeds = [
        ("GET", "", "users.view", Value::Null),
        ("PATCH", "", "users.update", json!({"first_name": "x"})),
        ("DELETE", "", "users.delete", Value::Null),
        ("POST", "lock", "users.lock", json!({})),
        ("POST", "unlock", "users.lock", Value::Null),
        ("POST", "ban", "users.ban", json!({})),
        ("POST", "unban", "users.ban", Value::Null),
    ];
    for (method, deed, code, body) in &deeds {
        for id in
            [stranger.to_string(), "99999".to_owned(), "stranger@example.com".to_owned(), "-1".to_owned()]
        {
            let path = if deed.is_empty() {
                format!("/admin/users/{id}/")
            } else {
                format!("/admin/users/{id}/{deed}/")
            };
            let refused = scene.refused(&scene.root, method, &path, body.clone()).await;
            assert_eq!(refused, (404, "NOT_FOUND".to_owned()), "{method} {path}");
        }
        scene.gateway.revoke(scene.clerk.id, permission(code)).await;
        let refused = scene.refused(&scene.clerk, method, &of(&scene.eve, deed), body.clone()).await;
        assert_eq!(refused, (403, "PERMISSION_REQUIRED".to_owned()), "{method} {deed}");
        scene.gateway.grant(scene.clerk.id, permission(code)).await;
    }
    let own = account::by_id(&scene.gateway.running.app.db, stranger).await.unwrap().unwrap();
    assert!(own.is_active && own.deleted_at.is_none());
    let page = scene.ok(&scene.root, "GET", "/admin/users/?search=stranger", Value::Null).await;
    assert_eq!(page["results"], json!([]));
    for (line, status) in [("Authorization: AgentBearer x", 403), ("X-Nobody: 1", 401)] {
        let lines = [&scene.keys.lines()[..], &[line.to_owned()]].concat();
        let answer = scene.gateway.call("GET", "/admin/users/", &lines, &Value::Null).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}
