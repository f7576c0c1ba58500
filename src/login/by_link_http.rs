//! The endpoints of logging in with a link that came by mail (contract section 12).
//!
//! Law: an answer says the same about every address, and the same about every link that opens nothing.
//! Where a link was merely opened, by a browser or by what reads mail before people do, `web` answers and
//! nothing is used up.

use ::http::header::{HeaderValue, REFERRER_POLICY};
use schemars::JsonSchema;
use serde::Serialize;

use super::by_link::{self, Follower, Place, links_are_open, may_lead_to};
use super::by_password::{Entered, Refused};
use super::http::{LOGIN_CODES, LOGIN_EVENTS, carrier, cookies, device, refuse_foreign, refused_login};
use super::input::{code, device_info};
use super::reset::NotAsked;
use super::show::{Done, Tokens};
use crate::app::App;
use crate::base::{Email, Secret};
use crate::factor;
use crate::http::reply::WithCookies;
use crate::http::{
    ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Output, Reply, Row, post,
};
use crate::session::Device;

const URL_MAX: usize = 2048;
const TOKEN_MAX: usize = 128;

/// The endpoints of links to log in with.
pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/magic-link/request/", request)
            .open()
            .limit(Bucket::LinkRequest)
            .codes(&[Code::EmailRequired, Code::ValidationUrlRequired])
            .audited(&["login_link_requested", "code_sent"])
            .about("Send a link to log in with, by mail"),
        post("/magic-link/verify/", verify)
            .open()
            .limit(Bucket::LinkVerify)
            .codes(LOGIN_CODES)
            .codes(&[Code::TokenRequired, Code::MagicLinkInvalid])
            .audited(LOGIN_EVENTS)
            .about("Log in with the token of a link"),
    ]
}

/// Who wants a link, and to where.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "MagicLinkRequest")]
struct Wanted {
    /// Required.
    #[schemars(with = "Option<String>", email, skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    /// Required: one of the pages that the gateway's configuration lists. It gets `token`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    validation_url: Option<String>,
    #[expect(dead_code, reason = "what comes with the contract's wire; the device is told at the login")]
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    device_info: Option<Device>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.optional("email").or_null().or_blank().email();
        let validation_url = fields.optional("validation_url").max(URL_MAX).or_null().or_blank().text();
        let device_info = device_info(fields);
        Some(Self { email, validation_url: validation_url.filter(|url| !url.is_empty()), device_info })
    }
}

/// What a link handed over.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "MagicLinkVerify")]
struct Brought {
    /// Required.
    #[schemars(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    totp_code: Option<factor::Code>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    device_info: Option<Device>,
}

impl FromFields for Brought {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let token = fields.optional("token").max(TOKEN_MAX).or_null().or_blank().secret();
        let totp_code = code(fields, "totp_code");
        let device_info = device_info(fields);
        Some(Self { token, totp_code, device_info })
    }
}

/// Tokens, and the contract's word for how they were got.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MagicLinkTokens")]
struct LoggedIn {
    message: &'static str,
    #[serde(flatten)]
    tokens: Tokens,
}

async fn request(call: Call, Json(body): Json<Wanted>) -> Result<Json<Done>, ApiError> {
    if !links_are_open(&call.app) {
        // The contract's words for what is not turned on.
        return Err(ApiError::unavailable("`login.magic_link.targets` or `mail` is not configured"));
    }
    let email = body.email.ok_or_else(|| ApiError::new(Code::EmailRequired))?;
    let page = body.validation_url.ok_or_else(|| ApiError::new(Code::ValidationUrlRequired))?;
    if !may_lead_to(&call.app, &page) {
        let why = "Links may not lead to this page. The gateway's configuration lists those that they may.";
        return Err(ApiError::invalid("validation_url", &[why.to_owned()]));
    }
    by_link::request(&call.app, &email, &page, call.actor()).await.map_err(|refused| match refused {
        NotAsked::NoWay => ApiError::unavailable("no mail can be sent"),
        NotAsked::Store(cause) => cause.into(),
    })?;
    let message = "If this email is registered, a magic link has been sent.";
    Ok(Json(Done { message: message.to_owned() }))
}

/// Where our own button is, if links may lead there.
#[must_use]
pub fn own_link(app: &App) -> Option<String> {
    let config = app.config();
    let page = format!("{}{}/magic-link/verify/", config.public_url, config.api.prefix);
    (links_are_open(app) && may_lead_to(app, &page)).then_some(page)
}

/// Sends a link to our own button, to whoever has confirmed this address.
///
/// # Errors
/// Where links lead elsewhere; the same about every address.
pub async fn send_own_link(call: &Call, email: &Email) -> Result<(), ApiError> {
    let page = own_link(&call.app).ok_or_else(|| ApiError::new(Code::NotFound))?;
    by_link::request(&call.app, email, &page, call.actor()).await.map_err(|refused| match refused {
        NotAsked::NoWay => ApiError::unavailable("no mail can be sent"),
        NotAsked::Store(cause) => cause.into(),
    })
}

async fn verify(call: Call, Json(body): Json<Brought>) -> Result<WithCookies<Json<LoggedIn>>, ApiError> {
    log_in(&call, body.token, body.totp_code, body.device_info).await
}

/// Answers a program that followed a link for an application that it named the keys of.
///
/// # Errors
/// What the client is told.
pub async fn answer_link(
    call: &Call,
    token: Option<Secret<String>>,
    said: Option<Device>,
) -> Result<Reply, ApiError> {
    let silent = (REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    match log_in(call, token, None, said).await {
        Ok(tokens) => Ok(tokens.into_reply()?.with(silent.0, silent.1)),
        Err(refused) => Err(refused.header(silent.0, silent.1)),
    }
}

async fn log_in(
    call: &Call,
    token: Option<Secret<String>>,
    code: Option<factor::Code>,
    said: Option<Device>,
) -> Result<WithCookies<Json<LoggedIn>>, ApiError> {
    let token = token.filter(|token| !token.expose().is_empty());
    let token = token.ok_or_else(|| ApiError::new(Code::TokenRequired))?;
    let carrier = carrier(&call.app.config());
    refuse_foreign(call, carrier)?;
    let place = Place::Application(call.application.as_ref().map(|application| application.id));
    let (device, address) = (device(call, said), call.head.client);
    let follower = Follower { token, code, place, device, address, actor: call.actor() };
    let entered = follow(call, follower).await?;
    let tokens = Tokens::of_entered(&entered, carrier, call.app.now());
    let answer = LoggedIn { message: "Magic link verified successfully", tokens };
    Ok(Json(answer).with_cookies(cookies(call, &entered.session, &entered.pair)))
}

async fn follow(call: &Call, follower: Follower) -> Result<Entered, ApiError> {
    let invalid = || ApiError::new(Code::MagicLinkInvalid);
    if !links_are_open(&call.app) {
        return Err(invalid());
    }
    let now = call.app.now();
    by_link::follow(&call.app, follower).await.map_err(|refused| match refused {
        Refused::Wrong => invalid(),
        // Contract section 12: one code for a link that opens nothing, with what its holder may know.
        Refused::Inactive | Refused::Banned => invalid().saying("Account is disabled"),
        other => refused_login(other, "Invalid or expired magic link.", now),
    })
}
