//! Between which numbers of a stream everything stands that was written between two moments.
//!
//! Law: a row may be as far behind one before it as any of its stream ever was, and no further. So whatever comes
//! behind a row that is later than the end by more than that is behind the end too, and what came before one that is
//! as much earlier than the beginning was before the beginning. Such rows are looked for by their numbers: in the
//! index of moments those of the other stream lie between, and there may be any number of them.

use std::time::Duration;

use super::lead::Stretch;
use super::{Search, store};
use crate::audit::store::{first, head};
use crate::audit::stream::Stream;
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source};

/// A gateway of a version that kept no account of how far its clock is behind may still write beside this one.
const SPARE: Duration = Duration::from_mins(5);
/// How many rows one question looks at.
const PROBES: i64 = 31;
/// So few rows are cheaper to look through than another question.
const FEW: i64 = 100;
/// Four do for a hundred million rows; where somebody took rows away there may be no end.
const ROUNDS: usize = 8;

impl Search {
    /// All that is looked for in a stream, as one range.
    pub(super) async fn whole<'a>(
        &'a self,
        mut source: impl Source,
        site: Id,
        stream: Stream,
        codes: &'a [&'a str],
    ) -> Result<Stretch<'a>, Error> {
        let mut stretch = self.within(site, stream, codes);
        if self.since.is_none() && self.until.is_none() {
            return Ok(stretch);
        }
        let Some(first) = first(&mut source, stream).await? else { return Ok(stretch) };
        let rows = (first - 1, head(&mut source, stream).await?.seq + 1);
        // Asked for after the end, so that it holds for every row that is looked at.
        let (set_back,): (i64,) = source.one(store::set_back(stream)).await?;
        let apart = Duration::from_millis(u64::try_from(set_back).unwrap_or(0)) + SPARE;
        if let Some(since) = self.since {
            let (early, _) = around(&mut source, rows, since.minus(apart)).await?;
            stretch.above = early.or(stretch.above);
        }
        if let Some(until) = self.until {
            let (_, late) = around(&mut source, rows, until.plus(apart)).await?;
            stretch.below = [stretch.below, late].into_iter().flatten().min();
        }
        Ok(stretch)
    }
}

/// Between two numbers, the number of a row that was written before a moment and of one that was not, with few rows
/// between them; none where none of them was seen.
async fn around(
    mut source: impl Source,
    (mut low, mut high): (i64, i64),
    moment: Timestamp,
) -> Result<(Option<i64>, Option<i64>), Error> {
    let (mut early, mut late) = (None, None);
    for _ in 0..ROUNDS {
        if high - low <= FEW {
            break;
        }
        let step = (high - low) / (PROBES + 1);
        let from = low;
        let probes = (1..=PROBES).map(|place| from + place * step);
        let rows: Vec<(i64, Timestamp)> = source.all(store::numbered(probes)).await?;
        // Where clocks were set back several rows are the last from before it: this is the last of all.
        let split = rows.iter().rposition(|(_, at)| *at < moment).map_or(0, |last| last + 1);
        let (before, after) = rows.split_at(split);
        if let Some((seq, _)) = before.last() {
            (low, early) = (*seq, Some(*seq));
        }
        if let Some((seq, _)) = after.first() {
            (high, late) = (*seq, Some(*seq));
        }
    }
    Ok((early, late))
}
