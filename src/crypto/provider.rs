//! What the jsonwebtoken crate computes with: ring.
//!
//! Law: exactly the four algorithms of [`super::key`], each with the one kind of key that it is
//! for; whatever else the crate could ask for is an error, never a panic. A private key is read
//! once: the crate would hand us its bytes anew for every token, so it gets a number in place of
//! them. A public key ring reads as a part of verifying, which no form of it would spare.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature::{self as traits, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Lent::to(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Public::read(*algorithm, key)?)),
    // Of use only for the crate's JWKs; ours are written by the key itself.
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    },
};

/// Makes ring what the crate computes with, in this process and for good.
///
/// # Errors
/// Something else came first. It would take the number of a key for the key.
pub(super) fn install() -> Result<()> {
    static IS_OURS: OnceLock<bool> = OnceLock::new();
    let is_ours = *IS_OURS.get_or_init(|| RING.install_default().is_ok());
    if is_ours { Ok(()) } else { Err(unsupported()) }
}

fn unsupported() -> Error {
    ErrorKind::UnsupportedAlgorithm.into()
}

fn bad_key() -> Error {
    ErrorKind::InvalidKeyFormat.into()
}

/// The private keys that exist, by number. Process-wide as the crate's provider is.
static HELD: RwLock<BTreeMap<u64, Arc<Pair>>> = RwLock::new(BTreeMap::new());

/// A private key, read and kept for as long as this lives.
pub(super) struct Held {
    number: u64,
    encoding: EncodingKey,
    pair: Arc<Pair>,
}

impl Held {
    /// Reads a seed (EdDSA), PKCS #8 (ES256), PKCS #8 or PKCS #1 (RS256), or a secret (HS256).
    ///
    /// # Errors
    /// The bytes are no key of this algorithm, or the algorithm is none of ours.
    pub(super) fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        install()?;
        let pair = Arc::new(Pair::read(algorithm, bytes)?);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let stand_in = number.to_be_bytes();
        let encoding = match algorithm.family() {
            AlgorithmFamily::Hmac => EncodingKey::from_secret(&stand_in),
            AlgorithmFamily::Rsa => EncodingKey::from_rsa_der(&stand_in),
            AlgorithmFamily::Ec => EncodingKey::from_ec_der(&stand_in),
            AlgorithmFamily::Ed => EncodingKey::from_ed_der(&stand_in),
        };
        HELD.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&pair));
        Ok(Self { number, encoding, pair })
    }

    /// What the crate takes for the private key.
    pub(super) const fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    /// The half that verifies; `None` for HS256, where it is the secret itself.
    pub(super) fn public(&self) -> Option<DecodingKey> {
        self.pair.public()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A private key that ring has read.
enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Hmac(hmac::Key),
}

impl Pair {
    fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self> {
        let rejected = |_| bad_key();
        match algorithm {
            Algorithm::EdDSA => Ed25519KeyPair::from_seed_unchecked(bytes).map(Self::Ed).map_err(rejected),
            Algorithm::ES256 => {
                let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, bytes, &SystemRandom::new());
                pair.map(Self::Ec).map_err(rejected)
            }
            Algorithm::RS256 => {
                let pair = RsaKeyPair::from_pkcs8(bytes).or_else(|_| RsaKeyPair::from_der(bytes));
                pair.map(|pair| Self::Rsa(Box::new(pair))).map_err(rejected)
            }
            Algorithm::HS256 => Ok(Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
            _ => Err(unsupported()),
        }
    }

    fn public(&self) -> Option<DecodingKey> {
        match self {
            Self::Ed(pair) => Some(DecodingKey::from_ed_der(pair.public_key().as_ref())),
            Self::Ec(pair) => Some(DecodingKey::from_ec_der(pair.public_key().as_ref())),
            Self::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                Some(DecodingKey::from_rsa_raw_components(&n, &e))
            }
            Self::Hmac(_) => None,
        }
    }
}

/// A held key while the crate signs with it.
struct Lent(Arc<Pair>);

impl Lent {
    fn to(algorithm: Algorithm, key: &EncodingKey) -> Result<Self> {
        let number = key.as_bytes().try_into().map(u64::from_be_bytes).map_err(|_| bad_key())?;
        let held = HELD.read().unwrap_or_else(PoisonError::into_inner);
        let lent = held.get(&number).map(|pair| Self(Arc::clone(pair))).ok_or_else(bad_key)?;
        if lent.algorithm() == algorithm { Ok(lent) } else { Err(bad_key()) }
    }
}

