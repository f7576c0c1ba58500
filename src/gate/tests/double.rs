//! The double check in worlds made up at random: permissions with parents, roles that inherit,
//! groups, organizations below others, and policies of every shape, against a model that was
//! written from the words of the design and knows nothing of how the gate keeps any of it.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::agents::{text_of_number, token_of};
use super::*;

/// How many worlds, and how many requests in each.
const WORLDS: usize = 24;
const REQUESTS: usize = 150;
const PERMISSIONS: usize = 7;
const ROLES: usize = 4;
const GROUPS: usize = 2;
const ORG_ROLES: usize = 3;
const ROUTES: usize = 8;

#[derive(Debug, Clone)]
struct Made {
    /// For each permission: a parent before it, and whether its code says so.
    parents: Vec<(Option<usize>, bool)>,
    /// What each role grants, and which roles before it it inherits.
    roles: Vec<(Vec<usize>, Vec<usize>)>,
    groups: Vec<(Vec<usize>, Vec<usize>)>,
    /// What each org role grants, and whether with everything below it.
    org_roles: Vec<Vec<(usize, bool)>>,
    routes: Vec<(Option<usize>, Allow)>,
}

#[derive(Debug, Clone)]
enum Allow {
    SignedIn,
    Permission(usize),
    Role(usize),
    Group(usize),
    Member,
    OrgRole(usize),
    OrgPermission(usize),
    Recent,
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

#[derive(Debug, Clone)]
struct Case {
    route: usize,
    delegated: Vec<usize>,
    permissions: Vec<usize>,
    roles: Vec<usize>,
    groups: Vec<usize>,
    is_superuser: bool,
    /// The roles in acme and in umbrella, which stands above it.
    here: Option<usize>,
    above: Option<usize>,
    is_for_acme: bool,
    named: Option<&'static str>,
    is_recent: bool,
}

// The model. From here to `judge` it is the design's paragraph, sentence by sentence.
impl Made {
    fn has_role(&self, held: usize, role: usize) -> bool {
        held == role || self.roles[held].1.iter().any(|inherited| self.has_role(*inherited, role))
    }

    fn all_roles(&self, case: &Case) -> Vec<usize> {
        let given = case.roles.iter().chain(case.groups.iter().flat_map(|group| &self.groups[*group].0));
        let given: Vec<usize> = given.copied().collect();
        (0..ROLES).filter(|role| given.iter().any(|held| self.has_role(*held, *role))).collect()
    }

    fn holds(&self, case: &Case, permission: usize) -> bool {
        let granted = self.all_roles(case).into_iter().flat_map(|role| self.roles[role].0.clone());
        let grouped = case.groups.iter().flat_map(|group| self.groups[*group].1.clone());
        let all: Vec<usize> = granted.chain(grouped).chain(case.permissions.clone()).collect();
        let mut climbing = std::iter::successors(Some(permission), |at| self.parents[*at].0);
        case.is_superuser || climbing.any(|ancestor| all.contains(&ancestor))
    }

    fn holds_there(&self, case: &Case, permission: usize) -> bool {
        let covers = |(granted, is_tree): &(usize, bool)| {
            let (granted, asked) = (self.code(*granted), self.code(permission));
            granted == asked || *is_tree && asked.starts_with(&format!("{granted}."))
        };
        [case.here, case.above].into_iter().flatten().any(|role| self.org_roles[role].iter().any(covers))
    }

    /// Yes, no, or `None`: no organization was named.
    fn allows(&self, case: &Case, allow: &Allow) -> Option<bool> {
        let there = |is_so: bool| case.is_for_acme.then_some(is_so);
        let all = |list: &[Allow], wanted: bool| {
            let answers: Vec<_> = list.iter().map(|inner| self.allows(case, inner)).collect();
            let is_settled = answers.contains(&Some(!wanted));
            if is_settled {
                Some(!wanted)
            } else {
                answers.into_iter().collect::<Option<Vec<_>>>().map(|_| wanted)
            }
        };
        match allow {
            Allow::SignedIn => Some(true),
            Allow::Permission(permission) => Some(self.holds(case, *permission)),
            Allow::Role(role) => Some(self.all_roles(case).contains(role)),
            Allow::Group(group) => Some(case.groups.contains(group)),
            Allow::Member => there(case.here.is_some()),
            Allow::OrgRole(role) => there(case.here == Some(*role) || case.above == Some(*role)),
            Allow::OrgPermission(permission) => there(self.holds_there(case, *permission)),
            Allow::Recent => Some(case.is_recent),
            Allow::All(list) => all(list, true),
            Allow::Any(list) => all(list, false),
            Allow::Not(inner) => self.allows(case, inner).map(|is_so| !is_so),
        }
    }

