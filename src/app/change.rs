//! `Change`: one transaction with its audit rows and its place in the change counter.
//!
//! Law: what is not committed leaves nothing, neither state nor audit row; what is committed is in
//! force in this process when `commit` returns. Locks are taken in one order, the slices' rows
//! first and the counter row last, so changes do not deadlock in normal use. A transaction that
//! the database gives up all the same is [`Error::Busy`] and is not tried again here: what the
//! caller read and decided before may no longer hold. Who can do all of it anew uses `store::again`.

use std::collections::BTreeSet;

use super::{App, store};
use crate::audit::{self, Actor, Event, Noted, Stream, Subject};
use crate::base::{Id, Number, Timestamp};
use crate::store::{Error, Tx};

/// A change in the making. Dropped without [`Change::commit`], it leaves nothing.
pub struct Change<'a> {
    app: &'a App,
    tx: Tx,
    actor: Actor,
    events: Vec<Noted>,
    now: Timestamp,
    /// A reaction failed: the rest must not be committed without it.
    is_broken: bool,
}

impl<'a> Change<'a> {
    pub(super) async fn begin(app: &'a App, actor: Actor) -> Result<Self, Error> {
        let tx = app.db.begin().await?;
        Ok(Self { app, tx, actor, events: Vec::new(), now: app.now(), is_broken: false })
    }

    pub const fn app(&self) -> &'a App {
        self.app
    }

    /// The transaction to write with.
    pub const fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// The moment of this change, the same for all its rows.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The next number of `series` (a table's name), for wires that show integers.
    pub async fn number(&mut self, series: &'static str) -> Result<Number, Error> {
        self.app.numbers.next(&mut self.tx, series).await
    }

    /// A new id.
    pub fn new_id(&self) -> Id {
        Id::new(self.now, self.app.random.as_ref())
    }

    /// Says what happened: queues its audit row and runs the reactions of other slices to it.
    pub async fn record(&mut self, event: impl Into<Event> + Send) -> Result<(), Error> {
        let event = event.into();
        self.events.push(Noted { actor: self.actor.clone(), at: self.now, event: event.clone() });
        for reaction in &self.app.reactions {
            let reacted = reaction(self, &event).await;
            self.is_broken |= reacted.is_err();
            reacted?;
        }
        Ok(())
    }

    /// Writes down what others did before this change began; nothing reacts to it.
    pub fn note(&mut self, notes: impl IntoIterator<Item = Noted>) {
        self.events.extend(notes);
    }

    /// The same as [`Change::commit`] where everything may have been so already: what nobody said anything about is
    /// not made, and that is no failure.
    pub async fn settle(self) -> Result<(), Error> {
        if self.events.is_empty() && !self.is_broken {
            return self.tx.rollback().await;
        }
        self.commit().await
    }

    /// Makes it so, everywhere. When this returns, this process obeys it.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.is_broken {
            return Err(Error::Broken { cause: "a change whose reaction failed cannot be committed".into() });
        }
        if self.events.is_empty() {
            return Err(Error::Broken { cause: "a change without an event cannot be committed".into() });
        }
        let subjects: BTreeSet<Subject> =
            self.events.iter().flat_map(|noted| noted.event.subjects()).collect();
        let subjects: Vec<Subject> = subjects.into_iter().collect();
        let random = self.app.random.as_ref();
        let seq = audit::append(&mut self.tx, Stream::Changes, &self.events, random).await?;
        store::record(&mut self.tx, seq, &subjects, self.now).await?;
        self.tx.commit().await?;
        self.app.apply(&subjects, seq).await;
        self.app.shared.announce(seq);
        Ok(())
    }
}
