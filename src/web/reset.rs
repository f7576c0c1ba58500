//! Forgotten passwords: asking for a code or a link, and the page that both lead to.
//!
//! Law: by the same functions as `password/reset/`, and only where something can be sent. A page says the same
//! about every address, looking at a link uses nothing up, and what is no token of ours is not written into a page.

use ::http::StatusCode;
use maud::{Markup, html};
use schemars::JsonSchema;

use super::code::phone_fields;
use super::form::{self, Form};
use super::layout::{lead_to, page, switched_off};
use super::link::{is_token, quiet};
use super::password::{is_twice, new_fields};
use super::refusal;
use crate::app::App;
use crate::audit::Contact;
use crate::base::Secret;
use crate::http::{
    ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Query, Reply, Row, get, post, read_form,
};
use crate::login;
use crate::otp;

pub(super) const RESET: &str = "/portcullis/reset/";
const TOKEN_MAX: usize = 128;
/// What names somebody.
const WHO: [&str; 3] = ["email", "phone_country_code", "phone_number"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(RESET, show).page().about("The form of who forgot a password, and the page of the link"),
        post("/portcullis/reset/send/", send)
            .page()
            .limit(Bucket::PasswordReset)
            .audited(&["password_reset_request", "code_sent"])
            .about("Send what resets a forgotten password"),
        post(RESET, confirm)
            .page()
            .limit(Bucket::OtpVerify)
            .audited(&[
                "password_reset_complete",
                "password_change",
                "session_ended",
                "email_verified",
                "phone_verified",
                "code_refused",
            ])
            .about("Set a new password with what was sent"),
    ]
}

/// Whether anything can be sent.
pub(super) fn is_open(app: &App) -> bool {
    otp::has_way(app, Contact::Email) || otp::has_way(app, Contact::Phone)
}

/// What stands in a link.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ResetLink")]
struct Followed {
    #[schemars(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
}

impl FromFields for Followed {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.optional("token").max(TOKEN_MAX).or_blank().secret() })
    }
}

async fn show(call: Call, Query(followed): Query<Followed>) -> Result<Reply, ApiError> {
    if !is_open(&call.app) {
        return Ok(switched_off());
    }
    Ok(match followed.token {
        Some(token) if is_token(token.expose()) => {
            choosing(&call, StatusCode::OK, &by_link(&token), &html! {})
        }
        Some(_) => {
            let said = html! { p.problem role="alert" { "That link is not whole. Ask for another one." } };
            asking(&call, StatusCode::BAD_REQUEST, None, &said)
        }
        None => asking(&call, StatusCode::OK, None, &html! {}),
    })
}

fn asking(call: &Call, status: StatusCode, form: Option<&Form>, said: &Markup) -> Reply {
    let email = form.map_or("", |form| form.text("email"));
    let by_phone = form.is_some_and(|form| form.has("phone_number"));
    let (by_mail, by_text) =
        (otp::has_way(&call.app, Contact::Email), otp::has_way(&call.app, Contact::Phone));
    let content = html! {
        div.narrow {
            h1 { "Forgotten password" }
            (said)
            @if by_mail {
                p { "We send a code to your e-mail address, with which you choose a new one." }
                form method="post" action="/portcullis/reset/send/" {
                    label for="email" { "E-mail address" }
                    input id="email" name="email" type="email" autocomplete="username" required maxlength="254" value=(email);
                    button type="submit" { "Send me a code" }
                }
            }
            @if by_text {
                details open[by_phone || !by_mail] {
                    summary { "By text message to my phone" }
                    form method="post" action="/portcullis/reset/send/" {
                        (phone_fields(form.filter(|_| by_phone)))
                        button type="submit" { "Send me a code" }
                    }
                }
            }
            p { a href="/portcullis/login/" { "To the login page" } }
        }
    };
    page(status, "Forgotten password", None, &content)
}

async fn send(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let sent = match read_form(form.given(&WHO)) {
        Ok(wish) => login::ask_for_reset(&call, wish).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => {
            let said = html! { p { "If there is an account of yours, a message is on its way." } };
            Ok(choosing(&call, StatusCode::OK, &by_code(&form), &said))
        }
        Err(error) => {
            let (status, said) = refusal::told(error)?;
            Ok(asking(&call, status, Some(&form), &said.shown()))
        }
    }
}

/// What a form holds that was led to by a link.
fn by_link(token: &Secret<String>) -> Markup {
    html! { input type="hidden" name="token" value=(token.expose()); }
}

/// What a form holds that asks for a code.
fn by_code(form: &Form) -> Markup {
    html! {
        @for name in WHO {
            @if !form.text(name).is_empty() { input type="hidden" name=(name) value=(form.text(name)); }
        }
        label for="code" { "Code that was sent to you" }
        input id="code" name="otp_code" type="text" inputmode="numeric" autocomplete="one-time-code" required
            maxlength="16" value=(form.text("otp_code"));
    }
}

fn choosing(call: &Call, status: StatusCode, proof: &Markup, said: &Markup) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Choose a new password" }
            (said)
            form method="post" action=(RESET) {
                (proof)
                (new_fields(call))
                button type="submit" { "Set it" }
            }
            p.meta { "Whoever is logged in to your account is logged out." }
            p { a href=(RESET) { "Begin again" } }
        }
    };
    quiet(page(status, "Choose a new password", None, &content))
}

async fn confirm(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let token = Secret::new(form.text("token").to_owned());
    let proof = if is_token(token.expose()) { by_link(&token) } else { by_code(&form) };
    if !is_twice(&form) {
        let said =
            html! { p.problem role="alert" { "You typed two different passwords. Nothing was changed." } };
        return Ok(choosing(&call, StatusCode::BAD_REQUEST, &proof, &said));
    }
    let names = ["email", "phone_country_code", "phone_number", "otp_code", "token", "new_password"];
    let done = match read_form(form.given(&names)) {
        Ok(wish) => login::reset_password(&call, wish).await.map(drop),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => Ok(lead_to("/portcullis/login/?password-changed")),
        Err(error) if error.code() == ErrorCode::ResetFailed => {
            let text = "The code or link is wrong, was used before, or its time is over.";
            let said = html! { p.problem role="alert" { (text) } };
            Ok(choosing(&call, StatusCode::BAD_REQUEST, &proof, &said))
        }
        Err(error) => {
            let (status, said) = refusal::told(error)?;
            Ok(choosing(&call, status, &proof, &said.shown()))
        }
    }
}
