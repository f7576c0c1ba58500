//! Answers that the gateway gives itself: refusals and the replies of built-in endpoints.
//!
//! Law: a refusal is told in the caller's own language (JSON, a page for a browser on its way to
//! one, `grpc-status` for gRPC) with the same status, code and request id. A connection on which
//! it is in doubt where the request ends is closed with it.

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Response, StatusCode};
use bytes::Bytes;
use futures::StreamExt as _;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::ctx::Ctx;
use super::hygiene;
use crate::gate::Rejection;
use crate::gate::head::Kind;
use crate::http::{Feed, Reply};

/// Tells the caller that the request goes no further.
pub(super) async fn refuse(session: &mut Session, ctx: &mut Ctx, rejection: Rejection) -> Result<()> {
    if matches!(rejection, Rejection::Malformed(_) | Rejection::HeadTooLarge | Rejection::RequestTimeout) {
        session.set_keepalive(None);
    }
    let kind = ctx.head.as_ref().map_or(Kind::Plain, |head| head.kind);
    let reply = if kind == Kind::Grpc {
        grpc(&rejection)
    } else if ctx.head.as_ref().is_some_and(|head| head.is_navigation()) {
        page(&rejection, ctx.request_id())
    } else {
        json(&rejection, ctx.request_id())
    };
    ctx.refusal = Some(rejection);
    answer(session, ctx, reply).await
}

/// Sends an answer, and what is made of it while it is sent.
pub(super) async fn answer(session: &mut Session, ctx: &mut Ctx, mut reply: Reply) -> Result<()> {
    // Where nobody reads it, nothing of it is made.
    let feed = reply.feed.take().filter(|_| ctx.method != Method::HEAD);
    let mut parts = Response::new(()).into_parts().0;
    parts.status = reply.status;
    parts.headers = reply.headers;
    let has_body = !matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body && feed.is_none() {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    if feed.is_some() && !session.is_http2() {
        if ctx.knows_chunks() {
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        } else {
            // The end of the connection is the end of the answer.
            session.set_keepalive(None);
        }
    }
    hygiene::finish_answer(&mut parts.headers, ctx);
    let head = ResponseHeader::from(parts);
    ctx.ending.status = reply.status.as_u16();
    if let Some(feed) = feed {
        session.write_response_header(Box::new(head), false).await?;
        return Box::pin(pour(session, ctx, reply.body, feed)).await;
    }
    let is_bare = ctx.method == Method::HEAD || !has_body || reply.body.is_empty();
    session.write_response_header(Box::new(head), is_bare).await?;
    if is_bare {
        return Ok(());
    }
    session.write_response_body(Some(reply.body), true).await
}

/// Sends the pieces of an answer as they are made. Where one cannot be made, the answer ends without its
/// end, so that nobody takes what came for the whole.
async fn pour(session: &mut Session, ctx: &Ctx, first: Bytes, feed: Feed) -> Result<()> {
    send(session, first).await?;
    let mut pieces = feed.into_stream();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => send(session, piece).await?,
            Err(cut) => {
                tracing::warn!(id = ctx.request_id(), cause = cut.cause, "an answer was cut off");
                session.set_keepalive(None);
                return Err(Error::explain(ErrorType::InternalError, "an answer was cut off"));
            }
        }
    }
    session.write_response_body(None, true).await
}

/// How much is written within one pause of the client's.
const AT_ONCE: usize = 64 * 1024;

/// Sends a piece in parts, each of which has its own time.
async fn send(session: &mut Session, mut piece: Bytes) -> Result<()> {
    while !piece.is_empty() {
        let part = piece.split_to(piece.len().min(AT_ONCE));
        session.write_response_body(Some(part), false).await?;
    }
    Ok(())
}

/// What is told about a request that has no id.
pub(super) fn without_id(rejection: &Rejection) -> serde_json::Value {
    let mut body = rejection.body("");
    body.as_object_mut().map(|fields| fields.remove("request_id"));
    body
}

fn json(rejection: &Rejection, request_id: &str) -> Reply {
    with_headers(Reply::json(rejection.status(), &rejection.body(request_id)), rejection)
}

fn with_headers(mut reply: Reply, rejection: &Rejection) -> Reply {
    for (name, value) in rejection.headers() {
        reply.headers.append(name, value);
    }
    reply
}

/// The way to the login page, and what a login there is good for.
const LOG_IN: &str = "<p>In a browser: <a href=\"/portcullis/login/\">log in</a>. That opens the gateway's own pages, \
    and routes that say <code>browser: true</code>.</p>";

/// Every text in it is ours or a harmless id: nothing to escape.
fn page(rejection: &Rejection, request_id: &str) -> Reply {
    let status = rejection.status();
    let (text, remedy, code) = (rejection.text(), rejection.remedy(), rejection.code());
    // A person has no header to send: where nobody is signed in, there is a page to do that.
    let way = if matches!(rejection, Rejection::CredentialMissing) { LOG_IN } else { "" };
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{status}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}\
         small{{color:#555}}</style><h1>{text}</h1><p>{remedy}</p>{way}<p><small>{code} · {request_id}</small></p>"
    );
    let policy =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    let reply =
        Reply::bytes(status, "text/html; charset=utf-8", body).with(header::CONTENT_SECURITY_POLICY, policy);
    with_headers(reply, rejection)
}

/// A trailers-only answer: gRPC clients read nothing else.
fn grpc(rejection: &Rejection) -> Reply {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers
        .insert(HeaderName::from_static("grpc-status"), HeaderValue::from(grpc_status(rejection.status())));
    let message = format!("{}: {}", rejection.code(), rejection.text());
    if let Ok(message) = HeaderValue::try_from(message.replace('%', "%25")) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    Reply { status: StatusCode::OK, headers, body: Bytes::new(), feed: None }
}

/// The nearest of gRPC's status codes.
const fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 => 5,
        405 => 12,
        408 | 504 => 4,
        409 => 10,
        413 | 429 | 431 => 8,
        502 | 503 => 14,
        500 => 13,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_the_same_status_and_code_in_json_and_on_a_page() {
        for rejection in [Rejection::NoRoute, Rejection::CredentialMissing, Rejection::UpstreamUnavailable] {
            let (json, page) = (json(&rejection, "r-1"), page(&rejection, "r-1"));
            assert_eq!(json.status, page.status);
            for reply in [&json, &page] {
                let body = std::str::from_utf8(&reply.body).unwrap();
                assert!(body.contains(rejection.code()) && body.contains("r-1"));
            }
            let extra = rejection.headers();
            assert!(
                extra
                    .iter()
                    .all(|(name, _)| json.headers.contains_key(name) && page.headers.contains_key(name))
            );
        }
    }

    #[test]
    fn a_browser_that_nobody_is_signed_in_with_is_shown_where_to() {
        let page_of = |rejection: &Rejection| page(rejection, "r-1").body;
        let has_way = |body: &Bytes| memchr::memmem::find(body, b"href=\"/portcullis/login/\"").is_some();
        assert!(has_way(&page_of(&Rejection::CredentialMissing)));
        assert!(!has_way(&page_of(&Rejection::NoRoute)));
    }

    #[test]
    fn a_grpc_client_is_refused_in_headers_alone() {
        let reply = grpc(&Rejection::CredentialMissing);
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.headers["grpc-status"], "16");
        assert!(reply.body.is_empty());
    }
}
