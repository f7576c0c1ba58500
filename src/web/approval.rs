//! The pages on which people decide about what agents want to do.
//!
//! Law: what is shown is exactly what will be sent, and the line above it is the gateway's own. A
//! page is looked at without anything happening; each decision is a form of its own.

use ::http::StatusCode;
use maud::{Markup, html};
use serde_json::Value;

use super::exact::{exact, text};
use super::form::{self, Form};
use super::layout::{Viewer, lead_to, left, moment, page, trouble};
use super::visit::viewer;
use crate::account;
use crate::agent;
use crate::approval::{
    self, Approval, Content, DecideError, Decided, Decision, Filter, Mode, Reference, SessionNeed, State,
    decide,
};
use crate::audit::Suspension;
use crate::base::json::strict;
use crate::base::{Number, Timestamp};
use crate::crypto::digest;
use crate::http::{ApiError, Call, Nothing, Reply};
use crate::organization;
use crate::principal::Principal;
use crate::store::again;

/// How many that are over the list shows.
const PAST: u32 = 30;
/// How many that wait it shows.
const WAITING: u32 = 100;
/// What names the last one of the page before, by its number.
const BEFORE: &str = "before=";
/// What says that a yes was counted and others must follow.
const COUNTED: &str = "counted";
/// Fields of a JSON body in which agents explain themselves.
const WORDS: [&str; 10] = [
    "reason",
    "message",
    "comment",
    "description",
    "note",
    "notes",
    "summary",
    "memo",
    "explanation",
    "justification",
];

pub(super) async fn list(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let now = call.app.now();
    let before = call.head.query.strip_prefix(BEFORE).and_then(|number| number.parse().ok());
    let waiting = match before {
        Some(_) => Vec::new(),
        None => approval::open_for(&call.app, viewer.person, WAITING).await?,
    };
    let all = Filter { limit: Some(PAST), before: before.map(Number), ..Filter::default() };
    let mut others = approval::list_for(&call.app, viewer.person, &all).await?;
    let last = others.last().filter(|_| others.len() == PAST as usize).map(|last| last.number.0);
    others.retain(|other| waiting.iter().all(|one| one.id != other.id));
    let content = html! {
        @if before.is_none() {
            h1 { "Waiting for you" }
            @if waiting.is_empty() { p.empty { "Nothing is waiting for your decision." } }
            (cards(&waiting, now))
            @if waiting.len() == WAITING as usize {
                p.meta { "There may be more: these are the latest " (WAITING) ". Decide about some, or stop the agent." }
            }
            @if !others.is_empty() { h2 { "Others" } }
        } @else {
            p.back { a href=(super::HOME) { "← The latest" } }
            h1 { "Earlier" }
            @if others.is_empty() { p.empty { "There are none." } }
        }
        (cards(&others, now))
        @if let Some(last) = last { p.back { a href=(format!("{}?{BEFORE}{last}", super::HOME)) { "Earlier →" } } }
    };
    Ok(page(StatusCode::OK, "Approvals", Some(&viewer), &content))
}

