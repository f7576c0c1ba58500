//! From a file to a checked configuration.
//!
//! Law: all problems of a file come back together. A file that is empty, larger than 4 MiB or not
//! UTF-8 is no configuration: it is likely to be half-written.

use std::path::Path;
use std::sync::Arc;

use super::environment::{self, Lookup};
use super::file::{self, Files};
use super::preset::{self, Preset};
use super::problem::{Problem, Problems, Report};
use super::raw::Raw;
use super::tree::{self, Value};
use super::{Config, conform, effective, schema};
use crate::crypto::digest;

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Arc<Config>,
    pub warnings: Vec<Problem>,
    /// Of the file's bytes, in hex: tells two versions apart.
    pub sha256: String,
}

/// Loads the file at a path, with the process's environment; relative paths in it begin at its
/// folder.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let fail = |message: String, hint: &str| Problems {
        file: Some(path.display().to_string()),
        list: vec![Problem { path: String::new(), line: 0, column: 0, message, hint: Some(hint.to_owned()) }],
    };
    let bytes = file::read(path)
        .map_err(|error| fail(format!("cannot be read: {error}"), "`portcullis init` writes a first one"))?;
    let text =
        String::from_utf8(bytes).map_err(|_| fail("is not UTF-8 text".to_owned(), "save it as UTF-8"))?;
    let base = path.parent().unwrap_or(Path::new(""));
    load_with(&text, base, &environment::of_process)
        .map_err(|problems| Problems { file: Some(path.display().to_string()), ..problems })
}

/// Loads a text without an environment: for tests, the demo and embedded examples. Relative paths
/// begin at the working directory.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(text: &str) -> Result<Loaded, Problems> {
    load_with(text, Path::new(""), &|_| None)
}

/// Loads a text with a folder for relative paths and a source of variables.
pub(super) fn load_with(text: &str, base: &Path, lookup: Lookup<'_>) -> Result<Loaded, Problems> {
    let problems = |list: Vec<Problem>| Problems { file: None, list };
    let mut tree = tree::parse(text).map_err(|problem| problems(vec![problem]))?;
    let mut report = Report::default();
    if !matches!(tree.value, Value::Map(_)) {
        report
            .problem(&super::place::Place::root(), "the file is empty or not a map of sections")
            .hint("`portcullis init` writes a first one");
        return Err(problems(report.finish(&tree).0));
    }
    environment::fill(&mut tree, &super::place::Place::root(), lookup, &mut report);
    conform::conform(&mut tree, &schema(), &mut report);
    let preset = Preset::of(&tree);
    preset::complete(&mut tree, &preset.values());
    preset::complete(&mut tree, &preset::base());
    let files = Files { base };
    let config = match serde_json::from_value::<Raw>(tree.to_json()) {
        Ok(raw) => raw.check(&files, &mut report),
        Err(error) => {
            report.problem(&super::place::Place::root(), format!("cannot be understood: {error}"));
            None
        }
    };
    let is_clean = report.is_clean();
    let (list, warnings) = report.finish(&tree);
    match config {
        Some(mut config) if is_clean => {
            config.effective = effective::settings(&tree, preset);
            Ok(Loaded { config: Arc::new(config), warnings, sha256: digest::sha256_hex(text.as_bytes()) })
        }
        _ => Err(problems(list)),
    }
}
