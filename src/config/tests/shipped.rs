//! What is shipped beside the program: examples, the schema, the documentation, and what wrong files
//! are told. Law: none of it may say something that the program does not do.

use super::*;

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
    assert_eq!(loaded.config.store.timeout, Duration::from_secs(2));
    let Shared::Redis { url, timeout } = &loaded.config.shared else { panic!() };
    assert_eq!(url.expose(), "rediss://:s3cr%2Fet@cache:6380");
    assert_eq!(*timeout, Duration::from_millis(400));
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
    // What one file cannot say beside the rest.
    let other = "mail: { via: mailgun, api: 'https://api.eu.mailgun.net', domain: mg.example.com, \
                 password_file: secrets/mail, from: gateway@example.com }\n\
                 login: { ldap: { bind_as: 'uid={username}', search: { password: x } } }";
    mark(&schema, "", &tree::parse(other).unwrap().to_json(), &mut used);
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

/// Rows of the tables in `docs/configuration.md` that tell keys and defaults.
fn documented() -> Vec<(String, Vec<String>)> {
    let page = read("docs/configuration.md");
    let mut rows = Vec::new();
    let mut is_table = false;
    for line in page.lines() {
        is_table = line.starts_with("| key |") || is_table && line.starts_with('|');
        let cells: Vec<&str> = line.split(" | ").collect();
        if is_table && cells.len() >= 3 && cells[0].starts_with("| `") {
            let bare = |text: &str| text.trim_matches(['|', ' ', '`']).to_owned();
            rows.push((bare(cells[0]), cells[1].split(" / ").map(bare).collect()));
        }
    }
    rows
}

#[test]
fn the_documentation_tells_every_default() {
    let items = "
permissions: [{ code: c }]
roles: [{ code: c }]
groups: [{ code: c }]
accounts: { breach_check: {} }
mail: { via: smtp, host: mail.example.com, from: gw@example.com }
sms: { via: console }
login:
  social: { app: { issuer: 'https://id.example.com', client_id: x } }
  ldap: { servers: ['ldaps://a.example'], search: { base: '', filter: '(uid={username})' } }
organizations: { roles: [{ code: c }] }
upstreams: { app: { servers: ['127.0.0.1:9000'], health: {}, tls: {} } }
routes: [{ name: a, match: { path: /a }, upstream: app, allow: anyone, agents: { permission: c }, limit: { requests: 1, per: 1m } }]
";
    let folder = full_files();
    let secret = folder.path().join("secrets/webhook").display().to_string();
    let hook = format!(
        "{{ name: a, url: 'https://a.example', secret_file: '{secret}', events: [agent.suspended] }}"
    );
    let items = format!("{items}webhooks: [ {hook} ]\n");
    let rows = documented();
    assert!(rows.len() > 100, "the tables were found");
    for (at, preset) in Preset::ALL.into_iter().enumerate() {
        let mut settings = Vec::new();
        for store in ["", "store: { url: 'postgres://gw@db/gw' }\nshared: { url: 'redis://cache' }\n"] {
            let preset =
                if preset == Preset::Medium { String::new() } else { format!("preset: {}\n", preset.name()) };
            settings.extend(config(&format!("{preset}{store}{items}")).effective().to_vec());
        }
        for (key, defaults) in &rows {
            let path = key.replace("NAME", "app").replace("[]", "[0]");
            let mut told =
                settings.iter().filter(|one| one.path == path && !matches!(one.from, Source::Line(_)));
            if let Some(setting) = told.next() {
                let default = defaults.get(at).unwrap_or(&defaults[0]);
                let default = default.replace('—', "null");
                assert_eq!(setting.value, default, "{key} in preset {}", preset.name());
            } else {
                assert!(["required", "—"].contains(&&*defaults[0]) || key == "preset", "{key}: {defaults:?}");
            }
        }
    }
}

#[test]
fn the_documentation_names_every_key() {
    let rows = documented();
    let names = |key: &str| {
        rows.iter().any(|(row, _)| row.split(['.', '[', ']']).any(|part| part == key)) || {
            let page = read("docs/configuration.md");
            page.contains(&format!("`{key}:")) || page.contains(&format!("{{ {key}:"))
        }
    };
    let mut keys = BTreeSet::new();
    every_key(&schema(), "", &mut keys);
    let unknown: Vec<&String> = keys.iter().filter(|key| !names(key.rsplit('/').next().unwrap())).collect();
    assert!(unknown.is_empty(), "not in docs/configuration.md: {unknown:#?}");
}
