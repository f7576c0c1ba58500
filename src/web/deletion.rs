//! The page that a link leads to which confirms that an account is to be deleted: a button.
//!
//! Law: programs open links before people do, so looking confirms nothing. Who followed the link need not
//! be logged in; what was wrong with it is not told.

use ::http::StatusCode;
use maud::html;
use schemars::JsonSchema;

use super::form::{self, Form};
use super::layout::{moment, page};
use super::link::{is_token, quiet};
use crate::base::Secret;
use crate::http::{ApiError, Call, Fields, FromFields, Query, Reply};
use crate::login::Place;
use crate::privacy;

pub(super) use crate::privacy::PAGE;

const TITLE: &str = "Delete your account";
const TOKEN_MAX: usize = 128;

/// What stands in a link.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DeletionLink")]
pub(super) struct Followed {
    #[schemars(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
}

impl FromFields for Followed {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.optional("token").max(TOKEN_MAX).or_blank().secret() })
    }
}

pub(super) async fn look(_: Call, Query(followed): Query<Followed>) -> Result<Reply, ApiError> {
    let Some(token) = followed.token.filter(|token| is_token(token.expose())) else { return Ok(over()) };
    let content = html! {
        div.narrow {
            h1 { (TITLE) }
            p {
                "You followed a link that confirms that your account is to be deleted. It counts once, when you press the \
                 button. From then on there is some time left in which you can log in and call it off."
            }
            form method="post" action=(PAGE) {
                input type="hidden" name="token" value=(token.expose());
                button type="submit" { "Delete my account" }
            }
        }
    };
    Ok(quiet(page(StatusCode::OK, TITLE, None, &content)))
}

pub(super) async fn confirm(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let token = Secret::new(form.text("token").to_owned());
    if !is_token(token.expose()) {
        return Ok(over());
    }
    let done = privacy::confirm(&call.app, &token, Place::Page, call.actor()).await?;
    let Some(due_at) = done.and_then(|done| done.due_at) else { return Ok(over()) };
    let content = html! {
        div.narrow {
            h1 { (TITLE) }
            p { "Confirmed. Your account will be deleted after " (moment(due_at)) "." }
            p { "Until then you can log in as before, and call it off." }
        }
    };
    Ok(quiet(page(StatusCode::OK, TITLE, None, &content)))
}

/// Whatever was wrong with a link.
fn over() -> Reply {
    let content = html! {
        div.narrow {
            h1 { "This link confirms nothing" }
            p { "It was used, its time is over, it was called off or asked for again, or it is not whole." }
        }
    };
    quiet(page(StatusCode::NOT_FOUND, "Not confirmed", None, &content))
}
