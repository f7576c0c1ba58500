//! Mail: by SMTP, by a provider's API, or into the log.
//!
//! Law: with `starttls` and `tls` nothing is said in the clear, whatever the server offers. What a
//! server answers goes into no log: it quotes addresses of people.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::courier::{Outcome, Told};
use super::mail_api::{Mail as Letter, Provider};
use super::tls::Unusable;
use crate::config::{Config, Mail, MailTls, MailVia, Smtp};

/// Connecting, greeting, logging in and the mail itself: each has its own time, and all have this.
const WHOLE_WITHIN: Duration = Duration::from_mins(1);
/// For whoever only looks.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Sends mail.
pub(super) struct Mailer {
    from: Mailbox,
    /// Behind the `@` of message ids.
    domain: String,
    via: Carrier,
}

enum Carrier {
    Console,
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Provider(Provider),
}

impl Mailer {
    pub(super) fn new(mail: &Mail, config: &Config) -> Result<Self, Unusable> {
        let address: Address = mail.from.as_str().parse().map_err(|_| "its sender has no mailbox")?;
        let via = match &mail.via {
            MailVia::Console => Carrier::Console,
            MailVia::Smtp(smtp) => Carrier::Smtp(transport(smtp, &config.public_url.host)?),
            MailVia::Provider(provider) => Carrier::Provider(Provider::new(provider)?),
        };
        let domain = address.domain().to_owned();
        Ok(Self { from: Mailbox::new(Some("Portcullis".to_owned()), address), domain, via })
    }

    /// One try.
    pub(super) async fn send(&self, told: &Told<'_>, to: &str, subject: &str, text: &str) -> Outcome {
        match &self.via {
            Carrier::Console => {
                tracing::info!(id = %told.id, to, subject, text, "mail");
                Outcome::Done
            }
            Carrier::Smtp(transport) => match self.message(told, to, subject, text) {
                Ok(message) => hand_over(transport, message).await,
                Err(problem) => Outcome::Never(problem.to_owned()),
            },
            Carrier::Provider(provider) => {
                let (id, from) = (self.message_id(told), self.from.email.to_string());
                // A subject is one line, whoever it was made of.
                let subject = one_line(subject);
                provider.send(&Letter { id: &id, from: &from, to, subject: &subject, text }).await
            }
        }
    }

    /// The same for every try: a mailbox that gets it twice can tell.
    fn message_id(&self, told: &Told<'_>) -> String {
        format!("<{}@{}>", told.id, self.domain)
    }

    /// Connects, greets, encrypts and logs in as for a mail, and sends none.
    pub(super) async fn check(&self) -> Result<&'static str, String> {
        let transport = match &self.via {
            Carrier::Console => return Ok("mail is written into the log"),
            Carrier::Provider(provider) => return provider.check().await,
            Carrier::Smtp(transport) => transport,
        };
        let said = match tokio::time::timeout(LOOK_WITHIN, transport.test_connection()).await {
            Ok(Ok(true)) => return Ok("the mail server would take mail"),
            Ok(Ok(false)) => Outcome::Later("the mail server ends the connection".to_owned()),
            Ok(Err(error)) => judged(&error),
            Err(_) => Outcome::Later("the mail server took too long".to_owned()),
        };
        match said {
            Outcome::Done => Ok("the mail server would take mail"),
            Outcome::Later(problem) | Outcome::Never(problem) => Err(problem),
        }
    }

    fn message(&self, told: &Told<'_>, to: &str, subject: &str, text: &str) -> Result<Message, &'static str> {
        let to: Address = to.parse().map_err(|_| "the address is none")?;
        let millis = u64::try_from(told.at.as_millis()).unwrap_or_default();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date(UNIX_EPOCH + Duration::from_millis(millis))
            .message_id(Some(self.message_id(told)))
            .raw_header(automatic())
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned())
            .map_err(|_| "the mail cannot be put together")
    }
}

async fn hand_over(transport: &AsyncSmtpTransport<Tokio1Executor>, message: Message) -> Outcome {
    match tokio::time::timeout(WHOLE_WITHIN, transport.send(message)).await {
        Ok(Ok(_)) => Outcome::Done,
        Ok(Err(error)) => judged(&error),
        Err(_) => Outcome::Later("the mail server took too long".to_owned()),
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// RFC 3834: no answering machine shall answer.
fn automatic() -> lettre::message::header::HeaderValue {
    use lettre::message::header::{HeaderName, HeaderValue};
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

fn transport(smtp: &Smtp, own_host: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, Unusable> {
    let tls = match smtp.tls {
        MailTls::None => Tls::None,
        MailTls::Starttls => Tls::Required(parameters(smtp)?),
        MailTls::Tls => Tls::Wrapper(parameters(smtp)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(smtp.timeout))
        .hello_name(hello(own_host));
    if let Some((user, password)) = &smtp.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().clone()));
    }
    Ok(builder.build())
}

fn parameters(smtp: &Smtp) -> Result<TlsParameters, Unusable> {
    let mut builder = TlsParameters::builder(smtp.host.clone());
    if let Some(pem) = &smtp.authorities {
        builder =
            builder.add_root_certificate(Certificate::from_pem(pem).map_err(|_| "`ca_file` is not PEM")?);
    }
    builder.build().map_err(|_| "its TLS cannot be used")
}

fn hello(host: &str) -> ClientId {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(std::net::IpAddr::V4(v4)) => ClientId::Ipv4(v4),
        Ok(std::net::IpAddr::V6(v6)) => ClientId::Ipv6(v6),
        Err(_) => ClientId::Domain(host.to_owned()),
    }
}

fn judged(error: &smtp::Error) -> Outcome {
    let code = error.status().map(u16::from);
    match code {
        // A login that fails is a setting that somebody will mend.
        Some(code @ (530 | 534 | 535 | 538)) => {
            Outcome::Later(format!("the mail server wants another login ({code})"))
        }
        Some(code) if error.is_permanent() => Outcome::Never(format!("the mail server refused it ({code})")),
        Some(code) => Outcome::Later(format!("the mail server put it off ({code})")),
        None if error.is_timeout() => Outcome::Later("the mail server took too long".to_owned()),
        None if error.is_tls() => Outcome::Later("no TLS that can be trusted".to_owned()),
        None => {
            Outcome::Later("no connection to the mail server, or it does not speak as configured".to_owned())
        }
    }
}
