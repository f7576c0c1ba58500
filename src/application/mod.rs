//! Applications: the API clients, their keys, and whose request carries which.
//!
//! Law: a secret is shown once, when it is made. Keys that are sent are right or the request is
//! refused; a request that carries known keys costs no I/O.

mod directory;
mod http;
mod origin;
mod redirect;
mod secret;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::app::Change;
use crate::audit::ApplicationEvent;
use crate::base::{Id, Number, Secret, Timestamp};
use crate::principal::ApplicationFacts;
use crate::store::{Error, Source};

pub use directory::{Directory, Presented, Refusal};
pub use http::rows;
pub use origin::{NotAnOrigin, Origin};
pub use redirect::{NotARedirect, RedirectUri};
pub use secret::{AccessKey, SecretHash};

/// The series of application numbers.
const SERIES: &str = "application";
/// The longest name, in characters.
const NAME_MAX: usize = 100;

/// An API client.
#[derive(Debug, Clone)]
pub struct Application {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    /// Unique within its site; what a route's `application` condition names.
    pub name: String,
    pub description: String,
    pub access_key: AccessKey,
    pub secret_hash: SecretHash,
    pub is_active: bool,
    /// Origins of browsers that may call with the key alone, sorted.
    pub allowed_origins: Vec<Origin>,
    /// Where providers of identities may send people with a code for this application, sorted.
    pub redirect_uris: Vec<RedirectUri>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Application {
    /// What a decision about a request may ask.
    #[must_use]
    pub fn facts(&self) -> ApplicationFacts {
        ApplicationFacts {
            id: self.id,
            number: self.number,
            name: self.name.as_str().into(),
            allowed_origins: self.allowed_origins.iter().map(ToString::to_string).collect::<Arc<[String]>>(),
        }
    }
}

/// What a new application begins with.
#[derive(Debug, Clone)]
pub struct NewApplication {
    pub site: Id,
    pub name: String,
    pub description: String,
    pub allowed_origins: Vec<Origin>,
    pub redirect_uris: Vec<RedirectUri>,
}

/// A key and secret, to be shown this once.
#[derive(Debug)]
pub struct Credentials {
    pub access_key: AccessKey,
    pub access_secret: Secret<String>,
}

/// Why an application was not written.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The name is empty, or longer than 100 characters.
    BadName,
    /// Another application of the site has this name.
    NameTaken,
    Store(Error),
}

impl From<Error> for WriteError {
    fn from(cause: Error) -> Self {
        if cause.is_conflict("application_name_key") { Self::NameTaken } else { Self::Store(cause) }
    }
}

/// Makes an application.
///
/// # Errors
/// [`WriteError`]; the change is then over.
pub async fn create(
    change: &mut Change<'_>,
    new: NewApplication,
) -> Result<(Application, Credentials), WriteError> {
    let name = good_name(&new.name)?;
    let credentials = new_credentials(change);
    let (mut allowed_origins, mut redirect_uris) = (new.allowed_origins, new.redirect_uris);
    allowed_origins.sort();
    allowed_origins.dedup();
    redirect_uris.sort();
    redirect_uris.dedup();
    let made = Application {
        id: change.new_id(),
        number: change.number(SERIES).await?,
        site: new.site,
        name,
        description: new.description,
        access_key: credentials.access_key.clone(),
        secret_hash: SecretHash::of(credentials.access_secret.expose()),
        is_active: true,
        allowed_origins,
        redirect_uris,
        created_at: change.now(),
        updated_at: change.now(),
    };
    store::insert(change.tx(), &made).await?;
    change.record(ApplicationEvent::Created { application: made.id, name: made.name.clone() }).await?;
    Ok((made, credentials))
}

fn good_name(name: &str) -> Result<String, WriteError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(WriteError::BadName);
    }
    Ok(name.to_owned())
}

fn new_credentials(change: &Change<'_>) -> Credentials {
    let random = change.app().random.as_ref();
    Credentials { access_key: AccessKey::generate(random), access_secret: secret::generate(random) }
}

