//! People whose browser shows the cookie of our pages: on those, and on routes that say `browser: true`.
//!
//! Law: a cookie counts only where nothing else was presented. Browsers send it with what other sites make
//! them send, so what may change something must come from a page of our own origin. Led to the page to log in
//! is who navigates and whom logging in helps; where that leads to afterwards is the path that was asked for.

use ::http::Method;

use super::Gate;
use super::authenticate::{Caller, current, ticket_of};
use super::decision::Verdict;
use super::dispatch::text;
use super::head::{Kind, RequestHead};
use super::person::Key;
use super::rejection::Rejection;
use super::route::Route;
use super::world::World;
use crate::base::Timestamp;
use crate::http::cookie::{Channel, Cookies};
use crate::{session, web};

/// Whether a request may come from a browser by itself, where nobody's script added a credential.
pub(super) fn comes(route: &Route, head: &RequestHead) -> bool {
    let presented = &head.presented;
    let is_bare = presented.authorization.is_none()
        && presented.api_key.is_none()
        && presented.access_key.is_none()
        && ticket_of(head).is_none();
    route.rule.browser && is_bare
}

/// Who looks at a page of ours. A script is nobody there: it may be that of any backend on this origin, and
/// would read what a form must know, or send it. People look at pages and send forms by navigating.
pub(super) async fn of_page(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    at: Timestamp,
) -> Result<Option<Caller>, Rejection> {
    let is_of_script = head.fetch_mode.as_ref().is_some_and(|mode| mode != "navigate");
    if is_of_script { Ok(None) } else { by_cookie(gate, world, head, at).await }
}

/// Who is logged in to pages at this moment; nobody where the cookie is not ours or its session is over.
async fn by_cookie(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    at: Timestamp,
) -> Result<Option<Caller>, Rejection> {
    let channel = if world.config.public_url.is_https { Channel::Https } else { Channel::PlainHttp };
    let cookies = Cookies::parse(head.presented.cookie.as_ref().map(text).as_deref());
    let Some(value) = cookies.get(channel.session_cookie()) else { return Ok(None) };
    let Some(known) = session::read_page_cookie(&gate.app.seal, value.expose(), at) else {
        return Ok(None);
    };
    let key = Key::of_session(known.sid, known.account, known.application);
    match current(gate, world, key, at).await {
        Ok(snapshot) => {
            let scope = snapshot.principal.session.scope;
            let cookie_until = Some(known.ends_at);
            Ok(Some(Caller { snapshot, scope, organization: None, cookie_until }))
        }
        Err(Rejection::TokenInvalid) => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

/// The same on a route, where another site may have made the browser send what it sends.
pub(super) async fn caller(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
) -> Result<Option<Caller>, Rejection> {
    let caller = by_cookie(gate, world, head, head.at).await?;
    match caller {
        Some(_) if !is_of_ours(world, head) => Err(Rejection::CookieFromElsewhere),
        caller => Ok(caller),
    }
}

/// Whoever navigates and is nobody yet goes to the page to log in, and comes back here from there.
pub(super) fn led(route: &Route, head: &RequestHead, rejection: Rejection) -> Result<Verdict, Rejection> {
    let helps = matches!(rejection, Rejection::CredentialMissing | Rejection::ApplicationMissing);
    if helps && comes(route, head) && head.is_navigation() {
        return Ok(Verdict::Answer(web::log_in_first(head.target.as_str())));
    }
    Err(rejection)
}

fn is_harmless(head: &RequestHead) -> bool {
    head.kind == Kind::Plain && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_of_ours(world: &World, head: &RequestHead) -> bool {
    match &head.presented.origin {
        Some(origin) => origin.to_str().is_ok_and(|origin| origin == world.config.public_url.to_string()),
        // Browsers name none when they only look, unless a script of another origin does.
        None => is_harmless(head),
    }
}
