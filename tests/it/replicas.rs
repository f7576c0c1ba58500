//! Two replicas on one PostgreSQL and one Redis (security bar 2.D, 2.E).
//!
//! Law: what one of them did binds the other within a second, and what is counted is counted once
//! for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::account::{self, Activity};
use portcullis::application;
use portcullis::audit::Actor;
use portcullis::base::{Clock as _, SystemClock, TestClock};
use portcullis::crypto::keyring::Purpose;
use portcullis::keys;
use portcullis::organization;
use portcullis::store::testing::TestStore;
use portcullis::store::{Dialect, Source as _, sql};
use serde_json::{Value, json};

use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, role};
use crate::support::raw::{Answer, get};
use crate::support::replica::{Place, in_time, redis_url, until, within};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Gateway, Replicas, Upstream, times};

const SECOND: Duration = Duration::from_secs(1);

fn yaml(upstream: &Upstream) -> String {
    format!(
        "{TRUSTING}tokens: {{ rotation: true }}
accounts: {{ lockout: {{ after: 4 }} }}
permissions: [ {{ code: reports.read }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }}
  - {{ name: reports, match: {{ path: '/reports' }}, upstream: up, allow: {{ permission: reports.read }} }}
  - {{ name: ours, match: {{ path: '/ours' }}, upstream: up, allow: {{ org: member }} }}
  - {{ name: six, match: {{ path: '/six' }}, upstream: up, allow: anyone, limit: {{ requests: 6, per: 1h }} }}
",
        upstream.address
    )
}

async fn scene() -> (Upstream, Replicas) {
    let upstream = Upstream::echo().await;
    let replicas = Replicas::start(&yaml(&upstream)).await;
    (upstream, replicas)
}

async fn refresh(gateway: &Gateway, keys: &Keys, token: &str) -> Answer {
    let lines = [&keys.lines()[..], &[elsewhere()]].concat();
    gateway.call("POST", "/refresh/", &lines, &json!({"refresh_token": token})).await
}

fn text(answer: &Answer, key: &str) -> String {
    answer.json()[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer:?}")).to_owned()
}

/// What takes something away from somebody.
#[derive(Debug, Clone, Copy)]
enum Deed {
    LogOut,
    LogOutEverywhere,
    Lock,
    Deactivate,
    ChangePassword,
    TakeRole,
    RemoveFromOrganization,
    DisableApplication,
}

impl Deed {
    const ALL: [Self; 8] = [
        Self::LogOut,
        Self::LogOutEverywhere,
        Self::Lock,
        Self::Deactivate,
        Self::ChangePassword,
        Self::TakeRole,
        Self::RemoveFromOrganization,
        Self::DisableApplication,
    ];

    /// Where it shows, and as what.
    fn shows(self) -> (&'static str, u16) {
        match self {
            Self::TakeRole => ("/reports", 403),
            Self::RemoveFromOrganization => ("/ours", 404),
            _ => ("/mine", 401),
        }
    }

    async fn happen(self, gateway: &Gateway, user: &User, keys: &Keys, slug: &str) {
        let [key, secret] = keys.lines();
        let lines = [user.bearer(), key, secret];
        let refreshing = json!({"refresh_token": user.refresh});
        let passwords = json!({"current_password": PASSWORD, "new_password": "Another-horse-7-battery"});
        let called = match self {
            Self::LogOut => gateway.call("POST", "/logout/", &lines, &refreshing).await,
            Self::LogOutEverywhere => gateway.call("POST", "/logout/all/", &lines, &Value::Null).await,
            Self::ChangePassword => gateway.call("POST", "/password/change/", &lines, &passwords).await,
            Self::TakeRole => return gateway.revoke(user.id, role("analyst")).await,
            _ => return self.by_operator(gateway, user, keys, slug).await,
        };
        assert_eq!(called.status, 200, "{self:?}: {}", called.text());
    }

