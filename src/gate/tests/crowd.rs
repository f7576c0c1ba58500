//! Many agents at once: what each one costs the memory, and each request of one among many.

use std::time::Instant;

use super::agent::sources;
use super::agents::{text_of_number, token_of};
use super::double::setting_of;
use super::*;
use crate::crypto::digest::sha256;

const CROWD: usize = 5_000;
const FEW: usize = 10;
/// What people with much to do may do.
const RIGHTS: usize = 200;

fn world() -> String {
    let codes: Vec<String> = (0..RIGHTS).map(|at| format!("department.action-{at}")).collect();
    let listed: Vec<String> = codes.iter().map(|code| format!("{{ code: {code} }}")).collect();
    format!(
        "permissions: [{}]\nroles: [ {{ code: boss, permissions: [{}] }} ]\nroutes:\n  - {{ name: r, match: {{ path: /r }}, \
         upstream: app, allow: {{ role: boss }}, agents: {{ permission: department.action-7 }} }}\n",
        listed.join(", "),
        codes.join(", ")
    )
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

impl Setting {
    fn crowd(&self, number: usize) {
        let mut token = token_of("ada", &["department.action-7"]);
        token.id = Id::from_u128(1 << 64 | number as u128);
        self.agent(&text_of_number(number), token, "ada", |person| {
            person.assignments.roles = vec![code("boss")];
            person.memberships =
                (0..5).map(|at| membership(&format!("organization-{at}"), "member")).collect();
        });
    }

    async fn ask_as(&self, number: usize) {
        let asked =
            request("GET", "/r").with("authorization", &format!("AgentBearer {}", text_of_number(number)));
        assert_eq!(self.outcome(&asked).await, "200");
    }

    /// The best of some rounds of so many requests, by agents that take turns.
    async fn pace(&self, agents: usize) -> Duration {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            // Nobody follows the store here, and a view older than ten seconds decides nothing.
            self.app.catch_up().await.unwrap();
            let begun = Instant::now();
            for at in 0..1000 {
                self.ask_as(at * 7919 % agents).await;
            }
            best = best.min(begun.elapsed());
        }
        best
    }
}

#[tokio::test]
async fn a_crowd_of_agents_costs_little_memory_and_no_time() {
    let setting = setting_of(&world()).await;
    for number in 0..CROWD {
        setting.crowd(number);
    }
    let world = setting.gate.world();
    let known = async |number: usize| {
        let sources = sources(&setting.gate, &world, setting.app.now());
        let digest = sha256(text_of_number(number).as_bytes());
        setting.gate.agents.of_digest(digest, sources).await.unwrap().acting().unwrap()
    };
    let first = known(0).await;
    let before = resident_bytes();
    for number in 1..CROWD {
        known(number).await;
    }
    let each = (resident_bytes() - before) / CROWD;
    assert!(Arc::ptr_eq(&first.stamps, &known(CROWD - 1).await.stamps), "one human is known once");
    let (few, many) = (setting.pace(FEW).await, setting.pace(CROWD).await);
    eprintln!("{each} bytes for each agent; 1000 requests of {FEW} took {few:?}, of {CROWD} {many:?}");
    assert!(each < 2048, "{each} bytes for each agent");
    assert!(many < few * 4, "{many:?} among many, {few:?} among few");
}