    /// The conjunct that fails first; `None`: the request passes.
    fn judge(&self, case: &Case) -> Option<&'static str> {
        let (asked, allow) = &self.routes[case.route];
        let Some(asked) = *asked else { return Some("admission") };
        let belongs = case.here.is_some() || case.above.is_some();
        let is_held = if case.is_for_acme { self.holds_there(case, asked) } else { self.holds(case, asked) };
        let is_other = case.named.is_some_and(|slug| !case.is_for_acme || slug != "acme");
        [
            ("agent_scope", case.delegated.contains(&asked)),
            ("organization", belongs || !case.is_for_acme),
            ("human_permission", is_held),
            ("organization", !is_other),
            ("policy", self.allows(case, allow) == Some(true)),
        ]
        .into_iter()
        .find_map(|(conjunct, is_so)| (!is_so).then_some(conjunct))
    }
}

impl Made {
    fn code(&self, permission: usize) -> String {
        match self.parents[permission] {
            (Some(parent), true) => format!("{}.p{permission}", self.code(parent)),
            _ => format!("p{permission}"),
        }
    }

    fn codes(&self, permissions: &[usize]) -> String {
        permissions.iter().map(|permission| self.code(*permission)).collect::<Vec<_>>().join(", ")
    }

    fn yaml(&self) -> String {
        let mut yaml = String::from("permissions:\n");
        for (at, (parent, _)) in self.parents.iter().enumerate() {
            let parent = parent.map_or("null".to_owned(), |parent| self.code(parent));
            writeln!(yaml, "  - {{ code: {}, parent: {parent} }}", self.code(at)).unwrap();
        }
        let named = |letter: &str, list: &[usize]| {
            list.iter().map(|at| format!("{letter}{at}")).collect::<Vec<_>>().join(", ")
        };
        yaml += "roles:\n";
        for (at, (grants, inherits)) in self.roles.iter().enumerate() {
            let (grants, inherits) = (self.codes(grants), named("r", inherits));
            writeln!(yaml, "  - {{ code: r{at}, permissions: [{grants}], inherits: [{inherits}] }}").unwrap();
        }
        yaml += "groups:\n";
        for (at, (roles, grants)) in self.groups.iter().enumerate() {
            let (grants, roles) = (self.codes(grants), named("r", roles));
            writeln!(yaml, "  - {{ code: g{at}, permissions: [{grants}], roles: [{roles}] }}").unwrap();
        }
        yaml += "organizations:\n  roles:\n";
        for (at, grants) in self.org_roles.iter().enumerate() {
            let star = |is_tree: bool| if is_tree { ".*" } else { "" };
            let grants = grants.iter().map(|(at, is_tree)| format!("'{}{}'", self.code(*at), star(*is_tree)));
            writeln!(
                yaml,
                "    - {{ code: o{at}, permissions: [{}] }}",
                grants.collect::<Vec<_>>().join(", ")
            )
            .unwrap();
        }
        yaml += "routes:\n";
        for (at, (asked, allow)) in self.routes.iter().enumerate() {
            let agents =
                asked.map_or(String::new(), |at| format!(", agents: {{ permission: {} }}", self.code(at)));
            writeln!(
                yaml,
                "  - {{ name: x{at}, match: {{ path: /x{at} }}, upstream: app, allow: {}{agents} }}",
                self.written(allow)
            )
            .unwrap();
        }
        yaml
    }

    fn written(&self, allow: &Allow) -> String {
        let list =
            |list: &[Allow]| list.iter().map(|inner| self.written(inner)).collect::<Vec<_>>().join(", ");
        match allow {
            Allow::SignedIn => "{ not: { staff: true } }".to_owned(),
            Allow::Permission(at) => format!("{{ permission: {} }}", self.code(*at)),
            Allow::Role(at) => format!("{{ role: r{at} }}"),
            Allow::Group(at) => format!("{{ group: g{at} }}"),
            Allow::Member => "{ org: member }".to_owned(),
            Allow::OrgRole(at) => format!("{{ org: {{ role: o{at} }} }}"),
            Allow::OrgPermission(at) => format!("{{ org: {{ permission: {} }} }}", self.code(*at)),
            Allow::Recent => "{ max_age: 1h }".to_owned(),
            Allow::All(inner) => format!("{{ all: [{}] }}", list(inner)),
            Allow::Any(inner) => format!("{{ any: [{}] }}", list(inner)),
            Allow::Not(inner) => format!("{{ not: {} }}", self.written(inner)),
        }
    }
}

fn some(of: usize, most: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::sample::subsequence((0..of).collect::<Vec<_>>(), 0..=most)
}

/// What stands before `at`.
fn before(at: usize) -> impl Strategy<Value = Vec<usize>> {
    some(at, at.min(2))
}

fn allows() -> impl Strategy<Value = Allow> {
    let leaf = prop_oneof![
        Just(Allow::SignedIn),
        (0..PERMISSIONS).prop_map(Allow::Permission),
        (0..ROLES).prop_map(Allow::Role),
        (0..GROUPS).prop_map(Allow::Group),
        Just(Allow::Member),
        (0..ORG_ROLES).prop_map(Allow::OrgRole),
        (0..PERMISSIONS).prop_map(Allow::OrgPermission),
        Just(Allow::Recent),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Allow::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Allow::Any),
            inner.prop_map(|inner| Allow::Not(Box::new(inner))),
        ]
    })
}