    async fn by_operator(self, gateway: &Gateway, user: &User, keys: &Keys, slug: &str) {
        let organization = gateway.organization_of(slug).await.unwrap();
        gateway
            .change(async |change| match self {
                Self::Lock => account::lock(change, user.id, None).await.unwrap(),
                Self::Deactivate => account::set_activity(change, user.id, Activity::Inactive).await.unwrap(),
                Self::DisableApplication => {
                    application::set_activity(change, keys.id, application::Activity::Disabled).await.unwrap()
                }
                _ => organization::remove_member(change, organization, user.id).await.is_ok(),
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_on_one_replica_is_refused_by_the_other_within_a_second() {
    let (upstream, Replicas { here, there, .. }) = &scene().await;
    let boss = here.account("boss", |_| {}).await;
    for deed in Deed::ALL {
        let name = format!("{deed:?}").to_lowercase();
        let keys = here.application(&name, &[]).await;
        let user = here.user(&name, &keys).await;
        here.grant(user.id, role("analyst")).await;
        let organization = here.organization(&name, boss, None).await;
        here.join(organization, user.id, "member").await;
        let (path, refused) = deed.shows();
        let slug = format!("X-Org-Slug: {name}");
        let status = async |gateway: &Gateway| gateway.get_as(&user, path, &[&slug]).await.status;
        until(SECOND, "granted", async || status(there).await == 200).await;
        assert_eq!(status(here).await, 200);
        deed.happen(here, &user, &keys, &name).await;
        assert_eq!(status(here).await, refused, "{deed:?} binds the next request");
        let took = within(SECOND, &name, async || status(there).await == refused).await;
        let before = upstream.count();
        assert_eq!(status(there).await, refused, "{deed:?} took {took:?}");
        assert_eq!(upstream.count(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_one_replica_ends_when_its_session_ends_on_the_other() {
    let upstream = Upstream::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
        Act::Pieces(vec![(Duration::ZERO, head), (Duration::from_mins(1), b"0\r\n\r\n".to_vec())])
    })
    .await;
    let Replicas { here, there, .. } = &Replicas::start(&yaml(&upstream)).await;
    let keys = here.application("web", &[]).await;
    let ada = here.user("ada", &keys).await;
    let mut stream = Client::connect(there.public()).await;
    stream.send(get("/mine", &[&ada.bearer()])).await;
    stream.until(b"hello").await.unwrap();
    Deed::LogOut.happen(here, &ada, &keys, "").await;
    let rest = in_time(2 * SECOND, stream.rest()).await.expect("it ends");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it is cut, and it shows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_family_spans_the_replicas() {
    let (_upstream, Replicas { here, there, .. }) = &scene().await;
    let keys = here.application("web", &[]).await;
    let ada = here.user("ada", &keys).await;
    let second = refresh(there, &keys, &ada.refresh).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let third = refresh(here, &keys, &text(&second, "refresh_token")).await;
    assert_eq!(third.status, 200, "{}", third.text());
    let newest = User { access: text(&third, "access_token"), ..ada.clone() };
    for gateway in [here, there] {
        assert_eq!(gateway.get_as(&newest, "/mine", &[]).await.status, 200);
    }
    let stolen = refresh(there, &keys, &ada.refresh).await;
    assert_eq!(stolen.status, 401, "a grandparent is reuse, whatever the grace");
    within(SECOND, "the family is dead", async || here.get_as(&newest, "/mine", &[]).await.status == 401)
        .await;
    let last = text(&third, "refresh_token");
    for gateway in [here, there] {
        assert_eq!(refresh(gateway, &keys, &last).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_counted_once_for_both() {
    let (upstream, replicas) = scene().await;
    let replicas = Arc::new(replicas);
    let mut sent = Vec::new();
    for number in 0..20 {
        let replicas = Arc::clone(&replicas);
        sent.push(spawn(async move { replicas.nth(number).send("GET", "/six", &[]).await.status }));
    }
    let mut passed = 0;
    for one in sent {
        let status = one.await.unwrap();
        assert!(matches!(status, 200 | 429), "{status}");
        passed += usize::from(status == 200);
    }
    assert_eq!((passed, upstream.count()), (6, 6));
    let keys = replicas.here.application("web", &[]).await;
    let mut statuses = Vec::new();
    for number in 0..7 {
        let gateway = replicas.nth(number);
        let body = json!({"email": format!("nobody{number}@example.com"), "password": "wrong"});
        let [key, secret] = keys.lines();
        let lines = [key, secret, "X-Forwarded-For: 192.0.2.1".to_owned()];
        statuses.push(gateway.call("POST", "/login/email/", &lines, &body).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_are_counted_once_for_both() {
    let (_upstream, Replicas { here, there, .. }) = &scene().await;
    let keys = here.application("web", &[]).await;
    here.account("ada", |_| {}).await;
    for email in ["ada@example.com", "nobody@example.com"] {
        let knock = async |gateway: &Gateway, password: &str| {
            let lines = [&keys.lines()[..], &[elsewhere()]].concat();
            let body = json!({"email": email, "password": password});
            gateway.call("POST", "/login/email/", &lines, &body).await.status
        };
        let mut statuses = Vec::new();
        for gateway in [here, there, here, there] {
            statuses.push(knock(gateway, "wrong").await);
        }
        assert_eq!(statuses, [401; 4], "{email}");
        assert_eq!((knock(here, PASSWORD).await, knock(there, PASSWORD).await), (423, 423), "{email}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_one_replica_rotates_signs_and_verifies_on_both() {
    let upstream = Upstream::echo().await;
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let Replicas { here, there, .. } =
        &Replicas::start_by(Arc::clone(&clock) as _, Dialect::Postgres, &yaml(&upstream)).await;
    let web = here.application("web", &[]).await;
    let ada = here.user("ada", &web).await;
    let kids = async |gateway: &Gateway| {
        let set = gateway.send("GET", "/.well-known/jwks.json", &[]).await.json();
        let all: Vec<String> = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect();
        all
    };
    let old = here.running.app.keyring().active(Purpose::Access, clock.now()).unwrap().kid().to_owned();
    let new = keys::rotate(&here.running.app, Actor::command_line(), Purpose::Access).await.unwrap();
    until(SECOND, "published", async || kids(there).await.contains(&new)).await;
    // A token of every moment from before the rotation until the new key signs.
    let mut tokens = vec![ada.clone()];
    for _ in 0..4 {
        clock.advance(Duration::from_secs(5));
        for gateway in [here, there] {
            tokens.push(gateway.log_in("ada", ada.id, &web).await);
        }
        for token in &tokens {
            for gateway in [here, there] {
                assert_eq!(gateway.get_as(token, "/mine", &[]).await.status, 200);
            }
        }
    }
    let header = |user: &User| {
        let bytes = portcullis::crypto::digest::unbase64url(user.access.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["kid"].as_str().unwrap().to_owned()
    };
    assert_eq!((header(&tokens[0]), header(tokens.last().unwrap())), (old.clone(), new.clone()));
    clock.advance(Duration::from_hours(2));
    for gateway in [here, there] {
        assert_eq!(gateway.get_as(&tokens[0], "/mine", &[]).await.status, 401);
        let published = kids(gateway).await;
        assert!(published.contains(&new) && !published.contains(&old), "{published:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_in_memory_does_not_start_while_the_first_runs() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        let store = TestStore::of(dialect).await;
        let folder = tempfile::tempdir().unwrap();
        let seal = folder.path().join("seal.key").display().to_string();
        let yaml = format!("store: '{}'\nkeys: {{ seal_file: '{seal}' }}\n", store.address());
        let first = Gateway::start(&yaml).await;
        let refused = Gateway::try_start(&yaml).await.err().expect("no second one");
        assert!(refused.to_string().contains("another gateway is running on this store"), "{refused}");
        assert_eq!(first.send("GET", "/api/v1/health/", &[]).await.status, 200);
        first.running.shutdown().await;
        let held = sql("SELECT COUNT(*) FROM lease WHERE name = 'shared-memory'");
        let (held,): (i64,) = store.db().one(held).await.unwrap();
        assert_eq!(held, 0, "one that left makes room at once");
        Gateway::start(&yaml).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_on_a_new_store_migrate_it_once() {
    for _ in 0..times(1, 20) {
        let upstream = Upstream::echo().await;
        let place = Place::bare().await;
        let yaml = format!("{}{}", place.yaml(&place.store.address(), &redis_url()), yaml(&upstream));
        let (first, second, third) =
            futures::join!(Gateway::try_start(&yaml), Gateway::try_start(&yaml), Gateway::try_start(&yaml));
        let gateways =
            [first, second, third].map(|started| started.unwrap_or_else(|error| panic!("{error}")));
        let keys = gateways[0].application("web", &[]).await;
        let ada = gateways[1].user("ada", &keys).await;
        let set = async |gateway: &Gateway| gateway.send("GET", "/.well-known/jwks.json", &[]).await.text();
        let known = set(&gateways[0]).await;
        for gateway in &gateways {
            until(SECOND, "served", async || gateway.get_as(&ada, "/mine", &[]).await.status == 200).await;
            assert_eq!(set(gateway).await, known, "they agree on the keys");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named_and_no_password_is() {
    let start = Instant::now();
    let refused = Gateway::try_start("store: 'postgres://gw:hunter2@127.0.0.1:9/gw'\n").await.err().unwrap();
    assert!(refused.to_string().contains("the store does not answer"), "{refused}");
    assert!(!refused.to_string().contains("hunter2"));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_replica_whose_clock_is_ahead_is_good_at_once_and_no_longer() {
    let upstream = Upstream::echo().await;
    let place = Place::new().await;
    let more = yaml(&upstream).replace("rotation: true", "rotation: true, access_for: 5m");
    let yaml = format!("{}{more}", place.yaml(&place.store.address(), &redis_url()));
    let now = SystemClock.now();
    let clocks = [now.plus(2 * SECOND), now].map(|at| Arc::new(TestClock::at(at)));
    let start = async |clock: &Arc<TestClock>| {
        let started = Gateway::start_by(Arc::clone(clock) as _, tempfile::tempdir().unwrap(), &yaml).await;
        started.unwrap_or_else(|error| panic!("{error}"))
    };
    let (ahead, behind) = (start(&clocks[0]).await, start(&clocks[1]).await);
    let advance = |by: Duration| clocks.iter().for_each(|clock| clock.advance(by));
    // The first keys of all sign from the moment that the one ahead made them.
    advance(10 * SECOND);
    let keys = ahead.application("web", &[]).await;
    let ada = ahead.user("ada", &keys).await;
    assert_eq!(behind.get_as(&ada, "/mine", &[]).await.status, 200, "though it begins in two seconds");
    advance(Duration::from_secs(299));
    assert_eq!(ahead.get_as(&ada, "/mine", &[]).await.status, 200);
    advance(SECOND);
    assert_eq!(ahead.get_as(&ada, "/mine", &[]).await.status, 401, "over by its clock");
    advance(2 * SECOND);
    assert_eq!(behind.get_as(&ada, "/mine", &[]).await.status, 401, "and nobody prolongs it");
}
