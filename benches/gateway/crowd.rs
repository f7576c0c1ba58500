//! Whether an agent's request costs more where there are many other agents.
//! Law: both gateways are the same but for their agents, and are measured in turn.

use crate::load::{self, Pace};
use crate::measure::{Bench, CONNECTIONS, Pairs, run};
use crate::process::Process;
use crate::scenario::{self, Agents};

const FEW: Agents = Agents { live: 10, in_use: 10 };
const LIVE: Agents = Agents { live: 100_000, in_use: 10 };
const BUSY: Agents = Agents { live: 100_000, in_use: 10_000 };

/// Many that live, which must cost nothing, and many that call, of which each has its own tokens,
/// purse and notes of use.
pub async fn measure(bench: &Bench) {
    against_few(bench, LIVE, "must be 1.00 but for the spread").await;
    against_few(bench, BUSY, "told for comparison").await;
}

async fn against_few(bench: &Bench, crowd: Agents, bar: &str) {
    let Bench { backend, effort, .. } = bench;
    let few = scenario::agents(FEW).prepare(backend.address).await;
    let many = scenario::agents(crowd).prepare(backend.address).await;
    let (calm, crowded) = (Process::gateway(&few.config()), Process::gateway(&many.config()));
    let (one, other) = (few.request(calm.address).await, many.request(crowded.address).await);
    // Who calls for the first time is read from the store.
    load::each_once(&other, CONNECTIONS).await;
    run(&calm, &one, effort.span / 2, Pace::Closed).await;
    let full = run(&crowded, &other, effort.span / 2, Pace::Closed).await.outcome.per_second();
    let (one, other) = ((&calm, &one), (&crowded, &other));
    let even = Pairs::take(one, other, *effort, Pace::PerSecond(full / 2.0)).await.told();
    let flat_out = Pairs::take(one, other, *effort, Pace::Closed).await.told();
    let more = crowded.resident().saturating_sub(calm.resident());
    println!(
        "CPU in µs of an agent's request, {} live agents with {} in use / {} of both: {even} at the same rate, \
         {flat_out} flat out; {bar}. Memory: {:+.1} MB.",
        crowd.live,
        crowd.in_use,
        FEW.live,
        more as f64 / 1024.0,
    );
}
