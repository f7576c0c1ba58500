//! Grants to accounts, and definitions of what can be granted.
//!
//! Law: a grant raises its account's epoch, a definition the catalogue's.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::Id;
use crate::policy::code::Code;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum RightsEvent {
    RoleAssigned {
        account: Id,
        role: Code,
    },
    RoleRemoved {
        account: Id,
        role: Code,
    },
    PermissionGranted {
        account: Id,
        permission: Code,
    },
    PermissionRevoked {
        account: Id,
        permission: Code,
    },
    GroupJoined {
        account: Id,
        group: Code,
    },
    GroupLeft {
        account: Id,
        group: Code,
    },
    /// A permission, role, group or org role was defined, redefined or removed.
    CatalogueChanged {
        kind: &'static str,
        code: Code,
        did: Redefined,
    },
}

/// What became of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Redefined {
    Created,
    /// These fields have other values.
    Updated(Vec<&'static str>),
    Deleted,
    /// It brings this from now on.
    Gained {
        kind: &'static str,
        code: Code,
    },
    Lost {
        kind: &'static str,
        code: Code,
    },
}

impl RightsEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RoleAssigned { .. } => "role_assigned",
            Self::RoleRemoved { .. } => "role_removed",
            Self::PermissionGranted { .. } => "permission_granted",
            Self::PermissionRevoked { .. } => "permission_revoked",
            Self::GroupJoined { .. } => "group_joined",
            Self::GroupLeft { .. } => "group_left",
            Self::CatalogueChanged { .. } => "permission_changed",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::RoleAssigned { account, .. }
            | Self::RoleRemoved { account, .. }
            | Self::PermissionGranted { account, .. }
            | Self::PermissionRevoked { account, .. }
            | Self::GroupJoined { account, .. }
            | Self::GroupLeft { account, .. } => vec![Subject::Account(*account)],
            Self::CatalogueChanged { .. } => vec![Subject::Catalogue],
        }
    }

    pub const fn account(&self) -> Option<Id> {
        match self {
            Self::RoleAssigned { account, .. }
            | Self::RoleRemoved { account, .. }
            | Self::PermissionGranted { account, .. }
            | Self::PermissionRevoked { account, .. }
            | Self::GroupJoined { account, .. }
            | Self::GroupLeft { account, .. } => Some(*account),
            Self::CatalogueChanged { .. } => None,
        }
    }
}
