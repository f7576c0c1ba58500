//! Whether a database says anything at all.
//!
//! Law: who waits for a connection waits while the database answers somebody, and gives up soon when
//! it answers nobody: a crowd is worth waiting in, a grave is not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// A database that has answered nobody for so long is taken for gone, where nobody says otherwise.
pub(super) const SILENT_FOR: Duration = Duration::from_millis(1500);
/// How long a reader waits for a connection and the answer together, and whoever looks whether there is one;
/// for longer where a silence is.
const READ_WITHIN: Duration = Duration::from_secs(5);
const PING_WITHIN: Duration = Duration::from_secs(2);

/// When a database last answered.
#[derive(Debug)]
pub(super) struct Life {
    silent_for: Duration,
    started: Instant,
    /// Milliseconds after `started`.
    heard: AtomicU64,
}

impl Life {
    pub(super) fn of(silent_for: Duration) -> Self {
        Self { silent_for, started: Instant::now(), heard: AtomicU64::new(0) }
    }

    pub(super) const fn silent_for(&self) -> Duration {
        self.silent_for
    }

    pub(super) fn read_within(&self) -> Duration {
        READ_WITHIN.max(2 * self.silent_for)
    }

    pub(super) fn ping_within(&self) -> Duration {
        PING_WITHIN.max(self.silent_for)
    }

    /// It has answered.
    pub(super) fn heard(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.fetch_max(now, Ordering::Relaxed);
    }

    /// What is waited for, unless the database answers nobody meanwhile.
    pub(super) async fn lets<T>(
        &self,
        mut waiting: impl Future<Output = Result<T, sqlx::Error>> + Unpin,
    ) -> Result<T, sqlx::Error> {
        let mut since = Instant::now();
        loop {
            if let Ok(answer) = timeout_at(since + self.silent_for, &mut waiting).await {
                return answer;
            }
            let heard = self.started + Duration::from_millis(self.heard.load(Ordering::Relaxed));
            if heard <= since {
                return Err(sqlx::Error::PoolTimedOut);
            }
            since = heard;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_waited_in_and_a_grave_is_not() {
        let (life, start) = (Life::of(SPAN), Instant::now());
        let never = || Box::pin(std::future::pending::<Result<(), sqlx::Error>>());
        assert!(life.lets(never()).await.is_err());
        assert!(start.elapsed() >= SPAN);
        let (start, answers) = (Instant::now(), async {
            for _ in 0..10 {
                tokio::time::sleep(SPAN / 4).await;
                life.heard();
            }
        });
        let (waited, ()) = tokio::join!(life.lets(never()), answers);
        assert!(waited.is_err());
        assert!(start.elapsed() >= SPAN * 3, "{:?}", start.elapsed());
        let soon = async {
            tokio::time::sleep(SPAN / 2).await;
            Ok(7)
        };
        assert_eq!(life.lets(Box::pin(soon)).await.unwrap(), 7);
    }
}
