//! Statistics over HTTP (contract section 24) on the running gateway, which counts by itself.
//! Law: what is shown is what happened, on the own site, and to those alone who may watch.

use std::sync::Arc;
use std::time::Duration;

use portcullis::account::{self, Ban, NewAccount};
use portcullis::app::testing::NOON;
use portcullis::audit::{Actor, How};
use portcullis::base::{Clock, Id, TestClock};
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission};
use crate::support::raw::Answer;
use crate::support::replica::until;
use crate::support::{Gateway, Replicas};
use crate::{on_mariadb, on_one_and_on_two};

const ALL: [&str; 5] = ["stats", "auth", "security", "gdpr", "organizations"];
/// Long enough for a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// It stands still, so that no day ends while a test runs.
fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock::at(NOON))
}

async fn gateway(yaml: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    Gateway::start_by(clock(), folder, yaml).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Somebody who may watch, and somebody who may not.
struct Scene<'a> {
    gateway: &'a Gateway,
    keys: Keys,
    watcher: User,
    ada: User,
}

impl<'a> Scene<'a> {
    async fn on(gateway: &'a Gateway) -> Self {
        let keys = gateway.application("console", &[]).await;
        let watcher = gateway.user("watcher", &keys).await;
        gateway.grant(watcher.id, permission("dashboard.view")).await;
        let ada = gateway.user("ada", &keys).await;
        Self { gateway, keys, watcher, ada }
    }

