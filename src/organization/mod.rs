//! Organizations: a forest of tenants, and who belongs to them as what.
//!
//! Law: org roles look up the tree, membership and ownership never do (contract 25.2). An
//! organization that does not exist and one that the caller has nothing to do with are told apart
//! by nobody, but by who wants a slug that is taken. An organization always keeps an owner.

use std::sync::Arc;

use crate::account::Standing as Condition;
use crate::app::Change;
use crate::audit::OrganizationEvent;
use crate::base::{Id, Number, Slug, Timestamp};
use crate::crypto::digest;
use crate::policy::definition::{Definitions, ManagedBy};
use crate::policy::{Code, seed};
use crate::principal::Membership;
use crate::rbac::org_role;
use crate::store::{Error, Source};

pub mod census;
mod context;
mod directory;
mod founding;
mod http;
pub mod invitation;
mod refused;
pub mod role;
mod shape;
mod standing;
mod store;
#[cfg(test)]
mod tests;

pub use context::{Inherit, NotFound, OrgContext, context};
pub use directory::{Directory, Place};
pub use founding::create_for;
pub use http::rows;
pub use refused::Refused;
pub use shape::{Edit, TERM_MAX, Terms, delete, edit, move_to, set_terms};
pub use standing::Standing;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    pub slug: Slug,
    pub name: String,
    pub description: String,
    pub parent: Option<Id>,
    /// 0 for a root.
    pub depth: u32,
    pub is_active: bool,
    pub created_at: Timestamp,
    /// What it pays for: the operator's own word.
    pub plan: Arc<str>,
    /// What it is to the operator: `active`, or a word of their own.
    pub status: Arc<str>,
    /// How many may belong to it; 0: any number.
    pub max_members: u32,
}

/// No tree is as deep as this: beyond it the rows are damaged.
const DEEPEST: usize = 64;

/// What an organization's status is where nobody said another one.
pub const ACTIVE: &str = "active";

/// Who belongs to an organization, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: Id,
    pub number: Number,
    pub account: Id,
    pub role: Code,
    pub since: Timestamp,
}

/// What a new organization is to be.
#[derive(Clone, Debug)]
pub struct New<'a> {
    pub site: Id,
    pub name: &'a str,
    /// Made from the name when absent.
    pub slug: Option<Slug>,
    pub description: &'a str,
    pub parent: Option<&'a Organization>,
    pub owner: Id,
    /// How many levels a tree may have.
    pub max_depth: u32,
}

/// The active memberships of an account in active organizations, by slug.
pub async fn memberships(src: impl Source, account: Id) -> Result<Vec<Membership>, Error> {
    store::memberships(src, account).await
}

/// The organization of this id, active or not.
pub async fn by_id(src: impl Source, id: Id) -> Result<Option<Organization>, Error> {
    store::by_id(src, id).await
}

/// These organizations and the active ones below them; `None` where that are more than `most`.
pub async fn with_below(mut src: impl Source, roots: Vec<Id>, most: usize) -> Result<Option<Vec<Id>>, Error> {
    let mut all = roots.clone();
    let mut level = roots;
    while !level.is_empty() {
        if all.len() > most {
            return Ok(None);
        }
        level = store::children(&mut src, &level).await?;
        level.retain(|id| !all.contains(id));
        all.extend(&level);
    }
    Ok((all.len() <= most).then_some(all))
}

/// The active organization of this slug and where it stands, as the store has it now.
pub async fn place(src: impl Source, site: Id, slug: &Slug) -> Result<Option<Place>, Error> {
    directory::read(src, site, slug).await
}

/// The active organization of this slug.
pub async fn by_slug(src: impl Source, site: Id, slug: &Slug) -> Result<Option<Organization>, Error> {
    store::by_slug(src, site, slug).await
}

/// Every active organization of a site, roots first, then by slug.
pub async fn list(src: impl Source, site: Id) -> Result<Vec<Organization>, Error> {
    store::list(src, site).await
}

/// The active members of an organization, in the order in which they came.
pub async fn members(src: impl Source, organization: Id) -> Result<Vec<Member>, Error> {
    store::members(src, organization).await
}

