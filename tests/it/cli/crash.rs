//! A process that is killed, or may open no more files (security bar 2.E 64, 2.P 186).
//!
//! Law: what was answered is there after the crash, what was not can be asked again; and a gateway
//! out of file descriptors waits for better times without burning the processor.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::Place;
use super::gateway::Gateway;
use crate::support::people::request;
use crate::support::raw::{Answer, get};
use crate::support::replica::{Place as Shared, in_time, redis_url, until};
use crate::support::{Client, exchange, times};

const OPEN: &str = "preset: development
listen: { public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }
applications: { required: nowhere }
tokens: { rotation: true }
upstreams: { up: { servers: ['127.0.0.1:9'] } }
routes: [ { name: mine, match: { path: /mine }, upstream: up, allow: signed_in } ]
";

async fn post(gateway: &Gateway, path: &str, number: usize, body: &Value) -> Option<Answer> {
    let line = format!("X-Forwarded-For: 10.1.{}.{}", number / 250, number % 250 + 1);
    let text = request("POST", &format!("/api/v1/auth{path}"), &[line], &body.to_string());
    let mut client = Client::connect(gateway.public).await;
    client.send(text).await;
    client.answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_a_crash_interrupted_can_be_repeated() {
    let shared = Shared::new().await;
    let yaml = format!("{}{OPEN}", shared.yaml(&shared.store.address(), &redis_url()));
    refresh_and_crash(&yaml, times(6, 200)).await;
}

/// In memory whoever starts after a crash first waits until the dead one's lease ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_its_own_is_back_soon_enough_for_a_refresh_to_be_repeated() {
    refresh_and_crash(OPEN, 2).await;
}

async fn refresh_and_crash(yaml: &str, rounds: usize) {
    let place = Place::with(yaml);
    let mut gateway = Gateway::start(&place);
    let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x", "login": true});
    let registered = post(&gateway, "/register/", 0, &ada).await.unwrap();
    let mut token = registered.json()["refresh_token"].as_str().expect("a token").to_owned();
    let first = token.clone();
    for round in 0..rounds {
        let body = json!({"refresh_token": token});
        let asking = post(&gateway, "/refresh/", round * 2 + 1, &body);
        let killing = async {
            // From before the request arrives until after it is answered.
            tokio::time::sleep(Duration::from_millis(u64::try_from(round * 5 % 12).unwrap())).await;
            gateway.signal("KILL");
        };
        futures::join!(asking, killing);
        drop(gateway);
        gateway = Gateway::start(&place);
        let again = post(&gateway, "/refresh/", round * 2 + 2, &body).await.expect("an answer");
        assert_eq!(again.status, 200, "round {round}: {}", again.text());
        again.json()["refresh_token"].as_str().expect("a token").clone_into(&mut token);
    }
    let stolen = post(&gateway, "/refresh/", 60_000, &json!({"refresh_token": first})).await.unwrap();
    assert_eq!(stolen.status, 401, "what was used before the crash is known to be used");
    let last = post(&gateway, "/refresh/", 60_001, &json!({"refresh_token": token})).await.unwrap();
    assert_eq!(last.status, 401, "and its reuse ends the family");
}

/// Processor time of a process so far, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<_> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_out_of_file_descriptors_waits_and_comes_back() {
    let place = Place::with(OPEN);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("ulimit -n 120; exec \"$0\" run").arg(env!("CARGO_BIN_EXE_portcullis"));
    shell.stderr(Stdio::null()).process_group(0);
    let gateway = Gateway::start_as(&place, shell);
    let mut held = Vec::new();
    for _ in 0..300 {
        held.extend(TcpStream::connect_timeout(&gateway.public, Duration::from_secs(1)).ok());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = ticks(gateway.pid());
    let alive = in_time(Duration::from_secs(1), exchange(gateway.admin, get("/livez", &[]))).await;
    let alive = alive.expect("in time").expect("an answer");
    assert_eq!(alive.status, 200, "whoever holds connections kills no gateway that lives");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let burnt = ticks(gateway.pid()) - before;
    assert!(burnt < 40, "{burnt} ticks in a second of waiting");
    drop(held);
    let served = async || {
        let asked = exchange(gateway.public, get("/api/v1/health/", &[]));
        matches!(tokio::time::timeout(Duration::from_secs(5), asked).await, Ok(Some(answer)) if answer.status == 200)
    };
    until(Duration::from_secs(3), "served again", served).await;
    let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x"});
    assert_eq!(post(&gateway, "/register/", 1, &ada).await.unwrap().status, 201, "and the store works");
}
