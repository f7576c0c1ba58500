//! How lately somebody must have logged in who changes keys or what people may do (`api.admin_max_age`), on the
//! running gateway. Law: an old login is refused and changes nothing, whatever it may; all else goes on, and a new
//! login changes it.

use std::sync::Arc;
use std::time::Duration;

use portcullis::app::testing::NOON;
use portcullis::base::{Id, TestClock};
use serde_json::{Value, json};

use crate::support::Gateway;
use crate::support::forms::Browser;
use crate::support::people::{Keys, TRUSTING, User};
use crate::support::raw::Answer;

const TOO_OLD: Duration = Duration::from_secs(121);

struct Scene {
    gateway: Gateway,
    clock: Arc<TestClock>,
    keys: Keys,
    id: Id,
    eve: Id,
}

impl Scene {
    async fn new(api: &str) -> Self {
        let clock = Arc::new(TestClock::at(NOON));
        let folder = tempfile::tempdir().unwrap();
        let started = Gateway::start_by(clock.clone(), folder, &format!("{TRUSTING}{api}")).await;
        let gateway = started.unwrap_or_else(|error| panic!("{error}"));
        let keys = gateway.application("console", &[]).await;
        let id = gateway.account("root", |new| new.is_superuser = true).await;
        let eve = gateway.account("eve", |_| {}).await;
        Self { gateway, clock, keys, id, eve }
    }

    async fn root(&self) -> User {
        self.gateway.log_in("root", self.id, &self.keys).await
    }

    async fn call(&self, user: &User, line: &str, body: &Value) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let lines = [vec![user.bearer()], self.keys.lines().to_vec()].concat();
        self.gateway.call(method, path, &lines, body).await
    }

    /// What changes keys or rights, in an order in which each can be done.
    fn changes(&self) -> Vec<(String, Value)> {
        let of = |what: &str| format!("/users/{}/{what}/", self.eve);
        let codes = json!({"permission_codes": ["content.view"]});
        vec![
            ("POST /applications/".to_owned(), json!({"name": "Shop"})),
            ("POST /permissions/".to_owned(), json!({"code": "posts.read", "name": "Read"})),
            ("PUT /permissions/posts.read/".to_owned(), json!({"name": "Read it"})),
            ("POST /roles/".to_owned(), json!({"code": "helper", "name": "Helper"})),
            ("PUT /roles/helper/".to_owned(), json!({"name": "Helpers"})),
            ("POST /roles/helper/permissions/".to_owned(), codes.clone()),
            ("POST /groups/".to_owned(), json!({"code": "night", "name": "Night"})),
            ("POST /groups/night/grants/".to_owned(), codes.clone()),
            ("POST /org-roles/".to_owned(), json!({"code": "buyer", "name": "Buyer", "permissions": []})),
            (format!("POST {}", of("roles")), json!({"role_code": "helper"})),
            (format!("POST {}", of("permissions")), codes.clone()),
            (format!("POST {}", of("groups")), json!({"group_code": "night"})),
            (format!("DELETE {}", of("permissions")), codes),
            (format!("DELETE {}?role_code=helper", of("roles")), Value::Null),
            ("DELETE /org-roles/buyer/".to_owned(), Value::Null),
            ("DELETE /roles/helper/".to_owned(), Value::Null),
        ]
    }

    /// What could have changed.
    async fn rights(&self, user: &User) -> Vec<Value> {
        let mut all = Vec::new();
        for path in ["/applications/", "/permissions/?page_size=100", "/roles/", "/groups/", "/org-roles/"] {
            all.push(self.call(user, &format!("GET {path}"), &Value::Null).await.json());
        }
        let eves = format!("GET /users/{}/permissions/", self.eve);
        all.push(self.call(user, &eves, &Value::Null).await.json());
        all
    }
}

#[tokio::test]
async fn an_old_login_changes_no_keys_and_no_rights_and_a_new_one_does() {
    let scene = Scene::new("api: { admin_max_age: 2m }\n").await;
    let old = scene.root().await;
    let before = scene.rights(&old).await;
    scene.clock.advance(TOO_OLD);
    for (line, body) in scene.changes() {
        let refused = scene.call(&old, &line, &body).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "REAUTHENTICATION_REQUIRED"), "{line}");
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("max_age=\"120\""), "{line}: {challenge}");
    }
    assert_eq!(scene.rights(&old).await, before, "and it still reads");
    let naming = format!("PATCH /admin/users/{}/", scene.eve);
    let named = scene.call(&old, &naming, &json!({"first_name": "Eve"})).await;
    assert_eq!(named.status, 200, "a name is no right: {}", named.text());
    let new = scene.root().await;
    for (line, body) in scene.changes() {
        let done = scene.call(&new, &line, &body).await;
        assert!(done.status < 300, "{line}: {}", done.text());
    }
    assert_ne!(scene.rights(&new).await, before);
}

#[tokio::test]
async fn what_nobody_may_is_refused_as_that_however_old_the_login_is() {
    let scene = Scene::new("api: { admin_max_age: 2m }\n").await;
    let eve = scene.gateway.log_in("eve", scene.eve, &scene.keys).await;
    scene.clock.advance(TOO_OLD);
    let refused = scene.call(&eve, "POST /roles/", &json!({"code": "helper", "name": "Helper"})).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "PERMISSION_REQUIRED"));
}

#[tokio::test]
async fn a_page_asks_no_less_and_says_what_to_do() {
    let scene = Scene::new("api: { admin_max_age: 2m }\n").await;
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("root").await;
    scene.clock.advance(TOO_OLD);
    let make = "/portcullis/admin/make/role/";
    let fields = [("code", "helper"), ("name", "Helper"), ("description", "")];
    let refused = browser.post(make, &fields).await;
    let text = refused.text();
    assert!(refused.status == 403 && text.contains("Log out, and log in again"), "{text}");
    assert!(!browser.get("/portcullis/admin/roles/").await.text().contains("helper"));
    let mut again = Browser::new(&scene.gateway);
    again.log_in("root").await;
    assert_eq!(again.post(make, &fields).await.status, 303);
}

#[tokio::test]
async fn without_a_word_in_the_file_no_login_is_too_old() {
    let scene = Scene::new("").await;
    let old = scene.root().await;
    scene.clock.advance(TOO_OLD);
    for (line, body) in scene.changes() {
        let done = scene.call(&old, &line, &body).await;
        assert!(done.status < 300, "{line}: {}", done.text());
    }
}
