//! Accounts: people, how they are found, and everything that can happen to one.
//!
//! Law: e-mail address, phone number and user name are unique per site by constraint, so two
//! requests at once cannot both win. Each operation is one conditional write with its audit event;
//! what follows from it in other slices (sessions end) follows through reactions.

mod census;
mod flag;
mod record;
mod search;
mod store;
#[cfg(test)]
mod tests;
mod view;

use crate::app::Change;
use crate::audit::{AccountEvent, Contact, How};
use crate::base::{Email, Id, Number, Timestamp};
use crate::store::{Error, FromRow, Source};

pub use census::{Census, census, locked_out, seen_since};
pub use flag::{Flag, Lowered, lower, raise};
pub use record::{
    Account, Channel, Field, Lock, MustChange, NewAccount, NotAReference, NotAUsername, PasswordHash,
    Reference, Standing, Target, Username,
};
#[cfg(test)]
pub(crate) use search::crowd;
pub use search::{Order, Place, Roll, Search, SortBy, Usable, Words, usable_among};
pub use view::{Preferences, User, user};

/// The series of account numbers.
const SERIES: &str = "account";

/// What somebody else has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Email,
    Phone,
    Username,
}

/// Why an account was not written.
#[derive(Debug)]
pub enum WriteError {
    Taken(Taken),
    Store(Error),
}

impl From<Error> for WriteError {
    fn from(cause: Error) -> Self {
        let taken = [
            ("account_email_key", Taken::Email),
            ("account_phone_key", Taken::Phone),
            ("account_username_key", Taken::Username),
        ];
        match taken.into_iter().find(|(name, _)| cause.is_conflict(name)) {
            Some((_, taken)) => Self::Taken(taken),
            None => Self::Store(cause),
        }
    }
}

/// Makes an account.
///
/// # Errors
/// [`WriteError`]; the change is then over.
pub async fn create(change: &mut Change<'_>, new: &NewAccount, how: How) -> Result<Account, WriteError> {
    let (id, now) = (change.new_id(), change.now());
    let number = change.number(SERIES).await?;
    store::insert(change.tx(), id, number, new, now).await?;
    change.record(AccountEvent::Created { account: id, how }).await?;
    let made = store::by_id(change.tx(), id).await?;
    let made = made.ok_or_else(|| Error::Broken { cause: "an account is gone that was just made".into() })?;
    search::index(change.tx(), &made).await?;
    Ok(made)
}

/// The account with this id, on any site.
pub async fn by_id(src: impl Source, id: Id) -> Result<Option<Account>, Error> {
    store::by_id(src, id).await
}

/// These accounts, on any site, in no order.
pub async fn by_ids(src: impl Source, ids: &[Id]) -> Result<Vec<Account>, Error> {
    store::by_ids(src, ids).await
}

/// The account of a site that somebody names.
pub async fn find(src: impl Source, site: Id, reference: &Reference) -> Result<Option<Account>, Error> {
    store::find(src, site, reference).await
}

/// The accounts of a site by number, a page at a time.
pub async fn list(src: impl Source, site: Id, limit: u32, offset: u32) -> Result<Vec<Account>, Error> {
    store::list(src, site, limit, offset).await
}

/// How a new password comes about.
#[derive(Debug, Clone, Copy)]
pub struct NewPassword<'a> {
    /// The hash that was read before; the change is refused where it is another one by now.
    pub was: Option<&'a PasswordHash>,
    pub hash: &'a PasswordHash,
    pub must_change: MustChange,
    pub how: How,
    /// How many former passwords are remembered.
    pub history: u32,
}

/// Sets a password. `false` where the account is gone or somebody else changed it first.
pub async fn set_password(change: &mut Change<'_>, account: Id, new: NewPassword<'_>) -> Result<bool, Error> {
    let (now, row) = (change.now(), change.new_id());
    let NewPassword { was, hash, must_change, how, history } = new;
    if store::set_password(change.tx(), account, was, hash, must_change, now).await? == 0 {
        return Ok(false);
    }
    if let Some(was) = was.filter(|_| history > 0) {
        store::remember_password(change.tx(), row, account, was, now).await?;
    }
    let former = store::former_passwords(change.tx(), account).await?;
    let surplus: Vec<Id> = former.iter().skip(keep(history)).map(|former| former.id).collect();
    if !surplus.is_empty() {
        store::forget_passwords(change.tx(), &surplus).await?;
    }
    change.record(AccountEvent::PasswordChanged { account, how }).await?;
    Ok(true)
}

fn keep(history: u32) -> usize {
    usize::try_from(history).unwrap_or(usize::MAX)
}

/// The passwords that an account had before, the latest first, `history` at most.
pub async fn former_passwords(
    src: impl Source,
    account: Id,
    history: u32,
) -> Result<Vec<PasswordHash>, Error> {
    let former = store::former_passwords(src, account).await?;
    Ok(former.into_iter().take(keep(history)).map(|former| former.password_hash).collect())
}

