//! What the table of the design says of agents beyond what the other tests show of it (T2, T9, T11, T14,
//! T15). Law: each sentence there has a test that fails where it is not so.

use std::sync::Arc;
use std::time::Duration;

use portcullis::account::{self, Activity};
use portcullis::agent;
use portcullis::application;
use portcullis::audit;
use portcullis::base::Number;
use portcullis::store::{Dialect, sql};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::agent::{YAML, bearer, scene};
use crate::agent_gate::{is_cut, open_stream, reader, routes, streaming, told};
use crate::agent_hold::{self, confirmed};
use crate::agent_lost::ban;
use crate::support::people::permission;
use crate::support::raw::get;
use crate::support::replica::{until, within};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Replicas, Upstream};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_an_approval_is_taken_before_the_upstream_gets_its_first_byte() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec();
    let (over, is_over) = watch::channel(false);
    let upstream = Upstream::start(move |_| Act::When(is_over.clone(), answer.clone())).await;
    let scene = Arc::new(scene(&agent_hold::routes(&upstream)).await);
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let named = scene.approved("/reports/7", &token, "{}").await;
    let first = {
        let (scene, token, named) = (Arc::clone(&scene), token.clone(), named.clone());
        spawn(async move { scene.post("/reports/7", &token, &[&confirmed(&named)], "{}").await.status })
    };
    until(SECOND, "it has arrived", async || upstream.count() == 1).await;
    assert_eq!(scene.standing(&named).await, "executing", "taken, although nothing was answered yet");
    let second = scene.post("/reports/7", &token, &[&confirmed(&named)], "{}").await;
    assert_eq!(
        (told(&second), &second.json()["state"]),
        ((409, "APPROVAL_USED".to_owned()), &json!("executing"))
    );
    over.send(true).unwrap();
    assert_eq!((first.await.unwrap(), upstream.count()), (200, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t9_the_kill_switch_ends_all_that_runs_and_waits_and_leaves_what_is_over() {
    let upstream = streaming().await;
    let more = "agents: { confirm: [pay] }\n";
    let held = "  - { name: pay, match: { path: /pay }, upstream: up, allow: signed_in, agents: { permission: pay } }\n";
    let scene = scene(&format!("{more}{}{held}", routes(&upstream))).await;
    scene.gateway.grant(scene.ada.id, permission("pay")).await;
    let (brief, _) = scene.mint(&reader(&json!({"expires_in": 1}))).await;
    scene.clock.advance(2 * SECOND);
    within(Duration::from_secs(7), "expired", async || scene.state(brief).await.0 == "EXPIRED").await;
    let [(asleep, _), (ended, _), (busy, token)] = [
        scene.mint(&reader(&json!({}))).await,
        scene.mint(&reader(&json!({}))).await,
        scene.mint(&reader(&json!({}))).await,
    ];
    scene.call("POST", &format!("/ai/tokens/{asleep}/suspend/"), &Value::Null).await;
    scene.call("POST", &format!("/ai/tokens/{ended}/revoke/"), &Value::Null).await;
    let payer = scene.mint(&json!({"permissions": ["pay"]})).await.1;
    let (waiting, approved) =
        (scene.hold("/pay", &payer, "1").await, scene.approved("/pay", &payer, "2").await);
    let mut stream = open_stream(&scene, &token).await;
    scene.call("POST", "/ai/tokens/revoke-all/", &Value::Null).await;
    assert!(is_cut(&mut stream).await);
    for (id, state) in [(brief, "EXPIRED"), (asleep, "REVOKED"), (ended, "REVOKED"), (busy, "REVOKED")] {
        assert_eq!(scene.state(id).await.0, state);
    }
    for named in [&waiting, &approved] {
        assert_eq!(scene.standing(named).await, "void");
    }
    assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 403);
}

#[tokio::test]
async fn t11_where_the_row_must_come_first_and_cannot_nothing_passes() {
    let upstream = Upstream::echo().await;
    let audited = "  - { name: audited, match: { path: /audited }, upstream: up, allow: signed_in, audit: required, agents: { permission: reports.read } }\n";
    let scene = scene(&format!("{}{audited}", routes(&upstream))).await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    assert_eq!(scene.ask("/audited", &token, &[]).await.status, 200);
    let rows = scene.rows("request_passed").await;
    assert_eq!(
        (rows.len(), rows[0].actor_kind.as_str()),
        (1, "agent"),
        "before the answer, not within a second"
    );
    let mut tx = scene.gateway.running.app.db.begin().await.unwrap();
    tx.execute(sql("ALTER TABLE audit RENAME TO lost")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(scene.ask("/audited", &token, &[]).await.status, 503);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn t14_silence_and_refused_connections_count_as_failures() {
    let upstream = Upstream::start(|_| Act::Hang).await;
    let slow = routes(&upstream).replace("name: reports,", "name: reports, timeouts: { read: 300ms },");
    let scene = scene(&slow).await;
    for (path, status) in [("/reports/7", 504), ("/gone", 502)] {
        let more = json!({"budget_limit_usd": 5, "circuit_breaker": {"max_failed_requests": 1}});
        let (id, token) = scene.mint(&reader(&more)).await;
        for _ in 0..2 {
            let failed = scene.ask(path, &token, &[]).await;
            assert_eq!(failed.status, status, "{path}: {}", failed.text());
        }
        let suspended = ("SUSPENDED".to_owned(), json!("ANOMALY"));
        within(SECOND, path, async || scene.state(id).await == suspended).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t15_the_streams_of_a_human_who_may_not_act_any_more_end_within_a_second() {
    let upstream = streaming().await;
    for way in ["banned", "switched off", "application switched off"] {
        let scene = scene(&routes(&upstream)).await;
        let token = scene.mint(&reader(&json!({}))).await.1;
        let mut stream = open_stream(&scene, &token).await;
        let (gateway, human, keys) = (&scene.gateway, scene.ada.id, scene.keys.id);
        match way {
            "banned" => ban(gateway, human).await,
            "switched off" => {
                let off = Activity::Inactive;
                assert!(
                    gateway
                        .change(async |change| account::set_activity(change, human, off).await.unwrap())
                        .await
                );
            }
            _ => {
                let off = application::Activity::Disabled;
                assert!(
                    gateway
                        .change(async |change| application::set_activity(change, keys, off).await.unwrap())
                        .await
                );
            }
        }
        assert!(is_cut(&mut stream).await, "{way}");
        assert_eq!(scene.ask("/reports/7", &token, &[]).await.status, 403, "{way}");
    }
}

/// Everything about this request is wrong; what is mended one after the other is what was told.
#[tokio::test]
async fn the_checks_come_in_one_order() {
    let upstream = Upstream::echo().await;
    let more = format!(
        "upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }}, gone: {{ servers: ['127.0.0.1:1'], retries: 0, breaker: {{ after: 1, within: 1m, open_for: 1m }} }} }}
routes:
  - {{ name: people, match: {{ path: /people }}, upstream: up, allow: signed_in }}
  - {{ name: others, match: {{ path: /others }}, upstream: gone, allow: {{ permission: pay }}, agents: {{ permission: pay, hold: always }} }}
  - {{ name: broken, match: {{ path: /broken }}, upstream: gone, allow: signed_in, agents: {{ permission: reports.read }} }}
  - {{ name: late, match: {{ path: /late }}, upstream: gone, allow: signed_in, agents: {{ permission: reports.read, hold: always }} }}
  - {{ name: held, match: {{ path: /held }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, hold: always }} }}
",
        upstream.address
    );
    let scene = scene(&more).await;
    let everything = json!({
        "expires_in": 100, "dead_mans_switch": {"heartbeat_required_every": 60}, "permissions": ["reports.read"],
        "circuit_breaker": {"max_requests_per_minute": 0, "max_requests_total": 0, "suspend_after": 0},
    });
    let but = |changes: &[(&str, Value)]| {
        let mut body = everything.clone();
        for (key, value) in changes {
            body[*key] = value.clone();
        }
        body
    };
    let other = ["X-Org-Slug: other"];
    let ask = async |path: &str, token: &str| told(&scene.ask(path, token, &other).await);
    let (id, suspended) = scene.mint(&everything).await;
    scene.call("POST", &format!("/ai/tokens/{id}/suspend/"), &Value::Null).await;
    let over = scene.mint(&everything).await.1;
    let silent = scene.mint(&but(&[("expires_in", json!(3600))])).await.1;
    let alive = [("expires_in", json!(3600)), ("dead_mans_switch", Value::Null)];
    let fast = scene.mint(&but(&alive)).await.1;
    scene.clock.advance(Duration::from_secs(101));
    let calm = json!({"max_requests_per_minute": 600, "max_requests_total": 0, "suspend_after": 0});
    let calm = but(&[&alive[..], &[("circuit_breaker", calm)]].concat());
    let (_, narrow) = scene.mint(&calm).await;
    // A person's request breaks the upstream.
    let failed = scene.gateway.send("GET", "/broken", &[scene.ada.bearer()]).await;
    assert_eq!(failed.status, 502, "{}", failed.text());
    for (path, token, status, code) in [
        ("/people", &suspended, 403, "AGENT_TOKEN_STATUS_SUSPENDED"),
        ("/people", &over, 403, "AGENT_TOKEN_EXPIRED"),
        ("/people", &fast, 429, "RATE_LIMITED"),
        ("/people", &narrow, 403, "AGENT_NOT_ALLOWED"),
        ("/others", &narrow, 403, "AGENT_PERMISSION_DENIED"),
    ] {
        assert_eq!(ask(path, token).await, (status, code.to_owned()), "{path}");
    }
    // The chore that looks for the silent may have found it first.
    let (status, code) = ask("/people", &silent).await;
    let either = ["AGENT_TOKEN_HEARTBEAT_MISSING", "AGENT_TOKEN_STATUS_SUSPENDED"];
    assert!(status == 403 && either.contains(&&*code), "{code}");
    let scope = scene.ask("/others", &narrow, &other).await.json();
    assert_eq!((&scope["failed"], &scope["missing"]), (&json!("agent_scope"), &json!(["pay"])));
    scene.gateway.revoke(scene.ada.id, permission("reports")).await;
    let lost = scene.ask("/broken", &narrow, &other).await;
    assert_eq!(lost.json()["failed"], "human_permission", "before the organization: {}", lost.text());
    scene.gateway.grant(scene.ada.id, permission("reports")).await;
    assert_eq!(ask("/broken", &narrow).await, (403, "ORG_MISMATCH".to_owned()), "before the broken upstream");
    let (able_id, able) = scene.mint(&reader(&json!({}))).await;
    assert_eq!(scene.ask("/broken", &able, &[]).await.status, 503);
    let shown = scene.call("GET", &format!("/ai/tokens/{able_id}/"), &Value::Null).await.json();
    assert_eq!(
        (&shown["current_request_count"], &shown["status"]),
        (&json!(0), &json!("ACTIVE")),
        "nothing is counted"
    );
    let late = scene.ask("/late", &narrow, &[]).await;
    assert_eq!(told(&late), (503, "UPSTREAM_UNAVAILABLE".to_owned()), "before people and totals");
    let named = scene.approved("/held", &narrow, "{}").await;
    let spent = scene.post("/held", &narrow, &[&confirmed(&named)], "{}").await;
    assert_eq!(told(&spent), (403, "AGENT_TOKEN_SUSPENDED".to_owned()), "totals come last");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn t11_a_row_says_who_for_whom_where_why_and_at_what_price() {
    let upstream = Upstream::echo().await;
    let ours = "  - { name: ours, match: { path: /ours, methods: [POST] }, upstream: up, allow: { org: member }, agents: { permission: 'write:invoices', hold: always, cost: { flat_usd: 0.25 } } }\n";
    let scene = scene(&format!("{}{ours}", routes(&upstream))).await;
    let mint = json!({"agent_id": "payer", "permissions": ["write:invoices"], "organization": "acme-corp", "budget_limit_usd": 1});
    let (number, token) = scene.mint(&mint).await;
    let named = scene.approved("/ours", &token, "{}").await;
    let more = [&*confirmed(&named), "X-Prompt-Trace-ID: trace-1"];
    assert_eq!(scene.post("/ours", &token, &more, "{}").await.status, 200);
    assert_eq!(scene.ask("/people", &token, &["X-Prompt-Trace-ID: trace-2"]).await.status, 403);
    until(SECOND, "three rows", async || scene.rows("agent_action").await.len() == 3).await;
    let rows = scene.rows("agent_action").await;
    let found = agent::find(&scene.gateway.running.app.db, agent::Reference::Number(Number(number))).await;
    let known = found.unwrap().expect("the token");
    let acme = scene.gateway.organization_of("acme-corp").await;
    for row in &rows {
        assert_eq!((row.actor, row.actor_kind.as_str()), (Some(known.id), "agent"));
        assert_eq!((row.account, row.organization), (Some(scene.ada.id), acme));
        assert_eq!(row.application, Some(scene.keys.id));
        assert_eq!(row.personal["detail"]["agent"], "payer");
    }
    let facts = |at: usize, keys: &[&str]| {
        keys.iter().map(|key| rows[at].personal["detail"][*key].clone()).collect::<Vec<_>>()
    };
    let all = ["verdict", "route", "permission", "reason", "trace", "cost_usd"];
    assert_eq!(facts(0, &all[..4]), [json!("hold"), json!("ours"), json!("write:invoices"), Value::Null]);
    let allowed = [json!("allow"), json!("ours"), json!("write:invoices"), Value::Null, json!("trace-1")];
    assert_eq!(facts(1, &all[..5]), allowed);
    assert_eq!(rows[1].personal["detail"]["cost_usd"].as_f64(), Some(0.25));
    assert_eq!(facts(1, &["approval"]), facts(0, &["approval"]));
    assert!(rows[1].personal["detail"]["approval"].is_string());
    let refused = [json!("deny"), json!("people"), Value::Null, json!("agent"), json!("trace-2")];
    assert_eq!(facts(2, &all[..5]), refused);
    let sought = audit::Sought { trace: Some("trace-1".to_owned()), ..Default::default() };
    let traced = audit::tail_of(&scene.gateway.running.app.db, &sought, 0, 10).await.unwrap();
    assert_eq!(traced, [rows[1].clone()], "found by what caused it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t9_a_stream_through_one_replica_is_cut_when_the_agent_is_stopped_on_the_other() {
    let upstream = streaming().await;
    let yaml = format!("{YAML}{}", routes(&upstream));
    let replicas = Replicas::on(Dialect::Postgres, &yaml).await;
    let (here, there) = (&replicas.here, &replicas.there);
    let keys = here.application("web", &[]).await;
    let ada = here.user("ada", &keys).await;
    here.grant(ada.id, permission("reports")).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let mut last = String::new();
    // The last one is no endpoint: an administrator locks her out.
    for path in ["/ai/tokens/{id}/suspend/", "/ai/tokens/{id}/revoke/", "/ai/tokens/revoke-all/", "lock"] {
        let minted = here.call("POST", "/ai/tokens/", &lines, &reader(&json!({}))).await.json();
        let path = path.replace("{id}", &minted["id"].to_string());
        let mut client = Client::connect(there.public()).await;
        let agent = bearer(minted["token"].as_str().unwrap());
        client.send(get("/reports/live", &[&agent])).await;
        assert!(client.until(b"data").await.is_some(), "the stream has begun");
        last = agent;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        if path == "lock" {
            here.change(async |change| assert!(account::lock(change, ada.id, None).await.unwrap())).await;
        } else {
            assert_eq!(here.call("POST", &path, &lines, &Value::Null).await.status, 200);
        }
        assert!(is_cut(&mut client).await, "{path}");
    }
    let refused = there.send("GET", "/reports/7", &[last]).await;
    assert_eq!(told(&refused), (403, "AGENT_TOKEN_STATUS_SUSPENDED".to_owned()));
}
