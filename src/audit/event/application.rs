//! Applications: the API clients and their keys.
//!
//! Law: keys and secrets are never part of an event.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::Id;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum ApplicationEvent {
    Created {
        application: Id,
        name: String,
    },
    Updated {
        application: Id,
        fields: Vec<&'static str>,
    },
    Regenerated {
        application: Id,
    },
    /// With it end the sessions that came through it.
    Disabled {
        application: Id,
    },
    Enabled {
        application: Id,
    },
    /// With it end the sessions and agent tokens that came through it.
    Deleted {
        application: Id,
        name: String,
    },
}

impl ApplicationEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Created { .. } => "app_created",
            Self::Updated { .. } => "app_updated",
            Self::Regenerated { .. } => "app_credentials_regenerated",
            Self::Disabled { .. } => "app_disabled",
            Self::Enabled { .. } => "app_enabled",
            Self::Deleted { .. } => "app_deleted",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        vec![Subject::Application(self.application()), Subject::Applications]
    }

    pub const fn application(&self) -> Id {
        match self {
            Self::Created { application, .. }
            | Self::Updated { application, .. }
            | Self::Regenerated { application }
            | Self::Disabled { application }
            | Self::Enabled { application }
            | Self::Deleted { application, .. } => *application,
        }
    }
}
