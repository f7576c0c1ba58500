//! Passkeys on pages: adding, renaming and removing one's own, and the question at the login.
//!
//! Law: the only thing that a script does is to ask the browser and to send its answer with our
//! form. Where passkeys are not for this origin, no page asks for one.

use ::http::StatusCode;
use maud::{Markup, html};

use super::account::{self as page, Said};
use super::exact::text;
use super::form::{self, Form};
use super::layout::{Viewer, lead_to, moment, passkey_page, trouble};
use super::{step, visit};
use crate::account::Account;
use crate::base::json::strict;
use crate::base::{Id, Number};
use crate::http::{ApiError, Call, Reply};
use crate::login;
use crate::passkey::{self, Begun, Passkey, Presented};

const NAME_MAX: usize = 100;

/// Whether pages ask for passkeys: where they stand, browsers must give them out.
pub(super) fn are_here(call: &Call) -> bool {
    let config = call.app.config();
    config.login.passkeys.as_ref().is_some_and(|passkeys| passkeys.admits(&config.public_url.to_string()))
}

/// A form that the script answers; without one it is not seen.
pub(super) fn question(kind: &str, action: &str, begun: &Begun, fields: &Markup, button: &str) -> Markup {
    html! {
        form.passkey method="post" action=(action) data-passkey=(kind) data-options=(begun.options) hidden {
            (fields)
            input type="hidden" name="challenge_id" value=(begun.challenge_id);
            input type="hidden" name="credential" value="";
            p.problem role="alert" data-problem="The browser gave no passkey. Try again."
                data-known="This device has a passkey for you already." hidden {}
            button type="submit" { (button) }
        }
    }
}

/// What a form of ours brings back.
pub(super) fn presented(form: &Form) -> Option<Presented> {
    let credential = strict(form.text("credential").as_bytes()).ok()?;
    Some(Presented { challenge_id: form.text("challenge_id").to_owned(), credential })
}

pub(super) async fn section(call: &Call, viewer: &Viewer<'_>, own: &Account) -> Result<Markup, ApiError> {
    let all = passkey::list_of(&call.app.db, own.id).await?;
    let are_here = are_here(call);
    if all.is_empty() && !are_here {
        return Ok(html! {});
    }
    let asked = step::fields(call, viewer, own, "add").await?;
    Ok(html! {
        section aria-labelledby="passkeys" {
            h2 id="passkeys" { "Passkeys" }
            @if all.is_empty() { p.empty { "None yet. A passkey is a key that your phone or computer keeps: no password to type or to lose." } }
            ul.rows { @for one in &all { li { (row(call, viewer, own, one).await?) } } }
            @if are_here {
                details {
                    summary { "Add a passkey" }
                    form method="post" action="/portcullis/account/passkeys/begin/" {
                        (viewer.proof())
                        label for="name" { "What shall it be called?" }
                        input id="name" name="name" type="text" maxlength=(NAME_MAX) placeholder="My phone" autocomplete="off";
                        (asked)
                        button type="submit" { "Go on" }
                    }
                }
            }
        }
    })
}

async fn row(call: &Call, viewer: &Viewer<'_>, own: &Account, one: &Passkey) -> Result<Markup, ApiError> {
    let number = one.number.0;
    let (path, id) = (format!("/portcullis/account/passkeys/{number}/"), format!("passkey-{number}"));
    let asked = step::fields(call, viewer, own, &id).await?;
    Ok(html! {
        div {
            strong { (text(&one.name)) }
            p.meta {
                "Added " (moment(one.created_at))
                @match one.last_used_at {
                    Some(at) => { ", last used " (moment(at)) },
                    None => { ", not used yet" },
                }
            }
            details {
                summary aria-label=(format!("Rename or remove {}", one.name)) { "Rename or remove" }
                form method="post" action=(format!("{path}rename/")) {
                    (viewer.proof())
                    label for=(id) { "New name" }
                    input id=(id) name="name" type="text" maxlength=(NAME_MAX) value=(one.name) autocomplete="off";
                    button type="submit" { "Rename" }
                }
                form method="post" action=(format!("{path}remove/")) {
                    (viewer.proof())
                    (asked)
                    button.no type="submit" { "Remove" }
                }
            }
        }
    })
}

/// The name in a form, cut to what a name may be.
fn name(form: &Form) -> String {
    form.text("name").trim().chars().filter(|c| *c != '\0').take(NAME_MAX).collect()
}

