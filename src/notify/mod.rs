//! The outbox: what people and programs are told, by mail, text message and signed webhooks.
//!
//! Law: what is to be told is written in the [`Change`] that it tells of, so that nothing is told
//! that did not happen and nothing that happened is forgotten. Delivering it is a task of its own
//! that no request waits for. A row has one key: the same thing is never put into the outbox
//! twice. A try whose end is not known (the process died with it) is repeated under the same id,
//! by which a receiver knows it again.

mod check;
mod courier;
mod mail;
mod mail_api;
mod provider;
pub mod reach;
mod sms;
mod store;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod tls;
mod webhook;
mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{App, Change};
use crate::base::{Email, Id, Phone, Timestamp};
use crate::config::Notice;
use crate::crypto::digest;
use crate::store::Error;

pub use check::{Checked, check};
pub use courier::{Courier, LOOK_EVERY};
pub use webhook::signature;
pub use words::{Words, clock, with_token};

/// How long it is tried to tell something at all.
pub const TRIED_FOR: Duration = Duration::from_hours(24);

/// How it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Mail,
    Sms,
    Webhook,
}

impl Channel {
    /// The word in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Sms => "sms",
            Self::Webhook => "webhook",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Mail, Self::Sms, Self::Webhook].into_iter().find(|channel| channel.name() == name)
    }
}

/// What has happened, once.
#[derive(Debug, Clone)]
pub struct Occasion {
    pub notice: Notice,
    pub site: Id,
    /// Tells this occasion from every other one of its kind: an id, or an id and a count.
    pub key: String,
    /// From when on it is no use to anyone any more.
    pub until: Option<Timestamp>,
}

/// A mail to one person. It may hold a code: it is never printed.
#[derive(Clone)]
pub struct Letter {
    /// `None`: an address that may be nobody's.
    pub account: Option<Id>,
    pub to: Email,
    pub subject: String,
    /// Lines of plain text.
    pub text: String,
}

/// A text message to one person. It may hold a code: it is never printed.
#[derive(Clone)]
pub struct Message {
    pub account: Id,
    pub to: Phone,
    pub text: String,
}

/// What a row holds, sealed.
#[derive(Serialize, Deserialize)]
enum Content {
    Mail { to: String, subject: String, text: String },
    Sms { to: String, text: String },
    Webhook { data: Value },
}

/// A row on its way into the outbox.
struct Entry<'a> {
    occasion: &'a Occasion,
    channel: Channel,
    target: &'a str,
    account: Option<Id>,
    content: Content,
}

/// Puts a mail into the outbox, unless mail is not configured. The same occasion reaches the same
/// person once, however often this is called.
pub async fn write_to(change: &mut Change<'_>, occasion: &Occasion, letter: Letter) -> Result<(), Error> {
    write_as(change, occasion, letter, &Words::of(occasion.notice)).await
}

/// The same in the words of the template of this name.
pub async fn write_as(
    change: &mut Change<'_>,
    occasion: &Occasion,
    letter: Letter,
    words: &Words<'_>,
) -> Result<(), Error> {
    if change.app().config().mail.is_none() {
        return Ok(());
    }
    let Letter { account, to, subject, text } = words.letter(change.app(), letter);
    let content = Content::Mail { to: to.to_string(), subject: one_line(&subject), text };
    let entry = Entry { occasion, channel: Channel::Mail, target: "", account, content };
    enter(change, entry).await
}

/// How many mails of this kind were put into the outbox for a person since then.
pub async fn mailed_since(
    change: &mut Change<'_>,
    account: Id,
    notice: Notice,
    since: Timestamp,
) -> Result<i64, Error> {
    store::mailed_since(change.tx(), account, notice.name(), since).await
}

/// Puts a text message into the outbox, unless none can be sent. Told once, as mail is.
pub async fn text_to(change: &mut Change<'_>, occasion: &Occasion, message: Message) -> Result<(), Error> {
    text_as(change, occasion, message, &Words::of(occasion.notice)).await
}

/// The same in the words of the template of this name.
pub async fn text_as(
    change: &mut Change<'_>,
    occasion: &Occasion,
    message: Message,
    words: &Words<'_>,
) -> Result<(), Error> {
    if change.app().config().sms.is_none() {
        return Ok(());
    }
    let Message { account, to, text } = words.message(change.app(), message);
    let content = Content::Sms { to: to.to_string(), text };
    let entry = Entry { occasion, channel: Channel::Sms, target: "", account: Some(account), content };
    enter(change, entry).await
}

/// Puts a call of every webhook that asks for this notice into the outbox; `data` is what it is told.
pub async fn call(change: &mut Change<'_>, occasion: &Occasion, data: &Value) -> Result<(), Error> {
    let config = change.app().config();
    for hook in config.webhooks.iter().filter(|hook| hook.events.contains(&occasion.notice)) {
        let content = Content::Webhook { data: data.clone() };
        let entry = Entry { occasion, channel: Channel::Webhook, target: &hook.name, account: None, content };
        enter(change, entry).await?;
    }
    Ok(())
}

async fn enter(change: &mut Change<'_>, entry: Entry<'_>) -> Result<(), Error> {
    let (id, now, app) = (change.new_id(), change.now(), change.app());
    let plain = serde_json::to_vec(&entry.content)
        .map_err(|cause| Error::Broken { cause: format!("a notice cannot be written: {cause}") })?;
    let row = store::New {
        id,
        site: entry.occasion.site,
        account: entry.account,
        channel: entry.channel,
        target: entry.target,
        notice: entry.occasion.notice.name(),
        dedup_key: &dedup_key(&entry),
        content: app.seal.seal(app.random.as_ref(), &context(id), &plain),
        ends_at: entry.occasion.until.map_or(now.plus(TRIED_FOR), |until| until.min(now.plus(TRIED_FOR))),
        now,
    };
    store::insert(change.tx(), row).await
}

/// Length-prefixed, so that no two occasions read alike.
fn dedup_key(entry: &Entry<'_>) -> String {
    let account = entry.account.map(|id| id.to_string()).unwrap_or_default();
    let occasion = entry.occasion;
    let parts = [entry.channel.name(), entry.target, &account, occasion.notice.name(), &occasion.key];
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    digest::sha256_hex(&bytes)
}

/// What a row is sealed for.
fn context(id: Id) -> String {
    format!("outbox:{id}")
}

/// A text on one line without anything that is not to be seen: labels come from users.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(200).collect()
}

/// Removes what somebody was told and is to be told who is gone.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// Shows how many notices wait, and for how long the oldest of them has.
pub async fn count_waiting(app: &App) -> Result<(), Error> {
    let (count, oldest) = store::backlog(&app.db).await?;
    app.metrics.notices_waiting(count, oldest.map_or(Duration::ZERO, |at| app.now().since(at)));
    Ok(())
}

/// Removes some of the rows that have been over for `retention.outbox`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.outbox), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
