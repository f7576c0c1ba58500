use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::catalogue::Assignments;
use crate::policy::definition::Definitions;

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn no_param<'a>(_: &str) -> Option<Cow<'a, str>> {
    None
}

const ME: u128 = 0x0190_b8a2_7c1e_7f00_8000_0000_0000_000a;

/// Someone with these rights, verified by e-mail, authenticated at second 100 of 160.
fn caller(rights: &Rights) -> Caller<'_> {
    Caller {
        id: Id::from_u128(ME),
        rights,
        reach: None,
        authenticated_at: Timestamp::from_millis(100_000),
        second_factor_at: None,
        is_staff: false,
        is_email_verified: true,
        is_phone_verified: false,
    }
}

fn facts<'a>(caller: Option<Caller<'a>>, organization: Organization<'a>) -> Facts<'a> {
    Facts { now: Timestamp::from_millis(160_000), caller, organization, application: None, param: &no_param }
}

fn judge(condition: Condition, facts: &Facts<'_>) -> Judgement {
    Allow::When(condition).compile(&catalogue()).judge(facts)
}

fn catalogue() -> Catalogue {
    Catalogue::build(seed::definitions(), 1)
}

fn editor(catalogue: &Catalogue) -> Rights {
    catalogue.rights(&Assignments { roles: vec![code("editor")], ..Assignments::default() })
}

#[test]
fn rights_decide_and_refusals_name_what_is_missing() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    let facts = facts(Some(caller(&rights)), Organization::NotNamed);
    let permission = |text: &str| Condition::Permission(code(text));
    assert_eq!(judge(permission("content.edit"), &facts), Judgement::Yes);
    assert_eq!(judge(Condition::Role(code("editor")), &facts), Judgement::Yes);
    let all =
        Condition::All(vec![permission("content.edit"), permission("users.view"), permission("system.logs")]);
    let Judgement::No(failure) = judge(all, &facts) else { panic!() };
    assert_eq!(
        failure,
        Failure {
            condition: "permission",
            missing: vec![code("system.logs"), code("users.view")],
            within: None
        }
    );
    let any = Condition::Any(vec![permission("users.view"), Condition::Staff]);
    let Judgement::No(failure) = judge(any, &facts) else { panic!() };
    assert_eq!(failure, Failure { condition: "any", missing: vec![code("users.view")], within: None });
}

#[test]
fn a_superuser_passes_permission_and_nothing_else() {
    let catalogue = catalogue();
    let rights = catalogue.rights(&Assignments { is_superuser: true, ..Assignments::default() });
    let mut who = caller(&rights);
    who.is_email_verified = false;
    let here = Organization::Named { here: None, above: &[], plan: "", status: "" };
    let facts = facts(Some(who), here);
    assert_eq!(judge(Condition::Permission(code("system.admin")), &facts), Judgement::Yes);
    assert_eq!(judge(Condition::Superuser, &facts), Judgement::Yes);
    for condition in [
        Condition::Role(code("admin")),
        Condition::Group(code("staff")),
        Condition::OrgMember,
        Condition::OrgAdmin,
        Condition::OrgPermission(code("org.read")),
        Condition::Owner("id".to_owned()),
        Condition::Mfa,
        Condition::VerifiedEmail,
        Condition::Staff,
        Condition::Scope("x".to_owned()),
        Condition::OrgPlan("gold".to_owned()),
        Condition::OrgStatus("active".to_owned()),
    ] {
        assert!(matches!(judge(condition.clone(), &facts), Judgement::No(_)), "{condition}");
    }
}

#[test]
fn nobody_is_let_in_by_a_negation() {
    let nobody = facts(None, Organization::NotNamed);
    for condition in [Condition::Staff, Condition::Mfa, Condition::OrgMember, Condition::Role(code("ghost"))]
    {
        let not = Condition::Not(Box::new(condition));
        assert_eq!(judge(not.clone(), &nobody), Judgement::Unknown(Why::NotSignedIn), "{not}");
    }
    let not_this_application = Condition::Not(Box::new(Condition::Application(Named::Any)));
    assert_eq!(judge(not_this_application, &nobody), Judgement::Yes);
}

