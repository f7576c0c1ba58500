//! The laws that migration files keep, and what happens to a run that is cut off.
//!
//! Law: whatever a run left behind, the next one ends in the same place.

use super::*;
use crate::base::Timestamp;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const ALL: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];

const FIRST: File = File {
    name: "9001_first",
    text: "-- A comment; with a semicolon.\nCREATE TABLE pear (\n    id ID NOT NULL PRIMARY KEY,\n    name VARCHAR(20) NOT NULL -- end\n);\n\
           CREATE UNIQUE INDEX pear_name_key ON pear (name);\nINSERT INTO pear (id, name) VALUES ('1', 'conference');\n",
};
const SECOND: File = File { name: "9002_second", text: "CREATE TABLE plum (id ID NOT NULL PRIMARY KEY);\n" };

#[test]
fn the_list_is_every_file_in_order_and_the_hashes_are_pinned() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut on_disk: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".sql").map(str::to_owned)
        })
        .collect();
    on_disk.sort();
    assert_eq!(FILES.iter().map(|file| file.name).collect::<Vec<_>>(), on_disk);
    let pin = |file: &File| format!("{}  {}.sql", sha256_hex(file.text.as_bytes()), file.name);
    let pins: Vec<_> = FILES.iter().map(pin).collect();
    let pinned = std::fs::read_to_string(format!("{directory}/SHA256SUMS")).unwrap();
    let pinned: Vec<_> = pinned.lines().collect();
    assert_eq!(
        pinned, pins,
        "never edit a migration that shipped; for a new one, SHA256SUMS reads as on the right"
    );
}

#[test]
fn files_are_portable() {
    for file in FILES {
        let is_comment = |line: &&str| line.trim_start().starts_with("--");
        let mut comments = file.text.lines().filter(is_comment);
        assert!(comments.all(|line| !line.ends_with(';')), "it would end the statement: {}", file.name);
        for statement in statements(file.text) {
            let code: Vec<&str> = statement.lines().filter(|line| !is_comment(line)).collect();
            let statement = code.join("\n");
            let place = format!("{}: {statement}", file.name);
            assert!(!statement.contains(';'), "one statement at a time: {place}");
            assert!(!statement.contains('"') && !statement.contains('`'), "names are not quoted: {place}");
            let is_unique_inline = statement.starts_with("CREATE TABLE") && statement.contains("UNIQUE");
            assert!(!is_unique_inline, "a unique constraint is CREATE UNIQUE INDEX name: {place}");
            for word in [
                "AUTOINCREMENT",
                "SERIAL",
                "TIMESTAMP",
                "DATETIME",
                "BLOB",
                "BYTEA",
                "RETURNING",
                "IF NOT EXISTS",
            ] {
                assert!(!statement.contains(word), "{word} is not portable: {place}");
            }
        }
    }
}

#[test]
fn a_unique_index_is_found_by_the_columns_sqlite_names() {
    assert_eq!(unique_index_on("site.name"), Some("site_name_key"));
    assert_eq!(unique_index_on("site.id"), None);
}

