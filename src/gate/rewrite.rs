//! The path that the upstream sees.
//!
//! Law: gate and upstream cannot see different paths. A rewritten path is read again as strictly as
//! a client's, and matched again: where it is another route's to the same upstream, that
//! route's policy must agree, so that no rewrite leads around a policy.

use std::borrow::Cow;
use std::sync::Arc;

use ::http::Method;

use super::authorize::{Asked, authorize};
use super::head::{Kind, RequestHead};
use super::rejection::{Flaw, Rejection};
use super::route::Route;
use super::target::CanonicalTarget;
use super::ticket;
use super::world::{Target, World};
use crate::policy::Methods;

/// The target as the upstream gets it: rewritten, and without a ticket.
pub(super) fn target(world: &World, route: &Route, head: &RequestHead) -> Result<CanonicalTarget, Rejection> {
    let flaw = |_| Rejection::Malformed(Flaw::Target);
    let rules = route.target_rules(world);
    let target = match path(route, head.target.path()) {
        Cow::Borrowed(_) => head.target.clone(),
        Cow::Owned(path) => head.target.with_path(&path, rules).map_err(flaw)?,
    };
    match target.query().filter(|query| head.kind == Kind::WebSocket && ticket::is_in(query)) {
        Some(query) => target.with_query(ticket::without(query).as_deref(), rules).map_err(flaw),
        None => Ok(target),
    }
}

/// Asks the route that the rewritten request would be for, if there is one; why it would have refused, where
/// it is in shadow mode.
pub(super) fn check(
    world: &Arc<World>,
    asked: &Asked<'_>,
    host: &str,
    sent: &str,
    method: &Method,
) -> Result<Option<&'static str>, Rejection> {
    let Some(rewrite) = &asked.route.rule.rewrite else { return Ok(None) };
    let path = path(asked.route, sent);
    let host = rewrite.host.as_deref().unwrap_or(host);
    let is_other = |other: &Arc<Route>| {
        !Arc::ptr_eq(other, asked.route) && other.rule.upstream == asked.route.rule.upstream
    };
    match world.find(host, &path, method) {
        Target::Route(other, params) if is_other(other) => {
            authorize(world, &Asked { route: other, params: &params, ..*asked }).map(|permit| permit.shadow())
        }
        // What the other route gives to nobody by this method is not to be had by a rewrite.
        Target::WrongMethod(allow) if routes_at(world, host, &path).any(|other| is_other(&other)) => {
            Err(Rejection::MethodNotAllowed { allow })
        }
        Target::Ambiguous => Err(Rejection::Malformed(Flaw::Target)),
        Target::Route(..) | Target::WrongMethod(_) | Target::BuiltIn(..) | Target::Nothing => Ok(None),
    }
}

/// The routes of a path, by whichever method.
pub(super) fn routes_at(world: &World, host: &str, path: &str) -> impl Iterator<Item = Arc<Route>> {
    let methods = Methods::ALL.names().filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
    methods.filter_map(move |method| match world.find(host, path, &method) {
        Target::Route(route, _) => Some(Arc::clone(route)),
        _ => None,
    })
}

/// The path after the route's rewrite; borrowed where nothing changes.
fn path<'p>(route: &Route, path: &'p str) -> Cow<'p, str> {
    let Some(rewrite) = &route.rule.rewrite else { return Cow::Borrowed(path) };
    let rest = rewrite.strip_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
    let added = rewrite.add_prefix.as_deref().unwrap_or_default();
    if rest.len() == path.len() && added.is_empty() {
        return Cow::Borrowed(path);
    }
    let whole = format!("{added}{rest}");
    Cow::Owned(if whole.starts_with('/') { whole } else { format!("/{whole}") })
}
