//! The rate of agents, in memory and in Redis.
//!
//! Law: as for the other limits, one body is true of both places.

use super::*;

in_both_places!(
    t13_a_rate_lets_its_limit_through_and_remembers_breaches,
    t14_failures_count_one_after_the_other,
    a_rate_above_six_hundred_is_counted_in_seconds,
    a_rate_that_is_narrowed_across_six_hundred_forgets_nobody,
);

/// What is counted against a token that was always there.
fn at_all_times(key: &str) -> Blame<'_> {
    of_one_there_since(key, Timestamp::from_millis(0))
}

pub(super) fn of_one_there_since(key: &str, at: Timestamp) -> Blame<'_> {
    Blame { key, there_since: at, since: at }
}

async fn t13_a_rate_lets_its_limit_through_and_remembers_breaches(shared: Shared) {
    let rate = Rate { per_minute: 30, breaches_max: 3 };
    let mut rated = Vec::new();
    for _ in 0..35 {
        rated.push(shared.rate("token", at_all_times("token:0"), rate, None).await.unwrap().0);
    }
    assert_eq!(rated.iter().filter(|one| one.hit.is_allowed).count(), 30);
    assert!(rated[..30].iter().all(|one| one.hit.is_allowed && one.standing.breaches == 0));
    assert_eq!(rated[30..].iter().map(|one| one.standing.breaches).collect::<Vec<_>>(), [1, 2, 3, 3, 3]);
    assert!(rated[34].hit.retry_after > Duration::from_secs(50) && rated[34].hit.retry_after <= MINUTE);
    let other = shared.rate("token", at_all_times("token:1"), rate, None).await.unwrap().0;
    assert_eq!(
        (other.hit.is_allowed, other.standing.breaches),
        (false, 1),
        "the log is the token's, breaches begin anew"
    );
    let none = Rate { per_minute: 0, breaches_max: 0 };
    let none = shared.rate("none", at_all_times("none:0"), none, None).await.unwrap().0;
    assert_eq!((none.hit.is_allowed, none.standing.breaches), (false, 0));
}

async fn a_rate_above_six_hundred_is_counted_in_seconds(shared: Shared) {
    let rate = Rate { per_minute: 601, breaches_max: 1 };
    let mut passed = 0;
    for _ in 0..650 {
        let (rated, _) = shared.rate("fast", at_all_times("fast:0"), rate, None).await.unwrap();
        passed += u32::from(rated.hit.is_allowed);
    }
    assert_eq!(passed, 601);
}

async fn a_rate_that_is_narrowed_across_six_hundred_forgets_nobody(shared: Shared) {
    let ask = async |per_minute| {
        let rate = Rate { per_minute, breaches_max: 1 };
        shared.rate("wide", at_all_times("wide:0"), rate, None).await.unwrap().0.hit
    };
    for _ in 0..599 {
        assert!(ask(700).await.is_allowed);
    }
    let last = ask(600).await;
    assert_eq!((last.is_allowed, last.remaining), (true, 0), "the minute has room for one more");
    let refused = ask(600).await;
    assert!(!refused.is_allowed && refused.retry_after > Duration::from_secs(30), "{refused:?}");
    assert!(!ask(20).await.is_allowed, "nor has a narrower one");
}

async fn t14_failures_count_one_after_the_other(shared: Shared) {
    let a = at_all_times("a");
    assert_eq!((shared.fail(a).await, shared.fail(a).await), (Ok(1), Ok(2)));
    let rate = Rate { per_minute: 5, breaches_max: 1 };
    assert_eq!(shared.rate("t", a, rate, None).await.unwrap().0.standing.failures, 2);
    shared.succeed("a").await.unwrap();
    assert_eq!(shared.rate("t", a, rate, None).await.unwrap().0.standing.failures, 0);
    assert_eq!((shared.fail(a).await, shared.fail(at_all_times("b")).await), (Ok(1), Ok(1)));
}

/// A Redis that forgets what this installation counted, and whose time passes when told to.
struct Forgetful {
    installation: String,
    connection: ::redis::aio::MultiplexedConnection,
}

