//! Two chains in one store: what is tried to pass a row, an end or a tombstone of one off as the other's.

use super::*;
use crate::crypto::digest::sha256_hex;

const AT: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const CHANGES: Stream = Stream::Changes;
const DECISIONS: Stream = Stream::DataPlane;

fn change(number: u128, at: Timestamp) -> Noted {
    let event = ApplicationEvent::Created { application: Id::from_u128(number), name: "one".to_owned() };
    Noted { actor: Actor::system(), at, event: event.into() }
}

fn decision(route: &str, at: Timestamp) -> Noted {
    let event = SystemEvent::RequestPassed { route: route.to_owned(), method: "GET".to_owned() };
    Noted { actor: Actor::system(), at, event: event.into() }
}

async fn write(db: &Db, stream: Stream, rows: &[Noted]) -> Result<i64, Error> {
    let mut tx = db.begin().await?;
    let last = append(&mut tx, stream, rows, &SeededRandom::new(9)).await?;
    tx.commit().await?;
    Ok(last)
}

/// Three rows of each, the streams taking turns.
async fn three_of_each(db: &Db) {
    for number in 0..3 {
        let at = AT.plus(Duration::from_secs(number));
        write(db, CHANGES, &[change(number.into(), at)]).await.unwrap();
        write(db, DECISIONS, &[decision("seen", at)]).await.unwrap();
    }
}

async fn broken(db: &Db, stream: Stream) -> (i64, Finding) {
    match verify(db, &seal(), stream).await {
        Err(Broken::At { seq, finding }) => (seq, finding),
        other => panic!("expected a broken chain, got {other:?}"),
    }
}

async fn hash_at(mut db: &Db, seq: i64) -> Head {
    let (hash,): (String,) = db.one(sql("SELECT hash FROM audit WHERE seq = ?").bind(seq)).await.unwrap();
    Head { seq, hash }
}

async fn found(db: &Db, sought: &Search, limit: u32) -> Found {
    let found = search(db, DEFAULT_SITE, sought, limit).await.unwrap();
    assert_eq!(found.rows.len(), found.ends.len());
    found
}

async fn all(db: &Db, sought: Search) -> Vec<i64> {
    found(db, &sought, 100).await.rows.into_iter().map(|row| row.seq).collect()
}

