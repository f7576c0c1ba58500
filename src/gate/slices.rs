//! The records as the slices keep them: what the gate of a running process reads from.
//!
//! Law: only questions that the slices offer, and every one of them about now: a session that is
//! over, an account that may not act, an application that was switched off give nobody.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::agent::session_of;
use super::person::Key;
use super::record::{AgentRecord, ApplicationKeys, Person, Records};
use super::rejection::{Rejection, Silent};
use crate::account::{self, Account, Standing};
use crate::agent::{self as delegation, AgentToken, Handout};
use crate::apikey::{self, ApiKey};
use crate::app::App;
use crate::application::{self, Presented, Refusal};
use crate::base::{Id, Slug, Timestamp};
use crate::organization::{self, Place};
use crate::principal::{ApplicationFacts, SessionFacts};
use crate::shared::Allowance;
use crate::store::Error;
use crate::{rbac, session};

/// The slices, and what they remember for the gate.
pub struct FromSlices {
    app: Arc<App>,
    organizations: organization::Directory,
    applications: application::Directory,
}

impl FromSlices {
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            organizations: organization::Directory::default(),
            applications: application::Directory::default(),
        }
    }

    async fn read(&self, sid: Id) -> Result<Option<Person>, Error> {
        let (db, now) = (&self.app.db, self.app.now());
        let Some(session) = session::by_id(db, sid).await?.filter(|session| session.is_alive(now)) else {
            return Ok(None);
        };
        if let Some(application) = session.application
            && self.applications.active(&self.app, application).await?.is_none()
        {
            return Ok(None);
        }
        let account = account::by_id(db, session.account).await?;
        match account.filter(|account| account.standing(now) == Standing::Good) {
            Some(account) => person_of(&self.app, &account, session.facts()).await.map(Some),
            None => Ok(None),
        }
    }
}

impl FromSlices {
    async fn read_key(&self, id: Id) -> Result<Option<Person>, Error> {
        let (db, now) = (&self.app.db, self.app.now());
        let Some(key) = apikey::by_id(db, id).await?.filter(|key| key.is_alive(now)) else { return Ok(None) };
        let account = account::by_id(db, key.account).await?;
        let may_act = |own: &Account| own.standing(now) == Standing::Good && !own.must_change_password;
        let Some(account) = account.filter(may_act) else { return Ok(None) };
        let person = person_of(&self.app, &account, of_key(&key)).await?;
        Ok(Some(Person { scopes: Some(key.scopes), ..person }))
    }

    async fn read_agent(&self, digest: &str) -> Result<Option<AgentRecord>, Error> {
        let Some(token) = delegation::by_digest(&self.app.db, digest).await? else { return Ok(None) };
        let application = match token.application {
            Some(id) => self.applications.active(&self.app, id).await?,
            None => None,
        };
        agent_of(&self.app, token, application.as_deref()).await.map(Some)
    }
}

/// What stands for the session of an API key: nobody has logged in, and no second factor was proved.
const fn of_key(key: &ApiKey) -> SessionFacts {
    SessionFacts {
        sid: key.id,
        started_at: key.created_at,
        authenticated_at: Timestamp::from_millis(0),
        second_factor_at: None,
        method: "api_key",
        application: None,
        scope: None,
        ends_at: key.expires_at,
    }
}

/// What was delegated, and the human. `application` is the active one that it was delegated through.
pub(super) async fn agent_of(
    app: &App,
    token: AgentToken,
    application: Option<&ApplicationFacts>,
) -> Result<AgentRecord, Error> {
    let slug = match token.organization {
        Some(id) => organization::by_id(&app.db, id).await?.map(|found| found.slug),
        None => None,
    };
    let is_disabled = token.application.is_some() && application.is_none();
    let account = account::by_id(&app.db, token.account).await?;
    let person = match account.filter(|own| !is_disabled && own.standing(app.now()) == Standing::Good) {
        Some(account) => Some(person_of(app, &account, session_of(&token)).await?),
        None => None,
    };
    Ok(AgentRecord { token, slug, person })
}

