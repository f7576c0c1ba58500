//! What a service manager is told by the gateway that it started (`sd_notify(3)`): datagrams to the
//! socket that the environment names, in the file system or, with an `@`, beside it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::gateway::Gateway;
use super::{GOOD, Place};

/// The socket of a service manager, and what is written into the environment for it.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
}

impl Supervisor {
    fn in_files(place: &Place) -> Self {
        let path = place.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self::with(socket, path.display().to_string())
    }

    fn beside_files() -> Self {
        let name = format!("portcullis-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        Self::with(UnixDatagram::bind_addr(&address).expect("a socket"), format!("@{name}"))
    }

    fn with(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        Self { socket, name }
    }

    /// The lines of the next message.
    fn told(&self) -> Vec<String> {
        let mut bytes = [0; 1024];
        let length = self.socket.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    fn is_told_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).expect("a mode");
        self.socket.recv(&mut [0; 1024]).is_err()
    }

    /// `portcullis run`, knowing its supervisor.
    fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        program.arg("run").env_clear().env("NOTIFY_SOCKET", &self.name).stderr(Stdio::null());
        program
    }
}

fn place() -> Place {
    Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}\n{GOOD}"
    ))
}

/// Through a whole life: what is told, and that it is true when it is told.
fn tells_its_life(place: &Place, supervisor: &Supervisor) {
    let mut gateway = Gateway::start_as(place, supervisor.program());
    assert_eq!(supervisor.told(), ["READY=1"]);
    assert_eq!(Gateway::get(gateway.admin, "/readyz").0, 200);
    assert_eq!(Gateway::get(gateway.public, "/nowhere").0, 404);

    place.write("portcullis.yaml", "routes: 3");
    gateway.signal("HUP");
    let reloading = supervisor.told();
    assert_eq!(reloading[0], "RELOADING=1");
    let at = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("when it began");
    assert!(at.parse::<u64>().is_ok_and(|at| at > 0), "{reloading:?}");
    assert_eq!(supervisor.told(), ["READY=1"], "it goes on with the old configuration");

    gateway.signal("TERM");
    assert_eq!(supervisor.told(), ["STOPPING=1"]);
    assert_eq!(gateway.ends_within(Duration::from_secs(10)), Some(0));
    assert!(supervisor.is_told_nothing());
}

#[test]
fn a_service_manager_is_told_what_is_true() {
    let place = place();
    tells_its_life(&place, &Supervisor::in_files(&place));
}

#[test]
fn a_service_manager_is_told_at_a_name_beside_the_file_system() {
    tells_its_life(&place(), &Supervisor::beside_files());
}

/// The value of a key in the unit that is shipped.
fn of_unit(key: &str) -> &'static str {
    const UNIT: &str = include_str!("../../../deploy/portcullis.service");
    let mut values = UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(values.next(), None, "{key} stands twice");
    value
}

/// What a command of the unit becomes where the program and its configuration are the test's.
fn by_unit(key: &str, place: &Place) -> Command {
    let config = place.path().join("portcullis.yaml").display().to_string();
    let line = of_unit(key).replace("/etc/portcullis/portcullis.yaml", &config);
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/portcullis"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    program.args(words).env_clear().stderr(Stdio::null());
    program
}

#[test]
fn what_the_shipped_unit_says_starts_a_gateway_that_tells_when_it_is_ready() {
    let place = place();
    assert_eq!((of_unit("Type"), of_unit("NotifyAccess")), ("notify", "main"));
    assert_eq!(of_unit("ExecReload"), "/bin/kill -HUP $MAINPID");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let checked =
        by_unit("ExecStartPre", &place).current_dir(elsewhere.path()).stdout(Stdio::null()).status();
    assert!(checked.expect("it runs").success());
    let supervisor = Supervisor::in_files(&place);
    let mut program = by_unit("ExecStart", &place);
    program.env("NOTIFY_SOCKET", &supervisor.name);
    let mut gateway = Gateway::start_as(&place, program);
    assert_eq!(supervisor.told(), ["READY=1"]);
    assert_eq!(Gateway::get(gateway.admin, "/readyz").0, 200);
    gateway.signal("HUP");
    assert_eq!(
        (supervisor.told()[0].as_str(), supervisor.told()),
        ("RELOADING=1", vec!["READY=1".to_owned()])
    );
    let patience = of_unit("TimeoutStopSec").strip_suffix('s').and_then(|text| text.parse().ok());
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_secs(patience.expect("seconds"))), Some(0));
    place.write("portcullis.yaml", "routes: 3");
    let checked = by_unit("ExecStartPre", &place).stdout(Stdio::null()).status().expect("it runs");
    assert!(!checked.success(), "a bad file is told before anything is stopped");
}

#[test]
fn a_gateway_that_does_not_serve_is_never_ready() {
    let place = place();
    let supervisor = Supervisor::in_files(&place);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    place.write(
        "portcullis.yaml",
        &format!("preset: development\nlisten: {{ public: {address}, admin: 127.0.0.1:0 }}\n{GOOD}"),
    );
    let ended = supervisor.program().current_dir(place.path()).stdout(Stdio::null()).status();
    assert_eq!(ended.expect("the program runs").code(), Some(1));
    assert!(supervisor.is_told_nothing());
}

#[test]
fn a_service_manager_that_is_gone_stops_nobody() {
    let place = place();
    let supervisor = Supervisor::in_files(&place);
    let program = supervisor.program();
    drop(supervisor);
    let mut gateway = Gateway::start_as(&place, program);
    assert_eq!(Gateway::get(gateway.admin, "/readyz").0, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_secs(10)), Some(0));
}
