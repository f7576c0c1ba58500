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
fn routes_say_where_browsers_come_by_themselves() {
    let place = Place::with(&format!(
        "preset: development{}",
        GOOD.replace("allow: { permission: users.view } }", "allow: signed_in, browser: true }")
    ));
    let told = place.run("routes").good();
    let line = told.lines().find(|line| line.starts_with("reports")).expect("the route is listed");
    assert!(line.ends_with("signed_in  yes"), "{told}");
    assert_eq!(place.run("routes --json").json()[1]["browser"], true);
    assert_eq!(place.run("routes --json").json()[0]["browser"], false);
}

#[test]
fn a_seal_key_that_is_not_there_is_warned_of() {
    let place = Place::with(&format!("preset: medium\n{GOOD}"));
    let told = place.run("check");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.err.contains("warning: keys.seal_file: the seal key") && told.err.contains("init"),
        "{told:?}"
    );
    let warned = place.run("check --json").json();
    assert_eq!((&warned["ok"], &warned["warnings"][0]["path"]), (&true.into(), &"keys.seal_file".into()));
    std::fs::create_dir_all(place.path().join("data")).unwrap();
    place.write("data/seal.key", &format!("{}\n", "0a".repeat(32)));
    place.close("data/seal.key");
    assert!(!place.run("check").err.contains("seal key"));
    assert!(
        !Place::with(&format!("preset: development\n{GOOD}")).run("check").err.contains("seal key"),
        "it makes its own"
    );
}

#[test]
fn one_method_in_the_place_of_a_list_is_told_how_to_be_one() {
    let told = Place::with(&GOOD.replace("methods: [GET]", "methods: GET")).run("check").bad();
    assert!(told.contains("routes[1].match.methods: expected a list, found text"), "{told}");
    assert!(told.contains("hint: a list stands in brackets, also of one: `methods: [...]`"), "{told}");
}

#[test]
fn a_secret_whose_variable_is_not_set_is_not_called_missing_as_well() {
    let social =
        "preset: development\nlogin: { social: { github: { client_id: a, client_secret: '${NOT_SET}' } } }\n";
    let told = Place::with(&format!("{social}{GOOD}")).run("check").bad();
    assert!(told.contains("has 1 problem") && told.contains("NOT_SET is not set"), "{told}");
    let without = social.replace(", client_secret: '${NOT_SET}'", "");
    assert!(Place::with(&format!("{without}{GOOD}")).run("check").bad().contains("missing: this provider"));
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
