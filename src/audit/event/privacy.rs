//! What people ask about what is kept of them: to have it, and to have it gone.
//!
//! Law: why somebody leaves is not copied here.

use serde::Serialize;

use crate::base::{Id, Timestamp};

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PrivacyEvent {
    /// Somebody wants their account gone.
    DeletionRequested {
        account: Id,
        deletion: Id,
    },
    /// Whoever reads their mail wants it too, or an operator does.
    DeletionConfirmed {
        account: Id,
        deletion: Id,
        due_at: Timestamp,
    },
    DeletionCancelled {
        account: Id,
        deletion: Id,
    },
    /// The account could not go, for this reason: these organizations would be left without an owner, or
    /// nobody else is a superuser.
    DeletionHeldBack {
        account: Id,
        deletion: Id,
        why: &'static str,
        organizations: Vec<String>,
    },
    /// The account may not be used, or might not until now: its person gets the time anew in which they may
    /// call it off.
    DeletionPutOff {
        account: Id,
        deletion: Id,
        due_at: Timestamp,
    },
    /// The account is gone.
    DeletionCompleted {
        account: Id,
        deletion: Id,
    },
    /// Somebody got everything that is kept of them, or an operator did.
    Exported {
        account: Id,
    },
}

impl PrivacyEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DeletionRequested { .. } => "deletion_request_created",
            Self::DeletionConfirmed { .. } => "deletion_request_confirmed",
            Self::DeletionCancelled { .. } => "deletion_request_cancelled",
            Self::DeletionHeldBack { .. } => "deletion_request_failed",
            Self::DeletionPutOff { .. } => "deletion_request_put_off",
            Self::DeletionCompleted { .. } => "deletion_request_processed",
            Self::Exported { .. } => "data_exported",
        }
    }

    pub const fn account(&self) -> Id {
        match self {
            Self::DeletionRequested { account, .. }
            | Self::DeletionConfirmed { account, .. }
            | Self::DeletionCancelled { account, .. }
            | Self::DeletionHeldBack { account, .. }
            | Self::DeletionPutOff { account, .. }
            | Self::DeletionCompleted { account, .. }
            | Self::Exported { account } => *account,
        }
    }
}
