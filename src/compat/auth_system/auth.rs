//! `/auth/…`: in, out, and passwords.
//!
//! Law: the doors are those of `login`, with their counting. A client of this profile never looks for another
//! refresh token, so the one that it gets stays the same; one that was given elsewhere is not taken here, where it
//! would not be used up.

use schemars::JsonSchema;
use serde::Serialize;

use super::refusal::WORDING;
use super::view::User;
use super::words;
use super::{NAME, TOKEN_MAX};
use crate::account;
use crate::base::{Email, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::factor::Code;
use crate::http::{
    ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Json, NoContent, Nothing, Row, get, post,
};
use crate::login::{
    self, Forgotten, Identifier, LOGIN_CODES, LOGIN_EVENTS, PasswordChange, ResetConfirmation, Visitor,
    log_in_kept, refused_login,
};
use crate::principal::Scope;
use crate::rbac;
use crate::session::{self, Device, Pair};

pub(super) fn rows() -> Vec<Row> {
    let entries = [
        post("/auth/login", log_in)
            .open()
            .codes(LOGIN_CODES)
            .codes(&[ErrorCode::Overloaded])
            .audited(LOGIN_EVENTS)
            .audited(&["password_rehashed"])
            .about("Log in with e-mail address and password"),
        post("/auth/refresh", refresh)
            .open()
            .codes(&[ErrorCode::RefreshFailed])
            .audited(&["token_refresh"])
            .about("Get another access token; the refresh token stays the same"),
        post("/auth/forgot-password", forgot_password)
            .open()
            .codes(&[ErrorCode::FeatureDisabled])
            .audited(&["password_reset_request", "code_sent"])
            .about("Send a link that resets a forgotten password"),
        post("/auth/reset-password", reset_password)
            .open()
            .codes(&[
                ErrorCode::ResetFailed,
                ErrorCode::PasswordReused,
                ErrorCode::PasswordBreached,
                ErrorCode::Overloaded,
            ])
            .audited(&[
                "password_reset_complete",
                "password_change",
                "session_ended",
                "email_verified",
                "phone_verified",
            ])
            .about("Set a new password by the token of the link; every session ends"),
        post("/auth/change-password", change_password)
            .person()
            .admitting(Scope::PasswordChangeOnly)
            .codes(&[
                ErrorCode::InvalidPassword,
                ErrorCode::PasswordReused,
                ErrorCode::PasswordBreached,
                ErrorCode::PasswordlessAccount,
                ErrorCode::AccountLocked,
                ErrorCode::Overloaded,
            ])
            .audited(&["password_change", "session_ended", "login_failed", "account_locked"])
            .about("Change my password; every session of mine ends"),
    ];
    let others = [
        post("/auth/logout", log_out)
            .person()
            .admitting(Scope::PasswordChangeOnly)
            .audited(&["logout"])
            .about("End my session, and the one of a refresh token"),
        get("/auth/me", me).person().admitting(Scope::PasswordChangeOnly).about("Who I am, and what I hold"),
    ];
    let entries = entries.into_iter().map(|row| match row.path() {
        // What sends mail to strangers counts together with what else does.
        "/auth/forgot-password" => row.limit(Bucket::PasswordReset),
        "/auth/refresh" => row.limit(Bucket::AuthSystemRefresh),
        _ => row.limit(Bucket::AuthSystemEntry),
    });
    let all = entries.chain(others.into_iter().map(|row| row.limit(Bucket::AuthSystemGeneral)));
    all.map(|row| row.strict().of_profile(NAME, WORDING)).collect()
}

/// Who somebody says they are.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemLogin")]
struct LoginBody {
    #[schemars(with = "String", email)]
    email: Email,
    password: Secret<String>,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    totp_code: Option<Code>,
}

impl FromFields for LoginBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email").email();
        let password = fields.required("password").max(MAX_BYTES).secret();
        let totp_code = fields
            .optional("totp_code")
            .or_null()
            .or_blank()
            .text()
            .filter(|text| !text.is_empty())
            .and_then(|text| Code::read(&text));
        Some(Self { email: email?, password: password?, totp_code })
    }
}

/// Tokens, and whose they are.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemTokens")]
struct Entered {
    access_token: String,
    /// Stays the same as long as the session lasts.
    refresh_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    user: User,
}

async fn log_in(call: Call, Json(body): Json<LoginBody>) -> Result<Json<Entered>, ApiError> {
    let visitor = Visitor {
        identifier: Identifier::Email(body.email),
        password: body.password,
        code: body.totp_code,
        device: Device::guess(call.head.user_agent.as_deref().unwrap_or_default()),
        address: call.head.client,
        actor: call.actor(),
    };
    let now = call.app.now();
    let entered = log_in_kept(&call.app, visitor, words::claims).await;
    let entered = entered.map_err(|refused| refused_login(refused, "Invalid email or password", now))?;
    Ok(Json(Entered {
        access_token: entered.pair.access.token.expose().clone(),
        refresh_token: entered.pair.refresh.expose().clone(),
        token_type: "bearer",
        expires_in: lasts(&call, &entered.pair),
        user: User::whole(&call.app, &entered.account, entered.granted().clone()),
    }))
}

