//! One's password: another one, or the first.
//!
//! Law: what is asked for and what follows is what `password/change/` and `password/set-initial/` do, by the
//! same functions. Every session ends, this one too. Nothing that was typed is written into a page.

use ::http::StatusCode;
use maud::{Markup, html};

use super::account::{self as page_of, Said};
use super::form::Form;
use super::layout::{Viewer, lead_to, page};
use super::login::channel;
use super::{refusal, visit};
use crate::account::Account;
use crate::crypto::password::policy::ALSO;
use crate::http::cookie::SetCookie;
use crate::http::{ApiError, Bucket, Call, Nothing, Reply, Row, get, post, read_form};
use crate::login;

pub(super) const PASSWORD: &str = "/portcullis/account/password/";

/// What is said where nothing was asked of an endpoint yet.
const DIFFERENT: &str = "You typed two different passwords. Nothing was changed.";

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(PASSWORD, show).page().about("One's password"),
        post("/portcullis/account/password/change/", change)
            .page()
            .limit(Bucket::Password)
            .audited(&["password_change", "session_ended", "login_failed", "account_locked"])
            .about("Change it"),
        post("/portcullis/account/password/code/", send_code)
            .page()
            .limit(Bucket::OtpRequest)
            .audited(&["login_code_requested", "code_sent"])
            .about("Send the code that a first password takes"),
        post("/portcullis/account/password/first/", set_first)
            .page()
            .limit(Bucket::OtpVerify)
            .audited(&["password_change", "session_ended", "code_refused"])
            .about("Set the first one"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::changing_password(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let said = (call.head.query == "sent").then_some(Said::Done("A code is on its way to your phone."));
    whole(&call, &viewer, StatusCode::OK, said).await
}

async fn whole(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    said: Option<Said>,
) -> Result<Reply, ApiError> {
    let own = page_of::own(call, viewer).await?;
    let is_bound = viewer.person.session.scope.is_some();
    let has_one = own.password_hash.is_some();
    let title = match (is_bound, has_one) {
        (true, _) => "Choose a new password",
        (false, true) => "Change your password",
        (false, false) => "Set a password",
    };
    let content = html! {
        @if !is_bound { p.back { a href=(super::ACCOUNT) { "← Your account" } } }
        @if let Some(said) = said { (said.shown()) }
        h1 { (title) }
        @if is_bound { p { "Your password was chosen by somebody else. Before anything else, choose one that only you know." } }
        section {
            @if has_one { (changing(call, viewer)) } @else { (first(call, viewer, &own)) }
            p.meta { "Whoever is logged in to your account, you included, is logged out, and logs in again with the new one." }
        }
    };
    Ok(page(status, title, Some(viewer), &content))
}

fn changing(call: &Call, viewer: &Viewer<'_>) -> Markup {
    html! {
        form method="post" action=(format!("{PASSWORD}change/")) {
            (viewer.proof())
            (viewer.owner())
            label for="current" { "Present password" }
            input id="current" name="current_password" type="password" autocomplete="current-password" required;
            (new_fields(call))
            button type="submit" { "Change it" }
        }
    }
}

/// A new password, twice, and what it must be.
pub(super) fn new_fields(call: &Call) -> Markup {
    let rules = login::policy_of(&call.app.config().accounts.password).requirements();
    html! {
        label for="new" { "New password" }
        input id="new" name="new_password" type="password" autocomplete="new-password" required aria-describedby="rules";
        ul.hints id="rules" { @for rule in &rules { li { (rule) } } li { (ALSO) } }
        label for="again" { "The new one once more" }
        input id="again" name="again" type="password" autocomplete="new-password" required;
    }
}

/// Whether somebody typed the same twice, so that nobody is locked out by a slip.
pub(super) fn is_twice(form: &Form) -> bool {
    form.text("new_password") == form.text("again")
}

fn first(call: &Call, viewer: &Viewer<'_>, own: &Account) -> Markup {
    let can_be_sent = login::codes_are_open(&call.app) && own.phone.is_some() && own.is_phone_verified;
    html! {
        p { "You log in without a password so far." }
        @if can_be_sent {
            form method="post" action=(format!("{PASSWORD}code/")) {
                (viewer.proof())
                button.quiet type="submit" { "Send a code to my phone" }
            }
            form method="post" action=(format!("{PASSWORD}first/")) {
                (viewer.proof())
                (viewer.owner())
                label for="code" { "Code that was sent to your phone" }
                input id="code" name="otp_code" type="text" inputmode="numeric" autocomplete="one-time-code" required
                    maxlength="16";
                (new_fields(call))
                button type="submit" { "Set it" }
            }
        } @else {
            p { "A first password takes a code that is sent to your confirmed phone number, which is not possible here." }
        }
    }
}

/// Who sent a form of this page.
fn entered<'a>(call: &'a Call, form: &Form) -> Result<Viewer<'a>, Box<Reply>> {
    visit::changing_password(call).and_then(|viewer| visit::believed(call, form, viewer))
}

/// The login, where the password is another one now, or the page with what was wrong.
async fn answered(
    call: &Call,
    viewer: &Viewer<'_>,
    outcome: Result<(), ApiError>,
) -> Result<Reply, ApiError> {
    match outcome {
        Ok(()) => lead_to("/portcullis/login/?password-changed")
            .with_cookie(&SetCookie::forget_session(channel(call))),
        Err(error) => refused(call, viewer, error).await,
    }
}

async fn refused(call: &Call, viewer: &Viewer<'_>, error: ApiError) -> Result<Reply, ApiError> {
    let (status, said) = refusal::told(error)?;
    whole(call, viewer, status, Some(said)).await
}

async fn change(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match entered(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !is_twice(&form) {
        return whole(&call, &viewer, StatusCode::BAD_REQUEST, Some(Said::Refused(DIFFERENT))).await;
    }
    let changed = match read_form(form.given(&["current_password", "new_password"])) {
        Ok(wish) => login::change_own_password(&call, wish).await.map(drop),
        Err(error) => Err(error),
    };
    answered(&call, &viewer, changed).await
}

async fn send_code(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match entered(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let own = page_of::own(&call, &viewer).await?;
    let sent = match &own.phone {
        Some(phone) => login::send_login_code(&call, phone).await,
        None => Ok(()),
    };
    match sent {
        Ok(()) => Ok(lead_to("/portcullis/account/password/?sent")),
        Err(error) => refused(&call, &viewer, error).await,
    }
}

async fn set_first(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match entered(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !is_twice(&form) {
        return whole(&call, &viewer, StatusCode::BAD_REQUEST, Some(Said::Refused(DIFFERENT))).await;
    }
    let set = match read_form(form.given(&["otp_code", "new_password"])) {
        Ok(wish) => login::set_first_password(&call, wish).await,
        Err(error) => Err(error),
    };
    answered(&call, &viewer, set).await
}
