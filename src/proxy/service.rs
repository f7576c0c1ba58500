//! The phases of a request, as the framework calls them. Each is one call.
//!
//! Law: the head is read once, in the first phase, and everything later works on what came of it.
//! Identity is written in the last phase before the upstream: what is written earlier, a client's
//! `Connection` header could take off again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header;
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::admission::Caps;
use super::client::Client;
use super::connectors::Connectors;
use super::crowd::Crowd;
use super::ctx::Ctx;
use super::decide::{Decide, Decided, Decision, Found};
use super::errand::Errands;
use super::execute::execute;
use super::fault::{blame, refused};
use super::forward::Forward;
use super::incoming::{self, Body, Pace};
use super::record::Recorder;
use super::upstream::{NoneToAsk, Outcome, Use};
use super::{arrive, hygiene, respond};
use crate::gate::head::{BodyLength, Kind};
use crate::gate::request_id::RequestIds;
use crate::gate::{Flaw, Rejection, RequestHead};
use crate::http::Reply;

/// What the framework has to notice a silent server before it is taken for a dripping one.
const DRIP: Duration = Duration::from_secs(2);

/// How much time clients are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a request's head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Between two pieces of a body.
    pub body: Duration,
    /// Bytes a second that a body must bring on average.
    pub body_rate: u64,
    /// For the client to take a piece of the answer.
    pub write: Duration,
}

/// The proxy.
pub struct Edge {
    pub(super) decide: Arc<dyn Decide>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) ids: Arc<RequestIds>,
    pub(super) patience: Patience,
    connectors: Arc<Connectors>,
}

impl Edge {
    pub fn new(
        decide: Arc<dyn Decide>,
        recorder: Arc<Recorder>,
        ids: RequestIds,
        patience: Patience,
        most: Caps,
    ) -> Self {
        Self { decide, recorder, ids: Arc::new(ids), patience, connectors: Arc::new(Connectors::new(most)) }
    }

    /// What sends without a client, by the same decisions and over the same connections.
    pub fn errands(&self) -> Errands {
        Errands {
            decide: Arc::clone(&self.decide),
            recorder: Arc::clone(&self.recorder),
            ids: Arc::clone(&self.ids),
            connectors: Arc::clone(&self.connectors),
        }
    }

    fn pace(&self) -> Pace {
        Pace { pause: self.patience.body, grace: self.patience.body, rate: self.patience.body_rate }
    }

    async fn decide(&self, session: &mut Session, ctx: &mut Ctx) -> Decision {
        let Some(head) = &ctx.head else { return Decision::Reject(Rejection::Internal) };
        let mut body = Body {
            session,
            incoming: &mut ctx.body,
            pace: self.pace(),
            length: head.body,
            expects_continue: head.expects_continue,
        };
        let decided = AssertUnwindSafe(self.decide.decide(head, &mut body)).catch_unwind().await;
        let decided = decided.unwrap_or_else(|_| {
            tracing::error!(id = head.id.as_str(), "a decision panicked");
            Decided::refused(Rejection::Internal)
        });
        ctx.found = decided.found;
        ctx.answer = decided.answer;
        ctx.answer_without = decided.answer_without;
        decided.decision
    }

    async fn refuse(&self, session: &mut Session, ctx: &mut Ctx, rejection: Rejection) -> Result<bool> {
        if !matches!(rejection, Rejection::Malformed(Flaw::Framing)) {
            incoming::drain(session, ctx.head.as_deref()).await;
        }
        respond::refuse(session, ctx, rejection).await?;
        Ok(true)
    }

    async fn answer(&self, session: &mut Session, ctx: &mut Ctx, reply: Reply) -> Result<bool> {
        incoming::drain(session, ctx.head.as_deref()).await;
        respond::answer(session, ctx, reply).await?;
        Ok(true)
    }

    /// Sends the request from here if nothing of it is still to come; else the framework does.
    async fn dispatch(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let is_whole =
            ctx.head.as_ref().is_some_and(|head| head.body == BodyLength::None && head.kind == Kind::Plain);
        let came = ctx.body.whole.take();
        let kept = ctx.forward.as_ref().and_then(|forward| forward.held.as_ref());
        let whole = match kept.map(|kept| kept.body.clone()).or(came) {
            Some(whole) => whole,
            None if is_whole => Bytes::new(),
            None => return Ok(false),
        };
        // Boxed here and below: what most requests never do must not make the future of all of
        // them larger, which is moved once per request.
        let client = Client::of(session, ctx);
        Box::pin(execute(&self.connectors, client, ctx, &whole)).await?;
        Ok(true)
    }

