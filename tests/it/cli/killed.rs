//! A gateway that is killed in a step of executing what people have approved that is known to be that
//! step: the store or the upstream holds it there (security bar 2.J 126).
//!
//! Law: each step was reached before the gateway dies in it, and the upstream sees the request once at
//! most, whoever repeats it afterwards. What may have been sent ends as `indeterminate`.

use std::time::Duration;

use portcullis::store::{Source as _, Tx, sql};
use serde_json::json;

use super::approved::{Delegated, send, send_to};
use super::gateway::Gateway;
use crate::support::people::request;
use crate::support::raw::PATIENCE;
use crate::support::replica::until;
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Upstream, times};

const SOON: Duration = Duration::from_secs(5);
/// More than it takes from one step to the next, and than the gateway waits before it looks again for what
/// it is to send.
const A_WHILE: Duration = Duration::from_millis(700);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It writes that it will try (where it sends it by itself).
    Noticing,
    /// It writes that it takes it, before the commit.
    Taking,
    /// It is taken, there is a connection, and nothing of the request was sent.
    Connecting,
    /// It was sent, and the upstream says nothing.
    Sent,
    /// The upstream has begun to answer.
    Answering,
    /// It was answered to the last byte, and the gateway writes that down, before the commit.
    Ending,
}

const RETRIED: [Step; 5] = [Step::Taking, Step::Connecting, Step::Sent, Step::Answering, Step::Ending];
const SEALED: [Step; 6] =
    [Step::Noticing, Step::Taking, Step::Connecting, Step::Sent, Step::Answering, Step::Ending];

impl Step {
    /// The lock of the store that is waited for in this step.
    const fn lock(self) -> Option<i64> {
        match self {
            Self::Noticing => Some(1),
            Self::Taking => Some(2),
            Self::Ending => Some(3),
            Self::Connecting | Self::Sent | Self::Answering => None,
        }
    }

    const fn is_taken(self) -> bool {
        !matches!(self, Self::Noticing | Self::Taking)
    }

    /// How often it was sent when the gateway dies in this step.
    fn sent(self) -> usize {
        usize::from(matches!(self, Self::Sent | Self::Answering | Self::Ending))
    }

    const fn path(self, path: &'static str, shy: &'static str) -> &'static str {
        if matches!(self, Self::Connecting) { shy } else { path }
    }
}

fn upstream_of(seen: &[u8]) -> Act {
    let body = String::from_utf8_lossy(seen);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n";
    if body.contains("Sent") {
        Act::Hang
    } else if body.contains("Answering") {
        Act::Pieces(vec![
            (Duration::ZERO, [&head[..], b"half"].concat()),
            (Duration::from_mins(5), b"rest".to_vec()),
        ])
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

    /// From now on what an approval goes through waits, before its commit, for a lock that a test may hold.
    async fn is_watched(&self) {
        let mut tx = self.shared.store.begin().await.expect("a transaction");
        for stmt in [
            "CREATE FUNCTION wait_there() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_advisory_xact_lock(TG_ARGV[0]::bigint); RETURN NEW; END'",
            "CREATE TRIGGER noticing BEFORE UPDATE ON approval FOR EACH ROW \
             WHEN (OLD.state = 'approved' AND NEW.state = 'approved') EXECUTE FUNCTION wait_there(1)",
            "CREATE TRIGGER taking BEFORE UPDATE ON approval FOR EACH ROW \
             WHEN (OLD.state = 'approved' AND NEW.state = 'executing') EXECUTE FUNCTION wait_there(2)",
            "CREATE TRIGGER ending BEFORE UPDATE ON approval FOR EACH ROW \
             WHEN (OLD.state = 'executing' AND NEW.state = 'executed') EXECUTE FUNCTION wait_there(3)",
        ] {
            tx.execute(sql(stmt)).await.expect("it is made");
        }
        tx.commit().await.expect("a commit");
    }

    async fn holding(&self, lock: i64) -> Tx {
        let mut tx = self.shared.store.begin().await.expect("a transaction");
        tx.execute(sql("SELECT pg_advisory_xact_lock(?)").bind(lock)).await.expect("the lock");
        tx
    }

    async fn waits_for(&self, lock: i64) -> bool {
        let stmt = sql("SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database \
             WHERE locktype = 'advisory' AND NOT granted AND datname = current_database() AND objid = ?");
        let (count,): (i64,) = (&*self.shared.store).one(stmt.bind(lock)).await.expect("a count");
        count > 0
    }

    /// Dies in this step of what `begin` sets off, and is there again.
    async fn die_in(&mut self, step: Step, body: &str, begin: impl AsyncFnOnce(&Self) -> String) -> String {
        let held = match step.lock() {
            Some(lock) => Some(self.holding(lock).await),
            None => None,
        };
        let named = begin(self).await;
        let mut connection = None;
        match (step, step.lock()) {
            (_, Some(lock)) => {
                until(SOON, "it waits there", async || self.waits_for(lock).await).await;
            }
            (Step::Connecting, None) => {
                connection = Some(tokio::time::timeout(PATIENCE, self.shy.met()).await.expect("it connects"));
            }
            (_, None) => {
                until(SOON, "it was sent", async || self.sent(body) == 1).await;
                if step == Step::Answering {
                    tokio::time::sleep(A_WHILE).await;
                }
            }
        }
        assert_eq!(self.state().await, if step.is_taken() { "executing" } else { "approved" }, "{step:?}");
        self.gateway.signal("KILL");
        assert_eq!(self.gateway.ends_within(SOON), None, "by a signal");
        drop((held, connection));
        self.gateway = Gateway::start(&self.place);
        named
    }

    /// What the agent is told where it asks.
    async fn polled(&self, named: &str) -> (u16, String) {
        let path = format!("/api/v1/auth/ai/pending-actions/{named}/");
        let mut client = Client::connect(self.gateway.public).await;
        client.send(request("GET", &path, std::slice::from_ref(&self.agent), "")).await;
        let told = client.answer().await.expect("an answer");
        let state = told.json()["state"].as_str().unwrap_or_default().to_owned();
        (told.status, state)
    }

    /// That nobody knows is written down, for every approval that somebody who died has taken.
    async fn are_given_up(&self, count: usize) {
        let stmt = || sql("SELECT count(*) FROM approval WHERE state = ?");
        let of = async |state: &'static str| {
            let (count,): (i64,) = (&*self.shared.store).one(stmt().bind(state)).await.expect("a count");
            usize::try_from(count).expect("not negative")
        };
        let given_up = async || (of("executing").await, of("indeterminate").await) == (0, count);
        until(3 * SOON, "it is written down", given_up).await;
    }
}

