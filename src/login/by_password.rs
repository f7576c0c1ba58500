//! Logging in with a password.
//!
//! Law: the order is attempt, hash, verdict. Every request that is judged costs one attempt, one
//! read and one hash of the same price, whether or not the account exists.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::lockout::{Attempt, Door, Knock, knock, note_failure};
use super::second::{self, Trial};
use super::{Rights, claims_of, rights_of};
use crate::account::{self, Account, PasswordHash, Reference, Standing};
use crate::app::{App, Change};
use crate::audit::{Actor, LoginFailure, SessionEvent};
use crate::base::{Email, Id, Phone, Secret, Timestamp};
use crate::config::Config;
use crate::crypto::password::{Match, Overloaded};
use crate::factor::{self, Accepted, Code};
use crate::metrics::{LoginMethod, LoginResult};
use crate::session::{self, Device, Method, Pair, Session, StartError};
use crate::store::{Error, Tx};

/// By what somebody says who they are.
#[derive(Debug, Clone)]
pub enum Identifier {
    Email(Email),
    Phone(Phone),
}

impl Identifier {
    pub(super) fn door(&self, site: Id) -> Door {
        match self {
            Self::Email(email) => Door::email(site, email),
            Self::Phone(phone) => Door::phone(site, phone),
        }
    }

    pub(super) fn reference(&self) -> Reference {
        match self {
            Self::Email(email) => Reference::Email(email.clone()),
            Self::Phone(phone) => Reference::Phone(phone.clone()),
        }
    }

    const fn method(&self) -> LoginMethod {
        match self {
            Self::Email(_) => LoginMethod::Email,
            Self::Phone(_) => LoginMethod::Phone,
        }
    }
}

/// Somebody at the door.
#[derive(Debug)]
pub struct Visitor {
    pub identifier: Identifier,
    pub password: Secret<String>,
    /// Of the second factor; not looked at where the account has none.
    pub code: Option<Code>,
    pub device: Device,
    pub address: IpAddr,
    pub actor: Actor,
}

/// Somebody who is in.
#[derive(Debug)]
pub struct Entered {
    pub account: Account,
    pub(super) rights: Rights,
    pub session: Session,
    pub(super) pair: Pair,
}

