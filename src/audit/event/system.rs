//! What happens to the gateway itself.
//!
//! Law: what is taken out of the audit trail leaves a row in it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Stream, Subject};
use crate::base::{Id, Timestamp};

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum SystemEvent {
    /// A new configuration came into force.
    ConfigReloaded { sha256: String },
    /// A request passed on a route that wants every one of them in the trail.
    RequestPassed { route: String, method: String },
    /// A request was refused on such a route.
    RequestRefused {
        route: String,
        method: String,
        /// The word of metrics for why.
        reason: &'static str,
        status: u16,
        /// How many refusals like this the row stands for, where it is more than one.
        #[serde(skip_serializing_if = "Option::is_none")]
        times: Option<u64>,
        /// Who asked, where that was known.
        #[serde(skip)]
        account: Option<Id>,
    },
    /// Rows from the one number to the other were written before this moment, and are removed. The row after
    /// them follows a row with this hash; `signed` is the [`crate::audit::Tombstone`] that says so.
    AuditPruned { from_seq: i64, to_seq: i64, hash: String, before: Timestamp, signed: String },
    /// Somebody took rows away in a file: those that these words found, as many where that was known when the
    /// first of them left.
    AuditExported {
        format: &'static str,
        filters: BTreeMap<&'static str, String>,
        rows: Option<usize>,
        /// Whose rows were asked for.
        #[serde(skip)]
        account: Option<Id>,
    },
    /// Somebody was to be told something and was not.
    NoticeGivenUp {
        id: Id,
        notice: String,
        channel: &'static str,
        target: String,
        tries: i64,
        problem: String,
    },
}

impl SystemEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ConfigReloaded { .. } => "config_reloaded",
            Self::RequestPassed { .. } => "request_passed",
            Self::RequestRefused { .. } => "request_refused",
            Self::AuditPruned { .. } => "audit_pruned",
            Self::AuditExported { .. } => "audit_exported",
            Self::NoticeGivenUp { .. } => "notice_given_up",
        }
    }

    /// Whether it belongs into this stream. Each stream tells of its own prunes.
    pub fn fits(&self, stream: Stream) -> bool {
        match self {
            Self::RequestPassed { .. } | Self::RequestRefused { .. } => stream == Stream::DataPlane,
            Self::AuditPruned { to_seq, .. } => stream == Stream::of(*to_seq),
            Self::ConfigReloaded { .. } | Self::AuditExported { .. } | Self::NoticeGivenUp { .. } => {
                stream == Stream::Changes
            }
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            // Every process reloads its own file at its own time.
            Self::ConfigReloaded { .. }
            | Self::RequestPassed { .. }
            | Self::RequestRefused { .. }
            | Self::AuditPruned { .. }
            | Self::AuditExported { .. }
            | Self::NoticeGivenUp { .. } => Vec::new(),
        }
    }

    /// Whom it is about.
    pub const fn account(&self) -> Option<Id> {
        match self {
            Self::AuditExported { account, .. } | Self::RequestRefused { account, .. } => *account,
            Self::ConfigReloaded { .. }
            | Self::RequestPassed { .. }
            | Self::AuditPruned { .. }
            | Self::NoticeGivenUp { .. } => None,
        }
    }
}
