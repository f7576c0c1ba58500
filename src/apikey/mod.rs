//! API keys: what people give to programs of theirs that call routes as them.
//!
//! Law: a key is shown once and stored as its digest. It reaches the permissions that it names and no
//! others, and of these what its human holds at this moment; one that names none holds none. It has an
//! end. It opens routes, never what is built in: no program may make itself another key.

mod http;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::account;
use crate::app::{App, Change};
use crate::audit::{AccountEvent, ApiKeyEvent, Event, Redefined, RightsEvent};
use crate::base::{Id, Number, Secret, Timestamp};
use crate::crypto::token::{Token, TokenDigest};
use crate::policy::Code;
use crate::store::{Error, Source};

pub use http::{NewBody, make, revoke_own, rows};

/// How every key begins, so that people and scanners of source code know one when they see it.
pub const PREFIX: &str = "portcullis_";
/// The length of a key's text.
pub const TEXT_LEN: usize = PREFIX.len() + 43;
pub use crate::config::API_KEY_LONGEST as LONGEST;

/// How many keys of one account may be alive.
pub const MOST: usize = 100;
/// From how many keys one statement takes a permission.
const PAGE: usize = 200;
/// How much of a key is kept to be shown.
const HINT_LEN: usize = PREFIX.len() + 6;
/// The series of numbers of keys.
const SERIES: &str = "api_key";

/// Whether a text is a key of this gateway, valid or not.
#[must_use]
pub fn is_ours(text: &[u8]) -> bool {
    text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// A key, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Id,
    pub number: Number,
    /// The human.
    pub account: Id,
    pub name: String,
    pub hint: String,
    /// Sorted.
    pub scopes: Vec<Code>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it may still be used.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

/// A key to be made.
#[derive(Debug)]
pub struct New {
    pub account: Id,
    pub name: String,
    /// Codes that the human holds; whoever calls this has checked it.
    pub scopes: Vec<Code>,
    /// At most `accounts.api_keys.max_lifetime`.
    pub lifetime: Option<Duration>,
}

/// Why no key was made.
#[derive(Debug)]
pub enum Refused {
    /// [`MOST`] are alive.
    TooMany,
    /// So long a life is none that the configuration allows; this is the longest.
    TooLong(Duration),
    /// The account is gone.
    Gone,
    Store(Error),
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Makes a key; its text is in this answer and nowhere else.
///
/// # Errors
/// [`Refused`]; the change is then not to be committed.
pub async fn create(change: &mut Change<'_>, new: New) -> Result<(ApiKey, Secret<String>), Refused> {
    let now = change.now();
    let settings = change.app().config().accounts.api_keys;
    let lifetime = new.lifetime.unwrap_or(settings.default_lifetime);
    if lifetime > settings.max_lifetime {
        return Err(Refused::TooLong(settings.max_lifetime));
    }
    // The account's row first, so that of many at once no more than there may be are made.
    if !account::hold(change, new.account).await? {
        return Err(Refused::Gone);
    }
    if store::alive(change.tx(), new.account, now).await? >= MOST {
        return Err(Refused::TooMany);
    }
    let token = Token::generate(change.app().random.as_ref());
    let text = Secret::new(format!("{PREFIX}{}", token.expose()));
    let mut scopes = new.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    let key = ApiKey {
        id: change.new_id(),
        number: change.number(SERIES).await?,
        account: new.account,
        name: new.name,
        hint: text.expose().chars().take(HINT_LEN).collect(),
        scopes,
        created_at: now,
        expires_at: now.plus(lifetime),
        revoked_at: None,
        last_used_at: None,
    };
    store::insert(change.tx(), &key, &TokenDigest::of(text.expose())).await?;
    let (account, scopes) = (key.account, key.scopes.iter().map(ToString::to_string).collect());
    let expires_at = key.expires_at;
    change.record(ApiKeyEvent::Created { api_key: key.id, account, scopes, expires_at }).await?;
    Ok((key, text))
}

/// Ends a key of an account. `false` where it is over already.
pub async fn revoke(change: &mut Change<'_>, key: &ApiKey) -> Result<bool, Error> {
    let now = change.now();
    if store::revoke(change.tx(), key.id, now).await? == 0 {
        return Ok(false);
    }
    change.record(ApiKeyEvent::Revoked { api_key: key.id, account: key.account }).await?;
    Ok(true)
}

/// Ends every key of an account that is gone, or whose password changed: whoever knew the old one may
/// have made it. A permission that goes, or is made anew, is named by no key any more: nobody gave it
/// what that code means next.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        match event {
            Event::Account(
                AccountEvent::PasswordChanged { account, .. } | AccountEvent::Deleted { account, .. },
            ) => {
                for key in store::of_account(change.tx(), *account).await? {
                    revoke(change, &key).await?;
                }
            }
            Event::Rights(RightsEvent::CatalogueChanged {
                kind: "permission",
                code,
                did: Redefined::Created | Redefined::Deleted,
            }) => unname(change, code).await?,
            _ => {}
        }
        Ok(())
    })
}

/// Takes a permission from every key that names it, and tells who knows these keys.
async fn unname(change: &mut Change<'_>, permission: &Code) -> Result<(), Error> {
    for page in store::naming(change.tx(), permission).await?.chunks(PAGE) {
        store::unname(change.tx(), page, permission).await?;
        let (api_keys, permission) = (page.to_vec(), permission.clone());
        change.record(RightsEvent::PermissionRevokedFromKeys { api_keys, permission }).await?;
    }
    Ok(())
}

/// Removes the keys of an account that is gone.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// The keys of an account, the newest first, those that were over lately included.
pub async fn of_account(src: impl Source, account: Id) -> Result<Vec<ApiKey>, Error> {
    store::of_account(src, account).await
}

/// The newest keys of everybody.
pub async fn list(src: impl Source, limit: u32) -> Result<Vec<ApiKey>, Error> {
    store::list(src, limit).await
}

/// A key by its number, dead or alive.
pub async fn by_number(src: impl Source, number: Number) -> Result<Option<ApiKey>, Error> {
    store::by_number(src, number).await
}

/// A key, dead or alive.
pub async fn by_id(src: impl Source, id: Id) -> Result<Option<ApiKey>, Error> {
    store::by_id(src, id).await
}

/// Which key has this digest (SHA-256 in hex) and whose it is, whatever has become of it.
pub async fn by_digest(src: impl Source, digest: &str) -> Result<Option<(Id, Id)>, Error> {
    store::by_digest(src, digest).await
}

/// Writes down which keys were used, and when.
pub async fn note_uses(app: &App, uses: &[(Id, Timestamp)]) -> Result<(), Error> {
    // In one order everywhere, or two replicas would wait for each other.
    let mut uses = uses.to_vec();
    uses.sort_unstable();
    let mut tx = app.db.begin().await?;
    for (id, at) in uses {
        store::note_use(&mut tx, id, at).await?;
    }
    tx.commit().await
}

/// Removes some of the keys that have been over for `retention.api_keys`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.api_keys), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
