//! How many people have each of some roles as the highest of them.
//!
//! Law: everybody of a site is counted once, on the highest rung that is theirs, and read in pieces: who has a role
//! is a range of one index, however many have it.

use std::collections::HashSet;

use crate::account::{self, Account, Usable};
use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::policy::Code;
use crate::rbac::{self, Granted};
use crate::store::Error;

/// People who are read at once.
const PIECE: u32 = 500;

/// Those whose highest role one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rung {
    pub people: i64,
    /// Those of them whose accounts can be used at the moment.
    pub usable: i64,
}

impl Rung {
    fn count(&mut self, own: &Account, now: Timestamp) {
        self.people += 1;
        self.usable += i64::from(Usable::of(own, now) == Usable::Yes);
    }
}

/// One for each of these roles, the highest first; superusers stand on the first.
pub async fn rungs(app: &App, site: Id, ladder: &[Code]) -> Result<Vec<Rung>, Error> {
    let (db, now) = (&app.db, app.now());
    let mut rungs = vec![Rung::default(); ladder.len()];
    let mut counted: HashSet<Id> = HashSet::new();
    if let Some(first) = rungs.first_mut() {
        for own in account::superusers(db, site, u32::MAX).await? {
            first.count(&own, now);
            counted.insert(own.id);
        }
    }
    for (rung, code) in rungs.iter_mut().zip(ladder) {
        let role = Granted::Role(code.clone());
        let mut after = None;
        loop {
            let ids = rbac::holders_on(db, site, &role, after, PIECE).await?;
            let fresh: Vec<Id> = ids.iter().copied().filter(|id| !counted.contains(id)).collect();
            let people = if fresh.is_empty() { Vec::new() } else { account::by_ids(db, &fresh).await? };
            for own in &people {
                rung.count(own, now);
            }
            counted.extend(fresh);
            after = ids.last().copied();
            if u32::try_from(ids.len()).is_ok_and(|read| read < PIECE) {
                break;
            }
        }
    }
    Ok(rungs)
}
