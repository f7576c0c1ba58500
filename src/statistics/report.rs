//! The days of a site one by one, and how many there are: for the command line, and for whoever shows them in
//! other words.
//! Law: the same counters that our own HTTP shows, with how far they have come.

use serde::Serialize;

use super::calendar::{date, day, day_of, days_between, last_days, month_of};
use super::counters::{Counters, LOCKED, LOGIN, LOGIN_FAILED, REFRESHED, REGISTERED, RESET};
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

/// What was counted of a site today, and this month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Today {
    pub logins: i64,
    pub failed_logins: i64,
    /// Accounts that were locked, by an administrator or by the rule against guessing.
    pub locks: i64,
    /// Forgotten passwords that were replaced.
    pub resets: i64,
    /// Accounts that were made, whatever became of them.
    pub registrations_this_month: i64,
}

/// The day of this moment, in UTC, and its month.
pub async fn today(db: &Db, site: Id, now: Timestamp) -> Result<Today, Error> {
    let (today, month) = (day_of(now), month_of(now));
    let when = month..day(now.days() + 1);
    let kinds = [LOGIN, LOGIN_FAILED, LOCKED, RESET, REGISTERED];
    let counters = Counters::of_kinds(db, site, when, &kinds).await?;
    let count = |kind| counters.since(today, &[kind]);
    Ok(Today {
        logins: count(LOGIN),
        failed_logins: count(LOGIN_FAILED),
        locks: count(LOCKED),
        resets: count(RESET),
        registrations_this_month: counters.since(month, &[REGISTERED]),
    })
}

/// What happened on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// As `2026-11-20`, in UTC.
    pub date: String,
    pub registrations: i64,
    pub logins: i64,
}

/// One point for each day from the first to the last, both among them.
pub async fn points(db: &Db, site: Id, first: Timestamp, last: Timestamp) -> Result<Vec<Point>, Error> {
    let when = day_of(first)..day(last.days() + 1);
    let counters = Counters::of_kinds(db, site, when, &[LOGIN, REGISTERED]).await?;
    let (registered, entered) = (counters.by_start(REGISTERED), counters.by_start(LOGIN));
    let of = |starts_at: Timestamp| Point {
        date: date(starts_at),
        registrations: registered.get(&starts_at).copied().unwrap_or_default(),
        logins: entered.get(&starts_at).copied().unwrap_or_default(),
    };
    Ok(days_between(first, last).map(of).collect())
}
