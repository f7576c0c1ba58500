//! The fold: reads each stream of the audit trail on from its cursor and adds what it finds to counters.
//!
//! Law: one gateway folds at a time, by a lease, which only saves work: that no entry is counted twice is
//! decided by the cursor, which moves in the transaction that adds and only from where it was found. Entries of a stream
//! have gapless numbers in the order of their commits, so whoever reads one has seen all of it before that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::calendar::{day_of, hour_of};
use super::is_suspicious;
use super::store::{self, Key, Span};
use crate::app::App;
use crate::audit::{self, Row, Sought, Stream};
use crate::base::{Id, Timestamp};
use crate::store::{Db, Error, Tx, lease};

/// How old counters may be.
pub const FOLD_EVERY: Duration = Duration::from_secs(2);
const LEASE: &str = "statistics";
/// Some turns: so soon another gateway goes on where this one died. Clocks that are further apart than that cost
/// only work.
const HELD_FOR: Duration = Duration::from_secs(10);
/// How many entries are counted in one transaction.
const BATCH: u32 = 500;
/// How many transactions a turn has: a gateway that is to stop waits for the end of one.
const BATCHES: u32 = 100;
/// The longest word for how or why; longer is none of ours.
const DETAIL_MAX: usize = 40;
/// How many addresses of a day are counted on a site: who has more of them fills no table.
const MOST_ADDRESSES: usize = 1000;
/// For the last 24 hours, whichever hour it is.
const HOURS_KEPT: Duration = Duration::from_hours(48);
/// For the last seven days.
const ADDRESSES_KEPT: Duration = Duration::from_hours(8 * 24);
/// Twice the longest period that can be asked for: the other one is compared with it.
const ORGANIZATIONS_KEPT: Duration = Duration::from_hours(181 * 24);

/// Counts what is new in the trail, while this gateway is the one that does.
pub struct Folder {
    app: Arc<App>,
    holder: String,
    /// The hour in which it last forgot what nobody asks for any more.
    forgot: Mutex<Option<Timestamp>>,
}

impl Folder {
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        let holder = app.new_id().to_string();
        Self { app, holder, forgot: Mutex::default() }
    }

    /// Counts what is new, if that is for this gateway to do; how many entries.
    pub async fn turn(&self) -> Result<u64, Error> {
        let counted = self.count().await;
        self.app.metrics.statistics_behind(behind(&self.app.db).await?);
        counted
    }

    async fn count(&self) -> Result<u64, Error> {
        let db = &self.app.db;
        let mut counted = 0;
        for _ in 0..BATCHES {
            if behind(db).await? == 0 {
                break;
            }
            if !lease::take(db, LEASE, &self.holder, self.app.now(), HELD_FOR).await? {
                return Ok(counted);
            }
            match fold(db, BATCH).await? {
                // Another one was faster, and goes on.
                0 => return Ok(counted),
                rows => counted += rows,
            }
        }
        if counted > 0 {
            self.forget().await?;
        }
        Ok(counted)
    }

    /// Once an hour.
    async fn forget(&self) -> Result<(), Error> {
        // What is old is old beside what was counted last: the clock of one gateway that is ahead takes nothing away
        // that all others still show.
        let Some(newest) = self.counted_last().await? else { return Ok(()) };
        let now = self.app.now().min(newest);
        let hour = Some(hour_of(now));
        if *self.forgot.lock().unwrap_or_else(PoisonError::into_inner) == hour {
            return Ok(());
        }
        let mut tx = self.app.db.begin().await?;
        store::forget(&mut tx, Span::Hour, now.minus(HOURS_KEPT)).await?;
        store::forget(&mut tx, Span::Organization, now.minus(ORGANIZATIONS_KEPT)).await?;
        store::forget_addresses(&mut tx, now.minus(ADDRESSES_KEPT)).await?;
        tx.commit().await?;
        *self.forgot.lock().unwrap_or_else(PoisonError::into_inner) = hour;
        Ok(())
    }

    /// When the later of the entries was written that were counted last, one of each stream.
    async fn counted_last(&self) -> Result<Option<Timestamp>, Error> {
        let mut newest: Option<Timestamp> = None;
        for stream in Stream::ALL {
            let last = store::cursor(&self.app.db, stream).await?;
            let sought = Sought { stream: Some(stream), ..Sought::default() };
            let row = audit::tail_of(&self.app.db, &sought, last - 1, 1).await?.pop();
            // Where nothing of a stream was counted, or it was pruned, this is one that comes.
            let row = row.filter(|row| row.seq == last);
            newest = newest.into_iter().chain(row.map(|row| row.happened_at)).max();
        }
        Ok(newest)
    }
}

