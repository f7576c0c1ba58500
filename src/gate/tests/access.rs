//! Policies on the whole pipeline: truth tables, and a model that decides the slow way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;

fn route(name: &str, allow: &str) -> String {
    format!("  - {{ name: {name}, match: {{ path: '/{name}/{{id}}' }}, upstream: app, allow: {allow} }}\n")
}

fn routes(allows: &[(&str, &str)]) -> String {
    let all: String = allows.iter().map(|(name, allow)| route(name, allow)).collect();
    format!("routes:\n{all}")
}

#[tokio::test]
async fn every_condition_has_its_yes_and_its_no() {
    let setting = setting(&routes(&[
        ("permission", "{ permission: reports.read }"),
        ("role", "{ role: analyst }"),
        ("group", "{ group: finance }"),
        ("email", "{ verified: email }"),
        ("phone", "{ verified: phone }"),
        ("fresh", "{ max_age: 5m }"),
        ("staff", "{ staff: true }"),
        ("super", "{ superuser: true }"),
        ("owner", "{ owner: id }"),
        ("mfa", "{ mfa: true }"),
    ]))
    .await;
    let plain = setting.person("plain", |person| {
        person.session.authenticated_at = NOON.minus(Duration::from_mins(10));
    });
    let full = setting.person("full", |person| {
        person.assignments.groups = vec![code("finance")];
        person.account.is_staff = true;
        person.account.has_second_factor = true;
        person.account.is_email_verified = true;
        person.account.is_phone_verified = true;
        person.session.second_factor_at = Some(NOON);
    });
    let expected = [
        ("permission", "PERMISSION_REQUIRED"),
        ("role", "ROLE_REQUIRED"),
        ("group", "GROUP_REQUIRED"),
        ("email", "EMAIL_NOT_VERIFIED"),
        ("phone", "PHONE_NOT_VERIFIED"),
        ("fresh", "REAUTHENTICATION_REQUIRED"),
        ("staff", "STAFF_REQUIRED"),
        ("super", "SUPERUSER_REQUIRED"),
        ("owner", "OWNER_REQUIRED"),
        ("mfa", "MFA_REQUIRED"),
    ];
    for (name, refusal) in expected {
        let request = request("GET", &format!("/{name}/{}", account_of("full")));
        let outcomes =
            setting.outcomes([request.clone(), request.clone().bearer(&plain), request.bearer(&full)]).await;
        let yes = if name == "super" { format!("403 {refusal}") } else { "200".to_owned() };
        assert_eq!(outcomes, ["401 AUTH_REQUIRED".to_owned(), format!("403 {refusal}"), yes], "{name}");
    }
}

