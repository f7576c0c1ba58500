//! What a decision costs by itself, without a socket: finding a route, judging a policy.
//! Law: the time must not grow with the number of routes. `cargo bench --bench pure` shows it;
//! the aim for a route is half a microsecond at 10,000 routes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use portcullis::base::{Id, Timestamp};
use portcullis::policy::allow::{Allow, Condition};
use portcullis::policy::catalogue::{Assignments, Catalogue};
use portcullis::policy::judge::{Caller, Facts, Organization};
use portcullis::policy::table::{Entry, Found, Table};
use portcullis::policy::{Code, Host, Methods, Pattern, seed};

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
            authenticated_at: Timestamp::from_millis(0),
            is_staff: false,
            is_email_verified: true,
            is_phone_verified: false,
        }),
        organization: Organization::Named { here: Some(&owner), above: &[] },
        application: None,
        param: &|_| None,
    };
    criterion.bench_function("a policy of three conditions", |bencher| {
        bencher.iter(|| black_box(&compiled).judge(black_box(&facts)));
    });
}

criterion_group!(pure, routes, policies);
criterion_main!(pure);
