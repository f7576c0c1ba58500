//! What people ask about what is kept of them: to have it, and to have it gone.
//!
//! Law: an account goes after its person has proved who they are, whoever reads their mail has said
//! so too, and the time to change one's mind is over. Until then it is an account like any other; while
//! nobody may use it, that time does not end, because nobody could call anything off. What
//! is erased is erased in one change, everywhere; the audit chain stays whole, because it holds digests
//! of what is erased and nothing else of it. No organization is left to others without an owner.

mod due;
mod erase;
mod export;
mod http;
mod office;
mod store;
#[cfg(test)]
mod tests;
mod wait;
mod words;

use std::time::Duration;

use crate::account::{self, Account};
use crate::app::{App, Change};
use crate::audit::{Actor, PrivacyEvent};
use crate::base::{Id, Number, Secret, Slug, Timestamp};
use crate::crypto::token::{Token, TokenDigest};
use crate::login::Place;
use crate::organization;
use crate::store::{Error, FromRow, Source};

pub use due::{delete_due, sweep};
pub use erase::{ERASED_AT_ONCE, NotErased, erase_now};
pub use export::{SHOWN_ROWS, export};
pub use http::{Proved, Wanted, ask, hand_over, keep};
pub use store::{Census, census};
pub use wait::react;
pub use words::{PAGE, reached_by};

/// Every endpoint of this slice.
#[must_use]
pub fn rows() -> Vec<crate::http::Row> {
    let mut rows = http::rows();
    rows.extend(office::rows());
    rows
}

/// The series of the numbers that wires show.
const SERIES: &str = "account_deletion";
/// The most that somebody writes about why they leave.
pub const REASON_MAX: usize = 500;

/// How far a deletion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A link is on its way to its person.
    ConfirmationSent,
    /// The time to change one's mind is running.
    Confirmed,
    Completed,
    Cancelled,
}

impl Status {
    /// The word in the store and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConfirmationSent => "confirmation_sent",
            Self::Confirmed => "confirmed",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::ConfirmationSent, Self::Confirmed, Self::Completed, Self::Cancelled];
        all.into_iter().find(|status| status.name() == name)
    }

    /// Whether it may still lead to anything.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::ConfirmationSent | Self::Confirmed)
    }
}

/// That an account is to go, or went.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Deletion {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    pub account: Id,
    /// Through which it was asked for.
    pub application: Option<Id>,
    pub status: Status,
    /// What its person said; nothing once the account is gone.
    pub reason: String,
    /// An operator wants it: then it does not wait for an account that may not be used.
    pub is_ordered: bool,
    pub requested_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
    /// When the account goes.
    pub due_at: Option<Timestamp>,
    /// Since when something stands in its way.
    pub held_back_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub cancelled_at: Option<Timestamp>,
    /// From where its person asked; nothing once the account is gone.
    pub address: Option<String>,
    /// Who carried it out before its time, and why.
    pub processed_by: Option<Id>,
    pub notes: String,
}

