//! Organizations, members and org roles as the wire shows them (contract section 25.4).
//!
//! Law: ids on this wire are numbers as text, as everywhere in the API. Who was erased is nobody's name.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::account;
use crate::app::App;
use crate::base::Id;
use crate::organization::{Organization, store};
use crate::policy::Code;
use crate::policy::definition::{ManagedBy, OrgRole};
use crate::rbac::org_role::{self, Made};
use crate::store::{Error, Source};

/// A tenant.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Organization")]
pub(super) struct Shown {
    pub id: String,
    pub name: String,
    /// What names it in `X-Org-Slug`. It stays what it is.
    pub slug: String,
    pub description: String,
    /// The id of the one above; null for a root.
    pub parent: Option<String>,
    /// Absent where there is none above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_name: Option<String>,
    /// Whatever JSON its members keep here.
    pub metadata: Value,
    pub is_active: bool,
    /// What it pays for, in the operator's word.
    pub plan: String,
    /// `active`, or another word of the operator's.
    pub status: String,
    /// How many may belong to it; 0 for any number.
    pub max_members: u32,
    pub member_count: i64,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub updated_at: String,
    pub created_by_email: Option<String>,
    /// What the caller is there; null where it is by an organization above alone.
    pub user_role: Option<String>,
}

/// Organizations as they are shown, each with the role that the caller has there.
pub(super) async fn shown(
    mut src: impl Source,
    site: Id,
    all: Vec<(Organization, Option<Code>)>,
) -> Result<Vec<Shown>, Error> {
    let ids: Vec<Id> = all.iter().map(|(own, _)| own.id).collect();
    let counts: HashMap<Id, i64> = store::count_members_of(&mut src, &ids).await?.into_iter().collect();
    let mut details: HashMap<Id, store::Details> =
        store::details(&mut src, &ids).await?.into_iter().map(|own| (own.id, own)).collect();
    let parents: Vec<Id> = all.iter().filter_map(|(own, _)| own.parent).collect();
    let parents = store::by_ids(&mut src, &parents).await?;
    let makers: Vec<Id> = details.values().filter_map(|own| own.created_by).collect();
    let makers = account::known(src, site, &makers).await?;
    let mut list = Vec::with_capacity(all.len());
    for (own, role) in all {
        let detail = details.remove(&own.id);
        let parent = own.parent.and_then(|id| parents.iter().find(|above| above.id == id));
        let by = detail.as_ref().and_then(|detail| detail.created_by);
        let maker = by.and_then(|id| makers.iter().find(|maker| maker.id == id));
        let text = detail.as_ref().and_then(|detail| detail.metadata.as_deref());
        list.push(Shown {
            id: own.number.to_string(),
            name: own.name,
            slug: own.slug.to_string(),
            description: own.description,
            parent: parent.map(|above| above.number.to_string()),
            parent_name: parent.map(|above| above.name.clone()),
            metadata: text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(nothing),
            is_active: own.is_active,
            plan: own.plan.to_string(),
            status: own.status.to_string(),
            max_members: own.max_members,
            member_count: counts.get(&own.id).copied().unwrap_or_default(),
            created_at: own.created_at.rfc3339(),
            updated_at: detail.as_ref().map_or(own.created_at, |detail| detail.updated_at).rfc3339(),
            created_by_email: maker.and_then(|maker| maker.email.as_ref()).map(ToString::to_string),
            user_role: role.map(|role| role.to_string()),
        });
    }
    Ok(list)
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

/// One organization as it is shown.
pub(super) async fn one(
    src: impl Source,
    site: Id,
    organization: Organization,
    role: Option<Code>,
) -> Result<Shown, Error> {
    let mut all = shown(src, site, vec![(organization, role)]).await?;
    all.pop().ok_or_else(|| Error::Broken { cause: "an organization was not shown".into() })
}

/// What a member may be.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "OrgRole")]
pub(super) struct RoleShown {
    /// Its number where it was made here, its code otherwise.
    pub id: String,
    pub code: String,
    pub name: String,
    pub description: String,
    /// Whether it came with the gateway.
    pub is_system: bool,
    /// Whether new members are this when nothing else is said.
    pub is_default: bool,
    /// Codes, or `x.*` for `x` and everything below it.
    pub permissions: Vec<String>,
    /// `seed`, `store` or `config`.
    pub managed_by: &'static str,
    /// RFC 3339, UTC; null for what was not made here.
    pub created_at: Option<String>,
}

/// Every org role in force.
pub(super) async fn roles(app: &App) -> Result<Vec<RoleShown>, Error> {
    let made: HashMap<Code, Made> = org_role::made(&app.db).await?.into_iter().collect();
    let catalogue = app.catalogue();
    let all = catalogue.definitions().org_roles.iter();
    Ok(all.map(|(code, own)| role(code, own, made.get(code))).collect())
}

fn role(code: &Code, own: &OrgRole, made: Option<&Made>) -> RoleShown {
    let made = made.filter(|_| own.managed_by == ManagedBy::Store);
    RoleShown {
        id: made.map_or_else(|| code.to_string(), |made| made.number.to_string()),
        code: code.to_string(),
        name: own.name.clone(),
        description: own.description.clone(),
        is_system: own.managed_by == ManagedBy::Seed,
        is_default: own.is_default,
        permissions: own.permissions.iter().map(ToString::to_string).collect(),
        managed_by: own.managed_by.name(),
        created_at: made.map(|made| made.created_at.rfc3339()),
    }
}

/// Somebody who belongs to an organization.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Member")]
pub(super) struct MemberShown {
    pub id: String,
    pub user: Person,
    pub organization_name: String,
    pub role: RoleShown,
    /// Always `active`: who was invited belongs to it once they accept.
    pub status: &'static str,
    /// The id of who brought them in; null where an operator did, or nobody knows any more.
    pub invited_by: Option<String>,
    /// RFC 3339, UTC.
    pub invited_at: String,
    pub created_at: String,
    pub updated_at: String,
}

/// A person as those of the same organization see them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "MemberPerson")]
pub(super) struct Person {
    pub id: String,
    pub email: Option<String>,
    pub first_name: String,
    pub last_name: String,
}

/// Members as they are shown, each with its number.
pub(super) async fn members(
    app: &App,
    organization: &Organization,
    rows: Vec<store::Belongs>,
) -> Result<Vec<(i64, MemberShown)>, Error> {
    let known = roles(app).await?;
    let makers: Vec<Id> = rows.iter().filter_map(|row| row.invited_by).collect();
    let makers = account::known(&app.db, organization.site, &makers).await?;
    let people: Vec<Id> = rows.iter().map(|row| row.account_id).collect();
    let people = account::by_ids(&app.db, &people).await?;
    let mut people: HashMap<Id, account::Account> = people.into_iter().map(|own| (own.id, own)).collect();
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(person) = people.remove(&row.account_id) else { continue };
        let maker = makers.iter().find(|maker| Some(maker.id) == row.invited_by);
        list.push((
            row.number.0,
            MemberShown {
                id: row.number.to_string(),
                user: Person {
                    id: person.number.to_string(),
                    email: person.email.as_ref().map(ToString::to_string),
                    first_name: person.first_name,
                    last_name: person.last_name,
                },
                organization_name: organization.name.clone(),
                role: role_named(&known, &row.role_code),
                status: "active",
                invited_by: maker.map(|maker| maker.number.to_string()),
                invited_at: row.created_at.rfc3339(),
                created_at: row.created_at.rfc3339(),
                updated_at: row.updated_at.rfc3339(),
            },
        ));
    }
    Ok(list)
}

/// A role that nothing defines any more grants nothing, and is still what somebody is called.
fn role_named(known: &[RoleShown], code: &Code) -> RoleShown {
    let found = known.iter().find(|role| role.code == code.as_str());
    found.cloned().unwrap_or_else(|| RoleShown {
        id: code.to_string(),
        code: code.to_string(),
        name: code.to_string(),
        description: String::new(),
        is_system: false,
        is_default: false,
        permissions: Vec::new(),
        managed_by: ManagedBy::Store.name(),
        created_at: None,
    })
}
