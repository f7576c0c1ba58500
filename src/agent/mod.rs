//! Agent tokens: what a human delegates to a program, within limits, until it ends.
//!
//! Law: a state is left by one conditional write with its audit row, and states only rise (active,
//! suspended, expired or revoked) except by a human's resume. Nobody delegates more than they hold
//! at that moment; an empty delegation is none. The store keeps the digest of a token, never the token.

mod http;
mod input;
mod ledger;
mod mint;
mod narrow;
mod over;
mod store;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::account;
use crate::app::{App, Change};
use crate::audit::{
    AccountEvent, AgentEvent, ApplicationEvent, Delegation, Event, FactorEvent, OrganizationEvent,
    PasskeyEvent, Redefined, RightsEvent, Suspension,
};
use crate::base::{Id, MicroUsd, Number, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::metrics::AgentTrip;
use crate::policy::Code;
use crate::session::Method;
use crate::shared::Allowance;
use crate::store::{Error, Source};

/// From how many tokens one statement takes a permission.
const PAGE: usize = 200;

pub use http::{Own, calling, count_own, rows};
pub use ledger::{
    Handout, Lacking, ReportError, Reported, Usage, charge_beyond, give_back, give_purses_back, note_usage,
    purse_key, report, take,
};
pub use mint::{Mint, MintError, TEXT_LEN, mint};
pub use narrow::{NarrowError, Narrowed, Narrowing, narrow};
pub use over::{beat, erase, expire, settle, silence, stop_overdue, sweep};
pub use view::{Shown, shown};

/// The series of the numbers that wires show.
const SERIES: &str = "agent_token";

/// Where a token stands. Only [`Status::Active`] opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Active,
    Suspended,
    Expired,
    Revoked,
}

impl Status {
    /// The word in the store and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Active, Self::Suspended, Self::Expired, Self::Revoked];
        all.into_iter().find(|status| status.name() == name)
    }
}

/// The word of a reason in the store and on the wire.
#[must_use]
pub const fn reason_name(reason: Suspension) -> &'static str {
    match reason {
        Suspension::RateLimit => "RATE_LIMIT",
        Suspension::Anomaly => "ANOMALY",
        Suspension::Manual => "MANUAL",
        Suspension::HeartbeatMissing => "HEARTBEAT_MISSING",
        Suspension::BudgetExceeded => "BUDGET_EXCEEDED",
    }
}

/// How much a token may do. Zero is none; nothing is without a limit but signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests within any minute.
    pub per_minute: u32,
    /// Requests in its whole life.
    pub total: u32,
    /// Failures of upstreams one after the other; one more suspends.
    pub failures: u32,
    /// How many breaches of the rate within an hour suspend; 0: none does.
    pub suspend_after: u32,
    /// Seconds between two signs of life, where they are asked for.
    pub heartbeat_every: Option<u32>,
    pub budget: MicroUsd,
}

impl Limits {
    /// Until when the next sign of life must come after one at `at`.
    fn due_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.heartbeat_every.map(|every| at.plus(Duration::from_secs(every.into())))
    }
}

/// A delegation as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentToken {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    /// The label that the human gave: `agent_id` on the wire.
    pub agent: String,
    /// The human.
    pub account: Id,
    pub application: Option<Id>,
    pub organization: Option<Id>,
    /// Sorted, never empty.
    pub permissions: Vec<Code>,
    pub status: Status,
    pub suspended_reason: Option<Suspension>,
    pub limits: Limits,
    /// What of its total and its budget was handed out to be spent, or reported.
    pub granted: Allowance,
    pub heartbeat_at: Option<Timestamp>,
    /// The last moment at which the next sign of life is still in time.
    pub heartbeat_due_at: Option<Timestamp>,
    /// Of the session in which it was delegated.
    pub method: Method,
    pub authenticated_at: Timestamp,
    pub has_second_factor: bool,
    /// How often a human took a suspension back.
    pub resumes: i64,
    /// When that was last.
    pub resumed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub suspended_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// Why a token opens nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Status(Status),
    /// Its time is over, and its state does not say so yet.
    Overdue,
    /// The sign of life is missing, and its state does not say so yet.
    Silent,
}