    async fn call(&self, user: &User, path: &str, more: &[&str]) -> Answer {
        let mut lines = [vec![user.bearer()], self.keys.lines().to_vec()].concat();
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        self.gateway.call("GET", &format!("/dashboard/{path}"), &lines, &Value::Null).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.call(&self.watcher, path, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// A try to log in, from an address of its own.
    async fn try_in(&self, email: &str, password: &str) -> u16 {
        let lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        let body = json!({"email": email, "password": password});
        self.gateway.call("POST", "/login/email/", &lines, &body).await.status
    }
}

on_one_and_on_two! {
    async fn what_happens_is_counted_within_seconds_and_once(dialect: Dialect) {
        let replicas = Replicas::start_by(clock(), dialect, TRUSTING).await;
        let scene = Scene::on(&replicas.here).await;
        for _ in 0..3 {
            assert_eq!(scene.try_in("ada@example.com", "Wrong-horse-9-battery").await, 401);
        }
        assert_eq!(scene.try_in("nobody@example.com", PASSWORD).await, 401);
        assert_eq!(scene.try_in("ada@example.com", PASSWORD).await, 200);
        until(SOON, "everything is counted", async || {
            let seen = scene.get("auth/").await;
            seen["login_stats"]["today"] == json!({"total": 7, "success": 3, "failed": 4})
        })
        .await;
        // Whichever of the gateways is asked, and however often they have looked since.
        tokio::time::sleep(Duration::from_secs(5)).await;
        for gateway in [&replicas.here, &replicas.there] {
            let lines = [vec![scene.watcher.bearer()], scene.keys.lines().to_vec()].concat();
            let answer = gateway.call("GET", "/dashboard/auth/", &lines, &Value::Null).await;
            let seen = answer.json();
            let periods = &seen["login_stats"];
            for period in ["today", "this_week", "this_month"] {
                assert_eq!(periods[period], json!({"total": 7, "success": 3, "failed": 4}), "{period}");
                assert_eq!(seen["registration_stats"][period], 2, "{period}");
            }
            assert_eq!(seen["login_by_method"], json!({"password": 3, "total": 3}));
            let why = json!([{"reason": "wrong_password", "count": 3}, {"reason": "unknown_identifier", "count": 1}]);
            assert_eq!(seen["top_login_failure_reasons"], why);
            assert_eq!(seen["token_stats"], json!({"active_refresh_tokens": 3, "tokens_refreshed_today": 0, "tokens_revoked_today": 0}));
            let days = seen["charts"]["logins_per_day_7d"].as_array().unwrap();
            assert_eq!(days.len(), 7);
            assert_eq!((&days[6]["success"], &days[6]["failed"], &days[0]["failed"]), (&json!(3), &json!(4), &json!(0)));
        }
    }
}

on_mariadb! { what_happens_is_counted_within_seconds_and_once }

#[tokio::test]
async fn everything_is_told_at_a_glance_with_the_days_that_are_asked_for() {
    let gateway = gateway(TRUSTING).await;
    let scene = Scene::on(&gateway).await;
    let bob = gateway.account("bob", |new| new.is_verified = false).await;
    gateway.change(async |change| account::set_ban(change, bob, Ban::Imposed).await.unwrap()).await;
    let acme = gateway.organization("acme", scene.watcher.id, None).await;
    gateway.organization("below", scene.watcher.id, Some("acme")).await;
    gateway.organization("rival", scene.ada.id, None).await;
    gateway.join(acme, scene.ada.id, "member").await;
    let in_acme = async || scene.call(&scene.watcher, "stats/", &["X-Org-Slug: acme"]).await.json();
    until(SOON, "what came last is counted", async || {
        in_acme().await["organization_context"]["org_specific_stats"]["by_action"]["member_added"] == 2
    })
    .await;
    let seen = scene.get("stats/").await;
    let users = json!({"total": 3, "active": 2, "locked": 0, "banned": 1, "deleted": 0, "verified_email": 2,
        "verified_phone": 0, "with_2fa": 0, "new_today": 3, "new_this_week": 3, "new_this_month": 3});
    assert_eq!(seen["users"], users);
    assert_eq!(
        seen["auth"],
        json!({"total_logins_today": 2, "failed_logins_today": 0, "active_refresh_tokens": 2})
    );
    assert_eq!(seen["applications"], json!({"total": 1, "active": 1}));
    assert_eq!(seen["security"], json!({"blacklisted_tokens": 0, "suspicious_activity_24h": 0}));
    assert_eq!(seen["gdpr"], json!({"pending": 0, "confirmed": 0, "expiring_7d": 0}));
    assert_eq!(
        (&seen["trends"]["login_success_rate"], &seen["trends"]["previous"]),
        (&json!(100.0), &Value::Null)
    );
    assert_eq!(seen["organization_context"], Value::Null);
    for (query, days) in [("", 7), ("?period=7d", 7), ("?period=30d", 30), ("?period=90d&compare=false", 90)]
    {
        let seen = scene.get(&format!("stats/{query}")).await;
        for chart in ["daily_logins", "user_registrations", "security_events"] {
            assert_eq!(seen["charts"][chart].as_array().unwrap().len(), days, "{query} {chart}");
        }
        assert_eq!(seen["trends"]["registrations"], 3);
    }
    let compared = scene.get("stats/?period=90d&compare=true").await;
    assert_eq!(
        (&compared["trends"]["logins"], &compared["trends"]["previous"]["logins"]),
        (&json!(2), &json!(0))
    );
    let organizations = scene.get("organizations/").await;
    assert_eq!(
        organizations,
        json!({"enabled": true, "total_organizations": 3, "active": 3, "with_sub_orgs": 1,
            "members": {"total": 4, "avg_per_org": 1.3, "by_role": {"Member": 1, "Owner": 3}},
            "top_organizations": [{"name": "acme", "slug": "acme", "members": 2},
                {"name": "below", "slug": "below", "members": 1}, {"name": "rival", "slug": "rival", "members": 1}]})
    );
    let own = in_acme().await;
    let context = &own["organization_context"];
    assert_eq!((&context["current_org"]["slug"], &context["user_role"]), (&json!("acme"), &json!("owner")));
    assert_eq!(
        (&context["accessible_orgs"], &context["org_specific_stats"]["members"]),
        (&json!(2), &json!(2))
    );
    let actions = json!({"organization_created": 1, "member_added": 2});
    assert_eq!(context["org_specific_stats"]["by_action"], actions);
}

#[tokio::test]
async fn what_is_suspicious_is_told_with_where_it_came_from() {
    let gateway = gateway(&format!("{TRUSTING}tokens: {{ rotation: true }}\n")).await;
    let scene = Scene::on(&gateway).await;
    let eve = gateway.user("eve", &scene.keys).await;
    let refresh = async |from: &str| {
        let lines = [&scene.keys.lines()[..], &[format!("X-Forwarded-For: {from}")]].concat();
        gateway.call("POST", "/refresh/", &lines, &json!({"refresh_token": eve.refresh})).await
    };
    let next = refresh("192.0.2.1").await.json()["refresh_token"].as_str().unwrap().to_owned();
    let lines = [&scene.keys.lines()[..], &[elsewhere()]].concat();
    let again = gateway.call("POST", "/refresh/", &lines, &json!({"refresh_token": next})).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(refresh("192.0.2.66").await.status, 401, "a used one ends the session");
    let lines = [vec![scene.ada.bearer()], scene.keys.lines().to_vec()].concat();
    let body = json!({"refresh_token": scene.ada.refresh});
    assert_eq!(gateway.call("POST", "/logout/", &lines, &body).await.status, 200);
    until(SOON, "everything is counted", async || {
        let seen = scene.get("security/").await;
        seen["suspicious_activity"]["last_24h"] == 1 && seen["audit_summary_24h"]["by_action"]["logout"] == 1
    })
    .await;
    let seen = scene.get("security/").await;
    let suspicious =
        json!({"last_24h": 1, "last_7d": 1, "top_ips": [{"ip_address": "192.0.2.66", "count": 1}]});
    assert_eq!(seen["suspicious_activity"], suspicious);
    let actions = &seen["audit_summary_24h"]["by_action"];
    assert_eq!(
        (&actions["login"], &actions["token_refresh"], &actions["refresh_reuse"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let sum: i64 = actions.as_object().unwrap().values().map(|own| own.as_i64().unwrap()).sum();
    assert_eq!(seen["audit_summary_24h"]["total_events"], sum);
    let ended = json!({"total_active": 2, "by_reason": {"logged_out": 1, "refresh_reused": 1}, "expired_pending_cleanup": 0});
    assert_eq!(seen["blacklisted_tokens"], ended);
    let accounts = json!({"locked_accounts": 0, "banned_accounts": 0, "2fa_adoption_rate": 0.0, "password_changes_today": 0});
    assert_eq!(seen["account_security"], accounts);
    let tokens = &scene.get("auth/").await["token_stats"];
    assert_eq!(
        *tokens,
        json!({"active_refresh_tokens": 1, "tokens_refreshed_today": 2, "tokens_revoked_today": 2})
    );
}

#[tokio::test]
async fn deletions_and_exports_are_told_in_numbers() {
    let gateway = gateway(TRUSTING).await;
    let scene = Scene::on(&gateway).await;
    let lines = [vec![scene.ada.bearer()], scene.keys.lines().to_vec()].concat();
    let body = json!({"password": PASSWORD});
    assert_eq!(gateway.call("POST", "/export-user-data/", &lines, &body).await.status, 200);
    until(SOON, "the export is counted", async || {
        scene.get("gdpr/").await["data_exports"] == json!({"total_today": 1, "total_this_month": 1})
    })
    .await;
    let deletions = json!({"total": 0, "by_status": {}, "grace_period_expiring_7d": 0});
    assert_eq!(scene.get("gdpr/").await["deletion_requests"], deletions);
}

#[tokio::test]
async fn who_may_not_watch_learns_nothing_and_unknown_parameters_are_refused() {
    let gateway = gateway(TRUSTING).await;
    let scene = Scene::on(&gateway).await;
    gateway.organization("rival", scene.ada.id, None).await;
    let keys = scene.keys.lines();
    for board in ALL {
        let path = format!("/dashboard/{board}/");
        let nobody = gateway.call("GET", &path, &keys, &Value::Null).await;
        assert_eq!((nobody.status, nobody.code().as_str()), (401, "AUTH_REQUIRED"), "{board}");
        let refused = scene.call(&scene.ada, &format!("{board}/"), &[]).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "PERMISSION_REQUIRED"), "{board}");
        // Owning an organization opens nothing of the site's.
        let refused = scene.call(&scene.ada, &format!("{board}/"), &["X-Org-Slug: rival"]).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "PERMISSION_REQUIRED"), "{board}");
        // One that the watcher has nothing to do with is as one that there is not.
        for slug in ["rival", "nowhere", "No such"] {
            let header = format!("X-Org-Slug: {slug}");
            let hidden = scene.call(&scene.watcher, &format!("{board}/"), &[&header]).await;
            assert_eq!((hidden.status, hidden.code().as_str()), (404, "ORG_NOT_FOUND"), "{board} {slug}");
        }
        for (query, field) in [
            ("colour=red", "colour"),
            ("page=1", "page"),
            ("site=x", "site"),
            ("organization=rival", "organization"),
        ] {
            let answer = scene.call(&scene.watcher, &format!("{board}/?{query}"), &[]).await;
            let named = answer.json()["details"].get(field).is_some();
            assert!(answer.status == 400 && named, "{board} {query}: {}", answer.text());
        }
    }
    for (board, query, field) in [
        ("stats", "period=1d", "period"),
        ("stats", "period=", "period"),
        ("stats", "compare=maybe", "compare"),
        ("auth", "period=7d", "period"),
        ("gdpr", "compare=true", "compare"),
    ] {
        let answer = scene.call(&scene.watcher, &format!("{board}/?{query}"), &[]).await;
        let named = answer.json()["details"].get(field).is_some();
        assert!(answer.status == 400 && named, "{board} {query}: {}", answer.text());
    }
    let none = scene.call(&scene.watcher, "nothing/", &[]).await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn another_site_is_counted_for_itself() {
    let gateway = gateway(TRUSTING).await;
    let scene = Scene::on(&gateway).await;
    let elsewhere = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);
    let app = &gateway.running.app;
    let mut actor = Actor::command_line();
    actor.site = elsewhere;
    let mut change = app.change(actor).await.unwrap();
    for _ in 0..5 {
        account::create(&mut change, &NewAccount::of(elsewhere), How::Administrator).await.unwrap();
    }
    change.commit().await.unwrap();
    // What came after it is counted, so this is.
    gateway.account("bob", |_| {}).await;
    until(SOON, "everything is counted", async || scene.get("stats/").await["users"]["new_today"] == 3).await;
    let seen = scene.get("stats/").await;
    assert_eq!((&seen["users"]["total"], &seen["users"]["new_this_month"]), (&json!(3), &json!(3)));
    assert_eq!(scene.get("security/").await["audit_summary_24h"]["by_action"]["account_created"], 3);
}

#[tokio::test]
async fn without_organizations_it_says_so() {
    let gateway = gateway(&format!("{TRUSTING}organizations: {{ enabled: false }}\n")).await;
    let scene = Scene::on(&gateway).await;
    assert_eq!(scene.get("organizations/").await, json!({"enabled": false}));
    let context = scene.call(&scene.watcher, "stats/", &["X-Org-Slug: acme"]).await;
    assert_eq!((context.status, &context.json()["organization_context"]), (200, &Value::Null));
}
