//! The row of `dashboard/organizations/`: how many there are, and how large.
//! Law: where there are none to be had, it says so, and nothing else.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ALLOW, Plain};
use crate::http::{ApiError, Call, Json, Query, Row, get};
use crate::organization::census;
use crate::statistics::counters::tenths;

const LARGEST: u32 = 5;

pub(super) fn row() -> Row {
    get("/dashboard/organizations/", show)
        .allow(ALLOW)
        .strict()
        .about("How many organizations and members there are")
}

/// How many there are; without organizations (`enabled` is false) nothing else is told.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "DashboardOrganizations")]
struct Shown {
    enabled: bool,
    #[serde(flatten)]
    told: Option<Told>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardOrganizationCounts")]
struct Told {
    total_organizations: i64,
    active: i64,
    with_sub_orgs: i64,
    members: Members,
    /// The largest first.
    top_organizations: Vec<Large>,
}

/// Of active organizations.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardMembers")]
struct Members {
    total: i64,
    avg_per_org: f64,
    /// By the name of the role.
    by_role: BTreeMap<String, i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DashboardOrganization")]
struct Large {
    name: String,
    slug: String,
    members: i64,
}

async fn show(call: Call, _: Query<Plain>) -> Result<Json<Shown>, ApiError> {
    let site = call.person()?.account.site;
    if !call.app.config().organizations.is_enabled {
        return Ok(Json(Shown::default()));
    }
    let census = census::census(&call.app.db, site, LARGEST).await?;
    let catalogue = call.app.catalogue();
    let roles = &catalogue.definitions().org_roles;
    let mut by_role: BTreeMap<String, i64> = BTreeMap::new();
    for (code, count) in &census.by_role {
        // What nothing defines any more has no name left.
        let name = roles.get(code).map_or_else(|| code.to_string(), |role| role.name.clone());
        *by_role.entry(name).or_default() += count;
    }
    let total = by_role.values().sum();
    let largest = census.largest.into_iter();
    let told = Told {
        total_organizations: census.total,
        active: census.active,
        with_sub_orgs: census.with_below,
        members: Members { total, avg_per_org: tenths(total, census.active), by_role },
        top_organizations: largest
            .map(|own| Large { name: own.name, slug: own.slug.to_string(), members: own.members })
            .collect(),
    };
    Ok(Json(Shown { enabled: true, told: Some(told) }))
}