#[test]
fn an_empty_list_of_conditions_grants_nothing() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    for empty in [Condition::All(vec![]), Condition::Any(vec![])] {
        let judgement = judge(empty, &facts(Some(caller(&rights)), Organization::NotNamed));
        assert!(matches!(judgement, Judgement::No(_)));
    }
}

#[test]
fn the_organization_is_asked_as_it_is_declared() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    let (owner, admin, member) = ([code("owner")], [code("admin")], [code("member")]);
    let ask = |condition: Condition, here: Option<&Code>, above: &[Code]| {
        let named = Organization::Named { here, above, plan: "gold", status: "active" };
        judge(condition, &facts(Some(caller(&rights)), named)) == Judgement::Yes
    };
    assert!(ask(Condition::OrgMember, Some(&member[0]), &[]) && !ask(Condition::OrgMember, None, &admin));
    assert!(ask(Condition::OrgOwner, Some(&owner[0]), &[]) && !ask(Condition::OrgOwner, None, &owner));
    assert!(ask(Condition::OrgAdmin, Some(&owner[0]), &[]) && ask(Condition::OrgAdmin, None, &admin));
    assert!(!ask(Condition::OrgAdmin, Some(&member[0]), &owner));
    assert!(ask(Condition::OrgRole(code("admin")), Some(&member[0]), &admin));
    let invite = || Condition::OrgPermission(code("org.members.invite"));
    assert!(
        ask(invite(), None, &owner)
            && ask(invite(), Some(&admin[0]), &[])
            && !ask(invite(), Some(&member[0]), &[])
    );
    let ghost = code("ghost");
    assert!(ask(Condition::OrgMember, Some(&ghost), &[]) && !ask(invite(), Some(&ghost), &[]));
    for (wanted, is_so) in
        [("gold", true), ("Gold", false), ("golden", false), ("", false), ("active", false)]
    {
        assert_eq!(ask(Condition::OrgPlan(wanted.to_owned()), Some(&member[0]), &[]), is_so, "{wanted}");
    }
    for (wanted, is_so) in [("active", true), ("suspended", false), ("", false), ("gold", false)] {
        assert_eq!(ask(Condition::OrgStatus(wanted.to_owned()), None, &admin), is_so, "{wanted}");
    }
}

#[test]
fn what_cannot_be_told_says_why() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    let me = Some(caller(&rights));
    let both = || Condition::All(vec![Condition::OrgMember, Condition::SignedIn]);
    assert_eq!(judge(both(), &facts(me, Organization::NotNamed)), Judgement::Unknown(Why::NoOrganization));
    assert_eq!(judge(both(), &facts(me, Organization::Silent)), Judgement::Unknown(Why::StoreSilent));
    assert_eq!(judge(both(), &facts(None, Organization::NotNamed)), Judgement::Unknown(Why::NotSignedIn));
}

#[test]
fn an_owner_is_named_by_exactly_their_id() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    let mine = Id::from_u128(ME).to_string();
    for (value, is_mine) in [
        (mine.clone(), true),
        (mine.to_uppercase(), false),
        (format!("{mine} "), false),
        (String::new(), false),
    ] {
        let param = |name: &str| (name == "id").then(|| Cow::Owned(value.clone()));
        let facts = Facts { param: &param, ..facts(Some(caller(&rights)), Organization::NotNamed) };
        assert_eq!(judge(Condition::Owner("id".to_owned()), &facts) == Judgement::Yes, is_mine, "{value}");
        assert_ne!(judge(Condition::Owner("other".to_owned()), &facts), Judgement::Yes);
    }
}

