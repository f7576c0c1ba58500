//! Linked accounts: which other services open one's account, one more, one less.
//!
//! Law: giving an account another way in, and taking one away, asks for what `social/` asks for. What a
//! provider said is connected with the account of whoever left for it, in the session in which they did, and
//! the last way in stays.

use ::http::StatusCode;
use maud::{Markup, html};

use super::account::{self as page_of, Said};
use super::exact::text;
use super::form::Form;
use super::layout::{Viewer, lead_to, moment, page, trouble};
use super::login::channel;
use super::social::nothing_page;
use super::{refusal, step, visit};
use crate::account::Account;
use crate::http::cookie::SetCookie;
use crate::http::{ApiError, Bucket, Call, ErrorCode, Nothing, Reply, Row, get, post};
use crate::login;
use crate::social::{self, Connection, GOOD_FOR, Owner};

pub(super) const CONNECTIONS: &str = "/portcullis/account/connections/";
/// Where a provider sends back to that gave an account one more way in.
pub(super) const LINKED: &str = "/portcullis/account/connections/?linked";

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(CONNECTIONS, show).page().about("Which other services open one's account"),
        post("/portcullis/account/link/{provider}/", begin)
            .page()
            .limit(Bucket::Password)
            .audited(super::STEP_EVENTS)
            .about("Go to a provider to link it"),
        post("/portcullis/account/connections/{id}/unlink/", unlink)
            .page()
            .limit(Bucket::Password)
            .audited(super::STEP_EVENTS)
            .audited(&["social_disconnected", "session_ended"])
            .about("Unlink one"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let said = match call.head.query.as_str() {
        "linked" => Some(Said::Done("It is linked: from now on it opens your account.")),
        "unlinked" => Some(Said::Done("It was unlinked. Every other session has ended.")),
        "gone" => Some(Said::Done("That was over already.")),
        _ => None,
    };
    whole(&call, &viewer, StatusCode::OK, said).await
}

async fn whole(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    said: Option<Said>,
) -> Result<Reply, ApiError> {
    let own = page_of::own(call, viewer).await?;
    let all = social::connections(&call.app.db, own.id).await?;
    let config = call.app.config();
    let content = html! {
        p.back { a href=(super::ACCOUNT) { "← Your account" } }
        @if let Some(said) = said { (said.shown()) }
        h1 { "Linked accounts" }
        section aria-labelledby="linked" {
            h2 id="linked" { "What opens your account" }
            @if all.is_empty() { p.empty { "No other service does." } }
            ul.rows { @for one in &all { li { (row(call, viewer, &own, &all, one).await?) } } }
        }
        @if !config.login.social.is_empty() {
            section aria-labelledby="link" {
                h2 id="link" { "Link another one" }
                p { "From then on you can log in with it too." }
                @for (name, provider) in &config.login.social {
                    form method="post" action=(format!("/portcullis/account/link/{name}/")) {
                        (viewer.proof())
                        (step::fields(call, viewer, &own, name).await?)
                        button type="submit" { "Link " (provider.label()) }
                    }
                }
            }
        }
    };
    Ok(page(status, "Linked accounts", Some(viewer), &content))
}

async fn row(
    call: &Call,
    viewer: &Viewer<'_>,
    own: &Account,
    all: &[Connection],
    one: &Connection,
) -> Result<Markup, ApiError> {
    let app = &call.app;
    let config = app.config();
    let label = match config.login.social.get(&one.provider) {
        Some(known) => known.label(),
        None => one.provider.as_str(),
    };
    let is_last = login::is_only_way_in(app, &app.db, own, all, one.id).await?;
    let id = format!("unlink-{}", one.id);
    Ok(html! {
        div {
            strong { (text(label)) }
            @if let Some(email) = &one.email { " " (email) }
            @if !login::is_usable(app, one) { " " span.badge.pending { "opens nothing now" } }
            p.meta { "Linked " (moment(one.created_at)) ", last used " (moment(one.used_at)) }
            @if is_last {
                p.meta { "It is your only way in, so it stays. Set a password or add another way first." }
            } @else {
                details {
                    summary aria-label=(format!("Unlink {label}")) { "Unlink" }
                    form method="post" action=(format!("{CONNECTIONS}{}/unlink/", one.id)) {
                        (viewer.proof())
                        (step::fields(call, viewer, own, &id).await?)
                        button.no type="submit" { "Unlink it" }
                    }
                }
            }
        }
    })
}

async fn begin(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let provider = call.param("provider")?;
    let config = call.app.config();
    let Some(known) = config.login.social.get(provider) else { return Ok(trouble(StatusCode::NOT_FOUND)) };
    let own = page_of::own(&call, &viewer).await?;
    let moved = match step::take(&call, &own, &form).await {
        Ok(moved) => moved,
        Err(error) => return refused(&call, &viewer, error).await,
    };
    let session = moved.as_ref().map_or(viewer.person.session.sid, |to| to.id);
    let viewer = viewer.within(&call.app, session);
    let owner = Owner { account: own.id, session };
    let reply = match login::begin_link(&call.app, provider, &call.actor(), owner).await {
        Ok((door, kept)) => going(&viewer, known.label(), &door).with_cookie(&SetCookie::social(
            channel(&call),
            kept,
            GOOD_FOR,
        )),
        Err(nothing) => Ok(nothing_page(nothing)),
    };
    step::moved(&call, reply, moved.as_ref())
}

/// A link, because what a form may lead to is this origin alone.
fn going(viewer: &Viewer<'_>, label: &str, door: &str) -> Reply {
    let content = html! {
        p.back { a href=(CONNECTIONS) { "← Linked accounts" } }
        h1 { "Link " (label) }
        section {
            p { "Log in there with the account that is to open yours here. You come back by yourself." }
            p { a.button href=(door) rel="nofollow" { "Go to " (label) } }
        }
    };
    page(StatusCode::OK, "Link another account", Some(viewer), &content)
}

async fn refused(call: &Call, viewer: &Viewer<'_>, error: ApiError) -> Result<Reply, ApiError> {
    let (status, said) = refusal::told(error)?;
    whole(call, viewer, status, Some(said)).await
}

async fn unlink(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let own = page_of::own(&call, &viewer).await?;
    let moved = match step::take(&call, &own, &form).await {
        Ok(moved) => moved,
        Err(error) => return refused(&call, &viewer, error).await,
    };
    let kept = moved.as_ref().map_or(viewer.person.session.sid, |to| to.id);
    let viewer = viewer.within(&call.app, kept);
    let reply = match login::disconnect(&call, kept).await {
        Ok(()) => Ok(lead_to("/portcullis/account/connections/?unlinked")),
        Err(error) if error.code() == ErrorCode::NotFound => {
            Ok(lead_to("/portcullis/account/connections/?gone"))
        }
        Err(error) => refused(&call, &viewer, error).await,
    };
    step::moved(&call, reply, moved.as_ref())
}
