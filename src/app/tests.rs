//! Changes and how they spread.
//!
//! Law: what is promised of a change is shown on every database, with two processes where two are
//! promised.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::join_all;

use super::testing::{NOON, TestApp, With};
use super::*;
use crate::audit::{self, AccountEvent, ApplicationEvent, EndReason, How, SessionEvent, Stream, SystemEvent};
use crate::on_every_store;
use crate::store::testing::TestStore;
use crate::store::{Source as _, sql};

mod data_plane;

fn id(number: u128) -> Id {
    Id::from_u128(number)
}

fn locked(account: Id) -> AccountEvent {
    AccountEvent::Locked {
        account: Some(account),
        identifier_digest: None,
        until: None,
        how: How::Rule,
        reason: None,
    }
}

async fn lock(app: &App, account: Id) -> Result<(), Error> {
    let mut change = app.change(Actor::system()).await?;
    change.record(locked(account)).await?;
    change.commit().await
}

async fn setting(app: &App, name: &str) -> Option<String> {
    let read = sql("SELECT content FROM setting WHERE name = ?").bind(name);
    (&app.db).optional::<(String,)>(read).await.unwrap().map(|(content,)| content)
}

async fn write_setting(change: &mut Change<'_>, name: &str) -> Result<(), Error> {
    let insert = sql("INSERT INTO setting (name, content) VALUES (?, 'written')").bind(name);
    change.tx().execute(insert).await.map(drop)
}

/// Ends session 77 of an account that was locked, as a later slice would.
fn end_sessions<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    async move {
        if let Event::Account(AccountEvent::Locked { account: Some(account), .. }) = event {
            write_setting(change, "reacted").await?;
            let reason = EndReason::AccountLocked;
            change.record(SessionEvent::Ended { account: *account, session: id(77), reason }).await?;
        }
        Ok(())
    }
    .boxed()
}

fn refuse<'c>(_: &'c mut Change<'_>, _: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    async { Err(Error::Busy) }.boxed()
}