/// How many entries nobody has counted yet.
pub(super) async fn behind(db: &Db) -> Result<i64, Error> {
    let mut rows = 0;
    for stream in Stream::ALL {
        // The cursor first: it never passes what is asked for after it.
        let counted = store::cursor(db, stream).await?;
        rows += (audit::head(db, stream).await?.seq - counted).max(0);
    }
    Ok(rows)
}

/// Counts the next entries of one stream, so many at most; how many. 0 where there are none in any, or somebody else
/// counted them.
pub(super) async fn fold(db: &Db, most: u32) -> Result<u64, Error> {
    for stream in Stream::ALL {
        let counted = fold_stream(db, stream, most).await?;
        if counted > 0 {
            return Ok(counted);
        }
    }
    Ok(0)
}

async fn fold_stream(db: &Db, stream: Stream, most: u32) -> Result<u64, Error> {
    // What is there already does not change, so it is read before the transaction: on SQLite an open one keeps
    // every other writer waiting.
    let from = store::cursor(db, stream).await?;
    let sought = Sought { stream: Some(stream), ..Sought::default() };
    let rows = audit::tail_of(db, &sought, from, most).await?;
    let Some(last) = rows.last() else { return Ok(0) };
    let counted = Counted::of(&rows);
    let mut tx = db.begin().await?;
    if store::advance(&mut tx, from, last.seq).await? == 0 {
        tx.rollback().await?;
        return Ok(0);
    }
    counted.write(&mut tx).await?;
    tx.commit().await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// What is to be added.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    amounts: BTreeMap<Key, i64>,
    /// What is suspicious, by site, day and address.
    addresses: BTreeMap<(Id, Timestamp), BTreeMap<String, i64>>,
}

impl Counted {
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut counted = Self::default();
        for row in rows {
            counted.count(row);
        }
        counted
    }

    fn count(&mut self, row: &Row) {
        let detail = detail_of(row);
        let day = day_of(row.happened_at);
        let mut add = |organization, span, starts_at| {
            let (kind, detail) = (row.code.clone(), detail.to_owned());
            let key = Key { site: row.site, organization, span, starts_at, kind, detail };
            *self.amounts.entry(key).or_default() += 1;
        };
        add(None, Span::Day, day);
        add(None, Span::Hour, hour_of(row.happened_at));
        if row.organization.is_some() {
            add(row.organization, Span::Organization, day);
        }
        if let Some(address) = row.personal["address"].as_str().filter(|_| is_suspicious(&row.code, detail)) {
            let there = self.addresses.entry((row.site, day)).or_default();
            *there.entry(address.to_owned()).or_default() += 1;
        }
    }

    pub(super) async fn write(&self, tx: &mut Tx) -> Result<(), Error> {
        store::add(tx, &self.amounts).await?;
        for ((site, day), all) in &self.addresses {
            let mut known = store::known_addresses(&mut *tx, *site, *day).await?;
            for (address, amount) in all {
                if known.len() >= MOST_ADDRESSES && !known.contains(address) {
                    continue;
                }
                known.insert(address.clone());
                store::add_address(tx, *site, *day, address, *amount).await?;
            }
        }
        Ok(())
    }
}

/// How or why, for what is counted by that too. Nothing where it was erased before it was counted.
fn detail_of(row: &Row) -> &str {
    let field = match row.code.as_str() {
        "login" => "method",
        "login_failed" | "session_ended" | "agent_token_suspended" => "reason",
        "account_locked" => "how",
        _ => return "",
    };
    let word = row.personal["detail"][field].as_str().unwrap_or_default();
    if word.len() <= DETAIL_MAX { word } else { "" }
}
