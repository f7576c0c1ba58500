//! What people are told about the end of their account.
//!
//! Law: by mail, or else by text message, at an address or number that is known to be theirs; the link
//! stands in no subject and is the only thing that decides anything.

use crate::account::Account;
use crate::app::{App, Change};
use crate::audit::Contact;
use crate::base::{Email, Phone, Secret, Timestamp};
use crate::config::{Config, Notice};
use crate::crypto::token::Token;
use crate::notify::{self, Letter, Message, Occasion, clock};
use crate::store::Error;

use super::Deletion;

/// Our own page for links that name no other.
pub const PAGE: &str = "/portcullis/deletion/";

/// How somebody is reached.
pub(super) enum To {
    Mail(Email),
    Phone(Phone),
}

/// How this person is reached, if in any way.
pub(super) fn reached(app: &App, person: &Account) -> Option<To> {
    let config = app.config();
    let mail = person.email.clone().filter(|_| person.is_email_verified && config.mail.is_some());
    let phone = person.phone.clone().filter(|_| person.is_phone_verified && config.sms.is_some());
    mail.map(To::Mail).or_else(|| phone.map(To::Phone))
}

/// Where somebody is asked to confirm, and told what becomes of it; `None`: nowhere.
#[must_use]
pub fn reached_by(app: &App, person: &Account) -> Option<Contact> {
    reached(app, person).map(|to| match to {
        To::Mail(_) => Contact::Email,
        To::Phone(_) => Contact::Phone,
    })
}

struct Words {
    subject: String,
    mail: String,
    message: String,
}

/// Sends the link that confirms it.
pub(super) async fn ask(
    change: &mut Change<'_>,
    person: &Account,
    to: To,
    deletion: &Deletion,
    (token, ends_at): (&Token, Timestamp),
) -> Result<(), Error> {
    let config = change.app().config();
    let host = &config.public_url.host;
    let link = link(&config, token);
    let (link, until) = (link.expose(), clock(ends_at));
    let words = Words {
        subject: format!("Confirm that your account at {host} is to be deleted"),
        mail: format!(
            "Somebody asked for your account at {host} to be deleted. If it was you, follow this link:\n\n    {link}\n\n\
             It counts once, until {until} UTC. From then on there is some time left in which you can log in and call \
             it off.\n\nIf it was not you, do not follow it, change your password at once, and tell those who run {host}.\n"
        ),
        message: format!(
            "Follow this link to have your account at {host} deleted: {link} If you did not ask for it, change your \
             password at once."
        ),
    };
    send(change, person, to, (deletion.id.to_string(), Some(ends_at)), words).await
}

fn link(config: &Config, token: &Token) -> Secret<String> {
    let own = format!("{}{PAGE}", config.public_url);
    let page = config.accounts.deletion.link.as_deref().unwrap_or(&own);
    notify::with_token(page, token)
}

/// Tells when the account will be gone.
pub(super) async fn announce(
    change: &mut Change<'_>,
    person: &Account,
    deletion: &Deletion,
    due_at: Timestamp,
) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let when = clock(due_at);
    let what = format!(
        "Your account at {host} will be deleted after {when} UTC, with everything that is kept of you."
    );
    let words = Words {
        subject: format!("Your account at {host} will be deleted"),
        mail: format!(
            "{what}\n\nUntil then you can log in as before, and call it off.\n\nIf it was not you who asked for it, do so at \
             once, change your password, and tell those who run {host}.\n"
        ),
        message: format!("{what} Until then you can log in and call it off."),
    };
    tell(change, person, format!("confirmed:{}", deletion.id), words).await
}

/// Tells that the account stays.
pub(super) async fn call_off(change: &mut Change<'_>, person: &Account) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let what = format!("Your account at {host} will not be deleted: that was called off.");
    let words = Words {
        subject: format!("Your account at {host} will not be deleted"),
        mail: format!(
            "{what}\n\nIf it was not you, change your password at once, and tell those who run {host}.\n"
        ),
        message: what,
    };
    let key = format!("cancelled:{}", change.new_id());
    tell(change, person, key, words).await
}

/// Tells what stands in the way.
pub(super) async fn held_back(change: &mut Change<'_>, person: &Account, why: &str) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let what = format!(
        "Your account at {host} could not be deleted, because {why}. It will be once somebody else can take your place."
    );
    let words = Words {
        subject: format!("Your account at {host} could not be deleted yet"),
        mail: format!("{what}\n"),
        message: what,
    };
    let key = format!("held back:{}", change.new_id());
    tell(change, person, key, words).await
}

/// Tells whoever is let back that it still waits, and until when.
pub(super) async fn put_off(
    change: &mut Change<'_>,
    person: &Account,
    due_at: Timestamp,
) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let when = clock(due_at);
    let what = format!(
        "Your account at {host} was stopped for a time. It was to be deleted, and now will be after {when} UTC."
    );
    let words = Words {
        subject: format!("Your account at {host} will be deleted later"),
        mail: format!(
            "{what}\n\nUntil then you can log in, once that is allowed again, and call it off.\n\nIf it was not you who \
             asked for it, do so at once, change your password, and tell those who run {host}.\n"
        ),
        message: format!("{what} Until then you can log in and call it off."),
    };
    let key = format!("put off:{}", change.new_id());
    tell(change, person, key, words).await
}

/// Tells that the account is gone. `person` is as it was.
pub(super) async fn farewell(change: &mut Change<'_>, person: &Account) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let what = format!("Your account at {host} was deleted, with everything that was kept of you.");
    let words = Words {
        subject: format!("Your account at {host} was deleted"),
        mail: format!("{what}\n\nThis is the last mail about it.\n"),
        message: what,
    };
    tell(change, person, "completed".to_owned(), words).await
}

async fn tell(change: &mut Change<'_>, person: &Account, key: String, words: Words) -> Result<(), Error> {
    match reached(change.app(), person) {
        Some(to) => send(change, person, to, (key, None), words).await,
        None => Ok(()),
    }
}

async fn send(
    change: &mut Change<'_>,
    person: &Account,
    to: To,
    (key, until): (String, Option<Timestamp>),
    words: Words,
) -> Result<(), Error> {
    let occasion = Occasion { notice: Notice::Deletion, site: person.site, key, until };
    let account = person.id;
    match to {
        To::Mail(to) => {
            let letter = Letter { account: Some(account), to, subject: words.subject, text: words.mail };
            notify::write_to(change, &occasion, letter).await
        }
        To::Phone(to) => {
            notify::text_to(change, &occasion, Message { account, to, text: words.message }).await
        }
    }
}
