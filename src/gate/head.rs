//! The head of a request, read once, into the only form that later steps see.
//!
//! Law: one pass over the headers. What is ambiguous is refused here; what belongs to the gateway
//! is marked for removal here, before anything reads it; nobody looks at the raw headers after.

use std::net::{IpAddr, SocketAddr};

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::{HeaderValue, Method, Version};

use super::authority::Authority;
use super::framing;
use super::nominated::{BadOption, Nominated};
use super::rejection::{Flaw, Rejection};
use super::request_id::RequestId;
use super::rules::EdgeRules;
use super::strip::{is_removed, names_api_key};
use super::target::{BadTarget, CanonicalTarget};
use crate::apikey;
use crate::base::{Timestamp, ip};

/// A request as it came off the wire, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    pub method: &'a Method,
    pub raw_target: &'a [u8],
    /// HTTP/2 `:authority`.
    pub uri_authority: Option<&'a str>,
    pub version: Version,
    /// HTTP/2: the head was the end of the request.
    pub has_ended: bool,
    pub headers: &'a HeaderMap,
    /// The raw head, HTTP/1 only: HTTP/2 frames cannot lie about their length.
    pub raw: Option<&'a [u8]>,
    pub peer: SocketAddr,
    /// The address of `peer` as text, made once per connection.
    pub peer_text: &'a HeaderValue,
    pub scheme: Scheme,
    pub at: Timestamp,
}

/// Whether the client's connection is encrypted, as far as we may believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What kind of exchange follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    WebSocket,
    Grpc,
}

/// What is known about the body before a byte of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    None,
    Known(u64),
    /// Chunked, or HTTP/2 without a length.
    Unknown,
}

/// What the caller showed in order to be let in, exactly as it was sent.
#[derive(Clone, Default)]
pub struct Presented {
    pub authorization: Option<HeaderValue>,
    /// One of ours, valid or not: another is the upstream's.
    pub api_key: Option<HeaderValue>,
    pub access_key: Option<HeaderValue>,
    pub access_secret: Option<HeaderValue>,
    /// All cookie lines as one.
    pub cookie: Option<HeaderValue>,
    pub origin: Option<HeaderValue>,
    /// The organization that the caller asks to act in. A wish, not a fact.
    pub org_slug: Option<HeaderValue>,
    pub csrf_token: Option<HeaderValue>,
    /// The confirmation token of an approval, as an agent shows it. Not checked.
    pub confirmation: Option<HeaderValue>,
    /// Which prompt caused the request, as an agent says. Not checked.
    pub trace: Option<HeaderValue>,
    pub idempotency_key: Option<HeaderValue>,
}

/// Everything that later steps may know about a request.
#[derive(Clone)]
pub struct RequestHead {
    pub id: RequestId,
    pub at: Timestamp,
    pub method: Method,
    pub target: CanonicalTarget,
    pub authority: Authority,
    pub version: Version,
    pub scheme: Scheme,
    pub peer: SocketAddr,
    /// Counted by [`ip::counted_as`] where it is counted.
    pub client: IpAddr,
    pub client_text: HeaderValue,
    pub kind: Kind,
    pub body: BodyLength,
    pub presented: Presented,
    pub accept: Option<HeaderValue>,
    pub content_type: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    pub fetch_mode: Option<HeaderValue>,
    pub fetch_site: Option<HeaderValue>,
    pub preflight_method: Option<HeaderValue>,
    pub preflight_headers: Option<HeaderValue>,
    pub expects_continue: bool,
    /// Headers that the proxy takes off the request before it does anything else.
    pub removed: Vec<HeaderName>,
}

/// Never a credential, never a query.
impl std::fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}{:?}", self.id.as_str(), self.method, self.authority, self.target)
    }
}

