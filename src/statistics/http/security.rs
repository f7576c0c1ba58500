//! The row of `dashboard/security/`: what happened lately, what was ended, and from where attacks come.
//! Law: hours are whole hours: the last 24 are the current one and the 23 before it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ALLOW, Plain};
use crate::base::Timestamp;
use crate::http::{ApiError, Call, Json, Query, Row, get};
use crate::session;
use crate::statistics::calendar::{day_of, last_24_hours, last_days};
use crate::statistics::counters::{Counters, END, PASSWORDS, percent, top};
use crate::statistics::present::present;
use crate::statistics::store;

const DAYS: i64 = 7;
const ADDRESSES: usize = 10;

pub(super) fn row() -> Row {
    get("/dashboard/security/", show)
        .allow(ALLOW)
        .strict()
        .about("What happened lately, what was ended before its time, and what is suspicious")
}

/// How safe it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardSecurity")]
struct Shown {
    audit_summary_24h: Summary,
    blacklisted_tokens: Ended,
    suspicious_activity: Suspicious,
    account_security: People,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardAuditSummary")]
struct Summary {
    total_events: i64,
    /// By the words of `admin/audit-logs/`.
    by_action: BTreeMap<String, i64>,
}

/// Sessions that were ended before their time.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardEndedTokens")]
struct Ended {
    /// Whose last access token would still count if they had not been.
    total_active: i64,
    by_reason: BTreeMap<String, i64>,
    /// Those that are over in any case and wait to be removed.
    expired_pending_cleanup: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardSuspicious")]
struct Suspicious {
    last_24h: i64,
    /// Today and the six days before.
    last_7d: i64,
    /// Of those days, the most frequent first.
    top_ips: Vec<Address>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardAddress")]
struct Address {
    ip_address: String,
    count: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardAccountSecurity")]
struct People {
    locked_accounts: i64,
    banned_accounts: i64,
    /// In percent.
    #[serde(rename = "2fa_adoption_rate")]
    adoption_rate: f64,
    password_changes_today: i64,
}

async fn show(call: Call, _: Query<Plain>) -> Result<Json<Shown>, ApiError> {
    let (site, now, db) = (call.person()?.account.site, call.app.now(), &call.app.db);
    let today = day_of(now);
    let week = last_days(now, DAYS).next().unwrap_or(today);
    let hours = Counters::hours(db, site, now).await?;
    let counters = Counters::days(db, site, week).await?;
    let by_action = hours.by_kind(last_24_hours(now)..END);
    let given_after = now.minus(call.app.config().tokens.access_for);
    let running = session::ended_running(db, site, now, given_after).await?;
    let total_active = running.iter().map(|(_, count)| count).sum();
    let ended = session::ended_since(db, site, Timestamp::from_millis(0)).await?;
    let accounts = present(db, site, now).await?.accounts;
    let addresses = top(store::addresses(db, site, week).await?, ADDRESSES);
    let by_reason =
        running.into_iter().map(|(why, count)| (why.unwrap_or_else(|| "unknown".to_owned()), count));
    Ok(Json(Shown {
        audit_summary_24h: Summary { total_events: by_action.values().sum(), by_action },
        blacklisted_tokens: Ended {
            total_active,
            by_reason: by_reason.collect(),
            expired_pending_cleanup: (ended - total_active).max(0),
        },
        suspicious_activity: Suspicious {
            last_24h: hours.suspicious(last_24_hours(now)..END),
            last_7d: counters.suspicious(week..END),
            top_ips: addresses.into_iter().map(|(ip_address, count)| Address { ip_address, count }).collect(),
        },
        account_security: People {
            locked_accounts: accounts.locked,
            banned_accounts: accounts.banned,
            adoption_rate: percent(accounts.with_2fa, accounts.total),
            password_changes_today: counters.since(today, &PASSWORDS),
        },
    }))
}
