//! What can be told, and `webhooks`: which programs are told it.
//!
//! Law: what leaves this machine is encrypted, or the file says that it is not. A signing secret
//! comes from a file of its own and is a `Secret` from here on; so is a webhook's URL, because its
//! path is often a password too.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{self, Files};
use super::insecure::{Insecure, Permitted};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use crate::base::Secret;
use crate::crypto::digest;

/// One of `webhooks` as the file writes it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Webhook")]
pub(super) struct RawWebhook {
    /// What logs and the outbox call it.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Where notices are posted to.
    url: String,
    /// A file with `whsec_` and 24 to 64 random bytes in base64: what notices are signed with.
    secret_file: PathBuf,
    /// What it is told.
    #[schemars(length(min = 1))]
    events: Vec<Notice>,
    /// Whether its host may be on this machine or in a private network.
    allow_private: bool,
    /// PEM: whose certificates are believed beside those that the system trusts.
    ca_file: Option<PathBuf>,
    /// How long one try may take.
    #[serde(with = "As::<Span>")]
    timeout: Duration,
}

/// A program that is told what happened.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub name: String,
    pub url: Secret<String>,
    pub secret: Secret<Vec<u8>>,
    pub events: BTreeSet<Notice>,
    pub allow_private: bool,
    /// PEM.
    pub authorities: Option<Vec<u8>>,
    pub timeout: Duration,
}

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
pub enum Notice {
    /// An agent token was suspended.
    #[serde(rename = "agent.suspended")]
    AgentSuspended,
    /// An agent wants to do something that people must approve.
    #[serde(rename = "approval.requested")]
    ApprovalRequested,
    /// It was approved, denied, or called off because it cannot be had any more.
    #[serde(rename = "approval.decided")]
    ApprovalDecided,
    /// Nobody decided in time, or it was approved and not done in time.
    #[serde(rename = "approval.expired")]
    ApprovalExpired,
    /// It was sent: with success, without, or with an end that nobody knows.
    #[serde(rename = "approval.executed")]
    ApprovalExecuted,
    /// A code that its reader asked for. Nobody else is told.
    #[serde(skip)]
    Code,
    /// An account's e-mail address or phone number is another one now: for its owner alone.
    #[serde(skip)]
    ContactChanged,
    /// An account's password is another one now: for its owner alone.
    #[serde(skip)]
    PasswordChanged,
    /// Something about an account's second factor is another now: for its owner alone.
    #[serde(skip)]
    SecondFactorChanged,
    /// Another identity opens an account now, or one does not any more: for its owner alone.
    #[serde(skip)]
    WayInChanged,
    /// Somebody logged in on a device that an account was never seen on: for its owner alone.
    #[serde(skip)]
    NewDevice,
    /// A refresh token came back that was used before, and its session ended: for its owner alone.
    #[serde(skip)]
    SessionCopied,
    /// An account is to be deleted, is not to be, or is gone: for its owner alone.
    #[serde(skip)]
    Deletion,
    /// Somebody tried to register with the address of an account: for its owner alone.
    #[serde(skip)]
    RegistrationRepeated,
    /// Somebody is invited into an organization: for whoever reads that address alone.
    #[serde(skip)]
    Invitation,
}

impl Notice {
    /// The word in the file and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentSuspended => "agent.suspended",
            Self::ApprovalRequested => "approval.requested",
            Self::ApprovalDecided => "approval.decided",
            Self::ApprovalExpired => "approval.expired",
            Self::ApprovalExecuted => "approval.executed",
            Self::Code => "account.code",
            Self::ContactChanged => "account.contact_changed",
            Self::PasswordChanged => "account.password_changed",
            Self::SecondFactorChanged => "account.second_factor_changed",
            Self::WayInChanged => "account.way_in_changed",
            Self::NewDevice => "account.new_device",
            Self::SessionCopied => "account.session_copied",
            Self::Deletion => "account.deletion",
            Self::RegistrationRepeated => "account.registration_repeated",
            Self::Invitation => "organization.invitation",
        }
    }
}