impl RequestHead {
    /// Whether a browser is on its way to a page, so that an answer in HTML helps.
    pub fn is_navigation(&self) -> bool {
        let mode = self.fetch_mode.as_ref().map(HeaderValue::as_bytes);
        let is_get = self.method == Method::GET && self.kind == Kind::Plain;
        match mode {
            Some(mode) => is_get && mode == b"navigate",
            None => is_get && accepts_html(self.accept.as_ref()),
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// The refusal of the first thing that is malformed, ambiguous, too large or not for us.
    pub fn read(arrival: &Arrival<'_>, id: RequestId, rules: &EdgeRules) -> Result<Box<Self>, Rejection> {
        if let Some(raw) = arrival.raw {
            if raw.len() > rules.head_max {
                return Err(Rejection::HeadTooLarge);
            }
            framing::scan(raw).map_err(|_| Rejection::Malformed(Flaw::Framing))?;
        }
        if !is_allowed(arrival.method) {
            return Err(Rejection::MethodUnknown);
        }
        let mut fields = Fields::read(arrival, rules)?;
        let authority = fields.authority(arrival, rules)?;
        let target =
            CanonicalTarget::parse(origin_form(arrival, &fields)?, rules.target).map_err(bad_target)?;
        let is_trusted = fields.is_trusted;
        let (client, client_text) = fields.client(arrival, rules);
        let kind = fields.kind(arrival)?;
        Ok(Box::new(Self {
            id,
            at: arrival.at,
            method: arrival.method.clone(),
            target,
            authority,
            version: arrival.version,
            scheme: if is_trusted { fields.scheme.unwrap_or(arrival.scheme) } else { arrival.scheme },
            peer: arrival.peer,
            client,
            client_text,
            kind,
            body: fields.body(arrival),
            presented: fields.presented,
            accept: fields.accept,
            content_type: fields.content_type,
            user_agent: fields.user_agent,
            fetch_mode: fields.fetch_mode,
            fetch_site: fields.fetch_site,
            preflight_method: fields.preflight_method,
            preflight_headers: fields.preflight_headers,
            expects_continue: fields.expects_continue,
            removed: fields.removed,
        }))
    }
}

fn bad_target(why: BadTarget) -> Rejection {
    match why {
        BadTarget::TooLong => Rejection::TargetTooLong,
        _ => Rejection::Malformed(Flaw::Target),
    }
}

/// Everything else is refused, `TRACE` and `CONNECT` with it: it would be forwarded unread.
fn is_allowed(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    )
}

fn accepts_html(accept: Option<&HeaderValue>) -> bool {
    accept.is_some_and(|value| memchr::memmem::find(value.as_bytes(), b"text/html").is_some())
}

/// Strips the scheme and authority of absolute-form; the parser has compared it with `Host`.
fn origin_form<'a>(arrival: &Arrival<'a>, fields: &Fields) -> Result<&'a [u8], Rejection> {
    let raw = arrival.raw_target;
    if raw.first() == Some(&b'/') {
        return Ok(raw);
    }
    let text = std::str::from_utf8(raw).map_err(|_| Rejection::Malformed(Flaw::Target))?;
    let (scheme, rest) = text.split_once("://").ok_or(Rejection::Malformed(Flaw::Target))?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = fields.host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    if is_http && authority.as_bytes().eq_ignore_ascii_case(host) {
        Ok(if path.is_empty() { b"/" } else { path.as_bytes() })
    } else {
        Err(Rejection::Malformed(Flaw::Target))
    }
}

/// What one pass over the headers collects.
#[derive(Default)]
struct Fields {
    host: Option<HeaderValue>,
    is_trusted: bool,
    scheme: Option<Scheme>,
    forwarded_for: Vec<HeaderValue>,
    content_length: Option<u64>,
    is_chunked: bool,
    upgrade: Option<HeaderValue>,
    nominated: Nominated,
    presented: Presented,
    cookies: Vec<HeaderValue>,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    fetch_mode: Option<HeaderValue>,
    fetch_site: Option<HeaderValue>,
    preflight_method: Option<HeaderValue>,
    preflight_headers: Option<HeaderValue>,
    expects_continue: bool,
    removed: Vec<HeaderName>,
}

