//! `/audit/logs`: what happened, page by page, and all of it as a file.
//!
//! Law: both tell the same of a row, and take the same words for what is looked for. The trail says who did what to
//! whom and keeps no former values, so `old_values` is null and `new_values` is what a row knows beside. Whoever is
//! gone is null.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::NAME;
use super::page::{Items, Paging, too_far};
use super::refusal::WORDING;
use super::words::{code_of, word_of};
use crate::audit::{self, About, Search};
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Bucket, Call, Fields, FromFields, Json, Query, Reply, Row, get};
use crate::trail::export::Wanted;
use crate::trail::{self, Cell, Names, Record};

pub(super) fn rows() -> Vec<Row> {
    let rows = [
        get("/audit/logs", list)
            .allow("security.view")
            .limit(Bucket::AuthSystemGeneral)
            .about("What happened, page by page, the latest first"),
        get("/audit/logs/export", export)
            .allow("security.view")
            // Together with those that are asked for in our own words.
            .limit(Bucket::AuditExport)
            .audited(&["audit_exported"])
            .about("What happened, as a file: csv, json or xlsx, the latest first"),
    ];
    rows.into_iter().map(|row| row.strict().of_profile(NAME, WORDING)).collect()
}

/// What is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemAuditFilters")]
struct Filters {
    /// Who did it, or whom it is about.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    user_id: Option<Id>,
    /// The word for what happened.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    /// `users`, `organizations`, `applications` or `system`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    resource: Option<About>,
    /// RFC 3339, or a day.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    start_date: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    end_date: Option<Timestamp>,
}

const RESOURCES: [(&str, About); 4] = [
    ("users", About::Account),
    ("organizations", About::Organization),
    ("applications", About::Application),
    ("system", About::Nothing),
];

impl FromFields for Filters {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let user_id = fields.optional("user_id").parsed(|text| text.parse::<Id>().map_err(|_| "Not an id."));
        let action = fields
            .optional("action")
            .max(100)
            .parsed(|text| code_of(text).ok_or_else(|| format!("There is no event \"{text}\".")));
        let resource = fields.optional("resource").parsed(|text| {
            let found = RESOURCES.iter().find(|(word, _)| *word == text);
            found.map(|(_, about)| *about).ok_or("One of users, organizations, applications, system.")
        });
        let start_date = fields.optional("start_date").moment();
        let end_date = fields.optional("end_date").moment();
        Some(Self { user_id, action, resource, start_date, end_date })
    }
}

impl Filters {
    fn search(&self) -> Search {
        Search {
            codes: self.action.into_iter().map(str::to_owned).collect(),
            concerning: self.user_id,
            about: self.resource,
            since: self.start_date,
            until: self.end_date,
            ..Search::default()
        }
    }
}

/// What is looked for, and which page of it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemAuditQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    #[schemars(flatten)]
    filters: Filters,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::from_fields(fields);
        Some(Self { paging, filters: Filters::from_fields(fields)? })
    }
}

/// Something that happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemLog")]
struct Entry {
    id: String,
    /// Who did it; whom it is about, where nobody was known yet.
    user_id: Option<String>,
    user_email: Option<String>,
    /// The stable word for what happened: `user_created`, `login`, …
    action: String,
    /// `users`, `organizations`, `applications` or `system`.
    resource: &'static str,
    /// Which of them it is about, by its id.
    resource_id: Option<String>,
    /// Always null: former values are not kept.
    old_values: Option<Value>,
    /// What is known beside; null once it was erased with its person.
    new_values: Value,
    /// Null once it was erased with its person.
    ip_address: Option<String>,
    user_agent: Option<String>,
    additional_info: More,
    /// RFC 3339, UTC.
    created_at: String,
}

/// How it came to that.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemLogInfo")]
struct More {
    /// `account`, `agent`, `anonymous`, `command_line` or `system`.
    actor_kind: String,
    /// The account or the agent token that did it, by its id.
    actor_id: Option<String>,
    request_id: Option<String>,
    /// The prompt that caused it, as an agent named it.
    prompt_trace_id: Option<String>,
    organization_id: Option<String>,
    application_id: Option<String>,
}

impl Record for Entry {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "user_id",
        "user_email",
        "action",
        "resource",
        "resource_id",
        "old_values",
        "new_values",
        "ip_address",
        "user_agent",
        "additional_info",
        "created_at",
    ];

    fn of(row: &audit::Row, names: &Names) -> Self {
        let text = |name: &str| row.personal[name].as_str().map(str::to_owned);
        let shown = |id: Option<Id>| id.map(|id| id.to_string());
        let by = row.actor.filter(|_| row.actor_kind == "account").or(row.account);
        let (resource, about) = match (row.account, row.organization, row.application) {
            (Some(id), _, _) => ("users", Some(id)),
            (None, Some(id), _) => ("organizations", Some(id)),
            (None, None, Some(id)) => ("applications", Some(id)),
            (None, None, None) => ("system", None),
        };
        Self {
            id: row.seq.to_string(),
            user_id: shown(by),
            user_email: by.and_then(|id| names.email(id)).map(ToString::to_string),
            action: word_of(&row.code).into_owned(),
            resource,
            resource_id: shown(about),
            old_values: None,
            new_values: row.personal["detail"].clone(),
            ip_address: text("address"),
            user_agent: text("user_agent"),
            additional_info: More {
                actor_kind: row.actor_kind.clone(),
                actor_id: shown(row.actor),
                request_id: row.request_id.clone(),
                prompt_trace_id: row.trace.clone(),
                organization_id: shown(row.organization),
                application_id: shown(row.application),
            },
            created_at: row.happened_at.rfc3339(),
        }
    }

    fn cells(&self) -> Vec<Cell<'_>> {
        let more = serde_json::to_string(&self.additional_info).map(Cow::Owned);
        vec![
            self.id.parse().map_or_else(|_| Cell::from(&self.id), Cell::Number),
            (&self.user_id).into(),
            (&self.user_email).into(),
            (&self.action).into(),
            Cell::Text(Cow::Borrowed(self.resource)),
            (&self.resource_id).into(),
            self.old_values.as_ref().map_or(Cell::Nothing, Cell::from),
            (&self.new_values).into(),
            (&self.ip_address).into(),
            (&self.user_agent).into(),
            more.map_or(Cell::Nothing, Cell::Text),
            (&self.created_at).into(),
        ]
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Items<Entry>>, ApiError> {
    let (passed, size) = query.paging.window();
    let page = trail::turned(&call, &query.filters.search(), passed, size).await?.ok_or_else(too_far)?;
    let items = page.rows.iter().map(|row| Entry::of(row, &page.names)).collect();
    query.paging.of(items, page.total).map(Json)
}

async fn export(call: Call, Query(wanted): Query<Wanted<Filters>>) -> Result<Reply, ApiError> {
    let grounds = trail::grounds(&call)?;
    trail::taken::<Entry>(&call, grounds, wanted.filters.search(), wanted.format).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_a_file_is_a_field_of_the_list() {
        let fields = schemars::schema_for!(Entry);
        let fields = fields.get("properties").and_then(Value::as_object).unwrap();
        let mut columns: Vec<&str> = Entry::COLUMNS.to_vec();
        columns.sort_unstable();
        let mut fields: Vec<&str> = fields.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(columns, fields);
    }
}
