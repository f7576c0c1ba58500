//! Signing keys: sealed in the store, made and rotated here, held in memory by `App`.
//!
//! Law: a new key is published before it signs, for as long as any process may not know of it, and
//! an old one until the last token that it signed has ended. So a rotation refuses no token.

mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;

use crate::app::{App, Change};
use crate::audit::{Actor, KeyEvent, Subject};
use crate::base::{Secret, Timestamp};
use crate::config::{self, Tokens};
use crate::crypto::key::{Algorithm, BadKey, SigningKey, new_kid};
use crate::crypto::keyring::{Keyring, Member, Purpose};
use crate::store::Error;

use store::KeyRow;

/// Longer than a process decides by an old view of the store, so that nobody sees a token signed
/// by a key that it does not know.
pub const SETTLE: Duration = Duration::from_secs(15);
/// How long an assertion is valid.
pub const ASSERTION_FOR: Duration = Duration::from_mins(1);
/// For clocks that differ.
const LEEWAY: Duration = Duration::from_mins(1);
const PURPOSES: [Purpose; 2] = [Purpose::Access, Purpose::Assertion];

/// Why keys are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Store(Error),
    /// The seal key does not open this key.
    Sealed {
        kid: String,
    },
    /// What was sealed is not a key of its algorithm.
    Damaged {
        kid: String,
    },
    /// RS256 is configured and no such key was added.
    NoRsaKey,
    Bad(BadKey),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(cause) => cause.fmt(f),
            Self::Sealed { kid } => write!(
                f,
                "the seal key does not open the signing key {kid}: `keys.seal_file` is not the one \
                 that this store was made with"
            ),
            Self::Damaged { kid } => write!(f, "the signing key {kid} in the store is damaged"),
            Self::NoRsaKey => f.write_str(
                "`tokens.algorithm` is RS256 and the store has no such key: add one with \
                 `portcullis keys add --file KEY.pem`",
            ),
            Self::Bad(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<BadKey> for Failure {
    fn from(cause: BadKey) -> Self {
        Self::Bad(cause)
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Published, and signs soon.
    Coming,
    Active,
    /// Verifies what it signed.
    Retired,
}

/// A key as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub kid: String,
    pub purpose: &'static str,
    pub algorithm: &'static str,
    pub state: State,
    pub created_at: Timestamp,
    pub active_from: Timestamp,
    pub published_until: Option<Timestamp>,
}

/// Reads the keys from the store and puts them in force in this process.
pub async fn load(app: &App) -> Result<(), Failure> {
    let rows = store::published(&app.db, app.now()).await?;
    let members = rows.into_iter().map(|row| open(app, row)).collect::<Result<Vec<_>, _>>()?;
    app.set_keyring(Keyring::new(members));
    Ok(())
}

/// Loads the keys, and makes those that are missing: for access tokens with the configured
/// algorithm, for assertions with ES256. To be called at start.
pub async fn ensure(app: &App) -> Result<(), Failure> {
    prepare(app, &app.config().tokens).await
}

/// The same for settings that are not in force yet, so that they never are without a key.
pub async fn prepare(app: &App, tokens: &Tokens) -> Result<(), Failure> {
    load(app).await?;
    for purpose in PURPOSES {
        let wanted = wanted(tokens, purpose);
        let ring = app.keyring();
        let known: Vec<&Member> = ring.members().iter().filter(|m| m.purpose == purpose).collect();
        // A key that is coming counts: another process has just made it. What an operator added
        // for assertions stays.
        let is_right = |m: &&Member| m.key.algorithm() == wanted || purpose == Purpose::Assertion;
        if known.last().is_some_and(is_right) {
            continue;
        }
        if wanted == Algorithm::Rs256 {
            return Err(Failure::NoRsaKey);
        }
        let mut replaced: Vec<String> =
            known.iter().filter(|m| m.published_until.is_none()).map(|m| m.key.kid().to_owned()).collect();
        replaced.sort();
        let key = SigningKey::generate(wanted, app.random.as_ref())?;
        let new = New { purpose, key: &key, tokens, replaces: Replaces::These(replaced) };
        match install(app, Actor::system(), new).await {
            Ok(Installed::Yes) => {}
            Ok(Installed::Overtaken) => load(app).await?,
            Err(Failure::Store(error)) if error.is_conflict(store::GENERATION_KEY) => load(app).await?,
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// What the keys in force lack and [`ensure`] cannot make, so that a gateway would not start.
pub fn lacking(app: &App) -> Option<Failure> {
    let wanted = wanted(&app.config().tokens, Purpose::Access);
    let ring = app.keyring();
    let newest = ring.members().iter().rfind(|member| member.purpose == Purpose::Access);
    let has_it = newest.is_some_and(|member| member.key.algorithm() == wanted);
    (wanted == Algorithm::Rs256 && !has_it).then_some(Failure::NoRsaKey)
}

/// Makes a new key of the configured algorithm and retires the others of its purpose; its `kid`.
pub async fn rotate(app: &App, actor: Actor, purpose: Purpose) -> Result<String, Failure> {
    let config = app.config();
    let wanted = wanted(&config.tokens, purpose);
    if wanted == Algorithm::Rs256 {
        return Err(Failure::NoRsaKey);
    }
    let key = SigningKey::generate(wanted, app.random.as_ref())?;
    install(app, actor, New { purpose, key: &key, tokens: &config.tokens, replaces: Replaces::Whatever })
        .await?;
    Ok(key.kid().to_owned())
}

/// Adds an RS256 key from the text of a PEM file, in the place of the others; its `kid`.
pub async fn add(
    app: &App,
    actor: Actor,
    purpose: Purpose,
    pem: &Secret<Vec<u8>>,
) -> Result<String, Failure> {
    let config = app.config();
    let key = SigningKey::rs256_from_pem(new_kid(app.random.as_ref()), pem)?;
    install(app, actor, New { purpose, key: &key, tokens: &config.tokens, replaces: Replaces::Whatever })
        .await?;
    Ok(key.kid().to_owned())
}

/// Every key that is not over, the newest first.
pub async fn list(app: &App) -> Result<Vec<Listed>, Failure> {
    let now = app.now();
    let rows = store::published(&app.db, now).await?;
    let active = |row: &KeyRow| {
        let same = rows.iter().filter(|other| other.purpose == row.purpose && other.active_from <= now);
        same.max_by_key(|other| other.active_from).is_some_and(|newest| newest.kid == row.kid)
    };
    rows.iter()
        .rev()
        .map(|row| {
            let (purpose, algorithm) = row.kind()?;
            let state = match row {
                row if active(row) => State::Active,
                row if row.active_from > now => State::Coming,
                _ => State::Retired,
            };
            Ok(Listed {
                kid: row.kid.clone(),
                purpose: purpose.name(),
                algorithm: algorithm.name(),
                state,
                created_at: row.created_at,
                active_from: row.active_from,
                published_until: row.published_until,
            })
        })
        .collect()
}

/// The applier: keys changed, here or elsewhere.
pub fn reload<'a>(app: &'a App, subjects: &'a [Subject]) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        if !subjects.contains(&Subject::Keys) {
            return Ok(());
        }
        load(app).await.map_err(|failure| match failure {
            Failure::Store(error) => error,
            other => Error::Broken { cause: other.to_string() },
        })
    }
    .boxed()
}

/// Removes keys whose time is over; how many.
pub async fn forget(app: &App) -> Result<u64, Error> {
    let mut tx = app.db.begin().await?;
    let removed = store::remove_over(&mut tx, app.now()).await?;
    tx.commit().await?;
    Ok(removed)
}

fn wanted(tokens: &Tokens, purpose: Purpose) -> Algorithm {
    match (purpose, tokens.algorithm) {
        (Purpose::Assertion, _) | (Purpose::Access, config::Algorithm::Es256) => Algorithm::Es256,
        (Purpose::Access, config::Algorithm::EdDsa) => Algorithm::EdDsa,
        (Purpose::Access, config::Algorithm::Rs256) => Algorithm::Rs256,
        (Purpose::Access, config::Algorithm::Hs256) => Algorithm::Hs256,
    }
}

/// How long what a key signs can be valid, by the settings in force or those that come.
fn signs_for(app: &App, tokens: &Tokens, purpose: Purpose) -> Duration {
    match purpose {
        Purpose::Access => app.config().tokens.access_for.max(tokens.access_for),
        Purpose::Assertion => ASSERTION_FOR,
    }
}

/// Which keys a new one takes the place of.
enum Replaces {
    Whatever,
    /// These and no others: where they are not the current ones, another process was first.
    These(Vec<String>),
}

enum Installed {
    Yes,
    Overtaken,
}

/// A key that is to sign.
struct New<'a> {
    purpose: Purpose,
    key: &'a SigningKey,
    /// The settings that it signs by.
    tokens: &'a Tokens,
    replaces: Replaces,
}

