//! What people do besides coming and going, on sockets: the other ways to say who one is, what a
//! password may be, and what one may do (contract: login, password, profile).
//!
//! Law: what an answer says is what the proxied route then does.

use portcullis::account::{self, PasswordHash};
use portcullis::base::Phone;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::on_one_and_on_two;
use crate::support::people::{Keys, PASSWORD, TRUSTING, elsewhere, role};
use crate::support::raw::Answer;
use crate::support::{Replicas, Upstream};

const NEW: &str = "Another-horse-7-staple";
const THIRD: &str = "Further-horse-5-needle";

/// Passwords are cheap here, because there are many of them.
const CHEAP: &str = "insecure: [weak_hash]
accounts: { password: { history: 2, argon2: { memory: 1MiB, iterations: 1 } } }
sessions: { max: 5 }
";

struct Scene {
    _upstream: Upstream,
    replicas: Replicas,
    keys: Keys,
}

async fn scene(dialect: Dialect) -> Scene {
    let upstream = Upstream::echo().await;
    let yaml = format!(
        "{TRUSTING}{CHEAP}permissions: [ {{ code: reports.read }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: reports, match: {{ path: /reports }}, upstream: up, allow: {{ permission: reports.read }} }}
",
        upstream.address
    );
    let replicas = Replicas::on(dialect, &yaml).await;
    let keys = replicas.here.application("web", &[]).await;
    Scene { _upstream: upstream, replicas, keys }
}

impl Scene {
    async fn call(&self, method: &str, path: &str, access: Option<&str>, body: Value) -> Answer {
        let [key, secret] = self.keys.lines();
        let mut lines = vec![key, secret, elsewhere()];
        lines.extend(access.map(bearer));
        self.replicas.here.call(method, path, &lines, &body).await
    }

    async fn log_in(&self, password: &str) -> Answer {
        let body = json!({"email": "ada@example.com", "password": password});
        self.call("POST", "/login/email/", None, body).await
    }

    async fn enter(&self) -> String {
        access(&self.log_in(PASSWORD).await)
    }

    async fn status(&self, path: &str, access: &str) -> u16 {
        self.replicas.here.send("GET", path, &[bearer(access)]).await.status
    }
}

fn bearer(access: &str) -> String {
    format!("Authorization: Bearer {access}")
}