#[tokio::test]
async fn staff_that_must_have_a_second_factor_and_has_none_may_nothing_in_a_session_from_before() {
    let yaml = routes(&[("mine", "signed_in"), ("staff", "{ staff: true }")]);
    for (rule, outcome) in [("required", "403 INSUFFICIENT_SCOPE"), ("optional", "200")] {
        let yaml = format!("accounts: {{ staff_second_factor: {rule} }}\n{yaml}");
        let setting = setting(&yaml).await;
        let bare = setting.person("bare", |person| person.account.is_staff = true);
        let safe = setting.person("safe", |person| {
            person.account.is_staff = true;
            person.account.has_second_factor = true;
        });
        for path in ["/mine/1", "/staff/1"] {
            let of = |token: &str| request("GET", path).bearer(token);
            assert_eq!(setting.outcomes([of(&bare), of(&safe)]).await, [outcome, "200"], "{rule} {path}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_failed_and_what_is_missing() {
    let setting =
        setting(&routes(&[("all", "{ all: [ { permission: pay }, { permission: reports.read } ] }")])).await;
    let ada = setting.person("ada", |_| {});
    let rejection = setting.rejection(&request("GET", "/all/1").bearer(&ada)).await;
    let body = rejection.body("r-1");
    assert_eq!((&body["code"], &body["failed"]), (&json!("PERMISSION_REQUIRED"), &json!("permission")));
    assert_eq!((&body["missing"], &body["retryable"]), (&json!(["pay", "reports.read"]), &json!(false)));
    assert_eq!((&body["request_id"], &body["details"]), (&json!("r-1"), &json!({})));
    assert!(!body["remedy"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn superusers_pass_permissions_and_nothing_else() {
    let setting = setting(&routes(&[
        ("permission", "{ permission: pay }"),
        ("role", "{ role: analyst }"),
        ("group", "{ group: finance }"),
        ("email", "{ verified: email }"),
        ("owner", "{ owner: id }"),
        ("mfa", "{ mfa: true }"),
        ("org", "{ org: member }"),
        ("super", "{ superuser: true }"),
    ]))
    .await;
    setting.organization("acme", &[]);
    let root = setting.person("root", |person| {
        person.assignments.is_superuser = true;
        person.account.is_superuser = true;
        person.account.has_second_factor = true;
    });
    let names = ["permission", "role", "group", "email", "owner", "mfa", "super"];
    let all = names.map(|name| request("GET", &format!("/{name}/1")).bearer(&root));
    let outcomes: Vec<bool> = setting.outcomes(all).await.iter().map(|outcome| outcome == "200").collect();
    assert_eq!(outcomes, [true, false, false, false, false, false, true]);
    let org = request("GET", "/org/1").bearer(&root).with("x-org-slug", "acme");
    assert_eq!(setting.outcome(&org).await, "404 ORG_NOT_FOUND");
}

#[tokio::test]
async fn a_no_that_rests_on_nobody_is_a_question_who_calls() {
    let setting = setting(&routes(&[
        ("not", "{ not: { role: analyst } }"),
        ("any", "{ any: [ { not: { staff: true } }, { application: any } ] }"),
    ]))
    .await;
    assert_eq!(setting.outcome(&request("GET", "/not/1")).await, "401 AUTH_REQUIRED");
    assert_eq!(setting.outcome(&request("GET", "/any/1")).await, "401 AUTH_REQUIRED");
    let ada = setting.person("ada", |_| {});
    assert_eq!(setting.outcome(&request("GET", "/not/1").bearer(&ada)).await, "200");
}

type Codes = &'static [&'static str];

/// What people may hold, and what each brings, written out by hand from the definitions.
const HOLDINGS: [(&str, &str, Codes, Codes, Codes); 6] = [
    // kind, code, permissions, roles, groups
    ("permission", "reports", &["reports", "reports.read"], &[], &[]),
    ("permission", "reports.read", &["reports.read"], &[], &[]),
    ("permission", "pay", &["pay"], &[], &[]),
    ("role", "analyst", &["reports.read"], &["analyst"], &[]),
    ("role", "chief", &["reports.read"], &["analyst", "chief"], &[]),
    ("group", "finance", &["reports.read", "pay"], &["analyst"], &["finance"]),
];

/// A condition as the model understands it.
#[derive(Debug, Clone)]
enum Rule {
    Leaf(&'static str, &'static str),
    Staff,
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
}

impl Rule {
    fn yaml(&self) -> String {
        let list = |rules: &[Self]| rules.iter().map(Self::yaml).collect::<Vec<_>>().join(", ");
        match self {
            Self::Leaf(kind, code) => format!("{{ {kind}: {code} }}"),
            Self::Staff => "{ staff: true }".to_owned(),
            Self::All(rules) => format!("{{ all: [ {} ] }}", list(rules)),
            Self::Any(rules) => format!("{{ any: [ {} ] }}", list(rules)),
            Self::Not(rule) => format!("{{ not: {} }}", rule.yaml()),
        }
    }

    fn holds(&self, held: &BTreeMap<&str, BTreeSet<&str>>, is_staff: bool) -> bool {
        match self {
            Self::Leaf(kind, code) => held[kind].contains(code),
            Self::Staff => is_staff,
            Self::All(rules) => rules.iter().all(|rule| rule.holds(held, is_staff)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(held, is_staff)),
            Self::Not(rule) => !rule.holds(held, is_staff),
        }
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let leaves: Vec<_> = HOLDINGS.iter().map(|(kind, code, ..)| Rule::Leaf(kind, code)).collect();
    let leaf = prop_oneof![4 => proptest::sample::select(leaves), 1 => Just(Rule::Staff)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Rule::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Rule::Any),
            inner.prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

#[test]
fn the_gate_decides_as_a_model_that_counts_on_its_fingers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = (prop::collection::vec(rule(), 12), prop::collection::vec((0u8..64, any::<bool>()), 12));
    let mut runner = TestRunner::new(Cases { cases: 6, failure_persistence: None, ..Cases::default() });
    let outcome = runner.run(&cases, |(rules, people)| {
        runtime.block_on(compare(&rules, &people));
        Ok(())
    });
    outcome.unwrap();
}

async fn compare(rules: &[Rule], people: &[(u8, bool)]) {
    let names: Vec<String> = (0..rules.len()).map(|n| format!("r{n}")).collect();
    let yaml: String = names.iter().zip(rules).map(|(name, rule)| route(name, &rule.yaml())).collect();
    let setting = setting(&format!("routes:\n{yaml}")).await;
    for (number, (mask, is_staff)) in people.iter().enumerate() {
        let mine = || HOLDINGS.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, h)| h);
        let of = |kind: &str| mine().filter(|h| h.0 == kind).map(|h| code(h.1)).collect::<Vec<_>>();
        let token = setting.person(&format!("p{number}"), |person| {
            person.account.is_staff = *is_staff;
            person.account.has_second_factor = true;
            person.assignments.roles = of("role");
            person.assignments.permissions = of("permission");
            person.assignments.groups = of("group");
        });
        let held: BTreeMap<&str, BTreeSet<&str>> = [
            ("permission", mine().flat_map(|h| h.2).copied().collect()),
            ("role", mine().flat_map(|h| h.3).copied().collect()),
            ("group", mine().flat_map(|h| h.4).copied().collect()),
        ]
        .into();
        for (name, rule) in names.iter().zip(rules) {
            let outcome = setting.outcome(&request("GET", &format!("/{name}/1")).bearer(&token)).await;
            let expected = rule.holds(&held, *is_staff);
            assert_eq!(
                outcome == "200",
                expected,
                "{} for {held:?}, staff {is_staff}: {outcome}",
                rule.yaml()
            );
        }
    }
}
