//! Asking a provider something.
//!
//! Law: an answer comes within the provider's timeout and its cap, from an address that may be
//! called, or there is none. A redirect is not followed: codes and secrets would go with it. What is
//! asked and answered goes into no log.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde_json::Value;

use super::Failed;
use crate::base::{Secret, json};
use crate::config;
use crate::crypto::digest::base64;
use crate::notify::reach::{self, PRIVATE, Reach, problem};

/// No answer that is asked for here is longer.
const MOST: usize = 256 * 1024;

/// What a request proves itself with.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    None,
    Bearer(&'a Secret<String>),
    Basic(&'a str, &'a Secret<String>),
}

/// What came back, as JSON.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    /// The answer, if it is a good one.
    pub(super) fn good(self, why: &'static str) -> Result<Self, Failed> {
        if self.status.is_success() { Ok(self) } else { Err(Failed::Refused(why)) }
    }
}

/// A client for one provider.
pub(super) struct Fetch {
    client: reqwest::Client,
    reach: Reach,
    /// Whether plain http may be asked: only where the provider is told to be on this machine.
    is_plain: bool,
}

impl Fetch {
    pub(super) fn new(settings: &config::Provider) -> Result<Self, &'static str> {
        let reach = Reach::of(settings.allow_private);
        let client = reach::builder(reach, settings.authorities.as_deref(), settings.timeout)?;
        let client = client.build().map_err(|_| "its HTTP client cannot be made")?;
        let own = [&settings.issuer, &settings.site, &settings.api];
        let is_plain = own.into_iter().flatten().any(|url| url.starts_with("http://"));
        Ok(Self { client, reach, is_plain })
    }

    /// A URL that may be asked.
    pub(super) fn url(&self, text: &str) -> Result<Url, Failed> {
        let url: Url = text.parse().map_err(|_| Failed::Unavailable("a URL of its cannot be read"))?;
        let is_fine = url.scheme() == "https" || (self.is_plain && url.scheme() == "http");
        if !is_fine || !url.username().is_empty() || url.password().is_some() {
            return Err(Failed::Unavailable("a URL of its is not https"));
        }
        if !self.reach.admits_url(&url) {
            return Err(Failed::Unavailable(PRIVATE));
        }
        Ok(url)
    }

    pub(super) async fn get(&self, url: Url, proof: Proof<'_>) -> Result<Answer, Failed> {
        self.send(self.client.get(url), proof).await
    }

    pub(super) async fn post_form(
        &self,
        url: Url,
        fields: &[(&str, &str)],
        proof: Proof<'_>,
    ) -> Result<Answer, Failed> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.send(self.client.post(url).header(CONTENT_TYPE, kind).body(body), proof).await
    }

    pub(super) async fn post_json(&self, url: Url, body: &Value, proof: Proof<'_>) -> Result<Answer, Failed> {
        let kind = HeaderValue::from_static("application/json");
        self.send(self.client.post(url).header(CONTENT_TYPE, kind).body(body.to_string()), proof).await
    }

    async fn send(&self, request: RequestBuilder, proof: Proof<'_>) -> Result<Answer, Failed> {
        let request = match proof {
            Proof::None => request,
            Proof::Bearer(token) => request.header(AUTHORIZATION, header("Bearer", token.expose())?),
            Proof::Basic(name, secret) => {
                let pair = Secret::new(base64(format!("{name}:{}", secret.expose()).as_bytes()));
                request.header(AUTHORIZATION, header("Basic", pair.expose())?)
            }
        };
        let failed = |error: reqwest::Error| Failed::Unavailable(problem(&error));
        let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        let mut answer = request.send().await.map_err(failed)?;
        // Whatever the resolver said: where it was connected to.
        if answer.remote_addr().is_some_and(|address| !self.reach.admits(address.ip())) {
            return Err(Failed::Unavailable(PRIVATE));
        }
        let status = answer.status();
        if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failed::Unavailable("it answered with an error of its own, or sent us elsewhere"));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MOST {
                return Err(Failed::Unavailable("its answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        match json::strict(&bytes) {
            Ok(body) => Ok(Answer { status, body }),
            Err(_) if !status.is_success() => Ok(Answer { status, body: Value::Null }),
            Err(_) => Err(Failed::Unavailable("its answer is not JSON")),
        }
    }
}

fn header(scheme: &str, text: &str) -> Result<HeaderValue, Failed> {
    let value = HeaderValue::try_from(format!("{scheme} {text}"));
    let mut value = value.map_err(|_| Failed::Refused("what was given is no token"))?;
    value.set_sensitive(true);
    Ok(value)
}
