//! What a held request's body may be, and whether it is one that is held.
//!
//! Law: a JSON body has one reading, or it is refused: the human and the upstream must see the same.
//! What cannot be found or compared is held. Numbers are compared so that rounding only ever holds.

use std::cmp::Ordering;

use serde_json::Value;

use super::refusal::BodyFlaw;
use crate::base::json::{folded, has_alike_keys, strict};
use crate::config::{Comparison, Scalar, Test, Threshold};

/// How many arrays and objects may stand in one another.
const DEPTH_MAX: usize = 64;

/// The JSON value of a body under these lines of `Content-Type`: of two, each reader takes another one.
pub(super) fn read_by(types: &[&[u8]], body: &[u8]) -> Result<Option<Value>, BodyFlaw> {
    match types {
        [] => read(None, body),
        [own] => read(Some(own), body),
        _ => Err(BodyFlaw::ManyTypes),
    }
}

/// The JSON value of a body; `None` where it is another kind of body, or there is none.
fn read(content_type: Option<&[u8]>, body: &[u8]) -> Result<Option<Value>, BodyFlaw> {
    if body.is_empty() || !content_type.is_none_or(is_json) {
        return Ok(None);
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(BodyFlaw::ByteOrderMark);
    }
    // Without a type it is JSON if it looks like it: so a backend would guess.
    let looks = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if content_type.is_none() && !looks {
        return Ok(None);
    }
    // Whoever decodes it otherwise reads something else in it.
    if content_type.is_some_and(is_charset_foreign) || std::str::from_utf8(body).is_err() {
        return Err(BodyFlaw::NotUtf8);
    }
    if depth_of(body) > DEPTH_MAX {
        return Err(BodyFlaw::TooDeep);
    }
    let value = strict(body).map_err(|_| BodyFlaw::Malformed)?;
    // Readers that do not mind the case of names take either of two.
    if has_alike_keys(&value) { Err(BodyFlaw::AlikeKeys) } else { Ok(Some(value)) }
}

/// Whether a type names a character set that is not UTF-8, or cannot be read as far as that.
fn is_charset_foreign(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else { return true };
    let named = text.split(';').skip(1).filter_map(|part| part.split_once('='));
    let mut charsets = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    !charsets.all(|(_, value)| {
        let value = value.trim().trim_matches('"');
        value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
    })
}

fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    essence.ends_with(b"/json") || essence.ends_with(b"+json")
}

/// How deep brackets stand in one another, strings aside.
fn depth_of(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0usize, 0, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether a body with this value waits for people.
pub(super) fn is_held(when: &Comparison, body: Option<&Value>) -> bool {
    let Some(body) = body else { return true };
    let found = find(body, &when.pointer);
    when.tests().any(|test| match (test, &found) {
        (Test::Present, Found::Nothing) => false,
        (test, Found::Value(value)) => holds(test, value).unwrap_or(true),
        (_, Found::Nothing | Found::Nowhere) => true,
    })
}

/// What stands where a pointer leads.
enum Found<'a> {
    Value(&'a Value),
    Nothing,
    /// Something on the way has nothing inside it, or not under names like this, or under a name
    /// that some readers take for this one.
    Nowhere,
}

/// RFC 6901.
fn find<'a>(body: &'a Value, pointer: &str) -> Found<'a> {
    let mut value = body;
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        let is_index =
            name == "0" || !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
        let inner = match value {
            Value::Object(map) => map.get(&name),
            Value::Array(list) if is_index => name.parse().ok().and_then(|at: usize| list.get(at)),
            _ => return Found::Nowhere,
        };
        match inner {
            Some(inner) => value = inner,
            None if has_like(value, &name) => return Found::Nowhere,
            None => return Found::Nothing,
        }
    }
    Found::Value(value)
}

/// Whether an object has a name that differs from this one in nothing but case.
fn has_like(value: &Value, name: &str) -> bool {
    let wanted = folded(name);
    value.as_object().is_some_and(|map| map.keys().any(|key| folded(key) == wanted))
}

