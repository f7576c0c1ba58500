//! Being the only replica on a store, where the shared state is this process's memory.
//!
//! Law: two processes that each count alone would both let a full limit pass, so the second one
//! does not start. A lease in the store says who is there. One that a crash left behind ends by
//! itself; one that is being renewed belongs to a living process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::{Clock, Id};
use crate::store::{self, Db, lease};

const NAME: &str = "shared-memory";
/// How long a process that crashed keeps the next one waiting: well below the grace in which a
/// client may repeat a refresh that the crash left unanswered.
const HELD_FOR: Duration = Duration::from_secs(5);
/// How often [`Alone::renew`] must be called.
pub const RENEWED_EVERY: Duration = Duration::from_millis(1_500);
const LOOKED_EVERY: Duration = Duration::from_millis(250);

/// The registration of the only replica.
#[derive(Debug, Clone)]
pub struct Alone {
    db: Db,
    replica: String,
    clock: Arc<dyn Clock>,
}

/// Why a process is not the only replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAlone {
    /// Another process serves from this store.
    Another,
    Store(store::Error),
}

impl fmt::Display for NotAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Another => f.write_str(
                "another gateway is running on this store, and `shared: memory` is for one alone: \
                 stop it, or give both the same Redis with `shared: redis://…`",
            ),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotAlone {}

impl From<store::Error> for NotAlone {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Alone {
    /// Registers this process. Where another is registered, waits until it has proved to be alive
    /// (an error) or its lease has ended (ours now): at most about five seconds.
    pub async fn register(db: &Db, replica: Id, clock: Arc<dyn Clock>) -> Result<Self, NotAlone> {
        let this = Self { db: db.clone(), replica: replica.to_string(), clock };
        let began = Instant::now();
        let end_of_what_we_found = this.clock.now().plus(HELD_FOR);
        while !this.renew().await? {
            let is_renewed = lease::holder(db, NAME, end_of_what_we_found).await?.is_some();
            if is_renewed || began.elapsed() > HELD_FOR + RENEWED_EVERY {
                return Err(NotAlone::Another);
            }
            tokio::time::sleep(LOOKED_EVERY).await;
        }
        Ok(this)
    }

    /// Stays registered; false where another process has taken the place, because this one was
    /// out of touch for too long. It must then be given no traffic.
    pub async fn renew(&self) -> Result<bool, store::Error> {
        lease::take(&self.db, NAME, &self.replica, self.clock.now(), HELD_FOR).await
    }

    /// Makes room for the next process at once.
    pub async fn leave(&self) -> Result<(), store::Error> {
        lease::release(&self.db, NAME, &self.replica).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemRandom, TestClock, Timestamp};
    use crate::store::testing::TestStore;

    fn new_id() -> Id {
        Id::new(Timestamp::from_millis(1), &SystemRandom)
    }

    fn clock() -> Arc<TestClock> {
        Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)))
    }

    crate::on_every_store! {
        async fn a_second_replica_in_memory_is_refused_while_the_first_lives(store: TestStore) {
            let clock = clock();
            let first = Alone::register(store.db(), new_id(), Arc::clone(&clock) as _).await.unwrap();
            let second = Alone::register(store.db(), new_id(), Arc::clone(&clock) as _);
            let beat = async {
                loop {
                    clock.advance(Duration::from_secs(1));
                    assert!(first.renew().await.unwrap());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                outcome = second => assert_eq!(outcome.unwrap_err(), NotAlone::Another),
                () = beat => {}
            }
        }

        async fn a_replica_that_left_makes_room_at_once(store: TestStore) {
            let clock = clock();
            let first = Alone::register(store.db(), new_id(), Arc::clone(&clock) as _).await.unwrap();
            first.leave().await.unwrap();
            Alone::register(store.db(), new_id(), clock).await.unwrap();
            assert!(!first.renew().await.unwrap(), "the place is taken");
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_ends_by_itself() {
        let (store, clock) = (TestStore::sqlite().await, clock());
        Alone::register(store.db(), new_id(), Arc::clone(&clock) as _).await.unwrap();
        let next = Alone::register(store.db(), new_id(), Arc::clone(&clock) as _);
        let time = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            clock.advance(HELD_FOR);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = next => assert!(outcome.is_ok()),
            () = time => {}
        }
    }
}
