//! How many there are now, as it was counted a moment ago: of many people it takes long, and those who ask ask often.
//!
//! Law: a count is shown for half a minute and on the day that it was made, then whoever asks next counts anew. It is
//! kept in the store, so all gateways show the same one, and more gateways count no more often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calendar::day_of;
use super::store;
use crate::account::{self, Census};
use crate::base::{Id, Timestamp};
use crate::session;
use crate::store::{Db, Error, again};

/// How old a count may be.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// How many people a site has, and how many of them are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    pub accounts: Census,
    /// Those who could come in if they were not locked.
    pub locked_out: i64,
    /// Those who have logged in today, each once.
    pub seen_today: i64,
    /// Logins that can be refreshed.
    pub live_sessions: i64,
}

/// How many there are on a site.
pub async fn present(db: &Db, site: Id, now: Timestamp) -> Result<Present, Error> {
    if let Some(kept) = kept(db, site, now).await? {
        return Ok(kept);
    }
    let counted = count(db, site, now).await?;
    let text = serde_json::to_string(&counted).map_err(|cause| Error::Broken { cause: cause.to_string() })?;
    again(|| store::keep_census(db, site, now, &text)).await?;
    Ok(counted)
}

/// What was counted lately, if it was.
async fn kept(db: &Db, site: Id, now: Timestamp) -> Result<Option<Present>, Error> {
    let Some((counted_at, text)) = store::kept_census(db, site).await? else { return Ok(None) };
    // One that was kept by a clock far ahead would be shown until this one comes there.
    let is_new = counted_at.plus(KEPT_FOR) > now && now.plus(KEPT_FOR) > counted_at;
    let is_todays = day_of(counted_at) == day_of(now);
    // Another version may have kept other numbers: what cannot be read is counted again.
    Ok(serde_json::from_str(&text).ok().filter(|_| is_new && is_todays))
}

async fn count(db: &Db, site: Id, now: Timestamp) -> Result<Present, Error> {
    Ok(Present {
        accounts: account::census(db, site, now).await?,
        locked_out: account::locked_out(db, site, now).await?,
        seen_today: account::seen_since(db, site, day_of(now)).await?,
        live_sessions: session::live(db, site, now).await?,
    })
}
