//! Why an agent is refused, in the words of the contract (section 26.2).
//!
//! Law: whatever an agent did, the answer is 403: who it is was never in doubt. What its policy
//! lacks is named, all of it at once, because nobody can probe with what a human has to mint.

use ::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::super::rejection::Told;
use crate::agent::Status;
use crate::audit::Suspension;
use crate::base::MicroUsd;
use crate::policy::Code;

/// As much of a name is told as names are long.
const NAMED_MAX: usize = 64;

/// Why an agent's request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRefusal {
    /// There are no agents here.
    Disabled,
    /// Nobody minted this token.
    Unknown,
    /// It is suspended, revoked or expired, or its human may not act.
    Status(Status),
    /// It is suspended because its budget is used up, which no resume mends.
    Spent,
    /// Its time was over just now.
    Overdue,
    /// Its sign of life is missing just now.
    Silent,
    /// This request suspended it.
    Tripped(Trip),
    /// Only people may pass here.
    NotAllowed,
    Denied(Denial),
    /// The request names another organization than the token.
    OtherOrganization,
    /// The request costs money, and the token was given none.
    NoBudget(Shortage),
    /// The request costs more than is left.
    OverBudget(Shortage),
    /// Nobody can tell what the request would cost, because of this part of it.
    Unpriced(String),
}

/// How much a request costs, and how much is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    pub required: MicroUsd,
    pub remaining: MicroUsd,
}

/// What tripped the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    Rate,
    Total,
    Failures,
    Budget(Shortage),
}

impl Trip {
    /// The `reason` of the answer.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Rate => "RATE_LIMIT_EXCEEDED",
            Self::Total => "MAX_REQUESTS_TOTAL_EXCEEDED",
            Self::Failures => "MAX_FAILED_REQUESTS_EXCEEDED",
            Self::Budget(_) => "BUDGET_EXCEEDED",
        }
    }
}

/// Which part of the double check said no, and every code that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub failed: Conjunct,
    pub missing: Vec<Code>,
}

/// A part of the double check, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conjunct {
    AgentScope,
    HumanPermission,
    Organization,
    Route,
    Session,
}

impl Conjunct {
    /// The word of the answer's `failed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentScope => "agent_scope",
            Self::HumanPermission => "human_permission",
            Self::Organization => "organization",
            Self::Route => "route",
            Self::Session => "session",
        }
    }
}

impl AgentRefusal {
    /// Why a token in this state opens nothing; `reason` counts where it is suspended.
    pub(in crate::gate) const fn of_state(status: Status, reason: Option<Suspension>) -> Self {
        match (status, reason) {
            (Status::Suspended, Some(Suspension::BudgetExceeded)) => Self::Spent,
            _ => Self::Status(status),
        }
    }

