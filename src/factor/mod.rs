//! Second factors: time-based codes (RFC 6238), and backup codes for when the device is lost.
//!
//! Law: a seed opens nothing until a code of it was given, and is sealed with its account as
//! context. Each time step and each backup code counts once, by a conditional write in the
//! transaction of what it opens. Who tries codes is counted elsewhere, before one is looked at.

mod backup;
mod code;
mod qr;
mod store;
#[cfg(test)]
mod tests;
mod totp;

use crate::account::{self, Account};
use crate::app::Change;
use crate::audit::{EndReason, FactorEvent};
use crate::base::{Id, Secret, Timestamp};
use crate::config::StaffSecondFactor;
use crate::principal::AccountFacts;
use crate::session;
use crate::store::{Error, Source};

pub use code::{Code, Kind};
pub use qr::Picture;
pub use totp::Seed;

/// What somebody needs to turn a second factor on. Shown once.
#[derive(Debug)]
pub struct Enrolment {
    pub seed: Seed,
    /// The seed as authenticator apps read it.
    pub uri: Secret<String>,
    pub picture: Picture,
    pub backup_codes: Vec<Secret<String>>,
}

/// Why there is nothing to set up or to confirm.
#[derive(Debug)]
pub enum NotNow {
    AlreadyOn,
    /// Nothing was set up, or the account may not act.
    NotBegun,
    Store(Error),
}

impl From<Error> for NotNow {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Which codes open something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Of the device alone.
    Device,
    /// Backup codes too.
    Any,
}

/// Whether an account may do nothing in a session before it has a second factor. A session that
/// proved one needs no other: a passkey is one, and asks for nothing at other logins.
#[must_use]
pub const fn is_missing(
    rule: StaffSecondFactor,
    account: &AccountFacts,
    proved_at: Option<Timestamp>,
) -> bool {
    is_asked_of(rule, account.is_staff, account.is_superuser)
        && !account.has_second_factor
        && proved_at.is_none()
}

const fn is_asked_of(rule: StaffSecondFactor, is_staff: bool, is_superuser: bool) -> bool {
    matches!(rule, StaffSecondFactor::Required) && (is_staff || is_superuser)
}

/// Makes a seed and backup codes, in place of those that were never confirmed.
///
/// # Errors
/// [`NotNow`]; nothing is then to be committed.
pub async fn set_up(change: &mut Change<'_>, account: &Account) -> Result<Enrolment, NotNow> {
    // The account's row first, as everywhere: of two at once the later one replaces the other.
    if !account::hold(change, account.id).await? {
        return Err(NotNow::NotBegun);
    }
    let (app, now) = (change.app(), change.now());
    let seed = Seed::generate(app.random.as_ref());
    if store::totp(change.tx(), account.id).await?.is_some_and(|row| row.confirmed_at.is_some()) {
        return Err(NotNow::AlreadyOn);
    }
    store::forget_unconfirmed(change.tx(), account.id).await?;
    let sealed = seed.seal(app, account.id);
    store::insert(change.tx(), account.id, sealed, now).await?;
    let backup_codes = new_backup_codes(change, account.id).await?;
    change.record(FactorEvent::SetUp { account: account.id }).await?;
    let uri = totp::uri(&seed, &app.config().accounts.totp_issuer, &label_of(account));
    let picture = qr::picture(uri.expose())?;
    Ok(Enrolment { seed, uri, picture, backup_codes })
}

fn label_of(account: &Account) -> String {
    let email = account.email.as_ref().map(ToString::to_string);
    let phone = account.phone.as_ref().map(ToString::to_string);
    email.or(phone).unwrap_or_else(|| account.id.to_string())
}

async fn new_backup_codes(change: &mut Change<'_>, account: Id) -> Result<Vec<Secret<String>>, Error> {
    let app = change.app();
    let codes = backup::generate(app.random.as_ref());
    store::forget_backup_codes(change.tx(), account).await?;
    for code in &codes {
        let digest = backup::digest(&app.seal, account, backup::bare(code.expose()).expose());
        store::insert_backup_code(change.tx(), account, &digest).await?;
    }
    Ok(codes)
}

