//! Access keys and secrets: made here, shown once, kept as a digest.
//!
//! Law: a secret has 256 random bits, so its plain SHA-256 is as safe to keep as a slow hash. The
//! comparison takes the same time whatever differs. What was imported as bcrypt is verified in
//! that form once, and kept as ours from then on.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::base::{Random, Secret};
use crate::crypto::digest;
use crate::text_column;

const PREFIX: &str = "sha256$";

/// The public half of an application's credentials: 64 hex characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccessKey(String);

impl AccessKey {
    pub(super) fn generate(random: &dyn Random) -> Self {
        Self(random_hex(random))
    }

    /// The key of a client, in its one spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex { Some(Self(text.to_owned())) } else { None }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_column!(AccessKey, AccessKey::parse);

/// A new secret: 64 hex characters.
pub(super) fn generate(random: &dyn Random) -> Secret<String> {
    Secret::new(random_hex(random))
}

fn random_hex(random: &dyn Random) -> String {
    let mut bytes = [0u8; 32];
    random.fill(&mut bytes);
    digest::hex(&bytes)
}

/// A secret as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretHash {
    Sha256([u8; 32]),
    /// The text of a bcrypt hash, from an import.
    Bcrypt(String),
}

impl SecretHash {
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self::Sha256(digest::sha256(secret.as_bytes()))
    }

    /// The column's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Sha256(digest) => format!("{PREFIX}{}", digest::hex(digest)),
            Self::Bcrypt(hash) => STANDARD.encode(hash),
        }
    }

    /// Reads the column, which also holds what was imported as it was: base64 of a bcrypt hash
    /// (contract section 3).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(hex) = text.strip_prefix(PREFIX) {
            return Some(Self::Sha256(digest::unhex(hex)?.try_into().ok()?));
        }
        let hash = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        if hash.starts_with("$2") { Some(Self::Bcrypt(hash)) } else { None }
    }
}

text_column!(SecretHash, SecretHash::parse);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Whether `presented` is the secret of this digest, in constant time.
pub(super) fn is_match(kept: &[u8; 32], presented: &str) -> bool {
    digest::sha256(presented.as_bytes()).ct_eq(kept).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn keys_and_secrets_are_64_hex_characters() {
        let random = SeededRandom::new(1);
        let (key, secret) = (AccessKey::generate(&random), generate(&random));
        assert_eq!(AccessKey::parse(key.as_str()), Some(key.clone()));
        assert_eq!(secret.expose().len(), 64);
        assert_ne!(key.as_str(), secret.expose());
        for text in ["", "abc", &key.as_str().to_uppercase(), &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(AccessKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn both_kept_forms_read_back_and_show_nothing() {
        let ours = SecretHash::of("secret");
        assert_eq!(SecretHash::parse(&ours.to_text()), Some(ours.clone()));
        assert!(
            is_match(&digest::sha256(b"secret"), "secret") && !is_match(&digest::sha256(b"secret"), "Secret")
        );
        // The contract's vector (section 32).
        let theirs = "JDJiJDA0JGFiY2RlZmdoaWprbG1ub3BxcnN0dXUxaUc3TTJxdTFGekFLYzlkRHd3TlRYUnVnLzdrdDd5";
        let imported = SecretHash::parse(theirs).unwrap();
        assert!(matches!(&imported, SecretHash::Bcrypt(hash) if hash.starts_with("$2b$04$")));
        assert_eq!(imported.to_text(), theirs);
        assert_eq!(format!("{ours:?} {imported:?}"), "[secret] [secret]");
        for text in ["", "secret", "sha256$abc", "c2VjcmV0"] {
            assert_eq!(SecretHash::parse(text), None, "{text}");
        }
    }
}
