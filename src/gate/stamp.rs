//! How a text becomes the value of an identity header.
//!
//! Law: a value is visible ASCII and nothing else, so that no upstream can read it in two ways;
//! everything outside is percent-encoded UTF-8, and so are `%` itself and, in lists, the comma.

use ::http::HeaderValue;

/// Permissions longer than this are left out; the assertion carries all of them.
pub const LONGEST_LIST: usize = 4096;

/// One text as a header value.
pub fn one(text: &str) -> HeaderValue {
    let mut value = String::with_capacity(text.len());
    encode(text, Comma::Stays, &mut value);
    header(&value)
}

/// Sorted items, comma-joined. The caller sorts: what it holds is sorted already.
pub fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> HeaderValue {
    header(&joined(items))
}

/// Like [`list`], or `None` when the value would be longer than [`LONGEST_LIST`] bytes.
pub fn list_if_short<'a>(items: impl IntoIterator<Item = &'a str>) -> Option<HeaderValue> {
    let value = joined(items);
    (value.len() <= LONGEST_LIST).then(|| header(&value))
}

fn joined<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut value = String::new();
    for item in items {
        if !value.is_empty() {
            value.push(',');
        }
        encode(item, Comma::Encoded, &mut value);
    }
    value
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comma {
    Stays,
    Encoded,
}

fn encode(text: &str, comma: Comma, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_graphic() && byte != b'%' && (byte != b',' || comma == Comma::Stays);
        if is_plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// Visible ASCII always makes a header value; the fallback is never reached.
fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_visible_ascii_is_percent_encoded() {
        assert_eq!(one("ada@example.com"), "ada@example.com");
        assert_eq!(one("Zoë, 100%\r\n"), "Zo%C3%AB,%20100%25%0D%0A");
        assert_eq!(list(["a", "b.c", "d,e"]), "a,b.c,d%2Ce");
        assert_eq!(list([]), "");
    }

    #[test]
    fn a_list_over_four_kilobytes_is_left_out() {
        let code = "x".repeat(63);
        let fits = vec![code.as_str(); 64];
        let too_many = vec![code.as_str(); 65];
        assert_eq!(list_if_short(fits.iter().copied()).map(|v| v.len()), Some(64 * 64 - 1));
        assert_eq!(list_if_short(too_many.iter().copied()), None);
    }

    proptest! {
        #[test]
        fn two_different_lists_never_become_one_value(
            a in prop::collection::vec(".{1,6}", 1..5), b in prop::collection::vec(".{1,6}", 1..5)
        ) {
            let values = (list(a.iter().map(String::as_str)), list(b.iter().map(String::as_str)));
            prop_assert_eq!(a == b, values.0 == values.1);
        }
    }
}
