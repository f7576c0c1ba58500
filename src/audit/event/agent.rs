//! What humans delegate to agents, and what becomes of it.
//!
//! Law: whatever ends, stops or narrows a token names it as a subject, because that is what makes
//! every process decide anew about what runs in its name.

use serde::Serialize;

use super::About;
use crate::audit::Subject;
use crate::base::{Id, MicroUsd, Number, Timestamp};
use crate::policy::code::Code;

/// Why a token was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Suspension {
    /// Too many requests.
    RateLimit,
    /// Too many failures one after the other.
    Anomaly,
    /// A human did it.
    Manual,
    /// The sign of life did not come in time.
    HeartbeatMissing,
    BudgetExceeded,
}

/// Whose token an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delegation {
    pub token: Id,
    /// The human.
    pub account: Id,
    pub application: Option<Id>,
    pub organization: Option<Id>,
}

/// What became of an agent's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allow,
    Deny,
    /// It waits for people.
    Hold,
    /// It was answered as it was when people had approved it; nothing was sent.
    Replay,
    /// It was told to slow down.
    Limit,
}

/// One decision about an agent's request.
#[derive(Debug, Clone, Serialize)]
pub struct Decided {
    pub of: Delegation,
    pub agent: String,
    pub verdict: Verdict,
    pub route: String,
    pub method: String,
    /// What the route asks of agents.
    pub permission: Option<Code>,
    /// Why it did not pass.
    pub reason: Option<&'static str>,
    /// The prompt that caused it, as the agent says.
    pub trace: Option<String>,
    /// Of a request that waits, or that was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Id>,
    /// The dollars that it took from the token's budget.
    #[serde(rename = "cost_usd", skip_serializing_if = "Option::is_none")]
    pub cost: Option<MicroUsd>,
    /// The most that it can cost, taken from the budget until it is known: [`Settled`] says what
    /// became of it.
    #[serde(rename = "reserved_usd", skip_serializing_if = "Option::is_none")]
    pub reserved: Option<MicroUsd>,
    /// How many refusals like this the row stands for, where it is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// How it is known what a request has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The answer says so.
    Answer,
    /// The answer does not say, so all that was reserved is charged.
    Reservation,
    /// It was never sent.
    Unsent,
}

/// What a request has cost whose row could not say it yet, or said what was given back. It has that
/// row's request id.
#[derive(Debug, Clone, Serialize)]
pub struct Settled {
    pub of: Delegation,
    pub route: String,
    #[serde(rename = "cost_usd")]
    pub cost: MicroUsd,
    pub basis: Basis,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AgentEvent {
    Minted {
        of: Delegation,
        agent: String,
        permissions: Vec<Code>,
        expires_at: Timestamp,
    },
    /// It may less than before.
    Narrowed {
        of: Delegation,
        fields: Vec<&'static str>,
    },
    Suspended {
        of: Delegation,
        reason: Suspension,
    },
    Resumed {
        of: Delegation,
    },
    Revoked {
        of: Delegation,
    },
    /// Its time was over.
    Expired {
        of: Delegation,
    },
    /// A decision about a request.
    Acted(Box<Decided>),
    /// What a request has cost.
    Settled(Box<Settled>),
    /// The kill switch: everything that this human delegated.
    AllRevoked {
        account: Id,
        tokens: Vec<Number>,
    },
}

impl AgentEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Minted { .. } => "agent_token_created",
            Self::Narrowed { .. } => "agent_token_narrowed",
            Self::Suspended { .. } => "agent_token_suspended",
            Self::Resumed { .. } => "agent_token_resumed",
            Self::Revoked { .. } => "agent_token_revoked",
            Self::Expired { .. } => "agent_token_expired",
            Self::Acted(_) => "agent_action",
            Self::Settled(_) => "agent_cost_settled",
            Self::AllRevoked { .. } => "agent_tokens_revoked",
        }
    }

    /// Whether it is a decision of the data plane, and no change.
    pub const fn is_decision(&self) -> bool {
        match self {
            Self::Acted(_) | Self::Settled(_) => true,
            Self::Minted { .. }
            | Self::Narrowed { .. }
            | Self::Suspended { .. }
            | Self::Resumed { .. }
            | Self::Revoked { .. }
            | Self::Expired { .. }
            | Self::AllRevoked { .. } => false,
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            // Nobody has seen the token yet, or nothing has changed.
            Self::Minted { .. } | Self::Acted(_) | Self::Settled(_) => Vec::new(),
            Self::Narrowed { of, .. }
            | Self::Suspended { of, .. }
            | Self::Resumed { of }
            | Self::Revoked { of }
            | Self::Expired { of } => vec![Subject::AgentToken(of.token)],
            // One subject for all of them, those included that are not known here.
            Self::AllRevoked { account, .. } => vec![Subject::Account(*account)],
        }
    }

    pub const fn about(&self) -> About {
        match self {
            Self::Minted { of, .. }
            | Self::Narrowed { of, .. }
            | Self::Suspended { of, .. }
            | Self::Resumed { of }
            | Self::Revoked { of }
            | Self::Expired { of } => About {
                account: Some(of.account),
                organization: of.organization,
                application: of.application,
            },
            Self::Acted(decided) => About {
                account: Some(decided.of.account),
                organization: decided.of.organization,
                application: decided.of.application,
            },
            Self::Settled(settled) => About {
                account: Some(settled.of.account),
                organization: settled.of.organization,
                application: settled.of.application,
            },
            Self::AllRevoked { account, .. } => {
                About { account: Some(*account), organization: None, application: None }
            }
        }
    }
}
