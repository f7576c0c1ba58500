//! Refreshing: a refresh token is used once, and gives the pair that follows it, unless it is one that stays.
//!
//! Law: of any number of uses at once exactly one makes a child; within the grace the others get
//! the same child, as long as nobody has used it. Any other use of a used token means that two
//! parties hold the family, and ends it. The child is kept sealed under a key that only the holder
//! of its parent can make, so the store never holds a usable token.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::start::is_kept;
use super::token::{self, Access, NoKey};
use super::{Pair, RefreshToken, Session, store};
use crate::account;
use crate::app::{App, Change};
use crate::audit::{Actor, EndReason, SessionEvent};
use crate::base::{Id, Secret, Timestamp};
use crate::config::{Sessions, Tokens};
use crate::crypto::digest::hmac_sha256;
use crate::crypto::seal::SealKey;
use crate::crypto::token::{Token, TokenDigest};
use crate::store::Error;

/// A refresh token that was presented, and by whom.
#[derive(Debug)]
pub struct Request<'a> {
    pub token: &'a Secret<String>,
    /// The application that presents it: must be the one that logged in.
    pub application: Option<Id>,
    pub actor: Actor,
}

/// Which use of a token it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    First,
    /// Within the grace: the pair is the one that was given before.
    Again,
}

/// What a refresh gave.
#[derive(Debug)]
pub struct Refreshed {
    pub session: Session,
    pub pair: Pair,
    pub which: Use,
}

/// Why a refresh token gave nothing. All look alike from outside.
#[derive(Debug)]
pub enum RefreshError {
    /// Unknown, or of a session that was ended.
    Over,
    /// Itself or its session is over by the clock.
    Expired,
    /// Used before: the family was ended now.
    Reused,
    /// Presented by another application.
    OtherApplication,
    /// The account may not act.
    Refused,
    NoKey,
    Store(Error),
}

impl From<Error> for RefreshError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<NoKey> for RefreshError {
    fn from(NoKey: NoKey) -> Self {
        Self::NoKey
    }
}

/// The rules and facts of one refresh.
struct Attempt<'a> {
    sessions: &'a Sessions,
    tokens: &'a Tokens,
    secret: &'a str,
    digest: TokenDigest,
    claims: Map<String, Value>,
}

/// Uses a refresh token. `claims` makes the configured extra claims for the session, or refuses it.
///
/// # Errors
/// [`RefreshError`].
pub async fn refresh(
    app: &App,
    sessions: &Sessions,
    tokens: &Tokens,
    request: Request<'_>,
    claims: impl AsyncFnOnce(&Session) -> Result<Map<String, Value>, RefreshError>,
) -> Result<Refreshed, RefreshError> {
    let secret = request.token.expose().as_str();
    let digest = TokenDigest::of(secret);
    // Asked before the change begins: what a stranger sends costs one read.
    let token = store::token(&app.db, &digest).await?.ok_or(RefreshError::Over)?;
    let session = store::by_id(&app.db, token.session).await?.ok_or(RefreshError::Over)?;
    if session.application != request.application {
        return Err(RefreshError::OtherApplication);
    }
    let claims = claims(&session).await?;
    let attempt = Attempt { sessions, tokens, secret, digest, claims };
    let mut change = app.change(request.actor).await?;
    // The account's row first, as everywhere: it says whether the account may act, and it is the
    // order in which all changes take their locks.
    if !account::hold(&mut change, session.account).await? {
        return Err(RefreshError::Refused);
    }
    // Again, under the lock: of uses at once, each sees what the one before it did.
    let token = store::token(change.tx(), &attempt.digest).await?.ok_or(RefreshError::Over)?;
    let session = store::by_id(change.tx(), token.session).await?.ok_or(RefreshError::Over)?;
    if !session.is_alive(change.now()) {
        return Err(if session.ended_at.is_none() { RefreshError::Expired } else { RefreshError::Over });
    }
    match token.used_at {
        Some(used_at) => again(change, &attempt, session, &token, used_at).await,
        None if token.expires_at <= change.now() => Err(RefreshError::Expired),
        None => first(change, attempt, session, &token).await,
    }
}

