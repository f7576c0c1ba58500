//! Sends a request whose whole body is here, and streams the answer back.
//!
//! Law: for what needs the body before a header can be written. The framework's own path has told
//! the upstream the headers by the time it sees the body, and can send a body again only up to
//! 64 KiB. Peers, timeouts, stamps and the cleaning of the answer are those of every other request.

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::{HeaderValue, Method, StatusCode, Uri, Version};
use bytes::Bytes;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};

use super::ctx::Ctx;
use super::upstream::Outcome;
use super::{hygiene, redact, service};
use crate::gate::redact::Treatment;

/// Informational answers that an upstream may send before its real one.
const INFORMATIONAL: usize = 8;

/// Headers between two neighbours (RFC 9110 section 7.6.1), and those that the body's new frame
/// replaces.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// Sends the request of `session` with this body.
///
/// # Errors
/// What went wrong, for `fail_to_proxy`; the answer may have begun.
pub(super) async fn execute(
    connector: &Connector,
    session: &mut Session,
    ctx: &mut Ctx,
    body: &Bytes,
) -> Result<()> {
    let (mut upstream, peer) = loop {
        let peer = service::next_peer(ctx)?;
        match attempt(connector, session, ctx, &peer, body).await {
            Ok(upstream) => break (upstream, peer),
            Err(Failed { mut error, was_sent }) => {
                error.as_up();
                let may_repeat = !was_sent || session.req_header().method.is_idempotent();
                if !may_repeat || !ctx.may_try_again() || *error.etype() == ErrorType::ReadTimedout {
                    return Err(error);
                }
            }
        }
    };
    let result = relay(session, ctx, &mut upstream).await;
    let is_whole = result.is_ok() && upstream.response_done();
    if is_whole {
        connector.release_http_session(upstream, &*peer, peer.options.idle_timeout).await;
    } else {
        upstream.shutdown().await;
    }
    result
}

/// An attempt that came to nothing.
struct Failed {
    error: Box<Error>,
    /// Whether the server may have seen some of it.
    was_sent: bool,
}

/// Connects, sends everything and reads the head of the answer.
async fn attempt(
    connector: &Connector,
    session: &Session,
    ctx: &mut Ctx,
    peer: &HttpPeer,
    body: &Bytes,
) -> Result<HttpSession, Failed> {
    let connected = connector.get_http_session(peer).await;
    let (mut upstream, _) = connected.map_err(|error| Failed { error, was_sent: false })?;
    // Before the first byte: whoever drops this halfway must not take it for unsent.
    ctx.attempt.was_sent = true;
    match send(&mut upstream, session, ctx, peer, body).await {
        Ok(()) => Ok(upstream),
        Err(error) => Err(Failed { error, was_sent: true }),
    }
}

async fn send(
    upstream: &mut HttpSession,
    session: &Session,
    ctx: &Ctx,
    peer: &HttpPeer,
    body: &Bytes,
) -> Result<()> {
    upstream.set_read_timeout(peer.options.read_timeout);
    upstream.set_write_timeout(peer.options.write_timeout);
    let is_h2 = matches!(upstream, HttpSession::H2(_));
    let request = request_for(session, ctx, peer, body, is_h2)?;
    upstream.write_request_header(Box::new(request)).await?;
    if !body.is_empty() {
        upstream.write_request_body(body.clone(), false).await?;
    }
    upstream.finish_request_body().await?;
    upstream.read_response_header().await
}

