//! One page of people: what no index knows is found all the same, and no page looks through more than it may.

use std::collections::BTreeSet;

use super::gather::Sought;
use super::roll::{FurtherBack, People, RoleIs, find};
use super::rung::{Rung, rungs};
use crate::account::{Order, Place, Search, SortBy, Usable, Words, crowd};
use crate::app::testing::{TestApp, With};
use crate::audit::Actor;
use crate::base::Id;
use crate::http::LOOKED_THROUGH;
use crate::on_every_store;
use crate::policy::{Code, seed};
use crate::rbac::{self, Granted};
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, sql};

fn everybody() -> Sought {
    Sought {
        site: DEFAULT_SITE,
        words: None,
        role: None,
        order: Order { by: SortBy::CreatedAt, is_backwards: true },
        search: Search::default(),
        is_deleted: false,
        has_second_factor: None,
    }
}

/// Everybody who is sought, and how many pages it took.
async fn all(app: &TestApp, sought: &Sought, size: usize) -> (Vec<i64>, usize) {
    let (mut found, mut pages, mut after): (Vec<i64>, usize, Option<Place>) = (Vec::new(), 0, None);
    loop {
        let gathered = sought.gather(app, after, size).await.unwrap();
        assert!(gathered.people.len() <= size);
        found.extend(gathered.people.iter().map(|(own, _)| own.number.0));
        pages += 1;
        match gathered.next {
            Some(place) => after = Some(place),
            None => return (found, pages),
        }
    }
}

