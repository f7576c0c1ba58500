//! An approval as the API shows it to people.
//!
//! Law: the contract's keys (section 26.4) stand beside our own; the payload is what will be sent,
//! never a part of it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Approval, Content};
use crate::app::App;
use crate::base::Timestamp;
use crate::base::json::strict;

/// What an agent wants to do.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "PendingAction")]
pub struct Shown {
    id: i64,
    uuid: String,
    /// `pending`, `approved`, `executing`, `executed`, `failed`, `indeterminate`, `denied`, `expired`,
    /// `lapsed` or `void`.
    state: &'static str,
    agent_id: String,
    permission: String,
    /// One line about what is asked for.
    title: String,
    route: String,
    /// `retry`: the agent sends it again; `sealed`: the gateway sends it once approved.
    mode: &'static str,
    method: String,
    /// The path that will be asked for.
    endpoint: String,
    /// Path and query exactly as they will be sent; null once it is over.
    target: Option<String>,
    /// Name and value of each header that will be sent as it came.
    headers: Vec<[String; 2]>,
    /// The JSON body; `{}` where there is none, or another kind of body.
    payload: Value,
    /// The prompt that caused it, as the agent says.
    trace: Option<String>,
    /// SHA-256 over this approval and everything that will be sent.
    binding_digest: String,
    confirmation_token: String,
    /// Until when it can be decided, or executed once it is approved. RFC 3339, UTC.
    expires_at: String,
    created_at: String,
    decided_at: Option<String>,
    /// What was said with a no.
    reason: Option<String>,
    /// What the upstream answered.
    status: Option<u16>,
}

/// An approval for an answer, with its content where that is still kept.
#[must_use]
pub fn shown(app: &App, approval: &Approval, content: Option<&Content>) -> Shown {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = content.map(|content| content.headers.as_slice()).unwrap_or_default();
    Shown {
        id: approval.number.0,
        uuid: approval.id.to_string(),
        state: approval.state_at(app.now()).name(),
        agent_id: approval.agent.clone(),
        permission: approval.permission.to_string(),
        title: approval.title.clone(),
        route: approval.route.clone(),
        mode: approval.mode.name(),
        method: approval.method.clone(),
        endpoint: approval.path.clone(),
        target: content.map(|content| content.target.clone()),
        headers: headers.iter().map(|(name, value)| [name.clone(), lossy(value)]).collect(),
        payload: content.and_then(|content| strict(&content.body).ok()).unwrap_or_else(|| json!({})),
        trace: approval.trace.clone(),
        binding_digest: approval.binding.clone(),
        confirmation_token: super::token(app, approval.id).expose().clone(),
        expires_at: approval.expires_at().rfc3339(),
        created_at: approval.created_at.rfc3339(),
        decided_at: approval.decided_at.map(Timestamp::rfc3339),
        reason: approval.reason.clone(),
        status: approval.status,
    }
}
