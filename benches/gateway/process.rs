//! A measured child process, asked for its CPU time and memory.
//! Law: it is killed when dropped, so a failed benchmark leaves nothing running.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const GATEWAY: &str = env!("CARGO_BIN_EXE_portcullis");
const TASKSET: &str = "taskset";

pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// Starts this binary in another role.
    pub fn role(arguments: &[&str]) -> Self {
        Self::start(Command::new(this()).args(arguments))
    }

    /// Starts the gateway as it is shipped.
    pub fn gateway(config: &Path) -> Self {
        Self::start(Command::new(GATEWAY).arg("--config").arg(config).arg("run"))
    }

    /// The same on these cores only, so that it starts a thread for each of them.
    pub fn role_on(cores: &str, arguments: &[&str]) -> Self {
        Self::start(on(cores).arg(this()).args(arguments))
    }

    pub fn gateway_on(cores: &str, config: &Path) -> Self {
        Self::start(on(cores).arg(GATEWAY).arg("--config").arg(config).arg("run"))
    }

    /// Waits for the line `ready … ADDRESS`. The access log is written, and thrown away.
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the process starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let address = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| address_in(line.strip_prefix("ready ")?))
            .expect("the child says where it listens");
        // What it prints from now on (an access log, say) must not fill the pipe and block it, and nobody
        // looks at it: the kernel moves it.
        let mut nowhere = File::create("/dev/null").expect("the system has a null device");
        std::thread::spawn(move || std::io::copy(&mut output.into_inner(), &mut nowhere));
        Self { child, address }
    }

    /// CPU time of all its threads so far, from the scheduler's nanosecond counters.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(self.file("task")).expect("the child lives");
        let nanos = tasks.flatten().map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory now, in KiB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The largest resident memory so far, in KiB.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(self.file("status")).expect("the child lives");
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }
}

fn this() -> PathBuf {
    std::env::current_exe().expect("this binary has a path")
}

fn on(cores: &str) -> Command {
    let mut command = Command::new(TASKSET);
    command.args(["--cpu-list", cores]);
    command
}

/// Keeps this process on these cores; whether it was done, for `taskset` (util-linux) is not everywhere.
pub fn pin_this(cores: &str) -> bool {
    let id = std::process::id().to_string();
    let told = Command::new(TASKSET)
        .args(["--all-tasks", "--cpu-list", "--pid", cores, &id])
        .stdout(Stdio::null())
        .status();
    told.is_ok_and(|status| status.success())
}

/// `127.0.0.1:1` or `public=127.0.0.1:1 admin=…`.
fn address_in(text: &str) -> Option<SocketAddr> {
    let first = text.split_whitespace().next()?;
    first.strip_prefix("public=").unwrap_or(first).parse().ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
