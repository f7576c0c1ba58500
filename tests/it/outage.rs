//! A store or a Redis that is gone, or says nothing (security bar 4.1).
//!
//! Law: what needs it is refused with 503 and told when to come back, never let through; what does
//! not need it goes on; and everything is as before when it is back, without anybody's help.

use std::time::{Duration, Instant};

use portcullis::store::lease;
use serde_json::{Value, json};

use crate::support::people::{Keys, TRUSTING, User, elsewhere};
use crate::support::raw::{Answer, get};
use crate::support::replica::{LOST_AFTER, Place, at_best, redis_url, until, within};
use crate::support::{Cut, Gateway, Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

fn routes(upstream: &Upstream) -> String {
    format!(
        "{TRUSTING}tokens: {{ rotation: true }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: open, match: {{ path: '/open' }}, upstream: up, allow: anyone }}
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }}
  - {{ name: ours, match: {{ path: '/ours' }}, upstream: up, allow: {{ org: member }} }}
  - {{ name: few, match: {{ path: '/few' }}, upstream: up, allow: anyone, limit: {{ requests: 1000, per: 1m }} }}
",
        upstream.address
    )
}

/// A gateway whose way to PostgreSQL can be cut.
struct Scene {
    upstream: Upstream,
    cut: Cut,
    gateway: Gateway,
    keys: Keys,
    /// Known to the gateway's memory.
    ada: User,
    /// Logged in, and not seen since.
    bob: User,
    _place: Place,
}

async fn scene() -> Scene {
    let upstream = Upstream::echo().await;
    let place = Place::new().await;
    let (cut, store) = Cut::in_front_of(&place.store.address()).await;
    let gateway = Gateway::start(&format!("{}{}", place.yaml(&store, "memory"), routes(&upstream))).await;
    let keys = gateway.application("web", &[]).await;
    let (ada, bob) = (gateway.user("ada", &keys).await, gateway.user("bob", &keys).await);
    assert_eq!(gateway.get_as(&ada, "/mine", &[]).await.status, 200);
    Scene { upstream, cut, gateway, keys, ada, bob, _place: place }
}

impl Scene {
    async fn post(&self, path: &str, who: Option<&User>, body: Value) -> Answer {
        let [key, secret] = self.keys.lines();
        let mut lines = vec![key, secret, elsewhere()];
        lines.extend(who.map(User::bearer));
        self.gateway.call("POST", path, &lines, &body).await
    }

    async fn status(&self, user: &User, path: &str) -> u16 {
        self.gateway.get_as(user, path, &[]).await.status
    }

    /// Everything that needs the store, at once.
    async fn refused(&self) {
        let (before, counted) = (self.upstream.count(), self.counted());
        let login = json!({"email": "ada@example.com", "password": "Correct-horse-9-battery"});
        let register = json!({"email": "eve@example.com", "password": "Correct-horse-9-battery"});
        let refresh = json!({"refresh_token": self.bob.refresh});
        // Within two seconds, and what a crowded machine adds.
        let times = at_best(3 * SECOND, "refused soon", async || {
            let start = Instant::now();
            let answers: [Answer; 7] = futures::join!(
                self.gateway.get_as(&self.bob, "/mine", &[]),
                self.gateway.get_as(&self.ada, "/ours", &["X-Org-Slug: acme"]),
                self.post("/login/email/", None, login.clone()),
                self.post("/register/", None, register.clone()),
                self.post("/refresh/", None, refresh.clone()),
                self.post("/logout/", None, refresh.clone()),
                self.post("/logout/all/", Some(&self.ada), Value::Null),
            )
            .into();
            for (number, answer) in answers.into_iter().enumerate() {
                assert_eq!((answer.status, answer.code().as_str()), (503, "SERVICE_UNAVAILABLE"), "{number}");
                assert!(answer.header("retry-after").is_some(), "{number}: {answer:?}");
            }
            start.elapsed()
        });
        let refused = 7 * i64::try_from(times.await).unwrap();
        assert_eq!(self.upstream.count(), before, "none of it got through");
        // What a client has read is written down a moment later.
        until(SECOND, "each is counted", async || self.counted() == counted + refused).await;
    }