async fn watched() -> Delegated {
    let scene = Delegated::before(Upstream::start(|seen| upstream_of(&seen.body)).await).await;
    scene.is_watched().await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_whatever_step_it_sends_once_at_most() {
    let mut scene = watched().await;
    for round in 0..times(1, 10) {
        for step in RETRIED {
            let body = json!({"round": round, "step": format!("{step:?}")}).to_string();
            let path = step.path("/act", "/shy/act");
            let mut executing = None;
            let named = scene
                .die_in(step, &body, async |scene| {
                    let named = scene.approved(path, &body).await;
                    let lines = [scene.agent.clone(), format!("X-Action-Confirmation: {named}")];
                    let (public, body) = (scene.gateway.public, body.clone());
                    executing = Some(spawn(async move { send_to(public, path, &lines, &body).await }));
                    named
                })
                .await;
            let answer = executing.expect("a call").await.expect("a client that is left alone goes on");
            assert!(step == Step::Ending || answer.is_none(), "{step:?}: it was answered");
            assert_eq!(scene.sent(&body), step.sent(), "{step:?}");
            let lines = [scene.agent.clone(), format!("X-Action-Confirmation: {named}")];
            let again = send(&scene.gateway, path, &lines, &body).await.expect("an answer");
            if step.is_taken() {
                assert_eq!((again.status, again.code().as_str()), (409, "APPROVAL_USED"), "{step:?}");
                assert_eq!(again.json()["state"], "executing", "{step:?}: who took it may be alive");
                scene.age().await;
                let late = send(&scene.gateway, path, &lines, &body).await.expect("an answer");
                assert_eq!((late.status, late.code().as_str()), (409, "APPROVAL_USED"), "{step:?}");
                assert_eq!(late.json()["state"], "indeterminate", "{step:?}: nobody knows");
                assert_eq!(scene.sent(&body), step.sent(), "{step:?}");
            } else {
                assert_eq!((again.status, scene.sent(&body)), (200, 1), "nothing was sent: {}", again.text());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_whatever_step_of_its_own_errand_it_sends_once_at_most() {
    let (mut scene, mut taken) = (watched().await, Vec::new());
    for round in 0..times(1, 10) {
        for step in SEALED {
            let body = json!({"round": round, "step": format!("{step:?}")}).to_string();
            let path = step.path("/sealed", "/shy/sealed");
            let named = scene.die_in(step, &body, async |scene| scene.approved(path, &body).await).await;
            scene.age().await;
            if step.is_taken() {
                assert_eq!(scene.polled(&named).await, (409, "indeterminate".to_owned()), "{step:?}");
                taken.push((step, body));
            } else {
                until(SOON, "it is sent", async || scene.state().await == "executed").await;
                assert_eq!((scene.polled(&named).await.0, scene.sent(&body)), (200, 1), "{step:?}");
            }
        }
    }
    // It looks again meanwhile.
    scene.are_given_up(taken.len()).await;
    tokio::time::sleep(2 * A_WHILE).await;
    for (step, body) in taken {
        assert_eq!(scene.sent(&body), step.sent(), "{body}");
    }
}
