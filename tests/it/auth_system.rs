//! The profile `auth-system` on the running gateway: in, out, passwords, its refusals and its limits, and the two
//! clients that its document prints, run as they are printed.

use std::process::{Command, Output};
use std::time::Duration;

use portcullis::account::PasswordHash;
use portcullis::base::Secret;
use portcullis::crypto::digest::{base64url, unbase64url};
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::codes::{Post, text_of};
use crate::support::people::{PASSWORD, TRUSTING, User, elsewhere, permission, request, role};
use crate::support::raw::{Answer, exchange};
use crate::support::replica::until;
use crate::support::{Gateway, Replicas};
use crate::{on_mariadb, on_one_and_on_two};

/// As that system's document has it, so the native API stands elsewhere.
pub const MOUNTED: &str = "api: { prefix: /gate, profiles: [ { use: auth-system, prefix: /api/v1 } ] }\n\
    tokens: { access_for: 1h, rotation: true }\n\
    roles:\n\
    \x20 - { code: admin1, permissions: [users, roles.view, security.view, system.admin] }\n\
    \x20 - { code: admin2, permissions: [users.view] }\n\
    \x20 - { code: admin3, permissions: [content.view] }\n\
    permissions: [ { code: 'reports:read' }, { code: vault.open } ]\n";

pub fn yaml() -> String {
    format!("{TRUSTING}{MOUNTED}")
}

const OTHER: &str = "Another-horse-7-battery";

/// Asks the profile.
pub async fn ask(gateway: &Gateway, user: Option<&User>, method: &str, path: &str, body: Value) -> Answer {
    let mut lines = vec![elsewhere()];
    lines.extend(user.map(User::bearer));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let text = request(method, &format!("/api/v1{path}"), &lines, &body);
    exchange(gateway.public(), text).await.expect("an answer")
}

/// Logs in through the profile.
pub async fn enter(gateway: &Gateway, name: &str) -> User {
    let id = gateway.account(name, |_| {}).await;
    enter_as(gateway, name, id).await
}

pub async fn enter_as(gateway: &Gateway, name: &str, id: portcullis::base::Id) -> User {
    let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD});
    let answer = ask(gateway, None, "POST", "/auth/login", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = |key: &str| answer.json()[key].as_str().expect("a token").to_owned();
    User { id, access: text("access_token"), refresh: text("refresh_token") }
}

/// A superuser who is logged in.
pub async fn root(gateway: &Gateway) -> User {
    let id = gateway.account("root", |new| new.is_superuser = true).await;
    enter_as(gateway, "root", id).await
}

/// The status, the code and the fields of a refusal.
pub fn refusal(answer: &Answer) -> (u16, String, Vec<String>) {
    let error = answer.json()["error"].clone();
    assert!(error["message"].is_string() && error["timestamp"].is_string(), "{}", answer.text());
    assert_eq!(error["request_id"].as_str(), answer.header("x-request-id"), "{}", answer.text());
    let fields = error["details"].as_array().cloned().unwrap_or_default();
    let mut fields: Vec<String> =
        fields.iter().map(|one| one["field"].as_str().unwrap().to_owned()).collect();
    fields.sort_unstable();
    (answer.status, error["code"].as_str().unwrap().to_owned(), fields)
}

pub fn plain(status: u16, code: &str) -> (u16, String, Vec<String>) {
    (status, code.to_owned(), Vec::new())
}

fn about(status: u16, code: &str, field: &str) -> (u16, String, Vec<String>) {
    (status, code.to_owned(), vec![field.to_owned()])
}

/// What an access token tells a client of its person; it lasts an hour.
fn told_by(token: &str, id: portcullis::base::Id) -> Value {
    let payload = unbase64url(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["sub"], id.to_string());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(claims["jti"].is_string(), "{claims}");
    json!([claims["email"], claims["role"], claims["permissions"]])
}

pub fn keys(value: &Value) -> Vec<String> {
    let mut all: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    all.sort_unstable();
    all
}

/// Runs a printed client, and beside it what its access token was refused for, twice.
async fn run(program: &str, file: &str, text: String, gateway: &Gateway) -> Output {
    let folder = gateway.folder.path().to_owned();
    std::fs::write(folder.join(file), text).unwrap();
    std::fs::write(folder.join("requests.py"), include_str!("clients/requests.py")).unwrap();
    let (program, file) = (program.to_owned(), file.to_owned());
    let run = move || Command::new(program).arg(file).current_dir(folder).output().expect("the program runs");
    tokio::task::spawn_blocking(run).await.unwrap()
}

