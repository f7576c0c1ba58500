//! The second factor of an account: set up, confirmed, its backup codes replaced, turned off.
//!
//! Law: seed and backup codes are shown once, in the answer that made them. Whoever may do nothing
//! before they have a second factor does it here too.

use ::http::StatusCode;
use maud::{Markup, PreEscaped, html};

use super::account::{self as page_of, Said};
use super::form::{self, Form};
use super::layout::{Viewer, lead_to, moment, page};
use super::{passkey, step, visit};
use crate::account::Account;
use crate::base::Secret;
use crate::factor::{self, Code, Enrolment};
use crate::http::{ApiError, Call, ErrorCode, Nothing, Reply};
use crate::login;

pub(super) const SECOND_FACTOR: &str = "/portcullis/account/second-factor/";

pub(super) async fn section(call: &Call, own: &Account) -> Result<Markup, ApiError> {
    let left = factor::backup_codes_left(&call.app.db, own.id).await?;
    Ok(html! {
        section aria-labelledby="factor" {
            h2 id="factor" { "Second factor" }
            @match own.second_factor_at {
                Some(at) => {
                    p { span.badge.approved { "on" } " since " (moment(at)) ", " (left) " backup codes left." }
                    p { a href=(SECOND_FACTOR) { "New backup codes, or turn it off" } }
                }
                None => {
                    p { span.badge { "off" } " A code from your phone beside the password keeps out who learned it." }
                    p { a href=(SECOND_FACTOR) { "Set it up" } }
                }
            }
        }
    })
}

pub(super) async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::setting_up(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    start(&call, &viewer, StatusCode::OK, None).await
}

/// The page on which it begins.
pub(super) async fn start(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    said: Option<Said>,
) -> Result<Reply, ApiError> {
    let own = page_of::own(call, viewer).await?;
    let is_bound = viewer.person.session.scope.is_some();
    let content = html! {
        @if !is_bound { p.back { a href=(super::ACCOUNT) { "← Your account" } } }
        @if let Some(said) = said { (said.shown()) }
        h1 { "Second factor" }
        @if is_bound { p { "Your account may do nothing without one." } }
        @if own.second_factor_at.is_some() { (replacing(viewer)) (ending(viewer)) }
        @else { (beginning(viewer)) }
        @if is_bound && passkey::are_here(call) { (instead(viewer)) }
    };
    Ok(page(status, "Second factor", Some(viewer), &content))
}

fn beginning(viewer: &Viewer<'_>) -> Markup {
    html! {
        section {
            p { "An authenticator app on your phone shows a code of six digits, another one every 30 seconds. From then on \
                 logging in asks for the password and a code." }
            form method="post" action=(format!("{SECOND_FACTOR}begin/")) {
                (viewer.proof())
                (viewer.owner())
                label for="password" { "Your password (needed where you logged in more than 15 minutes ago)" }
                input id="password" name="password" type="password" autocomplete="current-password";
                button type="submit" { "Begin" }
            }
        }
    }
}

fn instead(viewer: &Viewer<'_>) -> Markup {
    html! {
        section {
            h2 { "Or a passkey" }
            p { "A key that your phone or computer keeps is two factors in one." }
            form method="post" action="/portcullis/account/passkeys/begin/" {
                (viewer.proof())
                button type="submit" { "Add a passkey" }
            }
        }
    }
}

fn code_field() -> Markup {
    html! {
        label for="code" { "Code from your authenticator app" }
        input id="code" name="code" type="text" autocomplete="one-time-code" required maxlength="64"
            autocapitalize="off" spellcheck="false";
    }
}

fn replacing(viewer: &Viewer<'_>) -> Markup {
    html! {
        section {
            h2 { "New backup codes" }
            p { "They stand in for the phone when it is lost, each once. The old ones end." }
            form method="post" action=(format!("{SECOND_FACTOR}backup-codes/")) {
                (viewer.proof())
                (code_field())
                button type="submit" { "New backup codes" }
            }
        }
    }
}

fn ending(viewer: &Viewer<'_>) -> Markup {
    html! {
        section {
            h2 { "Turn it off" }
            form method="post" action=(format!("{SECOND_FACTOR}off/")) {
                (viewer.proof())
                (viewer.owner())
                label for="off-password" { "Your password" }
                input id="off-password" name="password" type="password" autocomplete="current-password" required;
                label for="off-code" { "Code from your authenticator app, or a backup code" }
                input id="off-code" name="code" type="text" autocomplete="one-time-code" required maxlength="64"
                    autocapitalize="off" spellcheck="false";
                button.no type="submit" { "Turn it off" }
            }
        }
    }
}

