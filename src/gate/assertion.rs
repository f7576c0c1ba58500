//! The signed statement about the caller that an upstream can verify without trusting headers.
//!
//! Law: signed by a key of its own purpose, for one upstream (`aud`), for 60 s, never with a
//! shared secret. An `identity` assertion is reused for at most 30 s and only for the same
//! caller, organization, upstream, epochs and key; a `request` assertion is made for one request
//! and binds its method, path with query, and body.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Method};
use quick_cache::sync::Cache;
use serde::Serialize;

use super::person::Seen;
use crate::base::{Id, Random, Timestamp};
use crate::crypto::digest::{base64url, sha256};
use crate::crypto::jwt;
use crate::crypto::keyring::{Keyring, Purpose};

/// The `typ` of the header: an assertion is never mistaken for an access token.
pub const TYP: &str = "portcullis-assertion+jwt";
const VALID_FOR: Duration = Duration::from_mins(1);
const REUSED_FOR: Duration = Duration::from_secs(30);
const REMEMBERED_MAX: usize = 50_000;

/// Who calls whom: what an assertion says.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    #[serde(rename = "iss")]
    pub issuer: &'a str,
    #[serde(rename = "aud")]
    pub upstream: &'a str,
    /// The account.
    #[serde(rename = "sub")]
    pub subject: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<Id>,
    /// Who acts on the subject's behalf (RFC 8693 section 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Act<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<&'a str>,
    /// Whether it was proved that the address is the account's; there wherever `email` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    pub roles: Vec<&'a str>,
    pub permissions: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_slug: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_role: Option<&'a str>,
    /// The application whose keys came with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Id>,
}

/// An agent.
#[derive(Debug, Serialize)]
pub struct Act<'a> {
    /// The label that its human gave it.
    pub sub: &'a str,
    /// The number of its token.
    pub token: i64,
}

/// The request that a `request` assertion is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub method: &'a Method,
    /// Path and query as the upstream sees them.
    pub target: &'a str,
    /// SHA-256 of the whole body.
    pub body: [u8; 32],
}

/// What two requests must have in common to carry the same assertion.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Same {
    pub session: Id,
    pub organization: Option<Id>,
    pub application: Option<Id>,
    pub upstream: Arc<str>,
    /// The epochs of the caller.
    pub seen: Seen,
    /// Of the catalogue that says what the caller's rights are.
    pub generation: u64,
}

/// No key signs assertions now, or it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned;

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(flatten)]
    claims: &'a Claims<'a>,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    bound: Option<BoundClaims<'a>>,
}

/// `htm` as in RFC 9449; the digests are SHA-256 in base64url.
#[derive(Serialize)]
struct BoundClaims<'a> {
    htm: &'a str,
    target_sha256: String,
    body_sha256: String,
}

#[derive(Debug, Clone)]
struct Made {
    value: HeaderValue,
    kid: Box<str>,
    at: Timestamp,
}

/// The assertions made lately.
#[derive(Debug)]
pub struct Assertions(Cache<Same, Made>);

impl Assertions {
    pub fn new() -> Self {
        Self(Cache::new(REMEMBERED_MAX))
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// An assertion about the caller, made now or lately.
    pub fn identity<'a>(
        &self,
        same: Same,
        keys: &Keyring,
        random: &dyn Random,
        now: Timestamp,
        claims: impl FnOnce() -> Claims<'a>,
    ) -> Result<HeaderValue, Unsigned> {
        let key = keys.active(Purpose::Assertion, now).ok_or(Unsigned)?;
        if let Some(made) = self.0.get(&same)
            && *made.kid == *key.kid()
            && made.at <= now
            && now.since(made.at) < REUSED_FOR
        {
            return Ok(made.value);
        }
        let value = write(keys, random, now, &claims(), None)?;
        self.0.insert(same, Made { value: value.clone(), kid: key.kid().into(), at: now });
        Ok(value)
    }
}

/// An assertion about the caller and this one request.
pub fn of_request(
    keys: &Keyring,
    random: &dyn Random,
    now: Timestamp,
    claims: &Claims<'_>,
    bound: &Bound<'_>,
) -> Result<HeaderValue, Unsigned> {
    write(keys, random, now, claims, Some(bound))
}

