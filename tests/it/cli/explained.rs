//! `portcullis explain --agent` as an operator runs it: every condition with its own answer.
//! Law: what stops an agent is named by its condition and by the code that the agent would get; nothing is
//! counted or changed by asking.

use std::time::Duration;

use serde_json::{Value, json};

use super::Place;
use super::approved::{api, text};
use super::gateway::Gateway;
use crate::support::people::PASSWORD;

/// What is said of every request of an agent, in this order.
const ALWAYS: [&str; 14] = [
    "route",
    "agents",
    "human",
    "application",
    "token",
    "expiry",
    "heartbeat",
    "rate",
    "failures",
    "route admits",
    "agent scope",
    "human permission",
    "organization",
    "policy",
];

fn config(agents: &str) -> String {
    format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
applications: {{ required: nowhere }}
agents: {{ {agents} }}
permissions: [ {{ code: reports }}, {{ code: reports.read, parent: reports }}, {{ code: pay }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }}, {{ code: payer, permissions: [pay] }} ]
upstreams: {{ up: {{ servers: ['127.0.0.1:9'] }} }}
routes:
  - {{ name: read, match: {{ path: /read }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read }} }}
  - {{ name: people, match: {{ path: /people }}, upstream: up, allow: signed_in }}
  - {{ name: staff, match: {{ path: /staff }}, upstream: up, allow: {{ staff: true }}, agents: {{ permission: reports.read }} }}
  - {{ name: ours, match: {{ path: /ours }}, upstream: up, allow: {{ org: member }}, agents: {{ permission: reports.read }} }}
  - {{ name: pay, match: {{ path: /pay, methods: [POST] }}, upstream: up, allow: signed_in, limit: {{ requests: 5, per: 1m }},
      agents: {{ permission: pay, hold: {{ when: {{ pointer: /amount, above: 100 }} }}, cost: {{ flat_usd: 2 }} }} }}
"
    )
}

/// What was said: the exit code, the conditions that said no, and the code of the refusal.
type Said = (i32, Vec<String>, Value);

struct Scene(Place);

impl Scene {
    fn explain(&self, line: &str) -> Value {
        self.0.run(&format!("explain --json --agent {line}")).json()
    }

    fn said(&self, line: &str) -> Said {
        let outcome = self.0.run(&format!("explain --json --agent {line}"));
        let told = outcome.json();
        let steps = told["steps"].as_array().expect("steps").iter();
        let no = steps.filter(|step| step["passed"] == false);
        let names = no.map(|step| text(step, "name")).filter(|name| name != "refused").collect();
        (outcome.code, names, told["refusal"]["code"].clone())
    }

    fn names(&self, line: &str) -> Vec<String> {
        let told = self.explain(line);
        told["steps"].as_array().expect("steps").iter().map(|step| text(step, "name")).collect()
    }
}

fn no(conditions: &[&str], code: &str) -> Said {
    (1, conditions.iter().map(|name| (*name).to_owned()).collect(), json!(code))
}

impl Scene {
    fn a_table_gives_the_body_where_that_decides(&self, agent: &str) {
        let case = |name: &str, body: &str, expect: &str| {
            format!("  - {{ name: {name}, request: POST /pay, agent: '{agent}'{body}, expect: {expect} }}\n")
        };
        let (little, much) = (", body: { amount: 100 }", ", body: { amount: 101 }");
        self.0.write(
            "told.yaml",
            &format!("tests:\n{}{}", case("little", little, "pass"), case("much", much, "wait")),
        );
        assert!(self.0.run("test told.yaml").good().ends_with("2 passed, 0 failed\n"));
        self.0.write(
            "untold.yaml",
            &format!("tests:\n{}{}", case("passes", "", "pass"), case("waits", "", "wait")),
        );
        let untold = self.0.run("test untold.yaml");
        assert_eq!(
            (untold.code, untold.out.matches("got pass or wait, by its body").count()),
            (1, 2),
            "{untold:?}"
        );
    }
}

