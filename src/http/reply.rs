//! `Reply`: an answer as status, headers and bytes, and the typed answers that become one.
//!
//! Law: an answer of the API is never stored by a cache unless the handler says so.

use std::fmt;

use ::http::StatusCode;
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::cookie::SetCookie;
use super::error::ApiError;
use super::feed::Feed;

/// A finished answer, or the beginning of one.
#[derive(Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What follows `body`, made while it is sent; nothing where that is all.
    pub feed: Option<Feed>,
}

impl fmt::Debug for Reply {
    /// Tokens stand in bodies, and in cookies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), feed: None }
    }

    /// A body of a given type. `Cache-Control: no-store` until [`Reply::cached`] says otherwise.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body: body.into(), feed: None }
    }

    /// A JSON body. What cannot be serialised is our fault and becomes a bare 500.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(status, "application/json", body),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be serialised");
                Self::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// The same answer, with more to come.
    #[must_use]
    pub fn fed_by(mut self, feed: Feed) -> Self {
        self.feed = Some(feed);
        self
    }

    /// The same answer with a header set, replacing one of that name.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same answer with a cookie set.
    ///
    /// # Errors
    /// 500 where its value is no cookie text.
    pub fn with_cookie(mut self, cookie: &SetCookie) -> Result<Self, ApiError> {
        let mut value = HeaderValue::try_from(cookie.to_string()).map_err(ApiError::internal)?;
        value.set_sensitive(true);
        self.headers.append(header::SET_COOKIE, value);
        Ok(self)
    }

    /// The same answer, storable by caches as `control` says.
    #[must_use]
    pub fn cached(self, control: &'static str) -> Self {
        self.with(header::CACHE_CONTROL, HeaderValue::from_static(control))
    }
}

/// What the API document says about an answer.
#[derive(Debug)]
pub enum Answer {
    /// JSON of this shape.
    Json(StatusCode, Schema),
    /// Something else, of these media types.
    Other(StatusCode),
}

/// What a handler may return.
pub trait Output: Send + 'static {
    fn into_reply(self) -> Result<Reply, ApiError>;

    /// The answer as the API document describes it.
    fn describe(generator: &mut SchemaGenerator) -> Answer;
}

impl Output for Reply {
    fn into_reply(self) -> Result<Reply, ApiError> {
        Ok(self)
    }

    fn describe(_: &mut SchemaGenerator) -> Answer {
        Answer::Other(StatusCode::OK)
    }
}

/// A JSON value: as a return type the answer 200, as an argument the body of the request.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T> Json<T> {
    /// The same answer with cookies set.
    #[must_use]
    pub fn with_cookies(self, cookies: Vec<SetCookie>) -> WithCookies<Self> {
        WithCookies { inner: self, cookies }
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for Json<T> {
    fn into_reply(self) -> Result<Reply, ApiError> {
        Ok(Reply::json(StatusCode::OK, &self.0))
    }

    fn describe(generator: &mut SchemaGenerator) -> Answer {
        Answer::Json(StatusCode::OK, generator.subschema_for::<T>())
    }
}

/// The answer 201.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T> Created<T> {
    /// The same answer with cookies set.
    #[must_use]
    pub fn with_cookies(self, cookies: Vec<SetCookie>) -> WithCookies<Self> {
        WithCookies { inner: self, cookies }
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for Created<T> {
    fn into_reply(self) -> Result<Reply, ApiError> {
        Ok(Reply::json(StatusCode::CREATED, &self.0))
    }

    fn describe(generator: &mut SchemaGenerator) -> Answer {
        Answer::Json(StatusCode::CREATED, generator.subschema_for::<T>())
    }
}

/// The answer 204.
#[derive(Debug, Clone, Copy)]
pub struct NoContent;

impl Output for NoContent {
    fn into_reply(self) -> Result<Reply, ApiError> {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    fn describe(_: &mut SchemaGenerator) -> Answer {
        Answer::Other(StatusCode::NO_CONTENT)
    }
}

/// An answer that also sets cookies.
#[derive(Debug)]
pub struct WithCookies<O> {
    inner: O,
    cookies: Vec<SetCookie>,
}

impl<O: Output> Output for WithCookies<O> {
    fn into_reply(self) -> Result<Reply, ApiError> {
        let reply = self.inner.into_reply()?;
        self.cookies.iter().try_fold(reply, Reply::with_cookie)
    }

    fn describe(generator: &mut SchemaGenerator) -> Answer {
        O::describe(generator)
    }
}
