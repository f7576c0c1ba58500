//! The endpoints of logging in by what a provider says of somebody (contract section 13).
//!
//! Law: a code is redeemed only where the calling application lets codes go, and a token is taken only
//! where it says for whom it was made. Why a provider's word was not believed is told by the log alone.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::by_password::{self, Visit};
use super::by_social::{Arrived, Guest, Refused, Voucher, log_in, note_disbelief};
use super::http::{LOGIN_EVENTS, carrier, cookies, device, refuse_foreign};
use super::input::{code, device_info};
use super::newcomer::EVENTS as NEWCOMER_EVENTS;
use super::show::{Carrier, Tokens};
use crate::application;
use crate::base::{Secret, Timestamp};
use crate::factor;
use crate::http::reply::WithCookies;
use crate::http::{
    ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Query, Row, get, post,
};
use crate::session::{Device, Method};
use crate::social::{self, Bearer, Failed, Identity, Nonce, Pending, Provider, Use};

/// The longest token or code that a provider gives.
const GIVEN_MAX: usize = 8 * 1024;
const URI_MAX: usize = 500;

const CODES: &[Code] = &[
    Code::ProviderNotSupported,
    Code::InvalidRedirectUri,
    Code::CodeExchangeFailed,
    Code::ProviderAuthFailed,
    Code::ProviderUnavailable,
    Code::SocialAuthFailed,
    Code::SecondFactorRequired,
    Code::RegistrationClosed,
    Code::SessionLimitExceeded,
    Code::DeviceLimitExceeded,
    Code::CsrfFailed,
    Code::LoginFailed,
];
/// Beside those of every login.
const EVENTS: &[&str] = &["account_created", "social_connected"];

/// The endpoints of social login.
pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/social/{provider}/", enter)
            .open()
            .limit(Bucket::Login)
            .codes(CODES)
            .codes(&[Code::MissingCredentials, Code::RedirectUriRequired, Code::SecondFactorInvalid])
            .audited(LOGIN_EVENTS)
            .audited(EVENTS)
            .audited(NEWCOMER_EVENTS)
            .about("Log in by what a provider says"),
        get("/social/{provider}/callback/", callback)
            .open()
            .limit(Bucket::Login)
            .codes(CODES)
            .codes(&[Code::MissingCode, Code::MissingRedirectUri])
            .audited(LOGIN_EVENTS)
            .audited(EVENTS)
            .audited(NEWCOMER_EVENTS)
            .about("Log in with a code of a provider, by a query"),
    ]
}

/// What a provider gave to the client. The first of `access_token`, `code` and `id_token` counts.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SocialLoginRequest")]
pub(super) struct Given {
    /// Of Google, GitHub or Facebook, who say for whom it was made.
    #[schemars(skip_serializing_if = "Option::is_none")]
    access_token: Option<Secret<String>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    code: Option<Secret<String>>,
    /// Where the code was sent: one that the application lists.
    #[schemars(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
    /// What the code was asked for with (RFC 7636).
    #[schemars(skip_serializing_if = "Option::is_none")]
    code_verifier: Option<Secret<String>>,
    /// Of an OpenID Connect provider, for a client of this gateway.
    #[schemars(skip_serializing_if = "Option::is_none")]
    id_token: Option<Secret<String>>,
    /// What the ID token must hold, where the client asked for it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

impl FromFields for Given {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let mut secret = |name| {
            let given = fields.optional(name).max(GIVEN_MAX).or_null().or_blank().secret();
            given.filter(|text| !text.expose().is_empty())
        };
        let (access_token, code) = (secret("access_token"), secret("code"));
        let (code_verifier, id_token) = (secret("code_verifier"), secret("id_token"));
        let mut text = |name, most| {
            let given = fields.optional(name).max(most).or_null().or_blank().text();
            given.filter(|text| !text.is_empty())
        };
        let (redirect_uri, nonce) = (text("redirect_uri", URI_MAX), text("nonce", 200));
        Some(Self { access_token, code, redirect_uri, code_verifier, id_token, nonce })
    }
}

/// What a provider gave, and what a login asks for beside.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SocialLogin")]
struct Wanted {
    #[schemars(flatten)]
    given: Given,
    /// From an answer `2FA_REQUIRED`, in place of everything else that a provider gave.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pending_token: Option<Secret<String>>,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    totp_code: Option<factor::Code>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    device_info: Option<Device>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = Given::from_fields(fields)?;
        let pending = fields.optional("pending_token").max(GIVEN_MAX).or_null().or_blank().secret();
        let pending_token = pending.filter(|text| !text.expose().is_empty());
        let totp_code = code(fields, "totp_code");
        let device_info = device_info(fields);
        Some(Self { given, pending_token, totp_code, device_info })
    }
}

