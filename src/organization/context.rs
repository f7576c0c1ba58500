//! What a caller is in the organization that a request names.
//!
//! Law: pure. Roles and permissions come from the membership here and, where they are inherited,
//! from those in the organizations above; membership and ownership from here alone (contract 25.2).
//! A role that nothing defines any more grants nothing, and is shown to nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Organization, Place};
use crate::base::{Id, Number, Slug};
use crate::policy::definition::OrgRole;
use crate::policy::{Code, seed};
use crate::principal::Membership;

/// Whether roles in the organizations above count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    FromAbove,
    Nothing,
}

/// There is no such organization, or the caller has nothing to do with it: nobody learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFound;

/// The caller's standing in one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgContext {
    pub id: Id,
    pub number: Number,
    pub slug: Slug,
    /// What it pays for, and what it is: whatever its operator calls so.
    pub plan: Arc<str>,
    pub status: Arc<str>,
    /// The role of a direct member.
    pub here: Option<Code>,
    /// The roles in the organizations above, if those count, sorted.
    pub above: Vec<Code>,
}

impl OrgContext {
    /// A direct member.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        self.here.is_some()
    }

    /// A direct owner.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.here.as_ref().is_some_and(|role| role.as_str() == seed::OWNER)
    }

    /// The direct role, if it is still defined: what an upstream is told.
    #[must_use]
    pub fn role<'a>(&'a self, org_roles: &BTreeMap<Code, OrgRole>) -> Option<&'a Code> {
        self.here.as_ref().filter(|role| org_roles.contains_key(*role))
    }

    /// Whether a role that counts here grants `permission`, itself or by a `x.*` above it.
    #[must_use]
    pub fn may(&self, permission: &Code, org_roles: &BTreeMap<Code, OrgRole>) -> bool {
        let roles = self.here.iter().chain(&self.above).filter_map(|role| org_roles.get(role));
        roles.flat_map(|role| &role.permissions).any(|grant| grant.covers(permission))
    }
}

/// What someone with these memberships is at `place`.
pub fn context(memberships: &[Membership], place: &Place, inherit: Inherit) -> Result<OrgContext, NotFound> {
    let Organization { id, number, slug, plan, status, .. } = &place.organization;
    let role_in = |organization: &Id| {
        let held = memberships.iter().find(|held| held.organization == *organization);
        held.map(|held| held.role.clone())
    };
    let here = role_in(id);
    let mut above: Vec<Code> = match inherit {
        Inherit::FromAbove => place.above.iter().filter_map(role_in).collect(),
        Inherit::Nothing => Vec::new(),
    };
    if here.is_none() && above.is_empty() {
        return Err(NotFound);
    }
    above.sort_unstable();
    above.dedup();
    let (plan, status) = (Arc::clone(plan), Arc::clone(status));
    Ok(OrgContext { id: *id, number: *number, slug: slug.clone(), plan, status, here, above })
}
