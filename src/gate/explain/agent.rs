//! The same for an agent: its token, its human and the double check, condition by condition.
//!
//! Law: the pipeline's judges, in the pipeline's order. Every condition is shown with its own
//! answer also after the first no; the refusal is the one that the agent would get.

use std::sync::Arc;

use super::super::agent::{self as agents, AgentRefusal, Grant};
use super::super::authorize::{Asked, OfAgent, authorize};
use super::super::person::Snapshot;
use super::super::rejection::Rejection;
use super::super::route::Route;
use super::super::slices::agent_of;
use super::super::world::World;
use super::super::{Gate, application, rewrite};
use super::{Explanation, POLICY, Question, after, standing_of};
use crate::agent::{AgentToken, Status, reason_name};
use crate::base::Timestamp;
use crate::policy::Code;
use crate::policy::judge::Answer;
use crate::policy::table::Params;
use crate::principal::ApplicationFacts;
use crate::store::Error;

/// Collects answers; the first no is the one that counts.
pub(super) struct Told<'a> {
    explanation: &'a mut Explanation,
    refusal: Option<Rejection>,
}

impl Told<'_> {
    pub fn ask(&mut self, name: &'static str, detail: String, answer: Result<(), Rejection>) {
        self.show(name, answer.is_ok(), detail);
        if let Err(refusal) = answer {
            self.refusal.get_or_insert(refusal);
        }
    }

    pub fn show(&mut self, name: &'static str, is_passed: bool, detail: String) {
        self.explanation.step(name, is_passed, detail);
    }
}

pub(super) fn or(is_so: bool, refusal: AgentRefusal) -> Result<(), Rejection> {
    if is_so { Ok(()) } else { Err(Rejection::Agent(refusal)) }
}

/// Asks the judges about a request of this token.
pub(super) async fn explain(
    gate: &Gate,
    world: &Arc<World>,
    question: &Question<'_>,
    token: &AgentToken,
    at: (&Arc<Route>, &Params<'_, '_>),
    explanation: &mut Explanation,
) -> Result<Result<(), Rejection>, Error> {
    let mut told = Told { explanation, refusal: None };
    let are_there = world.config.agents.is_enabled;
    told.ask("agents", "agents are switched on".to_owned(), or(are_there, AgentRefusal::Disabled));
    let own = match token.application {
        Some(id) => gate.records.application_of(id).await?,
        None => None,
    };
    let record = agent_of(&gate.app, token.clone(), own.as_deref()).await?;
    // As in the pipeline: who may not act at all, and which keys came along, before the state.
    let halted = if token.status == Status::Active { Status::Suspended } else { token.status };
    told.ask(
        "human",
        format!("account {} may act", token.account),
        or(record.person.is_some(), AgentRefusal::Status(halted)),
    );
    let application = question.application.clone().or(own);
    let name = application.as_ref().map_or("none".to_owned(), |application| application.name.to_string());
    told.ask("application", name, of_application(question, token, at.0, application.as_deref()));
    of_time(&mut told, token, gate.app.now());
    after::of_rate(&mut told, token);
    if let Some(person) = record.person {
        let human = Arc::new(Snapshot::imagined(person, &world.catalogue));
        let grant = Grant::new([0; 32], record.token, record.slug, Arc::default());
        of_route(gate, world, question, at, &mut told, (&human, &grant), application.as_ref()).await;
    }
    after::of_limit(&mut told, at.0);
    let waits = after::of_hold(&mut told, world, at.0, question.body);
    after::of_total(&mut told, token);
    after::of_budget(&mut told, token, at.0, question.body);
    told.explanation.waits = waits;
    Ok(told.refusal.map_or(Ok(()), Err))
}

fn of_application(
    question: &Question<'_>,
    token: &AgentToken,
    route: &Route,
    application: Option<&ApplicationFacts>,
) -> Result<(), Rejection> {
    match &question.application {
        Some(named) if token.application != Some(named.id) => Err(Rejection::ApplicationMismatch),
        _ => application::check_required(route, application),
    }
}

