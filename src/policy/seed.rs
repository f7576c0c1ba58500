//! The definitions that come with the gateway: sections 19.2 and 25.1 of the contract.
//!
//! Law: they are the lowest layer. They are written nowhere but here; a store or a file that defines
//! the same code wins.

use super::definition::{Definitions, ManagedBy, OrgRole, Permission, Role};
use super::{Code, Grant};

/// The role that holds every permission there is, those of later definitions included.
pub const SUPER_ADMIN: &str = "super_admin";
/// The org role that owns an organization.
pub const OWNER: &str = "owner";
/// The org role that administrates one.
pub const ADMIN: &str = "admin";

/// A permission, its parent and how people read it.
const PERMISSIONS: [(&str, Option<&str>, &str); 47] = [
    ("users", None, "Users"),
    ("users.view", Some("users"), "View Users"),
    ("users.create", Some("users"), "Create Users"),
    ("users.update", Some("users"), "Update Users"),
    ("users.delete", Some("users"), "Delete Users"),
    ("users.ban", Some("users"), "Ban Users"),
    ("users.lock", Some("users"), "Lock Users"),
    ("users.roles", Some("users"), "User Roles"),
    ("users.roles.view", Some("users.roles"), "View User Roles"),
    ("users.roles.assign", Some("users.roles"), "Assign User Roles"),
    ("users.roles.remove", Some("users.roles"), "Remove User Roles"),
    ("users.permissions", Some("users"), "User Permissions"),
    ("users.permissions.view", Some("users.permissions"), "View User Permissions"),
    ("users.permissions.assign", Some("users.permissions"), "Assign User Permissions"),
    ("users.permissions.remove", Some("users.permissions"), "Remove User Permissions"),
    ("roles", None, "Roles"),
    ("roles.view", Some("roles"), "View Roles"),
    ("roles.create", Some("roles"), "Create Roles"),
    ("roles.update", Some("roles"), "Update Roles"),
    ("roles.delete", Some("roles"), "Delete Roles"),
    ("roles.manage_permissions", Some("roles"), "Manage Role Permissions"),
    ("permissions", None, "Permissions"),
    ("permissions.view", Some("permissions"), "View Permissions"),
    ("permissions.create", Some("permissions"), "Create Permissions"),
    ("permissions.update", Some("permissions"), "Update Permissions"),
    ("permissions.delete", Some("permissions"), "Delete Permissions"),
    ("applications", None, "Applications"),
    ("applications.view", Some("applications"), "View Applications"),
    ("applications.create", Some("applications"), "Create Applications"),
    ("applications.update", Some("applications"), "Update Applications"),
    ("applications.delete", Some("applications"), "Delete Applications"),
    ("applications.regenerate", Some("applications"), "Regenerate Application Credentials"),
    ("content", None, "Content"),
    ("content.view", Some("content"), "View Content"),
    ("content.create", Some("content"), "Create Content"),
    ("content.edit", Some("content"), "Edit Content"),
    ("content.delete", Some("content"), "Delete Content"),
    ("content.publish", Some("content"), "Publish Content"),
    ("system", None, "System"),
    ("system.admin", Some("system"), "System Administration"),
    ("system.settings", Some("system"), "System Settings"),
    ("system.logs", Some("system"), "System Logs"),
    ("system.audit", Some("system"), "System Audit"),
    ("dashboard.view", None, "View Dashboard"),
    ("security.view", None, "View Security"),
    ("gdpr.admin", None, "GDPR Administration"),
    ("gdpr.process", None, "Process GDPR Requests"),
];

/// A role, how people read it, whether new accounts get it, and its permissions.
const ROLES: [(&str, &str, bool, &[&str]); 3] = [
    ("viewer", "Viewer", true, &["content.view"]),
    ("editor", "Editor", false, &["content.view", "content.create", "content.edit"]),
    (
        "admin",
        "Administrator",
        false,
        &[
            "content.view",
            "content.create",
            "content.edit",
            "content.delete",
            "content.publish",
            "users.view",
            "users.create",
            "users.update",
            "users.roles.view",
            "users.roles.assign",
            "users.roles.remove",
            "roles.view",
            "permissions.view",
        ],
    ),
];

/// An org role, how people read it, whether new members get it, and what it grants.
const ORG_ROLES: [(&str, &str, bool, &[&str]); 4] = [
    (OWNER, "Owner", false, &["org.*"]),
    (
        ADMIN,
        "Admin",
        false,
        &[
            "org.members.invite",
            "org.members.manage",
            "org.members.remove",
            "org.settings.read",
            "org.settings.write",
        ],
    ),
    ("member", "Member", true, &["org.read", "org.members.read"]),
    ("viewer", "Viewer", false, &["org.read"]),
];

/// Everything that exists before anyone defines anything.
#[must_use]
pub fn definitions() -> Definitions {
    let mut all = Definitions::default();
    for (code, parent, name) in PERMISSIONS {
        let permission = Permission {
            name: name.to_owned(),
            description: String::new(),
            parent: parent.map(known),
            managed_by: ManagedBy::Seed,
        };
        all.permissions.insert(known(code), permission);
    }
    let every: Vec<&str> = PERMISSIONS.iter().map(|(code, _, _)| *code).collect();
    let super_admin = [(SUPER_ADMIN, "Super Administrator", false, &*every)];
    for (code, name, is_default, permissions) in ROLES.into_iter().chain(super_admin) {
        let role = Role {
            name: name.to_owned(),
            description: String::new(),
            permissions: permissions.iter().map(|code| known(code)).collect(),
            inherits: Vec::new(),
            is_default,
            managed_by: ManagedBy::Seed,
        };
        all.roles.insert(known(code), role);
    }
    for (code, name, is_default, grants) in ORG_ROLES {
        let role = OrgRole {
            name: name.to_owned(),
            description: String::new(),
            permissions: grants.iter().map(|grant| known_grant(grant)).collect(),
            is_default,
            managed_by: ManagedBy::Seed,
        };
        all.org_roles.insert(known(code), role);
    }
    all
}

#[expect(clippy::expect_used, reason = "the texts are the constants above, and a test parses each of them")]
fn known(code: &str) -> Code {
    Code::parse(code).expect("a seeded code follows the grammar")
}

#[expect(clippy::expect_used, reason = "the texts are the constants above, and a test parses each of them")]
fn known_grant(grant: &str) -> Grant {
    Grant::parse(grant).expect("a seeded grant follows the grammar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_what_the_contract_counts() {
        let seed = definitions();
        assert_eq!(seed.permissions.len(), 47);
        assert_eq!(seed.permissions.values().filter(|p| p.parent.is_some()).count(), 37);
        assert_eq!(seed.roles.len(), 4);
        assert_eq!(seed.roles["admin"].permissions.len(), 13);
        assert_eq!(seed.roles["super_admin"].permissions.len(), 47);
        assert_eq!(seed.org_roles.len(), 4);
        let defaults: Vec<_> =
            seed.roles.iter().filter(|(_, role)| role.is_default).map(|(code, _)| code.as_str()).collect();
        assert_eq!(defaults, ["viewer"]);
    }

    #[test]
    fn seeded_roles_and_parents_name_only_seeded_permissions() {
        let seed = definitions();
        let parents = seed.permissions.values().filter_map(|p| p.parent.as_ref());
        for code in seed.roles.values().flat_map(|role| &role.permissions).chain(parents) {
            assert!(seed.permissions.contains_key(code), "{code}");
        }
        assert_eq!(seed.cycles(), (vec![], vec![]));
    }
}
