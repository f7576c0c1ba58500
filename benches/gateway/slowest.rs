//! What the gateway adds to the slowest hundredth of requests at half of what it can do.
//!
//! Law: nobody waits for a core but for what is measured. The proxy has one for itself, with one thread;
//! generator and backend are one thread on another, which looks at its sockets without ever sleeping
//! (`awake`). In processes of their own they would take turns in the scheduler's slices of some
//! milliseconds, and that percentile would be made of those.

use std::time::Duration;

use crate::awake::Client;
use crate::load::{Pace, Request};
use crate::measure::{CONNECTIONS, Effort};
use crate::process::{self, Process};
use crate::{awake, scenario};

/// Short enough that what disturbs the machine meets both proxies, or spoils one figure among many.
const SLICE: Duration = Duration::from_millis(300);
const OF_THE_PROXY: &str = "0";

/// Leaves this process on the cores that it had.
pub async fn measure(effort: Effort) {
    let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    if last == 0 || !process::pin_this(&format!("1-{last}")) {
        println!("Left out: added p99. It needs two cores and `taskset` (util-linux).");
        return;
    }
    println!("{}", added(effort).await);
    assert!(process::pin_this(&format!("0-{last}")), "what comes next has all cores again");
}

/// Both take turns in short slices at the same rate; each pair of slices is one figure.
async fn added(effort: Effort) -> String {
    let mut backend = awake::Backend::listen();
    let prepared = scenario::warm_bearer().prepare(backend.address()).await;
    let bare = Process::role_on(OF_THE_PROXY, &["bare", &backend.address().to_string()]);
    let gateway = Process::gateway_on(OF_THE_PROXY, &prepared.config());
    let request = prepared.request(gateway.address).await;
    let plain = Request { to: bare.address, heads: request.heads[..1].to_vec() };
    let mut plain = Client::of(&plain, CONNECTIONS);
    let mut measured = Client::of(&request, CONNECTIONS);
    plain.drive(&mut backend, effort.span, Pace::Closed);
    let full = measured.drive(&mut backend, effort.span, Pace::Closed).per_second();
    let pace = Pace::PerSecond(full / 2.0);
    let slices = effort.span.as_millis() / SLICE.as_millis() * effort.pairs as u128;
    let (mut added, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..slices.max(1) {
        let yardstick = f64::from(plain.drive(&mut backend, SLICE, pace).percentile(0.99));
        let measured = f64::from(measured.drive(&mut backend, SLICE, pace).percentile(0.99));
        added.push(measured - yardstick);
        bares.push(yardstick);
    }
    added.sort_by(f64::total_cmp);
    bares.sort_by(f64::total_cmp);
    let at = |values: &[f64], share: usize| values[values.len() * share / 4];
    format!(
        "Added p99 at half load ({:.0} requests/s, the proxy on a core of its own): {:.0} µs (the middle half of {} \
         pairs of slices: {:.0}…{:.0}) to {:.0} µs; must be at most 100.",
        full / 2.0,
        at(&added, 2),
        added.len(),
        at(&added, 1),
        at(&added, 3),
        at(&bares, 2),
    )
}
