//! What is taken from a human, or is gone altogether, is gone for the agents (security bar 2.I 111 to
//! 119). Law: whichever gateway is asked, within a second; and nothing that is gone is taken for nothing
//! that was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::account::{self, Activity, Ban};
use portcullis::agent as delegation;
use portcullis::application;
use portcullis::audit::OrganizationEvent;
use portcullis::base::{Clock as _, Id, Number, SystemClock, Timestamp};
use portcullis::organization;
use portcullis::policy::Code;
use portcullis::store::{Dialect, sql};
use serde_json::{Value, json};

use crate::agent::{bearer, scene};
use crate::agent_gate::{reader, routes, told, with_upstream};
use crate::agent_hold::confirmed;
use crate::on_one_and_on_two;
use crate::support::people::{TRUSTING, User, permission, role};
use crate::support::replica::{until, within};
use crate::support::upstream::spawn;
use crate::support::{Gateway, Replicas, Upstream};

const SECOND: Duration = Duration::from_secs(1);

/// Gateways on which somebody delegates.
struct Place {
    upstream: Upstream,
    replicas: Arc<Replicas>,
}

/// A token of somebody's, and with whom and what it came to be.
struct Delegated {
    human: User,
    lines: Vec<String>,
    application: Id,
    organization: Id,
    number: i64,
    secret: String,
}

impl Place {
    async fn on(dialect: Dialect) -> Self {
        let upstream = Upstream::echo().await;
        // `write:invoices` is something in an organization and, to somebody else, everywhere.
        let definitions = "permissions: [ { code: reports.read }, { code: 'write:invoices' } ]
roles: [ { code: analyst, permissions: [reports.read] } ]
organizations: { roles: [ { code: finance, permissions: ['write:invoices'] } ] }
";
        let anywhere = "  - { name: anywhere, match: { path: /anywhere }, upstream: up, allow: signed_in, agents: { permission: 'write:invoices' } }\n";
        let yaml = format!("{TRUSTING}{definitions}{}{anywhere}", routes(&upstream));
        Self { replicas: Arc::new(Replicas::on(dialect, &yaml).await), upstream }
    }

    /// Somebody new who holds `reports.read` by a role and everything of finance in an organization of
    /// the same name.
    async fn delegated(&self, name: &str, body: &Value) -> Delegated {
        let here = &self.replicas.here;
        let keys = here.application(name, &[]).await;
        let human = here.user(name, &keys).await;
        here.grant(human.id, role("analyst")).await;
        let owner = here.account(&format!("owner-{name}"), |_| {}).await;
        let organization = here.organization(name, owner, None).await;
        here.join(organization, human.id, "finance").await;
        let lines = [&keys.lines()[..], &[human.bearer()]].concat();
        let minted = here.call("POST", "/ai/tokens/", &lines, body).await;
        assert_eq!(minted.status, 201, "{name}: {}", minted.text());
        let minted = minted.json();
        let secret = minted["token"].as_str().unwrap().to_owned();
        let number = minted["id"].as_i64().unwrap();
        Delegated { human, lines, application: keys.id, organization, number, secret }
    }
}

async fn ask(gateway: &Gateway, path: &str, secret: &str) -> u16 {
    gateway.send("GET", path, &[bearer(secret)]).await.status
}

/// What is taken from a human.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Role,
    Membership,
    OrgRole,
    Organization,
    Lock,
    Ban,
    Deactivate,
    Application,
}

impl Loss {
    const ALL: [Self; 8] = [
        Self::Role,
        Self::Membership,
        Self::OrgRole,
        Self::Organization,
        Self::Lock,
        Self::Ban,
        Self::Deactivate,
        Self::Application,
    ];

    const fn is_there(self) -> bool {
        matches!(self, Self::Membership | Self::OrgRole | Self::Organization)
    }

    async fn happen(self, gateway: &Gateway, to: &Delegated) {
        let (human, organization) = (to.human.id, to.organization);
        match self {
            Self::Role => gateway.revoke(human, role("analyst")).await,
            Self::Organization => close(gateway, organization).await,
            Self::Membership => {
                gateway
                    .change(async |change| {
                        organization::remove_member(change, organization, human).await.expect("a member");
                    })
                    .await;
            }
            Self::OrgRole => {
                let definitions = gateway.running.app.catalogue().definitions().clone();
                let member = Code::parse("member").unwrap();
                gateway
                    .change(async |change| {
                        organization::set_role(change, &definitions, organization, human, &member)
                            .await
                            .unwrap();
                    })
                    .await;
            }
            Self::Lock => {
                assert!(
                    gateway.change(async |change| account::lock(change, human, None).await.unwrap()).await
                );
            }
            Self::Ban => ban(gateway, human).await,
            Self::Deactivate => {
                let off = Activity::Inactive;
                assert!(
                    gateway
                        .change(async |change| account::set_activity(change, human, off).await.unwrap())
                        .await
                );
            }
            Self::Application => {
                let off = application::Activity::Disabled;
                let id = to.application;
                assert!(
                    gateway
                        .change(async |change| application::set_activity(change, id, off).await.unwrap())
                        .await
                );
            }
        }
    }
}

