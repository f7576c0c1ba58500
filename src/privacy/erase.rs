//! Erasing an account: each room is told to forget, in one change.
//!
//! Law: first the account itself, which ends everything that is open in its name by the reactions that
//! other changes have too; then what is left. `tests` hold that no table with an account is forgotten.

use crate::account::{self, Account};
use crate::app::Change;
use crate::audit::{self, How, PrivacyEvent};
use crate::base::Slug;
use crate::organization;
use crate::store::Error;
use crate::{agent, apikey, approval, factor, login, notify, otp, passkey, rbac, session, social};

use super::due::LOOK_AFTER;
use super::{begun, call_off, confirmed, store, words};

/// What erasing an account without being asked to by its person leaves in the trail, beside what follows from it.
pub const ERASED_AT_ONCE: &[&str] = &[
    "account_deleted",
    "deletion_request_created",
    "deletion_request_confirmed",
    "deletion_request_processed",
];

/// Why an account is still there.
#[derive(Debug)]
pub enum NotErased {
    /// These organizations would be left to others without an owner.
    SoleOwner(Vec<Slug>),
    /// Nobody else could do what superusers do.
    LastSuperuser,
    /// It was erased before.
    Gone,
    Store(Error),
}

impl From<Error> for NotErased {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Erases an account and everything that is kept of its person, and tells them a last time.
///
/// # Errors
/// [`NotErased`]; the change is then not to be committed.
pub(super) async fn erase(change: &mut Change<'_>, person: &Account, how: How) -> Result<(), NotErased> {
    let id = person.id;
    if !account::erase(change, id, how).await? {
        let is_last = account::is_last_superuser(change, id).await?;
        return Err(if is_last { NotErased::LastSuperuser } else { NotErased::Gone });
    }
    let orphans = organization::orphans(change.tx(), id).await?;
    match organization::erase(change, id).await {
        Ok(()) => {}
        Err(organization::Refused::Store(cause)) => return Err(cause.into()),
        Err(_) => return Err(NotErased::SoleOwner(orphans)),
    }
    organization::invitation::erase(change, person).await?;
    rbac::erase(change, id).await?;
    session::erase(change, id).await?;
    otp::erase(change, id).await?;
    factor::erase(change, id).await?;
    passkey::erase(change, id).await?;
    // Before what tells whom it is in a directory is gone.
    login::erase(change, person).await?;
    social::erase(change, id).await?;
    apikey::erase(change, id).await?;
    approval::erase(change, id).await?;
    agent::erase(change, id).await?;
    notify::erase(change, id).await?;
    store::forget_reasons(change.tx(), id).await?;
    audit::erase(change.tx(), id).await?;
    words::farewell(change, person).await?;
    Ok(())
}

/// Erases an account at once, whatever was asked for before, and writes down that it was.
///
/// # Errors
/// [`NotErased`]; the change is then not to be committed.
pub async fn erase_now(change: &mut Change<'_>, person: &Account, how: How) -> Result<(), NotErased> {
    let (now, account) = (change.now(), person.id);
    call_off(change, account).await?;
    let mut new = begun(change, person, String::new()).await?;
    new.is_ordered = true;
    confirmed(change, &mut new, now).await?;
    erase(change, person, how).await?;
    store::complete(change.tx(), new.id, now, now.plus(LOOK_AFTER), None).await?;
    Ok(change.record(PrivacyEvent::DeletionCompleted { account, deletion: new.id }).await?)
}
