//! What the gateway adds to the slowest hundredth of requests at half of what it can do.
//!
//! Law: nobody waits for a core but for what is measured. The proxy has one for itself, with one thread;
//! generator and backend are one thread on another, which looks at its sockets without ever sleeping. In
//! processes of their own they would take turns in the scheduler's slices of some milliseconds, and that
//! percentile would be made of those.

use std::time::Duration;

use crate::load::{self, Pace, Request};
use crate::measure::{CONNECTIONS, Effort, spread};
use crate::process::{self, Process};
use crate::{backend, scenario};

/// Short enough that what disturbs the machine meets both proxies.
const SLICE: Duration = Duration::from_millis(300);
const OF_THE_PROXY: &str = "0";

/// Leaves this process on the cores that it had.
pub async fn measure(effort: Effort) {
    let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    if last == 0 || !process::pin_this(&format!("1-{last}")) {
        println!("Left out: added p99. It needs two cores and `taskset` (util-linux).");
        return;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut awake = tokio::runtime::Builder::new_current_thread();
        let awake = awake.enable_all().event_interval(1).build().expect("a runtime starts");
        let line = awake.block_on(added(effort));
        tell.send(line).expect("somebody waits for it");
    });
    println!("{}", told.await.expect("the measurement ends by itself"));
    assert!(process::pin_this(&format!("0-{last}")), "what comes next has all cores again");
}

/// Both take turns in short slices at the same rate; one figure is the difference over many of them.
async fn added(effort: Effort) -> String {
    let backend = backend::begin().await.expect("loopback has a free port");
    let prepared = scenario::warm_bearer().prepare(backend).await;
    let bare = Process::role_on(OF_THE_PROXY, &["bare", &backend.to_string()]);
    let gateway = Process::gateway_on(OF_THE_PROXY, &prepared.config());
    let request = prepared.request(gateway.address).await;
    let plain = Request { to: bare.address, heads: request.heads[..1].to_vec() };
    load::drive(&plain, CONNECTIONS, effort.span, Pace::Closed).await;
    let full = load::drive(&request, CONNECTIONS, effort.span, Pace::Closed).await.per_second();
    let pace = Pace::Awake(full / 2.0);
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
    let (middle, least, most) = spread(&mut added);
    format!(
        "Added p99 at half load ({:.0} requests/s, the proxy on a core of its own): {middle:.0} µs ({least:.0}…{most:.0}) \
         to {:.0} µs; must be at most 100.",
        full / 2.0,
        spread(&mut bares).0
    )
}
