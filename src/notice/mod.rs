//! What people are told, in which words: the reactions that put notices into the outbox.
//!
//! Law: a notice tells that something happened and where to look; it decides nothing, and whoever
//! reads somebody else's mail learns neither a token nor a body. Words that users chose stand in
//! quotation marks.

mod agent;
mod approval;

use futures::future::BoxFuture;

use crate::app::Change;
use crate::audit::{AgentEvent, Event};
use crate::store::Error;

/// Tells of what others did, in the same transaction.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        match event {
            Event::Agent(AgentEvent::Suspended { of, reason }) => {
                agent::suspended(change, *of, *reason).await
            }
            Event::Approval(event) => approval::tell(change, event).await,
            _ => Ok(()),
        }
    })
}
