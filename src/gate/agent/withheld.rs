//! Refusals that leave no row of their own: counted, and written down together.
//!
//! Law: whoever holds a token cannot fill the trail by being refused, and nothing that was decided
//! is left out of it. Bounded: beyond that rows are lost and counted, as everywhere in the trail.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use super::marks::Kind;
use crate::audit::{Actor, Decided};
use crate::base::{Id, Timestamp};

/// Kinds of refusals that wait at most, over all tokens.
const MOST: usize = 20_000;

/// What waits.
#[derive(Debug, Default)]
pub(in crate::gate) struct Withheld(Mutex<HashMap<(Id, Kind), Together>>);

/// Refusals of one token and one kind, as the first of them was.
#[derive(Debug)]
pub(in crate::gate) struct Together {
    pub actor: Actor,
    pub at: Timestamp,
    pub decided: Decided,
}

/// Whether there was room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Here,
    Nowhere,
}

impl Withheld {
    /// Counts a refusal of this token; the first one is described.
    pub(super) fn add(&self, token: Id, kind: Kind, first: impl FnOnce() -> Together) -> Kept {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = waiting.len() >= MOST;
        match waiting.entry((token, kind)) {
            Entry::Occupied(mut known) => {
                let times = &mut known.get_mut().decided.times;
                *times = Some(times.map_or(2, |times| times.saturating_add(1)));
            }
            Entry::Vacant(_) if is_full => return Kept::Nowhere,
            Entry::Vacant(free) => {
                free.insert(first());
            }
        }
        Kept::Here
    }

    /// Everything that waits.
    pub fn take(&self) -> Vec<Together> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_values().collect()
    }
}
