//! `ApiError`: a refusal on its way to a client, and the one renderer of refusals.
//!
//! Law: one shape for every refusal, `{"error", "code", "details", "request_id"}` plus the extra
//! top-level keys that the contract names. The public text is fixed by the code; the cause is
//! private and only ever logged. A 401 always says how to authenticate.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{self, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::code::ErrorCode;
use super::cookie::SetCookie;
use super::reply::Reply;
use crate::metrics::Dependency;
use crate::store;

/// How long a client should wait when we cannot tell: long enough for a failover, short enough
/// that nobody notices one.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(2);

/// What a client reads.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Refusal<'a> {
    /// What to tell a human. The code is stable, this text is not.
    error: &'a str,
    /// What a program may branch on.
    code: &'a str,
    /// For a refused body, the messages by field.
    details: Map<String, Value>,
    /// The `X-Request-ID` of this answer, to quote when asking for help.
    request_id: &'a str,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// A refusal by a built-in endpoint.
pub struct ApiError {
    code: ErrorCode,
    text: Option<Cow<'static, str>>,
    details: Map<String, Value>,
    extra: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
    /// What did not answer, where that is counted.
    lacks: Option<Dependency>,
}

impl ApiError {
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        let error = Self {
            code,
            text: None,
            details: Map::new(),
            extra: Vec::new(),
            headers: Vec::new(),
            cause: None,
            lacks: None,
        };
        match code.status() {
            StatusCode::UNAUTHORIZED => error.header(header::WWW_AUTHENTICATE, CHALLENGE),
            _ if matches!(code, ErrorCode::MfaRequired | ErrorCode::ReauthenticationRequired) => {
                error.header(header::WWW_AUTHENTICATE, HeaderValue::from_static(STEP_UP))
            }
            StatusCode::SERVICE_UNAVAILABLE => error.retry_after(RETRY_UNAVAILABLE),
            _ => error,
        }
    }

    /// A body whose fields were refused: `{"field": ["message", …]}`.
    #[must_use]
    pub fn invalid(field: &str, messages: &[String]) -> Self {
        Self::new(ErrorCode::ValidationError).detail(field, json!(messages))
    }

    /// Our own fault. The cause is logged when the answer is rendered.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::InternalError).because(cause)
    }

    /// Something that we need does not answer: refused, because closed is the only safe guess.
    #[must_use]
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::ServiceUnavailable).because(cause)
    }

    /// Says that it was this which did not answer.
    #[must_use]
    pub const fn lacking(mut self, dependency: Dependency) -> Self {
        self.lacks = Some(dependency);
        self
    }

    /// What did not answer, for who counts such refusals.
    #[must_use]
    pub const fn lacks(&self) -> Option<Dependency> {
        self.lacks
    }

    /// Another sentence for this code, where the contract has one per place.
    #[must_use]
    pub fn saying(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Adds a key to `details`.
    #[must_use]
    pub fn detail(mut self, key: &str, value: Value) -> Self {
        self.details.insert(key.to_owned(), value);
        self
    }

    /// Adds a key beside `error` and `code`, as the contract has it for this answer.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.extra.push((key, value.into()));
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same refusal, which also sets a cookie.
    #[must_use]
    pub fn with_cookie(self, cookie: &SetCookie) -> Self {
        match HeaderValue::try_from(cookie.to_string()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.header(header::SET_COOKIE, value)
            }
            Err(cause) => Self::internal(cause),
        }
    }

    /// Says when to come back, rounded up to whole seconds: as `Retry-After` and as the
    /// top-level key `retry_after`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = whole_seconds(wait);
        self.headers.retain(|(name, _)| name != header::RETRY_AFTER);
        self.extra.retain(|(key, _)| *key != "retry_after");
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds)).with("retry_after", seconds)
    }

    /// What really happened: for the log, never for the client.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// What it tells people.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.text.as_deref().unwrap_or(self.code.public_text())
    }

    /// The fields that were refused, each with one of the messages about it, for who shows them on a page.
    #[must_use]
    pub fn problems(&self) -> Vec<(&str, &str)> {
        fn texts(value: &Value) -> Vec<&str> {
            match value {
                Value::String(text) => vec![text.as_str()],
                Value::Array(list) => list.iter().flat_map(texts).collect(),
                Value::Object(members) => members.values().flat_map(texts).collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
            }
        }
        let pairs = |(name, value)| -> Vec<(&str, &str)> {
            let (name, value): (&String, &Value) = (name, value);
            texts(value).into_iter().map(|text| (name.as_str(), text)).collect()
        };
        self.details.iter().flat_map(pairs).collect()
    }

    /// The answer. Logs the cause, because this is where it would otherwise be lost.
    #[must_use]
    pub fn into_reply(self, request_id: &str) -> Reply {
        self.log(request_id);
        let text = self.text.unwrap_or(Cow::Borrowed(self.code.public_text()));
        let body = Refusal {
            error: &text,
            code: self.code.as_str(),
            details: self.details,
            request_id,
            extra: self.extra.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        };
        let mut reply = Reply::json(self.code.status(), &body);
        for (name, value) in self.headers {
            reply.headers.append(name, value);
        }
        reply
    }

    fn log(&self, request_id: &str) {
        let Some(cause) = &self.cause else { return };
        let code = self.code.as_str();
        if self.status().is_server_error() {
            tracing::error!(request_id, code, cause = %cause, "a request failed");
        } else {
            tracing::info!(request_id, code, cause = %cause, "a request was refused");
        }
    }
}