/// How long an access token is good, in seconds.
fn lasts(call: &Call, pair: &Pair) -> u64 {
    pair.access.expires_at.since(call.app.now()).as_secs()
}

/// A refresh token.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemRefresh")]
struct RefreshBody {
    refresh_token: Secret<String>,
}

impl FromFields for RefreshBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { refresh_token: fields.required("refresh_token").max(TOKEN_MAX).secret()? })
    }
}

/// Another access token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemRefreshed")]
struct Refreshed {
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
}

async fn refresh(call: Call, Json(body): Json<RefreshBody>) -> Result<Json<Refreshed>, ApiError> {
    if !session::is_kept(body.refresh_token.expose()) {
        return Err(ApiError::new(ErrorCode::RefreshFailed));
    }
    let refreshed = login::refresh_by(&call, &body.refresh_token, words::claims).await?;
    Ok(Json(Refreshed {
        access_token: refreshed.pair.access.token.expose().clone(),
        token_type: "bearer",
        expires_in: lasts(&call, &refreshed.pair),
    }))
}

async fn log_out(call: Call, Json(body): Json<RefreshBody>) -> Result<NoContent, ApiError> {
    let person = call.person()?;
    login::log_out_by(&call, &body.refresh_token).await?;
    let mut change = call.app.change(call.actor()).await?;
    if session::log_out(&mut change, person.account.id, person.session.sid).await? {
        change.commit().await?;
    }
    Ok(NoContent)
}

async fn me(call: Call, _: Nothing) -> Result<Json<User>, ApiError> {
    let own = account::by_id(&call.app.db, call.person()?.account.id).await?;
    let own = own.ok_or_else(|| ApiError::new(ErrorCode::Unauthorized))?;
    let given = rbac::assignments(&call.app.db, own.id).await?;
    Ok(Json(User::whole(&call.app, &own, given)))
}

/// What was done, in a sentence.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemMessage")]
pub(super) struct Done {
    pub(super) message: &'static str,
}

/// Reads a new password that is given twice.
fn new_password(fields: &mut Fields) -> Option<Secret<String>> {
    let new = fields.required("new_password").max(MAX_BYTES).secret();
    let again = fields.required("confirm_password").max(MAX_BYTES).secret();
    if let (Some(new), Some(again)) = (&new, &again)
        && new.expose() != again.expose()
    {
        fields.problem("confirm_password", "This is not the new password.");
    }
    new
}

/// A new password, and the present one as proof.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemPasswordChange")]
#[expect(clippy::struct_field_names, reason = "the names of the wire")]
struct ChangeBody {
    current_password: Secret<String>,
    new_password: Secret<String>,
    /// The new one again.
    #[expect(dead_code, reason = "documents the wire; compared where it is read")]
    #[schemars(with = "String")]
    confirm_password: (),
}

impl FromFields for ChangeBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let current = fields.required("current_password").max(MAX_BYTES).secret();
        let new = new_password(fields);
        Some(Self { current_password: current?, new_password: new?, confirm_password: () })
    }
}

async fn change_password(call: Call, Json(body): Json<ChangeBody>) -> Result<Json<Done>, ApiError> {
    let wish = PasswordChange::by_password(body.current_password, body.new_password);
    login::change_own_password(&call, wish).await?;
    Ok(Json(Done { message: "Password changed successfully" }))
}

/// Whose password was forgotten.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemForgotten")]
struct ForgottenBody {
    #[schemars(with = "String", email)]
    email: Email,
}

impl FromFields for ForgottenBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { email: fields.required("email").email()? })
    }
}

async fn forgot_password(call: Call, Json(body): Json<ForgottenBody>) -> Result<Json<Done>, ApiError> {
    login::ask_for_reset(&call, Forgotten::by_email(body.email)).await?;
    Ok(Json(Done { message: "Password reset instructions sent to email" }))
}

/// A new password, and the token of the link that was sent.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemReset")]
struct ResetBody {
    token: Secret<String>,
    new_password: Secret<String>,
    /// The new one again.
    #[expect(dead_code, reason = "documents the wire; compared where it is read")]
    #[schemars(with = "String")]
    confirm_password: (),
}

impl FromFields for ResetBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token").max(TOKEN_MAX).secret();
        let new = new_password(fields);
        Some(Self { token: token?, new_password: new?, confirm_password: () })
    }
}

async fn reset_password(call: Call, Json(body): Json<ResetBody>) -> Result<Json<Done>, ApiError> {
    login::reset_password(&call, ResetConfirmation::by_link(body.token, body.new_password)).await?;
    Ok(Json(Done { message: "Password reset successfully" }))
}
