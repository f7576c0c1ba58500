//! `migrate`, `backup` and `restore` on a SQLite store.
//! What is overwritten or lost would be lost for good, so each refusal is tested too.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::gateway::Gateway;
use super::reload::load;
use super::{GOOD, Place};
use crate::support::people::{PASSWORD, TRUSTING, elsewhere, request};
use crate::support::raw::Answer;
use crate::support::replica::until;
use crate::support::upstream::spawn;
use crate::support::{Upstream, exchange};

const STORE: &str = "data/portcullis.db";

#[test]
fn migrate_brings_the_store_up_to_date_and_says_so() {
    let place = Place::with(GOOD);
    assert!(place.run("migrate status").bad().contains("no store"));
    assert!(!place.path().join(STORE).exists(), "asking created the store");
    let told = place.run("migrate").good();
    assert!(told.starts_with("applied 0001_kernel") && told.ends_with("the store is up to date\n"), "{told}");
    assert_eq!(place.run("migrate").good(), "the store is up to date\n");
    assert_eq!(place.run("migrate status --json").json()["current"], true);
}

#[test]
fn a_store_is_never_made_in_silence_nor_in_a_folder_that_is_not_there() {
    let config = |store: &str| {
        let listen = "listen: { public: 127.0.0.1:0, admin: 127.0.0.1:0 }";
        format!("preset: development\n{listen}\nstore: 'sqlite://{store}'\n{GOOD}")
    };
    let place = Place::with(&config("nowhere/p.db"));
    for line in ["run", "user list", "migrate"] {
        let told = place.run(line).bad();
        assert!(told.contains("there is no folder") && told.contains("mend `store`"), "{line}: {told}");
    }
    assert!(!place.path().join("nowhere").exists(), "the folder was made");

    place.write("portcullis.yaml", &config("other.db"));
    let log = std::fs::File::create(place.path().join("log")).expect("a file");
    let mut gateway = Gateway::start_logging_to(&place, log.into());
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_secs(10)), Some(0));
    let log = std::fs::read_to_string(place.path().join("log")).expect("the log");
    assert!(log.contains("made a new store") && log.contains("other.db"), "{log}");

    place.write("portcullis.yaml", &config("third.db"));
    assert!(place.run("user list").err.contains("made a new store at"));
    assert!(!place.run("user list").err.contains("made a new store at"));
}

#[test]
fn a_backup_can_be_restored() {
    let place = Place::with(GOOD);
    place.run("migrate").good();
    place.run("backup copy.db").good();
    std::fs::write(place.path().join(STORE), "garbage").expect("the store can be damaged");
    let told = place.run("restore copy.db").good();
    assert!(told.contains("kept the old store as"), "{told}");
    assert_eq!(place.run("migrate status --json").json()["current"], true);
    let kept = std::fs::read_dir(place.path().join("data"))
        .expect("the directory")
        .any(|entry| entry.expect("an entry").file_name().to_string_lossy().contains(".before-"));
    assert!(kept, "the old store is gone");
}

#[test]
fn a_restored_store_is_its_owners_alone_whatever_mode_the_copy_has() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with(GOOD);
    place.run("migrate").good();
    place.run("backup copy.db").good();
    let copy = place.path().join("copy.db");
    std::fs::set_permissions(copy, std::fs::Permissions::from_mode(0o644)).expect("ours to change");
    place.run("restore copy.db").good();
    let mode = std::fs::metadata(place.path().join(STORE)).expect("the store").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_backup_overwrites_nothing() {
    let place = Place::with(GOOD);
    assert!(place.run("backup copy.db").bad().contains("no store"));
    place.run("migrate").good();
    place.write("copy.db", "precious");
    assert!(place.run("backup copy.db").bad().contains("exists"));
    assert_eq!(std::fs::read_to_string(place.path().join("copy.db")).expect("readable"), "precious");
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let place = Place::with(GOOD);
    place.run("migrate").good();
    let before = std::fs::read(place.path().join(STORE)).expect("readable");
    place.write("copy.db", "not a database, though long enough to be looked at for a moment or two");
    place.run("restore copy.db").bad();
    place.run("restore nowhere.db").bad();
    assert!(std::fs::read(place.path().join(STORE)).expect("readable") == before, "it was touched");
}

#[test]
fn a_store_in_use_is_not_replaced() {
    let place = Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}\n{GOOD}"
    ));
    let mut gateway = Gateway::start(&place);
    place.run("backup copy.db").good();
    assert!(place.run("restore copy.db").bad().contains("stop the gateway first"));
    assert_eq!(Gateway::get(gateway.admin, "/readyz").0, 200, "and it goes on");
    gateway.signal("KILL");
    assert_eq!(gateway.ends_within(Duration::from_secs(5)), None, "killed, not ended");
    place.run("restore copy.db").good();
    drop(Gateway::start(&place));
}

async fn log_in(address: SocketAddr, keys: &[String; 2], name: &str) -> Answer {
    let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD}).to_string();
    let lines = [&keys[..], &[elsewhere()]].concat();
    exchange(address, request("POST", "/api/v1/auth/login/email/", &lines, &body)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_a_backup_made_under_load_is_there_after_the_restore() {
    let upstream = Upstream::echo().await;
    let place = Place::with(&format!(
        "preset: development\n{TRUSTING}drain: {{ announce: 0s, grace: 1s }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: open, match: {{ path: /x }}, upstream: up, allow: anyone }}
",
        upstream.address
    ));
    let create = |name: &str| {
        let line = format!("user create {name}@example.com --verified --password-stdin");
        place.run_with(&line, PASSWORD).good();
    };
    create("ada");
    let made = place.run("app create web").json();
    let line = |name: &str, key: &str| format!("{name}: {}", made[key].as_str().expect("a key"));
    let keys = [line("X-Access-Key", "access_key"), line("X-Access-Secret", "access_secret")];
    let mut gateway = Gateway::start(&place);
    let mine = async |address: SocketAddr, answer: &Answer| {
        let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
        let text = request("GET", "/mine", &[format!("Authorization: Bearer {token}")], "");
        exchange(address, text).await.expect("an answer").status
    };
    let early = log_in(gateway.public, &keys, "ada").await;
    assert_eq!((early.status, mine(gateway.public, &early).await), (200, 200));

    let (stop, asking) = load(gateway.public);
    let (address, own) = (gateway.public, keys.clone());
    let logging_in = spawn(async move {
        for _ in 0..4 {
            assert_eq!(log_in(address, &own, "ada").await.status, 200, "while it is copied");
        }
    });
    for number in 0..3 {
        place.run(&format!("backup copy{number}.db")).good();
    }
    logging_in.await.expect("everybody got in");
    stop.store(true, Ordering::SeqCst);
    for one in asking {
        assert!(one.await.expect("every request was answered") > 0);
    }
    create("late");
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_secs(10)), Some(0));

    place.run("restore copy0.db").good();
    assert!(place.run("user show ada@example.com").good().contains("standing: good"));
    place.run("user show late@example.com").bad();
    let gateway = Gateway::start(&place);
    until(Duration::from_secs(5), "it serves", async || {
        log_in(gateway.public, &keys, "ada").await.status == 200
    })
    .await;
    assert_eq!(mine(gateway.public, &early).await, 200, "who was in before stays in: the keys are the same");
    assert_eq!(log_in(gateway.public, &keys, "late").await.status, 401, "who came after the copy is nobody");
}
