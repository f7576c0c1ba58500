//! `Directory`: every active application in memory, and the check of presented keys against it.
//!
//! Law: the picture is complete, so an unknown key costs no I/O either and cannot be used to make
//! us work. It is read again as soon as any application has changed; where the store then does
//! not answer, nobody passes on an old picture.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::secret::{self, AccessKey, SecretHash};
use super::{Application, store};
use crate::app::App;
use crate::audit::{Actor, ApplicationEvent, Subject};
use crate::base::{Id, Secret};
use crate::crypto::password::{Match, Overloaded};
use crate::principal::ApplicationFacts;
use crate::store::Error;

/// What a request shows to name its application.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    pub key: &'a str,
    /// Absent where a browser calls: then its origin must be listed.
    pub secret: Option<&'a str>,
    pub origin: Option<&'a str>,
}

/// Why keys were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No active application has this key, or the secret is wrong. Not told apart.
    Invalid,
    /// Neither a secret nor an origin.
    OriginMissing,
    OriginDenied,
    /// An imported secret could not be verified now.
    Overloaded,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<Overloaded> for Refusal {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("no active application has this key and secret"),
            Self::OriginMissing => f.write_str("a key without its secret needs an origin"),
            Self::OriginDenied => f.write_str("the application does not list this origin"),
            Self::Overloaded => f.write_str("too busy to verify an imported secret"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// The active applications, as they were at one epoch.
#[derive(Debug, Default)]
struct Picture {
    /// The epoch of [`Subject::Applications`] before the rows were read; none: not read yet.
    epoch: Option<i64>,
    by_key: HashMap<AccessKey, Arc<Entry>>,
    by_id: HashMap<Id, Arc<ApplicationFacts>>,
    origins: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    facts: Arc<ApplicationFacts>,
    secret: SecretHash,
}

/// The active applications of all sites.
#[derive(Debug, Default)]
pub struct Directory {
    picture: ArcSwap<Picture>,
    /// One reader at a time; the others wait for what it reads.
    turn: Mutex<()>,
}

impl Directory {
    /// The application that presents these keys.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn authenticate(
        &self,
        app: &App,
        presented: Presented<'_>,
    ) -> Result<Arc<ApplicationFacts>, Refusal> {
        let picture = self.current(app).await?;
        let key = AccessKey::parse(presented.key).ok_or(Refusal::Invalid)?;
        let entry = picture.by_key.get(&key).ok_or(Refusal::Invalid)?;
        match (presented.secret, presented.origin) {
            (Some(secret), _) => verify(app, entry, secret).await?,
            (None, None) => return Err(Refusal::OriginMissing),
            (None, Some(origin)) => {
                if !entry.facts.allowed_origins.iter().any(|listed| listed == origin) {
                    return Err(Refusal::OriginDenied);
                }
            }
        }
        Ok(Arc::clone(&entry.facts))
    }

    /// The application of this id, if it is active.
    pub async fn active(&self, app: &App, id: Id) -> Result<Option<Arc<ApplicationFacts>>, Error> {
        Ok(self.current(app).await?.by_id.get(&id).cloned())
    }

    /// Whether some active application lists this origin, as far as this process has read. Whoever
    /// asks without waiting keeps the picture fresh with [`Directory::refresh`].
    #[must_use]
    pub fn is_origin(&self, origin: &str) -> bool {
        self.picture.load().origins.contains(origin)
    }

    /// Reads the applications again if any has changed.
    pub async fn refresh(&self, app: &App) -> Result<(), Error> {
        self.current(app).await.map(drop)
    }

    async fn current(&self, app: &App) -> Result<Arc<Picture>, Error> {
        let known = self.picture.load_full();
        if known.is_of(app) {
            return Ok(known);
        }
        let _turn = self.turn.lock().await;
        let known = self.picture.load_full();
        if known.is_of(app) {
            return Ok(known);
        }
        // Before the rows: what changes while they are read makes this picture old again.
        let epoch = app.epochs.of(Subject::Applications);
        let picture = Arc::new(Picture::of(store::all(&app.db).await?, epoch));
        self.picture.store(Arc::clone(&picture));
        Ok(picture)
    }
}

impl Picture {
    fn of(applications: Vec<Application>, epoch: i64) -> Self {
        let mut picture = Self { epoch: Some(epoch), ..Self::default() };
        for application in applications.into_iter().filter(|application| application.is_active) {
            let facts = Arc::new(application.facts());
            picture.origins.extend(facts.allowed_origins.iter().cloned());
            picture.by_id.insert(application.id, Arc::clone(&facts));
            let entry = Entry { facts, secret: application.secret_hash };
            picture.by_key.insert(application.access_key, Arc::new(entry));
        }
        picture
    }

    fn is_of(&self, app: &App) -> bool {
        self.epoch == Some(app.epochs.of(Subject::Applications))
    }
}

async fn verify(app: &App, entry: &Entry, presented: &str) -> Result<(), Refusal> {
    match &entry.secret {
        SecretHash::Sha256(kept) if secret::is_match(kept, presented) => Ok(()),
        SecretHash::Sha256(_) => Err(Refusal::Invalid),
        SecretHash::Bcrypt(hash) => match app.hasher.verify(hash, Secret::new(presented.to_owned())).await? {
            Match::No => Err(Refusal::Invalid),
            Match::Yes | Match::YesButRehash => Ok(rehash(app, entry, presented).await?),
        },
    }
}

/// Keeps an imported secret in our form from now on.
async fn rehash(app: &App, entry: &Entry, secret: &str) -> Result<(), Error> {
    let application = entry.facts.id;
    let mut change = app.change(Actor::system()).await?;
    if store::rehash(change.tx(), application, &entry.secret, &SecretHash::of(secret)).await? > 0 {
        change.record(ApplicationEvent::Updated { application, fields: vec!["secret_hash"] }).await?;
        change.commit().await?;
    }
    Ok(())
}
