//! A Redis that is flushed, started again or cut off while sixty-four callers at a time spend one agent's
//! requests and another one's money, over two gateways (T7; security bar 2.K 143 to 146).
//!
//! Law: there may be refusals; there is never a request or a cent beyond the limit, and when it is over
//! what is still there is spent to the last of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{YAML, bearer};
use crate::agent_redis::Redis;
use crate::support::people::{permission, request};
use crate::support::replica::{Place, until};
use crate::support::upstream::spawn;
use crate::support::{Client, Cut, Gateway, Upstream, times};

const CALLERS: usize = 64;
/// How often a Redis is hit in one storm.
const BLOWS: usize = 3;
/// What a budget of five dollars pays for at two cents, and the total of whoever pays nothing.
const LIMIT: usize = 250;
/// A part of the limit that a purse is filled with at once.
const CHUNK: usize = LIMIT / 20;

/// What happens to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Flush,
    /// Killed and started again, remembering what it was some requests ago.
    Restart,
    /// Unreachable for both gateways, for one of them, and then silent.
    Cut,
}

/// Two gateways, each with a way of its own to one Redis.
struct Field {
    upstream: Upstream,
    gateways: [Arc<Gateway>; 2],
    ways: [Cut; 2],
    redis: Option<Redis>,
    lines: Vec<String>,
    /// After the gateways, which must be gone before their store is.
    _place: Place,
}

fn yaml(upstream: &Upstream) -> String {
    format!(
        "{YAML}upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes:
  - {{ name: free, match: {{ path: '/free/**' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read }} }}
  - {{ name: priced, match: {{ path: '/priced/**' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ flat_usd: 0.02 }} }} }}
",
        upstream.address
    )
}

impl Field {
    async fn with(folder: &Path) -> Self {
        let (upstream, place) = (Upstream::echo().await, Place::new().await);
        let redis = Redis::start(folder, None).await;
        let start = async || {
            let (way, url) = Cut::in_front_of(&redis.url()).await;
            let yaml = format!("{}{}", place.yaml(&place.store.address(), &url), yaml(&upstream));
            (Arc::new(Gateway::start(&yaml).await), way)
        };
        let ((here, one), (there, other)) = (start().await, start().await);
        let keys = here.application("web", &[]).await;
        let ada = here.user("ada", &keys).await;
        here.grant(ada.id, permission("reports")).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        let (gateways, ways) = ([here, there], [one, other]);
        Self { upstream, gateways, ways, redis: Some(redis), lines, _place: place }
    }

    /// A token with one of the two limits, known to both gateways.
    async fn mint(&self, budget: Value, total: usize) -> String {
        let breaker = json!({"max_requests_per_minute": 1_000_000, "max_requests_total": total,
            "max_failed_requests": 1_000_000});
        let body = json!({"agent_id": "robot", "permissions": ["reports.read"], "budget_limit_usd": budget,
            "circuit_breaker": breaker});
        let minted = self.gateways[0].call("POST", "/ai/tokens/", &self.lines, &body).await;
        assert_eq!(minted.status, 201, "{}", minted.text());
        minted.json()["token"].as_str().expect("a token").to_owned()
    }

    /// How many requests with this in their target the upstream has seen.
    fn sent(&self, mark: &str) -> usize {
        self.upstream.seen().iter().filter(|seen| seen.target().contains(mark)).count()
    }

    /// One blow, and what was before it; the storm goes on meanwhile.
    async fn blow(&mut self, blow: Blow, round: usize, folder: &Path) {
        match blow {
            Blow::Flush => {
                let redis = self.redis.as_ref().expect("a Redis");
                assert!(redis.ask(&["FLUSHALL"]).contains("OK"));
                redis.a_minute_later().await;
            }
            Blow::Restart => {
                let redis = self.redis.take().expect("a Redis");
                assert!(redis.ask(&["SAVE"]).contains("OK"));
                let before = self.upstream.count();
                until(Duration::from_secs(10), "some is spent since", async || {
                    self.upstream.count() > before + 8
                })
                .await;
                let port = redis.port();
                drop(redis);
                let redis = Redis::start(folder, Some(port)).await;
                redis.a_minute_later().await;
                self.redis = Some(redis);
            }
            Blow::Cut => {
                let (hit, lose) = match round % BLOWS {
                    0 => (&self.ways[..], Cut::cut as fn(&Cut)),
                    1 => (&self.ways[..1], Cut::cut as fn(&Cut)),
                    _ => (&self.ways[1..], Cut::silence as fn(&Cut)),
                };
                hit.iter().for_each(lose);
                tokio::time::sleep(Duration::from_millis(400)).await;
                hit.iter().for_each(Cut::mend);
            }
        }
    }
}

