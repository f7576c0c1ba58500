//! Strict JSON: the body of a request as a map, or the reason why it is refused.
//!
//! Law: a body that two parsers could read differently is refused. That means duplicate keys at
//! any depth, a byte order mark, bytes that are not UTF-8, text after the value, and nesting
//! beyond [`MAX_DEPTH`].

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base;

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
    std::str::from_utf8(bytes).map_err(|_| Refused::NotUtf8)?;
    let value = base::json::strict(bytes).map_err(|_| Refused::Malformed)?;
    if depth(&value) > MAX_DEPTH {
        return Err(Refused::Malformed);
    }
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Refused::NotAnObject),
    }
}

/// How the numbers of an object were written that a floating-point number stands for now. `bytes` is
/// what [`object`] has read.
pub fn numbers(bytes: &[u8], given: &Map<String, Value>) -> HashMap<String, String> {
    if !given.values().any(Value::is_f64) {
        return HashMap::new();
    }
    let texts: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(bytes).unwrap_or_default();
    let is_fraction = |name: &str| given.get(name).is_some_and(Value::is_f64);
    let fractions = texts.into_iter().filter(|(name, _)| is_fraction(name));
    fractions.map(|(name, text)| (name.into_owned(), text.get().to_owned())).collect()
}

/// How many arrays and objects stand in one another. The parser has bounded it already.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
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
