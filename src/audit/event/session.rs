//! Logins and what becomes of their sessions.
//!
//! Law: whatever ends a session names it as a subject, because that is what stops its requests.

use serde::{Serialize, Serializer};

use crate::audit::Subject;
use crate::base::Id;

/// Why a session ended without its person logging out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    LoggedOutEverywhere,
    /// A newer login took its place.
    Limit,
    PasswordChanged,
    ContactChanged,
    AccountLocked,
    AccountDeactivated,
    AccountBanned,
    AccountDeleted,
    ApplicationDisabled,
    /// A used refresh token came back.
    RefreshReused,
    Administrator,
    /// Its person ended it from another one.
    Revoked,
    /// What it was for is done.
    SetupDone,
    /// Another one took its place when its person proved a second factor.
    Renewed,
    /// A second factor was turned on or off in another one.
    SecondFactorChanged,
    /// An identity that opened the account opens it no more.
    ConnectionRemoved,
    /// An account that must have a second factor has none any more.
    SecondFactorRemoved,
}

impl EndReason {
    /// The word in the store and in lists of tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoggedOutEverywhere => "logged_out_everywhere",
            Self::Limit => "limit",
            Self::PasswordChanged => "password_changed",
            Self::ContactChanged => "contact_changed",
            Self::AccountLocked => "account_locked",
            Self::AccountDeactivated => "account_deactivated",
            Self::AccountBanned => "account_banned",
            Self::AccountDeleted => "account_deleted",
            Self::ApplicationDisabled => "application_disabled",
            Self::RefreshReused => "refresh_reused",
            Self::Administrator => "administrator",
            Self::Revoked => "revoked",
            Self::SetupDone => "setup_done",
            Self::Renewed => "renewed",
            Self::SecondFactorChanged => "second_factor_changed",
            Self::ConnectionRemoved => "connection_removed",
            Self::SecondFactorRemoved => "second_factor_removed",
        }
    }
}

impl Serialize for EndReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why a login failed. For the auditor; the answer says less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginFailure {
    UnknownIdentifier,
    WrongPassword,
    WrongSecondFactor,
    /// The password or code was right, and none of a second factor came with it.
    SecondFactorNeeded,
    /// A code that was sent.
    WrongCode,
    WrongPasskey,
    /// What a provider said, or was said to have said, of somebody.
    IdentityRefused,
    Locked,
    Inactive,
    SessionLimit,
    DeviceLimit,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum SessionEvent {
    Started {
        account: Id,
        session: Id,
        method: &'static str,
    },
    /// `identifier_digest` counts failures of identifiers that no account has, without naming them.
    LoginFailed {
        account: Option<Id>,
        identifier_digest: String,
        method: &'static str,
        reason: LoginFailure,
    },
    Refreshed {
        account: Id,
        session: Id,
    },
    /// A used refresh token came back: the whole family ends.
    RefreshReused {
        account: Id,
        session: Id,
    },
    LoggedOut {
        account: Id,
        session: Id,
    },
    LoggedOutEverywhere {
        account: Id,
        sessions: u32,
    },
    Ended {
        account: Id,
        session: Id,
        reason: EndReason,
    },
    /// A login was refused because of the sessions that exist.
    SessionLimitReached {
        account: Id,
    },
    DeviceLimitReached {
        account: Id,
    },
    NewDevice {
        account: Id,
        session: Id,
    },
}

impl SessionEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Started { .. } => "login",
            Self::LoginFailed { .. } => "login_failed",
            Self::Refreshed { .. } => "token_refresh",
            Self::RefreshReused { .. } => "refresh_reuse",
            Self::LoggedOut { .. } => "logout",
            Self::LoggedOutEverywhere { .. } => "logout_all",
            Self::Ended { .. } => "session_ended",
            Self::SessionLimitReached { .. } => "session_limit_exceeded",
            Self::DeviceLimitReached { .. } => "device_limit_exceeded",
            Self::NewDevice { .. } => "new_device_detected",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Started { .. }
            | Self::LoginFailed { .. }
            | Self::Refreshed { .. }
            | Self::SessionLimitReached { .. }
            | Self::DeviceLimitReached { .. }
            | Self::NewDevice { .. } => Vec::new(),
            Self::RefreshReused { session, .. }
            | Self::LoggedOut { session, .. }
            | Self::Ended { session, .. } => vec![Subject::Session(*session)],
            Self::LoggedOutEverywhere { account, .. } => vec![Subject::Account(*account)],
        }
    }

    pub const fn account(&self) -> Option<Id> {
        match self {
            Self::LoginFailed { account, .. } => *account,
            Self::Started { account, .. }
            | Self::Refreshed { account, .. }
            | Self::RefreshReused { account, .. }
            | Self::LoggedOut { account, .. }
            | Self::LoggedOutEverywhere { account, .. }
            | Self::Ended { account, .. }
            | Self::SessionLimitReached { account }
            | Self::DeviceLimitReached { account }
            | Self::NewDevice { account, .. } => Some(*account),
        }
    }
}
