//! What happens when everybody comes at once (security bar 2.E; the law of consuming once).
//!
//! Law: of many that compete the right number wins, on one gateway and on two, and what is in force
//! afterwards is what the store says. More rounds in `make test-long`.

use std::sync::Arc;
use std::time::Duration;

use portcullis::app::Change;
use portcullis::audit::Actor;
use portcullis::base::Id;
use portcullis::organization::{self, Refused};
use portcullis::policy::Code;
use portcullis::rbac::{self, Outcome};
use portcullis::session;
use portcullis::store::{Dialect, Error};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, role};
use crate::support::raw::{Answer, get};
use crate::support::replica::{until, within};
use crate::support::upstream::spawn;
use crate::support::{Act, Gateway, Replicas, Upstream, exchange, times};
use crate::{on_mariadb, on_one_and_on_two};

const MANY: usize = 64;
const SECOND: Duration = Duration::from_secs(1);

/// Passwords are cheap here, because it is not they that race.
const CHEAP: &str = "insecure: [weak_hash]
accounts: { password: { argon2: { memory: 1MiB, iterations: 1 } }, lockout: { after: 100 } }
limits: { hashing: { queue: 256 } }
";

/// Tells what reached it, and takes every handshake.
async fn backend() -> Upstream {
    Upstream::start(|seen| {
        if seen.target() == "/live" {
            let taken =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            return Act::Tunnel(taken.into());
        }
        Act::ok(seen.head.as_bytes())
    })
    .await
}

async fn scene(dialect: Dialect, more: &str) -> (Upstream, Arc<Replicas>, Keys) {
    let upstream = backend().await;
    let yaml = format!(
        "{TRUSTING}{CHEAP}{more}
permissions: [ {{ code: reports.read }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }}
  - {{ name: reports, match: {{ path: '/reports' }}, upstream: up, allow: {{ permission: reports.read }} }}
  - {{ name: ours, match: {{ path: '/ours' }}, upstream: up, allow: {{ org: member }} }}
  - {{ name: own, match: {{ path: '/own' }}, upstream: up, allow: {{ org: owner }} }}
  - {{ name: live, match: {{ path: '/live' }}, upstream: up, allow: signed_in, websocket: true }}
",
        upstream.address
    );
    let replicas = Arc::new(Replicas::on(dialect, &yaml).await);
    let keys = replicas.here.application("web", &[]).await;
    (upstream, replicas, keys)
}

const ROTATING: &str = "tokens: { rotation: true }\n";

/// Runs as many tasks as that at the same moment, on the replicas in turns.
async fn at_once<T, F>(
    replicas: &Arc<Replicas>,
    many: usize,
    run: impl Fn(usize, Arc<Gateway>) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(many));
    let mut started = Vec::new();
    for number in 0..many {
        let (barrier, task) = (Arc::clone(&barrier), run(number, Arc::clone(replicas.nth(number))));
        started.push(spawn(async move {
            barrier.wait().await;
            task.await
        }));
    }
    let mut ended = Vec::new();
    for one in started {
        ended.push(one.await.expect("no task panics"));
    }
    ended
}

/// Calls until there is an answer. A Redis that a crowded machine lets wait for a quarter of a second
/// counts as silent, and who is told so may come again.
async fn insist(gateway: &Gateway, keys: &Keys, path: &str, body: &Value) -> Answer {
    loop {
        let lines = [&keys.lines()[..], &[elsewhere()]].concat();
        let answer = gateway.call("POST", path, &lines, body).await;
        if answer.status != 503 {
            return answer;
        }
        assert!(answer.header("retry-after").is_some());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn refresh(gateway: &Gateway, keys: &Keys, token: &str) -> Answer {
    insist(gateway, keys, "/refresh/", &json!({"refresh_token": token})).await
}

fn text(answer: &Answer, key: &str) -> String {
    answer.json()[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer:?}")).to_owned()
}

async fn give(gateway: &Gateway, user: &User) -> bool {
    let definitions = gateway.running.app.catalogue().definitions().clone();
    let grant = async |change: &mut Change<'_>| {
        rbac::grant(change, &definitions, user.id, &role("analyst")).await == Ok(Outcome::Changed)
    };
    gateway.change_if(grant).await
}

async fn take(gateway: &Gateway, user: &User) -> bool {
    let revoke = async |change: &mut Change<'_>| {
        rbac::revoke(change, user.id, &role("analyst")).await == Ok(Outcome::Changed)
    };
    gateway.change_if(revoke).await
}

