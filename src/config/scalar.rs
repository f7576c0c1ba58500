//! The small notations of the file: durations, sizes, addresses, hosts, networks, patterns.
//!
//! Law: each notation has one parser. The JSON Schema names it as `format`, the check of the file
//! against the schema calls it, and the typed sections are filled by it.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::policy::{Code, Grant, Host, Pattern};

/// A notation: how it is called, how it looks, what it means.
pub trait Notation {
    /// The `format` in the JSON Schema.
    const FORMAT: &'static str;
    /// A regular expression for editors; the parser is stricter.
    const LOOKS: &'static str;
    type Value;
    fn parse(text: &str) -> Result<Self::Value, String>;
}

/// `#[serde(with = "As::<N>")]`: one value in notation `N`.
pub struct As<N>(PhantomData<N>);
/// One value in notation `N`, or `null`.
pub struct Maybe<N>(PhantomData<N>);
/// A list of values in notation `N`.
pub struct ListOf<N>(PhantomData<N>);

fn read<'de, N: Notation, D: Deserializer<'de>>(deserializer: D) -> Result<N::Value, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    N::parse(&text).map_err(serde::de::Error::custom)
}

impl<N: Notation> As<N> {
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<N::Value, D::Error> {
        read::<N, D>(deserializer)
    }
}

impl<N: Notation> Maybe<N> {
    /// Writes the default into the schema, and that is always `null`.
    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub fn serialize<S: serde::Serializer>(_: &Option<N::Value>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<N::Value>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| N::parse(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

impl<N: Notation> ListOf<N> {
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<N::Value>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| N::parse(text).map_err(serde::de::Error::custom)).collect()
    }
}

fn schema<N: Notation>() -> Schema {
    json_schema!({ "type": "string", "format": N::FORMAT, "pattern": N::LOOKS })
}

impl<N: Notation> JsonSchema for As<N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        N::FORMAT.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::<N>()
    }
}

impl<N: Notation> JsonSchema for Maybe<N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("optional {}", N::FORMAT).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "null"], "format": N::FORMAT, "pattern": N::LOOKS })
    }
}

impl<N: Notation> JsonSchema for ListOf<N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("list of {}", N::FORMAT).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": schema::<N>() })
    }
}

/// Whether a text is in some notation, and if not, why.
pub(super) type Fits = fn(&str) -> Result<(), String>;

/// The parser behind a `format` of the schema.
pub(super) fn parser_of(format: &str) -> Option<Fits> {
    fn only<N: Notation>(text: &str) -> Result<(), String> {
        N::parse(text).map(|_| ())
    }
    Some(match format {
        Span::FORMAT => only::<Span>,
        Size::FORMAT => only::<Size>,
        Address::FORMAT => only::<Address>,
        Network::FORMAT => only::<Network>,
        HostName::FORMAT => only::<HostName>,
        PathPattern::FORMAT => only::<PathPattern>,
        "code" => |text| Code::parse(text).map(|_| ()).map_err(|no| no.to_string()),
        "grant" => |text| Grant::parse(text).map(|_| ()).map_err(|no| no.to_string()),
        _ => return None,
    })
}

/// A length of time: `15m`, `1h30m`, `500ms`.
pub struct Span;

impl Notation for Span {
    const FORMAT: &'static str = "span";
    const LOOKS: &'static str = "^([0-9]+(ms|s|m|h|d|w))+$";
    type Value = Duration;

    fn parse(text: &str) -> Result<Duration, String> {
        let wrong =
            || "not a length of time: write a number and ms, s, m, h, d or w, such as `15m`".to_owned();
        let mut total: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let amount: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let unit = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len())];
            let millis: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                _ => return Err(wrong()),
            };
            rest = &rest[unit.len()..];
            total = amount.checked_mul(millis).and_then(|more| total.checked_add(more)).ok_or_else(wrong)?;
        }
        // A century is more than any clock arithmetic here should have to bear.
        if text.is_empty() || total > 100 * 366 * 86_400_000 {
            Err(wrong())
        } else {
            Ok(Duration::from_millis(total))
        }
    }
}

/// A number of bytes: `64KiB`, `10MiB`, `512B`.
pub struct Size;

impl Notation for Size {
    const FORMAT: &'static str = "size";
    const LOOKS: &'static str = "^[0-9]+(B|KiB|MiB|GiB)$";
    type Value = u64;

    fn parse(text: &str) -> Result<u64, String> {
        let wrong = || "not a size: write a number and B, KiB, MiB or GiB, such as `10MiB`".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let amount: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit: u64 = match &text[digits..] {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        amount.checked_mul(unit).filter(|total| *total <= 1 << 40).ok_or_else(wrong)
    }
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`.
pub struct Address;

impl Notation for Address {
    const FORMAT: &'static str = "address";
    const LOOKS: &'static str = "^.+:[0-9]+$";
    type Value = SocketAddr;

    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            "not an address: write IP and port, such as `127.0.0.1:8080` or `[::]:8080`".to_owned()
        })
    }
}

/// Addresses that are alike in their first bits: `10.0.0.0/8`.
pub struct Network;

impl Notation for Network {
    const FORMAT: &'static str = "network";
    const LOOKS: &'static str = "^[0-9a-fA-F.:]+(/[0-9]+)?$";
    type Value = IpNet;

    fn parse(text: &str) -> Result<IpNet, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        net.map_err(|_| {
            "not a network: write an address, or one and its bits such as `10.0.0.0/8`".to_owned()
        })
    }
}

/// A host name, an address, or `*.` and a name.
pub struct HostName;

impl Notation for HostName {
    const FORMAT: &'static str = "host";
    const LOOKS: &'static str = "^(\\*\\.)?[a-z0-9._-]+$|^\\[[0-9a-f:.]+\\]$";
    type Value = Host;

    fn parse(text: &str) -> Result<Host, String> {
        Host::parse(text).map_err(|no| no.to_string())
    }
}

/// A path pattern: `/reports/**`.
pub struct PathPattern;

impl Notation for PathPattern {
    const FORMAT: &'static str = "path";
    const LOOKS: &'static str = "^/";
    type Value = Pattern;

    fn parse(text: &str) -> Result<Pattern, String> {
        Pattern::parse(text).map_err(|no| no.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_add_up() {
        for (text, millis) in
            [("15m", 900_000), ("1h30m", 5_400_000), ("500ms", 500), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(Span::parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "15", "m", "15x", "1.5h", "-1s", "15 m", "15m ", "99999999999999999999s", "9999999w", "١s"]
        {
            assert!(Span::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(Size::parse("64KiB"), Ok(65_536));
        assert_eq!(Size::parse("1GiB"), Ok(1 << 30));
        for text in ["", "64", "64KB", "KiB", "-1B", "1.5MiB", "99999999GiB"] {
            assert!(Size::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_format_has_its_parser() {
        for format in ["span", "size", "address", "network", "host", "path", "code", "grant"] {
            assert!(parser_of(format).is_some(), "{format}");
        }
        assert!(parser_of("uint32").is_none());
    }
}
