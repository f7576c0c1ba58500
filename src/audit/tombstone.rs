//! What stands in the place of rows whose time is over, signed.
//!
//! Law: who may write to the store can remove rows and write any row; nobody without the seal key can make the
//! tombstone that says that their removal was meant.

use std::fmt;

use super::chain::Head;
use super::vouch::NotSigned;
use crate::base::Timestamp;
use crate::crypto::digest::{hex, hmac_sha256};
use crate::crypto::seal::SealKey;

const LABEL: &str = "audit tombstone";
const FORM: &str = "t1";

/// The rows from `from` up to `to` were removed because they were written before `before`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    pub from: i64,
    /// The last of them, with the hash that the row after it follows.
    pub to: Head,
    pub before: Timestamp,
    signature: String,
}

impl Tombstone {
    #[must_use]
    pub fn new(seal: &SealKey, from: i64, to: Head, before: Timestamp) -> Self {
        let mut made = Self { from, to, before, signature: String::new() };
        made.signature = made.sign(seal);
        made
    }

    /// Reads the text of one.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn read(seal: &SealKey, text: &str) -> Result<Self, NotSigned> {
        let parts: Vec<&str> = text.split('.').collect();
        let &[FORM, from, to, hash, before, signature] = parts.as_slice() else { return Err(NotSigned) };
        let number = |text: &str| text.parse::<i64>().map_err(|_| NotSigned);
        let head = Head { seq: number(to)?, hash: hash.to_owned() };
        let read = Self::new(seal, number(from)?, head, Timestamp::from_millis(number(before)?));
        if read.signature == signature { Ok(read) } else { Err(NotSigned) }
    }

    fn sign(&self, seal: &SealKey) -> String {
        hex(&hmac_sha256(seal.derive(LABEL).expose(), self.content().as_bytes()))
    }

    fn content(&self) -> String {
        let Self { from, to, before, .. } = self;
        format!("{FORM}.{from}.{}.{}.{}", to.seq, to.hash, before.as_millis())
    }
}

impl fmt::Display for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.content(), self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_reads_back_and_nothing_else_does() {
        let seal = SealKey::from_bytes([1; 32]);
        let to = Head { seq: 7, hash: "ab".repeat(32) };
        let made = Tombstone::new(&seal, 3, to, Timestamp::from_millis(1_795_168_800_000));
        let text = made.to_string();
        assert_eq!(Tombstone::read(&seal, &text), Ok(made));
        assert_eq!(Tombstone::read(&SealKey::from_bytes([2; 32]), &text), Err(NotSigned));
        for (from, to) in
            [("t1.3.", "t1.1."), (".7.", ".8."), ("t1", "v1"), ("abab", "abac"), (".1795", ".1796")]
        {
            assert_eq!(Tombstone::read(&seal, &text.replacen(from, to, 1)), Err(NotSigned), "{to}");
        }
        for text in ["", "t1", "t1.1.2", &format!("{text}.x"), &text[..text.len() - 1]] {
            assert_eq!(Tombstone::read(&seal, text), Err(NotSigned), "{text:?}");
        }
    }
}
