//! `mail`: how people are sent mail.
//!
//! Law: what leaves this machine is encrypted, or the file says that it is not. A password or a
//! provider's key comes from a file of its own and is a `Secret` from here on.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Files;
use super::insecure::{Insecure, Permitted};
use super::notice::{authorities, check_api, is_here, timeout};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use crate::base::{Email, Secret};

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
    /// A file whose content is the password, or the provider's API key.
    password_file: Option<PathBuf>,
    /// Where the provider's API is, without a slash at the end; `null`: where it is for everybody.
    api: Option<String>,
    /// The domain that Mailgun sends for.
    #[schemars(regex(pattern = "^[A-Za-z0-9.-]{1,253}$"))]
    domain: Option<String>,
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
    Sendgrid,
    Mailgun,
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
    Provider(MailProvider),
}

/// A company that sends mail for others, over HTTP.
#[derive(Clone, Debug)]
pub struct MailProvider {
    pub wire: MailWire,
    pub api: String,
    pub key: Secret<String>,
    /// PEM.
    pub authorities: Option<Vec<u8>>,
    pub timeout: Duration,
}

/// What a provider understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailWire {
    Sendgrid,
    Mailgun { domain: String },
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

/// What the name of a console's sender is, which nobody answers.
const NOBODY: &str = "portcullis@localhost.invalid";

impl RawMail {
    pub fn check(self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Mail> {
        let place = Place::root().key("mail");
        timeout(self.timeout, &place, report);
        let from = match (&self.from, self.via) {
            (None, Via::Console) => Email::parse(NOBODY).ok(),
            (None, Via::Smtp | Via::Sendgrid | Via::Mailgun) => {
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
        self.check_strangers(&place, report);
        let via = match self.via {
            Via::Console => Some(MailVia::Console),
            Via::Smtp => self.smtp(files, report, permitted).map(MailVia::Smtp),
            Via::Sendgrid => {
                self.provider(MailWire::Sendgrid, files, report, permitted).map(MailVia::Provider)
            }
            Via::Mailgun => {
                if self.domain.is_none() {
                    report.problem(&place.key("domain"), "missing: `via: mailgun` needs it");
                }
                let wire = MailWire::Mailgun { domain: self.domain.clone().unwrap_or_default() };
                self.provider(wire, files, report, permitted).map(MailVia::Provider)
            }
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

    /// Keys that say where mail goes, of another way than the one that is chosen.
    fn check_strangers(&self, place: &Place, report: &mut Report) {
        let (via, hint) = match self.via {
            Via::Console => ("`via: console`", "write `via: smtp`"),
            Via::Smtp => ("`via: smtp`", "write `via: sendgrid` or `via: mailgun`, or leave it out"),
            Via::Sendgrid => ("`via: sendgrid`", "leave it out"),
            Via::Mailgun => ("`via: mailgun`", "leave it out"),
        };
        for (key, is_there, is_used) in [
            ("host", self.host.is_some(), self.via == Via::Smtp),
            ("port", self.port.is_some(), self.via == Via::Smtp),
            ("username", self.username.is_some(), self.via == Via::Smtp),
            ("api", self.api.is_some(), matches!(self.via, Via::Sendgrid | Via::Mailgun)),
            ("domain", self.domain.is_some(), self.via == Via::Mailgun),
        ] {
            if is_there && !is_used {
                report.problem(&place.key(key), format!("means nothing with {via}")).hint(hint);
            }
        }
    }

    fn provider(
        &self,
        wire: MailWire,
        files: &Files<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Option<MailProvider> {
        let place = Place::root().key("mail");
        let usual = match &wire {
            MailWire::Sendgrid => "https://api.sendgrid.com",
            MailWire::Mailgun { .. } => "https://api.mailgun.net",
        };
        let api = self.api.clone().unwrap_or_else(|| usual.to_owned());
        check_api(&api, usual, &place.key("api"), report, permitted);
        let Some(path) = &self.password_file else {
            report
                .problem(&place.key("password_file"), "missing: the provider knows us by its API key")
                .hint("the path of a file whose content is the key");
            return None;
        };
        let key = files.password(path, &place.key("password_file"), report, permitted)?;
        let authorities = authorities(self.ca_file.as_ref(), &place, files, report);
        Some(MailProvider { wire, api, key, authorities, timeout: self.timeout })
    }
}