/// Gives an application a new key and secret; the old ones end with this change. `None` where
/// there is no such application.
pub async fn regenerate(change: &mut Change<'_>, id: Id) -> Result<Option<Credentials>, Error> {
    let credentials = new_credentials(change);
    let hash = SecretHash::of(credentials.access_secret.expose());
    let now = change.now();
    if store::set_credentials(change.tx(), id, &credentials.access_key, &hash, now).await? == 0 {
        return Ok(None);
    }
    change.record(ApplicationEvent::Regenerated { application: id }).await?;
    Ok(Some(credentials))
}

/// Whether an application may be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Active,
    Disabled,
}

/// Switches an application on or off. `false` where it is so already, or there is none.
pub async fn set_activity(change: &mut Change<'_>, id: Id, activity: Activity) -> Result<bool, Error> {
    let now = change.now();
    if store::set_active(change.tx(), id, activity == Activity::Active, now).await? == 0 {
        return Ok(false);
    }
    let event = match activity {
        Activity::Active => ApplicationEvent::Enabled { application: id },
        Activity::Disabled => ApplicationEvent::Disabled { application: id },
    };
    change.record(event).await?;
    Ok(true)
}

/// Replaces the origins from which browsers may call. `false` where there is no such application.
pub async fn set_origins(change: &mut Change<'_>, id: Id, origins: &[Origin]) -> Result<bool, Error> {
    let now = change.now();
    if store::set_origins(change.tx(), id, origins, now).await? == 0 {
        return Ok(false);
    }
    change.record(ApplicationEvent::Updated { application: id, fields: vec!["allowed_origins"] }).await?;
    Ok(true)
}

/// Replaces where codes for the application may go. `false` where there is no such application.
pub async fn set_redirects(change: &mut Change<'_>, id: Id, uris: &[RedirectUri]) -> Result<bool, Error> {
    let now = change.now();
    if store::set_redirects(change.tx(), id, uris, now).await? == 0 {
        return Ok(false);
    }
    change.record(ApplicationEvent::Updated { application: id, fields: vec!["redirect_uris"] }).await?;
    Ok(true)
}

/// Whether codes for this application may go there. An application that lists nothing takes none.
pub async fn takes_codes_at(src: impl Source, id: Id, uri: &str) -> Result<bool, Error> {
    store::has_redirect(src, id, uri).await
}

/// Gives an application another name, another description, or both. `false` where there is no such
/// application.
///
/// # Errors
/// [`WriteError`]; the change is then over.
pub async fn describe(
    change: &mut Change<'_>,
    id: Id,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<bool, WriteError> {
    let (name, now) = (name.map(good_name).transpose()?, change.now());
    if store::describe(change.tx(), id, name.as_deref(), description, now).await? == 0 {
        return Ok(false);
    }
    let fields = [("name", name.is_some()), ("description", description.is_some())];
    let fields = fields.into_iter().filter_map(|(field, is_new)| is_new.then_some(field)).collect();
    change.record(ApplicationEvent::Updated { application: id, fields }).await?;
    Ok(true)
}

/// Removes an application for good, and ends what came through it: sessions, and what agents were
/// given. `false` where there is none.
pub async fn delete(change: &mut Change<'_>, application: &Application) -> Result<bool, Error> {
    if store::delete(change.tx(), application.id).await? == 0 {
        return Ok(false);
    }
    let event = ApplicationEvent::Deleted { application: application.id, name: application.name.clone() };
    change.record(event).await?;
    Ok(true)
}

/// Every application of a site, by number.
pub async fn list(src: impl Source, site: Id) -> Result<Vec<Application>, Error> {
    let all = store::all(src).await?;
    Ok(all.into_iter().filter(|application| application.site == site).collect())
}

/// The application of a site that somebody names: by its id, number, access key or name.
pub async fn find(src: impl Source, site: Id, named: &str) -> Result<Option<Application>, Error> {
    if let Ok(id) = named.parse::<Id>() {
        let found = store::by_id(src, id).await?;
        return Ok(found.filter(|application| application.site == site));
    }
    if let Some(key) = AccessKey::parse(named) {
        return store::by_key(src, site, &key).await;
    }
    match named.parse() {
        Ok(number) => store::by_number(src, site, Number(number)).await,
        Err(_) => store::by_name(src, site, named).await,
    }
}
