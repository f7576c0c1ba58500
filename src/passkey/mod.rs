//! Passkeys: key pairs that people's devices keep, which sign a challenge in place of a password
//! and a second factor (WebAuthn level 3; contract section 14).
//!
//! Law: every passkey can be found by its device alone and verifies its user, by PIN or body, so
//! one is two factors; nothing is said about who has any. Only what our own challenge was asked for
//! counts, once, and each step of a passkey's counter, by a conditional write.

mod ceremony;
mod login;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use webauthn_rs::prelude::{
    Credential, CredentialID, Passkey as Key, PasskeyRegistration, RegisterPublicKeyCredential, Uuid,
};

use crate::account::{self, Account};
use crate::app::{App, Change};
use crate::audit::{Actor, EndReason, PasskeyEvent};
use crate::base::{Id, Number, Timestamp};
use crate::crypto::digest::{base64url, sha256_hex};
use crate::principal::Scope;
use crate::session;
use crate::store::{Error, Source};

use ceremony::{Purpose, With, fault};
use store::{New, Row};

pub use login::{Identified, Proof, Regression, Spent, Unproved, begin_login, check, note_regression, spend};

/// How many passkeys an account may have.
pub const MOST: i64 = 20;
const SERIES: &str = "passkey";
/// What a passkey is called that was given no name.
const NAMELESS: &str = "Passkey";

/// Whether anybody can have a passkey here.
#[must_use]
pub fn is_open(app: &App) -> bool {
    app.config().login.passkeys.is_some()
}

/// A passkey of an account.
#[derive(Debug, Clone)]
pub struct Passkey {
    pub id: Id,
    pub number: Number,
    pub name: String,
    /// How its device is reached, as the browser said: `internal`, `usb`, `hybrid`.
    pub transports: Vec<String>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

impl From<Row> for Passkey {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            number: row.number,
            name: row.name,
            transports: row.transports.split_whitespace().map(str::to_owned).collect(),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        }
    }
}

fn key_of(row: &Row) -> Result<Key, Error> {
    serde_json::from_str(&row.credential)
        .map_err(|cause| Error::Broken { cause: format!("passkey {}: {cause}", row.id) })
}

fn text_of(key: &Key) -> Result<String, Error> {
    serde_json::to_string(key).map_err(|cause| Error::Broken { cause: cause.to_string() })
}

/// What the store knows a credential by.
fn digest_of(credential: &[u8]) -> String {
    sha256_hex(credential)
}

/// A question for an authenticator.
#[derive(Debug)]
pub struct Begun {
    /// What comes back with the answer.
    pub challenge_id: String,
    /// What a browser is given, as WebAuthn writes it.
    pub options: Value,
}

/// An answer of an authenticator.
#[derive(Debug)]
pub struct Presented {
    pub challenge_id: String,
    /// As `PublicKeyCredential.toJSON()` writes it.
    pub credential: Value,
}

/// Why no passkey is added.
#[derive(Debug)]
pub enum NotAdded {
    /// Nobody can have one here.
    Off,
    TooMany,
    /// What came was no answer to what was asked of this person in this session, or was answered
    /// before, too late, by the wrong device or on the wrong page; or somebody has it already.
    Refused,
    Store(Error),
}

