//! The chain: what it shows and what it survives.
//!
//! Law: every way to falsify it is tried, on every database.

use std::time::Duration;

use super::*;
use crate::base::random::SeededRandom;
use crate::base::{Id, Timestamp};
use crate::crypto::seal::SealKey;
use crate::on_every_store;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Db, Error, Record, Source, Stmt, sql};

mod streams;

async fn three_rows(db: &Db) {
    let random = SeededRandom::new(1);
    let mut actor = Actor::new(Who::Account(Id::from_u128(5)));
    actor.address = Some("192.0.2.7".parse().unwrap());
    actor.user_agent = Some("x".repeat(600));
    actor.request_id = Some("r-1".to_owned());
    for (n, name) in ["one", "two", "three"].into_iter().enumerate() {
        let application = Id::from_u128(n as u128);
        let event = ApplicationEvent::Created { application, name: name.to_owned() }.into();
        let mut tx = db.begin().await.unwrap();
        let at = Timestamp::from_millis(1_800_000_000_000);
        append(&mut tx, Stream::Changes, &[Noted { actor: actor.clone(), at, event }], &random)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

fn seal() -> SealKey {
    SealKey::from_bytes([1; 32])
}

async fn falsify(db: &Db, stmt: Stmt) {
    let mut tx = db.begin().await.unwrap();
    assert!(tx.execute(stmt).await.unwrap() > 0);
    tx.commit().await.unwrap();
}

async fn finding(db: &Db) -> (i64, Finding) {
    match verify(db, &seal(), Stream::Changes).await {
        Err(Broken::At { seq, finding }) => (seq, finding),
        other => panic!("expected a broken chain, got {other:?}"),
    }
}

fn tombstone(seal: &SealKey, from: i64, to: Head, before: Timestamp) -> SystemEvent {
    let signed = Tombstone::new(seal, from, to.clone(), before).to_string();
    SystemEvent::AuditPruned { from_seq: from, to_seq: to.seq, hash: to.hash, before, signed }
}

async fn verify_against(db: &Db, vouched: &SignedHead, pruned_before: Timestamp) -> Result<Kept, Broken> {
    let whole = verify(db, &seal(), Stream::Changes).await?;
    kept(db, &whole, vouched, pruned_before).await
}

/// A store whose first rows a prune takes as soon as some were read.
struct Shrinking<'a> {
    db: &'a Db,
    /// Up to which row they go, each time that many are asked for.
    to: Vec<i64>,
}

impl Source for Shrinking<'_> {
    async fn all<R: Record>(&mut self, stmt: Stmt) -> Result<Vec<R>, Error> {
        let rows = self.db.all(stmt).await;
        if let Some(to) = self.to.pop() {
            let mut tx = self.db.begin().await?;
            while remove_some(&mut tx, to).await? {}
            tx.commit().await?;
        }
        rows
    }

    async fn optional<R: Record>(&mut self, stmt: Stmt) -> Result<Option<R>, Error> {
        self.db.optional(stmt).await
    }
}

/// That many rows, and a tombstone for all of them.
async fn buried_rows(db: &Db, count: u32) {
    let at = Timestamp::from_millis(1_800_000_000_000);
    let event = |number: u32| ApplicationEvent::Created {
        application: Id::from_u128(number.into()),
        name: "a".to_owned(),
    };
    let noted = |event: Event| Noted { actor: Actor::system(), at, event };
    let rows: Vec<Noted> = (0..count).map(|number| noted(event(number).into())).collect();
    let mut tx = db.begin().await.unwrap();
    append(&mut tx, Stream::Changes, &rows, &SeededRandom::new(1)).await.unwrap();
    let to = head(&mut tx, Stream::Changes).await.unwrap();
    let tombstone = tombstone(&seal(), 1, to, at.plus(Duration::from_millis(1)));
    append(&mut tx, Stream::Changes, &[noted(tombstone.into())], &SeededRandom::new(2)).await.unwrap();
    tx.commit().await.unwrap();
}

