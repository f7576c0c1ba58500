//! Looks up the names of servers, again and again, checks on the servers, and closes connections to
//! them that nobody used for long.
//!
//! Law: a name that cannot be resolved keeps the addresses it had; DNS trouble is not an outage.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;

use super::names::Lookup;
use super::{Upstream, health};
use crate::config::Server;
use crate::tasks::Tasks;

const SWEEP_EVERY: Duration = Duration::from_secs(1);
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// Starts what keeps an upstream's servers current. It ends with the upstream.
///
/// Returns after the first look, so that a gateway that says it is ready knows where to send.
pub async fn watch_over(upstream: &Arc<Upstream>, lookup: &Lookup, tasks: &Tasks) {
    if upstream.plan.servers.iter().any(|server| matches!(server, Server::Name { .. })) {
        resolve(upstream, lookup).await;
        let lookup = lookup.clone();
        let work = move |upstream: Arc<Upstream>| {
            let lookup = lookup.clone();
            async move { resolve(&upstream, &lookup).await }
        };
        let resolving = repeat(Arc::downgrade(upstream), RESOLVE_EVERY, work);
        tasks.spawn("resolve upstream", until_the_end(tasks, resolving));
    }
    let sweeping = repeat(Arc::downgrade(upstream), SWEEP_EVERY, |upstream: Arc<Upstream>| async move {
        upstream.sweep();
    });
    tasks.spawn("sweep upstream", until_the_end(tasks, sweeping));
    if let Some(check) = upstream.plan.health.clone() {
        let checker = Arc::new(health::Checker::new(check.clone()));
        let work = move |upstream: Arc<Upstream>| {
            let checker = Arc::clone(&checker);
            async move { checker.look(&upstream).await }
        };
        let checking = repeat(Arc::downgrade(upstream), check.every, work);
        tasks.spawn("check upstream", until_the_end(tasks, checking));
    }
}

/// A look that is under way when the process ends is of no use to anybody.
fn until_the_end<W>(tasks: &Tasks, work: W) -> impl Future<Output = ()> + use<W>
where
    W: Future<Output = ()>,
{
    let mut stopping = tasks.stopping();
    async move {
        tokio::select! {
            () = stopping.wait() => {}
            () = work => {}
        }
    }
}

/// Calls `work` at once and then every `pause`, until the upstream is no longer in use.
async fn repeat<F, W>(upstream: Weak<Upstream>, pause: Duration, work: F)
where
    F: Fn(Arc<Upstream>) -> W + Send,
    W: Future<Output = ()> + Send,
{
    while let Some(upstream) = upstream.upgrade() {
        work(upstream).await;
        tokio::time::sleep(pause).await;
    }
}

async fn resolve(upstream: &Upstream, lookup: &Lookup) {
    let servers = &upstream.plan.servers;
    // Beside each other: a name that takes its time keeps no other waiting.
    let looks = join_all(servers.iter().map(|server| lookup.addresses(server))).await;
    let old = upstream.targets.load_full();
    let mut found = Vec::new();
    for (server, addresses) in servers.iter().zip(looks) {
        match addresses {
            Ok(addresses) => found.extend(addresses.into_iter().map(|address| (server.clone(), address))),
            Err(error) => {
                tracing::warn!(upstream = upstream.name(), %server, %error, "a server's name was not resolved");
                let kept = old.iter().filter(|target| target.server == *server);
                found.extend(kept.map(|target| (server.clone(), target.address)));
            }
        }
    }
    upstream.install(found);
}
