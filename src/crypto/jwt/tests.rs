//! Each test is one way in which token verifiers have been fooled.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::Secret;
use crate::base::random::SeededRandom;
use crate::crypto::digest::base64url;
use crate::crypto::key::Algorithm;
use crate::crypto::keyring::Member;

const NOW: i64 = 1_800_000_000;
const RSA_PEM: &[u8] = include_bytes!("test_rsa.pem");

fn ring_of(keys: Vec<SigningKey>) -> Keyring {
    let member = |key| Member {
        purpose: Purpose::Access,
        key,
        active_from: Timestamp::from_millis(0),
        published_until: None,
    };
    Keyring::new(keys.into_iter().map(member).collect())
}

fn ed() -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa, &SeededRandom::new(7)).unwrap()
}

fn expect() -> Expect<'static> {
    Expect {
        typ: ACCESS,
        issuer: "portcullis",
        audience: None,
        now: Timestamp::from_millis(NOW * 1000),
        leeway: Duration::ZERO,
        longest_for: Duration::from_mins(15),
    }
}

fn claims() -> Value {
    json!({"sub": "a", "jti": "j", "iss": "portcullis", "iat": NOW, "nbf": NOW, "exp": NOW + 900})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// A token whose header and payload are exactly these bytes, well signed by `key`.
fn forge(key: &SigningKey, header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(payload));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", base64url(&signature))
}

fn header_of(key: &SigningKey) -> Value {
    json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": ACCESS})
}

fn check_token(key: SigningKey, token: &str, expect: &Expect<'_>) -> Result<Value, Invalid> {
    verify(&ring_of(vec![key]), Purpose::Access, token, expect)
}

fn verdict_on_claims(claims: &Value) -> Result<Value, Invalid> {
    let token = sign(&ed(), ACCESS, claims).unwrap();
    check_token(ed(), &token, &expect())
}

fn verdict_on_payload(payload: &str) -> Result<Value, Invalid> {
    let token = forge(&ed(), header_of(&ed()).to_string().as_bytes(), payload.as_bytes());
    check_token(ed(), &token, &expect())
}

fn verdict_on_header(header: &str) -> Result<Value, Invalid> {
    let token = forge(&ed(), header.as_bytes(), claims().to_string().as_bytes());
    check_token(ed(), &token, &expect())
}

#[test]
fn what_each_algorithm_signs_it_verifies() {
    let random = SeededRandom::new(1);
    let rsa = SigningKey::rs256_from_pem("r".into(), &Secret::new(RSA_PEM.to_vec())).unwrap();
    for key in [
        SigningKey::generate(Algorithm::EdDsa, &random).unwrap(),
        SigningKey::generate(Algorithm::Es256, &random).unwrap(),
        SigningKey::generate(Algorithm::Hs256, &random).unwrap(),
        rsa,
    ] {
        let token = sign(&key, ACCESS, &claims()).unwrap();
        let bytes = Secret::new(key.to_bytes().expose().clone());
        let reread = SigningKey::from_bytes(key.kid().into(), key.algorithm(), bytes).unwrap();
        assert_eq!(check_token(reread, &token, &expect()), Ok(claims()), "{key:?}");
        let broken = format!("{}AAAA", &token[..token.len() - 4]);
        assert_eq!(check_token(key, &broken, &expect()), Err(Invalid::Signature));
    }
}

#[test]
fn the_header_cannot_choose_the_algorithm() {
    let key = ed();
    for alg in ["none", "None", "nOnE", "NONE", "", "HS256", "RS256", "ES256", "EDDSA", "eddsa"] {
        let mut header = header_of(&key);
        header["alg"] = json!(alg);
        assert_eq!(verdict_on_header(&header.to_string()), Err(Invalid::Algorithm), "{alg:?}");
    }
    for alg in [json!(null), json!(1), json!(["EdDSA"])] {
        let mut header = header_of(&key);
        header["alg"] = alg;
        assert_eq!(verdict_on_header(&header.to_string()), Err(Invalid::Header));
    }
}

