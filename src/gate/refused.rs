//! The audit rows of requests that were refused on a route which wants its requests in the trail.
//!
//! Law: every such refusal is in the trail, and whoever is refused cannot fill it. Of one person, on one route and for
//! one reason, so many a minute leave a row of their own, and the rest are counted and leave one together; strangers are
//! one person. Nothing waits for these rows: where the store is away the answer is no already. An agent whose token is
//! known leaves its own row, which says more (`agent::trail`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Gate;
use super::decision::Answer;
use super::dispatch::text;
use super::head::RequestHead;
use super::rejection::Rejection;
use super::route::Route;
use crate::audit::{Actor, SystemEvent, USER_AGENT_MAX, Who};
use crate::base::{Id, Timestamp};
use crate::config::RouteAudit;

/// Rows of their own in a minute, for each person, route and reason.
const ROWS: u32 = 30;
/// How many of these are known at once.
const MOST: usize = 20_000;

/// Who asked, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    pub account: Id,
    pub site: Id,
}

/// What was refused lately.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Kind, Lately>>);

/// Refusals that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    account: Option<Id>,
    route: String,
    reason: &'static str,
}

#[derive(Debug, Default)]
struct Lately {
    minute: i64,
    rows: u32,
    /// Those that left no row of their own.
    together: Option<Refused>,
}

/// A refusal, and how many like it.
#[derive(Debug)]
struct Refused {
    actor: Actor,
    at: Timestamp,
    method: String,
    status: u16,
    times: u64,
}

/// What becomes of a refusal.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Row,
    Counted,
    Nothing,
}

impl Gate {
    /// Notes that a request was refused, if its route asks for that.
    pub(super) fn note_refused(
        &self,
        route: &Route,
        head: &RequestHead,
        answer: &Answer,
        rejection: &Rejection,
    ) {
        if route.rule.audit == RouteAudit::Off || answer.has_row() {
            return;
        }
        let asker = answer.asker();
        let account = asker.map(|asker| asker.account);
        let kind = Kind { account, route: route.rule.name.clone(), reason: rejection.label() };
        let refused = || Refused {
            actor: actor(asker, head),
            at: head.at,
            method: head.method.to_string(),
            status: rejection.status().as_u16(),
            times: 1,
        };
        match self.refusals.add(&kind, head.at, refused) {
            Left::Row => self.tell_refused(kind, refused()),
            Left::Counted => {}
            Left::Nothing => self.app.metrics.audit_row_lost(),
        }
    }

    /// Has the refusals written that left no row of their own.
    pub(super) fn note_refusals(&self) {
        for (kind, refused) in self.refusals.take(self.app.now()) {
            self.tell_refused(kind, refused);
        }
    }

    fn tell_refused(&self, kind: Kind, refused: Refused) {
        let (Kind { account, route, reason }, Refused { actor, at, method, status, times }) = (kind, refused);
        let times = Some(times).filter(|times| *times > 1);
        self.app.note(
            actor,
            at,
            SystemEvent::RequestRefused { route, method, reason, status, times, account },
        );
    }
}

fn actor(asker: Option<Asker>, head: &RequestHead) -> Actor {
    let mut actor = Actor::new(asker.map_or(Who::Anonymous, |asker| Who::Account(asker.account)));
    if let Some(asker) = asker {
        actor.site = asker.site;
    }
    actor.address = Some(head.client);
    // Many of these wait to be written: no more of it than is.
    let cut = |value| text(value).chars().take(USER_AGENT_MAX).collect();
    actor.user_agent = head.user_agent.as_ref().map(cut);
    actor.request_id = Some(head.id.as_str().to_owned());
    actor
}

const fn minute_of(at: Timestamp) -> i64 {
    at.as_millis() / 60_000
}

impl Refusals {
    /// Counts a refusal; the first one that leaves no row of its own is described.
    fn add(&self, kind: &Kind, now: Timestamp, refused: impl FnOnce() -> Refused) -> Left {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(kind) {
            if known.len() >= MOST {
                return Left::Nothing;
            }
            known.insert(kind.clone(), Lately::default());
        }
        let Some(lately) = known.get_mut(kind) else { return Left::Nothing };
        if lately.minute != minute_of(now) {
            (lately.minute, lately.rows) = (minute_of(now), 0);
        }
        if lately.rows < ROWS {
            lately.rows += 1;
            return Left::Row;
        }
        match &mut lately.together {
            Some(together) => together.times = together.times.saturating_add(1),
            None => lately.together = Some(refused()),
        }
        Left::Counted
    }

    /// What was counted, and forgets of whom there was nothing in this minute.
    fn take(&self, now: Timestamp) -> Vec<(Kind, Refused)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = known.iter_mut().filter_map(|(kind, lately)| Some((kind, lately.together.take()?)));
        let taken = waiting.map(|(kind, together)| (kind.clone(), together)).collect();
        known.retain(|_, lately| lately.minute == minute_of(now));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(account: Option<u128>, route: &str) -> Kind {
        let account = account.map(Id::from_u128);
        Kind { account, route: route.to_owned(), reason: "permission" }
    }

    fn refused() -> Refused {
        let actor = Actor::new(Who::Anonymous);
        Refused { actor, at: Timestamp::from_millis(1), method: "GET".to_owned(), status: 403, times: 1 }
    }

    #[test]
    fn who_is_refused_without_end_leaves_few_rows_and_nothing_is_uncounted() {
        let (refusals, at) = (Refusals::default(), Timestamp::from_millis(60_000));
        let own = (0..1000).filter(|_| refusals.add(&kind(None, "a"), at, refused) == Left::Row).count();
        assert_eq!(own, 30);
        assert_eq!(refusals.add(&kind(Some(1), "a"), at, refused), Left::Row, "a stranger hides nobody");
        assert_eq!(refusals.add(&kind(None, "b"), at, refused), Left::Row);
        let told: Vec<_> = refusals.take(at).into_iter().map(|(kind, one)| (kind, one.times)).collect();
        assert_eq!(told, [(kind(None, "a"), 970)]);
        assert_eq!(refusals.add(&kind(None, "a"), at, refused), Left::Counted, "it is the same minute");
        let later = Timestamp::from_millis(120_000);
        assert_eq!(refusals.take(later).len(), 1);
        assert!(refusals.0.lock().unwrap().is_empty(), "nothing is kept of what is over");
        assert_eq!(refusals.add(&kind(None, "a"), later, refused), Left::Row);
    }

    #[test]
    fn what_is_known_of_them_is_bounded() {
        let (refusals, at) = (Refusals::default(), Timestamp::from_millis(60_000));
        for account in 0..MOST as u128 {
            assert_eq!(refusals.add(&kind(Some(account), "a"), at, refused), Left::Row);
        }
        assert_eq!(refusals.add(&kind(Some(MOST as u128), "a"), at, refused), Left::Nothing);
        assert_eq!(refusals.add(&kind(Some(1), "a"), at, refused), Left::Row, "who is known is told on");
    }
}
