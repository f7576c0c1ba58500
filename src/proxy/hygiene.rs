//! What crosses the gateway in either direction, and what does not.
//!
//! Law: towards the upstream the gateway's own words are written last and exactly once, and its
//! credentials never leave. Towards the client no upstream speaks in the gateway's name, sets its
//! cookies or steers what stands before it.

use std::mem;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri, request, response, uri};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr, Result};

use super::ctx::Ctx;
use super::forward::Forward;
use super::upstream::Chosen;
use super::{answer, caching};
use crate::gate::head::{BodyLength, Kind, Scheme};
use crate::gate::redact::Redaction;
use crate::gate::rules::Hardening;
use crate::gate::{Authorization, RequestHead, Watch, strip};
use crate::http::cookie;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The most that [`stamp`] writes beside the stamps of a request.
const FORWARDED: usize = 5;
/// What browsers are told where an upstream says nothing itself; the first only over https.
const HARDENING: [(HeaderName, HeaderValue); 4] = [
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
];
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Changes a request's head as it lies. The framework keeps a second map with the spelling of every
/// name, which costs as much again at each change and each copy; it is given up here.
fn change_request(
    request: &mut RequestHeader,
    change: impl FnOnce(&mut request::Parts) -> Result<()>,
) -> Result<()> {
    let nothing = RequestHeader::from(Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(mem::replace(request, nothing));
    let changed = change(&mut parts);
    *request = parts.into();
    changed
}

/// The same for the head of an answer, whose own words beside the status stay.
fn change_answer(
    answer: &mut ResponseHeader,
    change: impl FnOnce(&mut response::Parts) -> Result<()>,
) -> Result<()> {
    let reason = answer.get_reason_phrase().filter(|reason| answer.status.canonical_reason() != Some(reason));
    let reason = reason.map(str::to_owned);
    let nothing = ResponseHeader::from(Response::new(()).into_parts().0);
    let mut parts = response::Parts::from(mem::replace(answer, nothing));
    let changed = change(&mut parts);
    *answer = parts.into();
    if reason.is_some() {
        answer.set_reason_phrase(reason.as_deref())?;
    }
    changed
}

/// Takes off an incoming request what its head marked, before anything else reads it.
pub(super) fn clean_arrival(request: &mut RequestHeader, head: &RequestHead) -> Result<()> {
    // Absolute-form would reach the upstream as it came, and a target that was spelled otherwise
    // would be judged in one spelling and served in another.
    let is_origin_form = request.uri.authority().is_some() || request.raw_path().first() == Some(&b'/');
    let target = head.target.path_and_query();
    let is_canonical = request.uri.path_and_query().is_some_and(|text| text == target);
    change_request(request, |parts| {
        for name in &head.removed {
            parts.headers.remove(name);
        }
        if !is_origin_form || !is_canonical {
            parts.uri = with_target(&parts.uri, target.clone())?;
        }
        Ok(())
    })
}

/// One line with what is not ours; HTTP/2 clients may have sent several.
fn replace_cookie(headers: &mut HeaderMap, wanted: Option<&HeaderValue>) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let is_so = lines.next() == wanted && lines.next().is_none();
    match wanted {
        Some(_) if is_so => {}
        Some(cookie) => {
            headers.insert(header::COOKIE, cookie.clone());
        }
        None => {
            headers.remove(header::COOKIE);
        }
    }
}

fn with_target(old: &Uri, target: uri::PathAndQuery) -> Result<Uri> {
    let mut parts = uri::Parts::default();
    if let (Some(scheme), Some(authority)) = (old.scheme(), old.authority()) {
        parts.scheme = Some(scheme.clone());
        parts.authority = Some(authority.clone());
    }
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).or_err(ErrorType::InternalError, "a canonical target makes a URI")
}

/// The head of a request without what is only for its neighbour, with room for what [`stamp`] writes.
/// What `Connection` names was taken off when it arrived.
pub(super) fn onward(request: &RequestHeader, forward: &Forward) -> RequestHeader {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + FORWARDED + forward.stamps.len());
    for (name, value) in &request.headers {
        if !is_hop_by_hop(name) {
            headers.append(name, value.clone());
        }
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = request.method.clone();
    parts.headers = headers;
    parts.into()
}

/// Whether a header is between two neighbours (RFC 9110 section 7.6.1), or says how long a body is
/// that gets a new frame.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Writes what the upstream may believe. The framework has taken off hop-by-hop headers before.
pub(super) fn stamp(
    request: &mut RequestHeader,
    head: &RequestHead,
    forward: &Forward,
    chosen: Option<&Chosen>,
) -> Result<()> {
    change_request(request, |parts| {
        if forward.target != head.target {
            parts.uri = with_target(&parts.uri, forward.target.path_and_query().clone())?;
        }
        let headers = &mut parts.headers;
        if forward.authorization == Authorization::Removed && head.presented.authorization.is_some() {
            headers.remove(header::AUTHORIZATION);
        }
        if head.presented.cookie.is_some() {
            replace_cookie(headers, forward.cookie.as_ref());
        }
        if forward.redaction.is_some() {
            for name in Redaction::withheld(&head.method) {
                headers.remove(name);
            }
        }
        if forward.watch.as_ref().is_some_and(Watch::is_metered) {
            // A compressed answer could not be read.
            headers.remove(header::ACCEPT_ENCODING);
        }
        headers.reserve(FORWARDED + forward.stamps.len());
        match (&forward.host, chosen) {
            (Some(host), _) => {
                headers.insert(header::HOST, host.clone());
            }
            (None, Some(chosen)) => {
                let server = HeaderValue::try_from(chosen.server().to_string());
                let server = server.or_err(ErrorType::InternalError, "a server's name makes a header")?;
                headers.insert(header::HOST, server);
            }
            (None, None) => {}
        }
        headers.insert(REQUEST_ID, head.id.value().clone());
        headers.insert(FORWARDED_FOR, head.client_text.clone());
        headers.insert(FORWARDED_PROTO, scheme_value(head.scheme));
        headers.insert(FORWARDED_HOST, head.authority.value().clone());
        for (name, value) in &forward.stamps {
            headers.insert(name.clone(), value.clone());
        }
        Ok(())
    })
}

