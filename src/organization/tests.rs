//! Organizations on every store, their races, and inheritance against a naive model.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::app::App;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, Subject};
use crate::base::SystemRandom;
use crate::policy::definition::OrgRole;
use crate::policy::{Allow, Assignments, Catalogue, Condition, Grant, judge};
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

async fn app_on(store: TestStore) -> TestApp {
    TestApp::on(store, With::default()).await
}

fn someone() -> Id {
    Id::new(Timestamp::from_millis(1), &SystemRandom)
}

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn new(name: &str, owner: Id) -> New<'_> {
    New { site: DEFAULT_SITE, name, slug: None, description: "", parent: None, owner, max_depth: 5 }
}

async fn make(app: &App, new: New<'_>) -> Result<Organization, Refused> {
    let mut change = app.change(Actor::command_line()).await?;
    let organization = create(&mut change, new).await?;
    change.commit().await?;
    Ok(organization)
}

/// One change of members, tried again while another transaction is in the way.
macro_rules! change {
    ($app:expr, |$change:ident| $act:expr) => {
        loop {
            let outcome = async {
                let mut $change = $app.change(Actor::command_line()).await?;
                $act.await?;
                if let Err(error) = $change.commit().await
                    && error != (Error::Broken { cause: NO_EVENT.to_owned() })
                {
                    return Err(error.into());
                }
                Ok::<(), Refused>(())
            };
            match outcome.await {
                Err(Refused::Store(Error::Busy)) => {}
                outcome => break outcome,
            }
        }
    };
}

mod invitation;
mod shape;
mod standing;

#[test]
fn the_document_says_what_names_the_organization_and_what_an_invitation_is_refused_with() {
    use crate::http::{Table, openapi};
    let document =
        openapi::document(&Table::new("/api", rows()), "https://gw.example.com", openapi::Keys::Required);
    let paths = document["paths"].as_object().unwrap();
    let names = |path: &str, method: &str| {
        let list = paths[path][method]["parameters"].as_array().cloned().unwrap_or_default();
        list.iter().any(|own| own["name"] == "X-Org-Slug" && own["in"] == "header" && own["required"] == true)
    };
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let answers = operation["responses"].to_string();
            assert_eq!(names(path, method), answers.contains("ORG_CONTEXT_REQUIRED"), "{method} {path}");
        }
    }
    assert!(names("/api/organizations/detail/", "get") && names("/api/organizations/members/{id}/", "patch"));
    assert!(
        !names("/api/organizations/list/", "get") && !names("/api/organizations/invitations/accept/", "post")
    );
    for (path, method) in [("{id}/resend/", "post"), ("{id}/", "delete")] {
        let refused = &paths[&format!("/api/organizations/invitations/{path}")][method]["responses"]["404"];
        let said = refused["description"].as_str().unwrap();
        assert!(said.contains("INVITATION_NOT_FOUND") && !said.contains("`NOT_FOUND`"), "{said}");
    }
}

const NO_EVENT: &str = "a change without an event cannot be committed";

async fn add(app: &App, organization: Id, account: Id, role: &str) -> Result<(), Refused> {
    change!(app, |change| add_member(&mut change, &seed::definitions(), organization, account, &code(role)))
}

async fn make_role(app: &App, organization: Id, account: Id, role: &str) -> Result<(), Refused> {
    change!(app, |change| set_role(&mut change, &seed::definitions(), organization, account, &code(role)))
}

async fn remove(app: &App, organization: Id, account: Id) -> Result<(), Refused> {
    change!(app, |change| remove_member(&mut change, organization, account))
}

async fn roles(app: &App, organization: Id) -> Vec<(Id, String)> {
    let members = members(&app.db, organization).await.unwrap();
    members.into_iter().map(|member| (member.account, member.role.to_string())).collect()
}

