//! Logging in with a password.
//!
//! Law: the order is attempt, hash, verdict. Every request that is judged costs one attempt, one
//! read and one hash of the same price, whether or not the account exists.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::lockout::{Attempt, Door, Knock, knock, note_failure};
use super::second::{self, Trial};
use super::{Rights, Spelling, claims_of, rights_of};
use crate::account::{self, Account, PasswordHash, Reference, Standing};
use crate::app::{App, Change};
use crate::audit::{Actor, LoginFailure, SessionEvent};
use crate::base::{Email, Id, Phone, Secret, Timestamp};
use crate::crypto::password::{Match, Overloaded};
use crate::factor::{self, Accepted, Code};
use crate::metrics::{LoginMethod, LoginResult};
use crate::policy::Assignments;
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

/// From where and by what somebody comes in, whoever they are.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) method: Method,
    pub(super) device: Device,
    pub(super) address: IpAddr,
    pub(super) actor: Actor,
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
    pub pair: Pair,
}

impl Entered {
    /// What the account was granted when it came in.
    #[must_use]
    pub const fn granted(&self) -> &Assignments {
        &self.rights.granted
    }
}

/// What becomes of a refresh token when it is used.
#[derive(Debug, Clone, Copy)]
enum Lasting {
    /// As the configuration says.
    Rotated,
    /// It stays the same, and access tokens tell of their person in other words.
    Kept(Spelling),
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
    /// What the metrics count.
    pub(super) fn result_of(outcome: &Result<Entered, Self>) -> LoginResult {
        outcome.as_ref().map_or_else(Self::result, |_| LoginResult::Success)
    }

