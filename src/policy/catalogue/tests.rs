use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::policy::definition::{Group, ManagedBy, Permission, Role};

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn codes(texts: &[&str]) -> Vec<Code> {
    texts.iter().map(|text| code(text)).collect()
}

fn permission(parent: Option<Code>) -> Permission {
    Permission { name: String::new(), description: String::new(), parent, managed_by: ManagedBy::Store }
}

fn role(permissions: Vec<Code>, inherits: Vec<Code>) -> Role {
    Role {
        name: String::new(),
        description: String::new(),
        permissions,
        inherits,
        is_default: false,
        managed_by: ManagedBy::Store,
    }
}

#[test]
fn a_parent_brings_everything_below_it() {
    let catalogue = Catalogue::build(seed::definitions(), 1);
    let rights = catalogue.rights(&Assignments { permissions: codes(&["users"]), ..Assignments::default() });
    assert_eq!(rights.codes().len(), 15);
    assert!(rights.holds_code(&code("users.roles.assign")) && !rights.holds_code(&code("roles.view")));
    let rights =
        catalogue.rights(&Assignments { permissions: codes(&["users.roles"]), ..Assignments::default() });
    assert!(!rights.holds_code(&code("users")) && !rights.holds_code(&code("users.view")));
}

#[test]
fn super_admin_holds_permissions_that_were_defined_later() {
    let mut definitions = seed::definitions();
    definitions.permissions.insert(code("new.one"), permission(None));
    let rights = Catalogue::build(definitions, 1)
        .rights(&Assignments { roles: codes(&["super_admin"]), ..Assignments::default() });
    assert!(rights.holds_code(&code("new.one")));
    assert!(!rights.is_superuser && !rights.holds_code(&code("nobody.defines.this")));
}

#[test]
fn what_nobody_defines_grants_nothing() {
    let catalogue = Catalogue::build(seed::definitions(), 1);
    let rights = catalogue.rights(&Assignments {
        roles: codes(&["ghost"]),
        permissions: codes(&["ghost.read"]),
        groups: codes(&["ghosts"]),
        is_superuser: false,
    });
    assert!(rights.codes().is_empty() && rights.roles().is_empty() && rights.groups().is_empty());
}

#[test]
fn a_superuser_passes_permissions_but_has_no_roles() {
    let catalogue = Catalogue::build(seed::definitions(), 1);
    let rights = catalogue.rights(&Assignments { is_superuser: true, ..Assignments::default() });
    assert!(rights.holds(catalogue.permission(&code("system.admin")).unwrap()));
    assert!(!rights.has_role(catalogue.role(&code("admin")).unwrap()) && rights.codes().is_empty());
}

#[test]
fn groups_bring_roles_and_roles_bring_what_they_inherit() {
    let mut definitions = seed::definitions();
    definitions.roles.insert(code("analyst"), role(codes(&["content.view"]), vec![]));
    definitions.roles.insert(code("finance"), role(codes(&["gdpr.admin"]), codes(&["analyst", "ghost"])));
    let group = Group {
        name: String::new(),
        description: String::new(),
        roles: codes(&["finance"]),
        permissions: codes(&["dashboard.view"]),
        managed_by: ManagedBy::Store,
    };
    definitions.groups.insert(code("back-office"), group);
    let catalogue = Catalogue::build(definitions, 7);
    let rights = catalogue.rights(&Assignments { groups: codes(&["back-office"]), ..Assignments::default() });
    assert_eq!(rights.codes(), codes(&["content.view", "dashboard.view", "gdpr.admin"]));
    assert_eq!(rights.roles(), codes(&["analyst", "finance"]));
    assert_eq!((rights.generation, rights.groups()), (7, codes(&["back-office"])));
}

/// Random definitions over ten permissions and six roles; circles and unknown codes included.
fn any_definitions() -> impl Strategy<Value = Definitions> {
    let parents = proptest::collection::vec(proptest::option::of(0usize..12), 10);
    let roles = proptest::collection::vec(
        (proptest::collection::vec(0usize..12, 0..4), proptest::collection::vec(0usize..8, 0..3)),
        6,
    );
    (parents, roles).prop_map(|(parents, roles)| {
        let mut definitions = Definitions::default();
        for (at, parent) in parents.into_iter().enumerate() {
            definitions
                .permissions
                .insert(code(&format!("p{at}")), permission(parent.map(|p| code(&format!("p{p}")))));
        }
        for (at, (permissions, inherits)) in roles.into_iter().enumerate() {
            let permissions = permissions.into_iter().map(|p| code(&format!("p{p}"))).collect();
            let inherits = inherits.into_iter().map(|r| code(&format!("r{r}"))).collect();
            definitions.roles.insert(code(&format!("r{at}")), role(permissions, inherits));
        }
        definitions
    })
}

/// What must hold, one question at a time: a permission is held if it or any ancestor is given,
/// directly or by a role that is assigned or inherited.
fn naive_holds(definitions: &Definitions, assigned: &Assignments, wanted: &Code) -> bool {
    let mut roles: BTreeSet<Code> = BTreeSet::new();
    let mut todo: Vec<Code> = assigned.roles.clone();
    while let Some(role) = todo.pop() {
        if let Some(definition) = definitions.roles.get(&role)
            && roles.insert(role.clone())
        {
            todo.extend(definition.inherits.clone());
        }
    }
    let mut given: BTreeSet<Code> = assigned.permissions.iter().cloned().collect();
    given.extend(roles.iter().flat_map(|role| definitions.roles[role].permissions.clone()));
    let mut seen = BTreeSet::new();
    let mut at = definitions.permissions.contains_key(wanted).then(|| wanted.clone());
    while let Some(code) = at {
        if given.contains(&code) && definitions.permissions.contains_key(&code) {
            return true;
        }
        if !seen.insert(code.clone()) {
            return false;
        }
        at = definitions.permissions.get(&code).and_then(|own| own.parent.clone());
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn closures_agree_with_asking_one_by_one(
        definitions in any_definitions(),
        roles in proptest::collection::vec(0usize..8, 0..3),
        permissions in proptest::collection::vec(0usize..12, 0..3),
    ) {
        let assigned = Assignments {
            roles: roles.into_iter().map(|r| code(&format!("r{r}"))).collect(),
            permissions: permissions.into_iter().map(|p| code(&format!("p{p}"))).collect(),
            ..Assignments::default()
        };
        let rights = Catalogue::build(definitions.clone(), 1).rights(&assigned);
        for at in 0..12 {
            let wanted = code(&format!("p{at}"));
            prop_assert_eq!(rights.holds_code(&wanted), naive_holds(&definitions, &assigned, &wanted), "{}", wanted);
            prop_assert_eq!(rights.holds_code(&wanted), rights.codes().contains(&wanted));
        }
        let sorted: Vec<Code> = rights.codes().into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(rights.codes(), sorted);
    }
}
