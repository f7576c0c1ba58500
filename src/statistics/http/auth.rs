//! The row of `dashboard/auth/`: logins, registrations and tokens.
//! Law: what is told by how or why covers the same month as the numbers beside it, so that they add up.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ALLOW, Plain, with_total};
use crate::base::Timestamp;
use crate::http::{ApiError, Call, Json, Query, Row, get};
use crate::session;
use crate::statistics::calendar::{date, day, day_of, last_days, month_of, week_of};
use crate::statistics::counters::{Counters, END, LOGIN, LOGIN_FAILED, REFRESHED, REGISTERED, top};
use crate::statistics::present::present;

const CHART_DAYS: i64 = 7;
const REASONS: usize = 5;

pub(super) fn row() -> Row {
    get("/dashboard/auth/", show)
        .allow(ALLOW)
        .strict()
        .about("Logins, registrations and tokens of today, this week and this month")
}

/// How logging in goes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardAuth")]
struct Shown {
    login_stats: LoginStats,
    /// Logins of this month by how, with their `total`.
    login_by_method: BTreeMap<String, i64>,
    registration_stats: RegistrationStats,
    token_stats: TokenStats,
    /// Of this month, the most frequent first.
    top_login_failure_reasons: Vec<Reason>,
    charts: Charts,
}

/// In UTC; a week begins on Monday.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardLoginStats")]
struct LoginStats {
    today: Logins,
    this_week: Logins,
    this_month: Logins,
}

/// In UTC; a week begins on Monday.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardRegistrationStats")]
struct RegistrationStats {
    today: i64,
    this_week: i64,
    this_month: i64,
}

/// How many tries there were.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardLogins")]
struct Logins {
    total: i64,
    success: i64,
    failed: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardTokens")]
struct TokenStats {
    /// Logins that can be refreshed now.
    active_refresh_tokens: i64,
    tokens_refreshed_today: i64,
    /// Sessions that were ended before their time and are still kept.
    tokens_revoked_today: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardReason")]
struct Reason {
    /// As lists of login attempts tell it: `wrong_password`, …
    reason: String,
    count: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardAuthCharts")]
struct Charts {
    logins_per_day_7d: Vec<Daily>,
}

/// A day of logins.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardDailyLogins")]
pub(super) struct Daily {
    /// `2026-11-20`, in UTC.
    date: String,
    success: i64,
    failed: i64,
}

/// The last days, each with its logins.
pub(super) fn daily(counters: &Counters, now: Timestamp, days: i64) -> Vec<Daily> {
    let of = |starts_at: Timestamp| {
        let when = || starts_at..day(starts_at.days() + 1);
        let (success, failed) = (counters.sum(when(), &[LOGIN]), counters.sum(when(), &[LOGIN_FAILED]));
        Daily { date: date(starts_at), success, failed }
    };
    last_days(now, days).map(of).collect()
}

async fn show(call: Call, _: Query<Plain>) -> Result<Json<Shown>, ApiError> {
    let (site, now, db) = (call.person()?.account.site, call.app.now(), &call.app.db);
    let (today, week, month) = (day_of(now), week_of(now), month_of(now));
    let first = last_days(now, CHART_DAYS).next().unwrap_or(today).min(month).min(week);
    let counters = Counters::days(db, site, first).await?;
    let logins = |since| {
        let (success, failed) = (counters.since(since, &[LOGIN]), counters.since(since, &[LOGIN_FAILED]));
        Logins { total: success + failed, success, failed }
    };
    let registered = |since| counters.since(since, &[REGISTERED]);
    let reasons = top(counters.by_detail(month..END, LOGIN_FAILED), REASONS);
    Ok(Json(Shown {
        login_stats: LoginStats { today: logins(today), this_week: logins(week), this_month: logins(month) },
        login_by_method: with_total(counters.by_detail(month..END, LOGIN)),
        registration_stats: RegistrationStats {
            today: registered(today),
            this_week: registered(week),
            this_month: registered(month),
        },
        token_stats: TokenStats {
            active_refresh_tokens: present(db, site, now).await?.live_sessions,
            tokens_refreshed_today: counters.since(today, &[REFRESHED]),
            tokens_revoked_today: session::ended_since(db, site, today).await?,
        },
        top_login_failure_reasons: reasons
            .into_iter()
            .map(|(reason, count)| Reason { reason, count })
            .collect(),
        charts: Charts { logins_per_day_7d: daily(&counters, now, CHART_DAYS) },
    }))
}
