//! What a decision costs by itself, without a socket: finding a route, judging a policy, reading a
//! token that no cache knows, counting against a route's limit; and what it costs to read a configuration.
//! Law: the time must not grow with the number of routes. `cargo bench --bench pure` shows it;
//! the aim for a route is half a microsecond at 10,000 routes, and a second to read and check so many.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use portcullis::base::{Id, SystemClock, SystemRandom, Timestamp};
use portcullis::crypto::jwt::{self, Expect};
use portcullis::crypto::key::{Algorithm, SigningKey};
use portcullis::crypto::keyring::{Keyring, Member, Purpose};
use portcullis::policy::allow::{Allow, Condition};
use portcullis::policy::catalogue::{Assignments, Catalogue};
use portcullis::policy::judge::{Caller, Facts, Organization};
use portcullis::policy::table::{Entry, Found, Table};
use portcullis::policy::{Code, Host, Methods, Pattern, seed};
use portcullis::shared::{Quota, Shared};

/// Routes as services have them: a few per resource, some on a host of their own.
fn table(count: usize) -> Table<usize> {
    let entries = (0..count).map(|at| {
        let resource = at / 4;
        let path = match at % 4 {
            0 => format!("/api/resource-{resource}"),
            1 => format!("/api/resource-{resource}/{{id}}"),
            2 => format!("/api/resource-{resource}/{{id}}/items/{{item}}"),
            _ => format!("/api/resource-{resource}/{{id}}/files/**"),
        };
        let host = (resource % 8 == 0).then(|| Host::parse("api.example.com").expect("a host"));
        Entry { host, pattern: Pattern::parse(&path).expect("a pattern"), methods: Methods::ALL, value: at }
    });
    Table::build(entries).expect("no two of these routes could both win")
}

fn routes(criterion: &mut Criterion) {
    for count in [10, 10_000] {
        let table = table(count);
        let last = (count - 1) / 4;
        let paths = [
            format!("/api/resource-{last}/7d1e0e0c"),
            format!("/api/resource-{}/7d1e0e0c/items/42", last / 2),
            format!("/api/resource-{}/7d1e0e0c/files/a/b/c.pdf", last / 3),
            "/api/nothing/of/that/name".to_owned(),
        ];
        criterion.bench_function(&format!("four routes among {count}"), |bencher| {
            bencher.iter(|| {
                for path in &paths {
                    let found = table.find(black_box("api.example.com"), black_box(path), &Method::GET);
                    assert!(!matches!(black_box(found), Found::WrongMethod(_)));
                }
            });
        });
    }
}

fn configurations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("configuration");
    group.sample_size(10);
    for count in [10, 10_000] {
        let mut text =
            "preset: development\nupstreams: { app: { servers: [127.0.0.1:9000] } }\nroutes:\n".to_owned();
        for at in 0..count {
            let _ = writeln!(
                text,
                "  - {{ name: r{at}, match: {{ path: '/r{at}/{{id}}/**' }}, upstream: app, allow: signed_in }}"
            );
        }
        group.bench_function(format!("reading and checking {count} routes"), |bencher| {
            bencher.iter(|| {
                let loaded = portcullis::config::load_text(black_box(&text)).expect("a configuration");
                assert_eq!(loaded.config.routes.len(), count);
            });
        });
    }
    group.finish();
}

fn policies(criterion: &mut Criterion) {
    let code = |text: &str| Code::parse(text).expect("a code");
    let catalogue = Catalogue::build(seed::definitions(), 1);
    let rights = catalogue.rights(&Assignments { roles: vec![code("admin")], ..Assignments::default() });
    let allow = Allow::When(Condition::All(vec![
        Condition::Permission(code("users.view")),
        Condition::VerifiedEmail,
        Condition::OrgPermission(code("org.members.invite")),
    ]));
    let compiled = allow.compile(&catalogue);
    let owner = code("owner");
    let facts = Facts {
        now: Timestamp::from_millis(0),
        caller: Some(Caller {
            id: Id::from_u128(1),
            rights: &rights,
            reach: None,
            authenticated_at: Timestamp::from_millis(0),
            second_factor_at: None,
            is_staff: false,
            is_email_verified: true,
            is_phone_verified: false,
        }),
        organization: Organization::Named { here: Some(&owner), above: &[], plan: "", status: "" },
        application: None,
        param: &|_| None,
    };
    criterion.bench_function("a policy of three conditions", |bencher| {
        bencher.iter(|| black_box(&compiled).judge(black_box(&facts)));
    });
}

fn tokens(criterion: &mut Criterion) {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let id = Id::from_u128(1).to_string();
    let claims = serde_json::json!({
        "sub": id, "user_id": id, "sid": id, "jti": id, "app_id": id, "type": "access", "iss": "portcullis",
        "iat": now.as_secs(), "nbf": now.as_secs(), "exp": now.as_secs() + 900,
    });
    let expect = Expect {
        typ: jwt::ACCESS,
        issuer: "portcullis",
        audience: None,
        now,
        leeway: Duration::ZERO,
        longest_for: Duration::from_mins(15),
    };
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let key = SigningKey::generate(algorithm, &SystemRandom).expect("a key");
        let member = Member {
            purpose: Purpose::Access,
            key,
            active_from: Timestamp::from_millis(0),
            published_until: None,
        };
        let ring = Keyring::new(vec![member]);
        let key = ring.active(Purpose::Access, now).expect("the key");
        criterion.bench_function(&format!("signing a token, {algorithm}"), |bencher| {
            bencher.iter(|| jwt::sign(key, jwt::ACCESS, black_box(&claims)).expect("a token"));
        });
        let token = jwt::sign(key, jwt::ACCESS, &claims).expect("a token");
        criterion.bench_function(&format!("reading a token, {algorithm}"), |bencher| {
            bencher.iter(|| {
                let read =
                    jwt::verify::<serde_json::Value>(&ring, Purpose::Access, black_box(&token), &expect);
                assert!(black_box(read).is_ok());
            });
        });
    }
}

fn limits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let shared = Shared::memory(Arc::new(SystemClock));
    let keys: Vec<String> = (0..10_000).map(|n| format!("route:invoices:account-{n}")).collect();
    let quota = Quota { requests: 100, per: Duration::from_mins(1) };
    let mut turn = keys.iter().cycle();
    criterion.bench_function("a route's limit among 10000 callers", |bencher| {
        bencher.iter(|| {
            let key = turn.next().expect("a cycle has no end");
            runtime.block_on(shared.meter(black_box(key), quota)).expect("memory answers")
        });
    });
}

criterion_group!(pure, routes, configurations, policies, tokens, limits);
criterion_main!(pure);
