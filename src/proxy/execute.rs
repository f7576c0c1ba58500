//! Sends a request of which nothing is still to come, and streams the answer back.
//!
//! Law: for what has no body, or needs the whole of it before a header can be written. The
//! framework's own path runs both directions beside each other, which a request without a body pays
//! for and does not need; it has told the upstream the headers by the time it sees a body, and can
//! send one again only up to 64 KiB. Peers, timeouts, stamps and the cleaning of the answer are
//! those of every other request. A client that leaves ends it.

use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::{HeaderValue, Method, StatusCode, Uri, Version};
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};

use super::answer::{Wait, read_head};
use super::client::{Body, Client, up};
use super::connectors::Connectors;
use super::ctx::Ctx;
use super::forward::Held;
use super::upstream::Outcome;
use super::{hygiene, redact, service};
use crate::gate::Watch;
use crate::gate::head::BodyLength;
use crate::gate::redact::Treatment;

/// Informational answers that an upstream may send before its real one.
const INFORMATIONAL: usize = 8;
/// For the answer of a server that reads no more.
const EARLY: Duration = Duration::from_secs(1);
/// How much of an answer, and for how long, is read for what it cost when the client is gone.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_FOR: Duration = Duration::from_secs(30);

/// Sends the request with this body, and its answer to `client`.
///
/// # Errors
/// What went wrong, for `fail_to_proxy`; the answer may have begun.
pub(super) async fn execute(
    connectors: &Connectors,
    mut client: Client<'_>,
    ctx: &mut Ctx,
    body: &Bytes,
) -> Result<()> {
    let (mut upstream, sent, peer) = loop {
        let peer = service::next_peer(ctx, &connectors.crowd)?;
        match attempt(connectors, &mut client, ctx, &peer, body).await {
            Ok((upstream, sent)) => break (upstream, sent, peer),
            Err(Failed { error, was_sent }) => {
                let is_once = ctx.forward.as_ref().is_none_or(|forward| forward.is_once());
                let may_repeat = !was_sent || (!is_once && ctx.method.is_idempotent());
                let is_theirs = *error.esource() == ErrorSource::Upstream;
                // A slow server may still be at it, and an answer that makes no sense is one.
                let is_final =
                    matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::InvalidHTTPHeader);
                if !(may_repeat && is_theirs && ctx.may_try_again()) || is_final {
                    return Err(error);
                }
            }
        }
    };
    let relayed = relay(&mut client, ctx, &mut upstream, peer.options.read_timeout).await;
    if relayed.as_ref().is_err_and(is_clients) {
        drain(ctx, &mut upstream).await;
    }
    // Before the client has everything: its next request may come at once, and wants a connection.
    if relayed.is_ok() && sent == Sent::Whole && upstream.response_done() {
        connectors.keep(upstream, &peer, ctx.attempt.chosen.as_ref()).await;
    } else {
        connectors.abandon(upstream, &peer).await;
    }
    relayed?.finish(&mut client, ctx).await?;
    client.done()
}

#[expect(clippy::borrowed_box, reason = "the framework's errors come in boxes")]
fn is_clients(error: &Box<Error>) -> bool {
    *error.esource() == ErrorSource::Downstream
}

/// Who reads what an agent's call cost from its answer.
pub(super) fn watch_of(ctx: &mut Ctx) -> Option<&mut Watch> {
    ctx.forward.as_mut()?.watch.as_mut().filter(|watch| watch.is_metered())
}

/// How long the head of an answer is waited for.
fn wait_of(ctx: &Ctx, span: Option<Duration>) -> Wait {
    let watch = ctx.forward.as_ref().and_then(|forward| forward.watch.as_ref());
    let for_nobody = if watch.is_some_and(Watch::is_metered) { DRAIN_FOR } else { Duration::ZERO };
    Wait { span, for_nobody }
}