impl Signer<Vec<u8>> for Lent {
    /// The raw signature as JWS wants it: R and S for ES256, not DER.
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, traits::Error> {
        let random = SystemRandom::new();
        let unspecified = |_| traits::Error::new();
        match &*self.0 {
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ec(pair) => {
                pair.sign(&random, message).map(|made| made.as_ref().to_vec()).map_err(unspecified)
            }
            Pair::Rsa(pair) => {
                let mut made = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut made);
                signed.map(|()| made).map_err(unspecified)
            }
            Pair::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for Lent {
    fn algorithm(&self) -> Algorithm {
        match &*self.0 {
            Pair::Ed(_) => Algorithm::EdDSA,
            Pair::Ec(_) => Algorithm::ES256,
            Pair::Rsa(_) => Algorithm::RS256,
            Pair::Hmac(_) => Algorithm::HS256,
        }
    }
}

/// A key that verifies, as ring takes it.
enum Public {
    Ed(UnparsedPublicKey<Vec<u8>>),
    Ec(UnparsedPublicKey<Vec<u8>>),
    Rsa(PublicKeyComponents<Vec<u8>>),
    Hmac(hmac::Key),
}

impl Public {
    fn read(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        Ok(match (algorithm, key.family(), key.kind()) {
            (Algorithm::EdDSA, AlgorithmFamily::Ed, SecretOrDer(bytes)) => {
                Self::Ed(UnparsedPublicKey::new(&signature::ED25519, bytes.clone()))
            }
            (Algorithm::ES256, AlgorithmFamily::Ec, SecretOrDer(point)) => {
                Self::Ec(UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point.clone()))
            }
            (Algorithm::RS256, AlgorithmFamily::Rsa, RsaModulusExponent { n, e }) => {
                Self::Rsa(PublicKeyComponents { n: n.clone(), e: e.clone() })
            }
            (Algorithm::HS256, AlgorithmFamily::Hmac, SecretOrDer(secret)) => {
                Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))
            }
            _ => return Err(bad_key()),
        })
    }
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), traits::Error> {
        let verdict = match self {
            Self::Ed(key) | Self::Ec(key) => key.verify(message, signature),
            Self::Rsa(key) => key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            Self::Hmac(key) => hmac::verify(key, message, signature),
        };
        verdict.map_err(|_| traits::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed(_) => Algorithm::EdDSA,
            Self::Ec(_) => Algorithm::ES256,
            Self::Rsa(_) => Algorithm::RS256,
            Self::Hmac(_) => Algorithm::HS256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [Algorithm; 4] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];

    #[test]
    fn a_key_serves_no_algorithm_but_its_own() {
        let keys = [
            DecodingKey::from_ed_der(&[1; 32]),
            DecodingKey::from_ec_der(&[4; 65]),
            DecodingKey::from_rsa_raw_components(&[1; 256], &[1, 0, 1]),
            DecodingKey::from_secret(&[1; 32]),
        ];
        for (at, key) in keys.iter().enumerate() {
            for other in OURS {
                assert_eq!(Public::read(other, key).is_ok(), other == OURS[at], "{key:?} for {other:?}");
            }
        }
        let held = Held::read(Algorithm::HS256, &[1; 32]).unwrap();
        for other in OURS {
            assert_eq!(Lent::to(other, held.encoding()).is_ok(), other == Algorithm::HS256, "{other:?}");
        }
    }

    #[test]
    fn a_key_that_is_gone_signs_nothing() {
        let held = Held::read(Algorithm::EdDSA, &[1; 32]).unwrap();
        let (number, encoding) = (held.number, held.encoding().clone());
        assert!(jsonwebtoken::crypto::sign(b"m", &encoding, Algorithm::EdDSA).is_ok());
        drop(held);
        assert!(jsonwebtoken::crypto::sign(b"m", &encoding, Algorithm::EdDSA).is_err());
        assert!(!HELD.read().unwrap().contains_key(&number));
    }

    #[test]
    fn the_bytes_of_a_key_are_not_its_number() {
        install().unwrap();
        for bytes in [&[1u8; 32][..], &[0xff; 8], &[]] {
            assert!(Lent::to(Algorithm::HS256, &EncodingKey::from_secret(bytes)).is_err());
        }
    }

    #[test]
    fn what_is_none_of_ours_is_an_error_and_no_panic() {
        install().unwrap();
        assert!(Held::read(Algorithm::HS512, &[1; 64]).is_err());
        assert!(Public::read(Algorithm::HS384, &DecodingKey::from_secret(&[1; 64])).is_err());
        let foreign = EncodingKey::from_ec_der(&[1]);
        assert!(jsonwebtoken::jwk::Jwk::from_encoding_key(&foreign, Algorithm::ES256).is_err());
    }
}
