//! Holds the tree to the house rules that no compiler knows.
//!
//! `tidy/source.rs` reads a file, `tidy/rule.rs`, `tidy/document.rs` and `tidy/image.rs` have the rules with a proof
//! that each can fail, and the tests here walk the repository.

#[path = "tidy/document.rs"]
mod document;
#[path = "tidy/image.rs"]
mod image;
#[path = "tidy/rule.rs"]
mod rule;
#[path = "tidy/source.rs"]
mod source;

use rule::Breach;
use source::Source;
use std::path::{Path, PathBuf};

/// Files longer than the rule allows, with their present length. The list only shrinks.
const LONG_FILES: &[(&str, usize)] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under a directory whose name ends so, sorted.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a directory can be listed").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let root = root();
    let paths = ["src", "tests", "benches"].into_iter().flat_map(|part| files(&root.join(part), ".rs"));
    let sources: Vec<_> = paths.map(|path| Source::read(&root, &path)).collect();
    assert!(sources.len() > 5, "the walk found the sources");
    sources
}

fn obey(rule: impl Fn(&Source) -> Vec<Breach>) {
    let breaches: Vec<_> = sources().iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn modules_import_only_modules_above_them() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs is readable");
    let order = rule::modules(&lib);
    assert!(order.first().is_some_and(|first| first == "base"), "the module list was read");
    obey(|source| rule::module_order(source, &order));
}

#[test]
fn each_foreign_library_has_one_owner() {
    obey(rule::owned_names);
}

#[test]
fn sql_stands_in_stores_only() {
    obey(rule::sql_in_stores);
}

#[test]
fn every_file_says_what_it_is_for() {
    obey(rule::opening);
}

#[test]
fn no_file_is_too_long_to_read() {
    obey(|source| rule::length(source, LONG_FILES));
    for (path, _) in LONG_FILES {
        assert!(root().join(path).exists(), "{path} is gone: take it off the list of exceptions");
    }
}

#[test]
fn nothing_is_left_undone() {
    obey(rule::finished);
}

#[test]
fn the_entry_point_stays_short() {
    let main = std::fs::read_to_string(root().join("src/main.rs")).expect("main.rs is readable");
    assert!(main.lines().count() <= 20, "main.rs parses, calls cli and exits; the rest belongs in cli");
}

#[test]
fn the_documentation_names_only_what_can_be_typed() {
    let root = root();
    let read = |path: &Path| std::fs::read_to_string(path).expect("a page is readable");
    let typed = document::Typed {
        program: portcullis::cli::command(),
        targets: document::targets(&read(&root.join("Makefile"))),
    };
    let mut pages = files(&root.join("docs"), ".md");
    pages.extend(
        ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
            .map(|name| root.join(name))
            .into_iter()
            .filter(|page| page.exists()),
    );
    assert!(pages.len() > 1, "the pages were found");
    let wrong = |page: &PathBuf| {
        let (path, text) = (page.to_string_lossy(), read(page));
        [document::breaches(&path, &text, &typed), document::stray_rows(&path, &text)].concat()
    };
    let breaches: Vec<_> = pages.iter().flat_map(wrong).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn the_table_of_contents_leads_to_every_page() {
    let docs = root().join("docs");
    let name = |page: &PathBuf| page.strip_prefix(&docs).expect("inside").to_string_lossy().into_owned();
    let pages: Vec<_> = files(&docs, ".md").iter().map(name).filter(|page| page != "SUMMARY.md").collect();
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).expect("the table is readable");
    let missing = document::unlisted(&summary, &pages);
    assert!(pages.len() > 10 && missing.is_empty(), "docs/SUMMARY.md does not lead to {missing:?}");
}

#[test]
fn every_refusal_is_explained() {
    let root = root();
    let page = std::fs::read_to_string(root.join("docs/refusals.md")).expect("the page is readable");
    let gate = Source::read(&root, &root.join("src/gate/rejection.rs"));
    let code = regex::Regex::new(r#""([A-Z]{3,}(?:_[A-Z]+)+)""#).expect("a pattern");
    let agents = Source::read(&root, &root.join("src/gate/agent/refusal.rs"));
    // There the texts are words of the contract in capitals too: the codes come first in their rows.
    let first = regex::Regex::new(r#"row\("([A-Z_]+)""#).expect("a pattern");
    let all = code.captures_iter(&gate.text).chain(first.captures_iter(&agents.text));
    let mut codes: Vec<_> = all.map(|found| found[1].to_owned()).collect();
    assert!(codes.len() > 20, "the codes were found");
    let asked = |own: &&portcullis::http::ErrorCode| [401, 403, 423, 429].contains(&own.status().as_u16());
    codes.extend(portcullis::http::ErrorCode::ALL.iter().filter(asked).map(|own| own.as_str().to_owned()));
    let missing: Vec<_> = codes.iter().filter(|own| !page.contains(&format!("`{own}`"))).collect();
    assert!(missing.is_empty(), "docs/refusals.md does not explain {missing:?}");
}

#[test]
fn every_event_of_the_trail_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/administration.md")).expect("the page is readable");
    let missing: Vec<_> =
        portcullis::audit::CODES.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/administration.md does not tell of {missing:?}");
}

#[test]
fn the_image_gets_every_file_that_the_build_reads() {
    let root = root();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("the file is readable");
    let of_the_program = |source: &Source| source.path.starts_with("src/") && !source.path.contains("tests");
    let programs: Vec<_> = sources().into_iter().filter(of_the_program).collect();
    let mut files: Vec<_> =
        programs.iter().flat_map(|source| image::included(&source.path, &source.text)).collect();
    assert!(files.len() > 10 && files.contains(&PathBuf::from("migrations")), "they were found: {files:?}");
    files.extend(programs.iter().map(|source| PathBuf::from(&source.path)));
    let manifest = read("Cargo.toml");
    let benches = manifest.split("[[bench]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next());
    files.extend(benches.map(|name| PathBuf::from("benches").join(name)));
    let always = ["Cargo.toml", "Cargo.lock", "build.rs", ".cargo/config.toml"].map(PathBuf::from);
    files.extend(always.into_iter().filter(|file| root.join(file).exists()));
    let missing = image::unsent(&files, &image::sent(&read(".dockerignore")));
    assert!(missing.is_empty(), ".dockerignore leaves {missing:?} out");

    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    let breaches = image::breaches(&read("deploy/Dockerfile"), &read("scripts/need"), rust.trim_matches('"'));
    assert!(breaches.is_empty(), "deploy/Dockerfile: {breaches:?}");
}
