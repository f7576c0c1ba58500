//! Where requests go: upstreams, their servers, and which one is next.
//!
//! Law: a choice looks only at what is in memory. Names are resolved and servers are checked in
//! the background; a server that does not answer is asked by checks, not by clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use arc_swap::ArcSwap;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;

use crate::config::{self, Balance, Server};
use crate::metrics::{self, Health, UpstreamMetrics};

mod breaker;
mod health;
mod idle;
mod keep_alive;
mod names;
mod peer;
mod resolve;
mod websocket;

pub use breaker::{Brings, Outcome, Try};
pub use names::{Lookup, Names, SystemNames};
pub use peer::Tls;
pub(crate) use peer::Use;
pub use resolve::watch_over;

use breaker::{Breaker, Pass};
use idle::Idle;

/// One upstream with its servers.
pub struct Upstream {
    plan: config::Upstream,
    tls: Option<Tls>,
    group: u64,
    targets: ArcSwap<Vec<Arc<Target>>>,
    next: AtomicUsize,
    /// Requests that are there, where they are counted.
    in_flight: Arc<AtomicUsize>,
    breaker: Option<Breaker>,
    /// Whether it is the one of its name that metrics show.
    is_shown: AtomicBool,
    metrics: Arc<UpstreamMetrics>,
}

/// One address of one server.
pub struct Target {
    address: SocketAddr,
    address_text: Arc<str>,
    server: Server,
    template: HttpPeer,
    is_up: AtomicBool,
    busy: AtomicUsize,
    idle: Idle,
    /// In milliseconds, how long the server says it keeps a connection that nobody uses.
    keeps_for: AtomicU64,
}

/// A server that was chosen. Counts as busy until it is dropped.
pub struct Chosen {
    target: Arc<Target>,
    /// Where it is what an open breaker tries.
    tries: Option<Try>,
    _place: Option<Place>,
}

/// One of the requests that an upstream may have at once, given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.target.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Chosen {
    pub fn address(&self) -> SocketAddr {
        self.target.address
    }

    pub(super) fn tries(&self) -> Option<Try> {
        self.tries
    }

    /// The same as text.
    pub(super) fn address_text(&self) -> Arc<str> {
        Arc::clone(&self.target.address_text)
    }

    /// The server as the configuration has it.
    pub fn server(&self) -> &Server {
        &self.target.server
    }

    /// Whether connections of this description serve one request after the other, whosever.
    pub(super) fn is_shared(&self, peer: &HttpPeer) -> bool {
        peer.group_key == self.target.template.group_key
    }

    /// A connection to it that waits for a request of the shared kind.
    pub(super) fn waiting(&self, longest: Duration) -> Option<Stream> {
        self.target.idle.take(longest)
    }

    /// Keeps a connection for the next request of the shared kind.
    pub(super) fn keep(&self, stream: Stream) {
        self.target.idle.keep(stream);
    }

    /// How to connect; the route's own times beat the upstream's.
    pub(crate) fn peer(&self, usage: Use, own: config::RouteTimeouts) -> Box<HttpPeer> {
        let mut peer = peer::for_use(&self.target.template, usage, own);
        peer.options.idle_timeout = peer.options.idle_timeout.map(|longest| self.target.idle_for(longest));
        peer
    }

    /// Takes note of how long the server keeps its connections, as the head of an answer says.
    pub(crate) fn hears(&self, answer: &HeaderMap) {
        let keeps_for = keep_alive::kept_for(answer).map_or(u64::MAX, millis);
        // Nearly always the same again, and a write would take the line from other threads.
        if self.target.keeps_for.load(Ordering::Relaxed) != keeps_for {
            self.target.keeps_for.store(keeps_for, Ordering::Relaxed);
        }
    }
}

/// Why no server was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoneToAsk {
    /// It has as many requests as it may have.
    Full,
    BreakerOpen,
    /// All are down, or their names have no address.
    AllDown,
}

impl Upstream {
    /// Servers given by address are known at once, those given by name after the first look.
    pub fn new(plan: config::Upstream, tls: Option<Tls>, metrics: Arc<UpstreamMetrics>) -> Arc<Self> {
        let breaker = plan.breaker.as_ref().map(|rule| Breaker::new(rule, Arc::clone(&metrics)));
        let upstream = Self {
            group: peer::fresh_group(),
            tls,
            targets: ArcSwap::default(),
            next: AtomicUsize::new(0),
            in_flight: Arc::default(),
            breaker,
            is_shown: AtomicBool::new(false),
            metrics,
            plan,
        };
        let known = upstream.plan.servers.iter().filter_map(|server| match server {
            Server::Address(address) => Some((server.clone(), *address)),
            Server::Name { .. } => None,
        });
        upstream.install(known.collect());
        Arc::new(upstream)
    }

