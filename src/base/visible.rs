//! Text from outside, for eyes: on a page, in a terminal, in a mail.
//! Law: nothing is cut, and nothing is shown that looks like something else.

use std::fmt::Write as _;

/// Bytes as text in which everything can be seen: what is not UTF-8, control characters (but line
/// ends and tabs), characters without width and those that turn the direction of writing are
/// written as `\u{…}` or `\x..`.
#[must_use]
pub fn visible(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_hidden(c) {
                let _ = write!(out, "{}", c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Whether a character cannot be seen, or changes how its neighbours look; line ends and tabs aside.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    if c == '\n' || c == '\t' {
        return false;
    }
    c.is_control()
        || matches!(
            c as u32,
            0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f
                | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0
                | 0xfff0..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out_and_nothing_is_cut() {
        assert_eq!(visible("{\"to\": \"zoë\"}\n".as_bytes()), "{\"to\": \"zoë\"}\n");
        assert_eq!(
            visible("a\u{202e}b\u{200b}c\u{feff}\r\u{1b}".as_bytes()),
            "a\\u{202e}b\\u{200b}c\\u{feff}\\u{d}\\u{1b}"
        );
        assert_eq!(visible(b"\xff\xfe!"), "\\xff\\xfe!");
        assert_eq!(visible("\u{e0041}".as_bytes()), "\\u{e0041}");
        assert_eq!(visible(&vec![b'x'; 100_000]).len(), 100_000);
    }
}
