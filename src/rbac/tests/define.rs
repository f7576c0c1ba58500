//! Definitions made here and rights given by somebody who is not the operator, on every store.

use futures::future::join_all;

use super::*;
use crate::account::{self, NewAccount};
use crate::audit::How;
use crate::rbac::define::{self, Edit, NewDefinition, Place};
use crate::store::DEFAULT_SITE;

/// One change by `caller`, tried again while another transaction is in the way.
macro_rules! by {
    ($app:expr, $caller:expr, |$change:ident, $authority:ident| $act:expr) => {
        loop {
            let outcome = async {
                let mut $change = $app.change(Actor::command_line()).await?;
                let $authority = Authority::take(&mut $change, $caller, &[]).await?;
                $act.await?;
                match $change.commit().await {
                    // Nothing was to be changed.
                    Err(Error::Broken { cause }) if cause.contains("without an event") => Ok(()),
                    Ok(()) => Ok(()),
                    Err(error) => Err(Refused::Store(error)),
                }
            };
            match outcome.await {
                Err(Refused::Store(Error::Busy)) => {}
                outcome => break outcome,
            }
        }
    };
}

async fn person(app: &App, is_superuser: bool) -> Id {
    let mut change = app.change(Actor::command_line()).await.unwrap();
    let new = NewAccount { is_superuser, ..NewAccount::of(DEFAULT_SITE) };
    let made = account::create(&mut change, &new, How::Administrator).await.unwrap();
    change.commit().await.unwrap();
    made.id
}

/// A role that the operator makes; tried again while another transaction is in the way.
async fn operated(app: &App, text: &str) -> Result<(), Refused> {
    loop {
        let made = async {
            let mut change = app.change(Actor::command_line()).await?;
            let by = Authority::operator(&mut change).await?;
            define::create_role(&mut change, &by, &new(text), false, &[code("users.ban")]).await?;
            Ok::<_, Refused>(change.commit().await?)
        };
        match made.await {
            Err(Refused::Store(Error::Busy)) => {}
            made => break made,
        }
    }
}

fn new(text: &str) -> NewDefinition {
    NewDefinition { code: code(text), name: text.to_owned(), description: String::new() }
}

async fn known(app: &App) -> Definitions {
    definitions(&app.db, &Definitions::default()).await.unwrap()
}

fn below(text: &str) -> Edit {
    Edit { place: Some(Place::Below(code(text))), ..Edit::default() }
}