on_every_store! {
    async fn sixty_four_changes_of_two_processes_make_one_chain(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        let changes = (0..64).map(|n| {
            let app = if n % 2 == 0 { app.app.clone() } else { other.clone() };
            async move { lock(&app, id(n)).await }
        });
        let failed: Vec<_> = join_all(changes).await.into_iter().filter_map(Result::err).collect();
        assert_eq!(failed, []);
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().end.seq, 64);
        let seqs: Vec<i64> = audit::tail(&app.db, 0, 100).await.unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
    }

    async fn a_change_that_is_dropped_leaves_neither_state_nor_audit_row(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let mut change = app.change(Actor::system()).await.unwrap();
        write_setting(&mut change, "ghost").await.unwrap();
        change.record(locked(id(1))).await.unwrap();
        drop(change);
        assert_eq!(setting(&app, "ghost").await, None);
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().end.seq, 0);
        lock(&app, id(2)).await.unwrap();
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().end.seq, 1, "the number was not used up");
    }

    async fn what_was_so_already_leaves_no_row_and_what_was_not_leaves_one(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let mut silent = app.change(Actor::system()).await.unwrap();
        write_setting(&mut silent, "ghost").await.unwrap();
        silent.settle().await.unwrap();
        assert_eq!(setting(&app, "ghost").await, None, "nobody said that it happened");
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().end.seq, 0);
        let mut told = app.change(Actor::system()).await.unwrap();
        told.record(locked(id(1))).await.unwrap();
        told.settle().await.unwrap();
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().end.seq, 1);
    }

    async fn a_reaction_is_part_of_the_same_change(store: TestStore) {
        let with = With { reactions: vec![end_sessions], ..With::default() };
        let app = TestApp::on(store, with).await;
        let running = app.stops.register(id(77), id(1));
        lock(&app, id(1)).await.unwrap();
        assert_eq!(setting(&app, "reacted").await.as_deref(), Some("written"));
        let codes: Vec<_> =
            audit::tail(&app.db, 0, 9).await.unwrap().into_iter().map(|row| row.code).collect();
        assert_eq!(codes, ["account_locked", "session_ended"]);
        assert!(running.is_ended(), "in force when commit returns");
    }

    async fn a_change_whose_reaction_failed_cannot_be_committed(store: TestStore) {
        let app = TestApp::on(store, With { reactions: vec![refuse], ..With::default() }).await;
        let mut change = app.change(Actor::system()).await.unwrap();
        write_setting(&mut change, "half").await.unwrap();
        assert!(change.record(locked(id(1))).await.is_err());
        assert!(change.commit().await.is_err());
        assert_eq!(setting(&app, "half").await, None);
    }

    async fn a_change_without_an_event_is_refused(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let mut change = app.change(Actor::system()).await.unwrap();
        write_setting(&mut change, "silent").await.unwrap();
        assert!(matches!(change.commit().await, Err(Error::Broken { .. })));
        assert_eq!(setting(&app, "silent").await, None);
    }

    async fn another_process_obeys_with_its_next_poll(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        let running = other.stops.register(id(7), id(1));
        let before = other.epochs.of(Subject::Account(id(1)));
        let mut change = app.change(Actor::system()).await.unwrap();
        change.record(locked(id(1))).await.unwrap();
        let reason = EndReason::AccountLocked;
        change.record(SessionEvent::Ended { account: id(1), session: id(7), reason }).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(other.epochs.of(Subject::Account(id(1))), before, "not told yet");
        other.catch_up().await.unwrap();
        assert!(other.epochs.of(Subject::Account(id(1))) > before);
        assert_eq!(other.epochs.of(Subject::Account(id(2))), before, "nobody else is touched");
        assert!(running.is_ended());
        assert_eq!(other.epochs.of(Subject::Account(id(1))), app.epochs.of(Subject::Account(id(1))));
    }

    async fn a_follower_hears_of_a_change_within_a_second(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        let before = other.epochs.of(Subject::Account(id(1)));
        other.tasks.spawn("follow", other.clone().follow(other.tasks.stopping()));
        lock(&app, id(1)).await.unwrap();
        // A pause counts as two at most: a machine that lets nobody go on meanwhile breaks no promise.
        let (pause, mut counted) = (Duration::from_millis(10), Duration::ZERO);
        while other.epochs.of(Subject::Account(id(1))) == before {
            assert!(counted < Duration::from_secs(1), "within a second");
            let begun = Instant::now();
            tokio::time::sleep(pause).await;
            counted += begun.elapsed().min(2 * pause);
        }
        while other.view_age() >= Duration::from_secs(1) {
            tokio::time::sleep(pause).await;
        }
        assert!(other.tasks.shutdown(Duration::from_secs(20)).await.is_empty());
    }

    async fn a_process_that_lagged_past_the_retained_changes_forgets_everything(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        lock(&app, id(1)).await.unwrap();
        app.clock.advance(CHANGES_KEPT_FOR + Duration::from_secs(1));
        assert_eq!(prune_changes(&app).await.unwrap(), 1);
        lock(&app, id(2)).await.unwrap();
        let mut running = other.stops.register(id(7), id(3));
        let before = other.epochs.of(Subject::Account(id(1)));
        other.catch_up().await.unwrap();
        assert!(other.epochs.of(Subject::Account(id(1))) > before);
        assert!(other.epochs.of(Subject::Account(id(3))) > before, "who knows");
        assert_eq!(running.next().await, Signal::Changed);
    }

    async fn a_store_that_has_gone_back_makes_a_process_forget_everything(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        for n in 1..=3 {
            lock(&app, id(n)).await.unwrap();
        }
        other.catch_up().await.unwrap();
        let mut running = other.stops.register(id(7), id(9));
        let before = other.epochs.of(Subject::Account(id(9)));
        // As a restored copy of yesterday has it.
        let mut tx = app.db.begin().await.unwrap();
        tx.execute(sql("DELETE FROM changes WHERE seq > 1")).await.unwrap();
        tx.execute(sql("UPDATE change_counter SET last_seq = 1 WHERE id = 1")).await.unwrap();
        tx.commit().await.unwrap();
        other.catch_up().await.unwrap();
        let after = other.epochs.of(Subject::Account(id(9)));
        assert!(after > before);
        assert_eq!(running.next().await, Signal::Changed);
        let mut tx = app.db.begin().await.unwrap();
        let subject = Subject::Account(id(9)).to_string();
        let change = sql("INSERT INTO changes (seq, subject, happened_at) VALUES (2, ?, 0)").bind(subject);
        tx.execute(change).await.unwrap();
        tx.execute(sql("UPDATE change_counter SET last_seq = 2 WHERE id = 1")).await.unwrap();
        tx.commit().await.unwrap();
        other.catch_up().await.unwrap();
        assert!(other.epochs.of(Subject::Account(id(9))) > after, "and changes are heard again");
    }

    async fn pruned_audit_rows_leave_a_chain_that_says_so(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        lock(&app, id(1)).await.unwrap();
        lock(&app, id(2)).await.unwrap();
        app.clock.advance(Duration::from_hours(24 * 91));
        lock(&app, id(3)).await.unwrap();
        let kept_for = Duration::from_hours(24 * 90);
        let overdue = async || overdue_audit(&app, kept_for).await.unwrap();
        assert_eq!(overdue().await, Duration::from_hours(24), "what a gateway tells its operator");
        let pruned = prune_audit(&app, Actor::command_line(), kept_for).await.unwrap();
        let [pruned] = pruned.as_slice() else { panic!("one stream: {pruned:?}") };
        assert_eq!(overdue().await, Duration::ZERO);
        assert_eq!((pruned.seq, pruned.tombstone.from, pruned.tombstone.to.seq), (4, 1, 2));
        assert_eq!(prune_audit(&app, Actor::command_line(), kept_for).await.unwrap(), []);
        let rows = audit::tail(&app.db, 0, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 4]);
        assert_eq!((rows[1].code.as_str(), rows[1].actor_kind.as_str()), ("audit_pruned", "command_line"));
        assert_eq!(rows[1].personal["detail"]["to_seq"], 2);
        let whole = audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap();
        assert_eq!((whole.first, whole.end.seq), (3, 4));
        let buried = whole.tombstone.unwrap();
        assert_eq!((buried.seq, &buried.tombstone), (4, &pruned.tombstone));
        let stranger = audit::verify(&app.db, &SealKey::from_bytes([8; 32]), Stream::Changes).await;
        let missing = audit::Broken::At { seq: 1, finding: audit::Finding::Missing };
        assert_eq!(stranger, Err(missing), "a tombstone of another key stands for nothing");
        // The tombstone itself leaves with its time, under the next one.
        app.clock.advance(Duration::from_hours(24 * 91));
        lock(&app, id(4)).await.unwrap();
        let again = prune_audit(&app, Actor::command_line(), kept_for).await.unwrap();
        let [again] = again.as_slice() else { panic!("one stream: {again:?}") };
        assert_eq!((again.seq, again.tombstone.from, again.tombstone.to.seq), (6, 3, 4));
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().first, 5);
    }

    async fn a_prune_that_was_cut_off_leaves_a_whole_chain_and_goes_on(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        for number in 1..=3 {
            lock(&app, id(number)).await.unwrap();
        }
        app.clock.advance(Duration::from_hours(24 * 91));
        let kept_for = Duration::from_hours(24 * 90);
        // What a process leaves that is killed after the tombstone, or between two pieces.
        let to = audit::last_before(&app.db, Stream::Changes, app.now().minus(kept_for)).await.unwrap().unwrap();
        let tombstone = audit::Tombstone::new(&app.seal, 1, to.clone(), app.now().minus(kept_for));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let signed = tombstone.to_string();
        let event = SystemEvent::AuditPruned { from_seq: 1, to_seq: 3, hash: to.hash, before: tombstone.before, signed };
        change.record(event).await.unwrap();
        change.commit().await.unwrap();
        for first in [1, 2] {
            assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().first, first);
            let mut tx = app.db.begin().await.unwrap();
            tx.execute(sql("DELETE FROM audit_personal WHERE seq = ?").bind(first)).await.unwrap();
            tx.execute(sql("DELETE FROM audit WHERE seq = ?").bind(first)).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(prune_audit(&app, Actor::command_line(), kept_for).await.unwrap(), []);
        let whole = audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap();
        assert_eq!((whole.first, whole.end.seq), (4, 4), "the rest of it went");
    }

    async fn what_a_gateway_signed_takes_nothing_that_is_not_old(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let days = |days: u64| Duration::from_hours(24 * days);
        lock(&app, id(1)).await.unwrap();
        app.clock.advance(days(91));
        lock(&app, id(2)).await.unwrap();
        assert!(!prune_audit(&app, Actor::command_line(), days(90)).await.unwrap().is_empty());
        // A gateway has the key that signs, and may add rows: it says that all of them were old.
        app.clock.advance(days(50));
        lock(&app, id(3)).await.unwrap();
        let to = audit::head(&app.db, Stream::Changes).await.unwrap();
        let forged = audit::Tombstone::new(&app.seal, 2, to.clone(), app.now());
        let mut change = app.change(Actor::system()).await.unwrap();
        let (to_seq, signed) = (to.seq, forged.to_string());
        change.record(SystemEvent::AuditPruned { from_seq: 2, to_seq, hash: to.hash, before: forged.before, signed })
            .await
            .unwrap();
        change.commit().await.unwrap();
        let left = async || -> Vec<i64> {
            audit::tail(&app.db, 0, 10).await.unwrap().iter().map(|row| row.seq).collect()
        };
        assert_eq!(prune_audit(&app, Actor::command_line(), days(90)).await.unwrap(), []);
        assert_eq!(left().await, [2, 3, 4, 5], "nothing of it was old");
        app.clock.advance(days(50));
        assert_eq!(prune_audit(&app, Actor::command_line(), days(90)).await.unwrap(), []);
        assert_eq!(left().await, [4, 5], "what is old by its own time goes");
        assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().first, 4);
    }

    async fn nothing_that_was_changed_is_buried(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        for number in 1..=3 {
            lock(&app, id(number)).await.unwrap();
        }
        let mut tx = app.db.begin().await.unwrap();
        tx.execute(sql("UPDATE audit SET code = 'logout' WHERE seq = 2")).await.unwrap();
        tx.commit().await.unwrap();
        app.clock.advance(Duration::from_hours(24 * 91));
        let refused = prune_audit(&app, Actor::command_line(), Duration::from_hours(24 * 90)).await;
        assert_eq!(refused, Err(audit::Broken::At { seq: 2, finding: audit::Finding::Changed }));
        assert_eq!(audit::head(&app.db, Stream::Changes).await.unwrap().seq, 3, "nothing was signed and nothing went");
    }
}

