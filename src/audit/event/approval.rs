//! What becomes of a request that an agent wants to make and a human must approve.
//!
//! Law: every step of a state is one event, and all events of an approval carry the digest of what
//! it is bound to. What the agent wrote (target, headers, body) is not in the trail: it is kept
//! sealed with the approval, as long as that needs it.

use serde::Serialize;

use super::About;
use crate::audit::{Delegation, Subject};
use crate::base::{Id, Timestamp};
use crate::policy::code::Code;

/// One step of one approval.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalEvent {
    pub approval: Id,
    pub of: Delegation,
    pub agent: String,
    pub route: String,
    pub method: String,
    pub permission: Code,
    /// The prompt that caused the request, as the agent says.
    pub trace: Option<String>,
    /// SHA-256 over the approval and everything that would be sent, in hex.
    pub binding: String,
    #[serde(flatten)]
    pub step: Step,
}

/// What happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Requested {
        decide_by: Timestamp,
        /// Those who are told by mail, where there is mail.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        deciders: Vec<Id>,
    },
    /// One of several people who must say yes did.
    Voted,
    Approved {
        execute_by: Timestamp,
    },
    Denied {
        reason: Option<String>,
    },
    /// Nobody decided in time.
    Expired,
    /// It was approved and not executed in time.
    Lapsed,
    Voided {
        why: Voided,
    },
    /// It is being sent: from here on, once.
    Claimed,
    /// Nothing was sent, so it may be tried again.
    Rearmed,
    Executed {
        status: u16,
    },
    Failed {
        status: u16,
    },
    /// Something was sent and nobody knows what came of it.
    Indeterminate,
}

/// Why what was asked for cannot be had any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Voided {
    /// The agent token was suspended or has ended.
    AgentStopped,
    /// The human does not hold the permission any more, or may not act.
    RightLost,
    /// The route is another one now, or is gone.
    PolicyChanged,
    /// Those who approved may not approve any more.
    ApproversLost,
}

impl Voided {
    /// The word in the trail and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentStopped => "agent_stopped",
            Self::RightLost => "right_lost",
            Self::PolicyChanged => "policy_changed",
            Self::ApproversLost => "approvers_lost",
        }
    }
}

impl ApprovalEvent {
    pub const fn code(&self) -> &'static str {
        match self.step {
            Step::Requested { .. } => "approval_requested",
            Step::Voted => "approval_voted",
            Step::Approved { .. } => "approval_approved",
            Step::Denied { .. } => "approval_denied",
            Step::Expired => "approval_expired",
            Step::Lapsed => "approval_lapsed",
            Step::Voided { .. } => "approval_voided",
            Step::Claimed => "approval_claimed",
            Step::Rearmed => "approval_rearmed",
            Step::Executed { .. } => "approval_executed",
            Step::Failed { .. } => "approval_failed",
            Step::Indeterminate => "approval_indeterminate",
        }
    }

    /// Nobody's rights change: what an approval opens is read from the store each time. Whoever waits for
    /// it is told of what ends the waiting.
    pub fn subjects(&self) -> Vec<Subject> {
        match self.step {
            Step::Requested { .. } | Step::Voted | Step::Claimed | Step::Rearmed => Vec::new(),
            Step::Approved { .. }
            | Step::Denied { .. }
            | Step::Expired
            | Step::Lapsed
            | Step::Voided { .. }
            | Step::Executed { .. }
            | Step::Failed { .. }
            | Step::Indeterminate => vec![Subject::Approval(self.approval)],
        }
    }

    pub const fn about(&self) -> About {
        About {
            account: Some(self.of.account),
            organization: self.of.organization,
            application: self.of.application,
        }
    }
}
