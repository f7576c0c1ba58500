//! What lists of people promise: everybody once, in the order that was asked for, from an index.

use crate::account::store::superusers;
use crate::account::{self, Field, NewAccount, Username};
use crate::app::testing::{TestApp, With};
use crate::audit::{Actor, How};
use crate::base::{Email, Id, Timestamp};
use crate::on_every_store;
use crate::store::plan::Plan;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Db, Dialect, Stmt, sql};

use super::*;

const ALL: [SortBy; 7] = [
    SortBy::Email,
    SortBy::FirstName,
    SortBy::LastName,
    SortBy::CreatedAt,
    SortBy::LastLogin,
    SortBy::IsActive,
    SortBy::IsLocked,
];

async fn person(app: &TestApp, email: &str, first: &str, last: &str) -> Id {
    app.clock.advance(std::time::Duration::from_millis(1));
    let mut change = app.change(Actor::system()).await.unwrap();
    let new = NewAccount {
        email: Email::parse(email).ok(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        ..NewAccount::of(DEFAULT_SITE)
    };
    let made = account::create(&mut change, &new, How::Administrator).await.unwrap();
    change.commit().await.unwrap();
    made.id
}

/// Two dozen people of every kind: some without an address, some logged in, some shut out, many alike.
async fn people(app: &TestApp) -> usize {
    for number in 0..24_usize {
        let email =
            if number % 5 == 0 { String::new() } else { format!("p{:02}@example.com", number * 7 % 24) };
        let id = person(app, &email, ["ada", "bob", ""][number % 3], ["x", "y"][number % 2]).await;
        if number % 4 == 0 {
            app.clock.advance(std::time::Duration::from_secs(1));
        }
        let mut tx = app.db.begin().await.unwrap();
        let at = (number % 3 == 0).then(|| Timestamp::from_millis(1000 + i64::try_from(number / 6).unwrap()));
        let flags = sql("UPDATE account SET last_login_at = ?, is_active = ?, is_locked = ? WHERE id = ?");
        let flags = flags.bind(at).bind(number % 6 != 1).bind(number % 8 == 3).bind(id);
        tx.execute(flags).await.unwrap();
        tx.commit().await.unwrap();
    }
    24
}

async fn whole(db: &Db, order: Order, search: &Search, most: u32) -> Vec<Account> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let read = order.read(db, DEFAULT_SITE, search, after.as_ref(), most).await.unwrap().unwrap();
        let is_end = read.len() < most as usize;
        after = read.last().map(|(place, _)| place.clone()).or(after);
        all.extend(read.into_iter().map(|(_, own)| own));
        if is_end {
            return all;
        }
    }
}

/// What a row is sorted by, as something that sorts as the store does; the number is last everywhere.
fn key(own: &Account, by: SortBy, now: Timestamp) -> (bool, String, i64) {
    let made = own.created_at.as_millis();
    match by {
        SortBy::Email => {
            (own.email.is_none(), own.email.as_ref().map(ToString::to_string).unwrap_or_default(), 0)
        }
        SortBy::FirstName => (false, own.first_name.clone(), 0),
        SortBy::LastName => (false, own.last_name.clone(), 0),
        SortBy::CreatedAt => (false, String::new(), made),
        SortBy::LastLogin => {
            (own.last_login_at.is_none(), String::new(), own.last_login_at.map_or(0, Timestamp::as_millis))
        }
        SortBy::IsActive => (own.is_active, String::new(), made),
        SortBy::IsLocked => (own.lock(now).is_some(), String::new(), made),
    }
}

async fn found(app: &TestApp, text: &str) -> Vec<String> {
    let words = Words::parse(text).unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let read = words.read(&app.db, DEFAULT_SITE, after.as_ref(), 2).await.unwrap().unwrap();
        let is_end = read.len() < 2;
        after = read.last().map(|(place, _)| place.clone()).or(after);
        let own = read.into_iter().filter_map(|(_, own)| own);
        all.extend(own.map(|own| own.email.map(|email| email.to_string()).unwrap_or(own.first_name)));
        if is_end {
            return all;
        }
    }
}