    pub(super) const fn result(&self) -> LoginResult {
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
    let_in(app, visitor, Lasting::Rotated).await
}

/// The same for a client of another system, which never looks for another refresh token: the one that it gets
/// stays the same.
pub async fn log_in_kept(app: &App, visitor: Visitor, spelling: Spelling) -> Result<Entered, Refused> {
    let_in(app, visitor, Lasting::Kept(spelling)).await
}

async fn let_in(app: &App, visitor: Visitor, lasting: Lasting) -> Result<Entered, Refused> {
    let method = visitor.identifier.method();
    let outcome = judge(app, visitor, lasting).await;
    app.metrics.login(method, Refused::result_of(&outcome));
    outcome
}

async fn judge(app: &App, visitor: Visitor, lasting: Lasting) -> Result<Entered, Refused> {
    let Visitor { identifier, password, code, device, address, actor } = visitor;
    let visit = Visit { method: Method::Password, device, address, actor };
    let (config, site) = (app.config(), visit.actor.site);
    let door = identifier.door(site);
    let digest = door.digest().to_owned();
    let attempt = match knock(app, &config.accounts.lockout, door).await? {
        Knock::Admitted(attempt) => attempt,
        Knock::Locked { until } => return Err(Refused::Locked { until: Some(until) }),
    };
    let account = account::find(&app.db, site, &identifier.reference()).await?;
    let verdict = match account.as_ref().and_then(|account| account.password_hash.as_ref()) {
        Some(hash) => app.hasher.verify(hash.expose(), password.clone()).await,
        None => app.hasher.dummy(password.clone()).await.map(|()| Match::No),
    };
    let Ok(verdict) = verdict else {
        attempt.withdraw(app).await?;
        return Err(Refused::Overloaded);
    };
    match account {
        Some(account) if verdict != Match::No => {
            let asked = match standing(app, &account) {
                Ok(()) => second::ask(app, &account, code.as_ref()).await,
                Err(refused) => Err(refused),
            };
            match asked {
                Ok(trial) => {
                    let better = match verdict {
                        // A better hash can wait for the next login if the hasher is busy now.
                        Match::YesButRehash => app.hasher.hash(password).await.ok(),
                        Match::Yes | Match::No => None,
                    };
                    enter(app, &visit, account, better, Tries { attempt, trial, lasting }).await
                }
                Err(refused) => {
                    attempt.withdraw(app).await?;
                    note_refusal(app, &visit, &digest, &account, &refused).await?;
                    Err(refused)
                }
            }
        }
        account => {
            let reason = match account {
                Some(_) => LoginFailure::WrongPassword,
                None => LoginFailure::UnknownIdentifier,
            };
            let id = account.map(|account| account.id);
            note_failure(app, visit.actor, id, visit.method, reason, &[&attempt]).await?;
            Err(Refused::Wrong)
        }
    }
}

pub(super) fn standing(app: &App, account: &Account) -> Result<(), Refused> {
    match account.standing(app.now()) {
        Standing::Good => Ok(()),
        Standing::Inactive | Standing::Deleted => Err(Refused::Inactive),
        Standing::Banned => Err(Refused::Banned),
        Standing::Locked { until } => Err(Refused::Locked { until }),
    }
}

/// What this login has taken at the doors.
struct Tries {
    attempt: Attempt,
    trial: Option<Trial>,
    lasting: Lasting,
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
    async fn failed(&self, app: &App, visit: &Visit, account: Id) -> Result<(), Error> {
        let attempts: Vec<&Attempt> = [Some(&self.attempt), self.trial.as_ref().map(|trial| &trial.attempt)]
            .into_iter()
            .flatten()
            .collect();
        let (id, reason) = (Some(account), LoginFailure::WrongSecondFactor);
        note_failure(app, visit.actor.clone(), id, visit.method, reason, &attempts).await
    }
}

async fn enter(
    app: &App,
    visit: &Visit,
    mut account: Account,
    better: Option<String>,
    tries: Tries,
) -> Result<Entered, Refused> {
    let rights = rights_of(app, &account).await?;
    let mut claims = claims_of(app, &account, &rights).await?;
    // Who comes in for one step alone is told of no rights that this does not open.
    if let Lasting::Kept(spelling) = tries.lasting
        && second::scope_of(&app.config(), &account).is_none()
    {
        claims.extend(spelling(&account, &rights.granted.roles, &rights.permissions));
    }
    let mut change = app.change(visit.actor.clone()).await?;
    let (session, pair) = match open(&mut change, &account, visit, tries.trial.as_ref(), claims).await {
        Ok(opened) => opened,
        Err(Refused::SecondFactorWrong) => {
            drop(change);
            tries.failed(app, visit, account.id).await?;
            return Err(Refused::SecondFactorWrong);
        }
        Err(refused) => {
            drop(change);
            let digest = tries.attempt.digest().to_owned();
            tries.withdraw(app).await?;
            note_refusal(app, visit, &digest, &account, &refused).await?;
            return Err(refused);
        }
    };
    let pair = match tries.lasting {
        Lasting::Rotated => pair,
        Lasting::Kept(_) => session::keep(&mut change, &session, pair).await?,
    };
    tries.succeeded(change.tx()).await?;
    if let (Some(was), Some(better)) = (&account.password_hash, better) {
        account::rehash(&mut change, account.id, was, &PasswordHash::new(better)).await?;
    }
    change.commit().await?;
    account.last_login_at = Some(session.started_at);
    Ok(Entered { account, rights, session, pair })
}

/// Starts the session of somebody whose first factor was right, using up the code of the second
/// where one was asked for.
pub(super) async fn open(
    change: &mut Change<'_>,
    account: &Account,
    visit: &Visit,
    trial: Option<&Trial>,
    claims: Map<String, Value>,
) -> Result<(Session, Pair), Refused> {
    let config = change.app().config();
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
        application: visit.actor.application,
        device: &visit.device,
        address: Some(visit.address),
        method: visit.method,
        scope: second::scope_of(&config, account),
        claims,
    };
    let (mut session, pair) = session::start(change, &config.sessions, &config.tokens, login).await?;
    if trial.is_some() {
        session::prove(change, &mut session).await?;
    }
    Ok((session, pair))
}

/// Records that somebody whose first factor was right was not let in; `digest` names the door.
pub(super) async fn note_refusal(
    app: &App,
    visit: &Visit,
    digest: &str,
    account: &Account,
    why: &Refused,
) -> Result<(), Error> {
    let reason = match why {
        Refused::Locked { .. } => LoginFailure::Locked,
        Refused::Inactive | Refused::Banned => LoginFailure::Inactive,
        Refused::SessionLimit => LoginFailure::SessionLimit,
        Refused::DeviceLimit => LoginFailure::DeviceLimit,
        // Not counted: it is the other half of one login. But somebody knows the password.
        Refused::SecondFactorNeeded => LoginFailure::SecondFactorNeeded,
        Refused::SecondFactorWrong
        | Refused::Wrong
        | Refused::Overloaded
        | Refused::NoKey
        | Refused::Store(_) => return Ok(()),
    };
    let mut change = app.change(visit.actor.clone()).await?;
    let (account, identifier_digest, method) = (account.id, digest.to_owned(), visit.method.name());
    let event = SessionEvent::LoginFailed { account: Some(account), identifier_digest, method, reason };
    change.record(event).await?;
    match why {
        Refused::SessionLimit => {
            change.record(SessionEvent::SessionLimitReached { account }).await?;
        }
        Refused::DeviceLimit => {
            change.record(SessionEvent::DeviceLimitReached { account }).await?;
        }
        _ => {}
    }
    change.commit().await
}
