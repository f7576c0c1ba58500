//! Sessions: one login on one device, and the refresh family that belongs to it.
//!
//! Law: a session starts, is refreshed and ends in changes, each decided by a conditional write.
//! Starting takes the account's row first, so that limits hold however many logins come at once.
//! What ends an account's sessions without asking for it here (a new password, a lock) does so
//! through [`react`], in the same transaction.

mod device;
mod page;
mod rotate;
mod store;
#[cfg(test)]
mod tests;
mod token;

use std::net::IpAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use crate::account::{self, Account};
use crate::app::{App, Change};
use crate::audit::{AccountEvent, ApplicationEvent, EndReason, Event, FactorEvent, How, SessionEvent};
use crate::base::{Id, Secret, Timestamp};
use crate::config::{Sessions, Tokens, WhenFull};
use crate::crypto::token::{Token, TokenDigest};
use crate::principal::{Scope, SessionFacts};
use crate::store::{Db, Error, FromRow, Source};

pub use device::{Device, MAX_LEN as MAX_DEVICE_LEN, Refused as DeviceRefused};
pub use page::{PageSession, page_cookie, read_page_cookie};
pub use rotate::{RefreshError, Refreshed, Request as RefreshRequest, Use, refresh};
pub use token::{Access, Claims, NoKey, read as read_access};

/// How long a session that is over stays in the store, for whoever asks what happened.
pub const KEPT_FOR: Duration = Duration::from_hours(30 * 24);
/// How far the clocks of replicas may be apart before a used ticket opens something again.
const TICKET_KEPT_FOR: Duration = Duration::from_hours(1);

/// How long a session lasts that is only for setting up a second factor (contract section 10.1).
const SETUP_FOR: Duration = Duration::from_mins(15);

/// How a person proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Password,
    /// A code that was sent.
    Code,
    /// A link that was sent.
    Link,
    Passkey,
}

impl Method {
    /// The word in the store, in `X-Auth-Method` and in the audit trail.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
            Self::Link => "magic_link",
            Self::Passkey => "passkey",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Password, Self::Code, Self::Link, Self::Passkey];
        all.into_iter().find(|method| method.name() == name)
    }
}

/// One login on one device.
#[derive(Debug, Clone, FromRow)]
pub struct Session {
    pub id: Id,
    pub account: Id,
    pub application: Option<Id>,
    pub method: Method,
    pub scope: Option<Scope>,
    pub device_info: String,
    pub device_key: String,
    pub address: Option<String>,
    pub started_at: Timestamp,
    pub authenticated_at: Timestamp,
    pub second_factor_at: Option<Timestamp>,
    pub refreshed_at: Timestamp,
    pub idle_ends_at: Timestamp,
    pub ends_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl Session {
    /// Whether it may still be used.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && self.ends_at > now && self.idle_ends_at > now
    }

    /// What a decision about a request may ask.
    #[must_use]
    pub fn facts(&self) -> SessionFacts {
        SessionFacts {
            sid: self.id,
            started_at: self.started_at,
            authenticated_at: self.authenticated_at,
            second_factor_at: self.second_factor_at,
            method: self.method.name(),
            application: self.application,
            scope: self.scope,
            ends_at: self.ends_at.min(self.idle_ends_at),
        }
    }
}

/// A refresh token as stored.
#[derive(FromRow)]
struct RefreshToken {
    session: Id,
    generation: i64,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    successor: Option<Vec<u8>>,
}

/// What a client gets: an access token, and the refresh token to get the next one.
#[derive(Debug, Clone)]
pub struct Pair {
    pub access: Access,
    pub refresh: Secret<String>,
    pub refresh_expires_at: Timestamp,
}

/// Whether a device was seen before, as far as sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acquaintance {
    /// The account has never logged in.
    First,
    Known,
    New,
}

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
    store::insert(change.tx(), &session).await?;
    if device == Acquaintance::New {
        let event = SessionEvent::NewDevice { account: session.account, session: session.id };
        change.record(event).await?;
    }
    let (account, id, method) = (session.account, session.id, session.method.name());
    change.record(SessionEvent::Started { account, session: id, method }).await?;
    let app = change.app();
    let access = token::mint(&app.keyring(), tokens, &session, login.claims, now, app.random.as_ref())?;
    let refresh = Token::generate(app.random.as_ref());
    // What is only for setting up a second factor is over when its access token is.
    if session.scope != Some(Scope::SecondFactorSetupOnly) {
        store::insert_token(change.tx(), &refresh.digest(), id, 0, now, session.idle_ends_at).await?;
    }
    let refresh = Secret::new(refresh.expose().to_owned());
    let refresh_expires_at = session.idle_ends_at;
    Ok((session, Pair { access, refresh, refresh_expires_at }))
}

/// Notes that a second factor was proved in this session, just now. `false` where it is over.
pub async fn prove(change: &mut Change<'_>, session: &mut Session) -> Result<bool, Error> {
    let now = change.now();
    if store::prove(change.tx(), session.id, now).await? == 0 {
        return Ok(false);
    }
    (session.second_factor_at, session.authenticated_at) = (Some(now), now);
    let (account, session) = (session.account, session.id);
    change.record(FactorEvent::Proved { account, session }).await?;
    Ok(true)
}

