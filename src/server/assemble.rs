//! From a configuration to the [`App`] that everything else is handed.
//!
//! Law: the store is migrated and the seal key proved before anything listens; what cannot be had
//! is an error that names it.

use std::sync::Arc;
use std::time::Duration;

use super::reactions::{appliers, reactions};
use super::{StartError, chores};
use crate::app::{App, Parts};
use crate::base::{Clock, Id, Random};
use crate::config::{self, Config, Database};
use crate::crypto::digest;
use crate::crypto::password::{Argon2Cost, Hasher, HasherSettings};
use crate::crypto::seal::SealKey;
use crate::keys;
use crate::metrics::Metrics;
use crate::rbac;
use crate::shared::Shared;
use crate::shared::alone::{Alone, RENEWED_EVERY};
use crate::store::{Db, migrate};
use crate::tasks::Tasks;

/// The name of the reason not to be ready.
const ALONE: &str = "alone";

/// The clock, the randomness and the rest that a process has before it has a configuration.
pub(super) struct Ground {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: Tasks,
}

impl Ground {
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let tasks = Tasks::new(Arc::clone(&random), Arc::clone(&metrics));
        Self { clock, random, metrics, tasks }
    }
}

/// The app, and the registration of a process that must be alone on its store.
pub(super) async fn assemble(
    config: &Arc<Config>,
    ground: &Ground,
) -> Result<(Arc<App>, Option<Arc<Alone>>), StartError> {
    let db = open_store(config, ground).await?;
    let replica = Id::new(ground.clock.now(), ground.random.as_ref());
    let seal = seal(config, ground)?;
    let (shared, alone) = open_shared(config, &db, &seal, replica, ground).await?;
    let app = put_together(config, ground, db, shared, seal).await?;
    if let Some(alone) = &alone {
        stay_alone(&app, alone);
    }
    keys::ensure(&app).await.map_err(StartError::Keys)?;
    chores::start(&app);
    Ok((app, alone))
}

/// Keeps the place on the store. Where another process has it, what is counted here is worth nothing
/// any more.
fn stay_alone(app: &Arc<App>, alone: &Arc<Alone>) {
    let (owner, alone) = (Arc::clone(app), Arc::clone(alone));
    app.tasks.every("stay alone", RENEWED_EVERY, Duration::ZERO, move || {
        let (app, alone) = (Arc::clone(&owner), Arc::clone(&alone));
        async move { renew(&app, &alone).await }
    });
}

async fn renew(app: &App, alone: &Alone) {
    match alone.renew().await {
        Ok(true) => {
            app.shared.count_here();
            app.health.clear(ALONE);
        }
        Ok(false) => {
            tracing::error!("another gateway has taken this store over; what is limited is refused here");
            app.shared.count_elsewhere();
            app.health.fail(ALONE, "another gateway has taken this store over, and `shared` is memory");
        }
        Err(error) => tracing::warn!(%error, "the place on the store was not renewed"),
    }
}

