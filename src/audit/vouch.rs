//! Where a chain ended at a moment, signed: a line that whoever keeps the log can hold the store to.
//!
//! Law: whoever may write to the store can make a whole new chain; nobody without the seal key can make
//! the line that says where the old one ended.

use std::fmt;

use super::Head;
use super::chain::{Broken, end};
use super::stream::Stream;
use crate::base::Timestamp;
use crate::crypto::digest::{hex, hmac_sha256};
use crate::crypto::seal::SealKey;
use crate::store::Source;

/// What a gateway writes beside each head, in its log.
pub const HEAD_LINE: &str = "the audit trail ends here";
const LABEL: &str = "audit head";
const FORM: &str = "v1";

/// The end of the chain, when its row was written, and the signature of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    pub head: Head,
    pub written_at: Timestamp,
    signature: String,
}

/// The text is no signed head, or another key signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSigned;

impl fmt::Display for NotSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no head of an audit trail that was signed with this seal key")
    }
}

impl std::error::Error for NotSigned {}

impl SignedHead {
    #[must_use]
    pub fn new(seal: &SealKey, head: Head, written_at: Timestamp) -> Self {
        let signature = sign(seal, &head, written_at);
        Self { head, written_at, signature }
    }

    /// Signs where the chain of a stream ends now. Its number says of which stream that is.
    ///
    /// # Errors
    /// The last row is not what was written. Then nothing is signed: a signature would vouch for the forgery.
    pub async fn of(seal: &SealKey, source: impl Source, stream: Stream) -> Result<Self, Broken> {
        let (head, written_at) = end(source, stream).await?;
        Ok(Self::new(seal, head, written_at))
    }

    /// Reads the text of one.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn read(seal: &SealKey, text: &str) -> Result<Self, NotSigned> {
        let mut parts = text.trim().split('.');
        let mut part = || parts.next().ok_or(NotSigned);
        if part()? != FORM {
            return Err(NotSigned);
        }
        let seq = part()?.parse().map_err(|_| NotSigned)?;
        let hash = part()?.to_owned();
        let at = Timestamp::from_millis(part()?.parse().map_err(|_| NotSigned)?);
        let signature = part()?.to_owned();
        let signed = Self::new(seal, Head { seq, hash }, at);
        let is_ours = signed.signature == signature;
        if is_ours && parts.next().is_none() { Ok(signed) } else { Err(NotSigned) }
    }
}

impl fmt::Display for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, written_at, signature } = self;
        write!(f, "{FORM}.{}.{}.{}.{signature}", head.seq, head.hash, written_at.as_millis())
    }
}

fn sign(seal: &SealKey, head: &Head, written_at: Timestamp) -> String {
    let text = format!("{FORM}.{}.{}.{}", head.seq, head.hash, written_at.as_millis());
    hex(&hmac_sha256(seal.derive(LABEL).expose(), text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_head_reads_back_and_nothing_else_does() {
        let seal = SealKey::from_bytes([1; 32]);
        let head = Head { seq: 7, hash: "ab".repeat(32) };
        let signed = SignedHead::new(&seal, head, Timestamp::from_millis(1_795_168_800_000));
        let text = signed.to_string();
        assert_eq!(SignedHead::read(&seal, &format!(" {text}\n")), Ok(signed));
        assert_eq!(SignedHead::read(&SealKey::from_bytes([2; 32]), &text), Err(NotSigned));
        for (from, to) in [("v1.7.", "v1.6."), ("v1", "v2"), ("abab", "abac"), (".17951688", ".17951689")] {
            assert_eq!(SignedHead::read(&seal, &text.replacen(from, to, 1)), Err(NotSigned), "{to}");
        }
        for text in ["", "v1", "v1.7", &format!("{text}.x"), &text[..text.len() - 1]] {
            assert_eq!(SignedHead::read(&seal, text), Err(NotSigned), "{text:?}");
        }
    }
}
