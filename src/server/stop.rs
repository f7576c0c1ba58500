//! The way down.
//!
//! Law: readiness goes first, while connections are still accepted, so that a load balancer has
//! looked away before the door closes; then the door closes, what was begun finishes, and what
//! does not finish in time is cut. Readiness stays answerable until the end.

use std::time::Duration;

use super::Running;
use crate::agent;
use crate::proxy::Phase;

/// For what runs in the background, after the last request.
const TASKS_WITHIN: Duration = Duration::from_secs(5);

impl Running {
    /// Drains and stops as the configuration says, and returns when nothing runs any more.
    pub async fn shutdown(&self) {
        let drain = self.app.config().drain.clone();
        self.app.health.fail("drain", "the gateway is stopping");
        self.phase.send_replace(Phase::Announcing);
        tokio::time::sleep(drain.announce).await;
        self.phase.send_replace(Phase::Closing);
        if tokio::time::timeout(drain.grace, self.all_closed()).await.is_err() {
            tracing::warn!("requests that did not finish in time are cut");
            self.phase.send_replace(Phase::Cut);
            self.all_closed().await;
        }
        self.finish().await;
    }

    /// Stops at once: whatever runs is cut.
    pub async fn abort(&self) {
        self.phase.send_replace(Phase::Cut);
        self.finish().await;
    }

    /// Returns when the last connection of the last public listener has ended.
    async fn all_closed(&self) {
        // An error would mean that nothing can be open any more.
        drop(self.open.subscribe().wait_for(|count| *count == 0).await);
    }

    async fn finish(&self) {
        self.admin_phase.send_replace(Phase::Cut);
        for name in self.app.tasks.shutdown(TASKS_WITHIN).await {
            tracing::warn!(task = name, "a task did not end in time");
        }
        self.bridge.gate.note_withheld();
        if let Err(error) = self.app.write_notes().await {
            tracing::warn!(%error, "what the last requests did was not written into the audit trail");
        }
        if let Err(error) = self.bridge.gate.write_usage().await {
            tracing::warn!(%error, "what agents used at last was not written down");
        }
        if let Err(error) = agent::give_purses_back(&self.app).await {
            tracing::warn!(%error, "what agents had not spent stays spent");
        }
        if let Some(alone) = &self.alone
            && let Err(error) = alone.leave().await
        {
            tracing::warn!(%error, "the place on the store was not given back");
        }
        self.recorder.close();
        self.app.db.close().await;
    }
}