async fn install(app: &App, actor: Actor, new: New<'_>) -> Result<Installed, Failure> {
    let New { purpose, key, tokens, replaces } = new;
    let mut change = app.change(actor).await?;
    let now = change.now();
    let current = store::current(change.tx(), purpose).await?;
    if matches!(&replaces, Replaces::These(kids) if *kids != current.kids) {
        return Ok(Installed::Overtaken);
    }
    // The first key of all has nobody to wait for, and signs at once where a clock is behind this one, too.
    let active_from = if current.kids.is_empty() { now.minus(LEEWAY) } else { now.plus(SETTLE) };
    let row = KeyRow {
        kid: key.kid().to_owned(),
        purpose: purpose.name().to_owned(),
        algorithm: key.algorithm().name().to_owned(),
        sealed: app.seal.seal(
            app.random.as_ref(),
            &context(key.kid(), purpose, key.algorithm()),
            key.to_bytes().expose(),
        ),
        created_at: now,
        active_from,
        published_until: None,
    };
    store::insert(change.tx(), &row, current.next_generation).await?;
    let published_until = active_from.plus(signs_for(app, tokens, purpose)).plus(LEEWAY);
    retire(&mut change, purpose, current.kids, published_until).await?;
    let (purpose, algorithm) = (purpose.name(), key.algorithm().name());
    change.record(KeyEvent::Added { kid: row.kid, purpose, algorithm, active_from }).await?;
    change.commit().await?;
    Ok(Installed::Yes)
}

