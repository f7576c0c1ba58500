//! What a search of the trail promises: the latest first, whatever is asked, and each page of each stream from one
//! index.

use std::time::Duration;

use super::lead::Stretch;
use super::*;
use crate::audit::{Actor, ApplicationEvent, Event, Noted, SystemEvent, append};
use crate::base::random::SeededRandom;
use crate::on_every_store;
use crate::store::plan::Plan;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Source as _, sql};

#[test]
fn a_place_reads_back_and_names_each_stream_once() {
    let there = Stream::DataPlane.first();
    for text in ["7".to_owned(), there.to_string(), format!("7-{there}")] {
        assert_eq!(Before::parse(&text).map(|read| read.to_string()), Some(text.clone()), "{text}");
    }
    assert_eq!(Before::parse(&format!("{there}-7")), Before::parse(&format!("7-{there}")));
    for text in ["", "x", "0", "-7", "7-", "7-8", "7.8", "7-8-9", "99999999999999999999"] {
        assert_eq!(Before::parse(text), None, "{text:?}");
    }
}

#[test]
fn the_streams_are_merged_by_time_and_keep_their_own_order() {
    let at = |number: i64| Timestamp::from_millis(number / 10);
    // The second change of the first stream says that it is older than the one after it.
    let merged = latest_first([vec![52, 31, 40, 10], vec![51, 45, 11]], |number| at(*number));
    assert_eq!(merged, [51, 52, 45, 31, 40, 11, 10]);
    assert_eq!(latest_first([vec![], vec![2, 1]], |number| at(*number)), [2, 1]);
    assert_eq!(latest_first([vec![2, 1], vec![]], |number| at(*number)), [2, 1]);
}

/// Writes rows of a stream, as one change.
async fn write(store: &TestStore, stream: Stream, noted: &[Noted]) {
    let mut tx = store.begin().await.unwrap();
    append(&mut tx, stream, noted, &SeededRandom::new(9)).await.unwrap();
    tx.commit().await.unwrap();
}

fn noted(event: impl Into<Event>, at: Timestamp) -> Noted {
    Noted { actor: Actor::system(), at, event: event.into() }
}

fn passed(at: Timestamp) -> Noted {
    noted(SystemEvent::RequestPassed { route: "seen".to_owned(), method: "GET".to_owned() }, at)
}

/// Nine changes: three applications made, the same three changed, and gone again; beside them three requests passed.
async fn nine_rows(store: &TestStore) {
    for round in 0..3 {
        let rows = [1, 2, 3].map(|number| {
            let (application, name) = (Id::from_u128(number), "a".to_owned());
            let event = match round {
                0 => ApplicationEvent::Created { application, name },
                1 => ApplicationEvent::Regenerated { application },
                _ => ApplicationEvent::Deleted { application, name },
            };
            noted(event, Timestamp::from_millis(i64::try_from(number).unwrap()))
        });
        write(store, Stream::Changes, &rows).await;
        write(store, Stream::DataPlane, &[passed(Timestamp::from_millis(3))]).await;
    }
}

fn of(codes: &[&str]) -> Search {
    Search { codes: codes.iter().map(|code| (*code).to_owned()).collect(), ..Search::default() }
}

async fn found(store: &TestStore, wanted: &Search, limit: u32) -> Vec<i64> {
    let found = search(store.db(), DEFAULT_SITE, wanted, limit).await.unwrap();
    found.rows.iter().map(|row| row.seq).collect()
}