fn worlds() -> impl Strategy<Value = Made> {
    let parents: Vec<_> = (0..PERMISSIONS)
        .map(|at| {
            (prop::option::of(0..at.max(1)), any::<bool>()).prop_map(move |(p, d)| (p.filter(|p| *p < at), d))
        })
        .collect();
    let roles: Vec<_> = (0..ROLES).map(|at| (some(PERMISSIONS, 2), before(at))).collect();
    let groups = prop::collection::vec((some(ROLES, 2), some(PERMISSIONS, 1)), GROUPS);
    let grant = (0..PERMISSIONS, any::<bool>());
    let org_roles = prop::collection::vec(prop::collection::vec(grant, 1..4), ORG_ROLES);
    let routes = prop::collection::vec((prop::option::weighted(0.9, 0..PERMISSIONS), allows()), ROUTES);
    (parents, roles, groups, org_roles, routes).prop_map(|(parents, roles, groups, org_roles, routes)| Made {
        parents,
        roles,
        groups,
        org_roles,
        routes,
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let slug = prop::sample::select(vec![None, None, None, Some("acme"), Some("acme"), Some("umbrella")]);
    let role = || prop::option::of(0..ORG_ROLES);
    let given = (some(PERMISSIONS, 3), some(ROLES, 2), some(GROUPS, 1), prop::bool::weighted(0.1));
    let token = (0..ROUTES, some(PERMISSIONS, PERMISSIONS), any::<bool>(), slug, any::<bool>());
    (token, given, role(), role()).prop_map(|(token, given, here, above)| {
        let (route, delegated, is_for_acme, named, is_recent) = token;
        let (permissions, roles, groups, is_superuser) = given;
        Case {
            route,
            delegated,
            permissions,
            roles,
            groups,
            is_superuser,
            here,
            above,
            is_for_acme,
            named,
            is_recent,
        }
    })
}

fn give(setting: &Setting, made: &Made, case: &Case, text: &str) {
    let delegated: Vec<String> = case.delegated.iter().map(|at| made.code(*at)).collect();
    let mut token = token_of("ada", &delegated.iter().map(String::as_str).collect::<Vec<_>>());
    token.organization = case.is_for_acme.then(|| id_of("acme"));
    if !case.is_recent {
        token.authenticated_at = NOON.minus(Duration::from_hours(2));
    }
    setting.agent(text, token, "ada", |person| {
        let named =
            |letter: &str, list: &[usize]| list.iter().map(|at| code(&format!("{letter}{at}"))).collect();
        person.assignments = Assignments {
            permissions: case.permissions.iter().map(|at| code(&made.code(*at))).collect(),
            roles: named("r", &case.roles),
            groups: named("g", &case.groups),
            is_superuser: case.is_superuser,
        };
        let held = [("acme", case.here), ("umbrella", case.above)].into_iter();
        let held = held.filter_map(|(slug, role)| role.map(|role| membership(slug, &format!("o{role}"))));
        person.memberships = held.collect();
    });
}

/// A gate with rights of the test's own.
pub(super) async fn setting_of(yaml: &str) -> Setting {
    let yaml = format!("upstreams: {{ app: {{ servers: [127.0.0.1:9000] }} }}\n{yaml}").leak();
    setting_on(With { yaml, ..With::default() }).await
}

#[tokio::test]
async fn in_any_world_the_double_check_is_that_of_the_model() {
    let mut runner = TestRunner::default();
    let text = text_of_number(1);
    let (mut passed, mut failed) = (0, std::collections::BTreeMap::new());
    for _ in 0..WORLDS {
        let made = worlds().new_tree(&mut runner).unwrap().current();
        let setting = setting_of(&made.yaml()).await;
        setting.organization("acme", &["umbrella"]);
        setting.organization("umbrella", &[]);
        for _ in 0..REQUESTS {
            let case = cases().new_tree(&mut runner).unwrap().current();
            give(&setting, &made, &case, &text);
            let path = format!("/x{}", case.route);
            let mut request = request("GET", &path).with("authorization", &format!("AgentBearer {text}"));
            if let Some(slug) = case.named {
                request = request.with("x-org-slug", slug);
            }
            let wanted = made.judge(&case);
            match setting.decide(&request).await.verdict {
                Verdict::Forward(_) => {
                    assert_eq!(wanted, None, "{case:?}\n{}", made.yaml());
                    passed += 1;
                }
                Verdict::Reject(refusal) => {
                    let told = refusal.failed().unwrap_or("nothing");
                    let is_so = match wanted {
                        Some("admission") => refusal.code() == "AGENT_NOT_ALLOWED",
                        Some("policy") => ["route", "session", "organization"].contains(&told),
                        wanted => wanted == Some(told),
                    };
                    assert!(is_so, "{told} for {wanted:?}: {case:?}\n{}", made.yaml());
                    *failed.entry(wanted).or_insert(0) += 1;
                }
                Verdict::Answer(reply) => panic!("answered {reply:?}"),
            }
        }
    }
    assert!(passed > 20 && failed.len() == 5, "every outcome was met: {passed} passed, {failed:?}");
}
