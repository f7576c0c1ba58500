//! What is forgotten of what was counted, and when.

use super::*;

/// Has the data plane write down that a request passed at this moment.
async fn passes(app: &App, at: Timestamp) {
    let event = SystemEvent::RequestPassed { route: "seen".to_owned(), method: "GET".to_owned() };
    app.note(Actor::system(), at, event);
    app.write_notes().await.unwrap();
}

on_every_store! {
    async fn hours_and_addresses_are_forgotten_and_days_are_kept(store: TestStore) {
        let app = scene(store).await;
        let folder = Folder::new(Arc::clone(&app));
        let crowd = (0..1010_u32).map(|at| {
            let address = format!("10.0.{}.{}", at / 250, at % 250);
            noted(DEFAULT_SITE, NOON, &address, reused(someone()))
        });
        happen(&app, crowd.collect()).await;
        assert_eq!(folder.turn().await.unwrap(), 1010);
        let addresses = store::addresses(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap();
        assert_eq!(addresses.len(), 1000, "so many a day and no more");
        happen(&app, vec![noted(DEFAULT_SITE, NOON, "10.0.0.0", reused(someone()))]).await;
        folder.turn().await.unwrap();
        let addresses = store::addresses(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap();
        assert!(addresses.contains(&("10.0.0.0".to_owned(), 2)), "those that are known are counted on");
        let days = counted(&app.db, "day").await;
        for (advance, hours, places) in [(DAY, true, true), (2 * DAY, false, true), (7 * DAY, false, false)] {
            app.clock.advance(advance);
            happen(&app, vec![noted(ELSEWHERE, app.now(), "192.0.2.1", login(someone(), "password"))]).await;
            folder.turn().await.unwrap();
            let own = |sums: Sums| sums.into_iter().any(|((site, ..), _)| site == DEFAULT_SITE.to_string());
            assert_eq!(own(counted(&app.db, "hour").await), hours, "{advance:?}");
            let addresses = store::addresses(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap();
            assert_eq!(!addresses.is_empty(), places, "{advance:?}");
        }
        let mut kept = counted(&app.db, "day").await;
        kept.retain(|(site, ..), _| *site == DEFAULT_SITE.to_string());
        assert_eq!(kept, days);
    }

    async fn a_clock_that_is_ahead_forgets_nothing(store: TestStore) {
        let app = scene(store).await;
        let folder = Folder::new(Arc::clone(&app));
        happen(&app, vec![noted(DEFAULT_SITE, NOON, "192.0.2.1", reused(someone()))]).await;
        app.clock.advance(400 * DAY);
        assert_eq!(folder.turn().await.unwrap(), 1);
        assert!(!counted(&app.db, "hour").await.is_empty(), "all others still show it");
        let addresses = store::addresses(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap();
        assert_eq!(addresses.len(), 1);
        // As soon as something was written by that time it is over.
        happen(&app, vec![noted(ELSEWHERE, app.now(), "192.0.2.1", reused(someone()))]).await;
        folder.turn().await.unwrap();
        let addresses = store::addresses(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap();
        assert!(addresses.is_empty());
    }

    async fn what_is_old_is_old_beside_the_later_end_of_the_streams(store: TestStore) {
        let app = scene(store).await;
        let folder = Folder::new(Arc::clone(&app));
        happen(&app, vec![noted(DEFAULT_SITE, NOON, "192.0.2.1", reused(someone()))]).await;
        app.clock.advance(400 * DAY);
        passes(&app, NOON.plus(HOUR)).await;
        assert_eq!(folder.turn().await.unwrap(), 2);
        let known = async || store::addresses(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap().len();
        assert_eq!(known().await, 1, "neither stream has come so far");
        // Nothing is changed any more, and requests go on.
        passes(&app, app.now()).await;
        folder.turn().await.unwrap();
        assert_eq!(known().await, 0);
    }
}
