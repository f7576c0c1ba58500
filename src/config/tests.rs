use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

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
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "s3cr/et\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn full(folder: &Path) -> Result<Loaded, Problems> {
    load_with(&read("config/full.yaml"), folder, &|name| (name == "REDIS_HOST").then(|| "cache".to_owned()))
}

#[test]
fn the_shipped_files_load() {
    for file in ["config/minimal.yaml", "config/example.yaml"] {
        let loaded = load(&root().join(file)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, [], "{file}");
        assert!(!loaded.config.routes.is_empty() && loaded.sha256.len() == 64);
    }
    let folder = full_files();
    let loaded = full(folder.path()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let Database::Postgres { url } = &loaded.config.store.database else { panic!() };
    assert_eq!(url, &Secret::new("postgres://portcullis:s3cr%2Fet@db.internal/portcullis".to_owned()));
    let Shared::Redis { url } = &loaded.config.shared else { panic!() };
    assert_eq!(url.expose(), "rediss://:s3cr%2Fet@cache:6380");
    assert_eq!(loaded.config.insecure, BTreeSet::from([Insecure::UnverifiedUpstream]));
    assert_eq!(loaded.config.keys.seal_file, folder.path().join("secrets/seal.key"));
}

/// Marks every key of the schema that a value uses, by the key's place in the schema.
fn mark(root: &Json, at: &str, value: &Json, used: &mut BTreeSet<String>) {
    let schema = root.pointer(at).unwrap();
    if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
        return mark(root, &target[1..], value, used);
    }
    for key in ["anyOf", "oneOf"] {
        for branch in 0..schema.get(key).and_then(Json::as_array).map_or(0, Vec::len) {
            mark(root, &format!("{at}/{key}/{branch}"), value, used);
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let own = format!("{at}/properties/{key}");
        let other = format!("{at}/additionalProperties");
        if root.pointer(&own).is_some() {
            used.insert(own.clone());
            mark(root, &own, value, used);
        } else if root.pointer(&other).is_some_and(Json::is_object) {
            mark(root, &other, value, used);
        }
    }
    for value in value.as_array().into_iter().flatten() {
        if schema.get("items").is_some() {
            mark(root, &format!("{at}/items"), value, used);
        }
    }
}

fn every_key(schema: &Json, at: &str, found: &mut BTreeSet<String>) {
    match schema {
        Json::Object(map) => {
            for (key, inner) in map {
                let own = format!("{at}/{key}");
                if key == "properties" {
                    found.extend(inner.as_object().unwrap().keys().map(|name| format!("{own}/{name}")));
                }
                every_key(inner, &own, found);
            }
        }
        Json::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, inner)| every_key(inner, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn the_full_file_uses_every_key_of_the_schema() {
    let schema = schema();
    let (mut all, mut used) = (BTreeSet::new(), BTreeSet::new());
    every_key(&schema, "", &mut all);
    mark(&schema, "", &tree::parse(&read("config/full.yaml")).unwrap().to_json(), &mut used);
    let unused: Vec<_> = all.difference(&used).collect();
    assert!(all.len() > 150 && unused.is_empty(), "not in config/full.yaml: {unused:#?}");
}

#[test]
fn the_shipped_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    let path = root().join("config/portcullis.schema.json");
    if std::fs::read_to_string(&path).is_ok_and(|shipped| shipped == generated) {
        return;
    }
    let fresh = root().join("target/portcullis.schema.json");
    std::fs::create_dir_all(fresh.parent().unwrap()).unwrap();
    std::fs::write(&fresh, generated).unwrap();
    panic!("{} is out of date: replace it by {}", path.display(), fresh.display());
}

/// Each `golden/NAME.yaml` is wrong; `golden/NAME.txt` is what its author is told, word for word.
#[test]
fn every_wrong_file_is_explained_word_for_word() {
    let folder = root().join("src/config/golden");
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    names.sort();
    assert!(names.len() >= 20, "the golden files were found");
    let fresh = root().join("target/golden");
    std::fs::create_dir_all(&fresh).unwrap();
    let mut differing = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap();
        let lookup = |name: &str| (name == "METADATA").then(|| "169.254.169.254:80".to_owned());
        let told = match load_with(&text, Path::new(""), &lookup) {
            Ok(_) => panic!("{} loaded", path.display()),
            Err(problems) => problems.to_string(),
        };
        if std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default() != told {
            std::fs::write(fresh.join(path.with_extension("txt").file_name().unwrap()), &told).unwrap();
            differing.push(format!("{} should say:\n{told}", path.with_extension("txt").display()));
        }
    }
    assert!(differing.is_empty(), "{}\n\n(written to {})", differing.join("\n\n"), fresh.display());
}

#[test]
fn every_explanation_has_a_line_and_a_column() {
    let folder = root().join("src/config/golden");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            for problem in load_text(&text).unwrap_err().list {
                assert!(problem.line > 0 && problem.column > 0, "{}: {problem}", path.display());
            }
        }
    }
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
