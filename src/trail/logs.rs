//! The rows of `admin/audit-logs/`.
//!
//! Law: filters that there are not are refused by name: nobody takes a list for narrower than it is.

use schemars::JsonSchema;

use super::entry::Entry;
use super::people::Names;
use super::query::{address, application_named, moment, whom};
use crate::agent;
use crate::audit::{self, Search};
use crate::base::{Id, Timestamp};
use crate::http::{
    ApiError, Call, Cursor, ErrorCode, Fields, FromFields, Json, Keyset, Nothing, Query, Row, get,
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/admin/audit-logs/", list)
            .allow("security.view")
            .strict()
            .about("What happened, page by page, the latest first"),
        get("/admin/audit-logs/{id}/", show)
            .allow("security.view")
            .codes(&[ErrorCode::NotFound])
            .about("One thing that happened"),
    ]
}

/// What is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuditLogQuery")]
struct ListQuery {
    #[schemars(flatten)]
    cursor: Cursor,
    /// Whom it is about, by number or id; with an agent, on whose behalf.
    #[schemars(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// Words for what happened, joined by commas.
    #[schemars(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ip_address: Option<std::net::IpAddr>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
    /// The agent token that did it, by number or id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    agent_token: Option<String>,
    /// An organization, by its id.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    organization: Option<Id>,
    /// The prompt that caused it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    prompt_trace_id: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// RFC 3339, or a day.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_from: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_to: Option<Timestamp>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let cursor = Cursor::from_fields(fields);
        let user_id = fields.optional("user_id").text();
        let action = fields.optional("action").text();
        let unknown = codes_of(action.as_deref()).find(|code| !audit::CODES.contains(code));
        if let Some(code) = unknown {
            fields.problem("action", format!("There is no event \"{code}\"."));
        }
        let ip_address = address(fields);
        let application_id = fields.optional("application_id").text();
        let agent_token = fields.optional("agent_token").text();
        let organization =
            fields.optional("organization").parsed(|text| text.parse::<Id>().map_err(|_| "Not an id."));
        let prompt_trace_id = fields.optional("prompt_trace_id").text();
        let request_id = fields.optional("request_id").text();
        let date_from = moment(fields, "date_from");
        let date_to = moment(fields, "date_to");
        Some(Self {
            cursor,
            user_id,
            action,
            ip_address,
            application_id,
            agent_token,
            organization,
            prompt_trace_id,
            request_id,
            date_from,
            date_to,
        })
    }
}

/// The events that are asked for; none: all of them.
fn codes_of(action: Option<&str>) -> impl Iterator<Item = &str> {
    action.unwrap_or_default().split(',').map(str::trim).filter(|code| !code.is_empty())
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<Entry>>, ApiError> {
    let site = call.person()?.account.site;
    let search = Search {
        codes: codes_of(query.action.as_deref()).map(str::to_owned).collect(),
        account: whom(&call, "user_id", query.user_id.as_deref()).await?,
        agent: agent_named(&call, site, query.agent_token.as_deref()).await?,
        application: application_named(&call, site, query.application_id.as_deref()).await?,
        organization: query.organization,
        address: query.ip_address.map(|address| address.to_string()),
        request_id: query.request_id,
        trace: query.prompt_trace_id,
        since: query.date_from,
        until: query.date_to,
        before: query.cursor.place(),
    };
    let rows = audit::search(&call.app.db, site, &search, query.cursor.limit()).await?;
    let names = Names::of(&call.app, site, &rows).await?;
    let entries = rows.iter().map(|row| (row.seq, Entry::of(row, &names))).collect();
    query.cursor.page(&call, entries).map(Json)
}

async fn show(call: Call, _: Nothing) -> Result<Json<Entry>, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound).saying("Audit log not found");
    let site = call.person()?.account.site;
    let seq: i64 = call.param("id")?.parse().map_err(|_| missing())?;
    let row = audit::one(&call.app.db, site, seq).await?.ok_or_else(missing)?;
    let rows = [row];
    let names = Names::of(&call.app, site, &rows).await?;
    let [row] = &rows;
    Ok(Json(Entry::of(row, &names)))
}

async fn agent_named(call: &Call, site: Id, text: Option<&str>) -> Result<Option<Id>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let unknown = || ApiError::invalid("agent_token", &["There is no such agent token.".to_owned()]);
    match text.parse::<agent::Reference>() {
        Ok(agent::Reference::Id(id)) => Ok(Some(id)),
        Ok(reference) => {
            let found = agent::find(&call.app.db, reference).await?;
            found.filter(|token| token.site == site).map(|token| Some(token.id)).ok_or_else(unknown)
        }
        Err(_) => Err(unknown()),
    }
}
