//! `check`, `routes` and `schema`: commands that need the configuration and nothing else.
//! What they print for a bad file is compared word for word, because people read it under stress.

use super::{GOOD, Place};

#[test]
fn a_good_configuration_is_called_good() {
    let told = Place::with(GOOD).run("check").good();
    assert_eq!(told, "portcullis.yaml is good: 2 routes, 1 upstream\n");
}

#[test]
fn everything_wrong_is_told_at_once_with_line_and_hint() {
    let place = Place::with(
        "listne: {}
upstreams:
  app: { servers: [127.0.0.1:9000] }
routes:
  - { name: a, match: { path: /a }, upstream: app, allow: { permission: users.veiw } }
  - { name: b, match: { path: /b }, upstream: app }
",
    );
    assert_eq!(
        place.run("check").bad(),
        "portcullis: portcullis.yaml has 3 problems:

  line 1, column 1: listne: unknown key
    hint: did you mean `listen`?
  line 5, column 73: routes[0].allow.permission: no permission `users.veiw` is declared or seeded
    hint: did you mean `users.view`?
  line 6, column 5: routes[1]: `allow` is missing
    hint: say who may pass: `anyone`, `signed_in` or conditions such as `{permission: reports.read}`
"
    );
}

#[test]
fn an_upstream_that_no_route_uses_is_a_problem() {
    let told =
        Place::with(&GOOD.replace("upstreams: {", "upstreams: { idle: { servers: [127.0.0.1:9001] },"));
    let told = told.run("check").bad();
    assert!(told.contains("line 2") && told.contains("idle"), "{told}");
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let told = Place::empty().run("check --config gw.yaml").bad();
    assert!(told.contains("gw.yaml") && told.contains("portcullis init"), "{told}");
}

#[test]
fn problems_come_as_json_for_scripts() {
    let outcome = Place::with("routes: 3").run("check --json");
    assert_eq!(outcome.code, 1);
    let told = outcome.json();
    assert_eq!(told["ok"], false);
    assert_eq!((&told["problems"][0]["path"], &told["problems"][0]["line"]), (&"routes".into(), &1.into()));
}

#[test]
fn every_value_in_effect_is_shown_with_its_origin_and_no_secret() {
    let place = Place::with(&format!("store: postgres://gw:hunter2@db/gw\n{GOOD}"));
    let told = place.run("check --effective").good();
    assert!(told.contains("tokens.access_for") && told.contains("preset medium") && told.contains("line 1"));
    assert!(!told.contains("hunter2"), "{told}");
    let listed = place.run("check --effective --json").json();
    assert!(listed["effective"].as_array().is_some_and(|list| list.len() > 50));
}

#[test]
fn routes_are_listed_for_people_and_for_scripts() {
    let place = Place::with(GOOD);
    let told = place.run("routes").good();
    let line = told.lines().find(|line| line.starts_with("reports")).expect("the route is listed");
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["reports", "GET,HEAD", "/reports/**", "app", "permission", "users.view"]
    );
    assert_eq!(place.run("routes --json").json()[0]["allow"], "anyone");
    assert!(place.run("routes --json").json()[0]["agents"].is_null());
}

#[test]
fn routes_say_which_agents_pass_and_what_becomes_of_what_they_ask() {
    let agents = |name: &str, more: &str| {
        format!(
            "  - {{ name: {name}, match: {{ path: /{name}, methods: [POST] }}, upstream: app, allow: signed_in, agents: {{ permission: users.view{more} }} }}\n"
        )
    };
    let when = ", hold: { when: { pointer: /amount, above: 100 } }";
    let routes = [agents("free", ""), agents("dear", ", cost: { flat_usd: 0.01 }"), agents("big", when)];
    let told = Place::with(&format!("{GOOD}{}", routes.concat())).run("routes").good();
    let end = |name: &str| told.lines().find(|line| line.starts_with(name)).expect("the route").to_owned();
    assert!(end("open").ends_with("anyone"), "{told}");
    assert!(end("free").ends_with("  permission users.view"), "{told}");
    assert!(end("dear").ends_with("  permission users.view, costs"), "{told}");
    assert!(end("big").ends_with("  permission users.view, some held"), "{told}");
}

#[test]
fn the_schema_is_json() {
    let schema = Place::empty().run("schema").json();
    assert!(schema["properties"]["routes"].is_object());
}

#[test]
fn the_configuration_of_the_compose_file_is_good() {
    let place = Place::with(include_str!("../../../deploy/portcullis.yaml"));
    let secrets = [("POSTGRES_PASSWORD", "hunter2"), ("REDIS_PASSWORD", "hunter3")];
    let told = place.run_in(&secrets, "check --effective", "").good();
    assert!(told.contains("postgres") && !told.contains("hunter"), "{told}");
    assert!(place.run("check").bad().contains("POSTGRES_PASSWORD"));
}

#[test]
fn the_api_describes_itself() {
    let document = Place::with(GOOD).run("openapi").json();
    assert!(document["paths"]["/api/v1/auth/login/email/"]["post"].is_object(), "{document}");
}
