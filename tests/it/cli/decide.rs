//! `approvals approve` and `deny`: a person decides on the command line, over the running gateway.
//! Law: nothing is decided by who may only read the store, and no secret goes out in the clear.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use portcullis::base::{Clock as _, SystemClock};
use portcullis::factor::Seed;
use serde_json::{Value, json};

use super::gateway::Gateway;
use super::{Outcome, Place};
use crate::support::people::request;
use crate::support::raw::{Answer, PATIENCE};
use crate::support::tls::Pair;
use crate::support::{Client, Upstream};

const PASSWORD: &str = "SecureP@ss1!x";

fn yaml(upstream: &Upstream, more: &str) -> String {
    format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0{more} }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes: [ {{ name: act, match: {{ path: '/act' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view, hold: always }} }} ]
",
        upstream.address
    )
}

/// A gateway with Ada and her agent, and an application whose keys the API asks for.
struct Scene {
    place: Place,
    gateway: Gateway,
    upstream: Upstream,
    keys: [String; 2],
    human: String,
    agent: String,
}

async fn send(gateway: &Gateway, path: &str, lines: &[String], body: &str) -> Answer {
    let mut client = Client::connect(gateway.public).await;
    client.send(request("POST", path, lines, body)).await;
    client.answer().await.expect("an answer")
}

impl Scene {
    async fn new() -> Self {
        let upstream = Upstream::echo().await;
        let place = Place::with(&yaml(&upstream, ""));
        place.run_with("user create ada@example.com --superuser --password-stdin", PASSWORD).good();
        let made: Value = serde_json::from_str(&place.run("app create cli").good()).expect("JSON");
        let text = |value: &Value, key: &str| value[key].as_str().expect("a text").to_owned();
        place.write("secret", &text(&made, "access_secret"));
        place.close("secret");
        let keys = [
            format!("X-Access-Key: {}", text(&made, "access_key")),
            format!("X-Access-Secret: {}", text(&made, "access_secret")),
        ];
        let gateway = Gateway::start(&place);
        let login = json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
        let login = send(&gateway, "/api/v1/auth/login/email/", &keys, &login).await.json();
        let human = text(&login, "access_token");
        let lines = [&keys[..], &[format!("Authorization: Bearer {human}")]].concat();
        let mint = json!({"agent_id": "robot", "permissions": ["users.view"]}).to_string();
        let minted = send(&gateway, "/api/v1/auth/ai/tokens/", &lines, &mint).await.json();
        let agent = format!("Authorization: AgentBearer {}", text(&minted, "token"));
        Self { place, gateway, upstream, keys, human, agent }
    }

    /// What waits, by number and token.
    async fn hold(&self, body: &str) -> String {
        let held = send(&self.gateway, "/act", std::slice::from_ref(&self.agent), body).await;
        assert_eq!(held.status, 202, "{}", held.text());
        held.json()["confirmation_token"].as_str().expect("a token").to_owned()
    }

    fn decide(&self, line: &str, input: &str) -> Outcome {
        let key = self.keys[0].trim_start_matches("X-Access-Key: ");
        let url = format!("http://{}/api/v1/auth", self.gateway.public);
        let access = format!("--url {url} --access-key {key} --access-secret-file secret --yes");
        self.place.run_with(&format!("approvals {line} {access}"), input)
    }