    /// Prepares what was permitted; what the route cannot carry is refused here.
    fn permit(
        session: &mut Session,
        ctx: &mut Ctx,
        forward: Box<Forward>,
        patience: &Patience,
    ) -> Result<(), Rejection> {
        let length = ctx.head.as_ref().map(|head| head.body);
        if matches!(length, Some(BodyLength::Known(length)) if length > forward.body_max) {
            ctx.forward = Some(forward);
            session.set_keepalive(None);
            return Err(Rejection::BodyTooLarge);
        }
        if let Found::Route(route) = &ctx.found {
            match forward.shadow {
                None => route.metrics.allowed(),
                Some(reason) => route.metrics.shadowed(reason),
            }
        }
        if let (Some(slot), Some(until)) = (&ctx.slot, forward.until.take()) {
            slot.ends_with(until.0, until.1);
        }
        // A client that never sends its body is let go here where the framework has no limit: over
        // HTTP/2 it has none, whether the length was announced or not.
        if let (Some(slot), true) = (&ctx.slot, !matches!(length, None | Some(BodyLength::None))) {
            slot.due_within(patience.body * 2);
        }
        ctx.forward = Some(forward);
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(Arc::clone(&self.recorder))
    }

    /// None: the framework's default would build a disabled compressor for every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        arrive::settle(session, &self.patience);
        let rules = self.decide.rules();
        ctx.hardening = rules.hardening;
        match arrive::read_head(session, ctx, &self.ids, &rules) {
            Ok(head) => {
                hygiene::clean_arrival(session.req_header_mut(), &head)?;
                ctx.head = Some(head);
            }
            Err(rejection) => ctx.refusal = Some(rejection),
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if let Some(rejection) = ctx.refusal.take() {
            return Box::pin(self.refuse(session, ctx, rejection)).await;
        }
        match self.decide(session, ctx).await {
            Decision::Forward(forward) => match Self::permit(session, ctx, forward, &self.patience) {
                Ok(()) => self.dispatch(session, ctx).await,
                Err(rejection) => Box::pin(self.refuse(session, ctx, rejection)).await,
            },
            Decision::Answer(reply) => Box::pin(self.answer(session, ctx, reply)).await,
            Decision::Reject(rejection) => Box::pin(self.refuse(session, ctx, rejection)).await,
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        next_peer(ctx, &self.connectors.crowd)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        // Only now, when somebody is there to read it, is the client told to send its body.
        let waits = ctx.head.as_mut().is_some_and(|head| std::mem::take(&mut head.expects_continue));
        if waits { session.write_continue_response().await } else { Ok(()) }
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.attempt.was_sent = true;
        match (&ctx.head, &ctx.forward) {
            (Some(head), Some(forward)) => {
                hygiene::stamp(request, head, forward, ctx.attempt.chosen.as_ref())
            }
            _ => refused(ctx, Rejection::Internal),
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if session.was_upgraded() {
            ctx.body.bytes += body.as_ref().map_or(0, |piece| piece.len() as u64);
            return Ok(());
        }
        if end {
            ctx.body_is_over();
        }
        match &ctx.slot {
            Some(slot) if !end => slot.due_within(self.patience.body * 2),
            _ => awaits_head(ctx),
        }
        let max = ctx.forward.as_ref().map_or(0, |forward| forward.body_max);
        let length = body.as_ref().map_or(0, Bytes::len);
        if length == 0 {
            return Ok(());
        }
        match ctx.body.take(length, max, self.pace(), Instant::now()) {
            Ok(()) => Ok(()),
            Err(trouble) => refused(ctx, trouble.into()),
        }
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if let (Some(chosen), false) = (&ctx.attempt.chosen, answer.status.is_informational()) {
            chosen.hears(&answer.headers);
        }
        hygiene::clean_answer(answer, ctx)?;
        if !answer.status.is_informational() || answer.status.as_u16() == 101 {
            ctx.attempt.head_took = ctx.attempt.started.map(|started| started.elapsed());
            ctx.came_to(Outcome::Answered);
        }
        if ctx.body.is_over {
            awaits_head(ctx);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        // The framework puts everything without a length into chunks.
        if !ctx.knows_chunks() {
            answer.remove_header(&header::TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(forward) = &ctx.forward {
            forward.upstream.metrics().unreachable();
        }
        // Nothing was sent: another server may be asked, whatever the method.
        error.set_retry(ctx.may_try_again() && !session.as_ref().retry_buffer_truncated());
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Ctx,
        is_reused: bool,
    ) -> Box<Error> {
        let can_repeat = session.req_header().method.is_idempotent()
            && !ctx.forward.as_ref().is_none_or(|forward| forward.is_once())
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && ctx.may_try_again()
            && *error.esource() == ErrorSource::Upstream
            && *error.etype() != ErrorType::ReadTimedout;
        if can_repeat {
            error.retry.decide_reuse(is_reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        let failed = |error_code| FailToProxy { error_code, can_reuse_downstream: false };
        let rejection = blame(error, ctx);
        let has_answered = session.response_written().is_some_and(|head| !head.status.is_informational());
        match rejection {
            Some(rejection) if !has_answered => {
                session.set_keepalive(None);
                let code = rejection.status().as_u16();
                // A client that is gone by now is recorded all the same.
                drop(respond::refuse(session, ctx, rejection).await);
                failed(code)
            }
            rejection => {
                ctx.refusal = rejection;
                failed(0)
            }
        }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Ctx,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        if let Some(head) = session.response_written() {
            ctx.ending.status = head.status.as_u16();
        }
        ctx.ending.bytes_out = session.body_bytes_sent() as u64;
        ctx.record();
    }
}

/// Cuts a request whose answer's head drips in for ever: the framework counts only its pauses.
fn awaits_head(ctx: &Ctx) {
    let Some(slot) = &ctx.slot else { return };
    let is_tunnel = ctx.head.as_ref().is_some_and(|head| head.kind == Kind::WebSocket);
    match &ctx.forward {
        Some(forward) if !is_tunnel && ctx.attempt.outcome.is_none() => {
            let pause = forward.timeouts.read.unwrap_or(forward.upstream.plan().timeouts.read);
            // A server that is only silent is told apart by the framework before.
            slot.due_within(pause + DRIP);
        }
        _ => slot.not_due(),
    }
}

/// How to reach the next server to try.
pub(super) fn next_peer(ctx: &mut Ctx, crowd: &Crowd) -> Result<Box<HttpPeer>> {
    let (Some(head), Some(forward)) = (&ctx.head, &ctx.forward) else {
        return refused(ctx, Rejection::Internal);
    };
    // What is tried again has its place already.
    if ctx.attempt.place.is_none() {
        match crowd.place(ctx.slot.as_ref().map(|_| head.client)) {
            Ok(place) => ctx.attempt.place = Some(place),
            Err(full) => return refused(ctx, full),
        }
    }
    match forward.upstream.choose(ctx.attempt.address, ctx.brings()) {
        Ok(chosen) => {
            let usage = if forward.held.is_some() { Use::Alone } else { usage_of(head) };
            let peer = chosen.peer(usage, forward.timeouts);
            ctx.attempt.address = Some(chosen.address());
            ctx.attempt.server = Some(chosen.address_text());
            ctx.attempt.tries = ctx.attempt.tries.or(chosen.tries());
            ctx.attempt.chosen = Some(chosen);
            ctx.attempt.started.get_or_insert_with(Instant::now);
            ctx.attempt.count += 1;
            Ok(peer)
        }
        Err(NoneToAsk::Full) => refused(ctx, Rejection::UpstreamBusy),
        Err(NoneToAsk::BreakerOpen | NoneToAsk::AllDown) => refused(ctx, Rejection::UpstreamUnavailable),
    }
}

/// With whom a request may share the connection to its server.
fn usage_of(head: &RequestHead) -> Use {
    if head.kind == Kind::WebSocket {
        Use::WebSocket
    } else if hygiene::has_unexpected_body(head) {
        Use::Alone
    } else {
        Use::Shared
    }
}
