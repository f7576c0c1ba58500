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
}
