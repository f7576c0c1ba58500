//! What the upstream is told about the caller: the one writer of identity headers.
//!
//! Law: written last, from the permit and nothing else, each name exactly once. Every incoming
//! header of these names was removed before anything read it. What describes the connection and not
//! the caller (`X-Forwarded-*`, `X-Request-ID`) the proxy writes, from the head.

use std::sync::Arc;

use ::http::HeaderValue;
use ::http::header::HeaderName;

use super::Gate;
use super::assertion::{Act, Bound, Claims, Same, of_request};
use super::head::RequestHead;
use super::permit::Permit;
use super::person::{Kind, Snapshot};
use super::rejection::{Rejection, Silent};
use super::target::CanonicalTarget;
use crate::base::{Email, Timestamp};
use crate::config::Assertion;
use crate::policy::Code;

const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const USER_EMAIL: HeaderName = HeaderName::from_static("x-user-email");
const USER_ROLES: HeaderName = HeaderName::from_static("x-user-roles");
const USER_PERMISSIONS: HeaderName = HeaderName::from_static("x-user-permissions");
const USER_PERMISSIONS_OMITTED: HeaderName = HeaderName::from_static("x-user-permissions-omitted");
const ORG_ID: HeaderName = HeaderName::from_static("x-org-id");
const ORG_SLUG: HeaderName = HeaderName::from_static("x-org-slug");
const ORG_ROLE: HeaderName = HeaderName::from_static("x-org-role");
const AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
const AGENT_TOKEN_ID: HeaderName = HeaderName::from_static("x-agent-token-id");
const TRACE: HeaderName = HeaderName::from_static("x-prompt-trace-id");
const AUTH_METHOD: HeaderName = HeaderName::from_static("x-auth-method");
const ASSERTION: HeaderName = HeaderName::from_static("x-portcullis-assertion");

/// Where identity headers are written, one by one.
pub type Out<'a> = &'a mut dyn FnMut(HeaderName, HeaderValue);

/// The request that an `assertion: request` is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// As the upstream sees it.
    pub target: &'a CanonicalTarget,
    /// SHA-256 of the whole body, where it is known before the request is sent.
    pub body: Option<[u8; 32]>,
    /// When it is sent: later than it arrived where the body came first.
    pub at: Timestamp,
}

/// Writes everything that the upstream is told about the caller.
///
/// # Errors
/// 503 when an assertion is asked for and cannot be made: an upstream that relies on it must not
/// see the request without it.
pub fn identity_headers(
    gate: &Gate,
    permit: &Permit,
    head: &RequestHead,
    sent: Sent<'_>,
    out: Out<'_>,
) -> Result<(), Rejection> {
    if let Some(caller) = permit.caller() {
        of_caller(caller, out);
        if let Some(agent) = &caller.agent {
            out(AGENT_ID, agent.label.clone());
            out(AGENT_TOKEN_ID, agent.number.clone());
            if let Some(trace) = head.trace() {
                out(TRACE, text(trace));
            }
        }
    }
    if let Some(organization) = permit.organization() {
        out(ORG_ID, organization.id.clone());
        out(ORG_SLUG, organization.slug.clone());
        if let Some(role) = &organization.role {
            out(ORG_ROLE, text(role.as_str()));
        }
    }
    if let Some(assertion) = assertion(gate, permit, head, sent)? {
        out(ASSERTION, assertion);
    }
    Ok(())
}

fn of_caller(caller: &Snapshot, out: Out<'_>) {
    let stamps = &caller.stamps;
    out(USER_ID, stamps.id.clone());
    if let Some(email) = &stamps.email {
        out(USER_EMAIL, email.clone());
    }
    out(USER_ROLES, stamps.roles.clone());
    match &stamps.permissions {
        Some(permissions) => out(USER_PERMISSIONS, permissions.clone()),
        None => out(USER_PERMISSIONS_OMITTED, HeaderValue::from_static("true")),
    }
    out(AUTH_METHOD, stamps.method.clone());
}

/// Codes, addresses and the like are visible ASCII already.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The signed statement, where the route wants one and there is someone to make it about.
fn assertion(
    gate: &Gate,
    permit: &Permit,
    head: &RequestHead,
    sent: Sent<'_>,
) -> Result<Option<HeaderValue>, Rejection> {
    let mode = permit.route().rule.assertion;
    let Some(caller) = permit.caller().filter(|_| mode != Assertion::Off) else { return Ok(None) };
    let (ring, random) = (gate.app.keyring(), gate.app.random.as_ref());
    let claims = || claims_of(permit, caller);
    let made = match (mode, sent.body) {
        (Assertion::Request, Some(body)) => {
            let bound = Bound { method: &head.method, target: sent.target.as_str(), body };
            of_request(&ring, random, sent.at, &claims(), &bound)
        }
        (Assertion::Request, None) => return Err(Rejection::Internal),
        (Assertion::Identity | Assertion::Off, _) => {
            gate.assertions.identity(same_as(permit, caller), &ring, random, sent.at, claims)
        }
    };
    made.map(Some).map_err(|_| Rejection::Unavailable(Silent::Keys))
}

fn claims_of<'a>(permit: &'a Permit, caller: &'a Snapshot) -> Claims<'a> {
    let organization = permit.organization();
    let account = &caller.principal.account;
    Claims {
        issuer: &permit.world().config.tokens.issuer,
        upstream: &permit.route().rule.upstream,
        subject: caller.key.account,
        sid: Some(caller.key.sid).filter(|_| caller.agent.is_none() && caller.key.kind == Kind::Session),
        act: caller.agent.as_ref().map(|agent| Act { sub: &agent.token.agent, token: agent.token.number.0 }),
        email: account.email.as_ref().map(Email::as_str),
        email_verified: account.email.as_ref().map(|_| account.is_email_verified),
        roles: caller.stamps.role_codes.iter().map(Code::as_str).collect(),
        permissions: caller.stamps.permission_codes.iter().map(Code::as_str).collect(),
        org: organization.map(|organization| organization.context.number.0),
        org_slug: organization.map(|organization| organization.context.slug.as_str()),
        org_role: organization.and_then(|organization| organization.role.as_ref()).map(Code::as_str),
        client_id: permit.application().map(|application| application.id),
    }
}

fn same_as(permit: &Permit, caller: &Snapshot) -> Same {
    Same {
        session: caller.key.sid,
        organization: permit.organization().map(|organization| organization.context.id),
        application: permit.application().map(|application| application.id),
        upstream: Arc::clone(&permit.route().upstream),
        seen: caller.seen,
        generation: permit.world().catalogue.generation(),
    }
}
