//! People who are brought along from elsewhere: with their passwords, once, and with a word about
//! whoever stays behind.

use serde_json::{Value, json};

use portcullis::base::Slug;
use portcullis::organization;
use portcullis::store::testing::TestStore;
use portcullis::store::{DEFAULT_SITE, Dialect, sql};

use super::gateway::Gateway;
use super::{GOOD, Outcome, Place};
use crate::support::exchange;
use crate::support::people::{elsewhere, request};
use crate::support::raw::Answer;
use crate::support::replica::Place as Shared;

/// Of `Correct7!horse`, as others keep it.
const DJANGO: &str = "pbkdf2_sha256$1000$seasalt$";
const BCRYPT: &str = "$2b$04$";

fn place() -> Place {
    Place::with(&format!("preset: development\n{GOOD}"))
}

fn shown(place: &Place, user: &str) -> Value {
    place.run(&format!("user show {user} --json")).json()
}

/// What was told, and how it ended.
fn told(outcome: &Outcome) -> (i32, Value) {
    (outcome.code, outcome.json())
}

/// A hash of Django's for this password.
fn django_hash(password: &str) -> String {
    use base64::Engine;
    let mut hash = [0; 32];
    let rounds = std::num::NonZeroU32::new(1000).unwrap();
    ring::pbkdf2::derive(
        ring::pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        b"seasalt",
        password.as_bytes(),
        &mut hash,
    );
    format!("{DJANGO}{}", base64::engine::general_purpose::STANDARD.encode(hash))
}

#[test]
fn a_dry_run_makes_no_store_and_changes_none() {
    let place = place();
    place.write("people.csv", "email\nada@example.com\n");
    let dry = place.run("import --from csv people.csv --dry-run --json").json();
    assert_eq!((&dry["dry_run"], &dry["imported"]), (&json!(true), &json!(1)));
    assert!(place.run("migrate status").bad().contains("there is no store"));
    place.run("import --from csv people.csv").good();
    let before = place.run("audit tail").good();
    let dry = place.run("import --from csv people.csv --dry-run --json").json();
    assert_eq!((&dry["imported"], &dry["already_here"]), (&json!(0), &json!(1)));
    assert_eq!(place.run("audit tail").good(), before);
}

#[test]
fn a_table_is_imported_once_and_what_stays_behind_is_told() {
    let place = place();
    let bcrypt = format!("{BCRYPT}{}", "a".repeat(53));
    let table = format!(
        "\u{feff}Email,phone,username,password_hash,first_name,is_active,is_superuser\r\n\
         Ada@Example.com,+33612345678,ada,{django},\"Ada, \"\"the first\"\"\",,true\n\
         bob@example.com,,,{bcrypt},Bob,no,\n\
         eve@example.com,,,md5$salt$abcdef,Eve,,\n\
         ,,nobody,,,,\n\
         not-an-address,,,,,,\n\
         ada@example.com,,,,,,\n\
         kim@example.com,,ada,,,,\n\
         lee@example.com,0612,,,,,\n\
         \n\r\n\
         max@example.com,,,,,perhaps,\n",
        django = django_hash("Correct7!horse"),
    );
    place.write("people.csv", &table);
    let expected = |dry: bool, taken: usize, here: usize| {
        let places: Vec<String> = (5..=9).chain([12]).map(|line| format!("line {line}")).collect();
        json!({"dry_run": dry, "imported": taken, "already_here": here, "not_read": [], "places": places})
    };
    let dry = place.run("import --from csv people.csv --dry-run --json");
    let of = |outcome: &Outcome| {
        let (code, mut told) = told(outcome);
        assert_eq!(code, 1, "somebody stays behind");
        let refused = told["not_imported"].as_array().unwrap().clone();
        let places: Vec<_> = refused.iter().map(|one| one["place"].clone()).collect();
        told.as_object_mut()
            .unwrap()
            .retain(|key, _| !["not_imported", "imported_without"].contains(&key.as_str()));
        told["places"] = json!(places);
        told
    };
    assert_eq!(of(&dry), expected(true, 3, 0));
    assert_eq!(place.run("user list --json").json(), json!([]), "nothing was written");

    let done = place.run("import --from csv people.csv --json");
    assert_eq!(of(&done), expected(false, 3, 0));
    let whys = done.json()["not_imported"].to_string();
    for why in [
        "nothing to log in with",
        "not an e-mail address",
        "stands at line 2 already",
        "not a phone number",
        "is_active",
    ] {
        assert!(whys.contains(why), "{why}: {whys}");
    }
    let without = done.json()["imported_without"].to_string();
    assert!(
        without.contains("line 4") && without.contains("a password") && without.contains("--with-rights")
    );
    assert!(!format!("{done:?}").contains("md5$") && !format!("{done:?}").contains("seasalt"));
    let ada = shown(&place, "+33612345678");
    assert_eq!((&ada["superuser"], &ada["email_verified"]), (&json!(false), &json!(false)));
    assert_eq!(shown(&place, "bob@example.com")["standing"], "inactive");
    assert!(place.run("audit tail").good().contains("by=command_line"));

    let again = place.run("import --from csv people.csv --json");
    assert_eq!(of(&again), expected(false, 0, 3));
    assert_eq!(place.run("user list --json").json().as_array().map(Vec::len), Some(3));
}