static RELOAD_FAILS: AtomicBool = AtomicBool::new(false);

fn reload<'a>(app: &'a App, subjects: &'a [Subject]) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        if subjects.contains(&Subject::Keys) && RELOAD_FAILS.load(Ordering::SeqCst) {
            return Err(Error::Busy);
        }
        app.health.clear("keys");
        Ok(())
    }
    .boxed()
}

#[tokio::test]
async fn what_cannot_be_applied_is_tried_again_and_keeps_the_view_old() {
    let with = With { appliers: vec![reload], ..With::default() };
    let app = TestApp::on(TestStore::sqlite().await, with).await;
    app.health.fail("keys", "not loaded");
    RELOAD_FAILS.store(true, Ordering::SeqCst);
    let mut change = app.change(Actor::system()).await.unwrap();
    let retired = audit::KeyEvent::Retired { kid: "k".into(), purpose: "access", published_until: NOON };
    change.record(retired).await.unwrap();
    change.commit().await.expect("it is committed, whatever this process makes of it");
    assert_eq!(app.catch_up().await, Err(Error::Busy));
    let age = app.view_age();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(app.view_age() > age, "the view grows older");
    RELOAD_FAILS.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    app.catch_up().await.unwrap();
    assert!(app.health.is_ready());
    assert!(app.view_age() <= begun.elapsed() + Duration::from_millis(2), "it is as old as the last look");
}

