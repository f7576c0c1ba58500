//! The YAML file as a tree in which every value knows where it came from.
//!
//! Law: the text is parsed once, into this; everything later works on the tree. Duplicate keys,
//! unknown tags, several documents and alias bombs are refused here.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::place::{Place, Step};
use super::problem::Problem;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file, with line and column counted from 1.
    File {
        line: u32,
        column: u32,
    },
    Preset,
    Default,
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    pub origin: Origin,
    /// What the file says where `value` has an environment variable filled in.
    pub written: Option<String>,
    /// As the item of a list: which one it was in the file, whatever was left out since.
    pub item: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A value that could not be read and was reported: it is left out without another word.
    Unreadable,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map, where it stands, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub at: Origin,
    pub node: Node,
}

impl Node {
    /// The value under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The innermost value of the file at or around a place, and the place as the file counts it.
    pub fn locate(&self, place: &Place) -> (Origin, Place) {
        let mut node = Some(self);
        let mut origin = self.origin;
        let mut counted = Place::root();
        for step in place.steps() {
            let next = match (step, node.map(|node| &node.value)) {
                (Step::Key(key), Some(Value::Map(_))) => node.and_then(|node| node.get(key)),
                (Step::Item(index), Some(Value::List(items))) => items.get(*index),
                _ => None,
            };
            counted = match (step, next) {
                (Step::Key(key), _) => counted.key(key),
                (Step::Item(_), Some(next)) => counted.item(next.item),
                (Step::Item(index), None) => counted.item(*index),
            };
            if let Some(next) = next
                && matches!(next.origin, Origin::File { .. })
            {
                origin = next.origin;
            }
            node = next;
        }
        (origin, counted)
    }

    /// The same value as JSON, origins dropped.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null | Value::Unreadable => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => Json::String(value.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect())
            }
        }
    }

    /// Gives every value below the same origin: how defaults differ from what the file says.
    pub fn stamp(&mut self, origin: Origin) {
        self.origin = origin;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.stamp(origin)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.at = origin;
                entry.node.stamp(origin);
            }),
            _ => {}
        }
    }
}

/// How many values aliases may stand for, all of them together.
const REPLAYED_MAX: usize = 20_000;

/// Maps and lists within each other. A reload reads the file on a thread whose stack is 2 MiB, of
/// which each level takes a part.
const DEPTH_MAX: usize = 32;

/// Parses one YAML document.
pub fn parse(text: &str) -> Result<Node, Problem> {
    read(text)
}

/// The same for a document that is no configuration.
pub fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let mut aliases = serde_saphyr::options::AliasLimits::default();
    aliases.max_total_replayed_events = REPLAYED_MAX;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
        alias_limits: aliases,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        emit_comments: false,
    };
    serde_saphyr::from_str_with_options::<T>(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (small(at.line()), small(at.column())));
        // The location comes first in our own form: drop the parser's.
        let whole = error.to_string();
        let suffix = format!(" at line {line}, column {column}");
        let prefix = format!("line {line} column {column}: ");
        let message = whole.strip_prefix(&prefix).unwrap_or(&whole);
        let message = message.strip_suffix(&suffix).unwrap_or(message).to_owned();
        let is_twice = message.starts_with(TWICE);
        let hint = is_twice.then(|| "write what both say below one of them".to_owned());
        Problem { path: String::new(), line, column, message: plainly(message), hint }
    })
}

/// How the parser begins to say that a key is there already.
const TWICE: &str = "duplicate mapping key: ";

/// Some of the parser's messages speak to a programmer; the same for who wrote the file.
fn plainly(message: String) -> String {
    if let Some(rest) = message.strip_prefix(TWICE) {
        let key = rest.split(',').next().unwrap_or(rest);
        return format!("the key `{key}` stands here twice");
    }
    if message.starts_with("multiple YAML documents") {
        return "a second document begins here, and only one is read".to_owned();
    }
    if message.starts_with("budget breached") || message.starts_with("alias replay") {
        return "too much: this file, its aliases followed, has more values than any gateway needs"
            .to_owned();
    }
    message
}

fn small(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn origin_of<T>(spanned: &Spanned<T>) -> Origin {
    Origin::File { line: small(spanned.referenced.line()), column: small(spanned.referenced.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { origin: origin_of(&spanned), value: spanned.value, written: None, item: 0 })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| E::custom("this number is too large"))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(mut item) = items.next_element::<Node>()? {
            item.item = list.len();
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let at = origin_of(&key);
            entries.push(Entry { key: key.value, at, node: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}