#[test]
fn whoever_comes_from_django_keeps_the_password_and_rights_only_if_they_may() {
    let place = place();
    let person = |pk: u32, name: &str, more: Value| {
        let mut fields =
            json!({"username": name, "email": "", "password": "!unusable", "groups": [], "is_active": true});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"model": "auth.user", "pk": pk, "fields": fields})
    };
    let all = json!([
        {"model": "auth.group", "pk": 1, "fields": {"name": "editors"}},
        person(1, "ada", json!({"email": "ada@example.com", "password": django_hash("Correct7!horse"),
            "first_name": "Ada", "is_staff": true, "is_superuser": true, "groups": [1]})),
        person(2, "bob@example.com", json!({"is_active": false})),
        person(3, "kim", json!({})),
    ]);
    place.write("users.json", &all.to_string());
    let wrong = place.run("import --from django --model accounts.person users.json");
    assert!(wrong.bad().contains("auth.group, auth.user"));
    let done = place.run("import --from django --with-rights --verified users.json");
    assert_eq!(done.code, 1);
    for line in [
        "2 imported, 0 here already, 1 not",
        "user 3: not imported: nothing to log in with",
        "not read: 1 rows of other models",
        "not read: the groups of 1 people",
    ] {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
    assert!(!done.out.contains("without a password"), "who had none lacks none");
    let ada = shown(&place, "ada");
    assert_eq!((&ada["superuser"], &ada["email_verified"]), (&json!(true), &json!(true)));
    assert_eq!(shown(&place, "bob@example.com")["standing"], "inactive");
    let standard = place.run_with("import --from django - --json", &all.to_string());
    assert_eq!(
        (standard.json()["imported"].clone(), standard.json()["already_here"].clone()),
        (json!(0), json!(2))
    );
}

#[test]
fn a_file_that_is_something_else_is_refused_whole() {
    let place = place();
    place.write("a.csv", "email,pasword_hash\nada@example.com,x\n");
    assert!(place.run("import --from csv a.csv").bad().contains("pasword_hash"));
    place.write("b.csv", "first_name,last_name\nAda,L\n");
    assert!(place.run("import --from csv b.csv").bad().contains("`email` or `phone`"));
    place.write("c.csv", "email,email\na@example.com,b@example.com\n");
    assert!(place.run("import --from csv c.csv").bad().contains("two columns"));
    place.write("d.csv", "email,phone\nada@example.com\n");
    assert_eq!(place.run("import --from csv d.csv").code, 1, "a line is short");
    let hash = django_hash("Correct7!horse");
    place.write("f.csv", &format!("{hash},ada@example.com\n"));
    let told = place.run("import --from csv f.csv").bad();
    assert!(told.contains("first line must name the columns") && !told.contains("seasalt"), "{told}");
    place.write("e.json", "{}");
    assert!(place.run("import --from django e.json").bad().contains("dumpdata"));
    place.write("g.json", &format!("[{hash:?}]"));
    let told = place.run("import --from django g.json").bad();
    assert!(told.contains("dumpdata") && !told.contains("seasalt"), "{told}");
    assert!(place.run("import --from csv none.csv").bad().contains("cannot read none.csv"));
    assert_eq!(place.run("import a.csv").code, 2);
    assert_eq!(place.run("user list --json").json(), json!([]));
}

#[tokio::test]
async fn whoever_is_imported_logs_in_with_the_password_that_they_had_on_sqlite() {
    whoever_is_imported_logs_in(Dialect::Sqlite).await;
}