/// Gateways are only needed to delegate; it is explained without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_of_an_agent_is_explained_on_the_command_line() {
    let place = Place::with(&config(""));
    for name in ["ada", "bob"] {
        place
            .run_with(&format!("user create {name}@example.com --verified --password-stdin"), PASSWORD)
            .good();
    }
    for role in ["analyst", "payer"] {
        place.run(&format!("user grant ada@example.com --role {role}")).good();
    }
    place.run("app create other").good();
    let gateway = Gateway::start(&place);
    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    let login = api(&gateway, "/login/email/", &[], &login).await;
    let human = [format!("Authorization: Bearer {}", text(&login, "access_token"))];
    let mint = async |more: Value| {
        let mut body = json!({"permissions": ["pay", "reports.read"], "budget_limit_usd": 5});
        body.as_object_mut().unwrap().extend(more.as_object().expect("fields").clone());
        api(&gateway, "/ai/tokens/", &human, &body).await["id"].to_string()
    };
    let good = mint(json!({})).await;
    let narrow = mint(json!({"permissions": ["reports.read"]})).await;
    let poor = mint(json!({"budget_limit_usd": 1})).await;
    let broke = mint(json!({"budget_limit_usd": 0})).await;
    let empty = mint(json!({"circuit_breaker": {"max_requests_total": 0}})).await;
    let slow = mint(json!({"circuit_breaker": {"max_requests_per_minute": 0}})).await;
    let stopped = mint(json!({})).await;
    let silent = mint(json!({"dead_mans_switch": {"heartbeat_required_every": 3}})).await;
    let brief = mint(json!({"expires_in": 3})).await;
    drop(gateway);
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let scene = Scene(place);
    let run = |line: &str| scene.0.run(line).good();

    let cheap = [&ALWAYS[..], &["hold", "total", "cost"]].concat();
    assert_eq!(scene.names(&format!("{good} GET /read")), cheap);
    let dear = [&ALWAYS[..], &["limit", "hold", "decided by", "time", "total", "cost", "budget"]].concat();
    assert_eq!(scene.names(&format!("{good} POST /pay")), dear);
    assert_eq!(scene.said(&format!("{good} GET /read")), (0, vec![], Value::Null));
    assert_eq!(scene.explain(&format!("{good} POST /pay"))["waits"], "by_body");
    for (amount, waits) in [(100, "no"), (101, "yes")] {
        let line = format!("{good} POST /pay --body {{\"amount\":{amount}}}");
        let told = scene.explain(&line);
        assert_eq!((&told["passes"], &told["waits"]), (&json!(true), &json!(waits)), "{told}");
    }

    scene.a_table_gives_the_body_where_that_decides(&good);

    let denied = "AGENT_PERMISSION_DENIED";
    for (line, expected) in [
        (format!("{good} GET /people"), no(&["route admits"], "AGENT_NOT_ALLOWED")),
        (format!("{narrow} POST /pay"), no(&["agent scope"], denied)),
        (format!("{good} GET /read --org acme"), no(&["organization"], "ORG_MISMATCH")),
        (format!("{good} GET /staff"), no(&["policy"], denied)),
        (format!("{good} GET /ours"), no(&["policy"], denied)),
        (format!("{good} GET /read --app other"), no(&["application"], "TOKEN_APP_MISMATCH")),
        (format!("{poor} POST /pay"), no(&["budget"], "BUDGET_EXCEEDED")),
        (format!("{broke} POST /pay"), no(&["budget"], "BUDGET_REQUIRED")),
        (format!("{empty} GET /read"), no(&["total"], "AGENT_TOKEN_SUSPENDED")),
        (format!("{slow} GET /read"), no(&["rate"], "AGENT_TOKEN_SUSPENDED")),
        (format!("{silent} GET /read"), no(&["heartbeat"], "AGENT_TOKEN_HEARTBEAT_MISSING")),
        (format!("{brief} GET /read"), no(&["expiry"], "AGENT_TOKEN_EXPIRED")),
    ] {
        assert_eq!(scene.said(&line), expected, "{line}");
    }
    assert_eq!(scene.said(&format!("{good} GET /nowhere")).2, "NOT_FOUND");
    assert_eq!(scene.said(&format!("{good} GET /pay")).2, "METHOD_NOT_ALLOWED");

    run(&format!("agent suspend {stopped}"));
    let stopped = format!("{stopped} GET /read");
    assert_eq!(scene.said(&stopped), no(&["token"], "AGENT_TOKEN_STATUS_SUSPENDED"));
    run("user revoke ada@example.com --role analyst");
    let lost = no(&["human permission"], denied);
    assert_eq!(scene.said(&format!("{good} GET /read")), lost);
    let told = scene.explain(&format!("{good} GET /read"));
    let refusal = &told["refusal"];
    assert_eq!(
        (&refusal["failed"], &refusal["missing"]),
        (&json!("human_permission"), &json!(["reports.read"]))
    );
    run("user grant ada@example.com --role analyst");
    assert_eq!(scene.said(&format!("{good} GET /read")).0, 0, "none of it was counted or kept");
    run("user lock ada@example.com");
    let locked = scene.said(&format!("{good} GET /read"));
    assert_eq!(
        (locked.0, &locked.1[0], &locked.2),
        (1, &"human".to_owned(), &json!("AGENT_TOKEN_STATUS_SUSPENDED"))
    );
    run("user unlock ada@example.com");
    scene.0.write("portcullis.yaml", &config("enabled: false"));
    assert_eq!(scene.said(&format!("{good} GET /read")), no(&["agents"], "AIRS_DISABLED"));
}
