//! Logging in with a password that a directory takes.
//!
//! Law: the order is attempt, directory, account. Every try is counted by the user name before the
//! directory hears of it, so that nobody guesses there what they could not guess here. What the directory
//! says stands for the password alone, and goes on as every identity does that others vouch for.

use std::net::IpAddr;
use std::sync::Arc;

use super::by_password::{Entered, Refused as Login, Visit};
use super::by_social::{self, Guest, Voucher};
use super::lockout::{Attempt, Door, Knock, knock, note_failure};
use crate::app::App;
use crate::audit::{Actor, LoginFailure};
use crate::base::Secret;
use crate::directory::{self, Directory, Failed, UserName};
use crate::factor::Code;
use crate::metrics::{Dependency, LoginMethod, LoginResult};
use crate::session::{Device, Method};
use crate::social::Identity;
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
    let (directory, attempt, identity) = match prove(app, &user, &password, &visit).await {
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
            attempt.succeeded(&mut tx).await?;
            tx.commit().await?;
            Ok(arrived.entered)
        }
        Err(refused) => {
            // The password was right: no wrong guess, whatever comes of it.
            attempt.withdraw(app).await?;
            Err(refused.into())
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

/// Whose password it is, as the directory says; with the attempt that was taken for it.
pub(super) async fn prove(
    app: &App,
    user: &UserName,
    password: &Secret<String>,
    visit: &Visit,
) -> Result<(Arc<Directory>, Attempt, Identity), Refused> {
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
    match directory.who(user, password, app.new_id()).await {
        Ok(identity) => Ok((directory, attempt, identity)),
        Err(Failed::Wrong) => {
            let reason = LoginFailure::WrongPassword;
            note_failure(app, visit.actor.clone(), None, visit.method, reason, &[&attempt]).await?;
            Err(Refused::Login(Login::Wrong))
        }
        Err(Failed::Unanswered) => {
            // It counts: else whoever guesses is told nothing by wrong ones and let in by the right one.
            let reason = LoginFailure::IdentityRefused;
            note_failure(app, visit.actor.clone(), None, visit.method, reason, &[&attempt]).await?;
            Err(silent(app, Failed::Unanswered))
        }
        Err(failed) => {
            attempt.withdraw(app).await?;
            Err(silent(app, failed))
        }
    }
}

fn silent(app: &App, failed: Failed) -> Refused {
    app.metrics.unavailable(Dependency::Directory);
    match failed {
        Failed::Busy => Refused::Login(Login::Overloaded),
        Failed::Wrong | Failed::Unanswered | Failed::Unavailable(_) => Refused::Unavailable,
    }
}
