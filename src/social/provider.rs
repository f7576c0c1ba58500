//! A provider, as it is spoken to: one way in for every kind.
//!
//! Law: what it is asked for is decided by its kind and its settings, and never by what it or anybody
//! else sends. All providers of one configuration are made together, and with the next one anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::fetch::Fetch;
use super::flow::Flow;
use super::kept::Kept;
use super::oidc::Description;
use super::{Failed, Identity, facebook, github, oidc};
use crate::app::App;
use crate::base::{Secret, Timestamp};
use crate::config::{self, Config, ProviderKind};
use crate::crypto::jwt::foreign::ForeignKeys;

/// Somebody who vouches for people.
pub struct Provider {
    pub name: String,
    pub settings: config::Provider,
    pub(super) fetch: Fetch,
    pub(super) description: Kept<Description>,
    pub(super) keys: Kept<ForeignKeys>,
}

/// The providers of the configuration in force.
#[derive(Default)]
struct Providers(Mutex<Option<(Arc<Config>, ByName)>>);

type ByName = BTreeMap<String, Arc<Provider>>;

/// The provider of this name; `None` where the configuration has none.
///
/// # Errors
/// Its client cannot be made.
pub fn provider(app: &App, name: &str) -> Result<Option<Arc<Provider>>, Failed> {
    let config = app.config();
    let shelf = app.shelf.of::<Providers>();
    let mut kept = shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
    let is_in_force = kept.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &config));
    if !is_in_force {
        *kept = Some((Arc::clone(&config), BTreeMap::new()));
    }
    let Some((_, by_name)) = kept.as_mut() else { return Ok(None) };
    if let Some(known) = by_name.get(name) {
        return Ok(Some(Arc::clone(known)));
    }
    let Some(settings) = config.login.social.get(name) else { return Ok(None) };
    let provider = Arc::new(Provider::new(name, settings)?);
    by_name.insert(name.to_owned(), Arc::clone(&provider));
    Ok(Some(provider))
}

/// Whether the providers of a configuration can be asked, for whoever only looks. Nobody is logged in.
pub async fn check(config: &Config, now: Timestamp) -> Vec<(String, Result<&'static str, &'static str>)> {
    let mut all = Vec::new();
    for (name, settings) in &config.login.social {
        let outcome = match Provider::new(name, settings) {
            Ok(provider) if settings.kind().has_id_tokens() => {
                oidc::description(&provider, now).await.map(|_| "it describes itself")
            }
            Ok(_) => Ok("it is asked when somebody logs in"),
            Err(failed) => Err(failed),
        };
        let why = |failed| match failed {
            Failed::Unavailable(why) | Failed::Refused(why) => why,
            Failed::Code | Failed::NotOffered => "it cannot be asked",
        };
        all.push((name.clone(), outcome.map_err(why)));
    }
    all
}

/// A code, and what belongs to it.
pub struct Code<'a> {
    pub code: &'a Secret<String>,
    /// Where it was sent, as the provider was told.
    pub redirect_uri: &'a str,
    pub verifier: Option<&'a Secret<String>>,
    pub nonce: Nonce<'a>,
}

/// What binds an ID token to a login.
#[derive(Debug, Clone, Copy)]
pub enum Nonce<'a> {
    /// It must be there.
    Is(&'a str),
    /// Whoever began the login has not said.
    Unknown,
}

impl<'a> Nonce<'a> {
    pub(super) const fn text(self) -> Option<&'a str> {
        match self {
            Self::Is(text) => Some(text),
            Self::Unknown => None,
        }
    }
}

/// A token that somebody brings along.
pub enum Bearer<'a> {
    Access(&'a Secret<String>),
    Id(&'a Secret<String>, Nonce<'a>),
}

