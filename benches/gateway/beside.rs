//! What is told beside the ratios: a flood of logins, memory.
//! Law: a figure is taken in turn with what it is compared to, or at the same time.

use std::time::Duration;

use crate::front;
use crate::load::{self, Pace};
use crate::measure::{Bench, CONNECTIONS, run, spread};
use crate::process::Process;
use crate::scenario;

/// What is idle in the memory scenario.
const IDLE_CONNECTIONS: usize = 2000;

/// Whether people who log in slow down those who are already in.
pub async fn flood(bench: &Bench) {
    let effort = bench.effort;
    let scenario = scenario::warm_bearer();
    let prepared = scenario.prepare(bench.backend.address).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    let pace = Pace::PerSecond(2000.0);
    let mut ratios = Vec::new();
    for _ in 0..effort.pairs {
        let calm = load::drive(&request, CONNECTIONS, effort.span, pace).await.percentile(0.99);
        let logins = tokio::spawn(front::flood_of_logins(gateway.address, effort.span));
        let busy = load::drive(&request, CONNECTIONS, effort.span, pace).await.percentile(0.99);
        let answered = logins.await.expect("the flood ends by itself");
        assert!(answered > 0, "the flood reached the gateway");
        ratios.push(f64::from(busy) / f64::from(calm.max(1)));
    }
    let (middle, least, most) = spread(&mut ratios);
    println!(
        "p99 of proxied requests during a flood of logins: x {middle:.2} ({least:.2}…{most:.2}); must be at most 2."
    );
}

/// Resident memory: at rest, with idle connections, and after they are gone.
pub async fn memory(bench: &Bench) {
    let scenario = scenario::public();
    let prepared = scenario.prepare(bench.backend.address).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    run(&gateway, &request, Duration::from_millis(500), Pace::Closed).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let base = gateway.resident();
    let idle = front::idle_connections(&request, IDLE_CONNECTIONS).await;
    let loaded = gateway.resident();
    drop(idle);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = gateway.resident();
    println!(
        "Memory: {:.1} MB at rest (must be at most 60); {:.1} KB per idle connection over {IDLE_CONNECTIONS} (at most 25); \
         {:.1} MB after they closed, {:+.0} % (at most +30).",
        base as f64 / 1024.0,
        (loaded.saturating_sub(base)) as f64 / IDLE_CONNECTIONS as f64,
        after as f64 / 1024.0,
        (after as f64 / base as f64 - 1.0) * 100.0
    );
}