impl Forgetful {
    async fn new() -> Self {
        let client = ::redis::Client::open(redis_url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { installation: format!("test-{}", new_id()), connection }
    }

    async fn replica(&self) -> Shared {
        redis_at(redis_url(), &self.installation).await
    }

    async fn forget(&mut self) {
        let keys = format!("portcullis:{}:*", self.installation);
        let keys: Vec<String> =
            ::redis::cmd("KEYS").arg(keys).query_async(&mut self.connection).await.unwrap();
        ::redis::cmd("DEL").arg(keys).exec_async(&mut self.connection).await.unwrap();
    }

    /// So much later, as far as what was forgotten is concerned.
    async fn later(&mut self, span: Duration) {
        let key = format!("portcullis:{}:memory", self.installation);
        for field in ["lost", "counted"] {
            let mut ask = ::redis::cmd("HEXISTS");
            let is_there: bool = ask.arg(&key).arg(field).query_async(&mut self.connection).await.unwrap();
            if is_there {
                self.moves(field, -millis(span)).await;
            }
        }
    }

    async fn moves(&mut self, field: &str, by: i64) {
        let key = format!("portcullis:{}:memory", self.installation);
        let mut add = ::redis::cmd("HINCRBY");
        add.arg(key).arg(field).arg(by).exec_async(&mut self.connection).await.unwrap();
    }
}

async fn rated(shared: &Shared, token: &str, per_minute: u32) -> Rated {
    let rate = Rate { per_minute, breaches_max: 3 };
    shared.rate(token, at_all_times(token), rate, None).await.unwrap().0
}

#[tokio::test]
async fn t13_a_redis_that_forgot_lets_nobody_through_for_a_minute() {
    let mut redis = Forgetful::new().await;
    let (one, other) = (redis.replica().await, redis.replica().await);
    for shared in [&one, &other] {
        let rated = rated(shared, "t", 2).await;
        assert!(
            rated.hit.is_allowed && rated.standing.closed_for.is_none(),
            "a new one closes nothing: {rated:?}"
        );
    }
    redis.forget().await;
    let late = redis.replica().await;
    for shared in [&one, &other, &late] {
        let rated = rated(shared, "t", 2).await;
        let wait = rated.standing.closed_for.expect("closed");
        assert!(!rated.hit.is_allowed && wait <= MINUTE && wait > MINUTE / 2, "{rated:?}");
        assert_eq!(
            (rated.standing.breaches, rated.standing.failures),
            (0, 0),
            "which is no fault of the agent"
        );
    }
    let young = of_one_there_since("young", SystemClock.now().plus(MINUTE));
    let rate = Rate { per_minute: 2, breaches_max: 3 };
    let young = late.rate("young", young, rate, None).await.unwrap().0;
    assert!(young.hit.is_allowed && young.standing.closed_for.is_none(), "it was not there: {young:?}");
    redis.later(MINUTE).await;
    for shared in [&one, &other] {
        assert!(rated(shared, "t", 2).await.hit.is_allowed, "nothing was counted meanwhile");
    }
    let over = rated(&one, "t", 2).await;
    assert_eq!((over.hit.is_allowed, over.standing.breaches), (false, 3), "as many as are told apart");
    redis.later(MINUTE * 60).await;
    assert_eq!(rated(&one, "t", 0).await.standing.breaches, 2, "only what was counted since");
}

#[tokio::test]
async fn a_redis_that_forgot_is_found_out_though_one_who_knew_nothing_asks_first() {
    let mut redis = Forgetful::new().await;
    let one = redis.replica().await;
    rated(&one, "t", 2).await;
    redis.forget().await;
    let late = redis.replica().await;
    assert!(rated(&late, "t", 2).await.hit.is_allowed, "to this one it is a new Redis");
    assert!(rated(&one, "t", 2).await.standing.closed_for.is_some());
    assert!(rated(&late, "t", 2).await.standing.closed_for.is_some(), "and now it knows");
}

#[tokio::test]
async fn t14_failures_that_redis_forgot_are_as_many_as_are_tolerated() {
    let mut redis = Forgetful::new().await;
    let shared = redis.replica().await;
    assert!(!rated(&shared, "a", 9).await.standing.is_unsure);
    assert_eq!(shared.fail(at_all_times("a")).await, Ok(1));
    redis.forget().await;
    assert_eq!(shared.fail(at_all_times("a")).await, Ok(u32::MAX), "nobody knows how many there were");
    redis.later(MINUTE).await;
    assert!(rated(&shared, "b", 9).await.standing.is_unsure);
    shared.succeed("b").await.unwrap();
    assert!(!rated(&shared, "b", 9).await.standing.is_unsure, "all before is forgiven");
    assert_eq!(shared.fail(at_all_times("b")).await, Ok(1));
    let young = of_one_there_since("c", SystemClock.now().plus(MINUTE));
    assert_eq!(shared.fail(young).await, Ok(1), "it had none");
    redis.later(MINUTE * 60 * 24).await;
    assert!(!rated(&shared, "d", 9).await.standing.is_unsure);
    assert_eq!(shared.fail(at_all_times("d")).await, Ok(1), "nothing is held against anybody for longer");
}

#[tokio::test]
async fn what_a_human_forgave_after_redis_forgot_is_held_against_nobody() {
    let mut redis = Forgetful::new().await;
    let shared = redis.replica().await;
    rated(&shared, "t", 1).await;
    redis.forget().await;
    let resumed = Blame { since: SystemClock.now().plus(MINUTE), ..at_all_times("t:1") };
    let rate = Rate { per_minute: 1, breaches_max: 3 };
    let closed = shared.rate("t", resumed, rate, None).await.unwrap().0;
    assert!(closed.standing.closed_for.is_some(), "the minute is not a human's to give back");
    redis.later(MINUTE).await;
    let rated = shared.rate("t", resumed, rate, None).await.unwrap().0;
    assert!(rated.hit.is_allowed && !rated.standing.is_unsure, "{rated:?}");
    assert_eq!(
        shared.rate("t", resumed, rate, None).await.unwrap().0.standing.breaches,
        1,
        "the first one since"
    );
    assert_eq!(shared.fail(resumed).await, Ok(1), "and so is this");
    assert_eq!(shared.fail(at_all_times("t:0")).await, Ok(u32::MAX), "nobody forgave the others");
}

#[tokio::test]
async fn the_minute_that_redis_forgot_is_no_longer_where_its_clock_was_set_back() {
    let mut redis = Forgetful::new().await;
    let shared = redis.replica().await;
    rated(&shared, "t", 1).await;
    redis.forget().await;
    assert!(rated(&shared, "t", 1).await.standing.closed_for.is_some());
    // What was an hour ago for that clock is now in an hour.
    redis.moves("lost", millis(MINUTE * 60)).await;
    let wait = rated(&shared, "t", 1).await.standing.closed_for.expect("it begins anew");
    assert!(wait <= MINUTE, "{wait:?}");
    redis.later(MINUTE / 2).await;
    let wait = rated(&shared, "t", 1).await.standing.closed_for.expect("half of it is left");
    assert!(wait <= MINUTE / 2, "{wait:?}");
    redis.later(MINUTE / 2).await;
    assert!(rated(&shared, "t", 1).await.hit.is_allowed);
    redis.later(MINUTE * 60 * 24).await;
    assert_eq!(shared.fail(at_all_times("d")).await, Ok(1), "nor is the day");
}

#[tokio::test]
async fn a_gateway_whose_clock_is_a_little_ahead_makes_no_token_younger_than_what_redis_forgot() {
    let mut redis = Forgetful::new().await;
    let shared = redis.replica().await;
    rated(&shared, "t", 1).await;
    redis.forget().await;
    let ahead = of_one_there_since("t", SystemClock.now().plus(Duration::from_secs(4)));
    let rate = Rate { per_minute: 1, breaches_max: 3 };
    let closed = shared.rate("t", ahead, rate, None).await.unwrap().0;
    assert!(!closed.hit.is_allowed && closed.standing.closed_for.is_some(), "{closed:?}");
    assert_eq!(shared.fail(ahead).await, Ok(u32::MAX));
}
