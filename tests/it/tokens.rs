//! Logins in lists, and ended by those who watch over a site (contract section 22), on the running gateway.
//! Law: nobody ends the login of somebody who holds more, and nothing of another site is seen.

use serde_json::{Value, json};

use crate::rights::Scene;
use crate::support::people::{permission, role};

async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.clerk.id, permission("security.view")).await;
    scene
}

async fn tokens(scene: &Scene, query: &str) -> Vec<Value> {
    let page = scene.ok(&scene.clerk, "GET", &format!("/admin/refresh-tokens/?{query}"), Value::Null).await;
    page["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn logins_are_listed_and_one_is_ended() {
    let scene = scene().await;
    let all = tokens(&scene, "").await;
    let emails: Vec<_> = all.iter().map(|one| one["user_email"].as_str().unwrap()).collect();
    assert_eq!(emails, ["eve@example.com", "clerk@example.com", "root@example.com"], "the latest first");
    let mut keys: Vec<&str> = all[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "application",
            "application_name",
            "created_at",
            "device_info",
            "expires_at",
            "id",
            "ip_address",
            "is_expired",
            "is_revoked",
            "last_used_at",
            "user",
            "user_email"
        ]
    );
    assert_eq!((&all[0]["application_name"], &all[0]["is_revoked"]), (&json!("console"), &json!(false)));
    assert!(!all[0].to_string().contains(&scene.eve.refresh), "nothing opens anything");
    let eves = tokens(&scene, &format!("user_id={}", scene.eve.id)).await;
    assert_eq!(eves, [all[0].clone()]);
    let first = scene.ok(&scene.clerk, "GET", "/admin/refresh-tokens/?page_size=2", Value::Null).await;
    let next = first["next"].as_str().unwrap();
    let next = scene.ok(&scene.clerk, "GET", &next[next.find("/admin/").unwrap()..], Value::Null).await;
    assert_eq!((&next["results"], &next["next"]), (&json!([all[2]]), &Value::Null));

    let revoke = format!("/admin/refresh-tokens/{}/revoke/", all[0]["id"].as_str().unwrap());
    let ended = scene.ok(&scene.clerk, "POST", &revoke, Value::Null).await;
    assert_eq!(
        (&ended["message"], &ended["token"]["is_revoked"]),
        (&json!("Token revoked successfully"), &json!(true))
    );
    assert_eq!(scene.call(&scene.eve, "GET", "/me/", Value::Null).await.status, 401);
    let refresh =
        scene.call(&scene.eve, "POST", "/refresh/", json!({"refresh_token": scene.eve.refresh})).await;
    assert_eq!(refresh.status, 401, "{}", refresh.text());
    assert_eq!(
        scene.refused(&scene.clerk, "POST", &revoke, Value::Null).await,
        (400, "ALREADY_REVOKED".to_owned())
    );
    assert_eq!(tokens(&scene, "is_revoked=true").await.len(), 1);
    assert_eq!(tokens(&scene, "is_revoked=false").await.len(), 2);
    assert_eq!(tokens(&scene, "expired=true").await.len(), 0);

    let gone = scene.ok(&scene.clerk, "GET", "/admin/blacklisted-tokens/", Value::Null).await;
    let one = &gone["results"][0];
    assert_eq!(
        (&one["token_jti"], &one["reason"], &one["is_expired"]),
        (&all[0]["id"], &json!("administrator"), &json!(false))
    );
    assert_eq!(one["user_email"], "eve@example.com");
    for (query, count) in [("reason=administrator", 1), ("reason=logged_out", 0), ("expired=true", 0)] {
        let page =
            scene.ok(&scene.clerk, "GET", &format!("/admin/blacklisted-tokens/?{query}"), Value::Null).await;
        assert_eq!(page["results"].as_array().unwrap().len(), count, "{query}");
    }
    let cleaned = scene.ok(&scene.clerk, "POST", "/admin/blacklisted-tokens/cleanup/", Value::Null).await;
    assert_eq!(cleaned, json!({"message": "0 expired tokens cleaned up", "deleted_count": 0}));
}

#[tokio::test]
async fn nobody_ends_the_login_of_somebody_who_holds_more_or_is_elsewhere() {
    let scene = scene().await;
    scene.gateway.grant(scene.eve.id, role("keeper")).await;
    for user in [&scene.root, &scene.eve] {
        let token = &tokens(&scene, &format!("user_id={}", user.id)).await[0];
        let path = format!("/admin/refresh-tokens/{}/revoke/", token["id"].as_str().unwrap());
        let refused = scene.refused(&scene.clerk, "POST", &path, Value::Null).await;
        assert_eq!(refused, (403, "PERMISSION_DENIED".to_owned()));
        assert_eq!(scene.call(user, "GET", "/me/", Value::Null).await.status, 200);
    }
    for id in ["7", "x", "0190b8a2-7c1e-7f00-8000-00000000000a"] {
        let path = format!("/admin/refresh-tokens/{id}/revoke/");
        let refused = scene.refused(&scene.clerk, "POST", &path, Value::Null).await;
        assert_eq!(refused, (404, "NOT_FOUND".to_owned()), "{id}");
    }
    let refused = scene.refused(&scene.eve, "GET", "/admin/refresh-tokens/", Value::Null).await;
    assert_eq!(refused, (403, "PERMISSION_REQUIRED".to_owned()));
}

#[tokio::test]
async fn a_filter_an_order_or_a_size_that_lists_of_tokens_have_not_is_refused_by_name() {
    let scene = scene().await;
    for (query, field) in [
        ("refresh-tokens/?colour=red", "colour"),
        ("refresh-tokens/?ordering=expires_at", "ordering"),
        ("refresh-tokens/?page_size=0", "page_size"),
        ("refresh-tokens/?user_id=nobody@example.com", "user_id"),
        ("refresh-tokens/?application_id=99", "application_id"),
        ("refresh-tokens/?after=e30", "after"),
        ("refresh-tokens/?expired=perhaps", "expired"),
        ("blacklisted-tokens/?application_id=1", "application_id"),
        ("blacklisted-tokens/?ordering=-created_at", "ordering"),
    ] {
        let answer = scene.call(&scene.clerk, "GET", &format!("/admin/{query}"), Value::Null).await;
        assert_eq!(answer.status, 400, "{query} {}", answer.text());
        assert!(answer.json()["details"][field].is_array(), "{query} {}", answer.text());
    }
}
