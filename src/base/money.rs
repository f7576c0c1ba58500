//! `MicroUsd`: an amount of money in millionths of a dollar.
//!
//! Law: an amount is read from the text of a JSON number, never through a floating-point number,
//! and what is finer than a millionth is rounded up, so that nothing is ever free.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// The longest text of an amount.
const TEXT_MAX: usize = 40;
/// A thousand million dollars, in millionths.
const MOST: i64 = 1_000_000_000_000_000;

/// An amount from 0 to 10^9 dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroUsd(i64);

/// The text is no amount. The `Display` text is safe to show to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAmount;

impl fmt::Display for NotAnAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("A number from 0 to 1000000000 is required.")
    }
}

impl std::error::Error for NotAnAmount {}

impl MicroUsd {
    pub const ZERO: Self = Self(0);
    pub const MOST: Self = Self(MOST);

    /// `None` where the number is negative or above 10^9 dollars.
    #[must_use]
    pub fn from_micros(micros: i64) -> Option<Self> {
        (0..=MOST).contains(&micros).then_some(Self(micros))
    }

    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Both together, at most 10^9 dollars.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        Self(if sum > MOST { MOST } else { sum })
    }

    /// What is left after taking `other` away; nothing where that is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let rest = self.0 - other.0;
        Self(if rest < 0 { 0 } else { rest })
    }

    /// Reads a number as JSON writes it, exponents included, at most 40 characters long.
    ///
    /// # Errors
    /// [`NotAnAmount`]: no number, a sign before it, or above 10^9.
    pub fn parse(text: &str) -> Result<Self, NotAnAmount> {
        let number = Decimal::read(text).ok_or(NotAnAmount)?;
        number.micros().and_then(Self::from_micros).ok_or(NotAnAmount)
    }
}

/// Dollars with six decimals.
impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A JSON number of dollars. Its shortest form has at most 15 digits, which a double keeps exactly.
impl Serialize for MicroUsd {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e6)
    }
}

impl JsonSchema for MicroUsd {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MicroUsd".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 1_000_000_000 })
    }
}

/// Digits without zeros at either end, times a power of ten.
struct Decimal {
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// The grammar of RFC 8259 section 6, without a sign.
    fn read(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_whole = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
        if !is_whole || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|d| *d == b'0').collect();
        let mut exponent = exponent - i64::try_from(fraction.len()).ok()?;
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent += 1;
        }
        Some(Self { digits, exponent })
    }

    /// In millionths, rounded up; `None` above what fits.
    fn micros(&self) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let length = i64::try_from(self.digits.len()).ok()?;
        let places = length + self.exponent + 6;
        if places > 16 {
            return None;
        }
        if places <= 0 {
            return Some(1);
        }
        let mut micros: i64 = 0;
        for at in 0..usize::try_from(places).ok()? {
            let digit = self.digits.get(at).map_or(0, |digit| digit - b'0');
            micros = micros.checked_mul(10)?.checked_add(i64::from(digit))?;
        }
        // No zero stands at the end: what is left over is something.
        Some(micros + i64::from(length > places))
    }
}

/// Far beyond anything that an amount could have, exponents are as good as equal.
fn exponent_of(text: &str) -> Option<i64> {
    const FAR: i64 = 1_000_000;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.bytes().fold(0, |size: i64, digit| (size * 10 + i64::from(digit - b'0')).min(FAR));
    Some(sign * size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        MicroUsd::parse(text).ok().map(MicroUsd::as_micros)
    }

    #[test]
    fn t6_an_amount_is_read_from_its_text_and_rounded_up() {
        for (text, expected) in [
            ("0", 0),
            ("0.0", 0),
            ("0e999999999999999999999999", 0),
            ("5", 5_000_000),
            ("5.00", 5_000_000),
            ("0.042", 42_000),
            ("1e-6", 1),
            ("1E-30", 1),
            ("1e-99999999999999999999", 1),
            ("0.0000001", 1),
            ("0.1", 100_000),
            ("0.30000000000000004", 300_001),
            ("1e3", 1_000_000_000),
            ("1.5e+2", 150_000_000),
            ("999999999.9999999", 1_000_000_000_000_000),
            ("1000000000", 1_000_000_000_000_000),
            ("1e9", 1_000_000_000_000_000),
            ("1.0000000000000000000000000000000000e0", 1_000_000),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        let long = format!("0.{}", "0".repeat(39));
        for text in [
            "",
            "-1",
            "-0",
            "-0.0",
            "-1e-9",
            "+1",
            "01",
            ".5",
            "5.",
            "1e",
            "1e+",
            "e5",
            "1e1.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e309",
            "1e10",
            "1000000000.0000001",
            "0x10",
            "1_000",
            " 1",
            "1 ",
            "\"1\"",
            "1,5",
            "null",
            "١",
            &long,
        ] {
            assert_eq!(micros(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_amount_is_shown_as_dollars() {
        let amount = MicroUsd::parse("5.042").unwrap();
        assert_eq!(amount.to_string(), "5.042000");
        assert_eq!(serde_json::to_string(&amount).unwrap(), "5.042");
        assert_eq!(serde_json::to_string(&MicroUsd::from_micros(MOST)).unwrap(), "1000000000.0");
    }

    proptest! {
        #[test]
        fn every_amount_reads_back_from_what_is_written(micros in 0..=MOST) {
            let amount = MicroUsd::from_micros(micros).unwrap();
            prop_assert_eq!(MicroUsd::parse(&amount.to_string()), Ok(amount));
            let written = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(MicroUsd::parse(&written), Ok(amount), "{}", written);
        }
    }
}
