//! The endpoints of second factors (contract section 17).
//!
//! Law: nothing is turned off, replaced or proved again without a code, and every code that is
//! looked at costs a try. Whoever must have a second factor gets full tokens for confirming one.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::by_password::Entered;
use super::enrol::{
    account_of, begin_second_factor, new_backup_codes, prove_again, turn_second_factor_off,
    turn_second_factor_on,
};
use super::http::{carrier, cookies};
use super::input::code;
use super::show::Tokens;
use crate::base::Secret;
use crate::crypto::digest::base64;
use crate::crypto::password::MAX_BYTES;
use crate::factor::{self, Code, Enrolment, NotNow};
use crate::http::reply::WithCookies;
use crate::http::{ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Json, Nothing, Row, get, post};
use crate::otp::Digits;
use crate::principal::Scope;

const WARNING: &str = "Save the backup codes securely. They will not be shown again.";

pub(super) fn rows() -> Vec<Row> {
    use ErrorCode as E;
    vec![
        get("/2fa/status/", status).person().about("Whether I have a second factor"),
        post("/2fa/setup/", set_up)
            .person()
            .admitting(Scope::SecondFactorSetupOnly)
            .limit(Bucket::SecondFactor)
            .codes(&[
                E::SecondFactorAlreadyOn,
                E::InvalidCode,
                E::MfaRequired,
                E::ReauthRequired,
                E::InvalidPassword,
                E::PasswordlessAccount,
                E::AccountLocked,
                E::Overloaded,
            ])
            .audited(&["2fa_setup", "login_failed", "account_locked"])
            .about("Begin to set up a second factor; the seed is shown once"),
        post("/2fa/confirm/", confirm)
            .person()
            .admitting(Scope::SecondFactorSetupOnly)
            .limit(Bucket::SecondFactor)
            .codes(&[
                E::CodeRequired,
                E::InvalidCode,
                E::SecondFactorAlreadyOn,
                E::AccountLocked,
                E::LoginFailed,
                E::SessionLimitExceeded,
                E::DeviceLimitExceeded,
            ])
            .audited(&[
                "2fa_enabled",
                "2fa_verified",
                "login",
                "session_ended",
                "login_failed",
                "account_locked",
            ])
            .about("Turn my second factor on with its first code"),
        post("/2fa/verify/", verify)
            .person()
            .limit(Bucket::SecondFactor)
            .codes(&[E::CodeRequired, E::InvalidCode, E::AccountLocked])
            .audited(&["2fa_verified", "2fa_backup_used", "session_ended", "login_failed", "account_locked"])
            .about("Prove my second factor again; a new session takes the place of this one"),
        post("/2fa/disable/", disable)
            .person()
            .limit(Bucket::SecondFactor)
            .codes(&[
                E::CodeRequired,
                E::InvalidCode,
                E::ReauthRequired,
                E::InvalidPassword,
                E::PasswordlessAccount,
                E::LoginCodeRequired,
                E::AccountLocked,
                E::Overloaded,
            ])
            .audited(&["2fa_disabled", "2fa_backup_used", "session_ended", "login_failed", "account_locked"])
            .audited(&["code_refused"])
            .about("Turn my second factor off"),
        post("/2fa/backup-codes/", backup_codes)
            .person()
            .limit(Bucket::SecondFactor)
            .codes(&[E::CodeRequired, E::InvalidCode, E::AccountLocked])
            .audited(&["2fa_backup_codes_replaced", "login_failed", "account_locked"])
            .about("New backup codes in place of the old ones"),
    ]
}

/// A password, where the login is not fresh.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SecondFactorSetupRequest")]
struct SetUp {
    /// Asked for where the login is older than 15 minutes.
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
}

fn password(fields: &mut Fields) -> Option<Secret<String>> {
    let given = fields.optional("password").max(MAX_BYTES).or_null().or_blank().secret();
    given.filter(|password| !password.expose().is_empty())
}

impl FromFields for SetUp {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { password: password(fields) })
    }
}

/// A code of the second factor.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SecondFactorCodeRequest")]
struct Given {
    /// Six digits of the device; a backup code too, where that is enough.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
}

impl FromFields for Given {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { code: code(fields, "code") })
    }
}

/// A code of the second factor, and the password.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SecondFactorDisableRequest")]
struct Disable {
    /// Six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
    /// In its place: six digits, from `login/otp/request/`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    otp_code: Option<Digits>,
}

impl FromFields for Disable {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let (code, password) = (code(fields, "code"), password(fields));
        let otp_code = fields.optional("otp_code").or_null().parsed(Digits::parse);
        Some(Self { code, password, otp_code })
    }
}

/// Whether there is a second factor.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorStatus")]
struct Status {
    is_enabled: bool,
    backup_codes_remaining: u32,
}

