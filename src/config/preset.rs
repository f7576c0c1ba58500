//! `preset`, and the values for everything that the file does not set.
//!
//! Law: a default stands in `default/*.yaml` and nowhere else. The file wins over its preset, the
//! preset over the base; lists are taken whole from one of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::tree::{self, Entry, Node, Origin, Value};

/// A named set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// For one's own machine.
    Development,
    /// For most services.
    Medium,
    /// For services where a stolen session is expensive.
    Robust,
}

impl Preset {
    pub const ALL: [Self; 3] = [Self::Development, Self::Medium, Self::Robust];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Medium => "medium",
            Self::Robust => "robust",
        }
    }

    /// The preset that a file names, `medium` if it names none.
    pub(super) fn of(file: &Node) -> Self {
        let named = match file.get("preset").map(|node| &node.value) {
            Some(Value::Text(name)) => Self::ALL.into_iter().find(|preset| preset.name() == name),
            _ => None,
        };
        named.unwrap_or(Self::Medium)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Development => include_str!("default/development.yaml"),
            Self::Medium => include_str!("default/medium.yaml"),
            Self::Robust => include_str!("default/robust.yaml"),
        }
    }

    /// What this preset sets.
    pub(super) fn values(self) -> Node {
        embedded(self.text(), Origin::Preset)
    }
}

/// What the base sets, with its `key?` and `"*"` entries.
pub(super) fn base() -> Node {
    embedded(include_str!("default/base.yaml"), Origin::Default)
}

#[expect(clippy::expect_used, reason = "the texts are part of the program, and tests parse each of them")]
fn embedded(text: &str, origin: Origin) -> Node {
    let mut node = tree::parse(text).expect("an embedded file is YAML");
    node.stamp(origin);
    node
}

/// Completes what the file says by a lower layer.
pub(super) fn complete(node: &mut Node, lower: &Node) {
    let Value::Map(lower) = &lower.value else { return };
    for entry in lower {
        if entry.key == "*" {
            match &mut node.value {
                Value::List(items) => items.iter_mut().for_each(|item| complete(item, &entry.node)),
                Value::Map(own) => own.iter_mut().for_each(|own| complete(&mut own.node, &entry.node)),
                _ => {}
            }
            continue;
        }
        let Value::Map(own) = &mut node.value else { return };
        let (key, is_conditional) = match entry.key.strip_suffix('?') {
            Some(key) => (key, true),
            None => (entry.key.as_str(), false),
        };
        match own.iter_mut().find(|own| own.key == key) {
            Some(own) => complete(&mut own.node, &entry.node),
            None if is_conditional => {}
            None => {
                let mut node = entry.node.clone();
                prune_conditional(&mut node);
                own.push(Entry { key: key.to_owned(), at: entry.at, node });
            }
        }
    }
    if let Value::Map(own) = &mut node.value {
        sort_as(own, lower);
    }
}

/// Puts keys into the order of a lower layer, those that it does not know first.
fn sort_as(own: &mut [Entry], lower: &[Entry]) {
    own.sort_by_key(|own| lower.iter().position(|other| other.key == own.key).map_or(0, |at| at + 1));
}

/// A default that is taken whole has no map of the file for its `key?` entries to complete.
fn prune_conditional(node: &mut Node) {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|entry| !entry.key.ends_with('?') && entry.key != "*");
        for entry in entries {
            prune_conditional(&mut entry.node);
        }
    }
}
