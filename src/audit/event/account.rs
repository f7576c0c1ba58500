//! What happens to an account itself: made, changed, locked, proved.
//!
//! Law: contents of a profile are not copied here, only which fields changed.

use serde::Serialize;

use crate::audit::Subject;
use crate::base::{Id, Timestamp};

/// Who made or changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The person did it.
    Owner,
    /// Someone else did, with the right to.
    Administrator,
    /// A rule did.
    Rule,
}

/// One way to reach a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Contact {
    Email,
    Phone,
}

impl Contact {
    /// The word in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AccountEvent {
    Created {
        account: Id,
        how: How,
    },
    /// Someone tried to register with a contact that an account has already.
    RegistrationRepeated {
        account: Id,
        contact: Contact,
    },
    /// An identifier was locked; `account` is set where one has it.
    Locked {
        account: Option<Id>,
        identifier_digest: Option<String>,
        until: Option<Timestamp>,
        how: How,
        /// Why, in an administrator's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Unlocked {
        account: Id,
        how: How,
    },
    /// May not log in any more, or may again.
    Deactivated {
        account: Id,
    },
    Activated {
        account: Id,
    },
    /// Shut out by an administrator, or let in again.
    Banned {
        account: Id,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Unbanned {
        account: Id,
    },
    /// Nothing is kept of the person but that there was one.
    Deleted {
        account: Id,
        how: How,
    },
    PasswordChanged {
        account: Id,
        how: How,
    },
    /// The stored hash was replaced by a stronger one of the same password.
    PasswordRehashed {
        account: Id,
    },
    ProfileChanged {
        account: Id,
        fields: Vec<&'static str>,
    },
    /// A new contact waits to be confirmed.
    ContactPending {
        account: Id,
        contact: Contact,
    },
    ContactVerified {
        account: Id,
        contact: Contact,
        how: How,
    },
    /// A contact that waited was confirmed, and took the place of the one before.
    ContactChanged {
        account: Id,
        contact: Contact,
    },
    /// A one-time code, or a link in its place, is on its way.
    CodeSent {
        account: Id,
        purpose: &'static str,
        contact: Contact,
    },
    /// Somebody typed another code than the one that was sent; `account` is set where there is one.
    CodeRefused {
        account: Option<Id>,
        purpose: &'static str,
        contact: Contact,
    },
    /// Somebody forgot a password; `account` is set where one has the identifier.
    ResetRequested {
        account: Option<Id>,
        identifier_digest: String,
    },
    /// Somebody asked for a code to log in with; `account` is set where one has the identifier.
    LoginCodeRequested {
        account: Option<Id>,
        identifier_digest: String,
    },
    /// Somebody asked for a link to log in with; `account` is set where one has the identifier.
    LoginLinkRequested {
        account: Option<Id>,
        identifier_digest: String,
    },
    /// A forgotten password was replaced.
    ResetCompleted {
        account: Id,
    },
    FlagsChanged {
        account: Id,
        is_staff: bool,
        is_superuser: bool,
    },
}

impl AccountEvent {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Created { .. } => "account_created",
            Self::RegistrationRepeated { .. } => "registration_repeated",
            Self::Locked { .. } => "account_locked",
            Self::Unlocked { .. } => "account_unlocked",
            Self::Deactivated { .. } => "account_deactivated",
            Self::Activated { .. } => "account_activated",
            Self::Banned { .. } => "account_banned",
            Self::Unbanned { .. } => "account_unbanned",
            Self::Deleted { .. } => "account_deleted",
            Self::PasswordChanged { .. } => "password_change",
            Self::PasswordRehashed { .. } => "password_rehashed",
            Self::ProfileChanged { .. } => "profile_changed",
            Self::ContactPending { .. } => "contact_pending",
            Self::ContactVerified { contact: Contact::Email, .. } => "email_verified",
            Self::ContactVerified { contact: Contact::Phone, .. } => "phone_verified",
            Self::ContactChanged { .. } => "contact_changed",
            Self::CodeSent { .. } => "code_sent",
            Self::CodeRefused { .. } => "code_refused",
            Self::ResetRequested { .. } => "password_reset_request",
            Self::LoginCodeRequested { .. } => "login_code_requested",
            Self::LoginLinkRequested { .. } => "login_link_requested",
            Self::ResetCompleted { .. } => "password_reset_complete",
            Self::FlagsChanged { .. } => "account_flags_changed",
        }
    }

    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            // Nobody has seen the account yet, or nothing that a decision reads has changed.
            Self::Created { .. }
            | Self::RegistrationRepeated { .. }
            | Self::PasswordRehashed { .. }
            | Self::ContactPending { .. }
            | Self::CodeSent { .. }
            | Self::CodeRefused { .. }
            | Self::ResetRequested { .. }
            | Self::LoginCodeRequested { .. }
            | Self::LoginLinkRequested { .. }
            | Self::ResetCompleted { .. } => Vec::new(),
            Self::Locked { account, .. } => account.iter().copied().map(Subject::Account).collect(),
            Self::Unlocked { account, .. }
            | Self::Deactivated { account }
            | Self::Activated { account }
            | Self::Banned { account, .. }
            | Self::Unbanned { account }
            | Self::Deleted { account, .. }
            | Self::PasswordChanged { account, .. }
            | Self::ProfileChanged { account, .. }
            | Self::ContactVerified { account, .. }
            | Self::ContactChanged { account, .. }
            | Self::FlagsChanged { account, .. } => vec![Subject::Account(*account)],
        }
    }

    pub const fn account(&self) -> Option<Id> {
        match self {
            Self::Locked { account, .. }
            | Self::CodeRefused { account, .. }
            | Self::ResetRequested { account, .. }
            | Self::LoginCodeRequested { account, .. }
            | Self::LoginLinkRequested { account, .. } => *account,
            Self::Created { account, .. }
            | Self::RegistrationRepeated { account, .. }
            | Self::Unlocked { account, .. }
            | Self::Deactivated { account }
            | Self::Activated { account }
            | Self::Banned { account, .. }
            | Self::Unbanned { account }
            | Self::Deleted { account, .. }
            | Self::PasswordChanged { account, .. }
            | Self::PasswordRehashed { account }
            | Self::ProfileChanged { account, .. }
            | Self::ContactPending { account, .. }
            | Self::ContactVerified { account, .. }
            | Self::ContactChanged { account, .. }
            | Self::CodeSent { account, .. }
            | Self::ResetCompleted { account }
            | Self::FlagsChanged { account, .. } => Some(*account),
        }
    }
}
