//! The rate limits of built-in endpoints (contract section 7).
//!
//! Law: every request that reaches an endpoint counts, whatever comes of it; a refused one does
//! not. Endpoints that name the same bucket share it. Counted by client address.

use std::time::Duration;

use crate::shared::Window;

/// A named set of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Every way to log in with a password.
    Login,
    Register,
    Refresh,
    Logout,
    /// Endpoints at which a password is checked although the caller is signed in, or judged.
    Password,
    PasswordReset,
    /// Asking for a one-time code.
    OtpRequest,
    /// Every endpoint that takes a one-time code.
    OtpVerify,
    /// Turning a second factor on and off, and proving it again.
    SecondFactor,
    /// Asking for a link to log in with.
    LinkRequest,
    /// Following one.
    LinkVerify,
    /// Asking for a challenge to log in with a passkey.
    Passkey,
    /// Every endpoint that changes rights.
    Rights,
    /// Every endpoint at which those who look after people change somebody's account.
    Users,
    /// Inviting people.
    Invitation,
    /// Accepting and declining.
    InvitationAnswer,
    /// The trail as a file: each one is read from end to end.
    AuditExport,
    /// What takes a password or a token, as the profile `auth-system` limits it.
    AuthSystemEntry,
    /// Its refreshing.
    AuthSystemRefresh,
    /// Its management of users.
    AuthSystemUsers,
    /// Everything else of it.
    AuthSystemGeneral,
}

const fn window(limit: u32, per: Duration) -> Window {
    Window { limit, per }
}

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl Bucket {
    /// The name under which requests are counted, and which metrics show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Register => "register",
            Self::Refresh => "refresh",
            Self::Logout => "logout",
            Self::Password => "password",
            Self::PasswordReset => "password_reset",
            Self::OtpRequest => "otp_request",
            Self::OtpVerify => "otp_verify",
            Self::SecondFactor => "second_factor",
            Self::LinkRequest => "magic_link_request",
            Self::LinkVerify => "magic_link_verify",
            Self::Passkey => "passkey",
            Self::Rights => "rights",
            Self::Users => "users",
            Self::Invitation => "invitation",
            Self::InvitationAnswer => "invitation_answer",
            Self::AuditExport => "audit_export",
            Self::AuthSystemEntry => "auth_system_authentication",
            Self::AuthSystemRefresh => "auth_system_refresh",
            Self::AuthSystemUsers => "auth_system_users",
            Self::AuthSystemGeneral => "auth_system_general",
        }
    }

    /// The windows; a request passes if every one of them has room.
    #[must_use]
    pub const fn windows(self) -> &'static [Window] {
        match self {
            Self::Login => &const { [window(5, MINUTE), window(20, HOUR)] },
            Self::Register | Self::PasswordReset => &const { [window(3, HOUR), window(10, DAY)] },
            Self::Refresh | Self::Logout | Self::InvitationAnswer => &const { [window(30, MINUTE)] },
            Self::Password | Self::LinkVerify | Self::AuthSystemRefresh => &const { [window(10, MINUTE)] },
            // By the minute as its clients know it, by the hour because one password can be tried at many people.
            Self::AuthSystemEntry => &const { [window(10, MINUTE), window(100, HOUR)] },
            Self::AuthSystemUsers => &const { [window(100, MINUTE)] },
            Self::AuthSystemGeneral => &const { [window(1000, HOUR)] },
            Self::LinkRequest => &const { [window(3, HOUR)] },
            Self::AuditExport => &const { [window(10, HOUR)] },
            Self::OtpRequest => &const { [window(5, HOUR)] },
            Self::OtpVerify => &const { [window(5, MINUTE)] },
            Self::Rights | Self::Users => &const { [window(120, MINUTE)] },
            Self::Invitation => &const { [window(30, MINUTE), window(300, DAY)] },
            Self::SecondFactor | Self::Passkey => &const { [window(20, MINUTE)] },
        }
    }
}
