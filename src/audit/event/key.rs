//! Signing keys coming and going.
//!
//! Law: every process that signs or verifies reloads its keys with each of these.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::Timestamp;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum KeyEvent {
    Added {
        kid: String,
        purpose: &'static str,
        algorithm: &'static str,
        active_from: Timestamp,
    },
    /// Signs no more, and verifies until the last token that it signed has ended.
    Retired {
        kid: String,
        purpose: &'static str,
        published_until: Timestamp,
    },
}

impl KeyEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Added { .. } => "key_added",
            Self::Retired { .. } => "key_retired",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Added { .. } | Self::Retired { .. } => vec![Subject::Keys],
        }
    }
}
