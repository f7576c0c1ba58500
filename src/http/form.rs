//! `application/x-www-form-urlencoded`: form bodies and query strings.
//!
//! Law: as strict as our JSON. A name given twice, a broken escape or bytes that are not UTF-8
//! are refused rather than guessed at.

use serde_json::{Map, Value};

/// The text was not a form, or named one thing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// Reads `a=1&b=2` into text values.
pub fn fields(text: &[u8]) -> Result<Map<String, Value>, Refused> {
    let mut map = Map::new();
    for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let cut = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..cut], pair.get(cut + 1..).unwrap_or_default());
        if map.insert(decoded(name)?, Value::String(decoded(value)?)).is_some() {
            return Err(Refused);
        }
    }
    Ok(map)
}

fn decoded(text: &[u8]) -> Result<String, Refused> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => nibble(rest.next())? << 4 | nibble(rest.next())?,
            other => *other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Refused)
}

fn nibble(byte: Option<&u8>) -> Result<u8, Refused> {
    let digit = byte.and_then(|b| char::from(*b).to_digit(16)).ok_or(Refused)?;
    u8::try_from(digit).map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_are_read_strictly() {
        let map = fields(b"email=a%40b.c&name=Ada+L&empty=&bare&&x=1=2").unwrap();
        let expected = serde_json::json!({"email":"a@b.c","name":"Ada L","empty":"","bare":"","x":"1=2"});
        assert_eq!(Value::Object(map), expected);
        for text in [&b"a=1&a=2"[..], b"a=1&%61=2", b"a=%", b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff"] {
            assert_eq!(fields(text), Err(Refused), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_decodes_to_itself(text in ".*") {
            let escape = |escaped: String, byte: u8| escaped + &format!("%{byte:02x}");
            let escaped = text.bytes().fold(String::new(), escape);
            prop_assert_eq!(decoded(escaped.as_bytes()), Ok(text));
        }
    }
}
