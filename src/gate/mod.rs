//! Decides about one request: may it pass, as whom, and with what written on it.
//!
//! Law: this module answers with a [`Rejection`] or with something that carries its own proof;
//! it never writes to a socket and never names the proxy. `proxy` carries out what it decided.
//! `admit` is the one pipeline; every step of it has a file of its own.

mod admit;
mod agent;
mod again;
mod apikey;
mod application;
mod assertion;
mod authenticate;
pub mod authority;
mod authorize;
pub mod body;
pub mod chunks;
mod browser;
mod cors;
mod credential;
mod decision;
mod dispatch;
mod edge;
mod errand;
mod explain;
mod failure;
pub mod framing;
pub mod head;
mod hold;
mod identity;
mod laps;
mod limit;
mod nominated;
mod note;
mod passing;
mod pay;
mod permit;
mod person;
mod record;
pub mod redact;
mod refused;
mod rejection;
pub mod request_id;
mod rewrite;
mod route;
pub mod rules;
mod slices;
mod stamp;
pub mod strip;
pub mod target;
mod ticket;
mod token;
mod world;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::config::Config;
use crate::http::Table;
use crate::policy::Clash;

pub use admit::admit;
pub use again::Standing;
pub use agent::{AgentRefusal, Conjunct, Denial, Ended, Shortage, Spent, Trip, Watch};
pub use decision::{Admitted, Authorization, Decision, Verdict};
pub use errand::{Errand, errand};
pub use explain::{Explanation, Question, Step, explain};
pub use head::RequestHead;
pub use hold::{BodyFlaw, HoldRefusal, Kept, Waits};
pub use permit::Permit;
pub use person::Key as SessionKey;
pub use record::{AgentRecord, ApplicationKeys, Person, Records};
pub use rejection::{Flaw, Pace, Rejection, Silent};
pub use route::Route;
pub use slices::FromSlices;
pub use target::CanonicalTarget;
pub use ticket::row as ticket_row;
pub use world::World;

use agent::{Agents, Queues, Used, Withheld};
use apikey::ApiKeys;
use assertion::Assertions;
use person::People;
use refused::Refusals;
use token::Believed;

/// The judge of one process, with what it remembers.
pub struct Gate {
    app: Arc<App>,
    records: Arc<dyn Records>,
    world: ArcSwap<World>,
    /// Held while a world is replaced, so that an older one never takes the place of a newer one.
    turn: Mutex<()>,
    tokens: Believed,
    people: People,
    agents: Agents,
    api_keys: ApiKeys,
    /// Who waits for an agent's purse.
    queues: Queues,
    /// Agent tokens that were in use, until it is written down.
    uses: Mutex<Vec<(Id, Timestamp)>>,
    /// Refusals of agents that left no row of their own, until they are written down together.
    withheld: Withheld,
    /// The same of everybody, on routes that want their requests in the trail.
    refusals: Refusals,
    /// What agents used, until it is written down.
    used: Used,
    assertions: Assertions,
    /// Unknown until the proxy has said it: where nothing is ever sent, everybody can be asked.
    reach: OnceLock<Arc<dyn Reach>>,
}

/// What the gate wants to know of upstreams, which are the proxy's.
pub trait Reach: Send + Sync {
    /// Whether there is anybody to ask at this upstream now: a closed breaker and a server that is
    /// up. Asking uses up no try.
    fn has_somebody(&self, upstream: &str) -> bool;
}

impl Gate {
    /// A gate that decides by this configuration.
    ///
    /// # Errors
    /// Routes that contradict each other, which a checked configuration has not.
    pub fn new(
        app: Arc<App>,
        records: Arc<dyn Records>,
        config: Arc<Config>,
        built_in: Arc<Table>,
    ) -> Result<Self, Vec<Clash>> {
        let world = World::new(config, app.catalogue(), built_in, &app.metrics)?;
        Ok(Self {
            app,
            records,
            world: ArcSwap::from_pointee(world),
            turn: Mutex::new(()),
            tokens: Believed::new(),
            people: People::new(),
            agents: Agents::new(),
            api_keys: ApiKeys::new(),
            queues: Queues::new(),
            uses: Mutex::default(),
            withheld: Withheld::default(),
            refusals: Refusals::default(),
            used: Used::default(),
            assertions: Assertions::new(),
            reach: OnceLock::new(),
        })
    }

    /// Asks from now on whether upstreams can be asked before it takes anything for a request to one.
    /// The first answerer stays.
    pub fn ask(&self, reach: Arc<dyn Reach>) {
        self.reach.get_or_init(|| reach);
    }

    fn has_somebody(&self, upstream: &str) -> bool {
        self.reach.get().is_none_or(|reach| reach.has_somebody(upstream))
    }

    /// Compiles a newly loaded configuration, which is not in force before it is adopted.
    ///
    /// # Errors
    /// Routes that contradict each other.
    pub fn prepare(&self, config: Arc<Config>, built_in: Arc<Table>) -> Result<World, Vec<Clash>> {
        World::new(config, self.app.catalogue(), built_in, &self.app.metrics)
    }

    /// Puts a prepared configuration in force. Requests under way keep the one they began with.
    pub fn adopt(&self, prepared: World) {
        {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.world.store(Arc::new(prepared));
            // What a token must say, and who issues assertions, are settings too.
            self.tokens.clear();
            self.assertions.clear();
        }
        // Under the catalogue of now, before a request has to wait for that.
        self.world();
    }

    /// What decisions are made by now. A catalogue that has changed is taken in before this returns,
    /// so a change binds the next request.
    pub fn world(&self) -> Arc<World> {
        let world = self.world.load_full();
        if world.catalogue.generation() == self.app.catalogue().generation() { world } else { self.renew() }
    }

    fn renew(&self) -> Arc<World> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (world, catalogue) = (self.world.load_full(), self.app.catalogue());
        if world.catalogue.generation() == catalogue.generation() {
            return world;
        }
        match world.with_catalogue(catalogue, &self.app.metrics) {
            Ok(anew) => self.world.store(Arc::new(anew)),
            // The same routes were without a clash before.
            Err(clashes) => tracing::error!(?clashes, "routes contradict each other"),
        }
        self.world.load_full()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