/// Sixty-four who ask until they are told that nothing is left; how many of them were let through.
fn storm(field: &Field, path: &str, token: &str) -> (Arc<AtomicUsize>, Vec<tokio::task::JoinHandle<()>>) {
    let passed = Arc::new(AtomicUsize::new(0));
    let ask = request("GET", path, &[bearer(token)], "");
    let all = (0..CALLERS)
        .map(|number| {
            let (to, ask) = (field.gateways[number % 2].public(), ask.clone());
            let passed = Arc::clone(&passed);
            spawn(async move {
                let mut client = Client::connect(to).await;
                let start = Instant::now();
                loop {
                    client.send(&ask).await;
                    let Some(answer) = client.answer().await else {
                        client = Client::connect(to).await;
                        continue;
                    };
                    match answer.status {
                        200 => drop(passed.fetch_add(1, Ordering::SeqCst)),
                        503 => {
                            assert!(start.elapsed() < Duration::from_mins(1), "it never comes back");
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                        403 => return,
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            })
        })
        .collect();
    (passed, all)
}

async fn never_beyond_the_limit_although(blow: Blow) {
    let folder = tempfile::tempdir().unwrap();
    let mut field = Field::with(folder.path()).await;
    for round in 0..times(1, 12) {
        let (free, priced) = (format!("/free/storm-{round}"), format!("/priced/storm-{round}"));
        let total = field.mint(json!(0), LIMIT).await;
        let rich = field.mint(json!(5), 1_000_000).await;
        let known = async |path: &str, token: &str| {
            let line = [bearer(token)];
            field.gateways[1].send("GET", path, &line).await.status == 200
        };
        until(Duration::from_secs(2), "known there", async || known(&free, &total).await).await;
        until(Duration::from_secs(2), "known there", async || known(&priced, &rich).await).await;
        let (counted, mut all) = storm(&field, &free, &total);
        let (paid, more) = storm(&field, &priced, &rich);
        all.extend(more);
        let begun = field.upstream.count();
        for hit in 1..=BLOWS {
            let enough = begun + hit * LIMIT / BLOWS / 2;
            until(Duration::from_secs(30), "the storm goes on", async || field.upstream.count() >= enough)
                .await;
            field.blow(blow, hit - 1, folder.path()).await;
        }
        for one in all {
            one.await.unwrap();
        }
        for (path, passed) in [(&free, counted), (&priced, paid)] {
            let (sent, passed) = (field.sent(path), 1 + passed.load(Ordering::SeqCst));
            // Of each blow: what lay in the purse, what was just being put into it, and what was taken out
            // by somebody who was not told so.
            let lost = BLOWS * (2 * CHUNK + CALLERS);
            assert!(sent <= LIMIT, "{blow:?} {path}: {sent} of {LIMIT}");
            assert!(sent + lost >= LIMIT, "{blow:?} {path}: {sent} of {LIMIT}, more than was lost");
            assert_eq!(passed, sent, "{blow:?} {path}: what is sent is answered, and nothing else is");
        }
    }
    let calm = [
        ("/free/calm", field.mint(json!(0), LIMIT).await),
        ("/priced/calm", field.mint(json!(5), 1_000_000).await),
    ];
    for (path, token) in &calm {
        let (passed, all) = storm(&field, path, token);
        for one in all {
            one.await.unwrap();
        }
        let passed = passed.load(Ordering::SeqCst);
        assert_eq!((passed, field.sent(path)), (LIMIT, LIMIT), "{blow:?} {path}: exactly, afterwards");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_redis_that_is_flushed_in_a_storm_gives_nobody_more() {
    never_beyond_the_limit_although(Blow::Flush).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_redis_that_is_killed_and_started_again_in_a_storm_gives_nobody_more() {
    never_beyond_the_limit_although(Blow::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_a_redis_that_is_cut_off_in_a_storm_gives_nobody_more() {
    never_beyond_the_limit_although(Blow::Cut).await;
}
