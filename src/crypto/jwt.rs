//! Signed tokens (JWS compact, RFC 7515, 7519, 9068): ours only, so everything that we never write
//! is refused.
//!
//! Law: the key chooses the algorithm and the header is only compared with it; one token has one
//! spelling; every registered claim is present and of its type; nothing in a token makes us fetch
//! anything. The jsonwebtoken crate writes tokens and checks signatures. What a token says is read
//! here: the crate's own reading takes lists and fractions, and the time from a clock of its own.
//! Tokens of others are read in [`foreign`].

pub mod foreign;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::digest::unbase64url;
use super::key::SigningKey;
use super::keyring::{Keyring, Purpose};
use crate::base::{Timestamp, json};

/// The `typ` of access tokens (RFC 9068).
pub const ACCESS: &str = "at+jwt";
/// Longer tokens are refused unread.
pub const MAX_LEN: usize = 8 * 1024;
/// However much clocks are said to differ, it is not believed of more than this.
pub const MAX_LEEWAY: Duration = Duration::from_secs(30);

/// What a token must be, besides well signed.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// The header's `typ`, compared exactly.
    pub typ: &'a str,
    pub issuer: &'a str,
    /// The one `aud`; not looked at when none is configured.
    pub audience: Option<&'a str>,
    pub now: Timestamp,
    /// How far the clock of whoever signed may be ahead of ours, for `nbf` and `iat`; at most
    /// [`MAX_LEEWAY`]. A token ends at its `exp` all the same.
    pub leeway: Duration,
    /// A token that claims to live longer is refused even if it is well signed.
    pub longest_for: Duration,
}

/// Why a token was refused. For logs and metrics; a client only learns that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Not three parts of strict base64url with JSON objects in them, or too long.
    Malformed,
    /// A header member that we never write, or a missing one.
    Header,
    /// No key of this purpose has this `kid`.
    UnknownKey,
    /// The header's `alg` is not the key's.
    Algorithm,
    Signature,
    /// Another kind of token.
    Type,
    /// A registered claim is missing or not of its type.
    Claims,
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYet,
    /// It claims a longer life than we give.
    TooLong,
    Issuer,
    Audience,
}

impl Invalid {
    /// A short word for a metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Type => "type",
            Self::Claims => "claims",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::TooLong => "too_long",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token is refused: {}", self.label())
    }
}

impl std::error::Error for Invalid {}

/// The claims could not be written as JSON, or the key could not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned;

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token could not be signed")
    }
}

impl std::error::Error for Unsigned {}

/// Writes and signs a token.
///
/// # Errors
/// [`Unsigned`].
pub fn sign(key: &SigningKey, typ: &'static str, claims: &impl Serialize) -> Result<String, Unsigned> {
    let mut header = jsonwebtoken::Header::new(key.algorithm().jose());
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.kid().to_owned());
    jsonwebtoken::encode(&header, claims, key.encoding()).map_err(|_| Unsigned)
}

/// Reads a token, or says why not. The signature is checked before the claims are looked at.
///
/// # Errors
/// [`Invalid`].
pub fn verify<C: DeserializeOwned>(
    keys: &Keyring,
    purpose: Purpose,
    token: &str,
    expect: &Expect<'_>,
) -> Result<C, Invalid> {
    let (signed, header, payload, signature) = split(token)?;
    let header = Header::read(header)?;
    let key = keys.find(purpose, &header.kid, expect.now).ok_or(Invalid::UnknownKey)?;
    if header.alg != key.algorithm().name() {
        return Err(Invalid::Algorithm);
    }
    if !key.is_signature(signed, signature).ok_or(Invalid::Malformed)? {
        return Err(Invalid::Signature);
    }
    if header.typ != expect.typ {
        return Err(Invalid::Type);
    }
    let claims = object(payload)?;
    check(&claims, expect)?;
    serde_json::from_value(Value::Object(claims)).map_err(|_| Invalid::Claims)
}

/// The signed text, then the three parts.
fn split(token: &str) -> Result<(&str, &str, &str, &str), Invalid> {
    if token.len() > MAX_LEN {
        return Err(Invalid::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Invalid::Malformed)?;
    if payload.contains('.') || [header, payload, signature].iter().any(|part| part.is_empty()) {
        return Err(Invalid::Malformed);
    }
    Ok((signed, header, payload, signature))
}

fn object(part: &str) -> Result<Map<String, Value>, Invalid> {
    let bytes = unbase64url(part).ok_or(Invalid::Malformed)?;
    match json::strict(&bytes) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Invalid::Malformed),
    }
}

struct Header {
    alg: String,
    kid: String,
    typ: String,
}

impl Header {
    /// Exactly the three members that [`sign`] writes: `crit`, `jku`, `jwk`, `x5*`, `b64`, `zip`,
    /// `enc` and every other way to steer the verifier are refused by not being among them.
    fn read(part: &str) -> Result<Self, Invalid> {
        let mut map = object(part)?;
        let mut take = |name: &str| match map.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Invalid::Header),
        };
        let header = Self { alg: take("alg")?, kid: take("kid")?, typ: take("typ")? };
        if map.is_empty() { Ok(header) } else { Err(Invalid::Header) }
    }
}

fn check(claims: &Map<String, Value>, expect: &Expect<'_>) -> Result<(), Invalid> {
    for name in ["sub", "jti"] {
        let value = text(claims, name)?;
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(Invalid::Claims);
        }
    }
    let (exp, iat) = (seconds(claims, "exp")?, seconds(claims, "iat")?);
    let nbf = if claims.contains_key("nbf") { seconds(claims, "nbf")? } else { iat };
    let now = expect.now.as_secs();
    if exp <= now {
        return Err(Invalid::Expired);
    }
    let leeway = whole_seconds(expect.leeway.min(MAX_LEEWAY));
    if nbf.max(iat) > now.saturating_add(leeway) {
        return Err(Invalid::NotYet);
    }
    if exp.saturating_sub(iat) > whole_seconds(expect.longest_for) {
        return Err(Invalid::TooLong);
    }
    if text(claims, "iss")? != expect.issuer {
        return Err(Invalid::Issuer);
    }
    match expect.audience {
        // A list is refused too: we write one audience, so a list was never ours.
        Some(audience) if claims.get("aud").and_then(Value::as_str) != Some(audience) => {
            Err(Invalid::Audience)
        }
        _ => Ok(()),
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a str, Invalid> {
    claims.get(name).and_then(Value::as_str).ok_or(Invalid::Claims)
}

/// A NumericDate, which here is a whole number: a fraction or a text is another spelling.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<i64, Invalid> {
    claims.get(name).and_then(Value::as_i64).filter(|value| *value >= 0).ok_or(Invalid::Claims)
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