on_one_and_on_two! {
    async fn the_printed_clients_run_as_they_are(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let gateway = &replicas.here;
        let hash = gateway.running.app.hasher.hash(Secret::new("admin123456".to_owned())).await.unwrap();
        let with = |new: &mut portcullis::account::NewAccount| {
            new.is_superuser = true;
            new.password_hash = Some(PasswordHash::new(hash));
        };
        gateway.account("admin", with).await;
        let here = |text: &str| text.replace("http://localhost:8000", &format!("http://{}", gateway.public()));

        let python = here(include_str!("clients/auth_system.py"))
            + "\nfor _ in range(2):\n    client.access_token = 'stale'\n    print(client.get_users()['total'])\n";
        let ran = run("python3", "client.py", python, gateway).await;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(said.trim(), "Found 1 users\n1\n1", "{}", String::from_utf8_lossy(&ran.stderr));

        // The types are taken out, which is all that is between the print and a program.
        let lines = include_str!("clients/auth_system.ts").lines().filter(|line| !line.starts_with("  private "));
        let typed = lines.collect::<Vec<_>>().join("\n").replace(": string", "");
        let node = "const kept = new Map();\nglobalThis.localStorage = { setItem: (k, v) => kept.set(k, v), \
                    getItem: (k) => kept.get(k) ?? null };\n".to_owned()
            + &here(&typed).replace("console.log('Users:', users);", "console.log('Users:', users.total);")
            + "\nfor (let i = 0; i < 2; i += 1) {\n  client.accessToken = 'stale';\n  \
               console.log((await client.getUsers()).items[0].email);\n}\n";
        let ran = run("node", "client.mjs", node, gateway).await;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let expected = "Users: 1\nadmin@example.com\nadmin@example.com";
        assert_eq!(said.trim(), expected, "{}", String::from_utf8_lossy(&ran.stderr));
    }

    async fn somebody_comes_in_stays_and_goes(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let (here, there) = (&replicas.here, &replicas.there);
        let id = here.account("ann", |new| "Ann".clone_into(&mut new.first_name)).await;
        here.grant(id, role("admin2")).await;
        let body = json!({"email": "Ann@Example.com", "password": PASSWORD});
        let entered = ask(here, None, "POST", "/auth/login", body).await;
        let told = entered.json();
        assert_eq!(keys(&told), ["access_token", "expires_in", "refresh_token", "token_type", "user"]);
        // What is left of an hour when it is said.
        let lasts = told["expires_in"].as_u64().unwrap();
        assert!(told["token_type"] == "bearer" && (3500..=3600).contains(&lasts), "{told}");
        let user = &told["user"];
        assert_eq!((&user["id"], &user["role"]), (&json!(id.to_string()), &json!("admin2")));
        assert_eq!((&user["first_name"], &user["permissions"]), (&json!("Ann"), &json!(["users:read"])));
        assert_eq!(told_by(told["access_token"].as_str().unwrap(), id), json!(["ann@example.com", "admin2", ["users:read"]]));
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        let ann = User { id, access: text("access_token"), refresh: text("refresh_token") };

        let me = ask(there, Some(&ann), "GET", "/auth/me", Value::Null).await.json();
        for key in ["id", "email", "first_name", "last_name", "role", "status", "is_active", "email_verified",
            "last_login", "created_at", "permissions"] {
            assert!(me.get(key).is_some(), "{key} {me}");
        }
        assert_eq!((&me["status"], &me["email_verified"]), (&json!("active"), &json!(true)));
        assert!(me["last_login"].as_str().unwrap().ends_with('Z'));

        // The refresh token stays the same, however often it is used, though tokens rotate here.
        for number in 0..4 {
            let body = json!({"refresh_token": ann.refresh});
            let refreshed = ask(replicas.nth(number), None, "POST", "/auth/refresh/", body).await;
            assert_eq!(refreshed.status, 200, "{}", refreshed.text());
            assert_eq!(keys(&refreshed.json()), ["access_token", "expires_in", "token_type"]);
            let access = refreshed.json()["access_token"].as_str().unwrap().to_owned();
            assert_eq!(told_by(&access, id), json!(["ann@example.com", "admin2", ["users:read"]]));
            let anew = User { access, ..ann.clone() };
            assert_eq!(ask(here, Some(&anew), "GET", "/auth/me", Value::Null).await.status, 200);
        }

        let body = json!({"refresh_token": ann.refresh});
        let out = ask(here, Some(&ann), "POST", "/auth/logout", body.clone()).await;
        assert_eq!((out.status, out.text().as_str()), (204, ""));
        assert_eq!(refusal(&ask(here, None, "POST", "/auth/refresh", body).await), plain(401, "TOKEN_INVALID"));
        assert_eq!(
            refusal(&ask(here, Some(&ann), "GET", "/auth/me", Value::Null).await),
            plain(401, "TOKEN_INVALID")
        );
    }
}