on_every_store! {
    async fn each_order_shows_everybody_once_however_small_the_pages(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let count = people(&app).await;
        let now = app.now();
        for by in ALL {
            for is_backwards in [false, true] {
                let order = Order { by, is_backwards };
                let all = whole(&app.db, order, &Search::default(), 100).await;
                let mut expected = all.clone();
                expected.sort_by_key(|own| (key(own, by, now), own.number));
                if is_backwards {
                    expected.reverse();
                }
                let numbers = |all: &[Account]| all.iter().map(|own| own.number.0).collect::<Vec<_>>();
                assert_eq!(numbers(&all), numbers(&expected), "{order:?}");
                assert_eq!(all.len(), count);
                for most in [1, 2, 5, 7] {
                    assert_eq!(numbers(&whole(&app.db, order, &Search::default(), most).await), numbers(&all), "{order:?}");
                }
            }
        }
    }

    async fn what_is_asked_for_narrows_a_list_and_the_bounds_are_kept(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        people(&app).await;
        let all = whole(&app.db, Order { by: SortBy::CreatedAt, is_backwards: false }, &Search::default(), 100).await;
        let (since, until) = (Some(all[6].created_at), Some(all[18].created_at));
        for is_backwards in [false, true] {
            let order = Order { by: SortBy::CreatedAt, is_backwards };
            for search in [
                Search { since, until, ..Search::default() },
                Search { is_active: Some(false), since, ..Search::default() },
                Search { is_locked: Some(true), until, ..Search::default() },
            ] {
                let expected = all.iter().filter(|own| {
                    search.since.is_none_or(|since| own.created_at >= since)
                        && search.until.is_none_or(|until| own.created_at < until)
                        && search.is_active.is_none_or(|is_set| own.is_active == is_set)
                        && search.is_locked.is_none_or(|is_set| own.lock(app.now()).is_some() == is_set)
                });
                let mut expected: Vec<i64> = expected.map(|own| own.number.0).collect();
                if is_backwards {
                    expected.reverse();
                }
                assert!(!expected.is_empty());
                for most in [1, 3, 50] {
                    let read = whole(&app.db, order, &search, most).await;
                    assert_eq!(read.iter().map(|own| own.number.0).collect::<Vec<_>>(), expected, "{search:?}");
                }
            }
        }
    }

    async fn people_are_found_by_how_a_word_of_theirs_begins(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = person(&app, "ada.lovelace@example.org", "Ada", "Lovelace").await;
        person(&app, "marie-claire@example.com", "Marie-Claire", "O'Neil").await;
        person(&app, "zoe@example.com", "Zoé", "Ångström").await;
        person(&app, "", "Łukasz", "van  Dyk").await;
        for (text, expected) in [
            ("ada", vec!["ada.lovelace@example.org"]),
            ("ADA  love", vec!["ada.lovelace@example.org"]),
            ("lovelace", vec!["ada.lovelace@example.org"]),
            ("lovelace@", vec!["ada.lovelace@example.org"]),
            ("example.", vec!["marie-claire@example.com", "zoe@example.com", "ada.lovelace@example.org"]),
            ("claire", vec!["marie-claire@example.com"]),
            ("neil", vec!["marie-claire@example.com"]),
            ("ÅNG", vec!["zoe@example.com"]),
            ("zoé å", vec!["zoe@example.com"]),
            ("łuk", vec!["Łukasz"]),
            ("van dyk", vec!["Łukasz"]),
            ("dyk", vec!["Łukasz"]),
            ("xample", vec![]),
            ("%", vec![]),
            ("_", vec![]),
        ] {
            assert_eq!(found(&app, text).await, expected, "{text}");
        }
        assert_eq!(Words::parse("  "), None);
        let mut change = app.change(Actor::system()).await.unwrap();
        let fields = [Field::LastName("Byron".to_owned()), Field::Username(Username::parse("countess").ok())];
        account::edit(&mut change, ada, &fields).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(found(&app, "ada love").await, Vec::<String>::new());
        for text in ["byron", "count"] {
            assert_eq!(found(&app, text).await, ["ada.lovelace@example.org"], "{text}");
        }
        let mut change = app.change(Actor::system()).await.unwrap();
        account::erase(&mut change, ada, How::Administrator).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(found(&app, "byron").await, Vec::<String>::new());
    }

    async fn a_place_of_another_list_is_none_of_this_one(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        people(&app).await;
        let by = |by| Order { by, is_backwards: false };
        let read = by(SortBy::FirstName).read(&app.db, DEFAULT_SITE, &Search::default(), None, 3).await;
        let place = read.unwrap().unwrap().pop().unwrap().0;
        for (order, place) in [
            (by(SortBy::CreatedAt), place.clone()),
            (by(SortBy::LastLogin), place.clone()),
            (by(SortBy::FirstName), Place { part: 7, ..place.clone() }),
            (by(SortBy::FirstName), Place { key: Key::Nothing, ..place.clone() }),
            (by(SortBy::FirstName), Place { last: "x".to_owned(), ..place.clone() }),
        ] {
            let read = order.read(&app.db, DEFAULT_SITE, &Search::default(), Some(&place), 3).await;
            assert_eq!(read.unwrap().unwrap_err(), NoPlace, "{order:?} {place:?}");
        }
        let words = Words::parse("a").unwrap();
        assert_eq!(words.read(&app.db, DEFAULT_SITE, Some(&place), 3).await.unwrap().unwrap_err(), NoPlace);
    }
}