/// Stores the same password under a better hash.
pub async fn rehash(
    change: &mut Change<'_>,
    account: Id,
    was: &PasswordHash,
    hash: &PasswordHash,
) -> Result<(), Error> {
    if store::rehash(change.tx(), account, was, hash).await? > 0 {
        change.record(AccountEvent::PasswordRehashed { account }).await?;
    }
    Ok(())
}

/// Notes a login, if the account may log in at this moment and has the password and the second
/// factor that it had when it was read. Holds the account's row until the change ends.
pub async fn note_login(change: &mut Change<'_>, account: &Account) -> Result<bool, Error> {
    let now = change.now();
    Ok(store::note_login(change.tx(), account, now).await? > 0)
}

/// Says since when a login of the account asks for a second factor. Its event is the caller's.
pub async fn set_second_factor(
    change: &mut Change<'_>,
    account: Id,
    at: Option<Timestamp>,
) -> Result<(), Error> {
    let now = change.now();
    store::set_second_factor(change.tx(), account, at, now).await.map(drop)
}

/// Holds the account's row until the change ends, if the account may act at this moment.
pub async fn hold(change: &mut Change<'_>, account: Id) -> Result<bool, Error> {
    let now = change.now();
    Ok(store::hold(change.tx(), account, now).await? > 0)
}

/// Takes e-mail address or phone number for proved. `false` where there is none, or it is so already.
pub async fn verify(change: &mut Change<'_>, account: Id, channel: Channel, how: How) -> Result<bool, Error> {
    let now = change.now();
    if store::verify(change.tx(), account, channel, now).await? == 0 {
        return Ok(false);
    }
    let contact = match channel {
        Channel::Email => Contact::Email,
        Channel::Phone => Contact::Phone,
    };
    change.record(AccountEvent::ContactVerified { account, contact, how }).await?;
    Ok(true)
}

/// Puts a wished-for address or number, which was proved, in the place of the present one. `false`
/// where something else is wished for by now.
///
/// # Errors
/// [`WriteError::Taken`] where somebody else has it; the change is then over.
pub async fn take_wish(change: &mut Change<'_>, account: Id, proved: &Target) -> Result<bool, WriteError> {
    let now = change.now();
    if store::take_wish(change.tx(), account, proved, now).await? == 0 {
        return Ok(false);
    }
    change.record(AccountEvent::ContactChanged { account, contact: proved.contact() }).await?;
    if let Some(own) = store::by_id(change.tx(), account).await? {
        search::index(change.tx(), &own).await?;
    }
    Ok(true)
}

/// Whether nobody but this superuser could log in: then nothing shuts them out.
pub async fn is_last_superuser(change: &mut Change<'_>, account: Id) -> Result<bool, Error> {
    let now = change.now();
    store::is_last_superuser(change.tx(), account, now).await
}

/// Locks an account until a moment, or until it is unlocked. `false` where there is no such account, or
/// it is the last superuser's ([`is_last_superuser`]).
pub async fn lock(change: &mut Change<'_>, account: Id, until: Option<Timestamp>) -> Result<bool, Error> {
    let now = change.now();
    if store::lock(change.tx(), account, until, now).await? == 0 {
        return Ok(false);
    }
    tell_lock(change, account, until, None).await
}

/// The same where no administrator's lock holds yet, with the reason for it.
pub async fn lock_anew(
    change: &mut Change<'_>,
    account: Id,
    until: Option<Timestamp>,
    reason: Option<String>,
) -> Result<bool, Error> {
    let now = change.now();
    if store::lock_anew(change.tx(), account, until, now).await? == 0 {
        return Ok(false);
    }
    tell_lock(change, account, until, reason).await
}

async fn tell_lock(
    change: &mut Change<'_>,
    account: Id,
    until: Option<Timestamp>,
    reason: Option<String>,
) -> Result<bool, Error> {
    let how = How::Administrator;
    let event = AccountEvent::Locked { account: Some(account), identifier_digest: None, until, how, reason };
    change.record(event).await?;
    Ok(true)
}

/// Says whether the next login opens nothing but choosing another password. `false` where it is so already,
/// or there is no password.
pub async fn demand_password(change: &mut Change<'_>, account: Id, must: MustChange) -> Result<bool, Error> {
    let now = change.now();
    if store::demand_password(change.tx(), account, must, now).await? == 0 {
        return Ok(false);
    }
    change.record(AccountEvent::ProfileChanged { account, fields: vec!["must_change_password"] }).await?;
    Ok(true)
}

/// Lifts an administrator's lock. `false` where there is none.
pub async fn unlock(change: &mut Change<'_>, account: Id) -> Result<bool, Error> {
    let now = change.now();
    if store::unlock(change.tx(), account, now).await? == 0 {
        return Ok(false);
    }
    change.record(AccountEvent::Unlocked { account, how: How::Administrator }).await?;
    Ok(true)
}

/// Whether an account may be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Active,
    Inactive,
}