on_mariadb! { somebody_comes_in_stays_and_goes }

#[tokio::test]
async fn a_token_of_the_native_api_is_not_kept_by_the_profile() {
    let gateway =
        Gateway::start(&yaml().replace("api: { prefix: /gate", "api: { prefix: /api/v1/gate")).await;
    let keys = gateway.application("web", &[]).await;
    gateway.account("ann", |_| {}).await;
    let lines = [&keys.lines()[..], &[elsewhere()]].concat();
    let body = json!({"email": "ann@example.com", "password": PASSWORD}).to_string();
    let native = |path: &str, body: &str| request("POST", &format!("/api/v1/gate{path}"), &lines, body);
    let entered = exchange(gateway.public(), native("/login/email/", &body)).await.unwrap().json();
    let token = entered["refresh_token"].as_str().unwrap().to_owned();
    for token in [token.clone(), format!("kept.{token}"), "kept.".to_owned(), "x".repeat(128)] {
        let answer = ask(&gateway, None, "POST", "/auth/refresh", json!({"refresh_token": token})).await;
        assert_eq!(refusal(&answer), plain(401, "TOKEN_INVALID"));
    }
    // It was not used up by that.
    let body = json!({"refresh_token": token}).to_string();
    assert_eq!(exchange(gateway.public(), native("/refresh/", &body)).await.unwrap().status, 200);
}

/// What nobody reads who may not.
const CLOSED: [&str; 7] = [
    "/users",
    "/admin/users",
    "/stats/overview",
    "/stats/users",
    "/audit/logs",
    "/audit/logs/export?format=csv",
    "/health/detailed",
];

#[tokio::test]
async fn what_is_wrong_is_told_in_that_systems_words() {
    let gateway = Gateway::start(&yaml()).await;
    let ann = enter(&gateway, "ann").await;
    let some = Some(&ann);
    let refused = async |user: Option<&User>, method: &str, path: &str, body: Value| {
        refusal(&ask(&gateway, user, method, path, body).await)
    };
    let login = "/auth/login";
    let wrong = json!({"email": "ann@example.com", "password": "wrong"});
    assert_eq!(refused(None, "POST", login, wrong).await, plain(401, "AUTHENTICATION_FAILED"));
    let nobody = json!({"email": "nobody@example.com", "password": "wrong"});
    assert_eq!(refused(None, "POST", login, nobody).await, plain(401, "AUTHENTICATION_FAILED"));
    assert_eq!(
        refused(None, "POST", login, json!({"password": "x"})).await,
        about(400, "VALIDATION_ERROR", "email")
    );
    let more = json!({"email": "ann@example.com", "password": PASSWORD, "is_superuser": true});
    assert_eq!(refused(None, "POST", login, more).await, about(400, "VALIDATION_ERROR", "is_superuser"));
    let broken = [elsewhere()];
    let text = request("POST", "/api/v1/auth/login", &broken, "{");
    assert!(exchange(gateway.public(), text).await.is_some_and(|answer| answer.status == 400));

    for path in CLOSED.into_iter().chain(["/auth/me"]) {
        assert_eq!(refused(None, "GET", path, Value::Null).await, plain(401, "TOKEN_INVALID"), "{path}");
    }
    let token = |exp: i64| {
        format!("{}.{}.c2ln", base64url(b"{}"), base64url(json!({"exp": exp}).to_string().as_bytes()))
    };
    for (exp, code) in [(1_000_000, "TOKEN_EXPIRED"), (9_000_000_000, "TOKEN_INVALID")] {
        let stale = User { access: token(exp), ..ann.clone() };
        assert_eq!(refused(Some(&stale), "GET", "/users", Value::Null).await, plain(401, code));
    }
    // Whoever may not is told 403: their clients would refresh for ever at 401.
    for path in CLOSED {
        assert_eq!(refused(some, "GET", path, Value::Null).await, plain(403, "PERMISSION_DENIED"), "{path}");
    }
    assert_eq!(refused(some, "GET", "/auth/nothing", Value::Null).await, plain(404, "RESOURCE_NOT_FOUND"));
    assert_eq!(refused(some, "GET", "/users/a/b/c", Value::Null).await, plain(404, "RESOURCE_NOT_FOUND"));
    assert_eq!(refused(some, "GET", "/stats/nothing", Value::Null).await, plain(404, "RESOURCE_NOT_FOUND"));
    let other = ask(&gateway, some, "DELETE", "/auth/login", Value::Null).await;
    assert_eq!((refusal(&other).0, other.header("allow")), (405, Some("POST")));
    // Beside the profile's own paths nothing is changed.
    let beside = ask(&gateway, some, "GET", "/posts", Value::Null).await;
    assert_eq!((beside.status, beside.json()["code"].is_string()), (404, true));
}