#[tokio::test]
async fn whoever_is_imported_logs_in_with_the_password_that_they_had_on_postgres() {
    whoever_is_imported_logs_in(Dialect::Postgres).await;
}

/// Beside a gateway that runs, and with a hash of its own kind afterwards.
async fn whoever_is_imported_logs_in(dialect: Dialect) {
    let shared = Shared::on(dialect).await;
    let place = Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }}\n{}{GOOD}",
        shared.yaml(&shared.store.address(), "memory")
    ));
    let gateway = Gateway::start(&place);
    let made = place.run("app create web").json();
    let line = |name: &str, key: &str| format!("{name}: {}", made[key].as_str().unwrap());
    let keys = [line("X-Access-Key", "access_key"), line("X-Access-Secret", "access_secret")];
    let bcrypt = bcrypt::hash("Correct7!horse", 4).unwrap();
    let django = django_hash("Correct7!horse");
    let long = format!("{DJANGO}{}{}", "s".repeat(500), &django[DJANGO.len() - 1..]);
    place.write(
        "people.csv",
        &format!(
            "email,password_hash,is_active\nada@example.com,{django},\nbob@example.com,{bcrypt},\n\
             kim@example.com,{bcrypt},no\nlee@example.com,{long},\n"
        ),
    );
    let done = place.run("import --from csv people.csv --verified --json");
    let without = &done.json()["imported_without"];
    assert_eq!((done.code, without[0]["place"].clone()), (0, json!("line 5")), "{done:?}");
    let log_in = async |name: &str, password: &str| -> Answer {
        let body = json!({"email": format!("{name}@example.com"), "password": password}).to_string();
        let lines = [&keys[..], &[elsewhere()]].concat();
        let text = request("POST", "/api/v1/auth/login/email/", &lines, &body);
        exchange(gateway.public, &text).await.expect("an answer")
    };
    for name in ["ada", "bob"] {
        assert_eq!(log_in(name, "Correct7!house").await.status, 401, "{name}");
        assert_eq!(log_in(name, "Correct7!horse").await.status, 200, "{name}");
        assert_eq!(log_in(name, "Correct7!horse").await.status, 200, "{name}, by the new hash");
    }
    for name in ["kim", "lee"] {
        assert_ne!(log_in(name, "Correct7!horse").await.status, 200, "{name}");
    }
    let events = place.run("audit tail").good();
    assert!(events.contains("rehashed") && events.contains("deactivated"), "{events}");
}

#[tokio::test]
async fn whoever_comes_from_tenxyte_keeps_password_rights_and_organizations_on_sqlite() {
    whoever_comes_from_tenxyte(Dialect::Sqlite).await;
}

#[tokio::test]
async fn whoever_comes_from_tenxyte_keeps_password_rights_and_organizations_on_postgres() {
    whoever_comes_from_tenxyte(Dialect::Postgres).await;
}

#[tokio::test]
async fn whoever_comes_from_tenxyte_keeps_password_rights_and_organizations_on_mysql() {
    whoever_comes_from_tenxyte(Dialect::MySql).await;
}

