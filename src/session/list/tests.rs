//! What lists of sessions promise: each once, the latest first, from an index.

use crate::app::testing::{TestApp, With};
use crate::base::{Id, Timestamp};
use crate::on_every_store;
use crate::store::plan::Plan;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Db, Dialect, sql};

use super::*;

fn id(number: u64) -> Id {
    Id::from_u128(u128::from(number) << 64)
}

/// Sessions of three accounts through two applications; every second was ended, four at once.
async fn crowd(db: &Db, count: u64) {
    let mut tx = db.begin().await.unwrap();
    for batch in (1..=count).collect::<Vec<_>>().chunks(200) {
        let mut stmt = sql(
            "INSERT INTO session (id, account_id, application_id, method, device_info, device_key, \
             started_at, authenticated_at, refreshed_at, idle_ends_at, ends_at, ended_at, end_reason) VALUES",
        );
        for (place, number) in batch.iter().enumerate() {
            if place > 0 {
                stmt = stmt.push(",");
            }
            let at = Timestamp::from_millis(i64::try_from(*number).unwrap());
            let ended =
                (number % 2 == 0).then(|| Timestamp::from_millis(i64::try_from(number / 8 * 8).unwrap()));
            stmt = stmt.push("(?, ?, ?, 'password', '', '', ?, ?, ?, ?, ?, ?, ?)");
            stmt = stmt.bind(id(*number)).bind(id(number % 3)).bind((number % 2 == 1).then(|| id(9)));
            stmt = stmt
                .bind(at)
                .bind(at)
                .bind(at)
                .bind(at)
                .bind(at)
                .bind(ended)
                .bind(ended.map(|_| "logged_out"));
        }
        tx.execute(stmt).await.unwrap();
    }
    tx.commit().await.unwrap();
}

fn numbers(rows: &[Row]) -> Vec<u128> {
    rows.iter().map(|row| row.id.as_u128() >> 64).collect()
}

on_every_store! {
    async fn each_session_is_listed_once_however_small_the_pages(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, 60).await;
        for (account, application) in [(None, None), (Some(id(1)), None), (None, Some(id(9))), (Some(id(2)), Some(id(9)))] {
            let all = list(&app.db, account, application, None, 100).await.unwrap();
            assert!(all.iter().all(|row| account.is_none_or(|account| row.account == account)));
            assert!(all.iter().all(|row| application.is_none_or(|own| row.application == Some(own))));
            assert!(numbers(&all).is_sorted_by(|left, right| left > right));
            let (mut read, mut before) = (Vec::new(), None);
            loop {
                let page = list(&app.db, account, application, before, 7).await.unwrap();
                before = page.last().map(Listed::at).or(before);
                read.extend(numbers(&page));
                if page.len() < 7 {
                    break;
                }
            }
            assert_eq!(read, numbers(&all));
        }
        assert_eq!(list(&app.db, None, None, None, 100).await.unwrap().len(), 60);
    }

    async fn what_ended_at_one_moment_is_listed_once(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        crowd(&app.db, 60).await;
        for (account, count) in [(None, 30), (Some(id(1)), 10)] {
            let all = list_ended(&app.db, account, None, 100).await.unwrap();
            assert_eq!(all.len(), count);
            assert!(all.is_sorted_by(|left, right| (left.ended_at, left.id.as_u128()) > (right.ended_at, right.id.as_u128())));
            for most in [1, 3] {
                let (mut read, mut before) = (Vec::new(), None);
                loop {
                    let page = list_ended(&app.db, account, before, most).await.unwrap();
                    before = page.last().map(Listed::at_end).or(before);
                    read.extend(numbers(&page));
                    if page.len() < most as usize {
                        break;
                    }
                }
                assert_eq!(read, numbers(&all));
            }
        }
    }
}

/// Every page is a range of an index: nothing is sorted, nothing is read whole.
async fn every_page_is_read_from_an_index(dialect: Dialect) {
    let store = TestStore::of(dialect).await;
    crowd(store.db(), 5000).await;
    let mut tx = store.db().begin().await.unwrap();
    tx.execute(sql("ANALYZE")).await.unwrap();
    tx.commit().await.unwrap();
    // Of somebody who has many: the few of others are sorted as fast as they are read in order.
    let (somebody, application, at) = (id(1), id(9), Timestamp::from_millis(2000));
    for account in [None, Some(somebody)] {
        for stmt in [
            store::begun(account, None, None, 21),
            store::begun(account, Some(application), Some(id(2500)), 21),
            store::ended_with(account, at, id(2500), 21),
            store::ended_before(account, None, 21),
            store::ended_before(account, Some(at), 21),
        ] {
            let (text, plan) = (format!("{stmt:?}"), Plan::of(store.db(), stmt).await);
            assert!(plan.is_from_index(), "{text}\n{}", plan.0);
        }
    }
}

#[tokio::test]
async fn every_page_of_sessions_is_read_from_an_index_on_sqlite() {
    every_page_is_read_from_an_index(Dialect::Sqlite).await;
}

#[tokio::test]
async fn every_page_of_sessions_is_read_from_an_index_on_postgres() {
    every_page_is_read_from_an_index(Dialect::Postgres).await;
}

/// What is counted begins with a range of the sessions that count, not with everybody's.
#[tokio::test]
async fn what_is_counted_is_a_range_of_an_index_on_sqlite() {
    let store = TestStore::sqlite().await;
    let (site, now) = (DEFAULT_SITE, Timestamp::from_millis(2000));
    for (stmt, range) in [
        (store::count_live(site, now), "(ended_at=? AND idle_ends_at>?)"),
        (store::count_ended_since(site, now), "(ended_at>?)"),
        (store::count_running(site, now, now), "(ended_at>?)"),
    ] {
        let Plan(plan) = Plan::of(store.db(), stmt).await;
        assert!(plan.starts_with("SEARCH s USING ") && plan.contains(range), "{plan}");
        assert!(!plan.contains("SCAN"), "{plan}");
    }
}
