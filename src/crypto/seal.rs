//! Sealing: AES-256-GCM with a context, for secrets that must be read back later.
//!
//! Law: a sealed value opens only under the key and in the context it was sealed for; moving a
//! sealed column to another row or table fails. The layout is
//! `version (1) | nonce (12) | ciphertext and tag`, and the version is authenticated too.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use zeroize::Zeroizing;

use crate::base::{Random, Secret};

const VERSION: u8 = 1;
/// The length of a seal key, and of what [`SealKey::derive`] gives, in bytes.
pub const KEY_LEN: usize = 32;

/// The key that seals. Kept outside the store.
#[derive(Clone)]
pub struct SealKey {
    root: Secret<[u8; KEY_LEN]>,
    aead: LessSafeKey,
}

/// The sealed bytes are not ours: another key, another context, or changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unopened;

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed value does not open with this key and in this context")
    }
}

impl std::error::Error for Unopened {}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey([secret])")
    }
}

impl SealKey {
    /// A key from 256 random bits.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        let root = Secret::new(bytes);
        let aead_key = expand(&root, "portcullis seal v1");
        Self { root, aead: aead(aead_key.expose()) }
    }

    /// Seals `plain` for `context`, which names the place it is stored in, such as
    /// `signing_key:<kid>`. The context is not secret and is not part of the output.
    ///
    /// # Panics
    /// On a plaintext of 64 GiB, which no caller can hold.
    #[must_use]
    #[expect(clippy::expect_used, reason = "AES-GCM refuses only plaintexts of 64 GiB and more")]
    pub fn seal(&self, random: &dyn Random, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_LEN];
        random.fill(&mut nonce);
        let mut body = plain.to_vec();
        self.aead
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(VERSION, context)),
                &mut body,
            )
            .expect("the plaintext is shorter than 64 GiB");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed
    }

    /// The inverse of [`SealKey::seal`].
    ///
    /// # Errors
    /// [`Unopened`], without telling which of the reasons it was.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Unopened> {
        let (&version, rest) = sealed.split_first().ok_or(Unopened)?;
        if version != VERSION {
            return Err(Unopened);
        }
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Unopened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        self.aead
            .open_in_place(nonce, Aad::from(bound(version, context)), &mut buffer)
            .map(|plain| Secret::new(plain.to_vec()))
            .map_err(|_| Unopened)
    }

    /// A key of 32 bytes for another purpose, by HKDF-SHA-256 (RFC 5869) with `label` as its info.
    #[must_use]
    pub fn derive(&self, label: &str) -> Secret<Vec<u8>> {
        Secret::new(expand(&self.root, &format!("portcullis derive v1 {label}")).expose().to_vec())
    }
}

fn bound(version: u8, context: &str) -> Vec<u8> {
    let mut aad = vec![version];
    aad.extend_from_slice(context.as_bytes());
    aad
}

#[expect(clippy::expect_used, reason = "the key length is a constant that AES-256 accepts")]
fn aead(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"))
}

#[expect(clippy::expect_used, reason = "HKDF refuses only outputs over 255 blocks; this is one")]
fn expand(root: &Secret<[u8; KEY_LEN]>, info: &str) -> Secret<[u8; KEY_LEN]> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis").extract(root.expose());
    let mut out = [0u8; KEY_LEN];
    prk.expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("one block of HKDF output");
    Secret::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    fn key(byte: u8) -> SealKey {
        SealKey::from_bytes([byte; KEY_LEN])
    }

    #[test]
    fn a_sealed_value_opens_under_its_key_and_context_only() {
        let random = SeededRandom::new(1);
        let sealed = key(1).seal(&random, "row:1", b"secret");
        assert_eq!(key(1).open("row:1", &sealed).unwrap().expose(), b"secret");
        assert_eq!(key(1).open("row:2", &sealed), Err(Unopened));
        assert_eq!(key(2).open("row:1", &sealed), Err(Unopened));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let random = SeededRandom::new(1);
        let sealed = key(1).seal(&random, "c", b"secret");
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(key(1).open("c", &bad), Err(Unopened), "byte {at}");
            assert_eq!(key(1).open("c", &sealed[..at]), Err(Unopened), "cut at {at}");
        }
    }

    #[test]
    fn the_same_value_is_sealed_differently_each_time() {
        let random = SeededRandom::new(1);
        assert_ne!(key(1).seal(&random, "c", b"x"), key(1).seal(&random, "c", b"x"));
    }

    #[test]
    fn derived_keys_differ_by_label_and_by_root() {
        assert_eq!(key(1).derive("a"), key(1).derive("a"));
        assert!(key(1).derive("a") != key(1).derive("b"));
        assert!(key(1).derive("a") != key(2).derive("a"));
        assert_eq!(key(1).derive("a").expose().len(), KEY_LEN);
    }

    #[test]
    fn a_seal_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", key(7)), "SealKey([secret])");
    }
}