/// An account with a session of it, and everything that was given to it.
pub(super) async fn person_of(app: &App, account: &Account, session: SessionFacts) -> Result<Person, Error> {
    let mut assignments = rbac::assignments(&app.db, account.id).await?;
    assignments.is_superuser = account.is_superuser;
    let memberships = organization::memberships(&app.db, account.id).await?;
    Ok(Person { account: account.facts(), session, assignments, scopes: None, memberships })
}

impl Records for FromSlices {
    fn person(&self, sid: Id) -> BoxFuture<'_, Result<Option<Person>, Error>> {
        self.read(sid).boxed()
    }

    fn api_key<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<(Id, Id)>, Error>> {
        apikey::by_digest(&self.app.db, digest).boxed()
    }

    fn person_of_key(&self, key: Id) -> BoxFuture<'_, Result<Option<Person>, Error>> {
        self.read_key(key).boxed()
    }

    fn place<'a>(&'a self, site: Id, slug: &'a Slug) -> BoxFuture<'a, Result<Option<Arc<Place>>, Error>> {
        self.organizations.by_slug(&self.app, site, slug).boxed()
    }

    fn application<'a>(
        &'a self,
        keys: ApplicationKeys<'a>,
    ) -> BoxFuture<'a, Result<Arc<ApplicationFacts>, Rejection>> {
        async move {
            // What is not text is no key, no secret and no origin of ours.
            let text =
                |value: &'a ::http::HeaderValue| value.to_str().map_err(|_| Rejection::ApplicationInvalid);
            let presented = Presented {
                key: text(keys.key)?,
                secret: keys.secret.map(text).transpose()?,
                origin: keys.origin.map(text).transpose()?,
            };
            self.applications.authenticate(&self.app, presented).await.map_err(|refusal| told(&refusal))
        }
        .boxed()
    }

    fn agent_key<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<Key>, Error>> {
        async move {
            let token = delegation::by_digest(&self.app.db, digest).await?;
            Ok(token.map(|own| Key::of_session(own.id, own.account, own.application)))
        }
        .boxed()
    }

    fn agent<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<AgentRecord>, Error>> {
        self.read_agent(digest).boxed()
    }

    fn take(&self, token: Id, chunk: Allowance, least: Allowance) -> BoxFuture<'_, Result<Handout, Error>> {
        async move { delegation::take(&self.app, token, chunk, least).await }.boxed()
    }

    fn give_back(&self, token: Id, amount: Allowance) -> BoxFuture<'_, Result<(), Error>> {
        delegation::give_back(&self.app, token, amount).boxed()
    }

    fn application_of(&self, id: Id) -> BoxFuture<'_, Result<Option<Arc<ApplicationFacts>>, Error>> {
        self.applications.active(&self.app, id).boxed()
    }

    fn is_application_origin<'a>(&'a self, origin: &'a str) -> BoxFuture<'a, bool> {
        async move {
            if let Err(error) = self.applications.refresh(&self.app).await {
                tracing::warn!(%error, "the applications cannot be read");
                return false;
            }
            self.applications.is_origin(origin)
        }
        .boxed()
    }
}

fn told(refusal: &Refusal) -> Rejection {
    match refusal {
        Refusal::Invalid => Rejection::ApplicationInvalid,
        Refusal::OriginMissing => Rejection::ApplicationOriginRequired,
        Refusal::OriginDenied => Rejection::ApplicationOriginDenied,
        Refusal::Overloaded => Rejection::Unavailable(Silent::Hashing),
        Refusal::Store(error) => {
            tracing::warn!(%error, "the applications cannot be read");
            Rejection::Unavailable(Silent::Store)
        }
    }
}

impl fmt::Debug for FromSlices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromSlices").finish_non_exhaustive()
    }
}
