//! `demo`: the printed calls, pasted into a shell as they stand, do what is said about them.
//! What the demo made is gone when it ends.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::Place;

#[test]
fn the_printed_calls_work_when_they_are_pasted() {
    let place = Place::empty();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["demo", "--public", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env_clear()
        .env("TMPDIR", place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    let out = BufReader::new(demo.stdout.take().expect("a pipe"));
    let told: Vec<String> = out
        .lines()
        .map(|line| line.expect("text"))
        .take_while(|line| line != "A line per request follows.")
        .collect();
    let begin = told.iter().position(|line| line.starts_with("# ")).expect("calls are printed");
    let script = told[begin..].join("\n");

    let done = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().expect("bash runs");
    let (said, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{err}");
    let mut rest = said.as_ref();
    for part in [
        "you@example.com",
        "Turnover by region",
        "\"x-user-email\": \"ada@example.com\"",
        "\"missing\":[\"invoices.write\"]",
        "AUTH_REQUIRED",
        "\"x-org-slug\": \"acme\"",
        "\"x-agent-id\": \"report-bot\"",
        "\"failed\":\"agent_scope\"",
        "AGENT_NOT_ALLOWED",
        "suspended",
        "AGENT_TOKEN_STATUS_SUSPENDED",
        "\"active\"",
        "\"x-agent-id\": \"report-bot\"",
        "MAX_REQUESTS_TOTAL_EXCEEDED",
        "Logged out",
        "TOKEN_INVALID",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part} where it belongs in:\n{said}\n{err}"));
        rest = &rest[at + part.len()..];
    }

    let stopped = Command::new("kill").arg(demo.id().to_string()).status().expect("kill runs");
    assert!(stopped.success() && demo.wait().expect("the demo ends").success());
    assert_eq!(std::fs::read_dir(place.path()).expect("the folder").count(), 0, "the demo left something");
}

#[test]
fn the_demo_stays_on_this_machine() {
    let outcome = Place::empty().run("demo --public 0.0.0.0:0");
    assert_eq!(outcome.code, 2, "{outcome:?}");
}
