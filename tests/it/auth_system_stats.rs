//! The profile `auth-system` on the running gateway: how many there are, what happened, who waits for whom, and
//! what the gateway stands on.
//! Law: what is shown is what happened, on the own site, and the same on every gateway.

use std::sync::Arc;
use std::time::Duration;

use portcullis::account::{self, NewAccount};
use portcullis::app::testing::NOON;
use portcullis::audit::{Actor, How};
use portcullis::base::{Clock, Id, TestClock};
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::auth_system::{ask, enter, enter_as, keys, root, yaml};
use crate::auth_system_users::{emails, no, ok, told};
use crate::on_one_and_on_two;
use crate::support::people::{PASSWORD, User, permission, role};
use crate::support::replica::until;
use crate::support::{Gateway, Replicas};

/// Long enough for a machine that is busy.
const SOON: Duration = Duration::from_secs(20);
const OTHER_SITE: Id = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);

/// It stands still at ten o'clock on 20 November 2026, so that no day ends while a test runs.
fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock::at(NOON))
}

async fn gateway() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    Gateway::start_by(clock(), folder, &yaml()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Somebody of another site, made there.
async fn stranger(gateway: &Gateway) {
    let mut actor = Actor::command_line();
    actor.site = OTHER_SITE;
    let mut change = gateway.running.app.change(actor).await.unwrap();
    let new = NewAccount { is_superuser: true, ..NewAccount::of(OTHER_SITE) };
    account::create(&mut change, &new, How::Administrator).await.unwrap();
    change.commit().await.unwrap();
}

async fn without_password(gateway: &Gateway, name: &str) -> Id {
    gateway.account(name, |new| new.password_hash = None).await
}

/// Six people and one elsewhere: four logins, two of them of one person who ended one again, and two that failed.
async fn story(gateway: &Gateway) -> User {
    stranger(gateway).await;
    let root = root(gateway).await;
    let boss = enter(gateway, "boss").await;
    gateway.grant(boss.id, role("admin1")).await;
    // The highest is theirs.
    gateway.grant(boss.id, role("admin3")).await;
    let off = gateway.account("off", |_| {}).await;
    gateway.grant(off, role("admin2")).await;
    ok(gateway, &root, "PATCH", &format!("/users/{off}"), json!({"is_active": false})).await;
    let lou = gateway.account("lou", |_| {}).await;
    let lock = json!({"duration_minutes": 60});
    let locked = ok(gateway, &root, "POST", &format!("/users/{lou}/lock"), lock).await;
    let until = NOON.plus(Duration::from_hours(1)).rfc3339();
    assert_eq!(locked, json!({"message": "User account locked successfully", "locked_until": until}));
    without_password(gateway, "pen").await;
    let ann = enter(gateway, "ann").await;
    let again = enter_as(gateway, "ann", ann.id).await;
    let body = json!({"refresh_token": again.refresh});
    assert_eq!(ask(gateway, Some(&again), "POST", "/auth/logout", body).await.status, 204);
    for name in ["ann", "nobody"] {
        let body = json!({"email": format!("{name}@example.com"), "password": "Wrong-horse-9-battery"});
        assert_eq!(ask(gateway, None, "POST", "/auth/login", body).await.status, 401);
    }
    root
}

on_one_and_on_two! {
    async fn what_there_is_and_what_happened_is_counted(dialect: Dialect) {
        let replicas = Replicas::start_by(clock(), dialect, &yaml()).await;
        let (here, there): (&Gateway, &Gateway) = (&replicas.here, &replicas.there);
        let root = story(here).await;
        let expected = json!({
            "users": {"total": 6, "active": 4, "inactive": 1, "locked": 1, "new_this_month": 6},
            "admins": {"total": 3, "active": 2, "superadmin": 1, "admin1": 1, "admin2": 1, "admin3": 0},
            "sessions": {"active": 3, "total_today": 4, "unique_users_today": 3},
            "security": {"failed_logins_today": 2, "locked_accounts_today": 1, "password_resets_today": 0},
        });
        let overview = async |gateway: &Gateway| ok(gateway, &root, "GET", "/stats/overview", Value::Null).await;
        until(SOON, "everything is counted", async || {
            let seen = overview(here).await;
            seen["security"]["failed_logins_today"] == 2 && seen["sessions"]["total_today"] == 4
        })
        .await;
        for gateway in [here, there] {
            assert_eq!(overview(gateway).await, expected);
        }

        let month = ok(there, &root, "GET", "/stats/users", Value::Null).await;
        assert_eq!(keys(&month), ["by_role", "end_date", "logins", "period", "registrations", "start_date"]);
        let of = |told: &Value| [&told["period"], &told["start_date"], &told["end_date"]].map(|one| one.as_str().unwrap().to_owned());
        assert_eq!(of(&month), ["month", "2026-11-01", "2026-11-30"]);
        let by_role = json!({"superadmin": 1, "admin1": 1, "admin2": 1, "admin3": 0, "user": 3});
        assert_eq!(month["by_role"], by_role);
        for (list, count) in [("registrations", 6), ("logins", 4)] {
            let days = month[list].as_array().unwrap();
            assert_eq!(days.len(), 20, "what has not come has no number");
            assert_eq!(days[0], json!({"date": "2026-11-01", "count": 0}));
            assert_eq!(days[19], json!({"date": "2026-11-20", "count": count}));
        }
        for (query, period, first, last, days) in [
            ("?period=day", "day", "2026-11-20", "2026-11-20", 1),
            ("?period=week", "week", "2026-11-16", "2026-11-22", 5),
            ("?period=month", "month", "2026-11-01", "2026-11-30", 20),
            ("?period=year", "year", "2026-01-01", "2026-12-31", 324),
            ("?start_date=2026-11-18", "custom", "2026-11-18", "2026-11-20", 3),
            ("?start_date=2024-02-28&end_date=2024-03-01", "custom", "2024-02-28", "2024-03-01", 3),
            ("?start_date=2026-11-20&end_date=2026-12-24", "custom", "2026-11-20", "2026-12-24", 1),
            ("?start_date=2027-01-01&end_date=2027-01-02", "custom", "2027-01-01", "2027-01-02", 0),
        ] {
            let told = ok(here, &root, "GET", &format!("/stats/users{query}"), Value::Null).await;
            assert_eq!(of(&told), [period, first, last], "{query}");
            let count = |list: &str| told[list].as_array().unwrap().iter().map(|one| one["count"].as_i64().unwrap()).sum::<i64>();
            assert_eq!(told["logins"].as_array().unwrap().len(), days, "{query}");
            let is_now = (first..=last).contains(&"2026-11-20");
            assert_eq!((count("registrations"), count("logins")), if is_now { (6, 4) } else { (0, 0) }, "{query}");
        }
    }

    async fn health_is_told_with_what_the_gateway_stands_on(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let here: &Gateway = &replicas.here;
        let root = root(here).await;
        let health = ask(here, None, "GET", "/health", Value::Null).await;
        assert_eq!(health.status, 200);
        assert_eq!(keys(&health.json()), ["status", "timestamp", "version"]);
        assert_eq!(health.json()["status"], "healthy");
        let detailed = ok(here, &root, "GET", "/health/detailed", Value::Null).await;
        assert_eq!(detailed["status"], "healthy");
        assert_eq!(detailed["checks"]["database"]["status"], "healthy");
        assert!(detailed["checks"]["database"]["response_time_ms"].is_u64());
        let pool = &detailed["checks"]["database"]["connection_pool"];
        let count = |key: &str| pool[key].as_u64().unwrap();
        assert!(count("total") > 0 && count("active") + count("idle") == count("total"), "{pool}");
        for (check, free, total) in [("disk_space", "free_gb", "total_gb"), ("memory", "free_mb", "total_mb")] {
            let room = &detailed["checks"][check];
            assert_eq!(keys(room), {
                let mut all = [free, total, "status", "usage_percent"];
                all.sort_unstable();
                all
            });
            let taken = room["usage_percent"].as_f64().unwrap();
            assert_eq!(room["status"], if taken < 95.0 { "healthy" } else { "unhealthy" }, "{room}");
            assert!(room[free].as_f64().unwrap() <= room[total].as_f64().unwrap() && taken <= 100.0, "{room}");
        }
        assert_eq!(detailed["checks"].get("redis").is_some(), dialect == Dialect::Postgres);
    }

    async fn who_got_no_password_is_pending_until_they_come(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let (here, there): (&Gateway, &Gateway) = (&replicas.here, &replicas.there);
        let root = root(here).await;
        let pen = without_password(here, "pen").await;
        let path = format!("/users/{pen}");
        let status = async |gateway: &Gateway| ok(gateway, &root, "GET", &path, Value::Null).await["status"].clone();
        let found = async |query: &str| {
            let page = ok(there, &root, "GET", &format!("/users{query}"), Value::Null).await;
            emails(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(status(here).await, "pending");
        assert_eq!(found("?status=pending").await, ["pen@example.com"]);
        assert_eq!(found("?status=pending&search=pen&role=user").await, ["pen@example.com"]);
        assert_eq!(found("?status=active").await, ["root@example.com"]);
        assert_eq!(found("?status=active&search=pen").await, Vec::<String>::new());
        let body = json!({"email": "pen@example.com", "password": PASSWORD});
        assert_eq!(ask(here, None, "POST", "/auth/login", body).await.status, 401);
        // What was read may be written back, and nobody is made to be it.
        let whole = json!({"email": "pen@example.com", "first_name": "Pen", "last_name": "Ding", "role": "user",
            "status": "pending", "is_active": true});
        let replaced = ok(here, &root, "PUT", &path, whole).await;
        assert_eq!((&replaced["first_name"], &replaced["status"]), (&json!("Pen"), &json!("pending")));
        let own = format!("/users/{}", root.id);
        for (path, wanted) in [(&own, "pending"), (&path, "active")] {
            let refused = no(here, &root, "PATCH", path, json!({"status": wanted})).await;
            assert_eq!(refused, told(422, "VALIDATION_ERROR", Some("status")), "{wanted}");
        }
        for status in ["inactive", "pending"] {
            let changed = ok(here, &root, "PATCH", &path, json!({"status": status})).await;
            assert_eq!((&changed["status"], &changed["is_active"]), (&json!(status), &json!(status == "pending")));
        }
        assert_eq!(ok(here, &root, "PATCH", &path, json!({"is_active": false})).await["status"], "inactive");
        assert_eq!(ok(here, &root, "PATCH", &path, json!({"is_active": true})).await["status"], "pending");
        let locked = json!({"user_ids": [pen.to_string()], "action": "lock"});
        assert_eq!(ok(here, &root, "POST", "/users/bulk-actions", locked).await["affected_users"], 1);
        assert_eq!(status(there).await, "locked");
        assert_eq!(ok(here, &root, "POST", &format!("{path}/unlock"), Value::Null).await["message"], "User account unlocked successfully");
        assert_eq!(status(there).await, "pending");
        // Whoever is made here has a password.
        let jane = json!({"email": "jane@example.com", "password": PASSWORD, "first_name": "Jane", "last_name": "Smith",
            "role": "user"});
        assert_eq!(ok(here, &root, "POST", "/users", jane).await["status"], "active");
    }
}

#[tokio::test]
async fn periods_that_there_are_not_are_refused_by_name() {
    let gateway = gateway().await;
    let clerk = enter(&gateway, "clerk").await;
    let denied = told(403, "PERMISSION_DENIED", None);
    for path in ["/stats/overview", "/stats/users"] {
        assert_eq!(no(&gateway, &clerk, "GET", path, Value::Null).await, denied);
    }
    gateway.grant(clerk.id, permission("dashboard.view")).await;
    let wrong = |field| told(422, "VALIDATION_ERROR", Some(field));
    for (query, expected) in [
        ("?period=decade", wrong("period")),
        ("?period=", wrong("period")),
        ("?period=month&start_date=2026-11-01", wrong("period")),
        ("?start_date=soon", wrong("start_date")),
        ("?start_date=2026-11-20T10:00:00Z", wrong("start_date")),
        ("?start_date=2026-11-31", wrong("start_date")),
        ("?start_date=2026-11-21", wrong("start_date")),
        ("?end_date=2026-11-20", wrong("start_date")),
        ("?start_date=2026-11-20&end_date=2026-11-19", wrong("end_date")),
        ("?start_date=2025-01-01&end_date=2026-01-02", wrong("end_date")),
        ("?colour=red", told(400, "VALIDATION_ERROR", Some("colour"))),
        ("?site=1", told(400, "VALIDATION_ERROR", Some("site"))),
    ] {
        let refused = no(&gateway, &clerk, "GET", &format!("/stats/users{query}"), Value::Null).await;
        assert_eq!(refused, expected, "{query}");
    }
    let refused = no(&gateway, &clerk, "GET", "/stats/overview?period=day", Value::Null).await;
    assert_eq!(refused, told(400, "VALIDATION_ERROR", Some("period")));
    for path in ["/stats/overview", "/stats/users"] {
        let posted = ask(&gateway, Some(&clerk), "POST", path, json!({})).await;
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}
