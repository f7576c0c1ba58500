//! Removes what has been over for as long as `retention` keeps it.
//!
//! Law: of all gateways on a store one does, by a lease that another takes over once it is not renewed; a
//! transaction removes a bounded number of things, with what belongs to them. A kind that cannot be removed
//! now stands in no other's way, and nothing that is removed is needed to decide about a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use crate::app::{App, prune_changes};
use crate::base::{Id, Timestamp};
use crate::metrics::{Label as _, Swept};
use crate::organization::invitation;
use crate::store::{Error, lease};
use crate::{agent, apikey, approval, keys, login, notify, otp, privacy, session, social};

const LEASE: &str = "sweep";
/// Longer than the clocks of gateways are apart, and than any batch takes.
const HELD_FOR: Duration = Duration::from_mins(5);

/// Removes what is over, while this gateway is the one that does.
pub(super) struct Sweeper {
    app: Arc<App>,
    holder: String,
    /// When everything was last looked through.
    last: Mutex<Option<Timestamp>>,
}

/// What came of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Another gateway does it.
    Elsewhere,
    /// It is not time to look through everything yet.
    Early,
    /// So many rows of each kind are gone.
    Done(Vec<(Swept, u64)>),
}

impl Sweeper {
    pub(super) fn new(app: Arc<App>) -> Self {
        let holder = Id::new(app.now(), app.random.as_ref()).to_string();
        Self { app, holder, last: Mutex::default() }
    }

    /// One turn, if it is this gateway's.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        let now = self.app.now();
        if !self.is_ours().await? {
            *self.last() = None;
            self.app.metrics.swept_all(0);
            return Ok(Turn::Elsewhere);
        }
        let mut gone = Vec::new();
        // Answers to agents are kept for an hour and no longer, whatever the pace of the rest.
        let mut is_whole = match self.sweep(Swept::Answers, &mut gone).await {
            Ok(true) => true,
            Ok(false) => return Ok(Turn::Elsewhere),
            Err(error) => {
                tracing::warn!(%error, "answers that are over were not removed");
                false
            }
        };
        let every = self.app.config().retention.every;
        if self.last().is_some_and(|last| now.since(last) < every) {
            return Ok(Turn::Early);
        }
        for kind in Swept::ALL.iter().copied().filter(|kind| *kind != Swept::Answers) {
            match self.sweep(kind, &mut gone).await {
                Ok(true) => {}
                // Another gateway goes on.
                Ok(false) => return Ok(Turn::Elsewhere),
                Err(error) => {
                    is_whole = false;
                    tracing::warn!(kind = kind.text(), %error, "what is over was not removed");
                }
            }
        }
        *self.last() = Some(now);
        if is_whole {
            self.app.metrics.swept_all(now.as_millis() / 1000);
        }
        if !gone.is_empty() {
            let told: Vec<String> =
                gone.iter().map(|(kind, rows)| format!("{} {rows}", kind.text())).collect();
            tracing::info!(removed = told.join(", "), "what was over is gone");
        }
        Ok(Turn::Done(gone))
    }

    /// Removes everything of a kind that is over, as long as this gateway is the one that does.
    async fn sweep(&self, kind: Swept, gone: &mut Vec<(Swept, u64)>) -> Result<bool, Error> {
        let mut all = 0;
        let mut is_ours = true;
        let outcome = loop {
            match batch(&self.app, kind).await {
                Ok(0) => break Ok(()),
                Ok(rows) => {
                    all += rows;
                    self.app.metrics.swept(kind, rows);
                }
                Err(error) => break Err(error),
            }
            if !self.is_ours().await? {
                is_ours = false;
                break Ok(());
            }
        };
        if all > 0 {
            gone.push((kind, all));
        }
        outcome.map(|()| is_ours)
    }

    async fn is_ours(&self) -> Result<bool, Error> {
        lease::take(&self.app.db, LEASE, &self.holder, self.app.now(), HELD_FOR).await
    }

    fn last(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes some rows of a kind; how many.
fn batch(app: &App, kind: Swept) -> BoxFuture<'_, Result<u64, Error>> {
    match kind {
        Swept::Answers => Box::pin(approval::forget(app)),
        Swept::LoginAttempts => Box::pin(login::sweep(app)),
        Swept::Sessions => Box::pin(session::sweep(app)),
        Swept::Tickets => Box::pin(session::sweep_tickets(app)),
        Swept::OtpCodes => Box::pin(otp::sweep(app)),
        Swept::Identities => Box::pin(social::sweep(app)),
        Swept::Outbox => Box::pin(notify::sweep(app)),
        Swept::Approvals => Box::pin(approval::sweep(app)),
        Swept::AgentTokens => Box::pin(agent::sweep(app)),
        Swept::ApiKeys => Box::pin(apikey::sweep(app)),
        Swept::Deletions => Box::pin(privacy::sweep(app)),
        Swept::Invitations => Box::pin(invitation::sweep(app)),
        Swept::Keys => Box::pin(keys::forget(app)),
        Swept::Changes => Box::pin(prune_changes(app)),
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
