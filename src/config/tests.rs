use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

mod shipped;

use super::load::load_with;
use super::*;
use crate::base::Secret;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn config(text: &str) -> Arc<Config> {
    load_text(text).unwrap_or_else(|problems| panic!("{problems}")).config
}

const APP: &str = "upstreams: { app: { servers: [127.0.0.1:9000] } }\n";

/// A folder with the files that `full.yaml` names.
fn full_files() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for file in [
        "tls/cert.pem",
        "tls/key.pem",
        "tls/ca.pem",
        "tls/client.pem",
        "tls/client.key",
        "secrets/store",
        "secrets/redis",
        "secrets/mail",
        "secrets/sms",
        "secrets/google",
        "secrets/ldap",
        "secrets/webhook",
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let is_hook = file == "secrets/webhook";
        let text = if is_hook { "whsec_czNjcmV0czNjcmV0czNjcmV0czNjcmV0" } else { "s3cr/et" };
        std::fs::write(&path, format!("{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn full(folder: &Path) -> Result<Loaded, Problems> {
    load_with(&read("config/full.yaml"), folder, &|name| match name {
        "REDIS_HOST" => Some("cache".to_owned()),
        "SOCIAL_SECRET" => Some("s3cr/et".to_owned()),
        _ => None,
    })
}

#[test]
fn presets_set_what_the_contract_says() {
    let facts = |preset: &str| {
        let config = config(&format!("preset: {preset}\n"));
        (
            config.tokens.access_for.as_secs(),
            config.sessions.idle_for.as_secs(),
            config.tokens.rotation,
            (config.accounts.lockout.after, config.accounts.lockout.locked_for.as_secs() / 60),
            config.accounts.password.history,
            (config.sessions.max, config.sessions.devices),
            config.accounts.registration.log_in_at_once,
            config.security_headers,
        )
    };
    assert_eq!(facts("development"), (3600, 2_592_000, false, (10, 15), 0, (None, None), true, false));
    assert_eq!(facts("medium"), (900, 604_800, true, (5, 30), 5, (Some(5), Some(5)), false, true));
    assert_eq!(facts("robust"), (300, 86_400, true, (3, 60), 12, (Some(2), Some(2)), false, true));
}

#[test]
fn the_file_wins_over_its_preset_and_says_so() {
    let config = config("preset: robust\ntokens:\n  access_for: 7m\nsessions: { max: null }\n");
    assert_eq!(config.tokens.access_for, Duration::from_mins(7));
    assert_eq!(config.sessions.max, None);
    let setting = |path: &str| {
        let setting = config.effective().iter().find(|setting| setting.path == path).unwrap();
        format!("{} ({})", setting.value, setting.from)
    };
    assert_eq!(setting("tokens.access_for"), "7m (line 3)");
    assert_eq!(setting("sessions.devices"), "2 (preset robust)");
    assert_eq!(setting("tokens.algorithm"), "EdDSA (default)");
    assert_eq!(setting("cors.origins"), "[] (default)");
}

#[test]
fn effective_settings_show_no_secret() {
    let text = "store: postgres://gw:hunter2@db/gw\nshared: 'redis://:${WORD}@cache'\ntokens: { issuer: '${WORD}' }\n";
    let loaded = load_with(text, Path::new(""), &|_| Some("hunter3".to_owned())).unwrap();
    let shown = format!("{:?}", loaded.config);
    assert!(!shown.contains("hunter2") && shown.contains("postgres://gw:***@db/gw"), "{shown}");
    let settings: Vec<_> = loaded.config.effective().iter().map(|setting| setting.value.as_str()).collect();
    assert!(settings.contains(&"${WORD}") && !settings.iter().any(|value| value.contains("hunter")));
}

#[test]
fn a_variable_is_read_as_what_its_place_asks_for() {
    let text = "limits: { connections: { total: '${N}' } }\nwatch: '${FLAG}'\ntokens: { issuer: '${N}' }\n";
    let lookup = |name: &str| Some(if name == "N" { "5000" } else { "true" }.to_owned());
    let config = load_with(text, Path::new(""), &lookup).unwrap().config;
    assert_eq!((config.limits.connections.total, config.watch), (5000, true));
    assert_eq!(config.tokens.issuer, "5000");
}

#[test]
fn the_public_url_is_the_listener_where_only_this_machine_can_reach_it() {
    let default = config("watch: false");
    assert_eq!(default.public_url.to_string(), "http://127.0.0.1:8080");
    let any = config("listen: { public: '127.0.0.1:0' }");
    assert_eq!(any.public_url.bound_to(4711).to_string(), "http://127.0.0.1:4711");
    let said = config("public_url: https://gw.example.com");
    assert_eq!(said.public_url.bound_to(4711).to_string(), "https://gw.example.com");
}

#[test]
fn a_risk_is_taken_only_by_name_and_an_idle_name_is_reported() {
    let loaded =
        load_text("insecure: [trust_all_proxies, weak_hash]\nlisten: { trusted_proxies: [0.0.0.0/0] }\n")
            .unwrap();
    assert_eq!(loaded.config.insecure, BTreeSet::from([Insecure::TrustAllProxies]));
    assert!(loaded.warnings.iter().any(|warning| warning.path == "insecure[1]" && warning.line == 1));
    let names: Vec<&str> = Insecure::ALL.iter().map(|risk| risk.name()).collect();
    let schema = schema();
    let words = schema["properties"]["insecure"]["items"]["oneOf"].as_array().unwrap();
    assert_eq!(names, words.iter().map(|word| word["const"].as_str().unwrap()).collect::<Vec<_>>());
}

#[test]
fn a_secret_that_everyone_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = full_files();
    let open = |file: &str| {
        std::fs::set_permissions(folder.path().join(file), std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    open("tls/cert.pem");
    assert!(full(folder.path()).is_ok(), "a certificate is no secret");
    for file in ["tls/key.pem", "secrets/store", "secrets/redis", "tls/client.key"] {
        open(file);
    }
    let problems = full(folder.path()).unwrap_err();
    let paths: Vec<&str> = problems.list.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "listen.tls.key_file",
            "store.password_file",
            "shared.password_file",
            "upstreams.reports.tls.client_key_file"
        ]
    );
}

#[test]
fn a_route_inherits_what_it_does_not_say() {
    let text = "
limits: { body: { bytes: 2MiB } }
cors: { origins: [https://app.example.com] }
upstreams: { app: { servers: ['127.0.0.1:9000'], assertion: request, breaker: 'off' } }
routes:
  - { name: a, match: { path: /a, methods: [GET] }, upstream: app, allow: signed_in }
  - { name: b, match: { path: /b }, upstream: app, allow: anyone, cors: { max_age: 1m }, assertion: 'off', body: 1B }
  - { name: c, match: { path: /c }, upstream: app, allow: anyone, cors: 'off' }
";
    let config = config(text);
    let [a, b, c] = &config.routes[..] else { panic!() };
    assert_eq!((a.body, b.body), (2 << 20, 1));
    assert_eq!((a.assertion, b.assertion), (Assertion::Request, Assertion::Off));
    assert_eq!(a.cors.as_ref(), Some(&config.cors));
    let own = b.cors.as_ref().unwrap();
    assert_eq!((own.origins.len(), own.max_age), (1, Duration::from_mins(1)));
    assert_eq!((&c.cors, &config.upstreams["app"].breaker), (&None, &None));
    assert_eq!((a.methods.to_string(), c.methods), ("GET, HEAD".to_owned(), crate::policy::Methods::ALL));
}

#[test]
fn conditions_in_one_map_are_all_asked() {
    let text = format!(
        "{APP}routes:
  - name: a
    match: {{ path: '/a/{{id}}' }}
    upstream: app
    allow: {{ permission: content.view, org: {{ role: admin, plan: gold }}, not: {{ any: [mfa-less, x] }} }}
"
    )
    .replace("{ any: [mfa-less, x] }", "{ any: [{ mfa: true }, { owner: id }] }");
    assert_eq!(
        config(&text).routes[0].allow.to_string(),
        "(permission content.view and org.role admin and org.plan gold and not (mfa or owner id))"
    );
}

#[test]
fn the_opposite_of_what_is_never_true_is_no_policy() {
    for never in [
        "{ scope: x }",
        "{ any: [ { scope: y }, { staff: true } ] }",
        "{ all: [ { org: { status: closed } }, { scope: z } ] }",
    ] {
        let text = format!(
            "{APP}routes: [ {{ name: a, match: {{ path: /a }}, upstream: app, allow: {{ not: {never} }} }} ]\n"
        );
        let told = load_text(&text).expect_err("no policy").to_string();
        assert!(told.contains("lets everyone pass"), "{never}: {told}");
    }
}

#[test]
fn shuffled_routes_decide_alike() {
    let route = |name: &str, path: &str| {
        format!("  - {{ name: {name}, match: {{ path: '{path}' }}, upstream: app, allow: anyone }}\n")
    };
    let routes = [
        route("all", "/**"),
        route("users", "/users/**"),
        route("user", "/users/{id}"),
        route("me", "/users/me"),
        route("posts", "/users/{id}/posts"),
    ];
    let answers = |order: &[usize]| -> Vec<Option<String>> {
        let list: String = order.iter().map(|at| routes[*at].as_str()).collect();
        let config = config(&format!("{APP}routes:\n{list}"));
        let table =
            crate::policy::Table::build(config.routes.iter().map(|route| crate::policy::table::Entry {
                host: route.host.clone(),
                pattern: route.path.clone(),
                methods: route.methods,
                value: route.name.clone(),
            }))
            .unwrap();
        ["/", "/users", "/users/me", "/users/7", "/users/me/posts", "/users/7/posts/1"]
            .iter()
            .map(|path| match table.find("h", path, &http::Method::GET) {
                crate::policy::Found::Entry(name, _) => Some(name.clone()),
                _ => None,
            })
            .collect()
    };
    let expected = answers(&[0, 1, 2, 3, 4]);
    assert_eq!(
        expected.iter().flatten().collect::<Vec<_>>(),
        ["all", "users", "me", "user", "posts", "users"]
    );
    let mut order = [0, 1, 2, 3, 4];
    for turn in 0..50 {
        order.swap(turn % 5, (turn * 7 + 3) % 5);
        assert_eq!(answers(&order), expected, "{order:?}");
    }
}

#[test]
fn organizations_are_as_deep_as_a_tree_can_be_walked() {
    let deep = |levels: &str| load_text(&format!("organizations: {{ max_depth: {levels} }}\n"));
    for levels in ["1", "32"] {
        let config = deep(levels).unwrap_or_else(|problems| panic!("{problems}")).config;
        assert_eq!(config.organizations.max_depth.to_string(), levels);
    }
    for levels in ["0", "33", "1000", "-1"] {
        let problems = deep(levels).expect_err(levels).list;
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["organizations.max_depth"], "{problems:?}");
    }
}

#[test]
fn ten_thousand_routes_are_not_too_many() {
    let mut text = format!("{APP}routes:\n");
    let route = "  - { name: rN, match: { path: '/rN/{id}/**' }, upstream: app, allow: signed_in }\n";
    for at in 0..10_000 {
        text.push_str(&route.replace('N', &at.to_string()));
    }
    assert_eq!(config(&text).routes.len(), 10_000);
}

#[test]
fn a_file_that_is_missing_or_too_large_or_no_text_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str, content: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        load(&path).unwrap_err().to_string()
    };
    assert!(told("missing.yaml", None).contains("cannot be read"));
    assert!(told("binary.yaml", Some(&[0xff, 0xfe, 0])).contains("not UTF-8"));
    assert!(told("large.yaml", Some(&vec![b'#'; 5 << 20])).contains("larger than"));
}

proptest::proptest! {
    /// Half-written and mangled files are refused or understood; nothing else may happen.
    #[test]
    fn a_mangled_file_never_ends_the_process(from in 0usize..6000, length in 0usize..80, put in "[\\[\\]{}:,&*!#|>'\"%@`\\- \\n\ta-z0-9$]{0,6}") {
        let text: Vec<char> = read("config/full.yaml").chars().collect();
        let from = from.min(text.len());
        let until = (from + length).min(text.len());
        let mangled: String = text[..from].iter().copied().chain(put.chars()).chain(text[until..].iter().copied()).collect();
        if let Err(problems) = load_text(&mangled) {
            proptest::prop_assert!(!problems.list.is_empty());
        }
    }
}
