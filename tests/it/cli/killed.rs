//! A gateway that is killed in a step of executing what people have approved that is known to be that
//! step: the store or the upstream holds it there (security bar 2.J 126).
//!
//! Law: each step was reached before the gateway dies in it, and the upstream sees the request once at
//! most, whoever repeats it afterwards.

use std::time::Duration;

use portcullis::store::{Source as _, Tx, sql};
use serde_json::json;

use super::approved::{Delegated, send};
use super::gateway::Gateway;
use crate::support::replica::until;
use crate::support::upstream::spawn;
use crate::support::{Act, Upstream, times};

const SOON: Duration = Duration::from_secs(5);
/// Longer than it takes from one step to the next.
const A_WHILE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is not taken yet: the store does not let go of the agent's token.
    Taking,
    /// It was sent, and the upstream says nothing.
    Sent,
    /// The upstream has begun to answer.
    Answering,
    /// It was answered to the last byte, and the store does not take the end.
    Ending,
}

const STEPS: [Step; 4] = [Step::Taking, Step::Sent, Step::Answering, Step::Ending];

fn upstream_of(seen: &[u8]) -> Act {
    let body = String::from_utf8_lossy(seen);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n".to_vec();
    if body.contains("Sent") {
        Act::Hang
    } else if body.contains("Answering") {
        Act::Pieces(vec![
            (Duration::ZERO, [head, b"half".to_vec()].concat()),
            (Duration::from_mins(5), b"rest".to_vec()),
        ])
    } else if body.contains("Ending") {
        Act::Pieces(vec![(Duration::ZERO, head), (A_WHILE, b"answered".to_vec())])
    } else {
        Act::ok("answered")
    }
}

impl Delegated {
    async fn state(&self) -> String {
        let last = sql("SELECT state FROM approval ORDER BY number DESC LIMIT 1");
        let (state,): (String,) = (&*self.shared.store).one(last).await.expect("an approval");
        state
    }

    /// A transaction that keeps everybody else from writing here.
    async fn holding(&self, table: &str) -> Tx {
        let mut tx = self.shared.store.begin().await.expect("a transaction");
        let stmt = match table {
            "agent_token" => sql("UPDATE agent_token SET changed_at = changed_at"),
            _ => sql("UPDATE approval SET state = state"),
        };
        tx.execute(stmt).await.expect("its rows");
        tx
    }

    /// Executes in the background, dies in this step, and is there again.
    async fn die_in(&mut self, step: Step, lines: &[String], body: &str) {
        let mut held = match step {
            Step::Taking => Some(self.holding("agent_token").await),
            Step::Sent | Step::Answering | Step::Ending => None,
        };
        let (public, lines, sent) = (self.gateway.public, lines.to_vec(), body.to_owned());
        let executing = spawn(async move { super::approved::send_to(public, "/act", &lines, &sent).await });
        match step {
            Step::Taking => tokio::time::sleep(A_WHILE).await,
            Step::Sent | Step::Answering => {
                until(SOON, "it was sent", async || self.sent(body) == 1).await;
                tokio::time::sleep(A_WHILE).await;
            }
            Step::Ending => {
                until(SOON, "it was sent", async || self.sent(body) == 1).await;
                held = Some(self.holding("approval").await);
                tokio::time::sleep(2 * A_WHILE).await;
            }
        }
        let state = self.state().await;
        assert_eq!(state, if step == Step::Taking { "approved" } else { "executing" }, "{step:?}");
        self.gateway.signal("KILL");
        drop(held);
        let answer = executing.await.expect("a client that is left alone goes on");
        assert!(step == Step::Ending || answer.is_none(), "{step:?}: it was answered");
        self.gateway = Gateway::start(&self.place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_whatever_step_it_sends_once_at_most() {
    let upstream = Upstream::start(|seen| upstream_of(&seen.body)).await;
    let mut scene = Delegated::before(upstream).await;
    for round in 0..times(1, 13) {
        for step in STEPS {
            let body = json!({"round": round, "step": format!("{step:?}")}).to_string();
            let named = scene.approved("/act", &body).await;
            let lines = [scene.agent.clone(), format!("X-Action-Confirmation: {named}")];
            scene.die_in(step, &lines, &body).await;
            let again = send(&scene.gateway, "/act", &lines, &body).await.expect("an answer");
            if step == Step::Taking {
                assert_eq!(again.status, 200, "nothing was sent: {}", again.text());
            } else {
                assert_eq!((again.status, again.code().as_str()), (409, "APPROVAL_USED"), "{step:?}");
            }
            assert_eq!(scene.sent(&body), 1, "{step:?}");
        }
    }
}
