//! Access tokens: what they say, how they are made and how they are read.
//!
//! Law: a token names a session and carries no rights; whatever else it says is for clients to
//! read. Its claims are a superset that clients of all wires understand. It never outlives its
//! session.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Session;
use crate::base::{Id, Random, Secret, Timestamp};
use crate::config::Tokens;
use crate::crypto::jwt::{self, Expect, Invalid};
use crate::crypto::keyring::{Keyring, Purpose};

/// What `app_id` says where no application was asked for.
const NO_APPLICATION: &str = "default";
const TYPE: &str = "access";
/// How far the clock of another replica may be ahead: what it has just signed is good here at once.
const CLOCKS: Duration = Duration::from_secs(5);

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The account.
    pub sub: Id,
    /// The same again, under the name that the contract uses.
    pub user_id: Id,
    pub app_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub jti: Id,
    pub sid: Id,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub iss: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What the configuration adds for clients to read. Nothing is decided by it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A signed access token and its end.
#[derive(Debug, Clone)]
pub struct Access {
    pub token: Secret<String>,
    pub expires_at: Timestamp,
}

/// No key signs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

/// Makes an access token for a session.
pub(super) fn mint(
    keyring: &Keyring,
    settings: &Tokens,
    session: &Session,
    extra: Map<String, Value>,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Access, NoKey> {
    let expires_at = now.plus(settings.access_for).min(session.ends_at);
    let claims = Claims {
        sub: session.account,
        user_id: session.account,
        app_id: session.application.map_or_else(|| NO_APPLICATION.to_owned(), |id| id.to_string()),
        kind: TYPE.to_owned(),
        jti: Id::new(now, random),
        sid: session.id,
        iat: now.as_secs(),
        nbf: now.as_secs(),
        exp: expires_at.as_secs(),
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        scope: session.scope.map(|scope| scope.as_str().to_owned()),
        extra,
    };
    let key = keyring.active(Purpose::Access, now).ok_or(NoKey)?;
    let token = jwt::sign(key, jwt::ACCESS, &claims).map_err(|_| NoKey)?;
    Ok(Access { token: Secret::new(token), expires_at })
}

/// Reads an access token of ours. Whether its session lives is another question.
///
/// # Errors
/// [`Invalid`].
pub fn read(keyring: &Keyring, settings: &Tokens, token: &str, now: Timestamp) -> Result<Claims, Invalid> {
    let expect = Expect {
        typ: jwt::ACCESS,
        issuer: &settings.issuer,
        audience: settings.audience.as_deref(),
        now,
        leeway: CLOCKS,
        longest_for: settings.access_for,
    };
    let claims: Claims = jwt::verify(keyring, Purpose::Access, token, &expect)?;
    if claims.kind == TYPE && claims.sub == claims.user_id { Ok(claims) } else { Err(Invalid::Claims) }
}
