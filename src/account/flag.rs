//! What stands on an account itself and opens more than any role: being staff, being superuser.
//! Law: never is the flag of superusers taken from the last one who could log in.

use super::store;
use crate::app::Change;
use crate::audit::AccountEvent;
use crate::base::Id;
use crate::store::Error;

/// What stands on an account itself and opens more than any role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Staff,
    Superuser,
}

impl Flag {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Superuser => "superuser",
        }
    }
}

/// What became of taking a flag away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lowered {
    Yes,
    WasNot,
    /// Nobody else could do what superusers do.
    LastSuperuser,
}

/// Gives a flag to an account. `false` where it has it.
pub async fn raise(change: &mut Change<'_>, account: Id, flag: Flag) -> Result<bool, Error> {
    let now = change.now();
    if store::raise(change.tx(), account, flag, now).await? == 0 {
        return Ok(false);
    }
    tell_flags(change, account).await?;
    Ok(true)
}

/// Takes a flag from an account; never the last superuser's who could log in.
pub async fn lower(change: &mut Change<'_>, account: Id, flag: Flag) -> Result<Lowered, Error> {
    let now = change.now();
    if store::lower(change.tx(), account, flag, now).await? == 0 {
        let own = store::by_id(change.tx(), account).await?;
        let is_last = flag == Flag::Superuser && own.is_some_and(|own| own.is_superuser);
        return Ok(if is_last { Lowered::LastSuperuser } else { Lowered::WasNot });
    }
    tell_flags(change, account).await?;
    Ok(Lowered::Yes)
}

async fn tell_flags(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    let Some(own) = store::by_id(change.tx(), account).await? else { return Ok(()) };
    let (is_staff, is_superuser) = (own.is_staff, own.is_superuser);
    change.record(AccountEvent::FlagsChanged { account, is_staff, is_superuser }).await
}
