//! How long the steps of a decision take.
//! Law: it is noticed for few requests only, and a request is decided the same whether it is or not.

use std::cell::Cell;
use std::time::Instant;

use crate::metrics::{Metrics, Stage};

/// One request in so many has its steps timed: to time them costs more than some of them do.
const TIMED: u8 = 16;

thread_local! {
    static UNTIMED: Cell<u8> = const { Cell::new(0) };
}

/// How long each step took, where the request is one of those that are timed.
pub(super) struct Laps<'a>(Option<(&'a Metrics, Instant)>);

impl<'a> Laps<'a> {
    pub const fn untimed() -> Self {
        Self(None)
    }

    pub fn begin(metrics: &'a Metrics) -> Self {
        let left = UNTIMED.get();
        UNTIMED.set(left.checked_sub(1).unwrap_or(TIMED - 1));
        Self((left == 0).then(|| (metrics, Instant::now())))
    }

    pub fn end_of(&mut self, stage: Stage) {
        if let Some((metrics, since)) = &mut self.0 {
            let now = Instant::now();
            metrics.stage(stage, now.saturating_duration_since(*since));
            *since = now;
        }
    }

    /// Time passed that was nobody's step.
    pub fn skip(&mut self) {
        if let Some((_, since)) = &mut self.0 {
            *since = Instant::now();
        }
    }
}
