//! The rows of `dashboard/` (contract section 24).
//!
//! Law: who asks sees the own site and no other, and of organizations beyond their sizes only one that `X-Org-Slug`
//! names and that the caller may know of. A parameter that there is not is refused by name.

mod auth;
mod organizations;
mod overview;
mod privacy;
mod security;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::http::{Fields, FromFields, Row};

const ALLOW: &str = "dashboard.view";
/// For what is due soon, and for what was lately.
const WEEK: std::time::Duration = std::time::Duration::from_hours(7 * 24);

/// Endpoints for those who watch over a site.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![overview::row(), auth::row(), security::row(), privacy::row(), organizations::row()]
}

/// No parameters: those that there are not are refused.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DashboardQuery")]
struct Plain {}

impl FromFields for Plain {
    fn from_fields(_: &mut Fields) -> Option<Self> {
        Some(Self {})
    }
}

/// With the sum of all under `total`.
fn with_total(mut all: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let total = all.values().sum();
    all.insert("total".to_owned(), total);
    all
}