#[tokio::test]
async fn a_failed_commit_changes_nothing_in_memory() {
    let app = TestApp::new().await;
    let before = app.epochs.of(Subject::Application(id(1)));
    let mut change = app.change(Actor::system()).await.unwrap();
    change.record(ApplicationEvent::Disabled { application: id(1) }).await.unwrap();
    // The next number is taken already: the insert fails.
    let row = "INSERT INTO changes (seq, subject, happened_at) VALUES (1, ?, 0)";
    let blocked = sql(row).bind(Subject::Application(id(1)).to_string());
    change.tx().execute(blocked).await.unwrap();
    assert!(change.commit().await.is_err());
    assert_eq!(app.epochs.of(Subject::Application(id(1))), before);
    assert_eq!(audit::verify(&app.db, &app.seal, Stream::Changes).await.unwrap().end.seq, 0);
}

static HAS_BEGUN: tokio::sync::Notify = tokio::sync::Notify::const_new();

/// The first time it never ends.
fn reload_once_cut<'a>(app: &'a App, subjects: &'a [Subject]) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        if subjects.contains(&Subject::Keys) {
            if !app.health.is_ready() {
                app.health.clear("keys");
                HAS_BEGUN.notify_one();
                std::future::pending::<()>().await;
            }
            app.health.fail("keys", "the second time");
        }
        Ok(())
    }
    .boxed()
}

#[tokio::test]
async fn what_was_cut_off_while_it_was_applied_is_applied_with_the_next_poll() {
    let with = With { appliers: vec![reload_once_cut], ..With::default() };
    let app = TestApp::on(TestStore::sqlite().await, with).await;
    app.health.fail("keys", "the first time");
    let mut change = app.change(Actor::system()).await.unwrap();
    let retired = audit::KeyEvent::Retired { kid: "k".into(), purpose: "access", published_until: NOON };
    change.record(retired).await.unwrap();
    tokio::select! {
        _ = change.commit() => panic!("it was to be cut off"),
        () = HAS_BEGUN.notified() => {}
    }
    app.catch_up().await.unwrap();
    assert_eq!(app.health.all(), [("keys", "the second time".to_owned())]);
}
