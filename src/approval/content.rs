//! The request itself, as it is kept: sealed, whole, and readable for those who decide about it.
//!
//! Law: what is kept is what will be sent; credentials are never among it. What is shown is the
//! same.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::store::{self, Sealed};
use super::{Approval, Error};
use crate::app::App;
use crate::base::Id;
use crate::crypto::digest::{base64url, unbase64url};

/// How much of what was asked for one list brings along. A body may be long, and there may be many.
const BROUGHT_MAX: usize = 1 << 20;

/// What an answer shows of a request.
#[derive(Debug)]
pub enum Seen {
    Whole(Content),
    /// It is kept, and more than this list brings along: it is read by itself.
    Abridged,
    /// Nothing of it is kept.
    Gone,
}

impl Seen {
    /// All that is shown of it.
    #[must_use]
    pub const fn content(&self) -> Option<&Content> {
        match self {
            Self::Whole(content) => Some(content),
            Self::Abridged | Self::Gone => None,
        }
    }
}

/// A request as it will be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub method: String,
    /// The host that the agent asked for.
    pub authority: String,
    /// Path and query as the agent asked for them: what the route is found by.
    pub asked: String,
    /// Path and query as the upstream gets them.
    pub target: String,
    /// The headers that are bound, by name and then in the order in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Where the agent called from.
    pub client: IpAddr,
    /// Whether its connection was encrypted.
    pub is_https: bool,
    /// The agent's own `Idempotency-Key`, if it sent one.
    pub idempotency_key: Option<String>,
}

/// Everything but the body, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Head {
    method: String,
    authority: String,
    asked: String,
    target: String,
    /// Values in base64url: a header may hold bytes that are no text.
    headers: Vec<(String, String)>,
    client: IpAddr,
    #[serde(default)]
    is_https: bool,
    idempotency_key: Option<String>,
}

impl Content {
    pub(super) fn seal(&self, app: &App, id: Id) -> Result<Sealed, Error> {
        let head = Head {
            method: self.method.clone(),
            authority: self.authority.clone(),
            asked: self.asked.clone(),
            target: self.target.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), base64url(value))).collect(),
            client: self.client,
            is_https: self.is_https,
            idempotency_key: self.idempotency_key.clone(),
        };
        let head = serde_json::to_vec(&head).map_err(|error| Error::Broken { cause: error.to_string() })?;
        let seal = |part, bytes: &[u8]| app.seal.seal(app.random.as_ref(), &place(id, part), bytes);
        Ok(Sealed { head: seal("head", &head), body: seal("body", &self.body) })
    }

    fn open(app: &App, id: Id, sealed: &Sealed) -> Result<Self, Error> {
        let broken = |cause: String| Error::Broken { cause: format!("a kept request: {cause}") };
        let open = |part, bytes: &[u8]| {
            app.seal.open(&place(id, part), bytes).map_err(|error| broken(error.to_string()))
        };
        let (head, body) = (open("head", &sealed.head)?, open("body", &sealed.body)?);
        let head: Head = serde_json::from_slice(head.expose()).map_err(|error| broken(error.to_string()))?;
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in head.headers {
            let value = unbase64url(&value).ok_or_else(|| broken("a header".to_owned()))?;
            headers.push((name, value));
        }
        Ok(Self {
            method: head.method,
            authority: head.authority,
            asked: head.asked,
            target: head.target,
            headers,
            body: body.expose().clone(),
            client: head.client,
            is_https: head.is_https,
            idempotency_key: head.idempotency_key,
        })
    }
}

/// Moved to another row or column, it does not open.
fn place(id: Id, part: &str) -> String {
    format!("approval:{id}:{part}")
}

/// The same for an answer.
pub async fn seen(app: &App, approval: &Approval) -> Result<Seen, Error> {
    Ok(content(app, approval).await?.map_or(Seen::Gone, Seen::Whole))
}

/// The request of an approval, exactly; `None` once it is over and nothing of it is kept.
/// Whoever calls this has made sure that it may be seen.
pub async fn content(app: &App, approval: &Approval) -> Result<Option<Content>, Error> {
    let sealed = store::sealed(&app.db, approval.id).await?;
    sealed.map(|sealed| Content::open(app, approval.id, &sealed)).transpose()
}

/// The requests of a list, as many of them as fit into [`BROUGHT_MAX`] bytes together.
/// Whoever calls this has made sure that they may be seen.
pub async fn contents(app: &App, approvals: &[Approval]) -> Result<Vec<Seen>, Error> {
    let (mut all, mut room) = (Vec::with_capacity(approvals.len()), BROUGHT_MAX);
    for approval in approvals {
        all.push(match store::sealed_within(&app.db, approval.id, room).await? {
            Some(sealed) => {
                room -= sealed.head.len() + sealed.body.len();
                Seen::Whole(Content::open(app, approval.id, &sealed)?)
            }
            None if store::is_kept(&app.db, approval.id).await? => Seen::Abridged,
            None => Seen::Gone,
        });
    }
    Ok(all)
}
