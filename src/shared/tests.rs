//! One body for both places: what is true of the memory of one process is true of Redis.
//!
//! Law: windows are short in the bodies that wait for the clock of Redis, and long in those that
//! must not see time pass. Every test has its own key prefix.

use tokio::task::JoinSet;

use super::*;
use crate::base::{SystemClock, SystemRandom, TestClock};

const MINUTE: Duration = Duration::from_mins(1);

fn redis_url() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the script that runs the tests names its servers this way"
    )]
    let url = std::env::var("PORTCULLIS_TEST_REDIS");
    url.expect("PORTCULLIS_TEST_REDIS must name a Redis: run the tests with `make test`")
}

const PATIENCE: Duration = Duration::from_millis(250);
/// For the Redis of all tests: one that is busy with the others is none that is gone.
const LONG_PATIENCE: Duration = Duration::from_secs(4);

fn new_id() -> Id {
    Id::new(SystemClock.now(), &SystemRandom)
}

async fn redis_at(url: String, installation: &str) -> Shared {
    let patience = if url == redis_url() { LONG_PATIENCE } else { PATIENCE };
    redis_within(patience, url, installation).await
}

async fn redis_within(patience: Duration, url: String, installation: &str) -> Shared {
    Shared::redis(&Secret::new(url), patience, installation, new_id(), Arc::new(SystemClock)).await.unwrap()
}

async fn in_redis() -> Shared {
    redis_at(redis_url(), &format!("test-{}", new_id())).await
}

fn in_memory() -> Shared {
    Shared::memory(Arc::new(SystemClock))
}

fn window(limit: u32, per: Duration) -> Window {
    Window { limit, per }
}

async fn pass(span: Duration) {
    tokio::time::sleep(span + Duration::from_millis(20)).await;
}