on_every_store! {
    async fn rows_of_several_codes_stand_in_their_order_and_once(store: TestStore) {
        nine_rows(&store).await;
        let (made, gone) = ("app_created", "app_deleted");
        assert_eq!(found(&store, &of(&[made, gone, made]), 10).await, [9, 8, 7, 3, 2, 1]);
        assert_eq!(found(&store, &of(&[gone, made]), 4).await, [9, 8, 7, 3]);
        assert_eq!(found(&store, &of(&[made, "app_credentials_regenerated"]), 2).await, [6, 5]);
        let third = Search { application: Some(Id::from_u128(3)), ..of(&[made, gone]) };
        assert_eq!(found(&store, &third, 10).await, [9, 3]);
        let earlier = Search { before: Before::default().with(8), ..of(&[made, gone]) };
        assert_eq!(found(&store, &earlier, 2).await, [7, 3]);
        assert_eq!(earlier.count(store.db(), DEFAULT_SITE, 10).await.unwrap(), 4);
        let timely = Search { since: Some(Timestamp::from_millis(3)), ..of(&[made, gone]) };
        assert_eq!(found(&store, &timely, 10).await, [9, 3]);
    }

    async fn a_code_of_each_stream_is_found_in_its_own(store: TestStore) {
        nine_rows(&store).await;
        let there = Stream::DataPlane.floor();
        let both = || of(&["app_deleted", "request_passed"]);
        // Of the same moment, decisions first.
        assert_eq!(found(&store, &both(), 10).await, [there + 3, there + 2, there + 1, 9, 8, 7]);
        assert_eq!(found(&store, &both(), 4).await, [there + 3, there + 2, there + 1, 9]);
        let decided = Search { stream: Some(Stream::DataPlane), ..both() };
        assert_eq!(found(&store, &decided, 2).await, [there + 3, there + 2]);
        let earlier = Search { before: Before::default().with(9).with(there + 2), ..both() };
        assert_eq!(found(&store, &earlier, 10).await, [there + 1, 8, 7]);
        assert_eq!(earlier.count(store.db(), DEFAULT_SITE, 10).await.unwrap(), 3);
        let turned = both().turned(store.db(), DEFAULT_SITE, 2, 3).await.unwrap();
        assert_eq!(turned.iter().map(|row| row.seq).collect::<Vec<_>>(), [there + 1, 9, 8]);
    }
}

/// So many hours after a first one.
fn hour(number: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).plus(Duration::from_hours(number))
}

