//! Org roles as organizations have them: made and removed where nobody is one.
//!
//! Law: what somebody is stays defined, and what is made begins with nobody. The role itself is written
//! first: whoever gives it at this moment holds it, and is seen, or finds it gone.

use std::fmt;

use super::{invitation, store};
use crate::app::Change;
use crate::policy::Code;
use crate::rbac::org_role::{self, Stays, Wanted};
use crate::rbac::{Authority, Refused};
use crate::store::{Error, GivenUp};

/// Why an org role is not made, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    Stays(Stays),
    /// Somebody is it.
    InUse,
}

/// Defines an org role.
pub async fn create(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    wanted: &Wanted,
) -> Result<(), Kept> {
    org_role::create(change, by, code, wanted).await?;
    // What a file once defined may have left members behind.
    refuse_used(change, code).await
}

/// Removes an org role that nobody is, with the open invitations to be it.
pub async fn remove(change: &mut Change<'_>, by: &Authority, code: &Code) -> Result<(), Kept> {
    org_role::remove(change, by, code).await?;
    refuse_used(change, code).await?;
    Ok(invitation::end_all_to(change, code).await?)
}

async fn refuse_used(change: &mut Change<'_>, code: &Code) -> Result<(), Kept> {
    if store::is_anyone(change.tx(), code).await? { Err(Kept::InUse) } else { Ok(()) }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays(stays) => stays.fmt(f),
            Self::InUse => f.write_str("somebody is this in an organization: give them another role first"),
        }
    }
}

impl std::error::Error for Kept {}

impl From<Stays> for Kept {
    fn from(stays: Stays) -> Self {
        Self::Stays(stays)
    }
}

impl From<Refused> for Kept {
    fn from(refused: Refused) -> Self {
        Self::Stays(refused.into())
    }
}

impl From<Error> for Kept {
    fn from(cause: Error) -> Self {
        Self::Stays(cause.into())
    }
}

impl GivenUp for Kept {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Stays(stays) if stays.is_given_up())
    }
}
