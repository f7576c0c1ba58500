//! What people approved and nobody could be asked for: no server of the upstream is healthy, or its name
//! leads nowhere (security bar 2.J). Law: nothing was sent, so nothing is used up, and the same approval
//! works afterwards, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::audit;
use portcullis::base::{SystemClock, TestClock};
use portcullis::proxy::upstream::Names;
use serde_json::{Value, json};

use crate::agent::{Scene, YAML, scene};
use crate::agent_gate::told;
use crate::agent_hold::confirmed;
use crate::support::people::permission;
use crate::support::replica::until;
use crate::support::{Act, Gateway, Upstream};
use crate::upstream_names::{Said, Zone};

const SOON: Duration = Duration::from_secs(15);

fn routes(server: &str, more: &str) -> String {
    let held = "permission: reports.read, hold: always";
    format!(
        "upstreams: {{ up: {{ servers: ['{server}'], retries: 0, breaker: off{more} }} }}
routes:
  - {{ name: acts, match: {{ path: '/acts/**' }}, upstream: up, allow: signed_in, agents: {{ {held} }} }}
  - {{ name: sealed, match: {{ path: '/sealed/**' }}, upstream: up, allow: signed_in, agents: {{ {held}, mode: sealed }} }}
"
    )
}

/// An agent that may ask again and again.
fn patient() -> Value {
    let breaker = json!({"max_requests_per_minute": 1_000_000, "max_failed_requests": 1_000_000});
    json!({"permissions": ["reports.read"], "circuit_breaker": breaker})
}

impl Scene {
    async fn steps(&self, code: &str) -> usize {
        let rows = audit::tail(&self.gateway.running.app.db, 0, 10_000).await.unwrap();
        rows.iter().filter(|row| row.code == code).count()
    }

    /// Presented, it is told that nobody can be asked, and stays what it was.
    async fn is_kept(&self, named: &str, token: &str, statuses: &[u16]) {
        for _ in 0..3 {
            // What was taken is given back after the answer.
            self.comes_to(named, "approved").await;
            let refused = self.post("/acts/1", token, &[&confirmed(named)], "{}").await;
            assert!(statuses.contains(&refused.status), "{} {}", refused.status, refused.text());
        }
        self.comes_to(named, "approved").await;
    }

    /// It works now, and only once.
    async fn works_once(&self, named: &str, token: &str) {
        let present = async || self.post("/acts/1", token, &[&confirmed(named)], "{}").await;
        until(SOON, "somebody can be asked", async || present().await.status == 200).await;
        assert_eq!(told(&present().await), (409, "APPROVAL_USED".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_healthy_server_uses_up_no_approval() {
    let is_well = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&is_well);
    let upstream = Upstream::start(move |seen| match seen.target() {
        "/healthz" if !state.load(Ordering::SeqCst) => {
            Act::Answer(b"HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        _ => Act::ok("fine"),
    })
    .await;
    let checked =
        ", health: { path: /healthz, every: 100ms, timeout: 1s, healthy_after: 1, unhealthy_after: 2 }";
    let scene = scene(&routes(&upstream.address.to_string(), checked)).await;
    let token = scene.mint(&patient()).await.1;
    let acted = || upstream.seen().iter().filter(|seen| seen.target() != "/healthz").count();
    let named = scene.approved("/acts/1", &token, "{}").await;
    let sealed = scene.hold("/sealed/1", &token, "{}").await;
    is_well.store(false, Ordering::SeqCst);
    let fresh = async || scene.post("/acts/2", &token, &[], "{}").await.code() == "UPSTREAM_UNAVAILABLE";
    until(SOON, "nobody is well", fresh).await;
    scene.approve(&sealed).await;
    scene.is_kept(&named, &token, &[503]).await;
    scene.clock.advance(Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((acted(), scene.standing(&sealed).await.as_str()), (0, "approved"), "the gateway waits too");
    is_well.store(true, Ordering::SeqCst);
    scene.works_once(&named, &token).await;
    // The pauses of the errand are by the clock that only a test moves; its time is five minutes.
    for _ in 0..50 {
        scene.clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(300)).await;
        if scene.standing(&sealed).await == "executed" {
            break;
        }
    }
    assert_eq!(scene.standing(&sealed).await, "executed", "the gateway sends it");
    assert_eq!(acted(), 2);
    assert_eq!(scene.steps("approval_executed").await, 2);
}

/// A scene whose upstream is known by name.
async fn named(zone: &Arc<Zone>, port: u16) -> Scene {
    let yaml = format!("{YAML}{}", routes(&format!("app.test:{port}"), ", timeouts: { connect: 1s }"));
    let clock = Arc::new(TestClock::at(portcullis::base::Clock::now(&SystemClock)));
    let names = Arc::clone(zone) as Arc<dyn Names>;
    let gateway = Gateway::start_knowing_by(clock.clone(), names, &yaml).await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, permission("reports")).await;
    Scene { gateway, clock, keys, ada }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_nowhere_uses_up_no_approval() {
    let upstream = Upstream::start_at("127.0.0.2:0", |_| Act::ok("fine")).await.expect("a port");
    let zone = Zone::saying(Said::Hosts(vec!["127.0.0.2"]));
    let scene = named(&zone, upstream.address.port()).await;
    let token = scene.mint(&patient()).await.1;
    let approval = scene.approved("/acts/1", &token, "{}").await;
    // To nobody who may be asked.
    zone.says(Said::Hosts(vec!["169.254.169.254"]));
    let fresh = async || scene.post("/acts/2", &token, &[], "{}").await.code() == "UPSTREAM_UNAVAILABLE";
    until(SOON, "it leads nowhere", fresh).await;
    scene.is_kept(&approval, &token, &[503]).await;
    assert_eq!((upstream.count(), scene.steps("approval_claimed").await), (0, 0));
    // To somebody who is not there: it was taken, and is given back.
    zone.says(Said::Hosts(vec!["127.0.0.9"]));
    let gone = async || scene.post("/acts/1", &token, &[&confirmed(&approval)], "{}").await.status == 502;
    until(SOON, "it leads to nobody", gone).await;
    scene.is_kept(&approval, &token, &[502, 503]).await;
    assert!(scene.steps("approval_rearmed").await > 0, "it was taken and given back");
    assert_eq!(upstream.count(), 0);
    zone.says(Said::Hosts(vec!["127.0.0.2"]));
    scene.works_once(&approval, &token).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_not_found_holds_nothing_and_works_once_it_is() {
    let upstream = Upstream::start_at("127.0.0.2:0", |_| Act::ok("fine")).await.expect("a port");
    let zone = Zone::saying(Said::Failure);
    let scene = named(&zone, upstream.address.port()).await;
    let token = scene.mint(&patient()).await.1;
    let refused = scene.post("/acts/1", &token, &[], "{}").await;
    assert_eq!(told(&refused), (503, "UPSTREAM_UNAVAILABLE".to_owned()));
    assert_eq!((scene.steps("approval_requested").await, upstream.count()), (0, 0));
    zone.says(Said::Hosts(vec!["127.0.0.2"]));
    until(SOON, "found", async || scene.post("/acts/1", &token, &[], "{}").await.status == 202).await;
    let approval = scene.approved("/acts/1", &token, "{}").await;
    zone.says(Said::Failure);
    zone.is_asked_again(1).await;
    assert_eq!(
        scene.post("/acts/1", &token, &[&confirmed(&approval)], "{}").await.status,
        200,
        "what was known"
    );
    scene.comes_to(&approval, "executed").await;
    assert_eq!(upstream.count(), 1);
}
