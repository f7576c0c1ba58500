//! What a gateway does in the background, on its own time.
//!
//! Law: a chore that fails is logged and tried again at its next turn; none is needed to decide
//! about a request, except following the changes of others.

use std::sync::Arc;
use std::time::Duration;

use super::sweep::Sweeper;
use crate::app::{App, WRITTEN_EVERY, overdue_audit};
use crate::audit::{Broken, HEAD_LINE, SignedHead, Stream};
use crate::gate::Gate;
use crate::notify::{self, Courier};
use crate::statistics::{FOLD_EVERY, Folder};
use crate::store::Error;
use crate::{agent, approval, privacy};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
/// How long a lost Redis may go unmentioned.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an agent that fell silent may go on while it asks for nothing.
const AGENTS: Duration = Duration::from_secs(5);
/// How old what people read of agents' usage may be: a row for each agent that was at work.
const USAGE: Duration = Duration::from_secs(2);
/// How old what metrics say of the outbox may be.
const COUNT_NOTICES: Duration = Duration::from_secs(10);
/// How long rows whose time is over may wait for the next prune, which is a daily job.
const GRACE: Duration = Duration::from_hours(48);
const SHARED: &str = "shared";
/// What the log says instead of where a stream ends.
const FORGED_LINE: &str = "the end of the audit trail is not what was written: see `portcullis audit verify`";

/// Starts them all.
pub(super) fn start(app: &Arc<App>) {
    let (follower, carrier) = (Arc::clone(app), Arc::clone(app));
    let stopping = app.tasks.stopping();
    app.tasks.spawn("follow changes", follower.follow(stopping));
    let mut stopping = app.tasks.stopping();
    app.tasks.spawn("carry hints", async move {
        tokio::select! {
            () = stopping.wait() => {}
            () = carrier.shared.carry_hints() => {}
        }
    });
    every(app, "look for shared state", LOOK_EVERY, |app| async move {
        match app.shared.ping().await {
            Ok(()) => app.health.regain(SHARED),
            Err(error) => app.health.lack(SHARED, error.to_string()),
        }
        Ok(())
    });
    every(app, "sweep shared state", MINUTE, |app| async move {
        app.shared.sweep();
        Ok(())
    });
    every(app, "write the trail", WRITTEN_EVERY, |app| async move { app.write_notes().await });
    every(app, "watch the trail's age", HOUR, |app| async move {
        // Not ours to remove: whoever serves requests must not be able to take rows out of the trail.
        let overdue = overdue_audit(&app, app.config().audit.keep_for).await?;
        if overdue > GRACE {
            let days = overdue.as_secs() / (24 * 60 * 60);
            tracing::warn!(
                days,
                "audit rows are older than `audit.keep_for`: run `portcullis audit prune` each day"
            );
        }
        Ok(())
    });
    vouch_every(app, MINUTE);
    carry_notices(app);
    every(app, "stop overdue agents", AGENTS, |app| async move { agent::stop_overdue(&app).await.map(drop) });
    every(
        app,
        "end overdue approvals",
        AGENTS,
        |app| async move { approval::end_overdue(&app).await.map(drop) },
    );
    every(app, "count notices", COUNT_NOTICES, |app| async move { notify::count_waiting(&app).await });
    sweep_up(app);
    fold(app);
    every(app, "delete accounts", MINUTE, |app| async move { privacy::delete_due(&app).await.map(drop) });
}

/// Says again and again where each stream of the trail ends.
fn vouch_every(app: &Arc<App>, interval: Duration) {
    every(app, "vouch for the audit trail", interval, |app| async move {
        // Where one of them cannot be vouched for, the other one still is.
        let changes = vouch(&app, Stream::Changes).await;
        vouch(&app, Stream::DataPlane).await.and(changes)
    });
}

/// Writes into the log where a stream of the trail ends now, signed; of an end that is not what was written, that
/// it is none, and nothing that is signed.
async fn vouch(app: &App, stream: Stream) -> Result<(), Error> {
    match SignedHead::of(&app.seal, &app.db, stream).await {
        Ok(signed) => {
            tracing::info!(stream = stream.name(), seq = signed.head.seq, signed = %signed, "{HEAD_LINE}");
        }
        Err(broken @ Broken::At { .. }) => {
            tracing::error!(stream = stream.name(), %broken, "{FORGED_LINE}");
        }
        Err(Broken::Store(error)) => return Err(error),
    }
    Ok(())
}

/// Removes what is over.
fn sweep_up(app: &Arc<App>) {
    let sweeper = Arc::new(Sweeper::new(Arc::clone(app)));
    app.tasks.every("sweep", MINUTE, MINUTE / 10, move || {
        let sweeper = Arc::clone(&sweeper);
        async move {
            if let Err(error) = sweeper.turn().await {
                tracing::warn!(%error, "what is over was not removed");
            }
        }
    });
}

/// Counts what is new in the audit trail.
fn fold(app: &Arc<App>) {
    let folder = Arc::new(Folder::new(Arc::clone(app)));
    app.tasks.every("count what happened", FOLD_EVERY, FOLD_EVERY / 10, move || {
        let folder = Arc::clone(&folder);
        async move {
            if let Err(error) = folder.turn().await {
                tracing::warn!(%error, "what happened was not counted");
            }
        }
    });
}

/// Looks into the outbox.
fn carry_notices(app: &Arc<App>) {
    let courier = Courier::new(Arc::clone(app));
    app.tasks.every("look into the outbox", notify::LOOK_EVERY, notify::LOOK_EVERY / 10, move || {
        let courier = Arc::clone(&courier);
        async move {
            if let Err(error) = courier.look().await {
                tracing::warn!(%error, "the outbox cannot be read");
            }
        }
    });
}

/// What the gate does.
pub(super) fn of_gate(app: &App, gate: &Arc<Gate>) {
    let owner = Arc::clone(gate);
    app.tasks.every("write what agents used", USAGE, USAGE / 10, move || {
        let gate = Arc::clone(&owner);
        async move {
            if let Err(error) = gate.write_usage().await {
                tracing::warn!(%error, "what agents used was not written down");
            }
        }
    });
    let owner = Arc::clone(gate);
    app.tasks.every("note uses of API keys", AGENTS, AGENTS / 10, move || {
        let gate = Arc::clone(&owner);
        async move {
            if let Err(error) = gate.write_key_uses().await {
                tracing::warn!(%error, "when API keys were used was not noted");
            }
        }
    });
    let gate = Arc::clone(gate);
    app.tasks.every("note uses of agents", AGENTS, AGENTS / 10, move || {
        let gate = Arc::clone(&gate);
        async move {
            if let Err(error) = gate.write_uses().await {
                tracing::warn!(%error, "when agents were used was not noted");
            }
        }
    });
}

fn every<W>(app: &Arc<App>, name: &'static str, interval: Duration, chore: fn(Arc<App>) -> W)
where
    W: Future<Output = Result<(), Error>> + Send + 'static,
{
    let owner = Arc::clone(app);
    app.tasks.every(name, interval, interval / 10, move || {
        let app = Arc::clone(&owner);
        async move {
            if let Err(error) = chore(app).await {
                tracing::warn!(chore = name, %error, "a chore failed");
            }
        }
    });
}

#[cfg(test)]
#[path = "chores_tests.rs"]
mod tests;