/// A code that a provider sent back in a query.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SocialCallback")]
struct Returned {
    #[schemars(skip_serializing_if = "Option::is_none")]
    code: Option<Secret<String>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    code_verifier: Option<Secret<String>>,
}

impl FromFields for Returned {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = fields.optional("code").max(GIVEN_MAX).or_blank().secret();
        let code = code.filter(|code| !code.expose().is_empty());
        let redirect_uri = fields.optional("redirect_uri").max(URI_MAX).or_blank().text();
        let redirect_uri = redirect_uri.filter(|uri| !uri.is_empty());
        let verifier = fields.optional("code_verifier").max(GIVEN_MAX).or_blank().secret();
        let code_verifier = verifier.filter(|verifier| !verifier.expose().is_empty());
        Some(Self { code, redirect_uri, code_verifier })
    }
}

/// Tokens, whose they are, and who vouched for them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SocialTokens")]
struct Answer {
    #[serde(flatten)]
    tokens: Tokens,
    /// The account was made by this login.
    is_new_user: bool,
    provider: String,
    message: &'static str,
}

async fn enter(call: Call, Json(body): Json<Wanted>) -> Result<WithCookies<Json<Answer>>, ApiError> {
    let provider = provider(&call)?;
    refuse_foreign(&call, carrier(&call.app.config()))?;
    let Wanted { given, pending_token, totp_code, device_info } = body;
    let (identity, pending) = match pending_token {
        Some(token) => {
            let pending = goes_on(&call, &provider, &token)?;
            (pending.identity(), Some(pending))
        }
        None => (establish(&call, &provider, &given).await?, None),
    };
    let guest = Guest {
        voucher: Voucher::of_provider(&provider),
        identity,
        code: totp_code,
        pending,
        next: String::new(),
    };
    arrive(&call, guest, device_info).await
}

async fn callback(call: Call, Query(query): Query<Returned>) -> Result<WithCookies<Json<Answer>>, ApiError> {
    let provider = provider(&call)?;
    // A link could log a browser in as somebody else; without a cookie, or with keys, none can.
    if carrier(&call.app.config()) == Carrier::Cookie && call.application.is_none() {
        return Err(ApiError::new(Code::CsrfFailed));
    }
    let code = Some(query.code.ok_or_else(|| ApiError::new(Code::MissingCode))?);
    let redirect_uri = Some(query.redirect_uri.ok_or_else(|| ApiError::new(Code::MissingRedirectUri))?);
    let code_verifier = query.code_verifier;
    let given = Given { access_token: None, code, redirect_uri, code_verifier, id_token: None, nonce: None };
    let identity = establish(&call, &provider, &given).await?;
    let guest = Guest {
        voucher: Voucher::of_provider(&provider),
        identity,
        code: None,
        pending: None,
        next: String::new(),
    };
    arrive(&call, guest, None).await
}

async fn arrive(
    call: &Call,
    guest: Guest,
    said: Option<Device>,
) -> Result<WithCookies<Json<Answer>>, ApiError> {
    let name = guest.voucher.name.clone();
    let visit = Visit {
        method: Method::Social,
        device: device(call, said),
        address: call.head.client,
        actor: call.actor(),
    };
    let arrived = log_in(&call.app, guest, visit).await;
    let Arrived { entered, is_new } = arrived.map_err(|why| refused(call, why, &name))?;
    let carrier = carrier(&call.app.config());
    let tokens = Tokens::of_entered(&entered, carrier, call.app.now());
    let message = "Authentication successful";
    let answer = Answer { tokens, is_new_user: is_new, provider: name, message };
    Ok(Json(answer).with_cookies(cookies(call, &entered.session, &entered.pair)))
}

/// The provider that the path names.
pub(super) fn provider(call: &Call) -> Result<Arc<Provider>, ApiError> {
    let name = call.param("provider")?;
    let found = social::provider(&call.app, name).map_err(|failed| unlike(failed, name))?;
    found.ok_or_else(|| {
        let config = call.app.config();
        let all: Vec<_> = config.login.social.keys().cloned().collect();
        let short: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        ApiError::new(Code::ProviderNotSupported)
            .saying(format!("Provider '{short}' is not supported or not enabled."))
            .with("supported_providers", all)
    })
}

