//! The purses of agent tokens, in memory and in Redis.
//!
//! Law: one body is true of both places; the store is played by the test, and what it handed out is
//! never less than what was taken.

use super::*;
use crate::base::MicroUsd;

in_both_places!(
    a_purse_gives_what_the_store_handed_out_and_nothing_more,
    one_asks_the_store_and_the_others_wait,
    what_was_handed_out_under_other_limits_goes_back_first,
    what_comes_back_is_kept_where_there_is_a_purse,
    h5_what_comes_back_after_the_limits_fell_is_the_stores,
    t7_of_many_at_once_exactly_what_was_handed_out_is_taken,
    the_largest_amounts_are_kept_to_the_millionth,
);

fn usd(micros: i64) -> MicroUsd {
    MicroUsd::from_micros(micros).unwrap()
}

fn of(requests: u32, micros: i64) -> Allowance {
    Allowance { requests, money: usd(micros) }
}

fn purchase(wanted: Allowance) -> Purchase {
    let ends_at = SystemClock.now().plus(MINUTE);
    Purchase { wanted, price: Price::Final, limits: of(100, 1_000), ends_at }
}

async fn fill(shared: &Shared, granted: Allowance, in_store: i64) {
    assert_eq!(fill_under(shared, of(100, 1_000), granted, in_store).await, Kept::InPurse);
}

async fn fill_under(shared: &Shared, limits: Allowance, granted: Allowance, in_store: i64) -> Kept {
    let ends_at = SystemClock.now().plus(MINUTE);
    shared.fill("t", &Filling { granted, in_store: usd(in_store), limits, ends_at }).await.unwrap()
}

async fn a_purse_gives_what_the_store_handed_out_and_nothing_more(shared: Shared) {
    let ask = purchase(of(1, 40));
    let short = Short { missing: of(1, 40), here: usd(0), pending: usd(0) };
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Short(short)));
    fill(&shared, of(3, 100), 900).await;
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Taken { left: usd(960) }));
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Taken { left: usd(920) }));
    let short = Short { missing: of(0, 20), here: usd(20), pending: usd(0) };
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Short(short)));
    shared.fill_nothing("t").await.unwrap();
    assert_eq!(shared.buy("t", &purchase(of(1, 0))).await, Ok(Bought::Taken { left: usd(920) }));
    let short = Short { missing: of(1, 0), here: usd(20), pending: usd(0) };
    assert_eq!(shared.buy("t", &purchase(of(1, 0))).await, Ok(Bought::Short(short)));
    let keys = ["t".to_owned(), "other".to_owned()];
    assert_eq!(shared.in_purses(&keys).await, Ok(vec![of(0, 20), of(0, 0)]));
    assert_eq!(shared.empty("t").await, Ok(Emptied { left: of(0, 20), pending: usd(0) }));
    assert_eq!(shared.empty("t").await, Ok(Emptied::default()));
}

async fn one_asks_the_store_and_the_others_wait(shared: Shared) {
    let ask = purchase(of(1, 0));
    assert!(matches!(shared.buy("t", &ask).await, Ok(Bought::Short(_))));
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Wait));
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Wait));
    shared.fill_nothing("t").await.unwrap();
    assert!(matches!(shared.buy("t", &ask).await, Ok(Bought::Short(_))));
    fill(&shared, of(1, 0), 0).await;
    assert!(matches!(shared.buy("t", &ask).await, Ok(Bought::Taken { .. })));
}

async fn what_was_handed_out_under_other_limits_goes_back_first(shared: Shared) {
    drop(shared.buy("t", &purchase(of(1, 0))).await);
    fill(&shared, of(5, 70), 0).await;
    let narrower = Purchase { limits: of(50, 1_000), ..purchase(of(1, 10)) };
    assert_eq!(shared.buy("t", &narrower).await, Ok(Bought::Stale(of(5, 70))));
    assert!(matches!(shared.buy("t", &narrower).await, Ok(Bought::Short(_))));
    assert_eq!(fill_under(&shared, narrower.limits, of(2, 20), 30).await, Kept::InPurse);
    assert_eq!(shared.buy("t", &narrower).await, Ok(Bought::Taken { left: usd(40) }));
}

async fn what_comes_back_is_kept_where_there_is_a_purse(shared: Shared) {
    let back = |amount, settled| Returned { amount, limits: of(100, 1_000), settled: usd(settled) };
    assert_eq!(shared.put_back("t", back(of(1, 10), 0)).await, Ok(Kept::Nowhere));
    drop(shared.buy("t", &purchase(of(1, 0))).await);
    fill(&shared, of(2, 100), 0).await;
    let at_most = Purchase { price: Price::AtMost, ..purchase(of(1, 80)) };
    assert_eq!(shared.buy("t", &at_most).await, Ok(Bought::Taken { left: usd(20) }));
    let short = Short { missing: of(0, 60), here: usd(20), pending: usd(80) };
    assert_eq!(shared.buy("t", &at_most).await, Ok(Bought::Short(short)));
    assert_eq!(shared.put_back("t", back(of(0, 50), 80)).await, Ok(Kept::InPurse));
    assert_eq!(shared.empty("t").await, Ok(Emptied { left: of(1, 70), pending: usd(0) }));
}

