//! Sessions: one login on one device, and the refresh family that belongs to it.
//!
//! Law: a session starts, is refreshed and ends in changes, each decided by a conditional write.
//! Starting takes the account's row first, so that limits hold however many logins come at once.
//! What ends an account's sessions without asking for it here (a new password, a lock) does so
//! through [`react`], in the same transaction.

mod device;
mod list;
mod page;
mod rotate;
mod start;
mod store;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::app::{App, Change};
use crate::audit::{AccountEvent, ApplicationEvent, EndReason, Event, FactorEvent, How, SessionEvent};
use crate::base::{Id, Secret, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::principal::{Scope, SessionFacts};
use crate::store::{Db, Error, FromRow, Source};

pub use device::{Device, MAX_LEN as MAX_DEVICE_LEN, Refused as DeviceRefused};
pub use list::{Listed, Row, ended_running, ended_since, list, list_ended, listed, live};
pub use page::{PageSession, page_cookie, read_page_cookie};
pub use rotate::{RefreshError, Refreshed, Request as RefreshRequest, Use, refresh};
pub use start::{Login, StartError, is_kept, keep, renew, start};
pub use token::{Access, Claims, NoKey, read as read_access};

/// How far the clocks of replicas may be apart before a used ticket opens something again.
const TICKET_KEPT_FOR: Duration = Duration::from_hours(1);

/// Why a session ended whose person logged out of it.
const LOGGED_OUT: &str = "logged_out";

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
    /// A provider of identities.
    Social,
    /// A directory that took their password.
    Directory,
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
            Self::Social => "social",
            Self::Directory => "ldap",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Password, Self::Code, Self::Link, Self::Passkey, Self::Social, Self::Directory];
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

async fn end_one(change: &mut Change<'_>, session: &Session, reason: EndReason) -> Result<bool, Error> {
    let now = change.now();
    if store::end(change.tx(), session.id, reason.name(), now).await? == 0 {
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
    if store::end(change.tx(), session, LOGGED_OUT, now).await? == 0 {
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
            // One that was switched off begins anew when it is switched on.
            Event::Application(
                ApplicationEvent::Deleted { application, .. } | ApplicationEvent::Disabled { application },
            ) => {
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
        AccountEvent::Banned { account, .. } => Some((*account, EndReason::AccountBanned)),
        AccountEvent::Deleted { account, .. } => Some((*account, EndReason::AccountDeleted)),
        // A lock by a rule only closes the door to passwords: whoever guesses at them from outside
        // must not be able to throw the owner out.
        AccountEvent::Locked { account: Some(account), how: How::Administrator, .. } => {
            Some((*account, EndReason::AccountLocked))
        }
        _ => None,
    }
}

/// Removes everything about the sessions of an account that is gone.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// Every session of an account that is still known, the oldest first.
pub async fn all_of(src: impl Source, account: Id) -> Result<Vec<Session>, Error> {
    store::all_of(src, account).await
}

/// Removes some of the sessions that have been over for `retention.sessions`; how many rows.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.sessions), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Forgets some of the tickets that nobody can show any more; how many.
pub async fn sweep_tickets(app: &App) -> Result<u64, Error> {
    let mut tx = app.db.begin().await?;
    let gone = store::forget_tickets(&mut tx, app.now(), app.config().retention.batch).await?;
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