fn request_for(
    session: &Session,
    ctx: &Ctx,
    peer: &HttpPeer,
    body: &Bytes,
    is_h2: bool,
) -> Result<RequestHeader> {
    let (Some(head), Some(forward)) = (&ctx.head, &ctx.forward) else {
        return Error::e_explain(ErrorType::InternalError, "nothing was permitted");
    };
    let mut request = session.req_header().clone();
    for name in nominated(&request.headers) {
        request.remove_header(&name);
    }
    for name in &HOP_BY_HOP {
        request.remove_header(name);
    }
    hygiene::stamp(&mut request, head, forward, ctx.attempt.chosen.as_ref())?;
    let expects_none = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !(expects_none && body.is_empty()) {
        request.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    if !is_h2 {
        request.set_version(Version::HTTP_11);
        let target = forward.target.path_and_query().clone();
        request.set_uri(Uri::from(target));
        return Ok(request);
    }
    request.set_version(Version::HTTP_2);
    let host = request.remove_header(&header::HOST).unwrap_or(HeaderValue::from_static(""));
    let uri = Uri::builder()
        .scheme(if peer.is_tls() { "https" } else { "http" })
        .authority(host.as_bytes())
        .path_and_query(forward.target.path_and_query().clone())
        .build();
    request.set_uri(uri.or_err(ErrorType::InternalError, "a host and a target make a URI")?);
    Ok(request)
}

/// What `Connection` says is only for us.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let names = tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok());
    names.filter(|name| *name != header::HOST).collect()
}

/// Streams the answer to the client.
async fn relay(session: &mut Session, ctx: &mut Ctx, upstream: &mut HttpSession) -> Result<()> {
    let mut answer = head_of(upstream)?;
    for _ in 0..INFORMATIONAL {
        if !answer.status.is_informational() {
            break;
        }
        upstream.read_response_header().await.map_err(up)?;
        answer = head_of(upstream)?;
    }
    if answer.status.is_informational() {
        return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
    }
    hygiene::clean_answer(&mut answer, ctx)?;
    for name in &HOP_BY_HOP[..9] {
        answer.remove_header(name);
    }
    // Of the connection to the upstream, which is not the client's.
    answer.set_version(Version::HTTP_11);
    ctx.attempt.head_took = ctx.attempt.started.map(|started| started.elapsed());
    ctx.attempt.outcome = Some(Outcome::Answered);
    ctx.attempt.status = Some(answer.status.as_u16());
    let redaction = ctx.forward.as_ref().and_then(|forward| forward.redaction.clone());
    if let Some(redaction) = redaction
        && redact::treatment(ctx, &redaction, &answer)? == Treatment::Rewrite
    {
        return redact::relay(session, ctx, upstream, answer, &redaction).await;
    }
    ctx.ending.status = answer.status.as_u16();
    let is_bare = ctx.method == Method::HEAD
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_length = answer.headers.contains_key(header::CONTENT_LENGTH);
    if !is_bare && !has_length && !session.is_http2() && ctx.knows_chunks() {
        answer.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    session.write_response_header(Box::new(answer), is_bare).await.map_err(down)?;
    while let Some(piece) = upstream.read_response_body().await.map_err(up)? {
        if !is_bare {
            session.write_response_body(Some(piece), false).await.map_err(down)?;
        }
    }
    if is_bare { Ok(()) } else { finish(session, upstream).await }
}

/// Ends the answer, with trailers where both sides know them.
async fn finish(session: &mut Session, upstream: &mut HttpSession) -> Result<()> {
    if let HttpSession::H2(h2) = upstream
        && session.is_http2()
        && let Some(trailers) = h2.read_trailers().await?
    {
        return session.write_response_trailers(trailers).await;
    }
    session.write_response_body(None, true).await.map_err(down)
}

#[expect(clippy::unnecessary_box_returns, reason = "the framework's errors come in boxes")]
pub(super) fn up(mut error: Box<Error>) -> Box<Error> {
    error.as_up();
    error
}

fn head_of(upstream: &HttpSession) -> Result<ResponseHeader> {
    upstream.response_header().cloned().ok_or_else(|| Error::new_up(ErrorType::InvalidHTTPHeader))
}

#[expect(clippy::unnecessary_box_returns, reason = "the framework's errors come in boxes")]
pub(super) fn down(mut error: Box<Error>) -> Box<Error> {
    if *error.esource() == ErrorSource::Unset {
        error.as_down();
    }
    error
}