/// Reads an answer to its end that nobody waits for any more, because it says what it cost.
async fn drain(ctx: &mut Ctx, upstream: &mut HttpSession) {
    let Some(watch) = watch_of(ctx) else { return };
    // Without its last head there is no body yet, and the framework has none to read.
    let Some(head) = upstream.response_header().filter(|head| !head.status.is_informational()) else {
        return;
    };
    watch.answers(head.headers.get(header::CONTENT_TYPE));
    let mut bytes = 0;
    let reading = async {
        while let Ok(Some(piece)) = upstream.read_response_body().await {
            watch.passes(&piece);
            bytes += piece.len();
            if bytes > DRAIN_BYTES {
                return;
            }
        }
    };
    // What was not said by then stays unknown.
    let _ = tokio::time::timeout(DRAIN_FOR, reading).await;
}

/// How much of a request its server has when it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    /// It answered before it had read everything.
    Partly,
}

/// An attempt that came to nothing.
struct Failed {
    error: Box<Error>,
    /// Whether the server may have seen some of it.
    was_sent: bool,
}

/// Connects, sends everything and reads the head of the answer.
async fn attempt(
    connectors: &Connectors,
    client: &mut Client<'_>,
    ctx: &mut Ctx,
    peer: &HttpPeer,
    body: &Bytes,
) -> Result<(HttpSession, Sent), Failed> {
    let connected = connectors.connect(peer, ctx.attempt.chosen.as_ref()).await;
    let mut upstream = connected.map_err(|error| {
        if let Some(forward) = &ctx.forward {
            forward.upstream.metrics().unreachable();
        }
        Failed { error: up(error), was_sent: false }
    })?;
    // Before the first byte: whoever drops this halfway must not take it for unsent.
    ctx.attempt.was_sent = true;
    match send(&mut upstream, client, ctx, peer, body).await {
        Ok(sent) => Ok((upstream, sent)),
        Err(error) => {
            if is_clients(&error) {
                drain(ctx, &mut upstream).await;
            }
            connectors.abandon(upstream, peer).await;
            Err(Failed { error, was_sent: true })
        }
    }
}

async fn send(
    upstream: &mut HttpSession,
    client: &mut Client<'_>,
    ctx: &Ctx,
    peer: &HttpPeer,
    body: &Bytes,
) -> Result<Sent> {
    upstream.set_write_timeout(peer.options.write_timeout);
    let is_h2 = matches!(upstream, HttpSession::H2(_));
    let request = request_for(client, ctx, peer, body, is_h2)?;
    let sent = async {
        upstream.write_request_header(Box::new(request)).await?;
        if !body.is_empty() {
            upstream.write_request_body(body.clone(), false).await?;
        }
        upstream.finish_request_body().await
    };
    let wait = wait_of(ctx, peer.options.read_timeout);
    match sent.await {
        Ok(()) => read_head(client, upstream, wait).await.map(|()| Sent::Whole),
        // A server that refuses a body may do so before it has read it, and read no more.
        Err(_) if !body.is_empty() && read_head(client, upstream, wait.within(EARLY)).await.is_ok() => {
            upstream.set_read_timeout(wait.span);
            Ok(Sent::Partly)
        }
        Err(error) => Err(up(error)),
    }
}