/// Its tables, as far as they are read.
const TENXYTE: [&str; 15] = [
    "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(191), phone_country_code VARCHAR(5), \
     phone_number VARCHAR(20), password VARCHAR(128) NOT NULL, first_name VARCHAR(100) NOT NULL, \
     last_name VARCHAR(100) NOT NULL, is_email_verified BOOLEAN NOT NULL, is_phone_verified BOOLEAN NOT NULL, \
     is_2fa_enabled BOOLEAN NOT NULL, is_active BOOLEAN NOT NULL, is_banned BOOLEAN NOT NULL, \
     is_deleted BOOLEAN NOT NULL, is_locked BOOLEAN NOT NULL, locked_until TIMESTAMP NULL, \
     is_staff BOOLEAN NOT NULL, is_superuser BOOLEAN NOT NULL, username VARCHAR(191), bio VARCHAR(500), \
     timezone VARCHAR(63), language VARCHAR(10), must_change_password BOOLEAN NOT NULL)",
    "CREATE TABLE roles (id BIGINT PRIMARY KEY, code VARCHAR(50) NOT NULL)",
    "CREATE TABLE permissions (id BIGINT PRIMARY KEY, code VARCHAR(100) NOT NULL)",
    "CREATE TABLE users_roles (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, role_id BIGINT NOT NULL)",
    "CREATE TABLE users_direct_permissions (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, \
     permission_id BIGINT NOT NULL)",
    "CREATE TABLE organizations (id BIGINT PRIMARY KEY, parent_id BIGINT, slug VARCHAR(200) NOT NULL, \
     name VARCHAR(200) NOT NULL, description TEXT NOT NULL, is_active BOOLEAN NOT NULL)",
    "CREATE TABLE organization_roles (id BIGINT PRIMARY KEY, code VARCHAR(50) NOT NULL)",
    "CREATE TABLE organization_memberships (id BIGINT PRIMARY KEY, organization_id BIGINT NOT NULL, \
     user_id BIGINT NOT NULL, role_id BIGINT NOT NULL, status VARCHAR(20) NOT NULL)",
    "INSERT INTO roles VALUES (1, 'editor'), (2, 'wizard')",
    "INSERT INTO permissions VALUES (1, 'users.view')",
    "INSERT INTO users_roles VALUES (1, 1, 1), (2, 2, 2)",
    "INSERT INTO users_direct_permissions VALUES (1, 6, 1)",
    "INSERT INTO organizations VALUES (1, NULL, 'acme', 'Acme', 'makes all', TRUE), \
     (2, 1, 'acme-paris', 'Acme Paris', '', TRUE), (3, NULL, 'ghosts', 'Ghosts', '', TRUE), \
     (4, 3, 'ghosts-below', 'Below', '', TRUE)",
    "INSERT INTO organization_roles VALUES (1, 'owner'), (2, 'member'), (3, 'sorcerer')",
    "INSERT INTO organization_memberships VALUES (1, 1, 1, 1, 'active'), (2, 1, 6, 2, 'active'), \
     (3, 1, 2, 2, 'pending'), (4, 2, 1, 1, 'active'), (5, 2, 4, 3, 'active'), (6, 3, 5, 1, 'active')",
];

/// A row of its users: number, address, name, and what is so of them.
fn tenxyte_user(number: i64, name: &str, words: &[&str], hash: &str) -> portcullis::store::Stmt {
    let is = |word: &str| words.contains(&word);
    let email = (!is("by_phone")).then(|| format!("{name}@example.com"));
    let (country, phone) = (is("by_phone").then_some("33"), is("by_phone").then_some("612345678"));
    sql("INSERT INTO users (id, email, phone_country_code, phone_number, password, first_name, last_name, \
         is_email_verified, is_phone_verified, is_2fa_enabled, is_active, is_banned, is_deleted, is_locked, \
         is_staff, is_superuser, username, bio, timezone, language, must_change_password) \
         VALUES (?, ?, ?, ?, ?, ?, 'Of Tenxyte', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'knits', 'Europe/Paris', 'fr', ?)")
    .bind(number)
    .bind(email)
    .bind(country)
    .bind(phone)
    .bind(hash)
    .bind(name)
    .bind(is("verified"))
    .bind(is("verified"))
    .bind(is("second_factor"))
    .bind(!is("inactive"))
    .bind(is("banned"))
    .bind(is("deleted"))
    .bind(is("locked"))
    .bind(is("staff"))
    .bind(is("superuser"))
    .bind((!is("by_phone")).then_some(name))
    .bind(is("must_change"))
}