crate::on_every_store! {
    async fn who_makes_an_organization_owns_it(store: TestStore) {
        let app = app_on(store).await;
        let (ada, bob) = (someone(), someone());
        let acme = make(&app, new("Acme Corp.", ada)).await.unwrap();
        assert_eq!((acme.slug.as_str(), acme.depth, acme.parent), ("acme-corp", 0, None));
        let again = make(&app, new("ACME corp", bob)).await.unwrap();
        assert_eq!(again.slug.as_str(), "acme-corp-1");
        assert!(again.number > acme.number);
        let held = memberships(&app.db, ada).await.unwrap();
        let expected = Membership {
            organization: acme.id,
            number: acme.number,
            slug: acme.slug.clone(),
            role: code("owner"),
        };
        assert_eq!(held, [expected]);
        assert_eq!(by_slug(&app.db, DEFAULT_SITE, &acme.slug).await.unwrap(), Some(acme.clone()));
        assert_eq!(list(&app.db, DEFAULT_SITE).await.unwrap(), [acme, again]);
        let codes: Vec<_> =
            audit::latest(&app.db, 10).await.unwrap().into_iter().map(|row| row.code).collect();
        assert_eq!(codes, ["organization_created", "member_added", "organization_created", "member_added"]);
    }

    async fn a_taken_slug_a_bad_name_and_a_deep_tree_are_refused(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let root = make(&app, New { slug: Some(slug("acme")), ..new("Acme", ada) }).await.unwrap();
        let taken = make(&app, New { slug: Some(slug("Acme")), ..new("Other", ada) }).await;
        assert_eq!(taken, Err(Refused::SlugTaken(slug("acme"))));
        assert_eq!(make(&app, new("", ada)).await, Err(Refused::BadName));
        assert_eq!(make(&app, new("!!!", ada)).await, Err(Refused::BadName));
        let two = |parent| New { parent: Some(parent), max_depth: 2, ..new("Team", ada) };
        let team = make(&app, two(&root)).await.unwrap();
        assert_eq!((team.depth, team.parent), (1, Some(root.id)));
        assert_eq!(make(&app, two(&team)).await, Err(Refused::TooDeep { max: 2 }));
        assert_eq!(list(&app.db, DEFAULT_SITE).await.unwrap().len(), 2);
    }

    async fn members_come_change_and_go(store: TestStore) {
        let app = app_on(store).await;
        let (ada, bob) = (someone(), someone());
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        app.clock.advance(std::time::Duration::from_millis(1));
        add(&app, acme, bob, "viewer").await.unwrap();
        assert_eq!(add(&app, acme, bob, "admin").await, Err(Refused::AlreadyMember));
        assert_eq!(add(&app, acme, someone(), "ghost").await, Err(Refused::UndefinedRole(code("ghost"))));
        assert_eq!(add(&app, someone(), bob, "viewer").await, Err(Refused::Gone));
        make_role(&app, acme, bob, "admin").await.unwrap();
        make_role(&app, acme, bob, "admin").await.unwrap();
        assert_eq!(roles(&app, acme).await, [(ada, "owner".to_owned()), (bob, "admin".to_owned())]);
        for role in ["owner", "member"] {
            assert_eq!(make_role(&app, acme, someone(), role).await, Err(Refused::NotAMember));
        }
        remove(&app, acme, bob).await.unwrap();
        assert_eq!(remove(&app, acme, bob).await, Err(Refused::NotAMember));
        assert_eq!(memberships(&app.db, bob).await.unwrap(), []);
    }

    async fn the_last_owner_stays(store: TestStore) {
        let app = app_on(store).await;
        let (ada, bob) = (someone(), someone());
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        assert_eq!(remove(&app, acme, ada).await, Err(Refused::LastOwner));
        assert_eq!(make_role(&app, acme, ada, "admin").await, Err(Refused::LastOwner));
        make_role(&app, acme, ada, "owner").await.unwrap();
        add(&app, acme, bob, "owner").await.unwrap();
        make_role(&app, acme, ada, "viewer").await.unwrap();
        assert_eq!(remove(&app, acme, bob).await, Err(Refused::LastOwner));
        remove(&app, acme, ada).await.unwrap();
    }

    async fn of_many_owners_who_leave_at_once_one_stays(store: TestStore) {
        let app = app_on(store).await;
        let owners: Vec<Id> = (0..64).map(|_| someone()).collect();
        let acme = make(&app, new("Acme", owners[0])).await.unwrap().id;
        for owner in &owners[1..] {
            add(&app, acme, *owner, "owner").await.unwrap();
        }
        let leaving = owners.iter().enumerate().map(|(n, owner)| {
            let app = &app;
            async move {
                if n % 2 == 0 { remove(app, acme, *owner).await } else { make_role(app, acme, *owner, "viewer").await }
            }
        });
        let outcomes = join_all(leaving).await;
        let stayed = outcomes.iter().filter(|outcome| **outcome == Err(Refused::LastOwner)).count();
        let left = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!((stayed, left), (1, 63), "{outcomes:?}");
        let owning = roles(&app, acme).await.into_iter().filter(|(_, role)| role == "owner").count();
        assert_eq!(owning, 1);
    }

    async fn of_many_who_add_one_account_at_once_one_does(store: TestStore) {
        let app = app_on(store).await;
        let (ada, bob) = (someone(), someone());
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let outcomes = join_all((0..64).map(|_| add(&app, acme, bob, "member"))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let refused = outcomes.iter().filter(|outcome| **outcome == Err(Refused::AlreadyMember)).count();
        assert_eq!(refused, 63, "{outcomes:?}");
        assert_eq!(roles(&app, acme).await.len(), 2);
    }

    async fn of_many_who_take_one_slug_at_once_one_gets_it(store: TestStore) {
        let app = app_on(store).await;
        let outcomes = join_all((0..64).map(|_| async {
            loop {
                let new = New { slug: Some(slug("acme")), ..new("Acme", someone()) };
                match make(&app, new).await {
                    Err(Refused::Store(Error::Busy)) => {}
                    outcome => break outcome,
                }
            }
        }))
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let taken = Err(Refused::SlugTaken(slug("acme")));
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == taken).count(), 63, "{outcomes:?}");
    }

    async fn roles_reach_down_the_tree_and_membership_does_not(store: TestStore) {
        let app = app_on(store).await;
        let (ada, bob, eve) = (someone(), someone(), someone());
        let root = make(&app, new("Acme", ada)).await.unwrap();
        add(&app, root.id, bob, "admin").await.unwrap();
        let team = make(&app, New { parent: Some(&root), ..new("Team", ada) }).await.unwrap();
        let directory = Directory::default();
        let place = directory.by_slug(&app, DEFAULT_SITE, &team.slug).await.unwrap().unwrap();
        let org_roles = seed::definitions().org_roles;
        let held = memberships(&app.db, bob).await.unwrap();
        let here = context(&held, &place, Inherit::FromAbove).unwrap();
        assert_eq!((here.id, here.number, here.slug.as_str()), (team.id, team.number, "team"));
        assert!(!here.is_member() && !here.is_owner() && here.role(&org_roles).is_none());
        assert_eq!(here.above, [code("admin")]);
        assert!(here.may(&code("org.settings.write"), &org_roles));
        assert!(!here.may(&code("org.delete"), &org_roles));
        assert_eq!(context(&held, &place, Inherit::Nothing), Err(NotFound));
        let stranger = memberships(&app.db, eve).await.unwrap();
        assert_eq!(context(&stranger, &place, Inherit::FromAbove), Err(NotFound));
    }
}

