//! What it costs to read from a model's stream what it cost.
//! Law: the same events from the same backend to the same agent, over the same path through the
//! gateway; the only difference is that somebody reads along.

use std::time::Duration;

use crate::backend::{BURST, PACED};
use crate::front::{agent_bearer, head, log_in, mint, with_body};
use crate::load::{self, Request};
use crate::measure::{Bench, spread};
use crate::process::Process;
use crate::scenario;

const CONNECTIONS: usize = 32;
const PROMPT: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Tell me."}]}"#;

pub async fn measure(bench: &Bench) {
    let Bench { backend, effort, .. } = bench;
    let prepared = scenario::agents(scenario::ONE).prepare(backend.address).await;
    let gateway = Process::gateway(&prepared.config());
    let to = gateway.address;
    let shown = agent_bearer(&mint(to, &log_in(to).await, 1).await.remove(0));
    for (what, (path, events)) in [("one by one", PACED), ("in pieces of 16 KB", BURST)] {
        let metered = vec![with_body(&format!("/models{path}"), to, &shown, PROMPT)];
        let metered = Request { to, heads: metered };
        let plain = Request { to, heads: vec![head(&format!("/plain{path}"), to, &shown)] };
        told(&gateway, &metered, effort.span / 2).await;
        let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.pairs {
            without.push(told(&gateway, &plain, effort.span).await / events as f64);
            with.push(told(&gateway, &metered, effort.span).await / events as f64);
            ratios.push(with[with.len() - 1] / without[without.len() - 1]);
        }
        let (ratio, least, most) = spread(&mut ratios);
        println!(
            "CPU in µs per event of a stream, metered / not, events {what}: {:.2} / {:.2} = **{ratio:.2}** \
             ({least:.2}…{most:.2}); must be at most 1.10.",
            spread(&mut with).0,
            spread(&mut without).0,
        );
    }
}

/// The gateway's CPU time for one stream, in microseconds.
async fn told(gateway: &Process, request: &Request, span: Duration) -> f64 {
    let before = gateway.cpu();
    let streams = load::streams(request, CONNECTIONS, span).await;
    // What is settled after the last byte belongs to it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let spent = gateway.cpu().saturating_sub(before);
    spent.as_secs_f64() * 1e6 / streams as f64
}