/// Bans somebody for good, as administrators do.
pub async fn ban(gateway: &Gateway, human: Id) {
    assert!(
        gateway.change(async |change| account::set_ban(change, human, Ban::Imposed).await.unwrap()).await
    );
}

/// Closes an organization, as nothing offers yet.
pub async fn close(gateway: &Gateway, organization: Id) {
    gateway
        .change(async |change| {
            let stmt =
                sql("UPDATE organization SET is_active = ? WHERE id = ?").bind(false).bind(organization);
            change.tx().execute(stmt).await.unwrap();
            let closed = OrganizationEvent::Updated { organization, fields: vec!["is_active"] };
            change.record(closed).await.unwrap();
        })
        .await;
}

on_one_and_on_two! {
    async fn t15_what_a_human_loses_is_lost_to_the_agents_on_every_replica(dialect: Dialect) {
        let place = Place::on(dialect).await;
        let (here, there) = (&place.replicas.here, &place.replicas.there);
        for loss in Loss::ALL {
            let name = format!("{loss:?}").to_lowercase();
            let (path, body) = if loss.is_there() {
                ("/invoices", json!({"permissions": ["write:invoices"], "organization": name}))
            } else {
                ("/reports/7", reader(&json!({})))
            };
            let of = place.delegated(&name, &body).await;
            until(SECOND, "known", async || ask(there, path, &of.secret).await == 200).await;
            assert_eq!(ask(here, path, &of.secret).await, 200, "{loss:?}");
            loss.happen(here, &of).await;
            assert_eq!(ask(here, path, &of.secret).await, 403, "{loss:?}");
            within(SECOND, &name, async || ask(there, path, &of.secret).await == 403).await;
            let count = place.upstream.count();
            for gateway in [here, there] {
                assert_eq!(ask(gateway, path, &of.secret).await, 403, "{loss:?}");
                assert_eq!(ask(gateway, "/people", &of.secret).await, 403, "{loss:?}");
            }
            assert_eq!(place.upstream.count(), count, "{loss:?}");
        }
    }

    async fn at_the_second_of_its_end_nothing_more_passes(dialect: Dialect) {
        let place = Place::on(dialect).await;
        let breaker = json!({"max_requests_per_minute": 1_000_000, "max_requests_total": 1_000_000});
        let of = place.delegated("brief", &reader(&json!({"expires_in": 3, "circuit_breaker": breaker}))).await;
        let app = &place.replicas.here.running.app;
        let token = delegation::find(&app.db, delegation::Reference::Number(Number(of.number))).await;
        let end = token.unwrap().expect("the token").expires_at;
        // How many asked in all, and after the end: two seconds of it, and as many as a slow machine needs time for.
        let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let all: Vec<_> = (0..16).map(|number| {
            let (gateway, secret) = (Arc::clone(place.replicas.nth(number)), of.secret.clone());
            let counts = Arc::clone(&counts);
            spawn(async move {
                let mut asked = Vec::new();
                let is_enough = || counts.0.load(Ordering::SeqCst) > 500 && counts.1.load(Ordering::SeqCst) > 100;
                while SystemClock.now() < end.plus(2 * SECOND) || !is_enough() {
                    let at = SystemClock.now();
                    asked.push((at, ask(&gateway, "/reports/7", &secret).await));
                    counts.0.fetch_add(1, Ordering::SeqCst);
                    counts.1.fetch_add(usize::from(at >= end), Ordering::SeqCst);
                }
                asked
            })
        }).collect();
        let mut asked: Vec<(Timestamp, u16)> = Vec::new();
        for one in all {
            asked.extend(one.await.unwrap());
        }
        let passed = asked.iter().filter(|(_, status)| *status == 200);
        let late = passed.clone().filter(|(at, _)| *at >= end).count();
        let after = asked.iter().filter(|(at, _)| *at >= end).count();
        assert!(asked.len() > 500 && after > 100, "{} in all, {after} after the end", asked.len());
        assert_eq!(late, 0, "of {after} after the end");
        assert_eq!(passed.count(), place.upstream.count());
        let path = format!("/ai/tokens/{}/", of.number);
        let shown = place.replicas.here.call("GET", &path, &of.lines, &Value::Null).await.json();
        assert_eq!(shown["status"], "EXPIRED");
    }
}

#[tokio::test]
async fn what_comes_back_to_the_human_does_not_wake_a_suspended_agent() {
    let (upstream, scene) = with_upstream().await;
    let (id, token) = scene.mint(&reader(&json!({}))).await;
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    assert_eq!(
        told(&scene.ask("/reports/7", &token, &[]).await),
        (403, "AGENT_PERMISSION_DENIED".to_owned())
    );
    scene.call("POST", &format!("/ai/tokens/{id}/suspend/"), &Value::Null).await;
    scene.gateway.grant(scene.ada.id, permission("reports")).await;
    let asleep = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&asleep), (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned()));
    assert_eq!((scene.state(id).await.0.as_str(), upstream.count()), ("SUSPENDED", 0));
    scene.call("POST", &format!("/ai/tokens/{id}/resume/"), &Value::Null).await;
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200, "a human woke it");
}

