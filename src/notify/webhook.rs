//! Webhooks: notices as signed POST requests, in the form of the Standard Webhooks specification.
//!
//! Law: every try has a fresh timestamp inside its signature, and all tries of one notice have one
//! id. A redirect is not followed, an answer is not read, and without `allow_private` nothing but
//! public addresses is called, whatever the name resolves to at that moment.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::courier::{Outcome, Told};
use super::reach::{self, PRIVATE, Reach, problem};
use super::tls;
use crate::base::{Id, Secret, Timestamp};
use crate::config::Webhook;
use crate::crypto::digest;

/// For whoever only looks.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// A webhook that can be called.
pub(super) struct Caller {
    client: reqwest::Client,
    url: reqwest::Url,
    secret: Secret<Vec<u8>>,
    reach: Reach,
}

impl Caller {
    pub(super) fn new(hook: &Webhook) -> Result<Self, tls::Unusable> {
        let url: reqwest::Url = hook.url.expose().parse().map_err(|_| "its URL cannot be read")?;
        let reach = Reach::of(hook.allow_private);
        if !reach.admits_url(&url) {
            return Err(PRIVATE);
        }
        let client = reach::builder(reach, hook.authorities.as_deref(), hook.timeout)?;
        let client = client.build().map_err(|_| "its HTTP client cannot be made")?;
        Ok(Self { client, url, secret: hook.secret.clone(), reach })
    }

    /// Whether its name has an address that may be called, and something listens there. Nothing is said.
    pub(super) async fn check(&self) -> Result<&'static str, String> {
        let (host, port) = (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let looked = async {
            let found = tokio::net::lookup_host((host, port.unwrap_or(443))).await;
            let found: Vec<SocketAddr> = found.map_err(|_| "its name does not resolve".to_owned())?.collect();
            let may_call = |address: &&SocketAddr| self.reach.admits(address.ip());
            let address = found.iter().find(may_call).ok_or_else(|| PRIVATE.to_owned())?;
            let connected = tokio::net::TcpStream::connect(address).await;
            connected.map(drop).map_err(|error| format!("nothing answers there: {error}"))
        };
        match tokio::time::timeout(LOOK_WITHIN, looked).await {
            Ok(outcome) => outcome.map(|()| "its server can be reached"),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// One try.
    pub(super) async fn call(&self, told: &Told<'_>, data: &Value, now: Timestamp) -> Outcome {
        let happened_at = told.at.rfc3339();
        let body = json!({"type": told.notice, "timestamp": happened_at, "data": data}).to_string();
        let signature = signature(self.secret.expose(), told.id, now, body.as_bytes());
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", told.id.to_string())
            .header("webhook-timestamp", now.as_secs().to_string())
            .header("webhook-signature", signature)
            .body(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Outcome::Done,
            Ok(answer) => Outcome::Later(format!("answered {}", answer.status().as_u16())),
            // Not the error's own text: it holds the URL, and that may hold a password.
            Err(error) => Outcome::Later(problem(&error).to_owned()),
        }
    }
}

/// The header `webhook-signature`: HMAC-SHA-256 over id, seconds and body.
#[must_use]
pub fn signature(secret: &[u8], id: Id, at: Timestamp, body: &[u8]) -> String {
    let mut signed = format!("{id}.{}.", at.as_secs()).into_bytes();
    signed.extend_from_slice(body);
    format!("v1,{}", digest::base64(&digest::hmac_sha256(secret, &signed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own documentation has its id in another form, so this one
    /// was computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn the_signature_is_the_one_that_receivers_compute() {
        let id: Id = "019aa0e0-0000-7000-8000-000000000001".parse().unwrap();
        let at = Timestamp::from_millis(1_795_168_800_000);
        assert_eq!(
            signature(b"0123456789abcdef01234567", id, at, b"{}"),
            "v1,znyQctzwBStvuchu3xRLfYUTY2haLi2thvvFnJGWk1w="
        );
    }

    #[test]
    fn an_address_inside_is_not_called_unless_it_is_meant() {
        let hook = |url: &str, allow_private| Webhook {
            name: "a".to_owned(),
            url: Secret::new(url.to_owned()),
            secret: Secret::new(vec![7; 24]),
            events: std::collections::BTreeSet::new(),
            allow_private,
            authorities: None,
            timeout: Duration::from_secs(1),
        };
        for url in
            ["https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://0x7f.1/", "https://2130706433/"]
        {
            assert!(Caller::new(&hook(url, false)).is_err(), "{url}");
            assert!(Caller::new(&hook(url, true)).is_ok(), "{url}");
        }
        assert!(Caller::new(&hook("https://1.1.1.1/", false)).is_ok());
    }
}
