//! The guard of callers that are known by a cookie.
//!
//! Law: a browser sends cookies with requests that another site made it send, but it also says
//! from where. An unsafe request that relies on a cookie passes only if its `Origin` is ours, or
//! one that the calling application lists. A missing, `null` or merely similar origin is refused.

use ::http::Method;

use super::call::Call;
use super::code::ErrorCode;
use super::error::ApiError;

/// Refuses an unsafe request whose origin is not ours. For callers whose credential is a cookie.
///
/// # Errors
/// 403 `CSRF_FAILED`.
pub fn check(call: &Call, public_url: &str) -> Result<(), ApiError> {
    if matches!(call.head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let listed = |origin: &str| {
        let application = call.application.as_ref();
        application.is_some_and(|application| application.allowed_origins.iter().any(|one| one == origin))
    };
    match call.head.origin.as_deref() {
        Some(origin) if origin == origin_of(public_url) || listed(origin) => Ok(()),
        _ => Err(ApiError::new(ErrorCode::CsrfFailed)),
    }
}

/// Scheme and authority of a URL, as browsers write an origin.
fn origin_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}
