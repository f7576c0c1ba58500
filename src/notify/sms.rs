//! Text messages, by Twilio or into the log.
//!
//! Law: as with mail, what the provider answers goes into no log: it quotes numbers of people. A
//! redirect is not followed, because the login would go with it.

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url, redirect};

use super::courier::{Outcome, Told};
use super::tls::{self, Unusable};
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
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(settings.authorities.as_deref())?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| "its HTTP client cannot be made")?;
        Ok(Self { client, url, settings: settings.clone() })
    }

    /// Asks for the account itself, which needs the same login.
    async fn check(&self) -> Result<&'static str, String> {
        let Twilio { api, account, token, .. } = &self.settings;
        let url = format!("{api}/2010-04-01/Accounts/{account}.json");
        match self.client.get(url).basic_auth(account, Some(token.expose())).send().await {
            Ok(answer) if answer.status().is_success() => Ok("the provider takes the login"),
            Ok(answer) => Err(format!("the provider answered {}", answer.status().as_u16())),
            Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
            Err(_) => Err("no connection, or no TLS that can be trusted".to_owned()),
        }
    }

    async fn send(&self, to: &str, text: &str) -> Outcome {
        let sent = self
            .client
            .post(self.url.clone())
            .basic_auth(&self.settings.account, Some(self.settings.token.expose()))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(self.form(to, text))
            .send()
            .await;
        match sent {
            Ok(answer) => judged(answer.status()),
            Err(error) if error.is_timeout() => Outcome::Later("no answer in time".to_owned()),
            Err(_) => Outcome::Later("no connection, or no TLS that can be trusted".to_owned()),
        }
    }

    fn form(&self, to: &str, text: &str) -> String {
        let mut url = self.url.clone();
        let from = self.settings.from.as_str();
        url.query_pairs_mut().append_pair("To", to).append_pair("From", from).append_pair("Body", text);
        url.query().unwrap_or_default().to_owned()
    }
}

fn judged(status: StatusCode) -> Outcome {
    let number = status.as_u16();
    match number {
        200..=299 => Outcome::Done,
        // A login that fails is a setting that somebody will mend.
        401 | 403 | 404 => Outcome::Later(format!("the provider wants another login ({number})")),
        400..=499 if number != 408 && number != 429 => {
            Outcome::Never(format!("the provider refused it ({number})"))
        }
        _ => Outcome::Later(format!("the provider answered {number}")),
    }
}
