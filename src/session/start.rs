//! How sessions begin: by a login, or in the place of another one.
//!
//! Law: whoever begins one holds the account's row, so that limits hold however many logins come at
//! once. No session lasts longer than the login that it goes back to allows.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::token::{self, NoKey};
use super::{Acquaintance, Device, Method, Pair, SETUP_FOR, Session, end_one, prove, store};
use crate::account::{self, Account};
use crate::app::Change;
use crate::audit::{EndReason, SessionEvent};
use crate::base::{Id, Secret};
use crate::config::{Sessions, Tokens, WhenFull};
use crate::crypto::token::{Token, TokenDigest};
use crate::principal::Scope;
use crate::store::Error;

/// How a refresh token begins that stays the same.
const KEPT: &str = "kept.";

/// A login that succeeded.
#[derive(Debug)]
pub struct Login<'a> {
    pub account: &'a Account,
    pub application: Option<Id>,
    pub device: &'a Device,
    pub address: Option<IpAddr>,
    pub method: Method,
    pub scope: Option<Scope>,
    /// Claims that the configuration adds to access tokens.
    pub claims: Map<String, Value>,
}

/// Why a session did not start.
#[derive(Debug)]
pub enum StartError {
    /// The account may not log in any more, or its password changed after it was read.
    Refused,
    SessionLimit,
    DeviceLimit,
    NoKey,
    Store(Error),
}

impl From<Error> for StartError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<NoKey> for StartError {
    fn from(NoKey: NoKey) -> Self {
        Self::NoKey
    }
}

/// Starts a session, ending older ones where the limits say so.
///
/// # Errors
/// [`StartError`]; the change is then not to be committed.
pub async fn start(
    change: &mut Change<'_>,
    sessions: &Sessions,
    tokens: &Tokens,
    login: Login<'_>,
) -> Result<(Session, Pair), StartError> {
    let now = change.now();
    // The account's row first: from here on, logins of this account come one after the other.
    if !account::note_login(change, login.account).await? {
        return Err(StartError::Refused);
    }
    let ends_at = now.plus(match login.scope {
        Some(Scope::SecondFactorSetupOnly) => SETUP_FOR.min(sessions.end_after),
        Some(Scope::PasswordChangeOnly) | None => sessions.end_after,
    });
    let session = Session {
        id: change.new_id(),
        account: login.account.id,
        application: login.application,
        method: login.method,
        scope: login.scope,
        device_info: login.device.as_str().to_owned(),
        device_key: login.device.key(),
        address: login.address.map(|address| address.to_string()),
        started_at: now,
        authenticated_at: now,
        second_factor_at: None,
        refreshed_at: now,
        idle_ends_at: now.plus(sessions.idle_for).min(ends_at),
        ends_at,
        ended_at: None,
    };
    make_room(change, sessions, &session).await?;
    let device = store::acquaintance(change.tx(), &session).await?;
    let pair = open(change, tokens, &session, login.claims).await?;
    if device == Acquaintance::New {
        let event = SessionEvent::NewDevice { account: session.account, session: session.id };
        change.record(event).await?;
    }
    let (account, id, method) = (session.account, session.id, session.method.name());
    change.record(SessionEvent::Started { account, session: id, method }).await?;
    Ok((session, pair))
}

/// Writes a session down, and makes its first tokens.
async fn open(
    change: &mut Change<'_>,
    tokens: &Tokens,
    session: &Session,
    claims: Map<String, Value>,
) -> Result<Pair, StartError> {
    let (now, app) = (change.now(), change.app());
    store::insert(change.tx(), session).await?;
    let access = token::mint(&app.keyring(), tokens, session, claims, now, app.random.as_ref())?;
    let refresh = Token::generate(app.random.as_ref());
    // What is only for setting up a second factor is over when its access token is.
    if session.scope != Some(Scope::SecondFactorSetupOnly) {
        store::insert_token(change.tx(), &refresh.digest(), session.id, 0, now, session.idle_ends_at).await?;
    }
    let refresh = Secret::new(refresh.expose().to_owned());
    Ok(Pair { access, refresh, refresh_expires_at: session.idle_ends_at })
}

/// Gives a session that was just started, in the same change, a refresh token that stays the same however
/// often it is used, in place of its first one, which nobody has seen.
///
/// # Errors
/// The store's.
pub async fn keep(change: &mut Change<'_>, session: &Session, pair: Pair) -> Result<Pair, Error> {
    if session.scope == Some(Scope::SecondFactorSetupOnly) {
        return Ok(pair);
    }
    let text = format!("{KEPT}{}", pair.refresh.expose());
    let (first, kept) = (TokenDigest::of(pair.refresh.expose()), TokenDigest::of(&text));
    store::rename_token(change.tx(), &first, &kept).await?;
    Ok(Pair { refresh: Secret::new(text), ..pair })
}

/// Whether this is a refresh token that stays the same. Its digest covers the mark, so no other token becomes
/// one by writing it before it.
#[must_use]
pub fn is_kept(token: &str) -> bool {
    token.starts_with(KEPT)
}

/// Puts another session in the place of one whose person has just proved a second factor: whoever
/// has a copy of the old one's tokens gains nothing. It ends when the old one would have.
///
/// # Errors
/// [`StartError::Refused`] where the old one is over.
pub async fn renew(
    change: &mut Change<'_>,
    tokens: &Tokens,
    old: &Session,
    claims: Map<String, Value>,
) -> Result<(Session, Pair), StartError> {
    let now = change.now();
    if !old.is_alive(now) || !end_one(change, old, EndReason::Renewed).await? {
        return Err(StartError::Refused);
    }
    let mut session = Session { id: change.new_id(), refreshed_at: now, ..old.clone() };
    let pair = open(change, tokens, &session, claims).await?;
    prove(change, &mut session).await?;
    Ok((session, pair))
}

/// Keeps to the limits: refuses, or ends the oldest sessions.
async fn make_room(change: &mut Change<'_>, limits: &Sessions, new: &Session) -> Result<(), StartError> {
    let now = change.now();
    let mut live = store::live_of(change.tx(), new.account, now).await?;
    if let Some(most) = limits.devices
        && !live.is_empty()
        && live.iter().all(|session| session.device_key != new.device_key)
    {
        let surplus = devices_over(&live, most);
        if !surplus.is_empty() && limits.when_devices_full == WhenFull::Deny {
            return Err(StartError::DeviceLimit);
        }
        for session in live.extract_if(.., |session| surplus.contains(&session.device_key)) {
            end_one(change, &session, EndReason::Limit).await?;
        }
    }
    if let Some(most) = limits.max {
        let surplus = (live.len() + 1).saturating_sub(count(most));
        if surplus > 0 && limits.when_full == WhenFull::Deny {
            return Err(StartError::SessionLimit);
        }
        for session in live.iter().take(surplus) {
            end_one(change, session, EndReason::Limit).await?;
        }
    }
    Ok(())
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The devices that must go so that one more than these fits into `most`: those whose first
/// session is the oldest.
fn devices_over(live: &[Session], most: u32) -> Vec<String> {
    let mut devices: Vec<&String> = Vec::new();
    for session in live {
        if !devices.contains(&&session.device_key) {
            devices.push(&session.device_key);
        }
    }
    let surplus = (devices.len() + 1).saturating_sub(count(most));
    devices.into_iter().take(surplus).cloned().collect()
}
