//! `mail`, `webhooks`: how people and programs are told what happened.
//!
//! Law: what leaves this machine is encrypted, or the file says that it is not. A password or a
//! signing secret comes from a file of its own and is a `Secret` from here on; so is a webhook's
//! URL, because its path is often a password too.

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
use crate::base::{Email, Secret};
use crate::crypto::digest;

/// `mail` as the file writes it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mail")]
pub(super) struct RawMail {
    via: Via,
    /// The mail server.
    #[schemars(regex(pattern = "^[A-Za-z0-9._:\\[\\]-]+$"))]
    host: Option<String>,
    /// `null`: 587 with `starttls`, 465 with `tls`, 25 with `none`.
    #[schemars(range(min = 1))]
    port: Option<u16>,
    tls: MailTls,
    /// Who logs in to the mail server; `null`: nobody.
    username: Option<String>,
    /// A file whose content is the password.
    password_file: Option<PathBuf>,
    /// PEM: whose certificates are believed beside those that the system trusts.
    ca_file: Option<PathBuf>,
    /// The sender's address.
    from: Option<String>,
    /// How long one step of sending may take.
    #[serde(with = "As::<Span>")]
    timeout: Duration,
}

/// How mail leaves the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Via {
    /// It does not: it is written into the log, whole.
    Console,
    Smtp,
}

/// How the connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// It begins in the clear and must be upgraded before anything is said.
    Starttls,
    /// From the first byte on.
    Tls,
    None,
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: Email,
    pub via: MailVia,
}

#[derive(Clone, Debug)]
pub enum MailVia {
    Console,
    Smtp(Smtp),
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub login: Option<(String, Secret<String>)>,
    /// PEM.
    pub authorities: Option<Vec<u8>>,
    pub timeout: Duration,
}

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
    /// Somebody tried to register with the address of an account: for its owner alone.
    #[serde(skip)]
    RegistrationRepeated,
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
            Self::RegistrationRepeated => "account.registration_repeated",
        }
    }
}

/// The longest that one try may be told to take; a claim on a notice lasts longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// What the name of a console's sender is, which nobody answers.
const NOBODY: &str = "portcullis@localhost.invalid";

impl RawMail {
    pub fn check(self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Mail> {
        let place = Place::root().key("mail");
        timeout(self.timeout, &place, report);
        let from = match (&self.from, self.via) {
            (None, Via::Console) => Email::parse(NOBODY).ok(),
            (None, Via::Smtp) => {
                report.problem(&place.key("from"), "missing: mail needs a sender");
                None
            }
            (Some(text), _) => {
                let from = Email::parse(text).ok();
                if from.is_none() {
                    report
                        .problem(&place.key("from"), format!("`{text}` is not an e-mail address"))
                        .hint("the address alone: `gateway@example.com`");
                }
                from
            }
        };
        let via = match self.via {
            Via::Console => {
                if self.host.is_some() {
                    report
                        .problem(&place.key("host"), "with `via: console` no server gets any mail")
                        .hint("write `via: smtp`");
                }
                Some(MailVia::Console)
            }
            Via::Smtp => self.smtp(files, report, permitted).map(MailVia::Smtp),
        };
        Some(Mail { from: from?, via: via? })
    }

    fn smtp(&self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Smtp> {
        let place = Place::root().key("mail");
        let Some(host) = self.host.clone() else {
            report
                .problem(&place.key("host"), "missing: no mail server is named")
                .hint("write `host: mail.example.com`, or `via: console` to read mail in the log");
            return None;
        };
        if self.tls == MailTls::None && !is_here(&host) && !permitted.has(Insecure::UnencryptedNotices) {
            report.problem(&place.key("tls"), "mail would cross the network for everyone to read").hint(
                "write `tls: starttls` or `tls: tls`; `insecure: [unencrypted_notices]` accepts the risk",
            );
        }
        let login = match (&self.username, &self.password_file) {
            (Some(user), Some(path)) => {
                let password = files.password(path, &place.key("password_file"), report, permitted)?;
                Some((user.clone(), password))
            }
            (None, None) => None,
            (Some(_), None) => {
                report.problem(&place.key("username"), "without `password_file` nobody can log in");
                return None;
            }
            (None, Some(_)) => {
                report.problem(&place.key("password_file"), "without `username` nobody can log in");
                return None;
            }
        };
        let port = self.port.unwrap_or(match self.tls {
            MailTls::Starttls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        });
        let authorities = authorities(self.ca_file.as_ref(), &place, files, report);
        Some(Smtp { host, port, tls: self.tls, login, authorities, timeout: self.timeout })
    }
}

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
