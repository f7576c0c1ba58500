//! The last people who can look after everybody, on the running gateway.
//! Law: somebody always can, whoever shuts whom out at once.

use portcullis::account;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::administration::{of, scene};
use crate::rights::yaml;
use crate::support::people::{User, elsewhere, role};
use crate::support::replica::until;
use crate::support::{Gateway, Replicas, Upstream};
use crate::{on_mariadb, on_one_and_on_two};

#[tokio::test]
async fn the_last_superuser_and_the_last_administrator_are_not_shut_out() {
    let scene = scene().await;
    let root = &scene.root;
    let deeds = [
        ("PATCH", "", json!({"is_active": false})),
        ("DELETE", "", Value::Null),
        ("POST", "lock", json!({})),
        ("POST", "ban", json!({})),
    ];
    for (method, deed, body) in &deeds {
        let refused = scene.refused(root, method, &of(root, deed), body.clone()).await;
        assert_eq!(refused, (409, "LAST_SUPERUSER".to_owned()), "{method} {deed}");
    }
    assert_eq!(scene.ok(root, "GET", &of(root, ""), Value::Null).await["is_active"], true);
    // A store that was brought along may have no superuser, and one who holds the role of everything.
    scene.gateway.grant(scene.eve.id, role("super_admin")).await;
    let mut tx = scene.gateway.running.app.db.begin().await.unwrap();
    let none = portcullis::store::sql("UPDATE account SET is_active = ? WHERE id = ?");
    tx.execute(none.bind(false).bind(root.id)).await.unwrap();
    tx.commit().await.unwrap();
    for (method, deed, body) in &deeds {
        let refused = scene.refused(&scene.eve, method, &of(&scene.eve, deed), body.clone()).await;
        assert_eq!(refused, (409, "LAST_ADMINISTRATOR".to_owned()), "{method} {deed}");
    }
    assert_eq!(scene.ok(&scene.eve, "GET", &of(&scene.eve, ""), Value::Null).await["is_active"], true);
}

on_one_and_on_two! {
    async fn of_two_superusers_who_shut_each_other_out_at_once_one_stays(dialect: Dialect) {
        let upstream = Upstream::echo().await;
        let replicas = Replicas::on(dialect, &yaml(&upstream)).await;
        let (here, there) = (&replicas.here, &replicas.there);
        let keys = here.application("console", &[]).await;
        let mut both = Vec::new();
        for name in ["ada", "bob"] {
            let id = here.account(name, |new| new.is_superuser = true).await;
            both.push(here.log_in(name, id, &keys).await);
        }
        let [ada, bob] = &both[..] else { panic!("two") };
        let ban = async |gateway: &Gateway, by: &User, whom: &User| {
            let lines = [vec![by.bearer(), elsewhere()], keys.lines().to_vec()].concat();
            gateway.call("POST", &of(whom, "ban"), &lines, &json!({})).await.status
        };
        let lines = [vec![bob.bearer()], keys.lines().to_vec()].concat();
        until(std::time::Duration::from_secs(5), "the other one knows them", async || {
            there.call("GET", "/me/", &lines, &Value::Null).await.status == 200
        })
        .await;
        let (first, second) = tokio::join!(ban(here, ada, bob), ban(there, bob, ada));
        assert!((first == 200) != (second == 200), "{first} {second}");
        let db = &here.running.app.db;
        let mut left = 0;
        for user in &both {
            left += usize::from(account::by_id(db, user.id).await.unwrap().unwrap().is_active);
        }
        assert_eq!(left, 1);
    }
}

on_mariadb! { of_two_superusers_who_shut_each_other_out_at_once_one_stays }