async fn leave(gateway: &Gateway, club: Id, owner: Id) -> Result<(), Refused> {
    let mut change = gateway.running.app.change(Actor::command_line()).await?;
    organization::remove_member(&mut change, club, owner).await?;
    Ok(change.commit().await?)
}

async fn status(gateway: &Gateway, user: &User, path: &str) -> u16 {
    gateway.get_as(user, path, &[]).await.status
}

on_one_and_on_two! {
    async fn sixty_four_uses_of_one_refresh_token_make_one_child(dialect: Dialect) {
        let (_upstream, replicas, keys) = scene(dialect, ROTATING).await;
        for round in 0..times(1, 20) {
            let ada = replicas.here.user(&format!("ada{round}"), &keys).await;
            let answers = at_once(&replicas, MANY, |_, gateway| {
                let (keys, token) = (keys.clone(), ada.refresh.clone());
                async move { refresh(&gateway, &keys, &token).await }
            })
            .await;
            let mut children: Vec<_> = answers.iter().map(|answer| text(answer, "refresh_token")).collect();
            children.sort();
            children.dedup();
            assert_eq!(children.len(), 1, "everybody gets the same child");
            assert_ne!(children[0], ada.refresh);
            let app = &replicas.here.running.app;
            assert_eq!(session::live_of(&app.db, ada.id, app.now()).await.unwrap().len(), 1);
            let next = refresh(&replicas.there, &keys, &children[0]).await;
            assert_eq!(next.status, 200, "and the family lives: {}", next.text());
        }
    }

    async fn without_a_grace_one_use_of_sixty_four_wins_and_the_family_dies(dialect: Dialect) {
        let strict = "tokens: { rotation: true, refresh_grace: 0s }\n";
        let (upstream, replicas, keys) = scene(dialect, strict).await;
        for round in 0..times(1, 20) {
            let ada = replicas.here.user(&format!("ada{round}"), &keys).await;
            let answers = at_once(&replicas, MANY, |_, gateway| {
                let (keys, token) = (keys.clone(), ada.refresh.clone());
                async move { refresh(&gateway, &keys, &token).await }
            })
            .await;
            let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!(good.len(), 1, "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
            assert!(bad.iter().all(|answer| answer.status == 401));
            let child = User { access: text(good[0], "access_token"), ..ada.clone() };
            for gateway in [&replicas.here, &replicas.there] {
                within(SECOND, "dead", async || status(gateway, &child, "/mine").await == 401).await;
                assert_eq!(refresh(gateway, &keys, &text(good[0], "refresh_token")).await.status, 401);
            }
            assert_eq!(upstream.count(), 0, "no child was good for anything");
        }
    }

    async fn sixty_four_registrations_of_one_address_make_one_account(dialect: Dialect) {
        let (_upstream, replicas, keys) = scene(dialect, "").await;
        for round in 0..times(1, 20) {
            let password = |number: usize| format!("Horse-{number}-battery-Staple");
            let body = move |number| json!({"email": format!("eve{round}@example.com"), "password": password(number)});
            let answers = at_once(&replicas, MANY, |number, gateway| {
                let keys = keys.clone();
                async move { insist(&gateway, &keys, "/register/", &body(number)).await }
            })
            .await;
            let shape = |answer: &Answer| {
                let mut told = answer.json();
                told["user"]["id"] = Value::Null;
                told["user"]["created_at"] = Value::Null;
                told["user"]["updated_at"] = Value::Null;
                (answer.status, told)
            };
            for answer in &answers {
                assert_eq!(shape(answer), shape(&answers[0]), "nobody learns who was first");
            }
            assert_eq!(answers[0].status, 201, "{}", answers[0].text());
            let mut winners = 0;
            for number in 0..MANY {
                let entered = insist(replicas.nth(number), &keys, "/login/email/", &body(number)).await;
                winners += usize::from(entered.status == 200);
            }
            assert_eq!(winners, 1, "one password opens it");
        }
    }

    async fn after_a_storm_of_grants_the_gate_says_what_the_store_says(dialect: Dialect) {
        let (_upstream, replicas, keys) = scene(dialect, "").await;
        let ada = replicas.here.user("ada", &keys).await;
        for _ in 0..times(1, 20) {
            let storm = at_once(&replicas, MANY, |number, gateway| {
                let ada = ada.clone();
                async move {
                    match number % 4 {
                        0 => drop(give(&gateway, &ada).await),
                        2 => drop(take(&gateway, &ada).await),
                        // So many changes of one caller in a row leave no moment to read who that is.
                        _ => {
                            let told = status(&gateway, &ada, "/reports").await;
                            assert!(matches!(told, 200 | 403 | 503), "{told}");
                        }
                    }
                }
            });
            storm.await;
            let app = &replicas.here.running.app;
            let held = rbac::assignments(&app.db, ada.id).await.unwrap();
            let expected = if held.roles.is_empty() { 403 } else { 200 };
            for gateway in [&replicas.here, &replicas.there] {
                until(SECOND, "as stored", async || status(gateway, &ada, "/reports").await == expected).await;
            }
        }
    }

    async fn of_sixteen_owners_who_leave_at_once_one_stays_and_is_believed(dialect: Dialect) {
        let (_upstream, replicas, keys) = scene(dialect, "").await;
        let mut owners = Vec::new();
        for number in 0..16 {
            owners.push(replicas.here.user(&format!("owner{number}"), &keys).await);
        }
        for round in 0..times(1, 20) {
            let slug = format!("club{round}");
            let club = replicas.here.organization(&slug, owners[0].id, None).await;
            for owner in &owners[1..] {
                replicas.here.join(club, owner.id, "owner").await;
            }
            let line = format!("X-Org-Slug: {slug}");
            let own = async |gateway: &Gateway, user: &User| gateway.get_as(user, "/own", &[&line]).await.status;
            for owner in &owners {
                until(SECOND, "an owner", async || own(&replicas.there, owner).await == 200).await;
            }
            let left = at_once(&replicas, owners.len(), |number, gateway| {
                let owner = owners[number].id;
                async move {
                    let mut left = leave(&gateway, club, owner).await;
                    // Of two in each other's way a store may give one up: that one comes again, as at every endpoint.
                    while left == Err(Refused::Store(Error::Busy)) {
                        left = leave(&gateway, club, owner).await;
                    }
                    assert!(matches!(left, Ok(()) | Err(Refused::LastOwner)), "{left:?}");
                    left.is_ok()
                }
            })
            .await;
            assert_eq!(left.iter().filter(|left| **left).count(), owners.len() - 1);
            for (owner, left) in owners.iter().zip(&left) {
                let expected = if *left { 404 } else { 200 };
                for gateway in [&replicas.here, &replicas.there] {
                    until(SECOND, "settled", async || own(gateway, owner).await == expected).await;
                }
            }
        }
    }

    async fn after_a_storm_of_role_changes_everyone_is_what_the_store_says(dialect: Dialect) {
        let (_upstream, replicas, keys) = scene(dialect, "").await;
        let boss = replicas.here.account("boss", |_| {}).await;
        let ada = replicas.here.user("ada", &keys).await;
        let acme = replicas.here.organization("acme", boss, None).await;
        replicas.here.join(acme, ada.id, "member").await;
        for _ in 0..times(1, 20) {
            at_once(&replicas, MANY, |number, gateway| {
                let ada = ada.clone();
                async move {
                    let app = &gateway.running.app;
                    let definitions = app.catalogue().definitions().clone();
                    if number % 4 > 1 {
                        return drop(gateway.get_as(&ada, "/ours", &["X-Org-Slug: acme"]).await);
                    }
                    let code = Code::parse(["owner", "admin", "member", "viewer"][number / 4 % 4]).unwrap();
                    gateway
                        .change_if(async |change| {
                            organization::set_role(change, &definitions, acme, ada.id, &code).await.is_ok()
                        })
                        .await;
                }
            })
            .await;
            let app = &replicas.here.running.app;
            let stored = organization::memberships(&app.db, ada.id).await.unwrap();
            let expected = format!("x-org-role: {}", stored[0].role.as_str());
            for gateway in [&replicas.here, &replicas.there] {
                let said = async || {
                    let echo = gateway.get_as(&ada, "/ours", &["X-Org-Slug: acme"]).await.text();
                    echo.to_ascii_lowercase().contains(&expected)
                };
                until(SECOND, &expected, said).await;
            }
        }
    }

    async fn of_ten_logins_at_once_exactly_five_stay(dialect: Dialect) {
        let (_upstream, replicas, keys) = scene(dialect, "sessions: { max: 5 }\n").await;
        for round in 0..times(1, 20) {
            let name = format!("ada{round}");
            let id = replicas.here.account(&name, |_| {}).await;
            let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD});
            let enter = |gateway: Arc<Gateway>| {
                let (keys, body) = (keys.clone(), body.clone());
                async move {
                    let answer = insist(&gateway, &keys, "/login/email/", &body).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let access = text(&answer, "access_token");
                    (text(&answer, "session_id"), User { id, access, refresh: String::new() })
                }
            };
            let entered = at_once(&replicas, 10, |_, gateway| enter(gateway)).await;
            let app = &replicas.here.running.app;
            let live = async || {
                let live = session::live_of(&app.db, id, app.now()).await.unwrap();
                live.iter().map(|one| one.id.to_string()).collect::<Vec<_>>()
            };
            let stay = live().await;
            assert_eq!(stay.len(), 5);
            assert!(stay.iter().all(|one| entered.iter().any(|(session, _)| session == one)));
            for (session, user) in &entered {
                let expected = if stay.contains(session) { 200 } else { 401 };
                for gateway in [&replicas.here, &replicas.there] {
                    until(SECOND, "settled", async || status(gateway, user, "/mine").await == expected).await;
                }
            }
            for (number, oldest) in stay.iter().enumerate() {
                let (next, user) = enter(Arc::clone(replicas.nth(number))).await;
                let now = live().await;
                assert!(now.len() == 5 && now.contains(&next) && !now.contains(oldest), "the oldest went");
                assert_eq!(status(replicas.nth(number), &user, "/mine").await, 200);
            }
        }
    }

    async fn of_sixty_four_uses_of_one_websocket_ticket_one_opens(dialect: Dialect) {
        let (upstream, replicas, keys) = scene(dialect, "").await;
        let ada = replicas.here.user("ada", &keys).await;
        let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
        for round in 1..=times(1, 20) {
            let issued = replicas.here.call("POST", "/ws-ticket/", &lines, &json!({})).await;
            let path = format!("/live?ticket={}", text(&issued, "ticket"));
            let answers = at_once(&replicas, MANY, |_, gateway| {
                let upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
                let call = get(&path, &[&upgrade[..], &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]].concat());
                async move {
                    loop {
                        let answer = exchange(gateway.public(), &call).await.expect("an answer");
                        if answer.status != 503 {
                            return answer.status;
                        }
                        assert!(answer.header("retry-after").is_some());
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            })
            .await;
            let opened = answers.iter().filter(|status| **status == 101).count();
            assert_eq!((opened, upstream.count()), (1, round), "{answers:?}");
            assert!(answers.iter().all(|status| matches!(status, 101 | 401)), "{answers:?}");
        }
    }

    async fn a_logout_wins_over_every_request_that_was_under_way(dialect: Dialect) {
        let (upstream, replicas, keys) = scene(dialect, "").await;
        for round in 0..times(5, 100) {
            let ada = replicas.here.user(&format!("ada{round}"), &keys).await;
            let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
            let answers = at_once(&replicas, 16, |number, gateway| {
                let (ada, lines) = (ada.clone(), lines.clone());
                async move {
                    if number == 8 {
                        return gateway.call("POST", "/logout/all/", &lines, &Value::Null).await.status;
                    }
                    status(&gateway, &ada, "/mine").await
                }
            })
            .await;
            assert_eq!(answers[8], 200);
            assert!(answers.iter().all(|status| matches!(status, 200 | 401)), "{answers:?}");
            assert_eq!(status(&replicas.here, &ada, "/mine").await, 401, "whatever was being read meanwhile");
            within(SECOND, "there too", async || status(&replicas.there, &ada, "/mine").await == 401).await;
            let before = upstream.count();
            for _ in 0..3 {
                assert_eq!(status(&replicas.there, &ada, "/mine").await, 401, "and it stays so");
            }
            assert_eq!(upstream.count(), before);
        }
    }
}

on_mariadb! {
    of_sixteen_owners_who_leave_at_once_one_stays_and_is_believed
    after_a_storm_of_role_changes_everyone_is_what_the_store_says
}
