//! `permissions`, `roles`, `groups`, `organizations`: the overlay that the file lays over the store.
//!
//! Law: what is declared here is never written to the store; it wins over a stored definition of the
//! same code. Codes that nothing defines are mistakes, not future plans.

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;
use crate::policy::definition::{Definitions, Group, ManagedBy, OrgRole, Permission, Role};
use crate::policy::{Code, Grant, seed};

/// One permission of the file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPermission {
    /// What refers to it.
    pub code: Code,
    /// How people read it; the code if absent.
    pub name: Option<String>,
    /// For people who administrate.
    pub description: String,
    /// Who holds the parent holds this too.
    pub parent: Option<Code>,
}

/// One role of the file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRole {
    /// What refers to it.
    pub code: Code,
    /// How people read it; the code if absent.
    pub name: Option<String>,
    /// For people who administrate.
    pub description: String,
    /// What it grants.
    pub permissions: Vec<Code>,
    /// Roles whose rights this one has too.
    pub inherits: Vec<Code>,
}

/// One group of the file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGroup {
    /// What refers to it.
    pub code: Code,
    /// How people read it; the code if absent.
    pub name: Option<String>,
    /// For people who administrate.
    pub description: String,
    /// Roles that its members have.
    pub roles: Vec<Code>,
    /// What it grants.
    pub permissions: Vec<Code>,
}

/// One org role of the file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOrgRole {
    /// What refers to it.
    pub code: Code,
    /// How people read it; the code if absent.
    pub name: Option<String>,
    /// For people who administrate.
    pub description: String,
    /// Codes, or `x.*` for `x` and everything below it.
    pub permissions: Vec<Grant>,
}

/// Organizations as the file writes them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOrganizations {
    /// Whether requests may name an organization.
    pub enabled: bool,
    /// Whether a role in an organization counts in those below it.
    pub inherit_roles: bool,
    /// How many levels of organizations there may be.
    #[schemars(range(min = 1, max = 32))]
    pub max_depth: u32,
    /// The page that links in invitations lead to, which gets `token` and accepts; `null`: mail holds the token
    /// alone.
    pub invitation_link: Option<String>,
    /// Org roles beside the seeded `owner`, `admin`, `member` and `viewer`.
    pub roles: Vec<RawOrgRole>,
}

/// Organizations.
#[derive(Clone, Debug)]
pub struct Organizations {
    pub is_enabled: bool,
    pub inherit_roles: bool,
    pub max_depth: u32,
    /// Where links in invitations lead to.
    pub invitation_link: Option<String>,
}

/// The four lists of the file, ready to become definitions.
pub(super) struct RawRights {
    pub permissions: Vec<RawPermission>,
    pub roles: Vec<RawRole>,
    pub groups: Vec<RawGroup>,
    pub org_roles: Vec<RawOrgRole>,
}

impl RawRights {
    /// The overlay by itself. What it refers to is looked up in the seeds with the overlay on top.
    pub fn check(self, report: &mut Report) -> Definitions {
        let overlay = Definitions {
            permissions: unique("permissions", &self.permissions, |p| &p.code, permission, report),
            roles: unique("roles", &self.roles, |r| &r.code, role, report),
            groups: unique("groups", &self.groups, |g| &g.code, group, report),
            org_roles: unique("organizations", &self.org_roles, |r| &r.code, org_role, report),
        };
        let all = seed::definitions().under(&overlay);
        self.check_references(&all, report);
        self.check_cycles(&all, report);
        self.check_untouchable(report);
        overlay
    }

    fn check_references(&self, all: &Definitions, report: &mut Report) {
        let root = Place::root();
        for (at, own) in self.permissions.iter().enumerate() {
            let place = root.key("permissions").item(at).key("parent");
            refer(own.parent.iter().map(|code| (place.clone(), code)), Kind::Permission, all, report);
        }
        for (at, own) in self.roles.iter().enumerate() {
            let place = root.key("roles").item(at);
            refer(each(&place, "permissions", &own.permissions), Kind::Permission, all, report);
            refer(each(&place, "inherits", &own.inherits), Kind::Role, all, report);
        }
        for (at, own) in self.groups.iter().enumerate() {
            let place = root.key("groups").item(at);
            refer(each(&place, "permissions", &own.permissions), Kind::Permission, all, report);
            refer(each(&place, "roles", &own.roles), Kind::Role, all, report);
        }
    }

    fn check_cycles(&self, all: &Definitions, report: &mut Report) {
        let (permissions, roles) = all.cycles();
        for (at, own) in
            self.permissions.iter().enumerate().filter(|(_, own)| permissions.contains(&own.code))
        {
            let place = Place::root().key("permissions").item(at).key("parent");
            report.problem(&place, format!("`{}` is its own ancestor", own.code)).hint("break the circle");
        }
        for (at, own) in self.roles.iter().enumerate().filter(|(_, own)| roles.contains(&own.code)) {
            let place = Place::root().key("roles").item(at).key("inherits");
            report.problem(&place, format!("`{}` inherits itself", own.code)).hint("break the circle");
        }
    }

