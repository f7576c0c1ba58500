//! `Origin`: where a browser says that a page came from.
//!
//! Law: an origin has one spelling, the one that browsers send, so that membership in a list is
//! equality and nothing that merely begins or ends alike passes.

use std::fmt;

use crate::text_column;

/// Scheme, host and port, such as `https://app.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnOrigin;

impl fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an origin: expected a scheme and a host such as https://app.example.com")
    }
}

impl std::error::Error for NotAnOrigin {}

impl Origin {
    /// Lower-cases, and drops a port that the scheme implies and a bare slash at the end.
    ///
    /// # Errors
    /// [`NotAnOrigin`] for anything with a path, a query, a user or a wildcard, and for `null`.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let text = text.trim().to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
        let implied = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(NotAnOrigin),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let authority = authority.strip_suffix(implied).unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let ok =
            is_host(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|p| p.to_string() == port));
        if ok && authority.len() <= 255 {
            Ok(Self(format!("{scheme}://{authority}")))
        } else {
            Err(NotAnOrigin)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_letter))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_column!(Origin, |text| Origin::parse(text).ok());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_the_spelling_that_browsers_send() {
        for (text, spelled) in [
            ("https://App.Example.com", "https://app.example.com"),
            (" https://app.example.com:443/ ", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://[::1]", "https://[::1]"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), spelled, "{text}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "null",
            "*",
            "app.example.com",
            "https://",
            "https://*.example.com",
            "https://a.b/c",
            "https://a.b?c",
            "https://u@a.b",
            "ftp://a.b",
            "https://a.b:0443",
            "https://a.b:99999",
            "https://a..b",
            "https://a b",
            "file://",
            "https://a.b//",
            "https://[::1",
            "https://a.b#",
        ] {
            assert_eq!(Origin::parse(text), Err(NotAnOrigin), "{text:?}");
        }
    }
}
