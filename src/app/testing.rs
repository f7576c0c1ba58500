//! An `App` for tests: a store of its own, a clock that moves when told to, repeatable randomness.
//! Nothing in the program calls this; the integration tests, a crate of their own, do.
//!
//! Law: what a test does not ask for is the plain default.

use std::ops::Deref;
use std::sync::Arc;

use super::{App, Applier, Parts, Reaction};
use crate::base::random::SeededRandom;
use crate::base::{Clock, TestClock, Timestamp};
use crate::config;
use crate::crypto::password::{Argon2Cost, Hasher, HasherSettings};
use crate::crypto::seal::SealKey;
use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::store::Db;
use crate::store::testing::TestStore;
use crate::tasks::Tasks;

/// Where the clock of a [`TestApp`] stands at first: 2026-11-20T10:00:00Z.
pub const NOON: Timestamp = Timestamp::from_millis(1_795_168_800_000);

/// An app, its clock, and the store that is gone with it.
pub struct TestApp {
    pub app: Arc<App>,
    pub clock: Arc<TestClock>,
    pub store: TestStore,
}

/// What a [`TestApp`] is built with.
#[derive(Default)]
pub struct With {
    /// What the configuration file says beyond `preset: medium`.
    pub yaml: &'static str,
    pub reactions: Vec<Reaction>,
    pub appliers: Vec<Applier>,
}

impl TestApp {
    /// On a temporary SQLite file, with no reactions.
    pub async fn new() -> Self {
        Self::on(TestStore::sqlite().await, With::default()).await
    }

    /// On this store.
    ///
    /// # Panics
    /// Where the store does not answer.
    pub async fn on(store: TestStore, with: With) -> Self {
        let clock = Arc::new(TestClock::at(NOON));
        let app = open(store.db().clone(), clock.clone(), 1, with).await;
        Self { app, clock, store }
    }

    /// A second process on the same store and clock.
    pub async fn another(&self, with: With) -> Arc<App> {
        open(self.store.another().await, self.clock.clone(), 2, with).await
    }
}

impl Deref for TestApp {
    type Target = Arc<App>;
    fn deref(&self) -> &Arc<App> {
        &self.app
    }
}

async fn open(db: Db, clock: Arc<TestClock>, seed: u64, with: With) -> Arc<App> {
    let random = Arc::new(SeededRandom::new(seed));
    let metrics = Arc::new(Metrics::new("test"));
    let clock: Arc<dyn Clock> = clock;
    let cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let settings = HasherSettings { cost, threads: 1, queue: 64 };
    let config = config::load_text(&format!("preset: medium\n{}", with.yaml))
        .expect("the test's configuration has no problems")
        .config;
    let parts = Parts {
        config,
        db,
        shared: Shared::memory(clock.clone()),
        clock,
        random: random.clone(),
        seal: SealKey::from_bytes([7; 32]),
        hasher: Hasher::new(settings, random.clone()).expect("a thread for hashing"),
        tasks: Tasks::new(random, metrics.clone()),
        metrics,
        reactions: with.reactions,
        appliers: with.appliers,
    };
    App::open(parts).await.expect("the test store answers")
}
