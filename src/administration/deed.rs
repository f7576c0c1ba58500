//! What is done to an account by those who look after people.
//!
//! Law: one transaction: the turn to change rights first, then the account as it is now, then the judgement,
//! then a conditional write, then whether somebody is left who can manage rights.

use serde_json::json;

use super::missing;
use crate::account::{self, Account, Activity, Ban, Field, MustChange};
use crate::app::Change;
use crate::audit::{EndReason, How};
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Call, ErrorCode};
use crate::login;
use crate::policy::{Assignments, Code};
use crate::privacy::{self, NotErased};
use crate::rbac::{self, Authority, Granted, Outcome};
use crate::session;
use crate::store::{Error, GivenUp, again};

/// Something to do to an account.
#[derive(Debug, Clone)]
pub enum Deed {
    Edit(Edit),
    Lock {
        until: Timestamp,
        reason: Option<String>,
    },
    Unlock,
    Ban {
        reason: Option<String>,
    },
    Unban,
    Delete,
    /// Gives it exactly these permissions of its own.
    Permit(Vec<Code>),
}

/// What changes of an account; what is left out stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    pub fields: Vec<Field>,
    pub activity: Option<Activity>,
    pub must_change: Option<MustChange>,
    pub role: Option<OneOf>,
}

/// One of some roles, or none of them, whatever roles there are beside.
#[derive(Debug, Clone)]
pub struct OneOf {
    pub among: Vec<Code>,
    pub wanted: Option<Code>,
}

/// Why it was not done.
#[derive(Debug)]
pub(super) enum Refused {
    Rights(rbac::Refused),
    Gone,
    Code(ErrorCode),
    Write(account::WriteError),
    Erase(NotErased),
    NoPassword,
    /// The address is its owner's to change.
    Address,
}

impl From<rbac::Refused> for Refused {
    fn from(refused: rbac::Refused) -> Self {
        Self::Rights(refused)
    }
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Rights(rbac::Refused::Store(cause))
    }
}

impl GivenUp for Refused {
    fn is_given_up(&self) -> bool {
        match self {
            Self::Rights(refused) => refused.is_given_up(),
            Self::Write(account::WriteError::Store(cause)) | Self::Erase(NotErased::Store(cause)) => {
                cause.is_given_up()
            }
            _ => false,
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rights(refused) => refused.into(),
            Refused::Gone | Refused::Erase(NotErased::Gone) => missing(),
            Refused::Code(code) => Self::new(code),
            Refused::Write(account::WriteError::Store(cause)) | Refused::Erase(NotErased::Store(cause)) => {
                cause.into()
            }
            Refused::Write(account::WriteError::Taken(taken)) => super::create::taken(taken),
            Refused::Erase(NotErased::LastSuperuser) => Self::new(ErrorCode::LastSuperuser),
            Refused::Erase(NotErased::SoleOwner(slugs)) => {
                let slugs: Vec<String> = slugs.iter().map(ToString::to_string).collect();
                Self::new(ErrorCode::SoleOwner)
                    .saying("Others belong to organizations that only this person owns. Make somebody else owner first")
                    .with("organizations", json!(slugs))
            }
            Refused::NoPassword => {
                Self::invalid("must_change_password", &["This account has no password.".to_owned()])
            }
            Refused::Address => Self::invalid(
                "email",
                &["Only its owner changes this address, in their own profile.".to_owned()],
            ),
        }
    }
}

impl Deed {
    /// Does it to somebody whom the path named, if the caller holds `needed`; the account afterwards, and what
    /// it was granted.
    ///
    /// # Errors
    /// What the endpoint answers.
    pub async fn carry_out(
        &self,
        call: &Call,
        user: Id,
        needed: &'static str,
    ) -> Result<(Account, Assignments), ApiError> {
        let by = call.person()?.account.id;
        let done = again(|| async {
            let mut change = call.app.change(call.actor()).await?;
            let authority = Authority::take(&mut change, by, &[needed]).await?;
            let own = account::by_id(change.tx(), user).await?;
            let own = own.filter(|own| own.deleted_at.is_none()).ok_or(Refused::Gone)?;
            let held = authority.reaches(&mut change, &own).await?;
            if !self.write(&mut change, &own, &authority, &held).await? {
                return Ok((own, held));
            }
            rbac::keep_one(&mut change, &authority, &held).await?;
            // Before it is made for good: what was done is never answered with a refusal.
            let own = account::by_id(change.tx(), user).await?.ok_or(Refused::Gone)?;
            let held = rbac::assignments(change.tx(), user).await?;
            change.commit().await?;
            Ok::<_, Refused>((own, held))
        });
        Ok(done.await?)
    }

    /// Whether there was anything to change.
    async fn write(
        &self,
        change: &mut Change<'_>,
        own: &Account,
        by: &Authority,
        held: &Assignments,
    ) -> Result<bool, Refused> {
        let id = own.id;
        let (is_done, otherwise) = match self {
            Self::Edit(wish) => {
                let is_edited = edit(change, own, wish).await?;
                let is_moved = match &wish.role {
                    Some(role) => role.give(change, by, id, held).await?,
                    None => false,
                };
                return Ok(is_edited || is_moved);
            }
            Self::Permit(codes) => return Ok(permit(change, by, id, held, codes).await?),
            Self::Lock { until, reason } => (
                account::lock_anew(change, id, Some(*until), reason.clone()).await?,
                ErrorCode::AlreadyLocked,
            ),
            Self::Unlock => (login::unlock(change, own).await?, ErrorCode::NotLocked),
            Self::Ban { reason } => (
                account::set_ban_for(change, id, Ban::Imposed, reason.clone()).await?,
                ErrorCode::AlreadyBanned,
            ),
            Self::Unban => (account::set_ban(change, id, Ban::Lifted).await?, ErrorCode::NotBanned),
            Self::Delete => {
                privacy::erase_now(change, own, How::Administrator).await.map_err(Refused::Erase)?;
                return Ok(true);
            }
        };
        if is_done { Ok(true) } else { Err(not_done(change, self, own, otherwise).await?) }
    }
}

