//! What happens to the passkeys of an account.
//!
//! Law: what sessions have proved by a passkey ends with it, so its removal names the account.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::Id;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PasskeyEvent {
    Added {
        account: Id,
        passkey: Id,
    },
    Renamed {
        account: Id,
        passkey: Id,
    },
    Removed {
        account: Id,
        passkey: Id,
    },
    /// It counted no further than it had before: there may be two of it. The login was refused.
    Regressed {
        account: Id,
        passkey: Id,
        counted: u32,
    },
}

impl PasskeyEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Added { .. } => "passkey_added",
            Self::Renamed { .. } => "passkey_renamed",
            Self::Removed { .. } => "passkey_removed",
            Self::Regressed { .. } => "passkey_counter_regressed",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Added { .. } | Self::Renamed { .. } | Self::Regressed { .. } => Vec::new(),
            Self::Removed { account, .. } => vec![Subject::Account(*account)],
        }
    }

    pub const fn account(&self) -> Id {
        match self {
            Self::Added { account, .. }
            | Self::Renamed { account, .. }
            | Self::Removed { account, .. }
            | Self::Regressed { account, .. } => *account,
        }
    }
}
