//! The endpoints of logging in and out, and passwords.
//!
//! Law: every refusal is one of the contract's, by exhaustive matches. A request that relies on the
//! refresh cookie must come from our own origin.

use std::time::Duration;

use super::again::EITHER_ASKED;
use super::breached::breached;
use super::by_password::{self, Identifier, Visitor, log_in};
use super::input::{LoginEmail, LoginPhone, PasswordChange, PasswordStrength, Refresh};
use super::password::{self, Wish, policy_of};
use super::show::{self, Carrier, Done, Tokens, carrier_of};
use super::{Rights, Spelling, claims_of, rights_of};
use crate::account::{self, Account};
use crate::app::App;
use crate::base::{Secret, Timestamp};
use crate::config::Config;
use crate::crypto::password::policy::{Owner, Strength, Weakness};
use crate::factor;
use crate::http::cookie::{Channel, SetCookie};
use crate::http::reply::WithCookies;
use crate::http::{ApiError, Bucket, Call, ErrorCode, Json, Nothing, Row, csrf, get, post};
use crate::metrics::RefreshResult;
use crate::principal::Scope;
use crate::session::{self, Device, Pair, RefreshError, RefreshRequest, Refreshed, Session, Use};
use crate::store::Error;

use ErrorCode as Code;

/// The refusals of every way in.
pub const LOGIN_CODES: &[ErrorCode] = &[
    Code::LoginFailed,
    Code::SecondFactorRequired,
    Code::SecondFactorInvalid,
    Code::AccountLocked,
    Code::SessionLimitExceeded,
    Code::DeviceLimitExceeded,
    Code::CsrfFailed,
];
/// What every way in may leave in the trail.
pub const LOGIN_EVENTS: &[&str] = &[
    "login",
    "login_failed",
    "account_locked",
    "session_ended",
    "new_device_detected",
    "session_limit_exceeded",
    "device_limit_exceeded",
    "2fa_verified",
    "2fa_backup_used",
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/login/email/", login_email)
            .open()
            .limit(Bucket::Login)
            .codes(LOGIN_CODES)
            .codes(&[Code::Overloaded])
            .audited(LOGIN_EVENTS)
            .audited(&["password_rehashed"])
            .about("Log in with e-mail address and password"),
        post("/login/phone/", login_phone)
            .open()
            .limit(Bucket::Login)
            .codes(LOGIN_CODES)
            .codes(&[Code::Overloaded])
            .audited(LOGIN_EVENTS)
            .audited(&["password_rehashed"])
            .about("Log in with phone number and password"),
        post("/refresh/", refresh)
            .open()
            .limit(Bucket::Refresh)
            .codes(&[Code::MissingRefreshToken, Code::RefreshFailed, Code::CsrfFailed])
            .audited(&["token_refresh", "refresh_reuse"])
            .about("Exchange a refresh token for new tokens"),
        post("/logout/", logout)
            .open()
            .limit(Bucket::Logout)
            .codes(&[Code::MissingRefreshToken, Code::CsrfFailed])
            .audited(&["logout"])
            .about("End the session of a refresh token"),
        post("/logout/all/", logout_all)
            .person()
            .admitting(Scope::PasswordChangeOnly)
            .audited(&["logout_all", "session_ended"])
            .about("End every session of mine"),
        post("/password/change/", change_password)
            .person()
            .admitting(Scope::PasswordChangeOnly)
            .limit(Bucket::Password)
            .codes(&[
                Code::InvalidPassword,
                Code::ReauthRequired,
                Code::PasswordReused,
                Code::PasswordBreached,
                Code::PasswordlessAccount,
                Code::LoginCodeRequired,
                Code::AccountLocked,
                Code::Overloaded,
            ])
            .audited(&["password_change", "session_ended", "login_failed", "account_locked", "code_refused"])
            .about("Change my password; every session of mine ends"),
        post("/password/strength/", password_strength)
            .open()
            .limit(Bucket::Password)
            .unaudited("judges a text and changes nothing")
            .about("Judge a password"),
        get("/password/requirements/", password_requirements).open().about("What a password must be"),
    ]
}

async fn login_email(
    call: Call,
    Json(body): Json<LoginEmail>,
) -> Result<WithCookies<Json<Tokens>>, ApiError> {
    let identifier = Identifier::Email(body.email);
    let given = Given { password: body.password, code: body.totp_code, device: body.device_info };
    enter(call, identifier, given, "Invalid email or password").await
}

