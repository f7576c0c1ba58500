//! Logging in to pages, and out.
//!
//! Law: the same door as the API's, with the same counting. A new login is a new session with a
//! cookie of its own. Where it leads to is a path of our pages and nothing else.

use ::http::StatusCode;
use ::http::header::{HeaderValue, RETRY_AFTER};
use maud::html;

use super::HOME;
use super::form::{self, Form};
use super::layout::{lead_to, page, trouble};
use super::social::buttons;
use crate::app::App;
use crate::base::{Email, Secret};
use crate::factor::Code;
use crate::http::cookie::{Channel, SetCookie};
use crate::http::{ApiError, Call, Nothing, Reply, error};
use crate::login::{Identifier, Refused, Visitor, log_in};
use crate::session::{self, Device};

pub(super) async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(form_page(&call.app, StatusCode::OK, Ask::Password, next_of(&call.head.query), "", None))
}

pub(super) async fn enter(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let next = local(form.text("next"));
    let said = form.text("email");
    let wrong = || {
        let text = "The e-mail address or the password is wrong.";
        form_page(&call.app, StatusCode::UNAUTHORIZED, Ask::Password, next, said, Some(text))
    };
    let Ok(email) = Email::parse(said) else { return Ok(wrong()) };
    let visitor = Visitor {
        identifier: Identifier::Email(email),
        password: Secret::new(form.text("password").to_owned()),
        code: Code::read(form.text("code")),
        device: Device::guess(call.head.user_agent.as_deref().unwrap_or_default()),
        address: call.head.client,
        actor: call.actor(),
    };
    let app = &call.app;
    match log_in(app, visitor).await {
        Ok(entered) => {
            let (value, good_for) =
                session::page_cookie(&app.seal, app.random.as_ref(), &entered.session, app.now());
            lead_to(next).with_cookie(&SetCookie::session(channel(&call), value, good_for))
        }
        Err(Refused::Wrong) => Ok(wrong()),
        Err(Refused::SecondFactorNeeded) => {
            let text = "This account has a second factor. Enter your password again, and a code.";
            Ok(form_page(&call.app, StatusCode::UNAUTHORIZED, Ask::Code, next, said, Some(text)))
        }
        Err(Refused::SecondFactorWrong) => {
            let text = "The code is wrong, or was used before. Wait for the next one.";
            Ok(form_page(&call.app, StatusCode::UNAUTHORIZED, Ask::Code, next, said, Some(text)))
        }
        Err(Refused::Locked { until }) => {
            let text = "Too many attempts, or this account was locked. Try again later.";
            let reply = form_page(&call.app, StatusCode::LOCKED, Ask::Password, next, said, Some(text));
            Ok(match until {
                Some(until) => reply.with(
                    RETRY_AFTER,
                    HeaderValue::from(error::whole_seconds(until.since(app.now())).max(1)),
                ),
                None => reply,
            })
        }
        Err(Refused::Inactive | Refused::Banned) => Ok(form_page(
            &call.app,
            StatusCode::FORBIDDEN,
            Ask::Password,
            next,
            said,
            Some("This account may not log in."),
        )),
        Err(Refused::SessionLimit | Refused::DeviceLimit) => {
            let text = "You are logged in in too many places. Log out somewhere else first.";
            Ok(form_page(&call.app, StatusCode::FORBIDDEN, Ask::Password, next, said, Some(text)))
        }
        Err(refused @ (Refused::Overloaded | Refused::NoKey | Refused::Store(_))) => {
            tracing::warn!(request_id = call.head.request_id, ?refused, "nobody can log in to pages");
            Ok(trouble(StatusCode::SERVICE_UNAVAILABLE))
        }
    }
}

pub(super) async fn leave(call: Call, form: Form) -> Result<Reply, ApiError> {
    let Some(person) = &call.principal else { return Ok(lead_to("/portcullis/login/")) };
    if !form::is_ours(&call, person.session.sid, &form) {
        return Ok(form::not_ours(&call));
    }
    let mut change = call.app.change(call.actor()).await?;
    if session::log_out(&mut change, person.account.id, person.session.sid).await? {
        change.commit().await?;
    }
    lead_to("/portcullis/login/").with_cookie(&SetCookie::forget_session(channel(&call)))
}

/// To the form, and back to `path` from there.
pub(super) fn first(path: &str) -> Reply {
    lead_to(&format!("/portcullis/login/?next={}", local(path)))
}

/// What the form asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Password,
    /// A code of the second factor as well.
    Code,
}

fn form_page(
    app: &App,
    status: StatusCode,
    ask: Ask,
    next: &str,
    email: &str,
    problem: Option<&str>,
) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Log in" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            form method="post" action="/portcullis/login/" {
                input type="hidden" name="next" value=(next);
                label for="email" { "E-mail address" }
                input id="email" name="email" type="email" autocomplete="username" required maxlength="254"
                    value=(email) autofocus[problem.is_none()];
                label for="password" { "Password" }
                input id="password" name="password" type="password" autocomplete="current-password" required
                    autofocus[problem.is_some()];
                @if ask == Ask::Code {
                    label for="code" { "Code from your authenticator app, or a backup code" }
                    input id="code" name="code" type="text" autocomplete="one-time-code" required maxlength="64"
                        autocapitalize="off" spellcheck="false";
                }
                button type="submit" { "Log in" }
            }
            (buttons(app, next))
        }
    };
    page(status, "Log in", None, &content)
}

/// A path of our pages; where it is anything else, the one where people begin.
pub(super) fn local(path: &str) -> &str {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-".contains(&byte));
    if path.starts_with("/portcullis/") && !path.contains("//") && is_plain { path } else { HOME }
}

pub(super) fn next_of(query: &str) -> &str {
    query.split('&').find_map(|pair| pair.strip_prefix("next=")).map_or(HOME, local)
}

pub(super) fn channel(call: &Call) -> Channel {
    if call.app.config().public_url.is_https { Channel::Https } else { Channel::PlainHttp }
}