fn cards(approvals: &[Approval], now: Timestamp) -> Markup {
    html! {
        @if !approvals.is_empty() {
            ul.cards {
                @for one in approvals {
                    li {
                        a href=(path_of(one)) {
                            strong { (text(&one.title)) }
                            span.path { (text(&one.method)) " " (text(&one.path)) }
                            span.meta {
                                (badge(one.state_at(now)))
                                " agent " q { (text(&one.agent)) }
                                @if one.state_at(now) == State::Pending { " · " (left(one.decide_by, now)) }
                                @else { " · " (moment(one.created_at)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn path_of(approval: &Approval) -> String {
    format!("/portcullis/approvals/{}/", approval.id)
}

/// The approval that the path names, if this person may see it.
async fn seen(call: &Call, person: &Principal) -> Result<Option<Approval>, ApiError> {
    let reference = match Reference::of(call.param("id")?) {
        // A confirmation token is for agents, and a page's address is no place for it.
        Reference::Token(_) => return Ok(None),
        reference => reference,
    };
    let Some(found) = approval::find(&call.app.db, &reference).await? else { return Ok(None) };
    Ok(if approval::may_see(&call.app, &found, person).await? { Some(found) } else { None })
}

pub(super) async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let Some(approval) = seen(&call, viewer.person).await? else { return Ok(trouble(StatusCode::NOT_FOUND)) };
    let is_counted = call.head.query == COUNTED;
    let said = is_counted.then_some("Your yes was counted. More people must agree before it is done.");
    detail(&call, &viewer, &approval, StatusCode::OK, said).await
}

pub(super) async fn approve(call: Call, form: Form) -> Result<Reply, ApiError> {
    run(&call, &form, Decision::Approve).await
}

pub(super) async fn deny(call: Call, form: Form) -> Result<Reply, ApiError> {
    let reason = Some(form.text("reason").trim().to_owned()).filter(|reason| !reason.is_empty());
    run(&call, &form, Decision::Deny { reason }).await
}

async fn run(call: &Call, form: &Form, decision: Decision) -> Result<Reply, ApiError> {
    let viewer = match viewer(call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !form::is_ours(call, viewer.person.session.sid, form) {
        return Ok(form::not_ours(call));
    }
    let Some(approval) = seen(call, viewer.person).await? else { return Ok(trouble(StatusCode::NOT_FOUND)) };
    let reference = Reference::Id(approval.id);
    let (status, text) = match decide(&call.app, &call.actor(), viewer.person, &reference, decision).await {
        Ok(Decided::Counted { .. }) => return Ok(lead_to(&format!("{}?{COUNTED}", path_of(&approval)))),
        Ok(Decided::Approved { .. } | Decided::Denied) => return Ok(lead_to(&path_of(&approval))),
        Err(DecideError::Stranger) => {
            (StatusCode::FORBIDDEN, "You are not one of those who decide about this.")
        }
        Err(DecideError::Over(_)) => (StatusCode::CONFLICT, "It does not wait for a decision any more."),
        Err(DecideError::Void(_)) => {
            (StatusCode::CONFLICT, "What was asked for cannot be had any more, so it was not approved.")
        }
        Err(DecideError::Session(SessionNeed::SecondFactor)) => {
            (StatusCode::FORBIDDEN, "This needs a login with a second factor. It was not approved.")
        }
        Err(DecideError::Session(SessionNeed::Recent)) => {
            (StatusCode::FORBIDDEN, "Your login is too old for this. Log out, log in again and decide then.")
        }
        Err(DecideError::Store(cause)) => return Err(cause.into()),
    };
    // As it is now: that it is another one may be why.
    let Some(approval) = seen(call, viewer.person).await? else { return Ok(trouble(StatusCode::NOT_FOUND)) };
    detail(call, &viewer, &approval, status, Some(text)).await
}

/// Whether this person may stop the agent: the human whose agent it is, as in the API.
fn may_stop(approval: &Approval, person: &Principal) -> bool {
    (approval.account, approval.site) == (person.account.id, person.account.site)
}

pub(super) async fn stop(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !form::is_ours(&call, viewer.person.session.sid, &form) {
        return Ok(form::not_ours(&call));
    }
    let Some(approval) = seen(&call, viewer.person).await? else { return Ok(trouble(StatusCode::NOT_FOUND)) };
    if !may_stop(&approval, viewer.person) {
        let said = "Only the human whose agent it is can stop it.";
        return detail(&call, &viewer, &approval, StatusCode::FORBIDDEN, Some(said)).await;
    }
    let stop = || async {
        let mut change = call.app.change(call.actor()).await?;
        let is_done = agent::suspend(&mut change, approval.delegation(), Suspension::Manual).await?;
        if is_done { change.commit().await } else { Ok(()) }
    };
    again(stop).await?;
    Ok(lead_to(&path_of(&approval)))
}

/// Everything that somebody must see before deciding, then what can be decided.
async fn detail(
    call: &Call,
    viewer: &Viewer<'_>,
    approval: &Approval,
    status: StatusCode,
    said: Option<&str>,
) -> Result<Reply, ApiError> {
    let app = &call.app;
    let now = app.now();
    let state = approval.state_at(now);
    let content = approval::content(app, approval).await?;
    let human = account::by_id(&app.db, approval.account).await?;
    let human = human.and_then(|human| human.email.map(|email| email.to_string()));
    let place = match approval.organization {
        Some(id) => organization::by_id(&app.db, id).await?.map(|own| own.name),
        None => None,
    };
    let can_be_stopped = may_stop(approval, viewer.person)
        && agent::find(&app.db, agent::Reference::Id(approval.agent_token))
            .await?
            .is_some_and(|token| token.status == agent::Status::Active);
    let decides = state == State::Pending && approval::may_decide(app, approval, viewer.person).await?;
    let content = html! {
        p.back { a href=(super::HOME) { "← All approvals" } }
        @if let Some(said) = said { p.problem role="alert" { (said) } }
        h1 { (text(&approval.title)) }
        p.state { (badge(state)) span { (told(approval, state, now)) } }
        @if let Some(reason) = &approval.reason { p { "The reason that was given: " q { (text(reason)) } } }
        (request(approval, content.as_ref()))
        (words(approval, content.as_ref()))
        (facts(approval, content.as_ref(), human.as_deref(), place.as_deref()))
        @if decides { (decisions(viewer, approval)) }
        @if can_be_stopped { (stopping(viewer, approval)) }
    };
    Ok(page(status, "Approval", Some(viewer), &content))
}

fn request(approval: &Approval, content: Option<&Content>) -> Markup {
    let Some(content) = content else {
        return html! {
            section {
                h2 { "What was asked for" }
                p.line { b { (text(&approval.method)) } " " (text(&approval.path)) }
                p.empty { "The request itself is no longer kept." }
            }
        };
    };
    html! {
        section aria-labelledby="exact" {
            h2 id="exact" { "Exactly what will be sent" }
            p.line { b { (text(&content.method)) } " " (text(&content.target)) }
            @if !content.headers.is_empty() {
                h3 { "Headers" }
                pre.exact tabindex="0" {
                    @for (name, value) in &content.headers { (text(name)) ": " (exact(value)) "\n" }
                }
            }
            @if let Some(key) = &content.idempotency_key {
                h3 { "Idempotency-Key" }
                pre.exact tabindex="0" { (text(key)) }
                p.meta { "Chosen by the agent. A backend that has seen it before may do nothing, and answer as it did then." }
            }
            h3 { "Body" }
            @if content.body.is_empty() { p.empty { "There is none." } }
            @else {
                pre.exact tabindex="0" { (exact(&content.body)) }
                p.meta { (content.body.len()) " bytes, SHA-256 " code { (digest::sha256_hex(&content.body)) } }
            }
        }
    }
}

/// What the agent says about itself: shown apart, because nobody has checked it.
fn words(approval: &Approval, content: Option<&Content>) -> Markup {
    let body = content.and_then(|content| strict(&content.body).ok()).unwrap_or_default();
    let said: Vec<(&str, &str)> = WORDS
        .iter()
        .filter_map(|name| body.get(name).and_then(Value::as_str).map(|said| (*name, said)))
        .collect();
    if said.is_empty() && approval.trace.is_none() {
        return html! {};
    }
    html! {
        section.words aria-labelledby="words" {
            h2 id="words" { "The agent’s own words" }
            p.meta { "Written by the agent. Nobody has checked it; do not take it for a fact." }
            dl {
                @for (name, said) in said {
                    dt { (name) }
                    dd { pre.exact tabindex="0" { (text(said)) } }
                }
                @if let Some(trace) = &approval.trace { dt { "Trace" } dd { code { (text(trace)) } } }
            }
        }
    }
}

fn facts(approval: &Approval, content: Option<&Content>, human: Option<&str>, place: Option<&str>) -> Markup {
    let sender = match approval.mode {
        Mode::Retry => "the agent, when it asks again",
        Mode::Sealed => "the gateway, as soon as it is approved",
    };
    html! {
        section aria-labelledby="facts" {
            h2 id="facts" { "Who, and through what" }
            dl {
                dt { "Agent" } dd { (text(&approval.agent)) }
                @if let Some(human) = human { dt { "On behalf of" } dd { (text(human)) } }
                @if let Some(place) = place { dt { "Organization" } dd { (text(place)) } }
                dt { "Permission" } dd { code { (approval.permission) } }
                dt { "Route" } dd { (text(&approval.route)) }
                @if let Some(content) = content { dt { "Host" } dd { (text(&content.authority)) } }
                @if let Some(content) = content { dt { "Asked from" } dd { (content.client) } }
                dt { "Sent by" } dd { (sender) }
                dt { "Asked at" } dd { (moment(approval.created_at)) }
                dt { "Approval" } dd { code { (approval.id) } " (" (approval.number.0) ")" }
                dt { "Binding digest" } dd { code { (approval.binding) } }
            }
        }
    }
}

fn decisions(viewer: &Viewer<'_>, approval: &Approval) -> Markup {
    let path = path_of(approval);
    html! {
        section.decide aria-label="Decide" {
            form method="post" action=(format!("{path}approve/")) {
                (viewer.proof())
                button.yes type="submit" { "Approve" }
                p.meta { "Exactly this, once." }
            }
            form method="post" action=(format!("{path}deny/")) {
                (viewer.proof())
                label for="reason" { "Why not? The agent is told this (you may leave it empty)." }
                textarea id="reason" name="reason" rows="3" maxlength="500" {}
                button.no type="submit" { "Deny" }
            }
        }
    }
}

fn stopping(viewer: &Viewer<'_>, approval: &Approval) -> Markup {
    html! {
        details.stop {
            summary { "Stop this agent" }
            p { "Nothing is let through in its name any more, and all that it waits for is void. You can let it go on later." }
            form method="post" action=(format!("{}stop/", path_of(approval))) {
                (viewer.proof())
                button.no type="submit" { "Stop this agent" }
            }
        }
    }
}

fn badge(state: State) -> Markup {
    html! { span class=(format!("badge {}", state.name())) { (state.name()) } }
}

/// What a state means, for people.
fn told(approval: &Approval, state: State, now: Timestamp) -> Markup {
    html! {
        @match state {
            State::Pending => { "It waits for a decision: " (left(approval.decide_by, now)) "." },
            State::Approved => {
                "Approved, and not done yet"
                @if let Some(until) = approval.execute_by { ": " (left(until, now)) }
                "."
            },
            State::Executing => { "It is being sent now." },
            State::Executed => { "It was done." },
            State::Failed => { "It was sent, and the answer was that it could not be done." },
            State::Indeterminate => {
                "It was sent, and nobody knows what came of it. "
                @if approval.may_be_repeated(now) { "It may be sent again, which does no harm there." }
                @else { "It will not be sent again: look there, at the backend." }
            },
            State::Denied => { "It was denied." },
            State::Expired => { "Nobody decided in time." },
            State::Lapsed => { "It was approved and not done in time." },
            State::Void => { "It cannot be had any more: the agent was stopped, a right was lost, or the route changed." },
        }
        @if let Some(status) = approval.status { " The backend answered " (status) "." }
    }
}
