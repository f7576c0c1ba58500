//! How many accounts a site has now, and how they stand.
//! Law: each number is a range of one index; whoever is deleted is counted as that and as nothing else.

mod store;

use serde::{Deserialize, Serialize};

use crate::base::{Id, Timestamp};
use crate::store::{Error, Source};

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Without those that are deleted.
    pub total: i64,
    /// Neither banned nor switched off.
    pub active: i64,
    /// By an administrator.
    pub locked: i64,
    pub banned: i64,
    pub deleted: i64,
    pub verified_email: i64,
    pub verified_phone: i64,
    pub with_2fa: i64,
}

/// How many accounts of a site are locked that could be used otherwise.
pub async fn locked_out(mut src: impl Source, site: Id, now: Timestamp) -> Result<i64, Error> {
    store::count(&mut src, store::locked_out(site, now)).await
}

/// How many people of a site have logged in since a moment, each once.
pub async fn seen_since(mut src: impl Source, site: Id, since: Timestamp) -> Result<i64, Error> {
    store::count(&mut src, store::seen_since(site, since)).await
}

/// How many accounts a site has.
pub async fn census(mut src: impl Source, site: Id, now: Timestamp) -> Result<Census, Error> {
    let all = store::count(&mut src, store::of(site)).await?;
    let deleted = store::count(&mut src, store::deleted(site)).await?;
    // Whoever is deleted is switched off: there are few of these, and many of the others.
    let inactive = store::count(&mut src, store::inactive(site)).await?;
    let banned = store::count(&mut src, store::banned(site)).await?;
    let banned_and_active = store::count(&mut src, store::banned_and_active(site)).await?;
    Ok(Census {
        total: (all - deleted).max(0),
        active: (all - inactive - banned_and_active).max(0),
        locked: store::count(&mut src, store::locked(site, now)).await?,
        banned,
        deleted,
        verified_email: store::count(&mut src, store::verified_email(site)).await?,
        verified_phone: store::count(&mut src, store::verified_phone(site)).await?,
        with_2fa: store::count(&mut src, store::with_2fa(site)).await?,
    })
}
