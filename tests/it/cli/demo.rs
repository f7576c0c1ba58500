//! `demo`: the printed calls, pasted into a POSIX shell as they stand, do what is said about them.
//! What the demo made is gone when it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;

use super::Place;
use super::gateway::Gateway;
use crate::support::times;

/// What each answer is, in order: its status, and something that stands in it.
const TOLD: [(u16, &str); 34] = [
    (201, "you@example.com"),
    (200, "\"x-user-email\": \"ada@example.com\""),
    (403, "\"missing\":[\"delete:reports\"]"),
    (401, "AUTH_REQUIRED"),
    (200, "\"x-org-slug\": \"acme-corp\""),
    // An agent borrows rights.
    (201, "\"agent_id\":\"finance-agent-v2\""),
    (200, "x-budget-remaining: 4.990000"),
    (403, "\"failed\":\"agent_scope\""),
    (403, "AGENT_NOT_ALLOWED"),
    (403, "\"failed\":\"human_permission\""),
    // A human must agree.
    (200, "\"amount\": 5"),
    (202, "pending_confirmation"),
    (200, "\"payload\":{\"amount\":120}"),
    (200, "confirmed"),
    (200, "\"amount\": 120"),
    (409, "APPROVAL_USED"),
    // On the page.
    (202, "pending_confirmation"),
    (303, "/portcullis/approvals/"),
    (303, ""),
    (200, "\"amount\": 300"),
    // What it must say, and what it may spend.
    (200, ""),
    (200, ""),
    (403, "\"status\":\"suspended\""),
    (403, "AGENT_TOKEN_STATUS_SUSPENDED"),
    (200, "\"active\""),
    (200, "\"x-agent-id\": \"finance-agent-v2\""),
    (403, "AGENT_TOKEN_SUSPENDED"),
    // Stop it.
    (200, "\"active\""),
    (200, "suspended"),
    (403, "AGENT_TOKEN_STATUS_SUSPENDED"),
    (200, "\"active\""),
    (200, "\"x-prompt-trace-id\": \"trace_7f3a2b9c\""),
    (200, ""),
    (403, "AGENT_TOKEN_STATUS_REVOKED"),
];

/// What stands in the answers after the story.
const AFTER: [(u16, &str); 2] = [(200, "Logged out"), (401, "TOKEN_INVALID")];

/// A demo that runs until it is told to end.
struct Demo {
    process: Child,
    told: Vec<String>,
}

impl Demo {
    fn start(place: &Place) -> Self {
        Self::start_logging_to(place, Stdio::null())
    }

    /// The same with its log somewhere else than nowhere.
    fn start_logging_to(place: &Place, log: Stdio) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["demo", "--public", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env_clear()
            .env("TMPDIR", place.path())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the demo starts");
        let out = BufReader::new(process.stdout.take().expect("a pipe"));
        let lines = out.lines().map(|line| line.expect("text"));
        let told = lines.take_while(|line| line != "A line per request follows.").collect();
        Self { process, told }
    }

    /// From the first comment on.
    fn script(&self) -> &[String] {
        let begin = self.told.iter().position(|line| line.starts_with("# ")).expect("calls are printed");
        &self.told[begin..]
    }
}

/// Each status that was shown, and what was shown before it.
fn answers(said: &str) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    let mut text = String::new();
    for line in said.lines() {
        let status = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
        match status.and_then(|status| status.parse().ok()) {
            Some(status) => answers.push((status, std::mem::take(&mut text))),
            None => text.extend([line, "\n"]),
        }
    }
    answers
}

