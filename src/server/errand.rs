//! The chore that has sent what people have approved where the gateway does that itself.
//!
//! Law: nothing is begun once the gateway is stopping; what was begun is waited for like a request of
//! a client, and cut with the last of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::share::Shares;
use crate::app::App;
use crate::approval::{Approval, take_errands};
use crate::gate::Gate;
use crate::proxy::{Errands, Phase};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many are under way at a time.
const AT_ONCE: usize = 32;

/// What the chore works with.
pub(super) struct Sending {
    pub(super) app: Arc<App>,
    pub(super) gate: Arc<Gate>,
    pub(super) errands: Errands,
    pub(super) phase: watch::Receiver<Phase>,
    /// How much is still open that a stopping gateway waits for.
    pub(super) open: watch::Sender<usize>,
}

/// Something that a stopping gateway waits for.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|count| *count += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Looks again and again.
pub(super) fn start(sending: Sending) {
    let (sending, free) = (Arc::new(sending), Arc::new(Semaphore::new(AT_ONCE)));
    let shares = Shares::default();
    let tasks = sending.app.tasks.clone();
    tasks.every("look for what is to be sent", LOOK_EVERY, LOOK_EVERY / 10, move || {
        let (sending, free, shares) = (Arc::clone(&sending), Arc::clone(&free), shares.clone());
        async move { sending.look(&free, &shares).await }
    });
}

impl Sending {
    async fn look(&self, free: &Arc<Semaphore>, shares: &Shares) {
        let is_serving = *self.phase.borrow() == Phase::Serving;
        let limit = u32::try_from(free.available_permits()).unwrap_or(0);
        if !is_serving || limit == 0 || !self.gate.has_errands() {
            return;
        }
        let config = self.app.config();
        let place = |approval: &Approval| shares.enter(&config, approval);
        let taken = match take_errands(&self.app, limit, &shares.crowd(&config), place).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "what is to be sent cannot be read");
                return;
            }
        };
        for (approval, share) in taken {
            let Ok(permit) = Arc::clone(free).try_acquire_owned() else { return };
            let (errands, open) = (self.errands.clone(), Open::new(&self.open));
            let mut phase = self.phase.clone();
            self.app.tasks.spawn("send what was approved", async move {
                let _held = (permit, share, open);
                tokio::select! {
                    () = errands.run(&approval) => {}
                    _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
                }
            });
        }
    }
}
