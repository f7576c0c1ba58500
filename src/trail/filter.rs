//! What somebody looks for in the trail, as a list and an export both read it.
//! Law: both take the same words for the same thing, so that an export holds what the list showed.

use schemars::JsonSchema;

use super::query::{address, application_named, moment, whom};
use crate::agent;
use crate::audit::{self, Before, Search, Stream};
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Call, Fields, FromFields};

/// What is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuditFilters")]
pub(super) struct Filters {
    /// `changes`, or `data_plane`: decisions about requests. Both if absent.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<Stream>,
    /// Whom it is about, by number or id; with an agent, on whose behalf.
    #[schemars(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// Words for what happened, joined by commas.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    action: Option<Vec<String>>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ip_address: Option<std::net::IpAddr>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
    /// The agent token that did it, by number or id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    agent_token: Option<String>,
    /// An organization, by its id.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    organization: Option<Id>,
    /// The prompt that caused it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    prompt_trace_id: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// RFC 3339, or a day.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_from: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_to: Option<Timestamp>,
}

impl FromFields for Filters {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let action: Option<Vec<String>> = fields.optional("action").parsed(|text| {
            // Commas alone would find everything.
            Some(codes(text)).filter(|codes| !codes.is_empty()).ok_or("Words joined by commas.")
        });
        let unknown = action.iter().flatten().find(|code| !audit::CODES.contains(&code.as_str()));
        if let Some(code) = unknown {
            fields.problem("action", format!("There is no event \"{code}\"."));
        }
        let stream = |name: &str| Stream::named(name).ok_or("One of changes and data_plane.");
        Some(Self {
            stream: fields.optional("stream").parsed(stream),
            user_id: fields.optional("user_id").text(),
            action,
            ip_address: address(fields),
            application_id: fields.optional("application_id").text(),
            agent_token: fields.optional("agent_token").text(),
            organization: fields
                .optional("organization")
                .parsed(|text| text.parse::<Id>().map_err(|_| "Not an id.")),
            prompt_trace_id: fields.optional("prompt_trace_id").text(),
            request_id: fields.optional("request_id").text(),
            date_from: moment(fields, "date_from"),
            date_to: moment(fields, "date_to"),
        })
    }
}

impl Filters {
    /// The rows that are meant, of the site of whoever calls.
    ///
    /// # Errors
    /// 400 where something is named that is not there.
    pub(super) async fn search(self, call: &Call) -> Result<Search, ApiError> {
        let site = call.person()?.account.site;
        Ok(Search {
            stream: self.stream,
            codes: self.action.unwrap_or_default(),
            account: whom(call, "user_id", self.user_id.as_deref()).await?,
            concerning: None,
            about: None,
            agent: agent_named(call, site, self.agent_token.as_deref()).await?,
            application: application_named(call, site, self.application_id.as_deref()).await?,
            organization: self.organization,
            address: self.ip_address.map(|address| address.to_string()),
            request_id: self.request_id,
            trace: self.prompt_trace_id,
            since: self.date_from,
            until: self.date_to,
            before: Before::default(),
        })
    }
}

/// Words joined by commas.
#[must_use]
pub fn codes(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

async fn agent_named(call: &Call, site: Id, text: Option<&str>) -> Result<Option<Id>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let unknown = || ApiError::invalid("agent_token", &["There is no such agent token.".to_owned()]);
    match text.parse::<agent::Reference>() {
        Ok(agent::Reference::Id(id)) => Ok(Some(id)),
        Ok(reference) => {
            let found = agent::find(&call.app.db, reference).await?;
            found.filter(|token| token.site == site).map(|token| Some(token.id)).ok_or_else(unknown)
        }
        Err(_) => Err(unknown()),
    }
}