on_every_store! {
    async fn clocks_that_are_set_back_hide_no_row(store: TestStore) {
        // The clock was behind twice, and one batch brings what is from long before.
        let mut hours: Vec<u64> = Vec::new();
        for batch in [&[10_u64; 40][..], &[1; 40], &[12; 40], &[11; 40], &[30, 3, 29], &[20; 40], &[31; 140]] {
            let rows: Vec<Noted> = batch.iter().map(|number| passed(hour(*number))).collect();
            write(&store, Stream::DataPlane, &rows).await;
            hours.extend(batch);
        }
        for since in [None, Some(0), Some(2), Some(11), Some(25), Some(40)] {
            for until in [None, Some(0), Some(2), Some(4), Some(12), Some(30), Some(40)] {
                let wanted = Search { since: since.map(hour), until: until.map(hour), ..Search::default() };
                let fits = |number: u64| {
                    since.is_none_or(|since| number >= since) && until.is_none_or(|until| number < until)
                };
                let all = (Stream::DataPlane.first()..).zip(&hours).filter(|(_, number)| fits(**number));
                let mut all: Vec<i64> = all.map(|(seq, _)| seq).collect();
                all.reverse();
                assert_eq!(found(&store, &wanted, 1000).await, all, "{since:?} {until:?}");
            }
        }
    }

    async fn what_is_long_past_is_looked_for_among_few_of_its_stream(store: TestStore) {
        let there = Stream::DataPlane.floor();
        // Three of its rows are from before all others.
        nine_rows(&store).await;
        let rows: Vec<Noted> = (0..1000).map(|number| passed(hour(number))).collect();
        write(&store, Stream::DataPlane, &rows).await;
        let wanted = Search { since: Some(hour(400)), until: Some(hour(420)), ..Search::default() };
        let bounds = async || {
            let stretch = wanted.whole(store.db(), DEFAULT_SITE, Stream::DataPlane, &[]).await.unwrap();
            (stretch.above, stretch.below)
        };
        // Rows of so long a time at once are what a clock that is set back writes.
        assert_eq!(bounds().await, (Some(there), None));
        let mut tx = store.begin().await.unwrap();
        let set = sql("UPDATE change_counter SET set_back = 0 WHERE id = 2");
        assert_eq!(tx.execute(set).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let (above, below) = bounds().await;
        let (above, below) = (above.unwrap() - there, below.unwrap() - there);
        assert!((304..=403).contains(&above) && (425..=524).contains(&below), "{above} {below}");
        let all: Vec<i64> = (there + 404..=there + 423).rev().collect();
        assert_eq!(found(&store, &wanted, 100).await, all);
    }

    async fn each_stream_has_its_own_account_of_clocks(store: TestStore) {
        let at = |stream: Stream, number: u64| match stream {
            Stream::Changes => noted(ApplicationEvent::Regenerated { application: Id::from_u128(1) }, hour(number)),
            Stream::DataPlane => passed(hour(number)),
        };
        for (stream, number) in [
            (Stream::Changes, 9),
            (Stream::DataPlane, 2),
            (Stream::Changes, 4),
            (Stream::DataPlane, 1),
            (Stream::Changes, 8),
        ] {
            write(&store, stream, &[at(stream, number)]).await;
        }
        let kept = sql("SELECT id, latest_at, set_back FROM change_counter ORDER BY id");
        let kept: Vec<(i64, Timestamp, i64)> = store.db().all(kept).await.unwrap();
        assert_eq!(kept, [(1, hour(9), 5 * 3_600_000), (2, hour(2), 3_600_000)]);
    }
}

/// On SQLite, which is told by nobody how rare anything is: whatever else is asked, the filter that leads is read from
/// its index, within the numbers of one stream, on from where the last page ended, and nothing is sorted.
#[tokio::test]
async fn the_filter_that_leads_is_read_from_its_index() {
    let store = TestStore::sqlite().await;
    let (id, text) = (|| Some(Id::from_u128(7)), || Some("x".to_owned()));
    let moment = Some(Timestamp::from_millis(5));
    let before = Before::default().with(100).with(Stream::DataPlane.floor() + 100);
    let begun = || Search { since: moment, until: moment, before, ..Search::default() };
    let coded = || Search { codes: vec!["login".to_owned()], ..begun() };
    let organized = || Search { organization: id(), ..coded() };
    let applied = || Search { application: id(), ..organized() };
    let located = || Search { address: text(), ..applied() };
    let traced = || Search { trace: text(), ..located() };
    let by_agent = || Search { agent: id(), ..traced() };
    let about = || Search { account: id(), ..by_agent() };
    let requested = || Search { request_id: text(), ..about() };
    for (wanted, range) in [
        (begun(), "sqlite_autoindex_audit_1 ("),
        (coded(), "audit_code (code=? AND "),
        (organized(), "audit_organization (organization_id=? AND "),
        (applied(), "audit_application (application_id=? AND "),
        (located(), "audit_personal_address (address=? AND "),
        (traced(), "audit_personal_trace (trace=? AND "),
        (by_agent(), "audit_actor (actor_id=? AND "),
        (about(), "audit_account (account_id=? AND "),
        (requested(), "audit_request (request_id=? AND "),
    ] {
        let codes = wanted.each_code();
        let within = |stream| wanted.within(DEFAULT_SITE, stream, &codes);
        for (stretch, bounds) in [
            (within(Stream::Changes), "seq<?)"),
            (Stretch { above: Some(1), ..within(Stream::Changes) }, "seq>? AND seq<?)"),
            (within(Stream::DataPlane), "seq>? AND seq<?)"),
        ] {
            let Plan(plan) = Plan::of(store.db(), stretch.page(21)).await;
            let is_led = plan.contains(&format!("{range}{bounds}"));
            assert!(is_led && !plan.contains("TEMP B-TREE"), "{bounds}: {wanted:?}\n{plan}");
        }
    }
}
