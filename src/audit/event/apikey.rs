//! What happens to the API keys of an account.
//!
//! Law: a key that ends is a subject: what knows it forgets it, and what runs by it is decided anew.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::{Id, Timestamp};

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum ApiKeyEvent {
    Created { api_key: Id, account: Id, scopes: Vec<String>, expires_at: Timestamp },
    Revoked { api_key: Id, account: Id },
}

impl ApiKeyEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Created { .. } => "api_key_created",
            Self::Revoked { .. } => "api_key_revoked",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            // Nobody has seen it yet.
            Self::Created { .. } => Vec::new(),
            Self::Revoked { api_key, .. } => vec![Subject::ApiKey(*api_key)],
        }
    }

    pub const fn account(&self) -> Id {
        match self {
            Self::Created { account, .. } | Self::Revoked { account, .. } => *account,
        }
    }
}
