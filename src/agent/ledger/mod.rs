//! What a token may do in its whole life, requests and money, handed out in chunks.
//!
//! Law: what is handed out counts as spent until it is given back, and is never more than the
//! limit: one conditional write decides. What was handed out and lost (with a process, or with
//! Redis) stays spent; nothing makes more of it.

mod report;
mod store;
mod usage;

use super::AgentToken;
use crate::app::App;
use crate::base::{Id, MicroUsd};
use crate::shared::{Allowance, Unreachable};
use crate::store::Error;

pub use report::{ReportError, Reported, report};
#[cfg(test)]
pub(super) use report::{count, has_nothing_left};
pub(super) use usage::used_since;
pub use usage::{Usage, note_usage};

/// How often it is tried again when others took what was there.
const TRIES: usize = 5;

/// What the store answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handout {
    /// The store then had so much money left.
    Granted {
        amount: Allowance,
        in_store: MicroUsd,
    },
    Lacking(Lacking),
}

/// What a token has no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    Requests,
    /// So much is there, and too little.
    Money(MicroUsd),
}

/// What could not be asked, and so is not counted to its end.
#[derive(Debug)]
pub enum Uncounted {
    Shared(Unreachable),
    Store(Error),
}

impl std::fmt::Display for Uncounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared(cause) => cause.fmt(f),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Uncounted {}

impl From<Unreachable> for Uncounted {
    fn from(cause: Unreachable) -> Self {
        Self::Shared(cause)
    }
}

impl From<Error> for Uncounted {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// The name of a token's purse.
#[must_use]
pub fn purse_key(token: Id) -> String {
    format!("agent:{token}")
}

/// Hands out `chunk`; of what is not there for all of it, as much as must be.
///
/// # Errors
/// The store's; then nothing is handed out.
pub async fn take(app: &App, token: Id, chunk: Allowance, least: Allowance) -> Result<Handout, Error> {
    let mut amount = chunk;
    for _ in 0..TRIES {
        let mut tx = app.db.begin().await?;
        let is_granted = store::grant(&mut tx, token, amount).await? == 1;
        let room = store::room(&mut tx, token).await?.unwrap_or_default();
        if is_granted {
            tx.commit().await?;
            return Ok(Handout::Granted { amount, in_store: room.money });
        }
        tx.rollback().await?;
        if room.requests < least.requests {
            return Ok(Handout::Lacking(Lacking::Requests));
        }
        if room.money < least.money {
            return Ok(Handout::Lacking(Lacking::Money(room.money)));
        }
        amount = Allowance {
            requests: if room.requests < chunk.requests { least.requests } else { chunk.requests },
            money: if room.money < chunk.money { least.money } else { chunk.money },
        };
    }
    Err(Error::Busy)
}

/// Takes back what was handed out and not spent.
pub async fn give_back(app: &App, token: Id, amount: Allowance) -> Result<(), Error> {
    let mut tx = app.db.begin().await?;
    store::ungrant(&mut tx, token, amount).await?;
    tx.commit().await
}

/// Counts money that is spent already, beyond the limit too.
///
/// # Errors
/// After one of the shared state it is counted, and what was handed out is there still.
pub async fn charge_beyond(app: &App, token: Id, money: MicroUsd) -> Result<(), Uncounted> {
    let mut tx = app.db.begin().await?;
    store::charge(&mut tx, token, money).await?;
    tx.commit().await?;
    reclaim(app, token).await.map(drop)
}

/// Gives back to the store what was handed out and not taken: beside money that was counted since, it
/// would be too much. What comes back later goes to the store as well. The money that may still come.
async fn reclaim(app: &App, token: Id) -> Result<MicroUsd, Uncounted> {
    let emptied = app.shared.empty(&purse_key(token)).await?;
    if !emptied.left.is_nothing() {
        give_back(app, token, emptied.left).await?;
    }
    Ok(emptied.pending)
}

/// Takes off what was handed out to be spent and lies there still. Where that cannot be told, what
/// was handed out is shown as spent.
pub(super) async fn without_purses(app: &App, tokens: &mut [AgentToken]) {
    let keys: Vec<String> = tokens.iter().map(|token| purse_key(token.id)).collect();
    match app.shared.in_purses(&keys).await {
        Ok(purses) => {
            for (token, purse) in tokens.iter_mut().zip(purses) {
                token.granted = token.granted.minus(purse);
            }
        }
        Err(error) => tracing::warn!(%error, "what agents have not spent yet cannot be told"),
    }
}

/// Gives back to the store what would be lost with this process. Nothing may be spent any more.
pub async fn give_purses_back(app: &App) -> Result<(), Error> {
    for key in app.shared.own_purses() {
        let Some(token) = key.strip_prefix("agent:").and_then(|id| id.parse().ok()) else { continue };
        let Ok(emptied) = app.shared.empty(&key).await else { continue };
        if !emptied.left.is_nothing() {
            give_back(app, token, emptied.left).await?;
        }
    }
    Ok(())
}