impl AgentToken {
    /// Whether it may act at this moment, as far as it knows itself.
    ///
    /// # Errors
    /// The first [`Fault`] in the order of the contract (section 26.2).
    pub fn check(&self, now: Timestamp) -> Result<(), Fault> {
        if self.status != Status::Active {
            return Err(Fault::Status(self.status));
        }
        if self.expires_at <= now {
            return Err(Fault::Overdue);
        }
        if self.heartbeat_due_at.is_some_and(|due_at| due_at < now) {
            return Err(Fault::Silent);
        }
        Ok(())
    }

    /// Whose it is, for the audit trail.
    #[must_use]
    pub const fn delegation(&self) -> Delegation {
        Delegation {
            token: self.id,
            account: self.account,
            application: self.application,
            organization: self.organization,
        }
    }
}

/// How somebody names a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    Id(Id),
    Number(Number),
}

/// The text is neither a number nor an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAReference;

impl std::fmt::Display for NotAReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not the number or id of an agent token")
    }
}

impl std::error::Error for NotAReference {}

impl std::str::FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map(|number| Self::Number(Number(number))).ok_or(NotAReference)
    }
}

/// The token that somebody names, whosever it is and whatever has become of it.
pub async fn find(src: impl Source, reference: Reference) -> Result<Option<AgentToken>, Error> {
    match reference {
        Reference::Id(id) => store::by_id(src, id).await,
        Reference::Number(number) => store::by_number(src, number).await,
    }
}

/// The token that was presented, whatever has become of it.
pub async fn presented(src: impl Source, text: &str) -> Result<Option<AgentToken>, Error> {
    store::by_digest(src, TokenDigest::of(text).as_str()).await
}

/// The token of a digest, whatever has become of it.
pub async fn by_digest(src: impl Source, digest: &str) -> Result<Option<AgentToken>, Error> {
    store::by_digest(src, digest).await
}

/// The digest by which a token is known, whatever has become of it.
pub async fn digest_of(src: impl Source, id: Id) -> Result<Option<String>, Error> {
    store::digest_of(src, id).await
}

/// Notes when tokens were used last.
pub async fn note_uses(app: &App, uses: &[(Id, Timestamp)]) -> Result<(), Error> {
    let mut tx = app.db.begin().await?;
    for (id, at) in uses {
        store::note_use(&mut tx, *id, *at).await?;
    }
    tx.commit().await
}

/// The tokens of a site, or of one human, the newest first.
pub async fn list(
    src: impl Source,
    site: Id,
    account: Option<Id>,
    limit: u32,
) -> Result<Vec<AgentToken>, Error> {
    store::list(src, site, account, limit).await
}