#[test]
fn the_printed_calls_work_when_they_are_pasted() {
    let place = Place::empty();
    let mut demo = Demo::start(&place);
    let script = demo.script().join("\n");
    let done = Command::new("sh").args(["-eu", "-c", &script]).output().expect("sh runs");
    let (said, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{script}\n{said}\n{err}");
    let answers = answers(&said);
    let expected: Vec<_> = TOLD.iter().chain(&AFTER).collect();
    for (at, ((status, part), (answered, text))) in expected.iter().copied().zip(&answers).enumerate() {
        assert!(answered == status && text.contains(part), "{at}: {status} {part}, not {answered} {text}");
    }
    assert_eq!(answers.len(), expected.len(), "{said}\n{err}");
    for part in ["Turnover by region", "agent scope", "agent_action"] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    let stopped = Command::new("kill").arg(demo.process.id().to_string()).status().expect("kill runs");
    assert!(stopped.success() && demo.process.wait().expect("the demo ends").success());
    assert_eq!(std::fs::read_dir(place.path()).expect("the folder").count(), 0, "the demo left something");
    for line in demo.script().iter().filter(|line| line.starts_with('#')) {
        // A shell that knows no comments (zsh, at its prompt) only says so.
        assert!(line.chars().all(|c| c.is_ascii_alphanumeric() || "#-:,. ".contains(c)), "{line}");
    }
}

#[test]
fn the_mail_in_the_log_of_the_demo_leads_to_the_page_of_what_waits() {
    let (place, logs) = (Place::empty(), Place::empty());
    let log = std::fs::File::create(logs.path().join("log")).expect("a file");
    let mut demo = Demo::start_logging_to(&place, log.into());
    let script = demo.script();
    let asked = script.iter().position(|line| line == "echo \"$PAGE\"").expect("a payment waits");
    let run = |script: &str| {
        let done = Command::new("sh").args(["-eu", "-c", script]).output().expect("sh runs");
        assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let said = run(&script[..=asked].join("\n"));
    let page = said.lines().last().expect("its address");
    let start = Instant::now();
    let link = Regex::new("http://[0-9.:]+/portcullis/approvals/[0-9a-z-]+/").expect("a pattern");
    let (letter, link) = loop {
        let log = std::fs::read_to_string(logs.path().join("log")).expect("the log");
        if let Some(last) = link.find_iter(&log).map(|found| found.as_str().to_owned()).last()
            && last == page
        {
            break (log, last);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no mail leads to {page}: {log}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for part in ["ada@example.com", "finance-agent-v2", "An agent asks for your approval"] {
        assert!(letter.contains(part), "no {part} in {letter}");
    }
    let printed = |begin: &str| script.iter().find(|line| line.starts_with(begin)).expect("a line");
    let (gateway, login) = (printed("GW="), printed("curl -sS -c"));
    let opened = run(&format!(
        "{gateway}\ncurl -sS -o /dev/null -w '%{{http_code}} %{{redirect_url}}\\n' '{link}'\n\
         JAR=$(mktemp)\n{login}\ncurl -sS -b \"$JAR\" '{link}'\nrm \"$JAR\""
    ));
    drop(demo.process.kill());
    drop(demo.process.wait());
    let first = opened.lines().next().unwrap_or_default();
    assert!(first.starts_with("303 ") && first.contains("/portcullis/login/?next="), "{first}");
    for part in ["finance-agent-v2", "{&quot;amount&quot;:300}", "approve/", "deny/", "stop/"] {
        assert!(opened.contains(part), "no {part} in {opened}");
    }
}

#[test]
fn the_seeds_delegation_works_in_the_demo_as_it_is_written() {
    let place = Place::empty();
    let mut demo = Demo::start(&place);
    let script = demo.script();
    let logged_in = script.iter().position(|line| line.starts_with("ACCESS=")).expect("somebody logs in");
    let mut script = script[..=logged_in].join("\n");
    script.extend(["\nMINTED=$(human $API/ai/tokens/ -d '", crate::agent_seed::DELEGATION, "')\n"]);
    script.push_str("echo \"$MINTED\"; AGENT=$(echo \"$MINTED\" | field token)\n");
    script.push_str("agent $GW/reports; agent $GW/invoices/7/pay -d '{\"amount\":5}'\n");
    let done = Command::new("sh").args(["-eu", "-c", &script]).output().expect("sh runs");
    drop(demo.process.kill());
    drop(demo.process.wait());
    let said = String::from_utf8_lossy(&done.stdout);
    let [.., (minted, token), (read, report), (paid, payment)] = &answers(&said)[..] else {
        panic!("{said}\n{}", String::from_utf8_lossy(&done.stderr))
    };
    assert_eq!((*minted, *read, *paid), (201, 200, 200), "{said}");
    assert!(token.contains("\"status\":\"ACTIVE\""), "{token}");
    for answer in [report, payment] {
        assert!(answer.contains("\"x-org-slug\": \"acme-corp\""), "{answer}");
    }
}

/// How long a start of the demo takes until its first decision.
fn first_decision() -> Duration {
    let (place, start) = (Place::empty(), Instant::now());
    let mut demo = Demo::start(&place);
    let gateway = demo.script().iter().find_map(|line| line.strip_prefix("GW=http://"));
    let gateway = gateway.expect("an address").parse().expect("an address");
    let (status, body) = Gateway::get(gateway, "/reports");
    let lasted = start.elapsed();
    drop(demo.process.kill());
    drop(demo.process.wait());
    assert!(status == 401 && body.contains("AUTH_REQUIRED"), "{status} {body}");
    lasted
}

#[test]
fn the_first_request_is_decided_seconds_after_the_start() {
    // Two seconds are meant; a machine that tests many things at once may add to them.
    let within = Duration::from_secs(times(10, 2) as u64);
    let all = [(); 3].map(|()| first_decision());
    println!("from the start of the demo to its first decision: {all:?}");
    assert!(all.iter().min() < Some(&within), "{all:?}");
}

#[test]
fn the_command_line_finds_a_demo_on_whatever_port_it_got() {
    let place = Place::empty();
    let mut demo = Demo::start(&place);
    let operator = demo.told.iter().find(|line| line.starts_with("operator()")).expect("a function");
    let call = "approvals approve 5 --yes --email nobody@example.com --password-stdin";
    let script = format!("{operator}\noperator doctor\necho wrong | operator {call}");
    let done = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    let (said, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let gateway = demo.told.iter().find_map(|line| line.trim().strip_prefix("gateway")).expect("an address");
    let address = gateway.trim().trim_start_matches("http://");
    assert!(said.contains(&format!("port: {address}")), "the doctor looked elsewhere: {said}");
    assert!(err.contains("(401 APP_AUTH_REQUIRED)") || err.contains("(401 LOGIN_FAILED)"), "{err}");
    let stopped = Command::new("kill").arg(demo.process.id().to_string()).status().expect("kill runs");
    assert!(stopped.success() && demo.process.wait().expect("the demo ends").success());
}

#[test]
fn the_demo_stays_on_this_machine() {
    let outcome = Place::empty().run("demo --public 0.0.0.0:0");
    assert_eq!(outcome.code, 2, "{outcome:?}");
}

/// The commands in the blocks of a page that are for a shell. What a quote keeps open goes on in the next line.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    let mut commands: Vec<String> = Vec::new();
    for line in blocks.flat_map(str::lines).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match commands.last_mut() {
            Some(open) if open.matches('\'').count() % 2 == 1 => open.push_str(line.trim_start()),
            _ => commands.push(line.to_owned()),
        }
    }
    commands
}

/// Whether a line is what the page shows, where `…` stands for anything.
fn is_shown(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || is_open && shown.ends_with('…')
}

#[test]
fn the_readme_shows_calls_that_the_demo_prints() {
    let place = Place::empty();
    let mut demo = Demo::start(&place);
    let commands = commands(include_str!("../../../README.md"));
    assert!(commands.len() >= 10, "they were found: {commands:?}");
    let mut script = demo.script().iter();
    for command in &commands {
        // In the same order.
        assert!(
            script.any(|line| is_shown(line, command)),
            "the demo does not print, or not there: {command}"
        );
    }
    let stopped = Command::new("kill").arg(demo.process.id().to_string()).status().expect("kill runs");
    assert!(stopped.success() && demo.process.wait().expect("the demo ends").success());
}

#[test]
fn a_line_is_shown_as_a_whole_but_for_what_is_left_out() {
    assert!(is_shown("log in -d 'secret'", "log in -d '…'") && is_shown("a b c", "a…") && is_shown("a", "a"));
    for (line, shown) in [("log in -d 'x' more", "log in -d '…'"), ("a b", "a"), ("x a", "a"), ("a", "a …")]
    {
        assert!(!is_shown(line, shown), "{line} is not {shown}");
    }
}
