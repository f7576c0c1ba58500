//! Signing and verifying keys: EdDSA (Ed25519), ES256, RS256 and HS256 over ring.
//!
//! Law: a key has exactly one algorithm and one `kid`, fixed when it is made; nothing that a token
//! says can make a key act as another kind. Private halves are never shown, only sealed.

use std::fmt;

use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::digest::base64url;
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

enum Pair {
    Ed { pair: Ed25519KeyPair, seed: Secret<Vec<u8>> },
    Ec { pair: EcdsaKeyPair, pkcs8: Secret<Vec<u8>> },
    Rsa { pair: Box<RsaKeyPair>, der: Secret<Vec<u8>> },
    Hmac { key: hmac::Key, secret: Secret<Vec<u8>> },
}

/// A key that signs, and the public half that belongs to it.
pub struct SigningKey {
    pair: Pair,
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
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(
                    &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                    &SystemRandom::new(),
                )
                .map_err(|_| BadKey::Malformed)?;
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
        let (pair, public) = match algorithm {
            Algorithm::EdDsa => ed25519(bytes)?,
            Algorithm::Es256 => es256(bytes)?,
            Algorithm::Rs256 => rs256(bytes)?,
            Algorithm::Hs256 => hs256(bytes)?,
        };
        Ok(Self { pair, verifying: VerifyingKey { kid, public } })
    }

    /// The private key, to be sealed.
    #[must_use]
    pub const fn to_bytes(&self) -> &Secret<Vec<u8>> {
        match &self.pair {
            Pair::Ed { seed: bytes, .. }
            | Pair::Ec { pkcs8: bytes, .. }
            | Pair::Rsa { der: bytes, .. }
            | Pair::Hmac { secret: bytes, .. } => bytes,
        }
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

    /// The raw signature as JWS wants it: R and S for ES256, not DER.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let random = SystemRandom::new();
        Ok(match &self.pair {
            Pair::Ed { pair, .. } => pair.sign(message).as_ref().to_vec(),
            Pair::Ec { pair, .. } => pair.sign(&random, message)?.as_ref().to_vec(),
            Pair::Rsa { pair, .. } => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out)?;
                out
            }
            Pair::Hmac { key, .. } => hmac::sign(key, message).as_ref().to_vec(),
        })
    }
}

fn ed25519(seed: Secret<Vec<u8>>) -> Result<(Pair, Public), BadKey> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| BadKey::Malformed)?;
    let public = Public::ed25519(pair.public_key().as_ref());
    Ok((Pair::Ed { pair, seed }, public))
}

fn es256(pkcs8: Secret<Vec<u8>>) -> Result<(Pair, Public), BadKey> {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.expose(), &SystemRandom::new())
        .map_err(|_| BadKey::Malformed)?;
    let public = Public::es256(pair.public_key().as_ref());
    Ok((Pair::Ec { pair, pkcs8 }, public))
}

fn rs256(der: Secret<Vec<u8>>) -> Result<(Pair, Public), BadKey> {
    let pair = RsaKeyPair::from_pkcs8(der.expose())
        .or_else(|_| RsaKeyPair::from_der(der.expose()))
        .map_err(|_| BadKey::Malformed)?;
    let public = Public::Rsa(PublicKeyComponents::from(pair.public()));
    Ok((Pair::Rsa { pair: Box::new(pair), der }, public))
}

fn hs256(secret: Secret<Vec<u8>>) -> Result<(Pair, Public), BadKey> {
    if is_guessable(secret.expose()) {
        return Err(BadKey::WeakSecret);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    Ok((Pair::Hmac { key: key.clone(), secret }, Public::Hmac(key)))
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

#[derive(Clone)]
enum Public {
    Ed(UnparsedPublicKey<Vec<u8>>),
    Ec(UnparsedPublicKey<Vec<u8>>),
    Rsa(PublicKeyComponents<Vec<u8>>),
    Hmac(hmac::Key),
}

impl Public {
    fn ed25519(bytes: &[u8]) -> Self {
        Self::Ed(UnparsedPublicKey::new(&signature::ED25519, bytes.to_vec()))
    }

    fn es256(point: &[u8]) -> Self {
        Self::Ec(UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point.to_vec()))
    }
}

/// A key that verifies. For HS256 it is the secret itself, which is why it is never published.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    public: Public,
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
        match self.public {
            Public::Ed(_) => Algorithm::EdDsa,
            Public::Ec(_) => Algorithm::Es256,
            Public::Rsa(_) => Algorithm::Rs256,
            Public::Hmac(_) => Algorithm::Hs256,
        }
    }

    /// Whether `signature` is this key's signature over `message`.
    pub(super) fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Ed(key) | Public::Ec(key) => key.verify(message, signature).is_ok(),
            Public::Rsa(key) => {
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Public::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    /// The public key as a JWK (RFC 7517), or `None` for HS256, which has nothing public.
    #[must_use]
    pub fn jwk(&self) -> Option<Value> {
        let mut jwk = match &self.public {
            Public::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(key.as_ref())}),
            Public::Ec(key) => {
                // An uncompressed point: 0x04, then X and Y of 32 bytes each.
                let (x, y) = key.as_ref().get(1..)?.split_at_checked(32)?;
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Public::Rsa(key) => json!({"kty": "RSA", "n": base64url(&key.n), "e": base64url(&key.e)}),
            Public::Hmac(_) => return None,
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm().name());
        jwk["use"] = json!("sig");
        Some(jwk)
    }

    #[cfg(test)]
    pub(super) fn from_parts(kid: &str, algorithm: Algorithm, parts: &[&[u8]]) -> Self {
        let public = match algorithm {
            Algorithm::EdDsa => Public::ed25519(parts[0]),
            Algorithm::Es256 => Public::es256(&[&[4u8], parts[0], parts[1]].concat()),
            Algorithm::Rs256 => {
                Public::Rsa(PublicKeyComponents { n: parts[0].to_vec(), e: parts[1].to_vec() })
            }
            Algorithm::Hs256 => Public::Hmac(hmac::Key::new(hmac::HMAC_SHA256, parts[0])),
        };
        Self { kid: kid.to_owned(), public }
    }
}

#[cfg(test)]
mod tests;
