//! Sends what people have approved where no client waits for the answer.
//!
//! Law: decided, stamped, sent, cleaned and recorded like every other request, once; only the answer
//! is kept instead of sent on. It ends with its agent, and within a time of its own.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::connectors::Connectors;
use super::ctx::Ctx;
use super::decide::{Decide, Decided, Decision};
use super::execute::execute;
use super::fault::blame;
use super::forward::{Forward, Until};
use super::record::Recorder;
use crate::approval::Approval;
use crate::gate::request_id::RequestIds;
use crate::gate::rules::Hardening;

/// How long an exchange may take. The upstream's own times end it sooner, but for an answer that
/// comes in drops.
const WITHIN: Duration = Duration::from_mins(10);

/// Who sends without a client.
#[derive(Clone)]
pub struct Errands {
    pub(super) decide: Arc<dyn Decide>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) ids: Arc<RequestIds>,
    pub(super) connectors: Arc<Connectors>,
}

impl Errands {
    /// Sends what was approved, if it can be sent now, and returns when what came of it is written.
    pub async fn run(&self, approval: &Approval) {
        let id = self.ids.fresh();
        let Some((head, decided)) = self.decide.decide_errand(approval, id.clone()).await else { return };
        let Decided { decision, found, answer, answer_without } = decided;
        let mut ctx = Ctx::new(Arc::clone(&self.recorder));
        // What is kept is what the upstream said: browsers never see it.
        ctx.hardening = Hardening::Off;
        (ctx.method, ctx.id, ctx.head) = (head.method.clone(), Some(id), Some(head));
        (ctx.found, ctx.answer, ctx.answer_without) = (found, answer, answer_without);
        match decision {
            Decision::Forward(forward) => self.send(&mut ctx, forward).await,
            Decision::Answer(reply) => ctx.ending.status = reply.status.as_u16(),
            Decision::Reject(rejection) => {
                ctx.ending.status = rejection.status().as_u16();
                ctx.refusal = Some(rejection);
            }
        }
        ctx.conclude().await;
    }

    async fn send(&self, ctx: &mut Ctx, forward: Box<Forward>) {
        let Some(body) = forward.held.as_ref().map(|held| held.body.clone()) else { return };
        let until = over(&forward.until);
        ctx.forward = Some(forward);
        let sent = tokio::select! {
            sent = execute(&self.connectors, Client::nobody(), ctx, &body) => Some(sent),
            () = until => None,
            () = tokio::time::sleep(WITHIN) => None,
        };
        match sent {
            Some(Ok(())) => ctx.ending.status = ctx.attempt.status.unwrap_or(0),
            Some(Err(error)) => {
                if let Some(rejection) = blame(&error, ctx) {
                    ctx.ending.status = rejection.status().as_u16();
                    ctx.refusal = Some(rejection);
                }
            }
            None => {
                if let Some(copy) = ctx.copy() {
                    copy.too_large();
                }
            }
        }
    }
}

/// When it must not go on.
fn over(until: &Until) -> impl Future<Output = ()> + use<> {
    let taken = until.take();
    async move {
        match taken {
            Some((after, future)) => {
                tokio::time::sleep(after).await;
                future.await;
            }
            None => pending().await,
        }
    }
}
