//! The audit row of a request that its route wants in the trail.
//!
//! Law: on a route with `audit: required` the row is committed before the request passes; where it
//! cannot be, the request does not.

use super::Gate;
use super::dispatch::text;
use super::head::RequestHead;
use super::permit::Permit;
use super::rejection::{Rejection, Silent};
use crate::audit::{Actor, SystemEvent, Who};
use crate::config::RouteAudit;

/// Writes the row, if the route asks for one.
pub(super) async fn passing(gate: &Gate, permit: &Permit, head: &RequestHead) -> Result<(), Rejection> {
    let rule = &permit.route().rule;
    if rule.audit == RouteAudit::Off {
        return Ok(());
    }
    let event = SystemEvent::RequestPassed { route: rule.name.clone(), method: head.method.to_string() };
    gate.app.write_down(actor(permit, head), event).await.map_err(|error| {
        tracing::warn!(%error, "a request could not be written into the audit trail");
        Rejection::Unavailable(Silent::Store)
    })
}

fn actor(permit: &Permit, head: &RequestHead) -> Actor {
    let principal = permit.principal();
    let who = match permit.agent() {
        Some(token) => Who::Agent(token),
        None => principal.map_or(Who::Anonymous, |principal| Who::Account(principal.account.id)),
    };
    let mut actor = Actor::new(who);
    if let Some(principal) = principal {
        actor.site = principal.account.site;
    }
    actor.application = permit.application().map(|application| application.id);
    actor.address = Some(head.client);
    actor.user_agent = head.user_agent.as_ref().map(text);
    actor.request_id = Some(head.id.as_str().to_owned());
    actor
}
