//! Every definition that exists now, compiled: codes to indexes, parents and inheritance to sets.
//!
//! Law: immutable, built anew whenever a definition changes, with a generation that only grows.
//! What people hold are codes; what a code means is looked up here, so a removed role grants nothing
//! and a code that nobody defines grants nothing.

use std::sync::Arc;

use super::definition::Definitions;
use super::{Bits, Code, seed};

/// What an account was given, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    pub roles: Vec<Code>,
    pub permissions: Vec<Code>,
    pub groups: Vec<Code>,
    pub is_superuser: bool,
}

/// Names of indexes, sorted, so that ascending indexes are sorted names.
type Names = Arc<[Code]>;

/// Definitions, ready to be asked.
#[derive(Clone, Debug)]
pub struct Catalogue {
    generation: u64,
    definitions: Definitions,
    permissions: Names,
    roles: Names,
    groups: Names,
    /// For each permission: itself and everything below it.
    below: Vec<Bits>,
    by_role: Vec<Granted>,
    by_group: Vec<Granted>,
}

/// What a role or group brings, everything followed.
#[derive(Clone, Debug, Default)]
struct Granted {
    permissions: Bits,
    roles: Bits,
}

/// What an account may do now, by one catalogue.
#[derive(Clone, Debug)]
pub struct Rights {
    /// The catalogue that these indexes belong to.
    pub generation: u64,
    pub is_superuser: bool,
    permissions: Bits,
    roles: Bits,
    groups: Bits,
    permission_names: Names,
    role_names: Names,
    group_names: Names,
}

impl Catalogue {
    /// Compiles definitions. Circles among them, which a store may hold, end where they close.
    #[must_use]
    pub fn build(definitions: Definitions, generation: u64) -> Self {
        let permissions: Names = definitions.permissions.keys().cloned().collect();
        let roles: Names = definitions.roles.keys().cloned().collect();
        let groups: Names = definitions.groups.keys().cloned().collect();
        let mut catalogue = Self {
            generation,
            below: descendants(&definitions, &permissions),
            by_role: Vec::new(),
            by_group: Vec::new(),
            definitions,
            permissions,
            roles,
            groups,
        };
        catalogue.by_role = (0..catalogue.roles.len()).map(|role| catalogue.of_role(role)).collect();
        catalogue.by_group = catalogue
            .definitions
            .groups
            .values()
            .map(|group| catalogue.granted(&group.permissions, &group.roles))
            .collect();
        catalogue
    }

    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    #[must_use]
    pub const fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// The index of a permission, unless nothing defines it.
    #[must_use]
    pub fn permission(&self, code: &Code) -> Option<usize> {
        self.permissions.binary_search(code).ok()
    }

    #[must_use]
    pub fn role(&self, code: &Code) -> Option<usize> {
        self.roles.binary_search(code).ok()
    }

    #[must_use]
    pub fn group(&self, code: &Code) -> Option<usize> {
        self.groups.binary_search(code).ok()
    }

    /// The org roles that grant a permission inside an organization, sorted.
    #[must_use]
    pub fn org_roles_granting(&self, permission: &Code) -> Vec<Code> {
        let roles = self.definitions.org_roles.iter();
        roles
            .filter(|(_, role)| role.permissions.iter().any(|grant| grant.covers(permission)))
            .map(|(code, _)| code.clone())
            .collect()
    }

    /// What someone may do who was given these.
    #[must_use]
    pub fn rights(&self, assignments: &Assignments) -> Rights {
        let mut all = self.granted(&assignments.permissions, &assignments.roles);
        let mut groups = Bits::with_room(self.groups.len());
        for index in assignments.groups.iter().filter_map(|code| self.group(code)) {
            groups.insert(index);
            all.permissions.add(&self.by_group[index].permissions);
            all.roles.add(&self.by_group[index].roles);
        }
        Rights {
            generation: self.generation,
            is_superuser: assignments.is_superuser,
            permissions: all.permissions,
            roles: all.roles,
            groups,
            permission_names: Arc::clone(&self.permissions),
            role_names: Arc::clone(&self.roles),
            group_names: Arc::clone(&self.groups),
        }
    }

