//! What an agent says that it spent where no gateway could see it.
//!
//! Law: it cannot be prevented, only counted: it adds up to the true amount, beyond the limit too,
//! and never subtracts. What is reported once is counted once.

use super::super::{AgentToken, suspend};
use super::{Uncounted, Usage, purse_key, reclaim, store};
use crate::app::App;
use crate::audit::{Actor, Suspension};
use crate::base::MicroUsd;
use crate::crypto::digest::sha256_hex;
use crate::shared::Unreachable;
use crate::store::{Error, again};

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is counted, now or before.
    Counted,
    /// It is counted, and nothing is left of the budget: the token is suspended.
    Exhausted,
}

/// Why a report was not counted.
#[derive(Debug)]
pub enum ReportError {
    /// Its key came before, with another amount.
    KeyReused,
    Shared(Unreachable),
    Store(Error),
}

impl From<Error> for ReportError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<Uncounted> for ReportError {
    fn from(cause: Uncounted) -> Self {
        match cause {
            Uncounted::Shared(cause) => Self::Shared(cause),
            Uncounted::Store(cause) => Self::Store(cause),
        }
    }
}

impl From<Unreachable> for ReportError {
    fn from(cause: Unreachable) -> Self {
        Self::Shared(cause)
    }
}

/// Counts what an agent spent. `key` names the report: the same one again is not counted again.
///
/// # Errors
/// [`ReportError`]. After one of the shared state it is counted, and nobody is suspended yet: the same
/// report again, by its key, goes on from there.
pub async fn report(
    app: &App,
    token: &AgentToken,
    amount: MicroUsd,
    key: Option<&str>,
) -> Result<Reported, ReportError> {
    count(app, token, amount, key).await?;
    // What was handed out and not spent counts for nobody: with it the limit could look reached, or
    // be passed. The same report again may be here because this was not done the first time.
    let pending = reclaim(app, token.id).await?;
    let is_over = pending == MicroUsd::ZERO && has_nothing_left(app, token).await?;
    if amount == MicroUsd::ZERO || !is_over {
        return Ok(Reported::Counted);
    }
    let stop = || async {
        let mut change = app.change(Actor::system()).await?;
        let is_done = suspend(&mut change, token.delegation(), Suspension::BudgetExceeded).await?;
        if is_done { change.commit().await } else { Ok(()) }
    };
    again(stop).await?;
    Ok(Reported::Exhausted)
}

/// Counts it, unless its key says that it is counted.
pub(in crate::agent) async fn count(
    app: &App,
    token: &AgentToken,
    amount: MicroUsd,
    key: Option<&str>,
) -> Result<(), ReportError> {
    let now = app.now();
    let mut tx = app.db.begin().await?;
    if let Some(key) = key {
        let digest = sha256_hex(key.as_bytes());
        match store::insert_report(&mut tx, token.id, &digest, amount, now).await {
            Ok(()) => {}
            Err(Error::Conflict(_)) => {
                tx.rollback().await?;
                let known = store::reported(&app.db, token.id, &digest).await?;
                return if known == Some(amount) { Ok(()) } else { Err(ReportError::KeyReused) };
            }
            Err(other) => return Err(other.into()),
        }
    }
    store::charge(&mut tx, token.id, amount).await?;
    let reported = Usage { reported: amount, ..Usage::default() };
    store::add_usage(&mut tx, &[((token.id, now.days()), reported)]).await?;
    Ok(tx.commit().await?)
}

/// Whether neither the store nor the purse has any money of a token. A request may have had the purse
/// filled since it was emptied, so the store is asked first.
pub(in crate::agent) async fn has_nothing_left(app: &App, token: &AgentToken) -> Result<bool, ReportError> {
    let room = store::room(&app.db, token.id).await?.unwrap_or_default();
    if room.money > MicroUsd::ZERO {
        return Ok(false);
    }
    let purses = app.shared.in_purses(&[purse_key(token.id)]).await?;
    Ok(purses.iter().all(|purse| purse.money == MicroUsd::ZERO))
}