async fn status(call: Call, _: Nothing) -> Result<Json<Status>, ApiError> {
    let account = account_of(&call).await?;
    let is_enabled = account.second_factor_at.is_some();
    let backup_codes_remaining =
        if is_enabled { factor::backup_codes_left(&call.app.db, account.id).await? } else { 0 };
    Ok(Json(Status { is_enabled, backup_codes_remaining }))
}

/// A seed, which is shown once and counts for nothing until it is confirmed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorSetup")]
struct Begun {
    message: &'static str,
    /// 32 characters of base32.
    secret: String,
    /// A PNG as a `data:` URI.
    qr_code: String,
    /// The same as an SVG document.
    qr_code_svg: String,
    provisioning_uri: String,
    backup_codes: Vec<String>,
    warning: &'static str,
}

impl Begun {
    fn of(begun: &Enrolment) -> Self {
        Self {
            message: "Scan the QR code with your authenticator app, then confirm with a code.",
            secret: begun.seed.base32().expose().clone(),
            qr_code: format!("data:image/png;base64,{}", base64(begun.picture.png.expose())),
            qr_code_svg: begun.picture.svg.expose().clone(),
            provisioning_uri: begun.uri.expose().clone(),
            backup_codes: shown(&begun.backup_codes),
            warning: WARNING,
        }
    }
}

fn shown(codes: &[Secret<String>]) -> Vec<String> {
    codes.iter().map(|code| code.expose().clone()).collect()
}

async fn set_up(call: Call, Json(body): Json<SetUp>) -> Result<Json<Begun>, ApiError> {
    Ok(Json(Begun::of(&begin_second_factor(&call, body.password).await?)))
}

/// The second factor is on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorConfirmed")]
struct Confirmed {
    message: &'static str,
    is_enabled: bool,
    /// Those that asked are over, and so is every other session.
    #[serde(flatten)]
    tokens: Tokens,
}

async fn confirm(call: Call, Json(body): Json<Given>) -> Result<WithCookies<Json<Confirmed>>, ApiError> {
    let code = body.code.ok_or_else(no_code)?;
    let entered = turn_second_factor_on(&call, &code).await?;
    let tokens = tokens(&call, &entered);
    let done = Confirmed { message: "2FA enabled successfully", is_enabled: true, tokens };
    Ok(Json(done).with_cookies(cookies(&call, &entered.session, &entered.pair)))
}

fn tokens(call: &Call, entered: &Entered) -> Tokens {
    Tokens::of_entered(entered, carrier(&call.app.config()), call.app.now())
}

/// The second factor was proved.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorVerified")]
struct Proved {
    message: &'static str,
    /// RFC 3339, UTC: what `mfa` and `max_age` of routes are judged by.
    verified_at: String,
    /// Those that asked are over: a copy of them must not gain by what their owner proved.
    #[serde(flatten)]
    tokens: Tokens,
}

async fn verify(call: Call, Json(body): Json<Given>) -> Result<WithCookies<Json<Proved>>, ApiError> {
    let code = body.code.ok_or_else(no_code)?;
    let account = account_of(&call).await?;
    let entered = prove_again(&call, &account, &code).await?;
    let (tokens, verified_at) = (tokens(&call, &entered), entered.session.authenticated_at.rfc3339());
    let done = Proved { message: "2FA verified successfully", verified_at, tokens };
    Ok(Json(done).with_cookies(cookies(&call, &entered.session, &entered.pair)))
}

/// The second factor is off.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorDisabled")]
struct Disabled {
    message: &'static str,
    is_enabled: bool,
}

async fn disable(call: Call, Json(body): Json<Disable>) -> Result<Json<Disabled>, ApiError> {
    let code = body.code.ok_or_else(no_code)?;
    turn_second_factor_off(&call, &code, body.password, body.otp_code.as_ref()).await?;
    Ok(Json(Disabled { message: "2FA disabled successfully", is_enabled: false }))
}

/// Backup codes, shown once.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackupCodes")]
struct NewCodes {
    message: &'static str,
    backup_codes: Vec<String>,
    warning: &'static str,
}

async fn backup_codes(call: Call, Json(body): Json<Given>) -> Result<Json<NewCodes>, ApiError> {
    let code = body.code.ok_or_else(|| no_code().saying("TOTP code is required"))?;
    let codes = new_backup_codes(&call, &code).await?;
    let message = "Backup codes regenerated successfully";
    Ok(Json(NewCodes { message, backup_codes: shown(&codes), warning: WARNING }))
}

fn no_code() -> ApiError {
    ApiError::new(ErrorCode::CodeRequired).detail("code", json!(["This field is required."]))
}

impl From<NotNow> for ApiError {
    fn from(not_now: NotNow) -> Self {
        match not_now {
            NotNow::AlreadyOn => Self::new(ErrorCode::SecondFactorAlreadyOn),
            NotNow::NotBegun => {
                Self::new(ErrorCode::InvalidCode).saying("2FA setup not initiated. Call setup first.")
            }
            NotNow::Store(cause) => cause.into(),
        }
    }
}
