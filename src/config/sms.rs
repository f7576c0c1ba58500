//! `sms`: how people are sent text messages.
//!
//! Law: the same as for mail: what leaves this machine is encrypted, or the file says that it is
//! not, and the password comes from a file of its own.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Files;
use super::insecure::Permitted;
use super::notice::{authorities, check_api, timeout};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use crate::base::Secret;

/// `sms` as the file writes it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sms")]
pub(super) struct RawSms {
    via: Via,
    /// The account at Twilio, which begins with `AC`.
    #[schemars(regex(pattern = "^[A-Za-z0-9]{2,64}$"))]
    account: Option<String>,
    /// A file whose content is the account's token.
    token_file: Option<PathBuf>,
    /// The sender: a number such as `+15005550006`, or what Twilio registered for you.
    #[schemars(length(min = 1, max = 20))]
    from: Option<String>,
    /// Where Twilio's API is, without a slash at the end.
    api: String,
    /// PEM: whose certificates are believed beside those that the system trusts.
    ca_file: Option<PathBuf>,
    /// How long one try may take.
    #[serde(with = "As::<Span>")]
    timeout: Duration,
}

/// How text messages leave the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Via {
    /// They do not: they are written into the log, whole.
    Console,
    Twilio,
}

/// How text messages are sent.
#[derive(Clone, Debug)]
pub struct Sms {
    pub via: SmsVia,
}

#[derive(Clone, Debug)]
pub enum SmsVia {
    Console,
    Twilio(Twilio),
}

/// An account at Twilio.
#[derive(Clone, Debug)]
pub struct Twilio {
    pub account: String,
    pub token: Secret<String>,
    pub from: String,
    pub api: String,
    /// PEM.
    pub authorities: Option<Vec<u8>>,
    pub timeout: Duration,
}

impl RawSms {
    pub fn check(self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Sms> {
        let place = Place::root().key("sms");
        timeout(self.timeout, &place, report);
        let via = match self.via {
            Via::Console => {
                if self.account.is_some() {
                    report
                        .problem(&place.key("account"), "with `via: console` nobody gets any message")
                        .hint("write `via: twilio`");
                }
                Some(SmsVia::Console)
            }
            Via::Twilio => self.twilio(files, report, permitted).map(SmsVia::Twilio),
        };
        via.map(|via| Sms { via })
    }

    fn twilio(self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Twilio> {
        let place = Place::root().key("sms");
        check_api(&self.api, "https://api.twilio.com", &place.key("api"), report, permitted);
        let is_sid = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if self.account.as_deref().is_some_and(|account| !is_sid(account)) {
            report.problem(&place.key("account"), "letters and digits only");
        }
        for (key, is_missing) in [
            ("account", self.account.is_none()),
            ("token_file", self.token_file.is_none()),
            ("from", self.from.is_none()),
        ] {
            if is_missing {
                report.problem(&place.key(key), "missing: `via: twilio` needs it");
            }
        }
        let token = files.password(self.token_file.as_ref()?, &place.key("token_file"), report, permitted)?;
        let authorities = authorities(self.ca_file.as_ref(), &place, files, report);
        let (account, from, api, timeout) = (self.account?, self.from?, self.api, self.timeout);
        Some(Twilio { account, token, from, api, authorities, timeout })
    }
}
