//! What the way to Redis adds to an agent's request, and how often it is taken.
//! Law: both gateways have a PostgreSQL of their own and the same agent; only one asks Redis.

use portcullis::store::Dialect;
use portcullis::store::testing::TestStore;

use crate::load::{self, Pace};
use crate::measure::{Bench, spread};
use crate::process::Process;
use crate::scenario::{self, Ground};

/// Few enough that nobody waits for anybody.
const RATE: f64 = 400.0;
const CONNECTIONS: usize = 8;
const REDIS: &str = "PORTCULLIS_TEST_REDIS";
const POSTGRES: &str = "PORTCULLIS_TEST_POSTGRES";

pub async fn measure(bench: &Bench) {
    let Bench { backend, effort, .. } = bench;
    let (Some(redis), Some(_)) = (named(REDIS), named(POSTGRES)) else {
        println!(
            "Left out: what the way to Redis adds. {REDIS} and {POSTGRES} must name servers; `make bench` starts them."
        );
        return;
    };
    let (here, there) = (TestStore::bare(Dialect::Postgres).await, TestStore::bare(Dialect::Postgres).await);
    let ground = |store: &TestStore, shared: &str| Ground {
        store: Some(store.address()),
        shared: Some(shared.to_owned()),
    };
    let agent = scenario::agents(scenario::ONE);
    let near = agent.prepare_on(backend.address, ground(&here, "memory")).await;
    let far = agent.prepare_on(backend.address, ground(&there, &redis)).await;
    let (alone, shared) = (Process::gateway(&near.config()), Process::gateway(&far.config()));
    let (one, other) = (near.request(alone.address).await, far.request(shared.address).await);
    let (mut added, mut bases, mut trips) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..=effort.pairs {
        let before = scripts(&redis);
        // At the same time, so that whatever disturbs one of them disturbs the other.
        let (base, measured) = tokio::join!(
            load::drive(&one, CONNECTIONS, effort.span, Pace::PerSecond(RATE)),
            load::drive(&other, CONNECTIONS, effort.span, Pace::PerSecond(RATE)),
        );
        let asked = scripts(&redis) - before;
        // The first turn warms up: it fills purses and connects.
        if turn > 0 {
            trips.push(asked as f64 / measured.requests as f64);
            bases.push(f64::from(base.percentile(0.99)));
            added.push(f64::from(measured.percentile(0.99)) - f64::from(base.percentile(0.99)));
        }
    }
    let (middle, least, most) = spread(&mut added);
    println!(
        "p99 of an agent's request with Redis instead of memory, {RATE:.0} requests/s: {middle:+.0} µs \
         ({least:.0}…{most:.0}) to {:.0} µs; must be at most +300. Questions to Redis per request: {:.2} (must be at most 1).",
        spread(&mut bases).0,
        spread(&mut trips).2,
    );
}

fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// How many scripts Redis has run for anybody.
fn scripts(url: &str) -> u64 {
    let mut connection =
        redis::Client::open(url).and_then(|client| client.get_connection()).expect("Redis answers");
    let told: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).expect("Redis answers");
    let calls = |line: &str| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok();
    told.lines().find_map(calls).unwrap_or(0)
}
