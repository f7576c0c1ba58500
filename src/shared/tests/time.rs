//! What time does to the rates, breaches and failures of agents, in memory and in Redis.
//!
//! Law: a window ends when it is over and not before, wherever it is counted. In memory a clock is set; in
//! Redis everything that was written becomes older, its time to live included.

use std::time::Instant;

use super::*;

macro_rules! as_time_passes {
    ($($body:ident),+ $(,)?) => {
        mod memory_time { $(#[tokio::test] async fn $body() { super::$body(super::Time::in_memory()).await; })+ }
        mod redis_time { $(#[tokio::test] async fn $body() { super::$body(super::Time::in_redis().await).await; })+ }
    };
}

as_time_passes!(
    t13_a_rolling_minute_gives_back_what_is_a_minute_old_and_no_more,
    t13_a_wide_rate_counts_a_second_until_all_of_it_is_a_minute_old,
    breaches_are_forgotten_after_an_hour_one_by_one,
    t14_failures_are_forgotten_a_day_after_the_last_one,
    a_clock_that_was_set_back_neither_forgives_a_rate_nor_keeps_it,
);

/// Makes what this installation wrote older, or younger again where the span is negative.
const LATER: &str = r"
local span = tonumber(ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local life = redis.call('PTTL', key)
  if life <= span then
    redis.call('DEL', key)
  else
    redis.call('PEXPIRE', key, string.format('%.0f', life - span))
    local is_list = redis.call('TYPE', key).ok == 'list'
    for i, entry in ipairs(is_list and redis.call('LRANGE', key, 0, -1) or {}) do
      local at, rest = string.match(entry, '^(%d+)(.*)$')
      redis.call('LSET', key, i - 1, string.format('%.0f', at - span) .. rest)
    end
  end
end
";

/// Where things are counted, and how time passes there.
struct Time {
    shared: Shared,
    flow: Flow,
}

enum Flow {
    Memory(Arc<TestClock>),
    Redis { installation: String, connection: ::redis::aio::MultiplexedConnection },
}

impl Time {
    fn in_memory() -> Self {
        // Late in a second, and in a minute.
        let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_800_000_059_700)));
        Self { shared: Shared::memory(Arc::clone(&clock) as Arc<dyn Clock>), flow: Flow::Memory(clock) }
    }

    async fn in_redis() -> Self {
        let installation = format!("test-{}", new_id());
        let client = ::redis::Client::open(redis_url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let shared = redis_at(redis_url(), &installation).await;
        Self { shared, flow: Flow::Redis { installation, connection } }
    }

    async fn moves(&mut self, by: i64) {
        match &mut self.flow {
            Flow::Memory(clock) => clock.set(Timestamp::from_millis(clock.now().as_millis() + by)),
            Flow::Redis { installation, connection } => {
                let mut age = ::redis::cmd("EVAL");
                age.arg(LATER).arg(0).arg(format!("portcullis:{installation}:*")).arg(by);
                age.exec_async(connection).await.unwrap();
            }
        }
    }

    async fn later(&mut self, span: Duration) {
        self.moves(millis(span)).await;
    }

    /// Waits until the clock is late in its second, where that is not for us to set.
    async fn late_in_a_second(&mut self) {
        let Flow::Redis { connection, .. } = &mut self.flow else { return };
        let (_, micros): (u64, u64) = ::redis::cmd("TIME").query_async(connection).await.unwrap();
        if !(600_000..800_000).contains(&micros) {
            let wait = if micros < 600_000 { 600_000 - micros } else { 1_600_000 - micros };
            tokio::time::sleep(Duration::from_micros(wait)).await;
        }
    }

    async fn ask(&self, per_minute: u32, breaches_max: u32) -> Rated {
        let rate = Rate { per_minute, breaches_max };
        self.shared.rate("t", blame(), rate, None).await.unwrap().0
    }

    /// How many of so many pass.
    async fn passing(&self, per_minute: u32, times: usize) -> usize {
        let mut passed = 0;
        for _ in 0..times {
            passed += usize::from(self.ask(per_minute, 0).await.hit.is_allowed);
        }
        passed
    }
}

/// Everything here is counted against one token.
fn blame() -> Blame<'static> {
    rate::of_one_there_since("t:0", Timestamp::from_millis(0))
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
/// More than a test takes between two of its questions, on the most crowded machine.
const AIR: Duration = Duration::from_secs(20);

async fn t13_a_rolling_minute_gives_back_what_is_a_minute_old_and_no_more(mut time: Time) {
    assert_eq!(time.passing(3, 2).await, 2);
    time.later(MINUTE / 2).await;
    assert_eq!(time.passing(3, 5).await, 1);
    let refused = time.ask(3, 0).await.hit;
    assert!(!refused.is_allowed && refused.retry_after <= MINUTE / 2, "{refused:?}");
    time.later(refused.retry_after.saturating_sub(AIR)).await;
    let early = time.ask(3, 0).await.hit;
    assert!(!early.is_allowed && early.retry_after <= AIR, "{early:?}");
    // With those that came at once with the first one.
    time.later(early.retry_after + SECOND).await;
    assert_eq!(time.passing(3, 5).await, 2, "the third one is half a minute old");
    time.later(MINUTE).await;
    assert_eq!(time.passing(3, 5).await, 3);
}

async fn t13_a_wide_rate_counts_a_second_until_all_of_it_is_a_minute_old(mut time: Time) {
    time.late_in_a_second().await;
    let began = Instant::now();
    assert_eq!(time.passing(601, 1).await, 1);
    assert_eq!(time.passing(601, 610).await, 600);
    let refused = time.ask(601, 0).await.hit;
    let lasted = began.elapsed();
    assert!(!refused.is_allowed && refused.retry_after <= MINUTE + SECOND, "{refused:?}");
    assert!(refused.retry_after + lasted >= MINUTE, "the strict side: {refused:?} after {lasted:?}");
    time.later(MINUTE.saturating_sub(AIR)).await;
    assert_eq!(time.passing(601, 5).await, 0, "nothing is a minute old");
    time.later(AIR + lasted + SECOND).await;
    assert_eq!(time.passing(601, 610).await, 601);
}

async fn breaches_are_forgotten_after_an_hour_one_by_one(mut time: Time) {
    let breach = async |time: &Time| time.ask(0, 5).await.standing.breaches;
    assert_eq!((breach(&time).await, breach(&time).await), (1, 2));
    time.later(HOUR / 2).await;
    assert_eq!(breach(&time).await, 3);
    time.later((HOUR / 2).saturating_sub(AIR)).await;
    assert_eq!(breach(&time).await, 4, "an hour is not over");
    time.later(AIR + SECOND).await;
    assert_eq!(breach(&time).await, 3, "of the first two it is");
    time.later(HOUR).await;
    assert_eq!(breach(&time).await, 1);
}

async fn t14_failures_are_forgotten_a_day_after_the_last_one(mut time: Time) {
    let fail = async |time: &Time| time.shared.fail(blame()).await;
    assert_eq!((fail(&time).await, fail(&time).await), (Ok(1), Ok(2)));
    for failures in [3, 4] {
        time.later((24 * HOUR).saturating_sub(AIR)).await;
        assert_eq!(time.ask(9, 1).await.standing.failures, failures - 1);
        assert_eq!(fail(&time).await, Ok(failures), "the day begins anew with each");
    }
    time.later(24 * HOUR).await;
    assert_eq!(time.ask(9, 1).await.standing.failures, 0);
    assert_eq!(fail(&time).await, Ok(1));
}

async fn a_clock_that_was_set_back_neither_forgives_a_rate_nor_keeps_it(mut time: Time) {
    for per_minute in [601, 2] {
        assert_eq!(time.passing(per_minute, 610).await, usize::try_from(per_minute).unwrap());
        time.moves(-millis(HOUR)).await;
        let refused = time.ask(per_minute, 0).await.hit;
        assert!(!refused.is_allowed && refused.retry_after <= MINUTE + SECOND, "{refused:?}");
        time.later(MINUTE + SECOND).await;
        assert!(time.ask(per_minute, 0).await.hit.is_allowed);
        time.later(MINUTE + SECOND).await;
    }
}
