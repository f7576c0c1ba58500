//! Organizations that come along with their people.
//!
//! Law: membership is a right, so it is taken over only where the operator says so. One that is here already is
//! left alone, with everything below it: nobody becomes a member of something else of the same name. A tree
//! comes in one change, or not at all.

use std::collections::HashMap;

use super::person::Trust;
use super::report::{Fate, Report};
use super::{Desk, Place};
use crate::app::Change;
use crate::base::{Id, Slug};
use crate::cli::out::Failure;
use crate::organization::{self, New, Organization, Refused};
use crate::policy::Code;
use crate::store::DEFAULT_SITE;

const OWNER: &str = "owner";

/// All organizations, in whatever order.
pub(super) struct Estate {
    pub tenants: Vec<Tenant>,
}

/// An organization as it was.
pub(super) struct Tenant {
    pub key: String,
    pub parent: Option<String>,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub is_active: bool,
    pub members: Vec<Member>,
}

pub(super) struct Member {
    pub key: String,
    pub role: String,
    pub is_active: bool,
}

/// Who a member is here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    Account(Id),
    /// They would have an account.
    Nobody,
}

/// Takes what can be taken, and reports the rest.
pub(super) async fn take(
    desk: &Desk,
    estate: Estate,
    trust: Trust,
    people: &HashMap<String, Whom>,
    report: &mut Report,
) -> Result<(), Failure> {
    report.organizations = Some(0);
    if !trust.has_rights {
        if !estate.tenants.is_empty() {
            let text = format!("{} organizations (`--with-rights` takes them over)", estate.tenants.len());
            report.lacks("everybody", text);
        }
        return Ok(());
    }
    let (roots, mut below): (Vec<Tenant>, Vec<Tenant>) =
        estate.tenants.into_iter().partition(|own| own.parent.is_none());
    for root in roots {
        let mut tree = vec![root];
        // Whatever the order of keys: until nothing more belongs to it.
        loop {
            let is_in = |own: &Tenant| tree.iter().any(|known| own.parent.as_ref() == Some(&known.key));
            let (mine, others): (Vec<_>, Vec<_>) = below.into_iter().partition(is_in);
            below = others;
            if mine.is_empty() {
                break;
            }
            tree.extend(mine);
        }
        take_tree(desk, &tree, people, report).await?;
    }
    for stray in below {
        report.add(place(&stray), Fate::Refused("what it is below of is not there".to_owned()));
    }
    Ok(())
}

fn place(tenant: &Tenant) -> String {
    format!("organization {}", tenant.slug.escape_debug())
}

async fn take_tree(
    desk: &Desk,
    tree: &[Tenant],
    people: &HashMap<String, Whom>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut change = match &desk.place {
        Place::Take(office) => Some(office.change().await?),
        Place::Look(_) => None,
    };
    // What was made of each; nothing where it would be.
    let mut made: HashMap<&str, Option<Organization>> = HashMap::new();
    for tenant in tree {
        let parent = match &tenant.parent {
            None => None,
            Some(key) => {
                let Some(parent) = made.get(key.as_str()) else {
                    let why = "what it is below of was not taken".to_owned();
                    report.add(place(tenant), Fate::Refused(why));
                    continue;
                };
                parent.as_ref()
            }
        };
        let mut owners = tenant.members.iter().filter(|own| own.is_active && own.role == OWNER);
        let owner = owners.find_map(|own| Some((own, *people.get(&own.key)?)));
        let slug = Slug::parse(&tenant.slug).ok();
        let is_taken = match &slug {
            Some(slug) => is_here(desk, slug).await?,
            None => false,
        };
        let why = match (slug, owner) {
            (None, _) => "its slug cannot be one here".to_owned(),
            _ if !tenant.is_active => "it is switched off there".to_owned(),
            _ if is_taken => "there is one of this slug here".to_owned(),
            (_, None) => "none of its owners came along".to_owned(),
            (Some(slug), Some((own, whom))) => {
                let done = match (&mut change, whom) {
                    (Some(change), Whom::Account(owner)) => {
                        create(change, desk, tenant, (slug, parent, owner)).await?.map(Some)
                    }
                    _ => Ok(None),
                };
                match done {
                    Ok(organization) => {
                        let id = organization.as_ref().map(|own| own.id);
                        admit(change.as_mut(), desk, tenant, (id, &own.key), people, report).await?;
                        made.insert(&tenant.key, organization);
                        continue;
                    }
                    Err(why) => why,
                }
            }
        };
        report.add(place(tenant), Fate::Refused(why));
    }
    if let Some(change) = change.filter(|_| !made.is_empty()) {
        change.commit().await?;
    }
    report.organizations = report.organizations.map(|count| count + made.len());
    Ok(())
}

async fn is_here(desk: &Desk, slug: &Slug) -> Result<bool, Failure> {
    let db = match &desk.place {
        Place::Take(office) => &office.app.db,
        Place::Look(Some(db)) => db,
        Place::Look(None) => return Ok(false),
    };
    Ok(organization::by_slug(db, DEFAULT_SITE, slug).await?.is_some())
}

/// Makes it with its owner; the reason why it cannot be, where it is of no kind that is here.
async fn create(
    change: &mut Change<'_>,
    desk: &Desk,
    tenant: &Tenant,
    (slug, parent, owner): (Slug, Option<&Organization>, Id),
) -> Result<Result<Organization, String>, Failure> {
    let max_depth = match &desk.place {
        Place::Take(office) => office.config().organizations.max_depth,
        Place::Look(_) => u32::MAX,
    };
    let (name, description) = (tenant.name.as_str(), tenant.description.as_str());
    let new = New { site: DEFAULT_SITE, name, slug: Some(slug), description, parent, owner, max_depth };
    match organization::create(change, new).await {
        Ok(made) => Ok(Ok(made)),
        Err(why @ (Refused::BadName | Refused::TooDeep { .. })) => Ok(Err(why.to_string())),
        Err(why) => Err(Failure::problem(why)),
    }
}

/// Makes the others members, and says who is not.
async fn admit(
    mut change: Option<&mut Change<'_>>,
    desk: &Desk,
    tenant: &Tenant,
    (organization, owner): (Option<Id>, &str),
    people: &HashMap<String, Whom>,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut absent, mut waiting) = (0, 0);
    for own in tenant.members.iter().filter(|own| own.key != owner) {
        let Some(whom) = people.get(&own.key) else {
            absent += 1;
            continue;
        };
        if !own.is_active {
            waiting += 1;
            continue;
        }
        let role = Code::parse(&own.role).ok().filter(|role| desk.definitions.org_roles.contains_key(role));
        let Some(role) = role else {
            let what =
                format!("a member who is {} there: there is no such role here", own.role.escape_debug());
            report.lacks(&place(tenant), what);
            continue;
        };
        if let (Some(change), Some(id), Whom::Account(account)) = (change.as_deref_mut(), organization, *whom)
        {
            let added = organization::add_member(change, &desk.definitions, id, account, &role).await;
            added.map_err(Failure::problem)?;
        }
    }
    for (count, what) in
        [(absent, "members who did not come along"), (waiting, "members who were invited or suspended")]
    {
        if count > 0 {
            report.lacks(&place(tenant), format!("{count} {what}"));
        }
    }
    Ok(())
}
