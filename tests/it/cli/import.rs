//! People who are brought along from elsewhere: with their passwords, once, and with a word about
//! whoever stays behind.

use serde_json::{Value, json};

use portcullis::store::Dialect;

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
