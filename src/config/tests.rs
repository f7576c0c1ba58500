use super::*;

const MINIMAL: &str = "
upstreams: { app: { servers: [127.0.0.1:9000] } }
routes: [ { name: all, match: { path: /** }, upstream: app, allow: anyone } ]
";

#[test]
fn a_minimal_file_loads() {
    let loaded = load_text(MINIMAL).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.preset, Preset::Medium);
    assert_eq!(loaded.config.routes.len(), 1);
}
