//! What is swept, how much of it at once, and by whom.

use futures::future::join_all;

use super::*;
use crate::account::{self, NewAccount};
use crate::app::Applier;
use crate::app::testing::{TestApp, With};
use crate::audit::{Actor, How};
use crate::on_every_store;
use crate::session::{Device, Login, Method};
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Source as _, Stmt, sql};

const DAY: Duration = Duration::from_hours(24);
/// More than two batches.
const MANY: u128 = 25;

async fn scene(store: TestStore) -> TestApp {
    let (yaml, appliers): (_, Vec<Applier>) = ("retention: { batch: 10, every: 1h }\n", vec![keys::reload]);
    let app = TestApp::on(store, With { yaml, appliers, ..With::default() }).await;
    keys::ensure(&app).await.unwrap();
    app
}

async fn write(app: &App, stmt: Stmt) {
    let mut tx = app.db.begin().await.unwrap();
    tx.execute(stmt).await.unwrap();
    tx.commit().await.unwrap();
}

async fn count(app: &App, stmt: &'static str) -> i64 {
    let (count,): (i64,) = (&app.db).one(sql(stmt)).await.unwrap();
    count
}

/// Failed logins that are forgotten at a moment.
async fn failures(app: &App, from: u128, until: u128, forget_at: Timestamp) {
    for number in from..until {
        let stmt = sql(
            "INSERT INTO login_failure (site_id, identifier_digest, attempts, forget_at, next_lock_for) \
                        VALUES (?, ?, 1, ?, 1)",
        );
        write(app, stmt.bind(DEFAULT_SITE).bind(format!("{number}")).bind(forget_at)).await;
    }
}

/// Somebody who is logged in, with a token for each of so many refreshes before.
async fn logged_in(app: &App, refreshes: u128) -> Id {
    let config = app.config();
    let mut change = app.change(Actor::system()).await.unwrap();
    let account = account::create(&mut change, &NewAccount::of(DEFAULT_SITE), How::Owner).await.unwrap();
    let login = Login {
        account: &account,
        application: None,
        device: &Device::default(),
        address: None,
        method: Method::Password,
        scope: None,
        claims: serde_json::Map::new(),
    };
    let (session, _) = session::start(&mut change, &config.sessions, &config.tokens, login).await.unwrap();
    change.commit().await.unwrap();
    for number in 0..refreshes {
        let stmt = sql("INSERT INTO refresh_token (digest, session_id, generation, issued_at, expires_at) \
                        VALUES (?, ?, ?, ?, ?)");
        let stmt = stmt.bind(format!("{}-{number}", session.id)).bind(session.id);
        let generation = i64::try_from(number).unwrap() + 10;
        write(app, stmt.bind(generation).bind(app.now()).bind(app.now().plus(DAY))).await;
    }
    session.id
}

fn rows(turn: &Turn, kind: Swept) -> u64 {
    let Turn::Done(gone) = turn else { panic!("{turn:?}") };
    gone.iter().find(|(of, _)| *of == kind).map_or(0, |(_, rows)| *rows)
}

on_every_store! {
    async fn what_is_over_goes_in_small_batches_and_the_rest_stays(store: TestStore) {
        let app = scene(store).await;
        let sweeper = Sweeper::new(Arc::clone(&app));
        failures(&app, 0, MANY, app.now()).await;
        failures(&app, 100, 103, app.now().plus(30 * DAY)).await;
        let old = logged_in(&app, MANY).await;
        for number in 0..MANY {
            let stmt = sql("INSERT INTO used_ticket (id, forget_at) VALUES (?, ?)");
            write(&app, stmt.bind(Id::from_u128(number)).bind(app.now())).await;
        }
        let nothing = sweeper.turn().await.unwrap();
        assert_eq!(rows(&nothing, Swept::LoginAttempts), 0, "none has been over for a day");
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(sweeper.turn().await.unwrap(), Turn::Early);
        app.clock.advance(9 * DAY);
        let fresh = logged_in(&app, 3).await;
        let turn = sweeper.turn().await.unwrap();
        assert_eq!(rows(&turn, Swept::LoginAttempts), 25);
        assert_eq!(rows(&turn, Swept::Tickets), 25);
        let tokens = count(&app, "SELECT COUNT(*) FROM refresh_token").await;
        assert_eq!(tokens, 25 + 1 + 3 + 1, "who shows one again was robbed: they stay as long as their session");
        assert_eq!(count(&app, "SELECT COUNT(*) FROM login_failure").await, 3);
        assert!(session::by_id(&app.db, old).await.unwrap().is_some());
        let all = app.metrics.render();
        assert!(all.contains("portcullis_swept_rows_total{kind=\"login_attempts\"} 25"), "{all}");
        app.clock.advance(120 * DAY);
        let last = logged_in(&app, 0).await;
        sweeper.turn().await.unwrap();
        for (id, is_there) in [(old, false), (fresh, false), (last, true)] {
            assert_eq!(session::by_id(&app.db, id).await.unwrap().is_some(), is_there);
        }
        assert_eq!(count(&app, "SELECT COUNT(*) FROM refresh_token").await, 1);
        assert_eq!(count(&app, "SELECT COUNT(*) FROM login_failure").await, 0);
    }

    async fn of_many_gateways_one_sweeps_and_another_goes_on_when_it_is_dead(store: TestStore) {
        let app = scene(store).await;
        let other = app.another(With { yaml: "retention: { batch: 10 }\n", ..With::default() }).await;
        let all: Vec<Sweeper> =
            (0..8).map(|at| Sweeper::new(if at % 2 == 0 { Arc::clone(&app) } else { Arc::clone(&other) })).collect();
        failures(&app, 0, MANY, app.now().minus(2 * DAY)).await;
        let turns = join_all(all.iter().map(Sweeper::turn)).await;
        let done: Vec<usize> =
            (0..8).filter(|at| matches!(turns[*at], Ok(Turn::Done(_)))).collect();
        assert_eq!(done.len(), 1, "{turns:?}");
        assert_eq!(rows(turns[done[0]].as_ref().unwrap(), Swept::LoginAttempts), 25);
        let (dead, next) = (&all[done[0]], &all[(done[0] + 1) % 8]);
        app.clock.advance(HELD_FOR.saturating_sub(Duration::from_secs(1)));
        assert_eq!(next.turn().await.unwrap(), Turn::Elsewhere);
        assert_eq!(dead.turn().await.unwrap(), Turn::Early, "it is not dead, and renews");
        failures(&app, 0, 3, app.now().minus(2 * DAY)).await;
        app.clock.advance(HELD_FOR);
        assert_eq!(rows(&next.turn().await.unwrap(), Swept::LoginAttempts), 3);
        assert_eq!(dead.turn().await.unwrap(), Turn::Elsewhere, "it came back too late");
    }

    async fn a_kind_that_cannot_be_removed_stands_in_no_others_way(store: TestStore) {
        let app = scene(store).await;
        failures(&app, 0, 3, app.now().minus(2 * DAY)).await;
        write(&app, sql("INSERT INTO used_ticket (id, forget_at) VALUES (?, 0)").bind(Id::from_u128(1))).await;
        write(&app, sql("ALTER TABLE login_failure RENAME TO lost")).await;
        let turn = Sweeper::new(Arc::clone(&app)).turn().await.unwrap();
        assert_eq!((rows(&turn, Swept::LoginAttempts), rows(&turn, Swept::Tickets)), (0, 1));
        let all = app.metrics.render();
        assert!(all.contains("portcullis_sweep_last_success_seconds 0"), "{all}");
    }
}