on_every_store! {
    async fn a_prune_beside_it_is_no_finding(store: TestStore) {
        buried_rows(&store, 1001).await;
        // The first thousand were read when they went; the next ones follow a row that nobody has seen.
        let source = Shrinking { db: &store, to: vec![1001] };
        let whole = verify(source, &seal(), Stream::Changes).await.unwrap();
        assert_eq!((whole.first, whole.end.seq), (1002, 1002));
    }

    async fn nor_is_one_that_was_half_done_before(store: TestStore) {
        buried_rows(&store, 3).await;
        let mut tx = store.begin().await.unwrap();
        assert!(!remove_some(&mut tx, 1).await.unwrap());
        tx.commit().await.unwrap();
        let source = Shrinking { db: &store, to: vec![3] };
        assert_eq!(verify(source, &seal(), Stream::Changes).await.unwrap().first, 4);
    }

    async fn what_nothing_stands_for_is_missed_however_late_it_goes(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("DELETE FROM audit WHERE seq = 1")).await;
        let source = Shrinking { db: &store, to: vec![2] };
        let found = verify(source, &seal(), Stream::Changes).await;
        assert!(matches!(found, Err(Broken::At { seq: 1, finding: Finding::Missing })), "{found:?}");
    }

    async fn a_row_tells_who_did_what_from_where(store: TestStore) {
        three_rows(&store).await;
        let rows = tail(&*store, 1, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [2, 3]);
        let row = &rows[1];
        assert_eq!((row.code.as_str(), row.actor_kind.as_str()), ("app_created", "account"));
        assert_eq!(row.actor, Some(Id::from_u128(5)));
        assert!(row.application.is_some());
        assert_eq!(row.request_id.as_deref(), Some("r-1"));
        assert_eq!(row.personal["address"], "192.0.2.7");
        assert_eq!(row.personal["user_agent"].as_str().unwrap().len(), 500);
        assert_eq!(row.personal["detail"]["name"], "three");
        assert_eq!(latest(&*store, 2).await.unwrap(), rows);
    }

    async fn rows_are_found_by_what_auditors_know(store: TestStore) {
        three_rows(&store).await;
        let [human, token] = [Id::from_u128(8), Id::from_u128(9)];
        let of = Delegation { token, account: human, application: None, organization: None };
        let decided = |trace: &str| Decided {
            of,
            agent: "robot".to_owned(),
            verdict: Verdict::Allow,
            route: "reports".to_owned(),
            method: "GET".to_owned(),
            permission: None,
            reason: None,
            trace: Some(trace.to_owned()),
            approval: None,
            cost: None,
            reserved: None,
            times: None,
        };
        let mut actor = Actor::new(Who::Agent(token));
        actor.request_id = Some("r-2".to_owned());
        let at = Timestamp::from_millis(1_800_000_000_000);
        let noted = ["t-1", "t-2", "t-1"].map(|trace| {
            let event = AgentEvent::Acted(Box::new(decided(trace))).into();
            Noted { actor: actor.clone(), at, event }
        });
        let mut tx = store.begin().await.unwrap();
        append(&mut tx, Stream::DataPlane, &noted, &SeededRandom::new(2)).await.unwrap();
        tx.commit().await.unwrap();
        let there = Stream::DataPlane.floor();
        let text = |text: &str| Some(text.to_owned());
        for (sought, found) in [
            (Sought { trace: text("t-1"), ..Sought::default() }, &[there + 1, there + 3][..]),
            (Sought { trace: text("t-1"), account: Some(Id::from_u128(1)), ..Sought::default() }, &[]),
            (Sought { account: Some(human), ..Sought::default() }, &[there + 1, there + 2, there + 3]),
            (Sought { account: Some(human), stream: Some(Stream::Changes), ..Sought::default() }, &[]),
            (Sought { stream: Some(Stream::DataPlane), ..Sought::default() }, &[there + 1, there + 2, there + 3]),
            (Sought { request_id: text("r-1"), ..Sought::default() }, &[1, 2, 3]),
            (Sought { code: text("agent_action"), trace: text("t-2"), ..Sought::default() }, &[there + 2]),
            (Sought { trace: text("t-3"), ..Sought::default() }, &[]),
        ] {
            let all = tail_of(&*store, &sought, 0, 10).await.unwrap();
            assert_eq!(all.iter().map(|row| row.seq).collect::<Vec<_>>(), found, "{sought:?}");
            let last = latest_of(&*store, &sought, 1).await.unwrap();
            assert_eq!(last.iter().map(|row| row.seq).collect::<Vec<_>>(), found[found.len().saturating_sub(1)..]);
        }
        // Three by somebody about applications, three by an agent for somebody.
        let codes = vec!["app_created".to_owned()];
        for (wanted, found) in [
            (Search::default(), &[there + 3, there + 2, there + 1, 3, 2, 1][..]),
            (Search { concerning: Some(Id::from_u128(5)), ..Search::default() }, &[3, 2, 1]),
            (Search { concerning: Some(human), ..Search::default() }, &[there + 3, there + 2, there + 1]),
            (Search { concerning: Some(token), about: Some(About::Account), ..Search::default() }, &[there + 3, there + 2, there + 1]),
            (Search { concerning: Some(human), codes, ..Search::default() }, &[]),
            (Search { about: Some(About::Application), before: Before::default().with(3), ..Search::default() }, &[2, 1]),
            (Search { stream: Some(Stream::Changes), ..Search::default() }, &[3, 2, 1]),
            (Search { stream: Some(Stream::DataPlane), ..Search::default() }, &[there + 3, there + 2, there + 1]),
            (Search { about: Some(About::Nothing), ..Search::default() }, &[]),
            (Search { trace: text("t-1"), address: None, ..Search::default() }, &[there + 3, there + 1]),
            (Search { address: text("192.0.2.7"), until: Some(at), ..Search::default() }, &[]),
            (Search { address: text("192.0.2.7"), since: Some(at), ..Search::default() }, &[3, 2, 1]),
        ] {
            let seqs = |rows: Vec<Row>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
            let count = u32::try_from(found.len()).unwrap();
            assert_eq!(seqs(search(&*store, DEFAULT_SITE, &wanted, 10).await.unwrap().rows), found, "{wanted:?}");
            assert_eq!(wanted.count(&*store, DEFAULT_SITE, 10).await.unwrap(), count, "{wanted:?}");
            assert_eq!(wanted.count(&*store, DEFAULT_SITE, 2).await.unwrap(), count.min(2), "no further than that");
            let second = found.get(1..2).unwrap_or_default();
            assert_eq!(seqs(wanted.turned(&*store, DEFAULT_SITE, 1, 1).await.unwrap()), second, "{wanted:?}");
            assert_eq!(wanted.count(&*store, Id::from_u128(77), 10).await.unwrap(), 0);
        }
    }

    async fn a_whole_chain_is_found_whole(store: TestStore) {
        three_rows(&store).await;
        assert_eq!(verify(&*store, &seal(), Stream::Changes).await.unwrap().end.seq, 3);
    }

    async fn a_changed_row_is_found(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("UPDATE audit SET code = 'logout' WHERE seq = 2")).await;
        assert_eq!(finding(&store).await, (2, Finding::Changed));
    }

    async fn a_removed_row_is_found(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("DELETE FROM audit WHERE seq = 2")).await;
        assert_eq!(finding(&store).await, (2, Finding::Missing));
    }

    async fn a_cut_off_tail_is_found(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("DELETE FROM audit WHERE seq = 3")).await;
        assert_eq!(finding(&store).await, (3, Finding::Missing));
    }

    async fn a_row_hashed_anew_does_not_fit_its_neighbour(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("UPDATE audit SET prev_hash = ? WHERE seq = 3").bind("0".repeat(64))).await;
        assert_eq!(finding(&store).await, (3, Finding::Unlinked));
    }

    async fn swapped_rows_are_found(store: TestStore) {
        three_rows(&store).await;
        for (from, to) in [(2_i64, 9_i64), (3, 2), (9, 3)] {
            falsify(&store, sql("UPDATE audit SET seq = ? WHERE seq = ?").bind(to).bind(from)).await;
        }
        assert_eq!(finding(&store).await.0, 2);
    }

    async fn a_beginning_that_is_gone_and_that_nobody_pruned_is_found(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("DELETE FROM audit WHERE seq = 1")).await;
        assert_eq!(finding(&store).await, (1, Finding::Missing));
        falsify(&store, sql("DELETE FROM audit WHERE seq = 2")).await;
        assert_eq!(finding(&store).await, (1, Finding::Missing));
    }

    async fn who_has_no_key_buries_nothing_and_no_tombstone_stands_for_more_than_it_says(store: TestStore) {
        three_rows(&store).await;
        let at = Timestamp::from_millis(1_800_000_000_001);
        let hash = async |seq: i64| {
            let (hash,): (String,) =
                (&*store).one(sql("SELECT hash FROM audit WHERE seq = ?").bind(seq)).await.unwrap();
            Head { seq, hash }
        };
        let write = async |event: SystemEvent| {
            let mut tx = store.begin().await.unwrap();
            let noted = Noted { actor: Actor::system(), at, event: event.into() };
            append(&mut tx, Stream::Changes, &[noted], &SeededRandom::new(3)).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (one, two) = (hash(1).await, hash(2).await);
        // One of another key, one that says nothing, and one of ours for the first row alone.
        write(tombstone(&SealKey::from_bytes([2; 32]), 1, two.clone(), at)).await;
        let signed = String::new();
        write(SystemEvent::AuditPruned { from_seq: 1, to_seq: 2, hash: two.hash.clone(), before: at, signed }).await;
        write(tombstone(&seal(), 1, one, at)).await;
        falsify(&store, sql("DELETE FROM audit WHERE seq = 1")).await;
        let whole = verify(&*store, &seal(), Stream::Changes).await.unwrap();
        assert_eq!((whole.first, whole.tombstone.unwrap().seq), (2, 6));
        falsify(&store, sql("DELETE FROM audit WHERE seq = 2")).await;
        assert_eq!(finding(&store).await, (2, Finding::Missing), "the first that nobody of ours buried");
        // The right number, and another row's hash.
        write(tombstone(&seal(), 1, Head { seq: 2, hash: "0".repeat(64) }, at)).await;
        assert_eq!(finding(&store).await, (1, Finding::Missing));
        write(tombstone(&seal(), 1, two, at)).await;
        assert_eq!(verify(&*store, &seal(), Stream::Changes).await.unwrap().first, 3);
    }

    async fn a_chain_that_was_written_anew_is_not_the_one_that_was_vouched_for(store: TestStore) {
        three_rows(&store).await;
        let vouched = SignedHead::of(&SealKey::from_bytes([1; 32]), &*store, Stream::Changes).await.unwrap();
        let begin = Timestamp::from_millis(0);
        assert_eq!(verify_against(&store, &vouched, begin).await, Ok(Kept::Yes));
        // Somebody who may write everything makes the last row anew, as if it had always been so.
        let mut tx = store.begin().await.unwrap();
        for delete in ["DELETE FROM audit WHERE seq = 3", "DELETE FROM audit_personal WHERE seq = 3"] {
            tx.execute(sql(delete)).await.unwrap();
        }
        let (hash,): (String,) = tx.one(sql("SELECT hash FROM audit WHERE seq = 2")).await.unwrap();
        let back = sql("UPDATE change_counter SET last_seq = 2, last_hash = ? WHERE id = 1").bind(hash);
        tx.execute(back).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verify(&*store, &seal(), Stream::Changes).await.unwrap().end.seq, 2, "nothing in the store shows it");
        let gone = verify_against(&store, &vouched, begin).await;
        assert!(matches!(gone, Err(Broken::At { seq: 3, finding: Finding::Missing })), "{gone:?}");
        let mut tx = store.begin().await.unwrap();
        let event = ApplicationEvent::Created { application: Id::from_u128(8), name: "other".to_owned() }.into();
        let noted = Noted { actor: Actor::system(), at: Timestamp::from_millis(1), event };
        append(&mut tx, Stream::Changes, &[noted], &SeededRandom::new(3)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verify(&*store, &seal(), Stream::Changes).await.unwrap().end.seq, 3);
        let anew = verify_against(&store, &vouched, begin).await;
        assert!(matches!(anew, Err(Broken::At { seq: 3, finding: Finding::Rewritten })), "{anew:?}");
    }

    async fn what_a_fresh_head_vouches_for_was_not_pruned_whatever_the_chain_says(store: TestStore) {
        three_rows(&store).await;
        let vouched = SignedHead::of(&SealKey::from_bytes([1; 32]), &*store, Stream::Changes).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let later = vouched.written_at.plus(Duration::from_millis(1));
        let gone = last_before(&mut tx, Stream::Changes, later).await.unwrap().unwrap();
        assert!(!remove_some(&mut tx, gone.seq).await.unwrap());
        let event = tombstone(&seal(), 1, gone, later).into();
        let noted = Noted { actor: Actor::system(), at: vouched.written_at, event };
        append(&mut tx, Stream::Changes, &[noted], &SeededRandom::new(3)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verify(&*store, &seal(), Stream::Changes).await.unwrap().end.seq, 4, "nothing in the store shows it");
        assert_eq!(verify(&*store, &seal(), Stream::Changes).await.unwrap().tombstone.unwrap().seq, 4);
        let early = verify_against(&store, &vouched, vouched.written_at).await;
        assert!(matches!(early, Err(Broken::At { seq: 3, finding: Finding::Missing })), "{early:?}");
        assert_eq!(verify_against(&store, &vouched, later).await, Ok(Kept::Pruned));
    }

    async fn nothing_is_signed_about_a_last_row_that_is_not_what_was_written(store: TestStore) {
        let seal = SealKey::from_bytes([1; 32]);
        assert_eq!(SignedHead::of(&seal, &*store, Stream::Changes).await.unwrap().head.seq, 0, "of nothing, nothing is vouched for");
        three_rows(&store).await;
        let said = SignedHead::of(&seal, &*store, Stream::Changes).await.unwrap();
        assert_eq!(said.written_at, Timestamp::from_millis(1_800_000_000_000));
        // Hashed anew by the rules that everybody can read, and so old that it could be removed as if its time were over.
        let mut tx = store.begin().await.unwrap();
        let event = ApplicationEvent::Created { application: Id::from_u128(9), name: "old".to_owned() }.into();
        let old = Noted { actor: Actor::system(), at: Timestamp::from_millis(0), event };
        append(&mut tx, Stream::Changes, &[old], &SeededRandom::new(5)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verify(&*store, &seal, Stream::Changes).await.unwrap().end.seq, 4, "nothing in the store shows it");
        let backdated = SignedHead::of(&seal, &*store, Stream::Changes).await;
        assert_eq!(backdated, Err(Broken::At { seq: 4, finding: Finding::Changed }));
        let mut tx = store.begin().await.unwrap();
        for delete in ["DELETE FROM audit WHERE seq = 4", "DELETE FROM audit_personal WHERE seq = 4"] {
            tx.execute(sql(delete)).await.unwrap();
        }
        let back = sql("UPDATE change_counter SET last_seq = 3, last_hash = ? WHERE id = 1");
        tx.execute(back.bind(&said.head.hash)).await.unwrap();
        tx.commit().await.unwrap();
        // An entry that says it is old could be removed as if its time were over.
        falsify(&store, sql("UPDATE audit SET happened_at = 0 WHERE seq = 3")).await;
        let old = SignedHead::of(&seal, &*store, Stream::Changes).await;
        assert_eq!(old, Err(Broken::At { seq: 3, finding: Finding::Changed }));
        falsify(&store, sql("DELETE FROM audit WHERE seq = 3")).await;
        let gone = SignedHead::of(&seal, &*store, Stream::Changes).await;
        assert_eq!(gone, Err(Broken::At { seq: 3, finding: Finding::Missing }));
    }

    async fn details_that_were_changed_or_removed_are_found(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("UPDATE audit_personal SET content = '{}' WHERE seq = 3")).await;
        assert_eq!(finding(&store).await, (3, Finding::PersonalChanged));
        falsify(&store, sql("UPDATE audit_personal SET address = '192.0.2.8' WHERE seq = 2")).await;
        assert_eq!(finding(&store).await, (2, Finding::PersonalChanged), "it is found by what it does not say");
        falsify(&store, sql("DELETE FROM audit_personal WHERE seq = 1")).await;
        assert_eq!(finding(&store).await, (1, Finding::PersonalChanged), "it is nobody's who was erased");
    }

    async fn a_prompt_that_was_swapped_is_found(store: TestStore) {
        three_rows(&store).await;
        falsify(&store, sql("UPDATE audit_personal SET trace = 'other' WHERE seq = 2")).await;
        assert_eq!(finding(&store).await, (2, Finding::PersonalChanged));
    }
}

#[test]
fn no_two_events_share_a_code_by_accident() {
    let id = Id::from_u128(1);
    let how = How::Owner;
    let verified = |contact| Event::from(AccountEvent::ContactVerified { account: id, contact, how }).code();
    assert_eq!(verified(Contact::Email), "email_verified");
    assert_eq!(verified(Contact::Phone), "phone_verified");
}

#[test]
fn what_ends_a_session_names_it() {
    let (account, session) = (Id::from_u128(1), Id::from_u128(2));
    let ends: [Event; 3] = [
        SessionEvent::LoggedOut { account, session }.into(),
        SessionEvent::RefreshReused { account, session }.into(),
        SessionEvent::Ended { account, session, reason: EndReason::Limit }.into(),
    ];
    for event in ends {
        assert_eq!(event.subjects(), [Subject::Session(session)], "{}", event.code());
    }
    let refreshed = Event::from(SessionEvent::Refreshed { account, session });
    assert!(refreshed.subjects().is_empty(), "a refresh must not empty caches");
}
