//! What the system tells the process: stop, stop now, read the configuration again.
//!
//! Law: a first SIGTERM or SIGINT drains, a second ends the process within a second. SIGHUP reads
//! the file again; a bad file changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Running, Start, StartError, start};
use crate::config;

/// How long a second signal waits for what is being cut.
const AT_ONCE: Duration = Duration::from_millis(800);

/// Runs a gateway until it is told to stop. `ready` is called once it serves; `path` is where a
/// reload reads.
///
/// # Errors
/// [`StartError`] when it does not come up.
pub async fn run(
    begin: Start,
    path: Option<PathBuf>,
    ready: impl FnOnce(&Running),
) -> Result<(), StartError> {
    let listen = |kind| signal(kind).map_err(StartError::Threads);
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let running = start(begin).await?;
    ready(&running);
    notify(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&running, path.as_deref()).await,
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        () = running.shutdown() => {}
        _ = terminate.recv() => at_once(&running).await,
        _ = interrupt.recv() => at_once(&running).await,
    }
    Ok(())
}

async fn at_once(running: &Running) {
    tracing::warn!("a second signal: stopping now");
    // Whatever is not done by then is lost either way.
    drop(tokio::time::timeout(AT_ONCE, running.abort()).await);
}

async fn reload(running: &Running, path: Option<&std::path::Path>) {
    let Some(path) = path else { return };
    notify(&[sd_notify::NotifyState::Reloading]);
    match config::load(path) {
        Ok(loaded) => match running.reload(&loaded).await {
            Ok(()) => tracing::info!(sha256 = loaded.sha256, "the configuration was taken over"),
            Err(error) => tracing::error!(%error, "the configuration was refused; the old one stays"),
        },
        Err(problems) => {
            running.app.metrics.config_refused();
            tracing::error!(%problems, "the configuration was refused; the old one stays");
        }
    }
    notify(&[sd_notify::NotifyState::Ready]);
}

/// A system without a service manager is not told.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    drop(sd_notify::notify(states));
}
