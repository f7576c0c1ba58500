//! `portcullis audit verify`: what somebody did to the store behind the gateway's back is found and named.
//! Law: the first row that is wrong is named, by its number, and nothing else is.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::{self, Actor, Head, Noted, SignedHead, Stream, SystemEvent, Tombstone};
use portcullis::base::{Clock as _, SystemClock, SystemRandom, TestClock, Timestamp};
use portcullis::config::{self, Config};
use portcullis::crypto::seal::SealKey;
use portcullis::server;
use portcullis::store::{Db, Source as _, Stmt, sql};

use super::gateway::Gateway;
use super::{GOOD, Place};
use crate::support::replica::until;
use crate::support::times;

fn place() -> Place {
    let place = Place::empty();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (store, seal) = (path("store.db"), path("seal.key"));
    let text =
        format!("preset: development\nstore: 'sqlite://{store}'\nkeys: {{ seal_file: '{seal}' }}\n{GOOD}");
    place.write("portcullis.yaml", &text);
    for name in ["ada", "bob", "eve"] {
        place.run(&format!("user create {name}@example.com --no-password")).good();
    }
    place
}

fn config(place: &Place) -> Arc<Config> {
    config::load(&place.path().join("portcullis.yaml")).unwrap().config
}

/// Does something to the store that the gateway would not.
async fn tamper(place: &Place, all: impl IntoIterator<Item = Stmt>) {
    let db = Db::open(&config(place).store).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    for stmt in all {
        tx.execute(stmt).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// What the log of a gateway says now of the trail's end.
async fn signed(place: &Place) -> String {
    signed_of(place, Stream::Changes).await
}

async fn signed_of(place: &Place, stream: Stream) -> String {
    let config = config(place);
    let db = Db::open(&config.store).await.unwrap();
    let seal = SealKey::from_bytes(*config::seal_key(&config.keys.seal_file).unwrap().expose());
    SignedHead::of(&seal, &db, stream).await.unwrap().to_string()
}

fn wrong(place: &Place, line: &str) -> (i64, String) {
    let outcome = place.run(line);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let told = outcome.json();
    assert_eq!(told["whole"], false);
    (told["seq"].as_i64().unwrap(), told["finding"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_whole_trail_is_told_so_with_its_end() {
    let place = place();
    let told = place.run("audit verify").good();
    assert!(told.starts_with("the audit trail is whole up to entry "), "{told}");
    assert!(told.contains("nothing is in it of the data plane"), "{told}");
    let told = place.run("audit verify --json").json();
    assert!(told["whole"] == true && told["streams"]["changes"]["seq"].as_i64().unwrap() >= 3, "{told}");
    let head = signed(&place).await;
    place.run("user create zoe@example.com --no-password").good();
    place.run(&format!("audit verify --head {head}")).good();
    let forged = format!("{}0", &head[..head.len() - 1]);
    let other = if forged == head { format!("{}1", &head[..head.len() - 1]) } else { forged };
    assert!(place.run(&format!("audit verify --head {other}")).bad().contains("no head of an audit trail"));
}

#[tokio::test]
async fn the_first_row_that_was_changed_removed_or_swapped_is_named() {
    for (what, expected) in [
        (vec![sql("UPDATE audit SET code = 'logout' WHERE seq = 2")], (2, "changed")),
        (vec![sql("UPDATE audit SET happened_at = happened_at + 1 WHERE seq = 3")], (3, "changed")),
        (vec![sql("UPDATE audit_personal SET content = '{}' WHERE seq = 2")], (2, "personal_changed")),
        (vec![sql("DELETE FROM audit WHERE seq = 2")], (2, "missing")),
        (vec![sql("DELETE FROM audit WHERE seq = 1")], (1, "missing")),
        (vec![sql("DELETE FROM audit WHERE seq >= 3")], (3, "missing")),
        (
            vec![
                sql("UPDATE audit SET seq = 99 WHERE seq = 2"),
                sql("UPDATE audit SET seq = 2 WHERE seq = 3"),
                sql("UPDATE audit SET seq = 3 WHERE seq = 99"),
            ],
            (2, "unlinked"),
        ),
    ] {
        let place = place();
        tamper(&place, what).await;
        assert_eq!(wrong(&place, "audit verify --json"), (expected.0, expected.1.to_owned()));
        let told = place.run("audit verify");
        assert!(told.code == 1 && told.out.contains(&format!("audit row {}", expected.0)), "{told:?}");
    }
}

#[tokio::test]
async fn a_tail_that_was_cut_off_with_its_counter_is_found_by_what_the_log_says() {
    let place = place();
    let head = signed(&place).await;
    tamper(
        &place,
        [
            sql("DELETE FROM audit WHERE seq >= 3"),
            sql("DELETE FROM audit_personal WHERE seq >= 3"),
            sql("UPDATE change_counter SET last_seq = 2, last_hash = (SELECT hash FROM audit WHERE seq = 2) WHERE id = 1"),
        ],
    )
    .await;
    place.run("audit verify").good();
    assert_eq!(wrong(&place, &format!("audit verify --json --head {head}")), (3, "missing".to_owned()));
    for name in ["bob2", "eve2", "zoe2", "kim2"] {
        place.run(&format!("user create {name}@example.com --no-password")).good();
    }
    place.run("audit verify").good();
    assert_eq!(wrong(&place, &format!("audit verify --json --head {head}")).1, "rewritten");
}

/// Puts a tombstone, signed with this key, in the place of the first rows.
async fn bury(place: &Place, seal: &SealKey, to: i64, before: Timestamp) {
    let db = Db::open(&config(place).store).await.unwrap();
    let (hash,): (String,) = (&db).one(sql("SELECT hash FROM audit WHERE seq = ?").bind(to)).await.unwrap();
    let signed = Tombstone::new(seal, 1, Head { seq: to, hash: hash.clone() }, before).to_string();
    let event = SystemEvent::AuditPruned { from_seq: 1, to_seq: to, hash, before, signed };
    let noted = Noted { actor: Actor::system(), at: SystemClock.now(), event: event.into() };
    let mut tx = db.begin().await.unwrap();
    audit::append(&mut tx, Stream::Changes, &[noted], &SystemRandom).await.unwrap();
    tx.execute(sql("DELETE FROM audit_personal WHERE seq <= ?").bind(to)).await.unwrap();
    tx.execute(sql("DELETE FROM audit WHERE seq <= ?").bind(to)).await.unwrap();
    tx.commit().await.unwrap();
}

/// Whoever may write to the store can write a row that says what was pruned; it is the key that they lack.
#[tokio::test]
async fn a_beginning_that_somebody_removed_is_found_whatever_they_write_in_its_place() {
    let place = place();
    let stranger = SealKey::from_bytes([9; 32]);
    bury(&place, &stranger, 2, SystemClock.now()).await;
    assert_eq!(wrong(&place, "audit verify --json"), (1, "missing".to_owned()));
    assert!(place.run("audit prune").bad().contains("nothing was pruned"), "nor is it hidden by a prune");
}

/// Who has the key, too, is found by an older line of the log: it was not their time.
#[tokio::test]
async fn entries_that_were_buried_before_their_time_are_found_by_an_older_line_of_the_log() {
    let place = place();
    let old = signed(&place).await;
    place.run("user create zoe@example.com --no-password").good();
    let new = signed(&place).await;
    let log = format!(
        "10:00:00 INFO the audit trail ends here seq=3 signed={old}\n{{\"path\":\"/v1.a.b.c.d\"}}\n\
         {{\"message\":\"the audit trail ends here\",\"signed\":\"{new}\"}}\n"
    );
    place.write("gateway.log", &log);
    let path = place.path().join("gateway.log").display().to_string();
    let whole = place.run(&format!("audit verify --json --log {path}")).json();
    let changes = &whole["streams"]["changes"];
    assert_eq!((&changes["first"], &changes["tombstone"]), (&1.into(), &serde_json::Value::Null));
    let key = config::seal_key(&config(&place).keys.seal_file).unwrap();
    bury(&place, &SealKey::from_bytes(*key.expose()), 3, SystemClock.now()).await;
    // The newest line alone does not show it, and the command says who stands for what is gone.
    let newest = place.run(&format!("audit verify --head {new}")).good();
    assert!(newest.contains("entries up to 3 were pruned") && newest.contains("entry 5"), "{newest}");
    assert_eq!(wrong(&place, &format!("audit verify --json --log {path}")), (3, "missing".to_owned()));
    place.write("empty.log", "nothing of ours\n");
    let empty = place.path().join("empty.log").display().to_string();
    assert!(place.run(&format!("audit verify --log {empty}")).bad().contains("has no line"));
}

#[tokio::test]
async fn what_is_too_old_is_pruned_for_a_tombstone_that_verify_names() {
    let place = place_of_old();
    let old = signed(&place).await;
    place.run("user create ada@example.com --no-password").good();
    let told = place.run("audit prune --json").json();
    let changes = &told["streams"]["changes"];
    assert_eq!((&told["pruned"], &changes["from_seq"]), (&true.into(), &1.into()));
    assert_eq!((&changes["to_seq"], &changes["tombstone"]), (&2.into(), &4.into()));
    assert_eq!(told["streams"]["data_plane"], serde_json::Value::Null, "there is none of it");
    assert_eq!(
        place.run("audit prune").good(),
        "nothing in the audit trail is older than `audit.keep_for`\n"
    );
    let whole = place.run(&format!("audit verify --json --head {old}")).json();
    let changes = &whole["streams"]["changes"];
    assert_eq!((&changes["first"], &changes["tombstone"]["seq"]), (&3.into(), &4.into()));
    assert_eq!(
        (&changes["tombstone"]["to_seq"], &whole["pruned_heads"]),
        (&2.into(), &serde_json::json!([2]))
    );
    let text = place.run("audit verify").good();
    assert!(
        text.contains("entries up to 2 were pruned") && text.contains("entry 4 is their tombstone"),
        "{text}"
    );
    tamper(&place, [sql("DELETE FROM audit WHERE seq = 3")]).await;
    assert_eq!(wrong(&place, "audit verify --json"), (3, "missing".to_owned()));
}

/// Two entries that are a hundred days old.
fn place_of_old() -> Place {
    let place = Place::empty();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (store, seal) = (path("store.db"), path("seal.key"));
    let text =
        format!("preset: development\nstore: 'sqlite://{store}'\nkeys: {{ seal_file: '{seal}' }}\n{GOOD}");
    place.write("portcullis.yaml", &text);
    place.run("migrate").good();
    config::make_seal_key(&place.path().join("seal.key"), &SystemRandom).unwrap();
    let config = config(&place);
    let work = async move {
        let long_ago = SystemClock.now().minus(Duration::from_hours(24 * 100));
        let clock = Arc::new(TestClock::at(long_ago));
        let app = server::operate(&config, clock, Arc::new(SystemRandom)).await.unwrap();
        for number in 1..=2 {
            let mut change = app.change(Actor::system()).await.unwrap();
            let event = SystemEvent::ConfigReloaded { sha256: number.to_string() };
            change.record(event).await.unwrap();
            change.commit().await.unwrap();
        }
        assert_eq!(audit::head(&app.db, Stream::Changes).await.unwrap().seq, 2);
    };
    std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(work)).join().unwrap();
    place
}

#[tokio::test]
async fn an_export_is_a_file_for_its_owner_and_an_entry() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place();
    assert_eq!(place.run("audit export --format csv --out trail.csv").good(), "wrote trail.csv\n");
    let file = place.path().join("trail.csv");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let csv = std::fs::read_to_string(&file).unwrap();
    assert!(csv.starts_with("id,created_at,action,") && csv.matches("\r\n").count() == 4, "{csv}");
    assert!(place.run("audit export --format json --out trail.csv").bad().contains("trail.csv"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), csv, "nothing is written over");
    let json = place.run("audit export --format json --out - --code audit_exported").json();
    let [entry] = json.as_array().unwrap().as_slice() else { panic!("{json}") };
    assert_eq!((&entry["actor_kind"], &entry["id"]), (&"command_line".into(), &"4".into()));
    assert_eq!(entry["details"], serde_json::json!({"format": "csv", "filters": {}, "rows": 3}));
    place.run("audit export --format xlsx --out trail.xlsx --since 2001-01-01 --address 192.0.2.7").good();
    assert!(std::fs::read(place.path().join("trail.xlsx")).unwrap().starts_with(b"PK"));
    for line in ["--format pdf --out x", "--format csv", "--out x", "--format csv --out x --code ,"] {
        assert_eq!(place.run(&format!("audit export {line}")).code, 2, "{line}");
    }
    assert!(!place.path().join("x").exists());
    place.run("audit verify").good();
}

#[tokio::test]
async fn a_gateway_says_in_its_log_where_each_stream_ends_and_is_held_to_it() {
    let place = place();
    decide(&place, &["one", "two"]).await;
    let text = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    place.write(
        "portcullis.yaml",
        &format!("listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0' }}\n{text}"),
    );
    let path = place.path().join("log");
    let _gateway = Gateway::start_logging_to(&place, std::fs::File::create(&path).unwrap().into());
    let signed = |stream: Stream| -> Vec<String> {
        let log = std::fs::read_to_string(&path).unwrap();
        // What stands behind the last line end is not written to its own.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let of = format!("stream=\"{}\"", stream.name());
        let lines = whole.lines().filter(|line| line.contains(audit::HEAD_LINE) && line.contains(&of));
        lines.filter_map(|line| line.split_once("signed=")).map(|(_, head)| head.trim().to_owned()).collect()
    };
    // In the long run the next one, too, which is a minute away.
    let turns = times(1, 2);
    let limit = Duration::from_secs(if turns == 1 { 30 } else { 100 });
    for stream in Stream::ALL {
        until(limit, "the end is told", async || signed(stream).len() >= turns).await;
        for head in signed(stream) {
            let seq = head.split('.').nth(1).unwrap().parse().unwrap();
            assert_eq!(Stream::of(seq), stream, "{head}");
            place.run(&format!("audit verify --head {head}")).good();
        }
    }
    let log = path.display();
    place.run(&format!("audit verify --log {log}")).good();
    let floor = Stream::DataPlane.floor();
    tamper(
        &place,
        [
            sql("DELETE FROM audit WHERE seq = ?").bind(floor + 2),
            sql("UPDATE change_counter SET last_seq = ?, last_hash = (SELECT hash FROM audit WHERE seq = ?) WHERE id = 2")
                .bind(floor + 1)
                .bind(floor + 1),
        ],
    )
    .await;
    place.run("audit verify").good();
    let cut = wrong(&place, &format!("audit verify --json --log {log}"));
    assert_eq!(cut, (floor + 2, "missing".to_owned()), "the store alone does not show it");
}

/// Lets the data plane write down that requests passed on these routes.
async fn decide(place: &Place, routes: &[&str]) {
    let app = server::operate(&config(place), Arc::new(SystemClock), Arc::new(SystemRandom)).await.unwrap();
    for route in routes {
        let event = SystemEvent::RequestPassed { route: (*route).to_owned(), method: "GET".to_owned() };
        app.write_down(Actor::system(), event).await.unwrap();
    }
    app.db.close().await;
}

#[tokio::test]
async fn what_was_done_to_decisions_is_named_with_their_stream() {
    let place = place();
    decide(&place, &["one", "two", "three"]).await;
    let floor = Stream::DataPlane.floor();
    let whole = place.run("audit verify --json").json();
    assert_eq!(whole["streams"]["data_plane"]["seq"], floor + 3);
    assert!(place.run("audit verify").good().contains("that of the data plane is whole up to entry"));
    let heads = [signed_of(&place, Stream::Changes).await, signed_of(&place, Stream::DataPlane).await];
    place.run(&format!("audit verify --head {} --head {}", heads[0], heads[1])).good();
    tamper(
        &place,
        [
            sql("DELETE FROM audit WHERE seq = ?").bind(floor + 3),
            sql("UPDATE change_counter SET last_seq = ?, last_hash = (SELECT hash FROM audit WHERE seq = ?) WHERE id = 2")
                .bind(floor + 2)
                .bind(floor + 2),
        ],
    )
    .await;
    place.run("audit verify").good();
    place.run(&format!("audit verify --head {}", heads[0])).good();
    let cut = wrong(&place, &format!("audit verify --json --head {}", heads[1]));
    assert_eq!(cut, (floor + 3, "missing".to_owned()));
    tamper(&place, [sql("UPDATE audit SET code = 'logout' WHERE seq = ?").bind(floor + 2)]).await;
    let told = place.run("audit verify --json");
    assert_eq!((told.code, told.json()["stream"].clone()), (1, "data_plane".into()));
    let told = place.run("audit verify");
    let expected = format!("audit row {} of the data plane was changed", floor + 2);
    assert!(told.code == 1 && told.out.contains(&expected), "{told:?}");
    assert!(place.run("audit prune").bad().contains("nothing was pruned"));
}

#[tokio::test]
async fn each_stream_is_shown_and_exported_alone_or_both_by_time() {
    let place = place();
    decide(&place, &["one", "two"]).await;
    place.run("user create zoe@example.com --no-password").good();
    let codes = |line: &str| -> Vec<String> {
        let told = place.run(line).good();
        let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        told.lines().map(|line| row(line)["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes("audit tail --json --stream data_plane"), ["request_passed", "request_passed"]);
    assert_eq!(codes("audit tail --json --stream changes"), vec!["account_created"; 4]);
    let both = codes("audit tail --json -n 3");
    assert_eq!(both, ["request_passed", "request_passed", "account_created"], "the newest last");
    let json = place.run("audit export --format json --out - --stream data_plane").json();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert!(json.as_array().unwrap().iter().all(|one| one["stream"] == "data_plane"));
    assert_eq!(place.run("audit tail --stream traffic").code, 2);
}