/// Makes an organization and its owner a member. One below another begins with the plan and status of that one.
pub async fn create(change: &mut Change<'_>, new: New<'_>) -> Result<Organization, Refused> {
    if !(1..=200).contains(&new.name.chars().count()) {
        return Err(Refused::BadName);
    }
    let parent = match new.parent {
        None => None,
        Some(known) => Some(shape::hold_parent(change, known.id).await?),
    };
    let depth = match &parent {
        None => 0,
        Some(parent) if parent.depth + 1 >= new.max_depth => {
            return Err(Refused::TooDeep { max: new.max_depth });
        }
        Some(parent) => parent.depth + 1,
    };
    let (site, wanted) = (new.site, new.slug);
    let slug = match &wanted {
        Some(slug) => slug.clone(),
        None => free_slug(change, site, new.name).await?,
    };
    let terms = parent.as_ref().map(|parent| (Arc::clone(&parent.plan), Arc::clone(&parent.status)));
    let (plan, status) = terms.unwrap_or_else(|| ("".into(), ACTIVE.into()));
    let mut organization = Organization {
        id: change.new_id(),
        number: change.number("organization").await?,
        site,
        slug,
        name: new.name.to_owned(),
        description: new.description.to_owned(),
        parent: parent.map(|parent| parent.id),
        depth,
        is_active: true,
        created_at: change.now(),
        plan,
        status,
        max_members: 0,
    };
    let mut tries = 0;
    while !store::insert(change.tx(), &organization, new.owner).await? {
        // Nobody asked for this slug: somebody else was given it at this moment.
        tries += 1;
        if wanted.is_some() || tries > SLUG_TRIES {
            return Err(Refused::SlugTaken(organization.slug));
        }
        organization.slug = free_slug(change, site, new.name).await?;
    }
    let (id, slug) = (organization.id, organization.slug.to_string());
    change.record(OrganizationEvent::Created { organization: id, slug }).await?;
    let by = change.actor().who.account();
    admit(change, id, new.owner, owner(), by).await?;
    Ok(organization)
}

/// Makes an account a member.
pub async fn add_member(
    change: &mut Change<'_>,
    definitions: &Definitions,
    organization: Id,
    account: Id,
    role: &Code,
) -> Result<(), Refused> {
    let by = change.actor().who.account();
    add_member_by(change, definitions, organization, account, role, by).await
}

/// The same, brought in by somebody else than who acts.
async fn add_member_by(
    change: &mut Change<'_>,
    definitions: &Definitions,
    organization: Id,
    account: Id,
    role: &Code,
    by: Option<Id>,
) -> Result<(), Refused> {
    hold(change, organization).await?;
    refuse_undefined(change, definitions, role).await?;
    refuse_full(change, organization, account).await?;
    admit(change, organization, account, role.clone(), by).await
}

/// Makes a member something else. The last owner stays owner.
pub async fn set_role(
    change: &mut Change<'_>,
    definitions: &Definitions,
    organization: Id,
    account: Id,
    role: &Code,
) -> Result<(), Refused> {
    hold(change, organization).await?;
    refuse_undefined(change, definitions, role).await?;
    if *role != owner() {
        refuse_last_owner(change, organization, account).await?;
    } else if store::role_of(change.tx(), organization, account).await?.is_none() {
        return Err(Refused::NotAMember);
    }
    let now = change.now();
    if store::set_role(change.tx(), organization, account, role, now).await? {
        invitation::withdraw(change, organization, account).await?;
        let role = role.clone();
        change.record(OrganizationEvent::MemberRoleChanged { organization, account, role }).await?;
    }
    Ok(())
}

/// Ends a membership, unless it is the last owner's.
pub async fn remove_member(change: &mut Change<'_>, organization: Id, account: Id) -> Result<(), Refused> {
    hold(change, organization).await?;
    refuse_last_owner(change, organization, account).await?;
    if !store::remove_member(change.tx(), organization, account).await? {
        return Err(Refused::NotAMember);
    }
    change.record(OrganizationEvent::MemberRemoved { organization, account }).await?;
    // Nobody comes back by what was sent before.
    Ok(invitation::withdraw(change, organization, account).await?)
}

/// The organizations that would be left to others without an owner if this account went, by slug.
pub async fn orphans(src: impl Source, account: Id) -> Result<Vec<Slug>, Error> {
    store::orphans(src, account, &owner()).await
}

/// Ends every membership of an account that goes. What belonged to it alone is switched off with it.
///
/// # Errors
/// [`Refused::LastOwner`] where others would be left without an owner; the change is then over.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Refused> {
    // In one order everywhere, or two owners who go at once would wait for each other.
    for organization in store::of_member(change.tx(), account).await? {
        let now = change.now();
        let is_active = store::hold(change.tx(), organization, now).await?;
        if is_active {
            let (role, owner) = (store::role_of(change.tx(), organization, account).await?, owner());
            // As `orphans` tells it: whether an owner who stays could log in is no reason to keep this one.
            let others = store::others_with(change.tx(), organization, account, &owner).await?;
            if role == Some(owner) && others.is_empty() {
                if !store::is_alone(change.tx(), organization, account).await? {
                    return Err(Refused::LastOwner);
                }
                close(change, organization).await?;
                store::forget_name(change.tx(), organization).await?;
            }
        }
        if store::remove_member(change.tx(), organization, account).await? {
            change.record(OrganizationEvent::MemberRemoved { organization, account }).await?;
        }
    }
    Ok(())
}

