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
            value: shown(node),
            from: match node.origin {
                Origin::File { line, .. } => Source::Line(line),
                Origin::Preset => Source::Preset(preset),
                Origin::Default => Source::Default,
            },
        }),
    }
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

/// `scheme://user:password@host` with the password as stars.
fn without_password(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let at = rest[..end].rfind('@')?;
        let (user, _) = rest[..at].split_once(':')?;
        Some(format!("{scheme}://{user}:***{}", &rest[at..]))
    };
    hidden().unwrap_or_else(|| text.to_owned())
}
