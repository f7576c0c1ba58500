//! What crosses the gateway in either direction, and what does not.
//!
//! Law: towards the upstream the gateway's own words are written last and exactly once, and its
//! credentials never leave. Towards the client no upstream speaks in the gateway's name, sets its
//! cookies or steers what stands before it.

use ::http::header::{self, HeaderName, HeaderValue};
use ::http::{Method, StatusCode, Uri, uri};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr, Result};

use super::ctx::Ctx;
use super::forward::Forward;
use super::upstream::Chosen;
use crate::gate::head::{BodyLength, Kind, Scheme};
use crate::gate::rules::Hardening;
use crate::gate::{Authorization, RequestHead, strip};
use crate::http::cookie;

// As static text they are written without a copy.
const REQUEST_ID: &str = "X-Request-ID";
const FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_HOST: &str = "X-Forwarded-Host";
/// What browsers are told where an upstream says nothing itself; the first only over https.
const HARDENING: [(HeaderName, &str, HeaderValue); 4] = [
    (
        header::STRICT_TRANSPORT_SECURITY,
        "Strict-Transport-Security",
        HeaderValue::from_static("max-age=31536000"),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "X-Content-Type-Options", HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, "X-Frame-Options", HeaderValue::from_static("SAMEORIGIN")),
    (header::REFERRER_POLICY, "Referrer-Policy", HeaderValue::from_static("strict-origin-when-cross-origin")),
];
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Takes off an incoming request what its head marked, before anything else reads it.
pub(super) fn clean_arrival(request: &mut RequestHeader, head: &RequestHead) -> Result<()> {
    for name in &head.removed {
        request.remove_header(name);
    }
    // Absolute-form would reach the upstream as it came, and a target that was spelled otherwise
    // would be judged in one spelling and served in another.
    let is_origin_form = request.uri.authority().is_some() || request.raw_path().first() == Some(&b'/');
    let is_canonical = request.uri.path_and_query().is_some_and(|text| text == head.target.path_and_query());
    if !is_origin_form || !is_canonical {
        request.set_uri(with_target(&request.uri, head.target.path_and_query().clone())?);
    }
    Ok(())
}

/// One line with what is not ours; HTTP/2 clients may have sent several.
fn replace_cookie(request: &mut RequestHeader, wanted: Option<&HeaderValue>) -> Result<()> {
    let mut lines = request.headers.get_all(header::COOKIE).iter();
    let is_so = lines.next() == wanted && lines.next().is_none();
    match wanted {
        Some(_) if is_so => Ok(()),
        Some(cookie) => request.insert_header("Cookie", cookie.clone()),
        None => {
            request.remove_header(&header::COOKIE);
            Ok(())
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

/// Writes what the upstream may believe. The framework has taken off hop-by-hop headers before.
pub(super) fn stamp(
    request: &mut RequestHeader,
    head: &RequestHead,
    forward: &Forward,
    chosen: Option<&Chosen>,
) -> Result<()> {
    if forward.authorization == Authorization::Removed && head.presented.authorization.is_some() {
        request.remove_header(&header::AUTHORIZATION);
    }
    if head.presented.cookie.is_some() {
        replace_cookie(request, forward.cookie.as_ref())?;
    }
    if forward.target != head.target {
        request.set_uri(with_target(&request.uri, forward.target.path_and_query().clone())?);
    }
    match (&forward.host, chosen) {
        (Some(host), _) if request.headers.get(header::HOST) == Some(host) => {}
        (Some(host), _) => request.insert_header("Host", host.clone())?,
        (None, Some(chosen)) => request.insert_header("Host", chosen.server().to_string())?,
        (None, None) => {}
    }
    request.insert_header(REQUEST_ID, head.id.value().clone())?;
    request.insert_header(FORWARDED_FOR, head.client_text.clone())?;
    request.insert_header(FORWARDED_PROTO, scheme_value(head.scheme))?;
    request.insert_header(FORWARDED_HOST, head.authority.value().clone())?;
    for (name, value) in &forward.stamps {
        request.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
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
pub(super) fn clean_answer(answer: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let is_switch = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_switch && ctx.head.as_ref().is_none_or(|head| head.kind != Kind::WebSocket) {
        return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
    }
    let mut removed: Vec<HeaderName> = Vec::new();
    for name in answer.headers.keys() {
        if strip::is_removed_from_response(name.as_str()) {
            removed.push(name.clone());
        }
    }
    // What a handshake names there is the handshake.
    let nominating = if is_switch { None } else { Some(answer.headers.get_all(header::CONNECTION)) };
    for value in nominating.into_iter().flatten() {
        let tokens = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        // What keeps the framing must not be named away.
        let names = tokens.filter_map(|token| HeaderName::from_bytes(token).ok());
        removed.extend(names.filter(|n| {
            *n != header::CONTENT_LENGTH && *n != header::TRANSFER_ENCODING && *n != header::CONNECTION
        }));
    }
    for name in &removed {
        answer.remove_header(name);
    }
    drop_our_cookies(answer)?;
    if answer.status.is_informational() {
        return Ok(());
    }
    for name in ctx.answer_without {
        answer.remove_header(name);
    }
    finish_answer(answer, ctx)
}

fn drop_our_cookies(answer: &mut ResponseHeader) -> Result<()> {
    let is_ours = |value: &HeaderValue| is_our_cookie(value.as_bytes());
    if !answer.headers.get_all(header::SET_COOKIE).iter().any(is_ours) {
        return Ok(());
    }
    let all = answer.headers.get_all(header::SET_COOKIE);
    let kept: Vec<HeaderValue> = all.iter().filter(|value| !is_ours(value)).cloned().collect();
    answer.remove_header(&header::SET_COOKIE);
    for value in kept {
        answer.append_header(header::SET_COOKIE, value)?;
    }
    Ok(())
}

/// What every answer carries, ours and the upstreams'.
pub(super) fn finish_answer(answer: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    for (name, value) in &ctx.answer {
        if *name == header::VARY {
            answer.append_header(name, value.clone())?;
        } else {
            answer.insert_header(name, value.clone())?;
        }
    }
    if let Some(id) = &ctx.id {
        answer.insert_header(REQUEST_ID, id.value().clone())?;
    }
    if ctx.hardening == Hardening::Off {
        return Ok(());
    }
    let is_https = ctx.slot.as_ref().is_some_and(|slot| slot.scheme == Scheme::Https);
    let wanted = if is_https { &HARDENING[..] } else { &HARDENING[1..] };
    for (name, text, value) in wanted {
        if !answer.headers.contains_key(name) {
            answer.insert_header(*text, value.clone())?;
        }
    }
    Ok(())
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
        let mut answer = ResponseHeader::build(200, None).unwrap();
        for value in [
            "a=1; Path=/",
            "portcullis_refresh=evil",
            "__Host-Portcullis_session=evil; Secure",
            "=portcullis_refresh=evil",
            "== portcullis_session=evil",
            "portcullis_refresh; Path=/",
        ] {
            answer.append_header(header::SET_COOKIE, value).unwrap();
        }
        drop_our_cookies(&mut answer).unwrap();
        let left: Vec<_> = answer.headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1; Path=/"]);
    }
}
