//! Counters as they are read: of one site or organization, from one moment on.
//! Law: what is added up here was counted; nothing is guessed for what nobody has counted.

use std::collections::BTreeMap;
use std::ops::Range;

use super::calendar;
use super::is_suspicious;
use super::store::{self, Counter, Span};
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source};

pub(super) const LOGIN: &str = "login";
pub(super) const LOGIN_FAILED: &str = "login_failed";
pub(super) const REGISTERED: &str = "account_created";
pub(super) const LOCKED: &str = "account_locked";
pub(super) const RESET: &str = "password_reset_complete";
pub(super) const REFRESHED: &str = "token_refresh";
pub(super) const EXPORTED: &str = "data_exported";
/// What replaces a password.
pub(super) const PASSWORDS: [&str; 2] = ["password_change", RESET];

/// The end of time.
pub(super) const END: Timestamp = Timestamp::from_millis(i64::MAX);

/// What was counted.
pub(super) struct Counters(Vec<Counter>);

impl Counters {
    /// The days of a site from a moment on.
    pub(super) async fn days(src: impl Source, site: Id, since: Timestamp) -> Result<Self, Error> {
        store::amounts(src, (site, None), (Span::Day, since..END), &[]).await.map(Self)
    }

    /// What happened of these kinds on a site between two moments, day by day.
    pub(super) async fn of_kinds(
        src: impl Source,
        site: Id,
        when: Range<Timestamp>,
        kinds: &[&'static str],
    ) -> Result<Self, Error> {
        store::amounts(src, (site, None), (Span::Day, when), kinds).await.map(Self)
    }

    /// The last 24 hours of a site.
    pub(super) async fn hours(src: impl Source, site: Id, now: Timestamp) -> Result<Self, Error> {
        let since = calendar::last_24_hours(now);
        store::amounts(src, (site, None), (Span::Hour, since..END), &[]).await.map(Self)
    }

    /// The days of an organization from a moment on.
    pub(super) async fn of_organization(
        src: impl Source,
        site: Id,
        organization: Id,
        since: Timestamp,
    ) -> Result<Self, Error> {
        store::amounts(src, (site, Some(organization)), (Span::Organization, since..END), &[]).await.map(Self)
    }

    fn within(&self, when: Range<Timestamp>) -> impl Iterator<Item = &Counter> {
        self.0.iter().filter(move |own| when.contains(&own.starts_at))
    }

    /// How much of this there was.
    pub(super) fn sum(&self, when: Range<Timestamp>, kinds: &[&str]) -> i64 {
        let found = self.within(when).filter(|own| kinds.contains(&own.kind.as_str()));
        found.map(|own| own.amount).sum()
    }

    /// How much of this there was since then.
    pub(super) fn since(&self, since: Timestamp, kinds: &[&str]) -> i64 {
        self.sum(since..END, kinds)
    }

    /// How much of what is suspicious.
    pub(super) fn suspicious(&self, when: Range<Timestamp>) -> i64 {
        let found = self.within(when).filter(|own| is_suspicious(&own.kind, &own.detail));
        found.map(|own| own.amount).sum()
    }

    /// How much of what happened, by how or why.
    pub(super) fn by_detail(&self, when: Range<Timestamp>, kind: &str) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for own in self.within(when).filter(|own| own.kind == kind) {
            // What was erased before it was counted has no word left.
            let word = if own.detail.is_empty() { "unknown" } else { &own.detail };
            *all.entry(word.to_owned()).or_default() += own.amount;
        }
        all
    }

    /// How much of this, by when its count begins.
    pub(super) fn by_start(&self, kind: &str) -> BTreeMap<Timestamp, i64> {
        let mut all = BTreeMap::new();
        for own in self.0.iter().filter(|own| own.kind == kind) {
            *all.entry(own.starts_at).or_default() += own.amount;
        }
        all
    }

    /// How much of everything.
    pub(super) fn by_kind(&self, when: Range<Timestamp>) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for own in self.within(when) {
            *all.entry(own.kind.clone()).or_default() += own.amount;
        }
        all
    }
}

/// The largest first, so many at most; of equals the first by name.
pub(super) fn top(all: impl IntoIterator<Item = (String, i64)>, most: usize) -> Vec<(String, i64)> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (name, amount) in all {
        *sums.entry(name).or_default() += amount;
    }
    let mut sorted: Vec<(String, i64)> = sums.into_iter().collect();
    sorted.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    sorted.truncate(most);
    sorted
}

/// `part` of `whole` in percent, with one decimal; 0 of nothing.
pub(super) fn percent(part: i64, whole: i64) -> f64 {
    tenths(part.saturating_mul(100), whole)
}

/// A quotient with one decimal; 0 of nothing.
pub(super) fn tenths(part: i64, whole: i64) -> f64 {
    if whole <= 0 {
        return 0.0;
    }
    let tenths = part.saturating_mul(10).saturating_add(whole / 2).div_euclid(whole);
    f64::from(i32::try_from(tenths).unwrap_or(i32::MAX)) / 10.0
}
