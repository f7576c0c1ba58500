//! What the data plane writes: its own stream, in batches, and nothing of it lost that somebody waits for.

use super::*;
use crate::audit::{Broken, Finding, Noted};
use crate::store::Dialect;

const KEPT_FOR: Duration = Duration::from_hours(24 * 90);

fn passed(route: &str) -> SystemEvent {
    SystemEvent::RequestPassed { route: route.to_owned(), method: "GET".to_owned() }
}

/// The routes of the rows of the data plane, in their order.
async fn routes(app: &App) -> Vec<String> {
    let sought = audit::Sought { stream: Some(Stream::DataPlane), ..audit::Sought::default() };
    let rows = audit::tail_of(&app.db, &sought, 0, 10_000).await.unwrap();
    rows.into_iter()
        .map(|row| row.personal["detail"]["route"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn end(app: &App, stream: Stream) -> i64 {
    audit::verify(&app.db, &app.seal, stream).await.unwrap().end.seq - stream.floor()
}

on_every_store! {
    async fn sixty_four_requests_of_two_processes_that_wait_for_their_row_have_it(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        lock(&app, id(1)).await.unwrap();
        let waiting = (0..64).map(|n| {
            let app = if n % 2 == 0 { app.app.clone() } else { other.clone() };
            async move {
                let route = format!("r{n}");
                app.write_down(Actor::system(), passed(&route)).await?;
                // Before anybody goes on.
                Ok::<bool, Error>(routes(&app).await.contains(&route))
            }
        });
        for had in join_all(waiting).await {
            assert_eq!(had, Ok(true));
        }
        assert_eq!((end(&app, Stream::DataPlane).await, end(&app, Stream::Changes).await), (64, 1));
    }

    async fn notes_are_written_in_batches_and_take_no_number_of_changes(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        for n in 0..2500 {
            app.note(Actor::system(), app.now(), passed(&n.to_string()));
        }
        assert_eq!(end(&app, Stream::DataPlane).await, 0, "nobody waited");
        app.write_notes().await.unwrap();
        assert_eq!((end(&app, Stream::DataPlane).await, end(&app, Stream::Changes).await), (2500, 0));
        assert_eq!(routes(&app).await, (0..2500).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(app.metrics.render().contains("portcullis_audit_backlog 0\n"));
    }

    async fn where_the_row_cannot_be_written_nobody_goes_on_and_notes_wait(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        app.note(Actor::system(), app.now(), passed("note"));
        let rename = async |from_to: &'static str| {
            let mut tx = app.db.begin().await.unwrap();
            tx.execute(sql(from_to)).await.unwrap();
            tx.commit().await.unwrap();
        };
        rename("ALTER TABLE audit RENAME TO lost").await;
        let refused = join_all((0..8).map(|_| app.write_down(Actor::system(), passed("refused")))).await;
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        assert!(app.write_notes().await.is_err());
        rename("ALTER TABLE lost RENAME TO audit").await;
        app.write_notes().await.unwrap();
        assert_eq!(routes(&app).await, ["note"], "what was refused was not done, what happened is told");
        assert_eq!(end(&app, Stream::DataPlane).await, 1);
    }

    async fn what_others_wait_for_is_written_though_whoever_wrote_it_was_cut_off(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        // Somebody holds the stream, so that whoever writes is at it for as long as that.
        let mut holder = app.db.begin().await.unwrap();
        let held = [Noted { actor: Actor::system(), at: app.now(), event: passed("held").into() }];
        audit::append(&mut holder, Stream::DataPlane, &held, app.random.as_ref()).await.unwrap();
        let mut writes = Box::pin(app.write_down(Actor::system(), passed("first")));
        assert_eq!(writes.as_mut().now_or_never(), None, "it is at it");
        let mut next = Box::pin(app.write_down(Actor::system(), passed("second")));
        let mut last = Box::pin(app.write_down(Actor::system(), passed("third")));
        assert_eq!((next.as_mut().now_or_never(), last.as_mut().now_or_never()), (None, None), "they wait");
        drop(writes);
        // Its turn: it takes its own row and the third one, and is cut off, too.
        assert_eq!(next.as_mut().now_or_never(), None, "it is at it");
        drop(next);
        holder.rollback().await.unwrap();
        assert_eq!(last.await, Ok(()));
        assert_eq!(routes(&app).await, ["third"], "nobody waits for the others any more");
        app.write_notes().await.unwrap();
        assert_eq!(end(&app, Stream::DataPlane).await, 1);
    }

    async fn each_stream_is_pruned_for_a_tombstone_of_its_own(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let there = Stream::DataPlane.floor();
        lock(&app, id(1)).await.unwrap();
        for _ in 0..3 {
            app.write_down(Actor::system(), passed("old")).await.unwrap();
        }
        app.clock.advance(KEPT_FOR + Duration::from_hours(24));
        app.write_down(Actor::system(), passed("new")).await.unwrap();
        assert_eq!(overdue_audit(&app, KEPT_FOR).await.unwrap(), Duration::from_hours(24));
        let pruned = prune_audit(&app, Actor::command_line(), KEPT_FOR).await.unwrap();
        let told: Vec<_> = pruned
            .iter()
            .map(|one| (one.stream, one.seq, one.tombstone.from, one.tombstone.to.seq))
            .collect();
        let expected = [(Stream::Changes, 2, 1, 1), (Stream::DataPlane, there + 5, there + 1, there + 3)];
        assert_eq!(told, expected);
        assert_eq!(prune_audit(&app, Actor::command_line(), KEPT_FOR).await.unwrap(), []);
        for (stream, first) in [(Stream::Changes, 2), (Stream::DataPlane, there + 4)] {
            let whole = audit::verify(&app.db, &app.seal, stream).await.unwrap();
            assert_eq!((whole.first, whole.tombstone.is_some()), (first, true));
        }
        assert_eq!(routes(&app).await, ["new", ""], "the tombstone is the last of them");
    }

    async fn nothing_is_pruned_of_either_where_one_was_changed(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        lock(&app, id(1)).await.unwrap();
        app.write_down(Actor::system(), passed("old")).await.unwrap();
        let first = Stream::DataPlane.first();
        let mut tx = app.db.begin().await.unwrap();
        tx.execute(sql("UPDATE audit SET code = 'logout' WHERE seq = ?").bind(first)).await.unwrap();
        tx.commit().await.unwrap();
        app.clock.advance(KEPT_FOR + Duration::from_hours(1));
        let refused = prune_audit(&app, Actor::command_line(), KEPT_FOR).await;
        assert_eq!(refused, Err(Broken::At { seq: first, finding: Finding::Changed }));
        assert_eq!(audit::head(&app.db, Stream::Changes).await.unwrap().seq, 1, "nothing was signed");
        let message = refused.unwrap_err().to_string();
        assert_eq!(message, format!("audit row {first} of the data plane was changed"));
    }

    async fn a_decision_is_heard_of_by_no_other_process(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        let before = other.epochs.of(Subject::Account(id(1)));
        app.write_down(Actor::system(), passed("seen")).await.unwrap();
        other.catch_up().await.unwrap();
        assert_eq!(other.epochs.of(Subject::Account(id(1))), before);
        let mut change = app.change(Actor::system()).await.unwrap();
        change.record(passed("seen")).await.unwrap();
        assert!(matches!(change.commit().await, Err(Error::Broken { .. })), "it is no change");
    }
}

/// SQLite has one writer, whatever it writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_holds_its_counter_keeps_no_request_waiting_nor_the_other_way_round() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let app = TestApp::on(TestStore::of(dialect).await, With::default()).await;
        let change = Noted { actor: Actor::system(), at: NOON, event: locked(id(1)).into() };
        let mut held = app.db.begin().await.unwrap();
        audit::append(&mut held, Stream::Changes, &[change], app.random.as_ref()).await.unwrap();
        app.write_down(Actor::system(), passed("meanwhile")).await.unwrap();
        assert_eq!(routes(&app).await, ["meanwhile"], "{dialect:?}");
        held.rollback().await.unwrap();
        let row = Noted { actor: Actor::system(), at: NOON, event: passed("held").into() };
        let mut held = app.db.begin().await.unwrap();
        audit::append(&mut held, Stream::DataPlane, &[row], app.random.as_ref()).await.unwrap();
        lock(&app, id(2)).await.unwrap();
        held.commit().await.unwrap();
        assert_eq!((end(&app, Stream::DataPlane).await, end(&app, Stream::Changes).await), (2, 1));
    }
}