fn write(
    keys: &Keyring,
    random: &dyn Random,
    now: Timestamp,
    claims: &Claims<'_>,
    bound: Option<&Bound<'_>>,
) -> Result<HeaderValue, Unsigned> {
    let key = keys.active(Purpose::Assertion, now).ok_or(Unsigned)?;
    let envelope = Envelope {
        claims,
        jti: Id::new(now, random).to_string(),
        iat: now.as_secs(),
        nbf: now.as_secs(),
        exp: now.plus(VALID_FOR).as_secs(),
        bound: bound.map(|bound| BoundClaims {
            htm: bound.method.as_str(),
            target_sha256: base64url(&sha256(bound.target.as_bytes())),
            body_sha256: base64url(&bound.body),
        }),
    };
    let token = jwt::sign(key, TYP, &envelope).map_err(|_| Unsigned)?;
    let mut value = HeaderValue::try_from(token).map_err(|_| Unsigned)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::base::random::SeededRandom;
    use crate::crypto::jwt::Expect;
    use crate::crypto::key::{Algorithm, SigningKey};
    use crate::crypto::keyring::Member;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn ring(seed: u64) -> Keyring {
        let key = SigningKey::generate(Algorithm::Es256, &SeededRandom::new(seed)).unwrap();
        let (active_from, published_until) = (Timestamp::from_millis(0), None);
        Keyring::new(vec![Member { purpose: Purpose::Assertion, key, active_from, published_until }])
    }

    fn claims() -> Claims<'static> {
        Claims {
            issuer: "portcullis",
            upstream: "reports",
            subject: Id::from_u128(1),
            sid: Some(Id::from_u128(2)),
            act: None,
            email: Some("ada@example.com"),
            email_verified: Some(false),
            roles: vec!["analyst"],
            permissions: vec!["reports.read"],
            org: Some(7),
            org_slug: Some("acme"),
            org_role: Some("member"),
            client_id: None,
        }
    }

    fn same(generation: u64) -> Same {
        Same {
            session: Id::from_u128(2),
            organization: None,
            application: None,
            upstream: "reports".into(),
            seen: Seen::default(),
            generation,
        }
    }

    fn read(ring: &Keyring, value: &HeaderValue, audience: &str) -> Result<Value, jwt::Invalid> {
        let expect = Expect {
            typ: TYP,
            issuer: "portcullis",
            audience: Some(audience),
            now: NOW,
            leeway: Duration::ZERO,
            longest_for: VALID_FOR,
        };
        jwt::verify(ring, Purpose::Assertion, value.to_str().unwrap(), &expect)
    }

    #[test]
    fn an_assertion_is_for_one_upstream_and_one_minute() {
        let ring = ring(1);
        let value = write(&ring, &SeededRandom::new(1), NOW, &claims(), None).unwrap();
        let told = read(&ring, &value, "reports").unwrap();
        assert_eq!(told["sub"], Id::from_u128(1).to_string());
        assert_eq!((told["org"].as_i64(), told["roles"][0].as_str()), (Some(7), Some("analyst")));
        assert_eq!(
            (told["email"].as_str(), told["email_verified"].as_bool()),
            (Some("ada@example.com"), Some(false))
        );
        assert_eq!(told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap(), 60);
        assert_eq!(read(&ring, &value, "invoices"), Err(jwt::Invalid::Audience));
        assert!(format!("{value:?}").contains("Sensitive"));
    }

    #[test]
    fn it_is_reused_for_thirty_seconds_and_never_over_a_change() {
        let (made, ring, another) = (Assertions::new(), ring(1), ring(2));
        let random = SeededRandom::new(1);
        let ask = |generation, ring: &Keyring, now| {
            made.identity(same(generation), ring, &random, now, claims).unwrap()
        };
        let first = ask(1, &ring, NOW);
        let later = NOW.plus(Duration::from_secs(29));
        assert_eq!(ask(1, &ring, later), first);
        assert_ne!(ask(2, &ring, later), first, "another catalogue");
        assert_ne!(ask(1, &another, later), first, "another key");
        assert_ne!(ask(1, &ring, NOW.plus(REUSED_FOR)), first, "too old");
    }

    #[test]
    fn a_request_assertion_binds_method_path_query_and_body() {
        let ring = ring(1);
        let bound = Bound { method: &Method::POST, target: "/pay?n=1", body: sha256(b"hello") };
        let value = of_request(&ring, &SeededRandom::new(1), NOW, &claims(), &bound).unwrap();
        let told = read(&ring, &value, "reports").unwrap();
        assert_eq!(told["htm"], "POST");
        assert_eq!(told["target_sha256"], base64url(&sha256(b"/pay?n=1")));
        assert_eq!(told["body_sha256"], base64url(&sha256(b"hello")));
    }

    #[test]
    fn without_a_key_nothing_is_asserted() {
        let none = Keyring::new(Vec::new());
        assert_eq!(write(&none, &SeededRandom::new(1), NOW, &claims(), None), Err(Unsigned));
    }
}