impl Provider {
    fn new(name: &str, settings: &config::Provider) -> Result<Self, Failed> {
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
            fetch: Fetch::new(settings).map_err(Failed::Unavailable)?,
            description: Kept::default(),
            keys: Kept::default(),
        })
    }

    pub(super) fn kind(&self) -> ProviderKind {
        self.settings.kind()
    }

    pub(super) fn secret(&self) -> Option<&Secret<String>> {
        self.settings.client_secret.as_ref()
    }

    /// Where a browser goes to log in.
    ///
    /// # Errors
    /// [`Failed::Unavailable`].
    pub async fn door(&self, now: Timestamp, flow: &Flow, redirect_uri: &str) -> Result<String, Failed> {
        let (mut url, takes_nonce) = match self.kind() {
            ProviderKind::Google | ProviderKind::Microsoft | ProviderKind::Oidc => {
                let description = self.in_time(oidc::description(self, now)).await?;
                (self.fetch.url(&description.authorize)?, true)
            }
            ProviderKind::Github => (self.fetch.url(&github::door(self))?, false),
            ProviderKind::Facebook => (self.fetch.url(&facebook::door(self))?, false),
        };
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &self.settings.client_id)
                .append_pair("redirect_uri", redirect_uri)
                .append_pair("scope", &self.settings.scope())
                .append_pair("state", flow.state())
                .append_pair("code_challenge", &flow.challenge())
                .append_pair("code_challenge_method", "S256");
            if takes_nonce {
                query.append_pair("nonce", &flow.nonce);
            }
        }
        Ok(url.into())
    }

    /// Whether the sender of an answer may have been another provider (RFC 9207).
    pub async fn is_sender(&self, now: Timestamp, issuer: Option<&str>) -> Result<bool, Failed> {
        if !self.kind().has_id_tokens() {
            return Ok(true);
        }
        let description = self.in_time(oidc::description(self, now)).await?;
        Ok(match issuer {
            // All tenants are described at once: whose answer it is, the ID token says.
            Some(_) if description.issuer.contains("{tenantid}") => true,
            Some(issuer) => issuer == description.issuer,
            None => !description.names_itself,
        })
    }

    /// Whose code it is that came back to us.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn redeem_own(
        &self,
        now: Timestamp,
        flow: &Flow,
        code: &Secret<String>,
        redirect_uri: &str,
    ) -> Result<Identity, Failed> {
        let verifier = Secret::new(flow.verifier.clone());
        let nonce = Nonce::Is(&flow.nonce);
        self.redeem(now, &Code { code, redirect_uri, verifier: Some(&verifier), nonce }).await
    }

    /// Whose code it is.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn redeem(&self, now: Timestamp, code: &Code<'_>) -> Result<Identity, Failed> {
        let asked = async {
            match self.kind() {
                ProviderKind::Google | ProviderKind::Microsoft | ProviderKind::Oidc => {
                    oidc::redeem(self, now, code).await
                }
                ProviderKind::Github => github::redeem(self, code).await,
                ProviderKind::Facebook => facebook::redeem(self, code).await,
            }
        };
        self.in_time(asked).await
    }

    /// Whose token it is, if it was made for a client of ours.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn look_at(&self, now: Timestamp, bearer: Bearer<'_>) -> Result<Identity, Failed> {
        let asked = async {
            match (bearer, self.kind()) {
                (Bearer::Id(token, nonce), kind) if kind.has_id_tokens() => {
                    oidc::look_at(self, now, token, nonce).await
                }
                (Bearer::Access(token), ProviderKind::Google) => oidc::google(self, now, token).await,
                (Bearer::Access(token), ProviderKind::Github) => github::look_at(self, token).await,
                (Bearer::Access(token), ProviderKind::Facebook) => facebook::look_at(self, token).await,
                _ => Err(Failed::NotOffered),
            }
        };
        self.in_time(asked).await
    }

    /// All questions of one login together take little longer than one may.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let limit = self.settings.timeout + self.settings.timeout / 4;
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failed::Unavailable("no answer in time")))
    }
}
