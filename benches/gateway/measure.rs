//! The runs and the table that they fill.
//! Law: every scenario is measured in turn with the yardstick (A B A B …), so that a machine that
//! gets slower halfway slows both; the ratio is taken pair by pair.

use std::net::SocketAddr;
use std::time::Duration;

use crate::load::{self, Outcome, Pace, Request};
use crate::process::Process;
use crate::scenario::{self, Scenario};

const CONNECTIONS: usize = 32;
/// What is idle in the memory scenario.
const IDLE_CONNECTIONS: usize = 2000;

/// How long and how often.
#[derive(Clone, Copy)]
struct Effort {
    pairs: usize,
    span: Duration,
}

/// Everything, as a table on standard output.
pub async fn all(is_quick: bool) {
    let effort = if is_quick {
        Effort { pairs: 3, span: Duration::from_secs(1) }
    } else {
        Effort { pairs: 7, span: Duration::from_secs(3) }
    };
    let backend = Process::role(&["backend"]);
    let bare = Process::role(&["bare", &backend.address.to_string()]);
    println!("{} pairs of {:?}, {CONNECTIONS} connections, access log on\n", effort.pairs, effort.span);
    println!(
        "CPU in µs per request, gateway / bare = ratio (least…most):\n\n\
         | scenario | at the same rate | flat out | must | aim | requests/s | p50 µs | p99 µs | peak MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for scenario in scenario::all() {
        compare(&scenario, &bare, backend.address, effort).await;
    }
    latency(&bare, backend.address, effort).await;
    flood(backend.address, effort).await;
    memory(backend.address).await;
}

/// One proxy's CPU time per request over one run.
struct Run {
    cpu: f64,
    outcome: Outcome,
}

async fn run(process: &Process, request: &Request, span: Duration, pace: Pace) -> Run {
    let before = process.cpu();
    let outcome = load::drive(request, CONNECTIONS, span, pace).await;
    let spent = process.cpu().saturating_sub(before);
    Run { cpu: spent.as_secs_f64() * 1e6 / outcome.requests as f64, outcome }
}

/// The same load on the yardstick and on the gateway, in turn.
struct Pairs {
    ours: Vec<Run>,
    theirs: Vec<f64>,
    ratios: Vec<f64>,
}

impl Pairs {
    async fn take(
        one: (&Process, &Request),
        other: (&Process, &Request),
        effort: Effort,
        pace: Pace,
    ) -> Self {
        let mut pairs = Self { ours: Vec::new(), theirs: Vec::new(), ratios: Vec::new() };
        for _ in 0..effort.pairs {
            let yardstick = run(one.0, one.1, effort.span, pace).await;
            let measured = run(other.0, other.1, effort.span, pace).await;
            pairs.ratios.push(measured.cpu / yardstick.cpu);
            pairs.theirs.push(yardstick.cpu);
            pairs.ours.push(measured);
        }
        pairs.ours.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
        pairs
    }

    /// CPU time of both, the median of the ratios and their spread.
    fn told(&mut self) -> String {
        let ours = self.ours[self.ours.len() / 2].cpu;
        let (theirs, ratio) = (median(&mut self.theirs), median(&mut self.ratios));
        let (least, most) = (self.ratios[0], self.ratios[self.ratios.len() - 1]);
        format!("{ours:.1} / {theirs:.1} = **{ratio:.2}** ({least:.2}…{most:.2})")
    }
}

/// At the same rate both proxies wake the same neighbours as often. As fast as answers come, the
/// slower of two leaves its neighbours more time to fall asleep, and pays for waking them.
async fn compare(scenario: &Scenario, bare: &Process, backend: SocketAddr, effort: Effort) {
    let prepared = scenario.prepare(backend).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    let plain = Request { to: bare.address, heads: request.heads[..1].to_vec() };
    // Caches, connection pools and the allocator settle before anything counts.
    let warm_up = effort.span / 2;
    let full = run(&gateway, &request, warm_up, Pace::Closed).await.outcome.per_second();
    run(bare, &plain, warm_up, Pace::Closed).await;
    let (one, other) = ((bare, &plain), (&gateway, &request));
    let mut even = Pairs::take(one, other, effort, Pace::PerSecond(full / 2.0)).await;
    let mut flat_out = Pairs::take(one, other, effort, Pace::Closed).await;
    let (even, told) = (even.told(), flat_out.told());
    let middle = &flat_out.ours[flat_out.ours.len() / 2].outcome;
    println!(
        "| {} | {even} | {told} | {} | {} | {:.0} | {} | {} | {:.0} |",
        scenario.name,
        scenario.must,
        scenario.aim,
        middle.per_second(),
        middle.percentile(0.5),
        middle.percentile(0.99),
        gateway.peak() as f64 / 1024.0,
    );
}

/// What the gateway adds to the slowest hundredth of requests at half of what the machine can do.
/// Both proxies serve half of that load at the same time, so that whatever disturbs one of them
/// disturbs the other: in turns, the scheduler's noise was thirty times what is looked for.
async fn latency(bare: &Process, backend: SocketAddr, effort: Effort) {
    let scenario = scenario::warm_bearer();
    let prepared = scenario.prepare(backend).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    let plain = Request { to: bare.address, heads: request.heads[..1].to_vec() };
    let full = run(&gateway, &request, effort.span, Pace::Closed).await.outcome.per_second();
    let pace = Pace::PerSecond(full / 4.0);
    let (mut added, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..effort.pairs * 3 {
        let (yardstick, measured) = tokio::join!(
            load::drive(&plain, CONNECTIONS, effort.span, pace),
            load::drive(&request, CONNECTIONS, effort.span, pace),
        );
        let (yardstick, measured) = (yardstick.percentile(0.99), measured.percentile(0.99));
        added.push(f64::from(measured) - f64::from(yardstick));
        bares.push(f64::from(yardstick));
    }
    println!(
        "\nAdded p99 at half load (twice {:.0} requests/s): {:.0} µs ({:.0}…{:.0}) to {:.0} µs; must be at most 100.",
        full / 4.0,
        median(&mut added),
        added[0],
        added[added.len() - 1],
        median(&mut bares)
    );
}

/// Whether people who log in slow down those who are already in.
async fn flood(backend: SocketAddr, effort: Effort) {
    let scenario = scenario::warm_bearer();
    let prepared = scenario.prepare(backend).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    let pace = Pace::PerSecond(2000.0);
    let mut ratios = Vec::new();
    for _ in 0..effort.pairs {
        let calm = load::drive(&request, CONNECTIONS, effort.span, pace).await.percentile(0.99);
        let logins = tokio::spawn(scenario::flood_of_logins(gateway.address, effort.span));
        let busy = load::drive(&request, CONNECTIONS, effort.span, pace).await.percentile(0.99);
        let answered = logins.await.expect("the flood ends by itself");
        assert!(answered > 0, "the flood reached the gateway");
        ratios.push(f64::from(busy) / f64::from(calm.max(1)));
    }
    println!(
        "p99 of proxied requests during a flood of logins: x {:.2} ({:.2}…{:.2}); must be at most 2.",
        median(&mut ratios),
        ratios[0],
        ratios[ratios.len() - 1]
    );
}

/// Resident memory: at rest, with idle connections, and after they are gone.
async fn memory(backend: SocketAddr) {
    let scenario = scenario::public();
    let prepared = scenario.prepare(backend).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    run(&gateway, &request, Duration::from_millis(500), Pace::Closed).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let base = gateway.resident();
    let idle = scenario::idle_connections(&request, IDLE_CONNECTIONS).await;
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

/// Sorts, and gives the one in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