/// Switches an account on or off. `false` where it is so already, or it is the last superuser's
/// ([`is_last_superuser`]).
pub async fn set_activity(change: &mut Change<'_>, account: Id, activity: Activity) -> Result<bool, Error> {
    let now = change.now();
    let is_active = activity == Activity::Active;
    if store::set_active(change.tx(), account, is_active, now).await? == 0 {
        return Ok(false);
    }
    let event = match activity {
        Activity::Active => AccountEvent::Activated { account },
        Activity::Inactive => AccountEvent::Deactivated { account },
    };
    change.record(event).await?;
    Ok(true)
}

/// Takes everything from an account that tells of a person: it opens nothing any more, and its address
/// and names are free again. `false` where that was done before, or it is the last superuser's
/// ([`is_last_superuser`]). What other slices keep of the person is theirs to erase, in the same change.
pub async fn erase(change: &mut Change<'_>, account: Id, how: How) -> Result<bool, Error> {
    let now = change.now();
    if store::erase(change.tx(), account, now).await? == 0 {
        return Ok(false);
    }
    search::forget(change.tx(), account).await?;
    change.record(AccountEvent::Deleted { account, how }).await?;
    Ok(true)
}

/// As what people are known to those who watch over a site.
#[derive(Debug, Clone, FromRow)]
pub struct Known {
    pub id: Id,
    pub number: Number,
    pub email: Option<Email>,
}

/// Those of these accounts that are of the site; who is gone is known by number alone.
pub async fn known(src: impl Source, site: Id, ids: &[Id]) -> Result<Vec<Known>, Error> {
    store::known(src, site, ids).await
}

/// The superusers of a site who are not gone, by id: `most` at most, behind the one that is named.
pub async fn superusers(
    mut src: impl Source,
    site: Id,
    after: Option<Id>,
    most: u32,
) -> Result<Vec<Id>, Error> {
    let rows: Vec<(Id,)> = src.all(store::superusers(site, after, most)).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Whether a superuser of the site could log in, who stays one until the change ends.
pub async fn has_superuser(change: &mut Change<'_>, site: Id) -> Result<bool, Error> {
    let now = change.now();
    store::has_superuser(change.tx(), site, now).await
}

/// Whether somebody is shut out for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    Imposed,
    Lifted,
}

/// Bans an account, which switches it off too, or lifts a ban, which switches it on again (contract
/// section 21). `false` where it is so already, or it is the last superuser's ([`is_last_superuser`]).
pub async fn set_ban(change: &mut Change<'_>, account: Id, ban: Ban) -> Result<bool, Error> {
    set_ban_for(change, account, ban, None).await
}

/// The same with the reason for a ban.
pub async fn set_ban_for(
    change: &mut Change<'_>,
    account: Id,
    ban: Ban,
    reason: Option<String>,
) -> Result<bool, Error> {
    let now = change.now();
    if store::set_banned(change.tx(), account, ban == Ban::Imposed, now).await? == 0 {
        return Ok(false);
    }
    let event = match ban {
        Ban::Imposed => AccountEvent::Banned { account, reason },
        Ban::Lifted => AccountEvent::Unbanned { account },
    };
    change.record(event).await?;
    Ok(true)
}

/// Changes fields of a profile; the account afterwards.
///
/// # Errors
/// [`WriteError::Taken`] for a user name that somebody has; the change is then over.
pub async fn edit(
    change: &mut Change<'_>,
    account: Id,
    fields: &[Field],
) -> Result<Option<Account>, WriteError> {
    let now = change.now();
    if store::edit(change.tx(), account, fields, now).await? == 0 {
        return Ok(None);
    }
    let plain: Vec<&'static str> = fields.iter().filter_map(Field::profile_name).collect();
    if !plain.is_empty() {
        change.record(AccountEvent::ProfileChanged { account, fields: plain }).await?;
    }
    if fields.iter().any(|field| matches!(field, Field::Email(_))) {
        change.record(AccountEvent::ContactChanged { account, contact: Contact::Email }).await?;
    }
    for contact in fields.iter().filter_map(Field::pending_contact) {
        change.record(AccountEvent::ContactPending { account, contact }).await?;
    }
    let own = store::by_id(change.tx(), account).await?;
    if let Some(own) = own.as_ref().filter(|_| fields.iter().any(Field::is_searched)) {
        search::index(change.tx(), own).await?;
    }
    Ok(own)
}

impl Field {
    /// The key of the wire, for what takes effect at once.
    const fn profile_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Username(_) => "username",
            Self::FirstName(_) => "first_name",
            Self::LastName(_) => "last_name",
            Self::Bio(_) => "bio",
            Self::Timezone(_) => "timezone",
            Self::Language(_) => "language",
            Self::Custom(_) => "custom_fields",
            Self::Email(_) | Self::PendingEmail(_) | Self::PendingPhone(_) => return None,
        })
    }

    /// Whether people are looked for by it.
    const fn is_searched(&self) -> bool {
        matches!(self, Self::Username(_) | Self::FirstName(_) | Self::LastName(_) | Self::Email(_))
    }

    const fn pending_contact(&self) -> Option<Contact> {
        match self {
            Self::PendingEmail(_) => Some(Contact::Email),
            Self::PendingPhone(_) => Some(Contact::Phone),
            _ => None,
        }
    }
}