const fn scheme_value(scheme: Scheme) -> HeaderValue {
    match scheme {
        Scheme::Http => HTTP,
        Scheme::Https => HTTPS,
    }
}

/// The client's cookies without ours; `None` when nothing is left.
pub fn foreign_cookies(cookie: &HeaderValue) -> Option<HeaderValue> {
    let pairs = || cookie.as_bytes().split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    if !pairs().any(is_our_cookie) {
        return Some(cookie.clone());
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !pair.is_empty() && !is_our_cookie(pair)).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok() }
}

/// Browsers compare cookie prefixes without case, so we do. A cookie without a name they send back as
/// its value alone: what is set as `=a=b` comes again as `a=b`.
fn is_our_cookie(pair: &[u8]) -> bool {
    let begins = pair.iter().position(|byte| !matches!(byte, b'=' | b' ' | b'\t'));
    let named = begins.map_or(&b""[..], |at| &pair[at..]);
    let name = named.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
    cookie::OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
}

/// Cleans the head of an upstream's answer.
pub(super) fn clean_answer(head: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_switch && ctx.head.as_ref().is_none_or(|asked| asked.kind != Kind::WebSocket) {
        return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
    }
    answer::check(head)?;
    change_answer(head, |parts| {
        let without = if parts.status.is_informational() { &[] } else { ctx.answer_without };
        take_off(&mut parts.headers, without, is_switch);
        if !parts.status.is_informational() {
            finish_answer(&mut parts.headers, ctx);
        }
        Ok(())
    })
}

/// Takes off what an upstream has no say in, and what it says only to its neighbour.
fn take_off(headers: &mut HeaderMap, without: &[HeaderName], is_switch: bool) {
    let mut removed: Vec<HeaderName> = Vec::new();
    for name in headers.keys() {
        if strip::is_removed_from_response(name.as_str()) || without.contains(name) {
            removed.push(name.clone());
        }
    }
    // What a handshake names there is the handshake.
    let nominating = if is_switch { None } else { Some(headers.get_all(header::CONNECTION)) };
    for value in nominating.into_iter().flatten() {
        let tokens = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        // What keeps the framing must not be named away.
        let names = tokens.filter_map(|token| HeaderName::from_bytes(token).ok());
        removed.extend(names.filter(|n| {
            *n != header::CONTENT_LENGTH && *n != header::TRANSFER_ENCODING && *n != header::CONNECTION
        }));
    }
    for name in &removed {
        headers.remove(name);
    }
    drop_our_cookies(headers);
}

fn drop_our_cookies(headers: &mut HeaderMap) {
    let is_ours = |value: &HeaderValue| is_our_cookie(value.as_bytes());
    if !headers.get_all(header::SET_COOKIE).iter().any(is_ours) {
        return;
    }
    let all = headers.get_all(header::SET_COOKIE);
    let kept: Vec<HeaderValue> = all.iter().filter(|value| !is_ours(value)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

/// What every answer carries, ours and the upstreams'.
pub(super) fn finish_answer(headers: &mut HeaderMap, ctx: &Ctx) {
    headers.reserve(ctx.answer.len() + HARDENING.len() + 1);
    for (name, value) in &ctx.answer {
        match *name {
            header::VARY => drop(headers.append(name, value.clone())),
            header::CACHE_CONTROL => caching::for_one_person(headers),
            _ => drop(headers.insert(name, value.clone())),
        }
    }
    if let Some(id) = &ctx.id {
        headers.insert(REQUEST_ID, id.value().clone());
    }
    if ctx.hardening == Hardening::Off {
        return;
    }
    let is_https = ctx.slot.as_ref().is_some_and(|slot| slot.scheme == Scheme::Https);
    let wanted = if is_https { &HARDENING[..] } else { &HARDENING[1..] };
    for (name, value) in wanted {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// Whether what the upstream leaves unread of this request could be taken for the next one.
pub(super) fn has_unexpected_body(head: &RequestHead) -> bool {
    let expects_none = matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
    expects_none && head.body != BodyLength::None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookies_stay_here_and_others_pass() {
        let foreign = |text: &'static str| foreign_cookies(&HeaderValue::from_static(text));
        assert_eq!(foreign("a=1; b=2").unwrap(), "a=1; b=2");
        assert_eq!(foreign("a=1; __Host-portcullis_session=x; b=2").unwrap(), "a=1; b=2");
        assert_eq!(foreign("__SECURE-PORTCULLIS_REFRESH=x;c=3").unwrap(), "c=3");
        assert_eq!(foreign("portcullis_refresh=x; portcullis_session=y"), None);
        assert_eq!(foreign("about=portcullis_session").unwrap(), "about=portcullis_session");
    }

    #[test]
    fn an_upstream_cannot_set_our_cookies() {
        let mut answer = HeaderMap::new();
        for value in [
            "a=1; Path=/",
            "portcullis_refresh=evil",
            "__Host-Portcullis_session=evil; Secure",
            "=portcullis_refresh=evil",
            "== portcullis_session=evil",
            "portcullis_refresh; Path=/",
        ] {
            answer.append(header::SET_COOKIE, HeaderValue::from_static(value));
        }
        drop_our_cookies(&mut answer);
        let left: Vec<_> = answer.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1; Path=/"]);
    }
}
