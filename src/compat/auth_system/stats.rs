//! `/stats/overview` and `/stats/users`: how many there are, and what happened.
//!
//! Law: what happened was counted from the trail, in UTC and up to some seconds ago, and what there is up to half a
//! minute ago; nothing is guessed, so a day that has not come has no number.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::NAME;
use super::refusal::WORDING;
use super::words::{USER, ladder, ladder_codes};
use crate::administration::{Rung, rungs};
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Bucket, Call, Fields, FromFields, Json, Query, Row, get};
use crate::statistics::{self, Period, Point, Present, date};

/// Days that are told of at once: of every year.
const MOST_DAYS: i64 = 366;
/// What a period is called that is none of the calendar's.
const CUSTOM: &str = "custom";

pub(super) fn rows() -> Vec<Row> {
    let rows = [
        get("/stats/overview", overview)
            .allow("dashboard.view")
            .about("How many people, administrators and sessions there are, and how today went"),
        get("/stats/users", users)
            .allow("dashboard.view")
            .about("Registrations and logins day by day, and how many people have each role"),
    ];
    rows.into_iter()
        .map(|row| row.limit(Bucket::AuthSystemGeneral).strict().of_profile(NAME, WORDING))
        .collect()
}

/// Everything at a glance. Days and months are those of UTC.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemOverview")]
struct Overview {
    users: Users,
    admins: Admins,
    sessions: Sessions,
    security: Security,
}

/// Accounts. Each that is not gone is active, inactive or locked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemUserCounts")]
struct Users {
    total: i64,
    /// Those who are `pending` are among them.
    active: i64,
    inactive: i64,
    locked: i64,
    /// Accounts that were made, whatever became of them.
    new_this_month: i64,
}

/// People with a role above `user`, each once, with the highest.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemAdminCounts")]
struct Admins {
    total: i64,
    active: i64,
    superadmin: i64,
    admin1: i64,
    admin2: i64,
    admin3: i64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemSessionCounts")]
struct Sessions {
    /// Those that can be refreshed now.
    active: i64,
    /// Those that began today, whatever became of them.
    total_today: i64,
    /// People who logged in today, each once.
    unique_users_today: i64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemSecurityCounts")]
#[expect(clippy::struct_field_names, reason = "that system's words")]
struct Security {
    failed_logins_today: i64,
    /// By an administrator, or by the rule against guessing.
    locked_accounts_today: i64,
    /// Forgotten passwords that were replaced.
    password_resets_today: i64,
}

/// No parameters: those that there are not are refused.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemOverviewQuery")]
struct Plain {}

impl FromFields for Plain {
    fn from_fields(_: &mut Fields) -> Option<Self> {
        Some(Self {})
    }
}

async fn overview(call: Call, _: Query<Plain>) -> Result<Json<Overview>, ApiError> {
    let (site, now, db) = (call.person()?.account.site, call.app.now(), &call.app.db);
    let Present { accounts, locked_out, seen_today, live_sessions } =
        statistics::present(db, site, now).await?;
    let today = statistics::today(db, site, now).await?;
    let rungs = rungs(&call.app, site, &ladder_codes()).await?;
    let of = |word: &str| on_rung(&rungs, word);
    Ok(Json(Overview {
        users: Users {
            total: accounts.total,
            active: (accounts.active - locked_out).max(0),
            inactive: (accounts.total - accounts.active).max(0),
            locked: locked_out,
            new_this_month: today.registrations_this_month,
        },
        admins: Admins {
            total: rungs.iter().map(|rung| rung.people).sum(),
            active: rungs.iter().map(|rung| rung.usable).sum(),
            superadmin: of("superadmin"),
            admin1: of("admin1"),
            admin2: of("admin2"),
            admin3: of("admin3"),
        },
        sessions: Sessions {
            active: live_sessions,
            total_today: today.logins,
            unique_users_today: seen_today,
        },
        security: Security {
            failed_logins_today: today.failed_logins,
            locked_accounts_today: today.locks,
            password_resets_today: today.resets,
        },
    }))
}

/// How many stand on the rung of the ladder that has this name.
fn on_rung(rungs: &[Rung], word: &str) -> i64 {
    let found = ladder().into_iter().zip(rungs).find(|((own, _), _)| *own == word);
    found.map_or(0, |(_, rung)| rung.people)
}

/// Which days.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemStatsQuery")]
struct UsersQuery {
    /// `day`, `week`, `month` or `year`: the one that is now. `month` if neither this nor `start_date` is there.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    period: Option<Period>,
    /// The first day of another period: `2026-11-20`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    start_date: Option<Timestamp>,
    /// Its last day, at most 366 days from the first on: today if absent.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    end_date: Option<Timestamp>,
}

const PERIODS: [(&str, Period); 4] =
    [("day", Period::Day), ("week", Period::Week), ("month", Period::Month), ("year", Period::Year)];

impl FromFields for UsersQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let period = fields.optional("period").parsed(|text| {
            let found = PERIODS.iter().find(|(word, _)| *word == text);
            found.map(|(_, period)| *period).ok_or("One of day, week, month, year.")
        });
        let start_date = fields.optional("start_date").parsed(a_day);
        let end_date = fields.optional("end_date").parsed(a_day);
        if period.is_some() && (start_date.is_some() || end_date.is_some()) {
            fields.problem("period", "Either this, or start_date and end_date.");
        }
        if end_date.is_some() && start_date.is_none() {
            fields.problem("start_date", "With end_date, this must be there.");
        }
        Some(Self { period, start_date, end_date })
    }
}