/// Those of one human that have not ended, the newest first.
pub async fn living(
    src: impl Source,
    site: Id,
    account: Id,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<AgentToken>, Error> {
    store::living(src, site, account, now, limit).await
}

/// The humans of a site who have delegated something that has not ended.
pub async fn delegators(src: impl Source, site: Id) -> Result<Vec<Id>, Error> {
    store::delegators(src, site).await
}

/// Holds the token's row until the change ends, if it may act at this moment.
pub async fn hold_active(change: &mut Change<'_>, token: Id) -> Result<bool, Error> {
    let now = change.now();
    Ok(store::hold_active(change.tx(), token, now).await? > 0)
}

/// Suspends an active token. `false` where it is not active (any more).
pub async fn suspend(change: &mut Change<'_>, of: Delegation, reason: Suspension) -> Result<bool, Error> {
    let now = change.now();
    if store::suspend(change.tx(), of.token, reason, now).await? == 0 {
        return Ok(false);
    }
    change.record(AgentEvent::Suspended { of, reason }).await?;
    if let Some(trip) = trip_of(reason) {
        change.app().metrics.agent_suspended(trip);
    }
    Ok(true)
}

/// What the gateway did by itself is counted.
const fn trip_of(reason: Suspension) -> Option<AgentTrip> {
    match reason {
        Suspension::RateLimit => Some(AgentTrip::RateLimit),
        Suspension::Anomaly => Some(AgentTrip::Anomaly),
        Suspension::HeartbeatMissing => Some(AgentTrip::HeartbeatMissing),
        Suspension::BudgetExceeded => Some(AgentTrip::BudgetExceeded),
        Suspension::Manual => None,
    }
}

/// Lets a suspended token act again. `false` where it is not suspended, or its time is over. The
/// count of its signs of life begins anew.
pub async fn resume(change: &mut Change<'_>, token: &AgentToken) -> Result<bool, Error> {
    let now = change.now();
    if store::resume(change.tx(), token.id, now).await? == 0 {
        return Ok(false);
    }
    change.record(AgentEvent::Resumed { of: token.delegation() }).await?;
    Ok(true)
}

/// Ends a token for good. `false` where that was done before.
pub async fn revoke(change: &mut Change<'_>, of: Delegation) -> Result<bool, Error> {
    let (now, by) = (change.now(), change.actor().who.account());
    if store::revoke(change.tx(), of.token, by, now).await? == 0 {
        return Ok(false);
    }
    change.record(AgentEvent::Revoked { of }).await?;
    Ok(true)
}

/// The kill switch: ends everything that a human delegated, suspended tokens and those that are
/// being minted at this moment included; how many there were.
pub async fn revoke_all(change: &mut Change<'_>, account: Id) -> Result<usize, Error> {
    let tokens = end_all(change, account).await?;
    let count = tokens.len();
    change.record(AgentEvent::AllRevoked { account, tokens }).await?;
    Ok(count)
}

async fn end_all(change: &mut Change<'_>, account: Id) -> Result<Vec<Number>, Error> {
    let (now, by) = (change.now(), change.actor().who.account());
    // The account's row first, as everywhere: whoever mints holds it too. That the account may not
    // act is no reason to leave its agents alive.
    account::hold(change, account).await?;
    store::count_kill(change.tx(), account).await?;
    store::revoke_all(change.tx(), account, by, now).await
}

/// Ends what humans delegated through an application that is no more, and what was delegated in the
/// name of a password that is no more: whoever knew it may have been somebody else. What a second
/// factor proved counts for nothing where there is none any more. A permission that goes, or is made anew,
/// was delegated to nobody.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        match event {
            Event::Application(ApplicationEvent::Deleted { application, .. }) => {
                for of in store::open_of(change.tx(), store::OF_APPLICATION, *application).await? {
                    revoke(change, of).await?;
                }
            }
            Event::Organization(OrganizationEvent::Deleted { organization }) => {
                for of in store::open_of(change.tx(), store::OF_ORGANIZATION, *organization).await? {
                    revoke(change, of).await?;
                }
            }
            Event::Account(
                AccountEvent::PasswordChanged { account, .. } | AccountEvent::Deleted { account, .. },
            ) => {
                let tokens = end_all(change, *account).await?;
                if !tokens.is_empty() {
                    change.record(AgentEvent::AllRevoked { account: *account, tokens }).await?;
                }
            }
            Event::Factor(FactorEvent::Disabled { account }) => {
                store::unprove(change.tx(), *account).await?;
            }
            Event::Passkey(PasskeyEvent::Removed { account, .. }) => {
                store::unprove_passkeys(change.tx(), *account).await?;
            }
            Event::Rights(RightsEvent::CatalogueChanged {
                kind: "permission",
                code,
                did: Redefined::Created | Redefined::Deleted,
            }) => unname(change, code).await?,
            _ => {}
        }
        Ok(())
    })
}

/// Takes a permission from every token that names it, and tells who knows these tokens.
async fn unname(change: &mut Change<'_>, permission: &Code) -> Result<(), Error> {
    for page in store::naming(change.tx(), permission).await?.chunks(PAGE) {
        store::unname(change.tx(), page, permission).await?;
        let (agent_tokens, permission) = (page.to_vec(), permission.clone());
        change.record(RightsEvent::PermissionRevokedFromTokens { agent_tokens, permission }).await?;
    }
    Ok(())
}