fn request_for(
    client: &Client<'_>,
    ctx: &Ctx,
    peer: &HttpPeer,
    body: &Bytes,
    is_h2: bool,
) -> Result<RequestHeader> {
    let nothing = || Error::explain(ErrorType::InternalError, "nothing was permitted");
    let (Some(head), Some(forward)) = (&ctx.head, &ctx.forward) else { return Err(nothing()) };
    let mut request = match &forward.held {
        Some(held) => as_kept(&head.method, held)?,
        None => hygiene::onward(client.request().ok_or_else(nothing)?, forward),
    };
    hygiene::stamp(&mut request, head, forward, ctx.attempt.chosen.as_ref())?;
    let expects_none = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !body.is_empty() || !(expects_none || head.body == BodyLength::None) {
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

/// The headers that were kept, and nothing of the client's.
fn as_kept(method: &Method, held: &Held) -> Result<RequestHeader> {
    let mut request = RequestHeader::build(method.clone(), b"/", Some(held.headers.len() + 16))?;
    for (name, value) in &held.headers {
        request.append_header(name.clone(), value.clone())?;
    }
    Ok(request)
}

/// Streams the answer to the client, all but its end.
async fn relay(
    client: &mut Client<'_>,
    ctx: &mut Ctx,
    upstream: &mut HttpSession,
    span: Option<Duration>,
) -> Result<End> {
    let mut answer = head_of(upstream)?;
    for _ in 0..INFORMATIONAL {
        if !answer.status.is_informational() || answer.status == StatusCode::SWITCHING_PROTOCOLS {
            break;
        }
        pass_on(client, ctx, answer).await?;
        read_head(client, upstream, wait_of(ctx, span)).await?;
        answer = head_of(upstream)?;
    }
    // Nobody asked for another protocol.
    if answer.status.is_informational() {
        return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
    }
    if let (Some(chosen), HttpSession::H1(_)) = (&ctx.attempt.chosen, &*upstream) {
        chosen.hears(&answer.headers);
    }
    hygiene::clean_answer(&mut answer, ctx)?;
    take_off_hops(&mut answer);
    // Of the connection to the upstream, which is not the client's.
    answer.set_version(Version::HTTP_11);
    ctx.attempt.head_took = ctx.attempt.started.map(|started| started.elapsed());
    ctx.came_to(Outcome::Answered);
    ctx.attempt.status = Some(answer.status.as_u16());
    if let Some(watch) = watch_of(ctx) {
        watch.answers(answer.headers.get(header::CONTENT_TYPE));
    }
    let redaction = ctx.forward.as_ref().and_then(|forward| forward.redaction.clone());
    if let Some(redaction) = redaction
        && redact::treatment(ctx, &redaction, &answer)? == Treatment::Rewrite
    {
        redact::relay(client, ctx, upstream, answer, &redaction).await?;
        return Ok(End::default());
    }
    let is_bare = ctx.method == Method::HEAD
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_length = answer.headers.contains_key(header::CONTENT_LENGTH);
    if !is_bare && !has_length && client.takes_chunks(ctx) {
        answer.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    client.head(ctx, answer, if is_bare { Body::None } else { Body::Some }).await?;
    let mut end = End { is_open: !is_bare, ..End::default() };
    while let Some(piece) = client.unless_gone(upstream.read_response_body()).await? {
        if let Some(watch) = watch_of(ctx) {
            watch.passes(&piece);
        }
        if upstream.response_done() {
            end.piece = Some(piece);
            break;
        }
        if !is_bare {
            client.piece(ctx, piece).await?;
        }
    }
    if let HttpSession::H2(upstream) = upstream {
        // Read even where nobody can be told them: before that the stream is not over.
        let trailers = client.unless_gone(upstream.read_trailers()).await?;
        end.trailers = trailers.filter(|_| client.is_http2());
    }
    Ok(end)
}

/// Tells a client what comes before the answer (RFC 9110 section 15.2), if it can know what that is.
async fn pass_on(client: &mut Client<'_>, ctx: &Ctx, mut answer: ResponseHeader) -> Result<()> {
    // We asked for no 100, and what a redaction hides is nowhere else to be seen either.
    let is_wanted = answer.status != StatusCode::CONTINUE
        && ctx.knows_chunks()
        && ctx.forward.as_ref().is_some_and(|forward| forward.redaction.is_none());
    hygiene::clean_answer(&mut answer, ctx)?;
    if !is_wanted {
        return Ok(());
    }
    take_off_hops(&mut answer);
    client.foretold(answer).await
}

fn take_off_hops(answer: &mut ResponseHeader) {
    let hops: Vec<HeaderName> =
        answer.headers.keys().filter(|name| hygiene::is_hop_by_hop(name)).cloned().collect();
    for name in &hops {
        answer.remove_header(name);
    }
}

/// What the client does not have yet when the upstream has said everything.
#[derive(Default)]
struct End {
    /// Whether there is an end to write: some answers have no body, whatever their heads say.
    is_open: bool,
    piece: Option<Bytes>,
    /// Where both sides know them.
    trailers: Option<HeaderMap>,
}

impl End {
    async fn finish(self, client: &mut Client<'_>, ctx: &mut Ctx) -> Result<()> {
        let Self { is_open, piece, trailers } = self;
        if is_open {
            return client.end(ctx, piece, trailers).await;
        }
        Client::bare(ctx);
        Ok(())
    }
}

fn head_of(upstream: &HttpSession) -> Result<ResponseHeader> {
    upstream.response_header().cloned().ok_or_else(|| Error::new_up(ErrorType::InvalidHTTPHeader))
}
