//! The user object: an account as the API shows it (contract section 8.1).
//!
//! Law: every answer that shows a person shows this, with every key, so that clients have one type.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Account;
use crate::base::Timestamp;
use crate::policy::code::Code;

/// A person as the API shows them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "User")]
#[expect(clippy::struct_excessive_bools, reason = "the keys of the wire")]
pub struct User {
    /// A UUID.
    pub id: String,
    pub email: Option<String>,
    pub username: Option<String>,
    pub phone: Option<String>,
    /// Always null: pictures are not kept here.
    pub avatar: Option<String>,
    pub bio: String,
    pub timezone: String,
    pub language: String,
    pub first_name: String,
    pub last_name: String,
    pub is_active: bool,
    pub is_email_verified: bool,
    pub is_phone_verified: bool,
    pub is_2fa_enabled: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub updated_at: String,
    pub last_login: Option<String>,
    /// Whatever JSON the person keeps here.
    pub custom_fields: Value,
    pub preferences: Preferences,
    /// Codes, sorted.
    pub roles: Vec<String>,
    /// Codes of everything the person may do, sorted.
    pub permissions: Vec<String>,
}

/// The same for everybody.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Preferences {
    email_notifications: bool,
    sms_notifications: bool,
    marketing_emails: bool,
}

const PREFERENCES: Preferences =
    Preferences { email_notifications: true, sms_notifications: false, marketing_emails: false };

/// The user object of an account that holds these roles and permissions.
#[must_use]
pub fn user(account: &Account, roles: &[Code], permissions: &[Code]) -> User {
    let texts = |codes: &[Code]| codes.iter().map(ToString::to_string).collect();
    User {
        id: account.id.to_string(),
        email: account.email.as_ref().map(ToString::to_string),
        username: account.username.as_ref().map(ToString::to_string),
        phone: account.phone.as_ref().map(ToString::to_string),
        avatar: None,
        bio: account.bio.clone(),
        timezone: account.timezone.clone(),
        language: account.language.clone(),
        first_name: account.first_name.clone(),
        last_name: account.last_name.clone(),
        is_active: account.is_active,
        is_email_verified: account.is_email_verified,
        is_phone_verified: account.is_phone_verified,
        is_2fa_enabled: account.second_factor_at.is_some(),
        created_at: account.created_at.rfc3339(),
        updated_at: account.updated_at.rfc3339(),
        last_login: account.last_login_at.map(Timestamp::rfc3339),
        custom_fields: account.custom_fields(),
        preferences: PREFERENCES,
        roles: texts(roles),
        permissions: texts(permissions),
    }
}