async fn h5_what_comes_back_after_the_limits_fell_is_the_stores(shared: Shared) {
    let at_most = Purchase { price: Price::AtMost, ..purchase(of(1, 80)) };
    drop(shared.buy("t", &at_most).await);
    fill(&shared, of(5, 100), 0).await;
    assert!(matches!(shared.buy("t", &at_most).await, Ok(Bought::Taken { .. })));
    // Somebody asks the store for more, and gets it just before the limits fall.
    assert!(matches!(shared.buy("t", &at_most).await, Ok(Bought::Short(_))));
    let narrower = Purchase { limits: of(2, 10), ..purchase(of(1, 10)) };
    assert_eq!(shared.buy("t", &narrower).await, Ok(Bought::Stale(of(4, 20))));
    assert_eq!(fill_under(&shared, at_most.limits, of(3, 500), 0).await, Kept::Nowhere);
    let back = Returned { amount: of(1, 70), limits: at_most.limits, settled: usd(80) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::Nowhere));
    let short = Short { missing: of(1, 10), here: usd(0), pending: usd(0) };
    assert_eq!(
        shared.buy("t", &narrower).await,
        Ok(Bought::Short(short)),
        "and what was pending has its price"
    );
    assert_eq!(fill_under(&shared, narrower.limits, of(2, 10), 0).await, Kept::InPurse);
    let back = Returned { amount: of(0, 0), limits: narrower.limits, settled: usd(0) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::InPurse));
    assert_eq!(shared.empty("t").await.unwrap().left, of(2, 10));
}

async fn t7_of_many_at_once_exactly_what_was_handed_out_is_taken(shared: Shared) {
    let ask = purchase(of(1, 7));
    drop(shared.buy("t", &ask).await);
    fill(&shared, of(1_000, 7 * 40 + 6), 0).await;
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let shared = shared.clone();
        all.spawn(async move { matches!(shared.buy("t", &ask).await, Ok(Bought::Taken { .. })) });
    }
    let taken = all.join_all().await.into_iter().filter(|taken| *taken).count();
    assert_eq!(taken, 40);
}

async fn the_largest_amounts_are_kept_to_the_millionth(shared: Shared) {
    const MOST: i64 = 1_000_000_000_000_000;
    let ask = Purchase { limits: of(1_000_000_000, MOST), ..purchase(of(1, MOST - 1)) };
    drop(shared.buy("t", &ask).await);
    assert_eq!(fill_under(&shared, ask.limits, of(1_000_000_000, MOST), 0).await, Kept::InPurse);
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Taken { left: usd(1) }));
    assert_eq!(shared.empty("t").await.unwrap().left, of(999_999_999, 1));
}

/// A Redis that was started again with an old picture of itself, played by its hash.
#[tokio::test]
async fn a_purse_of_another_run_of_redis_counts_for_nothing() {
    let installation = format!("test-{}", new_id());
    let shared = redis_at(redis_url(), &installation).await;
    drop(shared.buy("t", &purchase(of(1, 0))).await);
    fill(&shared, of(5, 70), 0).await;
    let client = ::redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("portcullis:{installation}:purse:t");
    ::redis::cmd("HSET").arg(key).arg("run").arg("0").exec_async(&mut connection).await.unwrap();
    let back = Returned { amount: of(1, 0), limits: of(100, 1_000), settled: usd(0) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::Nowhere));
    assert!(matches!(shared.buy("t", &purchase(of(1, 0))).await, Ok(Bought::Short(_))));
    assert_eq!(shared.empty("t").await.unwrap().left, Allowance::default());
}

#[tokio::test]
async fn m4b_who_comes_anew_finds_no_room_before_anybody_loses_what_is_theirs() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let ask = Purchase { ends_at: clock.now().plus(MINUTE), ..purchase(of(1, 10)) };
    let rate = Rate { per_minute: 1, breaches_max: 3 };
    let granted = of(1, 10);
    let filling = Filling { granted, in_store: usd(0), limits: ask.limits, ends_at: ask.ends_at };
    let mut inside = Vec::new();
    for n in 0..140_000 {
        let key = format!("agent:{n}");
        if shared.rate(&key, &key, rate, None).await.is_ok() && shared.buy(&key, &ask).await.is_ok() {
            assert_eq!(shared.fill(&key, &filling).await, Ok(Kept::InPurse));
            inside.push(key);
        }
    }
    assert!((100_000..=131_072).contains(&inside.len()), "{}", inside.len());
    assert!(shared.in_purses(&inside).await.unwrap().iter().all(|purse| *purse == granted));
    for key in inside.iter().step_by(1000) {
        assert!(!shared.rate(key, key, rate, None).await.unwrap().0.hit.is_allowed, "it is remembered");
        assert!(matches!(shared.buy(key, &ask).await, Ok(Bought::Taken { .. })));
    }
    clock.advance(MINUTE);
    let late = Purchase { ends_at: clock.now().plus(MINUTE), ..ask };
    for n in 0..100 {
        shared.buy(&format!("late:{n}"), &late).await.expect("what has ended makes room");
    }
}
