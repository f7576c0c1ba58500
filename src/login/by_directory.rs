//! Logging in with a password that a directory takes.
//!
//! Law: the order is attempt, directory, account. Every try is counted by the user name before the
//! directory hears of it, and by the person before the directory is shown the password, so that nobody
//! guesses there what they could not guess here, by however many names. What the directory
//! says stands for the password alone, and goes on as every identity does that others vouch for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::by_password::{Entered, Refused as Login, Visit};
use super::by_social::{self, Guest, Voucher};
use super::lockout::{Attempt, Door, Knock, knock, note_failure};
use crate::app::App;
use crate::audit::{Actor, LoginFailure};
use crate::base::{Id, Secret};
use crate::directory::{self, Directory, Doorman, Failed, UserName};
use crate::factor::Code;
use crate::metrics::{Dependency, LoginMethod, LoginResult};
use crate::session::{Device, Method};
use crate::social::{self, Identity};
use crate::store::Error;

/// Somebody with a password of the directory.
#[derive(Debug)]
pub struct Member {
    pub user: UserName,
    pub password: Secret<String>,
    /// Of the second factor; not looked at where the account has none.
    pub code: Option<Code>,
}

/// Why somebody is not let in.
#[derive(Debug)]
pub enum Refused {
    /// As every login may be refused.
    Login(Login),
    /// The configuration names no directory.
    NoDirectory,
    /// The directory gives no answer.
    Unavailable,
    /// An account has this e-mail address, and the two are not known to be one.
    Exists,
    /// Nobody gets an account by a login.
    Closed,
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Login(cause.into())
    }
}

impl From<by_social::Refused> for Refused {
    fn from(refused: by_social::Refused) -> Self {
        match refused {
            by_social::Refused::Login(refused) => Self::Login(refused),
            by_social::Refused::CodeNeeded(_) => Self::Login(Login::SecondFactorNeeded),
            by_social::Refused::Exists => Self::Exists,
            by_social::Refused::Unverified | by_social::Refused::Closed => Self::Closed,
        }
    }
}

/// Lets somebody in on our pages, or not.
pub async fn log_in_with_directory(
    app: &App,
    member: Member,
    device: Device,
    address: IpAddr,
    actor: Actor,
) -> Result<Entered, Refused> {
    log_in(app, member, Visit { method: Method::Directory, device, address, actor }).await
}

/// Lets somebody in, or not.
pub(super) async fn log_in(app: &App, member: Member, visit: Visit) -> Result<Entered, Refused> {
    let Member { user, password, code } = member;
    let (directory, attempts, identity) = match prove(app, &user, &password, &visit).await {
        Ok(proved) => proved,
        Err(refused) => {
            app.metrics.login(LoginMethod::Directory, result(&refused));
            return Err(refused);
        }
    };
    let settings = directory.settings();
    let voucher = Voucher {
        name: directory::NAME.to_owned(),
        link: settings.link,
        newcomers: settings.newcomers,
        way: LoginMethod::Directory,
    };
    let guest = Guest { voucher, identity, code, pending: None, next: String::new() };
    match by_social::log_in(app, guest, visit).await {
        Ok(arrived) => {
            let mut tx = app.db.begin().await?;
            for attempt in &attempts {
                attempt.succeeded(&mut tx).await?;
            }
            tx.commit().await?;
            Ok(arrived.entered)
        }
        Err(refused) => {
            // The password was right: no wrong guess, whatever comes of it.
            withdraw(app, attempts).await?;
            Err(refused.into())
        }
    }
}

/// Holds nothing of them against anybody.
pub(super) async fn withdraw(app: &App, attempts: Vec<Attempt>) -> Result<(), Error> {
    for attempt in attempts {
        attempt.withdraw(app).await?;
    }
    Ok(())
}

/// Counts the tries of one login by the person.
struct Counting<'a> {
    app: &'a App,
    site: Id,
    seen: Mutex<Seen>,
}

