//! The body of a request on its way in.
//!
//! Law: a body has a cap, counted at the byte, and must keep moving: a pause that is too long or
//! a rate that is too low ends the request with 408. No more than the cap is ever in memory.

use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora::ErrorType;
use pingora::proxy::Session;

use super::ctx::Incoming;
use crate::gate::body::{BodySource, BodyTrouble};
use crate::gate::head::{BodyLength, RequestHead};

/// How a body must keep moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// The longest pause between two pieces.
    pub(super) pause: Duration,
    /// After this, the average must be at least `rate` bytes a second.
    pub(super) grace: Duration,
    pub(super) rate: u64,
}

impl Incoming {
    /// Takes note of a piece.
    pub(super) fn take(
        &mut self,
        length: usize,
        max: u64,
        pace: Pace,
        now: Instant,
    ) -> Result<(), BodyTrouble> {
        self.bytes += length as u64;
        if self.bytes > max {
            return Err(BodyTrouble::TooLarge);
        }
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        let is_slow = elapsed > pace.grace && self.bytes < elapsed.as_secs() * pace.rate;
        if is_slow { Err(BodyTrouble::TooSlow) } else { Ok(()) }
    }
}

/// The body of the request in `session`.
pub(super) struct Body<'a> {
    pub(super) session: &'a mut Session,
    pub(super) incoming: &'a mut Incoming,
    pub(super) pace: Pace,
    pub(super) length: BodyLength,
    pub(super) expects_continue: bool,
}

#[async_trait]
impl BodySource for Body<'_> {
    async fn read_all(&mut self, max: usize) -> Result<Bytes, BodyTrouble> {
        let max = max as u64;
        if let BodyLength::Known(length) = self.length
            && length > max
        {
            return Err(BodyTrouble::TooLarge);
        }
        if std::mem::take(&mut self.expects_continue) {
            self.session.write_continue_response().await.map_err(|_| BodyTrouble::Broken)?;
        }
        self.incoming.since = Some(Instant::now());
        let whole = self.whole(max).await?;
        self.incoming.is_over = true;
        // Whoever forwards the request must send it from here: it cannot be read again.
        self.incoming.whole = Some(whole.clone());
        Ok(whole)
    }

    fn sent(&self, name: &HeaderName) -> Vec<HeaderValue> {
        self.session.req_header().headers.get_all(name).iter().cloned().collect()
    }

    fn replace(&mut self, whole: Bytes) {
        self.incoming.whole = Some(whole);
    }
}

impl Body<'_> {
    async fn whole(&mut self, max: u64) -> Result<Bytes, BodyTrouble> {
        let Some(first) = self.piece(max).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.piece(max).await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.piece(max).await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    async fn piece(&mut self, max: u64) -> Result<Option<Bytes>, BodyTrouble> {
        let read = tokio::time::timeout(self.pace.pause, self.session.read_request_body());
        let piece = read.await.map_err(|_| BodyTrouble::TooSlow)?;
        let piece = piece.map_err(|error| trouble(error.etype()))?;
        let length = piece.as_ref().map_or(0, Bytes::len);
        self.incoming.take(length, max, self.pace, Instant::now())?;
        Ok(piece)
    }
}

/// What is wrong with a body that cannot be read. The framework counts the same pause as [`Pace`] does,
/// and on a busy machine its clock can be heard first.
fn trouble(error: &ErrorType) -> BodyTrouble {
    match error {
        ErrorType::ReadTimedout => BodyTrouble::TooSlow,
        _ => BodyTrouble::Broken,
    }
}

/// Reads and drops what is left of a small body, so that a refusal reaches a client that is still
/// sending: HTTP/2 clients lose an answer that comes before the end of their own stream.
pub(super) async fn drain(session: &mut Session, head: Option<&RequestHead>) {
    const MOST: usize = 256 * 1024;
    const FOR: Duration = Duration::from_secs(1);
    let is_worth_it = head.is_some_and(|head| match head.body {
        BodyLength::None => false,
        BodyLength::Known(length) => length <= MOST as u64 && !head.expects_continue,
        BodyLength::Unknown => !head.expects_continue,
    });
    if !is_worth_it {
        return;
    }
    let read = async {
        let mut left = MOST;
        while let Ok(Some(piece)) = session.read_request_body().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    // What is not here by then is not worth waiting for.
    drop(tokio::time::timeout(FOR, read).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { pause: Duration::from_secs(10), grace: Duration::from_secs(10), rate: 100 };

    #[test]
    fn the_cap_is_counted_at_the_byte() {
        let mut incoming = Incoming::default();
        let now = Instant::now();
        assert_eq!(incoming.take(10, 10, PACE, now), Ok(()));
        assert_eq!(incoming.take(0, 10, PACE, now), Ok(()));
        assert_eq!(incoming.take(1, 10, PACE, now), Err(BodyTrouble::TooLarge));
    }

    #[test]
    fn a_pause_that_the_framework_noticed_first_is_a_pause_too() {
        assert_eq!(trouble(&ErrorType::ReadTimedout), BodyTrouble::TooSlow);
        assert_eq!(trouble(&ErrorType::ConnectionClosed), BodyTrouble::Broken);
    }

    #[test]
    fn a_body_that_trickles_is_given_up() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut incoming = Incoming { since: Some(start), ..Incoming::default() };
        assert_eq!(incoming.take(1, 9999, PACE, at(9)), Ok(()));
        assert_eq!(incoming.take(1, 9999, PACE, at(11)), Err(BodyTrouble::TooSlow));
        let mut fast = Incoming { since: Some(start), ..Incoming::default() };
        assert_eq!(fast.take(2000, 9999, PACE, at(11)), Ok(()));
    }
}
