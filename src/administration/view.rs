//! People as those see them who look after them.
//! Law: no hash, no secret, nothing that opens anything; a lock that is over is none.

use schemars::JsonSchema;
use serde::Serialize;

use crate::account::Account;
use crate::app::App;
use crate::base::Timestamp;
use crate::policy::{Assignments, Code};

/// Somebody in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AdminUserName")]
#[expect(clippy::struct_excessive_bools, reason = "the keys of the wire")]
pub(super) struct Item {
    /// The number of the account.
    id: String,
    email: Option<String>,
    first_name: String,
    last_name: String,
    is_active: bool,
    /// By an administrator, at this moment.
    is_locked: bool,
    is_banned: bool,
    is_deleted: bool,
    is_email_verified: bool,
    is_phone_verified: bool,
    is_2fa_enabled: bool,
    /// Codes of the roles that were given to them, sorted.
    roles: Vec<String>,
    /// RFC 3339, UTC.
    created_at: String,
    last_login: Option<String>,
}

impl Item {
    pub(super) fn of(own: &Account, roles: Vec<String>, now: Timestamp) -> Self {
        Self {
            id: own.number.to_string(),
            email: own.email.as_ref().map(ToString::to_string),
            first_name: own.first_name.clone(),
            last_name: own.last_name.clone(),
            is_active: own.is_active,
            is_locked: own.lock(now).is_some(),
            is_banned: own.is_banned,
            is_deleted: own.deleted_at.is_some(),
            is_email_verified: own.is_email_verified,
            is_phone_verified: own.is_phone_verified,
            is_2fa_enabled: own.second_factor_at.is_some(),
            roles,
            created_at: own.created_at.rfc3339(),
            last_login: own.last_login_at.map(Timestamp::rfc3339),
        }
    }
}

/// Somebody.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AdminUser")]
#[expect(clippy::struct_excessive_bools, reason = "the keys of the wire")]
pub(super) struct Detail {
    /// The number of the account.
    id: String,
    /// The id of the account, which backends and the audit trail know.
    account_id: String,
    email: Option<String>,
    username: Option<String>,
    /// With its country code.
    phone: Option<String>,
    first_name: String,
    last_name: String,
    is_active: bool,
    /// By an administrator, at this moment.
    is_locked: bool,
    /// Null where the lock has no end, or there is none.
    locked_until: Option<String>,
    is_banned: bool,
    is_deleted: bool,
    deleted_at: Option<String>,
    is_email_verified: bool,
    is_phone_verified: bool,
    is_2fa_enabled: bool,
    is_staff: bool,
    is_superuser: bool,
    /// Whether a login opens nothing but choosing another password.
    must_change_password: bool,
    /// What the configuration allows everybody; null is any number.
    max_sessions: Option<u32>,
    max_devices: Option<u32>,
    /// Codes of the roles that were given to them, sorted.
    roles: Vec<String>,
    /// Codes of everything that they hold, by roles, groups and parents too.
    permissions: Vec<String>,
    /// RFC 3339, UTC.
    created_at: String,
    updated_at: String,
    last_login: Option<String>,
}

impl Detail {
    /// Somebody, with what they were granted.
    pub(super) fn of(app: &App, own: &Account, mut held: Assignments) -> Self {
        let (config, now) = (app.config(), app.now());
        held.is_superuser = own.is_superuser;
        let texts = |codes: &[Code]| codes.iter().map(ToString::to_string).collect();
        Self {
            id: own.number.to_string(),
            account_id: own.id.to_string(),
            email: own.email.as_ref().map(ToString::to_string),
            username: own.username.as_ref().map(ToString::to_string),
            phone: own.phone.as_ref().map(ToString::to_string),
            first_name: own.first_name.clone(),
            last_name: own.last_name.clone(),
            is_active: own.is_active,
            is_locked: own.lock(now).is_some(),
            locked_until: own.lock(now).and_then(|lock| lock.until).map(Timestamp::rfc3339),
            is_banned: own.is_banned,
            is_deleted: own.deleted_at.is_some(),
            deleted_at: own.deleted_at.map(Timestamp::rfc3339),
            is_email_verified: own.is_email_verified,
            is_phone_verified: own.is_phone_verified,
            is_2fa_enabled: own.second_factor_at.is_some(),
            is_staff: own.is_staff,
            is_superuser: own.is_superuser,
            must_change_password: own.must_change_password,
            max_sessions: config.sessions.max,
            max_devices: config.sessions.devices,
            roles: texts(&held.roles),
            permissions: texts(&app.catalogue().rights(&held).codes()),
            created_at: own.created_at.rfc3339(),
            updated_at: own.updated_at.rfc3339(),
            last_login: own.last_login_at.map(Timestamp::rfc3339),
        }
    }
}
