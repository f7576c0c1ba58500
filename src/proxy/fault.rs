//! Why a request failed, and who is told.
//!
//! Law: an upstream is blamed only for what it did; a client that stalls harms nobody but itself.

use pingora::{Error, ErrorSource, ErrorType, Result};

use super::ctx::Ctx;
use super::upstream::Outcome;
use crate::gate::Rejection;
use crate::gate::body::BodyTrouble;

/// A refusal of ours on its way through the framework's errors; the context has the reason.
const REFUSED: ErrorType = ErrorType::Custom("refused");

/// Notes why, and stops the request.
pub(super) fn refused<T>(ctx: &mut Ctx, rejection: Rejection) -> Result<T> {
    ctx.refusal = Some(rejection);
    Error::e_explain(REFUSED, "refused by the gateway")
}

/// Notes why a request failed. `None`: the client is gone, there is nobody to tell.
pub(super) fn blame(error: &Error, ctx: &mut Ctx) -> Option<Rejection> {
    if ctx.slot.as_ref().is_some_and(|slot| slot.tap.is_bad()) {
        return Some(BodyTrouble::Broken.into());
    }
    let is_upstreams = *error.esource() == ErrorSource::Upstream;
    // An upstream that waits for the rest of a request cannot answer it: were that its failure,
    // clients that stall could open its breaker for everybody.
    let is_stalled = is_upstreams && *error.etype() == ErrorType::ReadTimedout && !ctx.owes_nothing();
    if is_upstreams && !is_stalled {
        ctx.came_to(Outcome::Failed);
        // The path and whoever asked are in the access log; this says what the network did.
        tracing::warn!(id = ctx.request_id(), error = %error.etype().as_str(), "an upstream failed");
    }
    let known = ctx.refusal.take();
    known.or_else(|| if is_stalled { Some(Rejection::RequestTimeout) } else { fault(error) })
}

/// Whose fault an error is.
fn fault(error: &Error) -> Option<Rejection> {
    match (error.esource(), error.etype()) {
        (
            ErrorSource::Upstream,
            ErrorType::ReadTimedout | ErrorType::ConnectTimedout | ErrorType::WriteTimedout,
        ) => Some(Rejection::UpstreamTimeout),
        (ErrorSource::Upstream, _) => Some(Rejection::UpstreamFailed),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Some(Rejection::RequestTimeout),
        (
            ErrorSource::Downstream,
            ErrorType::WriteError
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::WriteTimedout,
        ) => None,
        (ErrorSource::Downstream, _) => Some(BodyTrouble::Broken.into()),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Rejection::Internal),
    }
}
