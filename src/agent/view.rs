//! An agent token as the API shows it: everything but the token.
//!
//! Law: an unfinished sum is not shown; what is shown is what the store has.

use schemars::JsonSchema;
use serde::Serialize;

use super::{AgentToken, reason_name};
use crate::base::{MicroUsd, Timestamp};

/// A delegation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "AgentToken")]
pub struct Shown {
    id: i64,
    agent_id: String,
    /// `ACTIVE`, `SUSPENDED`, `EXPIRED` or `REVOKED`.
    status: &'static str,
    /// `RATE_LIMIT`, `ANOMALY`, `MANUAL`, `HEARTBEAT_MISSING` or `BUDGET_EXCEEDED`.
    suspended_reason: Option<&'static str>,
    /// RFC 3339, UTC.
    expires_at: String,
    created_at: String,
    suspended_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
    /// The slug of the organization that it is for.
    organization: Option<String>,
    /// Codes, sorted.
    permissions: Vec<String>,
    /// Requests that were dispatched, of `max_requests_total`. What a gateway that was killed had
    /// left counts too.
    current_request_count: u32,
    circuit_breaker: ShownBreaker,
    /// Null where no heartbeat is asked for.
    dead_mans_switch: Option<ShownSwitch>,
    /// Dollars.
    budget_limit_usd: MicroUsd,
    /// Dollars that were spent, reserved or reported. Reports may go beyond the limit.
    current_spend_usd: MicroUsd,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "AgentLimits")]
struct ShownBreaker {
    max_requests_per_minute: u32,
    max_requests_total: u32,
    max_failed_requests: u32,
    suspend_after: u32,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "AgentHeartbeat")]
struct ShownSwitch {
    /// Seconds.
    heartbeat_required_every: u32,
    last_heartbeat_at: Option<String>,
    /// The last moment at which the next one is in time.
    due_at: Option<String>,
}

/// A token for an answer. `organization` is the slug of the one that it is for.
#[must_use]
pub fn shown(token: &AgentToken, organization: Option<String>) -> Shown {
    let moment = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
    let limits = &token.limits;
    Shown {
        id: token.number.0,
        agent_id: token.agent.clone(),
        status: token.status.name(),
        suspended_reason: token.suspended_reason.map(reason_name),
        expires_at: token.expires_at.rfc3339(),
        created_at: token.created_at.rfc3339(),
        suspended_at: moment(token.suspended_at),
        revoked_at: moment(token.revoked_at),
        last_used_at: moment(token.last_used_at),
        organization,
        permissions: token.permissions.iter().map(ToString::to_string).collect(),
        current_request_count: token.granted.requests,
        circuit_breaker: ShownBreaker {
            max_requests_per_minute: limits.per_minute,
            max_requests_total: limits.total,
            max_failed_requests: limits.failures,
            suspend_after: limits.suspend_after,
        },
        dead_mans_switch: limits.heartbeat_every.map(|every| ShownSwitch {
            heartbeat_required_every: every,
            last_heartbeat_at: moment(token.heartbeat_at),
            due_at: moment(token.heartbeat_due_at),
        }),
        budget_limit_usd: limits.budget,
        current_spend_usd: token.granted.money,
    }
}
