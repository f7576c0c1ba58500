//! Grants and groups on every store, and their races.

mod define;

use futures::future::join_all;

use super::*;
use crate::app::App;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor};
use crate::base::{SystemRandom, Timestamp};
use crate::policy::definition::Group;
use crate::store::sql;
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

fn role(text: &str) -> Granted {
    Granted::Role(code(text))
}

fn permission(text: &str) -> Granted {
    Granted::Permission(code(text))
}

fn group(text: &str) -> Granted {
    Granted::Group(code(text))
}

/// One change of rights; tried again while another transaction is in the way, and committed only
/// if there was anything to change.
macro_rules! change {
    ($app:expr, |$change:ident, $definitions:ident| $act:expr) => {
        loop {
            let outcome = async {
                let $definitions = definitions(&$app.db, &Definitions::default()).await?;
                let mut $change = $app.change(Actor::command_line()).await?;
                let outcome = $act.await?;
                if outcome == Outcome::Changed {
                    $change.commit().await?;
                }
                Ok::<Outcome, Refused>(outcome)
            };
            match outcome.await {
                Err(Refused::Store(Error::Busy)) => {}
                outcome => break outcome,
            }
        }
    };
}

async fn give(app: &App, account: Id, granted: &Granted) -> Result<Outcome, Refused> {
    change!(app, |change, definitions| grant(&mut change, &definitions, account, granted))
}

async fn take(app: &App, account: Id, granted: &Granted) -> Result<Outcome, Refused> {
    change!(app, |change, _definitions| revoke(&mut change, account, granted))
}

async fn make_group(app: &App, name: &str) -> Result<Outcome, Refused> {
    change!(app, |change, definitions| create_group(&mut change, &definitions, &code(name), name))
}

async fn drop_group(app: &App, name: &str) -> Result<Outcome, Refused> {
    change!(app, |change, definitions| remove_group(&mut change, &definitions, &code(name)))
}

async fn events(app: &App) -> Vec<String> {
    audit::latest(&app.db, 500).await.unwrap().into_iter().map(|row| row.code).collect()
}

