//! `portcullis test` and `portcullis coverage` as an operator or a pipeline runs them.
//! Law: the exit code says what a pipeline has to know.

use serde_json::json;

use super::Place;

const CONFIG: &str = "
preset: development
applications: { required: nowhere }
permissions: [ { code: reports }, { code: reports.read, parent: reports }, { code: idle } ]
roles: [ { code: analyst, permissions: [reports.read] } ]
upstreams: { up: { servers: ['127.0.0.1:9'] } }
routes:
  - { name: reports, match: { path: '/reports/{id}', methods: [GET] }, upstream: up, allow: { permission: reports.read } }
  - { name: own, match: { path: '/people/{id}' }, upstream: up, allow: { owner: id } }
  - { name: safe, match: { path: /safe }, upstream: up, allow: { mfa: true, max_age: 5m } }
  - { name: tried, match: { path: /tried }, upstream: up, allow: { staff: true }, shadow: true }
  - { name: open, match: { path: /open }, upstream: up, allow: anyone }
";

const GOOD: &str = "
tests:
  - { name: analysts read, request: GET /reports/7, principal: { roles: [analyst] }, expect: pass }
  - { name: by a parent, request: GET /reports/7, principal: { permissions: [reports] }, expect: pass }
  - { name: others do not, request: GET /reports/7, principal: {}, expect: refuse, status: 403, code: PERMISSION_REQUIRED }
  - { name: nobody is asked who they are, request: GET /reports/7, expect: refuse, status: 401, code: AUTH_REQUIRED }
  - { name: nobody writes, request: POST /reports/7, principal: { superuser: true }, expect: refuse, status: 405 }
  - { name: oneself, request: GET /people/0190b8a2-7c1e-7f00-8000-00000000000a, principal: { id: 0190b8a2-7c1e-7f00-8000-00000000000a }, expect: pass }
  - { name: somebody else, request: GET /people/0190b8a2-7c1e-7f00-8000-00000000000b, principal: { id: 0190b8a2-7c1e-7f00-8000-00000000000a }, expect: refuse, code: OWNER_REQUIRED }
  - { name: fresh and strong, request: GET /safe, principal: { mfa: true, age: 60 }, expect: pass }
  - { name: too long ago, request: GET /safe, principal: { mfa: true, age: 600 }, expect: refuse, code: REAUTHENTICATION_REQUIRED }
  - { name: weak, request: GET /safe, principal: {}, expect: refuse, code: MFA_REQUIRED }
  - { name: only counted, request: GET /tried, principal: {}, expect: pass }
  - { name: Ada as she is, request: GET /reports/7, as: ada@example.com, expect: pass }
  - { name: no such route, request: GET /nothing, expect: refuse, status: 404 }
";

fn place() -> Place {
    let place = Place::with(CONFIG);
    place.write("good.yaml", GOOD);
    place.run("migrate").good();
    place.run("user create ada@example.com --no-password").good();
    place.run("user grant ada@example.com --role analyst").good();
    place
}

#[test]
fn a_table_whose_decisions_come_as_they_must_is_passed() {
    let place = place();
    let told = place.run("test good.yaml").good();
    assert!(told.ends_with("13 passed, 0 failed\n"), "{told}");
    let told = place.run("test good.yaml --json").json();
    assert_eq!(
        (&told["passed"], &told["failed"], &told["tests"][2]["got"]["code"]),
        (&json!(13), &json!(0), &json!("PERMISSION_REQUIRED"))
    );
    assert_eq!(told["tests"][0]["got"]["route"], "reports");
    let before = place.run("audit tail --json").out;
    place.run("test good.yaml").good();
    assert_eq!(place.run("audit tail --json").out, before, "nothing was written");
}

#[test]
fn a_decision_that_came_otherwise_is_told_with_what_came() {
    let place = place();
    place.write(
        "bad.yaml",
        "
tests:
  - { name: fine, request: GET /open, expect: pass }
  - { name: too much, request: GET /reports/7, principal: {}, expect: pass }
  - { name: too little, request: GET /reports/7, principal: { roles: [analyst] }, expect: refuse }
  - { name: another code, request: GET /reports/7, expect: refuse, status: 403, code: PERMISSION_REQUIRED }
",
    );
    let outcome = place.run("test bad.yaml good.yaml");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    for line in [
        "ok      fine",
        "FAILED  too much: expected pass, got refuse 403 PERMISSION_REQUIRED",
        "FAILED  too little: expected refuse, got pass",
        "FAILED  another code: expected refuse 403 PERMISSION_REQUIRED, got refuse 401 AUTH_REQUIRED",
        "14 passed, 3 failed",
    ] {
        assert!(outcome.out.lines().any(|own| own == line), "{line}\n{}", outcome.out);
    }
    let other = place.run("explain POST /reports/7");
    assert!(other.code == 1 && other.out.contains("most specific for it: reports ("), "{other:?}");
    let told = place.run("test bad.yaml --json").json();
    assert_eq!((&told["failed"], &told["tests"][1]["passed"]), (&json!(3), &json!(false)));
}

