//! Backup codes: ten per account, each good once.
//!
//! Law: what is stored is an HMAC under a key that is not in the store, over the account and the
//! code. A code has 64 random bits: a stolen store alone gives nobody anything to guess against,
//! which a hash without that key would; and a try costs one lookup, not ten slow hashes.

use super::code::BACKUP_LEN;
use crate::base::{Id, Random, Secret};
use crate::crypto::digest::{hex, hmac_sha256};
use crate::crypto::seal::SealKey;

/// How many there are.
const COUNT: usize = 10;

/// New codes, in the form in which people see them.
pub(super) fn generate(random: &dyn Random) -> Vec<Secret<String>> {
    let one = |_| {
        let mut bytes = [0u8; BACKUP_LEN / 2];
        random.fill(&mut bytes);
        let digits = Secret::new(hex(&bytes));
        let (left, right) = digits.expose().split_at(BACKUP_LEN / 2);
        Secret::new(format!("{left}-{right}"))
    };
    (0..COUNT).map(one).collect()
}

/// The digits alone.
pub(super) fn bare(code: &str) -> Secret<String> {
    Secret::new(code.replace('-', ""))
}

/// What is stored of a code.
pub(super) fn digest(seal: &SealKey, account: Id, bare: &str) -> String {
    let key = seal.derive("backup codes");
    hex(&hmac_sha256(key.expose(), format!("{account}:{bare}").as_bytes()))
}
