//! Signing and verifying keys: EdDSA (Ed25519), ES256, RS256 and HS256.
//!
//! Law: a key has exactly one algorithm and one `kid`, fixed when it is made; nothing that a token
//! says can make a key act as another kind. Private halves are never shown, only sealed.

use std::fmt;

use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::digest::{base64url, unbase64url};
use super::provider::{self, Held};
use crate::base::{Random, Secret};

/// The signature algorithms that exist here (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    EdDsa,
    Es256,
    Rs256,
    Hs256,
}

impl Algorithm {
    /// All of them, the preferred one first.
    pub const ALL: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Rs256, Self::Hs256];

    /// The `alg` value of the JOSE registry, which is also the word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }

    /// The algorithm of exactly this name; case counts.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The same in the words of the crate that writes and reads tokens.
    pub(super) const fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKey {
    /// The bytes are not a private key of this algorithm.
    Malformed,
    /// An HS256 secret that can be guessed.
    WeakSecret,
    /// RS256 keys are made elsewhere and added from a PEM file.
    NotGenerated,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a private key of the expected kind (RSA: 2048 to 4096 bits)",
            Self::WeakSecret => "an HS256 secret must be at least 32 random bytes, not a phrase",
            Self::NotGenerated => "RS256 keys are not generated here: add one from a PEM file",
        })
    }
}

impl std::error::Error for BadKey {}

/// A key that signs, and the public half that belongs to it.
pub struct SigningKey {
    bytes: Secret<Vec<u8>>,
    held: Held,
    verifying: VerifyingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.kid())
    }
}

/// A random key id: 16 bytes in base64url. It says nothing about the key.
#[must_use]
pub fn new_kid(random: &dyn Random) -> String {
    let mut bytes = [0u8; 16];
    random.fill(&mut bytes);
    base64url(&bytes)
}

impl SigningKey {
    /// A new key with a new `kid`. (ES256 draws from ring's own generator: ring takes no other.)
    ///
    /// # Errors
    /// [`BadKey::NotGenerated`] for RS256.
    pub fn generate(algorithm: Algorithm, random: &dyn Random) -> Result<Self, BadKey> {
        let kid = new_kid(random);
        match algorithm {
            Algorithm::EdDsa => {
                let mut seed = vec![0u8; 32];
                random.fill(&mut seed);
                Self::from_bytes(kid, algorithm, Secret::new(seed))
            }
            Algorithm::Es256 => {
                let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(|_| BadKey::Malformed)?;
                Self::from_bytes(kid, algorithm, Secret::new(pkcs8.as_ref().to_vec()))
            }
            Algorithm::Hs256 => {
                let mut secret = vec![0u8; 64];
                random.fill(&mut secret);
                Self::from_bytes(kid, algorithm, Secret::new(secret))
            }
            Algorithm::Rs256 => Err(BadKey::NotGenerated),
        }
    }

    /// An RS256 key from a PEM file's text, PKCS #8 or PKCS #1.
    ///
    /// # Errors
    /// [`BadKey::Malformed`], also for a key that is too short to be safe.
    pub fn rs256_from_pem(kid: String, pem: &Secret<Vec<u8>>) -> Result<Self, BadKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose())
            .map(|der| der.secret_pkcs8_der().to_vec())
            .or_else(|_| {
                PrivatePkcs1KeyDer::from_pem_slice(pem.expose()).map(|der| der.secret_pkcs1_der().to_vec())
            })
            .map_err(|_| BadKey::Malformed)?;
        Self::from_bytes(kid, Algorithm::Rs256, Secret::new(der))
    }

    /// The key that [`SigningKey::to_bytes`] gave.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_bytes(kid: String, algorithm: Algorithm, bytes: Secret<Vec<u8>>) -> Result<Self, BadKey> {
        if algorithm == Algorithm::Hs256 && is_guessable(bytes.expose()) {
            return Err(BadKey::WeakSecret);
        }
        let held = Held::read(algorithm.jose(), bytes.expose()).map_err(|_| BadKey::Malformed)?;
        let decoding = held.public().unwrap_or_else(|| DecodingKey::from_secret(bytes.expose()));
        Ok(Self { bytes, held, verifying: VerifyingKey { kid, algorithm, decoding } })
    }

    /// The private key, to be sealed.
    #[must_use]
    pub const fn to_bytes(&self) -> &Secret<Vec<u8>> {
        &self.bytes
    }

    #[must_use]
    pub fn kid(&self) -> &str {
        &self.verifying.kid
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// The half that verifies what this key signs.
    #[must_use]
    pub const fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The private key for the crate that writes tokens.
    pub(super) const fn encoding(&self) -> &EncodingKey {
        self.held.encoding()
    }
}

/// Short, monotonous, or a phrase out of a manual: an attacker's word list has it.
fn is_guessable(secret: &[u8]) -> bool {
    const WORDS: [&str; 8] =
        ["secret", "password", "changeme", "change-me", "change_me", "example", "your-", "insecure"];
    let mut seen = [false; 256];
    for byte in secret {
        seen[usize::from(*byte)] = true;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    let text = String::from_utf8_lossy(secret).to_ascii_lowercase();
    secret.len() < 32 || distinct < 8 || WORDS.iter().any(|word| text.contains(word))
}

/// A key that verifies. For HS256 it is the secret itself, which is why it is never published.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} {})", self.algorithm(), self.kid)
    }
}

impl VerifyingKey {
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature`, as it stands in a token, is this key's over `signed`; `None` if it is
    /// not strict base64url.
    pub(super) fn is_signature(&self, signed: &str, signature: &str) -> Option<bool> {
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.decoding, self.algorithm.jose()).ok()
    }

    /// The public key that somebody else published as a JWK; `None` for what is not for signatures,
    /// has a key type or curve of no algorithm here, or is broken. A secret is never one.
    #[must_use]
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        provider::install().ok()?;
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(unbase64url);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (algorithm, decoding) = match (text("kty")?, text("crv")) {
            ("RSA", None) => {
                (Algorithm::Rs256, DecodingKey::from_rsa_raw_components(&bytes("n")?, &bytes("e")?))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                (Algorithm::Es256, DecodingKey::from_ec_der(&[&[4], &x[..], &y].concat()))
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                (Algorithm::EdDsa, DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        if text("alg").is_some_and(|named| named != algorithm.name()) {
            return None;
        }
        let kid = text("kid").unwrap_or_default().to_owned();
        Some(Self { kid, algorithm, decoding })
    }

    /// The public key as a JWK (RFC 7517), or `None` for HS256, which has nothing public.
    #[must_use]
    pub fn jwk(&self) -> Option<Value> {
        let mut jwk = match (self.algorithm, self.decoding.kind()) {
            (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(x)) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(x)})
            }
            (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => {
                // An uncompressed point: 0x04, then X and Y of 32 bytes each.
                let (x, y) = point.get(1..)?.split_at_checked(32)?;
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)})
            }
            _ => return None,
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm.name());
        jwk["use"] = json!("sig");
        Some(jwk)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
