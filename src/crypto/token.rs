//! Opaque tokens: random text that is shown once and stored only as its digest.
//!
//! Law: the store never sees a token, only its SHA-256. The tokens carry 256 bits, so a plain
//! digest is as good as a slow one, and the lookup is by digest, never by comparing secrets.

use super::digest;
use crate::base::{Random, Secret};

/// 32 random bytes in base64url: 43 characters.
#[derive(Debug, Clone)]
pub struct Token(Secret<String>);

impl Token {
    /// A token that nobody has seen.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0u8; 32];
        random.fill(&mut bytes);
        Self(Secret::new(digest::base64url(&bytes)))
    }

    /// The text that is handed to its holder.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is stored in its place.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.expose())
    }
}

/// The SHA-256 of a token's exact text, in hex: the key under which it is stored and found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenDigest(String);

impl TokenDigest {
    /// The digest of whatever text was presented.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(digest::sha256_hex(text.as_bytes()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn a_token_is_43_characters_and_shows_itself_only_on_request() {
        let random = SeededRandom::new(1);
        let (one, two) = (Token::generate(&random), Token::generate(&random));
        assert_eq!(one.expose().len(), 43);
        assert_ne!(one.expose(), two.expose());
        assert!(!format!("{one:?}").contains(one.expose()));
        assert_eq!(one.digest(), TokenDigest::of(one.expose()));
        assert_ne!(one.digest(), two.digest());
    }
}
