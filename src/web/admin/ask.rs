//! How the pages of administrators get what they show: they ask the gateway's own endpoints.
//!
//! Law: a page is a view and no second way in. Who may ask, what is read, what is changed and what the trail
//! says of it is the endpoint's row and its handler; a row that is neither for people nor for those who hold a
//! permission is not asked at all, and an organization is one that the person may know of.

use std::sync::{Arc, LazyLock};

use ::http::Method;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::base::Slug;
use crate::http::{Access, ApiError, Body, Call, CallHead, ErrorCode, Reply, Row, fresh};
use crate::organization::{self, Inherit};
use crate::policy::Code;
use crate::principal::Principal;
use crate::{administration, agent, application, rbac, statistics, trail};

/// An endpoint, by its method and the path that its row declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
}

impl Endpoint {
    pub(super) const fn get(path: &'static str) -> Self {
        Self { method: "GET", path }
    }

    pub(super) const fn post(path: &'static str) -> Self {
        Self { method: "POST", path }
    }

    pub(super) const fn put(path: &'static str) -> Self {
        Self { method: "PUT", path }
    }

    pub(super) const fn patch(path: &'static str) -> Self {
        Self { method: "PATCH", path }
    }

    pub(super) const fn del(path: &'static str) -> Self {
        Self { method: "DELETE", path }
    }

    /// Its row; nothing where no slice has one.
    pub(super) fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.path() == self.path && row.method().as_str() == self.method)
    }

    /// Whether somebody may ask it. What it finds then may still be nobody's business but others'.
    pub(super) fn is_for(self, person: &Principal) -> bool {
        self.row().is_some_and(|row| may(row, person).is_ok())
    }
}

/// What the pages are views of.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows = administration::rows();
    rows.extend(rbac::rows());
    rows.extend(organization::rows());
    rows.extend(application::rows());
    rows.extend(agent::rows());
    rows.extend(trail::rows());
    rows.extend(statistics::rows());
    rows
});

/// What the gate asks of who calls the row with a token.
fn may(row: &Row, person: &Principal) -> Result<(), ApiError> {
    match row.access() {
        Access::Person => Ok(()),
        Access::Permission(code) => {
            let is_held = Code::parse(code).is_ok_and(|code| person.rights.holds_code(&code));
            if is_held { Ok(()) } else { Err(ApiError::new(ErrorCode::PermissionRequired)) }
        }
        Access::Open | Access::Agent | Access::PersonOrAgent | Access::Page => {
            Err(ApiError::new(ErrorCode::NotFound))
        }
    }
}

/// What an endpoint is asked.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    endpoint: Endpoint,
    /// In the place of `{id}` in its path.
    id: Option<&'a str>,
    /// The organization to act in.
    organization: Option<&'a str>,
    query: String,
    body: Option<Map<String, Value>>,
}

impl<'a> Question<'a> {
    pub(super) const fn to(endpoint: Endpoint) -> Self {
        Self { endpoint, id: None, organization: None, query: String::new(), body: None }
    }

    pub(super) const fn about(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    pub(super) const fn in_organization(mut self, slug: &'a str) -> Self {
        self.organization = Some(slug);
        self
    }

    pub(super) fn query(mut self, query: String) -> Self {
        self.query = query;
        self
    }

    pub(super) fn body(mut self, body: Map<String, Value>) -> Self {
        self.body = Some(body);
        self
    }

    /// Asks for whoever called a page; what the endpoint answers, if it does not refuse.
    pub(super) async fn reply(self, call: &Call) -> Result<Reply, ApiError> {
        let row = self.endpoint.row().ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
        let person = call.person()?;
        may(row, person)?;
        let most = call.app.config().api.admin_max_age;
        if fresh::too_old(row, most, &person.session, call.app.now()).is_some() {
            return Err(ApiError::new(ErrorCode::ReauthenticationRequired));
        }
        if let Some(slug) = self.organization {
            known(call, person, slug).await?;
        }
        let body = match self.body {
            Some(fields) => {
                let bytes = serde_json::to_vec(&fields).map_err(ApiError::internal)?;
                Body { content_type: Some("application/json".to_owned()), bytes: Bytes::from(bytes) }
            }
            None => Body::default(),
        };
        let head = CallHead {
            method: Method::from_bytes(self.endpoint.method.as_bytes()).map_err(ApiError::internal)?,
            params: self.id.map(|id| ("id", id.to_owned())).into_iter().collect(),
            query: self.query,
            org_slug: self.organization.map(str::to_owned),
            idempotency_key: None,
            agent: None,
            bearer: None,
            ..call.head.clone()
        };
        let asked = Call {
            app: Arc::clone(&call.app),
            principal: Some(Arc::clone(person)),
            application: call.application.clone(),
            head,
        };
        row.ask(asked, body).await
    }

    /// The same, and the answer as JSON: null where it is empty.
    pub(super) async fn read(self, call: &Call) -> Result<Value, ApiError> {
        let reply = self.reply(call).await?;
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&reply.body).map_err(ApiError::internal)
    }

    /// The same, or nothing where the person may not ask that.
    pub(super) async fn read_if_allowed(self, call: &Call) -> Result<Option<Value>, ApiError> {
        if self.endpoint.is_for(call.person()?) { self.read(call).await.map(Some) } else { Ok(None) }
    }
}

/// An organization that somebody has nothing to do with does not exist: what the gate says of `X-Org-Slug`.
async fn known(call: &Call, person: &Principal, text: &str) -> Result<(), ApiError> {
    let organizations = &call.app.config().organizations;
    if !organizations.is_enabled {
        return Err(ApiError::new(ErrorCode::FeatureDisabled));
    }
    let unknown = || ApiError::new(ErrorCode::OrgNotFound);
    let slug = Slug::parse(text).map_err(|_| unknown())?;
    let place = organization::place(&call.app.db, person.account.site, &slug).await?.ok_or_else(unknown)?;
    let inherit = if organizations.inherit_roles { Inherit::FromAbove } else { Inherit::Nothing };
    organization::context(&person.memberships, &place, inherit).map(|_| ()).map_err(|_| unknown())
}