pub(super) async fn begin(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::setting_up(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !form::is_ours(&call, viewer.person.session.sid, &form) {
        return Ok(form::not_ours(&call));
    }
    let own = page::own(&call, &viewer).await?;
    if !are_here(&call) {
        return Ok(trouble(StatusCode::NOT_FOUND));
    }
    let moved = match step::take(&call, &own, &form).await {
        Ok(moved) => moved,
        Err(error) => return refused(&call, &viewer, error).await,
    };
    let viewer = moved.as_ref().map_or(viewer.clone(), |to| viewer.within(&call.app, to.id));
    let session = moved.as_ref().map_or(viewer.person.session.sid, |to| to.id);
    let reply = match passkey::begin_registration(&call.app, &own, session).await {
        Ok(begun) => Ok(asking(&viewer, &begun, &name(&form))),
        Err(error) => refused(&call, &viewer, error.into()).await,
    };
    step::moved(&call, reply, moved.as_ref())
}

fn asking(viewer: &Viewer<'_>, begun: &Begun, name: &str) -> Reply {
    let fields = html! {
        (viewer.proof())
        input type="hidden" name="name" value=(name);
    };
    let content = html! {
        p.back { a href=(super::ACCOUNT) { "← Your account" } }
        section {
            h1 { "Add a passkey" }
            p { "Your browser asks which device is to keep it, and for its PIN, your finger or your face." }
            (question("create", "/portcullis/account/passkeys/add/", begun, &fields, "Create the passkey"))
            noscript { p.problem { "This needs JavaScript: browsers make passkeys for nothing else." } }
        }
    };
    passkey_page(StatusCode::OK, "Add a passkey", Some(viewer), &content)
}

async fn refused(call: &Call, viewer: &Viewer<'_>, error: ApiError) -> Result<Reply, ApiError> {
    let (status, text) = (error.status(), step::refusal(error)?);
    // Who may do nothing but this sees no page of an account.
    if viewer.person.session.scope.is_some() {
        return super::factor::start(call, viewer, status, Some(Said::Refused(text))).await;
    }
    page::whole(call, viewer, status, Some(Said::Refused(text))).await
}

pub(super) async fn add(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::setting_up(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let session = viewer.person.session.sid;
    if !form::is_ours(&call, session, &form) {
        return Ok(form::not_ours(&call));
    }
    let own = page::own(&call, &viewer).await?;
    let added = match presented(&form) {
        Some(answer) => passkey::add(&call.app, &own, session, answer, &name(&form), call.actor()).await,
        None => Err(passkey::NotAdded::Refused),
    };
    match added {
        // Who came for this alone logs in with it now.
        Ok(_) if viewer.person.session.scope.is_some() => Ok(lead_to("/portcullis/login/")),
        Ok(_) => Ok(lead_to("/portcullis/account/?passkey-added")),
        Err(error) => refused(&call, &viewer, error.into()).await,
    }
}

fn number(call: &Call) -> Option<Number> {
    call.param("id").ok()?.parse().ok().map(Number)
}

pub(super) async fn rename(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !form::is_ours(&call, viewer.person.session.sid, &form) {
        return Ok(form::not_ours(&call));
    }
    let Some(number) = number(&call) else { return Ok(lead_to("/portcullis/account/?gone")) };
    let mut change = call.app.change(call.actor()).await?;
    match passkey::rename(&mut change, viewer.person.account.id, number, &name(&form)).await? {
        Some(_) => {
            change.commit().await?;
            Ok(lead_to("/portcullis/account/?passkey-renamed"))
        }
        None => Ok(lead_to("/portcullis/account/?gone")),
    }
}

pub(super) async fn remove(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !form::is_ours(&call, viewer.person.session.sid, &form) {
        return Ok(form::not_ours(&call));
    }
    let own = page::own(&call, &viewer).await?;
    let Some(number) = number(&call) else { return Ok(lead_to("/portcullis/account/?gone")) };
    let moved = match step::take(&call, &own, &form).await {
        Ok(moved) => moved,
        Err(error) => return refused(&call, &viewer, error).await,
    };
    let kept = moved.as_ref().map_or(viewer.person.session.sid, |to| to.id);
    let viewer = moved.as_ref().map_or(viewer.clone(), |to| viewer.within(&call.app, to.id));
    let reply = match removed(&call, own.id, kept, number).await {
        Ok(()) => Ok(lead_to("/portcullis/account/?passkey-removed")),
        Err(error) => refused(&call, &viewer, error).await,
    };
    step::moved(&call, reply, moved.as_ref())
}

async fn removed(call: &Call, account: Id, kept: Id, number: Number) -> Result<(), ApiError> {
    let mut change = call.app.change(call.actor()).await?;
    login::remove_passkey(&mut change, account, kept, number).await?;
    Ok(change.commit().await?)
}
