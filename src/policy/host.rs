//! Host patterns: a name, an address, or any one label before a name.
//!
//! Law: a host is compared in its canonical form (lower case, no port, no trailing dot). `*.` stands
//! for one label, as in a certificate, so that at most one wildcard fits a host.

use std::fmt;

/// Which hosts a route serves: one name, or with `*.` any one label before a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    Exact(Box<str>),
    /// The suffix after `*`, its dot included.
    OneLabelBefore(Box<str>),
}

/// The text is not a host name, address or `*.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAHost;

impl fmt::Display for NotAHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host: a lower-case name such as `api.example.com` or `*.example.com`, or an address; no port")
    }
}

impl std::error::Error for NotAHost {}

impl Host {
    /// # Errors
    /// [`NotAHost`] for anything with a port, an upper-case letter, a trailing dot or a path.
    pub fn parse(text: &str) -> Result<Self, NotAHost> {
        let name_ok = |name: &str| {
            name.len() <= 253
                && name.split('.').all(|label| {
                    !label.is_empty()
                        && label.len() <= 63
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
                })
        };
        if let Some(name) = text.strip_prefix("*.") {
            return if name_ok(name) && name.contains('.') {
                Ok(Self::OneLabelBefore(text[1..].into()))
            } else {
                Err(NotAHost)
            };
        }
        let v6 = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ok = match v6 {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|a| a.to_string() == address),
            None => name_ok(text),
        };
        if ok { Ok(Self::Exact(text.into())) } else { Err(NotAHost) }
    }

    /// Whether a canonical host (lower case, no port) is served.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *host,
            Self::OneLabelBefore(suffix) => {
                host.strip_suffix(&**suffix).is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
        }
    }

    /// Whether every host that fits `other` fits this one.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::OneLabelBefore(_) => self == other,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::OneLabelBefore(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let host = Host::parse("*.example.com").unwrap();
        assert!(host.matches("api.example.com"));
        for other in ["example.com", ".example.com", "a.b.example.com", "api.example.com.", "api.example.org"]
        {
            assert!(!host.matches(other), "{other}");
        }
        assert!(host.contains(&Host::parse("x.example.com").unwrap()) && host.contains(&host));
        assert!(!Host::parse("x.example.com").unwrap().contains(&host));
    }

    #[test]
    fn hosts_are_written_in_canonical_form() {
        for text in ["localhost", "api.example.com", "127.0.0.1", "[::1]", "xn--bcher-kva.example"] {
            assert_eq!(Host::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "Example.com",
            "a.b.",
            "a:80",
            "a/b",
            "*",
            "*.com",
            "a.*.com",
            "[::01]",
            "::1",
            "-a.b",
            "a..b",
        ] {
            assert_eq!(Host::parse(text), Err(NotAHost), "{text:?}");
        }
    }
}
