//! What an organization is called and may be, where it stands in its tree, and its end.
//!
//! Law: whoever puts one organization below another has the turn to, so that a tree stays a tree and its
//! depths are right however many move at once. What is deleted is switched off: its slug stays taken.

mod store;

use std::sync::Arc;

use super::{ACTIVE, DEEPEST, Organization, Refused, close, hold, store as base};
use crate::app::Change;
use crate::audit::OrganizationEvent;
use crate::base::Id;
use crate::rbac::Outcome;
use crate::store::Error;

/// What is to be written over what an organization has; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    pub name: Option<String>,
    pub description: Option<String>,
    /// A JSON object as text.
    pub metadata: Option<String>,
    pub max_members: Option<u32>,
}

/// What an operator calls an organization; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub plan: Option<String>,
    pub status: Option<String>,
}

/// The longest plan or status.
pub const TERM_MAX: usize = 50;

/// Changes what an organization is called and how many may belong to it.
pub async fn edit(change: &mut Change<'_>, organization: Id, edit: &Edit) -> Result<Outcome, Refused> {
    hold(change, organization).await?;
    let Some(own) = base::by_id(change.tx(), organization).await? else { return Err(Refused::Gone) };
    if edit.name.as_ref().is_some_and(|name| !(1..=200).contains(&name.chars().count())) {
        return Err(Refused::BadName);
    }
    if let Some(max) = edit.max_members.filter(|max| *max > 0) {
        let members = base::count_members(change.tx(), organization).await?;
        if members > i64::from(max) {
            return Err(Refused::FewerThanMembers { max, members });
        }
    }
    let metadata = store::metadata(change.tx(), organization).await?;
    let mut fields = Vec::new();
    if edit.name.as_ref().is_some_and(|name| *name != own.name) {
        fields.push("name");
    }
    if edit.description.as_ref().is_some_and(|text| *text != own.description) {
        fields.push("description");
    }
    if edit.metadata.is_some() && edit.metadata != metadata {
        fields.push("metadata");
    }
    if edit.max_members.is_some_and(|max| max != own.max_members) {
        fields.push("max_members");
    }
    if fields.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    store::edit(change.tx(), organization, edit).await?;
    updated(change, organization, fields).await
}

/// Says what an organization pays for and is. Nobody within it does.
pub async fn set_terms(change: &mut Change<'_>, organization: Id, terms: &Terms) -> Result<Outcome, Refused> {
    hold(change, organization).await?;
    let Some(own) = base::by_id(change.tx(), organization).await? else { return Err(Refused::Gone) };
    let mut fields = Vec::new();
    if terms.plan.as_ref().is_some_and(|plan| **plan != *own.plan) {
        fields.push("plan");
    }
    if terms.status.as_ref().is_some_and(|status| **status != *own.status) {
        fields.push("status");
    }
    if fields.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    store::set_terms(change.tx(), organization, terms).await?;
    updated(change, organization, fields).await
}

/// Switches an organization off, unless others stand below it.
pub async fn delete(change: &mut Change<'_>, organization: Id) -> Result<(), Refused> {
    take_turn(change).await?;
    hold(change, organization).await?;
    if !base::children(change.tx(), &[organization]).await?.is_empty() {
        return Err(Refused::HasBelow);
    }
    Ok(close(change, organization).await?)
}

/// Puts an organization, with all below it, below another one or below none.
pub async fn move_to(
    change: &mut Change<'_>,
    organization: Id,
    parent: Option<Id>,
    max_depth: u32,
) -> Result<Outcome, Refused> {
    take_turn(change).await?;
    hold(change, organization).await?;
    let Some(own) = base::by_id(change.tx(), organization).await? else { return Err(Refused::Gone) };
    if own.parent == parent {
        return Ok(Outcome::Unchanged);
    }
    let depth = match parent {
        None => 0,
        Some(id) => {
            let above = hold_row(change, id).await?;
            if above.site != own.site {
                return Err(Refused::Gone);
            }
            refuse_circle(change, organization, &above).await?;
            above.depth + 1
        }
    };
    let levels = store::levels_below(change.tx(), organization).await?;
    let height = u32::try_from(levels.len()).unwrap_or(u32::MAX);
    if depth.saturating_add(height) >= max_depth {
        return Err(Refused::TooDeep { max: max_depth });
    }
    store::put_below(change.tx(), organization, parent, depth).await?;
    for (below, level) in (depth + 1..).zip(&levels) {
        store::set_depth(change.tx(), level, below).await?;
    }
    change.record(OrganizationEvent::Moved { organization, parent }).await?;
    Ok(Outcome::Changed)
}

/// Gives an organization that was moved, and what is below it, the plan of the one that it stands below now, or
/// none, in the place of what came from the one that it stood below; what an operator said of any of them stays.
/// A status that is not `active` comes with it and is never left behind: nobody shakes off a suspension, or has
/// the plan without it.
pub(super) async fn take_terms(
    change: &mut Change<'_>,
    organization: Id,
    (from, to): (Option<Id>, Option<Id>),
) -> Result<(), Refused> {
    let (was, _) = terms_of(change, from).await?;
    let (plan, status) = terms_of(change, to).await?;
    let mut all = vec![organization];
    all.extend(store::levels_below(change.tx(), organization).await?.concat());
    for id in all {
        let mut fields = Vec::new();
        if was != plan && store::replace_plan(change.tx(), id, (&was, &plan)).await? {
            fields.push("plan");
        }
        if &*status != ACTIVE && store::replace_status(change.tx(), id, (ACTIVE, &status)).await? {
            fields.push("status");
        }
        if !fields.is_empty() {
            updated(change, id, fields).await?;
        }
    }
    Ok(())
}

/// What comes from an organization to those below it: its plan and status.
async fn terms_of(change: &mut Change<'_>, above: Option<Id>) -> Result<(Arc<str>, Arc<str>), Refused> {
    let own = match above {
        Some(id) => base::by_id(change.tx(), id).await?,
        None => None,
    };
    Ok(own.map_or_else(|| ("".into(), ACTIVE.into()), |own| (own.plan, own.status)))
}

/// Whether going up from `above` leads to the organization.
async fn refuse_circle(
    change: &mut Change<'_>,
    organization: Id,
    above: &Organization,
) -> Result<(), Refused> {
    let mut at = Some((above.id, above.parent));
    for _ in 0..DEEPEST {
        let Some((id, parent)) = at else { return Ok(()) };
        if id == organization {
            return Err(Refused::Circle);
        }
        at = match parent {
            None => None,
            Some(parent) => base::by_id(change.tx(), parent).await?.map(|own| (own.id, own.parent)),
        };
    }
    Err(Refused::Store(Error::Broken { cause: "organizations that are above each other".into() }))
}

/// The organization below which another one is put: nobody moves or removes it until COMMIT.
pub(super) async fn hold_parent(change: &mut Change<'_>, parent: Id) -> Result<Organization, Refused> {
    take_turn(change).await?;
    hold_row(change, parent).await
}

async fn hold_row(change: &mut Change<'_>, id: Id) -> Result<Organization, Refused> {
    hold(change, id).await?;
    base::by_id(change.tx(), id).await?.ok_or(Refused::Gone)
}

pub(super) async fn take_turn(change: &mut Change<'_>) -> Result<(), Refused> {
    let now = change.now();
    Ok(store::take_turn(change.tx(), now).await?)
}

async fn updated(
    change: &mut Change<'_>,
    organization: Id,
    fields: Vec<&'static str>,
) -> Result<Outcome, Refused> {
    change.record(OrganizationEvent::Updated { organization, fields }).await?;
    Ok(Outcome::Changed)
}