impl Fields {
    fn read(arrival: &Arrival<'_>, rules: &EdgeRules) -> Result<Self, Rejection> {
        if arrival.headers.len() > rules.fields_max {
            return Err(Rejection::HeadTooLarge);
        }
        let peer = ip::canonical(arrival.peer.ip());
        let is_trusted = rules.trusted_proxies.iter().any(|net| net.contains(&peer));
        let mut fields = Self { is_trusted, ..Self::default() };
        let mut size = 0;
        for (name, value) in arrival.headers {
            size += name.as_str().len() + value.len() + 4;
            fields.take(name, value)?;
        }
        if arrival.raw.is_none() && size > rules.head_max {
            return Err(Rejection::HeadTooLarge);
        }
        fields.presented.cookie = join(&mut fields.cookies)?;
        Ok(fields)
    }

    fn take(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Rejection> {
        match *name {
            header::HOST => once(&mut self.host, value),
            header::AUTHORIZATION => once(&mut self.presented.authorization, value),
            header::ORIGIN => once(&mut self.presented.origin, value),
            header::CONTENT_TYPE => once(&mut self.content_type, value),
            header::COOKIE => {
                self.cookies.push(value.clone());
                Ok(())
            }
            header::ACCEPT => first(&mut self.accept, value),
            header::USER_AGENT => first(&mut self.user_agent, value),
            header::CONTENT_LENGTH => self.take_length(value),
            header::TRANSFER_ENCODING => {
                self.is_chunked = true;
                Ok(())
            }
            header::CONNECTION => {
                let read = self.nominated.read(value, &mut self.removed);
                read.map_err(|BadOption| Rejection::Malformed(Flaw::Connection))
            }
            header::UPGRADE => once(&mut self.upgrade, value),
            header::EXPECT => self.take_expect(value),
            header::ACCESS_CONTROL_REQUEST_METHOD => once(&mut self.preflight_method, value),
            header::ACCESS_CONTROL_REQUEST_HEADERS => first(&mut self.preflight_headers, value),
            _ => self.take_other(name, value),
        }
    }

    fn take_other(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Rejection> {
        match name.as_str() {
            "sec-fetch-mode" => first(&mut self.fetch_mode, value)?,
            "sec-fetch-site" => first(&mut self.fetch_site, value)?,
            "x-csrf-token" => once(&mut self.presented.csrf_token, value)?,
            "x-api-key" if apikey::is_ours(value.as_bytes()) => once(&mut self.presented.api_key, value)?,
            "x-access-key" => once(&mut self.presented.access_key, value)?,
            "x-access-secret" => once(&mut self.presented.access_secret, value)?,
            // Two of them are none.
            "x-prompt-trace-id" => {
                let is_second = self.presented.trace.is_some();
                let value = if is_second { HeaderValue::from_static("") } else { value.clone() };
                self.presented.trace = Some(value);
            }
            "idempotency-key" => first(&mut self.presented.idempotency_key, value)?,
            "x-action-confirmation" => once(&mut self.presented.confirmation, value)?,
            "x-org-slug" => once(&mut self.presented.org_slug, value)?,
            "x-forwarded-for" if self.is_trusted => self.forwarded_for.push(value.clone()),
            "x-forwarded-proto" if self.is_trusted => self.scheme = scheme_of(value),
            _ => {}
        }
        let is_key = names_api_key(name.as_str()) && apikey::is_ours(value.as_bytes());
        if (is_key || is_removed(name.as_str())) && !self.removed.contains(name) {
            self.removed.push(name.clone());
        }
        Ok(())
    }

    fn take_length(&mut self, value: &HeaderValue) -> Result<(), Rejection> {
        let bad = Rejection::Malformed(Flaw::Framing);
        let length = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(bad.clone())?;
        // HTTP/2 forwards two equal ones as two lines, which a strict upstream may not forgive.
        if self.content_length.replace(length).is_some() { Err(bad) } else { Ok(()) }
    }

    fn take_expect(&mut self, value: &HeaderValue) -> Result<(), Rejection> {
        let is_known = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        if !is_known || self.expects_continue {
            return Err(Rejection::ExpectationFailed);
        }
        self.expects_continue = true;
        self.removed.push(header::EXPECT);
        Ok(())
    }

    fn authority(&self, arrival: &Arrival<'_>, rules: &EdgeRules) -> Result<Authority, Rejection> {
        let bad = Rejection::Malformed(Flaw::Host);
        let authority = match (&self.host, arrival.uri_authority) {
            (Some(host), _) => Authority::parse(host),
            (None, Some(text)) => HeaderValue::from_str(text)
                .map_err(|_| bad.clone())
                .and_then(|v| Authority::parse(&v).map_err(|_| bad.clone()))
                .map(Ok)?,
            (None, None) => return Err(bad),
        }
        .map_err(|_| bad)?;
        let is_ours = rules.hosts.is_empty() || rules.hosts.iter().any(|host| host.matches(authority.host()));
        if is_ours { Ok(authority) } else { Err(Rejection::Misdirected) }
    }

    fn client(&self, arrival: &Arrival<'_>, rules: &EdgeRules) -> (IpAddr, HeaderValue) {
        if self.forwarded_for.is_empty() {
            return (ip::canonical(arrival.peer.ip()), arrival.peer_text.clone());
        }
        let lines = self.forwarded_for.iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
        let client = ip::client_of(arrival.peer.ip(), hops.into_iter(), &rules.trusted_proxies);
        (client, text_of(client))
    }

    fn body(&self, arrival: &Arrival<'_>) -> BodyLength {
        match self.content_length {
            Some(0) => BodyLength::None,
            Some(length) => BodyLength::Known(length),
            None if self.is_chunked => BodyLength::Unknown,
            None if arrival.version == Version::HTTP_2 && !arrival.has_ended => BodyLength::Unknown,
            None => BodyLength::None,
        }
    }

    fn kind(&mut self, arrival: &Arrival<'_>) -> Result<Kind, Rejection> {
        let is_websocket =
            self.upgrade.as_ref().is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if is_websocket && self.nominated.has_upgrade && arrival.version == Version::HTTP_11 {
            // A handshake with a body: the backend may read frames where we still read the body.
            if *arrival.method != Method::GET || self.is_chunked || self.content_length.is_some_and(|n| n > 0)
            {
                return Err(Rejection::Malformed(Flaw::Upgrade));
            }
            return Ok(Kind::WebSocket);
        }
        if self.upgrade.is_some() {
            self.removed.push(header::UPGRADE);
        }
        let is_h2 = arrival.version == Version::HTTP_2;
        Ok(if is_h2 && self.content_type.as_ref().is_some_and(is_grpc) { Kind::Grpc } else { Kind::Plain })
    }
}

/// An address as a header's value.
pub fn text_of(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(ip::canonical(address).to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Two of these in one request: whichever we read, the upstream may read the other.
fn once(slot: &mut Option<HeaderValue>, value: &HeaderValue) -> Result<(), Rejection> {
    if slot.replace(value.clone()).is_some() { Err(Rejection::Malformed(Flaw::Duplicate)) } else { Ok(()) }
}

#[expect(clippy::unnecessary_wraps, reason = "stands beside `once` in one match")]
fn first(slot: &mut Option<HeaderValue>, value: &HeaderValue) -> Result<(), Rejection> {
    slot.get_or_insert_with(|| value.clone());
    Ok(())
}

/// HTTP/2 clients may split cookies; a cookie header is read as one (RFC 9113 section 8.2.3).
fn join(lines: &mut Vec<HeaderValue>) -> Result<Option<HeaderValue>, Rejection> {
    if lines.len() < 2 {
        return Ok(lines.pop());
    }
    let parts: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&parts.join(&b"; "[..]))
        .map(Some)
        .map_err(|_| Rejection::Malformed(Flaw::Duplicate))
}

fn scheme_of(value: &HeaderValue) -> Option<Scheme> {
    match value.as_bytes() {
        b"https" => Some(Scheme::Https),
        b"http" => Some(Scheme::Http),
        _ => None,
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "head_twice.rs"]
mod twice;
