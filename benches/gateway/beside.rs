//! What is told beside the ratios: the slowest requests, a flood of logins, memory.
//! Law: a figure is taken in turn with what it is compared to, or at the same time.

use std::time::Duration;

use crate::front;
use crate::load::{self, Pace, Request};
use crate::measure::{Bench, CONNECTIONS, run, spread};
use crate::process::{self, Process};
use crate::scenario;

/// What is idle in the memory scenario.
const IDLE_CONNECTIONS: usize = 2000;

/// Short enough that what disturbs the machine meets both proxies.
const SLICE: Duration = Duration::from_millis(300);

/// What the gateway adds to the slowest hundredth of requests at half of what it can do.
/// The proxy whose turn it is has a core of its own, the generator and the backend share another:
/// on the same cores that percentile is made of the scheduler's time slices. The two take turns in
/// short slices at the same rate, and one figure is the difference over many of them.
pub async fn latency(bench: &Bench) {
    let Bench { backend, bare, effort } = bench;
    let scenario = scenario::warm_bearer();
    let prepared = scenario.prepare(backend.address).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    let plain = Request { to: bare.address, heads: request.heads[..1].to_vec() };
    let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let is_apart = last > 0
        && [&gateway, bare].into_iter().all(|proxy| proxy.pin("0"))
        && backend.pin(&format!("1-{last}"))
        && process::pin_this(&format!("1-{last}"));
    if !is_apart {
        println!("Left out: added p99. It needs two cores and `taskset` (util-linux).");
        return;
    }
    let full = run(&gateway, &request, effort.span, Pace::Closed).await.outcome.per_second();
    let pace = Pace::PerSecond(full / 2.0);
    let slices = (effort.span.as_millis() / SLICE.as_millis()).max(1);
    let (mut added, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..effort.pairs {
        let mut both = Vec::new();
        for _ in 0..slices {
            let yardstick = load::drive(&plain, CONNECTIONS, SLICE, pace).await;
            let measured = load::drive(&request, CONNECTIONS, SLICE, pace).await;
            both.push((yardstick, measured));
        }
        let pooled = both.into_iter().reduce(|(a, b), (c, d)| (a.and(c), b.and(d)));
        let (yardstick, measured) = pooled.expect("there is a slice");
        let (yardstick, measured) = (yardstick.percentile(0.99), measured.percentile(0.99));
        added.push(f64::from(measured) - f64::from(yardstick));
        bares.push(f64::from(yardstick));
    }
    let everywhere = format!("0-{last}");
    let is_back = [bare, backend].into_iter().all(|process| process.pin(&everywhere));
    assert!(is_back && process::pin_this(&everywhere), "what comes next has all cores again");
    let (middle, least, most) = spread(&mut added);
    println!(
        "Added p99 at half load ({:.0} requests/s, the proxy on a core of its own): {middle:.0} µs ({least:.0}…{most:.0}) \
         to {:.0} µs; must be at most 100.",
        full / 2.0,
        spread(&mut bares).0
    );
}

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