#[track_caller]
fn access(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

on_one_and_on_two! {
    async fn a_phone_number_and_a_password_open_the_same_door(dialect: Dialect) {
        let scene = scene(dialect).await;
        let phone = Phone::parse("+33612345678").unwrap();
        scene.replicas.here.account("ada", |new| new.phone = Some(phone)).await;
        let call = async |number: &str, password: &str| {
            let body = json!({"phone_country_code": "+33", "phone_number": number, "password": password});
            scene.call("POST", "/login/phone/", None, body).await
        };
        let entered = access(&call("6 12 34 56 78", PASSWORD).await);
        assert_eq!(scene.status("/mine", &entered).await, 200);
        let (wrong, nobody) = (call("612345678", NEW).await, call("612345679", PASSWORD).await);
        assert_eq!((wrong.status, wrong.code()), (401, "LOGIN_FAILED".to_owned()));
        assert_eq!((nobody.status, nobody.code()), (wrong.status, wrong.code()), "as for nobody's number");
    }

    async fn a_role_that_is_granted_is_told_and_opens_what_it_opens(dialect: Dialect) {
        let scene = scene(dialect).await;
        let id = scene.replicas.here.account("ada", |_| {}).await;
        let ada = scene.enter().await;
        let told = async || {
            let answer = scene.call("GET", "/me/roles/", Some(&ada), Value::Null).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let has = |key: &str, code: &str| answer.json()[key].as_array().unwrap().contains(&json!(code));
            (has("roles", "analyst"), has("permissions", "reports.read"), scene.status("/reports", &ada).await)
        };
        assert_eq!(told().await, (false, false, 403));
        scene.replicas.here.grant(id, role("analyst")).await;
        assert_eq!(told().await, (true, true, 200));
        scene.replicas.here.revoke(id, role("analyst")).await;
        assert_eq!(told().await, (false, false, 403));
        assert_eq!(scene.call("GET", "/me/roles/", None, Value::Null).await.status, 401);
    }

    async fn the_sixth_login_ends_the_first_session(dialect: Dialect) {
        let scene = scene(dialect).await;
        scene.replicas.here.account("ada", |_| {}).await;
        let mut entered = Vec::new();
        for _ in 0..5 {
            entered.push(scene.enter().await);
        }
        for access in &entered {
            assert_eq!(scene.status("/mine", access).await, 200, "five are as many as there may be");
        }
        entered.push(scene.enter().await);
        let mut statuses = Vec::new();
        for access in &entered {
            statuses.push(scene.status("/mine", access).await);
        }
        assert_eq!(statuses, [401, 200, 200, 200, 200, 200]);
    }

    async fn a_former_password_does_not_come_back(dialect: Dialect) {
        let scene = scene(dialect).await;
        scene.replicas.here.account("ada", |_| {}).await;
        let change = async |from: &str, to: &str| {
            let ada = access(&scene.log_in(from).await);
            let body = json!({"current_password": from, "new_password": to});
            scene.call("POST", "/password/change/", Some(&ada), body).await.status
        };
        assert_eq!(change(PASSWORD, NEW).await, 200);
        assert_eq!(change(NEW, PASSWORD).await, 400, "the one before");
        assert_eq!(change(NEW, THIRD).await, 200);
        assert_eq!(change(THIRD, PASSWORD).await, 400, "the one before that");
        assert_eq!(scene.log_in(PASSWORD).await.status, 401);
        assert_eq!(scene.log_in(THIRD).await.status, 200, "what was refused changed nothing");
    }

    async fn a_hash_from_elsewhere_opens_the_door_and_is_made_anew(dialect: Dialect) {
        let scene = scene(dialect).await;
        // Of `lètmein`, as Django stores it.
        let foreign = "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=";
        let hash = PasswordHash::new(foreign.to_owned());
        let id = scene.replicas.here.account("ada", |new| new.password_hash = Some(hash)).await;
        assert_eq!(scene.log_in("letmein").await.status, 401);
        for _ in 0..2 {
            let ada = access(&scene.log_in("lètmein").await);
            assert_eq!(scene.status("/mine", &ada).await, 200);
        }
        let db = &scene.replicas.here.running.app.db;
        let stored = account::by_id(db, id).await.unwrap().unwrap();
        let stored = stored.password_hash.expect("a hash");
        assert!(stored.expose().starts_with("$argon2id$"), "it is ours by now");
    }
}

#[tokio::test]
async fn a_password_is_judged_before_anyone_has_an_account() {
    let scene = scene(Dialect::Sqlite).await;
    let judge = async |password: &str| {
        let body = json!({"password": password, "email": "x@example.com"});
        scene.call("POST", "/password/strength/", None, body).await.json()
    };
    let good = judge("Tr0ub4dor&3xyz").await;
    assert_eq!(
        (&good["is_valid"], &good["errors"], &good["strength"]),
        (&json!(true), &json!([]), &json!("strong"))
    );
    let bad = judge("short").await;
    assert_eq!(bad["is_valid"], false);
    assert!(bad["errors"].as_array().is_some_and(|all| !all.is_empty()), "{bad}");
    let refused = json!({"email": "new@example.com", "password": "short"});
    assert_eq!(scene.call("POST", "/register/", None, refused).await.status, 400, "and so it is then");
    let taken = json!({"email": "new@example.com", "password": "Tr0ub4dor&3xyz"});
    assert_eq!(scene.call("POST", "/register/", None, taken).await.status, 201);
}
