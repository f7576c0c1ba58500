//! How often one caller may use a route or an endpoint.
//!
//! Law: routes count by principal, else by address; endpoints by address (contract section 7).
//! IPv6 counts by its /64. Shared state that does not answer refuses.

use super::Gate;
use super::head::RequestHead;
use super::person::Snapshot;
use super::rejection::{Pace, Rejection, Silent};
use super::route::Route;
use crate::base::ip;
use crate::config::LimitBy;
use crate::http::Bucket;
use crate::metrics::Limiter;
use crate::shared::{Hit, Quota, Unreachable, Window};

/// Counts a request against its route's limit; `None` where there is none.
pub(super) async fn of_route(
    gate: &Gate,
    route: &Route,
    head: &RequestHead,
    caller: Option<&Snapshot>,
) -> Result<Option<Pace>, Rejection> {
    let Some(limit) = route.rule.limit else { return Ok(None) };
    let name = &route.rule.name;
    let key = match caller.filter(|_| limit.by == LimitBy::Principal) {
        Some(caller) => format!("route:{name}:{}", caller.key.account),
        None => format!("route:{name}:{}", ip::counted_as(head.client)),
    };
    let quota = Quota { requests: limit.requests, per: limit.per };
    let hit = gate.app.shared.meter(&key, quota).await;
    told(gate, hit, Limiter::Route, Rejection::Limited).map(Some)
}

/// Counts a request against the bucket of a built-in endpoint.
pub(super) async fn of_endpoint(gate: &Gate, bucket: Bucket, head: &RequestHead) -> Result<Pace, Rejection> {
    let windows: Vec<Window> =
        bucket.windows().iter().map(|window| Window { limit: window.limit, per: window.per }).collect();
    let key = format!("endpoint:{}:{}", bucket.name(), ip::counted_as(head.client));
    let hit = gate.app.shared.hit(&key, &windows).await;
    told(gate, hit, Limiter::Endpoint, Rejection::Throttled)
}

fn told(
    gate: &Gate,
    hit: Result<Hit, Unreachable>,
    limiter: Limiter,
    refused: fn(Pace) -> Rejection,
) -> Result<Pace, Rejection> {
    let hit = hit.map_err(|error| {
        tracing::warn!(%error, "a limit cannot be counted");
        Rejection::Unavailable(Silent::Shared)
    })?;
    let Hit { limit, remaining, per: window, reset_at, retry_after, is_allowed } = hit;
    let pace = Pace { limit, remaining, window, reset_at, retry_after };
    if is_allowed {
        return Ok(pace);
    }
    gate.app.metrics.rate_limited(limiter);
    Err(refused(pace))
}
