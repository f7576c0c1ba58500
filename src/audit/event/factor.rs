//! What happens to the second factors of an account.
//!
//! Law: whatever makes a difference to what a session has proved names it, or the account, as a
//! subject, because decisions read it.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::Id;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FactorEvent {
    /// A seed was handed out; it counts for nothing until a code of it is given.
    SetUp {
        account: Id,
    },
    Enabled {
        account: Id,
    },
    Disabled {
        account: Id,
    },
    BackupCodesReplaced {
        account: Id,
    },
    BackupCodeUsed {
        account: Id,
        remaining: u32,
    },
    /// An identity at a provider opens the account from now on.
    SocialConnected {
        account: Id,
        provider: String,
        /// The account was made for it.
        is_new_account: bool,
    },
    SocialDisconnected {
        account: Id,
        provider: String,
    },
    /// A code was given, at a login or within a session.
    Proved {
        account: Id,
        session: Id,
    },
}

impl FactorEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SetUp { .. } => "2fa_setup",
            Self::Enabled { .. } => "2fa_enabled",
            Self::Disabled { .. } => "2fa_disabled",
            Self::BackupCodesReplaced { .. } => "2fa_backup_codes_replaced",
            Self::BackupCodeUsed { .. } => "2fa_backup_used",
            Self::SocialConnected { .. } => "social_connected",
            Self::SocialDisconnected { .. } => "social_disconnected",
            Self::Proved { .. } => "2fa_verified",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::SetUp { .. }
            | Self::BackupCodesReplaced { .. }
            | Self::BackupCodeUsed { .. }
            | Self::SocialConnected { .. }
            | Self::SocialDisconnected { .. } => Vec::new(),
            Self::Enabled { account } | Self::Disabled { account } => vec![Subject::Account(*account)],
            Self::Proved { session, .. } => vec![Subject::Session(*session)],
        }
    }

    pub const fn account(&self) -> Id {
        match self {
            Self::SetUp { account }
            | Self::Enabled { account }
            | Self::Disabled { account }
            | Self::BackupCodesReplaced { account }
            | Self::BackupCodeUsed { account, .. }
            | Self::SocialConnected { account, .. }
            | Self::SocialDisconnected { account, .. }
            | Self::Proved { account, .. } => *account,
        }
    }
}
