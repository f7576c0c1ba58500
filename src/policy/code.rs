//! Codes name permissions, roles and groups; a grant is a code or everything below one.
//!
//! Law: a code has one spelling, `[a-z0-9_-]+([.:][a-z0-9_-]+)*`, so that equality is equality of
//! text. Codes are never patterns; only what an org role grants may end in `.*`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest code that the store keeps.
pub const CODE_MAX: usize = 100;

/// The name of a permission, role or group, such as `reports.read`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(Arc<str>);

/// The text is not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotACode;

impl fmt::Display for NotACode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a code: lower-case letters, digits, `_` and `-`, in parts joined by `.` or `:`, at most 100",
        )
    }
}

impl std::error::Error for NotACode {}

impl Code {
    /// # Errors
    /// [`NotACode`] when the text does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self, NotACode> {
        let part_ok = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        };
        let ok = text.len() <= CODE_MAX && text.split(['.', ':']).all(part_ok);
        if ok { Ok(Self(text.into())) } else { Err(NotACode) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Code {
    type Err = NotACode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for Code {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Code {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "format": "code", "maxLength": CODE_MAX,
            "pattern": "^[a-z0-9_-]+([.:][a-z0-9_-]+)*$",
        })
    }
}

/// What an org role grants: one code, or with `x.*` the code `x` and all codes that begin `x.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grant {
    Exact(Code),
    Below(Code),
}

impl Grant {
    /// # Errors
    /// [`NotACode`] when the text is neither a code nor a code and `.*`.
    pub fn parse(text: &str) -> Result<Self, NotACode> {
        match text.strip_suffix(".*") {
            Some(stem) => Code::parse(stem).map(Self::Below),
            None => Code::parse(text).map(Self::Exact),
        }
    }

    #[must_use]
    pub fn covers(&self, code: &Code) -> bool {
        match self {
            Self::Exact(own) => own == code,
            Self::Below(stem) => code
                .as_str()
                .strip_prefix(stem.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(code) => fmt::Display::fmt(code, f),
            Self::Below(stem) => write!(f, "{stem}.*"),
        }
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Grant {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grant".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "format": "grant",
            "pattern": "^[a-z0-9_-]+([.:][a-z0-9_-]+)*(\\.\\*)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_spelling() {
        for text in ["a", "reports.read", "read:reports", "users.roles.assign", "a-b_c.9:z"] {
            assert_eq!(Code::parse(text).unwrap().as_str(), text);
        }
        let long = "a".repeat(CODE_MAX + 1);
        for text in ["", ".", "a.", ".a", "a..b", "A", "a b", "a.*", "*", "a/b", "é", "a\n", &long] {
            assert_eq!(Code::parse(text), Err(NotACode), "{text:?}");
        }
    }

    #[test]
    fn a_star_covers_the_code_and_what_lies_below_it() {
        let grant = Grant::parse("org.*").unwrap();
        let covers = |text: &str| grant.covers(&Code::parse(text).unwrap());
        assert!(covers("org") && covers("org.read") && covers("org.members.invite"));
        assert!(!covers("organization") && !covers("org:read") && !covers("other.org.read"));
        assert_eq!(grant.to_string(), "org.*");
        assert!(Grant::parse("*").is_err() && Grant::parse("a.*.b").is_err() && Grant::parse(".*").is_err());
    }
}
