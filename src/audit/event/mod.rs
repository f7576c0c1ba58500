//! Every event that leaves an audit row, one family per file.
//!
//! Law: `code` and `subjects` are exhaustive matches: an event that forgets to say whose epochs
//! rise does not compile. Fields are facts for an auditor; a secret is never one of them.

mod account;
mod agent;
mod apikey;
mod application;
mod approval;
mod codes;
mod factor;
mod follow;
mod key;
mod organization;
mod passkey;
mod privacy;
mod rights;
mod session;
mod system;

use serde::Serialize;

pub use account::{AccountEvent, Contact, How};
pub use agent::{AgentEvent, Basis, Decided, Delegation, Settled, Suspension, Verdict};
pub use apikey::ApiKeyEvent;
pub use application::ApplicationEvent;
pub use approval::{ApprovalEvent, Step, Voided};
pub use codes::CODES;
pub use factor::FactorEvent;
pub use follow::following;
pub use key::KeyEvent;
pub use organization::OrganizationEvent;
pub use passkey::PasskeyEvent;
pub use privacy::PrivacyEvent;
pub use rights::{Redefined, RightsEvent};
pub use session::{EndReason, LoginFailure, SessionEvent};
pub use system::SystemEvent;

use super::{Stream, Subject};
use crate::base::Id;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Event {
    Account(AccountEvent),
    Session(SessionEvent),
    Factor(FactorEvent),
    Passkey(PasskeyEvent),
    ApiKey(ApiKeyEvent),
    Privacy(PrivacyEvent),
    Rights(RightsEvent),
    Organization(OrganizationEvent),
    Application(ApplicationEvent),
    Agent(AgentEvent),
    Approval(Box<ApprovalEvent>),
    Key(KeyEvent),
    System(SystemEvent),
}

/// The ids that an audit row has columns for, because auditors search by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    pub account: Option<Id>,
    pub organization: Option<Id>,
    pub application: Option<Id>,
}

impl Event {
    /// The stable word that tells what happened; the contract's where it has one (section 28.1).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Account(event) => event.code(),
            Self::Session(event) => event.code(),
            Self::Factor(event) => event.code(),
            Self::Passkey(event) => event.code(),
            Self::ApiKey(event) => event.code(),
            Self::Privacy(event) => event.code(),
            Self::Rights(event) => event.code(),
            Self::Organization(event) => event.code(),
            Self::Application(event) => event.code(),
            Self::Agent(event) => event.code(),
            Self::Approval(event) => event.code(),
            Self::Key(event) => event.code(),
            Self::System(event) => event.code(),
        }
    }

    /// Whether it belongs into this stream: what changes something stands with the changes, in the transaction of its
    /// change; what only decides about a request stands with the data plane's.
    pub fn fits(&self, stream: Stream) -> bool {
        match self {
            Self::Agent(event) => event.is_decision() == (stream == Stream::DataPlane),
            Self::System(event) => event.fits(stream),
            Self::Account(_)
            | Self::Session(_)
            | Self::Factor(_)
            | Self::Passkey(_)
            | Self::ApiKey(_)
            | Self::Privacy(_)
            | Self::Rights(_)
            | Self::Organization(_)
            | Self::Application(_)
            | Self::Approval(_)
            | Self::Key(_) => stream == Stream::Changes,
        }
    }

    /// Whose epochs rise with it.
    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Account(event) => event.subjects(),
            Self::Session(event) => event.subjects(),
            Self::Factor(event) => event.subjects(),
            Self::Passkey(event) => event.subjects(),
            Self::ApiKey(event) => event.subjects(),
            // Nothing that a decision reads has changed: that the account is gone is an event of its own.
            Self::Privacy(_) => Vec::new(),
            Self::Rights(event) => event.subjects(),
            Self::Organization(event) => event.subjects(),
            Self::Application(event) => event.subjects(),
            Self::Agent(event) => event.subjects(),
            Self::Approval(event) => event.subjects(),
            Self::Key(event) => event.subjects(),
            Self::System(event) => event.subjects(),
        }
    }

    /// Whom it is about.
    pub const fn about(&self) -> About {
        match self {
            Self::Account(event) => About { account: event.account(), organization: None, application: None },
            Self::Session(event) => About { account: event.account(), organization: None, application: None },
            Self::Factor(event) => {
                About { account: Some(event.account()), organization: None, application: None }
            }
            Self::Passkey(event) => {
                About { account: Some(event.account()), organization: None, application: None }
            }
            Self::ApiKey(event) => {
                About { account: Some(event.account()), organization: None, application: None }
            }
            Self::Privacy(event) => {
                About { account: Some(event.account()), organization: None, application: None }
            }
            Self::Rights(event) => About { account: event.account(), organization: None, application: None },
            Self::Organization(event) => event.about(),
            Self::Agent(event) => event.about(),
            Self::Approval(event) => event.about(),
            Self::Application(event) => {
                About { account: None, organization: None, application: Some(event.application()) }
            }
            Self::System(event) => About { account: event.account(), organization: None, application: None },
            Self::Key(_) => About { account: None, organization: None, application: None },
        }
    }

    /// The prompt that caused it, as an agent named it.
    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Agent(AgentEvent::Acted(decided)) => decided.trace.as_deref(),
            Self::Approval(event) => event.trace.as_deref(),
            _ => None,
        }
    }
}

macro_rules! families {
    ($($family:ident($event:ident))+) => {$(
        impl From<$event> for Event {
            fn from(event: $event) -> Self {
                Self::$family(event)
            }
        }
    )+};
}

families! {
    Account(AccountEvent)
    Session(SessionEvent)
    Factor(FactorEvent)
    Passkey(PasskeyEvent)
    ApiKey(ApiKeyEvent)
    Privacy(PrivacyEvent)
    Rights(RightsEvent)
    Organization(OrganizationEvent)
    Application(ApplicationEvent)
    Agent(AgentEvent)
    Key(KeyEvent)
    System(SystemEvent)
}

impl From<ApprovalEvent> for Event {
    fn from(event: ApprovalEvent) -> Self {
        Self::Approval(Box::new(event))
    }
}
