//! What an agent's request leaves in the audit trail.
//!
//! Law: every decision leaves a row, within a second: passed, denied, told to slow down. What is
//! only read is sampled as the configuration says. What is refused without having counted against
//! the token's rate leaves so many rows a minute, or whoever holds a token could fill the trail; the
//! rest of it is counted, and leaves one row together. What a request has cost after all leaves a
//! second row.

use std::sync::Arc;

use ::http::Method;

use super::super::Gate;
use super::super::dispatch::text;
use super::super::head::RequestHead;
use super::super::rejection::Rejection;
use super::super::route::Route;
use super::cache::{Found, Grant};
use super::count::Charge;
use super::marks::Kind;
use super::refusal::AgentRefusal;
use super::withheld::{Kept, Together};
use crate::audit::{Actor, AgentEvent, Decided, USER_AGENT_MAX, Verdict, Who};
use crate::base::{Id, MicroUsd, Random};
use crate::shared::Price;

const TRACE_MAX: usize = 128;

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
    known: Option<Arc<Grant>>,
    /// It counted against the token's rate, which bounds what rows it can leave.
    is_counted: bool,
    approval: Option<Id>,
    /// What became of it where it was not sent.
    instead: Option<Verdict>,
}

impl Trail {
    /// Whose the token is, if anybody's.
    pub fn know(&mut self, found: &Found) {
        self.known = found.grant().cloned();
    }

    /// Whether anything becomes a row at all.
    pub const fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// The request counted against the token's rate, and was within it.
    pub fn counted(&mut self) {
        self.is_counted = true;
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
        let grant = self.known.as_ref()?;
        let charge = charge.filter(|charge| charge.money > MicroUsd::ZERO);
        let money = |price| charge.filter(|charge| charge.price == price).map(|charge| charge.money);
        let verdict = match (refusal, self.instead) {
            (None, Some(instead)) => instead,
            (None, None) if is_read(&head.method) && !is_sampled(gate, route) => return None,
            (None, None) => Verdict::Allow,
            (Some(Rejection::Limited(_)), _) => Verdict::Limit,
            (Some(_), _) => Verdict::Deny,
        };
        let decided = || Decided {
            verdict,
            permission: route.rule.agents.as_ref().map(|agents| agents.permission.clone()),
            approval: self.approval,
            cost: money(Price::Final),
            reserved: money(Price::AtMost),
            ..described(grant, head, &route.rule.name, refusal)
        };
        if let Some(kind) = refusal.and_then(|refusal| self.kind_of(refusal)) {
            note_or_count(gate, head, grant, kind, &route.rule.name, decided);
            return None;
        }
        let actor = actor_of(grant, head);
        let entry = charge.map(|_| Entry { actor: actor.clone(), route: route.rule.name.clone() });
        gate.app.note(actor, head.at, AgentEvent::Acted(Box::new(decided())));
        entry
    }

    /// Which refusals it is one of that leave so few rows, if so.
    const fn kind_of(&self, refusal: &Rejection) -> Option<Kind> {
        match refusal {
            Rejection::Limited(_) => Some(Kind::Pace),
            _ if self.is_counted => None,
            Rejection::Agent(AgentRefusal::Status(_) | AgentRefusal::Spent) => Some(Kind::State),
            _ => Some(Kind::Early),
        }
    }
}

/// Writes down that an agent was refused at an endpoint that is for people; so often a minute.
pub(super) fn strayed(gate: &Gate, head: &RequestHead, grant: &Grant, endpoint: &str) {
    let refusal = Rejection::Agent(AgentRefusal::NotAllowed);
    note_or_count(gate, head, grant, Kind::Stray, endpoint, || {
        described(grant, head, endpoint, Some(&refusal))
    });
}

/// A refusal, as far as it is the same wherever it happens.
fn described(grant: &Grant, head: &RequestHead, place: &str, refusal: Option<&Rejection>) -> Decided {
    Decided {
        of: grant.token.delegation(),
        agent: grant.token.agent.clone(),
        verdict: Verdict::Deny,
        route: place.to_owned(),
        method: head.method.to_string(),
        permission: None,
        reason: refusal.map(Rejection::label),
        trace: head.trace().map(str::to_owned),
        approval: None,
        cost: None,
        reserved: None,
        times: None,
    }
}

/// Writes down a refusal, or counts it where there were enough of its kind in this minute.
fn note_or_count(
    gate: &Gate,
    head: &RequestHead,
    grant: &Grant,
    kind: Kind,
    route: &str,
    decided: impl FnOnce() -> Decided,
) {
    if grant.marks.may_leave_row(kind, head.at) {
        gate.app.note(actor_of(grant, head), head.at, AgentEvent::Acted(Box::new(decided())));
        return;
    }
    let first = || Together { actor: actor_of(grant, head), at: head.at, decided: decided() };
    if gate.withheld.add(grant.token.id, kind, route, first) == Kept::Nowhere {
        gate.app.metrics.audit_row_lost();
    }
}

/// The agent, as the audit trail names it.
pub(in crate::gate) fn actor_of(grant: &Grant, head: &RequestHead) -> Actor {
    let mut actor = Actor::new(Who::Agent(grant.token.id));
    actor.site = grant.token.site;
    actor.application = grant.token.application;
    actor.address = Some(head.client);
    // Many of these wait to be written: no more of it than is.
    let cut = |value| text(value).chars().take(USER_AGENT_MAX).collect();
    actor.user_agent = head.user_agent.as_ref().map(cut);
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