/// `None` where it cannot be told: what cannot be compared is of another kind than was thought of.
fn holds(test: Test<'_>, value: &Value) -> Option<bool> {
    match test {
        Test::Above(bound) => order(value, bound).map(Ordering::is_gt),
        Test::AtLeast(bound) => order(value, bound).map(Ordering::is_ge),
        Test::Below(bound) => order(value, bound).map(Ordering::is_lt),
        Test::AtMost(bound) => order(value, bound).map(Ordering::is_le),
        Test::In(list) => among(list, value),
        Test::NotIn(list) => among(list, value).map(|is_listed| !is_listed),
        Test::Present => Some(true),
        Test::Absent => Some(false),
    }
}

/// A number that a float only stands near to may be on either side of a bound that it seems to equal.
fn order(value: &Value, bound: f64) -> Option<Ordering> {
    let number = value.as_number()?;
    let order = number.as_f64()?.partial_cmp(&bound)?;
    let is_exact = number.as_i64().is_some_and(|whole| whole.unsigned_abs() <= 1 << 53);
    (is_exact || order.is_ne()).then_some(order)
}

/// Whether a value is one of these; it must be of the kind of one of them.
fn among(list: &[Scalar], value: &Value) -> Option<bool> {
    let mut is_of_a_kind = false;
    for scalar in list {
        let is_equal = match (scalar, value) {
            (Scalar::Text(wanted), Value::String(text)) => wanted == text,
            (Scalar::Flag(wanted), Value::Bool(is_so)) => wanted == is_so,
            (Scalar::Number(Threshold(wanted)), Value::Number(_)) => order(value, *wanted)?.is_eq(),
            _ => continue,
        };
        if is_equal {
            return Some(true);
        }
        is_of_a_kind = true;
    }
    is_of_a_kind.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&[u8]> = Some(b"application/json; charset=utf-8");

    fn at(pointer: &str) -> Comparison {
        Comparison { pointer: pointer.to_owned(), ..Comparison::default() }
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    fn above(bound: f64) -> Comparison {
        Comparison { above: Some(Threshold(bound)), ..at("/amount") }
    }

    fn held(when: &Comparison, body: &str) -> bool {
        is_held(when, read(JSON, body.as_bytes()).unwrap().as_ref())
    }

    #[test]
    fn json_has_one_reading_or_is_refused() {
        for (body, flaw) in [
            (&b"\xef\xbb\xbf{}"[..], BodyFlaw::ByteOrderMark),
            (b"{\"a\": \"\xff\"}", BodyFlaw::NotUtf8),
            (b"{\"a\": 1, \"a\": 2}", BodyFlaw::Malformed),
            (b"{\"a\": 1} {}", BodyFlaw::Malformed),
            (b"{", BodyFlaw::Malformed),
        ] {
            assert_eq!(read(JSON, body), Err(flaw));
            assert_eq!(read(Some(b"application/vnd.x+json"), body), Err(flaw));
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(JSON, nested(64).as_bytes()).is_ok());
        assert_eq!(read(JSON, nested(65).as_bytes()), Err(BodyFlaw::TooDeep));
        assert!(read(JSON, br#"{"a": "[[[[\"{"}"#).is_ok());
    }

    #[test]
    fn names_that_differ_in_case_are_refused_together_and_held_alone() {
        for body in [
            r#"{"amount": 1, "Amount": 999999}"#,
            r#"{"a": [{"to": 1, "TO": 2}]}"#,
            "{\"k\": 1, \"\u{212a}\": 2}",
            "{\"s\": 1, \"\u{17f}\": 2}",
        ] {
            assert_eq!(read(JSON, body.as_bytes()), Err(BodyFlaw::AlikeKeys), "{body}");
        }
        assert!(held(&above(1000.0), r#"{"Amount": 1}"#));
        let present = Comparison { present: Some(true), ..at("/force") };
        assert!(held(&present, r#"{"Force": false}"#) && !held(&present, r#"{"forced": 1}"#));
    }

    #[test]
    fn another_character_set_is_refused() {
        for charset in ["utf-7", "utf-16", "\"UTF-32\"", "iso-8859-1", "utf-8; charset=utf-7", "\u{ff}"] {
            let content_type = format!("application/json; charset={charset}");
            assert_eq!(read(Some(content_type.as_bytes()), b"{}"), Err(BodyFlaw::NotUtf8), "{charset}");
        }
        for fine in ["application/json; charset=UTF8", "application/json; profile=\"x\"; Charset=\"utf-8\""] {
            assert!(read(Some(fine.as_bytes()), b"{}").is_ok(), "{fine}");
        }
    }

    #[test]
    fn other_bodies_are_none_of_our_business() {
        assert_eq!(read(Some(b"text/plain"), b"{\"a\": 1, \"a\": 2}"), Ok(None));
        assert_eq!(read(None, b"a=1&a=2"), Ok(None));
        assert_eq!(read(None, b" {\"a\": 1, \"a\": 2}"), Err(BodyFlaw::Malformed), "a backend may guess");
        assert_eq!(read(JSON, b""), Ok(None));
    }

    #[test]
    fn what_cannot_be_compared_is_held() {
        let when = above(1000.0);
        for body in ["{}", "[]", r#"{"amount": "5"}"#, r#"{"amount": null}"#, r#"{"amount": [1]}"#] {
            assert!(held(&when, body), "{body}");
        }
        assert!(is_held(&when, None));
    }

    #[test]
    fn amounts_are_compared_and_rounding_only_ever_holds() {
        let when = above(1000.0);
        for (body, expected) in [
            (r#"{"amount": 5}"#, false),
            (r#"{"amount": 1000}"#, false),
            (r#"{"amount": 1001}"#, true),
            (r#"{"amount": 999.99}"#, false),
            (r#"{"amount": 1000.01}"#, true),
            (r#"{"amount": 1000.00000000000000001}"#, true),
            (r#"{"amount": -1e300}"#, false),
        ] {
            assert_eq!(held(&when, body), expected, "{body}");
        }
        let negative = Comparison { below: Some(Threshold(0.0)), ..at("/amount") };
        assert!(held(&negative, r#"{"amount": -1}"#) && !held(&negative, r#"{"amount": 0}"#));
        let least = Comparison { at_least: Some(Threshold(1000.0)), ..at("/amount") };
        assert!(held(&least, r#"{"amount": 1000}"#) && !held(&least, r#"{"amount": 999}"#));
        assert!(held(&least, r#"{"amount": 999.99999999999999999999}"#), "it may be less only in its text");
        let most = Comparison { at_most: Some(Threshold(5.0)), ..at("/amount") };
        assert!(held(&most, r#"{"amount": 5}"#) && !held(&most, r#"{"amount": 6}"#));
    }

    #[test]
    fn what_is_listed_is_held_and_what_is_of_another_kind_too() {
        let kind = Comparison { equals: Some(text("external")), ..at("/kind") };
        assert!(held(&kind, r#"{"kind": "external"}"#) && !held(&kind, r#"{"kind": "internal"}"#));
        assert!(held(&kind, r#"{"kind": 1}"#) && held(&kind, r#"{"kind": ["internal"]}"#));
        let listed =
            Comparison { listed: Some(vec![text("a"), Scalar::Number(Threshold(7.0))]), ..at("/kind") };
        for (value, expected) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("7", true),
            ("7.0", true),
            ("8", false),
            ("7.00000000000000000001", true),
            ("true", true),
        ] {
            assert_eq!(held(&listed, &format!("{{\"kind\": {value}}}")), expected, "{value}");
        }
        let unlisted = Comparison { unlisted: Some(vec![text("a"), Scalar::Flag(false)]), ..at("/kind") };
        for (value, expected) in
            [("\"a\"", false), ("\"b\"", true), ("false", false), ("true", true), ("1", true), ("null", true)]
        {
            assert_eq!(held(&unlisted, &format!("{{\"kind\": {value}}}")), expected, "{value}");
        }
        assert!(held(&unlisted, "{}"));
    }

    #[test]
    fn what_is_there_or_not_is_told_apart_from_what_cannot_be_looked_into() {
        let there = Comparison { present: Some(true), ..at("/a/b~1c/0") };
        let missing = Comparison { present: Some(false), ..at("/a/b~1c/0") };
        for (body, is_there, is_missing) in [
            (r#"{"a": {"b/c": [1]}}"#, true, false),
            (r#"{"a": {"b/c": [null]}}"#, true, false),
            (r#"{"a": {"b/c": []}}"#, false, true),
            (r#"{"a": {}}"#, false, true),
            ("{}", false, true),
            (r#"{"a": "text"}"#, true, true),
            (r#"{"a": {"b/c": 7}}"#, true, true),
            ("[]", true, true),
        ] {
            assert_eq!((held(&there, body), held(&missing, body)), (is_there, is_missing), "{body}");
        }
        assert!(is_held(&there, None) && is_held(&missing, None));
    }
}