async fn retire(
    change: &mut Change<'_>,
    purpose: Purpose,
    kids: Vec<String>,
    published_until: Timestamp,
) -> Result<(), Error> {
    for kid in kids {
        store::retire(change.tx(), &kid, published_until).await?;
        change.record(KeyEvent::Retired { kid, purpose: purpose.name(), published_until }).await?;
    }
    Ok(())
}

/// What a sealed key is bound to: it opens as nothing else.
fn context(kid: &str, purpose: Purpose, algorithm: Algorithm) -> String {
    format!("signing key {kid} {} {}", purpose.name(), algorithm.name())
}

fn open(app: &App, row: KeyRow) -> Result<Member, Failure> {
    let (purpose, algorithm) = row.kind()?;
    let plain = app
        .seal
        .open(&context(&row.kid, purpose, algorithm), &row.sealed)
        .map_err(|_| Failure::Sealed { kid: row.kid.clone() })?;
    let key = SigningKey::from_bytes(row.kid.clone(), algorithm, plain)
        .map_err(|_| Failure::Damaged { kid: row.kid })?;
    Ok(Member { purpose, key, active_from: row.active_from, published_until: row.published_until })
}

impl KeyRow {
    fn kind(&self) -> Result<(Purpose, Algorithm), Failure> {
        Purpose::from_name(&self.purpose)
            .zip(Algorithm::from_name(&self.algorithm))
            .ok_or_else(|| Failure::Damaged { kid: self.kid.clone() })
    }
}
