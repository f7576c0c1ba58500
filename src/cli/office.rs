//! The operator's side of a store: what commands that change it work with.
//!
//! Law: changes go through the same operations, reactions and audit as everybody's, so a gateway
//! on the same store follows. An office may stand beside running gateways: it serves nobody and
//! takes no place among the replicas.

use std::path::Path;
use std::sync::Arc;

use super::open;
use super::out::{Failure, note};
use crate::account::{self, Account, Reference};
use crate::app::{App, Change, Parts};
use crate::audit::Actor;
use crate::base::{Clock, Random, Secret, SystemClock, SystemRandom};
use crate::config::{self, Config, Preset};
use crate::crypto::password::policy::Owner;
use crate::crypto::password::{Argon2Cost, Hasher, HasherSettings};
use crate::crypto::seal::SealKey;
use crate::metrics::Metrics;
use crate::policy::definition::Definitions;
use crate::rbac;
use crate::session;
use crate::shared::Shared;
use crate::store::{DEFAULT_SITE, migrate};
use crate::tasks::Tasks;

/// An open store with everything that changes to it need.
pub struct Office {
    pub app: Arc<App>,
    config: Arc<Config>,
}

impl Office {
    /// Opens the store of a configuration, bringing its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, Failure> {
        let config = open::config(path)?.config;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let db = open::store(&config.store).await?;
        migrate::run(&db, clock.now()).await.map_err(Failure::problem)?;
        let parts = Parts {
            config: Arc::clone(&config),
            db,
            shared: Shared::memory(Arc::clone(&clock)),
            seal: seal(&config, random.as_ref())?,
            hasher: Hasher::new(hashing(&config), Arc::clone(&random))?,
            tasks: Tasks::new(Arc::clone(&random), Arc::clone(&metrics)),
            clock,
            random,
            metrics,
            reactions: vec![session::react],
            appliers: vec![rbac::apply],
        };
        let app = App::open(parts).await?;
        rbac::configure(&app, config.definitions.clone()).await?;
        Ok(Self { app, config })
    }

    /// A change by the operator.
    pub async fn change(&self) -> Result<Change<'_>, Failure> {
        Ok(self.app.change(Actor::command_line()).await?)
    }

    /// The account that somebody names.
    pub async fn person(&self, reference: &Reference) -> Result<Account, Failure> {
        let found = account::find(&self.app.db, DEFAULT_SITE, reference).await?;
        found.ok_or_else(|| Failure::problem("there is no such account; `portcullis user list` shows them"))
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What permissions, roles and groups mean now.
    pub async fn definitions(&self) -> Result<Definitions, Failure> {
        Ok(rbac::definitions(&self.app.db, &self.config.definitions).await?)
    }

    /// The hash of a password that the policy accepts.
    pub async fn hashed(
        &self,
        password: Secret<String>,
        owner: &Owner<'_>,
    ) -> Result<account::PasswordHash, Failure> {
        let weaknesses = self.config.accounts.password.policy().check(password.expose(), owner);
        if !weaknesses.is_empty() {
            let list: Vec<_> = weaknesses.iter().map(ToString::to_string).collect();
            return Err(Failure::problem(format_args!(
                "this password will not do:\n  {}",
                list.join("\n  ")
            )));
        }
        let hash = self.app.hasher.hash(password).await.map_err(Failure::problem)?;
        Ok(account::PasswordHash::new(hash))
    }
}

fn seal(config: &Config, random: &dyn Random) -> Result<SealKey, Failure> {
    let path = &config.keys.seal_file;
    if config.preset == Preset::Development
        && config::make_seal_key(path, random).map_err(Failure::problem)?
    {
        note(format_args!("made the seal key {}", path.display()));
    }
    let key = config::seal_key(path).map_err(Failure::problem)?;
    Ok(SealKey::from_bytes(*key.expose()))
}

fn hashing(config: &Config) -> HasherSettings {
    let argon2 = &config.accounts.password.argon2;
    let cost = Argon2Cost {
        memory_kib: u32::try_from(argon2.memory / 1024).unwrap_or(u32::MAX),
        passes: argon2.iterations,
        lanes: argon2.lanes,
    };
    HasherSettings { cost, threads: 1, ..HasherSettings::default() }
}
