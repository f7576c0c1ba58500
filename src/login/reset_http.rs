//! The endpoints of forgotten passwords (contract section 16.2).
//!
//! Law: an answer says the same about every identifier, and no answer says what was wrong with a code.

use schemars::JsonSchema;
use serde::Serialize;

use super::breached::breached;
use super::by_password::Identifier;
use super::http::refuse_weak;
use super::input::{Pair, phone};
use super::reset::{self, Key, NotAsked, Promise, Refused};
use crate::base::{Email, Phone, Secret};
use crate::breach::Safety;
use crate::crypto::password::MAX_BYTES;
use crate::http::fields::WHOLE;
use crate::http::{ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Row, post};
use crate::otp::Digits;

const TOKEN_MAX: usize = 128;

/// The endpoints of forgotten passwords.
pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/password/reset/request/", request)
            .open()
            .limit(Bucket::PasswordReset)
            .codes(&[Code::FeatureDisabled])
            .audited(&["password_reset_request", "code_sent"])
            .about("Send a code that resets a forgotten password"),
        post("/password/reset/confirm/", confirm)
            .open()
            .limit(Bucket::OtpVerify)
            .codes(&[Code::ResetFailed, Code::PasswordReused, Code::PasswordBreached, Code::Overloaded])
            .audited(&[
                "password_reset_complete",
                "password_change",
                "session_ended",
                "email_verified",
                "phone_verified",
                "code_refused",
            ])
            .about("Set a new password with the code or the link that was sent; every session ends"),
    ]
}

/// Whose password was forgotten.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasswordResetRequest")]
pub struct Forgotten {
    /// Either this or a phone number.
    #[schemars(with = "Option<String>", email, skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    #[schemars(skip_serializing_if = "Option::is_none")]
    phone_country_code: Option<String>,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    #[schemars(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    #[schemars(skip)]
    phone: Option<Phone>,
}

impl Forgotten {
    /// Of whoever has this address.
    #[must_use]
    pub const fn by_email(email: Email) -> Self {
        Self { email: Some(email), phone_country_code: None, phone_number: None, phone: None }
    }
}

impl FromFields for Forgotten {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.optional("email").or_null().email();
        let phone = phone(fields, Pair::Optional);
        if email.is_none() && phone.is_none() && fields.problems().is_empty() {
            fields.problem(WHOLE, "Email or phone number is required");
        }
        Some(Self { email, phone_country_code: None, phone_number: None, phone })
    }
}

/// A new password, and what proves that it may be set.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasswordResetConfirm")]
pub struct Confirmation {
    /// The six digits of the code. Goes with `email` or the phone number that it was sent to.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    otp_code: Option<Digits>,
    /// The token of the link, which needs nothing beside it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
    new_password: Secret<String>,
    #[schemars(with = "Option<String>", email, skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    #[schemars(skip_serializing_if = "Option::is_none")]
    phone_country_code: Option<String>,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    #[schemars(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    #[schemars(skip)]
    phone: Option<Phone>,
}

impl Confirmation {
    /// By the token of a link.
    #[must_use]
    pub const fn by_link(token: Secret<String>, new_password: Secret<String>) -> Self {
        Self {
            otp_code: None,
            token: Some(token),
            new_password,
            email: None,
            phone_country_code: None,
            phone_number: None,
            phone: None,
        }
    }
}

impl FromFields for Confirmation {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let otp_code = fields.optional("otp_code").or_null().parsed(Digits::parse);
        let token = fields.optional("token").max(TOKEN_MAX).or_null().secret();
        let new_password = fields.required("new_password").max(MAX_BYTES).secret();
        let email = fields.optional("email").or_null().email();
        let phone = phone(fields, Pair::Optional);
        if token.is_none() && otp_code.is_none() && !fields.problems().contains_key("otp_code") {
            fields.problem(WHOLE, "The code or the token of the link is required");
        }
        if token.is_none() && email.is_none() && phone.is_none() && fields.problems().is_empty() {
            fields.problem(WHOLE, "Email or phone number is required");
        }
        let (phone_country_code, phone_number) = (None, None);
        let new_password = new_password?;
        Some(Self { otp_code, token, new_password, email, phone_country_code, phone_number, phone })
    }
}

/// What everyone is told who asks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasswordResetSent")]
struct Promised {
    message: &'static str,
    otp_id: String,
    /// RFC 3339, UTC.
    expires_at: String,
    /// `email` or `sms`: how it was asked for.
    channel: &'static str,
}

async fn request(call: Call, Json(body): Json<Forgotten>) -> Result<Json<Promised>, ApiError> {
    let asked = identifier(body.email, body.phone)?;
    let channel = match &asked {
        Identifier::Email(_) => "email",
        Identifier::Phone(_) => "sms",
    };
    let promise = promised(&call, &asked).await?;
    Ok(Json(Promised {
        message: "Password reset code sent",
        otp_id: promise.id.to_string(),
        expires_at: promise.expires_at.rfc3339(),
        channel,
    }))
}

/// A password was reset.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasswordReset")]
struct Done {
    message: &'static str,
    /// Always true: log in with the new password.
    tokens_revoked: bool,
    /// Whether it is in no known breach; false where nobody could tell.
    password_safe: bool,
}

async fn promised(call: &Call, asked: &Identifier) -> Result<Promise, ApiError> {
    reset::request(&call.app, asked, call.actor()).await.map_err(|refused| match refused {
        NotAsked::NoWay => ApiError::new(Code::FeatureDisabled),
        NotAsked::Store(cause) => cause.into(),
    })
}

/// Sends what resets a forgotten password, for a page.
///
/// # Errors
/// What the endpoint answers; the same about every address and number.
pub async fn ask_for_reset(call: &Call, wish: Forgotten) -> Result<(), ApiError> {
    promised(call, &identifier(wish.email, wish.phone)?).await.map(drop)
}

/// Resets a password by what was sent, which ends every session of its person.
///
/// # Errors
/// What the endpoint answers.
pub async fn reset_password(call: &Call, body: Confirmation) -> Result<Safety, ApiError> {
    let key = match (body.token, body.otp_code) {
        (Some(token), _) => Key::Link(token),
        (None, Some(digits)) => Key::Code(identifier(body.email, body.phone)?, digits),
        (None, None) => return Err(ApiError::new(Code::ResetFailed)),
    };
    reset::confirm(&call.app, key, body.new_password, call.actor()).await.map_err(refused)
}

async fn confirm(call: Call, Json(body): Json<Confirmation>) -> Result<Json<Done>, ApiError> {
    let password_safe = reset_password(&call, body).await? == Safety::Good;
    Ok(Json(Done { message: "Password reset successful", tokens_revoked: true, password_safe }))
}

/// What was asked for by e-mail address goes there, also where a phone number was given.
fn identifier(email: Option<Email>, phone: Option<Phone>) -> Result<Identifier, ApiError> {
    let phone = || phone.map(Identifier::Phone);
    let given = email.map(Identifier::Email).or_else(phone);
    given.ok_or_else(|| ApiError::invalid(WHOLE, &["Email or phone number is required".to_owned()]))
}

fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::Wrong => ApiError::new(Code::ResetFailed),
        Refused::Weak(weaknesses) => match refuse_weak("new_password", &weaknesses) {
            Err(error) => error,
            Ok(()) => ApiError::internal("a password was refused without a reason"),
        },
        Refused::Reused => ApiError::new(Code::PasswordReused),
        Refused::Breached(why) => breached(why),
        Refused::Overloaded => ApiError::new(Code::Overloaded),
        Refused::Store(cause) => cause.into(),
    }
}
