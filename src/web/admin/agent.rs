//! One's agents: what they may do, what they used, and stopping or ending them.
//!
//! Law: whoever delegated stops and ends, and nobody else; to be let go on after an end, an agent needs another
//! delegation.

use maud::{Markup, html};
use serde_json::Value;

use super::AGENTS;
use super::ask::{Endpoint, Question};
use super::deed::{Deed, Sends, Then, Whose};
use super::frame;
use super::value::{self, at, badge, codes, number, of, text};
use crate::http::{ApiError, Call, Nothing, Reply, Row, get};
use crate::web::HOME;
use crate::web::exact::text as shown;
use crate::web::layout::Viewer;

pub(super) const LIST: Endpoint = Endpoint::get("/ai/tokens/");
const ONE: Endpoint = Endpoint::get("/ai/tokens/{id}/");
const NAMES: &[&str] = &["agent_id"];

pub(super) static DEEDS: &[&Deed] = &[&STOP, &RESUME, &END, &END_ALL];

const fn to_agent(at: &'static str, asks: Endpoint, does: &'static str, said: &'static str) -> Deed {
    let led = Then::Lead(AGENTS, said);
    Deed { sends: Sends::Nothing, ..Deed::to((ONE, NAMES), at, asks, does, led) }
}

static STOP: Deed = to_agent(
    "/portcullis/admin/agents/{id}/stop/",
    Endpoint::post("/ai/tokens/{id}/suspend/"),
    "Stop",
    "stopped",
);

static RESUME: Deed = to_agent(
    "/portcullis/admin/agents/{id}/resume/",
    Endpoint::post("/ai/tokens/{id}/resume/"),
    "Let it go on",
    "changed",
);

static END: Deed = Deed {
    sure: Some("The delegation ends for good, and everything that this agent waits for is void."),
    ..to_agent(
        "/portcullis/admin/agents/{id}/end/",
        Endpoint::post("/ai/tokens/{id}/revoke/"),
        "End it for good",
        "removed",
    )
};

static END_ALL: Deed = Deed {
    whose: Whose::Nobody,
    subject: None,
    sure: Some("All that you delegated ends for good, and everything that your agents wait for is void."),
    ..to_agent(
        "/portcullis/admin/end-all-agents/",
        Endpoint::post("/ai/tokens/revoke-all/"),
        "End all of my agents",
        "removed",
    )
};

pub(super) fn rows() -> Vec<Row> {
    vec![get(AGENTS, list).page().about("One's agents")]
}

async fn list(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "Agents", |call, viewer| Box::pin(listed(call, viewer))).await
}

async fn listed(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let all = Question::to(LIST).read(call).await?;
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let (living, over): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|own| is_living(own));
    Ok(html! {
        h1 { "Agents" }
        p {
            "What you delegated. Whoever else may see an agent’s deeds may not stop it; operators have the command line. "
            a href=(HOME) { "What waits for you" }
        }
        section aria-labelledby="living" {
            h2 id="living" { "Your agents" }
            @if living.is_empty() { p.empty { "No program acts in your name." } }
            ul.rows { @for own in &living { li { (line(own)) (deeds(viewer, own)) } } }
            @if !living.is_empty() { (END_ALL.form(viewer).folded()) }
        }
        @if !over.is_empty() {
            details {
                summary { "Those that are over (" (over.len()) ")" }
                ul.rows { @for own in &over { li { (line(own)) } } }
            }
        }
    })
}

fn is_living(own: &Value) -> bool {
    matches!(text(own, "status"), "ACTIVE" | "SUSPENDED")
}

fn line(own: &Value) -> Markup {
    let breaker = &own["circuit_breaker"];
    html! {
        div {
            strong { (shown(text(own, "agent_id"))) } " "
            @match text(own, "status") {
                "ACTIVE" => { (badge("approved", "active")) },
                "SUSPENDED" => { (badge("denied", "stopped")) },
                "REVOKED" => { (badge("", "ended")) },
                _ => { (badge("", "over")) },
            }
            @if !own["suspended_reason"].is_null() { span.meta { (of(own, "suspended_reason")) } }
            p.meta { "May " (codes(&value::texts(own, "permissions"))) @if !own["organization"].is_null() { " in " (of(own, "organization")) } }
            p.meta {
                (number(own, "current_request_count")) " of " (number(breaker, "max_requests_total")) " requests, "
                (of(own, "current_spend_usd")) " of " (of(own, "budget_limit_usd")) " dollars"
            }
            p.meta { "Ends " (at(own, "expires_at")) ", last used " (at(own, "last_used_at")) }
        }
    }
}

fn deeds(viewer: &Viewer<'_>, own: &Value) -> Markup {
    let id = number(own, "id").to_string();
    let step: &'static Deed = if text(own, "status") == "ACTIVE" { &STOP } else { &RESUME };
    let name = text(own, "agent_id");
    html! {
        (step.form(viewer).about(&id).named(name).whole())
        (END.form(viewer).about(&id).named(name).whole())
    }
}
