//! The kernel's promises.
//!
//! Law: one body per promise, run on every database.

use std::time::Duration;

use super::testing::TestStore;
use super::*;
use crate::base::random::SeededRandom;
use crate::base::{Id, Number, Secret, Timestamp};
use crate::config::Database;
use crate::on_every_store;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

#[derive(FromRow, Debug, PartialEq)]
struct Site {
    id: Id,
    name: String,
    created_at: Timestamp,
}

fn insert(id: Id, name: &str) -> Stmt {
    sql("INSERT INTO site (id, name, created_at) VALUES (?, ?, ?)").bind(id).bind(name).bind(NOW)
}

type Nullable = (Option<Number>, Option<String>, Option<Vec<u8>>, Option<bool>);

fn id(seed: u64) -> Id {
    Id::new(NOW, &SeededRandom::new(seed))
}

/// Both cases of a letter together, and `_` before `.`: neither is the order of bytes.
#[tokio::test]
async fn the_postgres_of_the_tests_sorts_as_people_do() {
    let store = TestStore::bare(Dialect::Postgres).await;
    let sorted = sql("SELECT COUNT(*) FROM (SELECT 1 AS one WHERE 'a' < 'B' AND 'a_d' < 'a.c') AS found");
    let (sorted,): (i64,) = store.db().one(sorted).await.unwrap();
    assert_eq!(sorted, 1);
}

