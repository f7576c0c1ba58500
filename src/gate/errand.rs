//! What people have approved and the gateway sends by itself: judged as if its agent sent it now.
//!
//! Law: agent, human, route, policy and money are looked at again when it is sent, by the judges of
//! every other request. What cannot be had any more ends void; what cannot be sent now waits for its
//! next turn. Nobody's rate is counted: the agent asked once, and was counted then.

use std::net::SocketAddr;

use ::http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName};
use ::http::{HeaderValue, Method, Version};
use bytes::Bytes;

use super::admit::Asking;
use super::agent::{self, AgentRefusal, Trail};
use super::decision::{Answer, Decision, Verdict};
use super::head::{Arrival, RequestHead, Scheme, text_of};
use super::hold::{Due, HoldRefusal};
use super::laps::Laps;
use super::passing::{Passing, Sending};
use super::rejection::{Flaw, Rejection};
use super::request_id::RequestId;
use super::rules::EdgeRules;
use super::world::Target;
use super::{Gate, edge, note};
use crate::approval::{self, Approval, Content, Told};
use crate::audit::{Actor, Voided};
use crate::config::{HoldMode, RouteAgents};

const TRACE: HeaderName = HeaderName::from_static("x-prompt-trace-id");

/// A request that the gateway sends by itself, and what becomes of it.
#[derive(Debug)]
pub struct Errand {
    pub head: Box<RequestHead>,
    pub decision: Decision,
}

/// Decides about what was approved, whose turn it is; `None` where there is nothing to send.
pub async fn errand(gate: &Gate, approval: &Approval, rules: &EdgeRules, id: RequestId) -> Option<Errand> {
    let content = match approval::content(&gate.app, approval).await {
        // Nothing is kept of what is over: somebody was faster.
        Ok(content) => content?,
        Err(error) => {
            tracing::warn!(%error, "what was approved cannot be read");
            return None;
        }
    };
    let head = match head_of(gate, approval, &content, rules, id) {
        Ok(head) => head,
        Err(rejection) => {
            give_up(gate, approval, &rejection).await;
            return None;
        }
    };
    let decision = decide(gate, &head, approval, content).await;
    if let Verdict::Reject(rejection) = &decision.verdict {
        give_up(gate, approval, rejection).await;
    }
    Some(Errand { head, decision })
}

/// The head of what the agent sent, as far as it was kept.
fn head_of(
    gate: &Gate,
    approval: &Approval,
    content: &Content,
    rules: &EdgeRules,
    id: RequestId,
) -> Result<Box<RequestHead>, Rejection> {
    let mut headers = HeaderMap::with_capacity(content.headers.len() + 3);
    for (name, value) in &content.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| Rejection::Internal)?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| Rejection::Internal)?);
    }
    let text = |text: &str| HeaderValue::from_str(text).map_err(|_| Rejection::Internal);
    headers.insert(HOST, text(&content.authority)?);
    if !content.body.is_empty() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.body.len()));
    }
    if let Some(trace) = &approval.trace {
        headers.insert(TRACE, text(trace)?);
    }
    let method = Method::from_bytes(content.method.as_bytes()).map_err(|_| Rejection::Internal)?;
    let arrival = Arrival {
        method: &method,
        raw_target: content.asked.as_bytes(),
        uri_authority: None,
        version: Version::HTTP_11,
        has_ended: true,
        headers: &headers,
        raw: None,
        peer: SocketAddr::new(content.client, 0),
        peer_text: &text_of(content.client),
        scheme: if content.is_https { Scheme::Https } else { Scheme::Http },
        at: gate.app.now(),
    };
    RequestHead::read(&arrival, id, rules)
}

async fn decide(gate: &Gate, head: &RequestHead, approval: &Approval, content: Content) -> Decision {
    let world = gate.world();
    let found = world.find(head.authority.host(), head.target.path(), &head.method);
    let Target::Route(route, params) = found else { return Decision::refused(Rejection::NoRoute) };
    let asking = Asking { gate, world: &world, head, route, params: &params };
    let (mut answer, mut trail) = (Answer::of(route, None), Trail::default());
    let outcome = judge(&asking, &mut trail, approval, content).await;
    let verdict = asking.dispatch(outcome, &trail, &mut Bytes::new(), &mut answer).await;
    Decision::on_route(route, verdict, answer)
}