#[test]
fn type_words_are_replaced_as_whole_words_only() {
    let rendered = render(Dialect::MySql, "CREATE TABLE t (\n -- no\n id ID, a_ID TEXT, is_it FLAG)");
    assert!(
        rendered.starts_with("CREATE TABLE t (\n id VARCHAR(36), a_ID MEDIUMTEXT, is_it BOOLEAN)"),
        "{rendered}"
    );
    assert!(rendered.trim_end().ends_with("COLLATE utf8mb4_bin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_applies_once_and_says_what() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        assert!(status(&store).await.unwrap().iter().all(|(_, state)| *state == State::Pending));
        assert_eq!(run_files(&store, &[FIRST], NOW).await.unwrap(), ["9001_first"]);
        assert_eq!(run_files(&store, &[FIRST, SECOND], NOW).await.unwrap(), ["9002_second"]);
        assert!(run_files(&store, &[FIRST, SECOND], NOW).await.unwrap().is_empty());
        let rows: Vec<(String,)> = (&*store).all(sql("SELECT name FROM pear")).await.unwrap();
        assert_eq!(rows, [("conference".to_owned(),)], "{dialect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_done_run_resumes_where_it_stopped() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        // The second step cannot be applied: the first stays done where DDL commits by itself.
        let broken = File {
            name: FIRST.name,
            text: "CREATE TABLE pear (id ID NOT NULL PRIMARY KEY, name VARCHAR(20) NOT NULL);\nCREATE NONSENSE;\n",
        };
        let failure = run_files(&store, &[broken], NOW).await.unwrap_err();
        assert!(matches!(&failure, Failure::Step { step: 1, .. }), "{failure}");
        let mended = File { name: FIRST.name, text: FIRST.text };
        // The same file, as far as the store can tell: what was recorded carries the hash of the text.
        let mut tx = store.begin().await.unwrap();
        prepare(&mut tx).await.unwrap();
        let hash = sha256_hex(mended.text.as_bytes());
        tx.execute(sql("UPDATE schema_step SET hash = ?").bind(hash)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(run_files(&store, &[mended], NOW).await.unwrap(), ["9001_first"], "{dialect:?}");
        let rows: Vec<(String,)> = (&*store).all(sql("SELECT name FROM pear")).await.unwrap();
        assert_eq!(rows.len(), 1, "{dialect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_step_cut_off_before_it_was_recorded_counts_as_done() {
    let store = TestStore::bare(Dialect::MySql).await;
    let mut tx = store.begin().await.unwrap();
    prepare(&mut tx).await.unwrap();
    record(&mut tx, FIRST.name, 0, &sha256_hex(FIRST.text.as_bytes()), NOW).await.unwrap();
    tx.raw(render(Dialect::MySql, statements(FIRST.text).next().unwrap())).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(run_files(&store, &[FIRST], NOW).await.unwrap(), ["9001_first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cut_off_at_any_moment_is_finished_by_the_next() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        for millis in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
            let other = store.another().await;
            let cut = std::time::Duration::from_millis(millis);
            drop(tokio::time::timeout(cut, run(&other, NOW)).await);
            other.close().await;
        }
        run(&store, NOW).await.unwrap_or_else(|failure| panic!("{dialect:?}: {failure}"));
        assert!(status(&store).await.unwrap().iter().all(|(_, state)| *state == State::Applied));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_one_stream_keeps_its_chain_and_gets_a_second_one() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        let before = FILES.iter().position(|file| file.name == "0038_audit_stream").unwrap();
        run_files(&store, &FILES[..before], NOW).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for set in [
            "UPDATE change_counter SET last_seq = 7, last_hash = 'ab', pruned_to = 3 WHERE id = 1",
            "UPDATE statistic_cursor SET last_seq = 5 WHERE id = 1",
        ] {
            assert_eq!(tx.execute(sql(set)).await.unwrap(), 1);
        }
        tx.commit().await.unwrap();
        run(&store, NOW).await.unwrap();
        let counters = sql("SELECT id, last_seq, last_hash, pruned_to FROM change_counter ORDER BY id");
        let counters: Vec<(i64, i64, String, i64)> = (&*store).all(counters).await.unwrap();
        let there = 10_000_000_000_000;
        assert_eq!(counters, [(1, 7, "ab".to_owned(), 3), (2, there, String::new(), 0)], "{dialect:?}");
        let cursors = sql("SELECT id, last_seq FROM statistic_cursor ORDER BY id");
        let cursors: Vec<(i64, i64)> = (&*store).all(cursors).await.unwrap();
        assert_eq!(cursors, [(1, 5), (2, there)], "{dialect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_clocks_were_set_back_is_taken_from_what_is_there() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        let before = FILES.iter().position(|file| file.name == "0041_audit_moments").unwrap();
        run_files(&store, &FILES[..before], NOW).await.unwrap();
        let there = 10_000_000_000_000_i64;
        let mut tx = store.begin().await.unwrap();
        for (seq, at) in [(1_i64, 50_i64), (2, 70), (3, 40), (4, 60), (there + 1, 90), (there + 2, 85)] {
            let row = sql(
                "INSERT INTO audit (seq, happened_at, code, site_id, actor_kind, digest, prev_hash, hash) \
                 VALUES (?, ?, 'login', ?, 'system', '', '', '')",
            );
            tx.execute(row.bind(seq).bind(at).bind(DEFAULT_SITE)).await.unwrap();
        }
        tx.commit().await.unwrap();
        run(&store, NOW).await.unwrap();
        let kept = sql("SELECT id, latest_at, set_back FROM change_counter ORDER BY id");
        let kept: Vec<(i64, i64, i64)> = (&*store).all(kept).await.unwrap();
        assert_eq!(kept, [(1, 70, 30), (2, 90, 5)], "{dialect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_start_together_migrate_once() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        let other = store.another().await;
        let (a, b) = tokio::join!(run(&store, NOW), run(&other, NOW));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.is_empty() != b.is_empty(), "{dialect:?}: {a:?} {b:?}");
        assert!(status(&store).await.unwrap().iter().all(|(_, state)| *state == State::Applied));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_refused() {
    for dialect in ALL {
        let store = TestStore::bare(dialect).await;
        run_files(&store, &[FIRST, SECOND], NOW).await.unwrap();
        let failure = run_files(&store, &[FIRST], NOW).await.unwrap_err();
        assert_eq!(failure, Failure::Newer { file: "9002_second".to_owned() });
        assert!(failure.to_string().contains("newer version"));
        let edited = File { name: FIRST.name, text: "CREATE TABLE fig (id ID NOT NULL PRIMARY KEY);\n" };
        let failure = run_files(&store, &[edited, SECOND], NOW).await.unwrap_err();
        assert_eq!(failure, Failure::Changed { file: "9001_first".to_owned() });
    }
}
