//! Somebody's agents on the page of their account, and stopping them.
//!
//! Law: whoever delegated stops and lets go on, as in the API, and nobody else.

use maud::{Markup, html};

use super::exact::text;
use super::form::{self, Form};
use super::layout::{Viewer, lead_to, left, moment};
use super::visit;
use crate::agent::{self, AgentToken, Reference, Status};
use crate::audit::Suspension;
use crate::http::{ApiError, Call, Reply};
use crate::store::{Error, again};

/// How many the page shows.
const MOST: u32 = 100;

pub(super) async fn section(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let (person, now) = (&viewer.person.account, call.app.now());
    let tokens = agent::living(&call.app.db, person.site, person.id, now, MOST).await?;
    Ok(html! {
        section aria-labelledby="agents" {
            h2 id="agents" { "Your agents" }
            @if tokens.is_empty() { p.empty { "No program acts in your name." } }
            ul.rows {
                @for token in &tokens {
                    li {
                        div {
                            strong { (text(&token.agent)) }
                            " " (badge(token.status))
                            p.meta {
                                "May " @for (at, code) in token.permissions.iter().enumerate() {
                                    @if at > 0 { ", " } code { (code) }
                                }
                                " · " (left(token.expires_at, now))
                                @if let Some(at) = token.last_used_at { " · last used " (moment(at)) }
                            }
                        }
                        (deed(viewer, token))
                    }
                }
            }
        }
    })
}

fn badge(status: Status) -> Markup {
    let (class, word) = if status == Status::Active { ("approved", "active") } else { ("denied", "stopped") };
    html! { span class=(format!("badge {class}")) { (word) } }
}

fn deed(viewer: &Viewer<'_>, token: &AgentToken) -> Markup {
    let (deed, class, word) = match token.status {
        Status::Active => ("stop", "no", "Stop"),
        _ => ("resume", "quiet", "Let it go on"),
    };
    html! {
        form method="post" action=(format!("/portcullis/account/agents/{}/{deed}/", token.id)) {
            (viewer.proof())
            button class=(class) type="submit" aria-label=(format!("{word}: {}", token.agent)) { (word) }
        }
    }
}

pub(super) async fn stop(call: Call, form: Form) -> Result<Reply, ApiError> {
    step(&call, &form, Status::Suspended).await
}

pub(super) async fn resume(call: Call, form: Form) -> Result<Reply, ApiError> {
    step(&call, &form, Status::Active).await
}

async fn step(call: &Call, form: &Form, to: Status) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !form::is_ours(call, viewer.person.session.sid, form) {
        return Ok(form::not_ours(call));
    }
    let gone = || Ok(lead_to("/portcullis/account/?gone"));
    let Ok(reference) = call.param("id")?.parse::<Reference>() else { return gone() };
    let found = agent::find(&call.app.db, reference).await?;
    let own = &viewer.person.account;
    let Some(token) = found.filter(|token| (token.account, token.site) == (own.id, own.site)) else {
        return gone();
    };
    let step = || async {
        let mut change = call.app.change(call.actor()).await?;
        let is_done = match to {
            Status::Active => agent::resume(&mut change, &token).await?,
            _ => agent::suspend(&mut change, token.delegation(), Suspension::Manual).await?,
        };
        if is_done {
            change.commit().await?;
        }
        Ok::<_, Error>(is_done)
    };
    if !again(step).await? {
        return gone();
    }
    let said = if to == Status::Active { "agent-resumed" } else { "agent-stopped" };
    Ok(lead_to(&format!("/portcullis/account/?{said}")))
}
