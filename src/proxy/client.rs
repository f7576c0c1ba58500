//! To whom an answer goes: a client, and whoever keeps a copy of it.
//!
//! Law: both get the same, cleaned and redacted. Where a copy is kept, a client that leaves ends
//! nothing: the answer is read to its end all the same. Where there is no client, nobody can leave.

use std::pin::pin;

use ::http::HeaderMap;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::ctx::Ctx;

/// Where an answer goes.
pub(super) struct Client<'a> {
    /// `None`: nobody waits, or nobody any more.
    session: Option<&'a mut Session>,
    /// What becomes of the request when the client leaves.
    parting: Parting,
    /// How it left.
    lost: Option<Box<Error>>,
}

/// What a client that leaves means for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    End,
    /// A copy of the answer is wanted.
    GoOn,
}

impl<'a> Client<'a> {
    pub(super) fn of(session: &'a mut Session, ctx: &mut Ctx) -> Self {
        let parting = if ctx.copy().is_some() { Parting::GoOn } else { Parting::End };
        Self { session: Some(session), parting, lost: None }
    }

    /// Only a copy is kept.
    pub(super) const fn nobody() -> Self {
        Self { session: None, parting: Parting::GoOn, lost: None }
    }

    /// What the client sent.
    pub(super) fn request(&self) -> Option<&RequestHeader> {
        self.session.as_ref().map(|session| session.req_header())
    }

    pub(super) fn is_http2(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_http2())
    }

    /// Whether a body without a length needs chunks to have an end.
    pub(super) fn takes_chunks(&self, ctx: &Ctx) -> bool {
        self.session.as_ref().is_some_and(|session| !session.is_http2()) && ctx.knows_chunks()
    }

    /// Whether a body without a length has an end that can be told from a cut.
    pub(super) fn sees_cuts(&self, ctx: &Ctx) -> bool {
        self.session.is_none() || ctx.knows_chunks()
    }

    /// What the upstream does, unless the client leaves meanwhile.
    pub(super) async fn unless_gone<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        if let Some(session) = &mut self.session {
            let left = tokio::select! {
                biased;
                done = &mut work => return done.map_err(up),
                left = leaves(session) => left,
            };
            self.lost_by(left)?;
        }
        work.await.map_err(up)
    }

    /// The client is gone.
    ///
    /// # Errors
    /// How, where that ends the request.
    fn lost_by(&mut self, error: Box<Error>) -> Result<()> {
        if self.parting == Parting::End {
            return Err(error);
        }
        if let Some(session) = self.session.take() {
            session.set_keepalive(None);
        }
        self.lost = Some(error);
        Ok(())
    }

    fn wrote(&mut self, done: Result<()>) -> Result<()> {
        done.or_else(|error| self.lost_by(down(error)))
    }

    /// A head that comes before that of the answer. No copy has it.
    pub(super) async fn foretold(&mut self, answer: ResponseHeader) -> Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let done = session.write_response_header(Box::new(answer), false).await;
        self.wrote(done)
    }

    /// The head of the answer; whether a body follows, it does not always say itself.
    pub(super) async fn head(&mut self, ctx: &mut Ctx, answer: ResponseHeader, body: Body) -> Result<()> {
        if let Some(copy) = ctx.copy() {
            copy.begins(answer.status, &answer.headers);
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let done = session.write_response_header(Box::new(answer), body == Body::None).await;
        self.wrote(done)
    }

    /// A piece of the body, which is not the last.
    pub(super) async fn piece(&mut self, ctx: &mut Ctx, piece: Bytes) -> Result<()> {
        if let Some(copy) = ctx.copy() {
            copy.takes(&piece);
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let done = session.write_response_body(Some(piece), false).await;
        self.wrote(done)
    }

    /// The end of the body, and what is left of it.
    pub(super) async fn end(
        &mut self,
        ctx: &mut Ctx,
        piece: Option<Bytes>,
        trailers: Option<HeaderMap>,
    ) -> Result<()> {
        if let Some(copy) = ctx.copy() {
            copy.takes(piece.as_deref().unwrap_or_default());
            copy.ends();
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let done = match trailers {
            None => session.write_response_body(piece, true).await,
            Some(trailers) => match session.write_response_body(piece, false).await {
                Ok(()) => session.write_response_trailers(trailers).await,
                failed => failed,
            },
        };
        self.wrote(done)
    }

    /// The answer had no body, and that was all.
    pub(super) fn bare(ctx: &mut Ctx) {
        if let Some(copy) = ctx.copy() {
            copy.ends();
        }
    }

    /// Everything was said.
    ///
    /// # Errors
    /// How the client left, if it did.
    pub(super) fn done(self) -> Result<()> {
        self.lost.map_or(Ok(()), Err)
    }
}

/// Ends when the client leaves. One that already sends its next request gets this answer and then the
/// end of its connection, whenever that request came: what is after the answer is not read.
async fn leaves(session: &mut Session) -> Box<Error> {
    let said = session.as_downstream_mut().read_body_or_idle(true).await;
    let error = said.err().unwrap_or_else(|| Error::new(ErrorType::ConnectError));
    if *error.etype() == ErrorType::ConnectError {
        session.set_keepalive(None);
        std::future::pending::<()>().await;
    }
    down(error)
}

/// Whether something follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Some,
}

#[expect(clippy::unnecessary_box_returns, reason = "the framework's errors come in boxes")]
pub(super) fn up(mut error: Box<Error>) -> Box<Error> {
    error.as_up();
    error
}

#[expect(clippy::unnecessary_box_returns, reason = "the framework's errors come in boxes")]
fn down(mut error: Box<Error>) -> Box<Error> {
    if *error.esource() == ErrorSource::Unset {
        error.as_down();
    }
    error
}
