//! What a held request's body may be, and whether it is one that is held.
//!
//! Law: a JSON body has one reading, or it is refused: the human and the upstream must see the same.
//! What cannot be found or compared is held. Numbers are compared so that rounding only ever holds.

use serde_json::Value;

use super::refusal::BodyFlaw;
use crate::base::json::strict;
use crate::config::{Comparison, Threshold};

/// How many arrays and objects may stand in one another.
const DEPTH_MAX: usize = 64;

/// The JSON value of a body; `None` where it is another kind of body, or there is none.
pub(super) fn read(content_type: Option<&[u8]>, body: &[u8]) -> Result<Option<Value>, BodyFlaw> {
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
    std::str::from_utf8(body).map_err(|_| BodyFlaw::NotUtf8)?;
    if depth_of(body) > DEPTH_MAX {
        return Err(BodyFlaw::TooDeep);
    }
    strict(body).map(Some).map_err(|_| BodyFlaw::Malformed)
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
    let Some(value) = body.and_then(|body| body.pointer(&when.pointer)) else { return true };
    let crosses = if let Some(bound) = when.above {
        crosses(value, bound, |number, bound| number > bound)
    } else if let Some(bound) = when.below {
        crosses(value, bound, |number, bound| number < bound)
    } else {
        when.equals.as_deref().zip(value.as_str()).map(|(wanted, text)| wanted == text)
    };
    crosses.unwrap_or(true)
}

/// `None` where it cannot be told. A number that a float only stands near to may be on either side
/// of a bound that it seems to equal.
fn crosses(value: &Value, Threshold(bound): Threshold, is_beyond: fn(f64, f64) -> bool) -> Option<bool> {
    let number = value.as_number()?;
    let near = number.as_f64()?;
    let is_exact = number.as_i64().is_some_and(|whole| whole.unsigned_abs() <= 1 << 53);
    // Bits alike, not values: the comparison is about what stands there.
    if !is_exact && near.total_cmp(&bound).is_eq() {
        return None;
    }
    Some(is_beyond(near, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&[u8]> = Some(b"application/json; charset=utf-8");

    fn above(bound: f64) -> Comparison {
        Comparison { pointer: "/amount".to_owned(), above: Some(Threshold(bound)), below: None, equals: None }
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
        let negative = Comparison { above: None, below: Some(Threshold(0.0)), ..above(0.0) };
        assert!(held(&negative, r#"{"amount": -1}"#) && !held(&negative, r#"{"amount": 0}"#));
        let kind = Comparison {
            pointer: "/kind".to_owned(),
            above: None,
            below: None,
            equals: Some("external".to_owned()),
        };
        assert!(held(&kind, r#"{"kind": "external"}"#) && !held(&kind, r#"{"kind": "internal"}"#));
        assert!(held(&kind, r#"{"kind": 1}"#));
    }
}
