//! What permissions, roles, groups and org roles exist, and who said so.
//!
//! Law: later layers win over earlier ones, code by code: seeds, then the store, then YAML. Nothing
//! here is computed; `Catalogue` does that.

use std::collections::BTreeMap;

use super::{Code, Grant};

/// Who defines something, and so who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManagedBy {
    /// Came with the gateway.
    Seed,
    /// Made through the API or the command line.
    Store,
    /// The configuration file: the API refuses to change it.
    Config,
}

impl ManagedBy {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Store => "store",
            Self::Config => "config",
        }
    }
}

/// A right that can be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub name: String,
    pub description: String,
    /// Who holds the parent holds this too.
    pub parent: Option<Code>,
    pub managed_by: ManagedBy,
}

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub description: String,
    pub permissions: Vec<Code>,
    /// Roles whose rights this one has as well, and as which its holders count.
    pub inherits: Vec<Code>,
    /// Whether new accounts get it.
    pub is_default: bool,
    pub managed_by: ManagedBy,
}

/// A named set of roles and permissions for many accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub description: String,
    pub roles: Vec<Code>,
    pub permissions: Vec<Code>,
    pub managed_by: ManagedBy,
}

/// What a member of an organization is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgRole {
    pub name: String,
    pub description: String,
    pub permissions: Vec<Grant>,
    /// Whether new members get it when nothing else is said.
    pub is_default: bool,
    pub managed_by: ManagedBy,
}

/// Every definition of one layer, or of several laid over each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    pub permissions: BTreeMap<Code, Permission>,
    pub roles: BTreeMap<Code, Role>,
    pub groups: BTreeMap<Code, Group>,
    pub org_roles: BTreeMap<Code, OrgRole>,
}

impl Definitions {
    /// These definitions with `upper` laid over them: where both define a code, `upper` wins.
    #[must_use]
    pub fn under(mut self, upper: &Self) -> Self {
        self.permissions.extend(upper.permissions.clone());
        self.roles.extend(upper.roles.clone());
        self.groups.extend(upper.groups.clone());
        self.org_roles.extend(upper.org_roles.clone());
        self
    }

    /// Codes that are their own ancestor: permissions by parent, roles by inheritance.
    #[must_use]
    pub fn cycles(&self) -> (Vec<Code>, Vec<Code>) {
        let parents = |code: &Code| {
            self.permissions.get(code).and_then(|p| p.parent.clone()).into_iter().collect::<Vec<_>>()
        };
        let inherited =
            |code: &Code| self.roles.get(code).map(|role| role.inherits.clone()).unwrap_or_default();
        (on_cycles(self.permissions.keys(), parents), on_cycles(self.roles.keys(), inherited))
    }

    /// Whether an org permission could be held by anyone: it is declared, or an org role grants it.
    #[must_use]
    pub fn knows_org_permission(&self, code: &Code) -> bool {
        self.permissions.contains_key(code)
            || self.org_roles.values().any(|role| role.permissions.iter().any(|grant| grant.covers(code)))
    }
}

fn on_cycles<'a>(codes: impl Iterator<Item = &'a Code>, above: impl Fn(&Code) -> Vec<Code>) -> Vec<Code> {
    codes
        .filter(|start| {
            let mut seen = vec![];
            let mut todo = above(start);
            while let Some(code) = todo.pop() {
                if code == **start {
                    return true;
                }
                if !seen.contains(&code) {
                    todo.extend(above(&code));
                    seen.push(code);
                }
            }
            false
        })
        .cloned()
        .collect()
}
