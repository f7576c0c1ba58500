//! `App`: what every slice needs, in one value that is handed down. No globals, no caches of
//! types that come later in the list.
//!
//! Law: state changes in a [`Change`], which leaves its audit row, raises the epochs it touched,
//! and takes effect in this process before its caller goes on; other processes follow within one
//! poll by the same path.

mod change;
mod epoch;
mod follow;
mod health;
mod in_force;
mod retain;
mod shelf;
mod sink;
mod stop;
mod store;
pub mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;

use crate::audit::{Actor, Event, Subject};
use crate::base::{Clock, Id, Random, Timestamp};
use crate::config::Config;
use crate::crypto::keyring::Keyring;
use crate::crypto::password::Hasher;
use crate::crypto::seal::SealKey;
use crate::metrics::Metrics;
use crate::policy::Catalogue;
use crate::shared::Shared;
use crate::store::{Db, Error, Numbers};
use crate::tasks::Tasks;

pub use change::Change;
pub use epoch::Epochs;
pub use follow::POLL;
pub use health::Health;
pub use in_force::{InForce, Turn};
pub use retain::{CHANGES_KEPT_FOR, Pruned, overdue_audit, prune_audit, prune_changes};
pub use shelf::Shelf;
pub use sink::WRITTEN_EVERY;
pub use stop::{Signal, StopHandle, Stops};

use follow::View;
use sink::Sink;

/// What another slice does in the same transaction when an event is recorded: sessions end because
/// a password changed. Slices later in the list export them; `server` and `cli` hand them in.
pub type Reaction = for<'c, 'a> fn(&'c mut Change<'a>, &'c Event) -> BoxFuture<'c, Result<(), Error>>;

/// What this process does after a change was committed, by itself or by another process: reload
/// the keys because they changed. It is called with the subjects whose epochs rose.
pub type Applier = for<'a> fn(&'a App, &'a [Subject]) -> BoxFuture<'a, Result<(), Error>>;

/// What an [`App`] is made of.
pub struct Parts {
    pub config: Arc<Config>,
    pub db: Db,
    pub shared: Shared,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub seal: SealKey,
    pub hasher: Hasher,
    pub metrics: Arc<Metrics>,
    pub tasks: Tasks,
    pub reactions: Vec<Reaction>,
    pub appliers: Vec<Applier>,
}

/// The process, as its slices see it.
pub struct App {
    pub db: Db,
    pub shared: Shared,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub seal: SealKey,
    pub hasher: Hasher,
    pub metrics: Arc<Metrics>,
    pub tasks: Tasks,
    pub epochs: Epochs,
    pub stops: Stops,
    pub health: Health,
    pub in_force: InForce,
    pub shelf: Shelf,
    config: ArcSwap<Config>,
    keyring: ArcSwap<Keyring>,
    numbers: Numbers,
    reactions: Vec<Reaction>,
    appliers: Vec<Applier>,
    view: View,
    sink: Sink,
}

impl App {
    /// Puts the parts together and takes the store's latest change as the point to follow from.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, Error> {
        let seen = store::counter(&parts.db).await?.last_seq;
        Ok(Arc::new(Self {
            db: parts.db,
            shared: parts.shared,
            clock: parts.clock,
            random: parts.random,
            seal: parts.seal,
            hasher: parts.hasher,
            metrics: parts.metrics,
            tasks: parts.tasks,
            epochs: Epochs::from(seen),
            stops: Stops::default(),
            health: Health::default(),
            in_force: InForce::under(parts.config.definitions.clone()),
            shelf: Shelf::default(),
            config: ArcSwap::new(parts.config),
            keyring: ArcSwap::from_pointee(Keyring::default()),
            numbers: Numbers::default(),
            reactions: parts.reactions,
            appliers: parts.appliers,
            view: View::from(seen),
            sink: Sink::default(),
        }))
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id.
    pub fn new_id(&self) -> Id {
        Id::new(self.now(), self.random.as_ref())
    }

    /// The configuration in force. Ask once per request: a reload swaps it whole.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Puts a newly loaded configuration in force.
    pub fn set_config(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// The signing keys as they are now.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// What permissions, roles and groups mean now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.in_force.catalogue()
    }

    /// Puts newly loaded signing keys in force.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// Begins a change on behalf of `actor`. Slow work (hashing, calls elsewhere) is done before:
    /// on SQLite an open change keeps every other writer waiting.
    pub async fn change(&self, actor: Actor) -> Result<Change<'_>, Error> {
        // Before the transaction, because SQLite has one writer.
        self.numbers.replenish(&self.db).await?;
        Change::begin(self, actor).await
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("db", &self.db).finish_non_exhaustive()
    }
}
