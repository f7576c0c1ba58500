//! Narrowing: a delegation becomes less, never more and never nothing.
//!
//! Law: what is less is judged under the lock of the token's row, so that of two at once the second
//! sees what the first one left. All fields that would be more are told at once.

use std::time::Duration;

use super::{AgentToken, store};
use crate::app::Change;
use crate::audit::AgentEvent;
use crate::base::{Id, MicroUsd, Timestamp};
use crate::policy::Code;
use crate::store::{Error, GivenUp};

/// What may only become less. What is absent stays.
#[derive(Debug, Clone, Default)]
pub struct Narrowing {
    pub permissions: Option<Vec<Code>>,
    pub per_minute: Option<u32>,
    pub total: Option<u32>,
    pub failures: Option<u32>,
    pub heartbeat_every: Option<u32>,
    pub budget: Option<MicroUsd>,
    pub lifetime: Option<Duration>,
}

/// A token after it was narrowed.
#[derive(Debug)]
pub struct Narrowed {
    pub token: AgentToken,
    /// What is less than before; empty where nothing is, and then there is nothing to commit.
    pub fields: Vec<&'static str>,
}

/// Why a token was not narrowed.
#[derive(Debug)]
pub enum NarrowError {
    /// It has ended.
    Ended,
    /// These fields would be more than before.
    Wider(Vec<&'static str>),
    Store(Error),
}

impl From<Error> for NarrowError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl GivenUp for NarrowError {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Store(cause) if cause.is_given_up())
    }
}

/// Takes something away from a token.
///
/// # Errors
/// [`NarrowError`]; nothing is then written.
pub async fn narrow(change: &mut Change<'_>, id: Id, to: Narrowing) -> Result<Narrowed, NarrowError> {
    let now = change.now();
    if store::hold(change.tx(), id, now).await? == 0 {
        return Err(NarrowError::Ended);
    }
    // Under the lock: of two that narrow at once, the second sees what the first one left.
    let Some(before) = store::by_id(change.tx(), id).await? else { return Err(NarrowError::Ended) };
    let after = to.applied(&before, now)?;
    let fields = changed(&before, &after);
    if !fields.is_empty() {
        store::narrow(change.tx(), &after).await?;
        let event = AgentEvent::Narrowed { of: after.delegation(), fields: fields.clone() };
        change.record(event).await?;
    }
    Ok(Narrowed { token: after, fields })
}

impl Narrowing {
    fn applied(self, before: &AgentToken, now: Timestamp) -> Result<AgentToken, NarrowError> {
        let mut after = before.clone();
        let mut wider = Vec::new();
        let limits = &mut after.limits;
        for (name, to, limit) in [
            ("max_requests_per_minute", self.per_minute, &mut limits.per_minute),
            ("max_requests_total", self.total, &mut limits.total),
            ("max_failed_requests", self.failures, &mut limits.failures),
        ] {
            match to {
                Some(to) if to > *limit => wider.push(name),
                Some(to) => *limit = to,
                None => {}
            }
        }
        match self.budget {
            Some(to) if to > limits.budget => wider.push("budget_limit_usd"),
            Some(to) => limits.budget = to,
            None => {}
        }
        match (self.heartbeat_every, limits.heartbeat_every) {
            (Some(to), Some(every)) if to > every => wider.push("heartbeat_required_every"),
            (Some(to), every) => {
                limits.heartbeat_every = Some(to);
                let since = if every.is_some() { before.heartbeat_at.unwrap_or(now) } else { now };
                after.heartbeat_at = Some(since);
                after.heartbeat_due_at = after.limits.due_after(since);
            }
            (None, _) => {}
        }
        match self.lifetime.map(|lifetime| now.plus(lifetime)) {
            Some(to) if to > before.expires_at => wider.push("expires_in"),
            Some(to) => after.expires_at = to,
            None => {}
        }
        if let Some(permissions) = self.permissions {
            if permissions.is_empty() || permissions.iter().any(|code| !before.permissions.contains(code)) {
                wider.push("permissions");
            }
            after.permissions = permissions;
        }
        if wider.is_empty() { Ok(after) } else { Err(NarrowError::Wider(wider)) }
    }
}

fn changed(before: &AgentToken, after: &AgentToken) -> Vec<&'static str> {
    let (was, is) = (&before.limits, &after.limits);
    let fields = [
        ("permissions", before.permissions != after.permissions),
        ("max_requests_per_minute", was.per_minute != is.per_minute),
        ("max_requests_total", was.total != is.total),
        ("max_failed_requests", was.failures != is.failures),
        ("heartbeat_required_every", was.heartbeat_every != is.heartbeat_every),
        ("budget_limit_usd", was.budget != is.budget),
        ("expires_at", before.expires_at != after.expires_at),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
