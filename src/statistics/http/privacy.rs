//! The row of `dashboard/gdpr/`: accounts that are to go, and what people took with them.
//! Law: numbers only; whose they are is for those who may see deletions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ALLOW, Plain, WEEK};
use crate::http::{ApiError, Call, Json, Query, Row, get};
use crate::privacy;
use crate::statistics::calendar::{day_of, month_of};
use crate::statistics::counters::{Counters, EXPORTED};

pub(super) fn row() -> Row {
    get("/dashboard/gdpr/", show).allow(ALLOW).strict().about("Deletions of accounts, and exports of data")
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardPrivacy")]
struct Shown {
    deletion_requests: Deletions,
    data_exports: Exports,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardDeletions")]
struct Deletions {
    total: i64,
    /// `confirmation_sent`, `confirmed`, `completed` and `cancelled`, where there are any.
    by_status: BTreeMap<String, i64>,
    /// Confirmed, with a grace period that ends within seven days.
    grace_period_expiring_7d: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardExports")]
struct Exports {
    total_today: i64,
    total_this_month: i64,
}

async fn show(call: Call, _: Query<Plain>) -> Result<Json<Shown>, ApiError> {
    let (site, now, db) = (call.person()?.account.site, call.app.now(), &call.app.db);
    let counters = Counters::days(db, site, month_of(now)).await?;
    let census = privacy::census(db, site, now.plus(WEEK)).await?;
    let by_status: BTreeMap<String, i64> =
        census.by_status.iter().map(|(status, count)| (status.name().to_owned(), *count)).collect();
    Ok(Json(Shown {
        deletion_requests: Deletions {
            total: by_status.values().sum(),
            by_status,
            grace_period_expiring_7d: census.due,
        },
        data_exports: Exports {
            total_today: counters.since(day_of(now), &[EXPORTED]),
            total_this_month: counters.since(month_of(now), &[EXPORTED]),
        },
    }))
}
