//! Every value in effect, and where it came from.
//!
//! Law: a secret is never shown: a value with a variable is shown as the file writes it, and the
//! password of a URL as stars.

use std::fmt;

use super::place::Place;
use super::preset::Preset;
use super::tree::{Node, Origin, Value};

/// One value in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Such as `tokens.access_for`.
    pub path: String,
    /// As YAML would write it.
    pub value: String,
    pub from: Source,
}

/// Where a value in effect came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Line(u32),
    Preset(Preset),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Preset(preset) => write!(f, "preset {}", preset.name()),
            Self::Default => f.write_str("default"),
        }
    }
}

pub(super) fn settings(tree: &Node, preset: Preset) -> Vec<Setting> {
    let mut found = Vec::new();
    walk(tree, &Place::root(), preset, &mut found);
    found
}

fn walk(node: &Node, place: &Place, preset: Preset, found: &mut Vec<Setting>) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                walk(&entry.node, &place.key(&entry.key), preset, found);
            }
        }
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            for item in items {
                walk(item, &place.item(item.item), preset, found);
            }
        }
        _ => found.push(Setting {
            path: place.to_string(),
            value: if is_secret(place) && node.written.is_none() { hidden(node) } else { shown(node) },
            from: match node.origin {
                Origin::File { line, .. } => Source::Line(line),
                Origin::Preset => Source::Preset(preset),
                Origin::Default => Source::Default,
            },
        }),
    }
}

fn is_secret(place: &Place) -> bool {
    place.to_string().ends_with("_secret")
}

fn hidden(node: &Node) -> String {
    if matches!(node.value, Value::Text(_)) { "***".to_owned() } else { shown(node) }
}

fn shown(node: &Node) -> String {
    if let Some(written) = &node.written {
        return without_password(written);
    }
    match &node.value {
        Value::Unreadable | Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) if text.is_empty() => "\"\"".to_owned(),
        Value::Text(text) => without_password(text),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// `scheme://user:password@host/path?query` with the password and the query as stars: drivers take a
/// password in either.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?***"),
        None => (rest, ""),
    };
    // A password that is not encoded may hold a slash: the last `@` ends it, wherever it is.
    let Some((user, host)) = rest.rsplit_once('@') else { return format!("{scheme}://{rest}{query}") };
    match user.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}{query}"),
        None => format!("{scheme}://{user}@{host}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_url_shows_a_password() {
        for (text, shown) in [
            ("postgres://gw:p@ss/w:rd@db/gw", "postgres://gw:***@db/gw"),
            ("postgres://gw@db/gw?password=secret", "postgres://gw@db/gw?***"),
            ("redis://:secret@cache:6379/1", "redis://:***@cache:6379/1"),
            ("sqlite://data/portcullis.db", "sqlite://data/portcullis.db"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}
