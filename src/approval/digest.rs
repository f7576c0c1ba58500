//! What an approval is bound to, and the token that names it.
//!
//! Law: every field goes into a digest behind its length, so no two different requests have the
//! same input. The token is made from the id with a key that is not in the store: who reads the
//! store cannot name an approval on the wire.

use std::time::Duration;

use crate::base::{Id, Secret};
use crate::crypto::digest::{base64url, hmac_sha512, sha256_hex};
use crate::crypto::seal::SealKey;

/// The version of what is digested: another one never equals these.
const REQUEST: &str = "portcullis request v1";
const BINDING: &str = "portcullis binding v1";

/// Exactly what will be sent, by whom and under which policy.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub site: Id,
    pub organization: Option<Id>,
    pub agent_token: Id,
    pub account: Id,
    pub route: &'a str,
    /// From [`super::policy_digest`].
    pub policy: &'a str,
    pub upstream: &'a str,
    pub method: &'a str,
    /// The host that was asked for.
    pub authority: &'a str,
    /// As the upstream will get it.
    pub target: &'a str,
    /// Those that are bound, by name and then in the order in which they came.
    pub headers: &'a [(String, Vec<u8>)],
    pub body: &'a [u8],
}

/// SHA-256 over everything that will be sent, in hex.
#[must_use]
pub fn request_digest(bound: &Bound<'_>) -> String {
    let organization = bound.organization.map(|id| id.to_string()).unwrap_or_default();
    let mut fields = Fields::new(REQUEST);
    fields.text(&bound.site.to_string());
    fields.text(&organization);
    fields.text(&bound.agent_token.to_string());
    fields.text(&bound.account.to_string());
    for text in [bound.route, bound.policy, bound.upstream, bound.method, bound.authority, bound.target] {
        fields.text(text);
    }
    fields.count(bound.headers.len());
    for (name, value) in bound.headers {
        fields.text(name);
        fields.bytes(value);
    }
    fields.count(bound.body.len());
    fields.text(&sha256_hex(bound.body));
    fields.end()
}

/// SHA-256 over an approval and what was asked, in hex: shown to whoever approves.
pub(super) fn binding_digest(approval: Id, request: &str) -> String {
    let mut fields = Fields::new(BINDING);
    fields.text(&approval.to_string());
    fields.text(request);
    fields.end()
}

/// The confirmation token: 86 characters, as the contract has it (section 26.4).
pub(super) fn token(seal: &SealKey, id: Id) -> Secret<String> {
    let key = seal.derive("confirmation token");
    Secret::new(base64url(&hmac_sha512(key.expose(), id.to_string().as_bytes())))
}

/// Collects what is digested: each field behind its length.
pub(super) struct Fields(Vec<u8>);

impl Fields {
    pub fn new(tag: &str) -> Self {
        let mut fields = Self(Vec::new());
        fields.text(tag);
        fields
    }

    pub fn count(&mut self, number: usize) {
        self.number(number as u64);
    }

    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// What is not there differs from what is empty.
    pub fn maybe(&mut self, text: Option<&str>) {
        self.count(text.iter().len());
        if let Some(text) = text {
            self.text(text);
        }
    }

    pub fn flag(&mut self, is_set: bool) {
        self.number(is_set.into());
    }

    pub fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    /// In whatever order they come.
    pub fn set(&mut self, mut items: Vec<Vec<u8>>) {
        items.sort();
        self.count(items.len());
        for item in &items {
            self.bytes(item);
        }
    }

    /// One more text, and then the whole.
    pub fn and(mut self, text: &str) -> Vec<u8> {
        self.text(text);
        self.0
    }

    /// As a part of something else.
    pub fn whole(self) -> Vec<u8> {
        self.0
    }

    pub fn end(&self) -> String {
        sha256_hex(&self.0)
    }
}
