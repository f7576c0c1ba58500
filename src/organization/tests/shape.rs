//! Trees that change shape, limits, plan and status, on every store.

use super::*;
use crate::rbac::Outcome;

async fn below(app: &App, name: &str, owner: Id, parent: Option<&Organization>) -> Organization {
    make(app, New { parent, ..new(name, owner) }).await.unwrap()
}

async fn moved(app: &App, organization: Id, parent: Option<Id>, max: u32) -> Result<(), Refused> {
    change!(app, |change| async { move_to(&mut change, organization, parent, max).await.map(drop) })
}

async fn depth(app: &App, id: Id) -> (u32, Option<Id>) {
    let own = by_id(&app.db, id).await.unwrap().unwrap();
    (own.depth, own.parent)
}

crate::on_every_store! {
    async fn a_subtree_moves_with_all_below_it(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let (acme, other) = (below(&app, "Acme", ada, None).await, below(&app, "Other", ada, None).await);
        let team = below(&app, "Team", ada, Some(&acme)).await;
        let desk = below(&app, "Desk", ada, Some(&team)).await;
        moved(&app, team.id, Some(other.id), 5).await.unwrap();
        assert_eq!(depth(&app, team.id).await, (1, Some(other.id)));
        assert_eq!(depth(&app, desk.id).await, (2, Some(team.id)));
        moved(&app, team.id, None, 5).await.unwrap();
        assert_eq!((depth(&app, team.id).await, depth(&app, desk.id).await), ((0, None), (1, Some(team.id))));
        moved(&app, team.id, None, 5).await.unwrap();
        let rows = audit::latest(&app.db, 100).await.unwrap();
        assert_eq!(rows.iter().filter(|row| row.code == "organization_moved").count(), 2, "the third was so already");
    }

    async fn nothing_comes_to_be_below_itself_or_too_deep(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let acme = below(&app, "Acme", ada, None).await;
        let team = below(&app, "Team", ada, Some(&acme)).await;
        let desk = below(&app, "Desk", ada, Some(&team)).await;
        for parent in [acme.id, team.id, desk.id] {
            assert_eq!(moved(&app, acme.id, Some(parent), 5).await, Err(Refused::Circle));
        }
        let other = below(&app, "Other", ada, None).await;
        assert_eq!(moved(&app, acme.id, Some(other.id), 3).await, Err(Refused::TooDeep { max: 3 }));
        assert_eq!(depth(&app, acme.id).await, (0, None));
        moved(&app, acme.id, Some(other.id), 4).await.unwrap();
        assert_eq!(depth(&app, desk.id).await, (3, Some(team.id)));
        assert_eq!(moved(&app, desk.id, Some(someone()), 5).await, Err(Refused::Gone));
    }

    async fn many_moves_at_once_close_no_circle(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let mut all = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            all.push(below(&app, name, ada, None).await.id);
        }
        let pairs = all.iter().flat_map(|one| all.iter().map(move |other| (*one, *other)));
        let moves = pairs.map(|(one, other)| moved(&app, one, Some(other), 20));
        for outcome in join_all(moves).await {
            assert!(matches!(outcome, Ok(()) | Err(Refused::Circle)), "{outcome:?}");
        }
        for id in &all {
            let (mut at, mut steps) = (*id, 0);
            let (own, _) = depth(&app, *id).await;
            while let (_, Some(parent)) = depth(&app, at).await {
                (at, steps) = (parent, steps + 1);
                assert!(steps <= all.len(), "a circle");
            }
            assert_eq!(own, u32::try_from(steps).unwrap(), "its depth is its distance from the root");
        }
    }

    async fn one_below_comes_and_its_parent_goes_one_of_them_only(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        for round in 0..8 {
            let acme = below(&app, &format!("Acme {round}"), ada, None).await;
            let comes = async {
                loop {
                    match make(&app, New { parent: Some(&acme), ..new("Team", ada) }).await {
                        Err(Refused::Store(Error::Busy)) => {}
                        other => break other,
                    }
                }
            };
            let goes = async { change!(app, |change| delete(&mut change, acme.id)) };
            let (came, gone) = tokio::join!(comes, goes);
            match (&came, &gone) {
                (Ok(_), Err(Refused::HasBelow)) | (Err(Refused::Gone), Ok(())) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn what_stands_above_others_is_not_deleted(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let acme = below(&app, "Acme", ada, None).await;
        let team = below(&app, "Team", ada, Some(&acme)).await;
        assert_eq!(change!(app, |change| delete(&mut change, acme.id)), Err(Refused::HasBelow));
        change!(app, |change| delete(&mut change, team.id)).unwrap();
        assert_eq!(change!(app, |change| delete(&mut change, team.id)), Err(Refused::Gone));
        change!(app, |change| delete(&mut change, acme.id)).unwrap();
        assert_eq!(memberships(&app.db, ada).await.unwrap(), []);
        let again = make(&app, New { slug: Some(slug("acme")), ..new("Acme", ada) }).await;
        assert_eq!(again, Err(Refused::SlugTaken(slug("acme"))), "a slug stays taken");
    }

    async fn no_more_come_in_than_may(store: TestStore) {
        let app = app_on(store).await;
        let acme = below(&app, "Acme", someone(), None).await.id;
        let limit = |max_members| Edit { max_members: Some(max_members), ..Edit::default() };
        change!(app, |change| async { edit(&mut change, acme, &limit(8)).await.map(drop) }).unwrap();
        let coming = (0..64).map(|_| { let app = &app; async move { add(app, acme, someone(), "member").await } });
        let outcomes = join_all(coming).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 7, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(Refused::Full { max: 8 }))));
        let fewer = change!(app, |change| async { edit(&mut change, acme, &limit(7)).await.map(drop) });
        assert_eq!(fewer, Err(Refused::FewerThanMembers { max: 7, members: 8 }));
        change!(app, |change| async { edit(&mut change, acme, &limit(0)).await.map(drop) }).unwrap();
        add(&app, acme, someone(), "member").await.unwrap();
    }

    async fn a_name_that_many_take_at_once_gives_each_a_slug(store: TestStore) {
        let app = app_on(store).await;
        let coming = (0..16).map(|_| { let app = &app; async move { loop {
            match make(app, new("Acme", someone())).await {
                Err(Refused::Store(Error::Busy)) => {}
                other => break other,
            }
        } } });
        let made: Vec<_> = join_all(coming).await.into_iter().map(|made| made.unwrap().slug.to_string()).collect();
        let distinct: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), 16, "{made:?}");
    }

    async fn plan_and_status_are_told_to_those_who_ask(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let acme = below(&app, "Acme", ada, None).await;
        assert_eq!((&*acme.plan, &*acme.status), ("", "active"));
        let directory = Directory::default();
        let read = async || directory.by_slug(&app, DEFAULT_SITE, &acme.slug).await.unwrap().unwrap();
        assert_eq!(&*read().await.organization.plan, "");
        let terms = Terms { plan: Some("gold".to_owned()), status: Some("suspended".to_owned()) };
        let set = async |terms: &Terms| {
            let mut change = app.change(Actor::command_line()).await.unwrap();
            let outcome = set_terms(&mut change, acme.id, terms).await.unwrap();
            if outcome == Outcome::Changed {
                change.commit().await.unwrap();
            }
            outcome
        };
        assert_eq!((set(&terms).await, set(&terms).await), (Outcome::Changed, Outcome::Unchanged));
        let now = read().await;
        assert_eq!((&*now.organization.plan, &*now.organization.status), ("gold", "suspended"));
        let team = below(&app, "Team", ada, Some(&acme)).await;
        assert_eq!((&*team.plan, &*team.status), ("gold", "suspended"), "one below begins as what is above");
    }

    /// Found by an attacker: a plan came without the suspension that it came with, and a move wiped what the
    /// operator had said of every organization below.
    async fn a_move_replaces_what_was_inherited_and_brings_a_suspension_with_a_plan(store: TestStore) {
        let app = app_on(store).await;
        let ada = someone();
        let acme = below(&app, "Acme", ada, None).await;
        let reseller = below(&app, "Reseller", ada, None).await;
        let (paying, usual) =
            (below(&app, "Paying", ada, Some(&reseller)).await, below(&app, "Usual", ada, Some(&reseller)).await);
        let say = async |id: Id, plan: &str, status: &str| {
            let terms = Terms { plan: Some(plan.to_owned()), status: Some(status.to_owned()) };
            change!(app, |change| async { set_terms(&mut change, id, &terms).await.map(drop) }).unwrap();
        };
        say(acme.id, "gold", "suspended").await;
        say(paying.id, "silver", "active").await;
        let take = async |from: Option<Id>, to: Option<Id>| {
            change!(app, |change| crate::organization::shape::take_terms(&mut change, reseller.id, (from, to))).unwrap();
        };
        let terms = async |id: Id| {
            let own = by_id(&app.db, id).await.unwrap().unwrap();
            (own.plan.to_string(), own.status.to_string())
        };
        let told = |plan: &str, status: &str| (plan.to_owned(), status.to_owned());
        take(None, Some(acme.id)).await;
        assert_eq!(terms(reseller.id).await, told("gold", "suspended"));
        assert_eq!(terms(usual.id).await, told("gold", "suspended"));
        assert_eq!(terms(paying.id).await, told("silver", "suspended"), "the operator's word stays");
        take(Some(acme.id), None).await;
        assert_eq!(terms(reseller.id).await, told("", "suspended"), "nobody shakes off a suspension");
        assert_eq!(terms(paying.id).await, told("silver", "suspended"));
        let rows = audit::latest(&app.db, 100).await.unwrap();
        let written = rows.iter().filter(|row| row.code == "organization_updated").count();
        assert_eq!(written, 2 + 3 + 2, "of each one that changed");
    }
}
