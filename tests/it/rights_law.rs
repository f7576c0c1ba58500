//! Rights managed over HTTP: whom nobody reaches, who stays, and that a change counts everywhere.
//! Law: what a refusal leaves behind is what was there before it.

use portcullis::base::Id;
use portcullis::store::{Dialect, sql};
use serde_json::{Value, json};

use crate::rights::{Scene, of, yaml};
use crate::support::people::role;
use crate::support::replica::{until, within};
use crate::support::{Gateway, Replicas, Upstream};
use crate::{on_mariadb, on_one_and_on_two};

#[tokio::test]
async fn people_of_another_site_and_people_who_are_not_do_not_exist() {
    let scene = Scene::new().await;
    let elsewhere = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);
    let stranger = scene.gateway.account("stranger", |new| new.site = elsewhere).await;
    for id in [stranger.to_string(), "99999".to_owned(), "stranger@example.com".to_owned(), "-1".to_owned()] {
        for what in ["roles", "permissions", "groups"] {
            let path = format!("/users/{id}/{what}/");
            let seen = scene.refused(&scene.root, "GET", &path, Value::Null).await;
            assert_eq!(seen, (404, "NOT_FOUND".to_owned()), "{path}");
        }
        let path = format!("/users/{id}/roles/");
        let given = scene.refused(&scene.root, "POST", &path, json!({"role_code": "viewer"})).await;
        assert_eq!(given, (404, "NOT_FOUND".to_owned()), "{id}");
    }
    let held = portcullis::rbac::assignments(&scene.gateway.running.app.db, stranger).await.unwrap();
    assert!(held.roles.is_empty());
}

#[tokio::test]
async fn the_last_administrator_stays_and_is_told_why() {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.eve.id, role("super_admin")).await;
    let eves = format!("{}?role_code=super_admin", of(&scene.eve, "roles"));
    scene.ok(&scene.root, "DELETE", &eves, Value::Null).await;
    scene.gateway.grant(scene.eve.id, role("super_admin")).await;
    // No command leaves a site without a superuser; what was brought along may have none.
    let mut tx = scene.gateway.running.app.db.begin().await.unwrap();
    let none = sql("UPDATE account SET is_active = ? WHERE id = ?");
    tx.execute(none.bind(false).bind(scene.root.id)).await.unwrap();
    tx.commit().await.unwrap();
    let refused = scene.refused(&scene.eve, "DELETE", &eves, Value::Null).await;
    assert_eq!(refused, (409, "LAST_ADMINISTRATOR".to_owned()));
    assert!(scene.reaches(&scene.eve, "/ban").await);
}

#[tokio::test]
async fn what_a_route_shuts_out_is_not_taken_off_by_who_has_it() {
    let scene = Scene::new().await;
    let (root, clerk) = (&scene.root, &scene.clerk);
    assert!(scene.reaches(clerk, "/shut").await);
    scene.ok(root, "POST", "/groups/", json!({"code": "ward", "name": "Ward"})).await;
    scene.ok(root, "POST", "/groups/ward/grants/", json!({"role_codes": ["suspended"]})).await;
    scene.ok(root, "POST", &of(clerk, "groups"), json!({"group_code": "ward"})).await;
    scene.gateway.grant(clerk.id, role("suspended")).await;
    assert!(!scene.reaches(clerk, "/shut").await);
    for (path, body) in [
        (format!("{}?role_code=suspended", of(clerk, "roles")), Value::Null),
        (format!("{}?group_code=ward", of(clerk, "groups")), Value::Null),
        ("/groups/ward/grants/".to_owned(), json!({"role_codes": ["suspended"]})),
        ("/groups/ward/".to_owned(), Value::Null),
    ] {
        let refused = scene.refused(clerk, "DELETE", &path, body).await;
        assert_eq!(refused, (403, "PERMISSION_DENIED".to_owned()), "{path}");
    }
    assert!(!scene.reaches(clerk, "/shut").await);
    scene.ok(root, "DELETE", "/groups/ward/", Value::Null).await;
    let taken = format!("{}?role_code=suspended", of(clerk, "roles"));
    scene.ok(root, "DELETE", &taken, Value::Null).await;
    assert!(scene.reaches(clerk, "/shut").await);
}

#[tokio::test]
async fn nobody_changes_rights_without_end_in_a_minute() {
    let scene = Scene::new().await;
    let mut answers = Vec::new();
    for _ in 0..130 {
        answers.push(scene.refused(&scene.root, "DELETE", "/roles/nothing/", Value::Null).await.0);
    }
    assert_eq!(answers.iter().filter(|status| **status == 404).count(), 120, "{answers:?}");
    assert!(answers[120..].iter().all(|status| *status == 429), "{answers:?}");
    let seen = scene.ok(&scene.root, "GET", "/roles/", Value::Null).await;
    assert!(seen["count"].is_number(), "reading is not counted");
}

on_one_and_on_two! {
    async fn what_one_gateway_changes_the_other_obeys(dialect: Dialect) {
        let upstream = Upstream::echo().await;
        let replicas = Replicas::on(dialect, &yaml(&upstream)).await;
        let (here, there) = (&replicas.here, &replicas.there);
        let keys = here.application("console", &[]).await;
        let id = here.account("root", |new| new.is_superuser = true).await;
        let root = here.log_in("root", id, &keys).await;
        let eve = here.user("eve", &keys).await;
        let call = async |method: &str, path: &str, body: Value| {
            let lines = [vec![root.bearer()], keys.lines().to_vec()].concat();
            let answer = here.call(method, path, &lines, &body).await;
            assert!(answer.status < 300, "{}", answer.text());
        };
        let reaches = async |gateway: &Gateway| gateway.get_as(&eve, "/ban", &[]).await.status == 200;
        let soon = std::time::Duration::from_secs(5);
        call("POST", "/roles/", json!({"code": "warden", "name": "Warden"})).await;
        call("POST", &of(&eve, "roles"), json!({"role_code": "warden"})).await;
        assert!(!reaches(here).await && !reaches(there).await);
        call("POST", "/roles/warden/permissions/", json!({"permission_codes": ["users.ban"]})).await;
        assert!(reaches(here).await, "at once where it was changed");
        until(soon, "the other one lets her pass", async || reaches(there).await).await;
        call("DELETE", "/roles/warden/", Value::Null).await;
        assert!(!reaches(here).await);
        within(soon, "the other one does not any more", async || !reaches(there).await).await;
    }
}

on_mariadb! { what_one_gateway_changes_the_other_obeys }