macro_rules! in_both_places {
    ($($body:ident),+ $(,)?) => {
        mod memory_place { $(#[tokio::test] async fn $body() { super::$body(super::in_memory()).await; })+ }
        mod redis_place { $(#[tokio::test] async fn $body() { super::$body(super::in_redis().await).await; })+ }
    };
}

mod lost;
mod purse;
mod rate;
mod time;

in_both_places!(
    hits_beyond_the_limit_are_refused_and_not_counted,
    the_window_that_refuses_for_longest_is_reported,
    a_window_slides,
    a_quota_allows_a_burst_and_then_an_even_rate,
    keys_do_not_touch_each_other,
    of_many_at_once_exactly_the_limit_pass,
    a_limit_of_zero_allows_nothing,
    a_quota_refuses_until_there_is_room_for_one,
    no_quota_is_too_wide_or_too_long_to_count,
    a_job_has_one_doer,
);

async fn hits_beyond_the_limit_are_refused_and_not_counted(shared: Shared) {
    let windows = [window(3, MINUTE)];
    for left in [2, 1, 0] {
        let hit = shared.hit("a", &windows).await.unwrap();
        assert!(hit.is_allowed);
        assert_eq!((hit.limit, hit.remaining, hit.per), (3, left, MINUTE));
    }
    for _ in 0..5 {
        let hit = shared.hit("a", &windows).await.unwrap();
        assert!(!hit.is_allowed);
        assert_eq!(hit.remaining, 0);
        assert!(hit.retry_after <= MINUTE && hit.retry_after > MINUTE / 2, "{hit:?}");
        assert!(hit.reset_at <= SystemClock.now().plus(MINUTE), "{hit:?}");
    }
}

async fn the_window_that_refuses_for_longest_is_reported(shared: Shared) {
    let windows = [window(2, MINUTE), window(3, MINUTE * 60)];
    for _ in 0..2 {
        let hit = shared.hit("a", &windows).await.unwrap();
        assert!(hit.is_allowed && hit.per == MINUTE, "{hit:?}");
    }
    // The minute refuses; the hour, which has room, counts the hit all the same.
    let hit = shared.hit("a", &windows).await.unwrap();
    assert!(!hit.is_allowed && hit.per == MINUTE, "{hit:?}");
    let hit = shared.hit("a", &windows).await.unwrap();
    assert!(!hit.is_allowed && hit.per == MINUTE * 60, "{hit:?}");
    assert!(hit.retry_after > MINUTE * 59, "{hit:?}");
}

async fn a_window_slides(shared: Shared) {
    let per = Duration::from_secs(4);
    let windows = [window(2, per)];
    assert!(shared.hit("a", &windows).await.unwrap().is_allowed);
    pass(per / 2).await;
    assert!(shared.hit("a", &windows).await.unwrap().is_allowed);
    let refused = shared.hit("a", &windows).await.unwrap();
    assert!(!refused.is_allowed && refused.retry_after <= per / 2, "{refused:?}");
    pass(refused.retry_after).await;
    // The first has left, the second not yet: one more, and no second one.
    assert!(shared.hit("a", &windows).await.unwrap().is_allowed);
    assert!(!shared.hit("a", &windows).await.unwrap().is_allowed);
}

async fn a_quota_allows_a_burst_and_then_an_even_rate(shared: Shared) {
    let quota = Quota { requests: 4, per: Duration::from_secs(12) };
    for left in [3, 2, 1, 0] {
        let hit = shared.meter("a", quota).await.unwrap();
        assert!(hit.is_allowed && hit.remaining >= left && hit.limit == 4, "{hit:?}");
    }
    let refused = shared.meter("a", quota).await.unwrap();
    assert!(!refused.is_allowed, "{refused:?}");
    assert!(refused.retry_after <= Duration::from_secs(3), "{refused:?}");
    pass(refused.retry_after).await;
    assert!(shared.meter("a", quota).await.unwrap().is_allowed);
    assert!(!shared.meter("a", quota).await.unwrap().is_allowed);
}

async fn keys_do_not_touch_each_other(shared: Shared) {
    let windows = [window(1, MINUTE)];
    let quota = Quota { requests: 1, per: MINUTE };
    for key in ["a", "b", "a:b", ""] {
        assert!(shared.hit(key, &windows).await.unwrap().is_allowed, "{key}");
        assert!(shared.meter(key, quota).await.unwrap().is_allowed, "{key}");
    }
    assert!(!shared.hit("a", &windows).await.unwrap().is_allowed);
    assert!(!shared.meter("a:b", quota).await.unwrap().is_allowed);
}

async fn of_many_at_once_exactly_the_limit_pass(shared: Shared) {
    let quota = Quota { requests: 7, per: MINUTE * 60 };
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let shared = shared.clone();
        callers.spawn(async move {
            let hit = shared.hit("race", &[window(5, MINUTE), window(9, MINUTE * 60)]).await.unwrap();
            let metered = shared.meter("race", quota).await.unwrap();
            (usize::from(hit.is_allowed), usize::from(metered.is_allowed))
        });
    }
    let passed = callers.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(passed, (5, 7));
}

async fn a_limit_of_zero_allows_nothing(shared: Shared) {
    let hit = shared.hit("a", &[window(0, MINUTE)]).await.unwrap();
    assert!(!hit.is_allowed && hit.retry_after == MINUTE, "{hit:?}");
    let hit = shared.meter("a", Quota { requests: 0, per: MINUTE }).await.unwrap();
    assert!(!hit.is_allowed && hit.retry_after == MINUTE, "{hit:?}");
    shared.hit("a", &[]).await.unwrap_err();
}

async fn a_quota_refuses_until_there_is_room_for_one(shared: Shared) {
    let quota = Quota { requests: 3, per: MINUTE };
    for left in [2, 1, 0] {
        let hit = shared.meter("a", quota).await.unwrap();
        assert_eq!((hit.is_allowed, hit.remaining), (true, left), "{hit:?}");
        let next = if left == 0 { MINUTE / 3 } else { Duration::ZERO };
        assert!(hit.retry_after <= next && hit.retry_after + Duration::from_secs(5) > next, "{hit:?}");
        let full_in = hit.reset_at.since(SystemClock.now());
        let whole = MINUTE / 3 * (3 - left);
        assert!(full_in <= whole && full_in + Duration::from_secs(5) > whole, "{hit:?}");
    }
    // Being refused costs nothing: the wait does not grow.
    for _ in 0..5 {
        let hit = shared.meter("a", quota).await.unwrap();
        assert_eq!((hit.is_allowed, hit.remaining), (false, 0), "{hit:?}");
        assert!(hit.retry_after <= MINUTE / 3 && hit.retry_after > MINUTE / 4, "{hit:?}");
        assert!(hit.reset_at <= SystemClock.now().plus(MINUTE), "{hit:?}");
    }
}

async fn no_quota_is_too_wide_or_too_long_to_count(shared: Shared) {
    for (n, requests) in [1, 2, u32::MAX].into_iter().enumerate() {
        for (m, per) in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX].into_iter().enumerate() {
            let hit = shared.meter(&format!("{n}-{m}"), Quota { requests, per }).await.unwrap();
            assert_eq!((hit.is_allowed, hit.limit), (true, requests), "{requests} in {per:?}");
        }
        let for_ever = Quota { requests, per: Duration::MAX };
        let hit = shared.meter(&format!("{n}-2"), for_ever).await.unwrap();
        assert_eq!(hit.is_allowed, requests > 1, "{requests}");
    }
}

async fn a_job_has_one_doer(shared: Shared) {
    for _ in 0..2 {
        assert_eq!(shared.lease("sweep", MINUTE).await, Ok(Leased::Here));
    }
}

#[tokio::test]
async fn window_edges_are_exact_by_the_clock() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let windows = [window(1, MINUTE)];
    let first = shared.hit("a", &windows).await.unwrap();
    assert_eq!(first.reset_at, Timestamp::from_millis(1_060_000));
    clock.advance(Duration::from_millis(59_999));
    let refused = shared.hit("a", &windows).await.unwrap();
    assert_eq!((refused.is_allowed, refused.retry_after), (false, Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    assert!(shared.hit("a", &windows).await.unwrap().is_allowed);
}

#[tokio::test]
async fn a_bucket_fills_exactly_by_the_clock() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let quota = Quota { requests: 2, per: MINUTE };
    let told =
        |hit: Hit| (hit.is_allowed, hit.remaining, hit.retry_after.as_millis(), hit.reset_at.as_millis());
    assert_eq!(told(shared.meter("a", quota).await.unwrap()), (true, 1, 0, 1_030_000));
    assert_eq!(told(shared.meter("a", quota).await.unwrap()), (true, 0, 30_000, 1_060_000));
    clock.advance(Duration::from_millis(29_999));
    assert_eq!(told(shared.meter("a", quota).await.unwrap()), (false, 0, 1, 1_060_000));
    clock.advance(Duration::from_millis(1));
    assert_eq!(told(shared.meter("a", quota).await.unwrap()), (true, 0, 30_000, 1_090_000));
    clock.advance(MINUTE);
    assert_eq!(told(shared.meter("a", quota).await.unwrap()), (true, 1, 0, 1_120_000));
    // Another quota over the same state sees no more in it than it can hold.
    let narrow = Quota { requests: 1, per: Duration::from_secs(1) };
    assert_eq!(told(shared.meter("a", narrow).await.unwrap()), (false, 0, 1_000, 1_091_000));
}

#[tokio::test]
async fn a_clock_that_went_back_neither_forgives_nor_punishes() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(100_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let (windows, quota) = ([window(1, MINUTE)], Quota { requests: 1, per: MINUTE });
    shared.hit("a", &windows).await.unwrap();
    shared.meter("a", quota).await.unwrap();
    clock.set(Timestamp::from_millis(10_000_000));
    for hit in [shared.hit("a", &windows).await.unwrap(), shared.meter("a", quota).await.unwrap()] {
        assert_eq!((hit.is_allowed, hit.retry_after), (false, MINUTE));
    }
    clock.advance(MINUTE);
    assert!(shared.hit("a", &windows).await.unwrap().is_allowed);
    assert!(shared.meter("a", quota).await.unwrap().is_allowed);
}

#[tokio::test]
async fn over_any_span_a_quota_lets_no_more_than_its_rate_pass() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(5_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let quota = Quota { requests: 7, per: MINUTE };
    let mut passed = 0;
    for _ in 0..6_000 {
        clock.advance(Duration::from_millis(100));
        passed += u32::from(shared.meter("a", quota).await.unwrap().is_allowed);
    }
    // Ten minutes at seven, and the burst at the start.
    assert!((75..=77).contains(&passed), "{passed}");
}

#[tokio::test]
async fn a_flood_of_keys_does_not_grow_without_end() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_000_000)));
    let shared = Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>);
    let Place::Memory(memory) = &shared.0.place else { panic!("in memory") };
    for n in 0..200_000 {
        shared.hit(&format!("key-{n}"), &[window(1, MINUTE)]).await.unwrap();
    }
    assert!(memory.len() <= 131_072, "{}", memory.len());
    assert!(memory.len() > 100_000, "{}", memory.len());
    // Quotas of any kind share one bound.
    for n in 0..200_000 {
        let quota = Quota { requests: 1 + n % 7, per: MINUTE };
        shared.meter(&format!("key-{n}"), quota).await.unwrap();
    }
    assert!(memory.len() <= 2 * 131_072, "{}", memory.len());
    assert!(memory.len() > 2 * 100_000, "{}", memory.len());
    clock.advance(MINUTE);
    shared.sweep();
    assert_eq!(memory.len(), 0);
}

