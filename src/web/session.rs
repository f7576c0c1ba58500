//! Open sessions on the page of an account, and ending them.
//!
//! Law: whose a session is, is asked before anything else about it.

use maud::{Markup, html};

use super::form::{self, Form};
use super::layout::{Viewer, lead_to, moment};
use super::visit;
use crate::audit::EndReason;
use crate::base::Id;
use crate::http::{ApiError, Call, Reply};
use crate::session::{self, Device, Session};

pub(super) async fn section(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let person = viewer.person;
    let mut sessions = session::live_of(&call.app.db, person.account.id, call.app.now()).await?;
    sessions.reverse();
    sessions.sort_by_key(|one| one.id != person.session.sid);
    Ok(html! {
        section aria-labelledby="sessions" {
            h2 id="sessions" { "Open sessions" }
            ul.rows {
                @for one in &sessions { li { (row(one, viewer)) } }
            }
            @if sessions.len() > 1 {
                form method="post" action="/portcullis/account/sessions/end/" {
                    (viewer.proof())
                    button.no type="submit" { "End all others" }
                }
            }
        }
    })
}

fn row(one: &Session, viewer: &Viewer<'_>) -> Markup {
    // It was checked when it came in.
    let device = Device::parse(&one.device_info).unwrap_or_default().summary();
    let is_this = one.id == viewer.person.session.sid;
    html! {
        div {
            strong { (device) }
            @if is_this { " " span.badge { "this one" } }
            p.meta {
                "Since " (moment(one.started_at)) " by " (method(one.method))
                @if let Some(address) = &one.address { ", from " (address) }
                @if one.second_factor_at.is_some() { ", with a second factor" }
            }
        }
        @if !is_this {
            form method="post" action=(format!("/portcullis/account/sessions/{}/end/", one.id)) {
                (viewer.proof())
                button.quiet type="submit" aria-label=(format!("End the session on {device}")) { "End" }
            }
        }
    }
}

/// How somebody logged in, for people.
const fn method(method: session::Method) -> &'static str {
    match method {
        session::Method::Password => "password",
        session::Method::Code => "a code that was sent",
        session::Method::Link => "a link that was sent",
        session::Method::Passkey => "passkey",
        session::Method::Social => "another service",
        session::Method::Directory => "the directory's password",
    }
}

pub(super) async fn end(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let (account, own) = (viewer.person.account.id, viewer.person.session.sid);
    if !form::is_ours(&call, own, &form) {
        return Ok(form::not_ours(&call));
    }
    let id: Option<Id> = call.param("id")?.parse().ok();
    let mut change = call.app.change(call.actor()).await?;
    let now = change.now();
    let live = session::live_of(change.tx(), account, now).await?;
    let meant = live.into_iter().find(|session| Some(session.id) == id && session.id != own);
    let Some(meant) = meant else { return Ok(lead_to("/portcullis/account/?gone")) };
    if session::end(&mut change, &meant, EndReason::Revoked).await? {
        change.commit().await?;
    }
    Ok(lead_to("/portcullis/account/?session-ended"))
}

pub(super) async fn end_others(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let (account, own) = (viewer.person.account.id, viewer.person.session.sid);
    if !form::is_ours(&call, own, &form) {
        return Ok(form::not_ours(&call));
    }
    let mut change = call.app.change(call.actor()).await?;
    if session::end_others(&mut change, account, own, EndReason::Revoked).await? > 0 {
        change.commit().await?;
    }
    Ok(lead_to("/portcullis/account/?sessions-ended"))
}
