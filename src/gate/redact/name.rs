//! The keys whose values are hidden, and the reading of a key that comes in pieces.
//!
//! Law: a key is what it means once its escapes are read. Upper and lower case are alike, and so
//! are spellings that differ in `_`, `-` and blanks: `Date-Of-Birth`, `dateOfBirth`.

use std::collections::BTreeSet;

/// Longer names than any that is configured are none of them.
const LENGTH_MAX: usize = 256;

/// Names of keys, folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl<S: AsRef<str>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(|name| folded(name.as_ref())).collect())
    }
}

impl Names {
    pub(super) fn contain(&self, name: &Name) -> bool {
        if name.is_too_long {
            return false;
        }
        // What escapes spelled is put together here; what stood plainly was checked with the text.
        let text = String::from_utf8_lossy(&name.bytes);
        self.0.contains(&folded(&text))
    }
}

fn folded(name: &str) -> String {
    let significant = name.chars().filter(|c| !is_blank(*c));
    significant.flat_map(char::to_lowercase).collect()
}

const fn is_blank(c: char) -> bool {
    matches!(c, '_' | '-' | ' ')
}

/// A key as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Name {
    bytes: Vec<u8>,
    is_too_long: bool,
    /// The character that an escape spells, as far as it was read.
    unit: u32,
    /// The first half of a character that takes two escapes.
    high: Option<u32>,
}

impl Name {
    pub fn clear(&mut self) {
        self.bytes.clear();
        *self = Self { bytes: std::mem::take(&mut self.bytes), ..Self::default() };
    }

    /// Bytes that mean themselves.
    pub fn plain(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.orphan();
        for &byte in bytes.iter().filter(|byte| !is_blank(char::from(**byte))) {
            if self.bytes.len() == LENGTH_MAX {
                self.is_too_long = true;
                return;
            }
            self.bytes.push(byte);
        }
    }

    pub const fn digit(&mut self, digit: u32) {
        self.unit = self.unit << 4 | digit;
    }

    /// All digits of an escape were read.
    pub fn escaped(&mut self) {
        let unit = std::mem::take(&mut self.unit);
        match (self.high.take(), unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.push(char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00)));
            }
            (high, _) => {
                if high.is_some() {
                    self.push(None);
                }
                if (0xd800..=0xdbff).contains(&unit) {
                    self.high = Some(unit);
                } else {
                    self.push(char::from_u32(unit));
                }
            }
        }
    }

    /// Half a character, with nothing of the other half behind it.
    fn orphan(&mut self) {
        if self.high.take().is_some() {
            self.push(None);
        }
    }

    fn push(&mut self, c: Option<char>) {
        let mut buffer = [0; 4];
        let text = c.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer);
        self.plain(text.as_bytes());
    }
}
