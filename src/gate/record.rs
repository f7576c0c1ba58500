//! What the gate reads about a caller that it does not know yet.
//!
//! Law: asked only when a cache has no answer; a warm request never comes here. What does not
//! answer is an error, never "nobody".

use std::fmt;
use std::sync::Arc;

use ::http::HeaderValue;
use futures::future::BoxFuture;

use super::person::Key;
use super::rejection::Rejection;
use crate::agent::{AgentToken, Handout};
use crate::base::{Id, Slug};
use crate::organization::Place;
use crate::policy::{Assignments, Code};
use crate::principal::{AccountFacts, ApplicationFacts, Membership, SessionFacts};
use crate::shared::Allowance;
use crate::store::Error;

/// The person behind a session that is alive.
#[derive(Debug, Clone)]
pub struct Person {
    pub account: AccountFacts,
    pub session: SessionFacts,
    pub assignments: Assignments,
    /// The permissions that the credential reaches; `None`: it stands for all that the person may do.
    pub scopes: Option<Vec<Code>>,
    pub memberships: Vec<Membership>,
}

/// What a request shows to name its application.
#[derive(Debug, Clone, Copy)]
pub struct ApplicationKeys<'a> {
    pub key: &'a HeaderValue,
    pub secret: Option<&'a HeaderValue>,
    pub origin: Option<&'a HeaderValue>,
}

/// What a human delegated, and the human.
#[derive(Debug, Clone)]
pub struct AgentRecord {
    pub token: AgentToken,
    /// The name of the token's organization, while that is there.
    pub slug: Option<Slug>,
    /// With the session in which it was delegated; `None` when the human, or the application it was
    /// delegated through, may not act.
    pub person: Option<Person>,
}

/// Where the gate looks.
pub trait Records: Send + Sync + fmt::Debug {
    /// The person of this session; `None` when the session or its account may not act any more.
    fn person(&self, sid: Id) -> BoxFuture<'_, Result<Option<Person>, Error>>;

    /// Which API key has this digest (SHA-256 in hex), and whose it is, whatever has become of it.
    fn api_key<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<(Id, Id)>, Error>>;

    /// The person of this API key; `None` when the key or its account may not act any more.
    fn person_of_key(&self, key: Id) -> BoxFuture<'_, Result<Option<Person>, Error>>;

    /// The active organization of this slug.
    fn place<'a>(&'a self, site: Id, slug: &'a Slug) -> BoxFuture<'a, Result<Option<Arc<Place>>, Error>>;

    /// The application that these keys belong to.
    fn application<'a>(
        &'a self,
        keys: ApplicationKeys<'a>,
    ) -> BoxFuture<'a, Result<Arc<ApplicationFacts>, Rejection>>;

    /// Which agent token has this digest (SHA-256 in hex), whatever has become of it.
    fn agent_key<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<Key>, Error>>;

    /// The agent token of this digest.
    fn agent<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<AgentRecord>, Error>>;

    /// Hands out what an agent token may do: `chunk`, or of what is short at least `least`.
    fn take(&self, token: Id, chunk: Allowance, least: Allowance) -> BoxFuture<'_, Result<Handout, Error>>;

    /// Takes back what was handed out and not spent.
    fn give_back(&self, token: Id, amount: Allowance) -> BoxFuture<'_, Result<(), Error>>;

    /// The active application of this id.
    fn application_of(&self, id: Id) -> BoxFuture<'_, Result<Option<Arc<ApplicationFacts>>, Error>>;

    /// Whether some active application lists this origin.
    fn is_application_origin<'a>(&'a self, origin: &'a str) -> BoxFuture<'a, bool>;
}