crate::on_every_store! {
    async fn a_grant_counts_once_and_can_be_taken_back(store: TestStore) {
        let (app, ada) = (app_on(store).await, someone());
        make_group(&app, "crew").await.unwrap();
        let granted = [role("editor"), permission("users.ban"), group("crew")];
        for one in &granted {
            assert_eq!(give(&app, ada, one).await, Ok(Outcome::Changed));
            assert_eq!(give(&app, ada, one).await, Ok(Outcome::Unchanged));
        }
        let held = assignments(&app.db, ada).await.unwrap();
        assert_eq!(held.roles, [code("editor")]);
        assert_eq!(held.permissions, [code("users.ban")]);
        assert_eq!(held.groups, [code("crew")]);
        for one in &granted {
            assert_eq!(take(&app, ada, one).await, Ok(Outcome::Changed));
            assert_eq!(take(&app, ada, one).await, Ok(Outcome::Unchanged));
        }
        assert!(assignments(&app.db, ada).await.unwrap().roles.is_empty());
        let expected = [
            "permission_changed", "role_assigned", "permission_granted", "group_joined",
            "role_removed", "permission_revoked", "group_left",
        ];
        assert_eq!(events(&app).await, expected);
    }

    async fn what_nothing_defines_cannot_be_granted_but_can_be_taken_back(store: TestStore) {
        let (app, ada) = (app_on(store).await, someone());
        for one in [role("ghost"), permission("ghost.walk"), group("ghosts")] {
            assert_eq!(give(&app, ada, &one).await, Err(Refused::Undefined(one)));
        }
        let overlay = Definitions { roles: seed::definitions().roles, ..Definitions::default() };
        let mut overlay = overlay;
        let analyst = overlay.roles["viewer"].clone();
        overlay.roles.insert(code("analyst"), analyst);
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let with_file = definitions(change.tx(), &overlay).await.unwrap();
        grant(&mut change, &with_file, ada, &role("analyst")).await.unwrap();
        change.commit().await.unwrap();
        let without_file = definitions(&app.db, &Definitions::default()).await.unwrap();
        let orphans = orphans(&app.db, &without_file).await.unwrap();
        assert_eq!(orphans, [Holders { granted: role("analyst"), accounts: 1 }]);
        assert_eq!(take(&app, ada, &role("analyst")).await, Ok(Outcome::Changed));
    }

    async fn of_many_equal_grants_at_once_one_counts(store: TestStore) {
        let (app, ada) = (app_on(store).await, someone());
        let editor = role("editor");
        let given = join_all((0..64).map(|_| give(&app, ada, &editor))).await;
        assert_eq!(given.iter().filter(|outcome| **outcome == Ok(Outcome::Changed)).count(), 1, "{given:?}");
        assert_eq!(given.iter().filter(|outcome| **outcome == Ok(Outcome::Unchanged)).count(), 63);
        let taken = join_all((0..64).map(|_| take(&app, ada, &editor))).await;
        assert_eq!(taken.iter().filter(|outcome| **outcome == Ok(Outcome::Changed)).count(), 1, "{taken:?}");
        assert_eq!(events(&app).await, ["role_assigned", "role_removed"]);
    }

    async fn a_group_has_roles_and_permissions_and_leaves_its_members_when_it_goes(store: TestStore) {
        let (app, ada) = (app_on(store).await, someone());
        assert_eq!(make_group(&app, "crew").await, Ok(Outcome::Changed));
        assert_eq!(make_group(&app, "crew").await, Ok(Outcome::Unchanged));
        let crew = code("crew");
        for granted in [role("editor"), permission("users.ban")] {
            for outcome in [Outcome::Changed, Outcome::Unchanged] {
                let given = change!(app, |change, definitions| {
                    grant_to_group(&mut change, &definitions, &crew, &granted)
                });
                assert_eq!(given, Ok(outcome));
            }
        }
        for (granted, why) in [
            (role("ghost"), Refused::Undefined(role("ghost"))),
            (group("crew"), Refused::NotForGroups),
        ] {
            let given = change!(app, |change, definitions| {
                grant_to_group(&mut change, &definitions, &crew, &granted)
            });
            assert_eq!(given, Err(why));
        }
        give(&app, ada, &group("crew")).await.unwrap();
        assert_eq!(members(&app.db, &crew).await.unwrap(), [ada]);
        let known = definitions(&app.db, &Definitions::default()).await.unwrap();
        assert_eq!(known.groups["crew"].roles, [code("editor")]);
        assert_eq!(known.groups["crew"].permissions, [code("users.ban")]);
        let editor = role("editor");
        let revoked = change!(app, |change, definitions| {
            revoke_from_group(&mut change, &definitions, &crew, &editor)
        });
        assert_eq!(revoked, Ok(Outcome::Changed));
        assert_eq!(drop_group(&app, "crew").await, Ok(Outcome::Changed));
        assert_eq!(drop_group(&app, "crew").await, Ok(Outcome::Unchanged));
        make_group(&app, "crew").await.unwrap();
        assert_eq!(members(&app.db, &crew).await.unwrap(), []);
        let known = definitions(&app.db, &Definitions::default()).await.unwrap();
        assert_eq!(known.groups["crew"].permissions, []);
    }

    async fn nobody_is_in_a_group_that_went_while_they_joined(store: TestStore) {
        let app = app_on(store).await;
        make_group(&app, "crew").await.unwrap();
        let known = definitions(&app.db, &Definitions::default()).await.unwrap();
        let joining = (0..32).map(|_| async {
            loop {
                let mut change = app.change(Actor::command_line()).await.unwrap();
                match grant(&mut change, &known, someone(), &group("crew")).await {
                    Err(Refused::Store(Error::Busy)) => {}
                    Ok(_) => match change.commit().await {
                        Err(Error::Busy) => {}
                        outcome => break outcome.is_ok(),
                    },
                    Err(refused) => break refused != Refused::Undefined(group("crew")),
                }
            }
        });
        let (joined, gone) = futures::join!(join_all(joining), drop_group(&app, "crew"));
        assert_eq!(gone, Ok(Outcome::Changed));
        assert_eq!(members(&app.db, &code("crew")).await.unwrap(), [], "{joined:?}");
    }

    async fn the_file_wins_over_the_store_and_the_store_over_what_came_with_us(store: TestStore) {
        let app = app_on(store).await;
        let mut tx = app.db.begin().await.unwrap();
        for (id, number, code, name) in [(1, 1_i64, "editor", "Redactor"), (2, 2, "auditor", "Auditor")] {
            let insert = sql("INSERT INTO role (id, number, code, name, description, is_default, created_at, \
                              updated_at) VALUES (?, ?, ?, ?, '', ?, 0, 0)");
            let insert = insert.bind(Id::from_u128(id)).bind(number).bind(code).bind(name).bind(false);
            tx.execute(insert).await.unwrap();
        }
        let insert = sql("INSERT INTO permission (id, number, code, name, description, parent_code, \
                          created_at, updated_at) VALUES (?, 1, 'logs.read', 'Logs', '', 'system', 0, 0)");
        tx.execute(insert.bind(Id::from_u128(1))).await.unwrap();
        for (kind, granted) in [("permission", "logs.read"), ("role", "viewer")] {
            let insert = sql("INSERT INTO role_grant (role_code, kind, code) VALUES ('auditor', ?, ?)");
            tx.execute(insert.bind(kind).bind(granted)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut overlay = Definitions::default();
        let mut auditor = seed::definitions().roles["viewer"].clone();
        auditor.managed_by = ManagedBy::Config;
        let known = definitions(&app.db, &overlay).await.unwrap();
        assert_eq!(known.roles["editor"].name, "Redactor");
        assert_eq!(known.roles["editor"].managed_by, ManagedBy::Store);
        assert_eq!(known.roles["viewer"].managed_by, ManagedBy::Seed);
        assert_eq!(known.roles["auditor"].permissions, [code("logs.read")]);
        assert_eq!(known.roles["auditor"].inherits, [code("viewer")]);
        assert_eq!(known.permissions["logs.read"].parent, Some(code("system")));
        overlay.roles.insert(code("auditor"), auditor.clone());
        let known = definitions(&app.db, &overlay).await.unwrap();
        assert_eq!(known.roles["auditor"], auditor);
    }
}

#[tokio::test]
async fn what_the_file_defines_only_the_file_changes() {
    let app = TestApp::new().await;
    let crew = Group {
        name: "Crew".to_owned(),
        description: String::new(),
        roles: Vec::new(),
        permissions: Vec::new(),
        managed_by: ManagedBy::Config,
    };
    let overlay = Definitions { groups: [(code("crew"), crew)].into(), ..Definitions::default() };
    let known = definitions(&app.db, &overlay).await.unwrap();
    let mut change = app.change(Actor::command_line()).await.unwrap();
    let refused = Err(Refused::ManagedByConfig(code("crew")));
    assert_eq!(create_group(&mut change, &known, &code("crew"), "x").await, refused);
    assert_eq!(remove_group(&mut change, &known, &code("crew")).await, refused);
    assert_eq!(grant_to_group(&mut change, &known, &code("crew"), &role("editor")).await, refused);
    assert_eq!(grant(&mut change, &known, someone(), &group("crew")).await, Ok(Outcome::Changed));
}

#[tokio::test]
async fn a_change_of_a_group_is_in_force_when_it_is_committed_and_elsewhere_after_a_poll() {
    let with = || With { appliers: vec![apply], ..With::default() };
    let app = TestApp::on(TestStore::sqlite().await, with()).await;
    let other = app.another(with()).await;
    let mut overlay = Definitions::default();
    overlay.roles.insert(code("analyst"), seed::definitions().roles["editor"].clone());
    configure(&app, overlay.clone()).await.unwrap();
    configure(&other, overlay).await.unwrap();
    let (before, ada) = (app.catalogue().generation(), someone());
    let holds = |app: &App, assignments: &Assignments| {
        app.catalogue().rights(assignments).holds_code(&code("content.edit"))
    };
    make_group(&app, "crew").await.unwrap();
    assert!(app.catalogue().generation() > before);
    give(&app, ada, &group("crew")).await.unwrap();
    let assigned = assignments(&app.db, ada).await.unwrap();
    assert!(!holds(&app, &assigned));
    let mut change = app.change(Actor::command_line()).await.unwrap();
    let known = app.catalogue();
    grant_to_group(&mut change, known.definitions(), &code("crew"), &role("analyst")).await.unwrap();
    change.commit().await.unwrap();
    assert!(holds(&app, &assigned));
    assert!(!holds(&other, &assigned));
    other.catch_up().await.unwrap();
    assert!(holds(&other, &assigned));
    // The file no longer defines the role: the group grants nothing, here, now.
    configure(&app, Definitions::default()).await.unwrap();
    assert!(!holds(&app, &assigned));
}
