//! Two gateways on one PostgreSQL and one Redis, as an installation runs them.
//!
//! Law: they know of each other only through these two servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::base::{Clock, SystemClock};
use portcullis::store::Dialect;
use portcullis::store::testing::TestStore;
use tempfile::TempDir;

use super::Gateway;

/// The replicas of an installation.
pub struct Replicas {
    pub here: Gateway,
    pub there: Gateway,
    /// After the gateways: they must be gone before their store is.
    _place: Place,
}

/// What replicas have in common.
pub struct Place {
    pub store: TestStore,
    keys: TempDir,
}

impl Place {
    pub async fn new() -> Self {
        Self { store: TestStore::of(Dialect::Postgres).await, keys: tempfile::tempdir().unwrap() }
    }

    /// The lines of a configuration that reaches store and Redis by these URLs.
    pub fn yaml(&self, store: &str, redis: &str) -> String {
        let seal = self.keys.path().join("seal.key").display().to_string();
        format!("store: '{store}'\nshared: '{redis}'\nkeys: {{ seal_file: '{seal}' }}\n")
    }
}

impl Replicas {
    pub async fn start(yaml: &str) -> Self {
        Self::start_by(Arc::new(SystemClock), yaml).await
    }

    pub async fn start_by(clock: Arc<dyn Clock>, yaml: &str) -> Self {
        let place = Place::new().await;
        let yaml = format!("{}{yaml}", place.yaml(&place.store.address(), &redis_url()));
        let start = async || {
            let folder = tempfile::tempdir().unwrap();
            Gateway::start_by(Arc::clone(&clock), folder, &yaml)
                .await
                .unwrap_or_else(|error| panic!("{error}"))
        };
        Self { here: start().await, there: start().await, _place: place }
    }
}

/// The Redis of the tests.
#[expect(clippy::disallowed_methods, reason = "tests find their servers in the environment")]
pub fn redis_url() -> String {
    std::env::var("PORTCULLIS_TEST_REDIS").unwrap_or_else(|_| {
        panic!("PORTCULLIS_TEST_REDIS is not set: run the tests with `make test`, which starts the servers")
    })
}

/// Asks again until it is so; how long that took.
pub async fn until(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}