#[test]
fn age_and_application_are_compared() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    let facts = Facts { application: Some("shop"), ..facts(Some(caller(&rights)), Organization::NotNamed) };
    let yes = |condition| judge(condition, &facts) == Judgement::Yes;
    assert!(
        yes(Condition::MaxAge(Duration::from_mins(1))) && !yes(Condition::MaxAge(Duration::from_secs(59)))
    );
    assert!(
        yes(Condition::Application(Named::Any))
            && yes(Condition::Application(Named::Name("shop".to_owned())))
    );
    assert!(!yes(Condition::Application(Named::Name("Shop".to_owned()))));
}

#[test]
fn explain_shows_every_condition_with_its_answer() {
    let catalogue = catalogue();
    let rights = editor(&catalogue);
    let condition = Condition::All(vec![
        Condition::Permission(code("content.edit")),
        Condition::Not(Box::new(Condition::OrgMember)),
    ]);
    let allow = Allow::When(condition).compile(&catalogue);
    assert!(allow.asks_organization() && !allow.is_anyone());
    let explained = allow.explain(&facts(Some(caller(&rights)), Organization::NotNamed)).unwrap();
    assert_eq!(explained.answer, Answer::Unknown(Why::NoOrganization));
    assert_eq!(explained.inside[0].condition, "permission content.edit");
    assert_eq!((explained.inside[0].answer, explained.inside[1].inside.len()), (Answer::Yes, 1));
    assert_eq!(Allow::Anyone.compile(&catalogue).explain(&facts(None, Organization::NotNamed)), None);
}

#[test]
fn a_policy_for_a_code_that_vanished_lets_nobody_in() {
    let empty = Catalogue::build(Definitions::default(), 2);
    let rights =
        empty.rights(&Assignments { permissions: vec![code("content.edit")], ..Assignments::default() });
    let facts = facts(Some(caller(&rights)), Organization::NotNamed);
    for condition in [Condition::Permission(code("content.edit")), Condition::Role(code("editor"))] {
        assert!(matches!(Allow::When(condition).compile(&empty).judge(&facts), Judgement::No(_)));
    }
}

/// Leaves with a known answer for the facts below: yes, no, and unknown.
fn any_condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        Just(Condition::SignedIn),
        Just(Condition::Staff),
        Just(Condition::OrgMember),
        Just(Condition::VerifiedEmail),
        Just(Condition::Application(Named::Any)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Condition::All),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Condition::Any),
            inner.prop_map(|one| Condition::Not(Box::new(one))),
        ]
    })
}

/// Kleene's strong logic on numbers: no = 0, unknown = 1, yes = 2; and = least, or = greatest.
fn naive(condition: &Condition) -> u8 {
    match condition {
        Condition::All(list) => list.iter().map(naive).min().unwrap(),
        Condition::Any(list) => list.iter().map(naive).max().unwrap(),
        Condition::Not(inner) => 2 - naive(inner),
        Condition::SignedIn | Condition::VerifiedEmail => 2,
        Condition::OrgMember => 1,
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_tree_follows_three_valued_logic(condition in any_condition()) {
        let catalogue = catalogue();
        let rights = editor(&catalogue);
        let facts = facts(Some(caller(&rights)), Organization::NotNamed);
        let value = |condition: Condition| match judge(condition, &facts) {
            Judgement::No(_) => 0,
            Judgement::Unknown(_) => 1,
            Judgement::Yes => 2,
        };
        let negated = Condition::Not(Box::new(condition.clone()));
        prop_assert_eq!(value(condition.clone()), naive(&condition), "{}", condition);
        prop_assert_eq!(value(negated.clone()), 2 - value(condition.clone()));
        prop_assert_eq!(value(Condition::Not(Box::new(negated))), value(condition));
    }

    #[test]
    fn nobody_passes_what_does_not_begin_with_an_application(condition in any_condition()) {
        let mut asks_application = false;
        condition.visit(&mut |one| asks_application |= matches!(one, Condition::Application(_)));
        prop_assume!(!asks_application);
        let judgement = judge(condition, &facts(None, Organization::NotNamed));
        prop_assert_eq!(judgement, Judgement::Unknown(Why::NotSignedIn));
    }
}