async fn login_phone(
    call: Call,
    Json(body): Json<LoginPhone>,
) -> Result<WithCookies<Json<Tokens>>, ApiError> {
    let identifier = Identifier::Phone(body.phone);
    let given = Given { password: body.password, code: body.totp_code, device: body.device_info };
    enter(call, identifier, given, "Invalid phone number or password").await
}

/// What somebody gives beside who they are.
struct Given {
    password: Secret<String>,
    code: Option<factor::Code>,
    device: Option<Device>,
}

async fn enter(
    call: Call,
    identifier: Identifier,
    given: Given,
    wrong: &'static str,
) -> Result<WithCookies<Json<Tokens>>, ApiError> {
    let carrier = carrier(&call.app.config());
    refuse_foreign(&call, carrier)?;
    let Given { password, code, device: said } = given;
    let (device, address) = (device(&call, said), call.head.client);
    let visitor = Visitor { identifier, password, code, device, address, actor: call.actor() };
    let now = call.app.now();
    let entered = log_in(&call.app, visitor).await.map_err(|refused| refused_login(refused, wrong, now))?;
    let answer = Tokens::of_entered(&entered, carrier, call.app.now());
    Ok(Json(answer).with_cookies(cookies(&call, &entered.session, &entered.pair)))
}

/// No other site logs its visitors in here: see [`csrf::refuse_foreign`].
pub(super) fn refuse_foreign(call: &Call, carrier: Carrier) -> Result<(), ApiError> {
    match carrier {
        Carrier::Cookie => csrf::refuse_foreign(call, &call.app.config().public_url.to_string()),
        Carrier::Body => Ok(()),
    }
}

pub(super) fn device(call: &Call, said: Option<Device>) -> Device {
    said.unwrap_or_else(|| Device::guess(call.head.user_agent.as_deref().unwrap_or_default()))
}

pub(super) fn carrier(config: &Config) -> Carrier {
    if config.sessions.refresh_cookie { Carrier::Cookie } else { Carrier::Body }
}

fn channel(config: &Config) -> Channel {
    if config.public_url.is_https { Channel::Https } else { Channel::PlainHttp }
}

pub(super) fn cookies(call: &Call, session: &Session, pair: &Pair) -> Vec<SetCookie> {
    let config = call.app.config();
    if carrier_of(session, carrier(&config)) == Carrier::Body {
        return Vec::new();
    }
    let max_age = pair.refresh_expires_at.since(call.app.now());
    let value = Secret::new(pair.refresh.expose().clone());
    vec![SetCookie::refresh(channel(&config), &config.api.prefix, value, max_age)]
}

/// The refresh token of a request: in the body, or else in its cookie, which only our own origin
/// may send.
fn presented(call: &Call, body: Option<Secret<String>>) -> Result<Secret<String>, ApiError> {
    if let Some(token) = body {
        return Ok(token);
    }
    let config = call.app.config();
    let missing = || ApiError::new(Code::MissingRefreshToken);
    if !config.sessions.refresh_cookie {
        return Err(missing());
    }
    let cookie = call.head.cookies.get(channel(&config).refresh_cookie()).ok_or_else(missing)?;
    csrf::check(call, &config.public_url.to_string())?;
    Ok(cookie.clone())
}

async fn refresh(call: Call, Json(body): Json<Refresh>) -> Result<WithCookies<Json<Tokens>>, ApiError> {
    let carrier = carrier(&call.app.config());
    refuse_foreign(&call, carrier)?;
    let token = presented(&call, body.refresh_token)?;
    let (account, rights, refreshed) = exchange(&call, &token, None).await?;
    let (session, pair) = (&refreshed.session, &refreshed.pair);
    let answer = Tokens::of(&account, &rights, session, pair, carrier, call.app.now());
    Ok(Json(answer).with_cookies(cookies(&call, session, pair)))
}

/// Uses a refresh token of a client of another system.
///
/// # Errors
/// What the endpoint answers.
pub async fn refresh_by(
    call: &Call,
    token: &Secret<String>,
    spelling: Spelling,
) -> Result<Refreshed, ApiError> {
    exchange(call, token, Some(spelling)).await.map(|(_, _, refreshed)| refreshed)
}