/// Forgets that a second factor was proved in any session of the account: it has none any more.
pub async fn unprove(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::unprove(change.tx(), account).await
}

/// Forgets it in the sessions that began with a passkey: one of the account's is gone.
pub async fn unprove_passkeys(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::unprove_by(change.tx(), account, Method::Passkey).await
}

/// Ends one session. `false` where it was over already.
pub async fn end(change: &mut Change<'_>, session: &Session, reason: EndReason) -> Result<bool, Error> {
    end_one(change, session, reason).await
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

async fn end_one(change: &mut Change<'_>, session: &Session, reason: EndReason) -> Result<bool, Error> {
    let now = change.now();
    if store::end(change.tx(), session.id, now).await? == 0 {
        return Ok(false);
    }
    change.record(SessionEvent::Ended { account: session.account, session: session.id, reason }).await?;
    Ok(true)
}

/// Ends every session of an account; how many there were.
pub async fn end_all(change: &mut Change<'_>, account: Id, reason: EndReason) -> Result<u32, Error> {
    let now = change.now();
    let mut ended = 0;
    for session in store::live_of(change.tx(), account, now).await? {
        ended += u32::from(end_one(change, &session, reason).await?);
    }
    Ok(ended)
}

/// Ends every session of an account but this one; how many there were.
pub async fn end_others(
    change: &mut Change<'_>,
    account: Id,
    keep: Id,
    reason: EndReason,
) -> Result<u32, Error> {
    let now = change.now();
    let mut ended = 0;
    for session in store::live_of(change.tx(), account, now).await? {
        if session.id != keep {
            ended += u32::from(end_one(change, &session, reason).await?);
        }
    }
    Ok(ended)
}

/// Logs out of one session. `false` where it was over already.
pub async fn log_out(change: &mut Change<'_>, account: Id, session: Id) -> Result<bool, Error> {
    let now = change.now();
    if store::end(change.tx(), session, now).await? == 0 {
        return Ok(false);
    }
    change.record(SessionEvent::LoggedOut { account, session }).await?;
    Ok(true)
}

/// Logs out everywhere; from how many sessions.
pub async fn log_out_everywhere(change: &mut Change<'_>, account: Id) -> Result<u32, Error> {
    let sessions = end_all(change, account, EndReason::LoggedOutEverywhere).await?;
    change.record(SessionEvent::LoggedOutEverywhere { account, sessions }).await?;
    Ok(sessions)
}

/// The session to which a refresh token belongs, whatever has become of either.
pub async fn of_refresh_token(mut src: impl Source, token: &str) -> Result<Option<Session>, Error> {
    match store::token(&mut src, &TokenDigest::of(token)).await? {
        Some(token) => store::by_id(&mut src, token.session).await,
        None => Ok(None),
    }
}

/// A session, dead or alive.
pub async fn by_id(src: impl Source, id: Id) -> Result<Option<Session>, Error> {
    store::by_id(src, id).await
}

/// The live sessions of an account, the oldest first.
pub async fn live_of(src: impl Source, account: Id, now: Timestamp) -> Result<Vec<Session>, Error> {
    store::live_of(src, account, now).await
}

/// Ends an account's sessions when something about the account asks for it.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        match event {
            Event::Account(event) => {
                if let Some((account, reason)) = ends_sessions(event) {
                    end_all(change, account, reason).await?;
                }
            }
            // However many there are: the event says what became of them, and of which application.
            Event::Application(ApplicationEvent::Deleted { application, .. }) => {
                let now = change.now();
                store::end_of_application(change.tx(), *application, now).await?;
            }
            _ => {}
        }
        Ok(())
    })
}

const fn ends_sessions(event: &AccountEvent) -> Option<(Id, EndReason)> {
    match event {
        AccountEvent::PasswordChanged { account, .. } => Some((*account, EndReason::PasswordChanged)),
        AccountEvent::Deactivated { account } => Some((*account, EndReason::AccountDeactivated)),
        AccountEvent::Banned { account } => Some((*account, EndReason::AccountBanned)),
        // A lock by a rule only closes the door to passwords: whoever guesses at them from outside
        // must not be able to throw the owner out.
        AccountEvent::Locked { account: Some(account), how: How::Administrator, .. } => {
            Some((*account, EndReason::AccountLocked))
        }
        _ => None,
    }
}

/// Removes sessions that have been over for [`KEPT_FOR`]; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(KEPT_FOR)).await?;
    store::forget_tickets(&mut tx, app.now()).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Whether a ticket still opens something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    Good,
    UsedBefore,
}

/// Uses up the ticket of a session, which nobody can show any more after `ends_at`. Of all uses, on
/// all replicas and across restarts, one is the first.
pub async fn use_ticket(db: &Db, ticket: Id, ends_at: Timestamp) -> Result<Ticket, Error> {
    let mut tx = db.begin().await?;
    match store::use_ticket(&mut tx, ticket, ends_at.plus(TICKET_KEPT_FOR)).await {
        Ok(()) => tx.commit().await.map(|()| Ticket::Good),
        Err(Error::Conflict(_)) => Ok(Ticket::UsedBefore),
        Err(error) => Err(error),
    }
}
