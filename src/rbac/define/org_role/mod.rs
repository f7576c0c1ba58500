//! Org roles that are made here: what members of organizations may be, in all of them.
//!
//! Law: an org role reaches into every tenant, so only who reaches everywhere defines, changes or removes one,
//! in the turn to change rights. What is made begins with nobody; what somebody is stays defined.

mod store;

use std::fmt;

use crate::app::Change;
use crate::audit::{Redefined, RightsEvent};
use crate::policy::definition::{ManagedBy, OrgRole};
use crate::policy::{Code, Grant, seed};
use crate::rbac::{Authority, Granted, Outcome, Refused};
use crate::store::{Error, GivenUp, Source};

pub use super::Made;
pub(in crate::rbac) use store::definitions;

/// How many there are at most, of those that are made here.
pub const MOST: usize = 500;
/// How many permissions one grants at most.
pub const GRANTS_MAX: usize = 200;
const KIND: &str = "org_role";

/// What an org role is to be, or to be from now on.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub name: Option<String>,
    pub description: Option<String>,
    pub permissions: Option<Vec<Grant>>,
}

/// Why an org role stays as it is, beyond what other definitions have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// Nothing defines it.
    Undefined,
    /// There is one with this code.
    Taken,
    /// It came with the gateway, or stands in the file.
    Elsewhere(ManagedBy),
    Full,
    Refused(Refused),
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("there is no such org role"),
            Self::Taken => f.write_str("there is an org role with this code already"),
            Self::Elsewhere(ManagedBy::Config) => {
                f.write_str("it is defined in the configuration file: change it there")
            }
            Self::Elsewhere(_) => f.write_str("it came with the gateway and cannot be changed"),
            Self::Full => write!(f, "there are {MOST} org roles already"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for Stays {}

impl From<Refused> for Stays {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Error> for Stays {
    fn from(cause: Error) -> Self {
        Self::Refused(cause.into())
    }
}

impl GivenUp for Stays {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.is_given_up())
    }
}

/// Defines an org role.
pub async fn create(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    wanted: &Wanted,
) -> Result<(), Stays> {
    everywhere(by)?;
    let all = &by.definitions().org_roles;
    if all.contains_key(code) {
        return Err(Stays::Taken);
    }
    if all.values().filter(|own| own.managed_by == ManagedBy::Store).count() >= MOST {
        return Err(Stays::Full);
    }
    let (id, now) = (change.new_id(), change.now());
    let number = change.number(KIND).await?;
    store::add(change.tx(), (id, number), code, wanted, now).await?;
    for grant in wanted.permissions.iter().flatten() {
        store::add_grant(change.tx(), code, grant).await?;
    }
    redefined(change, code, Redefined::Created).await
}

/// Changes an org role, for everyone who is it.
pub async fn edit(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    wanted: &Wanted,
) -> Result<Outcome, Stays> {
    everywhere(by)?;
    let own = own_definition(by, code)?;
    let mut fields = Vec::new();
    if wanted.name.as_ref().is_some_and(|name| *name != own.name) {
        fields.push("name");
    }
    if wanted.description.as_ref().is_some_and(|text| *text != own.description) {
        fields.push("description");
    }
    let grants = wanted.permissions.as_ref();
    if let Some(grants) = grants.filter(|grants| !is_same(grants, &own.permissions)) {
        fields.push("permissions");
        store::clear_grants(change.tx(), code).await?;
        for grant in grants {
            store::add_grant(change.tx(), code, grant).await?;
        }
    }
    if fields.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let now = change.now();
    store::edit(change.tx(), code, wanted, now).await?;
    redefined(change, code, Redefined::Updated(fields)).await?;
    Ok(Outcome::Changed)
}

/// Removes an org role. Whoever calls this looks afterwards whether nobody is it, before COMMIT.
pub async fn remove(change: &mut Change<'_>, by: &Authority, code: &Code) -> Result<(), Stays> {
    everywhere(by)?;
    own_definition(by, code)?;
    if !store::remove(change.tx(), code).await? {
        return Err(Stays::Undefined);
    }
    redefined(change, code, Redefined::Deleted).await
}

/// Keeps an org role of the store from being removed until the change ends, so that nobody is what is gone.
/// `false` where it is gone already.
pub async fn hold(change: &mut Change<'_>, code: &Code) -> Result<bool, Error> {
    let now = change.now();
    store::hold(change.tx(), code, now).await
}

/// What the store alone knows of those that were made here.
pub async fn made(src: impl Source) -> Result<Vec<(Code, Made)>, Error> {
    store::made(src).await
}

/// Who can do everything, and nobody else.
fn everywhere(by: &Authority) -> Result<(), Stays> {
    let super_admin = Code::parse(seed::SUPER_ADMIN).map_err(|_| Stays::Undefined)?;
    Ok(by.may_name(&Granted::Role(super_admin))?)
}

fn own_definition<'a>(by: &'a Authority, code: &Code) -> Result<&'a OrgRole, Stays> {
    match by.definitions().org_roles.get(code) {
        None => Err(Stays::Undefined),
        Some(own) if own.managed_by == ManagedBy::Store => Ok(own),
        Some(own) => Err(Stays::Elsewhere(own.managed_by)),
    }
}

fn is_same(left: &[Grant], right: &[Grant]) -> bool {
    left.len() == right.len() && left.iter().all(|grant| right.contains(grant))
}

async fn redefined(change: &mut Change<'_>, code: &Code, did: Redefined) -> Result<(), Stays> {
    Ok(change.record(RightsEvent::CatalogueChanged { kind: KIND, code: code.clone(), did }).await?)
}