#[tokio::test]
async fn replicas_share_limits_and_installations_do_not() {
    let installation = format!("test-{}", new_id());
    let (one, two) = (redis_at(redis_url(), &installation).await, redis_at(redis_url(), &installation).await);
    let windows = [window(1, MINUTE)];
    assert!(one.hit("a", &windows).await.unwrap().is_allowed);
    assert!(!two.hit("a", &windows).await.unwrap().is_allowed);
    assert!(in_redis().await.hit("a", &windows).await.unwrap().is_allowed);
    assert_eq!(one.lease("sweep", Duration::from_secs(2)).await, Ok(Leased::Here));
    assert_eq!(two.lease("sweep", MINUTE).await, Ok(Leased::Elsewhere));
    pass(Duration::from_secs(2)).await;
    assert_eq!(two.lease("sweep", MINUTE).await, Ok(Leased::Here));
}

#[tokio::test]
async fn every_key_in_redis_expires() {
    let installation = format!("test-{}", new_id());
    let shared = redis_at(redis_url(), &installation).await;
    shared.hit("a", &[window(2, MINUTE), window(3, MINUTE * 60)]).await.unwrap();
    shared.meter("a", Quota { requests: 3, per: MINUTE }).await.unwrap();
    shared.lease("a", MINUTE).await.unwrap();
    let client = ::redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut keys = ::redis::cmd("KEYS");
    keys.arg(format!("portcullis:{installation}:*"));
    let keys: Vec<String> = keys.query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let life: i64 = ::redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!(life > 0 && life <= 3_600_000, "{key} lives for {life} ms");
    }
}

