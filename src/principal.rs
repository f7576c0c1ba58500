//! Who calls, as plain data: the account, its session, and the application it calls through.
//!
//! Law: no I/O and no decision here. The gate builds these values from a checked credential; a
//! handler reads them. What an account may do is looked up as it is now, never read from a token.

use std::sync::Arc;

use crate::base::{Email, Id, Number, Phone, Slug, Timestamp};
use crate::policy::{Assignments, Code, Rights};

/// A person with a live session, and what the person may do by one catalogue.
#[derive(Debug, Clone)]
pub struct Principal {
    pub account: Arc<AccountFacts>,
    pub session: SessionFacts,
    /// What was given to the account, by code: what the rights are computed from when a definition
    /// changes.
    pub assignments: Arc<Assignments>,
    pub rights: Arc<Rights>,
    pub memberships: Arc<[Membership]>,
}

/// What the store says about an account, at the epoch at which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is a fact of its own, as on the wire")]
pub struct AccountFacts {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    pub email: Option<Email>,
    pub phone: Option<Phone>,
    pub username: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub is_staff: bool,
    pub is_superuser: bool,
    pub is_email_verified: bool,
    pub is_phone_verified: bool,
    /// A login asks for a second factor.
    pub has_second_factor: bool,
}

/// What an account is in one organization, at the epoch at which the account was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub organization: Id,
    pub number: Number,
    pub slug: Slug,
    pub role: Code,
}

/// One login on one device.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    pub sid: Id,
    pub started_at: Timestamp,
    /// When the person last proved who they are: what `max_age` counts from.
    pub authenticated_at: Timestamp,
    /// When the person last proved a second factor in it; never, where it was a login without.
    pub second_factor_at: Option<Timestamp>,
    /// How the person logged in, as `X-Auth-Method` shows it.
    pub method: &'static str,
    pub application: Option<Id>,
    /// Set where the session opens only a few endpoints.
    pub scope: Option<Scope>,
    pub ends_at: Timestamp,
}

/// What a restricted session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Choosing a new password, because this one must be changed.
    PasswordChangeOnly,
    /// Turning on a second factor, because this account must have one.
    SecondFactorSetupOnly,
}

impl Scope {
    /// The claim `scope` of the access token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordChangeOnly => "password_change_only",
            Self::SecondFactorSetupOnly => "2fa_setup_only",
        }
    }

    /// The scope that has this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let all = [Self::PasswordChangeOnly, Self::SecondFactorSetupOnly];
        all.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// The application whose keys came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationFacts {
    pub id: Id,
    pub number: Number,
    pub name: Arc<str>,
    /// Origins of browsers that may call with the key alone.
    pub allowed_origins: Arc<[String]>,
}
