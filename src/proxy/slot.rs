//! What watches over one request from outside: its deadlines and its stop signal.
//!
//! Law: a request that is overdue or stopped is dropped where it stands, whatever it waits for;
//! its guard still records it. The framework itself has no deadline for a head that trickles in.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use ::http::HeaderValue;
use futures::future::BoxFuture;

use super::forward::Until;
use crate::gate::head::Scheme;

tokio::task_local! {
    static SLOT: Arc<Slot>;
}

/// Beats whenever a connection brings something.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One request, as its surroundings see it.
pub(super) struct Slot {
    pub(super) peer: SocketAddr,
    /// Its address as text.
    pub(super) peer_text: HeaderValue,
    pub(super) scheme: Scheme,
    /// Counts the reads of the connection that brought something.
    pulse: Arc<Pulse>,
    head_within: Duration,
    has_head: AtomicBool,
    /// What ends the request before its own end, until the watcher takes it.
    until: Until,
    has_until: AtomicBool,
    /// When the first byte of the request was waited for.
    started: Instant,
    /// Milliseconds after `started`; zero: no deadline now.
    due: AtomicU64,
}

impl Slot {
    /// A request whose first byte must come within `first_within` and whose head within
    /// `head_within` of it.
    pub(super) fn new(
        peer: (SocketAddr, HeaderValue),
        scheme: Scheme,
        pulse: Arc<Pulse>,
        first_within: Duration,
        head_within: Duration,
    ) -> Arc<Self> {
        let (peer, peer_text) = peer;
        let slot = Self {
            peer,
            peer_text,
            scheme,
            pulse,
            head_within,
            has_head: AtomicBool::new(false),
            until: Until::default(),
            has_until: AtomicBool::new(false),
            started: Instant::now(),
            due: AtomicU64::new(0),
        };
        slot.due_within(first_within);
        Arc::new(slot)
    }

    /// The slot of the request that this task works on.
    pub(super) fn current() -> Option<Arc<Self>> {
        SLOT.try_with(Arc::clone).ok()
    }

    /// The head has arrived: from here on the request has its own deadlines.
    pub(super) fn head_arrived(&self) {
        self.has_head.store(true, Ordering::Relaxed);
        self.not_due();
    }

    /// Ends the request when `until` is done.
    pub(super) fn ends_with(&self, until: BoxFuture<'static, ()>) {
        self.until.put(until);
        self.has_until.store(true, Ordering::Release);
    }

    fn take_until(&self) -> Option<BoxFuture<'static, ()>> {
        if !self.has_until.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.until.take()
    }

    /// Ends the request unless told otherwise within `span`.
    pub(super) fn due_within(&self, span: Duration) {
        let at = self.started.elapsed() + span;
        self.due.store(u64::try_from(at.as_millis()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// No deadline until the next one is set.
    pub(super) fn not_due(&self) {
        self.due.store(0, Ordering::Relaxed);
    }

    fn due(&self) -> Option<Instant> {
        match self.due.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.started + Duration::from_millis(millis)),
        }
    }
}

/// Runs `work` as the request of `slot`. `None` when it was cut off.
pub(super) async fn watched<W: Future>(slot: Arc<Slot>, work: W) -> Option<W::Output> {
    let mut work = pin!(SLOT.scope(Arc::clone(&slot), work));
    let mut sleep = pin!(tokio::time::sleep_until(slot.started.into()));
    let mut armed_for = None;
    let before = slot.pulse.count();
    let mut has_begun = false;
    let mut until: Option<BoxFuture<'static, ()>> = None;
    poll_fn(move |cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !has_begun && slot.pulse.count() != before {
            has_begun = true;
            if !slot.has_head.load(Ordering::Relaxed) {
                slot.due_within(slot.head_within);
            }
        }
        until = slot.take_until().or_else(|| until.take());
        if let Some(until) = &mut until
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        let Some(due) = slot.due() else { return Poll::Pending };
        if armed_for != Some(due) {
            armed_for = Some(due);
            sleep.as_mut().reset(due.into());
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_hours(1);

    fn slot(first_within: Duration, head_within: Duration) -> Arc<Slot> {
        let peer = (([127, 0, 0, 1], 1).into(), HeaderValue::from_static("127.0.0.1"));
        Slot::new(peer, Scheme::Http, Arc::default(), first_within, head_within)
    }

    #[tokio::test]
    async fn a_head_that_does_not_arrive_ends_the_request() {
        assert_eq!(watched(slot(SOON, NEVER), std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_head_that_has_begun_must_arrive_whole_in_time() {
        let slot = slot(NEVER, SOON);
        let pulse = Arc::clone(&slot.pulse);
        let work = async {
            pulse.beat();
            std::future::pending::<()>().await;
        };
        assert_eq!(watched(slot, work).await, None);
    }

    #[tokio::test]
    async fn a_request_whose_head_arrived_may_take_its_time() {
        let work = async {
            let slot = Slot::current().unwrap();
            slot.pulse.beat();
            slot.head_arrived();
            tokio::time::sleep(SOON * 3).await;
            7
        };
        assert_eq!(watched(slot(SOON, SOON), work).await, Some(7));
    }

    #[tokio::test]
    async fn a_later_deadline_replaces_the_first() {
        let work = async {
            let slot = Slot::current().unwrap();
            slot.head_arrived();
            slot.due_within(SOON);
            std::future::pending::<()>().await;
        };
        assert_eq!(watched(slot(NEVER, NEVER), work).await, None);
    }

    #[tokio::test]
    async fn what_a_request_depends_on_ends_it() {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let work = async {
            let slot = Slot::current().unwrap();
            slot.head_arrived();
            slot.ends_with(Box::pin(async { drop(stopped.await) }));
            stop.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(watched(slot(NEVER, NEVER), work).await, None);
    }
}
