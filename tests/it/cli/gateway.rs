//! `run`, `keys` and `doctor`: how the gateway starts, takes signals and ends as a process, and what
//! is said about it from beside it. That it obeys commands is in `obeyed`.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{GOOD, Place};
use crate::agent_redis::Redis;
use crate::support::people::request;
use crate::support::raw::PATIENCE;
use crate::support::replica::Place as Shared;
use crate::support::tls::Pair;
use crate::support::{Upstream, exchange};
use portcullis::base::SystemRandom;
use portcullis::config;
use portcullis::crypto::digest::unbase64url;
use serde_json::{Value, json};

/// Good enough for every preset.
const PASSWORD: &str = "Ample-Margin-42-Kites";

/// A gateway in a process of its own; killed when dropped.
pub struct Gateway {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    pub fn start(place: &Place) -> Self {
        Self::start_logging_to(place, Stdio::null())
    }

    /// The same with its log somewhere else than nowhere.
    pub fn start_logging_to(place: &Place, log: Stdio) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        program.arg("run").env_clear().stderr(log);
        Self::start_as(place, program)
    }

    /// The same as a command that ends in the program.
    pub fn start_as(place: &Place, mut program: Command) -> Self {
        let mut child =
            program.current_dir(place.path()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("ready"), "{line:?}");
        let mut address = |name: &str| {
            let word = words.next().and_then(|word| word.strip_prefix(name)).expect("an address");
            word.parse().expect("an address")
        };
        Self { public: address("public="), admin: address("admin="), child }
    }

    /// The status and body of a GET.
    pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).expect("the gateway accepts");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The exit code, if the process ends in time. A pause counts as two at most, however long it was: a machine
    /// that lets nobody go on meanwhile takes none of the process's time.
    pub fn ends_within(&mut self, span: Duration) -> Option<i32> {
        let (pause, mut counted) = (Duration::from_millis(20), Duration::ZERO);
        while counted < span {
            let begun = Instant::now();
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                return status.code();
            }
            std::thread::sleep(pause);
            counted += begun.elapsed().min(2 * pause);
        }
        None
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn place() -> Place {
    Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}\n{GOOD}"
    ))
}

#[test]
fn a_gateway_says_when_it_serves_and_ends_on_sigterm() {
    let place = place();
    let mut gateway = Gateway::start(&place);
    assert_eq!(Gateway::get(gateway.admin, "/readyz").0, 200);
    assert_eq!(Gateway::get(gateway.public, "/nowhere").0, 404);
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_secs(10)), Some(0));
}

#[test]
fn a_second_signal_ends_a_drain_within_a_second() {
    let place = Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}\ndrain: {{ announce: 30s, grace: 30s }}\n{GOOD}"
    ));
    let log = std::fs::File::create(place.path().join("log")).expect("a file");
    let mut gateway = Gateway::start_logging_to(&place, log.into());
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_millis(700)), None, "it announces first");
    let (start, log) =
        (Instant::now(), || std::fs::read_to_string(place.path().join("log")).expect("the log"));
    while !log().contains("a second signal stops at once") {
        assert!(start.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(Gateway::get(gateway.admin, "/readyz").0, 503);
    assert_eq!(Gateway::get(gateway.public, "/nowhere").0, 404, "and still serves");
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_millis(1_300)), Some(0));
}