    #[rustfmt::skip]
    pub(in crate::gate) fn told(&self) -> Told {
        let row = |code, label, text, remedy| Told { status: StatusCode::FORBIDDEN, code, label, text, remedy };
        let human = "Ask the human behind the agent.";
        let anew = "Have another token minted.";
        match self {
            Self::Disabled => row("AIRS_DISABLED", "agents_disabled", "AIRS module is disabled.",
                "Ask an administrator to switch agents on."),
            Self::Unknown => row("AGENT_TOKEN_NOT_FOUND", "agent_unknown", "NOT_FOUND", anew),
            Self::Status(Status::Revoked) => row("AGENT_TOKEN_STATUS_REVOKED", "agent_revoked", "STATUS_REVOKED", anew),
            Self::Status(Status::Expired) => row("AGENT_TOKEN_STATUS_EXPIRED", "agent_expired", "STATUS_EXPIRED", anew),
            Self::Status(Status::Suspended | Status::Active) => row("AGENT_TOKEN_STATUS_SUSPENDED", "agent_suspended",
                "STATUS_SUSPENDED", "Ask the human behind the agent to resume the token."),
            Self::Spent => row("AGENT_TOKEN_STATUS_SUSPENDED", "agent_suspended", "STATUS_SUSPENDED",
                "Have another token minted: the budget of this one is used up, and a resume adds nothing to it."),
            Self::Overdue => row("AGENT_TOKEN_EXPIRED", "agent_overdue", "EXPIRED", anew),
            Self::Silent => row("AGENT_TOKEN_HEARTBEAT_MISSING", "agent_silent", "HEARTBEAT_MISSING",
                "Send heartbeats in time; now a human must resume the token."),
            Self::Tripped(Trip::Rate) => row("AGENT_TOKEN_SUSPENDED", "agent_rate",
                "Agent token suspended by circuit breaker", human),
            Self::Tripped(Trip::Total) => row("AGENT_TOKEN_SUSPENDED", "agent_total",
                "Agent token suspended by circuit breaker", anew),
            Self::Tripped(Trip::Failures) => row("AGENT_TOKEN_SUSPENDED", "agent_failures",
                "Agent token suspended by circuit breaker", human),
            Self::Tripped(Trip::Budget(_)) => row("AGENT_TOKEN_SUSPENDED", "agent_budget",
                "Agent token suspended by circuit breaker", anew),
            Self::NoBudget(_) => row("BUDGET_REQUIRED", "agent_no_budget", "Budget required",
                "Have a token minted with a budget_limit_usd."),
            Self::OverBudget(_) => row("BUDGET_EXCEEDED", "agent_over_budget", "Budget exceeded", anew),
            Self::Unpriced(_) => row("COST_UNKNOWN", "agent_unpriced", "What this costs cannot be told",
                "Leave out what `unpriced` names, or send a model that has a price here and whole numbers as its caps."),
            Self::NotAllowed => row("AGENT_NOT_ALLOWED", "agent", "This is for people", human),
            Self::Denied(denial) => row("AGENT_PERMISSION_DENIED", denial.failed.label(),
                "The agent may not do this.", "Have the human delegate, or be granted, what `missing` lists."),
            Self::OtherOrganization => row("ORG_MISMATCH", "agent_organization",
                "The token is for another organization", "Leave X-Org-Slug out, or name the token's organization."),
        }
    }

    /// What is missing of the budget, where that is why.
    const fn shortage(&self) -> Option<Shortage> {
        match self {
            Self::Tripped(Trip::Budget(shortage)) | Self::NoBudget(shortage) | Self::OverBudget(shortage) => {
                Some(*shortage)
            }
            _ => None,
        }
    }

    /// The headers that the refusal owes.
    pub(in crate::gate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.shortage().map(|short| budget_left(short.remaining)).into_iter().collect()
    }

    /// What the body of the answer says beside what all refusals say.
    pub(in crate::gate) fn extend(&self, body: &mut Map<String, Value>) {
        if let Self::Tripped(trip) = self {
            body.insert("reason".into(), json!(trip.reason()));
        }
        if let Self::Unpriced(of) = self {
            body.insert("unpriced".into(), json!(of.chars().take(NAMED_MAX).collect::<String>()));
        }
        if let Some(Shortage { required, remaining }) = self.shortage() {
            body.insert("required".into(), json!(required));
            body.insert("remaining".into(), json!(remaining));
        }
    }

    pub(in crate::gate) const fn failed(&self) -> Option<&'static str> {
        match self {
            Self::NotAllowed => Some(Conjunct::Route.name()),
            Self::Denied(denial) => Some(denial.failed.name()),
            Self::OtherOrganization => Some(Conjunct::Organization.name()),
            _ => None,
        }
    }
}

impl Conjunct {
    const fn label(self) -> &'static str {
        match self {
            Self::AgentScope => "agent_scope",
            Self::HumanPermission => "agent_human",
            Self::Organization => "agent_organization",
            Self::Route => "agent_route",
            Self::Session => "agent_session",
        }
    }
}

/// How much of an agent's budget is left, in dollars.
pub(in crate::gate) fn budget_left(left: MicroUsd) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::try_from(left.to_string()).unwrap_or(HeaderValue::from_static("0.000000"));
    (HeaderName::from_static("x-budget-remaining"), value)
}
