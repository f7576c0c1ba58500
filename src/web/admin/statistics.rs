//! How it goes: people, logins, safety, deletions and organizations, as numbers and as plots.
//!
//! Law: the numbers are the endpoints' and no page counts; each plot stands beside the numbers that it draws.

use maud::{Markup, html};
use serde_json::Value;

use super::STATISTICS;
use super::ask::{Endpoint, Question};
use super::frame::{self, Filter, Looks, Sought};
use super::plot::{self, Days, Series};
use super::value::{self, counts, number, text};
use crate::http::{ApiError, Call, Nothing, Reply, Row, get};

pub(super) const OVERVIEW: Endpoint = Endpoint::get("/dashboard/stats/");
const LOGINS: Endpoint = Endpoint::get("/dashboard/auth/");
const SECURITY: Endpoint = Endpoint::get("/dashboard/security/");
const PRIVACY: Endpoint = Endpoint::get("/dashboard/gdpr/");
const ORGANIZATIONS: Endpoint = Endpoint::get("/dashboard/organizations/");

pub(super) static FILTERS: &[Filter] = &[Filter {
    name: "period",
    label: "Which days",
    kind: Looks::OneOf(&[("7d", "the last 7"), ("30d", "the last 30"), ("90d", "the last 90")]),
}];

pub(super) fn rows() -> Vec<Row> {
    vec![get(STATISTICS, show).page().about("How it goes, as numbers and plots")]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "Statistics", |call, _| Box::pin(whole(call))).await
}

async fn whole(call: &Call) -> Result<Markup, ApiError> {
    let sought = Sought::of(call)?;
    let overview = Question::to(OVERVIEW).query(sought.query()).read(call).await?;
    let logins = Question::to(LOGINS).read(call).await?;
    let security = Question::to(SECURITY).read(call).await?;
    let privacy = Question::to(PRIVACY).read(call).await?;
    let organizations = Question::to(ORGANIZATIONS).read(call).await?;
    Ok(html! {
        h1 { "Statistics" }
        p.meta { "Days are those of UTC, and a week begins on Monday. What happened this second is counted within a few." }
        (people(&overview))
        section aria-labelledby="days" {
            h2 id="days" { "Day by day" }
            (frame::search(STATISTICS, FILTERS, &sought))
            (plots(&overview))
        }
        (of_logins(&logins))
        (of_security(&security))
        (of_privacy(&privacy))
        (of_organizations(&organizations))
    })
}

/// A part of the page: numbers with their names, and what is drawn of others.
fn part(id: &str, title: &str, numbers: &[(&str, &Value)], drawn: &Markup) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            dl.numbers { @for (name, value) in numbers { div { dt { (name) } dd { (value::plain(value)) } } } }
            (drawn)
        }
    }
}

fn people(overview: &Value) -> Markup {
    let (users, auth, security) = (&overview["users"], &overview["auth"], &overview["security"]);
    let numbers = [
        ("accounts", &users["total"]),
        ("may log in", &users["active"]),
        ("locked", &users["locked"]),
        ("banned", &users["banned"]),
        ("with a second factor", &users["with_2fa"]),
        ("new today", &users["new_today"]),
        ("new this week", &users["new_this_week"]),
        ("new this month", &users["new_this_month"]),
        ("open logins", &auth["active_refresh_tokens"]),
        ("suspicious in 24 hours", &security["suspicious_activity_24h"]),
        ("applications", &overview["applications"]["total"]),
    ];
    part("people", "Now", &numbers, &html! {})
}

fn plots(overview: &Value) -> Markup {
    let charts = &overview["charts"];
    let (logins, made, safety) = (
        value::list(charts, "daily_logins"),
        value::list(charts, "user_registrations"),
        value::list(charts, "security_events"),
    );
    let dates = |points: &[Value]| -> Vec<String> {
        points.iter().map(|point| text(point, "date").to_owned()).collect()
    };
    let values = |points: &[Value], name: &str| -> Vec<i64> {
        points.iter().map(|point| number(point, name)).collect()
    };
    let plots = [
        Days {
            id: "logins-by-day",
            title: "Logins",
            dates: dates(logins),
            series: vec![
                Series { name: "let in", class: "good", values: values(logins, "success") },
                Series { name: "turned away", class: "bad", values: values(logins, "failed") },
            ],
        },
        Days {
            id: "made-by-day",
            title: "New accounts",
            dates: dates(made),
            series: vec![Series { name: "new accounts", class: "good", values: values(made, "count") }],
        },
        Days {
            id: "safety-by-day",
            title: "What was suspicious",
            dates: dates(safety),
            series: vec![Series { name: "suspicious", class: "bad", values: values(safety, "count") }],
        },
    ];
    html! { @for plot in &plots { (plot.drawn()) } }
}

