//! Organizations and who belongs to them.
//!
//! Law: a membership is a fact about the account; what the organization itself is, about the
//! organization.

use serde::Serialize;

use super::About;
use crate::audit::Subject;
use crate::base::Id;
use crate::policy::code::Code;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum OrganizationEvent {
    Created {
        organization: Id,
        slug: String,
    },
    Updated {
        organization: Id,
        fields: Vec<&'static str>,
    },
    Deleted {
        organization: Id,
    },
    /// It stands below another one now, or below none.
    Moved {
        organization: Id,
        parent: Option<Id>,
    },
    /// Somebody was sent an invitation, or was sent it again.
    Invited {
        organization: Id,
        invitation: Id,
        role: Code,
    },
    InvitationEnded {
        organization: Id,
        how: &'static str,
    },
    MemberAdded {
        organization: Id,
        account: Id,
        role: Code,
    },
    MemberRoleChanged {
        organization: Id,
        account: Id,
        role: Code,
    },
    MemberRemoved {
        organization: Id,
        account: Id,
    },
}

impl OrganizationEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Created { .. } => "organization_created",
            Self::Updated { .. } => "organization_updated",
            Self::Deleted { .. } => "organization_deleted",
            Self::Moved { .. } => "organization_moved",
            Self::Invited { .. } => "member_invited",
            Self::InvitationEnded { .. } => "invitation_ended",
            Self::MemberAdded { .. } => "member_added",
            Self::MemberRoleChanged { .. } => "member_role_updated",
            Self::MemberRemoved { .. } => "member_removed",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Created { organization, .. }
            | Self::Updated { organization, .. }
            | Self::Moved { organization, .. }
            | Self::Deleted { organization } => {
                vec![Subject::Organization(*organization)]
            }
            // Nobody's rights change before it is accepted.
            Self::Invited { .. } | Self::InvitationEnded { .. } => Vec::new(),
            Self::MemberAdded { account, .. }
            | Self::MemberRoleChanged { account, .. }
            | Self::MemberRemoved { account, .. } => vec![Subject::Account(*account)],
        }
    }

    pub const fn about(&self) -> About {
        match self {
            Self::Created { organization, .. }
            | Self::Updated { organization, .. }
            | Self::Moved { organization, .. }
            | Self::Invited { organization, .. }
            | Self::InvitationEnded { organization, .. }
            | Self::Deleted { organization } => {
                About { account: None, organization: Some(*organization), application: None }
            }
            Self::MemberAdded { organization, account, .. }
            | Self::MemberRoleChanged { organization, account, .. }
            | Self::MemberRemoved { organization, account } => {
                About { account: Some(*account), organization: Some(*organization), application: None }
            }
        }
    }
}