    /// Direct permissions with what lies below them, and roles with all that they bring.
    fn granted(&self, permissions: &[Code], roles: &[Code]) -> Granted {
        let mut granted = Granted {
            permissions: Bits::with_room(self.permissions.len()),
            roles: Bits::with_room(self.roles.len()),
        };
        for index in permissions.iter().filter_map(|code| self.permission(code)) {
            granted.permissions.add(&self.below[index]);
        }
        for index in roles.iter().filter_map(|code| self.role(code)) {
            granted.permissions.add(&self.by_role[index].permissions);
            granted.roles.add(&self.by_role[index].roles);
        }
        granted
    }

    /// A role with every role that it inherits, and the permissions of all of them.
    fn of_role(&self, role: usize) -> Granted {
        let mut granted = Granted::default();
        let mut todo = vec![role];
        while let Some(index) = todo.pop() {
            if granted.roles.contains(index) {
                continue;
            }
            granted.roles.insert(index);
            let code = &self.roles[index];
            if code.as_str() == seed::SUPER_ADMIN {
                granted.permissions.add(&Bits::all_below(self.permissions.len()));
            }
            let Some(definition) = self.definitions.roles.get(code) else { continue };
            for permission in definition.permissions.iter().filter_map(|code| self.permission(code)) {
                granted.permissions.add(&self.below[permission]);
            }
            todo.extend(definition.inherits.iter().filter_map(|code| self.role(code)));
        }
        granted
    }
}

/// For each permission: itself and everything below it, found by climbing from each permission.
fn descendants(definitions: &Definitions, names: &[Code]) -> Vec<Bits> {
    // Looked up once: climbing is done for each, and who defines permissions decides how high they stand.
    let parent_of = |name: &Code| {
        let parent = definitions.permissions.get(name).and_then(|own| own.parent.as_ref());
        parent.and_then(|parent| names.binary_search(parent).ok())
    };
    let parents: Vec<Option<usize>> = names.iter().map(parent_of).collect();
    let mut below = vec![Bits::with_room(names.len()); names.len()];
    for start in 0..names.len() {
        let mut at = Some(start);
        while let Some(index) = at {
            if below[index].contains(start) {
                break;
            }
            below[index].insert(start);
            at = parents[index];
        }
    }
    below
}

impl Rights {
    /// Whether a permission is held, by its index in the same catalogue. A superuser holds all.
    #[must_use]
    pub fn holds(&self, permission: usize) -> bool {
        self.is_superuser || self.permissions.contains(permission)
    }

    /// The same by code, for questions that are not asked on every request.
    #[must_use]
    pub fn holds_code(&self, code: &Code) -> bool {
        self.is_superuser
            || self.permission_names.binary_search(code).is_ok_and(|i| self.permissions.contains(i))
    }

    #[must_use]
    pub fn has_role(&self, role: usize) -> bool {
        self.roles.contains(role)
    }

    #[must_use]
    pub fn is_in_group(&self, group: usize) -> bool {
        self.groups.contains(group)
    }

    /// The part of these rights that a credential reaches: the permissions that both have. No role, no group
    /// and no superuser: those are the human's own.
    #[must_use]
    pub fn within(&self, reach: &Self) -> Self {
        let mut permissions = reach.permissions.clone();
        if !self.is_superuser {
            permissions.keep(&self.permissions);
        }
        Self {
            is_superuser: false,
            permissions,
            roles: Bits::default(),
            groups: Bits::default(),
            permission_names: Arc::clone(&self.permission_names),
            role_names: Arc::clone(&self.role_names),
            group_names: Arc::clone(&self.group_names),
            generation: self.generation,
        }
    }

    /// The permissions held through assignments, sorted. A superuser's own list is not widened.
    #[must_use]
    pub fn codes(&self) -> Vec<Code> {
        named(&self.permissions, &self.permission_names)
    }

    /// The roles held, inherited ones and those of groups included, sorted.
    #[must_use]
    pub fn roles(&self) -> Vec<Code> {
        named(&self.roles, &self.role_names)
    }

    /// The groups that exist among those assigned, sorted.
    #[must_use]
    pub fn groups(&self) -> Vec<Code> {
        named(&self.groups, &self.group_names)
    }
}

fn named(bits: &Bits, names: &[Code]) -> Vec<Code> {
    bits.iter().filter_map(|index| names.get(index).cloned()).collect()
}

#[cfg(test)]
mod tests;