fn of_logins(logins: &Value) -> Markup {
    let (stats, tokens) = (&logins["login_stats"], &logins["token_stats"]);
    let reasons = value::list(logins, "top_login_failure_reasons").iter();
    let reasons: Vec<(&str, i64)> = reasons.map(|one| (text(one, "reason"), number(one, "count"))).collect();
    let drawn = html! {
        (plot::ranked("by-method", "How people logged in this month", &without_total(counts(logins, "login_by_method"))))
        (plot::ranked("why-not", "Why logins failed this month", &reasons))
    };
    let numbers = [
        ("let in today", &stats["today"]["success"]),
        ("turned away today", &stats["today"]["failed"]),
        ("let in this week", &stats["this_week"]["success"]),
        ("turned away this week", &stats["this_week"]["failed"]),
        ("let in this month", &stats["this_month"]["success"]),
        ("turned away this month", &stats["this_month"]["failed"]),
        ("refreshed today", &tokens["tokens_refreshed_today"]),
        ("ended today", &tokens["tokens_revoked_today"]),
    ];
    part("logins", "Logins", &numbers, &drawn)
}

/// The sum stands in no plot of its parts.
fn without_total(mut all: Vec<(&str, i64)>) -> Vec<(&str, i64)> {
    all.retain(|(name, _)| *name != "total");
    all
}

fn of_security(security: &Value) -> Markup {
    let (summary, ended) = (&security["audit_summary_24h"], &security["blacklisted_tokens"]);
    let (suspicious, people) = (&security["suspicious_activity"], &security["account_security"]);
    let addresses = value::list(suspicious, "top_ips").iter();
    let addresses: Vec<(&str, i64)> =
        addresses.map(|one| (text(one, "ip_address"), number(one, "count"))).collect();
    let drawn = html! {
        (plot::ranked("by-action", "What happened in 24 hours", &counts(summary, "by_action")))
        (plot::ranked("by-reason", "Why logins were ended", &counts(ended, "by_reason")))
        (plot::ranked("by-address", "From where it was suspicious in 7 days", &addresses))
    };
    let numbers = [
        ("events in 24 hours", &summary["total_events"]),
        ("suspicious in 24 hours", &suspicious["last_24h"]),
        ("suspicious in 7 days", &suspicious["last_7d"]),
        ("ended, and not over by itself", &ended["total_active"]),
        ("second factors, in percent", &people["2fa_adoption_rate"]),
        ("passwords changed today", &people["password_changes_today"]),
    ];
    part("security", "Safety", &numbers, &drawn)
}

fn of_privacy(privacy: &Value) -> Markup {
    let (deletions, exports) = (&privacy["deletion_requests"], &privacy["data_exports"]);
    let drawn = html! {
        (plot::ranked("by-status", "How deletions stand", &counts(deletions, "by_status")))
    };
    let numbers = [
        ("deletions asked for", &deletions["total"]),
        ("due within 7 days", &deletions["grace_period_expiring_7d"]),
        ("exports today", &exports["total_today"]),
        ("exports this month", &exports["total_this_month"]),
    ];
    part("privacy", "Deletions and exports", &numbers, &drawn)
}

/// Nothing where there are none to be had.
fn of_organizations(organizations: &Value) -> Markup {
    if !value::is(organizations, "enabled") {
        return html! {};
    }
    let members = &organizations["members"];
    let largest = value::list(organizations, "top_organizations").iter();
    let largest: Vec<(&str, i64)> = largest.map(|one| (text(one, "slug"), number(one, "members"))).collect();
    let drawn = html! {
        (plot::ranked("by-role", "Members by role", &counts(members, "by_role")))
        (plot::ranked("largest", "The largest", &largest))
    };
    let numbers = [
        ("organizations", &organizations["total_organizations"]),
        ("active", &organizations["active"]),
        ("members", &members["total"]),
        ("members of each, on average", &members["avg_per_org"]),
    ];
    part("organizations", "Organizations", &numbers, &drawn)
}