fn stretches(order: Order, search: &Search) -> Vec<Stmt> {
    let (moment, text) =
        (Key::Moment(Timestamp::from_millis(2000)), Key::Text("user2000@example.com".to_owned()));
    let mut all = Vec::new();
    for part in order.parts(search) {
        let key = if matches!(part.column, Column::CreatedAt | Column::LastLogin) { &moment } else { &text };
        let starts = if part.lacks {
            vec![Start::Beginning, Start::Among(key, 2000)]
        } else {
            vec![Start::Beginning, Start::Among(key, 2000), Start::Behind(key)]
        };
        for start in starts {
            let stretch =
                store::Stretch { site: DEFAULT_SITE, part, backwards: order.is_backwards, search, start };
            all.push(stretch.stmt(21));
        }
    }
    all
}

/// Every page of every list, and every search, is a range of an index: nothing is sorted, nothing is read whole.
async fn every_page_is_read_from_an_index(dialect: Dialect) {
    let store = TestStore::of(dialect).await;
    crowd(store.db(), DEFAULT_SITE, 1, 5000).await;
    let mut tx = store.db().begin().await.unwrap();
    tx.execute(sql("ANALYZE")).await.unwrap();
    tx.commit().await.unwrap();
    let mut all = Vec::new();
    for by in ALL {
        for is_backwards in [false, true] {
            let order = Order { by, is_backwards };
            let (yes, no) = (Some(true), Some(false));
            for search in [
                Search::default(),
                Search { is_locked: yes, ..Search::default() },
                Search { is_banned: yes, ..Search::default() },
                Search { is_active: no, ..Search::default() },
                Search { is_email_verified: no, ..Search::default() },
                Search {
                    since: Some(Timestamp::from_millis(1000)),
                    until: Some(Timestamp::from_millis(4000)),
                    ..Search::default()
                },
            ] {
                all.extend(stretches(order, &search));
            }
        }
    }
    all.push(store::further_words(DEFAULT_SITE, "user1", None, 21));
    all.push(store::further_words(DEFAULT_SITE, "user1", Some("user100@example.com"), 21));
    all.push(store::same_word(DEFAULT_SITE, "user100@example.com", Id::from_u128(1), 21));
    all.extend([None, Some(Id::from_u128(1))].map(|after| superusers(DEFAULT_SITE, after, 21)));
    for stmt in all {
        let (text, plan) = (format!("{stmt:?}"), Plan::of(store.db(), stmt).await);
        // Not even an index is read whole.
        assert!(plan.is_from_index() && !plan.0.contains("SCAN account"), "{text}\n{}", plan.0);
    }
}

#[tokio::test]
async fn every_page_is_read_from_an_index_on_sqlite() {
    every_page_is_read_from_an_index(Dialect::Sqlite).await;
}

#[tokio::test]
async fn every_page_is_read_from_an_index_on_postgres() {
    every_page_is_read_from_an_index(Dialect::Postgres).await;
}

/// What is asked for statistics on a store that was never analysed: a piece of superusers is a range of their index,
/// and of a piece of people each is looked up, not the site's everybody.
#[tokio::test]
async fn pieces_of_people_are_counted_from_an_index() {
    let store = TestStore::sqlite().await;
    let ids: Vec<Id> = (1..=500).map(Id::from_u128).collect();
    for (stmt, index) in [
        (superusers(DEFAULT_SITE, None, 500), "account_by_superuser (site_id=? AND is_superuser=?)"),
        (
            superusers(DEFAULT_SITE, Some(ids[0]), 500),
            "account_by_superuser (site_id=? AND is_superuser=? AND id>?)",
        ),
        (store::usable_among(&ids, Timestamp::from_millis(1)), "(id=?)"),
    ] {
        let plan = Plan::of(store.db(), stmt).await;
        assert!(plan.is_from_index() && plan.0.contains(index), "{}", plan.0);
    }
}
