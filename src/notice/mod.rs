//! What people are told, in which words: the reactions that put notices into the outbox.
//!
//! Law: a notice tells that something happened and where to look; it decides nothing, and whoever
//! reads somebody else's mail learns neither a token nor a body. Words that users chose stand in
//! quotation marks.

mod agent;
mod approval;
mod owner;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::account;
use crate::app::Change;
use crate::audit::{AccountEvent, AgentEvent, ApiKeyEvent, Event, SessionEvent};
use crate::base::{Email, Id, Timestamp};
use crate::config::Notice;
use crate::notify::{self, Letter, Occasion};
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

/// How many mails of one kind a person gets one by one in each [`SPELL`]: whoever makes an agent ask a
/// hundred times must not bury the one question that matters.
const SINGLY: i64 = 5;
/// In milliseconds.
const SPELL: i64 = 10 * 60_000;

/// Writes a mail of this kind, or, where there were enough of them of late, one that says that there is
/// more.
async fn write(
    change: &mut Change<'_>,
    occasion: &Occasion,
    reader: Id,
    letter: Letter,
) -> Result<(), Error> {
    let spell = change.now().as_millis().div_euclid(SPELL);
    let since = Timestamp::from_millis(spell.saturating_mul(SPELL));
    if notify::mailed_since(change, reader, occasion.notice, since).await? < SINGLY {
        return notify::write_to(change, occasion, letter).await;
    }
    let subject = match occasion.notice {
        Notice::ApprovalRequested => "More of what agents want to do waits for you",
        Notice::AgentSuspended => "More of your agents were stopped",
        _ => "More became of what your agents wanted to do",
    };
    let until = notify::clock(since.plus(Duration::from_millis(SPELL.unsigned_abs())));
    let text = format!(
        "{subject}.\n\nYou got several mails about this within a few minutes. This is the last one until {until} UTC, \
         whatever comes until then. Look at all of it here:\n\n    {}/portcullis/approvals/\n\n\
         If one of your agents asks without end, you can stop it there.\n",
        change.app().config().public_url
    );
    let more = Occasion { key: format!("more:{spell}"), until: None, ..occasion.clone() };
    notify::write_to(change, &more, Letter { subject: subject.to_owned(), text, ..letter }).await
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
            Event::Session(SessionEvent::NewDevice { account, session }) => {
                owner::new_device(change, *account, *session).await
            }
            Event::Session(SessionEvent::RefreshReused { account, session }) => {
                owner::session_copied(change, *account, *session).await
            }
            Event::Factor(event) => owner::second_factor_changed(change, event).await,
            Event::Passkey(event) => owner::passkeys_changed(change, event).await,
            Event::ApiKey(ApiKeyEvent::Created { account, .. }) => {
                owner::api_key_made(change, *account).await
            }
            Event::Approval(event) => approval::tell(change, event).await,
            _ => Ok(()),
        }
    })
}
