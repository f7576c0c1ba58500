//! What two replicas make of the same approvals: each has numbers of its own, and a clock of its own.

use super::*;

impl Scene {
    /// Another replica, whose numbers are all higher than those that this one still has.
    async fn beside(&self) -> Arc<App> {
        let there = self.app.another(With { yaml: YAML, reactions: vec![react], ..With::default() }).await;
        // The first number of a series is taken alone, and the next one out of a block.
        self.ask("here").await;
        let near = self.ask("here too").await;
        let Asked::Open(far) = self.asked_of(&there, "there").await else { panic!("not asked") };
        assert!(near.number < far.number);
        there
    }
}

on_every_store! {
    async fn a_no_counts_whatever_number_it_has(store: TestStore) {
        let scene = Scene::on(store).await;
        let there = scene.beside().await;
        let Asked::Open(high) = scene.asked_of(&there, "{}").await else { panic!("not asked") };
        scene.deny(&high).await.unwrap();
        scene.app.clock.advance(5 * MINUTE);
        let low = scene.ask("{}").await;
        assert!(low.number < high.number);
        scene.deny(&low).await.unwrap();
        assert!(matches!(scene.asked("{}").await, Asked::Denied { .. }));
        assert!(matches!(scene.asked_of(&there, "{}").await, Asked::Denied { .. }));
    }

    async fn what_waits_is_found_whatever_number_it_has(store: TestStore) {
        let scene = Scene::on(store).await;
        let there = scene.beside().await;
        let Asked::Open(high) = scene.asked_of(&there, "{}").await else { panic!("not asked") };
        scene.approve(&scene.ada, &high).await.unwrap();
        scene.claim(&high).await.unwrap().settled(Outcome::Unknown).await;
        let low = scene.ask("{}").await;
        assert!(low.number < high.number && low.state == State::Pending);
        assert_eq!(scene.ask("{}").await.id, low.id, "asked once");
        assert_eq!(scene.count("approval_requested").await, 5);
    }

    async fn a_known_end_counts_although_another_clock_was_ahead(store: TestStore) {
        let scene = Scene { mode: Mode::Sealed, ..Scene::on(store).await };
        let there = scene.beside().await;
        let approval = scene.approved("{}").await;
        let mut claim = scene.claim(&approval).await.unwrap().copying();
        scene.app.clock.advance(Duration::from_secs(20));
        end_overdue(&there).await.unwrap();
        assert_eq!(scene.now(&approval).await.state, State::Indeterminate);
        let copy = claim.copy().unwrap();
        copy.begins(::http::StatusCode::OK, &::http::HeaderMap::new());
        copy.takes(b"done");
        copy.ends();
        claim.settled(Outcome::Answered(200)).await;
        let over = scene.now(&approval).await;
        assert_eq!((over.state, over.status), (State::Executed, Some(200)));
        assert!(matches!(answered(&there, &over).await.unwrap(), Some(Answered::Whole(answer)) if answer.body == b"done"));
        assert_eq!(scene.count("approval_executed").await, 1);
    }
}

#[tokio::test]
async fn an_end_that_the_store_refuses_for_a_while_is_written_when_it_answers_again() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let approval = scene.approved("{}").await;
    let claim = scene.claim(&approval).await.unwrap();
    let rename = async |text: &'static str| {
        let mut tx = scene.app.db.begin().await.unwrap();
        tx.execute(crate::store::sql(text)).await.unwrap();
        tx.commit().await.unwrap();
    };
    rename("ALTER TABLE approval RENAME TO lost").await;
    claim.settle(Outcome::Answered(200));
    tokio::time::sleep(Duration::from_secs(4)).await;
    rename("ALTER TABLE lost RENAME TO approval").await;
    for _ in 0..300 {
        if scene.state(&approval).await == State::Executed {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it is still {:?}", scene.now(&approval).await.state);
}
