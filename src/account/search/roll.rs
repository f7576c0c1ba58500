//! Lists of people that are read by page number, and counted.
//!
//! Law: counting and turning pages both walk from the beginning, so neither goes further than whoever asks says;
//! what is further back is found by asking more narrowly, or by the lists that go on from a place.

use super::{Account, Order, store};
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source};

/// Whether an account can be used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    Yes,
    /// It was switched off or banned.
    No,
    /// By an administrator, for now or until that is lifted.
    Locked,
    /// It waits for its person, who has no password and has never come in.
    Awaited,
}

impl Usable {
    #[must_use]
    pub fn of(own: &Account, now: Timestamp) -> Self {
        if !own.is_active || own.is_banned {
            Self::No
        } else if own.lock(now).is_some() {
            Self::Locked
        } else if own.password_hash.is_none() && own.last_login_at.is_none() {
            Self::Awaited
        } else {
            Self::Yes
        }
    }
}

/// How many of these accounts can be used now: those of whom [`Usable::of`] says yes.
pub async fn usable_among(mut src: impl Source, ids: &[Id], now: Timestamp) -> Result<i64, Error> {
    if ids.is_empty() {
        return Ok(0);
    }
    let (count,): (i64,) = src.one(store::usable_among(ids, now)).await?;
    Ok(count)
}

/// The people of a site who are not gone.
#[derive(Debug, Clone)]
pub struct Roll<'a> {
    pub site: Id,
    pub order: Order,
    pub usable: Option<Usable>,
    /// These are left out.
    pub except: &'a [Id],
    pub now: Timestamp,
}

impl Roll<'_> {
    /// How many there are, or `most` where there are so many or more.
    pub async fn count(&self, src: impl Source, most: u32) -> Result<u32, Error> {
        store::count(src, self, None, most).await
    }

    /// At most `limit` of them behind the first `offset`.
    pub async fn read(&self, mut src: impl Source, offset: u32, limit: u32) -> Result<Vec<Account>, Error> {
        let (mut before, mut read) = (offset, Vec::new());
        let parts = self.order.parts(&super::Search::default());
        for part in parts {
            let wanted = limit.saturating_sub(u32::try_from(read.len()).unwrap_or(u32::MAX));
            if wanted == 0 {
                break;
            }
            let found: Vec<Account> = src.all(store::stretch(self, part, before, wanted)).await?;
            // What was passed over within this part is not passed over in the next one.
            before = if before > 0 && found.is_empty() {
                before.saturating_sub(store::count(&mut src, self, Some(part), before).await?)
            } else {
                0
            };
            read.extend(found);
        }
        Ok(read)
    }
}
