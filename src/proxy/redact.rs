//! Streams an answer to an agent, without what agents may not read.
//!
//! Law: nothing is sent before as much as the route says was read and found good. What turns out
//! bad after that breaks off where every client sees it: a half-read text must not look whole.

use ::http::header;
use ::http::{Method, StatusCode};
use bytes::Bytes;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::client::HttpSession;

use super::client::{Body, Client};
use super::ctx::Ctx;
use super::execute::watch_of;
use super::fault::refused;
use crate::gate::Rejection;
use crate::gate::redact::{Broken, Redaction, Rewriter, Treatment};

/// What becomes of an answer with this head.
///
/// # Errors
/// It cannot be read, and is refused.
pub(super) fn treatment(ctx: &mut Ctx, redaction: &Redaction, answer: &ResponseHeader) -> Result<Treatment> {
    match redaction.judge(answer.status, &answer.headers) {
        Ok(treatment) => Ok(treatment),
        Err(_) => impossible(ctx),
    }
}

/// None of it may be passed on, or no more of it; and nothing of it is kept.
fn impossible<T>(ctx: &mut Ctx) -> Result<T> {
    if let Some(copy) = ctx.copy() {
        copy.withhold();
    }
    refused(ctx, Rejection::RedactionImpossible)
}

/// Sends what is left of an answer.
pub(super) async fn relay(
    client: &mut Client<'_>,
    ctx: &mut Ctx,
    upstream: &mut HttpSession,
    mut answer: ResponseHeader,
    redaction: &Redaction,
) -> Result<()> {
    for name in Redaction::untrue() {
        answer.remove_header(name);
    }
    let is_bare = ctx.method == Method::HEAD
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if is_bare {
        ctx.ending.status = answer.status.as_u16();
        client.head(ctx, answer, Body::None).await?;
        Client::bare(ctx);
        // To its end, so that the connection can be used again.
        while client.unless_gone(upstream.read_response_body()).await?.is_some() {}
        return Ok(());
    }
    let mut text = Text { rewriter: redaction.rewriter(), length: 0, out: Vec::new() };
    let is_over = loop {
        match next(client, ctx, upstream).await? {
            None => break true,
            Some(piece) if text.take(&piece).is_err() => {
                return impossible(ctx);
            }
            Some(_) if text.length > redaction.buffer => break false,
            Some(_) => {}
        }
    };
    if is_over {
        if text.end().is_err() {
            return impossible(ctx);
        }
        answer.insert_header(header::CONTENT_LENGTH, text.out.len())?;
    } else if !client.sees_cuts(ctx) {
        // The end of the connection would be the end of the text, and could not be told from a cut.
        return impossible(ctx);
    } else if client.takes_chunks(ctx) {
        answer.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    ctx.ending.status = answer.status.as_u16();
    let is_empty = is_over && text.out.is_empty();
    client.head(ctx, answer, if is_empty { Body::None } else { Body::Some }).await?;
    text.send(client, ctx).await?;
    if !is_over {
        rest(client, ctx, upstream, text).await?;
    }
    client.end(ctx, None, None).await
}

/// The next piece of an answer. What it cost is read before anything of it is taken out.
async fn next(client: &mut Client<'_>, ctx: &mut Ctx, upstream: &mut HttpSession) -> Result<Option<Bytes>> {
    let piece = client.unless_gone(upstream.read_response_body()).await?;
    if let (Some(watch), Some(piece)) = (watch_of(ctx), &piece) {
        watch.passes(piece);
    }
    Ok(piece)
}

/// What comes after the part that was read first.
async fn rest(
    client: &mut Client<'_>,
    ctx: &mut Ctx,
    upstream: &mut HttpSession,
    mut text: Text,
) -> Result<()> {
    while let Some(piece) = next(client, ctx, upstream).await? {
        if text.take(&piece).is_err() {
            return impossible(ctx);
        }
        text.send(client, ctx).await?;
    }
    if text.end().is_err() { impossible(ctx) } else { Ok(()) }
}

/// A text on its way through.
struct Text {
    rewriter: Rewriter,
    /// Bytes that came.
    length: usize,
    /// What is ready to be sent.
    out: Vec<u8>,
}

impl Text {
    fn take(&mut self, piece: &Bytes) -> Result<(), Broken> {
        self.length = self.length.saturating_add(piece.len());
        self.rewriter.push(piece, &mut self.out)
    }

    /// Nothing more comes. No text at all is nothing to hide.
    fn end(&self) -> Result<(), Broken> {
        if self.length == 0 { Ok(()) } else { self.rewriter.finish() }
    }

    async fn send(&mut self, client: &mut Client<'_>, ctx: &mut Ctx) -> Result<()> {
        // An empty chunk would be the last one.
        if self.out.is_empty() {
            return Ok(());
        }
        let ready = Bytes::from(std::mem::take(&mut self.out));
        client.piece(ctx, ready).await
    }
}