/// The longest that one try may be told to take; a claim on a notice lasts longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
impl RawWebhook {
    fn check(
        self,
        place: &Place,
        files: &Files<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Option<Webhook> {
        timeout(self.timeout, place, report);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !self.name.bytes().all(is_name) {
            report.problem(&place.key("name"), "letters, digits, `-`, `_` and `.` only");
        }
        self.check_url(place, report, permitted);
        let secret = self.secret(place, files, report, permitted);
        let authorities = authorities(self.ca_file.as_ref(), place, files, report);
        Some(Webhook {
            name: self.name,
            url: Secret::new(self.url),
            secret: secret?,
            events: self.events.into_iter().collect(),
            allow_private: self.allow_private,
            authorities,
            timeout: self.timeout,
        })
    }

    fn check_url(&self, place: &Place, report: &mut Report, permitted: &mut Permitted) {
        let place = place.key("url");
        let parsed = self.url.parse::<http::Uri>().ok();
        let host = parsed.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
        let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
        let (Some(host), Some(scheme @ ("https" | "http"))) = (host, scheme) else {
            report.problem(&place, "not a URL").hint("write `https://hooks.example.com/portcullis`");
            return;
        };
        if self.url.contains(['@', '#']) {
            report.problem(&place, "a webhook's URL has neither a user nor a fragment").hint(
                "notices are signed: the receiver needs no password, and can check the signature instead",
            );
        }
        if scheme == "http" && !is_here(host) && !permitted.has(Insecure::UnencryptedNotices) {
            report
                .problem(&place, "notices would cross the network for everyone to read")
                .hint("write `https://…`; `insecure: [unencrypted_notices]` accepts the risk");
        }
        if is_here(host) && !self.allow_private {
            report
                .problem(&place, "this is an address of this machine")
                .hint("`allow_private: true` says that it is meant");
        }
    }

    fn secret(
        &self,
        place: &Place,
        files: &Files<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Option<Secret<Vec<u8>>> {
        let place = place.key("secret_file");
        let text = files.password(&self.secret_file, &place, report, permitted)?;
        let bytes = text.expose().strip_prefix("whsec_").and_then(digest::unbase64).map(Secret::new);
        let bytes = bytes.filter(|bytes| (24..=64).contains(&bytes.expose().len()));
        if bytes.is_none() {
            report
                .problem(&place, "not `whsec_` and 24 to 64 bytes in base64")
                .hint("make one with `echo whsec_$(openssl rand -base64 32)`");
        }
        bytes
    }
}

/// Checks all of them; no two may share a name.
pub(super) fn webhooks(
    raw: Vec<RawWebhook>,
    files: &Files<'_>,
    report: &mut Report,
    permitted: &mut Permitted,
) -> Vec<Webhook> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for (at, raw) in raw.into_iter().enumerate() {
        let place = Place::root().key("webhooks").item(at);
        if !names.insert(raw.name.clone()) {
            report.problem(&place.key("name"), format!("another webhook is called `{}`", raw.name));
        }
        checked.extend(raw.check(&place, files, report, permitted));
    }
    checked
}

pub(super) fn timeout(span: Duration, place: &Place, report: &mut Report) {
    if span < Duration::from_secs(1) || span > TIMEOUT_MAX {
        report.problem(&place.key("timeout"), "between 1s and 30s");
    }
}

pub(super) fn authorities(
    path: Option<&PathBuf>,
    place: &Place,
    files: &Files<'_>,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let mut path = path?.clone();
    files.readable(&mut path, &place.key("ca_file"), report);
    // What cannot be read was reported in the line above.
    file::read(&path).ok()
}

/// Whether what is sent to this host stays on this machine.
pub(super) fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Where a provider's API is; `such_as` is one that would do.
pub(super) fn check_api(
    api: &str,
    such_as: &str,
    place: &Place,
    report: &mut Report,
    permitted: &mut Permitted,
) {
    let parsed = api.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
    let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
    let (Some(host), Some(scheme @ ("https" | "http"))) = (host, scheme) else {
        report.problem(place, "not a URL").hint(format!("write `{such_as}`"));
        return;
    };
    if api.ends_with('/') || api.contains(['?', '#', '@']) {
        report.problem(place, "only scheme, host, port and path, without a slash at the end");
    }
    if scheme == "http" && !is_here(host) && !permitted.has(Insecure::UnencryptedNotices) {
        report
            .problem(place, "codes would cross the network for everyone to read")
            .hint("write `https://…`; `insecure: [unencrypted_notices]` accepts the risk");
    }
}
