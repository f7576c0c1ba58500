//! Stored password hashes: what each format means, and how a password is compared with it.
//!
//! Law: we write argon2id only. The others are read, so that accounts can be brought along, and
//! are rewritten at the next login. A cost that a hostile import could use to stall us is refused.

use argon2::{Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::pbkdf2;
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;

use super::Argon2Cost;
use crate::crypto::digest::sha256_hex;

/// Marks bcrypt over the hex SHA-256 of the password, the form of the contract's section 16.1.
pub const PREHASHED: &str = "tenxyte$";
/// Django's name for the same thing.
const PREHASHED_DJANGO: &str = "bcrypt_sha256$";
const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

const MAX_ARGON2: Argon2Cost = Argon2Cost { memory_kib: 1024 * 1024, passes: 32, lanes: 16 };
/// What bcrypt itself can do at least.
const MIN_BCRYPT_COST: u32 = 4;
const MAX_BCRYPT_COST: u32 = 16;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;

/// A stored hash, understood.
#[derive(Debug)]
pub(super) enum Stored {
    Argon2id { cost: Argon2Cost, version: Version, salt: Vec<u8>, hash: Vec<u8> },
    Bcrypt(String),
    BcryptOfSha256(String),
    Pbkdf2Sha256 { rounds: NonZeroU32, salt: String, hash: Vec<u8> },
    Scrypt { params: scrypt::Params, salt: Vec<u8>, hash: Vec<u8> },
}

impl Stored {
    /// `None` for a format that we do not read, or a cost out of bounds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix(PREHASHED).or_else(|| text.strip_prefix(PREHASHED_DJANGO)) {
            return bcrypt_text(rest).map(Self::BcryptOfSha256);
        }
        let text = text.strip_prefix("argon2").filter(|t| t.starts_with('$')).unwrap_or(text);
        match text.split('$').collect::<Vec<_>>()[..] {
            ["", "argon2id", version, cost, salt, hash] => argon2id(version, cost, salt, hash),
            ["", "2a" | "2b" | "2x" | "2y", ..] => bcrypt_text(text).map(Self::Bcrypt),
            ["", "scrypt", cost, salt, hash] => scrypt_phc(cost, salt, hash),
            ["scrypt", n, salt, r, p, hash] => scrypt_django(n, salt, r, p, hash),
            ["pbkdf2_sha256", rounds, salt, hash] => pbkdf2_sha256(rounds, salt, hash),
            _ => None,
        }
    }

    /// Whether `password` is the one that was hashed. Costs what the format costs.
    pub(super) fn is_hash_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2id { cost, version, salt, hash } => {
                let mut out = vec![0; hash.len()];
                derive_argon2id(*cost, *version, password, salt, &mut out) && is_same(&out, hash)
            }
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::BcryptOfSha256(text) => bcrypt::verify(sha256_hex(password), text).unwrap_or(false),
            Self::Pbkdf2Sha256 { rounds, salt, hash } => {
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt.as_bytes(), password, hash).is_ok()
            }
            Self::Scrypt { params, salt, hash } => {
                let mut out = vec![0; hash.len()];
                scrypt::scrypt(password, salt, params, &mut out).is_ok() && is_same(&out, hash)
            }
        }
    }

    /// Whether it is what [`hash`] writes today.
    pub(super) fn is_current(&self, wanted: Argon2Cost) -> bool {
        matches!(self, Self::Argon2id { cost, version: Version::V0x13, salt, hash }
            if *cost == wanted && salt.len() >= SALT_LEN && hash.len() >= HASH_LEN)
    }
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Hashes with argon2id into its PHC text. `None` when the cost is out of argon2's range.
pub(super) fn hash(cost: Argon2Cost, password: &[u8], salt: &[u8; SALT_LEN]) -> Option<String> {
    let mut out = [0u8; HASH_LEN];
    derive_argon2id(cost, Version::V0x13, password, salt, &mut out).then(|| {
        let Argon2Cost { memory_kib, passes, lanes } = cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out));
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    })
}

