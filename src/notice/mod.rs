//! What people are told, in which words: the reactions that put notices into the outbox.
//!
//! Law: a notice tells that something happened and where to look; it decides nothing, and whoever
//! reads somebody else's mail learns neither a token nor a body. Words that users chose stand in
//! quotation marks.

mod agent;
mod approval;
mod owner;

use futures::future::BoxFuture;

use crate::account;
use crate::app::Change;
use crate::audit::{AccountEvent, AgentEvent, Event};
use crate::base::{Email, Id};
use crate::config::Notice;
use crate::store::Error;

/// Where this person gets mail: at an address that is known to be theirs. What happens to somebody's
/// agents is nobody else's business, and anybody can write down an address.
async fn mailbox(change: &mut Change<'_>, account: Id, notice: Notice) -> Result<Option<Email>, Error> {
    if change.app().config().mail.is_none() {
        return Ok(None);
    }
    let person = account::by_id(change.tx(), account).await?;
    let address = person.filter(|person| person.is_email_verified).and_then(|person| person.email);
    if address.is_none() {
        tracing::warn!(%account, notice = notice.name(), "no mail: this person has no verified address");
    }
    Ok(address)
}

/// Tells of what others did, in the same transaction.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        match event {
            Event::Agent(AgentEvent::Suspended { of, reason }) => {
                agent::suspended(change, *of, *reason).await
            }
            Event::Account(AccountEvent::PasswordChanged { account, .. }) => {
                owner::password_changed(change, *account).await
            }
            Event::Factor(event) => owner::second_factor_changed(change, event).await,
            Event::Approval(event) => approval::tell(change, event).await,
            _ => Ok(()),
        }
    })
}
