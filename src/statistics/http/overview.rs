//! The row of `dashboard/stats/`: everything at a glance, how it went lately, and one organization of the caller's.
//! Law: the organization is one that the gate let the caller know of; of others not even their number is told here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::auth::{Daily, daily};
use super::{ALLOW, WEEK};
use crate::application;
use crate::base::{Id, Slug, Timestamp};
use crate::http::{ApiError, Call, ErrorCode, Fields, FromFields, Json, Query, Row, get};
use crate::organization::{self, census};
use crate::principal::Principal;
use crate::privacy::{self, Status};
use crate::session;
use crate::statistics::calendar::{date, day, day_of, last_24_hours, last_days, month_of, week_of};
use crate::statistics::counters::{Counters, END, LOGIN, LOGIN_FAILED, REGISTERED, percent};
use crate::statistics::present::{Present, present};

pub(super) fn row() -> Row {
    get("/dashboard/stats/", show)
        .allow(ALLOW)
        .strict()
        .about("Everything at a glance, and how the last days went")
}

/// Which days.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DashboardStatsQuery")]
struct ListQuery {
    /// `7d`, `30d` or `90d`: today and the days before; 7d if absent.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    period: Option<i64>,
    /// Also tell of as many days before these.
    #[schemars(skip_serializing_if = "Option::is_none")]
    compare: Option<bool>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let period = fields.optional("period").parsed(|text| match text {
            "7d" => Ok(7),
            "30d" => Ok(30),
            "90d" => Ok(90),
            _ => Err("One of 7d, 30d and 90d."),
        });
        let compare = fields.optional("compare").flag();
        Some(Self { period, compare })
    }
}

