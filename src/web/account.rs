//! The page of one's own account: who one is here, and everything that opens it or acts for it.
//!
//! Law: it shows what is the person's own and nothing else. What it says after a deed is one of our
//! own sentences, chosen by a word in its address.

use ::http::StatusCode;
use maud::{Markup, html};

use super::api_key::KEYS;
use super::connection::CONNECTIONS;
use super::data::DATA;
use super::layout::{Viewer, moment, passkey_page};
use super::password::PASSWORD;
use super::profile::{PROFILE, name_of};
use super::visit;
use super::{agent, factor, passkey, session};
use crate::account::{self, Account};
use crate::http::{ApiError, Call, ErrorCode, Nothing, Reply};

/// What may be said at the top of the page.
const SAID: [(&str, &str); 10] = [
    ("session-ended", "That session has ended."),
    ("sessions-ended", "Every other session has ended."),
    ("agent-stopped", "The agent was stopped. Nothing is let through in its name."),
    ("agent-resumed", "The agent may go on."),
    ("passkey-added", "The passkey was added."),
    ("passkey-renamed", "The passkey has its new name."),
    ("passkey-removed", "The passkey was removed."),
    ("factor-on", "The second factor is on."),
    ("factor-off", "The second factor is off."),
    ("gone", "That was over already."),
];

pub(super) async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let said = SAID.iter().find(|(word, _)| *word == call.head.query).map(|(_, text)| *text);
    whole(&call, &viewer, StatusCode::OK, said.map(Said::Done)).await
}

/// What the page says about what was asked of it.
pub(super) enum Said {
    Done(&'static str),
    Refused(&'static str),
    /// What an endpoint would have answered.
    Told(Markup),
}

impl Said {
    pub(super) fn shown(&self) -> Markup {
        match self {
            Self::Done(text) => html! { p.done role="status" { (text) } },
            Self::Refused(text) => html! { p.problem role="alert" { (text) } },
            Self::Told(told) => html! { div.problem role="alert" { (told) } },
        }
    }
}

/// The whole page.
pub(super) async fn whole(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    said: Option<Said>,
) -> Result<Reply, ApiError> {
    let own = own(call, viewer).await?;
    let content = html! {
        @if let Some(said) = said { (said.shown()) }
        h1 { "Your account" }
        (profile(&own))
        (factor::section(call, &own).await?)
        (passkey::section(call, viewer, &own).await?)
        (session::section(call, viewer).await?)
        (agent::section(call, viewer).await?)
    };
    Ok(passkey_page(status, "Your account", Some(viewer), &content))
}

/// The account of whoever looks.
pub(super) async fn own(call: &Call, viewer: &Viewer<'_>) -> Result<Account, ApiError> {
    let own = account::by_id(&call.app.db, viewer.person.account.id).await?;
    own.ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

/// Whether an address or a number was shown to be theirs.
pub(super) fn confirmed(is_so: bool) -> Markup {
    let (class, word) = if is_so { ("badge", "confirmed") } else { ("badge pending", "not confirmed") };
    html! { span class=(class) { (word) } }
}

fn profile(own: &Account) -> Markup {
    html! {
        section aria-labelledby="profile" {
            h2 id="profile" { "Profile" }
            dl {
                @if let Some(name) = name_of(own) { dt { "Name" } dd { (name) } }
                @if let Some(email) = &own.email { dt { "E-mail address" } dd { (email) " " (confirmed(own.is_email_verified)) } }
                @if let Some(email) = &own.pending_email { dt { "Wished for" } dd { (email) " " (confirmed(false)) } }
                @if let Some(phone) = &own.phone { dt { "Phone number" } dd { (phone) " " (confirmed(own.is_phone_verified)) } }
                @if let Some(username) = &own.username { dt { "User name" } dd { (username) } }
                dt { "Password" } dd {
                    @match (own.password_hash.is_some(), own.password_changed_at) {
                        (false, _) => { "none" },
                        (true, Some(at)) => { "set " (moment(at)) },
                        (true, None) => { "set" },
                    }
                }
                dt { "Member since" } dd { (moment(own.created_at)) }
            }
            ul.links {
                li { a href=(PROFILE) { "Change your profile, e-mail address or phone number" } }
                li { a href=(PASSWORD) { @if own.password_hash.is_some() { "Change your password" } @else { "Set a password" } } }
                li { a href=(KEYS) { "API keys" } }
                li { a href=(CONNECTIONS) { "Linked accounts" } }
                li { a href=(DATA) { "Your data, and deleting your account" } }
            }
        }
    }
}
