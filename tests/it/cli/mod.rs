//! The command line as a stranger or a script meets it: what it prints, and how it exits.
//! Each test runs the real binary in a directory of its own.

mod agent;
mod approved;
mod canary;
mod config;
mod crash;
mod crowd;
mod decide;
mod decisions;
mod demo;
mod explained;
mod gateway;
mod import;
mod keys;
mod killed;
mod obeyed;
mod owner;
mod people;
mod reload;
mod rights;
mod soak;
mod spent;
mod stats;
mod store;
mod supervisor;
mod trail;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A directory to run in.
pub struct Place(TempDir);

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub const GOOD: &str = "
upstreams: { app: { servers: [127.0.0.1:9000] } }
routes:
  - { name: open, match: { path: /open }, upstream: app, allow: anyone }
  - { name: reports, match: { path: '/reports/**', methods: [GET] }, upstream: app, allow: { permission: users.view } }
";

impl Place {
    pub fn empty() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    pub fn with(config: &str) -> Self {
        let place = Self::empty();
        place.write("portcullis.yaml", config);
        place
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("the file can be written");
    }

    /// Lets nobody but its owner read a file.
    pub fn close(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt;
        let closed = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path().join(name), closed).expect("the file's mode can be set");
    }

    /// Runs `portcullis` with the words of a line.
    pub fn run(&self, line: &str) -> Outcome {
        self.run_with(line, "")
    }

    /// The same with something on standard input.
    pub fn run_with(&self, line: &str, input: &str) -> Outcome {
        self.run_in(&[], line, input)
    }

    /// The same with these variables in the environment, and no others.
    pub fn run_in(&self, environment: &[(&str, &str)], line: &str, input: &str) -> Outcome {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(line.split_whitespace())
            .current_dir(self.path())
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // A command that does not read its input closes the pipe, which is no failure here.
        drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
        let done = child.wait_with_output().expect("the program ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Outcome { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
    }
}

impl Outcome {
    /// Standard output of a command that succeeded.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Standard error of a command that found a problem.
    #[track_caller]
    pub fn bad(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        self.err
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).expect("JSON on standard output")
    }
}

#[test]
fn every_command_and_every_flag_explains_itself() {
    fn walk(command: &clap::Command, path: &str) {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
        }
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            assert!(inner.get_about().is_some(), "{path} has no help");
            walk(inner, &path);
        }
    }
    let command = portcullis::cli::command();
    command.clone().debug_assert();
    walk(&command, "portcullis");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_type() {
    let place = Place::empty();
    let outcome = place.run("chekc");
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("check"), "{outcome:?}");
    assert_eq!(place.run("check --nonsense").code, 2);
    assert_eq!(place.run("").code, 2);
}

#[test]
fn the_version_is_told() {
    let told = Place::empty().run("--version").good();
    assert_eq!(told.trim(), format!("portcullis {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Place::empty().run(&format!("completions {shell}")).good();
        for command in ["check", "completions", "approvals"] {
            assert!(script.contains(command), "{shell} knows no {command}");
        }
    }
    assert_eq!(Place::empty().run("completions tcsh").code, 2);
}

#[test]
fn a_reader_who_leaves_early_ends_a_command_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("the program ends");
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
}
