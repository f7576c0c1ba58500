//! Why an organization, or who belongs to it, stays as it was.
//!
//! Law: one word for one reason. Who asks and may not is told what is missing; who has nothing to do with an
//! organization is told that there is none.

use std::fmt;

use crate::base::Slug;
use crate::policy::Code;
use crate::store::{Error, GivenUp};

/// Why an organization was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was removed in the meantime, or who asks has nothing to do with it.
    Gone,
    /// A name has 1 to 200 characters.
    BadName,
    SlugTaken(Slug),
    TooDeep {
        max: u32,
    },
    /// It would be below itself.
    Circle,
    /// Others stand below it.
    HasBelow,
    UndefinedRole(Code),
    AlreadyMember,
    NotAMember,
    /// Someone else must own it first.
    LastOwner,
    /// As many belong to it as may.
    Full {
        max: u32,
    },
    /// More belong to it than would be allowed to.
    FewerThanMembers {
        max: u32,
        members: i64,
    },
    /// Somebody owns as many organizations as one may.
    TooMany {
        max: u32,
    },
    /// Somebody made as many organizations as one may in a day, or ever.
    MadeTooMany {
        in_a_day: u32,
        ever: u32,
    },
    /// Who asks is no direct member.
    Outsider,
    /// Who asks lacks this permission there.
    Lacks(Code),
    /// Owners do that, or administrators.
    LacksRole,
    /// The role is more than who gives or takes it holds there.
    Exceeds(Code),
    /// Nobody comes to own an organization without having been asked.
    OwnsUnasked,
    /// There is none, or it is for somebody else.
    NoInvitation,
    /// It was used, replaced or taken back, or its time is over.
    InvitationOver,
    /// The same address was invited as often as may be, or a moment ago, or too many invitations are open.
    InvitedOften,
    /// The account's e-mail address is not known to be its own.
    AddressNotProved,
    Store(Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the organization does not exist any more"),
            Self::BadName => f.write_str("a name has 1 to 200 characters"),
            Self::SlugTaken(slug) => write!(f, "the slug {slug} is taken"),
            Self::TooDeep { max } => write!(f, "maximum organization depth ({max}) reached"),
            Self::Circle => f.write_str("an organization cannot be below itself"),
            Self::HasBelow => f.write_str("other organizations stand below it: delete or move them first"),
            Self::UndefinedRole(code) => write!(f, "there is no org role {code}"),
            Self::AlreadyMember => f.write_str("the account is already a member"),
            Self::NotAMember => f.write_str("the account is not a member"),
            Self::LastOwner => f.write_str("an organization keeps an owner: make someone else owner first"),
            Self::Full { max } => write!(f, "the organization has its {max} members: there may be no more"),
            Self::FewerThanMembers { max, members } => {
                write!(f, "cannot set max_members to {max}: the organization has {members} active members")
            }
            Self::TooMany { max } => write!(f, "somebody owns {max} organizations at most"),
            Self::MadeTooMany { in_a_day, ever } => {
                write!(
                    f,
                    "somebody makes {in_a_day} organizations in a day and {ever} ever: wait, or ask those who run this"
                )
            }
            Self::Outsider => f.write_str("you are not a member of this organization"),
            Self::Lacks(code) => write!(f, "the permission {code} is required in the organization"),
            Self::LacksRole => f.write_str("that takes an owner or an administrator of the organization"),
            Self::Exceeds(code) => write!(f, "the org role {code} is more than you hold yourself"),
            Self::OwnsUnasked => f.write_str("an owner is invited, or is a member first"),
            Self::NoInvitation => f.write_str("there is no such invitation"),
            Self::InvitationOver => {
                f.write_str("the invitation was used, replaced or taken back, or its time is over")
            }
            Self::InvitedOften => {
                f.write_str("there were enough invitations for now: wait before the next one")
            }
            Self::AddressNotProved => f.write_str("confirm the account's e-mail address first"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl GivenUp for Refused {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_given_up())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
