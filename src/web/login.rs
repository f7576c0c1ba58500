//! Logging in to pages, and out.
//!
//! Law: the same door as the API's, with the same counting. A new login is a new session with a
//! cookie of its own. Where it leads to is a path of the same origin and nothing else.

use ::http::StatusCode;
use ::http::header::{HeaderValue, RETRY_AFTER};
use maud::{Markup, html};

use super::HOME;
use super::form::{self, Form};
use super::layout::{lead_to, page, passkey_page, trouble};
use super::passkey;
use super::social::buttons;
use super::step;
use crate::base::{Email, Secret};
use crate::directory::UserName;
use crate::factor::Code;
use crate::http::cookie::{Channel, SetCookie};
use crate::http::{ApiError, Call, Nothing, Reply, error};
use crate::login::{
    Entered, Identifier, Member, NotFromDirectory, Refused, Visitor, log_in, log_in_with_directory,
    log_in_with_passkey,
};
use crate::passkey::{Identified, begin_login};
use crate::session::{self, Device};

/// The longest path that is come back to: it travels in a sealed cookie.
const NEXT_MAX: usize = 1000;

pub(super) async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let next = next_of(&call.head.query);
    form_page(&call, StatusCode::OK, &Ask::password(&next), None).await
}

pub(super) async fn enter(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let ask = Ask { email: form.text("email"), ..Ask::password(local(form.text("next"))) };
    let wrong = Some("The e-mail address or the password is wrong.");
    let Ok(email) = Email::parse(ask.email) else {
        return form_page(&call, StatusCode::UNAUTHORIZED, &ask, wrong).await;
    };
    let visitor = Visitor {
        identifier: Identifier::Email(email),
        password: Secret::new(form.text("password").to_owned()),
        code: Code::read(form.text("code")),
        device: device(&call),
        address: call.head.client,
        actor: call.actor(),
    };
    match log_in(&call.app, visitor).await {
        Ok(entered) => inside(&call, &entered, ask.next),
        Err(Refused::Wrong) => form_page(&call, StatusCode::UNAUTHORIZED, &ask, wrong).await,
        Err(refused) => outside(&call, refused, ask).await,
    }
}

pub(super) async fn enter_with_passkey(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let ask = Ask::password(local(form.text("next")));
    let wrong = Some("That passkey was not accepted, or it took too long. Try again.");
    let Some(presented) = passkey::presented(&form) else {
        return form_page(&call, StatusCode::UNAUTHORIZED, &ask, wrong).await;
    };
    let (address, actor) = (call.head.client, call.actor());
    match log_in_with_passkey(&call.app, presented, device(&call), address, actor).await {
        Ok(entered) => inside(&call, &entered, ask.next),
        Err(Refused::Wrong) => form_page(&call, StatusCode::UNAUTHORIZED, &ask, wrong).await,
        Err(refused) => outside(&call, refused, ask).await,
    }
}

pub(super) async fn enter_with_directory(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let next = local(form.text("next"));
    let ask = Ask { user: form.text("username"), ..Ask::password(next) };
    let wrong = Some("The user name or the password is wrong.");
    let password = Secret::new(form.text("password").to_owned());
    let Some(user) = UserName::parse(ask.user).ok().filter(|_| !password.expose().is_empty()) else {
        return form_page(&call, StatusCode::UNAUTHORIZED, &ask, wrong).await;
    };
    let member = Member { user, password, code: Code::read(form.text("code")) };
    let entered =
        log_in_with_directory(&call.app, member, device(&call), call.head.client, call.actor()).await;
    let (status, text) = match entered {
        Ok(entered) => return inside(&call, &entered, next),
        Err(NotFromDirectory::Login(Refused::Wrong)) => (StatusCode::UNAUTHORIZED, wrong),
        Err(NotFromDirectory::Login(refused)) => return outside(&call, refused, ask).await,
        Err(NotFromDirectory::Exists) => {
            let text = "There is an account with your e-mail address. Log in to it another way.";
            (StatusCode::CONFLICT, Some(text))
        }
        Err(NotFromDirectory::Closed) => (StatusCode::FORBIDDEN, Some("There is no account for you here.")),
        Err(NotFromDirectory::NoDirectory | NotFromDirectory::Unavailable) => {
            return Ok(trouble(StatusCode::SERVICE_UNAVAILABLE));
        }
    };
    form_page(&call, status, &ask, text).await
}

fn device(call: &Call) -> Device {
    Device::guess(call.head.user_agent.as_deref().unwrap_or_default())
}

fn inside(call: &Call, entered: &Entered, next: &str) -> Result<Reply, ApiError> {
    step::moved(call, Ok(lead_to(step::first(&entered.session, next))), Some(&entered.session))
}

