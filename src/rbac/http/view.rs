//! Definitions as the wire shows them.
//!
//! Law: what was made here is named by its number, everything else by its code; a path takes either, and a
//! code of digits alone is never made here.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::policy::definition::{Definitions, ManagedBy};
use crate::policy::{Catalogue, Code};
use crate::rbac::define::store::made;
use crate::rbac::define::{Kind, Made};
use crate::store::Error;

/// All definitions in force, with what the store knows of those that were made here.
pub(super) struct Known {
    catalogue: Arc<Catalogue>,
    permissions: BTreeMap<Code, Made>,
    roles: BTreeMap<Code, Made>,
    groups: BTreeMap<Code, Made>,
    children: BTreeMap<Code, Vec<Code>>,
}

/// A definition's name and what stands for it in paths.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "PermissionName")]
pub(super) struct Named {
    id: String,
    code: String,
}

/// A right that can be granted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Permission")]
pub(super) struct PermissionShown {
    /// Its number where it was made here, its code otherwise.
    pub id: String,
    pub code: String,
    pub name: String,
    pub description: String,
    /// Who holds it holds this too.
    pub parent: Option<Named>,
    pub children: Vec<Named>,
    /// `seed`, `store` or `config`; only what is in the store changes over HTTP.
    pub managed_by: &'static str,
    /// RFC 3339, UTC; null for what was not made here.
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

/// A role in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RoleName")]
pub(super) struct RoleListed {
    pub id: String,
    pub code: String,
    pub name: String,
    pub is_default: bool,
    /// `seed`, `store` or `config`; only what is in the store changes over HTTP.
    pub managed_by: &'static str,
    #[serde(skip)]
    #[schemars(skip)]
    pub created_at: Option<String>,
}

/// A named set of permissions.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Role")]
pub(super) struct RoleShown {
    /// Its number where it was made here, its code otherwise.
    pub id: String,
    pub code: String,
    pub name: String,
    pub description: String,
    pub permissions: Vec<PermissionShown>,
    /// Roles whose rights this one has as well.
    pub inherits: Vec<String>,
    /// Whether accounts that come by another login get it.
    pub is_default: bool,
    /// `seed`, `store` or `config`; only what is in the store changes over HTTP.
    pub managed_by: &'static str,
    /// RFC 3339, UTC; null for what was not made here.
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

/// A named set of roles and permissions for many people.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Group")]
pub(super) struct GroupShown {
    /// Its number where it was made here, its code otherwise.
    pub id: String,
    pub code: String,
    pub name: String,
    pub description: String,
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
    /// `seed`, `store` or `config`; only what is in the store changes over HTTP.
    pub managed_by: &'static str,
    /// RFC 3339, UTC; null for what was not made here.
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

impl Known {
    pub(super) async fn read(app: &App) -> Result<Self, Error> {
        let permissions = made(&app.db, Kind::Permission).await?.into_iter().collect();
        let roles = made(&app.db, Kind::Role).await?.into_iter().collect();
        let groups = made(&app.db, Kind::Group).await?.into_iter().collect();
        let catalogue = app.catalogue();
        let mut children: BTreeMap<Code, Vec<Code>> = BTreeMap::new();
        for (code, own) in &catalogue.definitions().permissions {
            if let Some(parent) = &own.parent {
                children.entry(parent.clone()).or_default().push(code.clone());
            }
        }
        Ok(Self { catalogue, permissions, roles, groups, children })
    }

    pub(super) fn definitions(&self) -> &Definitions {
        self.catalogue.definitions()
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The permission that a path or filter names.
    pub(super) fn permission_named(&self, text: &str) -> Option<Code> {
        named(&self.permissions, &self.definitions().permissions, text)
    }

    pub(super) fn role_named(&self, text: &str) -> Option<Code> {
        named(&self.roles, &self.definitions().roles, text)
    }

    pub(super) fn group_named(&self, text: &str) -> Option<Code> {
        named(&self.groups, &self.definitions().groups, text)
    }

    pub(super) fn permission(&self, code: &Code) -> Option<PermissionShown> {
        let own = self.definitions().permissions.get(code)?;
        let made = stored(own.managed_by, self.permissions.get(code));
        let (created_at, updated_at) = moments(made);
        let children = self.children.get(code).into_iter().flatten();
        Some(PermissionShown {
            id: id_of(code, made),
            code: code.to_string(),
            name: own.name.clone(),
            description: own.description.clone(),
            parent: own.parent.as_ref().map(|parent| self.name_of(parent)),
            children: children.map(|child| self.name_of(child)).collect(),
            managed_by: own.managed_by.name(),
            created_at,
            updated_at,
        })
    }

    pub(super) fn permissions(&self, codes: &[Code]) -> Vec<PermissionShown> {
        codes.iter().filter_map(|code| self.permission(code)).collect()
    }

    pub(super) fn role_listed(&self, code: &Code) -> Option<RoleListed> {
        let own = self.definitions().roles.get(code)?;
        let made = stored(own.managed_by, self.roles.get(code));
        Some(RoleListed {
            id: id_of(code, made),
            code: code.to_string(),
            name: own.name.clone(),
            is_default: own.is_default,
            managed_by: own.managed_by.name(),
            created_at: moments(made).0,
        })
    }

    pub(super) fn role(&self, code: &Code) -> Option<RoleShown> {
        let own = self.definitions().roles.get(code)?;
        let made = stored(own.managed_by, self.roles.get(code));
        let (created_at, updated_at) = moments(made);
        Some(RoleShown {
            id: id_of(code, made),
            code: code.to_string(),
            name: own.name.clone(),
            description: own.description.clone(),
            permissions: self.permissions(&own.permissions),
            inherits: super::texts(&own.inherits),
            is_default: own.is_default,
            managed_by: own.managed_by.name(),
            created_at,
            updated_at,
        })
    }

    pub(super) fn group(&self, code: &Code) -> Option<GroupShown> {
        let own = self.definitions().groups.get(code)?;
        let made = stored(own.managed_by, self.groups.get(code));
        let (created_at, updated_at) = moments(made);
        Some(GroupShown {
            id: id_of(code, made),
            code: code.to_string(),
            name: own.name.clone(),
            description: own.description.clone(),
            roles: super::texts(&own.roles),
            permissions: super::texts(&own.permissions),
            managed_by: own.managed_by.name(),
            created_at,
            updated_at,
        })
    }

    fn name_of(&self, permission: &Code) -> Named {
        let own = self.definitions().permissions.get(permission);
        let made = own.and_then(|own| stored(own.managed_by, self.permissions.get(permission)));
        Named { id: id_of(permission, made), code: permission.to_string() }
    }
}

/// The row, unless something above the store defines the code.
fn stored(managed_by: ManagedBy, made: Option<&Made>) -> Option<&Made> {
    made.filter(|_| managed_by == ManagedBy::Store)
}

fn id_of(code: &Code, made: Option<&Made>) -> String {
    made.map_or_else(|| code.to_string(), |made| made.number.to_string())
}

fn moments(made: Option<&Made>) -> (Option<String>, Option<String>) {
    (made.map(|made| made.created_at.rfc3339()), made.map(|made| made.updated_at.rfc3339()))
}

/// The code that a text stands for, as a number or as itself.
fn named<T>(made: &BTreeMap<Code, Made>, defined: &BTreeMap<Code, T>, text: &str) -> Option<Code> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = made.iter().find(|(_, made)| made.number.to_string() == text);
        return number.map(|(code, _)| code.clone()).filter(|code| defined.contains_key(code));
    }
    defined.get_key_value(text).map(|(code, _)| code.clone())
}
