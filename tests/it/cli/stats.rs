//! `portcullis stats`: what a gateway has counted is shown by the command beside it, and what none has is said.
//! Law: a process that is killed while it counts leaves nothing counted twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::{GOOD, Place};

fn place() -> Place {
    let listen = "listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0' }";
    Place::with(&format!("preset: development\n{listen}\n{GOOD}"))
}

fn create(place: &Place, name: &str) {
    place.run(&format!("user create {name}@example.com --no-password")).good();
}

fn seen(place: &Place) -> Value {
    let outcome = place.run("stats --days 3 --json");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    outcome.json()
}

/// The registrations of all days that are shown: midnight may pass meanwhile.
fn registered(seen: &Value) -> i64 {
    let days = seen["days"].as_array().unwrap();
    assert_eq!(days.len(), 3);
    days.iter().map(|day| day["registrations"].as_i64().unwrap()).sum()
}

fn until_counted(place: &Place) -> Value {
    let start = Instant::now();
    loop {
        let seen = seen(place);
        if seen["behind"] == 0 {
            return seen;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{seen}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_gateways_counted_is_shown_and_what_they_have_not_is_said() {
    let place = place();
    for name in ["ada", "bob", "eve"] {
        create(&place, name);
    }
    let before = seen(&place);
    assert_eq!((&before["counted_to"], registered(&before)), (&json!(0), 0), "nobody counts yet");
    assert_eq!((&before["accounts"]["total"], &before["live_sessions"]), (&json!(3), &json!(0)));
    assert!(before["behind"].as_i64().unwrap() >= 3);
    let told = place.run("stats").good();
    assert!(told.contains("audit entries are not counted yet"), "{told}");
    assert!(told.contains("3 accounts: 3 active"), "{told}");
    let mut gateway = Gateway::start(&place);
    assert_eq!(registered(&until_counted(&place)), 3);
    for round in 0..3 {
        create(&place, &format!("more{round}"));
        gateway.signal("KILL");
        gateway = Gateway::start(&place);
    }
    let counted = until_counted(&place);
    assert_eq!(registered(&counted), 6, "each once, whatever was killed");
    let told = place.run("stats --days 1").good();
    assert!(told.starts_with("DAY") && !told.contains("not counted"), "{told}");
    drop(gateway);
}

#[test]
fn wrong_usage_is_said() {
    let place = place();
    let told = place.run("stats").bad();
    assert!(told.contains("there is no store"), "{told}");
    create(&place, "ada");
    for line in ["stats --days 0", "stats --days 367", "stats --days x", "stats --weeks 1"] {
        assert_eq!(place.run(line).code, 2, "{line}");
    }
}
