//! Strict JSON: the body of a request as a map, or the reason why it is refused.
//!
//! Law: a body that two parsers could read differently is refused. That means duplicate keys at
//! any depth, a byte order mark, bytes that are not UTF-8, text after the value, and nesting
//! beyond [`MAX_DEPTH`].

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The deepest nesting of arrays and objects that a body may have.
pub const MAX_DEPTH: usize = 32;

/// Why a body was refused. Carries no text of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    ByteOrderMark,
    NotUtf8,
    /// Not JSON, or JSON that is ambiguous: a duplicate key, nesting too deep, text behind it.
    Malformed,
    /// JSON, but not an object.
    NotAnObject,
}

/// Reads an object.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refused> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Refused::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::NotUtf8)?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut parser).map_err(|_| Refused::Malformed)?;
    parser.end().map_err(|_| Refused::Malformed)?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Refused::NotAnObject),
    }
}

/// Builds a `Value` at this depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            Err(E::custom("nested too deep"))
        } else {
            Ok(Self { depth: self.depth + 1 })
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(seed)?;
            if map.insert(key, value).is_some() {
                return Err(de::Error::custom("duplicate key"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    #[test]
    fn ambiguous_bodies_are_refused() {
        for text in [
            r#"{"email":"a","email":"b"}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":1,"\u0062":2}]}"#,
            r#"{"a":1} {"b":2}"#,
            r#"{"a":1}x"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            r"{'a':1}",
            r#"{"a":1,}"#,
            "",
        ] {
            assert_eq!(object(text.as_bytes()), Err(Refused::Malformed), "{text}");
        }
        assert_eq!(object(b"\xef\xbb\xbf{}"), Err(Refused::ByteOrderMark));
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Refused::NotUtf8));
        assert_eq!(object(b"\xff\xfe{\0}\0"), Err(Refused::NotUtf8));
        assert_eq!(object(b"[]"), Err(Refused::NotAnObject));
        assert_eq!(object(b"null"), Err(Refused::NotAnObject));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(object(nested(MAX_DEPTH + 1).as_bytes()), Err(Refused::Malformed));
        assert_eq!(object("[".repeat(100_000).as_bytes()), Err(Refused::Malformed));
    }

    #[test]
    fn plain_values_survive() {
        let map = object(br#"{"a":"\u00e9","b":[1,-2,1.5,true,null],"c":{}}"#).unwrap();
        assert_eq!(Value::Object(map), serde_json::json!({"a":"é","b":[1,-2,1.5,true,null],"c":{}}));
    }
}