impl From<store::Error> for ApiError {
    /// A store that cannot be asked answers nothing: refused for now. Anything else is a mistake of
    /// ours, because slices match the conflicts that they expect.
    fn from(cause: store::Error) -> Self {
        match cause {
            store::Error::Busy | store::Error::Unavailable { .. } => {
                Self::unavailable(cause).lacking(Dependency::Store)
            }
            store::Error::Conflict(_) | store::Error::Broken { .. } => Self::internal(cause),
        }
    }
}

/// `Retry-After` counts whole seconds; rounding down would invite a client back too early.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// RFC 9470 section 3: who calls is known, and has not proved enough, or not lately.
pub const STEP_UP: &str = r#"Bearer realm="portcullis", error="insufficient_user_authentication""#;
/// RFC 6750 section 3: no `error` attribute where no token was sent.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="portcullis""#);

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("code", &self.code)
            .field("details", &self.details)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn every_code_renders_in_the_one_shape() {
        for code in ErrorCode::ALL {
            let reply = ApiError::new(*code).into_reply("r-1");
            let body = body(&reply);
            assert_eq!(body["error"], code.public_text());
            assert_eq!(body["code"], code.as_str());
            assert!(body["details"].is_object());
            assert_eq!(body["request_id"], "r-1");
            assert_eq!(reply.status, code.status());
            let challenges = reply.status == StatusCode::UNAUTHORIZED
                || matches!(code, ErrorCode::MfaRequired | ErrorCode::ReauthenticationRequired);
            assert_eq!(reply.headers.contains_key(header::WWW_AUTHENTICATE), challenges, "{code:?}");
            let unavailable = reply.status == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(reply.headers.contains_key(header::RETRY_AFTER), unavailable, "{code:?}");
        }
    }

    #[test]
    fn extra_keys_stand_beside_the_code() {
        let error = ApiError::new(ErrorCode::AccountLocked).retry_after(Duration::from_millis(59_001));
        let reply = error.into_reply("r");
        assert_eq!(body(&reply)["retry_after"], 60);
        assert_eq!(reply.headers[header::RETRY_AFTER], "60");
    }

    #[test]
    fn the_cause_is_never_shown() {
        let reply = ApiError::internal("table account is missing").into_reply("r");
        assert!(!String::from_utf8_lossy(&reply.body).contains("account"));
    }
}
