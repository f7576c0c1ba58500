//! Which credential a request presents.
//!
//! Law: exactly one counts, by its place and never by validity: a bad one is an answer, never a
//! reason to look at the next, and `Authorization` beside `X-API-Key` is refused wherever either is
//! looked at. A token has one spelling (RFC 6750 section 2.1): scheme in any case, exactly one space, token68 characters.

use ::http::HeaderValue;
use serde_json::Value;

use super::head::RequestHead;
use super::world::World;
use crate::agent;
use crate::crypto::digest::unbase64url;
use crate::crypto::jwt;

/// What stands in the request, before anything is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing was presented.
    Absent,
    /// A bearer token in its one spelling. Not verified.
    Bearer(&'a str),
    /// An agent's token in its one spelling. Not looked up.
    Agent(&'a str),
    /// Something was presented that cannot be a credential of ours.
    Unusable,
}

impl<'a> Credential<'a> {
    /// Reads the `Authorization` line. That there is at most one is the head's law.
    pub fn of(authorization: Option<&'a HeaderValue>) -> Self {
        match authorization {
            None => Self::Absent,
            Some(line) => match bearer(line.as_bytes()) {
                Some(token) => Self::Bearer(token),
                None => agent(line.as_bytes()).map_or(Self::Unusable, Self::Agent),
            },
        }
    }
}

/// Whether the request carries a credential of this gateway, valid or not: one that is over must
/// not reach an upstream either.
pub fn is_ours(head: &RequestHead, world: &World) -> bool {
    if is_agents(head.presented.authorization.as_ref()) {
        return true;
    }
    let Credential::Bearer(token) = Credential::of(head.presented.authorization.as_ref()) else {
        return false;
    };
    let mut parts = token.split('.').map(|part| {
        let bytes = unbase64url(part).unwrap_or_default();
        serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
    });
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    header["typ"] == jwt::ACCESS && payload["iss"] == world.config.tokens.issuer.as_str()
}

/// Whether an agent presents itself, with whatever token.
pub fn is_agents(authorization: Option<&HeaderValue>) -> bool {
    authorization
        .and_then(|line| line.as_bytes().get(..AGENT_SCHEME.len()))
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(AGENT_SCHEME))
}

const SCHEME: &[u8] = b"bearer";
const AGENT_SCHEME: &[u8] = b"agentbearer";

fn agent(line: &[u8]) -> Option<&str> {
    let (scheme, rest) = line.split_at_checked(AGENT_SCHEME.len())?;
    let token = rest.strip_prefix(b" ")?;
    let is_token = token.len() == agent::TEXT_LEN && token.iter().all(u8::is_ascii_alphanumeric);
    if scheme.eq_ignore_ascii_case(AGENT_SCHEME) && is_token { std::str::from_utf8(token).ok() } else { None }
}

fn bearer(line: &[u8]) -> Option<&str> {
    let (scheme, rest) = line.split_at_checked(SCHEME.len())?;
    let token = rest.strip_prefix(b" ")?;
    let is_token68 = !token.is_empty() && is_token68(token);
    if scheme.eq_ignore_ascii_case(SCHEME) && is_token68 { std::str::from_utf8(token).ok() } else { None }
}

/// The characters of RFC 7235's token68, without `=`: our tokens are never padded, and a token
/// with padding would be a second spelling of the same bytes. Without an early end, so that the
/// compiler looks at many bytes at once.
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch, and ends that")]
fn is_token68(token: &[u8]) -> bool {
    token.iter().fold(true, |is_so, &byte| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // Between `-` and `9` lie `.` and `/`, which belong to it as well.
        let is_digit = byte.wrapping_sub(b'-') <= b'9' - b'-';
        is_so & (is_letter | is_digit | (byte == b'_') | (byte == b'~') | (byte == b'+'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_may_have_any_case_and_the_rest_one_spelling() {
        for line in ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER a.b-c_d", "bEaReR a.b-c_d"] {
            let line = HeaderValue::from_static(line);
            assert_eq!(Credential::of(Some(&line)), Credential::Bearer("a.b-c_d"));
        }
        for line in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer  x",
            "Bearer\tx",
            "Bearer x,y",
            "Bearer x y",
            "Bearer x ",
            " Bearer x",
            "Bearerx",
            "Bearer=x",
            "Bearer x=",
            "Bearer \u{e9}",
            "Basic YTpi",
            "AgentBearer x",
        ] {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            assert_eq!(Credential::of(Some(&line)), Credential::Unusable, "{line:?}");
        }
        assert_eq!(Credential::of(None), Credential::Absent);
    }
}
