//! What an agent is told about an approval, on the route and where it asks.
//!
//! Law: one table for both. An agent learns of its own approvals and of nobody else's.

use std::time::Duration;

use serde::Serialize;

use super::request::cooling;
use super::{Answer, Answered, Approval, Mode, State, answered, token};
use crate::app::App;
use crate::audit::Voided;
use crate::base::Timestamp;
use crate::store::Error;

/// Why an agent cannot go on with an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// There is none like that, or it is another agent's.
    Unknown,
    /// It is about another request.
    Mismatch,
    /// It was executed, or is being executed.
    Used(State),
    /// It was executed, and its answer was more than is kept.
    TooLarge(State),
    /// It was executed, and its agent may not read the answer.
    Withheld(State, Closed),
    Denied {
        reason: Option<String>,
        /// How long the same must not be asked for again.
        retry_after: Option<Duration>,
    },
    /// Nobody decided, or it was not executed, in time.
    Over(State),
    Void,
}

/// Why an agent may not read what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It could not be cleaned of what agents may not read, and is not kept.
    Unclean,
    /// What made it readable was lost since: the route is another one, or the right is gone.
    Lost(Voided),
}

impl Closed {
    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unclean => "redaction_impossible",
            Self::Lost(voided) => voided.name(),
        }
    }
}

/// The answer to an agent whose request waits (contract section 26.4).
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    status: &'static str,
    message: &'static str,
    confirmation_token: String,
    /// RFC 3339, UTC.
    expires_at: String,
    /// `pending` or `approved`; where the gateway sends it also `executing`; `indeterminate` where it
    /// may be sent again.
    approval: &'static str,
    approval_id: String,
}

/// Where an approval stands for its agent.
///
/// # Errors
/// [`Told`] where it does not wait for anybody.
pub fn stands(approval: &Approval, now: Timestamp) -> Result<State, Told> {
    match approval.state_at(now) {
        state @ (State::Pending | State::Approved) => Ok(state),
        // The gateway is at it, and the answer comes.
        State::Executing if approval.mode == Mode::Sealed => Ok(State::Executing),
        State::Indeterminate if approval.may_be_repeated(now) => Ok(State::Indeterminate),
        state @ (State::Executing | State::Executed | State::Failed | State::Indeterminate) => {
            Err(Told::Used(state))
        }
        State::Denied => {
            Err(Told::Denied { reason: approval.reason.clone(), retry_after: cooling(approval, now) })
        }
        state @ (State::Expired | State::Lapsed) => Err(Told::Over(state)),
        State::Void => Err(Told::Void),
    }
}

/// The kept answer of an approval that was used and is in this state now.
///
/// # Errors
/// [`Told`] where there is none.
pub async fn result(app: &App, approval: &Approval, state: State) -> Result<Result<Answer, Told>, Error> {
    Ok(match answered(app, approval).await? {
        Some(Answered::Whole(answer)) => Ok(answer),
        Some(Answered::TooLarge) => Err(Told::TooLarge(state)),
        Some(Answered::Withheld) => Err(Told::Withheld(state, Closed::Unclean)),
        None => Err(Told::Used(state)),
    })
}

/// What an agent is told whose request waits.
#[must_use]
pub fn waiting(app: &App, approval: &Approval) -> Waiting {
    Waiting {
        status: "pending_confirmation",
        message: "This action requires human approval.",
        confirmation_token: token(app, approval.id).expose().clone(),
        expires_at: approval.expires_at().rfc3339(),
        approval: approval.state_at(app.now()).name(),
        approval_id: approval.id.to_string(),
    }
}