/// Switches an organization off, which its caller holds: whoever was invited comes too late, and what was
/// delegated for it ends by the reaction to the event.
async fn close(change: &mut Change<'_>, organization: Id) -> Result<(), Error> {
    let now = change.now();
    store::switch_off(change.tx(), organization, now).await?;
    change.record(OrganizationEvent::Deleted { organization }).await?;
    invitation::end_all(change, organization).await
}

/// Changes of one organization's members come one after the other from here to COMMIT: two owners
/// who leave at once must not both see the other one stay.
async fn hold(change: &mut Change<'_>, organization: Id) -> Result<(), Refused> {
    let now = change.now();
    if store::hold(change.tx(), organization, now).await? { Ok(()) } else { Err(Refused::Gone) }
}

async fn refuse_last_owner(change: &mut Change<'_>, organization: Id, account: Id) -> Result<(), Refused> {
    let owner = owner();
    match store::role_of(change.tx(), organization, account).await? {
        None => Err(Refused::NotAMember),
        Some(role) if role != owner => Ok(()),
        Some(_) if is_another_owner_left(change, organization, account, &owner).await? => Ok(()),
        Some(_) => Err(Refused::LastOwner),
    }
}

/// Whether somebody else owns it who can act: who is locked, banned or gone is nobody's other one.
async fn is_another_owner_left(
    change: &mut Change<'_>,
    organization: Id,
    account: Id,
    owner: &Code,
) -> Result<bool, Refused> {
    let now = change.now();
    for other in store::others_with(change.tx(), organization, account, owner).await? {
        let person = crate::account::by_id(change.tx(), other).await?;
        if person.is_none_or(|person| person.standing(now) == Condition::Good) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses one more where as many belong to it as may. Whoever asks holds the organization.
async fn refuse_full(change: &mut Change<'_>, organization: Id, account: Id) -> Result<(), Refused> {
    let Some(own) = store::by_id(change.tx(), organization).await? else { return Err(Refused::Gone) };
    if own.max_members == 0 || store::role_of(change.tx(), organization, account).await?.is_some() {
        return Ok(());
    }
    let count = store::count_members(change.tx(), organization).await?;
    if count < i64::from(own.max_members) { Ok(()) } else { Err(Refused::Full { max: own.max_members }) }
}

/// Refuses what nothing defines, and keeps what the store defines until the change ends.
async fn refuse_undefined(
    change: &mut Change<'_>,
    definitions: &Definitions,
    role: &Code,
) -> Result<(), Refused> {
    let is_defined = match definitions.org_roles.get(role) {
        None => false,
        Some(own) => own.managed_by != ManagedBy::Store || org_role::hold(change, role).await?,
    };
    if is_defined { Ok(()) } else { Err(Refused::UndefinedRole(role.clone())) }
}

async fn admit(
    change: &mut Change<'_>,
    organization: Id,
    account: Id,
    role: Code,
    by: Option<Id>,
) -> Result<(), Refused> {
    let member = Member {
        id: change.new_id(),
        number: change.number("membership").await?,
        account,
        role: role.clone(),
        since: change.now(),
    };
    if !store::add_member(change.tx(), organization, &member, by).await? {
        return Err(Refused::AlreadyMember);
    }
    change.record(OrganizationEvent::MemberAdded { organization, account, role }).await?;
    Ok(invitation::withdraw(change, organization, account).await?)
}

/// How many numbers are tried behind a name.
const FEW_NUMBERS: u32 = 10;

/// How often another slug is tried for a name that many use at this moment.
const SLUG_TRIES: u32 = 30;

/// A slug made from a name, with a number where others have it already.
async fn free_slug(change: &mut Change<'_>, site: Id, name: &str) -> Result<Slug, Refused> {
    let stem = stem_of(name).ok_or(Refused::BadName)?;
    let numbered = (1..FEW_NUMBERS).map(|n| format!("{stem}-{n}"));
    let few: Vec<String> = std::iter::once(stem.clone()).chain(numbered).collect();
    let taken = store::slugs_of(change.tx(), site, &few).await?;
    let free = few.into_iter().find(|slug| !taken.contains(slug));
    // Of a name that very many had, no more is looked for: the work is the same for everybody.
    let free = free.unwrap_or_else(|| {
        let mut drawn = [0; 6];
        change.app().random.fill(&mut drawn);
        format!("{stem}-{}", digest::hex(&drawn))
    });
    Slug::parse(&free).map_err(|_| Refused::BadName)
}

/// The letters and digits of a name in lower case, with `-` between runs of them.
fn stem_of(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let stem: String = parts.collect::<Vec<_>>().join("-").chars().take(80).collect();
    (!stem.is_empty()).then(|| stem.trim_end_matches('-').to_owned())
}

#[expect(clippy::expect_used, reason = "the text is a constant that a test parses")]
fn owner() -> Code {
    Code::parse(seed::OWNER).expect("the owner's role is a code")
}