on_every_store! {
    async fn a_row_reads_back_as_it_was_written(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        tx.execute(insert(id(1), "Grüße \u{1f600} 'x' \\")).await.unwrap();
        tx.commit().await.unwrap();
        let by_name = sql("SELECT id, name, created_at FROM site WHERE id = ?").bind(id(1));
        let site: Site = (&*store).one(by_name).await.unwrap();
        assert_eq!(site, Site { id: id(1), name: "Grüße \u{1f600} 'x' \\".to_owned(), created_at: NOW });
        let none: Option<Site> =
            (&*store).optional(sql("SELECT id, name, created_at FROM site WHERE id = ?").bind(id(2))).await.unwrap();
        assert_eq!(none, None);
    }

    async fn the_default_site_is_there(store: TestStore) {
        let site = sql("SELECT name FROM site WHERE id = ?").bind(DEFAULT_SITE);
        assert_eq!((&*store).one::<(String,)>(site).await.unwrap().0, "default");
    }

    async fn letter_case_tells_names_apart(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        tx.execute(insert(id(1), "admin")).await.unwrap();
        tx.execute(insert(id(2), "Admin")).await.unwrap();
        tx.commit().await.unwrap();
        let found: Vec<(String,)> =
            (&*store).all(sql("SELECT name FROM site WHERE name = ?").bind("Admin")).await.unwrap();
        assert_eq!(found.len(), 1);
    }

    async fn a_text_that_is_too_long_is_never_cut(store: TestStore) {
        if store.dialect() == Dialect::Sqlite {
            return;
        }
        let mut tx = store.begin().await.unwrap();
        let error = tx.execute(insert(id(1), &"x".repeat(61))).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    }

    async fn a_dropped_transaction_leaves_nothing(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        tx.execute(insert(id(1), "ghost")).await.unwrap();
        let mut seen = tx.all::<(String,)>(sql("SELECT name FROM site WHERE name = 'ghost'")).await.unwrap();
        assert_eq!(seen.len(), 1);
        drop(tx);
        seen = (&*store).all(sql("SELECT name FROM site WHERE name = 'ghost'")).await.unwrap();
        assert!(seen.is_empty());
    }

    async fn a_conflict_carries_the_same_name_everywhere(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        let error = tx.execute(insert(id(1), "default")).await.unwrap_err();
        assert_eq!(error, Error::Conflict("site_name_key".to_owned()));
        assert!(error.is_conflict("site_name_key"));
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        tx.execute(insert(id(1), "one")).await.unwrap();
        let error = tx.execute(insert(id(1), "two")).await.unwrap_err();
        assert_eq!(error, Error::Conflict(PRIMARY_KEY.to_owned()));
    }

    async fn foreign_keys_and_checks_hold_and_are_named(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        let table = "CREATE TABLE leaf (site_id ID NOT NULL, size BIGINT NOT NULL, \
                CONSTRAINT leaf_site FOREIGN KEY (site_id) REFERENCES site (id), \
                CONSTRAINT leaf_size CHECK (size > 0))";
        tx.raw(migrate::render(store.dialect(), table)).await.unwrap();
        tx.commit().await.unwrap();
        let leaf = |site: Id, size: i64| {
            sql("INSERT INTO leaf (site_id, size) VALUES (?, ?)").bind(site).bind(size)
        };
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.execute(leaf(id(9), 1)).await.unwrap_err(), Error::Conflict(FOREIGN_KEY.to_owned()));
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        let site: (Id,) = tx.one(sql("SELECT id FROM site")).await.unwrap();
        assert_eq!(tx.execute(leaf(site.0, 0)).await.unwrap_err(), Error::Conflict("leaf_size".to_owned()));
    }

    async fn null_of_every_type_can_be_bound(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        let table = "CREATE TABLE nil (a MOMENT, b VARCHAR(9), c BYTES, d FLAG)";
        tx.raw(migrate::render(store.dialect(), table)).await.unwrap();
        let nulls = sql("INSERT INTO nil (a, b, c, d) VALUES (?, ?, ?, ?)")
            .bind(None::<Timestamp>).bind(None::<Id>).bind(None::<Vec<u8>>).bind(None::<bool>);
        tx.execute(nulls).await.unwrap();
        let values = sql("INSERT INTO nil (a, b, c, d) VALUES (?, ?, ?, ?)")
            .bind(Number(7)).bind("b").bind(vec![0_u8, 255]).bind(true);
        tx.execute(values).await.unwrap();
        let rows: Vec<Nullable> = tx.all(sql("SELECT a, b, c, d FROM nil ORDER BY a")).await.unwrap();
        assert!(rows.contains(&(None, None, None, None)));
        assert!(rows.contains(&(Some(Number(7)), Some("b".to_owned()), Some(vec![0, 255]), Some(true))));
    }

    async fn an_update_counts_the_rows_it_meets_even_unchanged(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        let same = || sql("UPDATE site SET name = 'default' WHERE name = ?");
        assert_eq!(tx.execute(same().bind("default")).await.unwrap(), 1);
        assert_eq!(tx.execute(same().bind("other")).await.unwrap(), 0);
    }

    async fn an_upsert_updates_the_row_that_exists(store: TestStore) {
        let mut tx = store.begin().await.unwrap();
        let write = |content: &'static str| {
            sql("INSERT INTO setting (name, content) VALUES (?, ?)").bind("colour").bind(content)
        };
        tx.execute(write("red").upsert(&["name"], &["content"])).await.unwrap();
        tx.execute(write("blue").upsert(&["name"], &["content"])).await.unwrap();
        tx.execute(write("grey").upsert(&["name"], &[])).await.unwrap();
        let read = || sql("SELECT content FROM setting WHERE name = 'colour'");
        assert_eq!(tx.all::<(String,)>(read()).await.unwrap(), [("blue".to_owned(),)]);
        let again = write("x").upsert_with(&["name"], "content = setting.name");
        tx.execute(again).await.unwrap();
        assert_eq!(tx.all::<(String,)>(read()).await.unwrap(), [("colour".to_owned(),)]);
    }

    async fn a_lease_has_one_holder_until_it_ends(store: TestStore) {
        let minute = Duration::from_mins(1);
        assert!(lease::take(&store, "job", "a", NOW, minute).await.unwrap());
        assert!(!lease::take(&store, "job", "b", NOW, minute).await.unwrap());
        assert!(lease::take(&store, "job", "a", NOW, minute).await.unwrap(), "a holder renews");
        assert_eq!(lease::holder(&store, "job", NOW).await.unwrap().as_deref(), Some("a"));
        let later = NOW.plus(minute);
        assert!(lease::take(&store, "job", "b", later, minute).await.unwrap());
        assert!(!lease::take(&store, "job", "a", later, minute).await.unwrap());
        lease::release(&store, "job", "b").await.unwrap();
        assert!(lease::take(&store, "job", "a", later, minute).await.unwrap());
    }

    async fn statements_cut_off_half_way_cost_no_connection_and_answer_nobody_else(store: TestStore) {
        let ask = |db: Db, n: i64| async move {
            let mut tx = db.begin().await?;
            tx.execute(sql("UPDATE site SET created_at = ?").bind(n)).await?;
            // A text that this connection has not seen, so that it is prepared first.
            let names = (0..=n).map(|name| if name == 0 { "default".to_owned() } else { name.to_string() });
            let read = sql("SELECT created_at FROM site WHERE name IN").list(names);
            (&db).one::<(i64,)>(read.clone()).await?;
            let row = tx.one::<(i64,)>(read).await?;
            drop(tx);
            Ok::<i64, Error>(row.0)
        };
        for n in 0..150 {
            let cut = Duration::from_micros(u64::try_from(n % 50).unwrap() * 60);
            if let Ok(Ok(answer)) = tokio::time::timeout(cut, ask(store.db().clone(), n)).await {
                assert_eq!(answer, n);
            }
        }
        // As many at once as there are connections: none of them is gone.
        let mut open = Vec::new();
        let most = if store.dialect() == Dialect::Sqlite { 1 } else { Options::default().connections };
        for _ in 0..most {
            open.push(store.begin().await.unwrap());
        }
        drop(open);
        let created: (i64,) =
            (&*store).one(sql("SELECT created_at FROM site WHERE name = 'default'")).await.unwrap();
        assert_eq!(created.0, 0, "nothing was committed");
    }

    async fn numbers_are_never_given_twice(store: TestStore) {
        let (a, b) = (Numbers::default(), Numbers::default());
        let mut seen = Vec::new();
        for round in 0..8 {
            for numbers in [&a, &b] {
                numbers.replenish(&store).await.unwrap();
                let mut tx = store.begin().await.unwrap();
                for _ in 0..30 {
                    let number = numbers.next(&mut tx, "account").await.unwrap();
                    // Rolled back in some rounds: those numbers may be given again only if no one has them.
                    if round % 3 != 2 {
                        seen.push(number);
                    }
                }
                if round % 3 != 2 {
                    tx.commit().await.unwrap();
                }
            }
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(seen[0], Number(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_never_part_of_an_error() {
    let url = || Secret::new("x://ada:hunter2@127.0.0.1:1/x".to_owned());
    for database in [Database::Postgres { url: url() }, Database::Mysql { url: url() }] {
        let options = Options { acquire_for: Duration::from_millis(300), ..Options::default() };
        let error = Db::open_with(&database, options).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_sqlite_store_cannot_write() {
    let store = TestStore::sqlite().await;
    let error = (&*store).all::<(i64,)>(sql("DELETE FROM site")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. } | Error::Broken { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_writer_makes_others_busy_and_readers_go_on() {
    let store = TestStore::sqlite().await;
    let held = store.begin().await.unwrap();
    let options = Options { acquire_for: Duration::from_secs(1), ..Options::default() };
    let other = Db::open_with(store.database(), options).await.unwrap();
    let waiting = other.begin().await;
    assert!(matches!(waiting, Err(Error::Busy)));
    (&other).one::<(String,)>(sql("SELECT name FROM site")).await.unwrap();
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_private_and_checked() {
    use std::os::unix::fs::PermissionsExt as _;
    let store = TestStore::sqlite().await;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("copy.db");
    backup_to(&store, &target).await.unwrap();
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&target).unwrap();
    check_backup(&target).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), before, "checked, not touched");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing beside it");
    assert_eq!(backup_to(&store, &target).await.unwrap_err(), Unfit::Exists);
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is no database, whatever its name says, and it is long enough").unwrap();
    assert!(check_backup(&text).await.is_err());
    assert!(check_backup(&directory.path().join("none.db")).await.is_err());
}

#[tokio::test]
async fn nobody_waits_without_end_for_an_answer_that_does_not_come() {
    let store = TestStore::of(Dialect::Postgres).await;
    let db = Db::open_with(store.database(), Options::patient(10, Duration::from_secs(2))).await.unwrap();
    let start = std::time::Instant::now();
    let slow = sql("SELECT CAST(1 AS BIGINT) FROM (SELECT pg_sleep(30)) AS nap");
    let answer = (&db).optional::<(i64,)>(slow).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!((&db).one::<(i64,)>(sql("SELECT CAST(1 AS BIGINT)")).await, Ok((1,)));
}
