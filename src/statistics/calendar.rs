//! Days, weeks, months and hours as statistics mean them.
//! Law: all in UTC, whatever the clock of whoever asks; a week begins on Monday.

use crate::base::Timestamp;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The first moment of a day, counted from 1970.
pub(super) const fn day(number: i64) -> Timestamp {
    Timestamp::from_millis(number.saturating_mul(DAY))
}

/// The first moment of the day of this moment.
pub(super) const fn day_of(moment: Timestamp) -> Timestamp {
    day(moment.days())
}

/// The first moment of the hour of this moment.
pub(super) const fn hour_of(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().div_euclid(HOUR).saturating_mul(HOUR))
}

/// The first moment of the Monday before or at this moment.
pub(super) const fn week_of(moment: Timestamp) -> Timestamp {
    // The first day of all was a Thursday.
    day(moment.days() - (moment.days() + 3).rem_euclid(7))
}

/// The first moment of the month of this moment.
pub(super) fn month_of(moment: Timestamp) -> Timestamp {
    let date = date(moment);
    let first = date.get(..7).and_then(|month| Timestamp::parse(&format!("{month}-01")));
    first.unwrap_or_else(|| day_of(moment))
}

/// The days from one to another, both among them; the first moment of each.
pub(super) fn days_between(first: Timestamp, last: Timestamp) -> impl Iterator<Item = Timestamp> {
    (first.days()..=last.days()).map(day)
}

/// A stretch of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// The first and the last day of the one that has this moment in it.
    #[must_use]
    pub fn around(self, moment: Timestamp) -> (Timestamp, Timestamp) {
        let before = |next: Timestamp| day(next.days() - 1);
        match self {
            Self::Day => (day_of(moment), day_of(moment)),
            Self::Week => (week_of(moment), day(week_of(moment).days() + 6)),
            Self::Month => {
                let first = month_of(moment);
                // Then it is over, and the next one is not.
                (first, before(month_of(day(first.days() + 31))))
            }
            Self::Year => {
                let first = year_of(moment);
                (first, before(year_of(day(first.days() + 366))))
            }
        }
    }
}

/// The first moment of the year of this moment.
fn year_of(moment: Timestamp) -> Timestamp {
    let first = date(moment).get(..4).and_then(|year| Timestamp::parse(&format!("{year}-01-01")));
    first.unwrap_or_else(|| day_of(moment))
}

/// So many days that end with that of this moment; the first moment of each, the oldest first.
pub(super) fn last_days(moment: Timestamp, count: i64) -> impl Iterator<Item = Timestamp> {
    let last = moment.days();
    (last - count + 1..=last).map(day)
}

/// The current hour and the 23 before it: where the first of them begins.
pub(super) const fn last_24_hours(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(hour_of(moment).as_millis() - 23 * HOUR)
}

/// As `2026-11-20`.
#[must_use]
pub fn date(moment: Timestamp) -> String {
    moment.rfc3339().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a moment")
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_their_first() {
        for (moment, week, month) in [
            ("2026-11-20T10:00:00Z", "2026-11-16", "2026-11-01"),
            ("2026-11-16T00:00:00Z", "2026-11-16", "2026-11-01"),
            ("2026-11-15T23:59:59.999Z", "2026-11-09", "2026-11-01"),
            ("2024-03-01T00:00:00Z", "2024-02-26", "2024-03-01"),
            ("2024-02-29T12:00:00Z", "2024-02-26", "2024-02-01"),
            ("1970-01-01T00:00:00Z", "1969-12-29", "1970-01-01"),
        ] {
            assert_eq!(date(week_of(at(moment))), week, "{moment}");
            assert_eq!(date(month_of(at(moment))), month, "{moment}");
        }
    }

    #[test]
    fn a_period_is_the_one_of_the_calendar_that_has_the_moment_in_it() {
        for (period, moment, first, last) in [
            (Period::Day, "2026-11-20T23:59:59Z", "2026-11-20", "2026-11-20"),
            (Period::Week, "2026-11-20T10:00:00Z", "2026-11-16", "2026-11-22"),
            (Period::Week, "2027-01-01", "2026-12-28", "2027-01-03"),
            (Period::Month, "2025-01-29T10:30:00Z", "2025-01-01", "2025-01-31"),
            (Period::Month, "2024-02-29", "2024-02-01", "2024-02-29"),
            (Period::Month, "2025-02-01", "2025-02-01", "2025-02-28"),
            (Period::Month, "2026-12-31", "2026-12-01", "2026-12-31"),
            (Period::Year, "2024-02-29", "2024-01-01", "2024-12-31"),
            (Period::Year, "2026-12-31T23:59:59Z", "2026-01-01", "2026-12-31"),
        ] {
            let (from, to) = period.around(at(moment));
            assert_eq!((date(from), date(to)), (first.to_owned(), last.to_owned()), "{period:?} {moment}");
        }
        let days: Vec<String> =
            days_between(at("2026-02-27T23:00:00Z"), at("2026-03-01")).map(date).collect();
        assert_eq!(days, ["2026-02-27", "2026-02-28", "2026-03-01"]);
        assert_eq!(days_between(at("2026-03-01"), at("2026-02-28")).count(), 0);
    }

    #[test]
    fn a_day_and_an_hour_begin_at_their_first_moment() {
        let moment = at("2026-11-20T10:59:59.999Z");
        assert_eq!(day_of(moment), at("2026-11-20"));
        assert_eq!(hour_of(moment), at("2026-11-20T10:00:00Z"));
        assert_eq!(last_24_hours(moment), at("2026-11-19T11:00:00Z"));
        let days: Vec<String> = last_days(moment, 3).map(date).collect();
        assert_eq!(days, ["2026-11-18", "2026-11-19", "2026-11-20"]);
        assert_eq!(day_of(at("1969-12-31T23:00:00Z")), at("1969-12-31"), "clocks may be wrong");
    }
}
