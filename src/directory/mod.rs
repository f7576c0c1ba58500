//! A directory whose people log in with its passwords (LDAP).
//!
//! Law: a password is taken by whoever proved to be the directory, or it is not shown. What a
//! directory says is believed as far as it goes: whose password it took. One that is gone, slow or says
//! what makes no sense costs its own logins the time that they are given, and nobody anything else.

mod ask;
mod guard;
mod line;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use ldap3::{LdapConnAsync, LdapConnSettings, StdStream};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::app::App;
use crate::base::{Id, Secret};
use crate::config::{self, Config, LdapServer};
use crate::notify::tls;
use crate::social::{Connection, Identity};

/// What connections to people of a directory are called beside those of providers.
pub const NAME: &str = "ldap";

/// Which part of a login's time it may wait for others.
const PATIENCE: u32 = 10;

/// Why nobody was established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Unknown user name or wrong password.
    Wrong,
    /// As many ask as may.
    Busy,
    /// The directory does not answer, or not in a way that can be understood.
    Unavailable(&'static str),
    /// The same after it was shown the password. What it would have said nobody knows: it may answer late
    /// where a password is wrong, and only there.
    Unanswered,
}

/// What somebody is called in a directory: 1 to 128 ASCII signs without blanks.
#[derive(Clone, PartialEq, Eq)]
pub struct UserName(String);

/// The text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAUserName;

impl std::fmt::Display for NotAUserName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enter a user name: up to 128 letters, digits and signs without blanks.")
    }
}

impl std::fmt::Debug for UserName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserName([hidden])")
    }
}

impl UserName {
    pub const MAX_LEN: usize = 128;

    /// Reads a user name. A directory finds people whatever blanks and forms of letters were typed, and
    /// tries are counted by what was typed: so there is one form.
    ///
    /// # Errors
    /// [`NotAUserName`].
    pub fn parse(text: &str) -> Result<Self, NotAUserName> {
        let is_name = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_name { Ok(Self(text.to_ascii_lowercase())) } else { Err(NotAUserName) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The directory of one configuration.
pub struct Directory {
    settings: config::Ldap,
    servers: Vec<LdapServer>,
    tls: TlsConnector,
    lines: Semaphore,
}

/// The directory of the configuration in force.
#[derive(Default)]
struct InForce(Mutex<Option<(Arc<Config>, Arc<Directory>)>>);

/// The directory, where there is one.
///
/// # Errors
/// Nothing can be encrypted.
pub fn directory(app: &App) -> Result<Option<Arc<Directory>>, Failed> {
    let config = app.config();
    let Some(settings) = &config.login.ldap else { return Ok(None) };
    let shelf = app.shelf.of::<InForce>();
    let mut kept = shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, directory)) = &*kept
        && Arc::ptr_eq(of, &config)
    {
        return Ok(Some(Arc::clone(directory)));
    }
    let made = Arc::new(Directory::of(settings)?);
    *kept = Some((Arc::clone(&config), Arc::clone(&made)));
    Ok(Some(made))
}

/// Whether a connection is to somebody of the directory that the configuration names.
#[must_use]
pub fn is_usable(config: &Config, connection: &Connection) -> bool {
    connection.provider == NAME
        && config.login.ldap.as_ref().is_some_and(|own| ask::issuer(own) == connection.issuer)
}

/// Whether the directory of a configuration can be asked, for whoever only looks; `None` where there is none.
pub async fn check(config: &Config) -> Option<Result<(), &'static str>> {
    let outcome = match Directory::of(config.login.ldap.as_ref()?) {
        Ok(directory) => directory.ask(None).await.map(drop),
        Err(failed) => Err(failed),
    };
    Some(outcome.map_err(|failed| match failed {
        Failed::Unavailable(why) => why,
        Failed::Wrong | Failed::Busy | Failed::Unanswered => "it cannot be asked",
    }))
}

impl Directory {
    fn of(settings: &config::Ldap) -> Result<Self, Failed> {
        let tls = tls::client(settings.authorities.as_deref()).map_err(Failed::Unavailable)?;
        Ok(Self {
            settings: settings.clone(),
            servers: settings.servers.iter().filter_map(|text| LdapServer::parse(text)).collect(),
            tls: TlsConnector::from(Arc::new(tls)),
            lines: Semaphore::new(usize::try_from(settings.connections).unwrap_or(1)),
        })
    }

    #[must_use]
    pub const fn settings(&self) -> &config::Ldap {
        &self.settings
    }

