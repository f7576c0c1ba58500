//! The audit trail: what happened, by whom, for whom and because of what, and taking it along as a file.
//!
//! Law: a file is asked for by a form, because that leaves a row in the trail; it holds what the list showed.

use maud::{Markup, html};
use serde_json::Value;

use super::AUDIT;
use super::ask::{Endpoint, Question};
use super::deed::as_counted;
use super::frame::{self, Filter, Looks, Sought};
use super::list::Listing;
use super::value::{self, at, of, text};
use crate::http::{ApiError, Call, Nothing, Reply, Row, get, post};
use crate::web::exact::text as shown;
use crate::web::form::Form;
use crate::web::layout::Viewer;
use crate::web::visit;

pub(super) const LIST: Endpoint = Endpoint::get("/admin/audit-logs/");
const ONE: Endpoint = Endpoint::get("/admin/audit-logs/{id}/");
pub(super) const EXPORT: Endpoint = Endpoint::get("/admin/audit-logs/export/");
/// Where the form leads to that asks for a file.
pub(super) const FILE: &str = "/portcullis/admin/audit/file/";
/// What an export is asked for beside what the list was.
const FORMAT: &str = "format";

/// What is looked for by its stream, with our words for it.
const STREAMS: [(&str, &str); 2] = [("changes", "changes"), ("data_plane", "decisions about requests")];

pub(super) static FILTERS: &[Filter] = &[
    Filter { name: "action", label: "What happened: words, joined by commas", kind: Looks::Text },
    Filter { name: "user_id", label: "About whom: number or id", kind: Looks::Text },
    Filter { name: "agent_token", label: "By which agent: number or id", kind: Looks::Text },
    Filter { name: "application_id", label: "Through which application", kind: Looks::Text },
    Filter { name: "organization", label: "In which organization: its id", kind: Looks::Text },
    Filter { name: "ip_address", label: "From which address", kind: Looks::Text },
    Filter { name: "prompt_trace_id", label: "Because of which prompt", kind: Looks::Text },
    Filter { name: "request_id", label: "In which request", kind: Looks::Text },
    Filter { name: "stream", label: "Of which stream", kind: Looks::OneOf(&STREAMS) },
    Filter { name: "date_from", label: "Since", kind: Looks::Day },
    Filter { name: "date_to", label: "Before", kind: Looks::Day },
];

static LISTING: Listing = Listing {
    at: AUDIT,
    asks: LIST,
    title: "Audit",
    lead: None,
    filters: FILTERS,
    caption: "What happened, the latest first",
    heads: &["When", "What", "About", "By", "From"],
    line,
    below: taken_along,
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        get(AUDIT, |call: Call, _: Nothing| LISTING.show(call)).page().about("What happened, page by page"),
        get("/portcullis/admin/audit/{id}/", one).page().about("One thing that happened"),
    ];
    // How often it may be asked for, and what it leaves in the trail, is for its endpoint to say.
    if let Some(asked) = EXPORT.row() {
        rows.push(as_counted(post(FILE, export).page().about("What happened, as a file"), asked));
    }
    rows
}

fn line(own: &Value) -> Vec<Markup> {
    vec![
        at(own, "created_at"),
        html! { a href=(format!("{AUDIT}{}/", value::escaped(text(own, "id")))) { code { (of(own, "action")) } } },
        about(own),
        html! { (of(own, "actor_kind")) },
        of(own, "ip_address"),
    ]
}

/// All that was looked for, as a file.
fn taken_along(viewer: &Viewer<'_>, sought: &Sought) -> Markup {
    html! {
        details {
            summary { "Take it along as a file" }
            p.meta { "All that was looked for, not this page alone. That you took it stands in the trail." }
            form method="post" action=(FILE) {
                (viewer.proof())
                @for (name, value) in sought.fields() { input type="hidden" name=(name) value=(value); }
                label for="format" { "As" }
                select id="format" name=(FORMAT) {
                    option value="csv" { "CSV" }
                    option value="json" { "JSON" }
                    option value="xlsx" { "XLSX" }
                }
                button type="submit" { "Download" }
            }
        }
    }
}

fn about(own: &Value) -> Markup {
    html! {
        @if own["user_email"].is_null() { (of(own, "user")) } @else { (of(own, "user_email")) }
    }
}

async fn one(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "What happened", |call, _| Box::pin(detail(call))).await
}

async fn detail(call: &Call) -> Result<Markup, ApiError> {
    let own = Question::to(ONE).about(call.param("id")?).read(call).await?;
    let details = serde_json::to_string_pretty(&own["details"]).map_err(ApiError::internal)?;
    let facts = [
        ("About", about(&own)),
        ("Done by", of(&own, "actor_kind")),
        ("Their id", of(&own, "actor_id")),
        ("Agent", of(&own, "agent_token")),
        ("On behalf of", of(&own, "on_behalf_of")),
        ("Because of the prompt", of(&own, "prompt_trace_id")),
        ("Approval", of(&own, "approval")),
        ("Organization", of(&own, "organization")),
        ("Application", of(&own, "application_name")),
        ("Request", of(&own, "request_id")),
        ("From", of(&own, "ip_address")),
        ("With", of(&own, "user_agent")),
        ("Stream", of(&own, "stream")),
    ];
    Ok(html! {
        p.back { a href=(AUDIT) { "← Audit" } }
        h1 { code { (shown(text(&own, "action"))) } }
        section aria-labelledby="facts" {
            h2 id="facts" { "Number " (of(&own, "id")) }
            dl {
                dt { "When" } dd { (at(&own, "created_at")) }
                @for (name, fact) in &facts { dt { (name) } dd { (fact) } }
            }
        }
        @if !own["details"].is_null() {
            section aria-labelledby="details" {
                h2 id="details" { "What else is known" }
                pre.exact tabindex="0" { (shown(&details)) }
            }
        }
    })
}

async fn export(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let names = FILTERS.iter().map(|filter| filter.name).chain([FORMAT]);
    let pairs = names.map(|name| (name, form.text(name))).filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    match Question::to(EXPORT).query(query).reply(&call).await {
        Ok(file) => Ok(file),
        Err(error) => {
            frame::refused(&call, &viewer, error, &html! { p.back { a href=(AUDIT) { "← Audit" } } })
        }
    }
}