async fn exchange(
    call: &Call,
    token: &Secret<String>,
    spelling: Option<Spelling>,
) -> Result<(Account, Rights, Refreshed), ApiError> {
    let (app, config) = (&call.app, call.app.config());
    let application = call.application.as_ref().map(|application| application.id);
    let request = RefreshRequest { token, application, actor: call.actor() };
    let mut known: Option<(Account, Rights)> = None;
    let outcome = session::refresh(app, &config.sessions, &config.tokens, request, async |session| {
        let gone = || Error::Broken { cause: "the account of a session is gone".into() };
        let account = account::by_id(&app.db, session.account).await?.ok_or_else(gone)?;
        // Who must have a second factor by now, and has none, logs in once more.
        let rule = config.accounts.staff_second_factor;
        if factor::is_missing(rule, &account.facts(), session.second_factor_at) {
            return Err(RefreshError::Refused);
        }
        let rights = rights_of(app, &account).await?;
        let mut claims = claims_of(app, &account, &rights).await?;
        if let Some(spelling) = spelling
            && session.scope.is_none()
        {
            claims.extend(spelling(&account, &rights.granted.roles, &rights.permissions));
        }
        known = Some((account, rights));
        Ok(claims)
    })
    .await;
    app.metrics.refresh(match &outcome {
        Ok(refreshed) if refreshed.which == Use::First => RefreshResult::Rotated,
        Ok(_) => RefreshResult::Grace,
        Err(RefreshError::Over) => RefreshResult::Unknown,
        Err(RefreshError::Expired) => RefreshResult::Expired,
        Err(RefreshError::Reused) => RefreshResult::Reused,
        Err(_) => RefreshResult::Refused,
    });
    let refreshed = outcome?;
    let (account, rights) = known.ok_or_else(|| ApiError::internal("a refresh without its account"))?;
    Ok((account, rights, refreshed))
}

async fn logout(call: Call, Json(body): Json<Refresh>) -> Result<WithCookies<Json<Done>>, ApiError> {
    refuse_foreign(&call, carrier(&call.app.config()))?;
    let token = presented(&call, body.refresh_token)?;
    log_out_by(&call, &token).await?;
    Ok(Json(Done { message: "Logged out successfully".to_owned() }).with_cookies(forgotten(&call)))
}

/// Ends the session to which a refresh token belongs, if there is one. Whatever has become of the token:
/// whoever held it may end what it belonged to.
///
/// # Errors
/// The store's.
pub async fn log_out_by(call: &Call, token: &Secret<String>) -> Result<(), ApiError> {
    let app: &App = &call.app;
    if let Some(session) = session::of_refresh_token(&app.db, token.expose()).await? {
        let mut change = app.change(call.actor()).await?;
        if session::log_out(&mut change, session.account, session.id).await? {
            change.commit().await?;
        }
    }
    Ok(())
}

async fn logout_all(call: Call, _: Nothing) -> Result<WithCookies<Json<Done>>, ApiError> {
    let account = call.person()?.account.id;
    let mut change = call.app.change(call.actor()).await?;
    let count = session::log_out_everywhere(&mut change, account).await?;
    change.commit().await?;
    Ok(Json(Done { message: format!("Logged out from {count} devices") }).with_cookies(forgotten(&call)))
}

fn forgotten(call: &Call) -> Vec<SetCookie> {
    let config = call.app.config();
    match carrier(&config) {
        Carrier::Body => Vec::new(),
        Carrier::Cookie => vec![SetCookie::forget_refresh(channel(&config), &config.api.prefix)],
    }
}

async fn change_password(
    call: Call,
    Json(body): Json<PasswordChange>,
) -> Result<WithCookies<Json<show::PasswordChanged>>, ApiError> {
    let strength = change_own_password(&call, body).await?;
    let answer = show::PasswordChanged {
        message: "Password changed successfully",
        password_strength: strength.name(),
        sessions_revoked: true,
    };
    Ok(Json(answer).with_cookies(forgotten(&call)))
}

/// Changes the caller's password, which ends every session of theirs; how strong the new one is.
///
/// # Errors
/// What the endpoint answers.
pub async fn change_own_password(call: &Call, wish: PasswordChange) -> Result<Strength, ApiError> {
    let (account, now) = (call.person()?.account.id, call.app.now());
    let (present, code, new) = (wish.current_password, wish.otp_code, wish.new_password);
    let wish = Wish { account, present, code, new, actor: call.actor() };
    password::change(&call.app, wish).await.map_err(|refused| match refused {
        password::Refused::NotAsked => ApiError::new(Code::ReauthRequired).saying(EITHER_ASKED),
        refused => refused_change(refused, now),
    })
}

