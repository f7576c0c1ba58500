//! "Continue with …": the way to a provider and back, with a browser and without a script.
//!
//! Law: no rules here, only calls. What a provider sends along is shown nowhere. A browser keeps one
//! login that it began; it comes back to the page that it wanted, and to no other place.

use ::http::StatusCode;
use maud::{Markup, html};

use super::connection::{CONNECTIONS, LINKED};
use super::form::{self, Form};
use super::layout::{lead_to, page, trouble};
use super::login::{asking_for, channel, local, next_of};
use super::step;
use crate::app::App;
use crate::base::Secret;
use crate::factor::Code;
use crate::http::cookie::SetCookie;
use crate::http::{ApiError, Call, Nothing, Reply, form as fields};
use crate::login::{
    CameBack, SocialNothing, SocialOutcome, begin_social, finish_social, return_from_provider,
};
use crate::session::Device;
use crate::social::{GOOD_FOR, PENDING_FOR};

/// The buttons of the login page.
pub(super) fn buttons(app: &App, next: &str) -> Markup {
    let config = app.config();
    html! {
        @if !config.login.social.is_empty() {
            ul.ways {
                @for (name, provider) in &config.login.social {
                    li {
                        a.button href=(format!("/portcullis/social/{name}/?{}", asking_for(next))) rel="nofollow" {
                            "Continue with " (provider.label())
                        }
                    }
                }
            }
        }
    }
}

/// Sends a browser to a provider.
pub(super) async fn begin(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let (provider, next) = (call.param("provider")?, next_of(&call.head.query));
    match begin_social(&call.app, provider, &call.actor(), &next).await {
        Ok((door, kept)) => lead_to(&door).with_cookie(&SetCookie::social(channel(&call), kept, GOOD_FOR)),
        Err(nothing) => Ok(nothing_page(nothing)),
    }
}

/// Takes a browser that comes back.
pub(super) async fn come_back(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let query = fields::fields(call.head.query.as_bytes()).unwrap_or_default();
    let text = |name: &str| query.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
    let back = CameBack {
        provider: call.param("provider")?,
        kept: kept(&call),
        state: text("state").unwrap_or_default(),
        code: text("code").map(|code| Secret::new(code.to_owned())),
        issuer: text("iss"),
        person: call.principal.as_deref(),
        device: device(&call),
        address: call.head.client,
        actor: call.actor(),
    };
    let outcome = return_from_provider(&call.app, back).await?;
    told(&call, outcome)
}

/// Takes the code of a second factor.
pub(super) async fn finish(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    let from = (call.head.client, call.actor());
    let code = Code::read(form.text("code"));
    let outcome = finish_social(&call.app, kept(&call), code, device(&call), from).await;
    told(&call, outcome)
}

fn kept(call: &Call) -> Option<&str> {
    let cookie = call.head.cookies.get(channel(call).social_cookie());
    cookie.map(|value| value.expose().as_str())
}

fn device(call: &Call) -> Device {
    Device::guess(call.head.user_agent.as_deref().unwrap_or_default())
}

fn told(call: &Call, outcome: SocialOutcome) -> Result<Reply, ApiError> {
    let channel = channel(call);
    match outcome {
        SocialOutcome::In { session, next } => {
            let way = lead_to(step::first(&session, local(&next)));
            step::moved(call, Ok(way), Some(&session))?.with_cookie(&SetCookie::forget_social(channel))
        }
        SocialOutcome::CodeNeeded { kept, is_wrong } => {
            code_page(is_wrong).with_cookie(&SetCookie::social(channel, kept, PENDING_FOR))
        }
        SocialOutcome::Linked => lead_to(LINKED).with_cookie(&SetCookie::forget_social(channel)),
        SocialOutcome::Nothing(nothing) => {
            nothing_page(nothing).with_cookie(&SetCookie::forget_social(channel))
        }
    }
}

fn code_page(is_wrong: bool) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Log in" }
            @if is_wrong {
                p.problem role="alert" { "The code is wrong, or was used before. Wait for the next one." }
            } @else {
                p { "This account has a second factor." }
            }
            form method="post" action="/portcullis/social/finish/" {
                label for="code" { "Code from your authenticator app, or a backup code" }
                input id="code" name="code" type="text" autocomplete="one-time-code" required maxlength="64"
                    autocapitalize="off" spellcheck="false" autofocus;
                button type="submit" { "Log in" }
            }
        }
    };
    page(StatusCode::UNAUTHORIZED, "Log in", None, &content)
}

pub(super) fn nothing_page(nothing: SocialNothing) -> Reply {
    let (status, text) = match nothing {
        SocialNothing::NoProvider => return trouble(StatusCode::NOT_FOUND),
        SocialNothing::NotNow => (
            StatusCode::SERVICE_UNAVAILABLE,
            "That service does not answer at the moment. Try again in a few seconds, or log in another way.",
        ),
        SocialNothing::Over => (
            StatusCode::BAD_REQUEST,
            "This login is over, or was begun in another browser or tab. Begin again.",
        ),
        SocialNothing::NotBelieved => {
            (StatusCode::UNAUTHORIZED, "That service did not tell us who you are. Nothing was done.")
        }
        SocialNothing::Unverified => (
            StatusCode::UNAUTHORIZED,
            "Your e-mail address is not confirmed at that service. Confirm it there, then try again.",
        ),
        SocialNothing::Exists => (
            StatusCode::CONFLICT,
            "There is an account with your e-mail address already, and nobody has shown yet that it is yours. Log in to it \
             the usual way.",
        ),
        SocialNothing::Closed => {
            (StatusCode::FORBIDDEN, "You have no account here, and nobody may register.")
        }
        SocialNothing::MayNot => (StatusCode::FORBIDDEN, "This account may not log in."),
        SocialNothing::TooMany => {
            (StatusCode::FORBIDDEN, "You are logged in in too many places. Log out somewhere else first.")
        }
        SocialNothing::NotYou => (
            StatusCode::FORBIDDEN,
            "You left from another session than the one that you are in now, so nothing was linked. Begin again.",
        ),
        SocialNothing::Taken => {
            (StatusCode::CONFLICT, "That account opens an account here already, so nothing was linked.")
        }
    };
    let (title, way, word) = match nothing {
        SocialNothing::NotYou | SocialNothing::Taken => {
            ("Not linked", CONNECTIONS, "To your linked accounts")
        }
        _ => ("Not logged in", "/portcullis/login/", "To the login page"),
    };
    let content = html! {
        div.narrow {
            h1 { (title) }
            p.problem role="alert" { (text) }
            p { a href=(way) { (word) } }
        }
    };
    page(status, title, None, &content)
}
