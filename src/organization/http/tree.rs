//! The tree of an organization, as `organizations/tree/` shows it.
//!
//! Law: it begins with the highest organization on the way up that the caller belongs to; what stands above or
//! beside that one is nobody's business.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{role_there, there};
use crate::base::Id;
use crate::http::{ApiError, Call, Json, Nothing};
use crate::organization::{self, Organization, Refused, directory, store};

/// How many organizations a tree shows.
const MOST_SHOWN: u32 = 1_000;

/// An organization and those below it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrganizationTree")]
pub(super) struct Branch {
    id: String,
    name: String,
    slug: String,
    depth: u32,
    is_root: bool,
    member_count: i64,
    children: Vec<Branch>,
}

pub(super) async fn tree(call: Call, _: Nothing) -> Result<Json<Branch>, ApiError> {
    let own = there(&call).await?;
    role_there(&call, own.id)?;
    let top = highest(&call, own).await?;
    let mut levels = vec![vec![top]];
    let mut left = MOST_SHOWN;
    while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
        let parents: Vec<Id> = level.iter().map(|own| own.id).collect();
        let below = store::below(&call.app.db, &parents, left).await?;
        left = left.saturating_sub(u32::try_from(below.len()).unwrap_or(u32::MAX));
        levels.push(below);
    }
    let ids: Vec<Id> = levels.iter().flatten().map(|own| own.id).collect();
    let counts: HashMap<Id, i64> = store::count_members_of(&call.app.db, &ids).await?.into_iter().collect();
    let mut children: HashMap<Option<Id>, Vec<Branch>> = HashMap::new();
    // From below: whatever belongs under something is there before it.
    for own in levels.into_iter().rev().flatten() {
        let branch = Branch {
            id: own.number.to_string(),
            name: own.name,
            slug: own.slug.to_string(),
            depth: own.depth,
            is_root: own.depth == 0,
            member_count: counts.get(&own.id).copied().unwrap_or_default(),
            children: children.remove(&Some(own.id)).unwrap_or_default(),
        };
        children.entry(own.parent).or_default().push(branch);
    }
    let top = children.into_values().flatten().next();
    top.map(Json).ok_or_else(|| Refused::Gone.into())
}

/// The highest organization on the way up that the caller belongs to.
async fn highest(call: &Call, own: Organization) -> Result<Organization, ApiError> {
    if !call.app.config().organizations.inherit_roles {
        return Ok(own);
    }
    let memberships = &call.person()?.memberships;
    let place = directory::read(&call.app.db, own.site, &own.slug).await?.ok_or(Refused::Gone)?;
    let is_mine = |id: &&Id| memberships.iter().any(|held| held.organization == **id);
    match place.above.iter().rev().find(is_mine) {
        Some(id) => Ok(organization::by_id(&call.app.db, *id).await?.ok_or(Refused::Gone)?),
        None => Ok(own),
    }
}