#[tokio::test]
async fn an_organization_asked_for_lately_needs_no_store_until_it_changes() {
    let app = TestApp::new().await;
    let root = make(&app, new("Acme", someone())).await.unwrap();
    let team = make(&app, New { parent: Some(&root), ..new("Team", someone()) }).await.unwrap();
    let directory = Directory::default();
    assert_eq!(directory.by_slug(&app, DEFAULT_SITE, &slug("nobody")).await.unwrap(), None);
    let place = directory.by_slug(&app, DEFAULT_SITE, &team.slug).await.unwrap().unwrap();
    assert_eq!(place.above, [root.id]);
    app.db.close().await;
    let warm = directory.by_slug(&app, DEFAULT_SITE, &team.slug).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&warm, &place));
    app.epochs.raise_to(Subject::Organization(root.id), i64::MAX);
    directory.by_slug(&app, DEFAULT_SITE, &team.slug).await.unwrap_err();
}

#[test]
fn slugs_are_made_of_what_is_plain_in_a_name() {
    for (name, stem) in [("Acme Corp.", "acme-corp"), ("  A&B  ", "a-b"), ("Émile 2", "mile-2")] {
        assert_eq!(stem_of(name).as_deref(), Some(stem), "{name}");
    }
    assert_eq!(stem_of("東京"), None);
    let long = stem_of(&"ab ".repeat(100)).unwrap();
    assert!(Slug::parse(&format!("{long}-4294967295")).is_ok(), "{long}");
    assert_eq!(owner().as_str(), "owner");
}

/// The permissions that the model asks about.
const ASKED: [&str; 5] = ["org", "org.read", "org.settings.write", "org.delete", "reports.read"];
const ROLES: [&str; 6] = ["owner", "admin", "member", "viewer", "analyst", "gone"];

fn org_roles() -> BTreeMap<Code, OrgRole> {
    let mut roles = seed::definitions().org_roles;
    let mut analyst = roles["member"].clone();
    analyst.permissions = vec![Grant::parse("reports.*").unwrap()];
    roles.insert(code("analyst"), analyst);
    roles
}

/// The model: asks one organization, then its parent, and so on.
struct Model<'a> {
    parents: &'a [Option<usize>],
    held: &'a [Option<usize>],
    inherit: Inherit,
}

