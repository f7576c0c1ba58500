//! `me/` as clients see it: rows of the table, answered on a real store.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ::http::Method;
use serde_json::{Value, json};

use super::rows;
use crate::account::{self, Account, NewAccount, PasswordHash, Username};
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, How};
use crate::base::{Email, Id, Phone, Secret};
use crate::http::cookie::Cookies;
use crate::http::{Body, Call, CallHead, Found, Table, law};
use crate::on_every_store;
use crate::policy::{Assignments, Code};
use crate::principal::{Principal, SessionFacts};
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const PASSWORD: &str = "SecureP@ss1!x";

struct Scene {
    app: TestApp,
    table: Table,
}

impl Scene {
    async fn on(store: TestStore) -> Self {
        let app = TestApp::on(store, With::default()).await;
        Self { app, table: Table::new("/api/v1/auth", rows()) }
    }

    async fn person(&self, name: &str) -> Account {
        let hash = self.app.hasher.hash(Secret::new(PASSWORD.to_owned())).await.unwrap();
        let new = NewAccount {
            email: Some(Email::parse(&format!("{name}@example.com")).unwrap()),
            username: Some(Username::parse(name).unwrap()),
            password_hash: Some(PasswordHash::new(hash)),
            first_name: "Ada".to_owned(),
            ..NewAccount::of(DEFAULT_SITE)
        };
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let account = account::create(&mut change, &new, How::Administrator).await.unwrap();
        change.commit().await.unwrap();
        account
    }

    async fn send(&self, who: Option<&Account>, method: Method, path: &str, body: Value) -> (u16, Value) {
        let full = format!("/api/v1/auth{path}");
        let Found::Row(row, params) = self.table.find(&method, &full) else { panic!("{path} is a row") };
        let head = CallHead {
            request_id: "r-1".to_owned(),
            method,
            path: full.clone(),
            params,
            query: String::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: None,
            origin: None,
            cookies: Cookies::default(),
            idempotency_key: None,
            agent: None,
            bearer: None,
            org_slug: None,
        };
        let principal = who.map(|account| Arc::new(self.principal(account)));
        let call = Call { app: self.app.app.clone(), principal, application: None, head };
        let body = Body { content_type: Some("application/json".to_owned()), bytes: body.to_string().into() };
        let reply = row.answer(call, body).await;
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
    }

    async fn patch(&self, who: &Account, body: Value) -> (u16, Value) {
        self.send(Some(who), Method::PATCH, "/me/", body).await
    }

    fn principal(&self, account: &Account) -> Principal {
        let code = |text: &str| Code::parse(text).unwrap();
        let assignments = Assignments { roles: vec![code("viewer")], ..Assignments::default() };
        let now = self.app.now();
        let session = SessionFacts {
            sid: Id::from_u128(1),
            started_at: now,
            authenticated_at: now,
            second_factor_at: None,
            method: "password",
            application: None,
            scope: None,
            ends_at: now,
        };
        let rights = self.app.catalogue().rights(&assignments);
        Principal {
            account: account.facts().into(),
            session,
            assignments: assignments.into(),
            rights: rights.into(),
            memberships: [].into(),
        }
    }

    async fn stored(&self, account: &Account) -> Account {
        account::by_id(&self.app.db, account.id).await.unwrap().unwrap()
    }

    async fn codes(&self) -> Vec<String> {
        let rows = audit::tail(&self.app.db, 0, 1000).await.unwrap();
        rows.into_iter().map(|row| row.code).filter(|code| code != "account_created").collect()
    }
}

#[test]
fn the_rows_keep_the_laws_of_a_table() {
    assert_eq!(law::breaches(&Table::new("/api/v1/auth", rows())), Vec::<String>::new());
}