async fn password_strength(
    call: Call,
    Json(body): Json<PasswordStrength>,
) -> Result<Json<show::PasswordStrength>, ApiError> {
    let policy = policy_of(&call.app.config().accounts.password);
    let password = body.password.unwrap_or_else(|| Secret::new(String::new()));
    let owner = Owner { email: body.email.as_deref(), username: None };
    let weaknesses = policy.check(password.expose(), &owner);
    let score = policy.score(password.expose(), &owner);
    Ok(Json(show::PasswordStrength {
        score,
        strength: Strength::of(score).name(),
        is_valid: weaknesses.is_empty(),
        errors: weaknesses.iter().map(ToString::to_string).collect(),
        requirements: policy.requirements(),
    }))
}

async fn password_requirements(call: Call, _: Nothing) -> Result<Json<show::PasswordRequirements>, ApiError> {
    let policy = policy_of(&call.app.config().accounts.password);
    let (min_length, max_length) = (policy.min_length, policy.max_length);
    Ok(Json(show::PasswordRequirements { requirements: policy.requirements(), min_length, max_length }))
}

pub(super) fn refuse_weak(field: &str, weaknesses: &[Weakness]) -> Result<(), ApiError> {
    if weaknesses.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = weaknesses.iter().map(ToString::to_string).collect();
    Err(ApiError::invalid(field, &messages))
}

pub(super) fn locked(until: Option<Timestamp>, now: Timestamp) -> ApiError {
    let error = ApiError::new(Code::AccountLocked);
    match until {
        // At least a second: what has just ended is over when the client comes back.
        Some(until) => error.retry_after(until.since(now).max(Duration::from_secs(1))),
        None => error,
    }
}

/// What a client is told who was not let in; `wrong` where what they gave fits nobody.
#[must_use]
pub fn refused_login(refused: by_password::Refused, wrong: &'static str, now: Timestamp) -> ApiError {
    use by_password::Refused;
    let failed = ApiError::new(Code::LoginFailed);
    match refused {
        Refused::Wrong => failed.saying(wrong),
        Refused::Inactive => failed.saying("Account is inactive"),
        Refused::Banned => failed.saying("Account has been banned"),
        Refused::Locked { until } => locked(until, now),
        Refused::SecondFactorNeeded => ApiError::new(Code::SecondFactorRequired).with("requires_2fa", true),
        Refused::SecondFactorWrong => ApiError::new(Code::SecondFactorInvalid),
        Refused::SessionLimit => ApiError::new(Code::SessionLimitExceeded),
        Refused::DeviceLimit => ApiError::new(Code::DeviceLimitExceeded),
        Refused::Overloaded => ApiError::new(Code::Overloaded),
        Refused::NoKey => ApiError::unavailable("no key signs access tokens"),
        Refused::Store(cause) => cause.into(),
    }
}

/// Asks the caller for the present password of their account, at the door that counts failures.
///
/// # Errors
/// What the client is told: not given, wrong, locked, or no password at all.
pub async fn reauthenticate(
    call: &Call,
    account: &Account,
    present: Option<Secret<String>>,
) -> Result<(), ApiError> {
    let asked = password::reauthenticate(&call.app, account, present, &call.actor()).await;
    asked.map(drop).map_err(|refused| refused_change(refused, call.app.now()))
}

fn refused_change(refused: password::Refused, now: Timestamp) -> ApiError {
    use password::Refused;
    match refused {
        Refused::Weak(weaknesses) => match refuse_weak("new_password", &weaknesses) {
            Err(error) => error,
            Ok(()) => ApiError::internal("a password was refused without a reason"),
        },
        Refused::NotAsked => ApiError::new(Code::ReauthRequired),
        Refused::Wrong => ApiError::new(Code::InvalidPassword),
        Refused::NoCode => ApiError::new(Code::LoginCodeRequired),
        Refused::Passwordless => ApiError::new(Code::PasswordlessAccount),
        Refused::Locked { until } => locked(Some(until), now),
        Refused::Reused => ApiError::new(Code::PasswordReused),
        Refused::Breached(why) => breached(why),
        Refused::Overloaded => ApiError::new(Code::Overloaded),
        Refused::Store(cause) => cause.into(),
    }
}

impl From<RefreshError> for ApiError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Over
            | RefreshError::Expired
            | RefreshError::Reused
            | RefreshError::OtherApplication
            | RefreshError::Refused => Self::new(Code::RefreshFailed),
            RefreshError::NoKey => Self::unavailable("no key signs access tokens"),
            RefreshError::Store(cause) => cause.into(),
        }
    }
}
