//! How many people have each of some roles as the highest of them.
//!
//! Law: everybody of a site is counted once, on the highest rung that is theirs, and read in pieces: who has a role,
//! and who is a superuser, is a range of one index, however many they are. Nobody is read to be counted: of people
//! there are ids here, and what their accounts are like is for the store to say.

use std::collections::HashSet;

use crate::account;
use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::policy::Code;
use crate::rbac::{self, Granted};
use crate::store::{Db, Error};

/// People who are read at once.
const PIECE: u32 = 500;

/// Those whose highest role one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rung {
    pub people: i64,
    /// Those of them whose accounts can be used at the moment.
    pub usable: i64,
}

/// Who stands on a rung, unless it is on a higher one.
enum Who {
    Superusers,
    Holders(Granted),
}

impl Who {
    /// A piece of them, behind the one that is named.
    async fn read(&self, db: &Db, site: Id, after: Option<Id>) -> Result<Vec<Id>, Error> {
        match self {
            Self::Superusers => account::superusers(db, site, after, PIECE).await,
            Self::Holders(role) => rbac::holders_on(db, site, role, after, PIECE).await,
        }
    }
}

/// The people of a site who were counted so far.
struct Tally<'a> {
    db: &'a Db,
    site: Id,
    now: Timestamp,
    counted: HashSet<Id>,
}

impl Tally<'_> {
    /// Counts those of them who were not counted yet.
    async fn count(&mut self, who: &Who, rung: &mut Rung) -> Result<(), Error> {
        let mut after = None;
        loop {
            let mut ids = who.read(self.db, self.site, after).await?;
            after = ids.last().copied();
            let is_last = u32::try_from(ids.len()).is_ok_and(|read| read < PIECE);
            ids.retain(|id| self.counted.insert(*id));
            rung.people += i64::try_from(ids.len()).unwrap_or(i64::MAX);
            rung.usable += account::usable_among(self.db, &ids, self.now).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// One for each of these roles, the highest first; superusers stand on the first.
pub async fn rungs(app: &App, site: Id, ladder: &[Code]) -> Result<Vec<Rung>, Error> {
    let mut tally = Tally { db: &app.db, site, now: app.now(), counted: HashSet::new() };
    let mut rungs = vec![Rung::default(); ladder.len()];
    if let Some(first) = rungs.first_mut() {
        tally.count(&Who::Superusers, first).await?;
    }
    for (rung, code) in rungs.iter_mut().zip(ladder) {
        tally.count(&Who::Holders(Granted::Role(code.clone())), rung).await?;
    }
    Ok(rungs)
}