#[test]
fn a_table_that_cannot_mean_what_it_says_is_wrong_usage() {
    let place = place();
    for (text, told) in [
        ("tests: []", "no tests"),
        ("tests: [ { name: a, request: GET /open, expect: maybe } ]", "maybe"),
        ("tests: [ { name: a, request: GET /open, expect: pass, colour: red } ]", "colour"),
        ("tests: [ { name: a, request: /open, expect: pass } ]", "a method and a path"),
        ("tests: [ { name: a, request: GET /open, expect: pass, code: X } ]", "expect: refuse"),
        ("tests: [ { name: a, request: GET /open, as: x, agent: '1', expect: pass } ]", "who asks is one"),
        (
            "tests: [ { name: a, request: GET /open, expect: pass }, { name: a, request: GET /open, expect: pass } ]",
            "two tests",
        ),
        (
            "tests: [ { name: a, request: GET /open, principal: { roles: [analist] }, expect: pass } ]",
            "analist",
        ),
        (
            "tests: [ { name: a, request: GET /open, principal: { orgs: { nowhere: member } }, expect: pass } ]",
            "nowhere",
        ),
        ("tests: [ { name: a, request: GET /open, as: eve@example.com, expect: pass } ]", "`a`"),
        ("tests: [ { name: a, request: GET /../x, expect: pass } ]", "no gateway takes such a path"),
        ("tests: [", "portcullis"),
        ("- { name: a, request: GET /open, expect: pass }", "begins with `tests:`"),
    ] {
        place.write("wrong.yaml", text);
        let outcome = place.run("test wrong.yaml");
        assert_eq!(outcome.code, 2, "{text} {outcome:?}");
        assert!(outcome.err.contains(told), "{text} {}", outcome.err);
    }
    assert_eq!(place.run("test nowhere.yaml").code, 2);
}

#[test]
fn what_no_test_asks_about_and_permissions_that_mean_nothing_are_told() {
    let place = place();
    let outcome = place.run("coverage good.yaml");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let has = |line: &str| outcome.out.lines().any(|own| own == line);
    assert!(has("no test asks about the route open"), "{}", outcome.out);
    assert!(!outcome.out.contains("the route reports\n"), "{}", outcome.out);
    assert!(has("nothing asks for the permission idle") && has("nobody holds the permission idle"));
    assert!(!has("nothing asks for the permission reports"), "its child is asked for");
    assert!(has("nobody holds the permission reports") && !has("nobody holds the permission reports.read"));
    assert!(!has("nobody holds the permission users.view") && outcome.out.contains("`--all` shows them"));
    let all = place.run("coverage good.yaml --all").out;
    assert!(all.lines().any(|own| own == "nobody holds the permission users.view"), "{all}");
    assert!(!all.contains("nothing asks for the permission users.view"), "an endpoint of the gateway does");
    let told = place.run("coverage --json").json();
    assert_eq!(told["routes_without_test"], json!(["open", "own", "reports", "safe", "tried"]));
    place.run("user grant ada@example.com --role super_admin --permission idle").good();
    let told = place.run("coverage good.yaml --json").json();
    assert_eq!(
        (&told["permissions_nobody_holds"], &told["routes_without_test"]),
        (&json!([]), &json!(["open"]))
    );
}

#[test]
fn a_site_whose_own_words_are_all_in_use_comes_clean() {
    let place = Place::with(&CONFIG.replace(", { code: idle }", ""));
    place.write("good.yaml", &format!("{GOOD}  - {{ name: the rest, request: GET /open, expect: pass }}\n"));
    place.run("migrate").good();
    place.run("user create ada@example.com --no-password").good();
    assert_eq!(place.run("coverage good.yaml").code, 1, "nobody holds what the file defines");
    place.run("user grant ada@example.com --role analyst --permission reports").good();
    for line in ["coverage good.yaml", "coverage good.yaml --all", "coverage good.yaml --json"] {
        place.run(line).good();
    }
    let told = place.run("coverage good.yaml --json").json();
    assert_eq!(told["permissions_nobody_holds"], json!([]));
    assert!(told["of_the_gateway"]["nobody_holds"].as_u64().is_some_and(|count| count > 0), "{told}");
}

#[test]
fn a_route_in_shadow_mode_is_warned_of_and_explained() {
    let place = place();
    let outcome = place.run("check");
    assert!(outcome.code == 0 && outcome.err.contains("routes[3].shadow"), "{outcome:?}");
    place.run("user create bob@example.com --no-password").good();
    let told = place.run("explain GET /tried --as bob@example.com");
    assert!(
        told.code == 0 && told.out.contains("only counted") && told.out.contains("would be forwarded"),
        "{told:?}"
    );
    place.write(
        "portcullis.yaml",
        "preset: development
upstreams: { up: { servers: ['127.0.0.1:9'] } }
routes: [ { name: a, match: { path: /a }, upstream: up, allow: anyone, shadow: true } ]
",
    );
    assert!(place.run("check").bad().contains("refuses nobody"));
}