impl Model<'_> {
    fn any(&self, organization: usize, is_so: &dyn Fn(&str) -> bool) -> bool {
        let here = self.held[organization].is_some_and(|role| is_so(ROLES[role]));
        let above = match self.parents[organization] {
            Some(parent) if self.inherit == Inherit::FromAbove => self.any(parent, is_so),
            _ => false,
        };
        here || above
    }
}

/// What a policy of this one condition says of a caller with no other rights.
fn judged(catalogue: &Catalogue, organization: judge::Organization<'_>, condition: Condition) -> bool {
    let rights = catalogue.rights(&Assignments::default());
    let caller = judge::Caller {
        id: Id::from_u128(7),
        rights: &rights,
        reach: None,
        authenticated_at: Timestamp::from_millis(0),
        second_factor_at: None,
        is_staff: false,
        is_email_verified: false,
        is_phone_verified: false,
    };
    let facts = judge::Facts {
        now: Timestamp::from_millis(0),
        caller: Some(caller),
        organization,
        application: None,
        param: &|_| None,
    };
    Allow::When(condition).compile(catalogue).judge(&facts) == judge::Judgement::Yes
}

fn forest() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<Option<usize>>)> {
    (1usize..8).prop_flat_map(|count| {
        let parents: Vec<_> = (0..count)
            .map(|n| if n == 0 { Just(None).boxed() } else { proptest::option::of(0..n).boxed() })
            .collect();
        (parents, proptest::collection::vec(proptest::option::of(0..ROLES.len()), count))
    })
}

proptest! {
    #[test]
    fn standing_in_a_tree_is_what_asking_every_level_says((parents, held) in forest()) {
        let id = |n: usize| Id::from_u128(n as u128 + 1);
        let memberships: Vec<_> = held.iter().enumerate().filter_map(|(n, role)| Some(Membership {
            organization: id(n),
            number: Number(1),
            slug: slug("s"),
            role: code(ROLES[(*role)?]),
        })).collect();
        let roles = org_roles();
        let definitions = Definitions { org_roles: roles.clone(), ..seed::definitions() };
        let catalogue = Catalogue::build(definitions, 1);
        for (n, parent) in parents.iter().enumerate() {
            let above: Vec<_> = std::iter::successors(*parent, |up| parents[*up]).map(id).collect();
            let organization = Organization {
                id: id(n), number: Number(1), site: id(90), slug: slug("s"), name: String::new(),
                description: String::new(), parent: parent.map(id), depth: 0, is_active: true,
                created_at: Timestamp::from_millis(0), plan: "".into(), status: "".into(), max_members: 0,
            };
            let place = Place { organization, above };
            let says = |found: &OrgContext, condition: Condition| {
                let organization = judge::Organization::Named {
                    here: found.here.as_ref(), above: &found.above, plan: &found.plan, status: &found.status,
                };
                judged(&catalogue, organization, condition)
            };
            for inherit in [Inherit::FromAbove, Inherit::Nothing] {
                let model = Model { parents: &parents, held: &held, inherit };
                let Ok(found) = context(&memberships, &place, inherit) else {
                    prop_assert!(!model.any(n, &|_| true));
                    continue;
                };
                prop_assert!(model.any(n, &|_| true));
                prop_assert_eq!(found.is_member(), held[n].is_some());
                prop_assert_eq!(says(&found, Condition::OrgMember), held[n].is_some());
                prop_assert_eq!(found.is_owner(), held[n] == Some(0));
                prop_assert_eq!(says(&found, Condition::OrgOwner), held[n] == Some(0));
                let shown = held[n].map(|role| code(ROLES[role])).filter(|role| roles.contains_key(role));
                prop_assert_eq!(found.role(&roles), shown.as_ref());
                for role in ROLES {
                    let is_held = found.here.iter().chain(&found.above).any(|held| held.as_str() == role);
                    prop_assert_eq!(is_held, model.any(n, &|held| held == role), "{}", role);
                    if role != "gone" {
                        prop_assert_eq!(says(&found, Condition::OrgRole(code(role))), is_held, "{}", role);
                    }
                }
                for asked in ASKED {
                    let grants = |role: &str| roles.get(role).is_some_and(|role| {
                        role.permissions.iter().any(|grant| grant.covers(&code(asked)))
                    });
                    let may = model.any(n, &grants);
                    prop_assert_eq!(found.may(&code(asked), &roles), may, "{}", asked);
                    prop_assert_eq!(says(&found, Condition::OrgPermission(code(asked))), may, "{}", asked);
                }
            }
        }
    }
}
