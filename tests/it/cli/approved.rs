//! A gateway that is killed while it executes what people have approved (security bar 2.J 126).
//!
//! Law: whenever it dies, the upstream has seen the request at most once, and what may have been
//! sent is never sent again.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::base::Timestamp;
use portcullis::store::sql;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Place;
use super::gateway::Gateway;
use crate::support::people::request;
use crate::support::raw::Answer;
use crate::support::replica::{Place as Shared, redis_url, until};
use crate::support::{Client, Upstream, times};

/// An upstream that is never done with saying who it is: whoever asks it has a connection and has sent
/// nothing of a request.
pub(super) struct Shy(TcpListener);

impl Shy {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    /// Waits until somebody comes; the connection lives as long as what this returns.
    pub async fn met(&self) -> tokio::net::TcpStream {
        self.0.accept().await.expect("a connection").0
    }
}

fn yaml(upstream: &Upstream, shy: &Shy) -> String {
    format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }}
applications: {{ required: nowhere }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }}, shy: {{ servers: ['{}'], tls: {{ sni: shy.test }}, breaker: 'off' }} }}
routes:
  - {{ name: act, match: {{ path: '/act' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view, hold: always }} }}
  - {{ name: sealed, match: {{ path: '/sealed' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view, hold: always, mode: sealed }} }}
  - {{ name: shy-act, match: {{ path: '/shy/act' }}, upstream: shy, allow: signed_in, agents: {{ permission: users.view, hold: always }} }}
  - {{ name: shy-sealed, match: {{ path: '/shy/sealed' }}, upstream: shy, allow: signed_in, agents: {{ permission: users.view, hold: always, mode: sealed }} }}
",
        upstream.address,
        shy.0.local_addr().expect("an address")
    )
}

pub(super) async fn send(gateway: &Gateway, path: &str, lines: &[String], body: &str) -> Option<Answer> {
    send_to(gateway.public, path, lines, body).await
}

pub(super) async fn send_to(to: SocketAddr, path: &str, lines: &[String], body: &str) -> Option<Answer> {
    let mut client = Client::connect(to).await;
    client.send(request("POST", path, lines, body)).await;
    client.answer().await
}

pub(super) async fn api(gateway: &Gateway, path: &str, lines: &[String], body: &Value) -> Value {
    let path = format!("/api/v1/auth{path}");
    let answer = send(gateway, &path, lines, &body.to_string()).await.expect("an answer");
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.json()
}

pub(super) fn text(of: &Value, key: &str) -> String {
    of[key].as_str().expect("a text").to_owned()
}

/// A place with Ada, who has delegated to an agent.
pub(super) struct Delegated {
    pub place: Place,
    pub upstream: Upstream,
    pub shy: Shy,
    pub gateway: Gateway,
    pub human: [String; 1],
    pub agent: String,
    /// After the gateway, which must be gone before its store is.
    pub shared: Shared,
}

impl Delegated {
    async fn new() -> Self {
        Self::before(Upstream::echo().await).await
    }

    /// The same in front of this upstream.
    pub async fn before(upstream: Upstream) -> Self {
        let (shared, shy) = (Shared::new().await, Shy::start().await);
        let places = shared.yaml(&shared.store.address(), &redis_url());
        let yaml = format!("{places}{}", yaml(&upstream, &shy));
        let place = Place::with(&yaml);
        let created =
            place.run_with("user create ada@example.com --superuser --password-stdin", "SecureP@ss1!x");
        assert_eq!(created.code, 0, "{}", created.err);
        let gateway = Gateway::start(&place);
        let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x"});
        let login = api(&gateway, "/login/email/", &[], &ada).await;
        let human = [format!("Authorization: Bearer {}", text(&login, "access_token"))];
        let limits = json!({"max_requests_per_minute": 100_000, "max_requests_total": 100_000, "max_failed_requests": 100_000});
        let mint = json!({"permissions": ["users.view"], "circuit_breaker": limits});
        let minted = api(&gateway, "/ai/tokens/", &human, &mint).await;
        let agent = format!("Authorization: AgentBearer {}", text(&minted, "token"));
        Self { place, upstream, shy, gateway, human, agent, shared }
    }

    /// What the agent is given for a request that people then approve.
    pub async fn approved(&self, path: &str, body: &str) -> String {
        let held =
            send(&self.gateway, path, std::slice::from_ref(&self.agent), body).await.expect("an answer");
        assert_eq!(held.status, 202, "{}", held.text());
        let named = text(&held.json(), "confirmation_token");
        api(&self.gateway, &format!("/ai/pending-actions/{named}/confirm/"), &self.human, &json!({})).await;
        named
    }

