//! What tells the process to change or end: signals, and the file itself where it is watched.
//!
//! Law: a first SIGTERM or SIGINT drains, a second ends the process within a second. SIGHUP reads
//! the file again; a bad file changes nothing, and a watched one counts only once it has been the
//! same for two seconds, so that a half-written one is never tried.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Running, Start, StartError, start, supervisor};
use crate::config;

/// How long a second signal waits for what is being cut.
const AT_ONCE: Duration = Duration::from_millis(800);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const STABLE_FOR: Duration = Duration::from_secs(2);

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
    let mut end =
        End { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? };
    let mut hangup = listen(SignalKind::hangup())?;
    let running = start(begin).await?;
    let mut watch = Watch::of(path.clone());
    ready(&running);
    supervisor::ready();
    loop {
        tokio::select! {
            () = end.told() => break,
            _ = hangup.recv() => reload(&running, path.as_deref()).await,
            () = watch.changed(running.app.config().watch) => reload(&running, path.as_deref()).await,
        }
    }
    tracing::info!("stopping once what is under way is done; a second signal stops at once");
    supervisor::stopping();
    tokio::select! {
        () = running.shutdown() => {}
        () = end.told() => at_once(&running).await,
    }
    Ok(())
}

/// The signals that end a process.
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn at_once(running: &Running) {
    tracing::warn!("a second signal: stopping now");
    // Whatever is not done by then is lost either way.
    drop(tokio::time::timeout(AT_ONCE, running.abort()).await);
}

/// The configuration file as it was last tried, and as it looks now.
struct Watch {
    path: Option<PathBuf>,
    tried: Option<Vec<u8>>,
    seen: Option<(Vec<u8>, Instant)>,
}

impl Watch {
    fn of(path: Option<PathBuf>) -> Self {
        let tried = path.as_deref().and_then(|path| config::file::read(path).ok());
        Self { path, tried, seen: None }
    }

    /// Returns when the file is another one, and has been for a while.
    async fn changed(&mut self, is_watched: bool) {
        let Some(path) = self.path.clone().filter(|_| is_watched) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // A file that is away for a moment is being replaced.
            let Ok(now) = config::file::read(&path) else { continue };
            if self.tried.as_ref() == Some(&now) {
                self.seen = None;
                continue;
            }
            match &self.seen {
                Some((same, since)) if *same == now => {
                    if since.elapsed() >= STABLE_FOR {
                        self.tried = Some(now);
                        self.seen = None;
                        return;
                    }
                }
                _ => self.seen = Some((now, Instant::now())),
            }
        }
    }
}

async fn reload(running: &Running, path: Option<&Path>) {
    let Some(path) = path else { return };
    supervisor::reloading();
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
    supervisor::ready();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watched_file_counts_once_it_has_come_to_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        std::fs::write(&path, "one").unwrap();
        let mut watch = Watch::of(Some(path.clone()));
        let soon = Duration::from_millis(1_200);
        assert!(tokio::time::timeout(soon, watch.changed(true)).await.is_err(), "nothing has changed");
        std::fs::write(&path, "two").unwrap();
        let start = Instant::now();
        assert!(tokio::time::timeout(soon, watch.changed(true)).await.is_err(), "not at rest yet");
        watch.changed(true).await;
        assert!(start.elapsed() >= STABLE_FOR);
        assert!(tokio::time::timeout(soon, watch.changed(true)).await.is_err(), "told once");
    }
}