/// A day and nothing else: no moment, and no year of more than four digits.
fn a_day(text: &str) -> Result<Timestamp, &'static str> {
    let is_day = text.len() == "2026-11-20".len()
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let day = if is_day { Timestamp::parse(text) } else { None };
    day.ok_or("A day: 2026-11-20.")
}

impl UsersQuery {
    /// What the period is called, and its first and its last day.
    fn stretch(&self, now: Timestamp) -> Result<(&'static str, Timestamp, Timestamp), ApiError> {
        let Some(first) = self.start_date else {
            let wanted = self.period.unwrap_or(Period::Month);
            let (first, last) = wanted.around(now);
            let word = PERIODS.iter().find(|(_, period)| *period == wanted).map_or(CUSTOM, |(word, _)| *word);
            return Ok((word, first, last));
        };
        let (today, _) = Period::Day.around(now);
        let last = self.end_date.unwrap_or(today);
        let days = last.days() - first.days() + 1;
        match days {
            ..1 if self.end_date.is_none() => {
                Err(ApiError::invalid("start_date", &["This day has not come.".to_owned()]))
            }
            ..1 => Err(ApiError::invalid("end_date", &["This is before start_date.".to_owned()])),
            1..=MOST_DAYS => Ok((CUSTOM, first, last)),
            _ => Err(ApiError::invalid(
                "end_date",
                &[format!("At most {MOST_DAYS} days are told of at once.")],
            )),
        }
    }
}

/// How people came, in UTC.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemUserStats")]
struct UserStats {
    /// `day`, `week`, `month` or `year`; `custom` where `start_date` was given.
    period: &'static str,
    /// Its first day: `2026-11-01`.
    start_date: String,
    /// Its last day, which may not have come yet.
    end_date: String,
    /// One for each day that has come, the oldest first.
    registrations: Vec<Count>,
    /// One for each day that has come, the oldest first.
    logins: Vec<Count>,
    /// How many people have each role now, each once, with the highest.
    by_role: BTreeMap<&'static str, i64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemDayCount")]
struct Count {
    /// `2026-11-20`, in UTC.
    date: String,
    count: i64,
}

async fn users(call: Call, Query(query): Query<UsersQuery>) -> Result<Json<UserStats>, ApiError> {
    let (site, now, db) = (call.person()?.account.site, call.app.now(), &call.app.db);
    let (period, first, last) = query.stretch(now)?;
    let points = statistics::points(db, site, first, last.min(now)).await?;
    let each = |count: fn(&Point) -> i64| -> Vec<Count> {
        points.iter().map(|point| Count { date: point.date.clone(), count: count(point) }).collect()
    };
    Ok(Json(UserStats {
        period,
        start_date: date(first),
        end_date: date(last),
        registrations: each(|point| point.registrations),
        logins: each(|point| point.logins),
        by_role: by_role(&call, site).await?,
    }))
}

/// How many people of a site have each role; whoever has none of the others is a `user`.
async fn by_role(call: &Call, site: Id) -> Result<BTreeMap<&'static str, i64>, ApiError> {
    let everybody = statistics::present(&call.app.db, site, call.app.now()).await?.accounts.total;
    let rungs = rungs(&call.app, site, &ladder_codes()).await?;
    let above: i64 = rungs.iter().map(|rung| rung.people).sum();
    let mut all: BTreeMap<&'static str, i64> =
        ladder().into_iter().zip(&rungs).map(|((word, _), rung)| (word, rung.people)).collect();
    all.insert(USER, (everybody - above).max(0));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a moment")
    }

    #[test]
    fn a_day_has_one_spelling() {
        assert_eq!(a_day("2026-11-20"), Ok(at("2026-11-20T00:00:00Z")));
        for text in ["2026-11-31", "2026-1-01", "+026-11-20", "2026-11-20T00:00:00Z", "20261120", "soon", ""]
        {
            assert!(a_day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_period_is_the_calendars_or_has_a_beginning_and_an_end() {
        let now = at("2026-11-20T10:00:00Z");
        let none = UsersQuery { period: None, start_date: None, end_date: None };
        assert_eq!(none.stretch(now).unwrap(), ("month", at("2026-11-01"), at("2026-11-30")));
        let year = UsersQuery { period: Some(Period::Year), ..none };
        assert_eq!(year.stretch(now).unwrap(), ("year", at("2026-01-01"), at("2026-12-31")));
        let custom = |from: &str, to: Option<&str>| {
            let query = UsersQuery { period: None, start_date: Some(at(from)), end_date: to.map(at) };
            query.stretch(now).map_err(|refused| refused.code())
        };
        assert_eq!(custom("2026-11-19", None), Ok(("custom", at("2026-11-19"), at("2026-11-20"))));
        assert_eq!(
            custom("2024-01-01", Some("2024-12-31")),
            Ok(("custom", at("2024-01-01"), at("2024-12-31")))
        );
        assert!(custom("2024-01-01", Some("2025-01-01")).is_err(), "367 days");
        assert!(custom("2026-11-21", None).is_err(), "tomorrow");
        assert!(custom("2026-11-20", Some("2026-11-19")).is_err());
    }
}