    /// Who somebody is whose password the directory takes. `stand_in` is asked for in place of people who
    /// are not there, and of those whom `doorman` does not let try.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn who(
        &self,
        user: &UserName,
        password: &Secret<String>,
        stand_in: Id,
        doorman: &dyn Doorman,
    ) -> Result<Identity, Failed> {
        let is_shown = &AtomicBool::new(false);
        match self.ask(Some(Claim { user, password, stand_in, is_shown, doorman })).await {
            Err(Failed::Unavailable(_)) if is_shown.load(Ordering::Relaxed) => Err(Failed::Unanswered),
            known => known?.ok_or(Failed::Wrong),
        }
    }

    /// Asks the first server that answers, with a deadline for all of it; without a claim only whether the
    /// gateway may ask.
    async fn ask(&self, claim: Option<Claim<'_>>) -> Result<Option<Identity>, Failed> {
        let patience = self.settings.timeout / PATIENCE;
        let Ok(Ok(_line)) = timeout(patience, self.lines.acquire()).await else { return Err(Failed::Busy) };
        let mut last = Failed::Unavailable("no server is named");
        for server in &self.servers {
            let asked = timeout(self.share(), self.ask_one(server, claim)).await;
            match asked.unwrap_or(Err(Failed::Unavailable("it does not answer in time"))) {
                Err(failed @ Failed::Unavailable(why)) => {
                    tracing::warn!(server = server.host, why, "a directory cannot be asked");
                    last = failed;
                }
                other => return other,
            }
        }
        Err(last)
    }

    /// How long one of the servers may take: its part of what waiting for a line leaves.
    fn share(&self) -> Duration {
        let count = u32::try_from(self.servers.len().max(1)).unwrap_or(1);
        self.settings.timeout * (PATIENCE - 1) / (PATIENCE * count)
    }

    async fn ask_one(
        &self,
        server: &LdapServer,
        claim: Option<Claim<'_>>,
    ) -> Result<Option<Identity>, Failed> {
        let is_plain = self.settings.allow_plain && !server.is_tls;
        let tls = (!is_plain).then_some(&self.tls);
        let line = line::connect(server, tls).await.map_err(Failed::Unavailable)?;
        // The library panics about answers that no directory gives.
        let talk = AssertUnwindSafe(self.talk(line, claim)).catch_unwind();
        talk.await.unwrap_or(Err(Failed::Unavailable("it does not answer as a directory does")))
    }

    /// Asks on a line, which is measured on its way to the library.
    async fn talk(
        &self,
        line: Box<dyn line::Line>,
        claim: Option<Claim<'_>>,
    ) -> Result<Option<Identity>, Failed> {
        let (near, far) = UnixStream::pair().map_err(|_| Failed::Busy)?;
        let near = near.into_std().map_err(|_| Failed::Busy)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(near));
        let made = LdapConnAsync::with_settings(settings, "ldapi:///").await;
        let (connection, mut ldap) = made.map_err(|_| Failed::Busy)?;
        let asked = async {
            match claim {
                Some(claim) => ask::who(&mut ldap, &self.settings, claim).await.map(Some),
                None => ask::greet(&mut ldap, &self.settings).await.map(|()| None),
            }
        };
        tokio::pin!(asked);
        let why = tokio::select! {
            biased;
            answer = &mut asked => return answer,
            _ = connection.drive() => "it hung up",
            why = line::relay(line, far) => why,
        };
        // What came before the end counts.
        asked.now_or_never().unwrap_or(Err(Failed::Unavailable(why)))
    }
}

/// Somebody who says who they are.
#[derive(Clone, Copy)]
struct Claim<'a> {
    user: &'a UserName,
    password: &'a Secret<String>,
    /// Asked for in place of people who are not there.
    stand_in: Id,
    /// Whether a directory was shown the password.
    is_shown: &'a AtomicBool,
    doorman: &'a dyn Doorman,
}

/// Counts tries by the person, whatever they were called by: a directory may know them by many names.
#[async_trait]
pub trait Doorman: Send + Sync {
    /// Whether the password of this person may be tried; `None` is somebody who is not there, for whom as
    /// much is done. Asked before the directory is shown it, and perhaps again by another server of the same
    /// directory. Who asks may be gone before the answer is there: what was counted by then is known here.
    ///
    /// # Errors
    /// It cannot be told: then nothing is tried.
    async fn admits(&self, issuer: &str, subject: Option<&str>) -> Result<bool, Failed>;
}
