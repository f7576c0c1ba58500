//! What these endpoints take.
//!
//! Law: a password is taken exactly as it was sent and refused unhashed when it is longer than any
//! password of ours; identifiers become their one form here.

use schemars::JsonSchema;

use crate::base::{Email, Phone, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::factor::Code;
use crate::http::fields::WHOLE;
use crate::http::{Fields, FromFields};
use crate::otp::Digits;
use crate::session::{Device, MAX_DEVICE_LEN};

const NAME_MAX: usize = 100;
const CODE_MAX: usize = 5;
const NUMBER_MAX: usize = 20;
const TOKEN_MAX: usize = 512;

/// The two fields in which a phone number comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    Required,
    Optional,
}

pub(super) fn phone(fields: &mut Fields, pair: Pair) -> Option<Phone> {
    let (code, number) = match pair {
        Pair::Required => (
            fields.required("phone_country_code").max(CODE_MAX).text(),
            fields.required("phone_number").max(NUMBER_MAX).text(),
        ),
        Pair::Optional => (
            fields.optional("phone_country_code").max(CODE_MAX).or_null().or_blank().text(),
            fields.optional("phone_number").max(NUMBER_MAX).or_null().or_blank().text(),
        ),
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (given(code), given(number)) {
        (Some(code), Some(number)) => match Phone::from_parts(&code, &number) {
            Ok(phone) => Some(phone),
            Err(refused) => {
                fields.problem("phone_number", refused.to_string());
                None
            }
        },
        (Some(_), None) if pair == Pair::Optional => {
            fields.problem("phone_number", "This field is required.");
            None
        }
        (None, Some(_)) if pair == Pair::Optional => {
            fields.problem("phone_country_code", "This field is required.");
            None
        }
        _ => None,
    }
}

pub(super) fn device_info(fields: &mut Fields) -> Option<Device> {
    let text = fields.optional("device_info").max(MAX_DEVICE_LEN).or_null().or_blank().text()?;
    match Device::parse(&text) {
        Ok(device) => Some(device).filter(|device| !device.as_str().is_empty()),
        Err(refused) => {
            for problem in refused.0 {
                fields.problem("device_info", problem);
            }
            None
        }
    }
}

/// A code of a second factor; an empty one was not given.
pub(super) fn code(fields: &mut Fields, name: &'static str) -> Option<Code> {
    let text = fields.optional(name).max(Code::MAX_LEN).or_null().or_blank().secret()?;
    Code::read(text.expose())
}

/// A new account.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RegisterRequest")]
pub struct Register {
    /// Either this or a phone number.
    #[schemars(with = "Option<String>", email, skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<Email>,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    #[schemars(skip_serializing_if = "Option::is_none")]
    phone_country_code: Option<String>,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    #[schemars(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    #[schemars(skip)]
    pub(super) phone: Option<Phone>,
    pub(super) password: Secret<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) first_name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) last_name: Option<String>,
    /// Also log in, where the gateway's configuration permits it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) login: Option<bool>,
    /// `v=1|os=linux|device=desktop`; taken from the `User-Agent` where it is left out.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) device_info: Option<Device>,
}

impl FromFields for Register {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.optional("email").or_null().email();
        let phone = phone(fields, Pair::Optional);
        let password = fields.required("password").max(MAX_BYTES).secret();
        let first_name = fields.optional("first_name").max(NAME_MAX).text();
        let last_name = fields.optional("last_name").max(NAME_MAX).text();
        let login = fields.optional("login").flag();
        let device_info = device_info(fields);
        if email.is_none() && phone.is_none() && fields.problems().keys().all(|name| name == "password") {
            fields.problem(WHOLE, "Email or phone number is required");
        }
        Some(Self {
            email,
            phone_country_code: None,
            phone_number: None,
            phone,
            password: password?,
            first_name,
            last_name,
            login,
            device_info,
        })
    }
}

/// E-mail address and password.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "LoginEmailRequest")]
pub(super) struct LoginEmail {
    #[schemars(with = "String", email)]
    pub(super) email: Email,
    pub(super) password: Secret<String>,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) totp_code: Option<Code>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) device_info: Option<Device>,
}

impl FromFields for LoginEmail {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email").email();
        let password = fields.required("password").max(MAX_BYTES).secret();
        let totp_code = code(fields, "totp_code");
        let device_info = device_info(fields);
        Some(Self { email: email?, password: password?, totp_code, device_info })
    }
}

/// Phone number and password.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "LoginPhoneRequest")]
pub(super) struct LoginPhone {
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    phone_country_code: String,
    #[expect(dead_code, reason = "documents the wire; read into `phone`")]
    phone_number: String,
    #[schemars(skip)]
    pub(super) phone: Phone,
    pub(super) password: Secret<String>,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) totp_code: Option<Code>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) device_info: Option<Device>,
}

impl FromFields for LoginPhone {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let phone = phone(fields, Pair::Required);
        let password = fields.required("password").max(MAX_BYTES).secret();
        let totp_code = code(fields, "totp_code");
        let device_info = device_info(fields);
        let (phone_country_code, phone_number) = (String::new(), String::new());
        let (phone, password) = (phone?, password?);
        Some(Self { phone_country_code, phone_number, phone, password, totp_code, device_info })
    }
}

/// A refresh token, where it does not come in its cookie.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RefreshRequest")]
pub(super) struct Refresh {
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<Secret<String>>,
}

impl FromFields for Refresh {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = fields.optional("refresh_token").max(TOKEN_MAX).or_null().or_blank().secret();
        Some(Self { refresh_token: given.filter(|token| !token.expose().is_empty()) })
    }
}

/// A new password, and the present one as proof.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasswordChangeRequest")]
pub struct PasswordChange {
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) current_password: Option<Secret<String>>,
    /// In its place: six digits, from `login/otp/request/`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) otp_code: Option<Digits>,
    pub(super) new_password: Secret<String>,
}

impl PasswordChange {
    /// By the present password.
    #[must_use]
    pub const fn by_password(current: Secret<String>, new: Secret<String>) -> Self {
        Self { current_password: Some(current), otp_code: None, new_password: new }
    }
}

impl FromFields for PasswordChange {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let current = fields.optional("current_password").max(MAX_BYTES).or_null().or_blank().secret();
        let current_password = current.filter(|password| !password.expose().is_empty());
        let otp_code = fields.optional("otp_code").or_null().parsed(Digits::parse);
        let new_password = fields.required("new_password").max(MAX_BYTES).secret();
        Some(Self { current_password, otp_code, new_password: new_password? })
    }
}

/// A password to be judged.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasswordStrengthRequest")]
pub(super) struct PasswordStrength {
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<Secret<String>>,
    /// What the password should not contain.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
}

impl FromFields for PasswordStrength {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let password = fields.optional("password").max(MAX_BYTES).or_null().or_blank().secret();
        let email = fields.optional("email").max(254).or_null().or_blank().text();
        Some(Self { password, email })
    }
}
