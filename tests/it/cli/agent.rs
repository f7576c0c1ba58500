//! `portcullis agent …` beside a running gateway: what it says of agents, and that what it stops stops.
//! Law: a gateway on the same store obeys within a second, at requests, streams and what waits.

use std::time::Duration;

use serde_json::{Value, json};

use super::approved::{api, send, text};
use super::gateway::Gateway;
use super::{Outcome, Place};
use crate::agent_gate::{endless, is_cut};
use crate::support::raw::{Answer, get};
use crate::support::replica::{until, within};
use crate::support::{Act, Client, Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

/// A gateway with Ada and an upstream that answers, or streams without end.
struct Scene {
    place: Place,
    gateway: Gateway,
    human: [String; 1],
}

/// What Ada delegated: its number, and the header line of its token.
struct Delegated {
    number: String,
    line: String,
}

impl Scene {
    async fn new() -> Self {
        let stream = endless();
        let upstream = Upstream::start(move |seen| match seen.target() {
            "/live" => stream.clone(),
            _ => Act::ok("fine"),
        })
        .await;
        let place = Place::with(&format!(
            "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
applications: {{ required: nowhere }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes:
  - {{ name: read, match: {{ path: '/read' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view }} }}
  - {{ name: live, match: {{ path: '/live' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view }} }}
  - {{ name: act, match: {{ path: '/act' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view, hold: always }} }}
",
            upstream.address
        ));
        let password = "SecureP@ss1!x";
        place.run_with("user create ada@example.com --superuser --password-stdin", password).good();
        place.run_with("user create bob@example.com --password-stdin", password).good();
        let gateway = Gateway::start(&place);
        let login = json!({"email": "ada@example.com", "password": password});
        let login = api(&gateway, "/login/email/", &[], &login).await;
        let human = [format!("Authorization: Bearer {}", text(&login, "access_token"))];
        Self { place, gateway, human }
    }

    async fn delegate(&self, name: &str) -> Delegated {
        let mint = json!({"agent_id": name, "permissions": ["users.view"]});
        let minted = api(&self.gateway, "/ai/tokens/", &self.human, &mint).await;
        let line = format!("Authorization: AgentBearer {}", text(&minted, "token"));
        Delegated { number: minted["id"].to_string(), line }
    }

    fn agent(&self, line: &str) -> Outcome {
        self.place.run(&format!("agent {line}"))
    }

    fn shown(&self, agent: &Delegated) -> Value {
        self.agent(&format!("show {} --json", agent.number)).json()
    }

    async fn read(&self, agent: &Delegated) -> Answer {
        exchange(self.gateway.public, get("/read", &[&agent.line])).await.expect("an answer")
    }

    /// Within a second of the command.
    async fn is_refused(&self, agent: &Delegated, code: &str) {
        within(SECOND, code, async || self.read(agent).await.status == 403).await;
        assert_eq!(self.read(agent).await.code(), code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_gateway_obeys_what_the_command_line_says_of_an_agent() {
    let scene = Scene::new().await;
    let (robot, other) = (scene.delegate("robot").await, scene.delegate("other").await);
    let listed = scene.agent("list ada@example.com --json").json();
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|one| text(one, "agent_id")).collect();
    assert_eq!(names, ["other", "robot"], "the newest first");
    assert_eq!(scene.agent("list bob@example.com --json").json(), json!([]));
    let table = scene.agent("list").good();
    assert!(table.contains("robot") && table.contains("ada@example.com"), "{table}");
    let shown = scene.shown(&robot);
    let facts = ["agent_id", "status", "human", "permissions"].map(|key| shown[key].clone());
    let expected = [json!("robot"), json!("ACTIVE"), json!("ada@example.com"), json!(["users.view"])];
    assert_eq!(facts, expected);
    assert_eq!(scene.read(&robot).await.status, 200);

    scene.agent(&format!("suspend {}", robot.number)).good();
    scene.is_refused(&robot, "AGENT_TOKEN_STATUS_SUSPENDED").await;
    let shown = scene.shown(&robot);
    assert_eq!((&shown["status"], &shown["suspended_reason"]), (&json!("SUSPENDED"), &json!("MANUAL")));
    scene.agent(&format!("suspend {}", robot.number)).bad();
    scene.agent(&format!("resume {}", robot.number)).good();
    until(SECOND, "it may act again", async || scene.read(&robot).await.status == 200).await;
    scene.agent(&format!("revoke {}", robot.number)).good();
    scene.is_refused(&robot, "AGENT_TOKEN_STATUS_REVOKED").await;
    for command in ["suspend", "resume", "revoke"] {
        scene.agent(&format!("{command} {}", robot.number)).bad();
    }
    assert_eq!(scene.shown(&robot)["status"], "REVOKED", "what is over is over");
    assert_eq!(scene.read(&other).await.status, 200, "nobody spoke of that one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_on_the_command_line_ends_streams_and_what_waits() {
    let scene = Scene::new().await;
    for whom in ["ada@example.com", "--everyone"] {
        let robot = scene.delegate("robot").await;
        let body = json!({"for": whom}).to_string();
        let held =
            send(&scene.gateway, "/act", std::slice::from_ref(&robot.line), &body).await.expect("an answer");
        assert_eq!(held.status, 202, "{}", held.text());
        let named = text(&held.json(), "confirmation_token");
        let state = || scene.place.run(&format!("approvals show {named} --json")).json()["state"].clone();
        let mut stream = Client::connect(scene.gateway.public).await;
        stream.send(get("/live", &[&robot.line])).await;
        assert!(stream.until(b"data").await.is_some(), "the stream has begun");
        assert_eq!(scene.agent("kill bob@example.com").good().trim(), "0 agent tokens revoked");
        assert_eq!((scene.read(&robot).await.status, state()), (200, json!("pending")));
        let killed = scene.agent(&format!("kill {whom}")).good();
        assert!(is_cut(&mut stream).await, "{whom}");
        assert_eq!(killed.trim(), "1 agent token revoked");
        assert_eq!(state(), "void", "{whom}");
        scene.is_refused(&robot, "AGENT_TOKEN_STATUS_REVOKED").await;
        let path = format!("/api/v1/auth/ai/pending-actions/{named}/confirm/");
        let late = send(&scene.gateway, &path, &scene.human, "{}").await.expect("an answer");
        assert_eq!((late.status, late.json()["state"].clone()), (400, json!("void")), "{}", late.text());
    }
}