/// Why somebody was not shut out, or let in.
async fn not_done(
    change: &mut Change<'_>,
    deed: &Deed,
    own: &Account,
    otherwise: ErrorCode,
) -> Result<Refused, Error> {
    let is_so_already = match deed {
        Deed::Lock { .. } => own.lock(change.now()).is_some(),
        Deed::Ban { .. } => own.is_banned,
        _ => true,
    };
    let is_last = !is_so_already && account::is_last_superuser(change, own.id).await?;
    Ok(Refused::Code(if is_last { ErrorCode::LastSuperuser } else { otherwise }))
}

async fn edit(change: &mut Change<'_>, own: &Account, wish: &Edit) -> Result<bool, Refused> {
    let Edit { fields, activity, must_change, .. } = wish;
    let mut is_changed = false;
    // An address that is theirs already stays as proved as it is.
    let is_new = |field: &&Field| !matches!(field, Field::Email(email) if own.email.as_ref() == Some(email));
    let fields: Vec<Field> = fields.iter().filter(is_new).cloned().collect();
    if !fields.is_empty() {
        let is_moved = fields.iter().any(|field| matches!(field, Field::Email(_)));
        if is_moved && !may_be_moved(change, own).await? {
            return Err(Refused::Address);
        }
        let edited = account::edit(change, own.id, &fields).await.map_err(Refused::Write)?;
        is_changed |= edited.is_some();
        // Whoever has the old address is nobody's to trust with what was opened under it.
        if fields.iter().any(|field| matches!(field, Field::Email(_))) {
            session::end_all(change, own.id, EndReason::ContactChanged).await?;
        }
    }
    if let Some(must) = *must_change {
        if must == MustChange::AtNextLogin && own.password_hash.is_none() {
            return Err(Refused::NoPassword);
        }
        is_changed |= account::demand_password(change, own.id, must).await?;
    }
    if let Some(activity) = *activity {
        let is_done = account::set_activity(change, own.id, activity).await?;
        let is_wanted = own.is_active != (activity == Activity::Active);
        if is_wanted && !is_done && account::is_last_superuser(change, own.id).await? {
            return Err(Refused::Code(ErrorCode::LastSuperuser));
        }
        is_changed |= is_done;
    }
    Ok(is_changed)
}

/// Whether somebody writes down another address for this account. A password is reset by it, and a reset by one
/// that nobody proved takes every other way in away: so nobody's is moved that was proved or used, and one's own
/// never, which takes proof of who one is.
async fn may_be_moved(change: &mut Change<'_>, own: &Account) -> Result<bool, Error> {
    let is_own = change.actor().who.account() == Some(own.id);
    let is_proved = own.is_email_verified || own.is_phone_verified;
    let is_in_use = is_proved || own.second_factor_at.is_some() || own.last_login_at.is_some();
    Ok(!is_own && !is_in_use && crate::passkey::count_of(change.tx(), own.id).await? == 0)
}

impl OneOf {
    /// Gives somebody the wanted role and takes the others; whether there was anything to change.
    pub(super) async fn give(
        &self,
        change: &mut Change<'_>,
        by: &Authority,
        account: Id,
        held: &Assignments,
    ) -> Result<bool, rbac::Refused> {
        let mut outcome = Outcome::Unchanged;
        let surplus = |code: &&Code| self.among.contains(code) && self.wanted.as_ref() != Some(code);
        for code in held.roles.iter().filter(surplus) {
            holds(by, "users.roles.remove")?;
            let taken = rbac::take(change, by, account, &Granted::Role(code.clone())).await?;
            outcome = outcome.or(taken);
        }
        if let Some(code) = self.wanted.as_ref().filter(|code| !held.roles.contains(code)) {
            holds(by, "users.roles.assign")?;
            let given = rbac::give(change, by, account, &Granted::Role(code.clone())).await?;
            outcome = outcome.or(given);
        }
        Ok(outcome == Outcome::Changed)
    }
}

/// Gives somebody the permissions that they lack of these, and takes their own that are not among them.
pub(super) async fn permit(
    change: &mut Change<'_>,
    by: &Authority,
    account: Id,
    held: &Assignments,
    codes: &[Code],
) -> Result<bool, rbac::Refused> {
    let mut outcome = Outcome::Unchanged;
    for code in held.permissions.iter().filter(|code| !codes.contains(code)) {
        holds(by, "users.permissions.remove")?;
        let taken = rbac::take(change, by, account, &Granted::Permission(code.clone())).await?;
        outcome = outcome.or(taken);
    }
    for code in codes.iter().filter(|code| !held.permissions.contains(code)) {
        holds(by, "users.permissions.assign")?;
        let given = rbac::give(change, by, account, &Granted::Permission(code.clone())).await?;
        outcome = outcome.or(given);
    }
    Ok(outcome == Outcome::Changed)
}

fn holds(by: &Authority, needed: &'static str) -> Result<(), rbac::Refused> {
    let no_code = |_| Error::Broken { cause: format!("{needed} is asked for and is no code") };
    by.holds(&Code::parse(needed).map_err(no_code)?)
}
