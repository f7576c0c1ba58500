//! Text messages, by Twilio or into the log.
//!
//! Law: what is sent goes to the provider alone; into the log only where the file says so.

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};

use super::courier::{Outcome, Told};
use super::provider;
use super::tls::Unusable;
use crate::config::{Sms, SmsVia, Twilio};

/// Sends text messages.
pub(super) enum Texter {
    Console,
    Twilio(Box<Account>),
}

/// What is needed to send by Twilio.
pub(super) struct Account {
    client: reqwest::Client,
    url: Url,
    settings: Twilio,
}

impl Texter {
    pub(super) fn new(sms: &Sms) -> Result<Self, Unusable> {
        match &sms.via {
            SmsVia::Console => Ok(Self::Console),
            SmsVia::Twilio(settings) => Account::new(settings).map(Box::new).map(Self::Twilio),
        }
    }

    /// One try.
    pub(super) async fn send(&self, told: &Told<'_>, to: &str, text: &str) -> Outcome {
        match self {
            Self::Console => {
                tracing::info!(id = %told.id, to, text, "text message");
                Outcome::Done
            }
            Self::Twilio(account) => account.send(to, text).await,
        }
    }

    /// Goes as far as a message would, and sends none.
    pub(super) async fn check(&self) -> Result<&'static str, String> {
        match self {
            Self::Console => Ok("text messages are written into the log"),
            Self::Twilio(account) => account.check().await,
        }
    }
}

impl Account {
    fn new(settings: &Twilio) -> Result<Self, Unusable> {
        let text = format!("{}/2010-04-01/Accounts/{}/Messages.json", settings.api, settings.account);
        let url = text.parse().map_err(|_| "its URL cannot be read")?;
        let client = provider::client(settings.authorities.as_deref(), settings.timeout)?;
        Ok(Self { client, url, settings: settings.clone() })
    }

    /// Asks for the account itself, which needs the same login.
    async fn check(&self) -> Result<&'static str, String> {
        let Twilio { api, account, token, .. } = &self.settings;
        let url = format!("{api}/2010-04-01/Accounts/{account}.json");
        provider::look(self.client.get(url).basic_auth(account, Some(token.expose()))).await
    }

    async fn send(&self, to: &str, text: &str) -> Outcome {
        let login = (&self.settings.account, Some(self.settings.token.expose()));
        let request = self.client.post(self.url.clone()).basic_auth(login.0, login.1);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        provider::hand_over(request.header(CONTENT_TYPE, form).body(self.form(to, text))).await
    }

    fn form(&self, to: &str, text: &str) -> String {
        let mut url = self.url.clone();
        let from = self.settings.from.as_str();
        url.query_pairs_mut().append_pair("To", to).append_pair("From", from).append_pair("Body", text);
        url.query().unwrap_or_default().to_owned()
    }
}
