//! What agents do not get to read: values under configured keys of JSON answers.
//!
//! Law: what cannot be read cannot be cleaned, and what cannot be cleaned does not pass: another
//! content type, a coding, a part of a text. Only a route that says so lets other types through.
//! Requests ask for whole, plain answers, and nothing about the original's bytes is told.

mod json;
mod name;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::{Method, StatusCode};

pub use json::{Broken, DEPTH_MAX, MASK, Rewriter};
pub use name::Names;

use crate::config::{Agents, OnOther, Redacting, RouteRedact};

/// What is hidden from agents on a route.
#[derive(Debug)]
pub struct Redaction {
    names: Arc<Names>,
    /// Bytes of an answer that are read before any of it is passed on.
    pub buffer: usize,
    other: OnOther,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is JSON: it passes rewritten.
    Rewrite,
    /// It passes as it is.
    Keep,
}

/// The answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impossible;

/// What an answer would say about bytes that are no longer in it.
static ABOUT_BYTES: [HeaderName; 9] = [
    header::CONTENT_LENGTH,
    header::ETAG,
    header::ACCEPT_RANGES,
    header::CONTENT_RANGE,
    header::TRAILER,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// What asks for something else than the whole, plain text.
static ASKING_LESS: [HeaderName; 4] = [
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
    // Differences between two versions (RFC 3229).
    HeaderName::from_static("a-im"),
];

/// Conditions by which a read is answered with less than the text.
static CONDITIONS: [HeaderName; 4] =
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

impl Redaction {
    /// What a route says, completed by what is said for all; `None` where nothing is hidden.
    pub(super) fn of(route: Option<&RouteRedact>, all: &Agents) -> Option<Arc<Self>> {
        let Redacting { keys, buffer, on_other } = all.redacting(route)?;
        let buffer = usize::try_from(buffer).unwrap_or(usize::MAX);
        Some(Arc::new(Self { names: Arc::new(keys.iter().collect()), buffer, other: on_other }))
    }

    /// The headers of a request that must not reach the upstream. A condition on a write stays: it
    /// guards what it changes.
    pub fn withheld(method: &Method) -> impl Iterator<Item = &'static HeaderName> {
        let conditions = if method.is_safe() { &CONDITIONS[..] } else { &[] };
        ASKING_LESS.iter().chain(conditions)
    }

    /// The headers that a rewritten answer must not have.
    pub fn untrue() -> impl Iterator<Item = &'static HeaderName> {
        ABOUT_BYTES.iter()
    }

    /// What becomes of an answer with this head.
    ///
    /// # Errors
    /// [`Impossible`]: none of it may pass.
    pub fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Result<Treatment, Impossible> {
        let is_empty = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Treatment::Rewrite);
        }
        // Nobody asked for a part: a part of a text may look like one.
        if matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::IM_USED) {
            return Err(Impossible);
        }
        match kind_of(headers) {
            Kind::Json if is_plain(headers) => Ok(Treatment::Rewrite),
            Kind::Unknown if is_empty => Ok(Treatment::Rewrite),
            Kind::Other | Kind::Unknown if self.other == OnOther::Pass => Ok(Treatment::Keep),
            Kind::Json | Kind::Other | Kind::Unknown | Kind::Doubtful => Err(Impossible),
        }
    }

    /// For one answer.
    pub fn rewriter(&self) -> Rewriter {
        Rewriter::new(Arc::clone(&self.names))
    }
}

/// What the content type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Other,
    /// It says nothing.
    Unknown,
    /// It says several things, or one that has no single reading.
    Doubtful,
}

fn kind_of(headers: &HeaderMap) -> Kind {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(line) = lines.next() else { return Kind::Unknown };
    let (None, Ok(text)) = (lines.next(), line.to_str()) else { return Kind::Doubtful };
    if text.contains(',') {
        return Kind::Doubtful;
    }
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !is_json(&essence) {
        return Kind::Other;
    }
    let charsets = parts.filter_map(|part| part.split_once('=')).filter(|(name, _)| is_charset(name));
    let mut values = charsets.map(|(_, value)| value.trim().trim_matches('"'));
    let is_utf8 = |value: &str| value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8");
    if values.all(is_utf8) { Kind::Json } else { Kind::Doubtful }
}

fn is_charset(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("charset")
}

/// A single JSON text. Lines of JSON and events are other types: nothing says where a text ends.
fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json")
        || essence.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"))
}

/// Whether the body is the text itself.
fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
