//! What a page of a list costs where there is much: every list of people, of the trail and of logins, asked over
//! HTTP for its first page, one in its middle and its last, over 1,000,000 people and 10,000,000 audit rows.
//! Law: figures are shown and not judged: what takes more than 50 ms is marked, and the run ends well. An answer
//! with another status, or without rows where there are some, is no figure and ends it.
//! The lists of the profile `auth-system` are left out: they count, and turn pages no further than 10,000 rows.
//! `cargo bench --bench lists -- --people 100000 --rows 1000000` asks less of the machine.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told from outside where its servers are")]
#![expect(clippy::panic, reason = "a benchmark that cannot run stops")]

mod asked;
mod client;
mod fill;
mod gateway;
mod made;
mod trail;

use std::time::{Duration, Instant};

use portcullis::audit::Stream;
use portcullis::store::Dialect;
use portcullis::store::testing::TestStore;

use asked::{List, Page};
use gateway::Gateway;
use made::Size;

/// The allocator that the shipped binary has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const POSTGRES: &str = "PORTCULLIS_TEST_POSTGRES";
/// What a page may take.
const MOST: Duration = Duration::from_millis(50);
const WARM: usize = 2;
const TIMES: usize = 20;
/// A page that takes so long is not asked for so often: that it is too slow is known.
const SLOW: Duration = Duration::from_millis(500);
const TIMES_IF_SLOW: usize = 3;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match made::wished(&words) {
        Ok(size) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(run(size));
        }
        Err(trouble) => {
            eprintln!("{trouble}");
            std::process::exit(2);
        }
    }
}

async fn run(size: Size) {
    let [changes, decisions] = Stream::ALL.map(|stream| size.rows_of(stream));
    println!("{} people, {} logins, {changes} changes, {decisions} decisions.", size.people, size.sessions());
    let is_there = std::env::var(POSTGRES).is_ok_and(|value| !value.is_empty());
    if !is_there {
        println!("Left out: PostgreSQL. {POSTGRES} must name a server; `make bench` starts one.");
    }
    let mut dialects = vec![Dialect::Sqlite];
    dialects.extend(is_there.then_some(Dialect::Postgres));
    let mut stores = Vec::new();
    for dialect in dialects {
        stores.push(TestStore::of(dialect).await);
    }
    // At once: one of them is filled by this process and the other one by the server.
    futures::future::join_all(stores.iter().map(|store| fill::fill(store, size))).await;
    println!("| store | list | page | median ms | slowest ms | |\n|---|---|---|---|---|---|");
    let mut slow = 0;
    for store in stores {
        let gateway = Gateway::over(&store).await;
        for list in asked::all(size) {
            slow += told(&store, &gateway, &list).await;
        }
        gateway.end().await;
    }
    println!("{slow} pages took more than {} ms, by their median.", MOST.as_millis());
}

/// Asks for every page of a list and prints its lines; how many of them took too long.
async fn told(store: &TestStore, gateway: &Gateway, list: &List) -> usize {
    let mut slow = 0;
    for page in &list.pages {
        let taken = taken(gateway, page).await;
        let (median, slowest) = (taken[taken.len() / 2], taken[taken.len() - 1]);
        let is_slow = median > MOST;
        slow += usize::from(is_slow);
        println!(
            "| {:?} | {} | {} | {:.1} | {:.1} | {} |",
            store.db().dialect(),
            list.name,
            page.which,
            median.as_secs_f64() * 1000.0,
            slowest.as_secs_f64() * 1000.0,
            if is_slow { "**over 50 ms**" } else { "" }
        );
    }
    slow
}

/// How long the page took each time, sorted.
async fn taken(gateway: &Gateway, page: &Page) -> Vec<Duration> {
    let mut times = TIMES;
    for _ in 0..WARM {
        if once(gateway, page).await > SLOW {
            times = TIMES_IF_SLOW;
        }
    }
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        taken.push(once(gateway, page).await);
    }
    taken.sort_unstable();
    taken
}

async fn once(gateway: &Gateway, page: &Page) -> Duration {
    let began = Instant::now();
    let answer = client::get(gateway.address(), &page.path, gateway.token()).await;
    let took = began.elapsed();
    page.judge(&answer);
    took
}