/// Why somebody is not let in whose first factor was right, or was not looked at.
async fn outside(call: &Call, refused: Refused, ask: Ask<'_>) -> Result<Reply, ApiError> {
    let coded = Ask { is_coded: true, ..ask };
    let (status, ask, text) = match refused {
        Refused::Wrong => (StatusCode::UNAUTHORIZED, ask, "That was not right. Try again."),
        Refused::SecondFactorNeeded => (
            StatusCode::UNAUTHORIZED,
            coded,
            "This account has a second factor. Enter your password again, and a code.",
        ),
        Refused::SecondFactorWrong => {
            (StatusCode::UNAUTHORIZED, coded, "The code is wrong, or was used before. Wait for the next one.")
        }
        Refused::Locked { until } => {
            let text = "Too many attempts, or this account was locked. Try again later.";
            let reply = form_page(call, StatusCode::LOCKED, &ask, Some(text)).await?;
            let wait = until.map(|until| error::whole_seconds(until.since(call.app.now())).max(1));
            return Ok(match wait {
                Some(wait) => reply.with(RETRY_AFTER, HeaderValue::from(wait)),
                None => reply,
            });
        }
        Refused::Inactive | Refused::Banned => (StatusCode::FORBIDDEN, ask, "This account may not log in."),
        Refused::SessionLimit | Refused::DeviceLimit => (
            StatusCode::FORBIDDEN,
            ask,
            "You are logged in in too many places. Log out somewhere else first.",
        ),
        refused @ (Refused::Overloaded | Refused::NoKey | Refused::Store(_)) => {
            tracing::warn!(request_id = call.head.request_id, ?refused, "nobody can log in to pages");
            return Ok(trouble(StatusCode::SERVICE_UNAVAILABLE));
        }
    };
    form_page(call, status, &ask, Some(text)).await
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

/// To the form, and back to `path`, which may have a query, from there.
pub fn first(path: &str) -> Reply {
    lead_to(&format!("/portcullis/login/?{}", asking_for(local(path))))
}

/// A path as a query says it.
pub(super) fn asking_for(next: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish()
}

/// What the form asks for, and what it knows already.
#[derive(Clone, Copy)]
struct Ask<'a> {
    /// A code of the second factor as well.
    is_coded: bool,
    next: &'a str,
    email: &'a str,
    /// In the directory.
    user: &'a str,
}

impl<'a> Ask<'a> {
    const fn password(next: &'a str) -> Self {
        Self { is_coded: false, next, email: "", user: "" }
    }
}

async fn form_page(
    call: &Call,
    status: StatusCode,
    ask: &Ask<'_>,
    problem: Option<&str>,
) -> Result<Reply, ApiError> {
    let next = html! { input type="hidden" name="next" value=(ask.next); };
    let begun = if passkey::are_here(call) {
        begin_login(&call.app, call.actor().site, Identified::ByPasskey).await?
    } else {
        None
    };
    let content = html! {
        div.narrow {
            h1 { "Log in" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            form method="post" action="/portcullis/login/" {
                (next)
                label for="email" { "E-mail address" }
                input id="email" name="email" type="email" autocomplete="username" required maxlength="254"
                    value=(ask.email) autofocus[problem.is_none()];
                label for="password" { "Password" }
                input id="password" name="password" type="password" autocomplete="current-password" required
                    autofocus[problem.is_some()];
                @if ask.is_coded && ask.user.is_empty() { (code_field()) }
                button type="submit" { "Log in" }
            }
            @if let Some(begun) = &begun {
                (passkey::question("get", "/portcullis/login/passkey/", begun, &next, "Log in with a passkey"))
            }
            @if call.app.config().login.ldap.is_some() { (directory_form(ask, &next)) }
            (buttons(&call.app, ask.next))
        }
    };
    Ok(match begun {
        Some(_) => passkey_page(status, "Log in", None, &content),
        None => page(status, "Log in", None, &content),
    })
}

fn code_field() -> Markup {
    html! {
        label for="code" { "Code from your authenticator app, or a backup code" }
        input id="code" name="code" type="text" autocomplete="one-time-code" required maxlength="64"
            autocapitalize="off" spellcheck="false";
    }
}

fn directory_form(ask: &Ask<'_>, next: &Markup) -> Markup {
    html! {
        form method="post" action="/portcullis/login/ldap/" {
            (next)
            label for="username" { "User name in the directory" }
            input id="username" name="username" type="text" autocomplete="username" required maxlength="128"
                autocapitalize="off" spellcheck="false" value=(ask.user);
            label for="directory-password" { "Password in the directory" }
            input id="directory-password" name="password" type="password" autocomplete="current-password"
                required;
            @if ask.is_coded && !ask.user.is_empty() { (code_field()) }
            button type="submit" { "Log in with the directory" }
        }
    }
}

/// A path of this origin that no browser reads as anything else; where it is not, the one where people begin.
pub(super) fn local(path: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%?&=+,:;@!$'()*".contains(&byte);
    let before_query = path.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let is_doubtful = ["//", "%2f", "%5c"].iter().any(|part| before_query.contains(part));
    let is_here = path.starts_with('/') && path.len() <= NEXT_MAX && path.bytes().all(is_plain);
    if is_here && !is_doubtful { path } else { HOME }
}

pub(super) fn next_of(query: &str) -> String {
    let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    next.map_or(HOME.to_owned(), |(_, path)| local(&path).to_owned())
}

pub(super) fn channel(call: &Call) -> Channel {
    if call.app.config().public_url.is_https { Channel::Https } else { Channel::PlainHttp }
}
