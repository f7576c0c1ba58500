//! Logging in with a password that a directory takes.
//!
//! Law: the order is attempt, directory, account. Every try is counted by the user name before the
//! directory hears of it, and by the person before the directory is shown the password, so that nobody
//! guesses there what they could not guess here, by however many names. What the directory
//! says stands for the password alone, and goes on as every identity does that others vouch for.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, oneshot};

use super::by_password::{Entered, Refused as Login, Visit};
use super::by_social::{self, Guest, Voucher};
use super::lockout::{Attempt, Door, Knock, knock, knock_apart, note_failure};
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
    user: &'a UserName,
    tried: Mutex<Tried>,
}

type Person = (String, String);

/// Who was tried, and what came of asking whether they may be.
#[derive(Default)]
struct Tried {
    /// An attempt that is being taken, whoever waits for it.
    knock: Option<(Person, oneshot::Receiver<Result<Knock, Error>>)>,
    /// One answer for each; servers that disagree may name several.
    answers: Vec<(Person, bool)>,
    attempts: Vec<Attempt>,
    fault: Option<Error>,
}

impl Tried {
    /// Waits for what was begun.
    async fn settle(&mut self) {
        // Kept while it is waited for: who waits may be gone before the end.
        let Some((_, knock)) = &mut self.knock else { return };
        let knocked = knock.await.unwrap_or(Err(Error::Busy));
        let Some((person, _)) = self.knock.take() else { return };
        match knocked {
            Ok(Knock::Admitted(attempt)) => {
                self.attempts.push(attempt);
                self.answers.push((person, true));
            }
            Ok(Knock::Locked { .. }) => self.answers.push((person, false)),
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn answer(&self, person: &Person) -> Option<bool> {
        self.answers.iter().find(|(known, _)| known == person).map(|(_, is_admitted)| *is_admitted)
    }
}

#[async_trait]
impl Doorman for Counting<'_> {
    async fn admits(&self, issuer: &str, subject: Option<&str>) -> Result<bool, Failed> {
        // Nobody's subject has a blank in it.
        let subject = subject.map_or_else(|| format!("nobody {}", self.user.as_str()), str::to_owned);
        let person = (issuer.to_owned(), subject);
        let mut tried = self.tried.lock().await;
        tried.settle().await;
        if tried.fault.is_none() && tried.answer(&person).is_none() {
            let door = Door::person(self.site, &person.0, &person.1);
            let knock = knock_apart(self.app, &self.app.config().accounts.lockout, door);
            tried.knock = Some((person.clone(), knock));
            tried.settle().await;
        }
        tried.answer(&person).filter(|_| tried.fault.is_none()).ok_or(Failed::Busy)
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
    let counting = Counting { app, site: visit.actor.site, user, tried: Mutex::default() };
    let outcome = directory.who(user, password, app.new_id(), &counting).await;
    let mut tried = counting.tried.into_inner();
    tried.settle().await;
    let Tried { mut answers, attempts: by_person, fault, .. } = tried;
    let person = answers.pop().map(|(person, _)| person);
    let attempts: Vec<Attempt> = [attempt].into_iter().chain(by_person).collect();
    if let Some(fault) = fault {
        withdraw(app, attempts).await?;
        return Err(fault.into());
    }
    match outcome {
        Ok(identity) => Ok((directory, attempts, identity)),
        Err(Failed::Wrong) => {
            note(app, visit, person, LoginFailure::WrongPassword, &attempts).await?;
            Err(Refused::Login(Login::Wrong))
        }
        Err(Failed::Unanswered) => {
            // It counts: else whoever guesses is told nothing by wrong ones and let in by the right one.
            note(app, visit, person, LoginFailure::IdentityRefused, &attempts).await?;
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::app::testing::{TestApp, With};
    use crate::on_every_store;
    use crate::store::DEFAULT_SITE;
    use crate::store::testing::TestStore;

    /// One login: the first server is given up at once, and another one asks again.
    async fn tries(app: &App, subject: Option<&str>) -> (bool, usize) {
        let user = UserName::parse("ada").unwrap();
        let counting = Counting { app, site: DEFAULT_SITE, user: &user, tried: Mutex::default() };
        let _ = counting.admits("ldap:own", subject).now_or_never();
        let is_admitted = counting.admits("ldap:own", subject).await.unwrap();
        assert_eq!(counting.admits("ldap:own", subject).await, Ok(is_admitted));
        (is_admitted, counting.tried.into_inner().attempts.len())
    }

    on_every_store! {
        async fn a_login_counts_once_for_a_person_whoever_gave_up_waiting_and_whether_they_are_there(store: TestStore) {
            let app = TestApp::on(store, With::default()).await;
            let after = app.config().accounts.lockout.after;
            for subject in [Some("ada"), None] {
                for number in 0..after {
                    assert_eq!(tries(&app, subject).await, (true, 1), "{subject:?}, {number}");
                }
                assert_eq!(tries(&app, subject).await, (false, 0), "{subject:?}");
            }
        }

        async fn servers_that_name_two_people_are_told_of_each_what_is_so(store: TestStore) {
            let app = TestApp::on(store, With::default()).await;
            for _ in 0..app.config().accounts.lockout.after {
                tries(&app, Some("bob")).await;
            }
            let user = UserName::parse("ada").unwrap();
            let counting = Counting { app: &app, site: DEFAULT_SITE, user: &user, tried: Mutex::default() };
            for (subject, is_admitted) in
                [("ada", true), ("bob", false), ("bob", false), ("ada", true), ("eve", true), ("bob", false)]
            {
                assert_eq!(counting.admits("ldap:own", Some(subject)).await, Ok(is_admitted), "{subject}");
            }
            let attempts = counting.tried.into_inner().attempts;
            assert_eq!(attempts.len(), 2, "each is noted or withdrawn");
        }
    }
}
