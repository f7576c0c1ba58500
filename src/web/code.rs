//! Logging in with a code that comes by text message: asking for it, and typing it.
//!
//! Law: only where that way in is open, and by the same functions as `login/otp/`. A page says the same
//! about every number.

use ::http::StatusCode;
use maud::{Markup, html};

use super::form::{self, Form};
use super::layout::{page, switched_off, trouble};
use super::login::{Turned, code_field, inside, local, next_of};
use super::refusal;
use crate::base::Phone;
use crate::http::{ApiError, Bucket, Call, Nothing, Reply, Row, get, post, read_form};
use crate::login::{self, LOGIN_EVENTS, Refused, TypedCode};

pub(super) const CODE: &str = "/portcullis/login/code/";
const WRONG: &str = "The code is wrong, was used before, or its time is over.";

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(CODE, show).page().about("The form of who wants a code to log in with"),
        post("/portcullis/login/code/send/", send)
            .page()
            .limit(Bucket::OtpRequest)
            .audited(&["login_code_requested", "code_sent"])
            .about("Send a code to log in with"),
        post(CODE, enter)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["code_refused"])
            .about("Log in with the code that was sent"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    if !login::codes_are_open(&call.app) {
        return Ok(switched_off());
    }
    Ok(asking(StatusCode::OK, &next_of(&call.head.query), None, &html! {}))
}

/// The two fields in which a number is typed.
pub(super) fn phone_fields(form: Option<&Form>) -> Markup {
    let text = |name: &str| form.map_or("", |form| form.text(name)).to_owned();
    html! {
        label for="country" { "Country code, such as 49" }
        input id="country" name="phone_country_code" type="text" inputmode="tel" autocomplete="tel-country-code"
            required maxlength="5" value=(text("phone_country_code"));
        label for="number" { "Phone number" }
        input id="number" name="phone_number" type="tel" autocomplete="tel-national" required maxlength="20"
            value=(text("phone_number"));
    }
}

fn asking(status: StatusCode, next: &str, form: Option<&Form>, said: &Markup) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Log in by text message" }
            (said)
            p { "We send a code to the phone number that you have confirmed." }
            form method="post" action="/portcullis/login/code/send/" {
                input type="hidden" name="next" value=(next);
                (phone_fields(form))
                button type="submit" { "Send me a code" }
            }
            p { a href="/portcullis/login/" { "Log in another way" } }
        }
    };
    page(status, "Log in by text message", None, &content)
}

async fn send(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let next = local(form.text("next"));
    let number = Phone::from_parts(form.text("phone_country_code"), form.text("phone_number"));
    let sent = match number {
        Ok(phone) => login::send_login_code(&call, &phone).await,
        Err(why) => Err(ApiError::invalid("phone_number", &[why.to_string()])),
    };
    match sent {
        Ok(()) => Ok(typing(StatusCode::OK, &form, false, None)),
        Err(error) => {
            let (status, said) = refusal::told(error)?;
            Ok(asking(status, next, Some(&form), &said.shown()))
        }
    }
}

fn typing(status: StatusCode, form: &Form, is_coded: bool, problem: Option<&str>) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Log in by text message" }
            @match problem {
                Some(problem) => p.problem role="alert" { (problem) },
                None => p { "If there is an account with this number, and the number is confirmed, a code is on its way." },
            }
            form method="post" action=(CODE) {
                input type="hidden" name="next" value=(local(form.text("next")));
                input type="hidden" name="phone_country_code" value=(form.text("phone_country_code"));
                input type="hidden" name="phone_number" value=(form.text("phone_number"));
                label for="otp" { "Code that was sent to your phone" }
                input id="otp" name="otp_code" type="text" inputmode="numeric" autocomplete="one-time-code" required
                    maxlength="16" value=(form.text("otp_code")) autofocus[!is_coded];
                @if is_coded { (code_field()) }
                button type="submit" { "Log in" }
            }
            p { a href=(CODE) { "Begin again" } }
        }
    };
    page(status, "Log in by text message", None, &content)
}

async fn enter(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    if !login::codes_are_open(&call.app) {
        return Ok(switched_off());
    }
    let mut given = form.given(&["phone_country_code", "phone_number", "otp_code"]);
    given.extend(form.given(&["code"]).remove("code").map(|code| ("totp_code".to_owned(), code)));
    let typed: TypedCode = match read_form(given) {
        Ok(typed) => typed,
        Err(_) => return Ok(typing(StatusCode::UNAUTHORIZED, &form, form.has("code"), Some(WRONG))),
    };
    match login::log_in_with_code(&call, typed).await {
        Ok(entered) => inside(&call, &entered, local(form.text("next"))),
        Err(Refused::Wrong) => Ok(typing(StatusCode::UNAUTHORIZED, &form, form.has("code"), Some(WRONG))),
        Err(refused) => Ok(match Turned::away(&call, refused, "Enter a code of it.") {
            Some(turned) => turned.when(typing(turned.status, &form, turned.is_coded, Some(&turned.text))),
            None => trouble(StatusCode::SERVICE_UNAVAILABLE),
        }),
    }
}
