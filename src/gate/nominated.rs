//! What a `Connection` header says (RFC 9110 section 7.6.1): which headers are for us alone.
//!
//! Law: what is named so goes no further. Nobody names away what frames a request or says where it
//! came from, and nobody gives us a long list to work through.

use http::header::{self, HeaderName, HeaderValue};

/// More options than any client has, in all lines together.
const MOST: usize = 8;

/// What the lines so far have named.
#[derive(Debug, Default)]
pub(super) struct Nominated {
    count: usize,
    pub(super) has_upgrade: bool,
}

/// An option that no request may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadOption;

impl Nominated {
    /// Reads one line and adds the headers that it names to `removed`.
    pub(super) fn read(
        &mut self,
        value: &HeaderValue,
        removed: &mut Vec<HeaderName>,
    ) -> Result<(), BadOption> {
        for option in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.is_empty() {
                continue;
            }
            self.count += 1;
            if self.count > MOST {
                return Err(BadOption);
            }
            if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
                continue;
            }
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.has_upgrade = true;
                continue;
            }
            let is_token = option.iter().all(|byte| is_token(*byte));
            let name = HeaderName::from_bytes(option).ok().filter(|_| is_token).ok_or(BadOption)?;
            if is_protected(&name) {
                return Err(BadOption);
            }
            removed.push(name);
        }
        Ok(())
    }
}

fn is_protected(name: &HeaderName) -> bool {
    matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING)
        || name.as_str().starts_with("x-forwarded-")
}

/// Whether it may stand in a name (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<(bool, Vec<String>), BadOption> {
        let (mut nominated, mut removed) = (Nominated::default(), Vec::new());
        for line in lines {
            nominated.read(&HeaderValue::from_str(line).unwrap(), &mut removed)?;
        }
        Ok((nominated.has_upgrade, removed.iter().map(|name| name.as_str().to_owned()).collect()))
    }

    #[test]
    fn what_is_named_is_taken_off() {
        assert_eq!(read(&["keep-alive"]), Ok((false, vec![])));
        assert_eq!(
            read(&["Keep-Alive, Upgrade, ,X-Mine", "TE"]),
            Ok((true, vec!["x-mine".into(), "te".into()]))
        );
    }

    #[test]
    fn what_frames_or_says_where_from_is_not_named_away() {
        for name in ["Host", "content-length", "Transfer-Encoding", "x-forwarded-for", "X-Forwarded-Proto"] {
            assert_eq!(read(&["close", name]), Err(BadOption), "{name}");
        }
        for bad in [":authority", "\"x-mine\"", "x mine", "a;b"] {
            assert_eq!(read(&[bad]), Err(BadOption), "{bad}");
        }
    }

    #[test]
    fn a_list_is_short_however_it_is_spread() {
        assert!(read(&["a, b, c, d", "e, f, g, h"]).is_ok());
        assert_eq!(read(&["a, b, c, d", "e, f, g, h, close"]), Err(BadOption));
    }
}
