//! The gateway's own endpoints: who may call a row, how often, and then its handler.
//!
//! Law: the order is the contract's (application, caller, right, limit, body), so that who may not
//! call learns nothing of the rest. A credential that an open endpoint does not need is not looked
//! at. A panic ends one request and nothing else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use ::http::HeaderValue;
use ::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use futures::FutureExt;

use super::agent::{self, AgentRefusal};
use super::authenticate::{Caller, authenticate, current};
use super::authorize::{decoded, organization_of};
use super::body::BodySource;
use super::credential::Credential;
use super::decision::Decision;
use super::head::{BodyLength, RequestHead};
use super::rejection::{Flaw, Pace, Rejection};
use super::world::World;
use super::{Gate, application, browser, credential, limit};
use crate::base::Secret;
use crate::http::cookie::Cookies;
use crate::http::row::Mount;
use crate::http::{
    Access, ApiError, Asked, Body, Call, CallHead, ErrorCode, Reply, Row, Wording, fresh, input,
};
use crate::policy::Code;
use crate::policy::judge::Failure;
use crate::principal::ApplicationFacts;
use crate::web;

/// What the path held in the places of `{name}`.
pub(super) type Captured = Vec<(&'static str, String)>;

/// Answers a request to a row.
pub(super) async fn dispatch(
    gate: &Gate,
    world: &Arc<World>,
    head: &RequestHead,
    row: &Row,
    captured: Captured,
    source: &mut dyn BodySource,
) -> Reply {
    let reply = match run(gate, world, head, row, captured, source).await {
        Ok(reply) => reply,
        Err(rejection) => {
            if let Some(dependency) = rejection.lacks() {
                gate.app.metrics.unavailable(dependency);
            }
            refusal(&rejection, row, head)
        }
    };
    match row.wording() {
        _ if row.access() == Access::Page => as_page(reply),
        Some(wording) => match world.built_in().spoken_at(head.target.path()) {
            Some((_, path)) => retold(gate, head, wording, path, reply),
            None => reply,
        },
        None => reply,
    }
}

/// A path that no row and no route is asked for: below a profile's it is refused in the profile's words.
pub(super) fn nowhere(gate: &Gate, world: &World, head: &RequestHead, rejection: Rejection) -> Decision {
    match world.built_in().spoken_at(head.target.path()) {
        Some((wording, path)) => {
            Decision::answered(retold(gate, head, wording, path, plain(&rejection, head)))
        }
        None => Decision::refused(rejection),
    }
}

fn retold(gate: &Gate, head: &RequestHead, wording: Wording, path: &str, reply: Reply) -> Reply {
    let bearer = match Credential::of(head.presented.authorization.as_ref()) {
        Credential::Bearer(token) => Some(token),
        Credential::Absent | Credential::Agent(_) | Credential::Unusable => None,
    };
    let (method, request_id, now) = (&head.method, head.id.as_str(), gate.app.now());
    wording.retell(reply, &Asked { method, path, request_id, bearer, now })
}

/// A refusal as people read it, with the headers that say when to come back. JSON that is none is a file
/// that somebody asked for.
fn as_page(reply: Reply) -> Reply {
    let is_page = |kind: &HeaderValue| !kind.as_bytes().starts_with(b"application/json");
    if reply.status.is_success() || reply.headers.get(CONTENT_TYPE).is_none_or(is_page) {
        return reply;
    }
    let mut page = web::trouble(reply.status);
    for (name, value) in &reply.headers {
        if !page.headers.contains_key(name) {
            page.headers.append(name, value.clone());
        }
    }
    page
}

async fn run(
    gate: &Gate,
    world: &Arc<World>,
    head: &RequestHead,
    row: &Row,
    captured: Captured,
    source: &mut dyn BodySource,
) -> Result<Reply, Rejection> {
    let request_id = head.id.as_str();
    let agent = match agent_of(head, row) {
        Ok(agent) => agent,
        Err(refusal) => {
            agent::strayed(gate, world, head, row.path()).await;
            return Err(refusal);
        }
    };
    let application = application::of_row(gate, world, head, row).await?;
    if let Some(token) = &agent {
        agent::vouch(gate, world, head, token.expose()).await?;
    }
    let caller = match row.access() {
        Access::Open | Access::Agent => None,
        Access::Page => browser::of_page(gate, world, head, head.at).await?,
        Access::PersonOrAgent if agent.is_some() => None,
        Access::Person | Access::PersonOrAgent | Access::Permission(_) => {
            refuse_key(head)?;
            let caller = authenticate(gate, world, head).await?.ok_or(Rejection::CredentialMissing)?;
            check(gate, world, head, row, &caller, application.as_deref()).await?;
            Some(caller)
        }
    };
    let pace = match row.bucket() {
        Some(bucket) => Some(limit::of_endpoint(gate, bucket, head).await?),
        None => None,
    };
    let most = usize::try_from(world.config.limits.body.api_bytes).unwrap_or(input::MAX_BODY);
    let bytes = source.read_all(most).await?;
    let caller = match caller {
        // Of a body without a length, the end alone can be late.
        Some(caller) if !bytes.is_empty() || matches!(head.body, BodyLength::Unknown) => {
            judged_again(gate, world, head, row, caller, application.as_deref()).await?
        }
        caller => caller,
    };
    let body = Body { content_type: head.content_type.as_ref().map(text), bytes };
    let principal = caller.map(|caller| Arc::clone(&caller.snapshot.principal));
    let head = call_head(head, captured, agent);
    let call = Call { app: Arc::clone(&gate.app), principal, application, head };
    let reply = AssertUnwindSafe(row.answer(call, body)).catch_unwind().await;
    let reply = reply.unwrap_or_else(|_| {
        tracing::error!(request_id, endpoint = ?row, "a handler panicked");
        ApiError::new(ErrorCode::InternalError).into_reply(request_id)
    });
    Ok(paced(reply, pace))
}

/// Whoever sends slowly is judged by what holds when all of it is here, pages' forms included: there, whose
/// session is over is nobody any more, and the page leads to the login.
async fn judged_again(
    gate: &Gate,
    world: &Arc<World>,
    head: &RequestHead,
    row: &Row,
    caller: Caller,
    application: Option<&ApplicationFacts>,
) -> Result<Option<Caller>, Rejection> {
    let at = gate.app.now();
    if row.access() == Access::Page {
        return browser::of_page(gate, world, head, at).await;
    }
    let snapshot = current(gate, world, caller.snapshot.key, at).await?;
    let scope = caller.scope.or(snapshot.principal.session.scope);
    let caller = Caller { snapshot, scope, ..caller };
    check(gate, world, head, row, &caller, application).await?;
    Ok(Some(caller))
}

/// A program with an API key calls routes. What is built in is for the person: none of it, and least of
/// all what makes credentials, is reached by a key.
fn refuse_key(head: &RequestHead) -> Result<(), Rejection> {
    let presented = &head.presented;
    match (&presented.api_key, &presented.authorization) {
        (Some(_), None) => Err(Rejection::ApiKeyNotAllowed),
        (Some(_), Some(_)) => Err(Rejection::Malformed(Flaw::Credentials)),
        (None, _) => Ok(()),
    }
}

/// The token of an agent that calls a row for agents. Everywhere else under the API's prefix an
/// agent is refused, whatever its token, before anything else is asked.
fn agent_of(head: &RequestHead, row: &Row) -> Result<Option<Secret<String>>, Rejection> {
    let authorization = head.presented.authorization.as_ref();
    match (row.access(), Credential::of(authorization)) {
        (Access::Agent | Access::PersonOrAgent, Credential::Agent(token)) => {
            Ok(Some(Secret::new(token.to_owned())))
        }
        (Access::Agent, _) => Err(Rejection::CredentialMissing),
        _ if (row.mount() != Mount::Root || row.access() == Access::Page)
            && credential::is_agents(authorization) =>
        {
            Err(Rejection::Agent(AgentRefusal::NotAllowed))
        }
        _ => Ok(None),
    }
}

/// Whether this caller may call the row.
async fn check(
    gate: &Gate,
    world: &Arc<World>,
    head: &RequestHead,
    row: &Row,
    caller: &Caller,
    application: Option<&ApplicationFacts>,
) -> Result<(), Rejection> {
    let principal = &caller.snapshot.principal;
    application::check_match(&caller.snapshot, application)?;
    if let Some(scope) = caller.scope.filter(|scope| row.admitted() != Some(*scope)) {
        return Err(Rejection::ScopeInsufficient(scope));
    }
    // Contract section 25.3: an unknown organization is 404 wherever it is named.
    let wish = head.presented.org_slug.as_ref().map(text);
    organization_of(gate, world, &caller.snapshot, wish.as_deref()).await?;
    match row.access() {
        Access::Permission(code) if !holds(principal, code) => {
            let missing = Code::parse(code).into_iter().collect();
            return Err(Rejection::Denied(Failure { condition: "permission", missing, within: None }));
        }
        Access::Open
        | Access::Person
        | Access::Permission(_)
        | Access::Agent
        | Access::PersonOrAgent
        | Access::Page => {}
    }
    let most = world.config.api.admin_max_age;
    let within = fresh::too_old(row, most, &principal.session, gate.app.now());
    if within.is_some() {
        return Err(Rejection::Denied(Failure { condition: "max_age", missing: Vec::new(), within }));
    }
    Ok(())
}

fn holds(principal: &crate::principal::Principal, code: &str) -> bool {
    Code::parse(code).is_ok_and(|code| principal.rights.holds_code(&code))
}

fn call_head(head: &RequestHead, captured: Captured, agent: Option<Secret<String>>) -> CallHead {
    let bearer = match Credential::of(head.presented.authorization.as_ref()) {
        Credential::Bearer(token) => Some(Secret::new(token.to_owned())),
        Credential::Absent | Credential::Agent(_) | Credential::Unusable => None,
    };
    let params = captured.into_iter().map(|(name, value)| (name, decoded(&value).into_owned()));
    CallHead {
        request_id: head.id.as_str().to_owned(),
        method: head.method.clone(),
        path: head.target.path().to_owned(),
        params: params.collect(),
        query: head.target.query().unwrap_or_default().to_owned(),
        client: head.client,
        user_agent: head.user_agent.as_ref().map(text),
        origin: head.presented.origin.as_ref().map(text),
        org_slug: head.presented.org_slug.as_ref().map(text),
        cookies: Cookies::parse(head.presented.cookie.as_ref().map(text).as_deref()),
        idempotency_key: head.presented.idempotency_key.as_ref().map(text),
        agent,
        bearer,
    }
}

/// Bytes outside ASCII stay recognisable in logs and audit rows, and never fail a request.
pub(super) fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn paced(mut reply: Reply, pace: Option<Pace>) -> Reply {
    for (name, value) in pace.iter().flat_map(Pace::headers) {
        reply.headers.insert(name, value);
    }
    reply
}

/// A refusal in the words of the API: one shape, and the contract's codes (sections 5.4 and 7).
fn refusal(rejection: &Rejection, row: &Row, head: &RequestHead) -> Reply {
    let error = match rejection {
        Rejection::CredentialMissing => ApiError::new(row.code_when_anonymous()),
        Rejection::TokenInvalid | Rejection::AgentTokenUnreadable => {
            ApiError::new(ErrorCode::Unauthorized).saying("Invalid or expired token")
        }
        Rejection::ApplicationMismatch => {
            ApiError::new(ErrorCode::Unauthorized).saying("Token does not match application")
        }
        other => return plain(other, head),
    };
    let mut reply = error.into_reply(head.id.as_str());
    for (name, value) in rejection.headers() {
        if name == WWW_AUTHENTICATE {
            reply.headers.insert(name, value);
        }
    }
    reply
}

/// Everything else has the same code here as on a route.
fn plain(rejection: &Rejection, head: &RequestHead) -> Reply {
    let mut reply = Reply::json(rejection.status(), &rejection.body(head.id.as_str()));
    for (name, value) in rejection.headers() {
        reply.headers.insert(name, value);
    }
    debug_assert!(rejection.status() != 429 || reply.headers.contains_key(RETRY_AFTER));
    reply
}
