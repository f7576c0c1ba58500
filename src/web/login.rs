//! Logging in to pages, and out.
//!
//! Law: the same door as the API's, with the same counting. A new login is a new session with a
//! cookie of its own. Where it leads to is a path of the same origin and nothing else.

use ::http::StatusCode;
use ::http::header::{HeaderValue, RETRY_AFTER};
use maud::{Markup, html};

use super::HOME;
use super::code;
use super::form::{self, Form};
use super::layout::{lead_to, page, passkey_page, trouble};
use super::link;
use super::passkey;
use super::register;
use super::reset;
use super::social::buttons;
use super::step;
use crate::app::App;
use crate::base::{Email, Phone, Secret};
use crate::directory::UserName;
use crate::factor::Code;
use crate::http::cookie::{Channel, SetCookie};
use crate::http::{ApiError, Call, Nothing, Reply, error};
use crate::login::{
    self, Entered, Identifier, Member, NotFromDirectory, Refused, Visitor, log_in, log_in_with_directory,
    log_in_with_passkey,
};
use crate::passkey::{Identified, begin_login};
use crate::session::{self, Device};

/// The longest path that is come back to: it travels in a sealed cookie.
const NEXT_MAX: usize = 1000;

pub(super) async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let next = next_of(&call.head.query);
    let is_changed = call.head.query == "password-changed";
    form_page(&call, StatusCode::OK, &Ask { is_changed, ..Ask::password(&next) }, None).await
}

pub(super) async fn enter(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let ask = Ask { email: form.text("email"), ..Ask::password(local(form.text("next"))) };
    let wrong = Some("The e-mail address or the password is wrong.");
    let by_phone = || Phone::parse(ask.email).ok().map(Identifier::Phone);
    let Some(identifier) = Email::parse(ask.email).ok().map(Identifier::Email).or_else(by_phone) else {
        return form_page(&call, StatusCode::UNAUTHORIZED, &ask, wrong).await;
    };
    let visitor = Visitor {
        identifier,
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

pub(super) fn inside(call: &Call, entered: &Entered, next: &str) -> Result<Reply, ApiError> {
    step::moved(call, Ok(lead_to(step::first(&entered.session, next))), Some(&entered.session))
}

/// Why somebody is not let in whose first factor was right, or was not looked at.
async fn outside(call: &Call, refused: Refused, ask: Ask<'_>) -> Result<Reply, ApiError> {
    let Some(turned) = Turned::away(call, refused, "Enter your password again, and a code.") else {
        return Ok(trouble(StatusCode::SERVICE_UNAVAILABLE));
    };
    let ask = Ask { is_coded: turned.is_coded, ..ask };
    let reply = form_page(call, turned.status, &ask, Some(&turned.text)).await?;
    Ok(turned.when(reply))
}

/// What somebody is told who is not let in.
pub(super) struct Turned {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// Whether a code of the second factor is asked for.
    pub(super) is_coded: bool,
    /// In seconds.
    wait: Option<u64>,
}

impl Turned {
    /// Nothing where that is our own trouble. `again` is what somebody does who has a second factor.
    pub(super) fn away(call: &Call, refused: Refused, again: &str) -> Option<Self> {
        let (status, text, is_coded, wait) = match refused {
            Refused::Wrong => {
                (StatusCode::UNAUTHORIZED, "That was not right. Try again.".to_owned(), false, None)
            }
            Refused::SecondFactorNeeded => {
                let text = format!("This account has a second factor. {again}");
                (StatusCode::UNAUTHORIZED, text, true, None)
            }
            Refused::SecondFactorWrong => {
                let text = "The code is wrong, or was used before. Wait for the next one.";
                (StatusCode::UNAUTHORIZED, text.to_owned(), true, None)
            }
            Refused::Locked { until } => {
                let text = "Too many attempts, or this account was locked. Try again later.";
                let wait = until.map(|until| error::whole_seconds(until.since(call.app.now())).max(1));
                (StatusCode::LOCKED, text.to_owned(), false, wait)
            }
            Refused::Inactive | Refused::Banned => {
                (StatusCode::FORBIDDEN, "This account may not log in.".to_owned(), false, None)
            }
            Refused::SessionLimit | Refused::DeviceLimit => {
                let text = "You are logged in in too many places. Log out somewhere else first.";
                (StatusCode::FORBIDDEN, text.to_owned(), false, None)
            }
            refused @ (Refused::Overloaded | Refused::NoKey | Refused::Store(_)) => {
                tracing::warn!(request_id = call.head.request_id, ?refused, "nobody can log in to pages");
                return None;
            }
        };
        Some(Self { status, text, is_coded, wait })
    }

    /// The same answer, which says when to come back.
    pub(super) fn when(&self, reply: Reply) -> Reply {
        match self.wait {
            Some(wait) => reply.with(RETRY_AFTER, HeaderValue::from(wait)),
            None => reply,
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
    /// The password, a moment ago.
    is_changed: bool,
}

impl<'a> Ask<'a> {
    const fn password(next: &'a str) -> Self {
        Self { is_coded: false, next, email: "", user: "", is_changed: false }
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
            @if ask.is_changed { p.done role="status" { "Your password was changed. Log in with the new one." } }
            form method="post" action="/portcullis/login/" {
                (next)
                label for="email" { "E-mail address or phone number" }
                input id="email" name="email" type="text" inputmode="email" autocomplete="username" required maxlength="254"
                    autocapitalize="off" spellcheck="false" value=(ask.email) autofocus[problem.is_none()];
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
            (other_ways(&call.app, ask.next))
        }
    };
    Ok(match begun {
        Some(_) => passkey_page(status, "Log in", None, &content),
        None => page(status, "Log in", None, &content),
    })
}

/// Where somebody goes on whom none of that helps.
fn other_ways(app: &App, next: &str) -> Markup {
    let ways = [
        (login::own_link(app).is_some(), link::REQUEST.to_owned(), "Send me a link by mail"),
        (
            login::codes_are_open(app),
            format!("{}?{}", code::CODE, asking_for(next)),
            "Send me a code by text message",
        ),
        (reset::is_open(app), reset::RESET.to_owned(), "I forgot my password"),
        (register::is_open(app), register::REGISTER.to_owned(), "I have no account yet"),
    ];
    html! {
        @if ways.iter().any(|(is_open, ..)| *is_open) {
            ul.links { @for (is_open, way, word) in &ways { @if *is_open { li { a href=(way) { (word) } } } } }
        }
    }
}

pub(super) fn code_field() -> Markup {
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
