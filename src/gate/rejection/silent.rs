//! What a decision needed and got no answer from.
//!
//! Law: whoever calls is told the same sentence for all of them, and only for how long differs; logs and
//! metrics are told which it was.

use std::time::Duration;

use super::RETRY_AFTER_SILENCE;
use crate::metrics::Dependency;

/// What gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    Store,
    Shared,
    Keys,
    /// This process has not seen the changes of the others for too long.
    View,
    /// The password hashing pool is full.
    Hashing,
    /// The shared state forgot what it counted, which counts for so long.
    Forgetful(Duration),
}

impl Silent {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Store => "store_silent",
            Self::Shared => "shared_silent",
            Self::Keys => "keys_silent",
            Self::View => "view_stale",
            Self::Hashing => "hashing_full",
            Self::Forgetful(_) => "shared_forgetful",
        }
    }

    /// After how long it is worth trying again.
    pub(super) const fn retry_after(self) -> Duration {
        match self {
            Self::Forgetful(wait) => wait,
            _ => RETRY_AFTER_SILENCE,
        }
    }

    /// What operators know it by. A view gets old because the store does not tell what is new.
    pub(super) const fn dependency(self) -> Option<Dependency> {
        match self {
            Self::Store | Self::View => Some(Dependency::Store),
            Self::Shared | Self::Forgetful(_) => Some(Dependency::Shared),
            Self::Keys | Self::Hashing => None,
        }
    }
}