/// How long there still is.
fn left(until: Timestamp, now: Timestamp) -> String {
    if until <= now { "over".to_owned() } else { format!("{} s left", until.since(now).as_secs()) }
}

/// State, expiry and sign of life.
fn of_time(told: &mut Told<'_>, token: &AgentToken, now: Timestamp) {
    let reason = token.suspended_reason.filter(|_| token.status == Status::Suspended);
    let reason = reason.map(|reason| format!(" ({})", reason_name(reason))).unwrap_or_default();
    told.ask(
        "token",
        format!("{} of {}: {}{reason}", token.number.0, token.agent, token.status.name()),
        or(token.status == Status::Active, AgentRefusal::of_state(token.status, token.suspended_reason)),
    );
    let expiry = format!("ends {}, {}", token.expires_at.rfc3339(), left(token.expires_at, now));
    told.ask("expiry", expiry, or(token.expires_at > now, AgentRefusal::Overdue));
    let heartbeat = match (token.limits.heartbeat_every, token.heartbeat_due_at) {
        (Some(every), Some(due_at)) => {
            format!("every {every} s, the next until {}, {}", due_at.rfc3339(), left(due_at, now))
        }
        _ => "none is asked for".to_owned(),
    };
    let is_alive = token.heartbeat_due_at.is_none_or(|due_at| due_at >= now);
    told.ask("heartbeat", heartbeat, or(is_alive, AgentRefusal::Silent));
}

/// The double check. Its parts are shown one by one; the judge says which one is told.
async fn of_route(
    gate: &Gate,
    world: &Arc<World>,
    question: &Question<'_>,
    (route, params): (&Arc<Route>, &Params<'_, '_>),
    told: &mut Told<'_>,
    (human, grant): (&Arc<Snapshot>, &Grant),
    application: Option<&Arc<ApplicationFacts>>,
) {
    let found = agents::organization(gate, world, question.organization, human, grant).await;
    let (organization, standing) = match found {
        Ok(found) => found,
        Err(refusal) => return told.ask("organization", "cannot be read".to_owned(), Err(refusal)),
    };
    let asked = Asked {
        route,
        params,
        caller: Some(human),
        organization: organization.as_ref(),
        application,
        now: gate.app.now(),
        agent: Some(OfAgent { grant, standing }),
    };
    match &route.agents {
        None => told.show("route admits", false, "it has no `agents`: for people only".to_owned()),
        Some(rule) => {
            let (code, delegated) = (&rule.code, &grant.token.permissions);
            let shown: Vec<&str> = delegated.iter().map(Code::as_str).collect();
            told.show("route admits", true, format!("agents with {code}"));
            let is_delegated = delegated.binary_search(code).is_ok();
            told.show("agent scope", is_delegated, format!("{code} among {}", shown.join(", ")));
            let place = grant.slug.as_ref().map_or(String::new(), |slug| format!(" in {}", slug.as_str()));
            let is_held = agents::is_held(rule, human, organization.as_ref());
            told.show("human permission", is_held, format!("{code}{place}"));
        }
    }
    let named = match (standing, &organization) {
        (agents::Standing::Other, _) => "the request names another than the token's".to_owned(),
        (_, Some(organization)) => standing_of(organization),
        (agents::Standing::Good, None) => "the token is for none".to_owned(),
        (agents::Standing::Gone, None) => "the human does not belong to the token's any more".to_owned(),
    };
    told.show("organization", standing == agents::Standing::Good, named);
    let policy = asked.with_facts(|facts| route.allow.explain(facts));
    let is_allowed = policy.as_ref().is_none_or(|policy| policy.answer == Answer::Yes);
    told.show(POLICY, is_allowed, format!("{}, for the human", route.rule.allow));
    told.explanation.policy = policy;
    let judged = authorize(world, &asked).and_then(|_permit| {
        rewrite::check(world, &asked, question.host, question.target.path(), &question.method)
    });
    if let Err(refusal) = judged {
        told.refusal.get_or_insert(refusal);
    }
}
