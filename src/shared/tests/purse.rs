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
    what_comes_back_after_a_purse_was_emptied_is_the_stores,
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

/// What is missing for it, and in which era.
async fn short_of(shared: &Shared, purchase: &Purchase) -> Short {
    match shared.buy("t", purchase).await {
        Ok(Bought::Short(short)) => short,
        other => panic!("{other:?}"),
    }
}

/// What is left after it was taken, and in which era that was.
async fn taken(shared: &Shared, purchase: &Purchase) -> (MicroUsd, Era) {
    match shared.buy("t", purchase).await {
        Ok(Bought::Taken { left, era }) => (left, era),
        other => panic!("{other:?}"),
    }
}

async fn fill(shared: &Shared, era: Era, granted: Allowance, in_store: i64) -> Kept {
    let ends_at = SystemClock.now().plus(MINUTE);
    shared.fill("t", &Filling { granted, in_store: usd(in_store), era, ends_at }).await.unwrap()
}

/// A purse with something in it.
async fn filled(shared: &Shared, purchase: &Purchase, granted: Allowance, in_store: i64) -> Era {
    let era = short_of(shared, purchase).await.era;
    assert_eq!(fill(shared, era, granted, in_store).await, Kept::InPurse);
    era
}

async fn a_purse_gives_what_the_store_handed_out_and_nothing_more(shared: Shared) {
    let ask = purchase(of(1, 40));
    let short = short_of(&shared, &ask).await;
    let era = short.era;
    assert_eq!(short, Short { missing: of(1, 40), here: usd(0), pending: usd(0), era });
    assert_eq!(fill(&shared, era, of(3, 100), 900).await, Kept::InPurse);
    assert_eq!(taken(&shared, &ask).await, (usd(960), era));
    assert_eq!(taken(&shared, &ask).await, (usd(920), era));
    let short = Short { missing: of(0, 20), here: usd(20), pending: usd(0), era };
    assert_eq!(short_of(&shared, &ask).await, short);
    shared.fill_nothing("t").await.unwrap();
    assert_eq!(taken(&shared, &purchase(of(1, 0))).await, (usd(920), era));
    let short = Short { missing: of(1, 0), ..short };
    assert_eq!(short_of(&shared, &purchase(of(1, 0))).await, short);
    let keys = ["t".to_owned(), "other".to_owned()];
    assert_eq!(shared.in_purses(&keys).await, Ok(vec![of(0, 20), of(0, 0)]));
    assert_eq!(shared.empty("t").await, Ok(Emptied { left: of(0, 20), pending: usd(0) }));
    assert_eq!(shared.empty("t").await, Ok(Emptied::default()));
}

async fn one_asks_the_store_and_the_others_wait(shared: Shared) {
    let ask = purchase(of(1, 0));
    short_of(&shared, &ask).await;
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Wait));
    assert_eq!(shared.buy("t", &ask).await, Ok(Bought::Wait));
    shared.fill_nothing("t").await.unwrap();
    filled(&shared, &ask, of(1, 0), 0).await;
    taken(&shared, &ask).await;
}

async fn what_was_handed_out_under_other_limits_goes_back_first(shared: Shared) {
    filled(&shared, &purchase(of(1, 0)), of(5, 70), 0).await;
    let narrower = Purchase { limits: of(50, 1_000), ..purchase(of(1, 10)) };
    assert_eq!(shared.buy("t", &narrower).await, Ok(Bought::Stale(of(5, 70))));
    let era = filled(&shared, &narrower, of(2, 20), 30).await;
    assert_eq!(taken(&shared, &narrower).await, (usd(40), era));
}

async fn what_comes_back_is_kept_where_there_is_a_purse(shared: Shared) {
    let back = |era, amount, settled| Returned { amount, era, settled: usd(settled) };
    assert_eq!(shared.put_back("t", back(Era::of(0), of(1, 10), 0)).await, Ok(Kept::Nowhere));
    let era = filled(&shared, &purchase(of(1, 0)), of(2, 100), 0).await;
    let at_most = Purchase { price: Price::AtMost, ..purchase(of(1, 80)) };
    assert_eq!(taken(&shared, &at_most).await, (usd(20), era));
    let short = Short { missing: of(0, 60), here: usd(20), pending: usd(80), era };
    assert_eq!(short_of(&shared, &at_most).await, short);
    assert_eq!(shared.put_back("t", back(era, of(0, 50), 80)).await, Ok(Kept::InPurse));
    assert_eq!(shared.empty("t").await, Ok(Emptied { left: of(1, 70), pending: usd(0) }));
}

async fn h5_what_comes_back_after_the_limits_fell_is_the_stores(shared: Shared) {
    let at_most = Purchase { price: Price::AtMost, ..purchase(of(1, 80)) };
    let before = filled(&shared, &at_most, of(5, 100), 0).await;
    taken(&shared, &at_most).await;
    // Somebody asks the store for more, and gets it just before the limits fall.
    assert_eq!(short_of(&shared, &at_most).await.era, before);
    let narrower = Purchase { limits: of(2, 10), ..purchase(of(1, 10)) };
    assert_eq!(shared.buy("t", &narrower).await, Ok(Bought::Stale(of(4, 20))));
    assert_eq!(fill(&shared, before, of(3, 500), 0).await, Kept::Nowhere);
    let back = Returned { amount: of(1, 70), era: before, settled: usd(80) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::Nowhere));
    let short = short_of(&shared, &narrower).await;
    assert_eq!(short.pending, usd(0), "and what was pending has its price");
    assert_eq!(fill(&shared, short.era, of(2, 10), 0).await, Kept::InPurse);
    let back = Returned { amount: of(0, 0), era: short.era, settled: usd(0) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::InPurse));
    assert_eq!(shared.empty("t").await.unwrap().left, of(2, 10));
}