#[tokio::test]
async fn a_hint_reaches_the_other_replica_and_only_ever_rises() {
    let installation = format!("test-{}", new_id());
    let (one, two) = (redis_at(redis_url(), &installation).await, redis_at(redis_url(), &installation).await);
    let mut heard = two.heard();
    let (sender, receiver) = (one.clone(), two.clone());
    let mut carriers = JoinSet::new();
    carriers.spawn(async move { sender.carry_hints().await });
    carriers.spawn(async move { receiver.carry_hints().await });
    // Until both have subscribed a hint may be lost, so it is given again and again.
    let hint = async {
        for seq in 1.. {
            one.announce(seq);
            one.announce(seq - 1);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let listen = async {
        heard.changed().await.unwrap();
        let first = *heard.borrow_and_update();
        heard.changed().await.unwrap();
        assert!(*heard.borrow_and_update() > first);
    };
    tokio::select! {
        () = hint => {}
        () = listen => {}
        () = tokio::time::sleep(MINUTE) => panic!("no hint came"),
    }
}

#[tokio::test]
async fn a_url_that_names_no_redis_is_refused_without_showing_its_password() {
    for url in ["", "postgres://u:hunter2@h/db", "redis//:hunter2@h"] {
        let url = Secret::new(url.to_owned());
        let made = Shared::redis(&url, PATIENCE, "test", new_id(), Arc::new(SystemClock)).await;
        let refused = made.unwrap_err();
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
    let shared = redis_at("redis://:hunter2@127.0.0.1:1/".to_owned(), "test").await;
    assert!(!format!("{shared:?}").contains("hunter2"));
}
