//! How many organizations a site has now, and who belongs to them.
//! Law: what is switched off is counted as that and as nothing else, with whoever belonged to it.

mod store;

use crate::base::{Id, Slug};
use crate::policy::Code;
use crate::store::{Error, FromRow, Source};

/// How many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    pub total: i64,
    pub active: i64,
    /// Active ones that an active one stands below.
    pub with_below: i64,
    /// Members of active ones, by role.
    pub by_role: Vec<(Code, i64)>,
    /// Those with the most members, the largest first.
    pub largest: Vec<Largest>,
}

/// An organization, and how many belong to it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Largest {
    pub name: String,
    pub slug: Slug,
    pub members: i64,
}

/// How many organizations a site has, and so many of the largest.
pub async fn census(mut src: impl Source, site: Id, largest: u32) -> Result<Census, Error> {
    Ok(Census {
        total: store::count(&mut src, store::of(site)).await?,
        active: store::count(&mut src, store::active(site)).await?,
        with_below: store::count(&mut src, store::with_below(site)).await?,
        by_role: src.all(store::by_role(site)).await?,
        largest: src.all(store::largest(site, largest)).await?,
    })
}

/// How many belong to an organization.
pub async fn size(src: impl Source, organization: Id) -> Result<i64, Error> {
    super::store::count_members(src, organization).await
}
