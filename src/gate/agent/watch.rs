//! How an agent's request ended, and what follows from it.
//!
//! Law: an upstream that failed (5xx, no answer, refused) counts against the token, one after the
//! other and in the order in which requests ended; a success forgives all that were before it. What
//! never reached an upstream, and what the client left, says nothing.

use std::sync::Arc;

use ::http::HeaderValue;

use super::super::Gate;
use super::cache::Grant;
use super::count::Spent;
use super::marks::Sign;
use crate::approval::{Claim, Copying, Outcome};
use crate::audit::Suspension;

/// How a request ended, as the proxy saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No upstream was asked, or none was reached when the client left.
    Unsent,
    /// No server could be reached: nothing was sent.
    Unreached,
    /// The upstream answered with this status.
    Answered(u16),
    /// It was asked and did not answer, or not as HTTP asks.
    Failed,
    /// The client left before there was an answer.
    Left,
}

/// What that is for something that people approved.
const fn outcome(how: Ended) -> Outcome {
    match how {
        Ended::Unsent | Ended::Unreached => Outcome::Unsent,
        Ended::Answered(status) => Outcome::Answered(status),
        Ended::Failed | Ended::Left => Outcome::Unknown,
    }
}

/// Who waits for the end of an agent's request. What a request reserved is settled here too.
#[derive(Debug)]
pub struct Watch {
    gate: Arc<Gate>,
    grant: Arc<Grant>,
    /// Whether failures were known when the request came.
    has_failures: bool,
    spent: Option<Spent>,
    /// Of a request that people have approved.
    claim: Option<Claim>,
}

impl Watch {
    pub(in crate::gate) const fn new(
        gate: Arc<Gate>,
        grant: Arc<Grant>,
        has_failures: bool,
        spent: Option<Spent>,
        claim: Option<Claim>,
    ) -> Self {
        Self { gate, grant, has_failures, spent, claim }
    }

    /// Whether the answer says what the request cost, and so must be read to its end.
    pub fn is_metered(&self) -> bool {
        self.spent.as_ref().is_some_and(Spent::is_metered)
    }

    /// The answer begins, and has this type.
    pub fn answers(&mut self, content_type: Option<&HeaderValue>) {
        let kind = content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if let Some(meter) = self.spent.as_mut().and_then(Spent::meter) {
            meter.begin(kind);
        }
    }

    /// A piece of the answer passes.
    pub fn passes(&mut self, piece: &[u8]) {
        if let Some(meter) = self.spent.as_mut().and_then(Spent::meter) {
            meter.read(piece);
        }
    }

    /// The copy of the answer, where that is kept.
    pub fn copy(&mut self) -> Option<&mut Copying> {
        self.claim.as_mut()?.copy()
    }

    /// The request is over.
    pub fn ended(mut self, how: Ended) {
        self.settle(how);
        if let Some(claim) = self.claim.take() {
            claim.settle(outcome(how));
        }
        self.judge(how);
    }

    /// The same of what the gateway sent by itself, and written down when this returns.
    pub async fn concluded(mut self, how: Ended) {
        self.settle(how);
        if let Some(claim) = self.claim.take() {
            claim.settled(outcome(how)).await;
        }
        // It is tried again from here: that is no failure of an agent that does nothing.
        if how != Ended::Unreached {
            self.judge(how);
        }
    }

    fn settle(&mut self, how: Ended) {
        if let Some(spent) = self.spent.take().filter(|_| !matches!(how, Ended::Unsent | Ended::Unreached)) {
            self.gate.note_usage(self.grant.token.id, spent.keep());
        }
    }

    /// What it says about the agent.
    fn judge(self, how: Ended) {
        match how {
            Ended::Unsent | Ended::Left => {}
            Ended::Answered(status) if status < 500 => {
                if self.has_failures || self.grant.marks.has_failed() {
                    self.tell(Sign::Success);
                }
            }
            Ended::Answered(_) | Ended::Failed | Ended::Unreached => self.tell(Sign::Failure),
        }
    }

    fn tell(self, sign: Sign) {
        let Self { gate, grant, .. } = self;
        let Some(mut teller) = grant.marks.take_up(&grant, sign) else { return };
        let tasks = gate.app.tasks.clone();
        tasks.spawn("count an agent's failures", async move {
            while let Some((grant, sign)) = teller.next() {
                match sign {
                    Sign::Success => forgive(&gate, &grant).await,
                    Sign::Failure => count(&gate, &grant).await,
                }
            }
        });
    }
}

async fn forgive(gate: &Gate, grant: &Grant) {
    if let Err(error) = gate.app.shared.succeed(&grant.fault_key).await {
        tracing::warn!(%error, "an agent's success was not counted");
    }
}

async fn count(gate: &Gate, grant: &Grant) {
    let failures = match gate.app.shared.fail(grant.blame()).await {
        Ok(failures) => failures,
        Err(error) => {
            tracing::warn!(%error, "an agent's failure was not counted");
            return;
        }
    };
    if failures > grant.token.limits.failures
        && let Err(error) = super::suspend(&gate.app, grant, Suspension::Anomaly).await
    {
        // The next request finds the count and tries again.
        tracing::error!(%error, "an agent token could not be suspended");
    }
}