#[tokio::test]
async fn who_administrators_are_is_seen_by_whoever_sees_people() {
    let gateway = Gateway::start(&yaml()).await;
    let root = root(&gateway).await;
    let clerk = enter(&gateway, "clerk").await;
    let asked = async || ask(&gateway, Some(&clerk), "GET", "/admin/users", Value::Null).await;
    gateway.grant(clerk.id, permission("users.roles.view")).await;
    assert_eq!(refusal(&asked().await), plain(403, "PERMISSION_DENIED"));
    gateway.grant(clerk.id, permission("users.view")).await;
    assert_eq!(asked().await.json()["items"][0]["id"], json!(root.id.to_string()));
    gateway.revoke(clerk.id, permission("users.roles.view")).await;
    assert_eq!(refusal(&asked().await), plain(403, "PERMISSION_DENIED"));
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let gateway = Gateway::start(&yaml()).await;
    let ann = enter(&gateway, "ann").await;
    let wish = |current: &str, new: &str, again: &str| {
        let mut body = json!({"current_password": current, "new_password": new});
        body["confirm_password"] = json!(again);
        body
    };
    let path = "/auth/change-password";
    for (body, expected) in [
        (wish(PASSWORD, OTHER, "another"), about(422, "VALIDATION_ERROR", "confirm_password")),
        (wish(PASSWORD, "short", "short"), about(422, "VALIDATION_ERROR", "new_password")),
        (wish("wrong", OTHER, OTHER), plain(400, "AUTHENTICATION_FAILED")),
        (
            json!({"new_password": OTHER, "confirm_password": OTHER}),
            about(422, "VALIDATION_ERROR", "current_password"),
        ),
    ] {
        let answer = ask(&gateway, Some(&ann), "POST", path, body).await;
        let (status, code, fields) = refusal(&answer);
        assert_eq!(
            (status, code, fields.first()),
            (expected.0, expected.1, expected.2.first()),
            "{}",
            answer.text()
        );
    }
    let done = ask(&gateway, Some(&ann), "POST", path, wish(PASSWORD, OTHER, OTHER)).await;
    assert_eq!((done.status, done.json()), (200, json!({"message": "Password changed successfully"})));
    assert_eq!(
        ask(&gateway, Some(&ann), "GET", "/auth/me", Value::Null).await.status,
        401,
        "every session ended"
    );
    let body = json!({"email": "ann@example.com", "password": OTHER});
    assert_eq!(ask(&gateway, None, "POST", "/auth/login", body).await.status, 200);
}

