//! Keys on their own: published vectors, bad keys, degenerate signatures.
//!
//! Law: a vector stands with the section of the RFC that it is from.

use serde_json::json;

use super::*;
use crate::base::random::SeededRandom;
use crate::crypto::digest::unbase64url;
use crate::crypto::provider;

impl SigningKey {
    /// The raw signature, by the way on which tokens are signed.
    pub(in crate::crypto) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let text = jsonwebtoken::crypto::sign(message, self.encoding(), self.algorithm().jose());
        unbase64url(&text.unwrap()).unwrap()
    }
}

impl VerifyingKey {
    fn from_parts(kid: &str, algorithm: Algorithm, parts: &[&[u8]]) -> Self {
        provider::install().unwrap();
        let decoding = match algorithm {
            Algorithm::EdDsa => DecodingKey::from_ed_der(parts[0]),
            Algorithm::Es256 => DecodingKey::from_ec_der(&[&[4u8], parts[0], parts[1]].concat()),
            Algorithm::Rs256 => DecodingKey::from_rsa_raw_components(parts[0], parts[1]),
            Algorithm::Hs256 => DecodingKey::from_secret(parts[0]),
        };
        Self { kid: kid.to_owned(), algorithm, decoding }
    }
}

#[test]
fn the_vectors_of_the_rfcs_verify() {
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let verifies = |algorithm, parts: &[&str], header: &str, payload: &str, signature: &str| {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| unbase64url(part).unwrap()).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let key = VerifyingKey::from_parts("k", algorithm, &parts);
        let message = format!("{header}.{payload}");
        let mut signature = unbase64url(signature).unwrap();
        assert_eq!(key.is_signature(&message, &base64url(&signature)), Some(true), "{algorithm}");
        signature[5] ^= 1;
        assert_eq!(key.is_signature(&message, &base64url(&signature)), Some(false), "{algorithm}, changed");
    };
    // RFC 7515 A.1, A.2, A.3.
    verifies(
        Algorithm::Hs256,
        &["AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"],
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        PAYLOAD,
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    verifies(
        Algorithm::Rs256,
        &[
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "AQAB",
        ],
        "eyJhbGciOiJSUzI1NiJ9",
        PAYLOAD,
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    verifies(
        Algorithm::Es256,
        &["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"],
        "eyJhbGciOiJFUzI1NiJ9",
        PAYLOAD,
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    // RFC 8037 A.4.
    verifies(
        Algorithm::EdDsa,
        &["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"],
        "eyJhbGciOiJFZERTQSJ9",
        "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
}

#[test]
fn the_public_key_of_rfc_8037_comes_out_as_its_jwk() {
    let seed = unbase64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let key = SigningKey::from_bytes("k".into(), Algorithm::EdDsa, Secret::new(seed)).unwrap();
    let jwk = key.verifying().jwk().unwrap();
    assert_eq!(jwk["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!((&jwk["kty"], &jwk["crv"], &jwk["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
}

#[test]
fn degenerate_es256_signatures_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256, &SeededRandom::new(1)).unwrap();
    let good = key.sign(b"m");
    let half = 32;
    let zero_r = [&[0u8; 32][..], &good[half..]].concat();
    let zero_s = [&good[..half], &[0u8; 32][..]].concat();
    let longer = [&good[..], &[0u8][..]].concat();
    let verdict = |signature: &[u8]| key.verifying().is_signature("m", &base64url(signature));
    assert_eq!(verdict(&good), Some(true));
    for bad in [&zero_r[..], &zero_s, &longer, &good[..63], &[0u8; 64], &[0xffu8; 64], &[]] {
        assert_eq!(verdict(bad), Some(false), "{}", bad.len());
    }
}

#[test]
fn a_secret_that_can_be_guessed_is_not_a_key() {
    let hs = |secret: &[u8]| {
        SigningKey::from_bytes("k".into(), Algorithm::Hs256, Secret::new(secret.to_vec())).map(|_| ())
    };
    let mut random = [0u8; 32];
    SeededRandom::new(3).fill(&mut random);
    assert_eq!(hs(&random), Ok(()));
    for weak in [
        &b""[..],
        &random[..31],
        &[0u8; 64],
        b"0101010101010101010101010101010101010101",
        b"your-256-bit-secret-0123456789abcdef",
        b"tenxyte-comparison-jwt-SECRET-0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(hs(weak), Err(BadKey::WeakSecret), "{}", String::from_utf8_lossy(weak));
    }
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let key = SigningKey::from_bytes("k".into(), algorithm, Secret::new(vec![1; 31]));
        assert_eq!(key.err(), Some(BadKey::Malformed), "{algorithm}");
    }
    let pem = SigningKey::rs256_from_pem("k".into(), &Secret::new(b"-----BEGIN".to_vec()));
    assert_eq!(pem.err(), Some(BadKey::Malformed));
    let rsa = SigningKey::generate(Algorithm::Rs256, &SeededRandom::new(1));
    assert_eq!(rsa.err(), Some(BadKey::NotGenerated));
}

#[test]
fn a_key_never_shows_its_private_half() {
    let key = SigningKey::generate(Algorithm::EdDsa, &SeededRandom::new(7)).unwrap();
    let shown = format!("{:?} {:?}", key, key.verifying());
    assert!(!shown.contains(&base64url(key.to_bytes().expose())));
    assert!(shown.contains(key.kid()));
}
