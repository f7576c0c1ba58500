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
    /// The same for many at once, because nothing defines it any more.
    RoleRemovedFrom {
        accounts: Vec<Id>,
        role: Code,
    },
    PermissionRevokedFrom {
        accounts: Vec<Id>,
        permission: Code,
    },
    GroupLeftBy {
        accounts: Vec<Id>,
        group: Code,
    },
    /// API keys that named it do not any more.
    PermissionRevokedFromKeys {
        api_keys: Vec<Id>,
        permission: Code,
    },
    /// Agent tokens that named it do not any more.
    PermissionRevokedFromTokens {
        agent_tokens: Vec<Id>,
        permission: Code,
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
            Self::RoleRemoved { .. } | Self::RoleRemovedFrom { .. } => "role_removed",
            Self::PermissionGranted { .. } => "permission_granted",
            Self::PermissionRevoked { .. }
            | Self::PermissionRevokedFrom { .. }
            | Self::PermissionRevokedFromKeys { .. }
            | Self::PermissionRevokedFromTokens { .. } => "permission_revoked",
            Self::GroupJoined { .. } => "group_joined",
            Self::GroupLeft { .. } | Self::GroupLeftBy { .. } => "group_left",
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
            Self::RoleRemovedFrom { accounts, .. }
            | Self::PermissionRevokedFrom { accounts, .. }
            | Self::GroupLeftBy { accounts, .. } => accounts.iter().copied().map(Subject::Account).collect(),
            Self::PermissionRevokedFromKeys { api_keys, .. } => {
                api_keys.iter().copied().map(Subject::ApiKey).collect()
            }
            Self::PermissionRevokedFromTokens { agent_tokens, .. } => {
                agent_tokens.iter().copied().map(Subject::AgentToken).collect()
            }
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
            Self::RoleRemovedFrom { .. }
            | Self::PermissionRevokedFrom { .. }
            | Self::GroupLeftBy { .. }
            | Self::PermissionRevokedFromKeys { .. }
            | Self::PermissionRevokedFromTokens { .. }
            | Self::CatalogueChanged { .. } => None,
        }
    }
}