/// The first use: makes the child.
async fn first(
    mut change: Change<'_>,
    attempt: Attempt<'_>,
    mut session: Session,
    token: &RefreshToken,
) -> Result<Refreshed, RefreshError> {
    let (app, now) = (change.app(), change.now());
    session.refreshed_at = now;
    session.idle_ends_at = now.plus(attempt.sessions.idle_for).min(session.ends_at);
    let keyring = app.keyring();
    let access = token::mint(&keyring, attempt.tokens, &session, attempt.claims, now, app.random.as_ref())?;
    let (id, ends_at) = (session.id, session.idle_ends_at);
    let refresh = if attempt.tokens.rotation && !is_kept(attempt.secret) {
        let child = Token::generate(app.random.as_ref());
        let successor = Successor::of(&access, child.expose()).seal(app, attempt.secret, &attempt.digest);
        if store::use_token(change.tx(), &attempt.digest, successor, now).await? == 0 {
            return Err(RefreshError::Over);
        }
        store::insert_token(change.tx(), &child.digest(), id, token.generation + 1, now, ends_at).await?;
        // Nobody may ask for the parent's successor again: it was used just now.
        store::forget_successor(change.tx(), id, token.generation - 1).await?;
        child.expose().to_owned()
    } else {
        if store::prolong_token(change.tx(), &attempt.digest, ends_at).await? == 0 {
            return Err(RefreshError::Over);
        }
        attempt.secret.to_owned()
    };
    if store::extend(change.tx(), id, now, ends_at).await? == 0 {
        return Err(RefreshError::Over);
    }
    change.record(SessionEvent::Refreshed { account: session.account, session: id }).await?;
    change.commit().await?;
    let pair = Pair { access, refresh: Secret::new(refresh), refresh_expires_at: ends_at };
    Ok(Refreshed { session, pair, which: Use::First })
}

/// A use of a used token: the same child for an honest retry, the end for anything else.
async fn again(
    mut change: Change<'_>,
    attempt: &Attempt<'_>,
    session: Session,
    token: &RefreshToken,
    used_at: Timestamp,
) -> Result<Refreshed, RefreshError> {
    // A change's time is that of its beginning: one that waited for the other may be the older one, and
    // without a grace it must not seem to be in time.
    let grace = attempt.tokens.refresh_grace;
    let is_in_grace = !grace.is_zero() && used_at.plus(grace) > change.now();
    if is_in_grace && !store::is_used(change.tx(), session.id, token.generation + 1).await? {
        let successor = token
            .successor
            .as_deref()
            .and_then(|sealed| Successor::open(sealed, attempt.secret, &attempt.digest));
        if let Some(successor) = successor {
            let pair = successor.into_pair(session.idle_ends_at);
            return Ok(Refreshed { session, pair, which: Use::Again });
        }
    }
    let now = change.now();
    store::end(change.tx(), session.id, EndReason::RefreshReused.name(), now).await?;
    change.record(SessionEvent::RefreshReused { account: session.account, session: session.id }).await?;
    change.commit().await?;
    Err(RefreshError::Reused)
}

/// A child pair at rest.
#[derive(Serialize, Deserialize)]
struct Successor {
    access: String,
    access_expires_at: Timestamp,
    refresh: String,
}

impl Successor {
    fn of(access: &Access, refresh: &str) -> Self {
        Self {
            access: access.token.expose().clone(),
            access_expires_at: access.expires_at,
            refresh: refresh.to_owned(),
        }
    }

    /// A key that only who holds the parent can make; the parent's stored digest is of no use.
    fn key(parent: &str) -> SealKey {
        SealKey::from_bytes(hmac_sha256(b"portcullis refresh successor v1", parent.as_bytes()))
    }

    fn seal(&self, app: &App, parent: &str, digest: &TokenDigest) -> Vec<u8> {
        let plain = Secret::new(serde_json::to_vec(self).unwrap_or_default());
        Self::key(parent).seal(app.random.as_ref(), digest.as_str(), plain.expose())
    }

    fn open(sealed: &[u8], parent: &str, digest: &TokenDigest) -> Option<Self> {
        let plain = Self::key(parent).open(digest.as_str(), sealed).ok()?;
        serde_json::from_slice(plain.expose()).ok()
    }

    fn into_pair(self, refresh_expires_at: Timestamp) -> Pair {
        let access = Access { token: Secret::new(self.access), expires_at: self.access_expires_at };
        Pair { access, refresh: Secret::new(self.refresh), refresh_expires_at }
    }
}
