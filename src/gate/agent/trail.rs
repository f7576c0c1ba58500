//! What an agent's request leaves in the audit trail.
//!
//! Law: every decision leaves a row, within a second: passed, denied, told to slow down. What is
//! only read is sampled as the configuration says, and a token that may not act at all leaves a row
//! a minute, or whoever holds one could fill the trail. What a request has cost after all leaves a
//! second row.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::Method;

use super::super::Gate;
use super::super::dispatch::text;
use super::super::head::RequestHead;
use super::super::person::Snapshot;
use super::super::rejection::Rejection;
use super::super::route::Route;
use super::cache::Grant;
use super::count::Charge;
use super::refusal::AgentRefusal;
use crate::audit::{Actor, AgentEvent, Decided, Verdict, Who};
use crate::base::{Id, MicroUsd, Random, Timestamp};
use crate::shared::Price;

const TRACE_MAX: usize = 128;
/// How many rows a minute an agent may leave at endpoints for people.
const STRAYS: i64 = 30;
const REFUSED_EVERY: Duration = Duration::from_mins(1);

impl RequestHead {
    /// The prompt that caused the request, where it is named as it must be.
    pub fn trace(&self) -> Option<&str> {
        let text = self.presented.trace.as_ref()?.to_str().ok()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        ((1..=TRACE_MAX).contains(&text.len()) && text.bytes().all(is_plain)).then_some(text)
    }
}

/// Where a request that costs something stands in the trail.
#[derive(Debug)]
pub(in crate::gate) struct Entry {
    pub actor: Actor,
    pub route: String,
}

/// What is known about a request's agent so far.
#[derive(Debug, Default)]
pub(in crate::gate) struct Trail {
    known: Option<(Arc<Snapshot>, Arc<Grant>)>,
    approval: Option<Id>,
    /// What became of it where it was not sent.
    instead: Option<Verdict>,
}

impl Trail {
    /// The token is one of ours.
    pub fn know(&mut self, snapshot: &Arc<Snapshot>, grant: &Arc<Grant>) {
        self.known = Some((Arc::clone(snapshot), Arc::clone(grant)));
    }

    /// The request was approved.
    pub fn approved(&mut self, approval: Id) {
        self.approval = Some(approval);
    }

    /// The request waits for people.
    pub fn waits(&mut self, approval: Id) {
        self.approval = Some(approval);
        self.instead = Some(Verdict::Hold);
    }

    /// The request was executed before, and is answered as it was then.
    pub fn replayed(&mut self, approval: Id) {
        self.approval = Some(approval);
        self.instead = Some(Verdict::Replay);
    }

    /// Writes down what became of the request. Of a stranger there is nothing to write.
    pub fn decided(
        &self,
        gate: &Gate,
        route: &Route,
        head: &RequestHead,
        charge: Option<Charge>,
        refusal: Option<&Rejection>,
    ) -> Option<Entry> {
        let (snapshot, grant) = self.known.as_ref()?;
        let charge = charge.filter(|charge| charge.money > MicroUsd::ZERO);
        let money = |price| charge.filter(|charge| charge.price == price).map(|charge| charge.money);
        let verdict = match (refusal, self.instead) {
            (None, Some(instead)) => instead,
            (None, None) if is_read(&head.method) && !is_sampled(gate, route) => return None,
            (None, None) => Verdict::Allow,
            (Some(Rejection::Limited(_)), _) => Verdict::Limit,
            (Some(Rejection::Agent(AgentRefusal::Status(_))), _) if !is_due(grant, head.at) => return None,
            (Some(_), _) => Verdict::Deny,
        };
        let decided = Decided {
            of: grant.token.delegation(),
            agent: grant.token.agent.clone(),
            verdict,
            route: route.rule.name.clone(),
            method: head.method.to_string(),
            permission: route.rule.agents.as_ref().map(|agents| agents.permission.clone()),
            reason: refusal.map(Rejection::label),
            trace: head.trace().map(str::to_owned),
            approval: self.approval,
            cost: money(Price::Final),
            reserved: money(Price::AtMost),
        };
        let actor = actor_of(snapshot, grant, head);
        let entry = charge.map(|_| Entry { actor: actor.clone(), route: route.rule.name.clone() });
        gate.app.note(actor, head.at, AgentEvent::Acted(Box::new(decided)));
        entry
    }
}

/// Writes down that an agent was refused at an endpoint that is for people; so often a minute.
pub(super) fn strayed(gate: &Gate, head: &RequestHead, snapshot: &Snapshot, grant: &Grant, endpoint: &str) {
    if !may_stray(grant, head.at) {
        return;
    }
    let decided = Decided {
        of: grant.token.delegation(),
        agent: grant.token.agent.clone(),
        verdict: Verdict::Deny,
        route: endpoint.to_owned(),
        method: head.method.to_string(),
        permission: None,
        reason: Some(Rejection::Agent(AgentRefusal::NotAllowed).label()),
        trace: head.trace().map(str::to_owned),
        approval: None,
        cost: None,
        reserved: None,
    };
    gate.app.note(actor_of(snapshot, grant, head), head.at, AgentEvent::Acted(Box::new(decided)));
}

/// The agent, as the audit trail names it.
pub(in crate::gate) fn actor_of(snapshot: &Snapshot, grant: &Grant, head: &RequestHead) -> Actor {
    let mut actor = Actor::new(Who::Agent(grant.token.id));
    actor.site = snapshot.principal.account.site;
    actor.application = grant.token.application;
    actor.address = Some(head.client);
    actor.user_agent = head.user_agent.as_ref().map(text);
    actor.request_id = Some(head.id.as_str().to_owned());
    actor
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_sampled(gate: &Gate, route: &Route) -> bool {
    let part = route.audited_reads;
    if part <= 0.0 || part >= 1.0 {
        return part >= 1.0;
    }
    let mut bytes = [0u8; 4];
    Random::fill(gate.app.random.as_ref(), &mut bytes);
    f64::from(u32::from_be_bytes(bytes)) < part * f64::from(u32::MAX)
}

/// Counts a try in its minute: one clock for all would let what matters hide behind what does not.
fn may_stray(grant: &Grant, now: Timestamp) -> bool {
    let minute = now.as_millis() / 60_000;
    let count = |was: i64| match (was >> 8 == minute, was & 0xff) {
        (false, _) => Some(minute << 8 | 1),
        (true, tries) if tries < STRAYS => Some(was + 1),
        (true, _) => None,
    };
    grant.strays.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
}

fn is_due(grant: &Grant, now: Timestamp) -> bool {
    let known = grant.refused_at.load(Ordering::Relaxed);
    let is_due = now.since(Timestamp::from_millis(known)) >= REFUSED_EVERY;
    let take =
        grant.refused_at.compare_exchange(known, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
    is_due && take.is_ok()
}