on_every_store! {
    async fn no_page_looks_through_more_than_it_may_and_none_is_left_out(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, DEFAULT_SITE, 1, 5000).await;
        let mut tx = app.db.begin().await.unwrap();
        let some = sql("UPDATE account SET second_factor_at = 1 WHERE number IN (7, 8, 4999)");
        tx.execute(some).await.unwrap();
        tx.commit().await.unwrap();
        let rare = Sought { has_second_factor: Some(true), ..everybody() };
        let (found, pages) = all(&app, &rare, 20).await;
        assert_eq!(found, [4999, 8, 7]);
        assert!((5000 / LOOKED_THROUGH..=5000 / LOOKED_THROUGH + 2).contains(&pages), "{pages}");
        // What an index knows is found on the first page.
        let banned = Sought { search: Search { is_banned: Some(true), ..Search::default() }, ..everybody() };
        let first = banned.gather(&app, None, 3).await.unwrap();
        assert_eq!(first.people.iter().map(|(own, _)| own.number.0).collect::<Vec<_>>(), [5000, 4990, 4980]);
        assert_eq!(all(&app, &banned, 100).await.0.len(), 500);
    }

    async fn a_page_goes_on_where_the_one_before_it_ended_whoever_comes_meanwhile(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, DEFAULT_SITE, 1, 10).await;
        let first = everybody().gather(&app, None, 4).await.unwrap();
        crowd(&app.db, DEFAULT_SITE, 11, 5).await;
        let second = everybody().gather(&app, first.next.clone(), 4).await.unwrap();
        let numbers: Vec<i64> = first.people.iter().chain(&second.people).map(|(own, _)| own.number.0).collect();
        assert_eq!(numbers, [10, 9, 8, 7, 6, 5, 4, 3]);
        // A page that is full to the last of them is the last page.
        assert!(everybody().gather(&app, second.next, 2).await.unwrap().next.is_none());
    }

    async fn who_has_a_role_is_listed_by_it_and_found_by_words_beside(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, DEFAULT_SITE, 1, 300).await;
        crowd(&app.db, Id::from_u128(77), 1001, 20).await;
        let editor = Granted::Role(Code::parse("editor").unwrap());
        let definitions = seed::definitions();
        let mut change = app.change(Actor::system()).await.unwrap();
        for number in (50_u64..=300).step_by(50).chain([1005]) {
            let id = Id::from_u128(u128::from(number) << 64);
            rbac::grant(&mut change, &definitions, id, &editor).await.unwrap();
        }
        change.commit().await.unwrap();
        let role = Some(Code::parse("editor").unwrap());
        for (is_backwards, expected) in [(false, [50, 100, 150, 200, 250, 300]), (true, [300, 250, 200, 150, 100, 50])] {
            let order = Order { by: SortBy::CreatedAt, is_backwards };
            for size in [1, 2, 50] {
                let sought = Sought { role: role.clone(), order, ..everybody() };
                assert_eq!(all(&app, &sought, size).await.0, expected, "the other site's is not among them");
            }
        }
        let sought = Sought { role, words: Words::parse("user2"), ..everybody() };
        let found: BTreeSet<i64> = all(&app, &sought, 2).await.0.into_iter().collect();
        assert_eq!(found, BTreeSet::from([200, 250]));
        let page = sought.gather(&app, None, 1).await.unwrap();
        assert_eq!(page.people[0].1, ["editor"]);
    }

    async fn pages_are_turned_and_counted_no_further_than_that(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, DEFAULT_SITE, 1, 400).await;
        crowd(&app.db, Id::from_u128(77), 1001, 20).await;
        let mut tx = app.db.begin().await.unwrap();
        for text in [
            "UPDATE account SET last_login_at = number WHERE number <= 30",
            "UPDATE account SET is_active = is_banned WHERE number IN (3, 4)",
        ] {
            tx.execute(sql(text)).await.unwrap();
        }
        let locked = sql("UPDATE account SET is_locked = ?, locked_until = ? WHERE number IN (5, 6)");
        tx.execute(locked.bind(true).bind(app.now().plus(std::time::Duration::from_mins(1)))).await.unwrap();
        tx.commit().await.unwrap();
        let everybody = || People {
            site: DEFAULT_SITE,
            words: None,
            role: None,
            usable: None,
            order: Order { by: SortBy::CreatedAt, is_backwards: true },
        };
        let page = async |wanted: &People, before: u32, size: u32| {
            let found = find(&app, wanted, before, size).await.unwrap()?;
            Ok::<_, FurtherBack>((found.people.iter().map(|own| own.number.0).collect::<Vec<_>>(), found.total))
        };
        assert_eq!(page(&everybody(), 0, 3).await, Ok((vec![400, 399, 398], 400)));
        assert_eq!(page(&everybody(), 398, 3).await, Ok((vec![2, 1], 400)));
        assert_eq!(page(&everybody(), 9_990, 20).await, Err(FurtherBack::Page));
        // Those who never came stand behind all others, or before them.
        let by_login = |is_backwards| People { order: Order { by: SortBy::LastLogin, is_backwards }, ..everybody() };
        assert_eq!(page(&by_login(false), 28, 4).await, Ok((vec![29, 30, 31, 32], 400)));
        assert_eq!(page(&by_login(true), 368, 4).await, Ok((vec![32, 31, 30, 29], 400)));
        assert_eq!(page(&by_login(false), 398, 4).await, Ok((vec![399, 400], 400)));
        let usable = |usable| People { usable: Some(usable), ..everybody() };
        assert_eq!(page(&usable(Usable::Locked), 0, 9).await, Ok((vec![6, 5], 2)));
        // Every tenth is banned.
        assert_eq!(page(&usable(Usable::No), 0, 2).await, Ok((vec![400, 390], 42)));
        // Of those without a password whoever has come in can be used, and the others are waited for.
        assert_eq!(page(&usable(Usable::Yes), 0, 2).await, Ok((vec![29, 28], 23)));
        assert_eq!(page(&usable(Usable::Awaited), 0, 2).await, Ok((vec![399, 398], 333)));
        app.clock.advance(std::time::Duration::from_mins(2));
        assert_eq!(page(&usable(Usable::Locked), 0, 9).await, Ok((vec![], 0)), "the locks are over");

        let editor = Code::parse("editor").unwrap();
        let mut change = app.change(Actor::system()).await.unwrap();
        for number in [50_u64, 100, 1005] {
            let (id, granted) = (Id::from_u128(u128::from(number) << 64), Granted::Role(editor.clone()));
            rbac::grant(&mut change, &seed::definitions(), id, &granted).await.unwrap();
        }
        change.commit().await.unwrap();
        let viewer = Code::parse("viewer").unwrap();
        let ladder = [editor.clone(), viewer];
        let (two, none) = (Rung { people: 2, usable: 0 }, Rung::default());
        assert_eq!(rungs(&app, DEFAULT_SITE, &ladder).await.unwrap(), [two, none], "100 is banned, 50 too");
        let mut tx = app.db.begin().await.unwrap();
        let root = sql("UPDATE account SET is_superuser = ? WHERE number IN (7, 50)").bind(true);
        tx.execute(root).await.unwrap();
        tx.commit().await.unwrap();
        let three = Rung { people: 3, usable: 1 };
        assert_eq!(rungs(&app, DEFAULT_SITE, &ladder).await.unwrap(), [three, none], "each once");
        let turned = [ladder[1].clone(), editor.clone()];
        let highest = [Rung { people: 2, usable: 1 }, Rung { people: 1, usable: 0 }];
        assert_eq!(rungs(&app, DEFAULT_SITE, &turned).await.unwrap(), highest, "on the highest rung that is theirs");
        assert_eq!(rungs(&app, Id::from_u128(77), &ladder).await.unwrap()[0].people, 1);
        let mut tx = app.db.begin().await.unwrap();
        tx.execute(sql("UPDATE account SET is_superuser = ?").bind(false)).await.unwrap();
        tx.commit().await.unwrap();

        let any = RoleIs::Any { of: vec![editor.clone()], or_superuser: true };
        let with = |role| People { role: Some(role), ..everybody() };
        assert_eq!(page(&with(any), 0, 9).await, Ok((vec![100, 50], 2)), "the other site's is not among them");
        let without = with(RoleIs::Without(vec![editor.clone()]));
        assert_eq!(page(&without, 299, 2).await, Ok((vec![101, 99], 398)));
        let named = People { words: Words::parse("user10"), ..with(RoleIs::Without(vec![editor])) };
        let (found, total) = page(&named, 0, 50).await.unwrap();
        assert_eq!((found.contains(&100), found.contains(&10), total), (false, true, 10));
    }

    async fn however_many_stand_on_a_rung_each_is_counted_once(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, DEFAULT_SITE, 1, 1300).await;
        crowd(&app.db, Id::from_u128(77), 2001, 3).await;
        let mut tx = app.db.begin().await.unwrap();
        // Whoever has come in can be used: of those to 1200 all but every tenth, who is banned.
        tx.execute(sql("UPDATE account SET last_login_at = 1 WHERE number <= 1200")).await.unwrap();
        // Whole pieces of 500 on the first rung, and a part of one on the second.
        let raised = sql("UPDATE account SET is_superuser = ? WHERE number <= 1001 OR number = 2001");
        tx.execute(raised.bind(true)).await.unwrap();
        let given = sql("INSERT INTO account_grant (account_id, kind, code, grant_id, granted_at) \
                         SELECT id, 'role', 'editor', id, 0 FROM account WHERE number BETWEEN 900 AND 1250");
        tx.execute(given).await.unwrap();
        tx.execute(sql("UPDATE account SET deleted_at = 1 WHERE number IN (5, 1100)")).await.unwrap();
        tx.commit().await.unwrap();
        let ladder = ["viewer", "editor"].map(|code| Code::parse(code).unwrap());
        let expected = [Rung { people: 1000, usable: 900 }, Rung { people: 248, usable: 179 }];
        assert_eq!(rungs(&app, DEFAULT_SITE, &ladder).await.unwrap(), expected);
        assert!(rungs(&app, DEFAULT_SITE, &[]).await.unwrap().is_empty());
    }

    async fn what_too_many_fit_is_asked_for_more_narrowly(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, DEFAULT_SITE, 1, 2100).await;
        let wanted = |text: &str| People {
            site: DEFAULT_SITE,
            words: Words::parse(text),
            role: None,
            usable: None,
            order: Order { by: SortBy::Email, is_backwards: false },
        };
        assert_eq!(find(&app, &wanted("user"), 0, 5).await.unwrap().unwrap_err(), FurtherBack::Words);
        let found = find(&app, &wanted("user20"), 0, 2).await.unwrap().unwrap();
        let emails: Vec<_> = found.people.iter().map(|own| own.email.as_ref().unwrap().to_string()).collect();
        let first = ["user2000@example.com", "user2001@example.com"].map(str::to_owned).to_vec();
        assert_eq!((emails, found.total), (first, 111));
        // How many have a role on one site is nothing to those of another.
        let (elsewhere, editor) = (Id::from_u128(77), Code::parse("editor").unwrap());
        crowd(&app.db, elsewhere, 5001, 2).await;
        let mut tx = app.db.begin().await.unwrap();
        let given = sql("INSERT INTO account_grant (account_id, kind, code, grant_id, granted_at) \
                         SELECT id, 'role', 'editor', id, 0 FROM account WHERE number <> 5001");
        tx.execute(given).await.unwrap();
        tx.commit().await.unwrap();
        for (site, expected) in [(DEFAULT_SITE, None), (elsewhere, Some(1))] {
            for role in [
                RoleIs::Any { of: vec![editor.clone()], or_superuser: true },
                RoleIs::Without(vec![editor.clone()]),
            ] {
                let wanted = People { site, words: None, role: Some(role), ..wanted("user") };
                let found = find(&app, &wanted, 0, 5).await.unwrap();
                assert_eq!(found.map(|found| found.total), expected.ok_or(FurtherBack::Role));
            }
        }
    }
}
