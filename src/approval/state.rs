//! Where an approval stands, and who sends what it is about.
//!
//! Law: pending, approved, executing, and then over for good; only what was never sent goes back
//! from executing to approved.

use crate::metrics::ApprovalState;
use crate::text_column;

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for people.
    Pending,
    /// It waits to be executed.
    Approved,
    Executing,
    Executed,
    /// It was executed, and the upstream answered that it could not.
    Failed,
    /// Something was sent, and nobody knows what came of it.
    Indeterminate,
    Denied,
    /// Nobody decided in time.
    Expired,
    /// It was approved and not executed in time.
    Lapsed,
    /// What was asked for cannot be had any more.
    Void,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Executing,
        Self::Executed,
        Self::Failed,
        Self::Indeterminate,
        Self::Denied,
        Self::Expired,
        Self::Lapsed,
        Self::Void,
    ];

    /// The word in the store and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Indeterminate => "indeterminate",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Lapsed => "lapsed",
            Self::Void => "void",
        }
    }

    /// The inverse of [`State::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl From<State> for ApprovalState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Approved => Self::Approved,
            State::Executing => Self::Executing,
            State::Executed => Self::Executed,
            State::Failed => Self::Failed,
            State::Indeterminate => Self::Indeterminate,
            State::Denied => Self::Denied,
            State::Expired => Self::Expired,
            State::Lapsed => Self::Lapsed,
            State::Void => Self::Void,
        }
    }
}

/// Who sends what was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The agent sends it again, with the confirmation token.
    Retry,
    /// The gateway sends what it kept; the agent asks for the answer.
    Sealed,
}

impl Mode {
    /// The word in the store and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Sealed => "sealed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Retry, Self::Sealed].into_iter().find(|mode| mode.name() == name)
    }
}

text_column!(State, State::from_name);
text_column!(Mode, Mode::from_name);