/// The app of an operator's command. It serves nobody, so it takes no place among the replicas and
/// has no chores; gateways on the same store follow what it changes.
///
/// # Errors
/// [`StartError`].
pub async fn operate(
    config: &Arc<Config>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Arc<App>, StartError> {
    let ground = Ground::new(clock, random);
    let db = open_store(config, &ground).await?;
    let shared = Shared::memory(Arc::clone(&ground.clock));
    let app = put_together(config, &ground, db, shared, seal(config, &ground)?).await?;
    keys::load(&app).await.map_err(StartError::Keys)?;
    Ok(app)
}

async fn open_store(config: &Config, ground: &Ground) -> Result<Db, StartError> {
    let db = Db::open(&config.store).await.map_err(StartError::Store)?;
    migrate::run(&db, ground.clock.now()).await.map_err(StartError::Migration)?;
    Ok(db)
}

async fn put_together(
    config: &Arc<Config>,
    ground: &Ground,
    db: Db,
    shared: Shared,
    seal: SealKey,
) -> Result<Arc<App>, StartError> {
    let parts = Parts {
        config: Arc::clone(config),
        db,
        shared,
        clock: Arc::clone(&ground.clock),
        random: Arc::clone(&ground.random),
        seal,
        hasher: hasher(config, ground)?,
        metrics: Arc::clone(&ground.metrics),
        tasks: ground.tasks.clone(),
        reactions: reactions(),
        appliers: appliers(),
    };
    let app = App::open(parts).await.map_err(StartError::Store)?;
    rbac::configure(&app, config.definitions.clone()).await.map_err(StartError::Store)?;
    Ok(app)
}

async fn open_shared(
    config: &Config,
    db: &Db,
    seal: &SealKey,
    replica: Id,
    ground: &Ground,
) -> Result<(Shared, Option<Arc<Alone>>), StartError> {
    let clock = Arc::clone(&ground.clock);
    match &config.shared {
        config::Shared::Redis { url, timeout } => {
            let installation = installation(&config.store.database, seal);
            let shared = Shared::redis(url, *timeout, &installation, replica, clock)
                .await
                .map_err(StartError::Shared)?;
            Ok((shared, None))
        }
        config::Shared::Memory => {
            let alone =
                Alone::register(db, replica, Arc::clone(&clock)).await.map_err(StartError::NotAlone)?;
            Ok((Shared::memory(clock), Some(Arc::new(alone))))
        }
    }
}

/// Tells gateways apart that share a Redis but not a store: by the seal key, which all replicas
/// have, and the name of the database. Not by its address, which replicas may know it by several of.
fn installation(database: &Database, seal: &SealKey) -> String {
    let name = match database {
        Database::Sqlite { path } => path.display().to_string(),
        Database::Postgres { url } | Database::Mysql { url } => {
            let path = url.expose().split('?').next().unwrap_or_default();
            path.rsplit('/').next().unwrap_or_default().to_owned()
        }
    };
    let key = seal.derive("installation");
    digest::hex(&digest::hmac_sha256(key.expose(), name.as_bytes()))[..16].to_owned()
}

fn seal(config: &Config, ground: &Ground) -> Result<SealKey, StartError> {
    let path = &config.keys.seal_file;
    if config.preset == config::Preset::Development {
        config::make_seal_key(path, ground.random.as_ref()).map_err(StartError::Seal)?;
    }
    let key = config::seal_key(path).map_err(StartError::Seal)?;
    Ok(SealKey::from_bytes(*key.expose()))
}

fn hasher(config: &Config, ground: &Ground) -> Result<Hasher, StartError> {
    let hashing = &config.limits.hashing;
    let argon2 = &config.accounts.password.argon2;
    let standard = HasherSettings::default();
    let settings = HasherSettings {
        cost: Argon2Cost {
            memory_kib: u32::try_from(argon2.memory / 1024).unwrap_or(u32::MAX),
            passes: argon2.iterations,
            lanes: argon2.lanes,
        },
        threads: hashing.threads.unwrap_or(standard.threads),
        queue: hashing.queue,
    };
    Hasher::new(settings, Arc::clone(&ground.random)).map_err(StartError::Threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{TestApp, With};
    use crate::shared::Window;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn whose_place_was_taken_counts_nothing_until_it_has_it_back() {
        let app = TestApp::on(TestStore::sqlite().await, With::default()).await;
        let register = || Alone::register(&app.db, app.new_id(), Arc::clone(&app.clock) as Arc<dyn Clock>);
        let windows = [Window { limit: 9, per: Duration::from_mins(1) }];
        let first = register().await.unwrap();
        renew(&app, &first).await;
        assert!(app.health.is_ready() && app.shared.hit("key", &windows).await.is_ok());
        // Out of touch for so long that another may begin.
        app.clock.advance(Duration::from_mins(1));
        let second = register().await.unwrap();
        renew(&app, &first).await;
        assert!(!app.health.is_ready() && app.shared.hit("key", &windows).await.is_err());
        second.leave().await.unwrap();
        renew(&app, &first).await;
        assert!(app.health.is_ready() && app.shared.hit("key", &windows).await.is_ok());
    }
}