fn derive_argon2id(cost: Argon2Cost, version: Version, password: &[u8], salt: &[u8], out: &mut [u8]) -> bool {
    Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(out.len()))
        .map(|params| Argon2::new(argon2::Algorithm::Argon2id, version, params))
        .and_then(|argon2| argon2.hash_password_into(password, salt, out))
        .is_ok()
}

/// `name=value` pairs in exactly this order.
fn numbers<const N: usize>(text: &str, names: [&str; N]) -> Option<[u32; N]> {
    let mut values = [0; N];
    let mut parts = text.split(',');
    for (value, name) in values.iter_mut().zip(names) {
        *value = parts.next()?.strip_prefix(name)?.strip_prefix('=')?.parse().ok()?;
    }
    parts.next().is_none().then_some(values)
}

fn argon2id(version: &str, cost: &str, salt: &str, hash: &str) -> Option<Stored> {
    let version = match version {
        "v=19" => Version::V0x13,
        "v=16" => Version::V0x10,
        _ => return None,
    };
    let [memory_kib, passes, lanes] = numbers(cost, ["m", "t", "p"])?;
    let is_bearable = (8 * lanes.min(MAX_ARGON2.lanes)..=MAX_ARGON2.memory_kib).contains(&memory_kib)
        && (1..=MAX_ARGON2.passes).contains(&passes)
        && (1..=MAX_ARGON2.lanes).contains(&lanes);
    let hash = STANDARD_NO_PAD.decode(hash).ok().filter(|hash| (16..=64).contains(&hash.len()))?;
    let salt = STANDARD_NO_PAD.decode(salt).ok().filter(|salt| salt.len() >= argon2::MIN_SALT_LEN)?;
    is_bearable.then_some(Stored::Argon2id {
        cost: Argon2Cost { memory_kib, passes, lanes },
        version,
        salt,
        hash,
    })
}

fn bcrypt_text(text: &str) -> Option<String> {
    let parts: bcrypt::HashParts = text.parse().ok()?;
    (MIN_BCRYPT_COST..=MAX_BCRYPT_COST).contains(&parts.get_cost()).then(|| text.to_owned())
}

fn pbkdf2_sha256(rounds: &str, salt: &str, hash: &str) -> Option<Stored> {
    let rounds: NonZeroU32 = rounds.parse().ok()?;
    let hash = STANDARD.decode(hash).ok().filter(|hash| hash.len() == 32)?;
    (rounds.get() <= MAX_PBKDF2_ROUNDS).then(|| Stored::Pbkdf2Sha256 { rounds, salt: salt.to_owned(), hash })
}

fn scrypt_phc(cost: &str, salt: &str, hash: &str) -> Option<Stored> {
    let [log_n, r, p] = numbers(cost, ["ln", "r", "p"])?;
    let salt = STANDARD_NO_PAD.decode(salt).ok()?;
    scrypt_of(log_n, r, p, salt, STANDARD_NO_PAD.decode(hash).ok()?)
}

fn scrypt_django(n: &str, salt: &str, r: &str, p: &str, hash: &str) -> Option<Stored> {
    let n: u32 = n.parse().ok()?;
    let log_n = n.checked_ilog2().filter(|_| n.is_power_of_two())?;
    let hash = STANDARD.decode(hash).ok()?;
    scrypt_of(log_n, r.parse().ok()?, p.parse().ok()?, salt.as_bytes().to_vec(), hash)
}

fn scrypt_of(log_n: u32, r: u32, p: u32, salt: Vec<u8>, hash: Vec<u8>) -> Option<Stored> {
    let bytes = 1u64.checked_shl(log_n)?.checked_mul(128)?.checked_mul(u64::from(r))?;
    let is_bearable = (1..=24).contains(&log_n)
        && bytes <= MAX_SCRYPT_BYTES
        && (1..=16).contains(&p)
        && (16..=64).contains(&hash.len());
    if !is_bearable {
        return None;
    }
    let params = scrypt::Params::new(u8::try_from(log_n).ok()?, r, p).ok()?;
    Some(Stored::Scrypt { params, salt, hash })
}
