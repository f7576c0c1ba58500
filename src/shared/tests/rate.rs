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

async fn t13_a_rate_lets_its_limit_through_and_remembers_breaches(shared: Shared) {
    let rate = Rate { per_minute: 30, breaches_max: 3 };
    let mut rated = Vec::new();
    for _ in 0..35 {
        rated.push(shared.rate("token", "token:0", rate, None).await.unwrap().0);
    }
    assert_eq!(rated.iter().filter(|one| one.hit.is_allowed).count(), 30);
    assert!(rated[..30].iter().all(|one| one.hit.is_allowed && one.breaches == 0));
    assert_eq!(rated[30..].iter().map(|one| one.breaches).collect::<Vec<_>>(), [1, 2, 3, 3, 3]);
    assert!(rated[34].hit.retry_after > Duration::from_secs(50) && rated[34].hit.retry_after <= MINUTE);
    let other = shared.rate("token", "token:1", rate, None).await.unwrap().0;
    assert_eq!(
        (other.hit.is_allowed, other.breaches),
        (false, 1),
        "the log is the token's, breaches begin anew"
    );
    let none = shared.rate("none", "none:0", Rate { per_minute: 0, breaches_max: 0 }, None).await.unwrap().0;
    assert_eq!((none.hit.is_allowed, none.breaches), (false, 0));
}

async fn a_rate_above_six_hundred_is_counted_in_seconds(shared: Shared) {
    let rate = Rate { per_minute: 601, breaches_max: 1 };
    let mut passed = 0;
    for _ in 0..650 {
        passed += u32::from(shared.rate("fast", "fast:0", rate, None).await.unwrap().0.hit.is_allowed);
    }
    assert_eq!(passed, 601);
}

async fn a_rate_that_is_narrowed_across_six_hundred_forgets_nobody(shared: Shared) {
    let ask = async |per_minute| {
        shared.rate("wide", "wide:0", Rate { per_minute, breaches_max: 1 }, None).await.unwrap().0.hit
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
    assert_eq!((shared.fail("a").await, shared.fail("a").await), (Ok(1), Ok(2)));
    let rate = Rate { per_minute: 5, breaches_max: 1 };
    assert_eq!(shared.rate("t", "a", rate, None).await.unwrap().0.failures, 2);
    shared.succeed("a").await.unwrap();
    assert_eq!(shared.rate("t", "a", rate, None).await.unwrap().0.failures, 0);
    assert_eq!((shared.fail("a").await, shared.fail("b").await), (Ok(1), Ok(1)));
}
