//! The profile `auth-system` on the running gateway: people managed in that system's words, and what somebody gets
//! who reaches further than they may.

use portcullis::account::{Ban, set_ban};
use portcullis::base::Id;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::auth_system::{ask, enter, enter_as, keys, refusal, root, yaml};
use crate::support::people::{PASSWORD, User, permission, role};
use crate::support::{Gateway, Replicas};
use crate::{on_mariadb, on_one_and_on_two};

const OTHER_SITE: Id = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);

pub async fn ok(gateway: &Gateway, user: &User, method: &str, path: &str, body: Value) -> Value {
    let answer = ask(gateway, Some(user), method, path, body).await;
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    if answer.text().is_empty() { Value::Null } else { answer.json() }
}

pub async fn no(
    gateway: &Gateway,
    user: &User,
    method: &str,
    path: &str,
    body: Value,
) -> (u16, String, Vec<String>) {
    let answer = ask(gateway, Some(user), method, path, body).await;
    assert!(answer.status >= 400, "{method} {path}: {} {}", answer.status, answer.text());
    refusal(&answer)
}

pub fn told(status: u16, code: &str, field: Option<&str>) -> (u16, String, Vec<String>) {
    (status, code.to_owned(), field.into_iter().map(str::to_owned).collect())
}

pub fn emails(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|one| one["email"].as_str().unwrap()).collect()
}

fn new(name: &str, role: &str) -> Value {
    json!({"email": format!("{name}@example.com"), "password": PASSWORD, "first_name": name, "last_name": "New",
        "role": role, "must_change_password": false})
}

async fn stranger(gateway: &Gateway) -> Id {
    gateway.account("stranger", |new| new.site = OTHER_SITE).await
}