on_every_store! {
    async fn a_profile_is_read_and_changed(store: TestStore) {
        let scene = Scene::on(store).await;
        let ada = scene.person("ada").await;
        let (status, me) = scene.send(Some(&ada), Method::GET, "/me", json!({})).await;
        assert_eq!(status, 200);
        assert_eq!((&me["email"], &me["bio"], &me["custom_fields"]), (&json!("ada@example.com"), &json!(""), &json!(null)));
        assert_eq!(me["roles"], json!(["viewer"]));
        assert!(!me["permissions"].as_array().unwrap().is_empty());

        let body = json!({"first_name": "Augusta", "bio": "", "timezone": "Europe/London", "language": "en",
            "custom_fields": {"a": [1, "\u{0}"]}, "username": "Countess", "colour": "ignored"});
        let (status, answer) = scene.patch(&ada, body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["message"], "Profile updated successfully");
        assert_eq!(answer["updated_fields"],
            json!(["first_name", "username", "bio", "timezone", "language", "custom_fields"]));
        assert_eq!(answer["verification_required"], json!({"email_changed": false, "phone_changed": false}));
        assert_eq!(answer["user"]["custom_fields"], json!({"a": [1, "\u{0}"]}));
        assert_eq!(answer["user"]["username"], "countess");
        let (_, me) = scene.send(Some(&ada), Method::GET, "/me/", json!({})).await;
        assert_eq!(me, answer["user"]);
        assert_eq!(scene.codes().await, ["profile_changed"]);

        let (_, answer) = scene.patch(&ada, json!({"custom_fields": null, "username": null})).await;
        assert_eq!((&answer["user"]["custom_fields"], &answer["user"]["username"]), (&json!(null), &json!(null)));
    }

    async fn an_empty_change_changes_nothing(store: TestStore) {
        let scene = Scene::on(store).await;
        let ada = scene.person("ada").await;
        let (status, answer) = scene.patch(&ada, json!({"email": "ADA@example.com"})).await;
        assert_eq!((status, &answer["updated_fields"]), (200, &json!([])));
        assert!(scene.codes().await.is_empty());
    }

    async fn a_new_address_asks_for_the_password_and_waits(store: TestStore) {
        let scene = Scene::on(store).await;
        let ada = scene.person("ada").await;
        let wish = json!({"email": "new@example.com", "phone_country_code": "+33", "phone_number": "612345678"});
        let (status, answer) = scene.patch(&ada, wish.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!("REAUTH_REQUIRED")));
        let with = |password: &str| {
            let mut body = wish.clone();
            body["current_password"] = json!(password);
            body
        };
        let (status, answer) = scene.patch(&ada, with("wrong")).await;
        assert_eq!((status, &answer["code"]), (400, &json!("INVALID_PASSWORD")));
        assert_eq!(scene.stored(&ada).await.pending_email, None);

        let (status, answer) = scene.patch(&ada, with(PASSWORD)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["updated_fields"], json!(["email", "phone"]));
        assert_eq!(answer["verification_required"], json!({"email_changed": true, "phone_changed": true}));
        assert_eq!(answer["pending"], json!({"email": "new@example.com", "phone": "+33612345678"}));
        assert_eq!((&answer["user"]["email"], &answer["user"]["phone"]), (&json!("ada@example.com"), &json!(null)));
        let stored = scene.stored(&ada).await;
        assert_eq!(stored.email, ada.email);
        assert_eq!(stored.pending_phone, Some(Phone::parse("+33612345678").unwrap()));
        assert_eq!(scene.codes().await, ["login_failed", "contact_pending", "contact_pending"]);
    }

    async fn a_taken_address_is_answered_like_a_free_one(store: TestStore) {
        let scene = Scene::on(store).await;
        let ada = scene.person("ada").await;
        scene.person("bob").await;
        let wish = |email: &str| json!({"email": email, "current_password": PASSWORD});
        let (free, mut free_answer) = scene.patch(&ada, wish("free@example.com")).await;
        let (taken, mut taken_answer) = scene.patch(&ada, wish("bob@example.com")).await;
        assert_eq!(free, taken);
        for answer in [&mut free_answer, &mut taken_answer] {
            answer["pending"]["email"] = json!("-");
        }
        assert_eq!(free_answer, taken_answer);
    }

    async fn a_taken_user_name_is_refused_at_its_field(store: TestStore) {
        let scene = Scene::on(store).await;
        let ada = scene.person("ada").await;
        scene.person("bob").await;
        let (status, answer) = scene.patch(&ada, json!({"username": "Bob", "bio": "x"})).await;
        assert_eq!((status, &answer["code"]), (400, &json!("VALIDATION_ERROR")));
        assert_eq!(answer["details"]["username"], json!(["A user with that username already exists."]));
        assert_eq!(scene.stored(&ada).await.bio, "");
        assert!(scene.codes().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_wrong_with_a_change_is_told_at_once() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let ada = scene.person("ada").await;
    let body = json!({"first_name": " ", "bio": "x".repeat(501), "language": 5, "username": "a@b", "email": "nonsense",
        "phone_number": "612345678", "custom_fields": "x".repeat(20_000), "is_staff": true, "roles": ["admin"]});
    let (status, answer) = scene.patch(&ada, body).await;
    assert_eq!(status, 400);
    let mut names: Vec<&str> = answer["details"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "bio",
            "custom_fields",
            "email",
            "first_name",
            "is_staff",
            "language",
            "phone_country_code",
            "roles",
            "username"
        ]
    );
    assert!(scene.codes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_no_profile() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    for (method, path) in [(Method::GET, "/me/"), (Method::PATCH, "/me/"), (Method::GET, "/me/roles/")] {
        assert_eq!(scene.send(None, method, path, json!({})).await.0, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn my_roles_are_those_that_count_now() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let ada = scene.person("ada").await;
    let (status, answer) = scene.send(Some(&ada), Method::GET, "/me/roles/", json!({})).await;
    assert_eq!((status, &answer["roles"]), (200, &json!(["viewer"])));
    let codes: Vec<&str> =
        answer["permissions"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert!(!codes.is_empty() && codes.is_sorted());
}