/// Who was tried, and what came of asking whether they may be.
#[derive(Default)]
struct Seen {
    person: Option<(String, String)>,
    attempt: Option<Attempt>,
    fault: Option<Error>,
}

impl Counting<'_> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Doorman for Counting<'_> {
    async fn admits(&self, issuer: &str, subject: &str) -> Result<bool, Failed> {
        let person = Some((issuer.to_owned(), subject.to_owned()));
        if self.seen().person == person {
            return Ok(self.seen().attempt.is_some());
        }
        let door = Door::person(self.site, issuer, subject);
        let knocked = knock(self.app, &self.app.config().accounts.lockout, door).await;
        let mut seen = self.seen();
        seen.person = person;
        match knocked {
            Ok(Knock::Admitted(attempt)) => {
                seen.attempt = Some(attempt);
                Ok(true)
            }
            Ok(Knock::Locked { .. }) => Ok(false),
            Err(fault) => {
                seen.fault = Some(fault);
                Err(Failed::Busy)
            }
        }
    }
}

const fn result(refused: &Refused) -> LoginResult {
    match refused {
        Refused::Login(refused) => refused.result(),
        Refused::NoDirectory | Refused::Unavailable => LoginResult::Unavailable,
        Refused::Exists | Refused::Closed => LoginResult::Refused,
    }
}

/// Whose password it is, as the directory says; with the attempts that were taken for it.
pub(super) async fn prove(
    app: &App,
    user: &UserName,
    password: &Secret<String>,
    visit: &Visit,
) -> Result<(Arc<Directory>, Vec<Attempt>, Identity), Refused> {
    let directory = match directory::directory(app) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Err(Refused::NoDirectory),
        Err(failed) => return Err(silent(app, failed)),
    };
    let door = Door::directory(visit.actor.site, user);
    let attempt = match knock(app, &app.config().accounts.lockout, door).await? {
        Knock::Admitted(attempt) => attempt,
        Knock::Locked { until } => return Err(Refused::Login(Login::Locked { until: Some(until) })),
    };
    let counting = Counting { app, site: visit.actor.site, seen: Mutex::default() };
    let outcome = directory.who(user, password, app.new_id(), &counting).await;
    let seen = std::mem::take(&mut *counting.seen());
    let attempts: Vec<Attempt> = [Some(attempt), seen.attempt].into_iter().flatten().collect();
    if let Some(fault) = seen.fault {
        withdraw(app, attempts).await?;
        return Err(fault.into());
    }
    match outcome {
        Ok(identity) => Ok((directory, attempts, identity)),
        Err(Failed::Wrong) => {
            note(app, visit, seen.person, LoginFailure::WrongPassword, &attempts).await?;
            Err(Refused::Login(Login::Wrong))
        }
        Err(Failed::Unanswered) => {
            // It counts: else whoever guesses is told nothing by wrong ones and let in by the right one.
            note(app, visit, seen.person, LoginFailure::IdentityRefused, &attempts).await?;
            Err(silent(app, Failed::Unanswered))
        }
        Err(failed) => {
            withdraw(app, attempts).await?;
            Err(silent(app, failed))
        }
    }
}

/// Records a failure, as one of the account where the directory's person has one: it is forgotten with it.
async fn note(
    app: &App,
    visit: &Visit,
    person: Option<(String, String)>,
    reason: LoginFailure,
    attempts: &[Attempt],
) -> Result<(), Error> {
    let account = match person {
        Some((issuer, subject)) => social::find(&app.db, visit.actor.site, &issuer, &subject).await?,
        None => None,
    };
    let account = account.map(|connection| connection.account);
    let attempts: Vec<&Attempt> = attempts.iter().collect();
    note_failure(app, visit.actor.clone(), account, visit.method, reason, &attempts).await
}

fn silent(app: &App, failed: Failed) -> Refused {
    app.metrics.unavailable(Dependency::Directory);
    match failed {
        Failed::Busy => Refused::Login(Login::Overloaded),
        Failed::Wrong | Failed::Unanswered | Failed::Unavailable(_) => Refused::Unavailable,
    }
}
