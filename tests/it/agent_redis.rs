//! The purses of agents in a Redis that is flushed, started again or cut off in mid-run (T7;
//! security bar 2.K 143 to 146).
//! Law: there may be refusals; there is never a request or a cent beyond the limit.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::base::{Clock as _, SystemClock, TestClock};
use portcullis::store::{Dialect, sql};
use serde_json::{Value, json};

use crate::agent::{Scene, YAML, bearer, scene};
use crate::agent_gate::{reader, routes};
use crate::support::people::permission;
use crate::support::replica::{LOST_AFTER, Place, redis_url, until};
use crate::support::{Act, Cut, Gateway, Upstream, free_port};

const HOUR: Duration = Duration::from_hours(1);

/// A Redis of the test's own; killed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    pub async fn start(folder: &Path, port: Option<u16>) -> Self {
        let port = port.unwrap_or_else(free_port);
        let mut program = Command::new("redis-server");
        program.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        program.args(["--repl-diskless-sync-delay", "0"]);
        let child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server starts");
        let redis = Self { child, port };
        let answers = async || redis.ask(&["PING"]).contains("PONG");
        until(Duration::from_secs(5), "a Redis that answers", answers).await;
        redis
    }

    pub fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let out = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// A minute after something was forgotten, which somebody has noticed, as its memory has it.
    pub async fn a_minute_later(&self) {
        let key = || self.ask(&["KEYS", "*:memory"]).trim().to_owned();
        let is_lost = async || !matches!(self.ask(&["HGET", &key(), "lost"]).trim(), "" | "0");
        until(Duration::from_secs(10), "somebody notices what is lost", is_lost).await;
        self.ask(&["HINCRBY", &key(), "lost", "-60000"]);
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Becomes a replica of the other one, and has all that it has.
    async fn follow(&self, other: &Self) {
        self.ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]);
        let is_there = async || self.ask(&["INFO", "replication"]).contains("master_link_status:up");
        until(Duration::from_secs(10), "a replica that has everything", is_there).await;
    }

    /// Becomes a primary.
    fn lead(&self) {
        assert!(self.ask(&["REPLICAOF", "NO", "ONE"]).contains("OK"));
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A token with five dollars, where a request costs ten cents; what it may do otherwise is enough.
async fn rich(redis: &str, place: &Place) -> (Upstream, Scene, String) {
    let upstream = Upstream::echo().await;
    let yaml = format!("{}{}", place.yaml(&place.store.address(), redis), routes(&upstream));
    let scene = scene(&yaml).await;
    let more = json!({"budget_limit_usd": 5, "circuit_breaker": {"max_requests_per_minute": 600}});
    let token = scene.mint(&reader(&more)).await.1;
    (upstream, scene, token)
}

impl Scene {
    /// How many of so many priced requests pass.
    async fn pay(&self, token: &str, times: usize) -> usize {
        let mut passed = 0;
        for _ in 0..times {
            passed += usize::from(self.ask("/priced/1", token, &[]).await.status == 200);
        }
        passed
    }

    /// Whether the agent is told to come back when the minute is over that nobody remembers.
    async fn is_closed(&self, token: &str) -> bool {
        let refused = self.ask("/priced/1", token, &[]).await;
        let wait: u64 = refused.header("retry-after").unwrap_or_default().parse().unwrap_or(0);
        refused.status == 503 && (2..=60).contains(&wait)
    }

    async fn spent(&self) -> Value {
        self.call("GET", "/ai/tokens/", &Value::Null).await.json()[0]["current_spend_usd"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_flushed_redis_costs_at_most_what_lay_in_it() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::on(Dialect::Postgres).await);
    let redis = Redis::start(folder.path(), None).await;
    let (upstream, scene, token) = rich(&redis.url(), &place).await;
    assert_eq!(scene.pay(&token, 11).await, 11);
    assert_eq!(scene.spent().await, json!(1.1), "what lies in the purse is not spent");
    redis.ask(&["FLUSHALL"]);
    for _ in 0..3 {
        assert!(scene.is_closed(&token).await, "nobody knows how often it asked in this minute");
    }
    assert_eq!(upstream.count(), 11);
    redis.a_minute_later().await;
    let passed = 11 + scene.pay(&token, 60).await;
    assert!((45..=50).contains(&passed), "{passed} of 50: a chunk may be lost, nothing is won");
    assert_eq!(upstream.count(), passed);
    assert!(scene.spent().await.as_f64().unwrap() > 4.9, "what was lost was spent before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_redis_that_remembers_what_was_spent_since_gives_nothing_twice() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::on(Dialect::Postgres).await);
    let redis = Redis::start(folder.path(), None).await;
    let (upstream, scene, token) = rich(&redis.url(), &place).await;
    let mut passed = scene.pay(&token, 1).await;
    for _ in 0..3 {
        // A picture with something in the purse, which is then spent.
        assert!(redis.ask(&["SAVE"]).contains("OK"));
        passed += scene.pay(&token, 1).await;
    }
    let port = redis.port();
    drop(redis);
    let redis = Redis::start(folder.path(), Some(port)).await;
    assert!(redis.ask(&["KEYS", "*purse*"]).contains("purse"), "it remembers");
    until(Duration::from_secs(5), "the gateway finds it again", async || scene.is_closed(&token).await).await;
    redis.a_minute_later().await;
    passed += scene.pay(&token, 60).await;
    assert!((45..=50).contains(&passed), "{passed} of 50: a chunk may be lost, nothing is won");
    assert_eq!(upstream.count(), passed);
}

/// The replica never hears of what is spent last, takes over, hands back what it knows, and the first one
/// goes on: the same process with an old picture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_failover_and_back_gives_nothing_twice() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let place = Place::on(Dialect::Postgres).await;
    let first = Redis::start(folders[0].path(), None).await;
    let second = Redis::start(folders[1].path(), None).await;
    // A Redis takes another name with its first replica too.
    second.follow(&first).await;
    let (upstream, scene, token) = rich(&first.url(), &place).await;
    let mut passed = 0;
    for _ in 0..3 {
        passed += scene.pay(&token, 1).await;
        let key = first.ask(&["KEYS", "*purse*"]).trim().to_owned();
        let picture = |redis: &Redis| redis.ask(&["HMGET", &key, "money", "era"]);
        until(Duration::from_secs(10), "the replica has it", async || picture(&second) == picture(&first))
            .await;
        second.lead();
        let spent = scene.pay(&token, 1).await;
        assert_eq!(spent, 1, "which the replica does not know");
        passed += spent;
        first.follow(&second).await;
        first.lead();
        assert!(first.ask(&["KEYS", "*purse*"]).contains("purse"), "it remembers");
        assert!(scene.is_closed(&token).await);
        first.a_minute_later().await;
        second.follow(&first).await;
    }
    passed += scene.pay(&token, 60).await;
    assert!((40..=50).contains(&passed), "{passed} of 50: a chunk may be lost each time, nothing is won");
    assert_eq!(upstream.count(), passed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_redis_that_is_cut_off_refuses_soon_and_nothing_is_spent_twice() {
    let place = Place::on(Dialect::Postgres).await;
    let (cut, url) = Cut::in_front_of(&redis_url()).await;
    let (upstream, scene, token) = rich(&url, &place).await;
    let mut passed = scene.pay(&token, 7).await;
    for _ in 0..2 {
        cut.cut();
        let refused = scene.ask("/priced/1", &token, &[]).await;
        assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
        cut.mend();
        let back = async || scene.pay(&token, 1).await == 1;
        until(Duration::from_secs(5), "it comes back", back).await;
        passed += 1 + scene.pay(&token, 5).await;
    }
    passed += scene.pay(&token, 60).await;
    assert!((45..=50).contains(&passed), "{passed} of 50");
    assert_eq!(upstream.count(), passed);
}

/// A Redis that does not answer in time is lost (security bar 2.K 144): to the millisecond in
/// `shared::tests::lost`, by a clock that no load disturbs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_waits_for_a_redis_that_is_gone_or_says_nothing() {
    for (name, lose) in [("gone", Cut::cut as fn(&Cut)), ("silent", Cut::silence)] {
        let place = Place::on(Dialect::Postgres).await;
        let (cut, url) = Cut::in_front_of(&redis_url()).await;
        let (upstream, scene, token) = rich(&url, &place).await;
        assert_eq!(scene.pay(&token, 1).await, 1);
        assert_eq!(scene.ask("/reports/1", &token, &[]).await.status, 200);
        lose(&cut);
        let before = upstream.count();
        // What is priced, what is free, and what is refused otherwise; the first one finds it out.
        for path in ["/priced/1", "/reports/1", "/people"] {
            let mut lasted = Vec::new();
            for _ in 0..3 {
                let start = Instant::now();
                let refused = scene.ask(path, &token, &[]).await;
                lasted.push(start.elapsed());
                let told = (refused.status, refused.code());
                assert_eq!(told, (503, "SERVICE_UNAVAILABLE".to_owned()), "{name} {path}");
                assert!(refused.header("retry-after").is_some(), "{name} {path}");
            }
            // The machine may be busy elsewhere for a moment, but not each time.
            let soonest = lasted.iter().min().expect("some");
            assert!(*soonest < 2 * LOST_AFTER, "{name} {path}: for one answer, not for two: {lasted:?}");
        }
        assert_eq!(upstream.count(), before, "nothing passes uncounted");
        cut.mend();
        until(Duration::from_secs(5), "it comes back", async || scene.pay(&token, 1).await == 1).await;
    }
}

/// Of what Redis forgot nobody knows how much it was, so one more failure is too many; until a human has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t14_a_human_who_resumes_an_agent_forgives_the_failures_that_redis_forgot() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::on(Dialect::Postgres).await);
    let redis = Redis::start(folder.path(), None).await;
    let broken = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::start(|_| Act::Answer(broken.as_bytes().to_vec())).await;
    let yaml = format!("{}{}", place.yaml(&place.store.address(), &redis.url()), routes(&upstream));
    let scene = scene(&yaml).await;
    let (id, token) = scene.mint(&reader(&json!({"circuit_breaker": {"max_failed_requests": 2}}))).await;
    // It was there before Redis forgot, and before the minute that the test makes of it.
    let mut tx = scene.gateway.running.app.db.begin().await.unwrap();
    tx.execute(sql("UPDATE agent_token SET created_at = created_at - 300000")).await.unwrap();
    tx.commit().await.unwrap();
    // It is counted when it is over.
    let fails = async |times: &str, state: &str| {
        assert_eq!(scene.ask("/reports/1", &token, &[]).await.status, 500, "{times}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        until(Duration::from_secs(1), times, async || scene.state(id).await.0 == state).await;
    };
    fails("the first", "ACTIVE").await;
    redis.ask(&["FLUSHALL"]);
    assert!(scene.is_closed(&token).await);
    redis.a_minute_later().await;
    fails("there may have been two before", "SUSPENDED").await;
    assert_eq!(scene.state(id).await.1, json!("ANOMALY"));
    assert_eq!(scene.call("POST", &format!("/ai/tokens/{id}/resume/"), &Value::Null).await.status, 200);
    for _ in 0..2 {
        fails("a human has looked, and two are tolerated", "ACTIVE").await;
    }
    fails("and the third one is not", "SUSPENDED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_to_redis_counts_a_request_and_pays_for_it() {
    let place = Place::on(Dialect::Postgres).await;
    let (cut, url) = Cut::in_front_of(&redis_url()).await;
    let upstream = Upstream::echo().await;
    let scene = scene(&format!("{}{}", place.yaml(&place.store.address(), &url), routes(&upstream))).await;
    let breaker = json!({"max_requests_per_minute": 600, "max_requests_total": 10_000});
    let more = json!({"budget_limit_usd": 1000, "circuit_breaker": breaker});
    let token = scene.mint(&reader(&more)).await.1;
    // No request waits for the hint that something was written down.
    let is_asked = |name: &String| name != "PING" && name != "PUBLISH";
    let questions = || cut.asked().into_iter().filter(is_asked).collect::<Vec<_>>();
    assert_eq!((scene.pay(&token, 1).await, questions().is_empty()), (1, false), "the purse is filled");
    // Priced, free, and refused because the route asks for what the agent was not given.
    assert_eq!((scene.pay(&token, 10).await, questions()), (10, vec!["EVALSHA".to_owned(); 10]));
    for (path, status) in [("/reports/1", 200), ("/people", 403)] {
        for _ in 0..5 {
            assert_eq!(scene.ask(path, &token, &[]).await.status, status);
        }
        assert_eq!(questions(), vec!["EVALSHA".to_owned(); 5], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_clock_jumps_opens_no_second_window() {
    let (place, upstream) = (Place::new().await, Upstream::echo().await);
    let yaml = format!("{}{YAML}{}", place.yaml(&place.store.address(), &redis_url()), routes(&upstream));
    let clocks = [(); 2].map(|()| Arc::new(TestClock::at(SystemClock.now())));
    let start = async |clock: &Arc<TestClock>| {
        let started = Gateway::start_by(clock.clone(), tempfile::tempdir().unwrap(), &yaml).await;
        started.unwrap_or_else(|error| panic!("{error}"))
    };
    let gateways = [start(&clocks[0]).await, start(&clocks[1]).await];
    let keys = gateways[0].application("web", &[]).await;
    let ada = gateways[0].user("ada", &keys).await;
    gateways[0].grant(ada.id, permission("reports")).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let breaker = json!({"max_requests_per_minute": 10, "suspend_after": 0, "max_requests_total": 1000});
    let more = reader(&json!({"expires_in": 40_000, "circuit_breaker": breaker}));
    let minted = gateways[0].call("POST", "/ai/tokens/", &lines, &more).await.json();
    let agent = bearer(minted["token"].as_str().unwrap());
    let ask = async |number: usize| {
        gateways[number % 2].send("GET", "/reports/7", std::slice::from_ref(&agent)).await.status
    };
    let began = Instant::now();
    until(Duration::from_secs(1), "known to both", async || ask(1).await == 200).await;
    let mut passed = 1;
    for number in 0..16 {
        passed += usize::from(ask(number).await == 200);
    }
    assert_eq!(passed, 10);
    let now = clocks[1].now();
    for wrong in [now.plus(HOUR), now.minus(HOUR), now.plus(2 * HOUR), now] {
        clocks[1].set(wrong);
        for number in 0..6 {
            assert_eq!(ask(number).await, 429, "{wrong:?}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(50), "all of it was one minute");
    assert_eq!(upstream.count(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_may_spend_is_kept_as_long_as_its_token_lives() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new().await);
    let redis = Redis::start(folder.path(), None).await;
    let (_upstream, scene, token) = rich(&redis.url(), &place).await;
    assert_eq!(scene.pay(&token, 1).await, 1);
    let keys = redis.ask(&["KEYS", "*purse*"]);
    let key = keys.lines().next().expect("a purse");
    let left: i64 = redis.ask(&["TTL", key]).trim().parse().expect("seconds");
    assert!((3590..=3660).contains(&left), "an hour, as the token: {left}");
}