/// Everything at a glance.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardStats")]
struct Shown {
    users: Users,
    auth: Auth,
    applications: Applications,
    security: Security,
    gdpr: Deletions,
    trends: Trends,
    charts: Charts,
    /// Of the organization that `X-Org-Slug` names; null without it.
    organization_context: Option<OrganizationContext>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardUsers")]
struct Users {
    /// Without those that are deleted.
    total: i64,
    active: i64,
    locked: i64,
    banned: i64,
    deleted: i64,
    verified_email: i64,
    verified_phone: i64,
    with_2fa: i64,
    /// Accounts that were made, whatever became of them.
    new_today: i64,
    new_this_week: i64,
    new_this_month: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardStatsAuth")]
struct Auth {
    total_logins_today: i64,
    failed_logins_today: i64,
    active_refresh_tokens: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardApplications")]
struct Applications {
    total: usize,
    active: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardStatsSecurity")]
struct Security {
    /// Sessions that were ended, whose last access token would still count if they had not been.
    blacklisted_tokens: i64,
    suspicious_activity_24h: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardStatsDeletions")]
struct Deletions {
    /// Whose people have not confirmed them.
    pending: i64,
    confirmed: i64,
    expiring_7d: i64,
}

/// What the last days brought.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardTrends")]
struct Trends {
    /// The first of these days: `2026-11-14`, in UTC.
    since: String,
    #[serde(flatten)]
    now: Trend,
    /// The same of as many days before; null unless `compare` is true.
    previous: Option<Trend>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardTrend")]
struct Trend {
    registrations: i64,
    /// Registrations in percent of the accounts that there are.
    user_growth: f64,
    logins: i64,
    failed_logins: i64,
    /// Of all tries, in percent.
    login_success_rate: f64,
    security_incidents: i64,
}

impl Trend {
    fn of(counters: &Counters, from: Timestamp, to: Timestamp, accounts: i64) -> Self {
        let count = |kind| counters.sum(from..to, &[kind]);
        let (registrations, logins, failed_logins) = (count(REGISTERED), count(LOGIN), count(LOGIN_FAILED));
        Self {
            registrations,
            user_growth: percent(registrations, accounts),
            logins,
            failed_logins,
            login_success_rate: percent(logins, logins + failed_logins),
            security_incidents: counters.suspicious(from..to),
        }
    }
}

/// One point for each of the days, the oldest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardCharts")]
struct Charts {
    daily_logins: Vec<Daily>,
    user_registrations: Vec<Point>,
    security_events: Vec<Point>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardPoint")]
struct Point {
    date: String,
    count: i64,
}

/// One organization of the caller's.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardOrganizationContext")]
struct OrganizationContext {
    current_org: Named,
    /// What a direct member is there.
    user_role: Option<String>,
    /// How many the caller belongs to.
    accessible_orgs: usize,
    org_specific_stats: OfOrganization,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardNamedOrganization")]
struct Named {
    id: String,
    name: String,
    slug: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardOfOrganization")]
struct OfOrganization {
    members: i64,
    /// What happened there in the last days, by the words of `admin/audit-logs/`.
    by_action: BTreeMap<String, i64>,
}

async fn show(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Shown>, ApiError> {
    let (site, now, db) = (call.person()?.account.site, call.app.now(), &call.app.db);
    let days = query.period.unwrap_or(7);
    let compare = query.compare.unwrap_or(false);
    let (today, week, month) = (day_of(now), week_of(now), month_of(now));
    let from = last_days(now, days).next().unwrap_or(today);
    let before = day(from.days() - days);
    let first = if compare { before } else { from };
    let counters = Counters::days(db, site, first.min(month).min(week)).await?;
    let Present { accounts, live_sessions, .. } = present(db, site, now).await?;
    let trend = |from, to| Trend::of(&counters, from, to, accounts.total);
    Ok(Json(Shown {
        users: Users {
            total: accounts.total,
            active: accounts.active,
            locked: accounts.locked,
            banned: accounts.banned,
            deleted: accounts.deleted,
            verified_email: accounts.verified_email,
            verified_phone: accounts.verified_phone,
            with_2fa: accounts.with_2fa,
            new_today: counters.since(today, &[REGISTERED]),
            new_this_week: counters.since(week, &[REGISTERED]),
            new_this_month: counters.since(month, &[REGISTERED]),
        },
        auth: Auth {
            total_logins_today: counters.since(today, &[LOGIN]),
            failed_logins_today: counters.since(today, &[LOGIN_FAILED]),
            active_refresh_tokens: live_sessions,
        },
        applications: applications(&call, site).await?,
        security: security(&call, site, now).await?,
        gdpr: deletions(&call, site, now).await?,
        trends: Trends {
            since: date(from),
            now: trend(from, END),
            previous: compare.then(|| trend(before, from)),
        },
        charts: Charts {
            daily_logins: daily(&counters, now, days),
            user_registrations: points(now, days, |from, to| counters.sum(from..to, &[REGISTERED])),
            security_events: points(now, days, |from, to| counters.suspicious(from..to)),
        },
        organization_context: organization_context(&call, from).await?,
    }))
}

fn points(now: Timestamp, days: i64, count: impl Fn(Timestamp, Timestamp) -> i64) -> Vec<Point> {
    let point = |from: Timestamp| Point { date: date(from), count: count(from, day(from.days() + 1)) };
    last_days(now, days).map(point).collect()
}

async fn applications(call: &Call, site: Id) -> Result<Applications, ApiError> {
    let all = application::list(&call.app.db, site).await?;
    Ok(Applications { total: all.len(), active: all.iter().filter(|own| own.is_active).count() })
}

async fn security(call: &Call, site: Id, now: Timestamp) -> Result<Security, ApiError> {
    let given_after = now.minus(call.app.config().tokens.access_for);
    let running = session::ended_running(&call.app.db, site, now, given_after).await?;
    let hours = Counters::hours(&call.app.db, site, now).await?;
    Ok(Security {
        blacklisted_tokens: running.iter().map(|(_, count)| count).sum(),
        suspicious_activity_24h: hours.suspicious(last_24_hours(now)..END),
    })
}

async fn deletions(call: &Call, site: Id, now: Timestamp) -> Result<Deletions, ApiError> {
    let census = privacy::census(&call.app.db, site, now.plus(WEEK)).await?;
    let count = |wanted| {
        census.by_status.iter().filter(|(status, _)| *status == wanted).map(|(_, count)| count).sum()
    };
    Ok(Deletions {
        pending: count(Status::ConfirmationSent),
        confirmed: count(Status::Confirmed),
        expiring_7d: census.due,
    })
}

/// The organization that the header names, which the gate has let the caller know of.
async fn organization_context(call: &Call, from: Timestamp) -> Result<Option<OrganizationContext>, ApiError> {
    let is_enabled = call.app.config().organizations.is_enabled;
    let Some(text) = call.head.org_slug.as_deref().filter(|_| is_enabled) else { return Ok(None) };
    let unknown = || ApiError::new(ErrorCode::OrgNotFound).with("slug", text);
    let Principal { account, memberships, .. } = &**call.person()?;
    let (db, slug) = (&call.app.db, Slug::parse(text).map_err(|_| unknown())?);
    let own = organization::by_slug(db, account.site, &slug).await?.ok_or_else(unknown)?;
    let role = memberships.iter().find(|held| held.organization == own.id).map(|held| held.role.to_string());
    let counters = Counters::of_organization(db, account.site, own.id, from).await?;
    Ok(Some(OrganizationContext {
        current_org: Named { id: own.number.to_string(), name: own.name, slug: own.slug.to_string() },
        user_role: role,
        accessible_orgs: memberships.len(),
        org_specific_stats: OfOrganization {
            members: census::size(db, own.id).await?,
            by_action: counters.by_kind(from..END),
        },
    }))
}