#[test]
fn a_bad_configuration_never_replaces_a_good_one() {
    let place = place();
    let gateway = Gateway::start(&place);
    let outcome = |wanted: &str| {
        let start = Instant::now();
        while !Gateway::get(gateway.admin, "/metrics").1.contains(wanted) {
            assert!(start.elapsed() < PATIENCE, "no {wanted}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let good = std::fs::read_to_string(place.path().join("portcullis.yaml")).expect("readable");
    place.write("portcullis.yaml", "routes: 3");
    gateway.signal("HUP");
    outcome("\nportcullis_config_last_reload_success 0\n");
    assert_eq!(Gateway::get(gateway.public, "/nowhere").0, 404);
    place.write("portcullis.yaml", &good);
    gateway.signal("HUP");
    outcome("\nportcullis_config_last_reload_success 1\n");
}

#[test]
fn a_gateway_that_cannot_start_says_why() {
    let place = Place::with(&format!("listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}\n{GOOD}"));
    let told = place.run("run").bad();
    assert!(told.contains("seal key data/seal.key cannot be read"), "{told}");
    assert!(told.contains("`portcullis init` makes one"), "{told}");
    place.write("portcullis.yaml", "routes: 3");
    assert!(place.run("run").bad().contains("problem"));
}

#[test]
fn keys_rotate_beside_a_running_gateway() {
    let place = place();
    let gateway = Gateway::start(&place);
    let before = place.run("keys list --json").json();
    assert_eq!(before.as_array().map(Vec::len), Some(2));
    let told = place.run("keys rotate --for access").good();
    let kid = told.split_whitespace().next().expect("a kid").to_owned();
    let listed = place.run("keys list --json").json();
    let states: Vec<_> = listed.as_array().into_iter().flatten().map(|key| key["state"].clone()).collect();
    assert_eq!(states.len(), 3);
    assert!(states.contains(&json!("coming")), "{listed}");
    assert!(place.run("keys list").good().contains(&kid));
    assert!(place.run("keys add --file nowhere.pem").bad().contains("nowhere.pem"));
    drop(gateway);
}

#[test]
fn a_key_that_is_brought_along_signs_what_the_gateway_hands_out_and_takes_back() {
    const PEM: &str = include_str!("../../../src/crypto/jwt/test_rsa.pem");
    let place = place();
    let yaml = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    let yaml = format!("{yaml}tokens: {{ algorithm: RS256 }}\napplications: {{ required: nowhere }}\n");
    std::fs::create_dir(place.path().join("data")).unwrap();
    config::make_seal_key(&place.path().join("data/seal.key"), &SystemRandom).expect("a seal key");
    place.write("portcullis.yaml", &yaml);
    place.write("rs256.pem", PEM);
    place.write("public.pem", &PEM.replace("PRIVATE", "PUBLIC"));
    assert_eq!(place.run("keys add --file public.pem").code, 1, "nothing signs with it");
    let told = place.run("keys add --file rs256.pem --for access").good();
    let kid = told.split_whitespace().next().expect("a kid").to_owned();
    let (private, is_shown) = (PEM.lines().nth(1).expect("a line"), |text: &str, of: &str| text.contains(of));
    assert!(!is_shown(&told, private), "the key is shown");
    let gateway = Gateway::start(&place);
    let call = |path: &str, line: &str, body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let length = body.len();
        let text = format!(
            "{method} /api/v1/auth{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{line}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(gateway.public).expect("the gateway accepts");
        std::io::Write::write_all(&mut stream, text.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x", "login": true}).to_string();
    let registered = call("/register/", "", &ada);
    let body = registered.split_once("\r\n\r\n").expect("a body").1;
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{registered}"));
    let token = body["access_token"].as_str().expect("a token").to_owned();
    let head = token.split('.').next().and_then(unbase64url).expect("a head");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    assert_eq!((&head["alg"], &head["kid"]), (&json!("RS256"), &json!(kid)));
    let known = call("/me/", &format!("Authorization: Bearer {token}\r\n"), "");
    assert!(known.starts_with("HTTP/1.1 200") && known.contains("ada@example.com"), "{known}");
    let at = token.rfind('.').expect("a signature") + 8;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
    let refused = call("/me/", &format!("Authorization: Bearer {forged}\r\n"), "");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let published = Gateway::get(gateway.public, "/.well-known/jwks.json").1;
    assert!(published.contains(&kid) && published.contains("\"RSA\""), "{published}");
    let stored = std::fs::read(place.path().join("data/portcullis.db")).unwrap_or_default();
    assert!(!stored.is_empty() && !is_shown(&String::from_utf8_lossy(&stored), private), "it is sealed");
}

#[test]
fn the_doctor_finds_what_is_wrong_and_changes_nothing() {
    let place = place();
    // A port on which nobody listens, whatever else runs on this machine.
    let config = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    place.write("portcullis.yaml", &config.replace("127.0.0.1:9000", "127.0.0.1:1"));
    let told = place.run("doctor");
    assert_eq!(told.code, 1);
    assert!(told.out.contains("BAD   seal key") && told.out.contains("BAD   store"), "{told:?}");
    assert!(!place.path().join("data").exists(), "looking made something");
    let fresh = Place::empty();
    fresh.run_with("init --email ada@example.com --password-stdin", "Ample-Margin-42-Kites").good();
    assert!(fresh.run("doctor").out.contains("good  signing keys: none yet"));
    drop(Gateway::start(&place));
    let told = place.run("doctor --json");
    assert_eq!(told.code, 0, "{told:?}");
    let findings = told.json();
    let of = |what: &str| -> Vec<Value> {
        let all = findings.as_array().into_iter().flatten();
        all.filter(|one| one["what"] == what).map(|one| one["verdict"].clone()).collect()
    };
    assert_eq!((of("store"), of("signing keys")), (vec![json!("good")], vec![json!("good")]));
    assert_eq!(of("upstream"), [json!("look")]);
    assert!(!told.out.contains("none is configured"), "this preset has a console");
    let config = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    place.write("portcullis.yaml", &format!("mail: null\n{config}"));
    let told = place.run("doctor");
    assert!(told.out.contains("look  mail: none is configured"), "nobody could be told anything: {told:?}");
}

#[test]
fn the_doctor_says_who_cannot_be_told_by_mail() {
    let place = place();
    drop(Gateway::start(&place));
    let config = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    let more = "mail: { via: smtp, host: 127.0.0.1, port: 1, tls: none, from: gw@example.com, timeout: 1s }
login: { social: { acme: { issuer: 'http://127.0.0.1:1', client_id: x, allow_private: true, timeout: 1s } } }
roles: [ { code: finance } ]
";
    let held = "
  - { name: pay, match: { path: /pay, methods: [POST] }, upstream: app, allow: { permission: users.view }, agents: { permission: users.view, hold: always, approvers: { any_of: [ { role: finance } ] } } }
";
    place.write("portcullis.yaml", &format!("{more}{}{held}", config.trim_end()));
    for (email, flag) in [("ada@example.com", " --verified"), ("eve@example.com", "")] {
        let created = format!("user create {email}{flag} --password-stdin");
        place.run_with(&created, PASSWORD).good();
        place.run(&format!("user grant {email} --role finance")).good();
    }
    let told = place.run("doctor");
    assert!(told.out.contains("look  mail: 1 of 2 people"), "{told:?}");
    assert!(told.out.contains("look  mail: no connection") && !told.out.contains("eve@"), "{told:?}");
    assert!(told.out.contains("look  provider: acme: no connection"), "{told:?}");
    place.run("user verify eve@example.com").good();
    assert!(!place.run("doctor").out.contains("people who delegate"));
}

#[test]
fn the_doctor_says_who_holds_what_nothing_defines_any_more() {
    let place = place();
    drop(Gateway::start(&place));
    let config = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    place.write("portcullis.yaml", &format!("roles: [ {{ code: finance }} ]\n{config}"));
    for email in ["ada@example.com", "eve@example.com"] {
        let created = format!("user create {email} --verified --password-stdin");
        place.run_with(&created, PASSWORD).good();
        place.run(&format!("user grant {email} --role finance")).good();
    }
    assert!(!place.run("doctor").out.contains("rights:"), "all of it is defined");
    place.write("portcullis.yaml", &config);
    let told = place.run("doctor");
    let line = "look  rights: 2 accounts hold role finance, which nothing defines any more";
    assert!(told.out.contains(line), "{told:?}");
    place.run("user revoke ada@example.com --role finance").good();
    place.run("user revoke eve@example.com --role finance").good();
    assert!(!place.run("doctor").out.contains("rights:"), "what is gone is no longer told");
}

/// The quick start, from an empty directory to a call that the backend sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_init_wrote_guards_a_backend_as_the_quick_start_says() {
    let (place, upstream) = (Place::empty(), Upstream::echo().await);
    let init = "init --email root@example.com --password-stdin --application web --upstream";
    let made = place.run_with(&format!("{init} {}", upstream.address), PASSWORD);
    assert_eq!(made.code, 0, "{made:?}");
    let keys = made.json();
    let header = |name: &str, key: &str| format!("{name}: {}", keys[key].as_str().expect("a key"));
    let keys = [header("X-Access-Key", "access_key"), header("X-Access-Secret", "access_secret")];
    // Its ports may be taken here.
    let written = std::fs::read_to_string(place.path().join("portcullis.yaml")).expect("the file");
    assert!(written.contains("127.0.0.1:8080") && written.contains("127.0.0.1:9090"), "{written}");
    place.write("portcullis.yaml", &written.replace(":8080", ":0").replace(":9090", ":0"));
    let gateway = Gateway::start(&place);
    place.run_with("user create ada@example.com --verified --password-stdin", PASSWORD).good();

    let send = async |method: &str, path: &str, lines: &[String], body: &str| {
        exchange(gateway.public, request(method, path, lines, body)).await.expect("an answer")
    };
    let log_in = async |email: &str| {
        let login = json!({"email": email, "password": PASSWORD}).to_string();
        let entered = send("POST", "/api/v1/auth/login/email/", &keys, &login).await;
        assert_eq!(entered.status, 200, "{}", entered.text());
        [format!("Authorization: Bearer {}", entered.json()["access_token"].as_str().expect("a token"))]
    };
    let nobody = send("GET", "/anything", &[], "").await;
    assert_eq!((nobody.status, nobody.code().as_str(), upstream.count()), (401, "AUTH_REQUIRED", 0));
    assert_eq!(send("GET", "/health", &[], "").await.status, 200);
    let ada = log_in("ada@example.com").await;
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(send(method, "/anything", &ada, "").await.status, 200, "{method}");
        let seen = upstream.last();
        assert_eq!(seen.line(), format!("{method} /anything HTTP/1.1"));
        assert_eq!(seen.header("x-user-email"), Some("ada@example.com"));
        assert!(seen.header("x-portcullis-assertion").is_some() && seen.header("authorization").is_none());
    }
    let (root, before) = (log_in("root@example.com").await, upstream.count());
    let refused = send("GET", "/anything", &root, "").await;
    assert_eq!(
        (refused.status, upstream.count()),
        (403, before),
        "without a second factor: {}",
        refused.text()
    );
}

#[tokio::test]
async fn the_doctor_and_every_start_say_where_redis_may_forget_what_was_counted() {
    let (place, shared, folder) = (place(), Shared::new().await, tempfile::tempdir().unwrap());
    let redis = Redis::start(folder.path(), None).await;
    let config = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    let places = shared.yaml(&shared.store.address(), &redis.url());
    place.write("portcullis.yaml", &format!("{places}{config}"));
    let log_of_a_start = || {
        let log = std::fs::File::create(place.path().join("log")).expect("a file");
        drop(Gateway::start_logging_to(&place, log.into()));
        std::fs::read_to_string(place.path().join("log")).expect("the log")
    };
    let told = place.run("doctor");
    assert!(told.out.contains("good  shared state: Redis answers"), "{told:?}");
    let log = log_of_a_start();
    assert!(!log.contains("maxmemory-policy"), "{log}");
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let told = place.run("doctor");
    assert!(told.out.contains("look  shared state:") && told.out.contains("allkeys-lru"), "{told:?}");
    let log = log_of_a_start();
    assert!(log.contains("set maxmemory-policy to noeviction") && log.contains("allkeys-lru"), "{log}");
}

#[test]
fn the_doctor_says_no_where_a_gateway_would_not_start() {
    let place = place();
    drop(Gateway::start(&place));
    let config = std::fs::read_to_string(place.path().join("portcullis.yaml")).unwrap();
    place.write("portcullis.yaml", &format!("{config}tokens: {{ algorithm: RS256 }}\n"));
    let told = place.run("doctor");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.out.contains("BAD   signing keys") && told.out.contains("portcullis keys add"), "{told:?}");

    let (one, other) = (Pair::for_name("gw.test"), Pair::for_name("gw.test"));
    one.write(place.path(), "one");
    other.write(place.path(), "other");
    let tls = "listen: { tls: { cert_file: one.crt, key_file: other.key },";
    place.write("portcullis.yaml", &config.replace("listen: {", tls));
    let told = place.run("doctor");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.out.contains("BAD   certificate: listen.tls"), "{told:?}");
}
