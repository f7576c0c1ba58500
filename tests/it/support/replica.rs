//! The gateways of one installation: two on PostgreSQL or MariaDB and Redis, or one on SQLite.
//!
//! Law: they know of each other only through the servers that they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::base::{Clock, SystemClock, SystemRandom};
use portcullis::config;
use portcullis::store::Dialect;
use portcullis::store::testing::TestStore;
use tempfile::TempDir;

use super::Gateway;
use super::raw::PATIENCE;

/// The replicas of an installation. On SQLite, which has one gateway, both are the same.
pub struct Replicas {
    pub here: Arc<Gateway>,
    pub there: Arc<Gateway>,
    /// After the gateways: they must be gone before their store is.
    _place: Place,
}

/// How long gateways wait for a Redis that is not the one of all tests: longer than a busy machine is elsewhere.
pub const LOST_AFTER: Duration = Duration::from_secs(1);

/// What replicas have in common.
pub struct Place {
    pub store: TestStore,
    keys: TempDir,
}

impl Place {
    pub async fn new() -> Self {
        Self::on(Dialect::Postgres).await
    }

    pub async fn on(dialect: Dialect) -> Self {
        Self::with(TestStore::of(dialect).await)
    }

    /// Without a table.
    pub async fn bare() -> Self {
        Self::with(TestStore::bare(Dialect::Postgres).await)
    }

    fn with(store: TestStore) -> Self {
        let keys = tempfile::tempdir().unwrap();
        config::make_seal_key(&keys.path().join("seal.key"), &SystemRandom).expect("a seal key");
        Self { store, keys }
    }

    /// The lines of a configuration that reaches store and Redis by these URLs. The Redis that all tests
    /// share is waited for longer than by default, as is the store: a machine that is busy with the others is none
    /// that is gone.
    /// One that a test takes away is waited for less long, [`LOST_AFTER`].
    pub fn yaml(&self, store: &str, redis: &str) -> String {
        let seal = self.keys.path().join("seal.key").display().to_string();
        let shared = if redis == "memory" {
            redis.to_owned()
        } else {
            let within = if redis == redis_url() { Duration::from_secs(4) } else { LOST_AFTER };
            format!("{{ url: '{redis}', timeout: {}ms }}", within.as_millis())
        };
        let is_own = store == self.store.address();
        let store = if is_own { format!("{{ url: '{store}', timeout: 6s }}") } else { format!("'{store}'") };
        format!("store: {store}\nshared: {shared}\nkeys: {{ seal_file: '{seal}' }}\n")
    }
}

impl Replicas {
    pub async fn start(yaml: &str) -> Self {
        Self::start_by(Arc::new(SystemClock), Dialect::Postgres, yaml).await
    }

    pub async fn on(dialect: Dialect, yaml: &str) -> Self {
        Self::start_by(Arc::new(SystemClock), dialect, yaml).await
    }

    pub async fn start_by(clock: Arc<dyn Clock>, dialect: Dialect, yaml: &str) -> Self {
        let place = Place::on(dialect).await;
        let is_alone = dialect == Dialect::Sqlite;
        let shared = if is_alone { "memory".to_owned() } else { redis_url() };
        let yaml = format!("{}{yaml}", place.yaml(&place.store.address(), &shared));
        let start = async || {
            let folder = tempfile::tempdir().unwrap();
            let started = Gateway::start_by(Arc::clone(&clock), folder, &yaml).await;
            Arc::new(started.unwrap_or_else(|error| panic!("{error}")))
        };
        let here = start().await;
        let there = if is_alone { Arc::clone(&here) } else { start().await };
        Self { here, there, _place: place }
    }

    /// One of them, in turns.
    pub fn nth(&self, number: usize) -> &Arc<Gateway> {
        if number.is_multiple_of(2) { &self.here } else { &self.there }
    }
}

/// One test on SQLite with one gateway and one on PostgreSQL and Redis with two, from one body.
#[macro_export]
macro_rules! on_one_and_on_two {
    ($(async fn $name:ident($dialect:ident: Dialect) $body:block)+) => {$(
        mod $name {
            use super::*;

            pub(super) async fn body($dialect: Dialect) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                body(Dialect::Sqlite).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                body(Dialect::Postgres).await;
            }
        }
    )+};
}

/// Bodies of [`on_one_and_on_two!`], by their names, on MariaDB and Redis with two gateways as well.
#[macro_export]
macro_rules! on_mariadb {
    ($($name:ident)+) => {
        mod on_mariadb {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name::body(portcullis::store::Dialect::MySql).await;
                }
            )+
        }
    };
}

/// The Redis of the tests.
#[expect(clippy::disallowed_methods, reason = "tests find their servers in the environment")]
pub fn redis_url() -> String {
    std::env::var("PORTCULLIS_TEST_REDIS").unwrap_or_else(|_| {
        panic!("PORTCULLIS_TEST_REDIS is not set: run the tests with `make test`, which starts the servers")
    })
}

/// How long one step of waiting takes.
const STEP: Duration = Duration::from_millis(20);
/// The least that is waited for what has to come.
const LEAST: Duration = Duration::from_secs(20);

/// Asks again until it is so; how long that took. `limit` is for a machine that does nothing else: what has to come
/// is waited for longer, though not as long as what would bring it about in another way (the gateway's own
/// time-outs begin at half a minute). Where the limit is a promise, it is [`within`].
pub async fn until(limit: Duration, what: &str, is_so: impl AsyncFnMut() -> bool) -> Duration {
    within((4 * limit).clamp(LEAST, PATIENCE).max(limit), what, is_so).await
}

/// The same where something is promised within `limit`. Asking counts as waiting does.
pub async fn within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let mut counted = Duration::ZERO;
    loop {
        let (is_there, asked) = counted_until(Duration::MAX, is_so()).await;
        counted += asked;
        if is_there == Some(true) {
            return counted;
        }
        assert!(counted < limit, "{what}: not within {limit:?}");
        counted += counted_until(limit, tokio::time::sleep(STEP)).await.1;
    }
}

/// What comes before so much was counted, and how much it was. A step counts as two at most, however long it was: a
/// machine that lets nobody go on meanwhile has broken no promise of ours.
async fn counted_until<T>(limit: Duration, coming: impl Future<Output = T>) -> (Option<T>, Duration) {
    let (mut coming, mut counted) = (std::pin::pin!(coming), Duration::ZERO);
    while counted < limit {
        let begun = Instant::now();
        let there = tokio::time::timeout(STEP, &mut coming).await.ok();
        counted += begun.elapsed().min(2 * STEP);
        if there.is_some() {
            return (there, counted);
        }
    }
    (None, counted)
}

/// What comes within what is promised; the limit is counted as [`within`] counts.
pub async fn in_time<T>(limit: Duration, coming: impl Future<Output = T>) -> Option<T> {
    counted_until(limit, coming).await.0
}

/// The best of several tries takes less than `limit`: what a machine that has other work adds to some of them is
/// not the gateway's. How many there were.
pub async fn at_best(limit: Duration, what: &str, mut took: impl AsyncFnMut() -> Duration) -> usize {
    let mut all = Vec::new();
    while all.len() < 5 {
        let one = took().await;
        if one < limit {
            return all.len() + 1;
        }
        all.push(one);
    }
    panic!("{what}: never within {limit:?}, but {all:?}");
}
