//! Identities that somebody else vouches for: OpenID Connect providers, GitHub, Facebook.
//!
//! Law: an identity is an issuer and a subject, never an e-mail address. It is believed when it was
//! given to us: in an answer to a question of ours, or in a token that names us. What a provider only
//! repeats about somebody is not what it knows. No token of a provider is kept.

mod facebook;
mod fetch;
mod flow;
mod github;
mod id_token;
mod kept;
mod oidc;
mod provider;
mod store;
#[cfg(test)]
mod tests;

use crate::app::{App, Change};
use crate::audit::FactorEvent;
use crate::base::{Email, Id, Secret, Timestamp};
use crate::crypto::digest::sha256_hex;
use crate::store::{Error, FromRow, Source};

pub use flow::{Flow, GOOD_FOR, Of, Owner, PENDING_FOR, Pending};
pub use provider::{Bearer, Code, Nonce, Provider, check, provider};

/// How long it is remembered that an ID token was used: longer than any is good for.
const TOKEN_KEPT_FOR: std::time::Duration = std::time::Duration::from_hours(25);

/// Why an identity was not established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The provider does not answer, or not in a way that can be understood.
    Unavailable(&'static str),
    /// The provider does not take the code.
    Code,
    /// What was given, or what the provider says, is not to be believed.
    Refused(&'static str),
    /// This provider does not say for whom what was given was made.
    NotOffered,
}

/// What a provider says of somebody's e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    None,
    /// The provider has seen that it is theirs.
    Verified(Email),
    /// The provider does not know whose it is; nobody is found by it.
    Claimed(Email),
    /// The provider knows that it was not confirmed.
    Unverified,
}

impl Address {
    fn email(&self) -> Option<&Email> {
        match self {
            Self::Verified(email) | Self::Claimed(email) => Some(email),
            Self::None | Self::Unverified => None,
        }
    }
}

/// Somebody, as a provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
    pub address: Address,
    pub first_name: String,
    pub last_name: String,
}

/// An identity that opens an account.
#[derive(Debug, Clone, FromRow)]
pub struct Connection {
    pub id: Id,
    pub account: Id,
    pub provider: String,
    pub issuer: String,
    pub subject: String,
    pub email: Option<Email>,
    pub created_at: Timestamp,
    pub used_at: Timestamp,
}

/// What kind of account gets an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// It is made for this identity, in the same change.
    NewAccount,
    /// It had other ways in before.
    Account,
}

/// Why an identity was not connected.
#[derive(Debug)]
pub enum NotConnected {
    /// It is connected already.
    Taken,
    Store(Error),
}

impl From<Error> for NotConnected {
    fn from(cause: Error) -> Self {
        if cause.is_conflict("social_connection_subject_key") { Self::Taken } else { Self::Store(cause) }
    }
}

/// Whose identity this is.
pub async fn find(
    src: impl Source,
    site: Id,
    issuer: &str,
    subject: &str,
) -> Result<Option<Connection>, Error> {
    let found = store::of_identity(src, site, issuer, subject).await?;
    // MySQL compares without the blanks at the end, whatever the collation: to us they are another one.
    Ok(found.filter(|connection| connection.issuer == issuer && connection.subject == subject))
}

/// What opens an account, the oldest first.
pub async fn connections(src: impl Source, account: Id) -> Result<Vec<Connection>, Error> {
    store::of_account(src, account).await
}

/// Lets an identity open an account from now on.
///
/// # Errors
/// [`NotConnected`]; the change is then over.
pub async fn connect(
    change: &mut Change<'_>,
    (site, account): (Id, Id),
    provider: &str,
    identity: &Identity,
    whose: Whose,
) -> Result<Id, NotConnected> {
    let (id, now) = (change.new_id(), change.now());
    store::insert(change.tx(), id, (site, account, provider), identity, now).await?;
    let (provider, is_new_account) = (provider.to_owned(), whose == Whose::NewAccount);
    change.record(FactorEvent::SocialConnected { account, provider, is_new_account }).await?;
    Ok(id)
}

/// Notes that an identity opened its account. `false` where it is not this account's any more.
pub async fn note_use(
    change: &mut Change<'_>,
    (site, account): (Id, Id),
    (issuer, subject): (&str, &str),
) -> Result<bool, Error> {
    let now = change.now();
    Ok(store::note_use(change.tx(), (site, account), (issuer, subject), now).await? > 0)
}

/// Lets an identity open its account no more. `false` where it is not one of this account.
pub async fn disconnect(change: &mut Change<'_>, connection: &Connection) -> Result<bool, Error> {
    let (account, provider) = (connection.account, connection.provider.clone());
    if store::delete(change.tx(), account, connection.id).await? == 0 {
        return Ok(false);
    }
    change.record(FactorEvent::SocialDisconnected { account, provider }).await?;
    Ok(true)
}

/// Whether something is used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    First,
    Again,
}

/// Uses something up in a change; what it was called is told by nothing that is kept. Where it was used
/// before, the change is over.
pub async fn use_up(change: &mut Change<'_>, name: &str, forget_at: Timestamp) -> Result<Use, Error> {
    match store::insert_use(change.tx(), &sha256_hex(name.as_bytes()), forget_at).await {
        Ok(()) => Ok(Use::First),
        Err(Error::Conflict(_)) => Ok(Use::Again),
        Err(error) => Err(error),
    }
}

/// The same at once, before anybody is asked: of all uses, on all replicas, one is the first.
pub async fn use_now(app: &App, name: &str, forget_at: Timestamp) -> Result<Use, Error> {
    let mut tx = app.db.begin().await?;
    match store::insert_use(&mut tx, &sha256_hex(name.as_bytes()), forget_at).await {
        Ok(()) => tx.commit().await.map(|()| Use::First),
        Err(Error::Conflict(_)) => Ok(Use::Again),
        Err(error) => Err(error),
    }
}

/// Uses an ID token up that somebody brought along.
pub async fn use_token(app: &App, token: &Secret<String>) -> Result<Use, Error> {
    // Without the signature: of some kinds there are several for one text.
    let signed = token.expose().rsplit_once('.').map_or("", |(signed, _)| signed);
    use_now(app, &format!("token:{signed}"), app.now().plus(TOKEN_KEPT_FOR)).await
}

/// Removes the connections of an account that is gone, and says nothing of each.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// Forgets some of what cannot be used again anyway; how much.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let mut tx = app.db.begin().await?;
    let gone = store::forget_uses(&mut tx, app.now(), app.config().retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
