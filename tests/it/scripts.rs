//! `scripts/need`, which makes sure of what building and testing need, where commands are missing.
//!
//! Law: nothing is installed without a yes, what is missing is listed by the names of its packages, and
//! what is there is left alone. The commands that it finds are stubs that write down how they were called.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A machine of which a test says which commands it has.
struct Machine(TempDir);

/// What became of a call.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    err: String,
    /// How the package manager was called, and by whom.
    installed: String,
}

impl Machine {
    /// With these commands, of somebody who is not root.
    fn with(commands: &[&str]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for real in ["bash", "dirname", "env", "uname"] {
            let mut found = ["/usr/bin", "/bin"].into_iter().map(|place| Path::new(place).join(real));
            let found = found.find(|path| path.exists()).expect("a common command");
            std::os::unix::fs::symlink(found, machine.0.path().join(real)).unwrap();
        }
        machine.stub("id", "echo 1000");
        machine.stub("sudo", "as=sudo exec \"$@\"");
        for command in commands {
            let does = if *command == "apt-get" { "echo \"${as:-alone} $*\" >>\"$log\"" } else { "exit 0" };
            machine.stub(command, does);
        }
        machine
    }

    fn stub(&self, name: &str, does: &str) {
        let path = self.0.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn need(&self, parts: &[&str], environment: &[(&str, &str)]) -> Told {
        let log = self.0.path().join("log");
        // Here nobody has installed anything beside it yet.
        let script = self.0.path().join("scripts").join("need");
        std::fs::create_dir_all(script.parent().unwrap()).unwrap();
        std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/need"), &script).unwrap();
        let mut program = Command::new("/bin/bash");
        program.arg(script).args(parts).env_clear().env("PATH", self.0.path()).env("log", &log);
        let done =
            program.envs(environment.iter().copied()).stdin(Stdio::null()).output().expect("bash runs");
        let installed = std::fs::read_to_string(log).unwrap_or_default();
        Told { code: done.status.code(), err: String::from_utf8_lossy(&done.stderr).into_owned(), installed }
    }
}

const ASKED: &str = "sudo update -q\nsudo install -q -y --no-install-recommends build-essential cmake lld\n";

#[test]
fn what_is_missing_is_listed_where_nobody_has_said_yes() {
    for commands in [&["cargo", "make"][..], &["cargo", "make", "apt-get"]] {
        let told = Machine::with(commands).need(&["build"], &[]);
        assert_eq!((told.code, told.installed.as_str()), (Some(1), ""), "{told:?}");
        assert!(
            told.err.contains("Missing: build-essential cmake lld (names of Debian packages)"),
            "{told:?}"
        );
    }
    let other = Machine::with(&["cargo", "make"]).need(&["build"], &[("YES", "1")]);
    assert_eq!((other.code, other.installed.as_str()), (Some(1), ""), "not Debian: {other:?}");
    assert!(other.err.contains("build-essential"), "{other:?}");
}

#[test]
fn what_is_missing_is_installed_after_a_yes() {
    for yes in [("YES", "1"), ("CI", "true")] {
        let told = Machine::with(&["cargo", "make", "apt-get"]).need(&["build"], &[yes]);
        assert_eq!((told.code, told.installed.as_str()), (Some(0), ASKED), "{told:?}");
    }
    let machine = Machine::with(&["cargo", "make", "apt-get"]);
    machine.stub("id", "echo 0");
    let told = machine.need(&["build"], &[]);
    assert_eq!((told.code, told.installed), (Some(0), ASKED.replace("sudo ", "alone ")), "{}", told.err);
    let tests = Machine::with(&["cargo", "make", "apt-get"]).need(&["test"], &[("YES", "1")]);
    assert!(tests.installed.contains(" redis-server") && tests.installed.contains(" chromium"), "{tests:?}");
}

#[test]
fn nothing_is_done_where_nothing_is_missing() {
    let all = ["cargo", "cc", "make", "cmake", "ld.lld", "apt-get"];
    let told = Machine::with(&all).need(&["build"], &[("YES", "1")]);
    assert_eq!((told.code, told.installed.as_str(), told.err.as_str()), (Some(0), "", ""));
}

#[test]
fn an_install_that_fails_is_no_success() {
    let machine = Machine::with(&["cargo", "make"]);
    machine.stub("apt-get", "exit 100");
    assert_eq!(machine.need(&["build"], &[("YES", "1")]).code, Some(100));
}

#[test]
fn a_wrong_word_and_a_machine_without_rust_are_told() {
    let wrong = Machine::with(&["cargo"]).need(&["everything"], &[]);
    assert!(wrong.code == Some(2) && wrong.err.contains("usage: scripts/need"), "{wrong:?}");
    let bare = Machine::with(&["make"]).need(&["build"], &[("YES", "1")]);
    assert!(bare.code == Some(1) && bare.err.contains("Missing: Rust"), "{bare:?}");
}

#[test]
fn what_calls_the_api_by_its_document_needs_an_environment_of_python() {
    let told = Machine::with(&["cargo"]).need(&["conformance"], &[("YES", "1")]);
    assert_eq!((told.code, told.installed.as_str()), (Some(1), ""), "not Debian: {told:?}");
    assert!(told.err.contains("Missing: python3-venv"), "{told:?}");
}