on_every_store! {
    async fn each_stream_has_numbers_a_head_and_a_chain_of_its_own(store: TestStore) {
        three_of_each(&store).await;
        for stream in Stream::ALL {
            let whole = verify(&*store, &seal(), stream).await.unwrap();
            assert_eq!((whole.stream, whole.first, whole.end.seq), (stream, stream.first(), stream.floor() + 3));
            assert_eq!(head(&*store, stream).await.unwrap(), whole.end);
            let signed = SignedHead::of(&seal(), &*store, stream).await.unwrap();
            assert_eq!((Stream::of(signed.head.seq), &signed.head), (stream, &whole.end));
        }
        let of = async |stream| latest_of(&*store, &Sought { stream, ..Sought::default() }, 9).await.unwrap();
        assert!(of(Some(DECISIONS)).await.iter().all(|row| row.stream == DECISIONS && row.code == "request_passed"));
        assert_eq!((of(Some(CHANGES)).await.len(), of(None).await.len()), (3, 6));
        assert_eq!(count_of(&*store, &Sought { stream: Some(DECISIONS), ..Sought::default() }).await.unwrap(), 3);
    }

    async fn what_does_not_belong_into_a_stream_is_not_written_into_it(store: TestStore) {
        for (stream, row) in [(DECISIONS, change(1, AT)), (CHANGES, decision("seen", AT))] {
            let refused = write(&store, stream, &[row]).await;
            assert!(matches!(refused, Err(Error::Broken { .. })), "{refused:?}");
            assert_eq!(head(&*store, stream).await.unwrap().seq, stream.floor(), "no number was used up");
        }
    }

    async fn a_row_that_was_moved_to_the_other_stream_is_found_in_both(store: TestStore) {
        three_of_each(&store).await;
        let vouched = SignedHead::of(&seal(), &*store, DECISIONS).await.unwrap();
        let (three, last) = (hash_at(&store, 3).await, hash_at(&store, DECISIONS.floor() + 3).await);
        let second = hash_at(&store, DECISIONS.floor() + 2).await;
        // The last decision becomes the last change, and both counters say so.
        for table in ["UPDATE audit SET seq = 4 WHERE seq = ?", "UPDATE audit_personal SET seq = 4 WHERE seq = ?"] {
            falsify(&store, sql(table).bind(last.seq)).await;
        }
        falsify(&store, sql("UPDATE audit SET prev_hash = ? WHERE seq = 4").bind(&three.hash)).await;
        let set = "UPDATE change_counter SET last_seq = ?, last_hash = ? WHERE id = ?";
        falsify(&store, sql(set).bind(4_i64).bind(&last.hash).bind(1_i64)).await;
        falsify(&store, sql(set).bind(second.seq).bind(&second.hash).bind(2_i64)).await;
        assert_eq!(broken(&store, CHANGES).await, (4, Finding::Changed), "its number is hashed");
        let signed = SignedHead::of(&seal(), &*store, CHANGES).await;
        assert_eq!(signed, Err(Broken::At { seq: 4, finding: Finding::Changed }), "nor is it vouched for");
        let whole = verify(&*store, &seal(), DECISIONS).await.unwrap();
        let gone = kept(&*store, &whole, &vouched, Timestamp::from_millis(0)).await;
        assert_eq!(gone, Err(Broken::At { seq: last.seq, finding: Finding::Missing }), "as the log says");
    }

    async fn an_end_that_was_cut_off_one_stream_is_found_by_that_streams_head_alone(store: TestStore) {
        three_of_each(&store).await;
        let (changes, decisions) = (
            SignedHead::of(&seal(), &*store, CHANGES).await.unwrap(),
            SignedHead::of(&seal(), &*store, DECISIONS).await.unwrap(),
        );
        let last = decisions.head.seq;
        falsify(&store, sql("DELETE FROM audit WHERE seq = ?").bind(last)).await;
        assert_eq!(broken(&store, DECISIONS).await, (last, Finding::Missing));
        assert!(verify(&*store, &seal(), CHANGES).await.is_ok(), "the other one is whole");
        let second = hash_at(&store, last - 1).await;
        let back = sql("UPDATE change_counter SET last_seq = ?, last_hash = ? WHERE id = 2");
        falsify(&store, back.bind(second.seq).bind(&second.hash)).await;
        let whole = verify(&*store, &seal(), DECISIONS).await.unwrap();
        assert_eq!(whole.end.seq, last - 1, "nothing in the store shows it");
        let never = Timestamp::from_millis(0);
        let gone = kept(&*store, &whole, &decisions, never).await;
        assert_eq!(gone, Err(Broken::At { seq: last, finding: Finding::Missing }));
        let elsewhere = kept(&*store, &whole, &changes, never).await;
        assert!(matches!(elsewhere, Err(Broken::Store(_))), "a head of the other stream says nothing: {elsewhere:?}");
        let whole = verify(&*store, &seal(), CHANGES).await.unwrap();
        assert_eq!(kept(&*store, &whole, &changes, never).await, Ok(Kept::Yes));
    }

    async fn a_whole_stream_that_is_gone_is_found_by_what_the_log_says(store: TestStore) {
        three_of_each(&store).await;
        let vouched = SignedHead::of(&seal(), &*store, DECISIONS).await.unwrap();
        let floor = DECISIONS.floor();
        for delete in ["DELETE FROM audit WHERE seq > ?", "DELETE FROM audit_personal WHERE seq > ?"] {
            falsify(&store, sql(delete).bind(floor)).await;
        }
        falsify(&store, sql("UPDATE change_counter SET last_seq = ?, last_hash = '' WHERE id = 2").bind(floor)).await;
        let whole = verify(&*store, &seal(), DECISIONS).await.unwrap();
        assert_eq!((whole.first, whole.end.seq), (floor + 1, floor));
        let gone = kept(&*store, &whole, &vouched, Timestamp::from_millis(0)).await;
        assert_eq!(gone, Err(Broken::At { seq: floor + 1, finding: Finding::Missing }));
    }

    async fn a_tombstone_of_one_stream_buries_nothing_in_the_other(store: TestStore) {
        three_of_each(&store).await;
        let floor = DECISIONS.floor();
        let later = AT.plus(Duration::from_secs(9));
        // Both are signed with the right key, each for rows of its own stream that are there.
        let of_decisions = Tombstone::new(&seal(), floor + 1, hash_at(&store, floor + 1).await, later);
        let of_changes = Tombstone::new(&seal(), 1, hash_at(&store, 2).await, later);
        for (stream, other) in [(CHANGES, of_decisions), (DECISIONS, of_changes)] {
            let to = hash_at(&store, stream.first()).await;
            let signed = other.to_string();
            let event = SystemEvent::AuditPruned {
                from_seq: stream.first(),
                to_seq: to.seq,
                hash: to.hash,
                before: later,
                signed,
            };
            let row = Noted { actor: Actor::system(), at: later, event: event.into() };
            write(&store, stream, &[row]).await.unwrap();
            falsify(&store, sql("DELETE FROM audit WHERE seq = ?").bind(to.seq)).await;
            assert_eq!(broken(&store, stream).await, (stream.first(), Finding::Missing), "{stream}");
        }
        // One of its own does it, in each.
        for stream in Stream::ALL {
            let row: Vec<(String,)> = (&*store)
                .all(sql("SELECT prev_hash FROM audit WHERE seq = ?").bind(stream.first() + 1))
                .await
                .unwrap();
            let to = Head { seq: stream.first(), hash: row[0].0.clone() };
            let event = tombstone(&seal(), stream.first(), to, later);
            let row = Noted { actor: Actor::system(), at: later, event: event.into() };
            write(&store, stream, &[row]).await.unwrap();
            assert_eq!(verify(&*store, &seal(), stream).await.unwrap().first, stream.first() + 1);
        }
    }

    async fn a_prune_of_decisions_beside_a_look_at_them_is_no_finding(store: TestStore) {
        let rows: Vec<Noted> = (0..1001).map(|_| decision("seen", AT)).collect();
        write(&store, DECISIONS, &rows).await.unwrap();
        write(&store, CHANGES, &[change(1, AT)]).await.unwrap();
        let to = head(&*store, DECISIONS).await.unwrap();
        let last = to.seq;
        let event = tombstone(&seal(), DECISIONS.first(), to, AT.plus(Duration::from_millis(1)));
        let row = Noted { actor: Actor::system(), at: AT, event: event.into() };
        write(&store, DECISIONS, &[row]).await.unwrap();
        let source = Shrinking { db: &store, to: vec![last] };
        let whole = verify(source, &seal(), DECISIONS).await.unwrap();
        assert_eq!((whole.first, whole.end.seq), (last + 1, last + 1));
        assert_eq!(verify(&*store, &seal(), CHANGES).await.unwrap().first, 1, "the other one is as it was");
    }

    async fn a_tombstone_is_written_into_its_own_stream_only(store: TestStore) {
        three_of_each(&store).await;
        let to = hash_at(&store, DECISIONS.first()).await;
        let event = tombstone(&seal(), DECISIONS.first(), to, AT);
        let row = Noted { actor: Actor::system(), at: AT, event: event.into() };
        assert!(matches!(write(&store, CHANGES, std::slice::from_ref(&row)).await, Err(Error::Broken { .. })));
        write(&store, DECISIONS, &[row]).await.unwrap();
    }

    async fn a_counter_that_was_moved_to_the_others_numbers_writes_and_vouches_for_nothing(store: TestStore) {
        three_of_each(&store).await;
        for (stream, elsewhere) in [(CHANGES, DECISIONS.floor() + 3), (DECISIONS, 3)] {
            let before = head(&*store, stream).await.unwrap();
            let set = sql("UPDATE change_counter SET last_seq = ? WHERE id = ?");
            falsify(&store, set.bind(elsewhere).bind(stream.counter())).await;
            let row = if stream == CHANGES { change(9, AT) } else { decision("seen", AT) };
            let refused = write(&store, stream, &[row]).await;
            assert!(matches!(refused, Err(Error::Broken { .. })), "{refused:?}");
            assert_eq!(broken(&store, stream).await, (before.seq + 1, Finding::Missing));
            assert!(SignedHead::of(&seal(), &*store, stream).await.is_err());
            let set = sql("UPDATE change_counter SET last_seq = ? WHERE id = ?");
            falsify(&store, set.bind(before.seq).bind(stream.counter())).await;
        }
    }

    async fn rows_of_both_are_one_list_that_misses_nothing_and_tells_nothing_twice(store: TestStore) {
        three_of_each(&store).await;
        let floor = DECISIONS.floor();
        let expected = [floor + 3, 3, floor + 2, 2, floor + 1, 1];
        assert_eq!(all(&store, Search::default()).await, expected);
        let of = |stream| Search { stream: Some(stream), ..Search::default() };
        assert_eq!(all(&store, of(CHANGES)).await, [3, 2, 1]);
        assert_eq!(all(&store, of(DECISIONS)).await, [floor + 3, floor + 2, floor + 1]);
        for size in 1..=6_u32 {
            let (mut sought, mut walked) = (Search::default(), Vec::new());
            loop {
                let page = found(&store, &sought, size).await;
                let Some(end) = page.ends.last() else { break };
                // As the wire has it.
                sought.before = Before::parse(&end.to_string()).unwrap();
                assert!(Stream::ALL.into_iter().all(|stream| sought.before.of(stream).is_some()));
                walked.extend(page.rows.into_iter().map(|row| row.seq));
                // What happens meanwhile is newer than every page.
                let late = AT.plus(Duration::from_hours(1));
                write(&store, DECISIONS, &[decision("late", late)]).await.unwrap();
                write(&store, CHANGES, &[change(7, late)]).await.unwrap();
            }
            let old: Vec<i64> = walked.iter().copied().filter(|seq| expected.contains(seq)).collect();
            assert_eq!(old, expected, "{size}");
            let (count, mut once) = (walked.len(), walked);
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), count, "{size}: nothing is told twice");
        }
    }

    async fn a_stream_that_has_nothing_yet_adds_nothing_to_later_pages(store: TestStore) {
        for number in 0..3 {
            write(&store, CHANGES, &[change(number, AT)]).await.unwrap();
        }
        let before = *found(&store, &Search::default(), 2).await.ends.last().unwrap();
        write(&store, DECISIONS, &[decision("late", AT.plus(Duration::from_hours(1)))]).await.unwrap();
        assert_eq!(all(&store, Search { before, ..Search::default() }).await, [1]);
    }

    async fn pages_by_their_number_are_the_same_list(store: TestStore) {
        three_of_each(&store).await;
        let expected = all(&store, Search::default()).await;
        let every = Search::default();
        assert_eq!(every.count(&*store, DEFAULT_SITE, 100).await.unwrap(), 6);
        assert_eq!(every.count(&*store, DEFAULT_SITE, 4).await.unwrap(), 4);
        let mut walked = Vec::new();
        for page in 0..4 {
            let rows = every.turned(&*store, DEFAULT_SITE, page * 2, 2).await.unwrap();
            walked.extend(rows.into_iter().map(|row| row.seq));
        }
        assert_eq!(walked, expected);
        let passed = Search { codes: vec!["request_passed".to_owned()], ..Search::default() };
        assert_eq!(passed.turned(&*store, DEFAULT_SITE, 1, 9).await.unwrap().len(), 2);
    }

    async fn the_oldest_row_and_what_is_too_old_are_of_each_stream(store: TestStore) {
        assert_eq!(oldest(&*store).await.unwrap(), None);
        write(&store, CHANGES, &[change(1, AT)]).await.unwrap();
        let early = AT.minus(Duration::from_hours(1));
        write(&store, DECISIONS, &[decision("seen", early), decision("seen", AT)]).await.unwrap();
        assert_eq!(oldest(&*store).await.unwrap(), Some(early));
        assert_eq!(last_before(&*store, CHANGES, AT).await.unwrap(), None);
        let old = last_before(&*store, DECISIONS, AT).await.unwrap().unwrap();
        assert_eq!(old.seq, DECISIONS.first());
        let mut tx = store.begin().await.unwrap();
        assert!(!remove_some(&mut tx, old.seq).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(tail(&*store, 0, 9).await.unwrap().iter().map(|row| row.seq).collect::<Vec<_>>(), [1, old.seq + 1]);
    }

    async fn what_was_written_when_there_was_one_stream_stays_valid_where_it_is(store: TestStore) {
        // Written by the rules of that time, not by today's code: a decision between two changes.
        let mut before = String::new();
        let mut tx = store.begin().await.unwrap();
        for (seq, code) in [(1_i64, "app_created"), (2, "agent_action"), (3, "request_passed")] {
            let content = r#"{"address":null,"user_agent":null,"detail":{}}"#;
            let digest = sha256_hex(format!("aa\n{content}").as_bytes());
            let site = DEFAULT_SITE.to_string();
            let hashed = format!(
                r#"["portcullis audit v1",{seq},1800000000000,"{code}","{site}","system",null,null,null,null,null,"{digest}","{before}"]"#
            );
            let hash = sha256_hex(hashed.as_bytes());
            let row = sql("INSERT INTO audit (seq, happened_at, code, site_id, actor_kind, digest, prev_hash, hash) \
                           VALUES (?, ?, ?, ?, 'system', ?, ?, ?)");
            let row = row.bind(seq).bind(AT).bind(code).bind(DEFAULT_SITE).bind(&digest);
            tx.execute(row.bind(&before).bind(&hash)).await.unwrap();
            let beside = sql("INSERT INTO audit_personal (seq, salt, content) VALUES (?, 'aa', ?)");
            tx.execute(beside.bind(seq).bind(content)).await.unwrap();
            before = hash;
        }
        let counter = sql("UPDATE change_counter SET last_seq = 3, last_hash = ? WHERE id = 1");
        tx.execute(counter.bind(&before)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verify(&*store, &seal(), CHANGES).await.unwrap().end, Head { seq: 3, hash: before });
        three_of_each(&store).await;
        assert_eq!(verify(&*store, &seal(), CHANGES).await.unwrap().end.seq, 6);
        assert_eq!(verify(&*store, &seal(), DECISIONS).await.unwrap().first, DECISIONS.first());
        let agents = Search { codes: vec!["agent_action".to_owned()], ..Search::default() };
        assert_eq!(all(&store, agents).await, [2], "and is found");
    }
}