/// Why an account is not to go.
#[derive(Debug)]
pub enum Refused {
    /// It may not act, or is gone.
    Gone,
    /// These organizations would be left to others without an owner.
    SoleOwner(Vec<Slug>),
    /// Nobody else could do what superusers do.
    LastSuperuser,
    Store(Error),
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Asks for an account to go, for its person, who has just proved who they are. What was asked for
/// before is called off. Whoever cannot be reached at an address or number that is known to be theirs
/// has confirmed it by that proof.
///
/// # Errors
/// [`Refused`]; the change is then not to be committed.
pub async fn request(change: &mut Change<'_>, account: Id, reason: String) -> Result<Deletion, Refused> {
    // The account's row first, as everywhere: of two at once the later one stands.
    if !account::hold(change, account).await? {
        return Err(Refused::Gone);
    }
    let person = account::by_id(change.tx(), account).await?.ok_or(Refused::Gone)?;
    refuse_irreplaceable(change, account).await?;
    call_off(change, account).await?;
    let mut new = begun(change, &person, reason).await?;
    new.application = change.actor().application;
    new.address = change.actor().address.map(|address| address.to_string());
    let Some(to) = words::reached(change.app(), &person) else {
        let due_at = due_at(change);
        confirmed(change, &mut new, due_at).await?;
        return Ok(new);
    };
    let token = Token::generate(change.app().random.as_ref());
    let ends_at = change.now().plus(change.app().config().accounts.deletion.confirm_within);
    store::insert(change.tx(), &new, (Some(&token.digest()), Some(ends_at))).await?;
    let (account, deletion) = (new.account, new.id);
    change.record(PrivacyEvent::DeletionRequested { account, deletion }).await?;
    words::ask(change, &person, to, &new, (&token, ends_at)).await?;
    Ok(new)
}

/// Lets an account go when the time to change one's mind is over, as an operator does.
///
/// # Errors
/// [`Refused`]; the change is then not to be committed.
pub async fn schedule(change: &mut Change<'_>, account: &Account) -> Result<Deletion, Refused> {
    refuse_irreplaceable(change, account.id).await?;
    call_off(change, account.id).await?;
    let mut new = begun(change, account, String::new()).await?;
    new.is_ordered = true;
    let due_at = due_at(change);
    confirmed(change, &mut new, due_at).await?;
    words::announce(change, account, &new, due_at).await?;
    Ok(new)
}

async fn refuse_irreplaceable(change: &mut Change<'_>, account: Id) -> Result<(), Refused> {
    if account::is_last_superuser(change, account).await? {
        return Err(Refused::LastSuperuser);
    }
    let orphans = organization::orphans(change.tx(), account).await?;
    if orphans.is_empty() { Ok(()) } else { Err(Refused::SoleOwner(orphans)) }
}

async fn begun(change: &mut Change<'_>, person: &Account, reason: String) -> Result<Deletion, Error> {
    Ok(Deletion {
        id: change.new_id(),
        number: change.number(SERIES).await?,
        site: person.site,
        account: person.id,
        application: None,
        status: Status::ConfirmationSent,
        reason,
        is_ordered: false,
        requested_at: change.now(),
        confirmed_at: None,
        due_at: None,
        held_back_at: None,
        completed_at: None,
        cancelled_at: None,
        address: None,
        processed_by: None,
        notes: String::new(),
    })
}

/// When what is confirmed now is due.
fn due_at(change: &Change<'_>) -> Timestamp {
    change.now().plus(change.app().config().accounts.deletion.grace)
}

/// Writes one that nobody has to confirm any more.
async fn confirmed(change: &mut Change<'_>, new: &mut Deletion, due_at: Timestamp) -> Result<(), Error> {
    (new.status, new.confirmed_at, new.due_at) = (Status::Confirmed, Some(change.now()), Some(due_at));
    store::insert(change.tx(), new, (None, None)).await?;
    let (account, deletion) = (new.account, new.id);
    change.record(PrivacyEvent::DeletionRequested { account, deletion }).await?;
    change.record(PrivacyEvent::DeletionConfirmed { account, deletion, due_at }).await
}

/// Confirms what a link that was sent stands for. `None` where it stands for nothing (any more): which
/// of the reasons it is, is nobody's business.
pub async fn confirm(
    app: &App,
    token: &Secret<String>,
    place: Place,
    actor: Actor,
) -> Result<Option<Deletion>, Error> {
    let digest = TokenDigest::of(token.expose());
    let site = actor.site;
    let found = store::by_token(&app.db, &digest, app.now()).await?;
    let Some(found) = found.filter(|found| found.site == site && place.admits(found.application)) else {
        return Ok(None);
    };
    let mut change = app.change(actor).await?;
    let (now, account, deletion) = (change.now(), found.account, found.id);
    let due_at = due_at(&change);
    if !account::hold(&mut change, account).await?
        || store::confirm(change.tx(), deletion, now, due_at).await? == 0
    {
        return Ok(None);
    }
    change.record(PrivacyEvent::DeletionConfirmed { account, deletion, due_at }).await?;
    if let Some(person) = account::by_id(change.tx(), account).await? {
        words::announce(&mut change, &person, &found, due_at).await?;
    }
    change.commit().await?;
    store::by_id(&app.db, deletion).await
}

/// Calls off whatever was to happen to an account; how much that was. Its person is told.
pub async fn cancel(change: &mut Change<'_>, account: &Account) -> Result<usize, Error> {
    let called_off = call_off(change, account.id).await?;
    if called_off > 0 {
        words::call_off(change, account).await?;
    }
    Ok(called_off)
}

async fn call_off(change: &mut Change<'_>, account: Id) -> Result<usize, Error> {
    let (now, mut count) = (change.now(), 0);
    for open in store::open_of(change.tx(), account).await? {
        if store::cancel(change.tx(), open.id, now).await? > 0 {
            change.record(PrivacyEvent::DeletionCancelled { account, deletion: open.id }).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// What was ever asked for an account, the newest first.
pub async fn of_account(src: impl Source, account: Id) -> Result<Vec<Deletion>, Error> {
    store::of_account(src, account).await
}

/// Whole days from here to there; 0 where that is past.
#[must_use]
pub fn days_until(at: Timestamp, now: Timestamp) -> u64 {
    const DAY: Duration = Duration::from_hours(24);
    at.since(now).as_secs() / DAY.as_secs()
}
