//! An approval as the API shows it to people.
//!
//! Law: the contract's keys (section 26.4) stand beside our own; the payload is what will be sent,
//! never a part of it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Approval, Seen};
use crate::app::App;
use crate::base::Timestamp;
use crate::base::json::strict;
use crate::crypto::digest::base64;

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
    /// The host that was asked for; null once it is over.
    host: Option<String>,
    /// Path and query exactly as they will be sent; null once it is over.
    target: Option<String>,
    /// Name and value of each header that will be sent as it came.
    headers: Vec<[String; 2]>,
    /// The agent's own `Idempotency-Key`, which will be sent; null: that will be this approval's `uuid`.
    /// A backend that has seen it before may do nothing.
    idempotency_key: Option<String>,
    /// The JSON body; `{}` where there is none, or another kind of body.
    payload: Value,
    /// The body, exactly; null where it is no UTF-8, and once it is over.
    body: Option<String>,
    /// The body in base64, where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Host, target, headers, payload and body are left out of this list, which would be too long with
    /// them: read them under `pending-actions/{id}/`.
    abridged: bool,
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

/// What an upstream answered to what was approved.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "PendingActionResult")]
pub struct Given {
    status: u16,
    /// Name and value of each header, in the order in which they came.
    headers: Vec<[String; 2]>,
    /// Null where it is no UTF-8.
    body: Option<String>,
    /// The body in base64, where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// A kept answer for an answer.
#[must_use]
pub fn given(answer: &Answer) -> Given {
    let (body, body_base64) = text_or_base64(&answer.body);
    Given { status: answer.status, headers: pairs(&answer.headers), body, body_base64 }
}

/// Bytes as JSON can say them without changing them.
fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(base64(bytes))),
    }
}

fn pairs(headers: &[(String, Vec<u8>)]) -> Vec<[String; 2]> {
    headers.iter().map(|(name, value)| [name.clone(), String::from_utf8_lossy(value).into_owned()]).collect()
}

/// An approval for an answer, with what is shown of its content.
#[must_use]
pub fn shown(app: &App, approval: &Approval, seen: &Seen) -> Shown {
    let content = seen.content();
    let (body, body_base64) = content.map(|content| text_or_base64(&content.body)).unwrap_or_default();
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
        host: content.map(|content| content.authority.clone()),
        target: content.map(|content| content.target.clone()),
        headers: pairs(headers),
        idempotency_key: content.and_then(|content| content.idempotency_key.clone()),
        payload: content.and_then(|content| strict(&content.body).ok()).unwrap_or_else(|| json!({})),
        body,
        body_base64,
        abridged: matches!(seen, Seen::Abridged),
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
