//! Stops: how what runs for a session hears that it must end or be decided again.
//!
//! Law: a request that outlives its decision (a stream, a WebSocket, a long download) holds a
//! handle. The end of its session ends it; a change of its account, application, organization or
//! of the catalogue asks its holder to decide again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::audit::Subject;
use crate::base::Id;

/// A power of two, so that sessions spread over the shards by their low bits.
const SHARDS: usize = 64;

/// What a holder is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The session has ended: close.
    Ended,
    /// Something that the decision rested on changed: decide again.
    Changed,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_ended: bool,
    changes: u64,
}

/// The handles of every running request, by session, agent token or approval.
#[derive(Debug, Clone)]
pub struct Stops(Arc<[Mutex<HashMap<Id, Entry>>; SHARDS]>);

#[derive(Debug)]
struct Entry {
    account: Id,
    holders: usize,
    state: watch::Sender<State>,
}

impl Default for Stops {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl Stops {
    /// A handle for something that runs in the name of `session` (or of an agent token, or waits for an
    /// approval), to be held while it runs.
    /// Register first and decide after: a stop in between is then heard.
    pub fn register(&self, session: Id, account: Id) -> StopHandle {
        let mut shard = self.shard(session);
        let entry = shard.entry(session).or_insert_with(|| Entry {
            account,
            holders: 0,
            state: watch::Sender::new(State::default()),
        });
        entry.holders += 1;
        StopHandle {
            session,
            state: entry.state.subscribe(),
            stops: self.clone(),
            seen: *entry.state.borrow(),
        }
    }

    /// Tells the holders that `subject` concerns.
    pub fn stop(&self, subject: Subject) {
        match subject {
            Subject::Session(session) => {
                if let Some(entry) = self.shard(session).get(&session) {
                    entry.state.send_modify(|state| state.is_ended = true);
                }
            }
            // Whether it ended or only may less now is found by deciding again.
            Subject::AgentToken(name) | Subject::ApiKey(name) | Subject::Approval(name) => {
                if let Some(entry) = self.shard(name).get(&name) {
                    entry.state.send_modify(|state| state.changes += 1);
                }
            }
            Subject::Account(account) => self.tell(|entry| entry.account == account),
            // A decision may rest on any of these; which ones did is the holder's to find out.
            Subject::Application(_) | Subject::Organization(_) | Subject::Catalogue => self.tell(|_| true),
            // The application itself is a subject of the same change.
            Subject::Applications | Subject::Keys => {}
        }
    }

    /// Asks every holder to decide again: what happened in between is not known.
    pub fn doubt_all(&self) {
        self.tell(|_| true);
    }

    fn tell(&self, concerns: impl Fn(&Entry) -> bool) {
        for shard in self.0.iter() {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.values().filter(|entry| concerns(entry)) {
                entry.state.send_modify(|state| state.changes += 1);
            }
        }
    }

    fn shard(&self, session: Id) -> MutexGuard<'_, HashMap<Id, Entry>> {
        let index = usize::try_from(session.as_u128() % SHARDS as u128).unwrap_or(0);
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by what runs for a session.
#[derive(Debug)]
pub struct StopHandle {
    session: Id,
    state: watch::Receiver<State>,
    stops: Stops,
    seen: State,
}

impl StopHandle {
    /// Whether the session has ended since this was registered.
    pub fn is_ended(&self) -> bool {
        self.state.borrow().is_ended
    }

    /// Waits for the next signal. After [`Signal::Ended`] it says so again at once.
    pub async fn next(&mut self) -> Signal {
        loop {
            let state = *self.state.borrow_and_update();
            if state.is_ended {
                return Signal::Ended;
            }
            if state.changes != self.seen.changes {
                self.seen = state;
                return Signal::Changed;
            }
            // The sender lives as long as this handle is registered.
            if self.state.changed().await.is_err() {
                return Signal::Ended;
            }
        }
    }
}

impl Drop for StopHandle {
    fn drop(&mut self) {
        let mut shard = self.stops.shard(self.session);
        if let Some(entry) = shard.get_mut(&self.session) {
            entry.holders -= 1;
            if entry.holders == 0 {
                shard.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Id {
        Id::from_u128(number)
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_what_runs_for_it_and_nothing_else() {
        let stops = Stops::default();
        let mut first = stops.register(id(1), id(9));
        let mut second = stops.register(id(1), id(9));
        let other = stops.register(id(2), id(9));
        stops.stop(Subject::Session(id(1)));
        assert_eq!((first.next().await, second.next().await), (Signal::Ended, Signal::Ended));
        assert_eq!(first.next().await, Signal::Ended);
        assert!(!other.is_ended());
    }

    #[tokio::test]
    async fn a_change_of_the_account_asks_for_one_new_decision() {
        let stops = Stops::default();
        let mut mine = stops.register(id(1), id(9));
        let mut other = stops.register(id(2), id(8));
        stops.stop(Subject::Account(id(9)));
        stops.stop(Subject::Account(id(9)));
        assert_eq!(mine.next().await, Signal::Changed);
        let again = tokio::time::timeout(std::time::Duration::from_millis(10), mine.next()).await;
        assert!(again.is_err(), "told once");
        stops.stop(Subject::Catalogue);
        assert_eq!((mine.next().await, other.next().await), (Signal::Changed, Signal::Changed));
    }

    #[tokio::test]
    async fn a_handle_that_comes_later_is_not_told_of_what_was_before() {
        let stops = Stops::default();
        drop(stops.register(id(1), id(9)));
        stops.stop(Subject::Account(id(9)));
        let mut late = stops.register(id(1), id(9));
        let told = tokio::time::timeout(std::time::Duration::from_millis(10), late.next()).await;
        assert!(told.is_err());
    }

    #[test]
    fn nothing_is_kept_of_requests_that_are_over() {
        let stops = Stops::default();
        let handles: Vec<_> = (0..200).map(|n| stops.register(id(n / 2), id(9))).collect();
        drop(handles);
        assert!(stops.0.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
