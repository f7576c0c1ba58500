//! What the command line shows: the days of a site one by one, and how many there are.
//! Law: the same counters that HTTP shows, with how far they have come.

use serde::Serialize;

use super::calendar::{date, day, last_days};
use super::counters::{Counters, LOGIN, LOGIN_FAILED, REFRESHED, REGISTERED};
use super::fold::behind;
use super::store;
use crate::account::{self, Census};
use crate::audit::Stream;
use crate::base::{Id, Timestamp};
use crate::session;
use crate::store::{Db, Error};

/// A day of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// As `2026-11-20`, in UTC.
    pub date: String,
    pub logins: i64,
    pub failed_logins: i64,
    pub registrations: i64,
    pub refreshes: i64,
    pub suspicious: i64,
}

/// How it stands, and how it came so.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The number of the last change in the audit trail that was counted.
    pub counted_to: i64,
    /// How many entries of the trail are not counted yet, decisions of the data plane among them.
    pub behind: i64,
    pub accounts: Census,
    pub live_sessions: i64,
    /// The oldest first.
    pub days: Vec<Day>,
}

/// The last days of a site, so many.
pub async fn report(db: &Db, site: Id, now: Timestamp, days: u16) -> Result<Report, Error> {
    let all: Vec<Timestamp> = last_days(now, i64::from(days)).collect();
    let first = all.first().copied().unwrap_or(now);
    let counters = Counters::days(db, site, first).await?;
    let counted_to = store::cursor(db, Stream::Changes).await?;
    let behind = behind(db).await?;
    let of = |starts_at: Timestamp| {
        let when = || starts_at..day(starts_at.days() + 1);
        Day {
            date: date(starts_at),
            logins: counters.sum(when(), &[LOGIN]),
            failed_logins: counters.sum(when(), &[LOGIN_FAILED]),
            registrations: counters.sum(when(), &[REGISTERED]),
            refreshes: counters.sum(when(), &[REFRESHED]),
            suspicious: counters.suspicious(when()),
        }
    };
    let days = all.iter().copied().map(of).collect();
    let accounts = account::census(db, site, now).await?;
    let live_sessions = session::live(db, site, now).await?;
    Ok(Report { counted_to, behind, accounts, live_sessions, days })
}
