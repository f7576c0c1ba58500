//! What these endpoints answer.
//!
//! Law: an answer carries every name that a client of any wire looks for; where the refresh token
//! travels in a cookie it is in no body.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::Rights;
use super::by_password::Entered;
use crate::account::{Account, User, user};
use crate::base::Timestamp;
use crate::principal::Scope;
use crate::session::{Device, Pair, Session};

/// Where the refresh token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Body,
    Cookie,
}

impl fmt::Debug for Tokens {
    /// Printed by nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// Tokens, and whose they are.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tokens {
    access_token: String,
    /// The same as `access_token`.
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// The same as `refresh_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_expires_in: Option<u64>,
    /// Set where the tokens open only a few endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_scope: Option<&'static str>,
    device_summary: String,
    user: User,
    /// The account has a second factor.
    requires_2fa: bool,
    /// Where the tokens are only for turning on a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_2fa_setup: Option<bool>,
    session_id: String,
    /// Tells devices apart, as far as one can; null where nothing is known of the device.
    device_id: Option<String>,
    must_change_password: bool,
}

/// Where the refresh token of this session travels: a restricted one is for one step in one page.
pub(super) const fn carrier_of(session: &Session, wanted: Carrier) -> Carrier {
    if session.scope.is_some() { Carrier::Body } else { wanted }
}

impl Tokens {
    pub(super) fn of_entered(entered: &Entered, carrier: Carrier, now: Timestamp) -> Self {
        Self::of(&entered.account, &entered.rights, &entered.session, &entered.pair, carrier, now)
    }

    pub(super) fn of(
        account: &Account,
        rights: &Rights,
        session: &Session,
        pair: &Pair,
        carrier: Carrier,
        now: Timestamp,
    ) -> Self {
        let access = pair.access.token.expose().clone();
        let is_setup = session.scope == Some(Scope::SecondFactorSetupOnly);
        let is_shown = carrier_of(session, carrier) == Carrier::Body && !is_setup;
        let refresh = is_shown.then(|| pair.refresh.expose().clone());
        // It was checked when it came in.
        let device = Device::parse(&session.device_info).unwrap_or_default();
        Self {
            access_token: access.clone(),
            access,
            refresh_token: refresh.clone(),
            refresh,
            token_type: "Bearer",
            expires_in: pair.access.expires_at.since(now).as_secs(),
            refresh_expires_in: (!is_setup).then(|| pair.refresh_expires_at.since(now).as_secs()),
            token_scope: session.scope.map(Scope::as_str),
            device_summary: device.summary(),
            user: user(account, &rights.roles, &rights.permissions),
            requires_2fa: account.second_factor_at.is_some(),
            requires_2fa_setup: is_setup.then_some(true),
            session_id: session.id.to_string(),
            device_id: (!session.device_info.is_empty()).then(|| session.device_key.clone()),
            must_change_password: account.must_change_password,
        }
    }
}

/// The answer to a registration, the same for a new account and for the appearance of one.
#[derive(Serialize, JsonSchema)]
pub(super) struct Registration {
    message: &'static str,
    user: User,
    verification_required: Verification,
    /// Where registering also logs in.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    tokens: Option<RegistrationTokens>,
}

/// What has to be proved yet.
#[derive(Serialize, JsonSchema)]
struct Verification {
    email: bool,
    phone: bool,
}

/// The tokens of a registration that also logs in.
#[derive(Serialize, JsonSchema)]
struct RegistrationTokens {
    access_token: String,
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_expires_in: Option<u64>,
    session_id: String,
}

impl Registration {
    pub(super) fn shown(account: &Account) -> Self {
        let verification_required = Verification {
            email: account.email.is_some() && !account.is_email_verified,
            phone: account.phone.is_some() && !account.is_phone_verified,
        };
        let user = user(account, &[], &[]);
        Self { message: "Registration successful", user, verification_required, tokens: None }
    }

    pub(super) fn logged_in(entered: &Entered, carrier: Carrier, now: Timestamp) -> Self {
        let tokens = Tokens::of_entered(entered, carrier, now);
        let tokens = RegistrationTokens {
            access_token: tokens.access_token,
            access: tokens.access,
            refresh_token: tokens.refresh_token,
            refresh: tokens.refresh,
            token_type: tokens.token_type,
            expires_in: tokens.expires_in,
            refresh_expires_in: tokens.refresh_expires_in,
            session_id: tokens.session_id,
        };
        Self { tokens: Some(tokens), ..Self::shown(&entered.account) }
    }
}

/// Something was done.
#[derive(Serialize, JsonSchema)]
pub(super) struct Done {
    pub(super) message: String,
}

/// A password was changed.
#[derive(Serialize, JsonSchema)]
pub(super) struct PasswordChanged {
    pub(super) message: &'static str,
    /// `weak`, `fair`, `good`, `strong` or `excellent`.
    pub(super) password_strength: &'static str,
    /// Always true: log in again with the new password.
    pub(super) sessions_revoked: bool,
}

/// How good a password would be.
#[derive(Serialize, JsonSchema)]
pub(super) struct PasswordStrength {
    /// 0 to 100.
    pub(super) score: u8,
    pub(super) strength: &'static str,
    pub(super) is_valid: bool,
    /// What is wrong with it, in words.
    pub(super) errors: Vec<String>,
    pub(super) requirements: Vec<String>,
}

/// What a password must be.
#[derive(Serialize, JsonSchema)]
pub(super) struct PasswordRequirements {
    pub(super) requirements: Vec<String>,
    pub(super) min_length: usize,
    pub(super) max_length: usize,
}
