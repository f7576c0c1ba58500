//! The guard of callers that are known by a cookie.
//!
//! Law: a browser sends cookies with requests that another site made it send, but it also says
//! from where. An unsafe request that relies on a cookie passes only if its `Origin` is ours, or
//! one that the calling application lists. A missing, `null` or merely similar origin is refused.
//! Where a cookie is given out, only another site's origin is.

use std::sync::Arc;

use ::http::Method;

use super::call::Call;
use super::code::ErrorCode;
use super::error::ApiError;
use crate::principal::ApplicationFacts;

/// Refuses an unsafe request whose origin is not ours. For callers whose credential is a cookie.
///
/// # Errors
/// 403 `CSRF_FAILED`.
pub fn check(call: &Call, public_url: &str) -> Result<(), ApiError> {
    if matches!(call.head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let is_known = call.head.origin.as_deref().is_some_and(|origin| is_ours(call, origin, public_url));
    if is_known { Ok(()) } else { Err(ApiError::new(ErrorCode::CsrfFailed)) }
}

/// Refuses a browser that another site sent. For endpoints that answer with a cookie: a form on that
/// site could else log its visitor in as somebody else. Who is no browser names no origin.
///
/// # Errors
/// 403 `CSRF_FAILED`.
pub fn refuse_foreign(call: &Call, public_url: &str) -> Result<(), ApiError> {
    let is_foreign = call.head.origin.as_deref().is_some_and(|origin| !is_ours(call, origin, public_url));
    if is_foreign { Err(ApiError::new(ErrorCode::CsrfFailed)) } else { Ok(()) }
}

fn is_ours(call: &Call, origin: &str, public_url: &str) -> bool {
    let listed = |application: &Arc<ApplicationFacts>| {
        application.allowed_origins.iter().any(|listed| listed == origin)
    };
    origin == origin_of(public_url) || call.application.as_ref().is_some_and(listed)
}

/// Scheme and authority of a URL, as browsers write an origin.
fn origin_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}