crate::on_every_store! {
    async fn what_is_removed_is_gone_from_everyone_and_begins_with_nobody(store: TestStore) {
        let app = app_on(store).await;
        let (root, ada) = (person(&app, true).await, person(&app, false).await);
        by!(app, root, |change, all| define::create_permission(&mut change, &all, &new("posts"), None)).unwrap();
        let parent = code("posts");
        by!(app, root, |change, all| define::create_permission(&mut change, &all, &new("posts.publish"), Some(&parent))).unwrap();
        let publish = [code("posts.publish")];
        by!(app, root, |change, all| define::create_role(&mut change, &all, &new("press"), true, &publish)).unwrap();
        assert_eq!(defined_twice(&app.db, &Definitions::default()).await, Ok(Vec::new()));
        let file = Definitions { roles: known(&app).await.roles, ..Definitions::default() };
        let twice = [Holders { granted: role("press"), accounts: 0 }];
        assert_eq!(defined_twice(&app.db, &file).await, Ok(twice.into()), "somebody may have guessed it");
        by!(app, root, |change, all| define::make_group(&mut change, &all, &new("crew"))).unwrap();
        by!(app, root, |change, all| define::set_group_grant(&mut change, &all, &code("crew"), &role("press"), true)).unwrap();
        for granted in [role("press"), permission("posts.publish"), group("crew")] {
            by!(app, root, |change, all| define::give(&mut change, &all, ada, &granted)).unwrap();
        }
        let all = known(&app).await;
        assert_eq!(all.roles["press"].permissions, publish);
        assert!(all.roles["press"].is_default);
        assert_eq!(all.groups["crew"].roles, [code("press")]);
        let edit = Edit { name: Some("Press".to_owned()), is_default: Some(false), ..Edit::default() };
        by!(app, root, |change, all| define::edit_role(&mut change, &all, &code("press"), edit.clone())).unwrap();
        let press = known(&app).await.roles["press"].clone();
        assert_eq!((press.name.as_str(), press.is_default), ("Press", false));

        by!(app, root, |change, all| define::remove_permission(&mut change, &all, &code("posts"))).unwrap();
        let all = known(&app).await;
        assert!(!all.permissions.contains_key("posts") && !all.permissions.contains_key("posts.publish"));
        assert_eq!(all.roles["press"].permissions, []);
        by!(app, root, |change, all| define::remove_role(&mut change, &all, &code("press"))).unwrap();
        by!(app, root, |change, all| define::drop_group(&mut change, &all, &code("crew"))).unwrap();
        by!(app, root, |change, all| define::create_role(&mut change, &all, &new("press"), false, &[])).unwrap();
        by!(app, root, |change, all| define::make_group(&mut change, &all, &new("crew"))).unwrap();
        assert_eq!(assignments(&app.db, ada).await.unwrap(), Assignments::default());
        assert_eq!(known(&app).await.groups["crew"].roles, []);
    }

    async fn a_grant_that_a_file_left_behind_does_not_come_back(store: TestStore) {
        let app = app_on(store).await;
        let (root, ada) = (person(&app, true).await, person(&app, false).await);
        let mut overlay = seed::definitions();
        let analyst = overlay.roles["viewer"].clone();
        overlay.roles.insert(code("analyst"), analyst);
        let mut change = app.change(Actor::command_line()).await.unwrap();
        grant(&mut change, &overlay, ada, &role("analyst")).await.unwrap();
        change.commit().await.unwrap();
        let content = [code("content")];
        by!(app, root, |change, all| define::create_role(&mut change, &all, &new("analyst"), false, &content)).unwrap();
        assert_eq!(assignments(&app.db, ada).await.unwrap().roles, []);
    }

    async fn nobody_closes_a_circle_neither_alone_nor_together(store: TestStore) {
        let app = app_on(store).await;
        let root = person(&app, true).await;
        for text in ["a", "b", "c"] {
            by!(app, root, |change, all| define::create_permission(&mut change, &all, &new(text), None)).unwrap();
        }
        let own = by!(app, root, |change, all| define::edit_permission(&mut change, &all, &code("a"), below("a")));
        assert_eq!(own, Err(Refused::Circle(code("a"))));
        let steps = [("a", "b"), ("b", "c"), ("c", "a")];
        let moves = steps.map(|(what, under)| {
            let app = &app;
            async move {
                by!(app, root, |change, all| define::edit_permission(&mut change, &all, &code(what), below(under)))
            }
        });
        let moved = join_all(moves).await;
        assert_eq!(moved.iter().filter(|outcome| outcome.is_ok()).count(), 2, "{moved:?}");
        assert_eq!(known(&app).await.cycles(), (vec![], vec![]));
    }

    async fn of_two_last_administrators_who_remove_each_other_one_stays(store: TestStore) {
        let app = app_on(store).await;
        let (ada, eve) = (person(&app, false).await, person(&app, false).await);
        for id in [ada, eve] {
            give(&app, id, &role("super_admin")).await.unwrap();
        }
        let taking = [(ada, eve), (eve, ada), (ada, ada), (eve, eve)].map(|(caller, of)| {
            let app = &app;
            async move {
                by!(app, caller, |change, all| define::take(&mut change, &all, of, &role("super_admin")))
            }
        });
        let taken = join_all(taking).await;
        let left = store::accounts_with(&app.db, &role("super_admin")).await.unwrap();
        assert_eq!(left.len(), 1, "{taken:?}");
        let last = by!(app, left[0], |change, all| define::take(&mut change, &all, left[0], &role("super_admin")));
        assert_eq!(last, Err(Refused::LastAdministrator));
    }

    async fn of_many_grants_and_removals_by_people_each_counts_once(store: TestStore) {
        let app = app_on(store).await;
        let (root, ada) = (person(&app, true).await, person(&app, false).await);
        let before = events(&app).await.len();
        let editor = role("editor");
        let given = join_all((0..64).map(|_| async {
            by!(app, root, |change, all| define::give(&mut change, &all, ada, &editor))
        })).await;
        assert!(given.iter().all(Result::is_ok), "{given:?}");
        let taken = join_all((0..64).map(|_| async {
            by!(app, root, |change, all| define::take(&mut change, &all, ada, &editor))
        })).await;
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
        assert_eq!(events(&app).await[before..], ["role_assigned", "role_removed"]);
    }

    async fn who_was_demoted_a_moment_ago_grants_nothing(store: TestStore) {
        let app = app_on(store).await;
        let (ada, eve) = (person(&app, false).await, person(&app, false).await);
        give(&app, ada, &role("editor")).await.unwrap();
        let refused = by!(app, ada, |change, all| define::give(&mut change, &all, eve, &role("super_admin")));
        assert!(matches!(refused, Err(Refused::NotHeld(_))), "{refused:?}");
        by!(app, ada, |change, all| define::give(&mut change, &all, eve, &role("viewer"))).unwrap();
        take(&app, ada, &role("editor")).await.unwrap();
        let refused = by!(app, ada, |change, all| define::give(&mut change, &all, eve, &role("editor")));
        assert!(matches!(refused, Err(Refused::NotHeld(_))), "{refused:?}");
        give(&app, ada, &role("super_admin")).await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_activity(&mut change, ada, account::Activity::Inactive).await.unwrap();
        change.commit().await.unwrap();
        let refused = by!(app, ada, |change, all| define::give(&mut change, &all, eve, &role("editor")));
        assert!(matches!(refused, Err(Refused::NotHeld(_))), "{refused:?}");
    }

    async fn the_operator_reaches_everywhere_and_changes_only_what_was_made_here(store: TestStore) {
        let app = app_on(store).await;
        let made = join_all((0..16).map(|_| operated(&app, "press"))).await;
        assert_eq!(made.iter().filter(|one| one.is_ok()).count(), 1, "{made:?}");
        let is_told = |one: &Result<(), Refused>| *one == Ok(()) || *one == Err(Refused::Taken(role("press")));
        assert!(made.iter().all(is_told), "{made:?}");
        assert_eq!(known(&app).await.roles["press"].permissions, [code("users.ban")]);
        assert_eq!(operated(&app, "editor").await, Err(Refused::Taken(role("editor"))));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let by = Authority::operator(&mut change).await.unwrap();
        let built_in = define::remove_role(&mut change, &by, &code("editor")).await;
        assert_eq!(built_in, Err(Refused::BuiltIn(code("editor"))));
        let nowhere = define::remove_role(&mut change, &by, &code("nobody")).await;
        assert_eq!(nowhere, Err(Refused::Undefined(role("nobody"))));
        drop(change);
        assert!(known(&app).await.roles.contains_key("editor"));
    }

    async fn what_many_hold_is_taken_page_by_page_and_each_of_them_is_told(store: TestStore) {
        let app = app_on(store).await;
        let root = person(&app, true).await;
        let content = [code("content")];
        by!(app, root, |change, all| define::create_role(&mut change, &all, &new("press"), false, &content)).unwrap();
        let mut all: Vec<Id> = (0..450).map(|_| someone()).collect();
        all.sort_unstable();
        let mut tx = app.db.begin().await.unwrap();
        for (nth, id) in all.iter().enumerate() {
            let grant = Id::from_u128(nth as u128 + 1);
            store::grant(&mut tx, *id, &role("press"), grant, app.now()).await.unwrap();
        }
        store::grant(&mut tx, all[0], &role("viewer"), Id::from_u128(9999), app.now()).await.unwrap();
        tx.commit().await.unwrap();
        let epochs = || -> Vec<i64> { all.iter().map(|id| app.epochs.of(Subject::Account(*id))).collect() };
        let (before, events_before) = (epochs(), events(&app).await.len());
        by!(app, root, |change, all| define::remove_role(&mut change, &all, &code("press"))).unwrap();
        assert_eq!(store::accounts_with(&app.db, &role("press")).await.unwrap(), []);
        assert_eq!(assignments(&app.db, all[0]).await.unwrap().roles, [code("viewer")]);
        assert!(epochs().iter().zip(&before).all(|(now, was)| now > was));
        let expected = ["role_removed", "role_removed", "role_removed", "permission_changed"];
        assert_eq!(events(&app).await[events_before..], expected);
    }

    async fn who_is_locked_or_banned_is_not_an_administrator_who_is_left(store: TestStore) {
        let app = app_on(store).await;
        let (ada, eve, root) = (person(&app, false).await, person(&app, false).await, person(&app, true).await);
        let administrator = role("super_admin");
        give(&app, ada, &administrator).await.unwrap();
        give(&app, eve, &administrator).await.unwrap();
        let mut tx = app.db.begin().await.unwrap();
        for locked in [eve, root] {
            let lock = sql("UPDATE account SET is_locked = ? WHERE id = ?").bind(true).bind(locked);
            assert_eq!(tx.execute(lock).await.unwrap(), 1);
        }
        tx.commit().await.unwrap();
        let refused = by!(app, ada, |change, all| define::take(&mut change, &all, ada, &administrator));
        assert_eq!(refused, Err(Refused::LastAdministrator));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert!(account::unlock(&mut change, root).await.unwrap());
        change.commit().await.unwrap();
        by!(app, ada, |change, all| define::take(&mut change, &all, ada, &administrator)).unwrap();
    }

    async fn what_is_only_a_name_is_made_filled_and_removed_by_who_may_give_it(store: TestStore) {
        let app = app_on(store).await;
        let (root, ada) = (person(&app, true).await, person(&app, false).await);
        give(&app, ada, &role("editor")).await.unwrap();
        let edit = code("content.edit");
        by!(app, root, |change, all| define::create_role(&mut change, &all, &new("vip"), false, &[])).unwrap();
        let not_held = |text: &str| Err(Refused::NotHeld(role(text)));
        let made = by!(app, ada, |change, all| define::create_role(&mut change, &all, &new("root"), false, &[]));
        assert_eq!(made, not_held("root"));
        let filled = by!(app, ada, |change, all| define::set_role_permission(&mut change, &all, &code("vip"), &edit, true));
        assert_eq!(filled, not_held("vip"));
        let removed = by!(app, ada, |change, all| define::remove_role(&mut change, &all, &code("vip")));
        assert_eq!(removed, not_held("vip"));
        // Nobody is in the group, so filling it gives nobody's name to anybody; as soon as somebody is, it does.
        by!(app, ada, |change, all| define::make_group(&mut change, &all, &new("crew"))).unwrap();
        give(&app, root, &group("crew")).await.unwrap();
        let granted = permission("content.edit");
        let filled = by!(app, ada, |change, all| define::set_group_grant(&mut change, &all, &code("crew"), &granted, true));
        assert_eq!(filled, Err(Refused::NotHeld(group("crew"))));
        take(&app, root, &group("crew")).await.unwrap();
        by!(app, ada, |change, all| define::set_group_grant(&mut change, &all, &code("crew"), &granted, true)).unwrap();
        // Whoever has the name fills it.
        give(&app, ada, &role("vip")).await.unwrap();
        by!(app, ada, |change, all| define::set_role_permission(&mut change, &all, &code("vip"), &edit, true)).unwrap();
        by!(app, ada, |change, all| define::remove_role(&mut change, &all, &code("vip"))).unwrap();
    }
}

