//! Approvals: what an agent wants to do waits here until people have said yes, and is then done once.
//!
//! Law: an approval is bound to a digest of exactly what will be sent. A state is left by one
//! conditional write with its audit row; who decides is looked at first, and nothing changes for a
//! stranger. Taking an approval to be executed happens before the first byte is sent, and is taken
//! back only where none was.

mod answer;
mod claim;
mod content;
mod decide;
mod digest;
mod end;
mod errand;
mod http;
mod list;
mod policy;
mod request;
mod rule;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod view;
mod wait;

use std::time::Duration;

use crate::app::App;
use crate::audit::{ApprovalEvent, Delegation, Step};
use crate::base::{Id, Number, Secret, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::policy::Code;
use crate::store::{Error, Source};

pub use answer::{ANSWER_KEPT_FOR, ANSWER_MAX, Answer, Answered, Copying, answered};
pub use claim::{Claim, ClaimError, Outcome, claim};
pub use content::{Content, Seen, content, contents, seen};
use decide::lost;
pub use decide::{DecideError, Decided, Decision, SessionNeed, decide, void};
pub use digest::{Bound, request_digest};
pub use end::{end_overdue, erase, forget, react, sweep};
pub use errand::{Crowd, take_errands};
pub use http::rows;
pub use list::{Filter, LISTED_MAX, list, list_for, may_see, open_for};
pub use policy::policy_digest;
pub use request::{Ask, Asked, request};
pub use rule::{Rules, may_decide};
pub use state::{Mode, State};
pub use told::{Closed, Told, Waiting, result, stands, waiting};
pub use view::{Given, Shown, given, shown};
pub use wait::wait;

/// The series of the numbers that wires show.
const SERIES: &str = "approval";

/// What an agent asked for, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    /// As stored: what time has done to it is in [`Approval::state_at`].
    pub state: State,
    pub agent_token: Id,
    /// The label that the human gave the agent.
    pub agent: String,
    /// The human who delegated.
    pub account: Id,
    pub application: Option<Id>,
    pub organization: Option<Id>,
    pub route: String,
    pub permission: Code,
    pub mode: Mode,
    pub method: String,
    /// Without the query, which may hold secrets.
    pub path: String,
    /// One line made from the route, never from what the agent wrote.
    pub title: String,
    pub trace: Option<String>,
    /// Digests in hex: of the route's policy, of the request, and of both with this approval.
    pub policy: String,
    pub request: String,
    pub binding: String,
    pub rules: Rules,
    pub execute_within: Duration,
    pub created_at: Timestamp,
    pub decide_by: Timestamp,
    pub decided_at: Option<Timestamp>,
    pub decided_by: Option<Id>,
    /// What the human said who denied it.
    pub reason: Option<String>,
    pub execute_by: Option<Timestamp>,
    /// Sent twice it does no more than sent once, as its route says.
    pub is_idempotent: bool,
    /// How often it was taken to be executed.
    pub claims: i64,
    /// When the gateway sends it, or tries again, where that is its task.
    pub send_at: Option<Timestamp>,
    /// Until when whoever executes it is believed alive.
    pub lease_until: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// What the upstream answered.
    pub status: Option<u16>,
    /// The request is still there to be sent.
    pub is_kept: bool,
}

impl Approval {
    /// Where it stands at this moment, also where nobody has written down yet what time did to it.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        let is_over = |limit: Option<Timestamp>| limit.is_some_and(|limit| limit <= now);
        match self.state {
            State::Pending if self.decide_by <= now => State::Expired,
            State::Approved if is_over(self.execute_by) => State::Lapsed,
            State::Executing if is_over(self.lease_until) => State::Indeterminate,
            state => state,
        }
    }

    /// Whether it may be sent again although it may have been sent.
    #[must_use]
    pub fn may_be_repeated(&self, now: Timestamp) -> bool {
        let is_in_time = self.execute_by.is_some_and(|limit| limit > now);
        let is_unknown = self.state_at(now) == State::Indeterminate;
        self.is_idempotent && self.is_kept && is_unknown && is_in_time && self.claims < store::CLAIMS_MAX
    }

    /// Until when what it waits for can still happen.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.execute_by.unwrap_or(self.decide_by)
    }

    /// Whose it is, for the audit trail.
    #[must_use]
    pub const fn delegation(&self) -> Delegation {
        Delegation {
            token: self.agent_token,
            account: self.account,
            application: self.application,
            organization: self.organization,
        }
    }

    fn event(&self, step: Step) -> ApprovalEvent {
        ApprovalEvent {
            approval: self.id,
            of: self.delegation(),
            agent: self.agent.clone(),
            route: self.route.clone(),
            method: self.method.clone(),
            permission: self.permission.clone(),
            trace: self.trace.clone(),
            binding: self.binding.clone(),
            step,
        }
    }
}

/// How somebody names an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Id(Id),
    Number(Number),
    /// The digest of a confirmation token.
    Token(TokenDigest),
}

impl Reference {
    /// A number, an id, or else a confirmation token, whether or not there is one like it.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            return Self::Id(id);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse().ok().filter(|_| is_number) {
            Some(number) => Self::Number(Number(number)),
            None => Self::Token(TokenDigest::of(text)),
        }
    }
}

/// The approval that somebody names, whosever it is and whatever has become of it.
pub async fn find(src: impl Source, reference: &Reference) -> Result<Option<Approval>, Error> {
    match reference {
        Reference::Id(id) => store::by_id(src, *id).await,
        Reference::Number(number) => store::by_number(src, *number).await,
        Reference::Token(digest) => store::by_token(src, digest.as_str()).await,
    }
}

/// The token by which the wire names an approval. It names it, and decides nothing.
#[must_use]
pub fn token(app: &App, id: Id) -> Secret<String> {
    digest::token(&app.seal, id)
}
