//! `Call`: one request to a built-in endpoint, as its handler sees it.
//!
//! Law: a call is owned and complete; by the time a handler sees it, the access that its row
//! names was checked. Secrets in it are not shown by `Debug`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ::http::Method;
use bytes::Bytes;

use super::code::ErrorCode;
use super::cookie::Cookies;
use super::error::ApiError;
use crate::app::App;
use crate::audit::{Actor, Who};
use crate::base::Secret;
use crate::principal::{ApplicationFacts, Principal};

/// One request, with whom it comes from.
#[derive(Debug)]
pub struct Call {
    pub app: Arc<App>,
    pub principal: Option<Arc<Principal>>,
    pub application: Option<Arc<ApplicationFacts>>,
    pub head: CallHead,
}

/// What the request line and headers said.
#[derive(Debug, Clone)]
pub struct CallHead {
    pub request_id: String,
    pub method: Method,
    /// The canonical path, as the client asked for it.
    pub path: String,
    /// What the row's pattern captured, decoded.
    pub params: Vec<(&'static str, String)>,
    /// The query, without `?`, as it was sent.
    pub query: String,
    pub client: IpAddr,
    pub user_agent: Option<String>,
    pub origin: Option<String>,
    /// The organization that the caller asks to act in; where the row asks for a person, one that
    /// the person may know of.
    pub org_slug: Option<String>,
    pub cookies: Cookies,
    /// What makes the same request again the same request; at most 255 bytes.
    pub idempotency_key: Option<String>,
    /// The token of `Authorization: AgentBearer`, on rows for agents; the handler looks it up.
    pub agent: Option<Secret<String>>,
    /// The token of `Authorization: Bearer`, checked or not.
    pub bearer: Option<Secret<String>>,
}

/// The body of a request. The reader of the body keeps to [`super::input::MAX_BODY`].
#[derive(Clone, Default)]
pub struct Body {
    pub content_type: Option<String>,
    pub bytes: Bytes,
}

impl fmt::Debug for Body {
    /// Passwords stand in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Call {
    /// The person who calls. Present on every row that asks for one.
    ///
    /// # Errors
    /// 401, so that a handler on a wrongly declared row still refuses.
    pub fn person(&self) -> Result<&Arc<Principal>, ApiError> {
        self.principal.as_ref().ok_or_else(|| ApiError::new(ErrorCode::AuthRequired))
    }

    /// The token of the agent that calls, not looked up yet. Present on every row for agents.
    ///
    /// # Errors
    /// 401, so that a handler on a wrongly declared row still refuses.
    pub fn agent(&self) -> Result<&Secret<String>, ApiError> {
        self.head.agent.as_ref().ok_or_else(|| ApiError::new(ErrorCode::Unauthorized))
    }

    /// What the path held in the place of `{name}`.
    ///
    /// # Errors
    /// 404 where the row's path has no such name.
    pub fn param(&self, name: &str) -> Result<&str, ApiError> {
        let found = self.head.params.iter().find(|(param, _)| *param == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| ApiError::new(ErrorCode::NotFound))
    }

    /// Who acts, for the audit trail.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let account = self.principal.as_ref().map(|principal| &principal.account);
        let mut actor = Actor::new(account.map_or(Who::Anonymous, |account| Who::Account(account.id)));
        if let Some(account) = account {
            actor.site = account.site;
        }
        actor.application = self.application.as_ref().map(|application| application.id);
        actor.address = Some(self.head.client);
        actor.user_agent.clone_from(&self.head.user_agent);
        actor.request_id = Some(self.head.request_id.clone());
        actor
    }
}
