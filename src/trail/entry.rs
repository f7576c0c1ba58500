//! One row of the trail as a wire shows it and as a file does: who, for whom, by which agent, because of what.
//! Law: what was erased is null, never made up; ids are those of the rest of the API.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::people::Names;
use crate::audit::Row;

/// A row of the trail as one of the wires shows it; a file has it in cells under columns.
pub trait Record: Serialize + Send + 'static {
    /// What the columns are called: as the fields of the wire are.
    const COLUMNS: &'static [&'static str];

    fn of(row: &Row, names: &Names) -> Self;

    /// The row under the columns.
    fn cells(&self) -> Vec<Cell<'_>>;
}

/// Something that happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditLog")]
pub(super) struct Entry {
    id: String,
    /// Whom it is about.
    user: Option<i64>,
    user_email: Option<String>,
    /// The stable word for what happened.
    action: String,
    /// `account`, `agent`, `anonymous`, `command_line` or `system`.
    actor_kind: String,
    /// The account or the agent token that did it, by its id.
    actor_id: Option<String>,
    /// The agent token that did it, by its id.
    agent_token: Option<String>,
    /// For whom the agent did it.
    on_behalf_of: Option<i64>,
    /// The prompt that caused it, as the agent named it.
    prompt_trace_id: Option<String>,
    /// The approval that it belongs to, by its id.
    approval: Option<String>,
    /// The organization that it is about, by its id.
    organization: Option<String>,
    request_id: Option<String>,
    /// Null once it was erased with its person.
    ip_address: Option<String>,
    user_agent: String,
    application: Option<i64>,
    application_name: Option<String>,
    /// What is known beside; null once it was erased with its person.
    details: Value,
    /// RFC 3339, UTC.
    created_at: String,
    /// `changes`, or `data_plane`: a decision about a request.
    stream: &'static str,
}

impl Record for Entry {
    const COLUMNS: &'static [&'static str] = &COLUMNS;

    fn of(row: &Row, names: &Names) -> Self {
        let text = |name: &str| row.personal[name].as_str().map(str::to_owned);
        let detail = &row.personal["detail"];
        let user = names.account(row.account);
        let application = names.application(row.application);
        let is_agents = row.actor_kind == "agent";
        let actor_id = row.actor.map(|id| id.to_string());
        Self {
            id: row.seq.to_string(),
            user: user.map(|user| user.number.0),
            user_email: user.and_then(|user| user.email.as_ref()).map(ToString::to_string),
            action: row.code.clone(),
            actor_kind: row.actor_kind.clone(),
            agent_token: actor_id.clone().filter(|_| is_agents),
            actor_id,
            on_behalf_of: user.filter(|_| is_agents).map(|user| user.number.0),
            prompt_trace_id: row.trace.clone(),
            approval: detail["approval"].as_str().map(str::to_owned),
            organization: row.organization.map(|id| id.to_string()),
            request_id: row.request_id.clone(),
            ip_address: text("address"),
            user_agent: text("user_agent").unwrap_or_default(),
            application: application.map(|(number, _)| *number),
            application_name: application.map(|(_, name)| name.clone()),
            details: detail.clone(),
            created_at: row.happened_at.rfc3339(),
            stream: row.stream.name(),
        }
    }

    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            self.id.parse().map_or_else(|_| Cell::from(&self.id), Cell::Number),
            (&self.created_at).into(),
            (&self.action).into(),
            (&self.actor_kind).into(),
            (&self.actor_id).into(),
            self.user.into(),
            (&self.user_email).into(),
            (&self.agent_token).into(),
            self.on_behalf_of.into(),
            (&self.prompt_trace_id).into(),
            (&self.approval).into(),
            (&self.organization).into(),
            (&self.request_id).into(),
            (&self.ip_address).into(),
            (&self.user_agent).into(),
            self.application.into(),
            (&self.application_name).into(),
            (&self.details).into(),
            Cell::Text(Cow::Borrowed(self.stream)),
        ]
    }
}

/// What the columns of an exported trail are called: as the fields of the wire are.
pub(super) const COLUMNS: [&str; 19] = [
    "id",
    "created_at",
    "action",
    "actor_kind",
    "actor_id",
    "user",
    "user_email",
    "agent_token",
    "on_behalf_of",
    "prompt_trace_id",
    "approval",
    "organization",
    "request_id",
    "ip_address",
    "user_agent",
    "application",
    "application_name",
    "details",
    "stream",
];

/// What stands in one column of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'a> {
    Nothing,
    Number(i64),
    Text(Cow<'a, str>),
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Self {
        if text.is_empty() { Self::Nothing } else { Self::Text(Cow::Borrowed(text)) }
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_ref().map_or(Self::Nothing, Self::from)
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Nothing, Self::Number)
    }
}

impl From<&Value> for Cell<'_> {
    fn from(value: &Value) -> Self {
        if value.is_null() { Self::Nothing } else { Self::Text(Cow::Owned(value.to_string())) }
    }
}