#[tokio::test]
async fn whoever_must_change_their_password_can_do_that_and_no_more() {
    let gateway = Gateway::start(&yaml()).await;
    let id = gateway.account("ann", |new| new.must_change_password = true).await;
    gateway.grant(id, role("admin1")).await;
    let ann = enter_as(&gateway, "ann", id).await;
    let me = ask(&gateway, Some(&ann), "GET", "/auth/me", Value::Null).await.json();
    assert_eq!(me["must_change_password"], true);
    let refused = ask(&gateway, Some(&ann), "GET", "/users", Value::Null).await;
    assert_eq!(refusal(&refused), plain(403, "PASSWORD_EXPIRED"));
    // Its token tells of nothing that it does not open, and no later one does.
    assert_eq!(told_by(&ann.access, id), json!([null, null, null]));
    let again = ask(&gateway, None, "POST", "/auth/refresh", json!({"refresh_token": ann.refresh})).await;
    assert_eq!(told_by(again.json()["access_token"].as_str().unwrap(), id), json!([null, null, null]));
    let wish = json!({"current_password": PASSWORD, "new_password": OTHER, "confirm_password": OTHER});
    assert_eq!(ask(&gateway, Some(&ann), "POST", "/auth/change-password", wish).await.status, 200);
    let body = json!({"email": "ann@example.com", "password": OTHER});
    let whole = ask(&gateway, None, "POST", "/auth/login", body).await.json();
    assert_eq!(told_by(whole["access_token"].as_str().unwrap(), id)[1], "admin1");
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_the_link_that_was_sent() {
    let post =
        Post::start(&format!("{MOUNTED}login: {{ reset: {{ link: 'https://app.example.com/reset' }} }}\n"))
            .await;
    let watcher = enter(&post.gateway, "watcher").await;
    post.gateway.grant(watcher.id, permission("dashboard.view")).await;
    post.gateway.account("ann", |_| {}).await;
    let sent = json!({"message": "Password reset instructions sent to email"});
    for name in ["nobody", "ann"] {
        let body = json!({"email": format!("{name}@example.com")});
        let answer = ask(&post.gateway, None, "POST", "/auth/forgot-password", body).await;
        assert_eq!((answer.status, answer.json()), (200, sent.clone()), "{name}");
    }
    let text = text_of(&post.letter(1).await);
    let (_, rest) = text.split_once("https://app.example.com/reset?token=").expect("a link");
    let token = rest.split_whitespace().next().unwrap();
    let wish = |token: &str| json!({"token": token, "new_password": OTHER, "confirm_password": OTHER});
    let wrong = ask(&post.gateway, None, "POST", "/auth/reset-password", wish("wrong")).await;
    assert_eq!(refusal(&wrong), plain(400, "TOKEN_INVALID"));
    let done = ask(&post.gateway, None, "POST", "/auth/reset-password", wish(token)).await;
    assert_eq!((done.status, done.json()), (200, json!({"message": "Password reset successfully"})));
    let again = ask(&post.gateway, None, "POST", "/auth/reset-password", wish(token)).await;
    assert_eq!(refusal(&again), plain(400, "TOKEN_INVALID"), "once");
    let body = json!({"email": "ann@example.com", "password": OTHER});
    assert_eq!(ask(&post.gateway, None, "POST", "/auth/login", body).await.status, 200);
    until(Duration::from_secs(20), "the reset is counted", async || {
        let seen = ask(&post.gateway, Some(&watcher), "GET", "/stats/overview", Value::Null).await.json();
        seen["security"]["password_resets_today"] == 1 && seen["sessions"]["total_today"] == 2
    })
    .await;
}

#[tokio::test]
async fn without_a_word_in_the_file_there_is_no_profile() {
    let gateway = Gateway::start("").await;
    let text = request("POST", "/compat/auth/login", &[], "{}");
    let answer = exchange(gateway.public(), text).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"].is_string()), (404, true));
}

#[tokio::test]
async fn a_locked_account_is_423_and_agents_are_turned_away() {
    let gateway = Gateway::start(&yaml()).await;
    let id = gateway.account("ann", |_| {}).await;
    gateway.change(async |change| portcullis::account::lock(change, id, None).await.unwrap()).await;
    let body = json!({"email": "ann@example.com", "password": PASSWORD});
    let locked = ask(&gateway, None, "POST", "/auth/login", body).await;
    assert_eq!(refusal(&locked), plain(423, "ACCOUNT_LOCKED"));
    let lines = [elsewhere(), format!("Authorization: AgentBearer {}", "a".repeat(64))];
    let answer = exchange(gateway.public(), request("GET", "/api/v1/auth/me", &lines, "")).await.unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    let body = json!({"email": "eve@example.com", "password": PASSWORD}).to_string();
    gateway.account("eve", |_| {}).await;
    let answer =
        exchange(gateway.public(), request("POST", "/api/v1/auth/login", &lines, &body)).await.unwrap();
    assert_eq!(answer.status, 403, "an agent logs nobody in: {}", answer.text());
}
