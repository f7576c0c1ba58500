//! Sessions in lists, for those who watch over a site.
//!
//! Law: each stretch is one range of one index. The id of a session tells when it began, so the order of ids
//! is the order of logins. Which site a session is of is known to its account, and judged by whoever asks.

mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::{Id, Timestamp};
use crate::store::{Error, FromRow, Source};

/// A session as lists show it.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub id: Id,
    pub account: Id,
    pub application: Option<Id>,
    pub device_info: String,
    pub address: Option<String>,
    pub started_at: Timestamp,
    pub refreshed_at: Timestamp,
    pub idle_ends_at: Timestamp,
    pub ends_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<String>,
}

impl Row {
    /// When it ends unless it is refreshed.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.idle_ends_at.min(self.ends_at)
    }
}

/// Where a list has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    ended_at: Option<Timestamp>,
    id: Id,
}

impl Listed {
    /// In a list of all sessions.
    #[must_use]
    pub const fn at(row: &Row) -> Self {
        Self { ended_at: None, id: row.id }
    }

    /// In a list of those that were ended.
    #[must_use]
    pub const fn at_end(row: &Row) -> Self {
        Self { ended_at: row.ended_at, id: row.id }
    }
}

/// Sessions before a place, the latest first: of an account or through an application, if one is named.
pub async fn list(
    mut src: impl Source,
    account: Option<Id>,
    application: Option<Id>,
    before: Option<Listed>,
    most: u32,
) -> Result<Vec<Row>, Error> {
    src.all(store::begun(account, application, before.map(|place| place.id), most)).await
}

/// One session.
pub async fn listed(mut src: impl Source, id: Id) -> Result<Option<Row>, Error> {
    src.optional(store::one(id)).await
}

/// Sessions that were ended, before a place, the latest end first.
pub async fn list_ended(
    mut src: impl Source,
    account: Option<Id>,
    before: Option<Listed>,
    most: u32,
) -> Result<Vec<Row>, Error> {
    let mut found: Vec<Row> = Vec::new();
    let ended_at = before.and_then(|place| place.ended_at);
    if let Some((place, at)) = before.zip(ended_at) {
        found = src.all(store::ended_with(account, at, place.id, most)).await?;
    }
    let wanted = most.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
    if wanted > 0 {
        found.extend(src.all::<Row>(store::ended_before(account, ended_at, wanted)).await?);
    }
    Ok(found)
}

/// How many logins of a site can be refreshed at this moment.
pub async fn live(mut src: impl Source, site: Id, now: Timestamp) -> Result<i64, Error> {
    let (count,): (i64,) = src.one(store::count_live(site, now)).await?;
    Ok(count)
}

/// How many sessions of a site were ended from a moment on and are still kept.
pub async fn ended_since(mut src: impl Source, site: Id, since: Timestamp) -> Result<i64, Error> {
    let (count,): (i64,) = src.one(store::count_ended_since(site, since)).await?;
    Ok(count)
}

/// Those of them whose last access token would still count by itself, by why they were ended. An access token
/// counts from when it was given, so from `given_after` on and no longer.
pub async fn ended_running(
    mut src: impl Source,
    site: Id,
    now: Timestamp,
    given_after: Timestamp,
) -> Result<Vec<(Option<String>, i64)>, Error> {
    src.all(store::count_running(site, now, given_after)).await
}