    fn state(&self, named: &str) -> Value {
        self.place.run(&format!("approvals show {named} --json")).json()["state"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_decides_with_a_password_and_sees_what_is_decided() {
    let scene = Scene::new().await;
    let named = scene.hold("{\"to\": \"zo\u{202e}ë\"}").await;
    let login = "--email ada@example.com --password-stdin";
    let wrong = scene.decide(&format!("approve {named} {login}"), "not this one");
    assert!(wrong.code == 1 && wrong.err.contains("LOGIN_FAILED"), "{wrong:?}");
    assert_eq!(scene.state(&named), "pending");
    let done = scene.decide(&format!("approve {named} {login} --json"), PASSWORD);
    assert_eq!(done.code, 0, "{done:?}");
    let told = done.json();
    assert_eq!(told["status"], "confirmed");
    let shown: Value = scene.place.run(&format!("approvals show {named} --json")).json();
    assert_eq!(told["binding_digest"], shown["binding_digest"]);
    for part in [
        "POST through route act (users.view)",
        "robot",
        "POST gw.test/act",
        "{\"to\": \"zo\\u{202e}ë\"}",
        told["binding_digest"].as_str().unwrap(),
    ] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    assert_eq!(shown["state"], "approved");
    let again = scene.decide(&format!("approve {named} {login}"), PASSWORD);
    assert!(again.code == 1 && again.err.contains("it is approved"), "{again:?}");
    let lines = [scene.agent.clone(), format!("X-Action-Confirmation: {named}")];
    assert_eq!(send(&scene.gateway, "/act", &lines, "{\"to\": \"zo\u{202e}ë\"}").await.status, 200);
    assert_eq!(scene.upstream.count(), 1);
    let sessions = scene.place.run("user show ada@example.com --json").json();
    let open = sessions["sessions"].as_array().map(Vec::len);
    assert_eq!(open, Some(1), "the command's own session was ended: {sessions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_with_a_second_factor_proves_it_on_the_command_line() {
    let scene = Scene::new().await;
    let named = scene.hold("{}").await;
    let lines = [&scene.keys[..], &[format!("Authorization: Bearer {}", scene.human)]].concat();
    let begun = send(&scene.gateway, "/api/v1/auth/2fa/setup/", &lines, "{}").await.json();
    let seed = Seed::parse(begun["secret"].as_str().expect("a seed")).expect("a seed");
    let code = json!({"code": seed.code_at(SystemClock.now()).expose()}).to_string();
    let done = send(&scene.gateway, "/api/v1/auth/2fa/confirm/", &lines, &code).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let login = format!("approve {named} --email ada@example.com --password-stdin");
    let asked = scene.decide(&login, PASSWORD);
    assert!(asked.code == 1 && asked.err.contains("--code-stdin"), "{asked:?}");
    let missing = scene.decide(&format!("{login} --code-stdin"), PASSWORD);
    assert_eq!(missing.code, 2, "{missing:?}");
    let wrong = scene.decide(&format!("{login} --code-stdin"), &format!("{PASSWORD}\nno-such-code\n"));
    assert!(wrong.code == 1 && scene.state(&named) == "pending", "{wrong:?}");
    // A code of the device opens something once, and this one has.
    let spare = begun["backup_codes"][0].as_str().expect("a backup code");
    let done = scene.decide(&format!("{login} --code-stdin"), &format!("{PASSWORD}\n{spare}\n"));
    assert_eq!((done.code, done.out.trim()), (0, "confirmed"), "{done:?}");
    assert_eq!(scene.state(&named), "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_brings_no_keys_is_told_how_to_bring_them() {
    let scene = Scene::new().await;
    let named = scene.hold("{}").await;
    let url = format!("http://{}/api/v1/auth", scene.gateway.public);
    let line =
        format!("approvals approve {named} --url {url} --email ada@example.com --password-stdin --yes");
    let refused = scene.place.run_with(&line, PASSWORD).bad();
    for part in ["APP_AUTH_REQUIRED", "--access-key", "--access-secret-file"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_denies_with_a_token_of_their_own_and_a_reason() {
    let scene = Scene::new().await;
    let named = scene.hold("{}").await;
    scene.place.write("token", &scene.human);
    let open = scene.decide(&format!("deny {named} --token-file token --reason no"), "");
    assert!(open.code == 1 && open.err.contains("chmod 600"), "{open:?}");
    scene.place.close("token");
    let done = scene.decide(&format!("deny {named} --token-file token --reason wrong-account"), "");
    assert_eq!((done.code, done.out.trim()), (0, "denied"), "{done:?}");
    let shown = scene.place.run(&format!("approvals show {named} --json")).json();
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("denied"), &json!("wrong-account")));
    scene.place.write("agent", scene.agent.trim_start_matches("Authorization: AgentBearer "));
    scene.place.close("agent");
    let named = scene.hold("1").await;
    let refused = scene.decide(&format!("approve {named} --token-file agent"), "");
    assert_eq!((refused.code, scene.state(&named)), (1, json!("pending")), "no agent decides: {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_sends_nothing_to_anybody() {
    let place = Place::empty();
    let login = "--email ada@example.com --password-stdin";
    for line in [
        format!("approve 1 --url http://gw.example.com/api/v1/auth {login} --yes"),
        format!("approve ../1 --url http://127.0.0.1:9/api/v1/auth {login} --yes"),
        format!("approve 1 --url http://127.0.0.1:9/api/v1/auth {login}"),
        format!("approve 1 --url http://127.0.0.1:9/api/v1/auth {login} --token-file x --yes"),
        "approve 1 --url http://127.0.0.1:9/api/v1/auth --yes".to_owned(),
        format!("approve 1 --url http://127.0.0.1:9/api/v1/auth {login} --reason x --yes"),
    ] {
        let outcome = place.run_with(&format!("approvals {line}"), PASSWORD);
        assert_eq!(outcome.code, 2, "{line}: {outcome:?}");
    }
    let nobody = place.run_with(
        &format!("approvals approve 1 --url http://127.0.0.1:9/api/v1/auth {login} --yes"),
        PASSWORD,
    );
    assert!(nobody.code == 1 && nobody.err.contains("gives no answer"), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_vouches_for_gets_no_password() {
    let upstream = Upstream::echo().await;
    let place = Place::empty();
    Pair::for_name("localhost").write(place.path(), "tls");
    place.write("portcullis.yaml", &yaml(&upstream, ", tls: { cert_file: tls.crt, key_file: tls.key }"));
    place.run_with("user create ada@example.com --superuser --password-stdin", PASSWORD).good();
    let gateway = Gateway::start(&place);
    let url = format!("https://localhost:{}/api/v1/auth", gateway.public.port());
    let line = format!("approvals approve 1 --url {url} --email ada@example.com --password-stdin --yes");
    let refused = place.run_with(&line, PASSWORD);
    assert!(refused.code == 1 && refused.err.contains("gives no answer"), "{refused:?}");
    let trusted = place.run_with(&format!("{line} --ca-file tls.crt"), PASSWORD);
    assert!(trusted.code == 1 && trusted.err.contains("APP_AUTH_REQUIRED"), "it was reached: {trusted:?}");
}

/// A command that goes on until it is killed, and what it says meanwhile.
struct Watching {
    child: Child,
    said: Receiver<String>,
}

impl Watching {
    fn begin(place: &Place) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let program = program.args(["approvals", "watch"]).current_dir(place.path()).env_clear();
        let mut child = program.stdout(Stdio::piped()).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, said }
    }

    fn next(&self) -> Option<String> {
        self.said.recv_timeout(PATIENCE).ok()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_confirmation_token_may_begin_like_a_flag() {
    let place = Place::with("preset: development\n");
    for command in ["show -Yq8", "approve -Yq8 --yes", "deny --yes -Yq8"] {
        let told = place.run(&format!("approvals {command}"));
        assert!(!told.err.contains("unexpected argument"), "{command}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_sees_each_question_once_as_it_comes() {
    let scene = Scene::new().await;
    scene.hold("1").await;
    let watching = Watching::begin(&scene.place);
    let first = watching.next().expect("what waits already");
    assert!(first.starts_with("1 robot: POST through route act (users.view) /act, until "), "{first}");
    scene.hold("2").await;
    // A number that a transaction took and lost is not given again, so it may be more than 2.
    let second = watching.next().expect("what comes");
    assert!(second.contains(" robot: POST through route act") && !second.starts_with("1 "), "{second}");
    assert_eq!(watching.said.recv_timeout(Duration::from_secs(2)).ok(), None, "nothing is told twice");
}
