//! The operator's side of a store: what commands that change it work with.
//!
//! Law: changes go through the same operations, reactions and audit as everybody's, so a gateway
//! on the same store follows. An office may stand beside running gateways: it serves nobody and
//! takes no place among the replicas.

use std::path::Path;
use std::sync::Arc;

use super::open;
use super::out::{Failure, note};
use super::password::{FromStdin, too_weak};
use crate::account::{self, Account, Reference};
use crate::agent::{self, AgentToken};
use crate::app::{App, Change};
use crate::audit::Actor;
use crate::base::{Secret, SystemClock, SystemRandom};
use crate::config::Config;
use crate::crypto::password::policy::Owner;
use crate::login::{self, Unhashed};
use crate::policy::definition::Definitions;
use crate::rbac::{self, Authority};
use crate::server;
use crate::store::{DEFAULT_SITE, Error, GivenUp, again};

/// An open store with everything that changes to it need.
pub struct Office {
    pub app: Arc<App>,
    config: Arc<Config>,
}

impl Office {
    /// Opens the store of a configuration, bringing its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, Failure> {
        let config = open::config(path)?.config;
        let fresh = open::missing_store(&config.store).map(Path::to_owned);
        let office = Self::of(config).await?;
        if let Some(path) = fresh {
            note(format_args!("made a new store at {}", path.display()));
        }
        Ok(office)
    }

    /// The same for a configuration that is loaded already.
    pub async fn of(config: Arc<Config>) -> Result<Self, Failure> {
        let app = server::operate(&config, Arc::new(SystemClock), Arc::new(SystemRandom)).await;
        let app = app.map_err(Failure::problem)?;
        Ok(Self { app, config })
    }

    /// A change by the operator.
    pub async fn change(&self) -> Result<Change<'_>, Failure> {
        Ok(self.app.change(Actor::command_line()).await?)
    }

    /// Lets the operator change what rights mean, in the turn to change rights; again, from the beginning, where
    /// another change was in the way.
    pub async fn redefine<T, E>(
        &self,
        act: impl AsyncFn(&mut Change<'_>, &Authority) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: GivenUp + From<Error>,
    {
        let work = || async {
            let mut change = self.app.change(Actor::command_line()).await?;
            let by = Authority::operator(&mut change).await?;
            let done = act(&mut change, &by).await?;
            change.settle().await?;
            Ok::<T, E>(done)
        };
        again(work).await
    }

    /// The account that somebody names.
    pub async fn person(&self, reference: &Reference) -> Result<Account, Failure> {
        let found = account::find(&self.app.db, DEFAULT_SITE, reference).await?;
        found.ok_or_else(|| {
            Failure::problem(format_args!(
                "there is no such account as {reference}; `portcullis user list` shows them"
            ))
        })
    }

    /// The agent token that somebody names.
    pub async fn agent_token(&self, reference: agent::Reference) -> Result<AgentToken, Failure> {
        let found = agent::find(&self.app.db, reference).await?;
        found.ok_or_else(|| {
            Failure::problem("there is no such agent token; `portcullis agent list` shows them")
        })
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What permissions, roles and groups mean now.
    pub async fn definitions(&self) -> Result<Definitions, Failure> {
        Ok(rbac::definitions(&self.app.db, &self.config.definitions).await?)
    }

    /// The hash of a new password, which is read or asked for.
    pub async fn chosen(&self, from: FromStdin, owner: &Owner<'_>) -> Result<account::PasswordHash, Failure> {
        let policy = login::policy_of(&self.config.accounts.password);
        self.hashed(from.choose(&policy, owner)?, owner).await
    }

    /// The hash of a password that the policy accepts.
    pub async fn hashed(
        &self,
        password: Secret<String>,
        owner: &Owner<'_>,
    ) -> Result<account::PasswordHash, Failure> {
        login::hash_of(&self.app, password, owner).await.map_err(|unhashed| match unhashed {
            Unhashed::Weak(weaknesses) => too_weak(&weaknesses),
            Unhashed::Overloaded => Failure::problem("too busy to hash a password; try again"),
        })
    }
}
