//! Tokens that somebody else signed: ID tokens of OpenID Connect.
//!
//! Law: as with our own, the key chooses the algorithm, it is always an asymmetric one, and nothing in
//! a token makes us fetch or run anything. Others write more into their headers than we do, so what is
//! not known there is passed over, but for `crit`, which says that it must not be.

use serde_json::{Map, Value};

use super::{Invalid, object, split};
use crate::crypto::key::VerifyingKey;

/// More keys than this has nobody who rotates them.
const KEYS_MAX: usize = 64;

/// The keys that somebody publishes.
#[derive(Debug, Clone, Default)]
pub struct ForeignKeys(Vec<VerifyingKey>);

impl ForeignKeys {
    /// Those of a JWK set that can be used here; `None` for what is no JWK set.
    #[must_use]
    pub fn of(set: &Value) -> Option<Self> {
        let keys = set.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(KEYS_MAX).filter_map(VerifyingKey::from_jwk).collect()))
    }

    /// The key that a token names; one that names none means the only one there is.
    fn find(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid() == kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// What the token's payload says, once its signature was found right. Who wrote it for whom, and
/// until when, is for the caller to look at.
///
/// # Errors
/// [`Invalid`]: [`Invalid::UnknownKey`] where newer keys may help.
pub fn read(keys: &ForeignKeys, token: &str) -> Result<Map<String, Value>, Invalid> {
    let (signed, header, payload, signature) = split(token)?;
    let header = object(header)?;
    let text = |name: &str| header.get(name).map(|value| value.as_str().ok_or(Invalid::Header)).transpose();
    if header.contains_key("crit") || header.contains_key("b64") || header.contains_key("enc") {
        return Err(Invalid::Header);
    }
    let named = text("alg")?.ok_or(Invalid::Header)?;
    // Before the key: a token that could not be right whatever the key is no reason to ask for keys.
    if !["RS256", "ES256", "EdDSA"].contains(&named) {
        return Err(Invalid::Algorithm);
    }
    if text("typ")?.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(Invalid::Type);
    }
    let key = keys.find(text("kid")?).ok_or(Invalid::UnknownKey)?;
    if key.algorithm().name() != named {
        return Err(Invalid::Algorithm);
    }
    if !key.is_signature(signed, signature).ok_or(Invalid::Malformed)? {
        return Err(Invalid::Signature);
    }
    object(payload)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::random::SeededRandom;
    use crate::crypto::digest::{base64url, hmac_sha256};
    use crate::crypto::jwt::sign;
    use crate::crypto::key::{Algorithm, SigningKey};

    fn key(algorithm: Algorithm, seed: u64) -> SigningKey {
        SigningKey::generate(algorithm, &SeededRandom::new(seed)).unwrap()
    }

    fn set(keys: &[&SigningKey]) -> ForeignKeys {
        let keys: Vec<_> = keys.iter().filter_map(|key| key.verifying().jwk()).collect();
        ForeignKeys::of(&json!({ "keys": keys })).unwrap()
    }

    fn with_header(header: &Value, payload: &Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(payload));
        let signature = base64url(&sign(&signed));
        format!("{signed}.{signature}")
    }

    #[test]
    fn a_token_of_a_published_key_is_read() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let (own, other) = (key(algorithm, 1), key(algorithm, 2));
            let token = sign(&own, "JWT", &json!({"sub": "ada", "more": [1]})).unwrap();
            assert_eq!(read(&set(&[&other, &own]), &token).unwrap()["sub"], "ada");
            assert_eq!(read(&set(&[&other]), &token), Err(Invalid::UnknownKey));
            assert_eq!(read(&set(&[]), &token), Err(Invalid::UnknownKey));
            let cut = &token[..token.len() - 4];
            assert!(matches!(read(&set(&[&own]), cut), Err(Invalid::Signature | Invalid::Malformed)));
        }
    }

    /// Made with `openssl genrsa` and `openssl dgst -sha256 -sign`.
    const MODULUS: &str = concat!(
        "0ALO3Cp-7_4Y8sqkH_Dr2o_gaiS9mxcRiWoCYAsES1amAKyU9cyL7qBNn795TkNnapZH4wsebETKznOKpvwvzF64_ACy0or6",
        "c8fipvLeiax9xgp1kK54lWGHnosXI1SexSYVtH3gEqcsOt87YalpveN-jFmU35fbJeWADMHL-ciLyLxaR52jxxo9e7MhIwwW",
        "yrTN9wNhodf7oChij-ddTrWM71xLWZIzMkUip2rb3MzAut2m_7lFJ1Bjy8YkOvV_VB-P0LRzoLmjaPV7T_MASS9lURjhn8h_",
        "SWTAo-8wU4rpheLq516WmNeTcPmZ26XiX32tCmJfSFbBDtLHdJbcPw",
    );
    const BY_OPENSSL: &str = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIiwidHlwIjoiSldUIiwieDV0IjoicGFzc2VkLW92ZXIifQ.eyJzdWIiOiJhZGEif",
        "Q.ieVFNUt1eUv55qXBghZCxWh0kYAOI76M9BPjQ2UU6C5M1G6wy4fLjgLcpulv8dQ7U_9BN5OlfKT2qkWkHch3jxEE5fv-bh",
        "0kl11wC0zWQGx-QAauLysYefvi8rDCCE7JU3X0z91OFaXnXQ7c4aDhLnEgi8fQ4nP_Vk5961C-xMaj1gyuCQKm8qgXQUx71M",
        "kwAkzNycYL87TSpn5k0IU2Ax2faAcPeV0c-bxduuQ5KlcJqsGPhvJAhaaPBoUKnw2wIZ3yZRQQ8tPB0jFp5t_Rqak4rrAdx4",
        "bNgF3ZLRK3xz_XMIO1z-16BuyVTCcGt2IgGa_dCyPrqPNo41jK6QbO3w",
    );

    #[test]
    fn a_token_that_another_program_signed_with_rsa_is_read() {
        let jwk = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "r1", "n": MODULUS, "e": "AQAB"});
        let keys = |jwk: &Value| ForeignKeys::of(&json!({ "keys": [jwk] })).unwrap();
        assert_eq!(read(&keys(&jwk), BY_OPENSSL).unwrap()["sub"], "ada");
        let mut small = jwk.clone();
        small["n"] = json!(MODULUS[..170]);
        assert!(read(&keys(&small), BY_OPENSSL).is_err(), "too short to be safe");
        let mut other = jwk;
        other["kid"] = json!("r2");
        assert_eq!(read(&keys(&other), BY_OPENSSL), Err(Invalid::UnknownKey));
    }

    #[test]
    fn nothing_in_a_header_steers_the_verifier() {
        let own = key(Algorithm::Es256, 1);
        let (keys, payload) = (set(&[&own]), json!({"sub": "ada"}));
        let kid = own.kid();
        let public = own.verifying().jwk().unwrap().to_string();
        for (header, why) in [
            (json!({"alg": "none", "kid": kid}), Invalid::Algorithm),
            (json!({"alg": "HS256", "kid": kid}), Invalid::Algorithm),
            (json!({"alg": "RS256", "kid": kid}), Invalid::Algorithm),
            (json!({"alg": "es256", "kid": kid}), Invalid::Algorithm),
            (json!({"kid": kid}), Invalid::Header),
            (json!({"alg": "ES256", "kid": 7}), Invalid::Header),
            (json!({"alg": "ES256", "kid": kid, "crit": ["x"]}), Invalid::Header),
            (json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}), Invalid::Type),
            (json!({"alg": "ES256", "kid": "other"}), Invalid::UnknownKey),
            (json!({"alg": "ES256", "kid": kid}), Invalid::Signature),
        ] {
            let token = with_header(&header, &payload, |signed| {
                [hmac_sha256(public.as_bytes(), signed.as_bytes()); 2].concat()
            });
            assert_eq!(read(&keys, &token), Err(why), "{header}");
        }
    }

    #[test]
    fn without_a_name_only_the_one_key_is_meant() {
        let (own, other) = (key(Algorithm::EdDsa, 1), key(Algorithm::EdDsa, 2));
        assert!(set(&[&own]).find(None).is_some() && set(&[&own, &other]).find(None).is_none());
    }

    #[test]
    fn keys_that_are_for_something_else_are_passed_over() {
        let mut jwk = key(Algorithm::Es256, 1).verifying().jwk().unwrap();
        assert!(VerifyingKey::from_jwk(&jwk).is_some());
        for (name, value) in [
            ("use", json!("enc")),
            ("alg", json!("ES384")),
            ("alg", json!("HS256")),
            ("crv", json!("P-384")),
            ("x", json!("AA")),
            ("kty", json!("oct")),
        ] {
            let was = jwk[name].clone();
            jwk[name] = value;
            assert!(VerifyingKey::from_jwk(&jwk).is_none(), "{name}");
            jwk[name] = was;
        }
        assert!(VerifyingKey::from_jwk(&json!({"kty": "oct", "k": "c2VjcmV0"})).is_none());
        assert!(ForeignKeys::of(&json!({"keys": "none"})).is_none() && ForeignKeys::of(&json!([])).is_none());
    }
}