async fn judge<'l>(
    asking: &Asking<'_>,
    trail: &mut Trail,
    approval: &Approval,
    content: Content,
) -> Result<Passing<'l>, Rejection> {
    let Asking { gate, world, head, route, .. } = *asking;
    let is_same = |policy: &str| route.rule.name == approval.route && policy == approval.policy;
    if !route.hold.as_ref().is_some_and(|holding| is_same(&holding.policy)) {
        return Err(Rejection::Held(HoldRefusal::Told(Told::Void)));
    }
    edge::check(world, route, head, None)?;
    let caller = agent::known(gate, world, head, route, approval.agent_token, trail).await?;
    trail.approved(approval.id);
    let agent::Caller { snapshot, grant, application } = caller;
    let permit = asking.judge_delegation(&snapshot, &grant, application?.as_ref()).await?;
    note::passing(gate, &permit, head).await?;
    // Paid for before it is taken: nobody else has this turn, and what cannot be paid for uses up none of
    // the tries that there are.
    let paid = agent::spend(gate, &grant, &agent::purchase(&grant, route.charge)?, None).await?;
    let actor = agent::actor_of(&grant, head);
    let kept = Box::new(Due::errand(approval.clone(), content)).claim(gate, &actor).await?;
    // Whether failures are known was not asked: a success forgives what there is.
    let has_failures = true;
    Ok(Passing { permit, has_failures, paid, sending: Sending::Kept(Box::new(kept)), laps: Laps::untimed() })
}

/// Ends what can never be sent, and says why the rest was not sent now.
async fn give_up(gate: &Gate, approval: &Approval, rejection: &Rejection) {
    let approval_id = approval.id.to_string();
    let Some(why) = lost(rejection) else {
        tracing::warn!(approval_id, why = rejection.label(), "what was approved cannot be sent now");
        return;
    };
    let mut actor = Actor::system();
    actor.site = approval.site;
    if let Err(error) = approval::void(&gate.app, &actor, approval, why).await {
        tracing::warn!(approval_id, %error, "what cannot be had any more was not ended");
    }
}

/// Why it cannot be had any more, if so.
const fn lost(rejection: &Rejection) -> Option<Voided> {
    match rejection {
        Rejection::Agent(refusal) => match refusal {
            AgentRefusal::Disabled
            | AgentRefusal::Unknown
            | AgentRefusal::Status(_)
            | AgentRefusal::Spent
            | AgentRefusal::Overdue
            | AgentRefusal::Silent
            | AgentRefusal::Tripped(_) => Some(Voided::AgentStopped),
            AgentRefusal::NotAllowed
            | AgentRefusal::Denied(_)
            | AgentRefusal::OtherOrganization
            | AgentRefusal::NoBudget(_)
            | AgentRefusal::Unpriced(_) => Some(Voided::RightLost),
            // Some of it may come back.
            AgentRefusal::OverBudget(_) => None,
        },
        Rejection::Denied(_)
        | Rejection::OrganizationUnknown { .. }
        | Rejection::OrganizationMissing
        | Rejection::ApplicationMissing => Some(Voided::RightLost),
        Rejection::NoRoute
        | Rejection::MethodNotAllowed { .. }
        | Rejection::MethodUnknown
        | Rejection::Misdirected
        | Rejection::Malformed(Flaw::Target | Flaw::Host)
        | Rejection::TargetTooLong
        | Rejection::HeadTooLarge
        | Rejection::BodyTooLarge
        | Rejection::UpgradeRefused
        | Rejection::Held(HoldRefusal::Told(Told::Void)) => Some(Voided::PolicyChanged),
        _ => None,
    }
}

impl Gate {
    /// Whether some route has the gateway send what was approved.
    pub fn has_errands(&self) -> bool {
        let world = self.world();
        let is_sealed = |agents: &RouteAgents| agents.mode == HoldMode::Sealed;
        world.config.routes.iter().any(|route| route.agents.as_ref().is_some_and(is_sealed))
    }
}
