//! The host and port that a request names.
//!
//! Law: one spelling (lower case, no trailing dot, no userinfo), or the request goes no further.

use std::fmt;

use ::http::HeaderValue;

/// Longest name that DNS allows, and a port.
const MAX: usize = 253 + 6;

/// A host and an optional port, in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    text: HeaderValue,
    host_length: u16,
}

/// The text names no host, or names one in a way that has two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAuthority;

impl Authority {
    /// Reads the value of a `Host` field or `:authority`.
    ///
    /// # Errors
    /// [`BadAuthority`] for anything but `host`, `host:port`, `[v6]` and `[v6]:port`.
    pub fn parse(value: &HeaderValue) -> Result<Self, BadAuthority> {
        let bytes = value.as_bytes();
        let host_length = host_length(bytes).ok_or(BadAuthority)?;
        let text = if bytes.iter().any(u8::is_ascii_uppercase) {
            HeaderValue::from_bytes(&bytes.to_ascii_lowercase()).map_err(|_| BadAuthority)?
        } else {
            value.clone()
        };
        Ok(Self { text, host_length })
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        &self.as_str()[..usize::from(self.host_length)]
    }

    /// Host and port as they were sent, in lower case.
    pub fn as_str(&self) -> &str {
        self.text.to_str().unwrap_or_default()
    }

    pub fn value(&self) -> &HeaderValue {
        &self.text
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn host_length(bytes: &[u8]) -> Option<u16> {
    if bytes.is_empty() || bytes.len() > MAX {
        return None;
    }
    let length = if bytes[0] == b'[' {
        let end = bytes.iter().position(|&b| b == b']')?;
        let inside = std::str::from_utf8(&bytes[1..end]).ok()?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        end + 1
    } else {
        let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
        is_name(&bytes[..end]).then_some(end)?
    };
    let port_is_fine = match &bytes[length..] {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    if port_is_fine { u16::try_from(length).ok() } else { None }
}

/// Labels of letters, digits, `-` and `_` (container networks use it), none empty.
fn is_name(bytes: &[u8]) -> bool {
    let mut label = 0usize;
    for &byte in bytes {
        match byte {
            b'.' if label == 0 => return false,
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            _ => return false,
        }
        if label > 63 {
            return false;
        }
    }
    label > 0
}

fn is_port(digits: &[u8]) -> bool {
    (1..=5).contains(&digits.len())
        && digits[0] != b'0'
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0u32, |sum, &d| sum * 10 + u32::from(d - b'0')) <= 65_535
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, String), BadAuthority> {
        let value = HeaderValue::from_str(text).unwrap();
        Authority::parse(&value).map(|a| (a.host().to_owned(), a.as_str().to_owned()))
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (text, host, whole) in [
            ("a.example", "a.example", "a.example"),
            ("A.Example:8080", "a.example", "a.example:8080"),
            ("127.0.0.1:1", "127.0.0.1", "127.0.0.1:1"),
            ("[::1]", "[::1]", "[::1]"),
            ("[::1]:443", "[::1]", "[::1]:443"),
            ("my_service", "my_service", "my_service"),
        ] {
            assert_eq!(parse(text), Ok((host.to_owned(), whole.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_doubtful_host_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            "a/b",
            "a, b",
            "a b",
            "a:99999",
            "a:",
            "a:0",
            "a:01",
            "a:x",
            "a:1:2",
            "a.example.",
            ".a",
            "a..b",
            "[::1",
            "[::1]x",
            "[x]",
            "user@a",
            "a\tb",
            "a;b",
            "a%2e",
            &long,
        ] {
            assert_eq!(parse(text), Err(BadAuthority), "{text:?}");
        }
    }
}
