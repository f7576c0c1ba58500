//! Proving on a page, once more, who one is, before a way in is added or taken away.
//!
//! Law: what is asked for is what the API asks for in the same place; what was wrong is said in our
//! own words.

use maud::{Markup, html};

use super::factor::SECOND_FACTOR;
use super::form::Form;
use super::layout::Viewer;
use super::login::channel;
use super::password::PASSWORD;
use crate::account::Account;
use crate::base::Secret;
use crate::factor::Code;
use crate::http::cookie::SetCookie;
use crate::http::{ApiError, Call, ErrorCode, Reply};
use crate::login::{self, Step};
use crate::principal::Scope;
use crate::session::{self, Session};

/// The fields that a form needs beside its own.
pub(super) async fn fields(
    call: &Call,
    viewer: &Viewer<'_>,
    own: &Account,
    id: &str,
) -> Result<Markup, ApiError> {
    Ok(match login::step_of(call, own).await? {
        Step::Done => html! {},
        Step::Password => html! {
            (viewer.owner())
            label for=(format!("{id}-password")) { "Your password" }
            input id=(format!("{id}-password")) name="password" type="password" autocomplete="current-password" required;
        },
        Step::SecondFactor if own.second_factor_at.is_none() => html! {
            p.meta { "Your login is too old for this: log out, and log in with your passkey again." }
        },
        Step::SecondFactor => html! {
            label for=(format!("{id}-code")) { "Code from your authenticator app, or a backup code" }
            input id=(format!("{id}-code")) name="code" type="text" autocomplete="one-time-code" required maxlength="64"
                autocapitalize="off" spellcheck="false";
        },
        Step::LogIn => html! { p.meta { "Your login is too old for this: log out and log in again first." } },
    })
}

/// The password in a form; an empty one was not given.
pub(super) fn password(form: &Form) -> Option<Secret<String>> {
    let given = form.text("password");
    (!given.is_empty()).then(|| Secret::new(given.to_owned()))
}

/// Takes what the form holds of it; with the session that is now in the place of the browser's, if one is.
pub(super) async fn take(call: &Call, own: &Account, form: &Form) -> Result<Option<Session>, ApiError> {
    if let (Step::SecondFactor, Some(code)) =
        (login::step_of(call, own).await?, Code::read(form.text("code")))
    {
        return login::prove_again(call, own, &code).await.map(|entered| Some(entered.session));
    }
    login::step_up(call, own, password(form)).await.map(|()| None)
}

/// Where somebody goes who has just logged in: who may do one thing alone, to where it is done.
pub(super) fn first<'a>(session: &Session, next: &'a str) -> &'a str {
    match session.scope {
        Some(Scope::SecondFactorSetupOnly) => SECOND_FACTOR,
        Some(Scope::PasswordChangeOnly) => PASSWORD,
        None => next,
    }
}

/// The same answer, which moves the browser to another session, if there is one: the old one is over
/// whatever became of what was asked.
pub(super) fn moved(
    call: &Call,
    answer: Result<Reply, ApiError>,
    to: Option<&Session>,
) -> Result<Reply, ApiError> {
    let Some(session) = to else { return answer };
    let app = &call.app;
    let (value, good_for) = session::page_cookie(&app.seal, app.random.as_ref(), session, app.now());
    let cookie = SetCookie::session(channel(call), value, good_for);
    match answer {
        Ok(reply) => reply.with_cookie(&cookie),
        Err(error) => Err(error.with_cookie(&cookie)),
    }
}

/// What a refusal says on a page; others than these are no answer to a form.
pub(super) fn refusal(error: ApiError) -> Result<&'static str, ApiError> {
    Ok(match error.code() {
        ErrorCode::InvalidPassword => "The password is wrong. Nothing was changed.",
        ErrorCode::ReauthRequired => "Enter your password. Nothing was changed.",
        ErrorCode::InvalidCode => "The code is wrong, or was used before. Wait for the next one.",
        ErrorCode::CodeRequired | ErrorCode::MfaRequired => "Enter a code of your second factor.",
        ErrorCode::AccountLocked => "Too many attempts. Try again later.",
        ErrorCode::ReauthenticationRequired | ErrorCode::PasswordlessAccount => {
            "Your login is too old for this. Log out, and log in again."
        }
        ErrorCode::RegistrationFailed => {
            "The passkey was not added: it took too long, or the device cannot tell who uses it."
        }
        ErrorCode::TooManyPasskeys => "You have as many passkeys as you may. Remove one first.",
        ErrorCode::LastFactor => "This passkey stays: without a password, it is your only way in.",
        ErrorCode::CredentialNotFound => "That passkey was removed already.",
        _ => return Err(error),
    })
}
