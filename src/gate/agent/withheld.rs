//! Refusals that leave no row of their own: counted, and written down together.
//!
//! Each route has a row of its own, up to so many of one token and one kind; further routes have one
//! together.
//!
//! Law: whoever holds a token cannot fill the trail by being refused, and nothing that was decided
//! is left out of it. Bounded: beyond that rows are lost and counted, as everywhere in the trail.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::marks::Kind;
use crate::audit::{Actor, Decided};
use crate::base::{Id, Timestamp};

/// Rows that wait at most, over all tokens.
const MOST: usize = 20_000;
/// Routes of one token and one kind of refusal that have rows of their own.
const ROUTES: usize = 16;
/// What stands in the place of a route where there are more.
const OTHERS: &str = "(other routes)";

/// What waits.
#[derive(Debug, Default)]
pub(in crate::gate) struct Withheld(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    of: HashMap<(Id, Kind), Vec<Together>>,
    rows: usize,
}

/// Refusals of one token, one kind and one route, as the first of them was.
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
    /// Counts a refusal of this token on this route; the first one is described.
    pub(super) fn add(&self, token: Id, kind: Kind, route: &str, first: impl FnOnce() -> Together) -> Kept {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { of, rows } = &mut *waiting;
        let known = of.entry((token, kind)).or_default();
        let is_other = known.len() >= ROUTES;
        let is_same =
            |one: &&mut Together| one.decided.route == route || is_other && one.decided.route == OTHERS;
        if let Some(same) = known.iter_mut().find(is_same) {
            let times = &mut same.decided.times;
            *times = Some(times.map_or(2, |times| times.saturating_add(1)));
            return Kept::Here;
        }
        if *rows >= MOST {
            if known.is_empty() {
                of.remove(&(token, kind));
            }
            return Kept::Nowhere;
        }
        let mut first = first();
        if is_other {
            OTHERS.clone_into(&mut first.decided.route);
        }
        known.push(first);
        *rows += 1;
        Kept::Here
    }

    /// Everything that waits.
    pub fn take(&self) -> Vec<Together> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.of.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Delegation, Verdict};

    fn refused(route: &str) -> Together {
        let of = Delegation {
            token: Id::from_u128(7),
            account: Id::from_u128(1),
            application: None,
            organization: None,
        };
        let decided = Decided {
            of,
            agent: "robot".to_owned(),
            verdict: Verdict::Deny,
            route: route.to_owned(),
            method: "GET".to_owned(),
            permission: None,
            reason: None,
            trace: None,
            approval: None,
            cost: None,
            reserved: None,
            times: None,
        };
        Together { actor: Actor::system(), at: Timestamp::from_millis(1), decided }
    }

    #[test]
    fn refusals_on_two_routes_are_told_apart() {
        let withheld = Withheld::default();
        let add = |route: &str| withheld.add(Id::from_u128(7), Kind::Early, route, || refused(route));
        for route in ["a", "b", "a", "b", "b"] {
            assert_eq!(add(route), Kept::Here);
        }
        let mut rows: Vec<_> =
            withheld.take().into_iter().map(|one| (one.decided.route, one.decided.times)).collect();
        rows.sort_unstable();
        assert_eq!(rows, [("a".to_owned(), Some(2)), ("b".to_owned(), Some(3))]);
        assert!(withheld.take().is_empty());
    }

    #[test]
    fn a_token_that_tries_everything_leaves_few_rows_and_nothing_is_uncounted() {
        let withheld = Withheld::default();
        for number in 0..1000 {
            let route = format!("route-{}", number % 100);
            let kept = withheld.add(Id::from_u128(7), Kind::Early, &route, || refused(&route));
            assert_eq!(kept, Kept::Here);
        }
        let rows = withheld.take();
        assert_eq!(rows.len(), ROUTES + 1);
        assert_eq!(rows.iter().map(|one| one.decided.times.unwrap_or(1)).sum::<u64>(), 1000);
        assert_eq!(rows.iter().filter(|one| one.decided.route == OTHERS).count(), 1);
    }
}