/// What somebody kept who was asked for a second factor.
fn goes_on(call: &Call, provider: &Provider, token: &Secret<String>) -> Result<Pending, ApiError> {
    let actor = call.actor();
    let is_ours = |pending: &Pending| {
        pending.provider == provider.name
            && pending.site == actor.site
            && pending.application == actor.application
    };
    let over = || ApiError::new(Code::SocialAuthFailed).saying("This login is over. Begin again.");
    Pending::open(&call.app, token.expose()).filter(is_ours).ok_or_else(over)
}

/// Whose identity it is that the client got from the provider.
pub(super) async fn establish(call: &Call, provider: &Provider, given: &Given) -> Result<Identity, ApiError> {
    let now = call.app.now();
    let nonce = given.nonce.as_deref().map_or(Nonce::Unknown, Nonce::Is);
    let established = match given {
        Given { access_token: Some(token), .. } => provider.look_at(now, Bearer::Access(token)).await,
        Given { code: Some(code), redirect_uri, code_verifier, .. } => {
            let uri = redirect_uri.as_deref().ok_or_else(|| ApiError::new(Code::RedirectUriRequired))?;
            check_redirect(call, provider, uri).await?;
            let verifier = code_verifier.as_ref();
            provider.redeem(now, &social::Code { code, redirect_uri: uri, verifier, nonce }).await
        }
        Given { id_token: Some(token), .. } => {
            let identity = provider.look_at(now, Bearer::Id(token, nonce)).await;
            match identity {
                Ok(_) if social::use_token(&call.app, token).await? == Use::Again => {
                    Err(Failed::Refused("the ID token was used before"))
                }
                other => other,
            }
        }
        _ => return Err(ApiError::new(Code::MissingCredentials)),
    };
    match established {
        Ok(identity) => Ok(identity),
        Err(failed) => {
            if matches!(failed, Failed::Code | Failed::Refused(_)) {
                note_disbelief(&call.app, call.actor()).await?;
            }
            Err(unlike(failed, &provider.name))
        }
    }
}

/// Codes come from where they may go, and from nowhere else.
async fn check_redirect(call: &Call, provider: &Provider, uri: &str) -> Result<(), ApiError> {
    let is_listed = match &call.application {
        Some(application) => application::takes_codes_at(&call.app.db, application.id, uri).await?,
        None => provider.settings.redirect_uris.iter().any(|listed| listed == uri),
    };
    if is_listed { Ok(()) } else { Err(ApiError::new(Code::InvalidRedirectUri)) }
}

/// What the client is told where no identity was established.
pub(super) fn unlike(failed: Failed, provider: &str) -> ApiError {
    match failed {
        Failed::Unavailable(why) => ApiError::new(Code::ProviderUnavailable).because(why),
        Failed::Code => ApiError::new(Code::CodeExchangeFailed),
        Failed::Refused(why) => {
            tracing::info!(provider, why, "a provider's word was not believed");
            ApiError::new(Code::ProviderAuthFailed)
                .saying(format!("Could not retrieve user data from {provider}."))
        }
        Failed::NotOffered => ApiError::new(Code::MissingCredentials)
            .saying("This provider does not say for whom such a token was made: send code and redirect_uri."),
    }
}

fn refused(call: &Call, why: Refused, provider: &str) -> ApiError {
    use by_password::Refused as Login;
    let failed = |text: String| ApiError::new(Code::SocialAuthFailed).saying(text);
    match why {
        Refused::Unverified => failed(format!(
            "Email from {provider} is not verified. Authentication and account fusion rejected for security."
        )),
        Refused::Exists => failed(format!(
            "An account with this email already exists. Please login with your email and password to link your \
             {provider} account."
        )),
        Refused::Closed => ApiError::new(Code::RegistrationClosed),
        Refused::CodeNeeded(pending) => ApiError::new(Code::SecondFactorRequired)
            .with("requires_2fa", true)
            .with("pending_token", pending.seal(&call.app).expose().clone()),
        Refused::Login(Login::Inactive | Login::Banned) => failed("Account is disabled".to_owned()),
        Refused::Login(Login::Locked { until }) => {
            let error = failed("Account is locked".to_owned());
            match until {
                Some(until) => error.retry_after(at_least_a_second(until, call.app.now())),
                None => error,
            }
        }
        Refused::Login(other) => super::http::refused_login(other, "Log in again", call.app.now()),
    }
}

fn at_least_a_second(until: Timestamp, now: Timestamp) -> std::time::Duration {
    until.since(now).max(std::time::Duration::from_secs(1))
}
