//! What the gateway costs, as a ratio to a bare Pingora pass-through measured in the same run.
//!
//! Every figure is CPU time of the proxy process per request (user + system, from the scheduler),
//! so it does not matter that generator, proxy and backend share the machine's cores. Each scenario
//! runs in interleaved pairs with the bare proxy; the median of the pairs and their spread is told.
//! `make bench` runs everything; `cargo bench --bench gateway -- --quick --only agent,stream` is for
//! while you work.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints figures"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark is not the gateway: it spawns its own load")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index from a share")]
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot run stops")]

mod awake;
mod backend;
mod bare;
mod beside;
mod crowd;
mod front;
mod load;
mod measure;
mod process;
mod round;
mod scenario;
mod slowest;
mod stream;

use measure::Wish;

/// The allocator that the shipped binary has: only like is compared with like.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["backend"] => runtime().block_on(backend::serve()).expect("the backend serves"),
        ["bare", upstream] => runtime().block_on(bare::serve(upstream.parse().expect("an address"))),
        words => match Wish::of(words) {
            Ok(wish) => runtime().block_on(measure::run_all(&wish)),
            Err(trouble) => {
                eprintln!("{trouble}");
                std::process::exit(2);
            }
        },
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts")
}