#[tokio::test]
async fn the_store_has_only_so_many_definitions_of_a_kind() {
    let app = app_on(TestStore::sqlite().await).await;
    let root = person(&app, true).await;
    let mut tx = app.db.begin().await.unwrap();
    for nth in 1..define::MOST {
        let insert =
            sql("INSERT INTO permission (id, number, code, name, description, parent_code, created_at, \
                          updated_at) VALUES (?, ?, ?, '', '', NULL, 0, 0)");
        let insert = insert.bind(Id::from_u128(nth as u128)).bind(-i64::try_from(nth).unwrap());
        tx.execute(insert.bind(format!("p{nth}"))).await.unwrap();
    }
    tx.commit().await.unwrap();
    by!(app, root, |change, all| define::create_permission(&mut change, &all, &new("last"), None)).unwrap();
    let full =
        by!(app, root, |change, all| define::create_permission(&mut change, &all, &new("beyond"), None));
    assert_eq!(full, Err(Refused::Full("permission")));
    by!(app, root, |change, all| define::make_group(&mut change, &all, &new("crew"))).unwrap();
    by!(app, root, |change, all| define::remove_permission(&mut change, &all, &code("p7"))).unwrap();
    by!(app, root, |change, all| define::create_permission(&mut change, &all, &new("beyond"), None)).unwrap();
}
