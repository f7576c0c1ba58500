//! What is known about one request while it passes through the phases.
//!
//! Law: whatever ends a request (an answer, a panic, a client that left, a deadline), its context
//! is dropped, and dropping it records it, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue, Method, Version};
use bytes::Bytes;

use super::admission::Place;
use super::decide::Found;
use super::forward::Forward;
use super::record::{Line, Recorder};
use super::slot::Slot;
use super::upstream::{Brings, Chosen, Outcome, Try};
use crate::approval::Copying;
use crate::gate::head::BodyLength;
use crate::gate::request_id::RequestId;
use crate::gate::rules::Hardening;
use crate::gate::{Ended, Rejection, RequestHead};
use crate::metrics::Counted;

/// One request.
pub struct Ctx {
    pub(super) recorder: Arc<Recorder>,
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) started: Instant,
    pub(super) id: Option<RequestId>,
    /// Known even when the head was refused.
    pub(super) method: Method,
    pub(super) head: Option<Box<RequestHead>>,
    pub(super) refusal: Option<Rejection>,
    pub(super) forward: Option<Box<Forward>>,
    pub(super) found: Found,
    /// What every answer to this request carries, and what no upstream's may.
    pub(super) answer: Vec<(HeaderName, HeaderValue)>,
    pub(super) answer_without: &'static [HeaderName],
    pub(super) hardening: Hardening,
    pub(super) attempt: Attempt,
    pub(super) body: Incoming,
    pub(super) ending: Ending,
    _inflight: Counted,
}

/// The state of what is tried at the upstream.
#[derive(Default)]
pub(super) struct Attempt {
    pub(super) chosen: Option<Chosen>,
    /// What an open breaker tries by it, whichever server is asked in the end.
    pub(super) tries: Option<Try>,
    /// Among all that are at upstreams: one for all attempts.
    pub(super) place: Option<Place>,
    pub(super) address: Option<SocketAddr>,
    /// The same as text.
    pub(super) server: Option<Arc<str>>,
    pub(super) started: Option<Instant>,
    pub(super) head_took: Option<Duration>,
    pub(super) outcome: Option<Outcome>,
    /// Its own status, where ours may become another one.
    pub(super) status: Option<u16>,
    /// A server may have seen something of the request.
    pub(super) was_sent: bool,
    pub(super) count: u32,
}

/// What has been read of the request's body.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) bytes: u64,
    pub(super) since: Option<Instant>,
    /// Nothing more of it comes.
    pub(super) is_over: bool,
    /// The whole of it, where a decision needed it.
    pub(super) whole: Option<Bytes>,
}

/// How it ended.
#[derive(Default)]
pub(super) struct Ending {
    pub(super) status: u16,
    pub(super) bytes_out: u64,
    is_recorded: bool,
}

impl Ctx {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        let slot = Slot::current();
        if let Some(slot) = &slot {
            slot.head_arrived();
        }
        let inflight = recorder.metrics().request();
        Self {
            recorder,
            slot,
            started: Instant::now(),
            id: None,
            method: Method::GET,
            head: None,
            refusal: None,
            forward: None,
            found: Found::Nothing,
            answer: Vec::new(),
            answer_without: &[],
            hardening: Hardening::On,
            attempt: Attempt::default(),
            body: Incoming::default(),
            ending: Ending::default(),
            _inflight: inflight,
        }
    }

    pub(super) fn request_id(&self) -> &str {
        self.id.as_ref().map_or("", RequestId::as_str)
    }

    /// Whether the upstream has nothing to wait for but itself.
    pub(super) fn owes_nothing(&self) -> bool {
        self.body.is_over || self.head.as_ref().is_none_or(|head| head.body == BodyLength::None)
    }

    /// What came of the attempt; told at once, for an answer may have no end.
    pub(super) fn came_to(&mut self, outcome: Outcome) {
        let before = self.attempt.outcome.replace(outcome);
        // Who was answered has tried; what breaks later is nobody's try.
        let tries = self.attempt.tries.filter(|_| before.is_none());
        if let Some(forward) = &self.forward {
            forward.upstream.note(outcome, tries);
        }
    }

    /// How much of it there is to send by now.
    pub(super) fn brings(&self) -> Brings {
        if self.owes_nothing() { Brings::All } else { Brings::Part }
    }

    /// Takes note that the end of the body came.
    pub(super) fn body_is_over(&mut self) {
        if !self.owes_nothing()
            && let Some(forward) = &self.forward
        {
            forward.upstream.has_whole(self.attempt.tries);
        }
        self.body.is_over = true;
    }

    /// Whether the client can read a body in chunks (RFC 9112 section 6.1). Where it cannot, the end
    /// of the connection ends the body.
    pub(super) fn knows_chunks(&self) -> bool {
        self.head.as_ref().is_none_or(|head| head.version != Version::HTTP_10)
    }

    /// Whether another attempt at the upstream is left.
    pub(super) fn may_try_again(&self) -> bool {
        let retries = self.forward.as_ref().map_or(0, |forward| forward.upstream.plan().retries);
        self.attempt.count <= retries
    }

    /// Writes the one line about this request, unless it stands already.
    pub(super) fn record(&mut self) {
        if std::mem::replace(&mut self.ending.is_recorded, true) {
            return;
        }
        (self.attempt.chosen, self.attempt.place) = (None, None);
        let now = Instant::now();
        if let (Some(forward), Some(started)) = (&self.forward, self.attempt.started) {
            forward.upstream.metrics().answered(now.saturating_duration_since(started));
            if self.attempt.outcome.is_none() {
                forward.upstream.learnt_nothing(self.attempt.tries, self.brings());
            }
        }
        let ended = self.ended();
        if let Some(watch) = self.forward.as_mut().and_then(|forward| forward.watch.take()) {
            watch.ended(ended);
        }
        self.recorder.record(&Line::of(self, now));
    }
}

impl Ctx {
    /// The copy of the answer, where that is kept.
    pub(super) fn copy(&mut self) -> Option<&mut Copying> {
        self.forward.as_mut()?.watch.as_mut()?.copy()
    }

    /// Tells whoever waits for the end of what was sent without a client, and writes its line.
    pub(super) async fn conclude(mut self) {
        let ended = self.ended();
        if let Some(watch) = self.forward.as_mut().and_then(|forward| forward.watch.take()) {
            watch.concluded(ended).await;
        }
    }

    /// How it ended, for who waits for that.
    fn ended(&self) -> Ended {
        match (self.attempt.started, self.attempt.outcome) {
            (None, _) => Ended::Unsent,
            (Some(_), Some(Outcome::Failed)) if !self.attempt.was_sent => Ended::Unreached,
            (Some(_), None) if !self.attempt.was_sent => Ended::Unsent,
            (Some(_), Some(Outcome::Failed)) => Ended::Failed,
            (Some(_), Some(Outcome::Answered)) => {
                Ended::Answered(self.attempt.status.unwrap_or(self.ending.status))
            }
            (Some(_), None) => Ended::Left,
        }
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        self.record();
    }
}