/// A viewer whose form is believed.
fn believed<'a>(call: &'a Call, form: &Form) -> Result<Viewer<'a>, Box<Reply>> {
    let viewer = visit::setting_up(call)?;
    if form::is_ours(call, viewer.person.session.sid, form) {
        Ok(viewer)
    } else {
        Err(Box::new(form::not_ours(call)))
    }
}

pub(super) async fn begin(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match believed(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    match login::begin_second_factor(&call, step::password(&form)).await {
        Ok(begun) => Ok(scanning(&viewer, &begun)),
        Err(error) if error.code() == ErrorCode::SecondFactorAlreadyOn => Ok(lead_to(SECOND_FACTOR)),
        Err(error) => {
            let (status, text) = (error.status(), step::refusal(error)?);
            start(&call, &viewer, status, Some(Said::Refused(text))).await
        }
    }
}

fn scanning(viewer: &Viewer<'_>, begun: &Enrolment) -> Reply {
    // Ours, made of squares: without what stands before the picture itself.
    let svg = begun.picture.svg.expose();
    let svg = svg.find("<svg").map_or("", |at| &svg[at..]);
    let content = html! {
        h1 { "Set up the second factor" }
        section {
            h2 { "1. Scan this with your authenticator app" }
            div.qr role="img" aria-label="QR code with the key below" { (PreEscaped(svg)) }
            p { "Or type this key: " code { (begun.seed.base32().expose()) } }
        }
        section {
            h2 { "2. Keep these backup codes" }
            p { "Each stands in for the phone once. They are not shown again." }
            (codes(&begun.backup_codes))
        }
        section {
            h2 { "3. Confirm with the first code" }
            (confirming(viewer))
        }
    };
    page(StatusCode::OK, "Set up the second factor", Some(viewer), &content)
}

fn codes(codes: &[Secret<String>]) -> Markup {
    html! { ol.codes { @for code in codes { li { code { (code.expose()) } } } } }
}

fn confirming(viewer: &Viewer<'_>) -> Markup {
    html! {
        form method="post" action=(format!("{SECOND_FACTOR}confirm/")) {
            (viewer.proof())
            (code_field())
            button type="submit" { "Turn it on" }
        }
    }
}

pub(super) async fn confirm(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match believed(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let turned = match Code::read(form.text("code")) {
        Some(code) => login::turn_second_factor_on(&call, &code).await,
        None => Err(ApiError::new(ErrorCode::CodeRequired)),
    };
    match turned {
        Ok(entered) => {
            step::moved(&call, Ok(lead_to("/portcullis/account/?factor-on")), Some(&entered.session))
        }
        Err(error) if error.code() == ErrorCode::SecondFactorAlreadyOn => Ok(lead_to(SECOND_FACTOR)),
        Err(error) => {
            let (status, text) = (error.status(), step::refusal(error)?);
            let content = html! {
                p.problem role="alert" { (text) }
                h1 { "Confirm with the first code" }
                section {
                    (confirming(&viewer))
                    p { a href=(SECOND_FACTOR) { "Begin again, with another key" } }
                }
            };
            Ok(page(status, "Set up the second factor", Some(&viewer), &content))
        }
    }
}

pub(super) async fn backup_codes(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match believed(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if viewer.person.session.scope.is_some() {
        return Ok(lead_to(SECOND_FACTOR));
    }
    let made = match Code::read(form.text("code")) {
        Some(code) => login::new_backup_codes(&call, &code).await,
        None => Err(ApiError::new(ErrorCode::CodeRequired)),
    };
    match made {
        Ok(made) => {
            let content = html! {
                p.back { a href=(super::ACCOUNT) { "← Your account" } }
                h1 { "Your new backup codes" }
                section {
                    p { "Each stands in for the phone once. They are not shown again; the old ones have ended." }
                    (codes(&made))
                }
            };
            Ok(page(StatusCode::OK, "Backup codes", Some(&viewer), &content))
        }
        Err(error) => {
            let (status, text) = (error.status(), step::refusal(error)?);
            start(&call, &viewer, status, Some(Said::Refused(text))).await
        }
    }
}

pub(super) async fn turn_off(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match believed(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if viewer.person.session.scope.is_some() {
        return Ok(lead_to(SECOND_FACTOR));
    }
    let turned = match Code::read(form.text("code")) {
        Some(code) => login::turn_second_factor_off(&call, &code, step::password(&form), None).await,
        None => Err(ApiError::new(ErrorCode::CodeRequired)),
    };
    match turned {
        Ok(()) => Ok(lead_to("/portcullis/account/?factor-off")),
        Err(error) => {
            let (status, text) = (error.status(), step::refusal(error)?);
            start(&call, &viewer, status, Some(Said::Refused(text))).await
        }
    }
}
