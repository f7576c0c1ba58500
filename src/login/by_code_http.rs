//! The endpoints of logging in with a code that came by text message (contract section 11).
//!
//! Law: an answer says the same about every number, and no answer says what was wrong with a code.

use schemars::JsonSchema;
use serde::Serialize;

use super::by_code::{self, Bearer};
use super::by_password::{Entered, Refused, Visit};
use super::http::{LOGIN_CODES, LOGIN_EVENTS, carrier, cookies, device, refuse_foreign, refused_login};
use super::input::{Pair, code, device_info, phone};
use super::reset::{NotAsked, Promise};
use super::show::Tokens;
use crate::base::Phone;
use crate::factor;
use crate::http::reply::WithCookies;
use crate::http::{ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Row, post};
use crate::otp::Digits;
use crate::session::{Device, Method};

/// The endpoints of codes to log in with.
pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/login/otp/request/", request)
            .open()
            .limit(Bucket::OtpRequest)
            .codes(&[Code::FeatureDisabled])
            .audited(&["login_code_requested", "code_sent"])
            .about("Send a code to log in with, by text message"),
        post("/login/otp/verify/", verify)
            .open()
            .limit(Bucket::Login)
            .codes(LOGIN_CODES)
            .codes(&[Code::FeatureDisabled, Code::OtpInvalid])
            .audited(LOGIN_EVENTS)
            .audited(&["code_refused"])
            .about("Log in with the code that was sent"),
    ]
}

/// Whose phone it is.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "LoginCodeRequest")]
struct Wanted {
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    phone_country_code: String,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    phone_number: String,
    #[schemars(skip)]
    phone: Phone,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let phone = phone(fields, Pair::Required)?;
        Some(Self { phone_country_code: String::new(), phone_number: String::new(), phone })
    }
}

/// The code that came.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "LoginCodeVerify")]
pub struct Typed {
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    phone_country_code: String,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    phone_number: String,
    #[schemars(skip)]
    phone: Phone,
    /// Six digits.
    #[schemars(with = "String")]
    otp_code: Digits,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    totp_code: Option<factor::Code>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    device_info: Option<Device>,
}

impl FromFields for Typed {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let phone = phone(fields, Pair::Required);
        let otp_code = fields.required("otp_code").parsed(Digits::parse);
        let totp_code = code(fields, "totp_code");
        let device_info = device_info(fields);
        let (phone_country_code, phone_number) = (String::new(), String::new());
        let (phone, otp_code) = (phone?, otp_code?);
        Some(Self { phone_country_code, phone_number, phone, otp_code, totp_code, device_info })
    }
}

/// What everyone is told who asks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LoginCodeSent")]
struct Promised {
    message: &'static str,
    otp_id: String,
    /// RFC 3339, UTC.
    expires_at: String,
    /// Always `sms`.
    channel: &'static str,
}

async fn request(call: Call, Json(body): Json<Wanted>) -> Result<Json<Promised>, ApiError> {
    let promise = promised(&call, &body.phone).await?;
    Ok(Json(Promised {
        message: "OTP sent",
        otp_id: promise.id.to_string(),
        expires_at: promise.expires_at.rfc3339(),
        channel: "sms",
    }))
}

/// Sends a code to whoever has confirmed this number, for a page.
///
/// # Errors
/// What the endpoint answers; the same about every number.
pub async fn send_login_code(call: &Call, phone: &Phone) -> Result<(), ApiError> {
    promised(call, phone).await.map(drop)
}

async fn promised(call: &Call, phone: &Phone) -> Result<Promise, ApiError> {
    if !by_code::is_open(&call.app) {
        return Err(ApiError::new(Code::FeatureDisabled));
    }
    by_code::request(&call.app, phone, call.actor()).await.map_err(|refused| match refused {
        NotAsked::NoWay => ApiError::new(Code::FeatureDisabled),
        NotAsked::Store(cause) => cause.into(),
    })
}

/// Lets somebody in who typed the code that was sent, for a page. Whether this way in is open, whoever
/// calls this has asked.
///
/// # Errors
/// [`Refused`], as the endpoint is refused.
pub async fn log_in_with_code(call: &Call, typed: Typed) -> Result<Entered, Refused> {
    let (device, address) = (device(call, typed.device_info), call.head.client);
    let visit = Visit { method: Method::Code, device, address, actor: call.actor() };
    let bearer = Bearer { phone: typed.phone, digits: typed.otp_code, code: typed.totp_code };
    by_code::log_in(&call.app, bearer, visit).await
}

async fn verify(call: Call, Json(body): Json<Typed>) -> Result<WithCookies<Json<Tokens>>, ApiError> {
    if !by_code::is_open(&call.app) {
        return Err(ApiError::new(Code::FeatureDisabled));
    }
    let carrier = carrier(&call.app.config());
    refuse_foreign(&call, carrier)?;
    let now = call.app.now();
    let entered = log_in_with_code(&call, body).await.map_err(|refused| match refused {
        Refused::Wrong => ApiError::new(Code::OtpInvalid),
        other => refused_login(other, "Invalid or expired code", now),
    })?;
    let answer = Tokens::of_entered(&entered, carrier, call.app.now());
    Ok(Json(answer).with_cookies(cookies(&call, &entered.session, &entered.pair)))
}