/// Turns the second factor on, by the first code of its seed. `false` where the code is wrong.
///
/// # Errors
/// [`NotNow`].
pub async fn confirm(change: &mut Change<'_>, account: Id, code: &Code) -> Result<bool, NotNow> {
    if !account::hold(change, account).await? {
        return Err(NotNow::NotBegun);
    }
    let (app, now) = (change.app(), change.now());
    let row = store::totp(change.tx(), account).await?.ok_or(NotNow::NotBegun)?;
    if row.confirmed_at.is_some() {
        return Err(NotNow::AlreadyOn);
    }
    let seed = Seed::open(app, account, &row.sealed_seed)?;
    let Some(step) = seed.step_of(code, now) else { return Ok(false) };
    if store::confirm(change.tx(), account, step, now).await? == 0 {
        return Ok(false);
    }
    account::set_second_factor(change, account, Some(now)).await?;
    change.record(FactorEvent::Enabled { account }).await?;
    Ok(true)
}

/// Uses a code up. `false` where it is wrong, was used, or is of a kind that is not accepted.
pub async fn spend(
    change: &mut Change<'_>,
    account: Id,
    code: &Code,
    accepted: Accepted,
) -> Result<bool, Error> {
    let (app, now) = (change.app(), change.now());
    match code.kind() {
        Kind::Device => {
            let Some(row) = store::totp(change.tx(), account).await? else { return Ok(false) };
            let seed = Seed::open(app, account, &row.sealed_seed)?;
            let Some(step) = seed.step_of(code, now) else { return Ok(false) };
            Ok(store::take_step(change.tx(), account, step).await? > 0)
        }
        Kind::Backup if accepted == Accepted::Any => {
            let digest = backup::digest(&app.seal, account, code.expose());
            if store::use_backup_code(change.tx(), account, &digest, now).await? == 0 {
                return Ok(false);
            }
            let remaining = backup_codes_left(change.tx(), account).await?;
            change.record(FactorEvent::BackupCodeUsed { account, remaining }).await?;
            Ok(true)
        }
        Kind::Backup | Kind::Nonsense => Ok(false),
    }
}

/// Turns the second factor off; what sessions have proved by it counts no more. `false` where there
/// is none. An account that must have one is logged out everywhere.
pub async fn disable(change: &mut Change<'_>, account: &Account) -> Result<bool, Error> {
    if store::forget(change.tx(), account.id).await? == 0 {
        return Ok(false);
    }
    store::forget_backup_codes(change.tx(), account.id).await?;
    account::set_second_factor(change, account.id, None).await?;
    session::unprove(change, account.id).await?;
    change.record(FactorEvent::Disabled { account: account.id }).await?;
    let rule = change.app().config().accounts.staff_second_factor;
    if is_asked_of(rule, account.is_staff, account.is_superuser) {
        session::end_all(change, account.id, EndReason::SecondFactorRemoved).await?;
    }
    Ok(true)
}

/// Turns the second factor off, and forgets one that was only begun: the account gets another owner.
pub async fn forget(change: &mut Change<'_>, account: &Account) -> Result<(), Error> {
    if !disable(change, account).await? {
        store::forget_unconfirmed(change.tx(), account.id).await?;
        store::forget_backup_codes(change.tx(), account.id).await?;
    }
    Ok(())
}

/// Removes the second factor of an account that is gone, and says nothing of it.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::forget(change.tx(), account).await?;
    store::forget_unconfirmed(change.tx(), account).await?;
    store::forget_backup_codes(change.tx(), account).await
}

/// New backup codes; the old ones open nothing any more.
pub async fn replace_backup_codes(
    change: &mut Change<'_>,
    account: Id,
) -> Result<Vec<Secret<String>>, Error> {
    let codes = new_backup_codes(change, account).await?;
    change.record(FactorEvent::BackupCodesReplaced { account }).await?;
    Ok(codes)
}

/// How many backup codes were not used.
pub async fn backup_codes_left(src: impl Source, account: Id) -> Result<u32, Error> {
    store::backup_codes_left(src, account).await.map(|left| u32::try_from(left).unwrap_or(0))
}