    async fn die_after(&mut self, millis: usize) {
        tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap())).await;
        self.gateway.signal("KILL");
        self.gateway = Gateway::start(&self.place);
    }

    /// As if it were later: whoever died is not believed alive any more, and what was tried may be tried
    /// again.
    pub async fn age(&self) {
        let past = Timestamp::from_millis(1);
        let mut tx = self.shared.store.begin().await.expect("a transaction");
        for stmt in [
            sql("UPDATE approval SET lease_until = ? WHERE state = 'executing'"),
            sql("UPDATE approval SET send_at = ? WHERE state = 'approved' AND send_at IS NOT NULL"),
        ] {
            tx.execute(stmt.bind(past)).await.expect("its rows");
        }
        tx.commit().await.expect("a commit");
    }

    /// How often the upstream has seen this body.
    pub fn sent(&self, body: &str) -> usize {
        self.upstream.seen().iter().filter(|seen| seen.body == body.as_bytes()).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_gateway_is_killed_what_it_sends_by_itself_is_sent_once_at_most() {
    let mut scene = Delegated::new().await;
    let mut all = Vec::new();
    for round in 0..times(4, 50) {
        let body = format!("{{\"round\": {round}}}");
        let named = scene.approved("/sealed", &body).await;
        // Around the moment in which the gateway looks for what is to be sent.
        scene.die_after(350 + round * 23 % 300).await;
        assert!(scene.sent(&body) <= 1, "round {round}");
        all.push((named, body));
    }
    scene.age().await;
    for (named, body) in &all {
        let path = format!("/api/v1/auth/ai/pending-actions/{named}/");
        let ask = async |lines: &[String]| {
            let mut client = Client::connect(scene.gateway.public).await;
            client.send(request("GET", &path, lines, "")).await;
            client.answer().await.expect("an answer")
        };
        // People may look as often as they like.
        until(Duration::from_secs(10), "it is over", async || {
            let state = ask(&scene.human).await.json()["state"].clone();
            state == "executed" || state == "indeterminate"
        })
        .await;
        let told = ask(std::slice::from_ref(&scene.agent)).await;
        let is_known = told.status == 200 || told.json()["state"] == "indeterminate";
        assert!(is_known, "{body}: {}", told.text());
        let least = usize::from(told.status == 200);
        assert!((least..=1).contains(&scene.sent(body)), "{body}: sent {} times", scene.sent(body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_gateway_is_killed_what_was_approved_is_sent_once_at_most() {
    let mut scene = Delegated::new().await;
    let agent = scene.agent.clone();
    let mut broken_off = None;
    for round in 0..times(4, 50) {
        let body = format!("{{\"round\": {round}}}");
        let before = scene.upstream.count();
        let named = scene.approved("/act", &body).await;
        let lines = [agent.clone(), format!("X-Action-Confirmation: {named}")];
        let executing = send(&scene.gateway, "/act", &lines, &body);
        let killing = async {
            // From before the request is taken until after it is answered.
            tokio::time::sleep(Duration::from_millis(u64::try_from(round * 5 % 21).unwrap())).await;
            scene.gateway.signal("KILL");
        };
        futures::join!(executing, killing);
        scene.gateway = Gateway::start(&scene.place);
        let sent = scene.upstream.count() - before;
        assert!(sent <= 1, "round {round}: sent {sent} times");
        let again = send(&scene.gateway, "/act", &lines, &body).await.expect("an answer");
        let is_known = again.status == 200 || again.code() == "APPROVAL_USED";
        assert!(is_known, "round {round}: {}", again.text());
        let sent = scene.upstream.count() - before;
        assert!(sent <= 1, "round {round}: sent {sent} times after all");
        if again.status != 200 && again.json()["state"] == "executing" {
            broken_off = Some((lines, body));
        }
    }
    let listed = scene.place.run("approvals list --json");
    let listed: Value = serde_json::from_str(&listed.out).expect("the list is JSON");
    assert_eq!(listed.as_array().expect("a list").len(), times(4, 50));
    let shown = scene.place.run("approvals show 1");
    assert!(shown.code == 0 && shown.out.contains("POST through route act (users.view)"), "{}", shown.out);
    assert_ne!(scene.place.run("approvals show nonsense").code, 0);
    if let Some((lines, body)) = broken_off {
        let count = scene.upstream.count();
        scene.age().await;
        until(Duration::from_secs(5), "nobody knows", async || {
            let again = send(&scene.gateway, "/act", &lines, &body).await.expect("an answer");
            again.json()["state"] == "indeterminate"
        })
        .await;
        assert_eq!(scene.upstream.count(), count);
    }
}
