//! `/audit/logs`: what happened, page by page.
//!
//! Law: the trail says who did what to whom and keeps no former values, so `old_values` is null and `new_values` is
//! what a row knows beside. Whoever is gone is null.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::NAME;
use super::page::{Items, Paging, too_far};
use super::refusal::WORDING;
use crate::audit::{self, About, Turned};
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Bucket, Call, Fields, FromFields, Json, Query, Row, get};
use crate::trail::{self, Page};

pub(super) fn rows() -> Vec<Row> {
    let row = get("/audit/logs", list)
        .allow("security.view")
        .about("What happened, page by page, the latest first");
    vec![row.limit(Bucket::AuthSystemGeneral).strict().of_profile(NAME, WORDING)]
}

/// What is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemAuditQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Who did it, or whom it is about.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    user_id: Option<Id>,
    /// The word for what happened.
    #[schemars(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
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

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::from_fields(fields);
        let user_id = fields.optional("user_id").parsed(|text| text.parse::<Id>().map_err(|_| "Not an id."));
        let action = fields.optional("action").max(100).text();
        let resource = fields.optional("resource").parsed(|text| {
            let found = RESOURCES.iter().find(|(word, _)| *word == text);
            found.map(|(_, about)| *about).ok_or("One of users, organizations, applications, system.")
        });
        let start_date = moment(fields, "start_date");
        let end_date = moment(fields, "end_date");
        Some(Self { paging, user_id, action, resource, start_date, end_date })
    }
}

fn moment(fields: &mut Fields, name: &'static str) -> Option<Timestamp> {
    fields
        .optional(name)
        .parsed(|text| Timestamp::parse(text).ok_or("A moment as RFC 3339 writes it, or a day: 2026-11-20."))
}

/// Something that happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemLog")]
struct Entry {
    id: String,
    /// Who did it; whom it is about, where nobody was known yet.
    user_id: Option<String>,
    user_email: Option<String>,
    /// The stable word for what happened.
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
    /// RFC 3339, UTC.
    created_at: String,
}

impl Entry {
    fn of(row: &audit::Row, page: &Page) -> Self {
        let text = |name: &str| row.personal[name].as_str().map(str::to_owned);
        let by = row.actor.filter(|_| row.actor_kind == "account").or(row.account);
        let (resource, about) = match (row.account, row.organization, row.application) {
            (Some(id), _, _) => ("users", Some(id)),
            (None, Some(id), _) => ("organizations", Some(id)),
            (None, None, Some(id)) => ("applications", Some(id)),
            (None, None, None) => ("system", None),
        };
        Self {
            id: row.seq.to_string(),
            user_id: by.map(|id| id.to_string()),
            user_email: by.and_then(|id| page.emails.get(&id)).map(ToString::to_string),
            action: row.code.clone(),
            resource,
            resource_id: about.map(|id| id.to_string()),
            old_values: None,
            new_values: row.personal["detail"].clone(),
            ip_address: text("address"),
            user_agent: text("user_agent"),
            created_at: row.happened_at.rfc3339(),
        }
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Items<Entry>>, ApiError> {
    let wanted = Turned {
        code: query.action,
        concerning: query.user_id,
        about: query.resource,
        since: query.start_date,
        until: query.end_date,
    };
    let (before, size) = query.paging.window();
    let page = trail::turned(&call, &wanted, before, size).await?.ok_or_else(too_far)?;
    let items = page.rows.iter().map(|row| Entry::of(row, &page)).collect();
    query.paging.of(items, page.total).map(Json)
}
