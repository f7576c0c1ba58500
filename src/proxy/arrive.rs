//! From the framework's session to our own [`RequestHead`].
//!
//! Law: this is the only look at a request's raw head.

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderName;
use ::http::Version;
use ::http::header;
use pingora::protocols::http::v1::server::HttpSession;
use pingora::protocols::http::v2::server::HttpSession as HttpSessionV2;
use pingora::proxy::Session;

use super::ctx::Ctx;
use super::service::Patience;
use super::tap::{Body, InDoubt};
use crate::gate::head::{Arrival, RequestHead, Scheme};
use crate::gate::request_id::RequestIds;
use crate::gate::rules::EdgeRules;
use crate::gate::{Flaw, Rejection};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long what a client still sends is read before its connection is used again.
const DRAIN_FOR: Duration = Duration::from_secs(1);

/// Gives the exchange its time limits. The framework's own are absent or endless.
pub(super) fn settle(session: &mut Session, patience: &Patience) {
    // The next request's slot says how long it is waited for, so the framework need not.
    if session.req_header().version == Version::HTTP_10 {
        session.set_keepalive(None);
    }
    session.set_read_timeout(Some(patience.body));
    session.set_write_timeout(Some(patience.write));
    session.set_total_drain_timeout(Some(DRAIN_FOR));
}

/// Reads the head of the request.
pub(super) fn read_head(
    session: &Session,
    ctx: &mut Ctx,
    ids: &RequestIds,
    rules: &Arc<EdgeRules>,
) -> Result<Box<RequestHead>, Rejection> {
    let request = session.req_header();
    let id = ids.take(request.headers.get(REQUEST_ID));
    ctx.id = Some(id.clone());
    ctx.method = request.method.clone();
    let raw = session.as_http1().map(HttpSession::get_headers_raw_bytes);
    let Some(slot) = &ctx.slot else { return Err(Rejection::Internal) };
    let arrival = Arrival {
        method: &request.method,
        raw_target: request.raw_path(),
        uri_authority: request.uri.authority().map(http::uri::Authority::as_str),
        version: request.version,
        has_ended: session.as_http2().is_some_and(HttpSessionV2::is_body_empty),
        headers: &request.headers,
        raw: raw.as_deref(),
        peer: slot.peer,
        peer_text: &slot.peer_text,
        scheme: slot.scheme,
        at: ctx.recorder.now(),
    };
    if raw.is_none() && request.uri.scheme().is_some_and(|s| !is_http(s)) {
        return Err(Rejection::Malformed(Flaw::Target));
    }
    let head = RequestHead::read(&arrival, id, rules);
    if let Some(raw) = &raw {
        let is_chunked = request.headers.contains_key(header::TRANSFER_ENCODING);
        let body = if is_chunked { Body::Chunks } else { Body::Other };
        // Looked at whatever becomes of the request: what is refused is read to its end, too.
        let seen = slot.tap.head_was(raw, body);
        return seen.map_err(|InDoubt| Rejection::Malformed(Flaw::Framing)).and(head);
    }
    head
}

fn is_http(scheme: &http::uri::Scheme) -> bool {
    [Scheme::Http, Scheme::Https].iter().any(|known| known.as_str() == scheme.as_str())
}
