//! What watches over one request from outside: its deadlines and its stop signal.
//!
//! Law: a request that is overdue or stopped is dropped where it stands, whatever it waits for;
//! its guard still records it. The framework itself has no deadline for a head that trickles in.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::http::HeaderValue;
use futures::future::BoxFuture;
use tokio::time::Sleep;

use super::tap::Tap;
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
    pub(super) tap: Arc<Tap>,
    head_within: Duration,
    has_head: AtomicBool,
    /// What ends the request before its own end, until the watcher takes it.
    until: Mutex<Option<BoxFuture<'static, ()>>>,
    /// When it is taken; zero: there is nothing to take.
    until_from: AtomicU64,
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
        (pulse, tap): (Arc<Pulse>, Arc<Tap>),
        first_within: Duration,
        head_within: Duration,
    ) -> Arc<Self> {
        let (peer, peer_text) = peer;
        Arc::new(Self {
            peer,
            peer_text,
            scheme,
            pulse,
            tap,
            head_within,
            has_head: AtomicBool::new(false),
            until: Mutex::default(),
            until_from: AtomicU64::new(0),
            started: Instant::now(),
            due: AtomicU64::new(millis(first_within)),
        })
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

    /// Ends the request when `until` is done, which is not asked before `after`.
    pub(super) fn ends_with(&self, after: Duration, until: BoxFuture<'static, ()>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.until_from.store(self.millis_to(after), Ordering::Release);
    }

    fn take_until(&self) -> Option<BoxFuture<'static, ()>> {
        self.until_from.store(0, Ordering::Relaxed);
        self.until.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends the request unless told otherwise within `span`.
    pub(super) fn due_within(&self, span: Duration) {
        self.due.store(self.millis_to(span), Ordering::Relaxed);
    }

    /// No deadline until the next one is set.
    pub(super) fn not_due(&self) {
        self.due.store(0, Ordering::Relaxed);
    }

    /// What is `span` from now, in milliseconds after the start; never zero.
    fn millis_to(&self, span: Duration) -> u64 {
        millis(self.started.elapsed() + span)
    }

    /// The moment that was stored as milliseconds.
    fn moment(&self, millis: &AtomicU64) -> Option<Instant> {
        match millis.load(Ordering::Acquire) {
            0 => None,
            millis => Some(self.started + Duration::from_millis(millis)),
        }
    }
}

/// In milliseconds; never zero, which stands for none.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The timer of a connection, passed from request to request. A moment that is later than the one
/// it is set for leaves it as it is: going off too early costs less than being set for every request.
#[derive(Default)]
pub(super) struct Alarm(Mutex<Option<Pin<Box<Sleep>>>>);

struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// It wakes this task.
    is_set: bool,
}

impl Alarm {
    /// The timer; a new one while another stream of the connection has it.
    fn take(&self, slot: &Slot) -> Timer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let first = || slot.moment(&slot.due).unwrap_or(slot.started);
        Timer {
            sleep: kept.unwrap_or_else(|| Box::pin(tokio::time::sleep_until(first().into()))),
            is_set: false,
        }
    }

    fn give_back(&self, timer: Timer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer.sleep);
    }
}

impl Timer {
    /// Whether `moment` has come; arranges to be woken when it does.
    fn is_past(&mut self, moment: Instant, cx: &mut Context<'_>) -> bool {
        let moment = moment.into();
        if moment < self.sleep.deadline() {
            self.sleep.as_mut().reset(moment);
        } else if self.is_set && !self.sleep.is_elapsed() {
            return false;
        }
        if self.has_gone_off(cx) {
            if self.sleep.deadline() == moment {
                return true;
            }
            self.sleep.as_mut().reset(moment);
            return self.has_gone_off(cx);
        }
        false
    }

    fn has_gone_off(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_set = self.sleep.as_mut().poll(cx).is_pending();
        !self.is_set
    }
}

/// Runs `work` as the request of `slot`. `None` when it was cut off.
pub(super) async fn watched<W: Future>(slot: Arc<Slot>, alarm: &Alarm, work: W) -> Option<W::Output> {
    let mut timer = alarm.take(&slot);
    let mut work = pin!(SLOT.scope(Arc::clone(&slot), work));
    let before = slot.pulse.count();
    let mut has_begun = false;
    let mut until: Option<BoxFuture<'static, ()>> = None;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !has_begun && slot.pulse.count() != before {
            has_begun = true;
            if !slot.has_head.load(Ordering::Relaxed) {
                slot.due_within(slot.head_within);
            }
        }
        if slot.moment(&slot.until_from).is_some_and(|from| timer.is_past(from, cx)) {
            until = slot.take_until();
        }
        let is_over = until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready());
        let is_overdue = slot.moment(&slot.due).is_some_and(|due| timer.is_past(due, cx));
        if is_over || is_overdue { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    alarm.give_back(timer);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const NEVER: Duration = Duration::from_hours(1);

    fn slot(first_within: Duration, head_within: Duration) -> Arc<Slot> {
        let peer = (([127, 0, 0, 1], 1).into(), HeaderValue::from_static("127.0.0.1"));
        Slot::new(peer, Scheme::Http, (Arc::default(), Arc::default()), first_within, head_within)
    }

    async fn cut<W: Future>(slot: Arc<Slot>, work: W) -> Option<W::Output> {
        watched(slot, &Alarm::default(), work).await
    }

    #[tokio::test]
    async fn a_head_that_does_not_arrive_ends_the_request() {
        assert_eq!(cut(slot(SOON, NEVER), std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_head_that_has_begun_must_arrive_whole_in_time() {
        let slot = slot(NEVER, SOON);
        let pulse = Arc::clone(&slot.pulse);
        let work = async {
            pulse.beat();
            std::future::pending::<()>().await;
        };
        assert_eq!(cut(slot, work).await, None);
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
        assert_eq!(cut(slot(SOON, SOON), work).await, Some(7));
    }

    #[tokio::test]
    async fn a_later_deadline_replaces_the_first() {
        let work = async {
            let slot = Slot::current().unwrap();
            slot.head_arrived();
            slot.due_within(SOON);
            std::future::pending::<()>().await;
        };
        assert_eq!(cut(slot(NEVER, NEVER), work).await, None);
    }

    #[tokio::test]
    async fn what_a_request_depends_on_ends_it() {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let work = async {
            let slot = Slot::current().unwrap();
            slot.head_arrived();
            slot.ends_with(Duration::ZERO, Box::pin(async { drop(stopped.await) }));
            stop.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(cut(slot(NEVER, NEVER), work).await, None);
    }

    #[tokio::test]
    async fn a_timer_that_was_set_for_an_earlier_request_cuts_no_later_one() {
        let alarm = Alarm::default();
        let wait = |slot: Arc<Slot>, span| {
            let alarm = &alarm;
            async move { watched(slot, alarm, tokio::time::sleep(span)).await }
        };
        // Leaves the timer armed for a moment in which the next request still runs.
        assert_eq!(wait(slot(SOON, NEVER), SOON / 4).await, Some(()));
        assert_eq!(wait(slot(NEVER, NEVER), SOON * 3).await, Some(()));
        // And one that is armed for much later is set to the deadline that is nearer.
        assert_eq!(wait(slot(SOON, NEVER), NEVER).await, None);
    }
}
