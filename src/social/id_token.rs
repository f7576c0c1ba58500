//! What an ID token must say (OpenID Connect Core, section 3.1.3.7).
//!
//! Law: it is from the issuer that is configured, for a client that is ours, not over, and of the
//! login that was begun here. A claim of another type than it has is a missing claim.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Address, Identity};
use crate::base::{Email, Timestamp};
use crate::config::ProviderKind;

/// How far clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// Nothing that is longer good for a login is an ID token.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest subject (OpenID Connect Core, section 2), with room for a tenant.
pub(super) const SUBJECT_MAX: usize = 255;
/// What Microsoft writes in the place of a tenant, where many may log in.
const TENANT: &str = "{tenantid}";

/// What is expected of a token.
pub(super) struct Expected<'a> {
    pub(super) kind: ProviderKind,
    /// As the provider's own description says it.
    pub(super) issuer: &'a str,
    /// The clients that are ours.
    pub(super) audiences: Vec<&'a str>,
    /// What it must hold, where the login that it belongs to is known.
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

type Claims = Map<String, Value>;

/// Whom a token is about.
pub(super) fn read(claims: &Claims, expected: &Expected<'_>) -> Result<Identity, &'static str> {
    let (issuer, tenant) = issuer(claims, expected)?;
    audience(claims, &expected.audiences)?;
    time(claims, expected.now)?;
    if let Some(nonce) = expected.nonce
        && text(claims, "nonce") != Some(nonce)
    {
        return Err("the ID token is of another login");
    }
    let subject = text(claims, "sub").ok_or("the ID token has no subject")?;
    let subject = tenant.map_or_else(|| subject.to_owned(), |tenant| format!("{tenant}/{subject}"));
    let is_subject =
        !subject.is_empty() && subject.len() <= SUBJECT_MAX && !subject.chars().any(char::is_control);
    if !is_subject {
        return Err("the ID token has no subject");
    }
    Ok(Identity {
        issuer,
        subject,
        address: address(expected.kind, claims),
        first_name: name(claims, "given_name"),
        last_name: name(claims, "family_name"),
    })
}

/// Who the issuer is, and the tenant where it is one of many.
fn issuer(claims: &Claims, expected: &Expected<'_>) -> Result<(String, Option<String>), &'static str> {
    const WRONG: &str = "the ID token is from another issuer";
    let issuer = text(claims, "iss").ok_or(WRONG)?;
    if expected.kind == ProviderKind::Microsoft && expected.issuer.contains(TENANT) {
        let tenant = text(claims, "tid").filter(|tenant| is_tenant(tenant)).ok_or(WRONG)?;
        if issuer != expected.issuer.replace(TENANT, tenant) {
            return Err(WRONG);
        }
        return Ok((expected.issuer.to_owned(), Some(tenant.to_owned())));
    }
    // Google spells itself in two ways, and says so.
    let is_google = expected.kind == ProviderKind::Google
        && expected.issuer == "https://accounts.google.com"
        && issuer == "accounts.google.com";
    if issuer == expected.issuer || is_google { Ok((expected.issuer.to_owned(), None)) } else { Err(WRONG) }
}

/// A tenant is a UUID: whatever else stood there would be part of a URL.
fn is_tenant(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The token is for clients of ours and for nobody else.
fn audience(claims: &Claims, ours: &[&str]) -> Result<(), &'static str> {
    const WRONG: &str = "the ID token is for another client";
    let is_ours = |value: &Value| value.as_str().is_some_and(|text| ours.contains(&text));
    let (is_for_us, is_for_many) = match claims.get("aud") {
        Some(Value::Array(all)) => (!all.is_empty() && all.iter().all(is_ours), all.len() > 1),
        Some(one) => (is_ours(one), false),
        None => (false, false),
    };
    let is_party_fine = match claims.get("azp") {
        Some(party) => is_ours(party),
        None => !is_for_many,
    };
    if is_for_us && is_party_fine { Ok(()) } else { Err(WRONG) }
}

fn time(claims: &Claims, now: Timestamp) -> Result<(), &'static str> {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64).filter(|value| *value >= 0);
    let (Some(exp), Some(iat)) = (seconds("exp"), seconds("iat")) else {
        return Err("the ID token does not say how long it is good for");
    };
    let nbf = match claims.get("nbf") {
        Some(_) => seconds("nbf").ok_or("the ID token does not say how long it is good for")?,
        None => iat,
    };
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let (now, leeway) = (now.as_secs(), whole(LEEWAY));
    if exp.saturating_add(leeway) <= now {
        return Err("the ID token is over");
    }
    if iat.max(nbf) > now.saturating_add(leeway) {
        return Err("the ID token is from the future");
    }
    if exp.saturating_sub(iat) > whole(LONGEST) {
        return Err("the ID token is good for too long");
    }
    Ok(())
}

/// The address in a token, or in what the provider says of somebody elsewhere.
pub(super) fn address(kind: ProviderKind, claims: &Claims) -> Address {
    let Some(email) = text(claims, "email").and_then(|text| Email::parse(text).ok()) else {
        return Address::None;
    };
    let is_true = |name: &str| match claims.get(name) {
        Some(Value::Bool(is_so)) => *is_so,
        Some(Value::String(text)) => text == "true" || text == "1",
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        _ => false,
    };
    match kind {
        // Whoever runs a tenant writes what they like into `email`; `xms_edov` says that Microsoft has
        // seen that the domain is theirs.
        ProviderKind::Microsoft if is_true("xms_edov") => Address::Verified(email),
        ProviderKind::Microsoft => Address::Claimed(email),
        // Google speaks for its own mail, and for domains whose organization it hosts (`hd`). Any other
        // address was confirmed once, and may be somebody else's by now.
        ProviderKind::Google if is_true("email_verified") && !is_hosted_by_google(&email, claims) => {
            Address::Claimed(email)
        }
        _ if is_true("email_verified") => Address::Verified(email),
        _ => Address::Unverified,
    }
}

fn is_hosted_by_google(email: &Email, claims: &Claims) -> bool {
    let is_mail = email.as_str().ends_with("@gmail.com");
    is_mail || text(claims, "hd").is_some_and(|domain| !domain.trim().is_empty())
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A name for people, as far as it is one.
pub(super) fn name(claims: &Claims, key: &str) -> String {
    let text = text(claims, key).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(100).collect::<String>().trim().to_owned()
}