async fn what_comes_back_after_a_purse_was_emptied_is_the_stores(shared: Shared) {
    let at_most = Purchase { price: Price::AtMost, ..purchase(of(1, 80)) };
    let before = filled(&shared, &at_most, of(5, 100), 0).await;
    taken(&shared, &at_most).await;
    let asked = short_of(&shared, &at_most).await;
    assert_eq!(asked.era, before);
    assert_eq!(shared.empty("t").await, Ok(Emptied { left: of(4, 20), pending: usd(80) }));
    assert_eq!(fill(&shared, before, of(3, 500), 0).await, Kept::Nowhere, "handed out before that");
    let after = filled(&shared, &at_most, of(1, 10), 0).await;
    assert_ne!(after, before);
    let back = Returned { amount: of(0, 70), era: before, settled: usd(80) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::Nowhere));
    assert_eq!(shared.empty("t").await, Ok(Emptied { left: of(1, 10), pending: usd(0) }));
}

async fn t7_of_many_at_once_exactly_what_was_handed_out_is_taken(shared: Shared) {
    let ask = purchase(of(1, 7));
    filled(&shared, &ask, of(1_000, 7 * 40 + 6), 0).await;
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
    let era = filled(&shared, &ask, of(1_000_000_000, MOST), 0).await;
    assert_eq!(taken(&shared, &ask).await, (usd(1), era));
    assert_eq!(shared.empty("t").await.unwrap().left, of(999_999_999, 1));
}

/// A Redis that was started again with an old picture of itself, played by its hash.
#[tokio::test]
async fn a_purse_of_another_run_of_redis_counts_for_nothing() {
    let installation = format!("test-{}", new_id());
    let shared = redis_at(redis_url(), &installation).await;
    let era = filled(&shared, &purchase(of(1, 0)), of(5, 70), 0).await;
    let client = ::redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("portcullis:{installation}:purse:t");
    ::redis::cmd("HSET").arg(key).arg("run").arg("0").exec_async(&mut connection).await.unwrap();
    let back = Returned { amount: of(1, 0), era, settled: usd(0) };
    assert_eq!(shared.put_back("t", back).await, Ok(Kept::Nowhere));
    assert_ne!(short_of(&shared, &purchase(of(1, 0))).await.era, era);
    assert_eq!(shared.empty("t").await.unwrap().left, Allowance::default());
}

#[tokio::test]
async fn m4b_who_comes_anew_finds_no_room_before_anybody_loses_what_is_theirs() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let ask = Purchase { ends_at: clock.now().plus(MINUTE), ..purchase(of(1, 10)) };
    let rate = Rate { per_minute: 1, breaches_max: 3 };
    let granted = of(1, 10);
    let mut inside = Vec::new();
    for n in 0..140_000 {
        let key = format!("agent:{n}");
        let blame = rate::of_one_there_since(&key, clock.now());
        if shared.rate(&key, blame, rate, None).await.is_ok()
            && let Ok(Bought::Short(Short { era, .. })) = shared.buy(&key, &ask).await
        {
            let filling = Filling { granted, in_store: usd(0), era, ends_at: ask.ends_at };
            assert_eq!(shared.fill(&key, &filling).await, Ok(Kept::InPurse));
            inside.push(key);
        }
    }
    assert!((100_000..=131_072).contains(&inside.len()), "{}", inside.len());
    assert!(shared.in_purses(&inside).await.unwrap().iter().all(|purse| *purse == granted));
    for key in inside.iter().step_by(1000) {
        let blame = rate::of_one_there_since(key, clock.now());
        assert!(!shared.rate(key, blame, rate, None).await.unwrap().0.hit.is_allowed, "it is remembered");
        assert!(matches!(shared.buy(key, &ask).await, Ok(Bought::Taken { .. })));
    }
    clock.advance(MINUTE);
    let late = Purchase { ends_at: clock.now().plus(MINUTE), ..ask };
    for n in 0..100 {
        shared.buy(&format!("late:{n}"), &late).await.expect("what has ended makes room");
    }
}

#[tokio::test]
async fn what_is_pending_for_longer_than_an_hour_holds_nothing_up() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let ends_at = clock.now().plus(MINUTE * 600);
    let at_most = Purchase { price: Price::AtMost, ends_at, ..purchase(of(1, 80)) };
    let era = short_of(&shared, &at_most).await.era;
    let filling = Filling { granted: of(3, 200), in_store: usd(0), era, ends_at };
    assert_eq!(shared.fill("t", &filling).await, Ok(Kept::InPurse));
    taken(&shared, &at_most).await;
    clock.advance(MINUTE * 59);
    taken(&shared, &at_most).await;
    clock.advance(MINUTE * 59);
    assert_eq!(short_of(&shared, &at_most).await.pending, usd(160));
    shared.fill_nothing("t").await.unwrap();
    clock.advance(MINUTE);
    assert_eq!(short_of(&shared, &at_most).await.pending, usd(0), "whoever had it is lost");
    let late = Returned { amount: of(0, 50), era, settled: usd(80) };
    assert_eq!(shared.put_back("t", late).await, Ok(Kept::InPurse), "what comes all the same is not");
}
