//! The runs and the table that they fill.
//! Law: every scenario is measured in turn with the yardstick (A B A B …), so that a machine that
//! gets slower halfway slows both; the ratio is taken pair by pair.

use std::time::Duration;

use crate::load::{self, Outcome, Pace, Request};
use crate::process::Process;
use crate::scenario::{self, Scenario};
use crate::{beside, crowd, round, slowest, stream};

pub const CONNECTIONS: usize = 32;
/// What is measured beside the scenarios, by the name that `--only` knows.
const BESIDE: [&str; 6] = ["crowd", "stream", "redis", "latency", "flood", "memory"];

/// How long and how often.
#[derive(Clone, Copy)]
pub struct Effort {
    pub pairs: usize,
    pub span: Duration,
}

/// What somebody wants to know.
pub struct Wish {
    pub effort: Effort,
    /// Everything where this is empty.
    only: Vec<String>,
}

impl Wish {
    /// `--quick`, and `--only ROW,ROW`; what is wrong with the words, where they say anything else.
    pub fn of(words: &[&str]) -> Result<Self, String> {
        let mut wish = Self { effort: Effort { pairs: 7, span: Duration::from_secs(3) }, only: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                // What cargo says to every benchmark.
                "--bench" => {}
                "--quick" => wish.effort = Effort { pairs: 3, span: Duration::from_secs(1) },
                "--only" => wish.only = rows_named(words.next().copied().unwrap_or_default())?,
                other => return Err(format!("{other} means nothing here.\n{}", usage())),
            }
        }
        Ok(wish)
    }

    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == row)
    }
}

fn rows() -> Vec<&'static str> {
    scenario::all().iter().map(|scenario| scenario.row).chain(BESIDE).collect()
}

fn rows_named(list: &str) -> Result<Vec<String>, String> {
    let named: Vec<String> = list.split(',').map(str::to_owned).collect();
    match named.iter().find(|row| !rows().contains(&row.as_str())) {
        Some(row) => Err(format!("No row is called {row:?}.\n{}", usage())),
        None => Ok(named),
    }
}

fn usage() -> String {
    format!("cargo bench --bench gateway -- [--quick] [--only ROW,ROW]\nRows: {}", rows().join(", "))
}

/// What every measurement needs.
pub struct Bench {
    pub backend: Process,
    pub bare: Process,
    pub effort: Effort,
}

/// What is wanted, as a table and lines on standard output.
pub async fn run_all(wish: &Wish) {
    let backend = Process::role(&["backend"]);
    let bare = Process::role(&["bare", &backend.address.to_string()]);
    let bench = Bench { backend, bare, effort: wish.effort };
    let Effort { pairs, span } = bench.effort;
    println!("{pairs} pairs of {span:?}, {CONNECTIONS} connections, access log on\n");
    let scenarios: Vec<_> = scenario::all().into_iter().filter(|scenario| wish.wants(scenario.row)).collect();
    if !scenarios.is_empty() {
        println!(
            "CPU in µs per request, gateway / bare = ratio (least…most):\n\n\
             | scenario | at the same rate | flat out | must | aim | requests/s | p50 µs | p99 µs | peak MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
    }
    for scenario in &scenarios {
        compare(scenario, &bench).await;
    }
    println!();
    for row in BESIDE.into_iter().filter(|row| wish.wants(row)) {
        match row {
            "crowd" => crowd::measure(&bench).await,
            "stream" => stream::measure(&bench).await,
            "redis" => round::measure(&bench).await,
            "latency" => slowest::measure(bench.effort).await,
            "flood" => beside::flood(&bench).await,
            _ => beside::memory(&bench).await,
        }
    }
}

/// One proxy's CPU time per request over one run.
pub struct Run {
    pub cpu: f64,
    pub outcome: Outcome,
}

pub async fn run(process: &Process, request: &Request, span: Duration, pace: Pace) -> Run {
    let before = process.cpu();
    let outcome = load::drive(request, CONNECTIONS, span, pace).await;
    let spent = process.cpu().saturating_sub(before);
    Run { cpu: spent.as_secs_f64() * 1e6 / outcome.requests as f64, outcome }
}

/// The same load on the yardstick and on the gateway, in turn.
pub struct Pairs {
    ours: Vec<Run>,
    theirs: Vec<f64>,
    ratios: Vec<f64>,
}

impl Pairs {
    pub async fn take(
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

    /// CPU time of the measured one and of the yardstick, the median of the ratios and their spread.
    pub fn told(&mut self) -> String {
        let ours = self.ours[self.ours.len() / 2].cpu;
        let theirs = median(&mut self.theirs);
        let (ratio, least, most) = spread(&mut self.ratios);
        format!("{ours:.1} / {theirs:.1} = **{ratio:.2}** ({least:.2}…{most:.2})")
    }
}

/// At the same rate both proxies wake the same neighbours as often. As fast as answers come, the
/// slower of two leaves its neighbours more time to fall asleep, and pays for waking them.
async fn compare(scenario: &Scenario, bench: &Bench) {
    let Bench { backend, bare, effort } = bench;
    let prepared = scenario.prepare(backend.address).await;
    let gateway = Process::gateway(&prepared.config());
    let request = prepared.request(gateway.address).await;
    let plain = Request { to: bare.address, heads: request.heads[..1].to_vec() };
    // Caches, connection pools and the allocator settle before anything counts.
    let warm_up = effort.span / 2;
    let full = run(&gateway, &request, warm_up, Pace::Closed).await.outcome.per_second();
    run(bare, &plain, warm_up, Pace::Closed).await;
    let (one, other) = ((bare, &plain), (&gateway, &request));
    let mut even = Pairs::take(one, other, *effort, Pace::PerSecond(full / 2.0)).await;
    let mut flat_out = Pairs::take(one, other, *effort, Pace::Closed).await;
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

/// Sorts; the one in the middle, the least and the most.
pub fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    let middle = median(values);
    (middle, values[0], values[values.len() - 1])
}

/// Sorts, and gives the one in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