on_one_and_on_two! {
    async fn people_are_made_found_changed_and_gone(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let (here, there) = (&replicas.here, &replicas.there);
        let root = root(here).await;
        let made = ask(here, Some(&root), "POST", "/users", new("jane", "user")).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        let shown = ["id", "email", "first_name", "last_name", "role", "status", "is_active", "email_verified"];
        for key in shown.into_iter().chain(["created_at"]) {
            assert!(made.get(key).is_some(), "{key} {made}");
        }
        assert_eq!((&made["role"], &made["status"]), (&json!("user"), &json!("active")));
        assert_eq!(made["email_verified"], false);
        let path = format!("/users/{}", made["id"].as_str().unwrap());
        assert_eq!(ok(there, &root, "GET", &path, Value::Null).await["updated_at"].as_str().unwrap().len(), 27);
        assert_eq!(
            no(here, &root, "POST", "/users", new("jane", "user")).await,
            told(409, "RESOURCE_CONFLICT", Some("email"))
        );

        let whole = json!({"email": "jd@example.com", "first_name": "Jane", "last_name": "Doe", "role": "admin2",
            "status": "active", "is_active": true});
        let replaced = ok(here, &root, "PUT", &path, whole.clone()).await;
        assert_eq!((&replaced["email"], &replaced["role"]), (&json!("jd@example.com"), &json!("admin2")));
        let body = json!({"email": "jd@example.com", "password": PASSWORD});
        let entered = ask(there, None, "POST", "/auth/login", body).await.json();
        assert_eq!(entered["user"]["permissions"], json!(["users:read"]));
        let access = entered["access_token"].as_str().unwrap().to_owned();
        let jane = User { id: root.id, access, refresh: String::new() };
        assert_eq!(ask(there, Some(&jane), "GET", "/users", Value::Null).await.status, 200);

        let lacking = json!({"email": "jd@example.com"});
        let refused = no(here, &root, "PUT", &path, lacking).await;
        let fields = ["first_name", "is_active", "last_name", "role", "status"].map(str::to_owned).to_vec();
        assert_eq!((refused.0, refused.2), (422, fields));
        let changed = ok(here, &root, "PATCH", &path, json!({"first_name": "Janet", "role": "user"})).await;
        assert_eq!((&changed["first_name"], &changed["last_name"]), (&json!("Janet"), &json!("Doe")));
        assert_eq!(changed["role"], "user");
        // A change binds the next request.
        assert_eq!(ask(here, Some(&jane), "GET", "/users", Value::Null).await.status, 403);
        let off = ok(here, &root, "PATCH", &path, json!({"status": "inactive"})).await;
        assert_eq!((&off["status"], &off["is_active"]), (&json!("inactive"), &json!(false)));
        assert_eq!(ask(here, Some(&jane), "GET", "/auth/me", Value::Null).await.status, 401, "logged out everywhere");
        assert_eq!(ok(here, &root, "PATCH", &path, json!({"is_active": true})).await["status"], "active");

        let gone = ask(here, Some(&root), "DELETE", &path, Value::Null).await;
        assert_eq!((gone.status, gone.text().as_str()), (204, ""));
        assert_eq!(no(there, &root, "GET", &path, Value::Null).await, told(404, "RESOURCE_NOT_FOUND", None));
        assert_eq!(no(here, &root, "DELETE", &path, Value::Null).await, told(404, "RESOURCE_NOT_FOUND", None));
    }

    async fn lists_are_turned_sorted_and_narrowed(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let here = &replicas.here;
        let root = root(here).await;
        for name in ["ann", "ben", "cat", "dan"] {
            here.account(name, |new| new.first_name = name.to_uppercase()).await;
        }
        let boss = enter(here, "boss").await;
        here.grant(boss.id, role("admin1")).await;
        let list = async |query: &str| ok(here, &root, "GET", &format!("/users{query}"), Value::Null).await;
        let page = list("").await;
        assert_eq!(keys(&page), ["items", "page", "pages", "size", "total"]);
        assert_eq!((&page["total"], &page["page"]), (&json!(6), &json!(1)));
        assert_eq!((&page["size"], &page["pages"]), (&json!(20), &json!(1)));
        assert_eq!(emails(&page)[0], "boss@example.com", "the latest first");
        let second = list("?page=2&size=4&sort=email&order=asc").await;
        assert_eq!((emails(&second), &second["pages"]), (vec!["dan@example.com", "root@example.com"], &json!(2)));
        for (query, expected) in [
            ("?search=BEN", vec!["ben@example.com"]),
            ("?search=nobody", vec![]),
            ("?role=admin1", vec!["boss@example.com"]),
            ("?role=superadmin", vec!["root@example.com"]),
            ("?role=user&sort=email&order=asc&size=2", vec!["ann@example.com", "ben@example.com"]),
            ("?role=user&search=example.com&sort=email&order=desc&size=1", vec!["dan@example.com"]),
            ("?role=admin1&search=ann", vec![]),
            ("?status=locked", vec![]),
            ("?status=active&sort=last_login&order=asc&size=2", vec!["root@example.com", "boss@example.com"]),
        ] {
            assert_eq!(emails(&list(query).await), expected, "{query}");
        }
        assert_eq!(list("?role=user").await["total"], 4);
        let page = ok(here, &root, "GET", "/admin/users?sort=email&order=asc", Value::Null).await;
        assert_eq!(emails(&page), ["boss@example.com", "root@example.com"]);
        let held = page["items"][0]["permissions"].as_array().unwrap();
        for word in ["users:read", "users:write", "users:delete", "security:view"] {
            assert!(held.contains(&json!(word)), "{word} {held:?}");
        }
        for (query, field) in [
            ("?colour=red", "colour"),
            ("?is_superuser=true", "is_superuser"),
            ("?sort=password", "sort"),
            ("?order=up", "order"),
            ("?size=0", "size"),
            ("?size=101", "size"),
            ("?page=0", "page"),
            ("?page=x", "page"),
            ("?page=200&size=100", "page"),
            ("?role=admin", "role"),
            ("?status=banned", "status"),
            ("?search=%20", "search"),
        ] {
            let refused = no(here, &root, "GET", &format!("/users{query}"), Value::Null).await;
            assert_eq!(refused, told(400, "VALIDATION_ERROR", Some(field)), "{query}");
        }
        assert_eq!(no(here, &root, "GET", "/users?page=2", Value::Null).await, told(404, "RESOURCE_NOT_FOUND", None));
    }

    async fn people_are_locked_one_by_one_and_many_at_once(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let here = &replicas.here;
        let root = root(here).await;
        let (ann, ben) = (enter(here, "ann").await, enter(here, "ben").await);
        let path = |deed: &str| format!("/users/{}/{deed}", ann.id);
        let body = json!({"reason": "Security violation", "duration_minutes": 60});
        let locked = ok(here, &root, "POST", &path("lock"), body.clone()).await;
        assert_eq!(keys(&locked), ["locked_until", "message"]);
        assert_eq!(locked["message"], "User account locked successfully");
        assert_eq!(ask(here, Some(&ann), "GET", "/auth/me", Value::Null).await.status, 401);
        assert_eq!(emails(&ok(here, &root, "GET", "/users?status=locked", Value::Null).await), ["ann@example.com"]);
        assert_eq!(no(here, &root, "POST", &path("lock"), body).await, told(409, "RESOURCE_CONFLICT", None));
        let (own, active) = (format!("/users/{}", ann.id), json!({"status": "active"}));
        let field = told(422, "VALIDATION_ERROR", Some("status"));
        assert_eq!(no(here, &root, "PATCH", &own, active.clone()).await, field, "said, not passed over");
        let unlocked = ok(here, &root, "POST", &path("unlock"), Value::Null).await;
        assert_eq!(unlocked, json!({"message": "User account unlocked successfully"}));
        assert_eq!(no(here, &root, "POST", &path("unlock"), Value::Null).await, told(409, "RESOURCE_CONFLICT", None));
        let ban = async |ban: Ban| here.change(async |change| set_ban(change, ann.id, ban).await.unwrap()).await;
        assert!(ban(Ban::Imposed).await);
        assert_eq!(no(here, &root, "PATCH", &own, active.clone()).await, field);
        assert!(ban(Ban::Lifted).await);
        assert_eq!(ok(here, &root, "PATCH", &own, active).await["status"], "active");
        for minutes in [json!(0), json!(43_201), json!("60")] {
            let refused = no(here, &root, "POST", &path("lock"), json!({"duration_minutes": minutes})).await;
            assert_eq!(refused, told(422, "VALIDATION_ERROR", Some("duration_minutes")));
        }

        let (gone, far) = (Id::from_u128(7), stranger(here).await);
        let ids: Vec<String> = [ann.id, gone, ben.id, far, root.id].iter().map(ToString::to_string).collect();
        let body = json!({"user_ids": ids, "action": "deactivate", "reason": "Bulk deactivation"});
        let done = ok(here, &root, "POST", "/users/bulk-actions", body).await;
        assert_eq!((&done["message"], &done["affected_users"]), (&json!("Bulk action completed"), &json!(2)));
        assert_eq!((&done["total"], &done["processed"]), (&json!(5), &json!(5)));
        let failed: Vec<(&str, &str)> = done["failed_users"].as_array().unwrap().iter()
            .map(|one| (one["user_id"].as_str().unwrap(), one["code"].as_str().unwrap())).collect();
        let (gone, far, last) = (gone.to_string(), far.to_string(), root.id.to_string());
        let missing = "RESOURCE_NOT_FOUND";
        assert_eq!(failed, [(&*gone, missing), (&*far, missing), (&*last, "RESOURCE_CONFLICT")]);
        let results = done["results"].as_array().unwrap().iter();
        let results: Vec<&str> = results.map(|one| one["result"].as_str().unwrap()).collect();
        assert_eq!(results, ["done", "failed", "done", "failed", "failed"]);
        for user in [&ann, &ben] {
            assert_eq!(ask(here, Some(user), "GET", "/auth/me", Value::Null).await.status, 401);
        }
        for (action, status) in [("activate", "active"), ("lock", "locked"), ("unlock", "active")] {
            let body = json!({"user_ids": [ann.id.to_string(), ben.id.to_string()], "action": action});
            let done = ok(here, &root, "POST", "/users/bulk-actions", body).await;
            assert_eq!((&done["affected_users"], &done["failed_users"]), (&json!(2), &json!([])), "{action}");
            assert_eq!(ok(here, &root, "GET", &format!("/users/{}", ben.id), Value::Null).await["status"], status);
        }
        let body = json!({"user_ids": [ben.id.to_string()], "action": "delete"});
        assert_eq!(ok(here, &root, "POST", "/users/bulk-actions", body).await["affected_users"], 1);
        let some = json!([ann.id.to_string()]);
        for (body, field) in [
            (json!({"user_ids": [], "action": "lock"}), "user_ids"),
            (json!({"user_ids": ["x"], "action": "lock"}), "user_ids"),
            (json!({"user_ids": [some[0], some[0]], "action": "lock"}), "user_ids"),
            (json!({"user_ids": vec![some[0].clone(); 101], "action": "lock"}), "user_ids"),
            (json!({"user_ids": some, "action": "promote"}), "action"),
            (json!({"user_ids": some}), "action"),
        ] {
            let refused = no(here, &root, "POST", "/users/bulk-actions", body).await;
            assert_eq!(refused, told(422, "VALIDATION_ERROR", Some(field)));
        }
    }

    async fn administrators_hold_what_was_given_and_the_trail_tells_of_it(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let (here, there) = (&replicas.here, &replicas.there);
        let root = root(here).await;
        let body = json!({"email": "adm@example.com", "password": PASSWORD, "first_name": "New", "last_name": "Admin",
            "role": "admin3", "permissions": ["users:read", "users:write"], "must_change_password": false});
        let made = ask(here, Some(&root), "POST", "/admin/users", body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        assert_eq!(made["role"], "admin3");
        assert_eq!(made["permissions"], json!(["content:view", "users:read", "users:write"]));
        let path = format!("/admin/users/{}/permissions", made["id"].as_str().unwrap());
        let wanted = json!({"permissions": ["users:read", "users:delete", "reports:read"]});
        let given = ok(here, &root, "PUT", &path, wanted).await;
        let expected = json!({"message": "Permissions updated successfully",
            "permissions": ["reports:read", "users:delete", "users:read"]});
        assert_eq!(given, expected);
        let entered = json!({"email": "adm@example.com", "password": PASSWORD});
        let entered = ask(there, None, "POST", "/auth/login", entered).await.json();
        let held = json!(["content:view", "reports:read", "users:delete", "users:read"]);
        assert_eq!(entered["user"]["permissions"], held);
        let refused = no(here, &root, "PUT", &path, json!({"permissions": ["users:read", "nothing:read"]})).await;
        assert_eq!(refused, told(422, "VALIDATION_ERROR", Some("permissions")));
        assert_eq!(ok(here, &root, "PUT", &path, json!({"permissions": []})).await["permissions"], json!([]));

        let logs = ok(there, &root, "GET", "/audit/logs?action=user_created&size=1", Value::Null).await;
        assert_eq!(keys(&logs), ["items", "page", "pages", "size", "total"]);
        let entry = &logs["items"][0];
        assert_eq!(entry["action"], "user_created");
        assert_eq!((&entry["user_email"], &entry["resource"]), (&json!("root@example.com"), &json!("users")));
        assert_eq!((&entry["resource_id"], &entry["old_values"]), (&made["id"], &Value::Null));
        let all = ok(here, &root, "GET", "/audit/logs", Value::Null).await["total"].as_u64().unwrap();
        let one = format!("/audit/logs?user_id={}&resource=users", made["id"].as_str().unwrap());
        let own = ok(here, &root, "GET", &one, Value::Null).await;
        assert!((1..all).contains(&own["total"].as_u64().unwrap()), "{own}");
        let second = ok(here, &root, "GET", "/audit/logs?page=2&size=1", Value::Null).await;
        assert_eq!((second["items"].as_array().unwrap().len(), &second["pages"]), (1, &json!(second["total"])));
        assert_eq!(ok(here, &root, "GET", "/audit/logs?end_date=2001-01-01", Value::Null).await["total"], 0);
        for query in ["resource=cars", "user_id=1", "action=user_made", "start_date=soon", "actor=x"] {
            let field = query.split('=').next().unwrap();
            let refused = no(here, &root, "GET", &format!("/audit/logs?{query}"), Value::Null).await;
            assert_eq!(refused, told(400, "VALIDATION_ERROR", Some(field)), "{query}");
        }
    }
}

on_mariadb! {
    people_are_made_found_changed_and_gone
    people_are_locked_one_by_one_and_many_at_once
}

#[tokio::test]
async fn what_would_give_more_than_is_offered_is_refused_by_name() {
    let gateway = Gateway::start(&yaml()).await;
    let root = root(&gateway).await;
    let eve = enter(&gateway, "eve").await;
    let path = format!("/users/{}", eve.id);
    for field in [
        "is_superuser",
        "is_staff",
        "roles",
        "permissions",
        "groups",
        "is_banned",
        "is_locked",
        "email_verified",
        "is_email_verified",
        "password_hash",
        "locked_until",
        "failed_login_attempts",
        "created_by",
        "site",
        "id",
    ] {
        let mut whole = new("new", "user");
        whole[field] = json!(true);
        for (method, path, body) in
            [("PATCH", path.as_str(), json!({"first_name": "Eva", field: true})), ("POST", "/users", whole)]
        {
            let refused = no(&gateway, &root, method, path, body).await;
            assert_eq!(refused, told(400, "VALIDATION_ERROR", Some(field)), "{method} {field}");
        }
    }
    // A role is offered by name, to whoever could give it, and only where there is one.
    let refused = no(&gateway, &root, "PATCH", &path, json!({"role": "owner"})).await;
    assert_eq!(refused, told(422, "VALIDATION_ERROR", Some("role")));
    for (body, field) in [
        (json!({"status": "locked"}), "status"),
        (json!({"status": "pending"}), "status"),
        (json!({"status": "active", "is_active": false}), "is_active"),
        (json!({"email": "x"}), "email"),
    ] {
        assert_eq!(
            no(&gateway, &root, "PATCH", &path, body).await,
            told(422, "VALIDATION_ERROR", Some(field))
        );
    }
    let unchanged = ok(&gateway, &root, "GET", &path, Value::Null).await;
    assert_eq!((&unchanged["first_name"], &unchanged["role"]), (&json!(""), &json!("user")));
}

#[tokio::test]
async fn nobody_reaches_beyond_their_own_people_and_rights() {
    let gateway = Gateway::start(&yaml()).await;
    let root = root(&gateway).await;
    let clerk = enter(&gateway, "clerk").await;
    for code in
        ["users.view", "users.create", "users.update", "users.delete", "users.lock", "users.permissions"]
    {
        gateway.grant(clerk.id, permission(code)).await;
    }
    let far = stranger(&gateway).await;
    let before = portcullis::account::by_id(&gateway.running.app.db, far).await.unwrap().unwrap();
    let whole = json!({"email": "own@example.com", "first_name": "a", "last_name": "b", "role": "user",
        "status": "inactive", "is_active": false});
    for (method, deed, body) in [
        ("GET", "", Value::Null),
        ("PUT", "", whole),
        ("PATCH", "", json!({"first_name": "Own"})),
        ("DELETE", "", Value::Null),
        ("POST", "/lock", json!({})),
        ("POST", "/unlock", Value::Null),
    ] {
        let refused = no(&gateway, &root, method, &format!("/users/{far}{deed}"), body).await;
        assert_eq!(refused, told(404, "RESOURCE_NOT_FOUND", None), "{method} {deed}");
    }
    let path = format!("/admin/users/{far}/permissions");
    let refused = no(&gateway, &root, "PUT", &path, json!({"permissions": []})).await;
    assert_eq!(refused, told(404, "RESOURCE_NOT_FOUND", None));
    let after = portcullis::account::by_id(&gateway.running.app.db, far).await.unwrap().unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert!(
        !emails(&ok(&gateway, &root, "GET", "/users", Value::Null).await).contains(&"stranger@example.com")
    );

    // Looking after people is not giving them roles, and nobody gives what they do not hold.
    let denied = told(403, "PERMISSION_DENIED", None);
    let eve = enter(&gateway, "eve").await;
    let path = format!("/users/{}", eve.id);
    assert_eq!(no(&gateway, &clerk, "PATCH", &path, json!({"role": "admin2"})).await, denied);
    assert_eq!(no(&gateway, &clerk, "POST", "/users", new("new", "admin2")).await, denied);
    let made = ask(&gateway, Some(&clerk), "GET", "/users?search=new@", Value::Null).await.json();
    assert_eq!(made["total"], 0, "all of it or nothing");
    gateway.grant(clerk.id, permission("users.roles.assign")).await;
    assert_eq!(no(&gateway, &clerk, "PATCH", &path, json!({"role": "superadmin"})).await, denied);
    assert_eq!(
        no(&gateway, &clerk, "POST", "/admin/users", {
            let mut body = new("new", "admin2");
            body["permissions"] = json!(["vault:open"]);
            body
        })
        .await,
        denied
    );
    assert_eq!(ok(&gateway, &clerk, "PATCH", &path, json!({"role": "admin2"})).await["role"], "admin2");
    let own = format!("/admin/users/{}/permissions", clerk.id);
    let more = json!({"permissions": ["users:read", "vault:open"]});
    assert_eq!(no(&gateway, &clerk, "PUT", &own, more).await, denied);
    for (method, deed, body) in
        [("PATCH", "", json!({"first_name": "x"})), ("POST", "/lock", json!({})), ("DELETE", "", Value::Null)]
    {
        let above = format!("/users/{}{deed}", root.id);
        assert_eq!(no(&gateway, &clerk, method, &above, body).await, denied, "{method} {deed}");
    }
}

#[tokio::test]
async fn the_last_superuser_stays() {
    let gateway = Gateway::start(&yaml()).await;
    let root = root(&gateway).await;
    let path = |deed: &str| format!("/users/{}{deed}", root.id);
    let conflict = told(409, "RESOURCE_CONFLICT", None);
    assert_eq!(no(&gateway, &root, "DELETE", &path(""), Value::Null).await, conflict);
    assert_eq!(no(&gateway, &root, "PATCH", &path(""), json!({"status": "inactive"})).await, conflict);
    assert_eq!(no(&gateway, &root, "POST", &path("/lock"), json!({})).await, conflict);
    // Being one is no role, and none takes its place.
    for role in ["user", "admin1"] {
        let refused = no(&gateway, &root, "PATCH", &path(""), json!({"role": role})).await;
        assert_eq!(refused, told(422, "VALIDATION_ERROR", Some("role")));
    }
    // The role that holds everything has the same law, where no superuser is.
    let plain = Gateway::start(&yaml()).await;
    let id = plain.account("one", |_| {}).await;
    plain.grant(id, role("super_admin")).await;
    let one = enter_as(&plain, "one", id).await;
    let own = format!("/users/{id}");
    assert_eq!(no(&plain, &one, "PATCH", &own, json!({"role": "user"})).await, conflict);
    assert_eq!(no(&plain, &one, "DELETE", &own, Value::Null).await, conflict);
    assert_eq!(ok(&plain, &one, "GET", &own, Value::Null).await["role"], "superadmin");
}

#[tokio::test]
async fn nobody_moves_an_address_that_somebody_lives_at() {
    let gateway = Gateway::start(&yaml()).await;
    let root = root(&gateway).await;
    let away = json!({"email": "evil@example.com"});
    let unproved = |new: &mut portcullis::account::NewAccount| new.is_verified = false;
    let proved = gateway.account("proved", |_| {}).await;
    let in_use = gateway.account("used", unproved).await;
    enter_as(&gateway, "used", in_use).await;
    let fresh = gateway.account("fresh", unproved).await;
    let refused = told(422, "VALIDATION_ERROR", Some("email"));
    for id in [root.id, proved, in_use] {
        let path = format!("/users/{id}");
        let before = portcullis::account::by_id(&gateway.running.app.db, id).await.unwrap().unwrap();
        let mut wish = away.clone();
        wish["first_name"] = json!("Eve");
        assert_eq!(no(&gateway, &root, "PATCH", &path, wish).await, refused, "{before:?}");
        let role = ok(&gateway, &root, "GET", &path, Value::Null).await["role"].clone();
        let whole = json!({"email": "evil@example.com", "first_name": "Eve", "last_name": "", "role": role,
            "status": "active", "is_active": true});
        assert_eq!(no(&gateway, &root, "PUT", &path, whole).await, refused, "{before:?}");
        let after = portcullis::account::by_id(&gateway.running.app.db, id).await.unwrap().unwrap();
        assert_eq!(format!("{before:?}"), format!("{after:?}"), "all of it or nothing");
        // The address that they have is no other one.
        let same = json!({"email": before.email.unwrap().to_string(), "last_name": "Same"});
        assert_eq!(ok(&gateway, &root, "PATCH", &path, same).await["last_name"], "Same");
    }
    let moved = ok(&gateway, &root, "PATCH", &format!("/users/{fresh}"), away).await;
    assert_eq!(moved["email"], "evil@example.com", "a slip of whoever made the account is mended");
}
