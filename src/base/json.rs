//! Strict JSON: one text, one meaning.
//!
//! Law: an object that names a key twice is refused, at any depth, because two readers may each
//! believe another of the two values. Nesting is bounded by the parser (127 levels), and memory by
//! what is counted here.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The text is not JSON, names a key twice, is nested too deeply, or holds too many values.
#[derive(Debug)]
pub struct NotStrict(serde_json::Error);

impl fmt::Display for NotStrict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for NotStrict {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Reads one JSON value and nothing after it.
///
/// # Errors
/// [`NotStrict`], with the place of the first fault.
pub fn strict(text: &[u8]) -> Result<Value, NotStrict> {
    let mut left = MOST;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict(&mut left).deserialize(&mut reader).map_err(NotStrict)?;
    reader.end().map_err(NotStrict)?;
    Ok(value)
}

/// What a text may become: values are small, and an object takes as much as this many.
const OBJECT: usize = 20;
/// About 32 MiB of values. A text of few bytes can become a hundred times as many in memory.
const MOST: usize = 1_000_000;

/// How much may still be read.
struct Strict<'a>(&'a mut usize);

impl Strict<'_> {
    fn spend<E: serde::de::Error>(&mut self, cost: usize) -> Result<(), E> {
        *self.0 = self.0.checked_sub(cost).ok_or_else(|| E::custom("more values than anybody reads"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        self.spend(1)?;
        deserializer.deserialize_any(self)
    }
}

/// Whether two keys of one object, at any depth, differ in nothing but case: there are readers that
/// take them for one, and either of them may win.
#[must_use]
pub fn has_alike_keys(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_alike_keys),
        Value::Object(map) => {
            let mut names = HashSet::with_capacity(map.len());
            map.iter().any(|(key, value)| !names.insert(folded(key)) || has_alike_keys(value))
        }
        _ => false,
    }
}

/// A name as readers that do not mind case compare it.
#[must_use]
pub fn folded(name: &str) -> String {
    // Upper case first: there are letters whose only way to their like leads over it.
    name.to_uppercase().to_lowercase()
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with each key once")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict(&mut *self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        self.spend(OBJECT)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict(&mut *self.0))?;
            if map.insert(key, value).is_some() {
                return Err(serde::de::Error::custom("a key stands twice in one object"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_json_is_read_as_it_is() {
        let text = br#"{"a": [1, -2, 1.5, true, null, "x\u00e9"], "b": {"a": 1}}"#;
        assert_eq!(strict(text).unwrap(), json!({"a": [1, -2, 1.5, true, null, "xé"], "b": {"a": 1}}));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(strict(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_small_text_never_becomes_much_memory() {
        let objects = |count: usize| format!("[{}]", vec![r#"{"":0}"#; count].join(","));
        assert!(strict(objects(40_000).as_bytes()).is_ok());
        assert!(strict(objects(130_000).as_bytes()).is_err(), "a megabyte that takes a hundred");
        let numbers = format!("[{}]", vec!["0"; 900_000].join(","));
        assert!(strict(numbers.as_bytes()).is_ok(), "that many numbers are an ordinary batch");
        let text = format!("\"{}\"", "a,{[".repeat(1_000_000));
        assert!(strict(text.as_bytes()).is_ok(), "what stands in a text is one value");
    }

    #[test]
    fn what_is_not_one_json_text_is_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for text in ["", "{", "{} {}", "{,}", "\u{feff}{}", "NaN", "1e400", "'a'", &deep] {
            assert!(strict(text.as_bytes()).is_err(), "{}", &text[..text.len().min(20)]);
        }
        assert!(strict(b"\"\xff\"").is_err());
    }
}
