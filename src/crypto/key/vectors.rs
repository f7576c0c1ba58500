//! Wycheproof's vectors, through the very call that checks the signature of a token.
//!
//! Law: what they call invalid is never a signature here. What they call valid is one, unless the
//! key is of a size that is no longer used for tokens; how many of each there were is asserted, so
//! that an empty set cannot pass.

use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify as rsa};

use super::*;
use crate::crypto::provider;

/// How many vectors were right signatures, and how many were not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    valid: usize,
    invalid: usize,
}

impl Counted {
    fn judge(&mut self, key: &VerifyingKey, (message, signature): (&[u8], &[u8]), expected: TestResult) {
        let sent = base64url(signature);
        let verdict = jsonwebtoken::crypto::verify(&sent, message, &key.decoding, key.algorithm.jose());
        let is_signature = verdict.unwrap_or(false);
        match expected {
            TestResult::Valid => {
                assert!(is_signature, "{key:?} refuses {}", base64url(message));
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!is_signature, "{key:?} takes {sent} for {}", base64url(message));
                self.invalid += 1;
            }
            TestResult::Acceptable => {}
        }
    }
}

fn key(algorithm: Algorithm, decoding: DecodingKey) -> VerifyingKey {
    provider::install().unwrap();
    VerifyingKey { kid: "w".to_owned(), algorithm, decoding }
}

#[test]
fn ed25519_signatures_are_judged_as_wycheproof_judges_them() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut counted = Counted::default();
    for group in &set.test_groups {
        let key = key(Algorithm::EdDsa, DecodingKey::from_ed_der(&group.key.pk));
        for test in &group.tests {
            counted.judge(&key, (&test.msg, &test.sig), test.result);
        }
    }
    assert!(counted.valid >= 80 && counted.invalid >= 50, "{counted:?}");
}

#[test]
fn es256_signatures_are_judged_as_wycheproof_judges_them() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut counted = Counted::default();
    for group in &set.test_groups {
        let key = key(Algorithm::Es256, DecodingKey::from_ec_der(&group.key.key));
        for test in &group.tests {
            counted.judge(&key, (&test.msg, &test.sig), test.result);
        }
    }
    assert!(counted.valid >= 100 && counted.invalid >= 80, "{counted:?}");
}

#[test]
fn rs256_signatures_are_judged_as_wycheproof_judges_them() {
    let mut counted = Counted::default();
    for name in [rsa::TestName::Rsa2048Sha256, rsa::TestName::Rsa3072Sha256, rsa::TestName::Rsa4096Sha256] {
        for group in &rsa::TestSet::load(name).unwrap().test_groups {
            let unsigned =
                |bytes: &[u8]| bytes[bytes.iter().take_while(|byte| **byte == 0).count()..].to_vec();
            let (n, e) = (unsigned(&group.key.n), unsigned(&group.key.e));
            let key = key(Algorithm::Rs256, DecodingKey::from_rsa_raw_components(&n, &e));
            for test in &group.tests {
                counted.judge(&key, (&test.msg, &test.sig), test.result);
            }
        }
    }
    assert!(counted.valid >= 20 && counted.invalid >= 500, "{counted:?}");
}

#[test]
fn hs256_tags_are_judged_as_wycheproof_judges_them() {
    let mut counted = Counted::default();
    for group in &mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups {
        for test in &group.tests {
            let key = key(Algorithm::Hs256, DecodingKey::from_secret(&test.key));
            // A token carries the whole tag; a shortened one is wrong here, right or not.
            let result = if group.tag_size == 256 { test.result } else { TestResult::Invalid };
            counted.judge(&key, (&test.msg, &test.tag), result);
        }
    }
    assert!(counted.valid >= 20 && counted.invalid >= 100, "{counted:?}");
}