/// Nothing deletes these yet; what will must not turn a narrow token into a wide one.
#[tokio::test]
async fn what_is_deleted_leaves_its_agents_nothing() {
    let place = Place::on(Dialect::Sqlite).await;
    let gateway = &place.replicas.here;
    for table in ["organization", "application", "account"] {
        let name = format!("gone-{table}");
        let body = json!({"permissions": ["write:invoices"], "organization": name});
        let of = place.delegated(&name, &body).await;
        // Its human may everywhere: without the organization the token would be one for everywhere.
        gateway.grant(of.human.id, permission("write:invoices")).await;
        let global = gateway.call("POST", "/ai/tokens/", &of.lines, &reader(&json!({}))).await.json();
        let global = global["token"].as_str().unwrap();
        let both = (ask(gateway, "/invoices", &of.secret).await, ask(gateway, "/reports/7", global).await);
        assert_eq!(both, (200, 200), "{table}");
        let (id, loss) = match table {
            "organization" => (of.organization, Loss::Organization),
            "application" => (of.application, Loss::Application),
            _ => (of.human.id, Loss::Deactivate),
        };
        loss.happen(gateway, &of).await;
        let delete = sql(match table {
            "organization" => "DELETE FROM organization WHERE id = ?",
            "application" => "DELETE FROM application WHERE id = ?",
            _ => "DELETE FROM account WHERE id = ?",
        });
        let mut tx = gateway.running.app.db.begin().await.unwrap();
        assert_eq!(tx.execute(delete.bind(id)).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let count = place.upstream.count();
        for path in ["/invoices", "/anywhere", "/reports/7"] {
            assert_eq!(ask(gateway, path, &of.secret).await, 403, "{table} {path}");
        }
        let expected = if table == "organization" { 200 } else { 403 };
        assert_eq!(ask(gateway, "/reports/7", global).await, expected, "{table}: the other one");
        assert_eq!(place.upstream.count() - count, usize::from(expected == 200));
    }
}

#[tokio::test]
async fn a_sign_of_life_at_the_last_moment_is_in_time_and_one_after_it_is_not() {
    let (_upstream, scene) = with_upstream().await;
    let body = reader(&json!({"dead_mans_switch": {"heartbeat_required_every": 300}}));
    let (id, token) = scene.mint(&body).await;
    scene.clock.advance(Duration::from_mins(5));
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 200, "three hundred seconds are in time");
    let beat = async || scene.as_agent("POST", &format!("/ai/tokens/{id}/heartbeat/"), &token).await;
    assert_eq!(beat().await.status, 200);
    scene.clock.advance(Duration::from_millis(300_001));
    let late = scene.ask("/reports/7", &token, &[]).await;
    assert_eq!(told(&late), (403, "AGENT_TOKEN_HEARTBEAT_MISSING".to_owned()));
    assert_eq!(scene.state(id).await, ("SUSPENDED".to_owned(), json!("HEARTBEAT_MISSING")));
    assert_eq!(
        told(&beat().await),
        (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned()),
        "and does not revive it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_gives_nobody_more_time() {
    let upstream = Upstream::echo().await;
    let held = "  - { name: held, match: { path: '/held/{id}' }, upstream: up, allow: signed_in, agents: { permission: reports.read, hold: always, decide_within: 4s, execute_within: 4s } }\n";
    let scene = scene(&format!("{}{held}", routes(&upstream))).await;
    let silent = reader(&json!({"dead_mans_switch": {"heartbeat_required_every": 4}}));
    let (silent_id, silent) = scene.mint(&silent).await;
    let brief = scene.mint(&reader(&json!({"expires_in": 4}))).await.1;
    let token = scene.mint(&reader(&json!({}))).await.1;
    let pending = scene.hold("/held/1", &token, "1").await;
    let approved = scene.approved("/held/2", &token, "2").await;
    // A clock that stands still has been going on since it was told last: from here on, however long all of
    // this took.
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.state(silent_id).await.0, "ACTIVE");
    scene.clock.set(scene.clock.now().minus(Duration::from_hours(1)));
    for token in [&silent, &brief] {
        assert_eq!(scene.ask("/reports/7", token, &[]).await.status, 200, "its time has not passed");
    }
    tokio::time::sleep(Duration::from_millis(4_200)).await;
    assert!(matches!(scene.ask("/reports/7", &silent, &[]).await.status, 403));
    assert_eq!(scene.state(silent_id).await, ("SUSPENDED".to_owned(), json!("HEARTBEAT_MISSING")));
    assert_eq!(scene.ask("/reports/7", &brief, &[]).await.status, 403);
    let refused = scene.decide(&pending, "confirm").await;
    assert_eq!((refused.status, &refused.json()["state"]), (400, &json!("expired")));
    let late = scene.post("/held/2", &token, &[&confirmed(&approved)], "2").await;
    assert_eq!(
        (told(&late), &late.json()["state"]),
        ((410, "APPROVAL_EXPIRED".to_owned()), &json!("lapsed"))
    );
    assert_eq!(upstream.count(), 2);
}