    /// How many requests were refused for want of the store.
    fn counted(&self) -> i64 {
        self.gateway.metric("portcullis_unavailable_total{dependency=\"store\"}")
    }

    async fn ready(&self) -> Answer {
        exchange(self.gateway.admin(), get("/readyz", &[])).await.unwrap()
    }

    /// From the loss of the store to its return.
    async fn lives_through(&self) {
        let Self { gateway, ada, bob, .. } = self;
        assert_eq!(self.status(ada, "/mine").await, 200, "who is known goes on");
        assert_eq!(gateway.send("GET", "/open", &[]).await.status, 200);
        self.refused().await;
        let told = Duration::from_secs(18);
        within(told, "not ready", async || self.ready().await.json()["reasons"]["changes"].is_string()).await;
        assert_eq!(self.ready().await.status, 503);
        let counted = self.counted();
        let stale = gateway.get_as(ada, "/mine", &[]).await;
        assert_eq!((stale.status, stale.code().as_str()), (503, "SERVICE_UNAVAILABLE"), "too old a view");
        assert!(stale.header("retry-after").is_some());
        until(SECOND, "counted", async || self.counted() == counted + 1).await;
        assert_eq!(gateway.send("GET", "/open", &[]).await.status, 200);
        assert_eq!(exchange(gateway.admin(), get("/livez", &[])).await.unwrap().status, 200);
        self.cut.mend();
        until(Duration::from_secs(10), "ready again", async || self.ready().await.status == 200).await;
        for user in [ada, bob] {
            assert_eq!(self.status(user, "/mine").await, 200, "a logout that failed ended nothing");
        }
        let refreshed = self.post("/refresh/", None, json!({"refresh_token": bob.refresh})).await;
        assert_eq!(refreshed.status, 200, "a refresh that failed used nothing: {}", refreshed.text());
        let again = gateway.log_in("ada", ada.id, &self.keys).await;
        assert_eq!(self.status(&again, "/mine").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_that_needs_a_store_that_is_gone() {
    let scene = scene().await;
    scene.cut.cut();
    scene.lives_through().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_store_that_says_nothing() {
    let scene = scene().await;
    scene.cut.silence();
    scene.lives_through().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_interruption_of_the_store_is_not_noticed_by_who_is_known() {
    let scene = scene().await;
    for _ in 0..3 {
        scene.cut.cut();
        assert_eq!(scene.status(&scene.ada, "/mine").await, 200);
        scene.cut.mend();
        until(Duration::from_secs(5), "bob", async || scene.status(&scene.bob, "/mine").await == 200).await;
        assert_eq!(scene.ready().await.status, 200);
    }
}

/// Two replicas whose way to Redis can be cut.
async fn without_redis(what: fn(&Cut)) {
    let upstream = Upstream::echo().await;
    let place = Place::new().await;
    let (cut, redis) = Cut::in_front_of(&redis_url()).await;
    let yaml = format!("{}{}", place.yaml(&place.store.address(), &redis), routes(&upstream));
    let (here, there) = (Gateway::start(&yaml).await, Gateway::start(&yaml).await);
    let keys = here.application("web", &[]).await;
    let ada = here.user("ada", &keys).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let login = json!({"email": "ada@example.com", "password": "Correct-horse-9-battery"});
    let lacking =
        async || exchange(here.admin(), get("/readyz", &[])).await.unwrap().json()["lacking"].clone();
    for gateway in [&here, &there] {
        assert_eq!(gateway.get_as(&ada, "/mine", &[]).await.status, 200);
        assert_eq!(gateway.send("GET", "/few", &[]).await.status, 200);
    }
    assert_eq!(lacking().await, json!({}));
    what(&cut);
    let before = upstream.count();
    let mut refused = Vec::new();
    for gateway in [&here, &there] {
        // Each waits once.
        let times = at_best(2 * LOST_AFTER + SECOND / 2, "refused soon", async || {
            let start = Instant::now();
            let limited = gateway.send("GET", "/few", &[]).await;
            let entering = gateway.call("POST", "/login/email/", &keys.lines(), &login).await;
            for answer in [limited, entering] {
                assert_eq!((answer.status, answer.code().as_str()), (503, "SERVICE_UNAVAILABLE"));
                assert!(answer.header("retry-after").is_some());
            }
            start.elapsed()
        });
        refused.push((gateway, 2 * times.await));
    }
    assert_eq!(upstream.count(), before, "nothing passes uncounted");
    for (gateway, times) in refused {
        let counted = || gateway.metric("portcullis_unavailable_total{dependency=\"shared\"}");
        until(SECOND, "all are counted", async || counted() == i64::try_from(times).unwrap()).await;
        assert_eq!(gateway.get_as(&ada, "/mine", &[]).await.status, 200, "what counts nothing goes on");
    }
    until(3 * SECOND, "said", async || lacking().await["shared"].is_string()).await;
    assert_eq!(exchange(here.admin(), get("/readyz", &[])).await.unwrap().status, 200);
    // The truth about revocations is in the store.
    assert_eq!(here.call("POST", "/logout/all/", &lines, &Value::Null).await.status, 200);
    within(SECOND, "revoked", async || there.get_as(&ada, "/mine", &[]).await.status == 401).await;
    cut.mend();
    until(5 * SECOND, "back", async || here.send("GET", "/few", &[]).await.status == 200).await;
    until(3 * SECOND, "no longer said", async || lacking().await == json!({})).await;
    // From another address: a Redis that said nothing may have counted what was refused.
    let lines = [&keys.lines()[..], &[elsewhere()]].concat();
    assert_eq!(here.call("POST", "/login/email/", &lines, &login).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_uncounted_without_redis() {
    without_redis(Cut::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_redis_that_says_nothing() {
    without_redis(Cut::silence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_know_one_store_by_two_addresses_count_together() {
    let upstream = Upstream::echo().await;
    let place = Place::new().await;
    let (_cut, other) = Cut::in_front_of(&place.store.address()).await;
    let routes = routes(&upstream).replace("requests: 1000", "requests: 4");
    let start =
        async |store: &str| Gateway::start(&format!("{}{routes}", place.yaml(store, &redis_url()))).await;
    let (here, there) = (start(&place.store.address()).await, start(&other).await);
    let mut statuses = Vec::new();
    for gateway in [&here, &there, &here, &there, &here, &there] {
        statuses.push(gateway.send("GET", "/few", &[]).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_without_redis_and_says_what_it_lacks() {
    let upstream = Upstream::echo().await;
    let place = Place::new().await;
    let (cut, redis) = Cut::in_front_of(&redis_url()).await;
    cut.cut();
    let yaml = format!("{}{}", place.yaml(&place.store.address(), &redis), routes(&upstream));
    let gateway = Gateway::start(&yaml).await;
    assert_eq!(gateway.send("GET", "/open", &[]).await.status, 200);
    assert_eq!(gateway.send("GET", "/few", &[]).await.status, 503);
    let ready = async || exchange(gateway.admin(), get("/readyz", &[])).await.unwrap();
    until(3 * SECOND, "said", async || ready().await.json()["lacking"]["shared"].is_string()).await;
    cut.mend();
    until(5 * SECOND, "there", async || gateway.send("GET", "/few", &[]).await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_place_was_taken_asks_for_no_more_traffic() {
    let gateway = Gateway::start("").await;
    let app = &gateway.running.app;
    let ready = async || exchange(gateway.admin(), get("/readyz", &[])).await.unwrap();
    assert_eq!(ready().await.status, 200);
    // As a second process does when the first was out of touch for too long.
    let later = app.now().plus(Duration::from_mins(1));
    assert!(lease::take(&app.db, "shared-memory", "another", later, Duration::from_mins(1)).await.unwrap());
    within(6 * SECOND, "not ready", async || ready().await.status == 503).await;
    assert!(ready().await.json()["reasons"]["alone"].is_string());
    let body = json!({"email": "ada@example.com", "password": "wrong"});
    let keys = gateway.application("web", &[]).await;
    let counted = gateway.call("POST", "/login/email/", &keys.lines(), &body).await;
    assert_eq!(counted.status, 503, "what it counts is worth nothing now");
    lease::release(&app.db, "shared-memory", "another").await.unwrap();
    until(6 * SECOND, "ready again", async || ready().await.status == 200).await;
}
