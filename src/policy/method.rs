//! Sets of HTTP methods, as a route names them.
//!
//! Law: only the seven methods that the edge lets in exist; whoever may `GET` may `HEAD`.

use std::fmt;

use http::Method;

/// A set of HTTP methods. `GET` brings `HEAD` with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Methods(u8);

const NAMES: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Methods {
    pub const NONE: Self = Self(0);
    /// Every method that the edge lets in.
    pub const ALL: Self = Self(0x7f);

    /// The set of one method by its name in capitals, with `HEAD` beside `GET`; `None` for a
    /// method that never passes.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let bit = NAMES.iter().position(|own| *own == name)?;
        Some(if bit == 0 { Self(0b11) } else { Self(1 << bit) })
    }

    #[must_use]
    pub fn contains(self, method: &Method) -> bool {
        NAMES.iter().position(|own| *own == method.as_str()).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn shared_with(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }
}

impl fmt::Display for Methods {
    /// Comma-separated, as the `Allow` header wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_brings_head_and_nothing_else() {
        let get = Methods::named("GET").unwrap();
        assert!(get.contains(&Method::GET) && get.contains(&Method::HEAD));
        assert!(!get.contains(&Method::POST) && !get.contains(&Method::TRACE));
        assert_eq!(get.with(Methods::named("DELETE").unwrap()).to_string(), "GET, HEAD, DELETE");
    }

    #[test]
    fn methods_that_never_pass_have_no_name() {
        for name in ["TRACE", "CONNECT", "get", "", "PROPFIND"] {
            assert_eq!(Methods::named(name), None, "{name}");
        }
        assert_eq!(Methods::ALL.names().count(), 7);
    }
}