impl From<Error> for NotAdded {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Asks for a new passkey of somebody who is logged in.
///
/// # Errors
/// [`NotAdded`].
pub async fn begin_registration(app: &App, account: &Account, session: Id) -> Result<Begun, NotAdded> {
    let judge = ceremony::judge(app)?.ok_or(NotAdded::Off)?;
    let known = store::list_of(&app.db, account.id).await?;
    if known.len() >= usize::try_from(MOST).unwrap_or(usize::MAX) {
        return Err(NotAdded::TooMany);
    }
    let (id, label) = (Uuid::from_u128(account.id.as_u128()), label_of(account));
    let asked = judge.start_passkey_registration(id, &label, &label, None);
    let (asked, state) = asked.map_err(|cause| fault(&cause))?;
    let mut options = serde_json::to_value(asked.public_key).unwrap_or_default();
    // A device that has one of these says so itself; the store refuses it in any case.
    let known: Vec<Value> =
        known.iter().map(key_of).map(|key| Ok(described(key?.cred_id()))).collect::<Result<_, Error>>()?;
    options["excludeCredentials"] = Value::Array(known);
    // Nobody who logs in is told which passkeys an account has, so a device must find its own.
    options["authenticatorSelection"]["residentKey"] = json!("required");
    options["authenticatorSelection"]["requireResidentKey"] = json!(true);
    let with = With { site: account.site, account: account.id, session };
    Ok(Begun { challenge_id: ceremony::seal(app, Purpose::Register, with, &state)?, options })
}

fn described(credential: &CredentialID) -> Value {
    json!({"type": "public-key", "id": base64url(credential.as_slice())})
}

fn label_of(account: &Account) -> String {
    let email = account.email.as_ref().map(ToString::to_string);
    let phone = account.phone.as_ref().map(ToString::to_string);
    email.or(phone).unwrap_or_else(|| account.id.to_string())
}

/// Adds the passkey that this session was asked for. Sessions that were only for setting up a second
/// factor end: there is one now.
///
/// # Errors
/// [`NotAdded`].
pub async fn add(
    app: &App,
    account: &Account,
    session: Id,
    presented: Presented,
    name: &str,
    actor: Actor,
) -> Result<Passkey, NotAdded> {
    let judge = ceremony::judge(app)?.ok_or(NotAdded::Off)?;
    let asked = ceremony::take::<PasskeyRegistration>(app, Purpose::Register, &presented.challenge_id);
    let (with, state) = asked.await?.ok_or(NotAdded::Refused)?;
    if with != (With { site: account.site, account: account.id, session }) {
        return Err(NotAdded::Refused);
    }
    let Ok(answer) = serde_json::from_value::<RegisterPublicKeyCredential>(presented.credential) else {
        return Err(NotAdded::Refused);
    };
    let key = judge.finish_passkey_registration(&answer, &state).map_err(|why| {
        tracing::info!(account = %account.id, %why, "a new passkey was refused");
        NotAdded::Refused
    })?;
    let mut change = app.change(actor).await?;
    // The account's row first, as everywhere: so many at once are no more than there may be.
    if !account::hold(&mut change, account.id).await? {
        return Err(NotAdded::Refused);
    }
    // A logout that came first counts, on whatever replica.
    let asked_by = session::by_id(change.tx(), session).await?;
    if !asked_by.is_some_and(|session| session.is_alive(change.now())) {
        return Err(NotAdded::Refused);
    }
    if store::count_of(change.tx(), account.id).await? >= MOST {
        return Err(NotAdded::TooMany);
    }
    let row = insert(&mut change, account, &key, &transports_of(&answer), name).await?;
    change.record(PasskeyEvent::Added { account: account.id, passkey: row.id }).await?;
    end_set_up(&mut change, account.id).await?;
    change.commit().await?;
    Ok(row.into())
}

/// Those that there is a word for.
fn transports_of(answer: &RegisterPublicKeyCredential) -> String {
    let said = serde_json::to_value(&answer.response.transports).unwrap_or_default();
    let words: BTreeSet<&str> = said.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

async fn insert(
    change: &mut Change<'_>,
    account: &Account,
    key: &Key,
    transports: &str,
    name: &str,
) -> Result<Row, NotAdded> {
    let (id, number, now) = (change.new_id(), change.number(SERIES).await?, change.now());
    let name = if name.is_empty() { NAMELESS } else { name };
    let (credential, digest) = (text_of(key)?, digest_of(key.cred_id().as_slice()));
    let counter = Credential::from(key.clone()).counter;
    let (site, account) = (account.site, account.id);
    let new = New {
        id,
        number,
        site,
        account,
        digest: &digest,
        name,
        credential: &credential,
        counter,
        transports,
        now,
    };
    match store::insert(change.tx(), &new).await {
        Ok(()) => {}
        Err(Error::Conflict(_)) => return Err(NotAdded::Refused),
        Err(cause) => return Err(cause.into()),
    }
    let (name, transports, created_at) = (name.to_owned(), transports.to_owned(), now);
    Ok(Row { id, number, account_id: account, name, credential, transports, created_at, last_used_at: None })
}

async fn end_set_up(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    let now = change.now();
    for session in session::live_of(change.tx(), account, now).await? {
        if session.scope == Some(Scope::SecondFactorSetupOnly) {
            session::end(change, &session, EndReason::SetupDone).await?;
        }
    }
    Ok(())
}

/// The passkeys of an account, the oldest first.
pub async fn list_of(src: impl Source, account: Id) -> Result<Vec<Passkey>, Error> {
    Ok(store::list_of(src, account).await?.into_iter().map(Passkey::from).collect())
}

/// How many passkeys an account has.
pub async fn count_of(src: impl Source, account: Id) -> Result<i64, Error> {
    store::count_of(src, account).await
}

/// Removes the passkeys of an account that is gone, and says nothing of each.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// Calls a passkey of an account something else. `false` where it has no such passkey.
pub async fn rename(
    change: &mut Change<'_>,
    account: Id,
    number: Number,
    name: &str,
) -> Result<Option<Passkey>, Error> {
    let Some(mut row) = store::of_account(change.tx(), account, number).await? else { return Ok(None) };
    row.name = (if name.is_empty() { NAMELESS } else { name }).to_owned();
    if store::rename(change.tx(), row.id, &row.name).await? == 0 {
        return Ok(None);
    }
    change.record(PasskeyEvent::Renamed { account, passkey: row.id }).await?;
    Ok(Some(row.into()))
}

/// Why a passkey stays.
#[derive(Debug)]
pub enum NotRemoved {
    /// The account has no such passkey.
    Unknown,
    /// Nobody could log in to the account any more.
    Last,
    Store(Error),
}

impl From<Error> for NotRemoved {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Removes every passkey of an account, whose row is held: it gets another owner.
pub async fn remove_all(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    for row in store::list_of(change.tx(), account).await? {
        store::remove(change.tx(), row.id).await?;
        change.record(PasskeyEvent::Removed { account, passkey: row.id }).await?;
    }
    session::unprove_passkeys(change, account).await
}

/// Removes a passkey of an account, unless nothing else opens it: no password, no other passkey, and no other
/// way that the caller knows of, who holds the account. What sessions have proved by passkeys counts no more, and those but
/// `kept` end: whoever came in by it must not stay in to make another.
///
/// # Errors
/// [`NotRemoved`].
pub async fn remove(
    change: &mut Change<'_>,
    account: Id,
    kept: Id,
    number: Number,
    has_other_way: bool,
) -> Result<(), NotRemoved> {
    // The account's row first, as everywhere: of the last two, one stays.
    if !account::hold(change, account).await? {
        return Err(NotRemoved::Unknown);
    }
    let row = store::of_account(change.tx(), account, number).await?.ok_or(NotRemoved::Unknown)?;
    let owner = account::by_id(change.tx(), account).await?.ok_or(NotRemoved::Unknown)?;
    let is_open = has_other_way || owner.password_hash.is_some();
    if !is_open && store::count_of(change.tx(), account).await? <= 1 {
        return Err(NotRemoved::Last);
    }
    if store::remove(change.tx(), row.id).await? == 0 {
        return Err(NotRemoved::Unknown);
    }
    session::unprove_passkeys(change, account).await?;
    session::end_others(change, account, kept, EndReason::SecondFactorChanged).await?;
    change.record(PasskeyEvent::Removed { account, passkey: row.id }).await?;
    Ok(())
}