    /// Built-in rules lean on these: a file that redefined them would change what they mean.
    fn check_untouchable(&self, report: &mut Report) {
        for (at, own) in
            self.roles.iter().enumerate().filter(|(_, own)| own.code.as_str() == seed::SUPER_ADMIN)
        {
            let place = Place::root().key("roles").item(at).key("code");
            report
                .problem(&place, format!("`{}` always holds every permission", own.code))
                .hint("choose another code");
        }
        let fixed = [seed::OWNER, seed::ADMIN];
        for (at, own) in
            self.org_roles.iter().enumerate().filter(|(_, own)| fixed.contains(&own.code.as_str()))
        {
            let place = Place::root().key("organizations").key("roles").item(at).key("code");
            report
                .problem(&place, format!("the org role `{}` is built in", own.code))
                .hint("choose another code");
        }
    }
}

fn each<'a>(place: &Place, key: &str, codes: &'a [Code]) -> Vec<(Place, &'a Code)> {
    codes.iter().enumerate().map(|(at, code)| (place.key(key).item(at), code)).collect()
}

/// Reports every code of a kind that nothing defines.
pub(super) fn refer<'a>(
    codes: impl IntoIterator<Item = (Place, &'a Code)>,
    kind: Kind,
    all: &Definitions,
    report: &mut Report,
) {
    let (name, section) = match kind {
        Kind::Permission => ("permission", "permissions"),
        Kind::Role => ("role", "roles"),
        Kind::Group => ("group", "groups"),
        Kind::OrgRole => ("org role", "organizations"),
    };
    for (place, code) in codes {
        if report.is_whole(section) && !kind.knows(all, code) {
            let problem = report.problem(&place, format!("no {name} `{code}` is declared or seeded"));
            problem.suggest(code.as_str(), kind.codes(all).iter().map(|known| known.as_str()));
        }
    }
}

/// What a code may be the code of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Permission,
    Role,
    Group,
    OrgRole,
}

impl Kind {
    fn knows(self, all: &Definitions, code: &Code) -> bool {
        match self {
            Self::Permission => all.permissions.contains_key(code),
            Self::Role => all.roles.contains_key(code),
            Self::Group => all.groups.contains_key(code),
            Self::OrgRole => all.org_roles.contains_key(code),
        }
    }

    fn codes(self, all: &Definitions) -> Vec<&Code> {
        match self {
            Self::Permission => all.permissions.keys().collect(),
            Self::Role => all.roles.keys().collect(),
            Self::Group => all.groups.keys().collect(),
            Self::OrgRole => all.org_roles.keys().collect(),
        }
    }
}

fn unique<R, D>(
    section: &str,
    list: &[R],
    code: impl Fn(&R) -> &Code,
    define: impl Fn(&R) -> D,
    report: &mut Report,
) -> std::collections::BTreeMap<Code, D> {
    let mut map = std::collections::BTreeMap::new();
    for (at, raw) in list.iter().enumerate() {
        if map.insert(code(raw).clone(), define(raw)).is_some() {
            let mut place = Place::root().key(section);
            if section == "organizations" {
                place = place.key("roles");
            }
            report.problem(&place.item(at).key("code"), format!("`{}` is declared twice", code(raw)));
        }
    }
    map
}

fn shown(name: Option<&String>, code: &Code) -> String {
    name.cloned().unwrap_or_else(|| code.to_string())
}

fn permission(raw: &RawPermission) -> Permission {
    Permission {
        name: shown(raw.name.as_ref(), &raw.code),
        description: raw.description.clone(),
        parent: raw.parent.clone(),
        managed_by: ManagedBy::Config,
    }
}

fn role(raw: &RawRole) -> Role {
    Role {
        name: shown(raw.name.as_ref(), &raw.code),
        description: raw.description.clone(),
        permissions: raw.permissions.clone(),
        inherits: raw.inherits.clone(),
        is_default: false,
        managed_by: ManagedBy::Config,
    }
}

fn group(raw: &RawGroup) -> Group {
    Group {
        name: shown(raw.name.as_ref(), &raw.code),
        description: raw.description.clone(),
        roles: raw.roles.clone(),
        permissions: raw.permissions.clone(),
        managed_by: ManagedBy::Config,
    }
}

fn org_role(raw: &RawOrgRole) -> OrgRole {
    OrgRole {
        name: shown(raw.name.as_ref(), &raw.code),
        description: raw.description.clone(),
        permissions: raw.permissions.clone(),
        is_default: false,
        managed_by: ManagedBy::Config,
    }
}
