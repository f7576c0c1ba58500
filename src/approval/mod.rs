//! Approvals: what an agent wants to do waits here until people have said yes, and is then done once.
//!
//! Law: an approval is bound to a digest of exactly what will be sent. A state is left by one
//! conditional write with its audit row; who decides is looked at first, and nothing changes for a
//! stranger. Taking an approval to be executed happens before the first byte is sent, and is taken
//! back only where none was.

mod claim;
mod content;
mod decide;
mod digest;
mod end;
mod http;
mod request;
mod rule;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod view;

use std::time::Duration;

use crate::app::App;
use crate::audit::{ApprovalEvent, Delegation, Step};
use crate::base::{Id, Number, Secret, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::policy::Code;
use crate::principal::Principal;
use crate::store::{Error, Source};

pub use claim::{Claim, ClaimError, Outcome, claim};
pub use content::{Content, content, visible};
pub use decide::{DecideError, Decided, Decision, SessionNeed, decide, void};
pub use digest::{Bound, policy_digest, request_digest};
pub use end::{end_overdue, react, sweep};
pub use http::rows;
pub use request::{Ask, Asked, request};
pub use rule::{Rules, deciders, may_decide};
pub use state::{Mode, State};
pub use told::{Told, Waiting, stands, waiting};
pub use view::{Shown, shown};

/// The series of the numbers that wires show.
const SERIES: &str = "approval";
/// How long an approval that is over stays in the store, for whoever asks what happened.
pub const KEPT_FOR: Duration = Duration::from_hours(30 * 24);
/// How many one list shows at most.
const LISTED: u32 = 1000;

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
    /// How often it was taken to be executed.
    pub claims: i64,
    /// Until when whoever executes it is believed alive.
    pub lease_until: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// What the upstream answered.
    pub status: Option<u16>,
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

/// Which approvals a list shows. What is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<State>,
    pub agent_token: Option<Id>,
    pub agent: Option<String>,
    pub route: Option<String>,
    pub trace: Option<String>,
    pub limit: Option<u32>,
}

impl Filter {
    fn fits(&self, approval: &Approval, now: Timestamp) -> bool {
        self.state.is_none_or(|state| approval.state_at(now) == state)
            && self.agent_token.is_none_or(|token| approval.agent_token == token)
            && self.agent.as_ref().is_none_or(|agent| approval.agent == *agent)
            && self.route.as_ref().is_none_or(|route| approval.route == *route)
            && self.trace.as_ref().is_none_or(|trace| approval.trace.as_ref() == Some(trace))
    }

    fn limit(&self) -> usize {
        usize::try_from(self.limit.unwrap_or(LISTED).min(LISTED)).unwrap_or(usize::MAX)
    }
}

/// The approvals that this person may see, the newest first: those of the person's own agents, and
/// those that the person may decide about.
pub async fn list_for(app: &App, person: &Principal, filter: &Filter) -> Result<Vec<Approval>, Error> {
    let account = &person.account;
    let candidates = store::of_person(&app.db, account.site, account.id, filter.state, LISTED).await?;
    let mut listed = Vec::new();
    for approval in candidates {
        if listed.len() == filter.limit() {
            break;
        }
        if filter.fits(&approval, app.now()) && may_see(app, &approval, person).await? {
            listed.push(approval);
        }
    }
    Ok(listed)
}

/// What waits for this person's decision, the newest first.
pub async fn open_for(app: &App, person: &Principal) -> Result<Vec<Approval>, Error> {
    let pending = Filter { state: Some(State::Pending), ..Filter::default() };
    let mut open = Vec::new();
    for approval in list_for(app, person, &pending).await? {
        if may_decide(app, &approval, person).await? {
            open.push(approval);
        }
    }
    Ok(open)
}

/// Whether this person may look at it: as the human behind the agent, or as one who decides.
pub async fn may_see(app: &App, approval: &Approval, person: &Principal) -> Result<bool, Error> {
    if approval.account == person.account.id && approval.site == person.account.site {
        return Ok(true);
    }
    may_decide(app, approval, person).await
}

/// Every approval of a site, the newest first: for operators.
pub async fn list(app: &App, site: Id, filter: &Filter) -> Result<Vec<Approval>, Error> {
    let all = store::of_site(&app.db, site, filter.state, LISTED).await?;
    let now = app.now();
    Ok(all.into_iter().filter(|approval| filter.fits(approval, now)).take(filter.limit()).collect())
}
