//! What is answered or refused before anyone asks who calls: preflights, sizes, origins.
//!
//! Law: a preflight carries no credential, so it is never judged and never forwarded unless the
//! route leaves CORS to its upstream. Which origins may call is a fact of the route, global
//! settings, and the applications; never of the caller.

use ::http::header::VARY;
use ::http::{HeaderValue, Method};

use super::Gate;
use super::cors::{Cors, Granted, OfApplication};
use super::head::{BodyLength, Kind, RequestHead};
use super::rejection::{Flaw, Rejection};
use super::route::Route;
use super::world::World;
use crate::http::Reply;

/// The permission of the page that calls, if one does and may.
pub(super) async fn granted(gate: &Gate, cors: &Cors, head: &RequestHead) -> Option<Granted> {
    let origin = head.presented.origin.as_ref()?;
    let text = origin.to_str().ok()?;
    let is_application = !cors.lists(text) && gate.records.is_application_origin(text).await;
    cors.grant(origin, if is_application { OfApplication::Yes } else { OfApplication::No })
}

/// The same answer with the page's permission on it.
pub(super) fn with_cors(mut reply: Reply, granted: Option<&Granted>) -> Reply {
    if !reply.headers.contains_key(VARY) {
        reply.headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(granted) = granted {
        granted.write(&mut |name, value| {
            reply.headers.insert(name, value);
        });
    }
    reply
}

/// The method that a preflight asks about; `None` if the request is none. A browser's own has no body and
/// no credential: what has one is judged as what it is, whoever it claims to ask for.
pub(super) fn preflight_for(head: &RequestHead) -> Option<Method> {
    let presented = &head.presented;
    let is_bare = presented.authorization.is_none() && presented.api_key.is_none();
    let is_empty = matches!(head.body, BodyLength::None | BodyLength::Known(0));
    let asks = head.preflight_method.as_ref().filter(|_| {
        head.method == Method::OPTIONS
            && presented.origin.is_some()
            && head.kind == Kind::Plain
            && is_bare
            && is_empty
    })?;
    Method::from_bytes(asks.as_bytes()).ok()
}

/// Refuses what the route does not take, whoever sends it.
pub(super) fn check(
    world: &World,
    route: &Route,
    head: &RequestHead,
    granted: Option<&Granted>,
) -> Result<(), Rejection> {
    if !head.target.fits(route.target_rules(world)) {
        return Err(Rejection::Malformed(Flaw::Target));
    }
    if let BodyLength::Known(length) = head.body
        && length > route.rule.body
    {
        return Err(Rejection::BodyTooLarge);
    }
    if head.kind == Kind::WebSocket {
        if !route.rule.websocket {
            return Err(Rejection::UpgradeRefused);
        }
        check_origin(world, head, granted)?;
    }
    Ok(())
}

/// A browser sends its handshake whatever CORS says, so the origin is checked here. Clients that are no browsers
/// send none.
fn check_origin(world: &World, head: &RequestHead, granted: Option<&Granted>) -> Result<(), Rejection> {
    let Some(origin) = &head.presented.origin else { return Ok(()) };
    let is_listed = granted.is_some_and(Granted::is_listed);
    if is_listed || is_own(world, head, origin) { Ok(()) } else { Err(Rejection::OriginDenied) }
}

/// Whether the page came from the host that it calls.
fn is_own(world: &World, head: &RequestHead, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let own = format!("{}://{}", head.scheme.as_str(), head.authority.as_str());
    origin == own || origin == world.config.public_url.to_string()
}
