//! Lockout: how often a password may be tried.

use futures::future::join_all;

use super::*;
use crate::login::lockout::{Attempt, Door, Knock, knock};
use crate::on_every_store;

const MINUTE: Duration = Duration::from_mins(1);

async fn admitted(scene: &Scene, door: &Door) -> Attempt {
    let config = scene.app.config();
    match knock(&scene.app, &config.accounts.lockout, door.clone()).await.unwrap() {
        Knock::Admitted(attempt) => attempt,
        Knock::Locked { until } => panic!("locked until {until:?}"),
    }
}

async fn locked_for(scene: &Scene, door: &Door) -> Duration {
    let config = scene.app.config();
    match knock(&scene.app, &config.accounts.lockout, door.clone()).await.unwrap() {
        Knock::Admitted(_) => Duration::ZERO,
        Knock::Locked { until } => until.since(scene.app.now()),
    }
}

fn door() -> Door {
    Door::email(DEFAULT_SITE, &Email::parse("ada@example.com").unwrap())
}

on_every_store! {
    async fn of_a_hundred_wrong_passwords_at_once_five_are_judged(store: TestStore) {
        let scene = Scene::on(store, "").await;
        scene.ada().await;
        let other = scene.app.another(With::default()).await;
        let body = json!({"email": "ada@example.com", "password": WRONG});
        let before = scene.app.hasher.performed() + other.hasher.performed();
        let answers = join_all((0..100).map(|n| {
            let app = if n % 2 == 0 { &scene.app.app } else { &other };
            scene.send_through(app, Method::POST, "/login/email/", &body, Carried::default())
        }))
        .await;
        let judged = scene.app.hasher.performed() + other.hasher.performed() - before;
        let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((judged, count(401), count(423)), (5, 5, 95));
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.verdict(), (423, "ACCOUNT_LOCKED"));
        let codes = scene.codes().await;
        assert_eq!(codes.iter().filter(|code| *code == "account_locked").count(), 1);
    }

    async fn the_sixth_attempt_is_told_how_long_the_lock_really_holds(store: TestStore) {
        let scene = Scene::on(store, "").await;
        scene.ada().await;
        let mut told = Vec::new();
        for who in ["ada@example.com", "nobody@example.com"] {
            for _ in 0..5 {
                assert_eq!(scene.log_in(who, WRONG).await.verdict(), (401, "LOGIN_FAILED"));
            }
            let locked = scene.log_in(who, WRONG).await;
            assert_eq!((locked.verdict(), &locked.body["retry_after"]), ((423, "ACCOUNT_LOCKED"), &json!(1800)));
            assert_eq!(locked.headers["retry-after"], "1800");
            told.push(locked);
        }
        assert_eq!(told[0], told[1], "an unknown identifier locks alike");
        scene.app.clock.advance(Duration::from_mins(29) + Duration::from_millis(1));
        let locked = scene.log_in("ada@example.com", PASSWORD).await;
        assert_eq!((locked.status, &locked.body["retry_after"]), (423, &json!(60)));
        scene.app.clock.advance(MINUTE);
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200);
    }

    async fn each_further_lock_holds_twice_as_long_up_to_a_day(store: TestStore) {
        let scene = Scene::on(store, "").await;
        // The figures of the contract's section 32.
        for minutes in [30, 60, 120, 240, 480, 960, 1440, 1440] {
            for _ in 0..5 {
                admitted(&scene, &door()).await;
            }
            let lock = locked_for(&scene, &door()).await;
            assert_eq!(lock, MINUTE * minutes);
            scene.app.clock.advance(lock);
        }
    }

    async fn a_success_forgets_every_failure(store: TestStore) {
        let scene = Scene::on(store, "").await;
        scene.ada().await;
        for _ in 0..3 {
            for _ in 0..4 {
                scene.log_in("ada@example.com", WRONG).await;
            }
            assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200);
        }
        for _ in 0..5 {
            scene.log_in("ada@example.com", WRONG).await;
        }
        assert_eq!(locked_for(&scene, &door()).await, MINUTE * 30, "the first lock, not a longer one");
    }

    async fn failures_are_forgotten_in_time_and_not_by_a_restart(store: TestStore) {
        let scene = Scene::on(store, "").await;
        for _ in 0..4 {
            admitted(&scene, &door()).await;
        }
        scene.app.clock.advance(MINUTE * 30);
        for _ in 0..4 {
            admitted(&scene, &door()).await;
        }
        let restarted = scene.app.another(With::default()).await;
        let config = restarted.config();
        let last = knock(&restarted, &config.accounts.lockout, door()).await.unwrap();
        assert!(matches!(last, Knock::Admitted(_)), "the fifth");
        assert_eq!(locked_for(&scene, &door()).await, MINUTE * 30);
        assert_eq!(crate::login::sweep(&restarted).await.unwrap(), 0);
        scene.app.clock.advance(Duration::from_hours(25));
        assert_eq!(crate::login::sweep(&restarted).await.unwrap(), 1);
    }

    async fn an_attempt_that_was_not_judged_is_given_back(store: TestStore) {
        let scene = Scene::on(store, "").await;
        for _ in 0..20 {
            admitted(&scene, &door()).await.withdraw(&scene.app).await.unwrap();
        }
        for _ in 0..4 {
            admitted(&scene, &door()).await;
        }
        let last = admitted(&scene, &door()).await;
        assert_eq!(locked_for(&scene, &door()).await, MINUTE * 30);
        last.withdraw(&scene.app).await.unwrap();
        admitted(&scene, &door()).await;
        assert_eq!(locked_for(&scene, &door()).await, MINUTE * 30, "as if it had never been locked");
    }

    async fn an_operator_can_open_every_door_of_an_account(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let ada = scene.ada().await;
        for _ in 0..5 {
            scene.log_in("ada@example.com", WRONG).await;
        }
        let mut change = scene.app.change(Actor::command_line()).await.unwrap();
        assert!(crate::login::unlock(&mut change, &ada).await.unwrap());
        change.commit().await.unwrap();
        let mut change = scene.app.change(Actor::command_line()).await.unwrap();
        assert!(!crate::login::unlock(&mut change, &ada).await.unwrap(), "once is enough");
        drop(change);
        assert_eq!(scene.codes().await.last().unwrap(), "account_unlocked");
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_identifier_has_a_door_of_its_own() {
    let scene = Scene::new().await;
    scene.ada().await;
    for _ in 0..6 {
        scene.log_in("ADA@example.com", WRONG).await;
    }
    assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 423, "spelling does not matter");
    let phone = json!({"phone_country_code": "33", "phone_number": "612345678", "password": PASSWORD});
    assert_eq!(scene.post("/login/phone/", phone).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_by_failures_does_not_throw_out_who_is_in() {
    let scene = Scene::new().await;
    scene.ada().await;
    let entered = scene.in_as_ada().await;
    for _ in 0..6 {
        scene.log_in("ada@example.com", WRONG).await;
    }
    let refreshed = scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_lock_stops_everything_and_names_its_end() {
    let scene = Scene::new().await;
    let ada = scene.ada().await;
    let entered = scene.in_as_ada().await;
    let mut change = scene.app.change(Actor::command_line()).await.unwrap();
    account::lock(&mut change, ada.id, Some(scene.app.now().plus(MINUTE * 5))).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(scene.live(&ada).await, 0);
    let refreshed = scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await;
    assert_eq!(refreshed.verdict(), (401, "REFRESH_FAILED"));
    for _ in 0..10 {
        let locked = scene.log_in("ada@example.com", PASSWORD).await;
        assert_eq!((locked.status, &locked.body["retry_after"]), (423, &json!(300)), "and is not counted");
    }
    scene.app.clock.advance(MINUTE * 5);
    assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_refused_for_now_and_counts_against_nobody() {
    let scene = Scene::new().await;
    scene.ada().await;
    // One job that takes seconds, and as many behind it as may wait.
    let dear = "$argon2id$v=19$m=65536,t=32,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let hasher = &scene.app.hasher;
    let mut flood = Vec::new();
    loop {
        let mut job = Box::pin(hasher.verify(dear, crate::base::Secret::new(WRONG.to_owned())));
        if futures::poll!(&mut job).is_ready() {
            break;
        }
        flood.push(job);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..10 {
        for who in ["ada@example.com", "nobody@example.com"] {
            let refused = scene.log_in(who, WRONG).await;
            assert_eq!(refused.verdict(), (503, "OVERLOADED"));
            assert!(refused.headers.contains_key("retry-after"));
        }
    }
    let body = json!({"email": "new@example.com", "password": PASSWORD});
    assert_eq!(scene.post("/register/", body).await.verdict(), (503, "OVERLOADED"));
    assert_eq!(locked_for(&scene, &door()).await, Duration::ZERO);
}
