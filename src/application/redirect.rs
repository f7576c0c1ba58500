//! `RedirectUri`: where a provider of identities may send a person with a code.
//!
//! Law: it is compared as text, whole, because whatever merely begins alike may belong to somebody
//! else. What a browser would run or open on this machine is none.

use std::fmt;

use crate::text_column;

/// The longest, in bytes.
const MAX: usize = 500;

/// An absolute URI such as `https://app.example.com/callback` or `com.example.app:/callback`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedirectUri(String);

/// The text is no such URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARedirect;

impl fmt::Display for NotARedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a redirect URI: expected one such as https://app.example.com/callback, without a fragment; \
             plain http only on this machine; an app's own scheme has a dot, such as com.example.app:/callback",
        )
    }
}

impl std::error::Error for NotARedirect {}

impl RedirectUri {
    /// Checks, and changes nothing.
    ///
    /// # Errors
    /// [`NotARedirect`] for anything with a fragment, a user or a character that a URI has not; for
    /// plain http to another machine; and for a scheme of an app (RFC 8252, section 7.1) without a dot.
    pub fn parse(text: &str) -> Result<Self, NotARedirect> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#*".contains(&byte);
        if text.len() > MAX || !text.bytes().all(is_plain) {
            return Err(NotARedirect);
        }
        let (scheme, rest) = text.split_once(':').ok_or(NotARedirect)?;
        let ok = match scheme {
            "https" => has_host(rest, |_| true),
            "http" => has_host(rest, |host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")),
            _ => is_apps(scheme) && rest.starts_with('/'),
        };
        if ok { Ok(Self(text.to_owned())) } else { Err(NotARedirect) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_host(rest: &str, fits: impl Fn(&str) -> bool) -> bool {
    let Some(rest) = rest.strip_prefix("//") else { return false };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = !host.is_empty() && !host.contains('@') && fits(host);
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_apps(scheme: &str) -> bool {
    let is_label = |label: &str| {
        label.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    scheme.contains('.') && scheme.split('.').all(is_label)
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_column!(RedirectUri, |text| RedirectUri::parse(text).ok());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_where_only_one_program_listens() {
        for text in [
            "https://app.example.com/cb",
            "https://app.example.com:8443/cb?x=1",
            "http://127.0.0.1:5173/cb",
            "http://localhost/cb",
            "com.example.app:/oauth/callback",
        ] {
            assert_eq!(RedirectUri::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "/cb",
            "//app.example.com/cb",
            "http://app.example.com/cb",
            "http://127.0.0.1.example.com/cb",
            "https:///cb",
            "https://user@app.example.com/cb",
            "https://app.example.com:port/cb",
            "https://app.example.com/cb#x",
            "https://*.example.com/cb",
            "https://app.example.com/c b",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "myapp:/cb",
            "com.example.app:cb",
            "HTTPS://app.example.com/cb",
        ] {
            assert_eq!(RedirectUri::parse(text), Err(NotARedirect), "{text}");
        }
        assert!(RedirectUri::parse(&format!("https://a.example/{}", "x".repeat(500))).is_err());
    }
}
