//! Who did it, from where, through what.
//!
//! Law: an actor is a fact of one request or command, fixed before the change begins.

use std::net::IpAddr;

use crate::base::Id;
use crate::store::DEFAULT_SITE;

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Someone who has not proved who they are.
    Anonymous,
    Account(Id),
    /// What a human delegated to a program; the row is about that human.
    Agent(Id),
    /// An operator at the command line.
    CommandLine,
    /// The gateway itself: a timer, an expiry, a reload.
    System,
}

impl Who {
    /// The word in the store.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Account(_) => "account",
            Self::Agent(_) => "agent",
            Self::CommandLine => "command_line",
            Self::System => "system",
        }
    }

    pub const fn account(self) -> Option<Id> {
        match self {
            Self::Account(id) => Some(id),
            Self::Anonymous | Self::Agent(_) | Self::CommandLine | Self::System => None,
        }
    }

    /// Whoever of its kind it was.
    pub const fn id(self) -> Option<Id> {
        match self {
            Self::Account(id) | Self::Agent(id) => Some(id),
            Self::Anonymous | Self::CommandLine | Self::System => None,
        }
    }
}

/// Who acted, and the circumstances that the audit row keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub who: Who,
    pub site: Id,
    pub application: Option<Id>,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
}

impl Actor {
    /// Someone on the default site of whom nothing more is known.
    pub const fn new(who: Who) -> Self {
        Self { who, site: DEFAULT_SITE, application: None, address: None, user_agent: None, request_id: None }
    }

    pub const fn system() -> Self {
        Self::new(Who::System)
    }

    pub const fn command_line() -> Self {
        Self::new(Who::CommandLine)
    }
}