    /// Whether an upstream made of these would be this one.
    pub fn is_as(&self, plan: &config::Upstream, tls: Option<&Tls>) -> bool {
        let is_same_tls = match (&self.tls, tls) {
            (Some(own), Some(other)) => own.is_as(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        self.plan == *plan && is_same_tls
    }

    pub fn name(&self) -> &str {
        &self.plan.name
    }

    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// What the configuration says about it.
    pub const fn plan(&self) -> &config::Upstream {
        &self.plan
    }

    /// The next server to ask, another one than `not` where there is one.
    ///
    /// # Errors
    /// [`NoneToAsk`].
    pub fn choose(&self, not: Option<SocketAddr>, brings: Brings) -> Result<Chosen, NoneToAsk> {
        let place = self.place(not)?;
        let mut tries = None;
        if let (Some(breaker), None) = (&self.breaker, not) {
            match breaker.lets_through(brings, Instant::now()).ok_or(NoneToAsk::BreakerOpen)? {
                Pass::AsMany => {}
                Pass::As(attempt) => tries = Some(attempt),
            }
        }
        let chosen = self.next(not);
        if chosen.is_none() {
            self.learnt_nothing(tries, brings);
        }
        let target = chosen.ok_or(NoneToAsk::AllDown)?;
        target.busy.fetch_add(1, Ordering::Relaxed);
        Ok(Chosen { target, tries, _place: place })
    }

    /// The server whose turn it is.
    fn next(&self, not: Option<SocketAddr>) -> Option<Arc<Target>> {
        let targets = self.targets.load();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..targets.len()).map(|step| &targets[start.wrapping_add(step) % targets.len()]);
        let mut up = in_turn.filter(|target| target.is_up.load(Ordering::Relaxed)).peekable();
        let fallback = up.peek().copied()?;
        let mut others = up.filter(|target| Some(target.address) != not);
        let chosen = match self.plan.balance {
            Balance::RoundRobin => others.next(),
            Balance::LeastConnections => others.min_by_key(|target| target.busy.load(Ordering::Relaxed)),
        };
        Some(Arc::clone(chosen.unwrap_or(fallback)))
    }

    /// A place for a request, where they are counted. One that is tried again had one already.
    fn place(&self, not: Option<SocketAddr>) -> Result<Option<Place>, NoneToAsk> {
        let Some(most) = self.most() else { return Ok(None) };
        let others = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.in_flight));
        if not.is_none() && others >= most { Err(NoneToAsk::Full) } else { Ok(Some(place)) }
    }

    fn most(&self) -> Option<usize> {
        self.plan.in_flight.map(|most| usize::try_from(most.get()).unwrap_or(usize::MAX))
    }

    /// Whether there is anybody to ask now. Nobody is chosen, and no try is used up.
    pub fn has_somebody(&self) -> bool {
        self.most().is_none_or(|most| self.in_flight.load(Ordering::Relaxed) < most)
            && self.breaker.as_ref().is_none_or(|breaker| breaker.would_let_through(Instant::now()))
            && self.targets.load().iter().any(|target| target.is_up.load(Ordering::Relaxed))
    }

    /// Gives back what a request was to try that ended without an outcome: its client left.
    pub fn learnt_nothing(&self, tries: Option<Try>, brings: Brings) {
        if let (Some(breaker), Some(tries)) = (&self.breaker, tries) {
            breaker.gives_back(tries, brings, Instant::now());
        }
    }

    /// All of what tries was sent: its answer is waited for.
    pub fn has_whole(&self, tries: Option<Try>) {
        if let (Some(breaker), Some(tries)) = (&self.breaker, tries) {
            breaker.is_whole(tries, Instant::now());
        }
    }

    /// From now on metrics show it under its name, or no more: another one has the name.
    pub fn shows(&self, is_shown: bool) {
        self.is_shown.store(is_shown, Ordering::Relaxed);
        match &self.breaker {
            Some(breaker) => breaker.shows(is_shown),
            None if is_shown => self.metrics.breaker(metrics::Breaker::Closed),
            None => {}
        }
        for target in self.targets.load().iter() {
            self.show(target);
        }
    }

    /// Tells the breaker what came of a request, and whether it was let through to try.
    pub fn note(&self, outcome: Outcome, tries: Option<Try>) {
        if let Some(changed) = self.breaker.as_ref().and_then(|b| b.note(outcome, tries, Instant::now())) {
            tracing::warn!(upstream = self.name(), state = ?changed, "the breaker changed");
        }
    }

    /// Replaces the servers' addresses; what is known of an address that stays is kept.
    fn install(&self, found: Vec<(Server, SocketAddr)>) {
        let old = self.targets.load();
        let keep = |(server, address): (Server, SocketAddr)| {
            let same = old.iter().find(|t| t.address == address && t.server == server);
            same.map_or_else(|| Arc::new(self.target(server, address)), Arc::clone)
        };
        let targets: Vec<_> = found.into_iter().map(keep).collect();
        for target in &targets {
            self.show(target);
        }
        self.targets.store(Arc::new(targets));
    }

    fn show(&self, target: &Target) {
        if self.is_shown.load(Ordering::Relaxed) {
            let health = if target.is_up.load(Ordering::Relaxed) { Health::Up } else { Health::Down };
            self.metrics.health(&target.server.to_string(), health);
        }
    }

    /// Takes note of what a check said.
    fn found(&self, target: &Target, health: Health) {
        let is_up = health == Health::Up;
        if target.is_up.swap(is_up, Ordering::Relaxed) != is_up {
            let (server, address) = (&target.server, target.address);
            tracing::warn!(%server, %address, is_up, "a server's health changed");
        }
        self.show(target);
    }

    fn target(&self, server: Server, address: SocketAddr) -> Target {
        let template = peer::describe(address, &server, self.tls.as_ref(), &self.plan, self.group);
        let address_text = address.to_string().into();
        Target {
            address,
            address_text,
            server,
            template,
            is_up: AtomicBool::new(true),
            busy: AtomicUsize::new(0),
            idle: Idle::default(),
            keeps_for: AtomicU64::new(u64::MAX),
        }
    }
}

impl Upstream {
    /// Closes connections that have waited for too long.
    fn sweep(&self) {
        for target in self.targets.load().iter() {
            target.idle.sweep(target.idle_for(self.plan.timeouts.idle));
        }
    }
}

/// In milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Target {
    /// How long its connections wait: no longer than `longest`, nor than the server keeps them.
    fn idle_for(&self, longest: Duration) -> Duration {
        longest.min(Duration::from_millis(self.keeps_for.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests;
