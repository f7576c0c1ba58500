//! The endpoints of one-time codes (contract section 15).
//!
//! Law: a person asks for codes for themselves. An answer holds when a code ends and a masked address, never the code.

use schemars::JsonSchema;
use serde::Serialize;

use super::contact::{self, Confirmed, Unconfirmed};
use super::{Digits, Errand, Form, NotSent, Purpose, Refused, Sent, Which, check, send, words};
use crate::account::{self, Target};
use crate::audit::Contact;
use crate::http::{ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Row, post};

const VERIFY_CODES: &[Code] = &[Code::OtpVerificationFailed];

/// The endpoints of this slice.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        post("/otp/request/", request)
            .person()
            .limit(Bucket::OtpRequest)
            .codes(&[Code::NoEmail, Code::NoPhone, Code::FeatureDisabled])
            .audited(&["code_sent"])
            .about("Send me a code that confirms my e-mail address or phone number"),
        post("/otp/verify/email/", verify_email)
            .person()
            .limit(Bucket::OtpVerify)
            .codes(VERIFY_CODES)
            .audited(&["email_verified", "contact_changed", "session_ended", "code_refused"])
            .about("Confirm my e-mail address with the code that was sent there"),
        post("/otp/verify/phone/", verify_phone)
            .person()
            .limit(Bucket::OtpVerify)
            .codes(VERIFY_CODES)
            .audited(&["phone_verified", "contact_changed", "session_ended", "code_refused"])
            .about("Confirm my phone number with the code that was sent there"),
    ]
}

/// What is to be confirmed.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OtpRequest")]
struct Wanted {
    /// `email` or `phone`.
    #[schemars(with = "String")]
    otp_type: Contact,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let otp_type = fields.required("otp_type").parsed(|text| match text {
            "email" => Ok(Contact::Email),
            "phone" => Ok(Contact::Phone),
            other => Err(format!("\"{other}\" is not a valid choice.")),
        });
        Some(Self { otp_type: otp_type? })
    }
}

/// The code that came.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OtpVerifyRequest")]
struct Typed {
    /// Six digits.
    #[schemars(with = "String")]
    code: Digits,
}

impl FromFields for Typed {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { code: fields.required("code").parsed(Digits::parse)? })
    }
}

/// A code is on its way.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OtpSent")]
struct OnItsWay {
    message: &'static str,
    otp_id: String,
    /// RFC 3339, UTC.
    expires_at: String,
    /// `email` or `sms`.
    channel: &'static str,
    masked_recipient: String,
}

async fn request(call: Call, Json(body): Json<Wanted>) -> Result<Json<OnItsWay>, ApiError> {
    let (to, sent) = send_contact_code(&call, body.otp_type).await?;
    Ok(Json(OnItsWay {
        message: "OTP sent",
        otp_id: sent.id.to_string(),
        expires_at: sent.expires_at.rfc3339(),
        channel: match body.otp_type {
            Contact::Email => "email",
            Contact::Phone => "sms",
        },
        masked_recipient: words::masked(&to),
    }))
}

/// Sends the caller a code that confirms what they wish for on this channel, or have.
///
/// # Errors
/// What the endpoint answers.
pub async fn send_contact_code(call: &Call, channel: Contact) -> Result<(Target, Sent), ApiError> {
    let app = &call.app;
    let account = account::by_id(&app.db, call.person()?.account.id).await?;
    let account = account.ok_or_else(|| ApiError::new(Code::Unauthorized))?;
    let missing = match channel {
        Contact::Email => Code::NoEmail,
        Contact::Phone => Code::NoPhone,
    };
    let to = contact::target_of(&account, channel).ok_or_else(|| ApiError::new(missing))?;
    let mut change = app.change(call.actor()).await?;
    let errand = Errand { account: &account, purpose: Purpose::Contact, to: &to, form: Form::Code };
    let sent = send(&mut change, &errand).await.map_err(|refused| match refused {
        NotSent::TooSoon { until } => ApiError::new(Code::RateLimited)
            .saying("A code was sent a moment ago.")
            .retry_after(until.since(app.now())),
        NotSent::NoWay => ApiError::new(Code::FeatureDisabled),
        NotSent::Store(cause) => cause.into(),
    })?;
    change.commit().await?;
    Ok((to, sent))
}

/// An e-mail address is confirmed.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the keys of the wire")]
struct EmailVerified {
    message: &'static str,
    email_verified: bool,
    verified_at: String,
    email: String,
    /// Whether it took the place of another one.
    changed: bool,
}

/// A phone number is confirmed.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the keys of the wire")]
struct PhoneVerified {
    message: &'static str,
    phone_verified: bool,
    verified_at: String,
    phone_number: String,
    /// Whether it took the place of another one.
    changed: bool,
}

async fn verify_email(call: Call, Json(body): Json<Typed>) -> Result<Json<EmailVerified>, ApiError> {
    let (email, changed) = confirm_contact(&call, Contact::Email, &body.code).await?;
    let verified_at = call.app.now().rfc3339();
    let message = "Email verified successfully";
    Ok(Json(EmailVerified { message, email_verified: true, verified_at, email, changed }))
}

async fn verify_phone(call: Call, Json(body): Json<Typed>) -> Result<Json<PhoneVerified>, ApiError> {
    let (phone_number, changed) = confirm_contact(&call, Contact::Phone, &body.code).await?;
    let verified_at = call.app.now().rfc3339();
    let message = "Phone verified successfully";
    Ok(Json(PhoneVerified { message, phone_verified: true, verified_at, phone_number, changed }))
}

/// What is confirmed now by the code that the caller was sent, and whether it took the place of another one.
///
/// # Errors
/// What the endpoints answer.
pub async fn confirm_contact(
    call: &Call,
    channel: Contact,
    code: &Digits,
) -> Result<(String, bool), ApiError> {
    let person = call.person()?;
    let which = Which { account: person.account.id, purpose: Purpose::Contact, channel };
    let proof = check(&call.app, which, code, call.actor()).await.map_err(refused)?;
    let mut change = call.app.change(call.actor()).await?;
    let confirmed = contact::confirm(&mut change, which.account, person.session.sid, &proof).await;
    let (target, changed) = match confirmed {
        Ok(Confirmed::Proved(target)) => (target, false),
        Ok(Confirmed::Changed(target)) => (target, true),
        Err(Unconfirmed::Refused) => return Err(refused(Refused::Unknown)),
        Err(Unconfirmed::Taken) => {
            let taken = ApiError::new(Code::OtpVerificationFailed);
            return Err(taken.saying("Another account has proved that this is theirs."));
        }
        Err(Unconfirmed::Store(cause)) => return Err(cause.into()),
    };
    change.commit().await?;
    Ok((target.as_str().to_owned(), changed))
}

fn refused(refused: Refused) -> ApiError {
    let failed = ApiError::new(Code::OtpVerificationFailed);
    match refused {
        Refused::Unknown => failed,
        Refused::Over => failed.saying("Code expired or too many attempts. Please request a new code."),
        Refused::Wrong { left: 0 } => failed.saying("Too many attempts. Please request a new code."),
        Refused::Wrong { left } => failed.saying(format!("Invalid code. {left} attempt(s) remaining.")),
        Refused::Store(cause) => cause.into(),
    }
}
