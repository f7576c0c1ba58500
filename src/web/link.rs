//! The page that a link in a mail leads to: a button, because what only looks must use nothing up.
//!
//! Law: programs open links before people do, to see where they lead. So a `GET` logs nobody in, unless
//! it names an application by its keys, which no such program has. The token stands in the form and in
//! no address from then on; what is not a token of ours is not written into a page.

use ::http::header::{HeaderValue, REFERRER_POLICY};
use ::http::{Method, StatusCode};
use maud::html;
use schemars::JsonSchema;

use super::HOME;
use super::form::{self, Form};
use super::layout::{page, switched_off, trouble};
use super::login::{Turned, inside};
use crate::base::{Email, Secret};
use crate::factor::Code;
use crate::http::{ApiError, Call, Fields, FromFields, Nothing, Query, Reply};
use crate::login::{self, Follower, Place, Refused};
use crate::session::{Device, MAX_DEVICE_LEN};

/// Where the form goes.
pub(super) const ENTER: &str = "/portcullis/link/";
/// Where somebody asks for one.
pub(super) const REQUEST: &str = "/portcullis/login/link/";
const TOKEN_LEN: usize = 43;
const TOKEN_MAX: usize = 128;

/// What stands in a link.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "MagicLink")]
pub(super) struct Followed {
    #[schemars(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    device_info: Option<String>,
}

impl FromFields for Followed {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let token = fields.optional("token").max(TOKEN_MAX).or_blank().secret();
        let device_info = fields.optional("device_info").max(MAX_DEVICE_LEN).or_blank().text();
        Some(Self { token, device_info })
    }
}

pub(super) async fn look(call: Call, Query(followed): Query<Followed>) -> Result<Reply, ApiError> {
    if call.application.is_some() && call.head.method == Method::GET {
        let device = followed.device_info.and_then(|text| Device::parse(&text).ok());
        let device = device.filter(|device| !device.as_str().is_empty());
        return login::answer_link(&call, followed.token, device).await;
    }
    let token = followed.token.filter(|token| is_token(token.expose()));
    Ok(match token.filter(|_| login::links_are_open(&call.app)) {
        Some(token) => button(StatusCode::OK, &token, Ask::Nothing, None),
        None => over(),
    })
}

pub(super) async fn enter(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let token = Secret::new(form.text("token").to_owned());
    if !is_token(token.expose()) || !login::links_are_open(&call.app) {
        return Ok(over());
    }
    let follower = Follower {
        token: token.clone(),
        code: Code::read(form.text("code")),
        place: Place::Page,
        device: Device::guess(call.head.user_agent.as_deref().unwrap_or_default()),
        address: call.head.client,
        actor: call.actor(),
    };
    match login::follow(&call.app, follower).await {
        Ok(entered) => inside(&call, &entered, HOME),
        Err(Refused::Wrong | Refused::Inactive | Refused::Banned) => Ok(over()),
        Err(refused) => Ok(match Turned::away(&call, refused, "Enter a code of it.") {
            Some(turned) => {
                let ask = if turned.is_coded { Ask::Code } else { Ask::Nothing };
                turned.when(button(turned.status, &token, ask, Some(&turned.text)))
            }
            None => trouble(StatusCode::SERVICE_UNAVAILABLE),
        }),
    }
}

/// The form of who wants a link.
pub(super) async fn ask(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(match login::own_link(&call.app) {
        Some(_) => asking(StatusCode::OK, "", None),
        None => switched_off(),
    })
}

fn asking(status: StatusCode, email: &str, problem: Option<&str>) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Log in by mail" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            p { "We send a link to the address that you have confirmed. It logs you in once." }
            form method="post" action=(REQUEST) {
                label for="email" { "E-mail address" }
                input id="email" name="email" type="email" autocomplete="username" required maxlength="254" value=(email)
                    autofocus;
                button type="submit" { "Send me a link" }
            }
            p { a href="/portcullis/login/" { "Log in another way" } }
        }
    };
    page(status, "Log in by mail", None, &content)
}

/// Says the same about every address.
pub(super) async fn send(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let Ok(email) = Email::parse(form.text("email")) else {
        let text = "That is no e-mail address.";
        return Ok(asking(StatusCode::BAD_REQUEST, form.text("email"), Some(text)));
    };
    login::send_own_link(&call, &email).await?;
    let content = html! {
        div.narrow {
            h1 { "Look into your mail" }
            p { "If there is an account with " strong { (email) } ", and the address is confirmed, a link is on its way." }
            p { a href="/portcullis/login/" { "Log in another way" } }
        }
    };
    Ok(page(StatusCode::OK, "Look into your mail", None, &content))
}

/// What the form asks for beside the button.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Nothing,
    /// A code of the second factor.
    Code,
}

fn button(status: StatusCode, token: &Secret<String>, ask: Ask, problem: Option<&str>) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Log in" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            @else { p { "You followed a link that logs you in here. It counts once, when you press the button." } }
            form method="post" action=(ENTER) {
                input type="hidden" name="token" value=(token.expose());
                @if ask == Ask::Code {
                    label for="code" { "Code from your authenticator app, or a backup code" }
                    input id="code" name="code" type="text" autocomplete="one-time-code" required maxlength="64"
                        autocapitalize="off" spellcheck="false" autofocus;
                }
                button type="submit" { "Log in" }
            }
        }
    };
    quiet(page(status, "Log in", None, &content))
}

/// Whatever was wrong with a link.
fn over() -> Reply {
    let content = html! {
        div.narrow {
            h1 { "This link opens nothing" }
            p { "It was used, its time is over, a newer one was sent, or it is not whole. Ask for another one." }
            p { a href="/portcullis/login/" { "Log in another way" } }
        }
    };
    quiet(page(StatusCode::UNAUTHORIZED, "Not logged in", None, &content))
}

/// The address of the page holds a token, so no request that it leads to names more of it than the
/// origin, which our form must name.
pub(super) fn quiet(reply: Reply) -> Reply {
    reply.with(REFERRER_POLICY, HeaderValue::from_static("strict-origin"))
}

pub(super) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_LEN && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
