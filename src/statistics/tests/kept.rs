//! How many there are, as it is kept for a while.
//! Law: within the half minute nothing is counted again, and after it, or on another day, everything is.

use super::census::people;
use super::*;
use crate::account::{self, Census};

async fn total(app: &App, at: Timestamp) -> i64 {
    present(&app.db, DEFAULT_SITE, at).await.unwrap().accounts.total
}

/// Writes what was kept anew.
async fn keep(app: &App, at: Timestamp, counts: &str) {
    store::keep_census(&app.db, DEFAULT_SITE, at, counts).await.unwrap();
}

on_every_store! {
    async fn a_count_is_shown_for_half_a_minute_and_each_site_has_its_own(store: TestStore) {
        let app = scene(store).await;
        let all = people(&app, 3).await;
        let late = |seconds| NOON.plus(Duration::from_secs(seconds));
        assert_eq!(total(&app, NOON).await, 3);
        people(&app, 2).await;
        assert_eq!((total(&app, NOON).await, total(&app, late(29)).await), (3, 3), "not counted again");
        let elsewhere = present(&app.db, ELSEWHERE, late(29)).await.unwrap();
        assert_eq!((elsewhere.accounts, elsewhere.locked_out, elsewhere.seen_today), (Census::default(), 0, 0));
        assert_eq!(total(&app, late(30)).await, 5);
        let lock = sql("UPDATE account SET is_locked = ?, last_login_at = ? WHERE id = ?");
        assert_eq!(write(&app.db, lock.bind(true).bind(late(31)).bind(all[0])).await, 1);
        let seen = async |at| {
            let own = present(&app.db, DEFAULT_SITE, at).await.unwrap();
            (own.accounts.locked, own.locked_out, own.seen_today)
        };
        assert_eq!((seen(late(59)).await, seen(late(60)).await), ((0, 0, 0), (1, 1, 1)));
        // What is kept is what was counted, number by number.
        let own = present(&app.db, DEFAULT_SITE, late(60)).await.unwrap();
        assert_eq!(own.accounts, account::census(&app.db, DEFAULT_SITE, late(60)).await.unwrap());
    }

    async fn what_was_kept_yesterday_or_by_a_clock_far_ahead_or_cannot_be_read_is_counted_again(store: TestStore) {
        let app = scene(store).await;
        people(&app, 1).await;
        let midnight = day_of(NOON).plus(DAY);
        assert_eq!(total(&app, midnight.minus(Duration::from_secs(5))).await, 1);
        people(&app, 1).await;
        assert_eq!(total(&app, midnight.minus(Duration::from_secs(1))).await, 1);
        assert_eq!(total(&app, midnight).await, 2, "whoever was seen today was seen on that day");
        people(&app, 1).await;
        assert_eq!(total(&app, midnight.plus(Duration::from_secs(29))).await, 2);
        // A clock that is half a minute behind whoever counted.
        assert_eq!(total(&app, NOON.plus(Duration::from_secs(30))).await, 3);
        people(&app, 1).await;
        assert_eq!(total(&app, NOON).await, 4);
        people(&app, 1).await;
        keep(&app, NOON, "{\"people\": 7}").await;
        assert_eq!(total(&app, NOON).await, 5, "another version's numbers");
    }
}