/// Why somebody is not.
#[derive(Debug)]
pub enum Refused {
    /// Unknown identifier or wrong password: which of them is nobody's business.
    Wrong,
    /// Too many attempts, or an administrator's lock; without an end until it is lifted.
    Locked {
        until: Option<Timestamp>,
    },
    Inactive,
    Banned,
    /// The password was right, and a second factor is asked for.
    SecondFactorNeeded,
    /// The password was right, and the code was not, or was used before.
    SecondFactorWrong,
    SessionLimit,
    DeviceLimit,
    Overloaded,
    NoKey,
    Store(Error),
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<Overloaded> for Refused {
    fn from(Overloaded: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<StartError> for Refused {
    fn from(error: StartError) -> Self {
        match error {
            // What was right a moment ago is not any more: the next attempt will be told why.
            StartError::Refused => Self::Wrong,
            StartError::SessionLimit => Self::SessionLimit,
            StartError::DeviceLimit => Self::DeviceLimit,
            StartError::NoKey => Self::NoKey,
            StartError::Store(cause) => Self::Store(cause),
        }
    }
}

impl Refused {
    const fn result(&self) -> LoginResult {
        match self {
            Self::Wrong => LoginResult::BadCredentials,
            Self::Locked { .. } => LoginResult::Locked,
            Self::SecondFactorNeeded | Self::SecondFactorWrong => LoginResult::SecondFactor,
            Self::Inactive | Self::Banned | Self::SessionLimit | Self::DeviceLimit => LoginResult::Refused,
            Self::Overloaded => LoginResult::Overloaded,
            Self::NoKey | Self::Store(_) => LoginResult::Unavailable,
        }
    }
}

/// Lets somebody in, or not.
pub async fn log_in(app: &App, visitor: Visitor) -> Result<Entered, Refused> {
    let method = visitor.identifier.method();
    let outcome = judge(app, visitor).await;
    let result = outcome.as_ref().map_or_else(Refused::result, |_| LoginResult::Success);
    app.metrics.login(method, result);
    outcome
}

async fn judge(app: &App, visitor: Visitor) -> Result<Entered, Refused> {
    let config = app.config();
    let site = visitor.actor.site;
    let door = visitor.identifier.door(site);
    let attempt = match knock(app, &config.accounts.lockout, door).await? {
        Knock::Admitted(attempt) => attempt,
        Knock::Locked { until } => return Err(Refused::Locked { until: Some(until) }),
    };
    let account = account::find(&app.db, site, &visitor.identifier.reference()).await?;
    let verdict = match account.as_ref().and_then(|account| account.password_hash.as_ref()) {
        Some(hash) => app.hasher.verify(hash.expose(), visitor.password.clone()).await,
        None => app.hasher.dummy(visitor.password.clone()).await.map(|()| Match::No),
    };
    let Ok(verdict) = verdict else {
        attempt.withdraw(app).await?;
        return Err(Refused::Overloaded);
    };
    match account {
        Some(account) if verdict != Match::No => {
            let asked = match standing(app, &account) {
                Ok(()) => second::ask(app, &account, visitor.code.as_ref()).await,
                Err(refused) => Err(refused),
            };
            match asked {
                Ok(trial) => enter(app, &config, visitor, account, verdict, Tries { attempt, trial }).await,
                Err(refused) => {
                    attempt.withdraw(app).await?;
                    note_refusal(app, &visitor, &account, &refused).await?;
                    Err(refused)
                }
            }
        }
        account => {
            let reason = match account {
                Some(_) => LoginFailure::WrongPassword,
                None => LoginFailure::UnknownIdentifier,
            };
            note_failure(app, visitor.actor, account.map(|account| account.id), reason, &[&attempt]).await?;
            Err(Refused::Wrong)
        }
    }
}

fn standing(app: &App, account: &Account) -> Result<(), Refused> {
    match account.standing(app.now()) {
        Standing::Good => Ok(()),
        Standing::Inactive => Err(Refused::Inactive),
        Standing::Banned => Err(Refused::Banned),
        Standing::Locked { until } => Err(Refused::Locked { until }),
    }
}

/// What this login has taken at the doors.
struct Tries {
    attempt: Attempt,
    trial: Option<Trial>,
}

impl Tries {
    async fn succeeded(&self, tx: &mut Tx) -> Result<(), Error> {
        self.attempt.succeeded(tx).await?;
        match &self.trial {
            Some(trial) => trial.attempt.succeeded(tx).await,
            None => Ok(()),
        }
    }

    async fn withdraw(self, app: &App) -> Result<(), Error> {
        self.attempt.withdraw(app).await?;
        match self.trial {
            Some(trial) => trial.attempt.withdraw(app).await,
            None => Ok(()),
        }
    }

    /// The code was wrong: both doors keep the attempt.
    async fn failed(&self, app: &App, actor: Actor, account: Id) -> Result<(), Error> {
        let attempts: Vec<&Attempt> = [Some(&self.attempt), self.trial.as_ref().map(|trial| &trial.attempt)]
            .into_iter()
            .flatten()
            .collect();
        note_failure(app, actor, Some(account), LoginFailure::WrongSecondFactor, &attempts).await
    }
}

async fn enter(
    app: &App,
    config: &Config,
    visitor: Visitor,
    mut account: Account,
    verdict: Match,
    tries: Tries,
) -> Result<Entered, Refused> {
    // A better hash can wait for the next login if the hasher is busy now.
    let better = match verdict {
        Match::YesButRehash => app.hasher.hash(visitor.password.clone()).await.ok(),
        Match::Yes | Match::No => None,
    };
    let rights = rights_of(app, &account).await?;
    let claims = claims_of(app, &account, &rights).await?;
    let mut change = app.change(visitor.actor.clone()).await?;
    let started = start(&mut change, config, &account, &visitor, tries.trial.as_ref(), claims).await;
    let (session, pair) = match started {
        Ok(started) => started,
        Err(Refused::SecondFactorWrong) => {
            drop(change);
            tries.failed(app, visitor.actor, account.id).await?;
            return Err(Refused::SecondFactorWrong);
        }
        Err(refused) => {
            drop(change);
            tries.withdraw(app).await?;
            note_refusal(app, &visitor, &account, &refused).await?;
            return Err(refused);
        }
    };
    tries.succeeded(change.tx()).await?;
    if let (Some(was), Some(better)) = (&account.password_hash, better) {
        account::rehash(&mut change, account.id, was, &PasswordHash::new(better)).await?;
    }
    change.commit().await?;
    account.last_login_at = Some(session.started_at);
    Ok(Entered { account, rights, session, pair })
}

async fn start(
    change: &mut Change<'_>,
    config: &Config,
    account: &Account,
    visitor: &Visitor,
    trial: Option<&Trial>,
    claims: Map<String, Value>,
) -> Result<(Session, Pair), Refused> {
    if let Some(trial) = trial {
        // The account's row first, as everywhere.
        if !account::hold(change, account.id).await? {
            return Err(Refused::Wrong);
        }
        if !factor::spend(change, account.id, &trial.code, Accepted::Any).await? {
            return Err(Refused::SecondFactorWrong);
        }
    }
    let login = session::Login {
        account,
        application: visitor.actor.application,
        device: &visitor.device,
        address: Some(visitor.address),
        method: Method::Password,
        scope: second::scope_of(config, account),
        claims,
    };
    let (mut session, pair) = session::start(change, &config.sessions, &config.tokens, login).await?;
    if trial.is_some() {
        session::prove(change, &mut session).await?;
    }
    Ok((session, pair))
}

/// Records that somebody with the right password was not let in.
async fn note_refusal(app: &App, visitor: &Visitor, account: &Account, why: &Refused) -> Result<(), Error> {
    let door = visitor.identifier.door(account.site);
    let reason = match why {
        Refused::Locked { .. } => LoginFailure::Locked,
        Refused::Inactive | Refused::Banned => LoginFailure::Inactive,
        Refused::SessionLimit => LoginFailure::SessionLimit,
        Refused::DeviceLimit => LoginFailure::DeviceLimit,
        // What is asked for after the password is the other half of one login.
        Refused::SecondFactorNeeded
        | Refused::SecondFactorWrong
        | Refused::Wrong
        | Refused::Overloaded
        | Refused::NoKey
        | Refused::Store(_) => return Ok(()),
    };
    let mut change = app.change(visitor.actor.clone()).await?;
    change.record(failed(Some(account.id), door.digest(), reason)).await?;
    match why {
        Refused::SessionLimit => {
            change.record(SessionEvent::SessionLimitReached { account: account.id }).await?;
        }
        Refused::DeviceLimit => {
            change.record(SessionEvent::DeviceLimitReached { account: account.id }).await?;
        }
        _ => {}
    }
    change.commit().await
}

fn failed(account: Option<Id>, digest: &str, reason: LoginFailure) -> SessionEvent {
    let (identifier_digest, method) = (digest.to_owned(), Method::Password.name());
    SessionEvent::LoginFailed { account, identifier_digest, method, reason }
}
