//! What an endpoint's refusal says on a page.
//!
//! Law: the sentences are the endpoint's or ours, and what is wrong with a field stands beside what the
//! page calls it. What is our own fault is no answer to a form.

use ::http::StatusCode;
use maud::html;

use super::account::Said;
use super::exact::text;
use super::step;
use crate::http::{ApiError, ErrorCode};

/// What fields of endpoints are called on pages.
const LABELS: [(&str, &str); 17] = [
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("username", "User name"),
    ("bio", "About you"),
    ("timezone", "Time zone"),
    ("language", "Language"),
    ("custom_fields", "What applications keep here"),
    ("email", "E-mail address"),
    ("phone_country_code", "Country code"),
    ("phone_number", "Phone number"),
    ("password", "Password"),
    ("new_password", "New password"),
    ("current_password", "Your password"),
    ("code", "Code"),
    ("otp_code", "Code"),
    ("name", "Name"),
    ("reason", "Reason"),
];

/// A refusal for people, with the status of the page that says it.
pub(super) fn told(error: ApiError) -> Result<(StatusCode, Said), ApiError> {
    let status = error.status();
    if status.is_server_error() {
        return Err(error);
    }
    if let Some(text) = own_words(error.code()) {
        return Ok((status, Said::Refused(text)));
    }
    let error = match step::refusal(error) {
        Ok(text) => return Ok((status, Said::Refused(text))),
        Err(error) => error,
    };
    let problems = error.problems();
    let label = |name: &str| LABELS.iter().find(|(field, _)| *field == name).map(|(_, label)| *label);
    let told = html! {
        @if problems.is_empty() { p { (text(error.sentence())) } }
        @for (field, problem) in &problems {
            p { @if let Some(label) = label(field) { (label) ": " } (text(problem)) }
        }
    };
    Ok((status, Said::Told(told)))
}

/// Where the endpoint speaks to programs.
const fn own_words(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::PasswordlessAccount => "You have no password yet, and this asks for it. Set one first.",
        ErrorCode::HasPassword => "You have a password already.",
        ErrorCode::LoginCodeRequired => "The code is wrong, was used before, or its time is over.",
        ErrorCode::LastFactor => {
            "This stays: it is your only way in. Set a password or add another way first."
        }
        ErrorCode::NotFound => "That was over already.",
        _ => return None,
    })
}