#[test]
fn a_public_key_is_not_a_shared_secret() {
    let rsa = SigningKey::rs256_from_pem("k".into(), &Secret::new(RSA_PEM.to_vec())).unwrap();
    let jwk = ed().verifying().jwk().unwrap();
    let public = unbase64url(jwk["x"].as_str().unwrap()).unwrap();
    for (key, secret) in [(ed(), public), (ed(), jwk.to_string().into_bytes()), (rsa, RSA_PEM.to_vec())] {
        let header = json!({"alg": "HS256", "kid": key.kid(), "typ": ACCESS}).to_string();
        let signed =
            format!("{}.{}", base64url(header.as_bytes()), base64url(claims().to_string().as_bytes()));
        let mac = crate::crypto::digest::hmac_sha256(&secret, signed.as_bytes());
        let token = format!("{signed}.{}", base64url(&mac));
        assert_eq!(check_token(key, &token, &expect()), Err(Invalid::Algorithm));
    }
}

#[test]
fn a_token_has_exactly_three_parts() {
    let token = sign(&ed(), ACCESS, &claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    let json_form = json!({"payload": p, "protected": h, "signature": s}).to_string();
    for bad in [
        String::new(),
        "..".into(),
        format!("{h}.{p}."),
        format!("{h}.{p}"),
        format!("{h}..{s}"),
        format!(".{p}.{s}"),
        format!("{token}.{s}"),
        format!("{h}.{p}.{s}.{s}.{s}"),
        format!("{token}."),
        json_form,
    ] {
        assert_eq!(check_token(ed(), &bad, &expect()), Err(Invalid::Malformed), "{bad}");
    }
    let other = SigningKey::generate(Algorithm::EdDsa, &SeededRandom::new(8)).unwrap();
    let foreign = forge(&other, header_of(&ed()).to_string().as_bytes(), claims().to_string().as_bytes());
    assert_eq!(check_token(ed(), &foreign, &expect()), Err(Invalid::Signature));
}

#[test]
fn a_header_that_steers_the_verifier_is_refused() {
    for (name, value) in [
        ("jwk", ed().verifying().jwk().unwrap()),
        ("jku", json!("http://127.0.0.1:9999/jwks")),
        ("x5u", json!("http://127.0.0.1:9999/x")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("x")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("anything", json!(1)),
    ] {
        let mut header = header_of(&ed());
        header[name] = value;
        assert_eq!(verdict_on_header(&header.to_string()), Err(Invalid::Header), "{name}");
    }
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    for kid in ["../../dev/null", "/dev/null", "x' UNION SELECT '1'--", "|sleep 10", "", "\u{0}"] {
        let header = json!({"alg": "EdDSA", "kid": kid, "typ": ACCESS});
        assert_eq!(verdict_on_header(&header.to_string()), Err(Invalid::UnknownKey), "{kid:?}");
    }
    for kid in [json!(1), json!([ed().kid()]), json!(null), json!({})] {
        let header = json!({"alg": "EdDSA", "kid": kid, "typ": ACCESS});
        assert_eq!(verdict_on_header(&header.to_string()), Err(Invalid::Header));
    }
    assert_eq!(verdict_on_header(r#"{"alg":"EdDSA","typ":"at+jwt"}"#), Err(Invalid::Header));
    let twice = format!(r#"{{"alg":"EdDSA","kid":"x","kid":"{}","typ":"at+jwt"}}"#, ed().kid());
    assert_eq!(verdict_on_header(&twice), Err(Invalid::Malformed));
    let long = json!({"alg": "EdDSA", "kid": "k".repeat(65_536), "typ": ACCESS});
    assert_eq!(verdict_on_header(&long.to_string()), Err(Invalid::Malformed));
}

#[test]
fn every_registered_claim_is_asked_for() {
    for name in ["exp", "iat", "iss", "sub", "jti"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(verdict_on_claims(&claims), Err(Invalid::Claims), "{name}");
    }
    assert_eq!(
        verdict_on_header(&json!({"alg": "EdDSA", "kid": ed().kid()}).to_string()),
        Err(Invalid::Header)
    );
}

#[test]
fn a_claim_of_the_wrong_type_is_not_an_absent_claim() {
    for name in ["exp", "iat", "nbf"] {
        for value in
            [json!("9999999999"), json!(-1), json!(null), json!([NOW]), json!(1.5), json!({}), json!(true)]
        {
            assert_eq!(verdict_on_claims(&with(name, value.clone())), Err(Invalid::Claims), "{name} {value}");
        }
    }
    for name in ["sub", "jti"] {
        for value in [json!(1), json!(""), json!("a\u{0}b"), json!(null), json!(["a"])] {
            assert_eq!(verdict_on_claims(&with(name, value.clone())), Err(Invalid::Claims), "{name} {value}");
        }
    }
    assert_eq!(verdict_on_claims(&with("iss", json!(["portcullis"]))), Err(Invalid::Claims));
}

#[test]
fn a_payload_that_is_not_one_plain_object_is_refused() {
    let text = claims().to_string();
    let huge = text.replace(&format!("{}", NOW + 900), "1e400");
    let twice = text.replacen('{', r#"{"sub":"admin","#, 1);
    let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    for payload in [
        "[]",
        "\"x\"",
        "null",
        "1",
        "",
        "{",
        &format!("[{text}]"),
        &format!("{text} {text}"),
        &huge,
        &twice,
        &deep,
    ] {
        assert_eq!(
            verdict_on_payload(payload),
            Err(Invalid::Malformed),
            "{}",
            &payload[..payload.len().min(40)]
        );
    }
    assert!(verdict_on_payload(&text).is_ok());
}

#[test]
fn a_token_ends_at_its_second() {
    let ends = |exp: i64| verdict_on_claims(&with("exp", json!(exp)));
    assert_eq!(ends(NOW), Err(Invalid::Expired));
    assert!(ends(NOW + 1).is_ok());
    assert_eq!(ends(NOW - 1), Err(Invalid::Expired));
}

#[test]
fn leeway_is_for_the_beginning_alone_and_never_over_thirty_seconds() {
    let verdict = |leeway: u64, iat: i64, exp: i64| {
        let mut claims = with("exp", json!(exp));
        claims["iat"] = json!(iat);
        claims["nbf"] = json!(iat);
        let token = sign(&ed(), ACCESS, &claims).unwrap();
        let expect = Expect { leeway: Duration::from_secs(leeway), ..expect() };
        check_token(ed(), &token, &expect).err()
    };
    assert_eq!(verdict(10, NOW + 10, NOW + 100), None);
    assert_eq!(verdict(10, NOW + 11, NOW + 100), Some(Invalid::NotYet));
    assert_eq!(verdict(10, NOW - 100, NOW + 1), None);
    assert_eq!(verdict(10, NOW - 100, NOW), Some(Invalid::Expired));
    assert_eq!(verdict(3600, NOW + 31, NOW + 100), Some(Invalid::NotYet));
    assert_eq!(verdict(0, NOW + 1, NOW + 100), Some(Invalid::NotYet));
}

#[test]
fn a_token_that_claims_a_longer_life_than_we_give_is_refused() {
    assert_eq!(verdict_on_claims(&with("exp", json!(NOW + 901))), Err(Invalid::TooLong));
    assert_eq!(verdict_on_claims(&with("exp", json!(i64::MAX))), Err(Invalid::TooLong));
}

#[test]
fn another_kind_of_token_is_not_an_access_token() {
    for typ in ["JWT", "at+JWT", "application/at+jwt", "refresh+jwt", ""] {
        let header = json!({"alg": "EdDSA", "kid": ed().kid(), "typ": typ});
        assert_eq!(verdict_on_header(&header.to_string()), Err(Invalid::Type), "{typ:?}");
    }
    let token = sign(&ed(), ACCESS, &claims()).unwrap();
    let ring = ring_of(vec![ed()]);
    let verdict: Result<Value, _> = verify(&ring, Purpose::Assertion, &token, &expect());
    assert_eq!(verdict, Err(Invalid::UnknownKey));
}

#[test]
fn issuer_and_audience_are_compared_whole() {
    for iss in ["portcullis/", "Portcullis", "", "other"] {
        assert_eq!(verdict_on_claims(&with("iss", json!(iss))), Err(Invalid::Issuer), "{iss:?}");
    }
    let verdict = |aud: Value| {
        let token = sign(&ed(), ACCESS, &with("aud", aud)).unwrap();
        check_token(ed(), &token, &Expect { audience: Some("shop"), ..expect() }).err()
    };
    assert_eq!(verdict(json!("shop")), None);
    for aud in [json!("other"), json!(["shop"]), json!(["shop", "other"]), json!(null), json!("shop/")] {
        assert_eq!(verdict(aud), Some(Invalid::Audience));
    }
    let without = sign(&ed(), ACCESS, &claims()).unwrap();
    let expecting = Expect { audience: Some("shop"), ..expect() };
    assert_eq!(check_token(ed(), &without, &expecting), Err(Invalid::Audience));
}

#[test]
fn a_retired_key_verifies_until_its_end_and_an_unknown_one_never() {
    let (old, new) = (ed(), SigningKey::generate(Algorithm::EdDsa, &SeededRandom::new(8)).unwrap());
    let token = sign(&old, ACCESS, &claims()).unwrap();
    let member = |key, until: Option<i64>| Member {
        purpose: Purpose::Access,
        key,
        active_from: Timestamp::from_millis(0),
        published_until: until.map(|s| Timestamp::from_millis(s * 1000)),
    };
    let ring = Keyring::new(vec![member(old, Some(NOW + 60)), member(new, None)]);
    let at = |now: i64| {
        let expect = Expect { now: Timestamp::from_millis(now * 1000), ..expect() };
        verify::<Value>(&ring, Purpose::Access, &token, &expect).err()
    };
    assert_eq!((at(NOW + 59), at(NOW + 60)), (None, Some(Invalid::UnknownKey)));
}

#[test]
fn one_token_has_one_spelling() {
    let token = sign(&ed(), ACCESS, &claims()).unwrap();
    let (head, last) = token.split_at(token.len() - 1);
    // An Ed25519 signature fills 86 characters, the last with two of its six bits.
    let others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars();
    let accepted = others.filter(|c| check_token(ed(), &format!("{head}{c}"), &expect()).is_ok()).count();
    assert_eq!(accepted, 1, "only {last:?} ends this token");
    for other in [
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        token.replace('-', "+").replace('_', "/"),
    ] {
        if other != token {
            assert!(check_token(ed(), &other, &expect()).is_err(), "{other}");
        }
    }
}

#[test]
fn huge_tokens_are_refused_unread() {
    let key = ed();
    let many = (0..100_000).map(|i| format!(r#""k{i}":1"#)).collect::<Vec<_>>().join(",");
    let huge = [
        "a".repeat(1_000_000),
        forge(&key, format!("{{{many}}}").as_bytes(), b"{}"),
        forge(&key, "[".repeat(10_000).as_bytes(), b"{}"),
    ];
    let ring = ring_of(vec![key]);
    let took = || {
        let start = Instant::now();
        for token in &huge {
            assert_eq!(verify::<Value>(&ring, Purpose::Access, token, &expect()), Err(Invalid::Malformed));
        }
        start.elapsed()
    };
    // The best of some: what a busy machine adds to one of them is not ours.
    let best = (0..20).map(|_| took()).min();
    assert!(best < Some(Duration::from_millis(20)), "{best:?}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,400}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let ring = ring_of(vec![ed()]);
        for token in [text.clone(), format!("{}.{}.{}", base64url(&bytes), base64url(text.as_bytes()), base64url(&bytes))] {
            prop_assert!(verify::<Value>(&ring, Purpose::Access, &token, &expect()).is_err());
        }
    }

    #[test]
    fn one_changed_character_is_enough_to_refuse(at in 0usize..300, to in "[ -~]") {
        let token = sign(&ed(), ACCESS, &claims()).unwrap();
        let at = at % token.len();
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(check_token(ed(), &changed, &expect()).is_ok(), changed == token);
    }

    #[test]
    fn whatever_a_signed_payload_holds_it_never_panics(payload in "\\PC{0,200}") {
        prop_assert!(verdict_on_payload(&payload).is_err());
    }
}