async fn whoever_comes_from_tenxyte(dialect: Dialect) {
    let (old, shared) = (TestStore::bare(dialect).await, Shared::on(dialect).await);
    let digest = ring::digest::digest(&ring::digest::SHA256, b"Correct7!horse");
    let hex = portcullis::crypto::digest::hex(digest.as_ref());
    let hash = bcrypt::hash(hex, 4).unwrap();
    let mut tx = old.db().begin().await.unwrap();
    for text in TENXYTE {
        tx.execute(sql(text)).await.unwrap();
    }
    for (number, name, words) in [
        (1, "ada", &["verified", "second_factor", "superuser"][..]),
        (2, "bob", &["inactive"]),
        (3, "eve", &["banned", "superuser"]),
        (4, "kim", &["locked", "verified"]),
        (5, "lee", &["deleted"]),
        (6, "max", &["by_phone", "verified", "must_change"]),
    ] {
        tx.execute(tenxyte_user(number, name, words, &hash)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let place = Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }}\n{}{GOOD}",
        shared.yaml(&shared.store.address(), "memory")
    ));
    let address = old.address();
    let run = |flags: &str| place.run_with(&format!("import --from tenxyte - --json {flags}"), &address);
    let figures = |outcome: &Outcome| {
        let told = outcome.json();
        let count = |key: &str| told[key].as_i64();
        (outcome.code, count("imported"), count("already_here"), count("organizations"))
    };
    let dry = run("--dry-run --with-rights");
    assert_eq!(figures(&dry), (1, Some(5), Some(0), Some(2)), "{dry:?}");
    assert_eq!(place.run("user list --json").json(), json!([]), "nothing was written");
    let done = run("--with-rights");
    assert_eq!(figures(&done), (1, Some(5), Some(0), Some(2)), "{done:?}");
    assert_eq!(done.json()["not_imported"], dry.json()["not_imported"], "a dry run tells what comes");
    assert_eq!(done.json()["imported_without"], dry.json()["imported_without"]);
    assert!(!format!("{done:?}").contains("$2b$"));
    let (refused, without) =
        (done.json()["not_imported"].to_string(), done.json()["imported_without"].to_string());
    for why in ["user 5", "was erased there", "organization ghosts", "organization ghosts-below"] {
        assert!(refused.contains(why), "{why}: {refused}");
    }
    for what in [
        "a second factor",
        "the role wizard",
        "being superuser: they may not",
        "sorcerer",
        "1 members who were invited",
    ] {
        assert!(without.contains(what), "{what}: {without}");
    }
    let ada = shown(&place, "ada@example.com");
    assert_eq!(
        (&ada["superuser"], &ada["email_verified"], &ada["username"]),
        (&json!(true), &json!(true), &json!("ada"))
    );
    assert!(ada["roles"].to_string().contains("editor"), "{ada}");
    for (name, standing) in [("bob", "inactive"), ("eve", "banned"), ("kim", "locked")] {
        assert_eq!(shown(&place, &format!("{name}@example.com"))["standing"], standing);
    }
    assert_eq!(shown(&place, "eve@example.com")["superuser"], false);
    let max = shown(&place, "+33612345678");
    assert!(max["permissions"].to_string().contains("users.view") && max["phone_verified"] == true, "{max}");
    assert_eq!((&max["must_change_password"], &ada["must_change_password"]), (&json!(true), &json!(false)));
    let profile = place.run("user export ada@example.com").json()["user_info"].clone();
    assert_eq!(
        (&profile["bio"], &profile["timezone"], &profile["language"]),
        (&json!("knits"), &json!("Europe/Paris"), &json!("fr"))
    );
    let members = async |slug: &str| {
        let slug = Slug::parse(slug).unwrap();
        let db = shared.store.db();
        let found = organization::by_slug(db, DEFAULT_SITE, &slug).await.unwrap().expect("it came");
        let all = organization::members(db, found.id).await.unwrap();
        let mut roles: Vec<String> = all.iter().map(|own| own.role.to_string()).collect();
        roles.sort();
        (found.description, found.depth, roles)
    };
    let of = |text: &[&str]| text.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(members("acme").await, ("makes all".to_owned(), 0, of(&["member", "owner"])));
    assert_eq!(members("acme-paris").await, (String::new(), 1, of(&["owner"])));
    let again = run("--with-rights");
    assert_eq!(figures(&again), (1, Some(0), Some(5), Some(0)), "{again:?}");
    assert!(again.json()["not_imported"].to_string().contains("there is one of this slug here"));

    let gateway = Gateway::start(&place);
    let made = place.run("app create web").json();
    let line = |name: &str, key: &str| format!("{name}: {}", made[key].as_str().unwrap());
    let keys = [line("X-Access-Key", "access_key"), line("X-Access-Secret", "access_secret")];
    for (name, status) in [("ada", 200), ("bob", 401), ("eve", 401), ("kim", 423)] {
        let body = json!({"email": format!("{name}@example.com"), "password": "Correct7!horse"}).to_string();
        let lines = [&keys[..], &[elsewhere()]].concat();
        let text = request("POST", "/api/v1/auth/login/email/", &lines, &body);
        let answer = exchange(gateway.public, &text).await.expect("an answer");
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
}

#[test]
fn a_database_that_is_not_tenxytes_is_refused_and_not_made() {
    let place = place();
    let told = place.run("import --from tenxyte none.sqlite3").bad();
    assert!(told.contains("no database of Tenxyte"), "{told}");
    place.write("empty.sqlite3", "");
    assert!(place.run("import --from tenxyte empty.sqlite3").bad().contains("no database of Tenxyte"));
    assert!(place.run("import --from tenxyte oracle://db").bad().contains("postgres://"));
    assert!(!place.path().join("none.sqlite3").exists());
}
