//! Mail by SendGrid or Mailgun.
//!
//! Law: the provider is told to change nothing: a link that counts its clicks is another link, and
//! whoever counts them has what it hands over.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::courier::Outcome;
use super::provider;
use super::tls::Unusable;
use crate::config::{MailProvider, MailWire};

/// What is needed to send by a provider.
pub(super) struct Provider {
    client: Client,
    settings: MailProvider,
}

/// A mail to one person.
pub(super) struct Mail<'a> {
    /// The same for every try: a mailbox that gets it twice can tell.
    pub id: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub subject: &'a str,
    pub text: &'a str,
}

const SENDER: &str = "Portcullis";

impl Provider {
    pub(super) fn new(settings: &MailProvider) -> Result<Self, Unusable> {
        let client = provider::client(settings.authorities.as_deref(), settings.timeout)?;
        Ok(Self { client, settings: settings.clone() })
    }

    /// One try.
    pub(super) async fn send(&self, mail: &Mail<'_>) -> Outcome {
        provider::hand_over(match &self.settings.wire {
            MailWire::Sendgrid => self.by_sendgrid(mail),
            MailWire::Mailgun { domain } => self.by_mailgun(domain, mail),
        })
        .await
    }

    /// Asks for something that needs the same login, and sends nothing.
    pub(super) async fn check(&self) -> Result<&'static str, String> {
        let MailProvider { wire, api, key, .. } = &self.settings;
        provider::look(match wire {
            MailWire::Sendgrid => self.client.get(format!("{api}/v3/scopes")).bearer_auth(key.expose()),
            MailWire::Mailgun { domain } => {
                let url = format!("{api}/v3/domains/{domain}");
                self.client.get(url).basic_auth("api", Some(key.expose()))
            }
        })
        .await
    }

    fn by_sendgrid(&self, mail: &Mail<'_>) -> RequestBuilder {
        let MailProvider { api, key, .. } = &self.settings;
        let off = json!({ "enable": false });
        let body = json!({
            "personalizations": [{ "to": [{ "email": mail.to }] }],
            "from": { "email": mail.from, "name": SENDER },
            "subject": mail.subject,
            "content": [{ "type": "text/plain", "value": mail.text }],
            "headers": { "Message-ID": mail.id, "Auto-Submitted": "auto-generated" },
            "tracking_settings": {
                "click_tracking": { "enable": false, "enable_text": false },
                "open_tracking": &off, "subscription_tracking": &off, "ganalytics": &off,
            },
        });
        let request = self.client.post(format!("{api}/v3/mail/send")).bearer_auth(key.expose());
        request.header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    fn by_mailgun(&self, domain: &str, mail: &Mail<'_>) -> RequestBuilder {
        let MailProvider { api, key, .. } = &self.settings;
        let from = format!("{SENDER} <{}>", mail.from);
        let fields = [
            ("from", from.as_str()),
            ("to", mail.to),
            ("subject", mail.subject),
            ("text", mail.text),
            ("h:Message-Id", mail.id),
            ("h:Auto-Submitted", "auto-generated"),
            ("o:tracking", "no"),
            ("o:tracking-clicks", "no"),
            ("o:tracking-opens", "no"),
        ];
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.client.post(format!("{api}/v3/{domain}/messages")).basic_auth("api", Some(key.expose()));
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
    }
}
